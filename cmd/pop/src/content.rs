//! `put` to `gc`: what this node keeps and gets.

mod args;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pop_rpc::{
    CidText, Client, CommitParams, Committed, DispatchParams, Error, ErrorCode, ExportParams, GcParams,
    GetParams, Got, HeldEntry, ImportParams, NoParams, PutParams, RefEntry, RootParams, Shadow, Source,
    StoreFigures, TxStatus,
};
use pop_units::Bytes;

pub(crate) use args::Command;
use args::{ExportArgs, GetArgs, PutArgs, Replication};

use crate::cli::Context;
use crate::exit::fail;
use crate::link::{follow, open};
use crate::output::{fields, table};
use crate::pipe::Pipe;
use crate::place::absolute;
use crate::spool::Spool;

/// Names of a root that `list` shows.
const NAMES: usize = 5;

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
            let committed = follow(client.commit(CommitParams::new(args.terms(2))).await?, output).await?;
            output.show(&committed, committed_text);
        }
        Command::Dispatch { root, replication } => {
            let client = open(&context.repo).await?;
            let params = DispatchParams::new(root, replication.terms(2));
            let committed = follow(client.dispatch(params).await?, output).await?;
            output.show(&committed, committed_text);
        }
        Command::Import { file, partial, replication } => {
            import(&file, partial, &replication, context).await?;
        }
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
        Command::Gc { dry_run, verify } => gc(GcParams { dry_run, verify }, context).await?,
        Command::Store => {
            let figures = open(&context.repo).await?.store(NoParams {}).await?;
            output.show(&figures, figures_text);
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

async fn import(
    file: &Path,
    partial: bool,
    replication: &Replication,
    context: &Context,
) -> Result<(), Error> {
    let terms = replication.terms(0);
    let imported = match file == Path::new("-") {
        true => {
            let client = open(&context.repo).await?;
            let pipe = Pipe::new(&context.repo)?;
            let params = ImportParams::new(pipe.path().to_owned(), partial, true, terms);
            let watch = client.import(params).await?;
            tokio::select! {
                imported = follow(watch, context.output) => imported?,
                failed = pipe.fill_from_stdin() => return Err(failed),
            }
        }
        false => {
            let params = ImportParams::new(absolute(file)?, partial, false, terms);
            let client = open(&context.repo).await?;
            follow(client.import(params).await?, context.output).await?
        }
    };
    context.output.show(&imported, |imported| {
        let roots: Vec<_> = imported.roots.iter().map(ToString::to_string).collect();
        let mut rows = vec![
            ("roots", roots.join("\n        ")),
            ("blocks", imported.blocks.to_string()),
            ("size", imported.size.to_string()),
        ];
        rows.extend(missing_row(imported.missing, &imported.missing_first));
        rows.extend((!imported.caches.is_empty()).then(|| ("caches", peers_text(&imported.caches))));
        fields(&rows)
    });
    Ok(())
}

/// Returns the line that tells what a partial DAG lacks.
fn missing_row(missing: u64, first: &[CidText]) -> Option<(&'static str, String)> {
    let named = first.iter().map(|cid| format!("\n         {cid}")).collect::<String>();
    (missing > 0).then(|| ("missing", format!("{missing}{named}")))
}

async fn gc(params: GcParams, context: &Context) -> Result<(), Error> {
    let verb = if params.dry_run { "would free" } else { "freed" };
    let client = open(&context.repo).await?;
    let freed = follow(client.gc(params).await?, context.output).await?;
    context.output.show(&freed, |freed| {
        let verified = freed.verified.as_ref();
        let verified = verified.map(|all| format!("verified {} blocks, {}\n", all.blocks, all.size));
        format!("{}{verb} {}", verified.unwrap_or_default(), freed.freed)
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
    let chosen = args.output.unwrap_or_else(|| {
        let name = args.cid.path.last().cloned().unwrap_or_else(|| args.cid.cid.to_string());
        format!("{name}.car").into()
    });
    let target = Target::new(&chosen, context)?;
    let ExportArgs { cid, car_version, scope, partial, .. } = args;
    let scope = scope.map(Into::into).unwrap_or_default();
    let params = ExportParams { cid, output: target.path.clone(), car_version, scope, partial };
    let client = open(&context.repo).await?;
    let exported = follow(client.export(params).await?, context.output).await?;
    if !target.drain().await? {
        context.output.show(&exported, |exported| {
            let mut rows = vec![
                ("file", chosen.display().to_string()),
                ("root", exported.root.to_string()),
                ("blocks", exported.blocks.to_string()),
                ("size", exported.size.to_string()),
            ];
            rows.extend(missing_row(exported.missing, &exported.missing_first));
            fields(&rows)
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
    if got.left_out > 0 {
        rows.push(("left out", format!("{} symlinks that lead outside", got.left_out)));
    }
    fields(&rows)
}

/// Says of a name what is not obvious about it.
fn name_text(entry: &HeldEntry) -> String {
    let absent = if entry.held { "" } else { ", not here" };
    format!("{} ({}{absent})", entry.key, entry.size)
}

/// Says the first names; a line that holds a thousand shows none.
fn names_text(entries: &[HeldEntry]) -> String {
    let mut names: Vec<_> = entries.iter().take(NAMES).map(name_text).collect();
    let more = entries.len().saturating_sub(NAMES);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(" ")
}

fn refs_text(refs: &[RefEntry]) -> String {
    let row = |entry: &RefEntry| {
        let state = match (entry.pinned, entry.complete) {
            (true, true) => "pinned",
            (true, false) => "pinned, partial",
            (false, true) => "",
            (false, false) => "partial",
        };
        vec![
            entry.root.to_string(),
            entry.size.to_string(),
            entry.frequency.to_string(),
            entry.served.to_string(),
            entry.revenue_atto.to_string(),
            state.to_owned(),
            names_text(&entry.entries),
        ]
    };
    let head = ["root", "size", "used", "served", "revenue", "", "keys"];
    match refs.is_empty() {
        true => "nothing is kept".to_owned(),
        false => table(&head, &refs.iter().map(row).collect::<Vec<_>>()),
    }
}

fn figures_text(figures: &StoreFigures) -> String {
    let text = fields(&[
        ("used", format!("{} of {}", figures.used, figures.capacity)),
        ("live", format!("{}, {} blocks", figures.live, figures.blocks)),
        ("reclaimable", figures.reclaimable.to_string()),
        ("reserved", figures.reserved.to_string()),
        ("refs", figures.refs.to_string()),
        ("pinned", format!("{}, {} refs", figures.pinned, figures.pinned_refs)),
        ("eviction", format!("{}, down to {}", figures.policy, figures.low)),
    ]);
    if figures.sampled.requests == 0 {
        return text;
    }
    let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
    let row = |name: String, shadow: &Shadow| {
        let uses = [shadow.requests.to_string(), shadow.hits.to_string()];
        let shares = [percent(shadow.hit_ratio), percent(shadow.byte_hit_ratio)];
        [name].into_iter().chain(uses).chain(shares).collect::<Vec<_>>()
    };
    let mut rows = vec![row(format!("{} (here)", figures.policy), &figures.sampled)];
    rows.extend(figures.shadows.iter().map(|shadow| row(shadow.policy.clone(), shadow)));
    let head = format!("one ref in {}", figures.sampled_one_in);
    text + &table(&[&head, "uses", "hits", "of uses", "of bytes"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_shows_the_first_names_and_counts_the_rest() {
        let entry = |key: usize| HeldEntry {
            key: key.to_string(),
            cid: "bafkqaaa".parse().unwrap(),
            size: Bytes::new(1),
            held: true,
        };
        let text = |count: usize| names_text(&(0..count).map(entry).collect::<Vec<_>>());
        assert_eq!(text(0), "");
        assert_eq!(text(5), "0 (1 B) 1 (1 B) 2 (1 B) 3 (1 B) 4 (1 B)");
        assert_eq!(text(1000), "0 (1 B) 1 (1 B) 2 (1 B) 3 (1 B) 4 (1 B) and 995 more");
    }
}
