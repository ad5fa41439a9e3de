use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes as Buf;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use multihash_codetable::{Code, MultihashDigest};
use proptest::prelude::*;

use super::node::FsNode;
use super::*;
use crate::car::CarReader;
use crate::codec::pb;
use crate::{Block, BlockSink, BlockSource, Codec, Memory};

pub(crate) fn testdata(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata")).join(name)
}

pub(crate) fn read_car(name: &str) -> (Cid, Memory) {
    let mut car = CarReader::new(std::fs::File::open(testdata(name)).unwrap()).unwrap();
    let root = car.roots()[0];
    let mut memory = Memory::new();
    while let Some(block) = car.next_block().unwrap() {
        memory.insert(block);
    }
    (root, memory)
}

/// The generated input of IPIP-0499: a ChaCha20 key stream, read in pieces of odd sizes.
struct KeyStream {
    cipher: ChaCha20,
    left: u64,
}

impl KeyStream {
    fn new(seed: &str, len: u64) -> Self {
        let key: [u8; 32] = Code::Sha2_256.digest(seed.as_bytes()).digest().try_into().unwrap();
        Self { cipher: ChaCha20::new(&key.into(), &[0; 12].into()), left: len }
    }
}

impl Read for KeyStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = buffer.len().min(60_001).min(usize::try_from(self.left).unwrap());
        buffer[..len].fill(0);
        self.cipher.apply_keystream(&mut buffer[..len]);
        self.left -= u64::try_from(len).unwrap();
        Ok(len)
    }
}

pub(crate) fn add(content: &[u8], profile: &Profile, memory: &mut Memory) -> Added {
    add_file(&mut &content[..], &Rules::new(profile.clone()), memory, &mut |_| ()).unwrap()
}

fn read_back(root: &Cid, source: &dyn BlockSource) -> Result<Vec<u8>, ExportError> {
    let mut out = Vec::new();
    let size = write_file(root, source, &mut out, &mut |_| ())?;
    assert_eq!(size, Bytes::of(&out));
    Ok(out)
}

