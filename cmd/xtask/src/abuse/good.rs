//! The client that does nothing wrong, and what it gets to feel of those who do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::door::Door;
use super::wire::{connect, status_of};

/// How often it asks.
const EVERY: Duration = Duration::from_millis(20);
/// Each so many requests it comes anew, as other visitors do.
const ANEW: u32 = 10;
/// What it waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// An address of its own.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// What it felt.
#[derive(Debug, Default, Clone)]
pub(super) struct Felt {
    /// How long each request took.
    pub(super) took: Vec<Duration>,
    /// What went wrong.
    pub(super) wrong: Vec<String>,
}

impl Felt {
    pub(super) fn worst(&self) -> Duration {
        self.took.iter().copied().max().unwrap_or_default()
    }

    /// Returns what 99 of 100 requests stayed below.
    pub(super) fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len().saturating_mul(99) / 100).copied().unwrap_or_default()
    }
}

/// The client, shared between its thread and those who ask how it is.
#[derive(Debug, Default)]
pub(super) struct Good {
    felt: Mutex<Felt>,
    pub(super) is_over: AtomicBool,
}

impl Good {
    /// Asks until it is over.
    pub(super) fn run(&self, door: &Door) {
        let mut stream = None;
        let ask = door.get(&door.small_path(), "");
        let mut number: u32 = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            number = number.wrapping_add(1);
            if number.is_multiple_of(ANEW) {
                stream = None;
            }
            let begun = Instant::now();
            let outcome = once(&mut stream, door, &ask);
            let took = begun.elapsed();
            if let Ok(mut felt) = self.felt.lock() {
                felt.took.push(took);
                if let Err(error) = outcome {
                    felt.wrong.push(format!("{error:#}"));
                    stream = None;
                }
            }
            std::thread::sleep(EVERY.saturating_sub(took));
        }
    }

    /// Returns what it felt since the last call.
    pub(super) fn take(&self) -> Felt {
        self.felt.lock().map(|mut felt| std::mem::take(&mut *felt)).unwrap_or_default()
    }
}

fn once(stream: &mut Option<TcpStream>, door: &Door, ask: &[u8]) -> Result<()> {
    let mut open = match stream.take() {
        Some(open) => open,
        None => {
            let open = connect(door.at, FROM)?;
            open.set_read_timeout(Some(PATIENCE))?;
            open
        }
    };
    open.write_all(ask).context("the request was not taken")?;
    let (mut seen, mut buffer) = (Vec::new(), [0; 32 << 10]);
    loop {
        let read = open.read(&mut buffer).context("no answer")?;
        ensure!(read > 0, "the connection was closed in an answer");
        seen.extend(buffer.get(..read).unwrap_or_default());
        let Some(at) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let status = status_of(&seen).unwrap_or(0);
        ensure!(status == 200, "status {status}");
        let body = seen.get(at + 4..).unwrap_or_default();
        if body.len() >= door.small.len() {
            ensure!(body == door.small, "other bytes");
            *stream = Some(open);
            return Ok(());
        }
    }
}
