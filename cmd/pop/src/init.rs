//! `init`: the first-run survey; defaults where nobody can be asked.
//!
//! It sets the repo up by running the daemon once without peers: the wallet and the chain belong to the daemon, and
//! there is no second way to make them.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use pop_node::config::{Config, ROWS};
use pop_node::daemon;
use pop_rpc::{AddressParams, Client, Error, ErrorCode, OffParams, PingParams, Pong, WalletImportParams};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::cli::Context;
use crate::config::wrong;
use crate::exit::fail;
use crate::output::fields;
use crate::{start, wallet};

/// What the survey asks for.
const ASKED: [&str; 5] = ["capacity", "regions", "price", "max_price", "bootstrap"];

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Take the defaults and ask nothing
    #[arg(long, short)]
    yes: bool,
}

#[derive(Serialize)]
struct Made {
    repo: PathBuf,
    peer_id: String,
    address: String,
}

pub(crate) async fn run(args: InitArgs, context: &Context) -> Result<(), Error> {
    let repo = &context.repo;
    if repo.join("identity.key").exists() {
        let hint = "change its settings with `pop config set`, or choose another --repo";
        return Err(fail(ErrorCode::Refused, format!("{} is a repo already", repo.display()), hint));
    }
    let people = !args.yes && !context.output.json && std::io::stdin().is_terminal();
    let (chosen, key) = match people {
        true => survey().await?,
        false => (Vec::new(), None),
    };
    start::prepare(repo, &chosen)?;
    let made = make(repo, key).await?;
    context.output.show(&made, |made| {
        let rows = [
            ("repo", made.repo.display().to_string()),
            ("peer id", made.peer_id.clone()),
            ("address", made.address.clone()),
        ];
        format!("{}start it with: pop --repo {} start", fields(&rows), made.repo.display())
    });
    Ok(())
}

/// Runs the daemon once, without peers, and asks it who it is.
async fn make(repo: &Path, key: Option<String>) -> Result<Made, Error> {
    let alone = [
        ("listen", "/ip4/127.0.0.1/tcp/0"),
        ("announce", ""),
        ("bootstrap", ""),
        ("chain_listen", ""),
        ("rpc_listen", ""),
        ("log_level", "warn"),
    ];
    let alone: Vec<_> = alone.map(|(key, value)| (key, value.to_owned())).into();
    let config = Config::load(repo, &alone).map_err(|error| wrong(&error))?;
    pop_node::log::start(&config);
    let (ready, waiting) = oneshot::channel();
    let asked = async {
        // When the daemon fails to start, its own error is the one to tell.
        if waiting.await.is_err() {
            return std::future::pending().await;
        }
        ask(repo, key).await
    };
    let daemon = daemon::run(repo.to_owned(), config, Some(ready));
    tokio::pin!(daemon, asked);
    let made = tokio::select! {
        ended = &mut daemon => {
            ended.map_err(|error| start::broken(&error))?;
            return Err(Error::new(ErrorCode::Interrupted, "the daemon ended before the repo was set up"));
        }
        made = &mut asked => made,
    };
    daemon.await.map_err(|error| start::broken(&error))?;
    made
}

async fn ask(repo: &Path, key: Option<String>) -> Result<Made, Error> {
    let client = Client::open(repo).await?;
    let made = questions(&client, repo, key).await;
    client.off(OffParams::default()).await?;
    made
}

async fn questions(client: &Client, repo: &Path, key: Option<String>) -> Result<Made, Error> {
    if let Some(key) = key {
        client.wallet_import(WalletImportParams { key, default: true }).await?;
    }
    let address = client.wallet_default(AddressParams::default()).await?.address;
    let (Pong::Own { peer_id, .. } | Pong::Peer { peer_id, .. }) = client.ping(PingParams::default()).await?;
    Ok(Made { repo: repo.to_owned(), peer_id, address })
}

/// Asks on the terminal; an empty answer takes the default, a wrong one is asked again.
async fn survey() -> Result<(Vec<(&'static str, String)>, Option<String>), Error> {
    let answers = tokio::task::spawn_blocking(|| {
        let mut chosen = Vec::new();
        for row in ASKED.iter().filter_map(|key| ROWS.iter().find(|row| row.key == *key)) {
            let answer = question(row.doc.trim(), row.default, |text| row.check(text))?;
            if answer != row.default {
                chosen.push((row.key, answer));
            }
        }
        let file = question("A file with a wallet key to import; empty makes a new one.", "", |_| Ok(()))?;
        Ok::<_, std::io::Error>((chosen, file))
    });
    let answers = answers.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let (chosen, file) = answers.map_err(|error| Error::of(ErrorCode::Internal, &error))?;
    let key = match file.is_empty() {
        true => None,
        false => Some(wallet::read_key(Path::new(&file)).await?),
    };
    Ok((chosen, key))
}

fn question(
    text: &str,
    default: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> std::io::Result<String> {
    let mut to = std::io::stderr().lock();
    loop {
        write!(to, "{text} [{default}] ")?;
        to.flush()?;
        let mut answer = String::new();
        if std::io::stdin().lock().read_line(&mut answer)? == 0 {
            return Ok(default.to_owned());
        }
        let answer = match answer.trim() {
            "" => default,
            answer => answer,
        };
        match check(answer) {
            Ok(()) => return Ok(answer.to_owned()),
            Err(why) => writeln!(to, "{why}")?,
        }
    }
}
