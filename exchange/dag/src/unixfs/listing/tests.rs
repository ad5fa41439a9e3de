use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::unixfs::hamt::hash;
use crate::unixfs::node::FsNode;
use crate::unixfs::reader::tests::{Counting, Unverified};
use crate::unixfs::tests::{path, read_car};
use crate::unixfs::{Profile, ResolveError, directory, resolve};
use crate::{Block, Memory};

fn leaf() -> Block {
    Block::of(Codec::Raw, Buf::from_static(b"content"))
}

fn entries(count: u32) -> Vec<Entry> {
    let cid = *leaf().cid();
    let entry = |n| Entry { name: format!("entry-{n:06}"), cid, tsize: Bytes::new(7) };
    (0..count).map(entry).collect()
}

fn all(dir: &Cid, source: &dyn BlockSource) -> Result<Vec<Entry>, ExportError> {
    Listing::open(dir, source)?.collect()
}

/// What a test writes into one shard.
#[derive(Clone)]
struct Draft {
    fanout: Option<u64>,
    hash_type: Option<u64>,
    field: Vec<u8>,
    links: Vec<(String, Cid)>,
}

impl Draft {
    fn new(fanout: u64, places: &[u64], links: &[(&str, Cid)]) -> Self {
        let mut field = vec![0; usize::try_from(fanout / 8).unwrap()];
        for place in places {
            let last = field.len() - 1;
            field[last - usize::try_from(place / 8).unwrap()] |= 1 << (place % 8);
        }
        let links = links.iter().map(|(name, cid)| ((*name).to_owned(), *cid)).collect();
        Self { fanout: Some(fanout), hash_type: Some(0x22), field, links }
    }

    fn bytes(&self) -> Vec<u8> {
        let fs = FsNode {
            data: Some(&self.field),
            hash_type: self.hash_type,
            fanout: self.fanout,
            ..FsNode::new(Kind::HamtShard)
        };
        let data = fs.encode();
        let links = self
            .links
            .iter()
            .map(|(name, cid)| pb::Link { cid: *cid, name: Some(name.as_str()), tsize: Some(7) })
            .collect();
        pb::Node { links, data: Some(&data) }.encode()
    }

    fn put(&self, memory: &mut Memory) -> Cid {
        let block = Block::of(Codec::DagPb, Buf::from(self.bytes()));
        let cid = *block.cid();
        memory.insert(block);
        cid
    }
}

/// The places of a name, level by level, from the hash as a string of bits.
fn way(name: &str, fanout: u64) -> Vec<u64> {
    let bits: String = hash(name).iter().map(|byte| format!("{byte:08b}")).collect();
    let width = usize::try_from(fanout.ilog2()).unwrap();
    let whole = bits.len() / width;
    (0..whole).map(|level| u64::from_str_radix(&bits[level * width..][..width], 2).unwrap()).collect()
}

/// Builds a sharded directory of any fanout.
fn sharded(names: &[String], fanout: u64, level: usize, memory: &mut Memory) -> Cid {
    let mut places: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for name in names {
        places.entry(way(name, fanout)[level]).or_default().push(name.clone());
    }
    let digits = format!("{:X}", fanout - 1).len();
    let mut links = Vec::new();
    for (place, names) in &places {
        links.push(match names.as_slice() {
            [only] => (format!("{place:0digits$X}{only}"), *leaf().cid()),
            many => (format!("{place:0digits$X}"), sharded(many, fanout, level + 1, memory)),
        });
    }
    let links: Vec<(&str, Cid)> = links.iter().map(|(name, cid)| (name.as_str(), *cid)).collect();
    Draft::new(fanout, &places.keys().copied().collect::<Vec<_>>(), &links).put(memory)
}

