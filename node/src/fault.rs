//! From the errors of the rooms below to the one table of the control API: whose fault, and what to do next.

use pop_dag::car::CarError;
use pop_dag::unixfs::{ExportError, ImportError, ResolveError};
use pop_dag::walk::RunError;
use pop_dag::{SinkError, SourceError, WalkError};
use pop_keys::KeystoreError;
use pop_payments::ChainError;
use pop_rpc::{Error, ErrorCode};
use pop_wallet::WalletError;

use crate::net::PingError;
use crate::pool::Stopped;

/// An error that callers of the API can be told.
pub(crate) trait Fault {
    /// Returns the row of the table and the words for it.
    fn fault(self) -> Error;
}

/// What a blocking operation says when nobody waits for it any more.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub(crate) struct Cancelled;

const FULL: &str = "free some space on the disk, give up unfinished retrievals with `pop gc`, remove or unpin \
                    roots with `pop rm` and `pop unpin`, or raise --capacity";
const DAMAGED: &str = "stop the node and look at the disk; a restart rebuilds the index from the segments";

impl Fault for Stopped {
    fn fault(self) -> Error {
        Error::of(ErrorCode::Interrupted, &self).with_hint("start the node again with `pop start`")
    }
}

impl Fault for pop_store::Error {
    fn fault(self) -> Error {
        use pop_store::Error as E;
        let full = self.is_full();
        let (code, hint) = match &self {
            E::NoRef { .. } => (ErrorCode::NotFound, "`pop list` names the roots that are here"),
            E::Incomplete { .. } => (ErrorCode::BadInput, "blocks are missing; get it from another node"),
            E::LongName { .. } => (ErrorCode::BadInput, "use a shorter name"),
            E::LargeBlock { .. } => (ErrorCode::BadInput, "blocks of up to 2 MiB are taken"),
            E::NoStaging { .. } => (ErrorCode::Internal, "try it again; something else ended the same work"),
            E::TooLarge { .. } => (ErrorCode::Storage, "unpin or remove roots, or raise --capacity"),
            E::Closed => (ErrorCode::Interrupted, "start the node again with `pop start`"),
            _ if full => (ErrorCode::Storage, FULL),
            _ => (ErrorCode::Storage, DAMAGED),
        };
        Error::of(code, &self).with_hint(hint)
    }
}

impl Fault for pop_store::StateError {
    fn fault(self) -> Error {
        let hint = if self.is_full() { FULL } else { DAMAGED };
        Error::of(ErrorCode::Storage, &self).with_hint(hint)
    }
}

impl Fault for pop_exchange::tx::KeyError {
    fn fault(self) -> Error {
        Error::of(ErrorCode::BadInput, &self).with_hint("rename it, or commit what is open first")
    }
}

impl Fault for crate::net::Stopped {
    fn fault(self) -> Error {
        Error::of(ErrorCode::Interrupted, &self).with_hint("start the node again with `pop start`")
    }
}

impl Fault for PingError {
    fn fault(self) -> Error {
        let code = match &self {
            Self::TimedOut(_) => ErrorCode::TimedOut,
            _ => ErrorCode::NotFound,
        };
        Error::of(code, &self).with_hint("check the address, and that the other node runs")
    }
}

impl Fault for ChainError {
    fn fault(self) -> Error {
        let (code, hint) = match &self {
            Self::Unreachable(_) | Self::Protocol(_) => {
                (ErrorCode::Internal, "check --chain and the node there")
            }
            Self::Storage(_) => (ErrorCode::Storage, DAMAGED),
            Self::UnknownActor(_) => {
                (ErrorCode::NotFound, "check the address; an account exists once it was paid")
            }
            Self::Funds { .. } => (ErrorCode::Refused, "`pop wallet balance` tells what there is"),
            _ => (ErrorCode::Refused, "the chain said no; nothing was spent"),
        };
        Error::of(code, &self).with_hint(hint)
    }
}

impl Fault for WalletError {
    fn fault(self) -> Error {
        let (code, hint) = match self {
            Self::Chain(chain) => return chain.fault(),
            Self::Store(state) => return state.fault(),
            Self::NoKey => (ErrorCode::Refused, "make one with `pop wallet new`"),
            Self::UnknownChannel(_) => (ErrorCode::NotFound, "`pop pay list` names the known ones"),
            Self::Funds { .. } => (ErrorCode::Refused, "`pop wallet balance` tells what there is"),
            Self::State { .. } | Self::Pay(_) | Self::NotOurs(_) | Self::OtherPayer(_) => {
                (ErrorCode::Refused, "`pop pay list` tells how the channels stand")
            }
            Self::Failed(code) => (ErrorCode::Refused, refusal_of(code.get())),
            Self::TooManyChannels(_) => (ErrorCode::Refused, "`pop pay list` tells how the channels stand"),
            Self::Unconfirmed => (ErrorCode::TimedOut, "it stays in the outbox and is sent again"),
            Self::Keys(ref keys) => return key_fault(keys),
            _ => (ErrorCode::Internal, "look at the log"),
        };
        Error::of(code, &self).with_hint(hint)
    }
}

