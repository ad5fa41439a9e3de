//! `demo`: what a pop is for, shown with three real nodes on this machine.
//!
//! Each node is this program's own `start` in a process of its own, with a store and a wallet of its own in a temporary
//! directory; everything goes over real sockets and the same control API that every command uses. Nothing is left behind.

mod cluster;
mod compare;
mod story;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use pop_rpc::{Error, ErrorCode};
use pop_units::{AttoFil, Bytes, PricePerByte};
use serde::Serialize;

use crate::cli::{Context, until_interrupted};
use crate::content::speed;
use crate::exit;
use crate::output::{self, Output};
use crate::place::absolute;
use crate::start::TempDir;

use cluster::Cluster;
use story::Story;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The file or directory to publish [default: a file of random bytes]
    path: Option<PathBuf>,
    /// The size of the random file
    #[arg(long, value_name = "SIZE", default_value = "256MiB", conflicts_with = "path")]
    size: Bytes,
    /// What the selling nodes ask
    #[arg(long, value_name = "PRICE", default_value = "0.004 FIL/GiB")]
    price: PricePerByte,
}

/// What happened, as `--json` tells it.
#[derive(Clone, Debug, Serialize)]
struct Told {
    root: String,
    size: Bytes,
    cached_by: Vec<String>,
    spent_atto: AttoFil,
    earned_atto: AttoFil,
    routing_s: f64,
    transfer_s: f64,
    verified: bool,
}

/// Tells each step as it is done.
#[derive(Clone, Copy, Debug)]
struct Teller {
    output: Output,
}

impl Teller {
    fn step(self, name: &str, took: Duration, what: &str) {
        #[derive(Serialize)]
        struct Step<'a> {
            stage: &'a str,
            took_s: f64,
            note: &'a str,
        }
        match (self.output.quiet, self.output.json) {
            (true, _) => {}
            (false, false) => output::text(&format!("{name:10} {:>7.2} s  {what}", took.as_secs_f64())),
            (false, true) => {
                let step = Step { stage: name, took_s: took.as_secs_f64(), note: what };
                output::aside(&serde_json::to_string(&step).unwrap_or_default());
            }
        }
    }
}

pub(crate) async fn run(args: DemoArgs, context: &Context) -> Result<(), Error> {
    let source = args.path.as_deref().map(absolute).transpose()?;
    if let Some(source) = &source
        && let Err(error) = source.symlink_metadata()
    {
        return Err(exit::file(source, &error));
    }
    let dir = TempDir::new()?;
    let teller = Teller { output: context.output };
    let mut cluster = Cluster::new(dir.path());
    let told = until_interrupted(tell(&args, source, dir.path(), &mut cluster, teller)).await;
    if let Err(error) = &told
        && error.code != ErrorCode::Interrupted
    {
        cluster.tell_logs();
    }
    // Before the directory goes, and whatever happened.
    cluster.stop(told.is_ok()).await;
    drop(dir);
    let told = told?;
    context.output.show(&told, table);
    match told.verified {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::BadInput, "what arrived is not what was published")),
    }
}

async fn tell(
    args: &DemoArgs,
    source: Option<PathBuf>,
    dir: &Path,
    cluster: &mut Cluster,
    teller: Teller,
) -> Result<Told, Error> {
    let source = match source {
        Some(source) => source,
        None => story::make_file(dir, args.size, teller).await?,
    };
    let nodes = story::gather(cluster, args.price, teller).await?;
    let story = Story { nodes: &nodes, teller };
    let (root, size, cached_by) = story.publish(&source).await?;
    story.give_pocket_money().await?;
    let target = dir.join("bought");
    let got = story.buy(root, &target).await?;
    let verified = story.verify(&source, &target).await?;
    let earned_atto = story.settle(got.provider.as_deref()).await?;
    Ok(Told {
        root: root.to_string(),
        size,
        cached_by,
        spent_atto: got.spent_atto,
        earned_atto,
        routing_s: got.routing_s,
        transfer_s: got.transfer_s,
        verified,
    })
}

fn table(told: &Told) -> String {
    let verified = if told.verified { "true, byte for byte" } else { "FALSE" };
    let fields = output::fields(&[
        ("root", told.root.clone()),
        ("size", told.size.to_string()),
        ("cached by", told.cached_by.join(" ")),
        ("spent", told.spent_atto.to_string()),
        ("earned", told.earned_atto.to_string()),
        ("routing", format!("{:.3} s", told.routing_s)),
        ("transfer", format!("{:.3} s, {}", told.transfer_s, speed(told.size, told.transfer_s))),
        ("verified", verified.to_owned()),
    ]);
    format!("\n{fields}")
}
