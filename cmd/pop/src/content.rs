//! `put` to `gc`: what this node keeps and gets.

mod args;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pop_rpc::{
    Client, Committed, DispatchParams, Error, ErrorCode, ExportParams, GcParams, GetParams, Got,
    ImportParams, NoParams, PutParams, RefEntry, RootParams, Source, TxStatus,
};
use pop_units::Bytes;

pub(crate) use args::Command;
use args::{ExportArgs, GetArgs, PutArgs, Replication};

use crate::cli::Context;
use crate::exit::fail;
use crate::link::{follow, open};
use crate::output::{fields, table};
use crate::place::absolute;
use crate::spool::Spool;

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Error> {
    let output = context.output;
    // Paths are read before the daemon is asked for, so that a wrong one is told first.
    match command {
        Command::Put(args) => put(args, context).await?,
        Command::Status => {
            let status = open(&context.repo).await?.status(NoParams {}).await?;
            output.show(&status, status_text);
        }
        Command::Commit(args) => {
            let client = open(&context.repo).await?;
            let committed = follow(client.commit(args.params(2)).await?, output).await?;
            output.show(&committed, committed_text);
        }
        Command::Dispatch { root, replication } => {
            let client = open(&context.repo).await?;
            let params = DispatchParams::new(root, replication.params(2));
            let committed = follow(client.dispatch(params).await?, output).await?;
            output.show(&committed, committed_text);
        }
        Command::Import { file, replication } => import(&file, &replication, context).await?,
        Command::Export(args) => export(args, context).await?,
        Command::Get(args) => get(*args, context).await?,
        Command::List => {
            let refs = open(&context.repo).await?.list(NoParams {}).await?;
            output.show(&refs, |refs| refs_text(refs));
        }
        Command::Pin { root } => {
            let pinned = open(&context.repo).await?.pin(RootParams { root }).await?;
            output.show(&pinned, |pinned| format!("pinned {}", pinned.root));
        }
        Command::Unpin { root } => {
            let pinned = open(&context.repo).await?.unpin(RootParams { root }).await?;
            output.show(&pinned, |pinned| format!("unpinned {}", pinned.root));
        }
        Command::Rm { root } => {
            let freed = open(&context.repo).await?.rm(RootParams { root }).await?;
            output.show(&freed, |freed| format!("freed {}", freed.freed));
        }
        Command::Gc { dry_run } => {
            let freed = open(&context.repo).await?.gc(GcParams { dry_run }).await?;
            let verb = if dry_run { "would free" } else { "freed" };
            output.show(&freed, |freed| format!("{verb} {}", freed.freed));
        }
    }
    Ok(())
}

async fn put(args: PutArgs, context: &Context) -> Result<(), Error> {
    let paths = args.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let PutArgs { codec, profile, chunker, layout, .. } = args;
    let layout = layout.map(Into::into).unwrap_or_default();
    let params = PutParams { paths, codec: codec.map(Into::into), profile, chunker, layout };
    let client = open(&context.repo).await?;
    let put = follow(client.put(params).await?, context.output).await?;
    context.output.show(&put, |put| {
        let entries = entries_text(&put.entries);
        entries + &fields(&[("root", put.root.to_string()), ("total", put.total_size.to_string())])
    });
    Ok(())
}

async fn import(file: &Path, replication: &Replication, context: &Context) -> Result<(), Error> {
    let client = open(&context.repo).await?;
    let (path, spool) = match file == Path::new("-") {
        true => {
            let spool = Spool::new(&context.repo)?;
            spool.fill().await?;
            (spool.path().to_owned(), Some(spool))
        }
        false => (absolute(file)?, None),
    };
    let params = ImportParams::new(path, replication.params(0));
    let imported = follow(client.import(params).await?, context.output).await?;
    drop(spool);
    context.output.show(&imported, |imported| {
        let roots: Vec<_> = imported.roots.iter().map(ToString::to_string).collect();
        let mut rows = vec![
            ("roots", roots.join("\n        ")),
            ("blocks", imported.blocks.to_string()),
            ("size", imported.size.to_string()),
        ];
        rows.extend((!imported.caches.is_empty()).then(|| ("caches", peers_text(&imported.caches))));
        fields(&rows)
    });
    Ok(())
}

/// Where a result goes: a file, or stdout by way of a spool.
struct Target {
    path: PathBuf,
    spool: Option<Spool>,
}

impl Target {
    fn new(chosen: &Path, context: &Context) -> Result<Self, Error> {
        if chosen != Path::new("-") {
            return Ok(Self { path: absolute(chosen)?, spool: None });
        }
        if context.output.json {
            let hint = "give -o a file, or leave --json out";
            return Err(fail(ErrorCode::Usage, "stdout cannot carry both content and JSON", hint));
        }
        let spool = Spool::new(&context.repo)?;
        Ok(Self { path: spool.path().to_owned(), spool: Some(spool) })
    }

