//! The access log: one line for each request, written by one thread, and never waited for.
//!
//! Lines come through a queue with a bound. When the writer is behind, lines are counted and dropped: a full disk
//! never keeps a client waiting.

mod line;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::figures::Figures;
pub(super) use crate::server::log::line::Line;
use crate::settings::{AccessLog, LogForm};

/// Bytes that may wait to be written.
const BEHIND: usize = 4 * 1024 * 1024;

/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;

/// How often the writer looks whether the file was moved away.
const LOOK: Duration = Duration::from_secs(1);

/// Where lines are given. Clones share the queue.
#[derive(Clone)]
pub(super) struct Log {
    lines: mpsc::UnboundedSender<String>,
    behind: Arc<AtomicUsize>,
    form: LogForm,
    figures: Figures,
}

impl Log {
    /// Opens the log and begins to write. The writer ends after the last clone of the log is dropped.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn open(settings: &AccessLog, figures: Figures) -> io::Result<(Self, JoinHandle<()>)> {
        let mut to = match &settings.to {
            Some(path) => Sink::File(Kept::open(path)?),
            None => Sink::Out,
        };
        let (lines, mut queue) = mpsc::unbounded_channel::<String>();
        let behind = Arc::<AtomicUsize>::default();
        let log =
            Self { lines, behind: Arc::clone(&behind), form: settings.format, figures: figures.clone() };
        let writer = tokio::task::spawn_blocking(move || {
            let (mut batch, mut is_failing) = (String::new(), false);
            while let Some(line) = queue.blocking_recv() {
                let mut count = 1;
                batch.push_str(&line);
                while batch.len() < BATCH
                    && let Ok(line) = queue.try_recv()
                {
                    batch.push_str(&line);
                    count += 1;
                }
                let written = to.write(batch.as_bytes());
                match &written {
                    Ok(()) if is_failing => tracing::info!("the access log is written again"),
                    // Told once: there may be as many failures as requests, and a log of its own on the same disk.
                    Err(error) if !is_failing => {
                        tracing::warn!(%error, "the access log cannot be written; lines are lost");
                    }
                    Ok(()) | Err(_) => {}
                }
                is_failing = written.is_err();
                if is_failing {
                    (0..count).for_each(|_| figures.unlogged());
                }
                behind.fetch_sub(batch.len(), Ordering::Relaxed);
                batch.clear();
            }
        });
        Ok((log, writer))
    }

    /// Gives a line to the writer, unless too much waits for it.
    pub(super) fn write(&self, line: Line) {
        let text = line.format(self.form);
        let behind = self.behind.fetch_add(text.len(), Ordering::Relaxed);
        if behind > BEHIND {
            self.behind.fetch_sub(text.len(), Ordering::Relaxed);
            return self.figures.unlogged();
        }
        let _ = self.lines.send(text);
    }
}

enum Sink {
    Out,
    File(Kept),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Out => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File(kept) => kept.write(bytes),
        }
    }
}

/// A file that is opened again when it was moved away.
struct Kept {
    path: PathBuf,
    file: File,
    looked: Instant,
}

impl Kept {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Self { path: path.to_owned(), file, looked: Instant::now() })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.looked.elapsed() >= LOOK {
            if self.is_elsewhere()? {
                *self = Self::open(&self.path)?;
            }
            self.looked = Instant::now();
        }
        self.file.write_all(bytes)
    }

    fn is_elsewhere(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) != (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn line(target: &str) -> Line {
        Line {
            at: SystemTime::UNIX_EPOCH,
            id: "a".into(),
            from: [192, 0, 2, 1].into(),
            method: "GET".into(),
            host: None,
            target: target.into(),
            version: http::Version::HTTP_11,
            agent: None,
            referer: None,
            range: None,
            cache: None,
            status: 200,
            sent: 1,
            took: Duration::ZERO,
            first_byte: None,
            cut: None,
        }
    }

    #[tokio::test]
    async fn lines_go_on_in_a_new_file_when_the_old_one_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("old.log"));
        std::fs::write(&path, "before\n").unwrap();
        let mut kept = Kept::open(&path).unwrap();
        kept.write(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        kept.looked -= LOOK;
        kept.write(b"two\n").unwrap();
        kept.looked -= LOOK;
        kept.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "before\none\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\nthree\n");
    }

    #[tokio::test]
    async fn the_writer_ends_after_all_that_was_given_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let settings = AccessLog { to: Some(path.clone()), format: LogForm::Combined };
        let (log, writer) = Log::open(&settings, Figures::new()).unwrap();
        for number in 0..1000 {
            log.write(line(&format!("/{number}")));
        }
        drop(log);
        writer.await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert!(text.lines().last().unwrap().contains("\"GET /999 HTTP/1.1\""));
    }

    #[tokio::test]
    async fn a_writer_that_is_behind_costs_lines_and_not_time() {
        let (lines, mut queue) = mpsc::unbounded_channel();
        let figures = Figures::new();
        let log = Log { lines, behind: Arc::default(), form: LogForm::Combined, figures: figures.clone() };
        let long = "x".repeat(64 * 1024);
        for _ in 0..100 {
            log.write(line(&long));
        }
        let mut waiting = 0;
        while let Ok(line) = queue.try_recv() {
            waiting += line.len();
        }
        assert!(waiting <= BEHIND + 128 * 1024);
        let mut text = String::new();
        figures.write(&mut text).unwrap();
        let lost = text.lines().find_map(|line| line.strip_prefix("pop_gateway_unlogged_total "));
        assert!(lost.unwrap().parse::<usize>().unwrap() > 20, "{text}");
    }
}