pub(crate) fn path(text: &str) -> Vec<String> {
    text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn profile(name: &str) -> Profile {
    if name == "unixfs-v1-2025" { Profile::v1_2025() } else { Profile::v0_2015() }
}

#[test]
fn empty_things_give_their_published_cids() {
    let text = std::fs::read_to_string(testdata("unixfs/cid-profiles.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    for name in ["unixfs-v0-2015", "unixfs-v1-2025"] {
        let (block, _) = directory(Vec::new(), &profile(name), &mut Memory::new()).unwrap();
        assert_eq!(block.cid().to_string(), vectors["empty_directory"][name].as_str().unwrap());
    }
    let mut memory = Memory::new();
    let raw = add(b"", &Profile::v1_2025(), &mut memory);
    assert_eq!(raw.cid.to_string(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
    let v0 = add(b"", &Profile::v0_2015(), &mut memory);
    assert_eq!(v0.cid.to_string(), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
    assert_eq!(read_back(&raw.cid, &memory).unwrap(), b"");
    assert_eq!(read_back(&v0.cid, &memory).unwrap(), b"");
}

#[test]
fn impossible_profiles_are_refused() {
    let good = Profile::default();
    let table = [
        Profile { chunk: Bytes::ZERO, ..good.clone() },
        Profile { chunk: crate::MAX_BLOCK, ..good.clone() },
        Profile { max_links: 1, ..good.clone() },
        Profile { max_links: 100_000, ..good.clone() },
        Profile { shard_above: Bytes::GIB, ..good },
    ];
    for profile in table {
        let file = add_file(&mut &b"x"[..], &profile.clone().into(), &mut Memory::new(), &mut |_| ());
        assert!(matches!(file, Err(ImportError::Profile)), "{profile:?}");
        let dir = directory(Vec::new(), &profile, &mut Memory::new());
        assert!(matches!(dir, Err(ImportError::Profile)), "{profile:?}");
    }
}

#[test]
fn content_streams_into_the_sink() {
    /// Counts, and keeps nothing: the import must not need the blocks again.
    struct Counting(u64);
    impl BlockSink for Counting {
        fn accept(&mut self, block: Block) -> Result<(), SinkError> {
            assert!(block.size() <= Bytes::MIB);
            self.0 += 1;
            Ok(())
        }
    }
    struct Full;
    impl BlockSink for Full {
        fn accept(&mut self, _: Block) -> Result<(), SinkError> {
            Err(SinkError::new("disk full"))
        }
    }
    let mut sink = Counting(0);
    let content = || std::io::repeat(7).take(5_000_000);
    add_file(&mut content(), &Rules::default(), &mut sink, &mut |_| ()).unwrap();
    assert_eq!(sink.0, 6);
    let refused = add_file(&mut content(), &Rules::default(), &mut Full, &mut |_| ());
    assert!(matches!(refused, Err(ImportError::Sink(error)) if error.to_string() == "disk full"));
}

#[test]
fn every_shape_of_file_is_read_back() {
    for raw_leaves in [true, false] {
        let small = Profile { chunk: Bytes::new(3), max_links: 3, raw_leaves, ..Profile::v1_2025() };
        for len in [0u8, 1, 3, 4, 9, 10, 27, 28, 30, 81, 82, 200] {
            let content: Vec<u8> = (0..len).collect();
            let mut memory = Memory::new();
            let added = add(&content, &small, &mut memory);
            assert_eq!(read_back(&added.cid, &memory).unwrap(), content, "{len}");
            let resolved = resolve(&added.cid, &[], &memory).unwrap();
            assert_eq!((resolved.cid, resolved.size), (added.cid, Bytes::of(&content)));
        }
    }
}

#[test]
fn sharded_directory_of_another_writer_is_listed_resolved_and_rebuilt_to_the_same_cid() {
    let (root, mut memory) = read_car("unixfs/single-layer-hamt-with-multi-block-files.car");
    let entries = list(&root, &memory).unwrap();
    assert!(entries.len() > 100, "{}", entries.len());
    for entry in entries.iter().step_by(37) {
        let scope = crate::Scope { path: vec![entry.name.clone()], what: crate::What::Block };
        let mut walk = crate::Walk::new(root, &scope).unwrap();
        while let Some(cid) = walk.want().copied().filter(|cid| *cid != entry.cid) {
            walk.on_block(&memory.block(&cid).unwrap().unwrap()).unwrap();
        }
        assert_eq!(walk.target(), Some(&entry.cid));
    }
    assert!(matches!(
        resolve(&root, &path("no such name"), &memory),
        Err(ResolveError::NotFound { segment }) if segment == "no such name"
    ));
    let sharded = Profile { shard_above: Bytes::ZERO, ..Profile::v1_2025() };
    let (block, _) = directory(entries, &sharded, &mut memory).unwrap();
    assert_eq!(*block.cid(), root);
}

#[test]
fn large_directory_is_sharded_and_read_back() {
    let mut memory = Memory::new();
    let file = add(b"content", &Profile::default(), &mut memory);
    let entry = |n: u32| Entry { name: format!("entry-{n:05}"), cid: file.cid, tsize: file.tsize };
    let entries: Vec<Entry> = (0..6000).map(entry).collect();
    let (root, tsize) = directory(entries.clone(), &Profile::default(), &mut memory).unwrap();
    assert!(root.size() < Bytes::new(64 << 10) && tsize > Bytes::new(6000 * 7));
    assert_eq!(list(root.cid(), &memory).unwrap(), entries);
    for n in [0, 17, 5999] {
        let resolved = resolve(root.cid(), &path(&format!("entry-{n:05}")), &memory).unwrap();
        assert_eq!((resolved.cid, resolved.kind), (file.cid, EntryKind::Raw));
    }
}

#[test]
fn directories_are_the_same_in_any_order_and_refuse_bad_names() {
    let mut memory = Memory::new();
    let cid = add(b"x", &Profile::default(), &mut memory).cid;
    let entry = |name: &str| Entry { name: name.to_owned(), cid, tsize: Bytes::new(1) };
    let profile = Profile::default();
    let (one, _) = directory(vec![entry("a"), entry("b")], &profile, &mut memory).unwrap();
    let (two, _) = directory(vec![entry("b"), entry("a")], &profile, &mut memory).unwrap();
    assert_eq!(one, two);
    for name in ["", ".", "..", "a/b", "a\0"] {
        let refused = directory(vec![entry(name)], &profile, &mut memory);
        assert!(matches!(refused, Err(ImportError::Name { .. })), "{name:?}");
    }
    let twice = directory(vec![entry("a"), entry("b"), entry("a")], &profile, &mut memory);
    assert!(matches!(twice, Err(ImportError::Duplicate { name }) if name == "a"));
}

#[test]
fn transaction_root_is_a_directory_in_dag_cbor() {
    let mut memory = Memory::new();
    let file = add(b"hello", &Profile::default(), &mut memory);
    let entry = |name: &str| Entry { name: name.to_owned(), cid: file.cid, tsize: file.tsize };
    let (block, tsize) = tx_root::build(vec![entry("b"), entry("a")]).unwrap();
    let root = *block.cid();
    assert_eq!(root.codec(), Codec::DagCbor.code());
    assert_eq!(tsize, block.size().saturating_add(Bytes::new(10)));
    assert_eq!(crate::links(&root, block.data()).unwrap(), vec![file.cid, file.cid]);
    memory.insert(block);
    assert_eq!(list(&root, &memory).unwrap(), vec![entry("a"), entry("b")]);
    assert_eq!(resolve(&root, &[], &memory).unwrap().kind, EntryKind::Directory);
    assert_eq!(resolve(&root, &path("b"), &memory).unwrap().cid, file.cid);
    assert!(matches!(resolve(&root, &path("Links"), &memory), Err(ResolveError::NotFound { .. })));
}

#[test]
fn paths_lead_through_directories_into_dag_cbor() {
    let (root, memory) = read_car("unixfs/dir-with-dag-cbor-with-links.car");
    let entries = list(&root, &memory).unwrap();
    let cbor = entries.iter().find(|entry| entry.cid.codec() == Codec::DagCbor.code()).unwrap();
    let resolved = resolve(&root, std::slice::from_ref(&cbor.name), &memory).unwrap();
    assert_eq!((resolved.cid, resolved.kind), (cbor.cid, EntryKind::Value));
    let below = vec![cbor.name.clone(), "no such key".to_owned()];
    assert!(matches!(resolve(&root, &below, &memory), Err(ResolveError::NotFound { .. })));
}

#[test]
fn what_is_in_the_way_of_a_path_is_named() {
    let (root, memory) = read_car("unixfs/subdir-with-mixed-block-files.car");
    let top = list(&root, &memory).unwrap();
    let dir = &top[0];
    let inner = list(&dir.cid, &memory).unwrap();
    let file = vec![dir.name.clone(), inner[0].name.clone()];
    let resolved = resolve(&root, &file, &memory).unwrap();
    assert_eq!(Bytes::of(&read_back(&resolved.cid, &memory).unwrap()), resolved.size);
    let below = [file, vec!["deeper".to_owned()]].concat();
    assert!(matches!(
        resolve(&root, &below, &memory),
        Err(ResolveError::NotADirectory { segment, .. }) if segment == "deeper"
    ));
    let mut damaged = memory.clone();
    assert!(damaged.remove(&dir.cid));
    let missing = resolve(&root, &below, &damaged);
    assert!(matches!(missing, Err(ResolveError::Missing { cid }) if cid == dir.cid));
}

#[test]
fn a_missing_block_and_a_false_size_end_the_export() {
    let small = Profile { chunk: Bytes::new(2), ..Profile::default() };
    let mut memory = Memory::new();
    let added = add(b"abcdef", &small, &mut memory);
    let leaf = *Block::of(Codec::Raw, Buf::from_static(b"cd")).cid();
    memory.remove(&leaf);
    assert!(matches!(read_back(&added.cid, &memory), Err(ExportError::Missing { cid }) if cid == leaf));

    let fs = FsNode { filesize: Some(3), blocksizes: vec![3], ..FsNode::new(Kind::File) };
    let data = fs.encode();
    let link =
        pb::Link { cid: *Block::of(Codec::Raw, Buf::from_static(b"ab")).cid(), name: None, tsize: None };
    let node = pb::Node { links: vec![link], data: Some(&data) }.encode();
    let block = Block::of(Codec::DagPb, Buf::from(node));
    let root = *block.cid();
    memory.insert(block);
    assert!(matches!(read_back(&root, &memory), Err(ExportError::Size { .. })));
}

mod auto;
mod changing;
mod disk;
mod exact;

proptest! {
    #[test]
    fn reading_random_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = FsNode::decode(&bytes);
        let _ = tx_root::entries(&bytes);
    }

    #[test]
    fn messages_survive_encoding(
        data in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        filesize in prop::option::of(any::<u64>()),
        blocksizes in prop::collection::vec(any::<u64>(), 0..5),
        hash_type in prop::option::of(any::<u64>()),
    ) {
        let node = FsNode {
            data: data.as_deref(), filesize, blocksizes, hash_type, fanout: None, kind: Kind::File,
        };
        let bytes = node.encode();
        prop_assert_eq!(FsNode::decode(&bytes).unwrap(), node);
    }

    #[test]
    fn any_content_is_read_back(content in prop::collection::vec(any::<u8>(), 0..300), chunk in 1u64..40, max_links in 2usize..5) {
        let profile = Profile { chunk: Bytes::new(chunk), max_links, ..Profile::default() };
        let mut memory = Memory::new();
        let added = add(&content, &profile, &mut memory);
        prop_assert_eq!(read_back(&added.cid, &memory).unwrap(), content);
    }
}
