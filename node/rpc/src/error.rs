//! The one table of what can go wrong: name, JSON-RPC code and exit code of the command line.
//!
//! Scripts rely on it, so a row may be added and none may change.

use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::types::error::{INVALID_PARAMS_CODE, INVALID_REQUEST_CODE, METHOD_NOT_FOUND_CODE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Anything that no other row names.
    Internal,
    /// The caller asked for something that makes no sense.
    Usage,
    /// No daemon answers.
    NoDaemon,
    /// Nobody has it.
    NotFound,
    /// The time that was given is over.
    TimedOut,
    /// Price, funds, quota or policy forbid it.
    Refused,
    /// The content is broken: a corrupt CAR, a wrong hash, a file that cannot be read.
    BadInput,
    /// The disk is full or the store is damaged.
    Storage,
    /// Stopped from outside before it was done.
    Interrupted,
}

impl ErrorCode {
    /// Every row.
    pub const ALL: [Self; 9] = [
        Self::Internal,
        Self::Usage,
        Self::NoDaemon,
        Self::NotFound,
        Self::TimedOut,
        Self::Refused,
        Self::BadInput,
        Self::Storage,
        Self::Interrupted,
    ];

    /// Returns name, JSON-RPC code and exit code.
    ///
    /// The codes start at -32020 because the JSON-RPC library keeps the numbers down to -32011 for itself; wrong usage
    /// is what the specification itself calls invalid params.
    const fn row(self) -> (&'static str, i32, u8) {
        match self {
            Self::Internal => ("internal", -32021, 1),
            Self::Usage => ("usage", INVALID_PARAMS_CODE, 2),
            Self::NoDaemon => ("no_daemon", -32023, 3),
            Self::NotFound => ("not_found", -32024, 4),
            Self::TimedOut => ("timed_out", -32025, 5),
            Self::Refused => ("refused", -32026, 6),
            Self::BadInput => ("bad_input", -32027, 7),
            Self::Storage => ("storage", -32028, 8),
            Self::Interrupted => ("interrupted", -32029, 130),
        }
    }

    /// Returns the name that JSON carries.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the code of the JSON-RPC error object.
    pub const fn rpc(self) -> i32 {
        self.row().1
    }

    /// Returns the exit code of the command line.
    pub const fn exit(self) -> u8 {
        self.row().2
    }

    /// Reads the code of a JSON-RPC error object; what the caller did wrong by the specification is wrong usage.
    pub fn from_rpc(code: i32) -> Self {
        match code {
            METHOD_NOT_FOUND_CODE | INVALID_REQUEST_CODE => Self::Usage,
            _ => Self::ALL.into_iter().find(|row| row.rpc() == code).unwrap_or(Self::Internal),
        }
    }
}

/// A failure as it travels: what kind, what happened, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The kind.
    pub code: ErrorCode,
    /// What happened, in lower case and without a full stop.
    pub message: String,
    /// What the caller can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The `data` of a JSON-RPC error object.
#[derive(Debug, Serialize, Deserialize)]
struct Detail {
    code: ErrorCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Error {
    /// Returns a failure of kind `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// Returns a failure with the message of `error` and of all its sources.
    pub fn of(code: ErrorCode, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::new(code, message)
    }

    /// Adds what the caller can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for ErrorObjectOwned {
    fn from(error: Error) -> Self {
        let detail = Detail { code: error.code, hint: error.hint };
        Self::owned(error.code.rpc(), error.message, Some(detail))
    }
}

impl From<ErrorObjectOwned> for Error {
    fn from(object: ErrorObjectOwned) -> Self {
        let detail = object.data().and_then(|raw| serde_json::from_str::<Detail>(raw.get()).ok());
        let (code, hint) = match detail {
            Some(detail) => (detail.code, detail.hint),
            None => (ErrorCode::from_rpc(object.code()), None),
        };
        Self { code, message: object.message().to_owned(), hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_over_the_wire() {
        for code in ErrorCode::ALL {
            let error = Error::new(code, "what happened").with_hint("what to do");
            let object = ErrorObjectOwned::from(error.clone());
            assert_eq!(object.code(), code.rpc());
            assert_eq!(Error::from(object), error);
            assert_eq!(ErrorCode::from_rpc(code.rpc()), code);
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }

    #[test]
    fn foreign_codes_are_read_by_their_number() {
        let object = |code| ErrorObjectOwned::owned(code, "text", None::<()>);
        assert_eq!(Error::from(object(-32601)).code, ErrorCode::Usage);
        assert_eq!(Error::from(object(-32603)).code, ErrorCode::Internal);
        assert_eq!(Error::from(object(-1)).code, ErrorCode::Internal);
    }

    #[test]
    fn sources_are_told_once_each() {
        let inner = std::io::Error::other("disk is gone");
        #[derive(Debug, thiserror::Error)]
        #[error("block is unreadable")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(Error::of(ErrorCode::Storage, &Outer(inner)).message, "block is unreadable: disk is gone");
    }
}
