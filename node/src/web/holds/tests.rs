use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use pop_dag::unixfs::{Rules, add_file};
use pop_gateway::{Blocks, Bound, Content, Intake, Miss, Offer, Order, Retrieval, UploadError, Wanted};
use pop_store::{Options, Ref};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Config;
use crate::trade::tests::within;

const MIB: usize = 1 << 20;

/// A store behind a gateway, and nothing else of a node.
struct Shelf {
    store: Store,
    holds: Holds,
}

#[async_trait]
impl Content for Shelf {
    fn blocks(&self) -> Blocks {
        Arc::new(self.store.clone())
    }

    fn removals(&self) -> u64 {
        self.store.removals()
    }

    fn hold(&self, root: &Cid) -> Option<Hold> {
        self.holds.hold(root)
    }

    async fn retrieve(&self, _: Wanted) -> Result<Retrieval, Miss> {
        Err(Miss::Local)
    }

    fn price(&self, _: &Cid) -> Option<Offer> {
        None
    }

    fn served(&self, _: &Cid, _: Bytes, _: IpAddr) {}

    async fn receive(&self, _: Order) -> Result<Box<dyn Intake>, UploadError> {
        Err(UploadError::Stopped)
    }
}

/// Returns a store of so many MiB.
fn store(mib: u64) -> (TempDir, Store, Holds) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { capacity: Bytes::MIB.saturating_mul(mib), ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let holds = Holds::new(store.clone());
    (dir, store, holds)
}

/// Bytes that no chunk of repeats.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = 2 * seed + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Adds a file to the cache, which evicts what must go for it.
fn add(store: &Store, content: &[u8]) -> Cid {
    let mut staging = store.stage("test").unwrap();
    let added = add_file(&mut &*content, &Rules::default(), &mut staging, &mut |_| ()).unwrap();
    staging.commit(Ref { complete: true, ..Ref::new(added.cid) }).unwrap();
    added.cid
}

fn is_here(store: &Store, root: &Cid) -> bool {
    store.brief(root).unwrap().is_some()
}

fn is_kept(holds: &Holds, root: &Cid) -> bool {
    holds.0.known(root).is_some()
}

/// Asks for a root, and returns the connection behind the head of the answer.
async fn begin(gateway: SocketAddr, root: &Cid) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // What the client has not taken is still the gateway's to send.
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(gateway).await.unwrap();
    let request = format!("GET /ipfs/{root} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_is_not_evicted_under_its_client() {
    let (dir, store, holds) = store(64);
    let [held, other] = [1, 2].map(|seed| noise(20 * MIB, seed));
    let (root, over) = (add(&store, &held), add(&store, &other));
    let config = Config::load(dir.path(), &[("gateway_listen", "127.0.0.1:0".to_owned())]).unwrap();
    let mut settings = crate::web::settings::of(&config, dir.path()).unwrap();
    // However long the disk takes meanwhile.
    settings.limits.stall = Duration::from_secs(3600);
    let shelf = Arc::new(Shelf { store: store.clone(), holds });
    let bound = within(Bound::bind(settings, shelf.clone())).await.unwrap();
    let (gateway, stop) = (bound.address().unwrap(), CancellationToken::new());
    let running = tokio::spawn(bound.run(stop.clone(), || Duration::ZERO));

    let mut first = begin(gateway, &root).await;
    assert!(is_kept(&shelf.holds, &root));
    let mut got = vec![0; held.len()];
    within(first.read_exact(&mut got[..MIB])).await.unwrap();
    // Both together are more than half of the store: this one is sent for as long as it happens to be here.
    let mut second = begin(gateway, &over).await;
    assert!(!is_kept(&shelf.holds, &over));

    let fill = |from: u64| {
        for seed in from..from + 10 {
            add(&store, &noise(8 * MIB, seed));
        }
    };
    fill(100);
    assert!(is_here(&store, &root) && !is_here(&store, &over));
    within(first.read_exact(&mut got[MIB..])).await.unwrap();
    assert!(got == held, "other bytes came");
    let mut rest = vec![0; other.len()];
    assert!(within(second.read_exact(&mut rest)).await.is_err(), "what was evicted came all the same");

    // What was sent is as good as anything else in the cache.
    within(async {
        while is_kept(&shelf.holds, &root) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    fill(200);
    assert!(!is_here(&store, &root));
    stop.cancel();
    within(running).await.unwrap();
}

#[test]
fn answers_share_a_hold_and_all_holds_leave_room() {
    let (_dir, store, holds) = store(8);
    let roots: Vec<Cid> = (0..5).map(|seed| add(&store, &noise(MIB, 10 + seed))).collect();
    let nowhere = add_file(&mut &*noise(10, 1), &Rules::default(), &mut pop_dag::Memory::new(), &mut |_| ());
    assert!(holds.hold(&nowhere.unwrap().cid).is_none());
    let once: Vec<Hold> = roots[..3].iter().map(|root| holds.hold(root).unwrap()).collect();
    let twice: Vec<Hold> = roots[..3].iter().map(|root| holds.hold(root).unwrap()).collect();
    assert!(holds.hold(&roots[3]).is_none(), "half of the store is kept");
    store.set_pinned(&roots[4], true).unwrap();
    assert!(holds.hold(&roots[4]).is_some(), "what is pinned takes nothing from the cache");

    // Whatever answers keep, the rest of the store takes what comes.
    for seed in 100..108 {
        add(&store, &noise(2 * MIB, seed));
    }
    assert!(roots[..3].iter().all(|root| is_here(&store, root)) && !is_here(&store, &roots[3]));
    drop(once);
    assert_eq!(holds.0.lock().roots.len(), 3);
    drop(twice);
    let table = holds.0.lock();
    assert!(table.roots.is_empty() && table.size.is_zero());
}
