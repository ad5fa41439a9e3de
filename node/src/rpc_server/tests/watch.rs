//! The whole contract over a real socket: a daemon that does nothing but say what it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pop_rpc::*;
use tokio::sync::Notify;

use super::*;

/// Declares the methods that the tests do not ask for.
macro_rules! silent {
    ($($name:ident: $params:ty => $result:ty,)*) => { $(
        async fn $name(&self, _: $params) -> Result<$result> {
            Err(Error::new(ErrorCode::Internal, stringify!($name)))
        }
    )* };
}

#[derive(Default)]
struct Stub {
    started: Notify,
    dropped: Arc<AtomicU32>,
    gone: Arc<Notify>,
}

/// Tells when an operation was dropped before its end.
struct Guard(Arc<AtomicU32>, Arc<Notify>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.notify_one();
    }
}

struct Shared(Arc<Stub>);

impl Api for Shared {
    silent! {
        ping: PingParams => Pong, off: OffParams => Stopped, list: NoParams => Vec<RefEntry>,
        pin: RootParams => Pinned, unpin: RootParams => Pinned, rm: RootParams => Freed, store: NoParams => StoreFigures,
        peers: NoParams => Vec<PeerEntry>, wallet_new: WalletNewParams => Address,
        wallet_list: NoParams => Vec<KeyEntry>, wallet_default: AddressParams => Address,
        wallet_balance: AddressParams => Balance, wallet_import: WalletImportParams => Address,
        wallet_export: AddressParams => ExportedKey, wallet_pay: WalletPayParams => Payment,
        pay_list: NoParams => Vec<Channel>, pay_track: ChannelParams => Channel,
        pay_submit: PaySubmitParams => Channel, pay_settle: ChannelParams => Channel,
        pay_collect: ChannelParams => Channel, pay_earnings: NoParams => Earnings,
        chain_status: NoParams => ChainStatus, chain_advance: ChainAdvanceParams => ChainStatus,
        config_show: NoParams => ConfigShow,
    }

    async fn status(&self, _: NoParams) -> Result<TxStatus> {
        Ok(TxStatus::default())
    }

    async fn put(&self, _: PutParams, progress: Reporter) -> Result<Put> {
        progress.report("read", 1, Some(2));
        Err(Error::new(ErrorCode::BadInput, "a: no such file").with_hint("look again"))
    }

    async fn commit(&self, params: CommitParams, progress: Reporter) -> Result<Committed> {
        progress.note("dispatch", "cached by somebody");
        let root = "bafkqaaa".parse().map_err(|_| Error::new(ErrorCode::Internal, "no CID"))?;
        let requested = params.cache_rf.get();
        Ok(Committed { root, size: pop_units::Bytes::new(7), requested, caches: Vec::new() })
    }

    async fn dispatch(&self, _: DispatchParams, _: Reporter) -> Result<Committed> {
        Err(Error::new(ErrorCode::Refused, "dispatch"))
    }

    async fn import(&self, _: ImportParams, _: Reporter) -> Result<Imported> {
        Err(Error::new(ErrorCode::Storage, "import"))
    }

    async fn export(&self, _: ExportParams, _: Reporter) -> Result<Exported> {
        Err(Error::new(ErrorCode::NotFound, "export"))
    }

    async fn gc(&self, _: GcParams, _: Reporter) -> Result<Freed> {
        Err(Error::new(ErrorCode::Storage, "gc"))
    }

    async fn get(&self, _: GetParams, _: Reporter) -> Result<Got> {
        let _guard = Guard(self.0.dropped.clone(), self.0.gone.clone());
        self.0.started.notify_one();
        std::future::pending().await
    }
}

async fn stubbed() -> (tempfile::TempDir, Arc<Stub>, Client, Serving) {
    let dir = tempfile::tempdir().unwrap();
    let stub = Arc::new(Stub::default());
    let listen = Listen { socket: dir.path().join("s"), tcp: None, browsers: None };
    let module = pop_rpc::module(Shared(stub.clone()));
    let serving = serve(listen, module, CancellationToken::new()).await.unwrap();
    let client = Client::unix(&dir.path().join("s")).await.unwrap();
    (dir, stub, client, serving)
}

