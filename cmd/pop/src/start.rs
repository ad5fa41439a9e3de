//! `start`: the daemon in the foreground. Its flags are the rows of the settings' table.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use pop_node::config::{self, Config, ROWS, Row};
use pop_node::daemon::{self, DaemonError, Ready};
use pop_rpc::{Error, ErrorCode};
use tokio::sync::oneshot;

use crate::cli::Context;
use crate::config::{unwritten, wrong};
use crate::exit;
use crate::output;
use crate::place::absolute;

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    #[command(flatten)]
    settings: Settings,
    /// Keep everything in a directory that is removed at the end
    #[arg(long, env = "POP_TEMP_REPO", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(), action = ArgAction::SetTrue)]
    temp_repo: bool,
}

impl StartArgs {
    /// Returns whether the repo is gone at the end.
    pub(crate) const fn is_temporary(&self) -> bool {
        self.temp_repo
    }
}

/// The settings that were given as flags.
#[derive(Debug, Default)]
struct Settings(Vec<(&'static str, String)>);

fn flag(row: &'static Row) -> Arg {
    let shown = match row.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let value = match row.key {
        "listen" | "announce" | "bootstrap" => "MULTIADDR",
        key if key.ends_with("_file") => "FILE",
        key if key.ends_with("_listen") => "ADDR",
        "https_redirect" => "PORT",
        "access_log" => "FILE|-",
        "price" | "max_price" => "PRICE",
        "max_spend_per_day" | "gateway_fetch_spend" => "AMOUNT",
        "capacity" | "up_limit" | "down_limit" | "upload_limit" | "upload_quota" => "SIZE",
        "replicate_interval" | "gateway_timeout" => "TIME",
        "gateway_connections" | "gateway_requests" | "gateway_requests_per_address" | "gateway_rate" => "N",
        "eviction" => "POLICY",
        "low_watermark" => "PERCENT",
        "chain" => "local|URL",
        "acme_directory" => "URL",
        _ if row.many() => "LIST",
        _ => "WORD",
    };
    let doc = row.doc.trim().trim_end_matches('.').replace('\n', " ");
    Arg::new(row.key)
        .long(row.key.replace('_', "-"))
        .value_name(value)
        .action(ArgAction::Append)
        .help(format!("{doc}{shown}"))
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        command.args(ROWS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = ROWS.iter().filter_map(|row| {
            let values: Vec<&String> = matches.get_many(row.key)?.collect();
            // A list grows with every flag; of anything else the last one counts.
            let text = match row.many() {
                true => values.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(" "),
                false => values.last()?.to_string(),
            };
            Some((row.key, text))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Settings {
    /// Returns the flags with absolute paths, and what the flags of every command add.
    fn into_flags(self, context: &Context) -> Result<Vec<(&'static str, String)>, Error> {
        let mut flags = self.0;
        for (key, value) in &mut flags {
            let is_file = key.ends_with("_file") || *key == "access_log" && value != "-";
            if is_file && !value.is_empty() {
                *value = absolute(Path::new(value))?.to_string_lossy().into_owned();
            }
        }
        let chosen = |key: &str, flags: &[(&str, String)]| flags.iter().any(|(given, _)| *given == key);
        if context.output.json && !chosen("log_format", &flags) {
            flags.push(("log_format", "json".to_owned()));
        }
        if !chosen("log_level", &flags) {
            match (context.output.quiet, context.verbose) {
                (_, 2..) => flags.push(("log_level", "trace".to_owned())),
                (_, 1) => flags.push(("log_level", "debug".to_owned())),
                (true, 0) => flags.push(("log_level", "warn".to_owned())),
                (false, 0) => {}
            }
        }
        Ok(flags)
    }
}

pub(crate) async fn run(args: StartArgs, context: &Context) -> Result<(), Error> {
    let temporary = args.temp_repo.then(TempDir::new).transpose()?;
    let repo = temporary.as_ref().map_or(context.repo.clone(), |dir| dir.path().to_owned());
    let flags = args.settings.into_flags(context)?;
    let config = Config::load(&repo, &flags).map_err(|error| wrong(&error))?;
    prepare(&repo, &[])?;
    pop_node::log::start(&config);
    let (ready, waiting) = oneshot::channel();
    let output = context.output;
    let told = async move {
        if let Ok(ready) = waiting.await
            && !output.json
            && !output.quiet
        {
            output::text(&greeting(&ready));
        }
        // Says nothing more, and never wins: the daemon's end is the command's end.
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = daemon::run(repo, config, Some(ready)) => ended,
        never = told => never,
    };
    ended.map_err(|error| broken(&error))
}

fn greeting(ready: &Ready) -> String {
    let listeners: Vec<_> = ready.listeners.iter().map(ToString::to_string).collect();
    let mut rows = vec![
        ("peer id", ready.peer_id.to_string()),
        ("listening", listeners.join("\n           ")),
        ("chain", ready.chain_id.clone()),
        ("control", ready.socket.display().to_string()),
    ];
    rows.extend(ready.gateway.iter().map(|url| ("gateway", output::url(url))));
    rows.extend(ready.gateway_https.iter().map(|url| ("https", output::url(url))));
    rows.extend(ready.admin.iter().map(|address| ("admin", format!("http://{address}"))));
    rows.extend(ready.pages.iter().map(|address| ("pages", format!("ws://{address}"))));
    output::fields(&rows)
}

/// Tells why a daemon did not start or ended.
pub(crate) fn broken(error: &DaemonError) -> Error {
    let code = ErrorCode::ALL.into_iter().find(|code| code.exit() == error.exit_code());
    Error::of(code.unwrap_or(ErrorCode::Internal), error).with_hint(error.hint())
}

/// Makes the directory for its owner alone and the commented settings, where they are missing.
pub(crate) fn prepare(repo: &Path, chosen: &[(&str, String)]) -> Result<(), Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(repo);
    made.map_err(|error| Error::new(ErrorCode::Storage, exit::file(repo, &error).message))?;
    let path = repo.join("config.toml");
    match path.exists() {
        true => Ok(()),
        false => config::write_default_commented(&path, chosen).map_err(|error| unwritten(&error)),
    }
}

/// A directory that is gone when this is.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Result<Self, Error> {
        let random = getrandom::u64().map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let path = std::env::temp_dir().join(format!("pop-{random:016x}"));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| Error::new(ErrorCode::Storage, exit::file(&path, &error).message))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            output::aside(&format!("{} stays: {error}", self.0.display()));
        }
    }
}