#[test]
fn a_hundred_thousand_entries_are_listed_and_found_by_few_blocks() {
    let mut memory = Memory::new();
    let entries = entries(100_000);
    let (root, _) = directory(entries.clone(), &Profile::default(), &mut memory).unwrap();
    let shards = memory.len();
    memory.insert(leaf());
    let source = Counting::new(&memory);

    let mut listing = Listing::open(root.cid(), &source).unwrap();
    let mut hashes = Vec::new();
    let mut count = 0;
    for entry in listing.by_ref() {
        hashes.push(hash(&entry.unwrap().name));
        count += 1;
    }
    assert!(listing.next().is_none());
    assert!(hashes.is_sorted(), "the order is that of the hashes");
    assert_eq!((count, source.take().len()), (100_000, shards));
    assert_eq!(list(root.cid(), &source).unwrap(), entries);
    source.take();

    let mut most = 0;
    for entry in entries.iter().step_by(997) {
        assert_eq!(lookup(root.cid(), &entry.name, &source).unwrap().as_ref(), Some(entry));
        let looked = source.take().len();
        let resolved = resolve(root.cid(), &path(&entry.name), &source).unwrap();
        assert_eq!((resolved.cid, source.take().len()), (entry.cid, looked + 1));
        most = most.max(looked);
    }
    assert!(most <= 4, "{most} shards for one name");
    assert_eq!(lookup(root.cid(), "no such entry", &source).unwrap(), None);
    assert!(source.take().len() <= 4);
}

#[test]
fn every_allowed_fanout_is_read() {
    for fanout in [8, 16, 32, 64, 128, 256, 512, 1024] {
        let mut memory = Memory::new();
        let names: Vec<String> = (0..700).map(|n| format!("ä{n}")).collect();
        let root = sharded(&names, fanout, 0, &mut memory);
        let listed: Vec<String> = list(&root, &memory).unwrap().into_iter().map(|e| e.name).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(listed, sorted, "{fanout}");
        memory.insert(leaf());
        for name in names.iter().step_by(13) {
            assert!(lookup(&root, name, &memory).unwrap().is_some(), "{fanout} {name}");
            assert_eq!(resolve(&root, std::slice::from_ref(name), &memory).unwrap().cid, *leaf().cid());
        }
        let shards = crate::Scope::of(crate::What::Entity);
        let totals = crate::walk::run(root, &shards, &memory, &mut |_, _| Ok(())).unwrap();
        assert_eq!(usize::try_from(totals.blocks).unwrap() + 1, memory.len(), "{fanout}");
    }
}

#[test]
fn malformed_shards_are_refused_by_listing_lookup_and_path() {
    let cid = *leaf().cid();
    let place = way("a", 256)[0];
    let name = format!("{place:02X}a");
    let good = Draft::new(256, &[place], &[(&name, cid)]);
    let other = place ^ 1;
    let (low, high) = (place.min(other), place.max(other));
    let two = |first: u64, second: u64| {
        [first, second].map(|index| if index == place { name.clone() } else { format!("{index:02X}zz") })
    };
    let [first, second] = two(high, low);
    let unsorted = Draft::new(256, &[low, high], &[(&first, cid), (&second, cid)]);
    let table = [
        ("no fanout", Draft { fanout: None, ..good.clone() }),
        ("fanout 0", Draft { fanout: Some(0), ..good.clone() }),
        ("fanout 4", Draft { fanout: Some(4), ..good.clone() }),
        ("fanout 24", Draft { fanout: Some(24), ..good.clone() }),
        ("fanout 255", Draft { fanout: Some(255), ..good.clone() }),
        ("fanout 2048", Draft { fanout: Some(2048), ..good.clone() }),
        ("absurd fanout", Draft { fanout: Some(1 << 63), ..good.clone() }),
        ("no hash", Draft { hash_type: None, ..good.clone() }),
        ("other hash", Draft { hash_type: Some(0x12), ..good.clone() }),
        ("no field", Draft { field: Vec::new(), ..good.clone() }),
        ("other bit", Draft { field: Draft::new(256, &[other], &[]).field, ..good.clone() }),
        ("too many bits", Draft { field: Draft::new(256, &[place, other], &[]).field, ..good.clone() }),
        ("bit above the fanout", Draft { field: [vec![1], good.field.clone()].concat(), ..good.clone() }),
        ("out of order", unsorted),
        ("one place twice", Draft::new(256, &[place], &[(&name, cid), (&name, cid)])),
        ("lower case", Draft::new(256, &[0xAB], &[("abx", cid)])),
        ("sign", Draft::new(256, &[1], &[("+1x", cid)])),
        ("no prefix", Draft::new(256, &[0], &[("0", cid)])),
        ("prefix above the fanout", Draft::new(128, &[0], &[("80x", cid)])),
        ("prefix inside a character", Draft::new(16, &[0], &[("ä", cid)])),
    ];
    let mut memory = Memory::new();
    assert_eq!(all(&good.put(&mut memory), &memory).unwrap().len(), 1);
    for (what, draft) in table {
        let root = draft.put(&mut memory);
        assert!(matches!(all(&root, &memory), Err(ExportError::Codec { .. })), "{what}");
        assert!(matches!(lookup(&root, "a", &memory), Err(ExportError::Codec { .. })), "{what}");
        let resolved = resolve(&root, &path("a"), &memory);
        assert!(matches!(resolved, Err(ResolveError::Codec { .. })), "{what}");
    }
}