fn get() -> GetParams {
    GetParams::new("bafkqaaa".parse().unwrap())
}

#[tokio::test]
async fn a_clean_transaction_is_null() {
    let (_dir, _, client, _serving) = stubbed().await;
    let raw: serde_json::Value = client.call("pop_status", &NoParams {}).await.unwrap();
    assert_eq!(raw, serde_json::json!({ "tx": null }));
}

#[tokio::test]
async fn reports_come_before_the_result() {
    let (_dir, _, client, _serving) = stubbed().await;
    let mut seen = Vec::new();
    let watch = client.commit(CommitParams::default()).await.unwrap();
    let committed = watch.finish(|report| seen.push(report.note)).await.unwrap();
    assert_eq!(committed.requested, 2);
    assert_eq!(seen, [Some("cached by somebody".to_owned())]);
}

#[tokio::test]
async fn errors_keep_code_and_hint_both_ways() {
    let (_dir, _, client, _serving) = stubbed().await;
    let watched = client.put(PutParams::default()).await.unwrap().finish(drop).await.unwrap_err();
    let params = serde_json::json!({ "paths": [] });
    let plain = client.call::<Put>("pop_put", &params).await.unwrap_err();
    assert_eq!((watched.code, watched.hint.as_deref()), (ErrorCode::BadInput, Some("look again")));
    assert_eq!(watched, plain);
}

#[tokio::test]
async fn dropping_the_watch_cancels_the_operation() {
    let (_dir, stub, client, _serving) = stubbed().await;
    let watch = client.get(get()).await.unwrap();
    stub.started.notified().await;
    assert_eq!(stub.dropped.load(Ordering::SeqCst), 0);
    drop(watch);
    tokio::time::timeout(Duration::from_secs(5), stub.gone.notified()).await.unwrap();
    // The connection lives on.
    client.status(NoParams {}).await.unwrap();
}

#[tokio::test]
async fn a_client_that_dies_cancels_its_operations() {
    let (_dir, stub, client, _serving) = stubbed().await;
    let watch = client.get(get()).await.unwrap();
    stub.started.notified().await;
    drop((watch, client));
    tokio::time::timeout(Duration::from_secs(5), stub.gone.notified()).await.unwrap();
}

#[tokio::test]
async fn parameters_are_read_strictly_and_by_name() {
    let (_dir, _, client, _serving) = stubbed().await;
    for params in
        [serde_json::json!({ "cache_fr": 1 }), serde_json::json!([1]), serde_json::json!({ "cache_rf": -1 })]
    {
        let error = client.call::<Committed>("pop_commit", &params).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Usage, "{params}");
        let error = client.watch::<Committed>("pop_commit", &params).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Usage, "{params}");
    }
    let committed: Committed = client.call("pop_commit", &serde_json::json!([])).await.unwrap();
    assert_eq!(committed.requested, 2);
    let error = client.watch::<TxStatus>("pop_status", &NoParams {}).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage);
    assert_eq!(client.call::<Pong>("pop_nothing", &NoParams {}).await.unwrap_err().code, ErrorCode::Usage);
}

#[tokio::test]
async fn the_document_is_served() {
    let (_dir, _, client, _serving) = stubbed().await;
    let document: serde_json::Value = client.call("rpc.discover", &NoParams {}).await.unwrap();
    assert_eq!(document, pop_rpc::openrpc());
}

#[tokio::test]
async fn a_daemon_that_goes_away_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let stub = Arc::new(Stub::default());
    let stop = CancellationToken::new();
    let listen = Listen { socket: dir.path().join("s"), tcp: None, browsers: None };
    let serving = serve(listen, pop_rpc::module(Shared(stub.clone())), stop.clone()).await.unwrap();
    let client = Client::unix(&dir.path().join("s")).await.unwrap();
    let watch = client.get(get()).await.unwrap();
    stub.started.notified().await;
    stop.cancel();
    let error = tokio::time::timeout(Duration::from_secs(10), watch.finish(drop)).await.unwrap().unwrap_err();
    assert_eq!(error.code, ErrorCode::Interrupted);
    tokio::time::timeout(Duration::from_secs(10), serving.finished()).await.unwrap();
}
