//! The commands and their flags, and who carries each out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use pop_rpc::{Error, ErrorCode};

use crate::output::Output;
use crate::{chain, config, content, demo, exit, init, pay, peers, place, start, wallet};

/// The heading of the flags that every command takes.
const EVERYWHERE: &str = "Everywhere";

/// A pop: publishes, finds, buys and sells content among peers.
#[derive(Debug, Parser)]
#[command(name = "pop", version, max_term_width = 100, propagate_version = false)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 not found, 5 timed out, 6 refused, 7 bad input, 8 storage, 130 interrupted."
)]
pub(crate) struct Cli {
    /// Where the node keeps everything [default: ~/.pop]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", env = "POP_REPO", hide_env_values = true)]
    repo: Option<PathBuf>,
    /// Print exactly one JSON document; progress goes to stderr as JSON lines
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    /// No progress, no remarks
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
    /// Log more; twice logs every block
    #[arg(long, short, global = true, help_heading = EVERYWHERE, action = ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up a repo
    Init(init::InitArgs),
    /// Run the node in the foreground
    Start(Box<start::StartArgs>),
    #[command(flatten)]
    Peers(peers::Command),
    #[command(flatten)]
    Content(content::Command),
    /// Keys and plain transfers
    #[command(subcommand)]
    Wallet(wallet::Command),
    /// Payment channels
    #[command(subcommand)]
    Pay(pay::Command),
    /// The chain that money lives on
    #[command(subcommand)]
    Chain(chain::Command),
    /// Settings and where they come from
    #[command(subcommand)]
    Config(config::Command),
    /// Publish, replicate, buy, verify and settle between three nodes on this machine
    Demo(demo::DemoArgs),
    /// Print the script that completes commands in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// What every command needs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The repo, absolute.
    pub(crate) repo: PathBuf,
    /// How results are shown.
    pub(crate) output: Output,
    /// How often `-v` was given.
    pub(crate) verbose: u8,
}

/// Parses, runs, tells, and returns the exit code.
pub(crate) fn run() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let is_flag = matches.value_source("repo") == Some(ValueSource::CommandLine);
        Ok((Cli::from_arg_matches(&matches)?, is_flag))
    });
    let (cli, names_repo) = match parsed {
        Ok(parsed) => parsed,
        // Asked before parsing went wrong, so it is looked for by hand.
        Err(error) => return exit::tell_usage(error, std::env::args_os().any(|arg| arg == "--json")),
    };
    let output = Output { json: cli.json, quiet: cli.quiet };
    let result = match &cli.command {
        Command::Start(args) if names_repo && args.is_temporary() => Err(exit::fail(
            ErrorCode::Usage,
            "--temp-repo makes a repo of its own and --repo names another",
            "give one of them",
        )),
        _ => dispatch(cli, output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::tell(&error, output),
    }
}

/// Threads for blocking work. The pools of the daemon together ask for fewer; each thread keeps some memory.
const BLOCKING: usize = 128;

fn dispatch(cli: Cli, output: Output) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .build()
        .map_err(|error| Error::of(ErrorCode::Internal, &error))?;
    let context = Context { repo: place::repo(cli.repo)?, output, verbose: cli.verbose };
    let result = match cli.command {
        // These two answer signals in their own order.
        Command::Start(args) => runtime.block_on(start::run(*args, &context)),
        Command::Demo(args) => runtime.block_on(demo::run(args, &context)),
        command => runtime.block_on(until_interrupted(ask(command, &context))),
    };
    // A read of stdin that nobody needs any more must not hold the process.
    runtime.shutdown_background();
    result
}

/// Runs until it is done or the terminal interrupts; dropping a command cancels what it asked for.
pub(crate) async fn until_interrupted<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(exit::interrupted()),
        result = work => result,
    }
}

async fn ask(command: Command, context: &Context) -> Result<(), Error> {
    match command {
        Command::Init(args) => init::run(args, context).await,
        Command::Start(_) | Command::Demo(_) => Ok(()),
        Command::Peers(command) => peers::run(command, context).await,
        Command::Content(command) => content::run(command, context).await,
        Command::Wallet(command) => wallet::run(command, context).await,
        Command::Pay(command) => pay::run(command, context).await,
        Command::Chain(command) => chain::run(command, context).await,
        Command::Config(command) => config::run(command, context),
        Command::Completions { shell } => {
            complete(shell, context.output);
            Ok(())
        }
        Command::Version => {
            let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION") });
            context.output.show(&version, |_| format!("pop {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    }
}

fn complete(shell: clap_complete::Shell, output: Output) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pop", &mut script);
    let script = String::from_utf8_lossy(&script);
    let told = serde_json::json!({ "shell": shell.to_string(), "script": script });
    output.show(&told, |_| script.into_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