/// Says what an exit code of a channel means to its owner.
fn refusal_of(exit: u32) -> &'static str {
    match exit {
        5 => "the channel is gone: it has been collected",
        18 => "not yet: `pop pay list` tells from which epoch on it can be collected",
        20 => "it settles already: `pop pay list` tells until when",
        _ => "`pop pay list` tells how the channels stand",
    }
}

fn key_fault(error: &KeystoreError) -> Error {
    let (code, hint) = match error {
        KeystoreError::Text(_) => {
            (ErrorCode::BadInput, "give the hex text that `lotus wallet export` prints")
        }
        KeystoreError::Io { .. } => (ErrorCode::Storage, "check the keystore directory"),
        KeystoreError::Damaged { .. } => (ErrorCode::Storage, "restore the key file from a copy"),
        KeystoreError::NoKey(_) => (ErrorCode::NotFound, "`pop wallet list` names the keys"),
        _ => (ErrorCode::Refused, "`pop wallet list` names the keys"),
    };
    Error::of(code, error).with_hint(hint)
}

impl Fault for SinkError {
    fn fault(self) -> Error {
        boxed(self.0)
    }
}

impl Fault for SourceError {
    fn fault(self) -> Error {
        boxed(self.0)
    }
}

/// Reads what a sink or source of ours was made of.
fn boxed(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let error = match error.downcast::<pop_store::Error>() {
        Ok(store) => return store.fault(),
        Err(error) => error,
    };
    let error = match error.downcast::<std::io::Error>() {
        Ok(io) => return output(&io, &*io),
        Err(error) => error,
    };
    match error.downcast::<Cancelled>() {
        Ok(cancelled) => Error::of(ErrorCode::Interrupted, &*cancelled),
        Err(error) => Error::of(ErrorCode::Internal, &*error),
    }
}

impl Fault for ImportError {
    fn fault(self) -> Error {
        match self {
            Self::Sink(sink) => sink.fault(),
            other => Error::of(ErrorCode::BadInput, &other)
                .with_hint("nothing of this put was kept; the open transaction is as it was"),
        }
    }
}

impl Fault for CarError {
    fn fault(self) -> Error {
        Error::of(ErrorCode::BadInput, &self).with_hint("nothing of this CAR was kept")
    }
}

impl Fault for WalkError {
    fn fault(self) -> Error {
        match &self {
            Self::NotFound { .. } | Self::NotADirectory { .. } => Error::of(ErrorCode::NotFound, &self),
            _ => Error::of(ErrorCode::BadInput, &self),
        }
    }
}

impl Fault for RunError {
    fn fault(self) -> Error {
        match self {
            Self::Missing { .. } => Error::of(ErrorCode::NotFound, &self)
                .with_hint("only part of this DAG is here; `pop get` fetches the rest"),
            Self::Walk(walk) => (*walk).fault(),
            Self::Source(source) => source.fault(),
            Self::Visit(visit) => visit.fault(),
            other => Error::of(ErrorCode::Internal, &other),
        }
    }
}

impl Fault for ResolveError {
    fn fault(self) -> Error {
        match self {
            Self::Source(source) => source.fault(),
            other => Error::of(ErrorCode::NotFound, &other),
        }
    }
}

impl Fault for ExportError {
    fn fault(self) -> Error {
        match self {
            Self::Source(source) => source.fault(),
            Self::Missing { .. } => Error::of(ErrorCode::NotFound, &self),
            Self::Io { source: ref io, .. } | Self::Write(ref io) => output(io, &self),
            Self::Exists { .. } => Error::of(ErrorCode::Usage, &self).with_hint("name another place with -o"),
            other => Error::of(ErrorCode::BadInput, &other),
        }
    }
}

/// Tells a full disk from other faults of the place that output goes to.
pub(crate) fn output(io: &std::io::Error, told: &dyn std::error::Error) -> Error {
    match io.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::of(ErrorCode::Storage, told).with_hint("free some space where the output goes")
        }
        _ => Error::of(ErrorCode::BadInput, told).with_hint("check the path that was given with -o"),
    }
}

/// Says that a file of the caller's could not be read or written.
pub(crate) fn file(path: &std::path::Path, doing: &str, io: &std::io::Error) -> Error {
    let code = match io.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorCode::Storage,
        _ => ErrorCode::BadInput,
    };
    Error::new(code, format!("{} cannot be {doing}: {io}", path.display()))
}
