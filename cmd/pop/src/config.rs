//! `config`: settings and where they come from. It reads the repo itself, so that it also works without a daemon.

use std::collections::BTreeMap;

use clap::Subcommand;
use pop_node::config::{self, Config, ConfigError, Contradiction, WriteError};
use pop_rpc::{ConfigShow, Error, ErrorCode};
use serde_json::{Value, json};

use crate::cli::Context;
use crate::exit::fail;
use crate::output::table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show every setting
    Show {
        /// Show where each comes from, too
        #[arg(long)]
        origin: bool,
    },
    /// Check the settings and change nothing
    Check,
    /// Set one key in config.toml; holds from the next start on
    Set {
        /// The key
        key: String,
        /// The value, with its unit
        value: String,
    },
}

pub(crate) fn run(command: Command, context: &Context) -> Result<(), Error> {
    match command {
        Command::Show { origin } => {
            let shown = load(context)?.show();
            match origin {
                true => context.output.show(&shown, |shown| rows(shown, true)),
                false => {
                    let values: BTreeMap<&String, &Value> =
                        shown.0.iter().map(|(key, value)| (key, &value.value)).collect();
                    context.output.show(&values, |_| rows(&shown, false));
                }
            }
        }
        Command::Check => {
            load(context)?.check().map_err(|error| wrong_together(&error))?;
            let path = context.repo.join("config.toml");
            context
                .output
                .show(&json!({ "ok": true, "file": path }), |_| "the settings are in order".to_owned());
        }
        Command::Set { key, value } => {
            let path = context.repo.join("config.toml");
            if !context.repo.is_dir() {
                let hint = format!("set one up with: pop --repo {} init", context.repo.display());
                return Err(fail(
                    ErrorCode::NotFound,
                    format!("there is no repo at {}", context.repo.display()),
                    hint,
                ));
            }
            config::set(&path, &key, &value).map_err(|error| unwritten(&error))?;
            context.output.show(&json!({ "key": key, "value": value }), |_| format!("{key} = {value}"));
        }
    }
    Ok(())
}

fn load(context: &Context) -> Result<Config, Error> {
    Config::load(&context.repo, &[]).map_err(|error| wrong(&error))
}

fn wrong_together(error: &Contradiction) -> Error {
    Error::of(ErrorCode::Usage, error).with_hint("see `pop config show --origin` and config.toml")
}

/// Tells wrong settings: they are the caller's to repair.
pub(crate) fn wrong(error: &ConfigError) -> Error {
    let hint = "see `pop config show --origin`, `pop start --help` and config.toml";
    match error {
        ConfigError::Unreadable { .. } => Error::of(ErrorCode::Storage, error),
        _ => Error::of(ErrorCode::Usage, error).with_hint(hint),
    }
}

pub(crate) fn unwritten(error: &WriteError) -> Error {
    match error {
        WriteError::Config(error) => wrong(error),
        _ => Error::of(ErrorCode::Storage, error),
    }
}

fn rows(shown: &ConfigShow, origin: bool) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    let rows: Vec<_> = shown
        .0
        .iter()
        .map(|(key, value)| match origin {
            true => vec![key.clone(), value.origin.clone(), text(&value.value)],
            false => vec![key.clone(), text(&value.value)],
        })
        .collect();
    match origin {
        true => table(&["key", "origin", "value"], &rows),
        false => table(&["key", "value"], &rows),
    }
}
