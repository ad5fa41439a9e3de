//! The demo's nodes: child processes that run `start`, and their end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pop_rpc::{Client, Error, ErrorCode, OffParams};
use pop_units::Span;
use tokio::process::{Child, Command};

use crate::exit;
use crate::link::LOOK;
use crate::output;

/// A node that does not answer in this time is stuck.
const START: Duration = Duration::from_secs(60);
/// A node that is not gone in this time after `off` is killed.
const STOP: Duration = Duration::from_secs(15);
/// Lines of a node's log that are shown when the demo fails.
const LOG_LINES: usize = 8;

/// All child processes; each is killed when this is dropped.
pub(super) struct Cluster {
    dir: PathBuf,
    children: Vec<(PathBuf, Child)>,
}

impl Cluster {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), children: Vec::new() }
    }

    /// Returns the repo of the node `name`.
    pub(super) fn repo(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts a node and waits until it answers.
    pub(super) async fn start(&mut self, name: &str, flags: &[String]) -> Result<Client, Error> {
        let repo = self.repo(name);
        let log_path = self.log(&repo);
        let log = File::create(&log_path).map_err(|error| exit::file(&log_path, &error))?;
        let program = std::env::current_exe().map_err(|error| Error::of(ErrorCode::Internal, &error))?;
        let mut command = Command::new(program);
        // What the caller's environment says to his own node is not meant for these.
        for (variable, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POP_"))
        {
            command.env_remove(variable);
        }
        command
            .arg("--repo")
            .arg(&repo)
            .args(["start", "--listen", "/ip4/127.0.0.1/tcp/0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // An interrupt of the terminal reaches the demo alone, which then stops them in order.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| Error::of(ErrorCode::Internal, &error))?;
        let answers = tokio::time::timeout(START, answer(&repo, &mut child)).await;
        self.children.push((repo, child));
        answers
            .unwrap_or_else(|_| Err(Error::new(ErrorCode::TimedOut, format!("node {name} does not answer"))))
    }

    fn log(&self, repo: &Path) -> PathBuf {
        repo.with_extension("log")
    }

    /// Shows the end of every node's log.
    pub(super) fn tell_logs(&self) {
        for (repo, _) in &self.children {
            let log = std::fs::read_to_string(self.log(repo)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
                let name = repo.file_name().unwrap_or_default().to_string_lossy();
                output::aside(&format!("{name}: {line}"));
            }
        }
    }

    /// Ends every node: in order where the demo went well, at once otherwise.
    pub(super) async fn stop(mut self, in_order: bool) {
        for (repo, child) in &mut self.children {
            if in_order
                && let Ok(client) = Client::open(repo).await
                && client.off(OffParams { drain: Some(Span::new(Duration::ZERO)) }).await.is_ok()
                && tokio::time::timeout(STOP, child.wait()).await.is_ok()
            {
                continue;
            }
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill().await;
        }
    }
}

async fn answer(repo: &Path, child: &mut Child) -> Result<Client, Error> {
    loop {
        match Client::open(repo).await {
            Err(error) if error.code == ErrorCode::NoDaemon => {}
            answered => return answered,
        }
        if let Ok(Some(status)) = child.try_wait() {
            let name = repo.file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::new(ErrorCode::Internal, format!("node {name} ended with {status}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}