#[test]
fn entries_and_shards_out_of_their_place_are_refused() {
    let mut memory = Memory::new();
    let cid = *leaf().cid();
    memory.insert(leaf());
    let places = way("a", 256);
    let link = |place: u64, name: &str| format!("{place:02X}{name}");
    let inner = Draft::new(256, &[places[1]], &[(&link(places[1], "a"), cid)]);
    let inner_cid = inner.put(&mut memory);
    let below = |to: Cid, place: u64| Draft::new(256, &[place], &[(&link(place, ""), to)]);
    let good = below(inner_cid, places[0]).put(&mut memory);
    assert_eq!(all(&good, &memory).unwrap().len(), 1);

    let folder = {
        let data = FsNode::new(Kind::Directory).encode();
        Block::of(Codec::DagPb, Buf::from(pb::Node { links: Vec::new(), data: Some(&data) }.encode()))
    };
    memory.insert(folder.clone());
    let empty = Draft::new(256, &[], &[]).put(&mut memory);
    assert!(all(&empty, &memory).unwrap().is_empty());
    let narrow = sharded(&["a".to_owned()], 16, 0, &mut memory);
    let twice = {
        let other = places[0] ^ 1;
        let (low, high) = (places[0].min(other), places[0].max(other));
        Draft::new(256, &[low, high], &[(&link(low, ""), inner_cid), (&link(high, ""), inner_cid)])
    };
    let table = [
        ("wrong place", Draft::new(256, &[places[0] ^ 1], &[(&link(places[0] ^ 1, "a"), cid)])),
        ("wrong way", below(inner_cid, places[0] ^ 1)),
        ("directory below a shard", below(*folder.cid(), places[0])),
        ("empty shard", below(empty, places[0])),
        ("other fanout below", below(narrow, places[0])),
        ("one shard at two places", twice),
    ];
    for (what, draft) in table {
        let root = draft.put(&mut memory);
        assert!(matches!(all(&root, &memory), Err(ExportError::Shard { .. })), "{what}");
    }
    let raw = below(cid, places[0]).put(&mut memory);
    assert!(matches!(all(&raw, &memory), Err(ExportError::Kind { .. })));
}

#[test]
fn endless_shards_end() {
    let at = |n: u8| *Block::of(Codec::DagPb, Buf::from(vec![n])).cid();
    // A shard that links to itself from every place, and one from a single place.
    let names: Vec<String> = (0..256).map(|place| format!("{place:02X}")).collect();
    let links: Vec<(&str, Cid)> = names.iter().map(|name| (name.as_str(), at(0))).collect();
    let places: Vec<u64> = (0..256).collect();
    let mut source = Unverified::default();
    source.0.insert(at(0), Buf::from(Draft::new(256, &places, &links).bytes()));
    source.0.insert(at(1), Buf::from(Draft::new(256, &[7], &[("07", at(1))]).bytes()));
    for root in [at(0), at(1)] {
        let source = Counting::new(&source);
        assert!(matches!(all(&root, &source), Err(ExportError::Shard { .. })));
        assert!(source.take().len() <= 8);
        assert_eq!(lookup(&root, "a", &source).unwrap(), None);
        assert!(source.take().len() <= 9);
    }
    // The same eight blocks, each all over the next: 256 to the eighth ways to nothing.
    let mut memory = Memory::new();
    let mut cid = Draft::new(256, &[], &[]).put(&mut memory);
    for _ in 0..8 {
        let links: Vec<(&str, Cid)> = names.iter().map(|name| (name.as_str(), cid)).collect();
        cid = Draft::new(256, &places, &links).put(&mut memory);
    }
    assert!(all(&cid, &memory).is_err());
}

