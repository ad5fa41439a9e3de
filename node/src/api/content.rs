//! Methods about content.

use pop_dag::{Cid, What};
use pop_rpc::{
    CommitParams, Committed, DispatchParams, Error, ErrorCode, ExportParams, Exported, Freed, GcParams,
    GetParams, Got, ImportParams, Imported, Pinned, Put, PutParams, RefEntry, Replication, Reporter, Result,
    RootParams, Scope, Source, StoreFigures, TxStatus,
};
use pop_store::Store;
use pop_units::AttoFil;

use super::peers::parse_peer;
use crate::content::archive::Version;
use crate::content::{
    Watched, archive, commit as committing, get as getting, listing, put as putting, remove as removing,
};
use crate::fault::Fault;
use crate::node::Node;
use crate::pool::Cancel;
use crate::trade::{DispatchOptions, FetchRequest, Strategy};

/// Runs blocking work of a call in the store pool.
async fn blocking<T: Send + 'static>(
    node: &Node,
    work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let store = node.store.clone();
    node.pool.run(move || work(&store)).await.map_err(Fault::fault)?
}

pub(super) async fn status(node: &Node) -> Result<TxStatus> {
    blocking(node, putting::status).await
}

pub(super) async fn list(node: &Node) -> Result<Vec<RefEntry>> {
    let rows = |store: &Store| {
        let refs = store.refs().map_err(Fault::fault)?;
        Ok(refs.into_iter().map(listing::entry).collect())
    };
    blocking(node, rows).await
}

pub(super) async fn store(node: &Node) -> Result<StoreFigures> {
    blocking(node, |store| Ok(listing::figures(store.figures()))).await
}

pub(super) async fn set_pinned(node: &Node, params: RootParams, pinned: bool) -> Result<Pinned> {
    let root = params.root;
    blocking(node, move |store| store.set_pinned(&root.0, pinned).map_err(Fault::fault)).await?;
    Ok(Pinned { root, pinned })
}

pub(super) async fn rm(node: &Node, params: RootParams) -> Result<Freed> {
    let trade = node.trade.clone();
    let work = move |store: &Store| removing::remove(store, &params.root.0, &|name| trade.is_busy(name));
    let freed = blocking(node, work).await?;
    Ok(Freed { freed, verified: None })
}

pub(super) async fn gc(node: &Node, params: GcParams, progress: Reporter) -> Result<Freed> {
    if params.verify && params.dry_run {
        let message = "a check changes the store where it finds damage, a dry run nothing";
        return Err(Error::new(ErrorCode::Usage, message).with_hint("ask for one of them"));
    }
    let trade = node.trade.clone();
    let cancel = Cancel::default();
    let _left = cancel.on_drop();
    blocking(node, move |store| {
        let verified = params.verify.then(|| removing::verify(store, &cancel, &progress));
        // Room is given back whatever the check says; what it says is told after, and first.
        let freed = removing::reclaim(store, params.dry_run, &|name| trade.is_busy(name));
        Ok(Freed { verified: verified.transpose()?, freed: freed? })
    })
    .await
}

pub(super) async fn put(node: &Node, params: PutParams, progress: Reporter) -> Result<Put> {
    putting::check_paths(&params.paths)?;
    let order = putting::Order::read(params)?;
    let turn = node.tx.clone().lock_owned().await;
    let cancel = Cancel::default();
    let _left = cancel.on_drop();
    blocking(node, move |store| {
        let _turn = turn;
        order.carry_out(store, &cancel, &progress)
    })
    .await
}

pub(super) async fn commit(node: &Node, params: CommitParams, progress: Reporter) -> Result<Committed> {
    let options = options(&params.terms())?;
    let turn = node.tx.clone().lock_owned().await;
    let (root, size) = blocking(node, move |store| {
        let _turn = turn;
        committing::commit(store, params.pin)
    })
    .await?;
    replicate(node, root, size, options, &progress).await
}

pub(super) async fn dispatch(node: &Node, params: DispatchParams, progress: Reporter) -> Result<Committed> {
    let options = options(&params.terms())?;
    let root = params.root.0;
    let size = blocking(node, move |store| committing::counted(store, &root)).await?;
    replicate(node, root, size, options, &progress).await
}

/// Reads the terms of a replication.
fn options(terms: &Replication) -> Result<DispatchOptions> {
    Ok(DispatchOptions {
        factor: terms.cache_rf,
        peers: terms.peers.iter().map(|text| parse_peer(text)).collect::<Result<_>>()?,
        attempts: terms.attempts,
        backoff: terms.backoff.as_duration(),
    })
}

/// Replicates; fewer copies than asked for are told, not hidden and not an error.
async fn replicate(
    node: &Node,
    root: Cid,
    size: pop_units::Bytes,
    options: DispatchOptions,
    progress: &Reporter,
) -> Result<Committed> {
    let requested = options.factor.get();
    let caches = match requested {
        0 => Vec::new(),
        _ => node.trade.dispatch(root, size, options, progress.clone()).await.map_err(Fault::fault)?,
    };
    let caches = caches.into_iter().map(Into::into).collect();
    Ok(Committed { root: root.into(), size, requested, caches })
}

