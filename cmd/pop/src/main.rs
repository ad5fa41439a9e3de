//! `pop`: the command line of a pop. It parses, calls the daemon's control API and prints; `start` runs the daemon.

mod chain;
mod cli;
mod config;
mod content;
mod demo;
mod exit;
mod init;
mod link;
mod output;
mod pay;
mod peers;
mod pipe;
mod place;
mod progress;
mod spool;
mod start;
mod wallet;

/// Many short-lived buffers of a MiB: the system's allocator gives them back to the kernel and faults them in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