    /// Puts the content on stdout where it was asked for; tells whether it did.
    async fn drain(self) -> Result<bool, Error> {
        match self.spool {
            Some(spool) => spool.drain().await.map(|()| true),
            None => Ok(false),
        }
    }
}

async fn export(args: ExportArgs, context: &Context) -> Result<(), Error> {
    let chosen = args.output.unwrap_or_else(|| format!("{}.car", args.cid.cid).into());
    let target = Target::new(&chosen, context)?;
    let ExportArgs { cid, car_version, scope, .. } = args;
    let scope = scope.map(Into::into).unwrap_or_default();
    let params = ExportParams { cid, output: target.path.clone(), car_version, scope };
    let client = open(&context.repo).await?;
    let exported = follow(client.export(params).await?, context.output).await?;
    if !target.drain().await? {
        context.output.show(&exported, |exported| {
            fields(&[
                ("file", chosen.display().to_string()),
                ("root", exported.root.to_string()),
                ("blocks", exported.blocks.to_string()),
                ("size", exported.size.to_string()),
            ])
        });
    }
    Ok(())
}

async fn get(args: GetArgs, context: &Context) -> Result<(), Error> {
    let target = args.output.as_deref().map(|path| Target::new(path, context)).transpose()?;
    let client = open(&context.repo).await?;
    let mut params = GetParams::new(args.cid);
    params.output = target.as_ref().map(|target| target.path.clone());
    params.strategy = args.strategy.map(Into::into);
    params.max_price = args.max_price;
    params.max_spend = args.max_spend;
    params.peer = args.peer;
    if let Some(timeout) = args.timeout {
        params.timeout = timeout;
    }
    let got = retrieve(&client, params, context).await?;
    let drained = match target {
        Some(target) => target.drain().await?,
        None => false,
    };
    if !drained {
        context.output.show(&got, got_text);
    }
    Ok(())
}

async fn retrieve(client: &Client, params: GetParams, context: &Context) -> Result<Got, Error> {
    follow(client.get(params).await?, context.output).await
}

fn entries_text(entries: &[pop_rpc::Entry]) -> String {
    let row = |entry: &pop_rpc::Entry| vec![entry.key.clone(), entry.cid.to_string(), entry.size.to_string()];
    table(&["key", "cid", "size"], &entries.iter().map(row).collect::<Vec<_>>())
}

fn status_text(status: &TxStatus) -> String {
    let (Some(tx), Some(entries)) = (&status.tx, &status.entries) else {
        return "nothing is staged".to_owned();
    };
    let root = status.root.map(|root| root.to_string()).unwrap_or_default();
    let total = status.total_size.unwrap_or(Bytes::ZERO).to_string();
    entries_text(entries) + &fields(&[("tx", tx.clone()), ("root", root), ("total", total)])
}

fn peers_text(caches: &[pop_rpc::Cached]) -> String {
    caches.iter().map(|cache| cache.peer.as_str()).collect::<Vec<_>>().join("\n        ")
}

fn committed_text(committed: &Committed) -> String {
    let mut rows = vec![("root", committed.root.to_string()), ("size", committed.size.to_string())];
    if committed.requested > 0 {
        rows.push(("copies", format!("{} of {}", committed.caches.len(), committed.requested)));
    }
    if !committed.caches.is_empty() {
        rows.push(("caches", peers_text(&committed.caches)));
    }
    fields(&rows)
}

/// Returns how fast `size` went in `seconds`, for people.
pub(crate) fn speed(size: Bytes, seconds: f64) -> String {
    let millis = Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_millis()).max(1);
    let each_second = u128::from(size.get()) * 1000 / millis;
    format!("{}/s", Bytes::new(u64::try_from(each_second).unwrap_or(u64::MAX)))
}

fn got_text(got: &Got) -> String {
    let mut rows = vec![("cid", got.cid.to_string()), ("size", got.size.to_string())];
    match got.source {
        Source::Local => rows.push(("source", "local".to_owned())),
        Source::Network => rows.extend([
            ("source", format!("network, {} offers", got.offers)),
            ("provider", got.provider.clone().unwrap_or_default()),
            ("spent", format!("{} in {} vouchers", got.spent_atto, got.vouchers)),
            ("routing", format!("{:.3} s", got.routing_s)),
            ("transfer", format!("{:.3} s, {}", got.transfer_s, speed(got.size, got.transfer_s))),
        ]),
    }
    fields(&rows)
}

fn refs_text(refs: &[RefEntry]) -> String {
    let row = |entry: &RefEntry| {
        let pinned = if entry.pinned { "pinned" } else { "" };
        let frequency = entry.frequency.to_string();
        vec![
            entry.root.to_string(),
            entry.size.to_string(),
            frequency,
            pinned.to_owned(),
            entry.keys.join(" "),
        ]
    };
    match refs.is_empty() {
        true => "nothing is kept".to_owned(),
        false => table(&["root", "size", "used", "", "keys"], &refs.iter().map(row).collect::<Vec<_>>()),
    }
}
