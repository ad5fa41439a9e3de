use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pop_store::Options;

use super::*;

type Asked = Arc<Mutex<Vec<(Cid, Bytes, u8)>>>;

/// Intakes over a store of their own, and what peers were asked to copy.
fn intakes(capacity: Bytes) -> (tempfile::TempDir, Store, Intakes, Asked) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options { capacity, ..Options::default() }).unwrap();
    let asked = Asked::default();
    let told = Arc::clone(&asked);
    let dispatch = move |root, size, options: DispatchOptions| {
        told.lock().unwrap().push((root, size, options.factor.get()));
        let copies: BoxFuture<'static, _> = Box::pin(async { Ok(1) });
        copies
    };
    let intakes = Intakes::with(store.clone(), Arc::new(dispatch));
    (dir, store, intakes, asked)
}

const FORM: Order = Order { directory: Some(Codec::DagPb), replication: 0 };
const RAW: Order = Order { directory: None, replication: 0 };

#[tokio::test]
async fn a_form_is_kept_and_its_copies_are_asked_for() {
    let (_dir, store, intakes, asked) = intakes(Bytes::GIB);
    let mut intake = intakes.begin(Order { replication: 3, ..FORM }).await.unwrap();
    intake.file("b.txt").await.unwrap();
    intake.bytes(Buf::from_static(b"hello")).await.unwrap();
    intake.file("a/c.txt").await.unwrap();
    intake.bytes(Buf::from(vec![7; 3 << 20])).await.unwrap();
    let uploaded = intake.commit().await.unwrap();
    assert_eq!((uploaded.size, uploaded.replication), (Bytes::new((3 << 20) + 5), 3));
    let keys: Vec<_> = uploaded.entries.iter().map(|entry| (entry.key.as_str(), entry.size)).collect();
    assert_eq!(keys, [("a", Bytes::new(3 << 20)), ("b.txt", Bytes::new(5))]);
    let found = store.ref_of(&uploaded.root).unwrap().unwrap();
    assert!(found.pinned && found.complete);
    intakes.close().await;
    let asked = asked.lock().unwrap();
    assert!(asked.is_empty() || asked[..] == [(uploaded.root, found.size, 3)]);
}

#[tokio::test]
async fn copies_are_asked_for_in_the_background() {
    let (_dir, _store, intakes, asked) = intakes(Bytes::GIB);
    for replication in [0, 2] {
        let mut intake = intakes.begin(Order { replication, ..RAW }).await.unwrap();
        intake.file("").await.unwrap();
        intake.bytes(Buf::from_static(b"hello")).await.unwrap();
        let uploaded = intake.commit().await.unwrap();
        intakes.0.tasks.close();
        intakes.0.tasks.wait().await;
        intakes.0.tasks.reopen();
        let expected = [(uploaded.root, Bytes::new(5), 2)];
        assert_eq!(asked.lock().unwrap()[..], expected[..usize::from(replication / 2)]);
    }
}

#[tokio::test]
async fn a_dropped_upload_leaves_nothing() {
    let (_dir, store, intakes, _) = intakes(Bytes::GIB);
    let before = store.used();
    for order in [RAW, FORM] {
        let mut intake = intakes.begin(order).await.unwrap();
        intake.file("a").await.unwrap();
        intake.bytes(Buf::from(vec![7; 5 << 20])).await.unwrap();
        drop(intake);
    }
    intakes.close().await;
    assert!(store.stagings().is_empty() && store.refs().unwrap().is_empty());
    while store.compact(true).unwrap() != pop_store::Compacted::default() {}
    assert_eq!(store.used(), before);
    assert!(matches!(intakes.begin(RAW).await, Err(UploadError::Stopped)));
}

#[tokio::test]
async fn a_full_store_is_told_and_as_before() {
    let (_dir, store, intakes, _) = intakes(Bytes::new(16 << 20));
    let before = store.used();
    let mut intake = intakes.begin(RAW).await.unwrap();
    intake.file("").await.unwrap();
    let mut told = Ok(());
    for n in 0..64_u8 {
        let mut piece = vec![n; 1 << 20];
        piece[0] = 255;
        told = intake.bytes(Buf::from(piece)).await;
        if told.is_err() {
            break;
        }
    }
    assert!(matches!(told, Err(UploadError::Full { .. })), "{told:?}");
    assert_eq!(intake.commit().await, Err(UploadError::Stopped), "once it has ended it stays ended");
    intakes.close().await;
    assert!(store.stagings().is_empty() && store.refs().unwrap().is_empty());
    while store.compact(true).unwrap() != pop_store::Compacted::default() {}
    assert_eq!(store.used(), before);
}

#[tokio::test]
async fn names_are_judged_here_too() {
    let (_dir, _store, intakes, _) = intakes(Bytes::GIB);
    let name = |name: &str| UploadError::Name { name: name.to_owned() };
    let twice = |name: &str| UploadError::Twice { name: name.to_owned() };
    let long = "x".repeat(256);
    let rows = [
        (vec![""], name("")),
        (vec![".."], name("..")),
        (vec!["a", "b/./c"], name(".")),
        (vec!["nul\0"], name("nul\0")),
        (vec!["a", "a"], twice("a")),
        (vec!["a/b", "a"], twice("a")),
        (vec!["a", "a/b"], twice("a/b")),
        (vec![&long], UploadError::Form { why: "key of 256 bytes is over 255".to_owned() }),
    ];
    for (names, expected) in rows {
        let mut intake = intakes.begin(FORM).await.unwrap();
        let mut told = Ok(());
        for name in &names {
            told = told.and(intake.file(name).await);
        }
        let told = told.and(intake.commit().await.map(drop));
        assert_eq!(told, Err(expected), "{names:?}");
    }
}

#[tokio::test]
async fn the_stop_ends_uploads_whose_bytes_are_still_to_come() {
    let (_dir, store, intakes, _) = intakes(Bytes::GIB);
    let mut intake = intakes.begin(RAW).await.unwrap();
    intake.file("").await.unwrap();
    intakes.close().await;
    assert_eq!(intake.bytes(Buf::from_static(b"late")).await, Err(UploadError::Stopped));
    assert!(store.stagings().is_empty());
}

/// A piece that counts itself while it lives.
struct Counted {
    data: Vec<u8>,
    live: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.fetch_sub(self.data.len(), Ordering::SeqCst);
    }
}

#[tokio::test]
async fn two_hundred_megabytes_go_through_a_few() {
    let (_dir, store, intakes, _) = intakes(Bytes::GIB);
    let live = Arc::new(AtomicUsize::new(0));
    let mut most = 0;
    let mut intake = intakes.begin(RAW).await.unwrap();
    intake.file("").await.unwrap();
    for n in 0..200_u32 {
        let mut data = vec![0; 1_000_000];
        data[..4].copy_from_slice(&n.to_be_bytes());
        live.fetch_add(data.len(), Ordering::SeqCst);
        intake.bytes(Buf::from_owner(Counted { data, live: Arc::clone(&live) })).await.unwrap();
        most = most.max(live.load(Ordering::SeqCst));
    }
    let uploaded = intake.commit().await.unwrap();
    assert_eq!(uploaded.size, Bytes::new(200_000_000));
    assert!(store.used() >= uploaded.size);
    // The queue, and the pieces at both of its ends.
    assert!(most <= QUEUE * PIECE + 3_000_000, "{most} bytes waited");
}