pub(super) async fn import(node: &Node, params: ImportParams, progress: Reporter) -> Result<Imported> {
    absolute(&params.path)?;
    let options = options(&params.terms())?;
    let cancel = Cancel::default();
    let left = cancel.on_drop();
    let ImportParams { path, partial, framed, pin, .. } = params;
    let order = archive::ImportOrder { path, framed, pin, partial };
    let reporter = progress.clone();
    let taken = blocking(node, move |store| archive::import(store, &order, &cancel, &reporter)).await?;
    drop(left);
    let mut caches = Vec::new();
    for root in taken.roots.iter().copied() {
        let size = blocking(node, move |store| committing::counted(store, &root)).await?;
        caches.extend(replicate(node, root, size, options.clone(), &progress).await?.caches);
    }
    Ok(Imported {
        missing: taken.missing.count,
        missing_first: taken.missing.named(),
        roots: taken.roots.into_iter().map(Into::into).collect(),
        blocks: taken.blocks,
        size: taken.size,
        caches,
    })
}

pub(super) async fn export(node: &Node, params: ExportParams, progress: Reporter) -> Result<Exported> {
    absolute(&params.output)?;
    let version = match params.car_version {
        1 => Version::V1,
        2 => Version::V2,
        other => {
            let message = format!("CAR version {other} is not written");
            return Err(Error::new(ErrorCode::Usage, message).with_hint("there are 1 and 2"));
        }
    };
    let what = match params.scope {
        Scope::Block => What::Block,
        Scope::Entity => What::Entity,
        Scope::All => What::All,
    };
    let cancel = Cancel::default();
    let _left = cancel.on_drop();
    let order = archive::ExportOrder {
        target: params.cid,
        what,
        output: params.output,
        version,
        partial: params.partial,
    };
    blocking(node, move |store| archive::export(store, order, &cancel, &progress)).await
}

fn absolute(path: &std::path::Path) -> Result<()> {
    match path.is_absolute() {
        true => Ok(()),
        false => {
            let message = format!("{} is no absolute path", path.display());
            Err(Error::new(ErrorCode::Usage, message).with_hint("the daemon has no current directory"))
        }
    }
}

pub(super) async fn get(node: &Node, params: GetParams, progress: Reporter) -> Result<Got> {
    if let Some(output) = &params.output {
        absolute(output)?;
    }
    // What is found here stays until it is written.
    let root = params.cid.cid;
    let _held = blocking(node, move |store| Ok(store.hold(&root))).await?;
    let target = params.cid.clone();
    let here = blocking(node, move |store| getting::is_here(store, &target)).await?;
    let mut got = match here {
        true => local(node, &params).await?,
        false => network(node, &params, &progress).await?,
    };
    let (target, output) = (params.cid, params.output);
    let cancel = Cancel::default();
    let _left = cancel.on_drop();
    let (cid, size, left_out) = blocking(node, move |store| {
        let left_out = match &output {
            Some(output) => getting::write(&Watched { store, cancel: &cancel }, &target, output, &progress)?,
            None => 0,
        };
        getting::describe(store, &target).map(|(cid, size)| (cid, size, left_out))
    })
    .await?;
    (got.cid, got.size, got.left_out) = (cid.into(), size, left_out);
    Ok(got)
}

async fn local(node: &Node, params: &GetParams) -> Result<Got> {
    let root = params.cid.cid;
    // A use that cannot be counted, on a full disk say, keeps nobody from reading.
    if let Err(error) = blocking(node, move |store| getting::touch(store, &root)).await {
        tracing::warn!(%root, %error, "use of a ref was not counted");
    }
    Ok(Got {
        cid: root.into(),
        size: pop_units::Bytes::ZERO,
        source: Source::Local,
        provider: None,
        offers: 0,
        spent_atto: AttoFil::ZERO,
        vouchers: 0,
        routing_s: 0.0,
        transfer_s: 0.0,
        left_out: 0,
    })
}

async fn network(node: &Node, params: &GetParams, progress: &Reporter) -> Result<Got> {
    let max_price = params.max_price.unwrap_or(node.config.max_price);
    let strategy = match params.strategy {
        None | Some(pop_rpc::Strategy::First) => Strategy::First,
        Some(pop_rpc::Strategy::Cheapest) => Strategy::Cheapest,
        Some(pop_rpc::Strategy::FirstBelow) => Strategy::FirstBelow(max_price),
    };
    let request = FetchRequest {
        root: params.cid.cid,
        path: params.cid.path.clone(),
        what: pop_dag::What::All,
        max_price,
        max_spend: params.max_spend,
        peers: params.peer.iter().map(|text| super::peers::parse_address(text)).collect::<Result<_>>()?,
        strategy,
        timeout: params.timeout.as_duration(),
    };
    let fetched = node.trade.fetch(request, progress.clone()).await.map_err(Fault::fault)?;
    Ok(Got {
        cid: params.cid.cid.into(),
        size: fetched.size,
        source: Source::Network,
        provider: Some(fetched.provider.to_string()),
        offers: fetched.offers,
        spent_atto: fetched.spent,
        vouchers: fetched.vouchers,
        routing_s: fetched.routing.as_secs_f64(),
        transfer_s: fetched.transfer.as_secs_f64(),
        left_out: 0,
    })
}
