//! The way to the daemon, and waiting for it.

use std::path::Path;
use std::time::Duration;

use pop_rpc::{Client, Error, ErrorCode, Watch};
use serde::de::DeserializeOwned;

use crate::output::Output;
use crate::progress::Meter;

/// The pause between two looks at something that another process does.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// Connects to the daemon of `repo`, or says how to start it.
pub(crate) async fn open(repo: &Path) -> Result<Client, Error> {
    Client::open(repo).await.map_err(|error| match (error.code, &error.hint) {
        (ErrorCode::NoDaemon, None) => {
            error.with_hint(format!("start it with: pop --repo {} start", repo.display()))
        }
        _ => error,
    })
}

/// Waits for a long operation and shows its progress.
pub(crate) async fn follow<R: DeserializeOwned>(watch: Watch<R>, output: Output) -> Result<R, Error> {
    let mut meter = Meter::new(output);
    watch.finish(|report| meter.on_progress(report)).await
}

/// Waits until nobody holds the lock of `repo`, at most for `limit`.
pub(crate) async fn released(repo: &Path, limit: Duration) -> Result<(), Error> {
    let gone = async {
        while is_locked(repo) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(limit, gone).await.map_err(|_| {
        Error::new(ErrorCode::TimedOut, "the daemon still runs")
            .with_hint("it lets paid deals finish; ask again later")
    })
}

fn is_locked(repo: &Path) -> bool {
    let Ok(file) = std::fs::File::open(repo.join("lock")) else { return false };
    // Shared and let go at once: a daemon that starts just now waits for nobody.
    matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}
