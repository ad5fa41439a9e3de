//! How a command ends: the one table of exit codes, and errors as people and programs read them.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use pop_rpc::{Error, ErrorCode};
use serde::Serialize;

use crate::output::{self, Output};

/// Returns a failure with a hint.
pub(crate) fn fail(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(code, message).with_hint(hint)
}

/// Returns the failure to read or write a place of the caller's.
pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Error {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorCode::Storage,
        _ => ErrorCode::BadInput,
    };
    Error::new(code, format!("{}: {error}", path.display()))
}

/// Returns the failure of a signal from the terminal.
pub(crate) fn interrupted() -> Error {
    Error::new(ErrorCode::Interrupted, "interrupted")
}

/// Tells a failure and returns its exit code.
pub(crate) fn tell(error: &Error, output: Output) -> ExitCode {
    #[derive(Serialize)]
    struct Told<'a> {
        error: &'a Error,
    }
    if output.json {
        output::document(&Told { error });
    } else {
        output::aside(&format!("error: {}", error.message));
        if let Some(hint) = &error.hint {
            output::aside(&format!("hint: {hint}"));
        }
    }
    ExitCode::from(error.code.exit())
}

/// Tells what the parser of the command line says: help goes to stdout, mistakes end with 2.
pub(crate) fn tell_usage(mut error: clap::Error, json: bool) -> ExitCode {
    keep_nearest(&mut error);
    if !error.use_stderr() {
        output::text(&error.render().to_string());
        return ExitCode::SUCCESS;
    }
    if !json {
        // With its colours where there is a terminal; nothing is left to tell when stderr is closed.
        let _ = error.print();
        return ExitCode::from(ErrorCode::Usage.exit());
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.trim().trim_start_matches("error: "));
    let message = paragraphs.next().unwrap_or_default().replace('\n', " ");
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ")).map(str::to_owned);
    let hint = tip.unwrap_or_else(|| "try --help".to_owned());
    tell(&fail(ErrorCode::Usage, message, hint), Output { json, quiet: false })
}

/// Keeps the nearest of the right words; the parser names all that are near, the nearest last.
fn keep_nearest(error: &mut clap::Error) {
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue] {
        if let Some(ContextValue::Strings(words)) = error.get(kind)
            && let Some(nearest) = words.last().cloned()
        {
            error.insert(kind, ContextValue::Strings(vec![nearest]));
        }
    }
}