#[test]
fn order_is_that_of_the_block_and_the_first_of_a_name_counts() {
    let mut memory = Memory::new();
    let cid = |text: &'static str| *Block::of(Codec::Raw, Buf::from_static(text.as_bytes())).cid();
    let names = [("b", cid("1")), ("a", cid("2")), ("b", cid("3")), ("c", cid("4"))];
    let link = |(name, cid): &(&'static str, Cid)| pb::Link { cid: *cid, name: Some(name), tsize: Some(1) };
    let data = FsNode::new(Kind::Directory).encode();
    let block = Block::of(
        Codec::DagPb,
        Buf::from(pb::Node { links: names.iter().map(link).collect(), data: Some(&data) }.encode()),
    );
    memory.insert(block.clone());
    let listed: Vec<_> = all(block.cid(), &memory).unwrap().into_iter().map(|e| (e.name, e.cid)).collect();
    let expected = [names[0], names[1], names[3]].map(|(name, cid)| (name.to_owned(), cid));
    assert_eq!(listed, expected);
    assert_eq!(lookup(block.cid(), "b", &memory).unwrap().unwrap().cid, cid("1"));
    assert_eq!(lookup(block.cid(), "B", &memory).unwrap(), None);
}

#[test]
fn transaction_roots_are_listed_and_looked_up() {
    let mut memory = Memory::new();
    let given = entries(300);
    let (block, _) = tx_root::build(given.clone()).unwrap();
    let root = *block.cid();
    memory.insert(block);
    assert_eq!(all(&root, &memory).unwrap(), given);
    assert_eq!(lookup(&root, "entry-000007", &memory).unwrap().as_ref(), Some(&given[7]));
    assert_eq!(lookup(&root, "Links", &memory).unwrap(), None);
    assert_eq!(given[0].kind(), Some(EntryKind::Raw));
    let above = Entry { name: "tx".to_owned(), cid: root, tsize: Bytes::new(1) };
    assert_eq!(above.kind(), None);
    let (above, _) = tx_root::build(vec![above]).unwrap();
    memory.insert(above.clone());
    memory.insert(leaf());
    let resolved = resolve(above.cid(), &path("tx/entry-000299"), &memory).unwrap();
    assert_eq!(resolved.cid, given[299].cid);
}

#[test]
fn what_is_no_directory_has_no_entries() {
    let mut memory = Memory::new();
    memory.insert(leaf());
    let value = Block::of(Codec::DagCbor, Buf::from_static(&[0xa0]));
    memory.insert(value.clone());
    let data = FsNode::new(Kind::File).encode();
    let file = Block::of(Codec::DagPb, Buf::from(pb::Node { links: Vec::new(), data: Some(&data) }.encode()));
    memory.insert(file.clone());
    for cid in [leaf().cid(), value.cid(), file.cid()] {
        assert!(matches!(all(cid, &memory), Err(ExportError::Kind { .. })));
        assert!(matches!(lookup(cid, "a", &memory), Err(ExportError::Kind { .. })));
    }
}

#[test]
fn a_listing_ends_at_a_missing_shard() {
    let (root, mut memory) = read_car("unixfs/single-layer-hamt-with-multi-block-files.car");
    let whole = all(&root, &memory).unwrap();
    let (big, _) =
        directory(entries(3000), &Profile { shard_above: Bytes::ZERO, ..Profile::default() }, &mut memory)
            .unwrap();
    assert!(!whole.is_empty());
    let shard = {
        let data = memory.block(big.cid()).unwrap().unwrap();
        let (node, _) = decode(big.cid(), &data).unwrap();
        node.links[100].cid
    };
    memory.remove(&shard);
    let mut listing = Listing::open(big.cid(), &memory).unwrap();
    let before = listing.by_ref().take_while(Result::is_ok).count();
    assert!(before > 0 && listing.next().is_none());
    assert!(matches!(all(big.cid(), &memory), Err(ExportError::Missing { cid }) if cid == shard));
}

#[test]
fn a_position_goes_on_when_the_missing_shard_has_come() {
    let mut whole = Memory::new();
    let names: Vec<_> = (0..2000).map(|n| format!("name-{n}")).collect();
    let dir = sharded(&names, 16, 0, &mut whole);
    let mut here = Memory::new();
    here.insert(Block::verified(dir, whole.block(&dir).unwrap().unwrap()).unwrap());
    let (mut position, mut found, mut came) = (Position::first(&dir, &here).unwrap(), Vec::new(), 0);
    assert_eq!(position.outline().entries, None);
    loop {
        match position.next(&here) {
            Ok(Some(entry)) => found.push(entry),
            Ok(None) => break,
            Err(ExportError::Missing { cid }) => {
                here.insert(Block::verified(cid, whole.block(&cid).unwrap().unwrap()).unwrap());
                came += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(found, all(&dir, &whole).unwrap());
    assert!(came > 100, "every shard but the first was missing once, not {came}");
}

#[test]
fn the_first_block_tells_how_much_there_is() {
    let mut memory = Memory::new();
    let (root, below) = tx_root::build(entries(3)).unwrap();
    let tsize = Bytes::new(21);
    assert_eq!(below, tsize.saturating_add(root.size()));
    let cid = *root.cid();
    memory.insert(root);
    let outline = Outline { entries: Some(3), tsize };
    assert_eq!(Position::first(&cid, &memory).unwrap().outline(), outline);
    let (root, _) = directory(entries(3), &Profile::default(), &mut memory).unwrap();
    assert_eq!(Position::first(root.cid(), &memory).unwrap().outline(), outline);
}

proptest! {
    #[test]
    fn shards_of_random_parts_never_panic_and_end(
        fanout in prop_oneof![Just(256u64), Just(8), Just(1024), any::<u64>()],
        field in prop::collection::vec(any::<u8>(), 0..40),
        links in prop::collection::vec(("[0-9A-F]{0,3}[a-z]{0,2}", 0u8..4), 0..6),
        name in "[a-z]{0,2}",
    ) {
        let at = |n: u8| *Block::of(Codec::DagPb, Buf::from(vec![n])).cid();
        let links: Vec<(String, Cid)> = links.into_iter().map(|(name, to)| (name, at(to))).collect();
        let mut honest = field.clone();
        if fanout <= 1024 {
            // Half of the cases get past the bitfield.
            let digits = if fanout == 8 { 1 } else if fanout == 256 { 2 } else { 3 };
            let places: Vec<u64> = links
                .iter()
                .filter_map(|(name, _)| u64::from_str_radix(name.get(..digits)?, 16).ok())
                .filter(|place| *place < fanout)
                .collect();
            if fanout.is_power_of_two() && fanout >= 8 {
                honest = Draft::new(fanout, &places, &[]).field;
            }
        }
        let mut links = links;
        links.sort();
        let mut source = Unverified::default();
        for (n, field) in [(0, honest), (1, field)] {
            let draft = Draft { fanout: Some(fanout), hash_type: Some(0x22), field, links: links.clone() };
            source.0.insert(at(n), Buf::from(draft.bytes()));
        }
        let source = Counting::new(&source);
        let _ = Listing::open(&at(0), &source).map(|listing| listing.take(1000).count());
        let _ = lookup(&at(0), &name, &source);
        prop_assert!(source.take().len() < 200);
    }

    #[test]
    fn random_bytes_as_a_directory_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        pb in any::<bool>(),
    ) {
        let block = Block::of(if pb { Codec::DagPb } else { Codec::DagCbor }, Buf::from(bytes));
        let mut memory = Memory::new();
        memory.insert(block.clone());
        let _ = all(block.cid(), &memory);
        let _ = lookup(block.cid(), "a", &memory);
    }
}
