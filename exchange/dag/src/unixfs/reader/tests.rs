use std::cell::RefCell;
use std::collections::HashMap;

use multihash::Multihash;
use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, pb};
use crate::unixfs::node::{FsNode, Kind};
use crate::unixfs::tests::add;
use crate::unixfs::{Chunker, Layout, Profile, Rules, add_file, resolve};
use crate::{Block, Memory, SourceError};

/// Notes which blocks are asked for.
pub(in crate::unixfs) struct Counting<'a, S: ?Sized> {
    pub(in crate::unixfs) source: &'a S,
    pub(in crate::unixfs) asked: RefCell<Vec<Cid>>,
}

impl<'a, S: BlockSource + ?Sized> Counting<'a, S> {
    pub(in crate::unixfs) fn new(source: &'a S) -> Self {
        Self { source, asked: RefCell::default() }
    }

    pub(in crate::unixfs) fn take(&self) -> Vec<Cid> {
        std::mem::take(&mut self.asked.borrow_mut())
    }
}

impl<S: BlockSource + ?Sized> BlockSource for Counting<'_, S> {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        self.asked.borrow_mut().push(*cid);
        self.source.block(cid)
    }
}

/// Bytes that do not hash to their CIDs, so that there can be cycles.
#[derive(Default)]
pub(in crate::unixfs) struct Unverified(pub(in crate::unixfs) HashMap<Cid, Buf>);

impl BlockSource for Unverified {
    fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
        Ok(self.0.get(cid).cloned())
    }
}

/// A part of a file in one of the forms that writers have made.
#[derive(Clone, Debug)]
enum Part {
    Raw(Vec<u8>),
    Identity(Vec<u8>),
    Leaf { kind: Kind, sized: bool, data: Vec<u8> },
    Inner { own: Vec<u8>, sized: bool, old: bool, parts: Vec<Part> },
}

/// Where a part's content lies in the file, and its block unless the CID carries it.
#[derive(Debug)]
struct Placed {
    cid: Option<Cid>,
    range: Range<u64>,
}

fn put(block: Block, memory: &mut Memory) -> Cid {
    let cid = *block.cid();
    memory.insert(block);
    cid
}

fn pb_block(fs: &FsNode<'_>, links: &[Cid], old: bool) -> Block {
    let data = fs.encode();
    let link = |cid: &Cid| pb::Link { cid: *cid, name: Some(""), tsize: None };
    let node = pb::Node { links: links.iter().map(link).collect(), data: Some(&data) };
    let bytes = Buf::from(node.encode());
    if old { Block::of_v0(bytes) } else { Block::of(Codec::DagPb, bytes) }
}

impl Part {
    /// Makes the blocks, appends the content and returns the CID.
    fn build(&self, memory: &mut Memory, content: &mut Vec<u8>, placed: &mut Vec<Placed>) -> Cid {
        let start = Bytes::of(content).get();
        let cid = match self {
            Self::Raw(data) => {
                content.extend_from_slice(data);
                put(Block::of(Codec::Raw, Buf::from(data.clone())), memory)
            }
            Self::Identity(data) => {
                content.extend_from_slice(data);
                Cid::new_v1(Codec::Raw.code(), Multihash::wrap(0, data).unwrap())
            }
            Self::Leaf { kind, sized, data } => {
                content.extend_from_slice(data);
                let filesize = sized.then(|| Bytes::of(data).get());
                let fs = FsNode { data: Some(data), filesize, ..FsNode::new(*kind) };
                put(pb_block(&fs, &[], false), memory)
            }
            Self::Inner { own, sized, old, parts } => {
                content.extend_from_slice(own);
                let (mut links, mut blocksizes) = (Vec::new(), Vec::new());
                for part in parts {
                    let before = Bytes::of(content).get();
                    links.push(part.build(memory, content, placed));
                    blocksizes.push(Bytes::of(content).get() - before);
                }
                let filesize = sized.then(|| Bytes::of(content).get() - start);
                let data = (!own.is_empty()).then_some(own.as_slice());
                let fs = FsNode { data, filesize, blocksizes, ..FsNode::new(Kind::File) };
                put(pb_block(&fs, &links, *old), memory)
            }
        };
        let carried = matches!(self, Self::Identity(_));
        let range = start..Bytes::of(content).get();
        placed.push(Placed { cid: (!carried).then_some(cid), range });
        cid
    }
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

fn leaves() -> impl Strategy<Value = Part> {
    let kind = prop_oneof![Just(Kind::File), Just(Kind::Raw)];
    prop_oneof![
        bytes(9).prop_map(Part::Raw),
        bytes(4).prop_map(Part::Identity),
        (kind, any::<bool>(), bytes(9)).prop_map(|(kind, sized, data)| Part::Leaf { kind, sized, data }),
    ]
}

/// Files of any shape: uneven depth as in trickled ones, content in inner nodes, empty parts.
fn files() -> impl Strategy<Value = Part> {
    leaves().prop_recursive(6, 60, 5, |inner| {
        let own = prop_oneof![2 => Just(Vec::new()), 1 => bytes(5)];
        (own, any::<bool>(), any::<bool>(), prop::collection::vec(inner, 0..5))
            .prop_map(|(own, sized, old, parts)| Part::Inner { own, sized, old, parts })
    })
}

proptest! {
    #[test]
    fn any_range_of_any_shape_is_the_slice_and_asks_for_its_blocks_alone(
        file in files(),
        from in 0u64..120,
        len in 0u64..120,
    ) {
        let (mut memory, mut content, mut placed) = (Memory::new(), Vec::new(), Vec::new());
        let root = file.build(&mut memory, &mut content, &mut placed);
        let source = Counting::new(&memory);
        let mut out = Vec::new();
        let size = read_range(&root, from..from + len, &source, &mut out, &mut |_| ()).unwrap();
        prop_assert_eq!(size, Bytes::of(&out));
        let total = content.len();
        let [a, b] = [from, from + len].map(|at| usize::try_from(at).unwrap().min(total));
        prop_assert_eq!(&out, &content[a..b]);

        let range = [a, b].map(|at| u64::try_from(at).unwrap());
        let needed = |part: &Placed| part.range.start.max(range[0]) < part.range.end.min(range[1]);
        let (root_part, parts) = placed.split_last().unwrap();
        let mut expected: Vec<Cid> =
            parts.iter().filter(|part| needed(part)).filter_map(|part| part.cid).collect();
        expected.extend(root_part.cid);
        let mut asked = source.take();
        asked.sort();
        expected.sort();
        prop_assert_eq!(asked, expected);
    }

    #[test]
    fn files_of_any_rules_are_read_in_any_range(
        len in 0usize..3000,
        (chunk, max_links, raw_leaves, cid_v0, trickle) in
            (1u64..30, 2usize..6, any::<bool>(), any::<bool>(), any::<bool>()),
        ranges in prop::collection::vec((0usize..3200, 0usize..600), 1..6),
    ) {
        let profile = Profile { chunk: Bytes::new(chunk), max_links, raw_leaves, cid_v0, ..Profile::default() };
        let layout = if trickle { Layout::Trickle } else { Layout::Balanced };
        let rules = Rules { layout, ..Rules::new(profile) };
        check_ranges(&numbers(len), &rules, &ranges)?;
    }

    #[test]
    fn seeking_and_reading_is_like_in_memory(
        file in files(),
        steps in prop::collection::vec((0u8..4, -100i64..200, 0usize..40), 1..20),
    ) {
        let (mut memory, mut content, mut placed) = (Memory::new(), Vec::new(), Vec::new());
        let root = file.build(&mut memory, &mut content, &mut placed);
        let mut reader = FileReader::open(&root, &memory).unwrap();
        let mut model = io::Cursor::new(content);
        for (how, by, len) in steps {
            let to = match how {
                0 => SeekFrom::Start(by.unsigned_abs()),
                1 => SeekFrom::End(-by),
                2 => SeekFrom::Current(by),
                _ => SeekFrom::Current(0),
            };
            prop_assert_eq!(reader.seek(to).ok(), model.seek(to).ok());
            let (mut got, mut expected) = (Vec::new(), Vec::new());
            let len = u64::try_from(len).unwrap();
            reader.by_ref().take(len).read_to_end(&mut got).unwrap();
            Read::by_ref(&mut model).take(len).read_to_end(&mut expected).unwrap();
            prop_assert_eq!(got, expected);
            prop_assert_eq!(reader.position().get(), model.position());
        }
    }

    #[test]
    fn nodes_that_lie_never_panic_and_never_loop(
        nodes in prop::collection::vec(
            (
                0u8..5,
                prop::option::of(bytes(3)),
                prop::option::of(sizes()),
                prop::collection::vec((0usize..6, sizes()), 0..4),
                any::<bool>(),
            ),
            1..6,
        ),
        from in prop_oneof![0u64..20, any::<u64>()],
    ) {
        // Links go anywhere, also back.
        let cid = |index: usize| *Block::of(Codec::DagPb, Buf::from(vec![u8::try_from(index).unwrap()])).cid();
        let mut source = Unverified::default();
        for (index, (kind, data, filesize, links, fit)) in nodes.iter().enumerate() {
            let kind = [Kind::File, Kind::Raw, Kind::File, Kind::Directory, Kind::Symlink][usize::from(*kind)];
            let mut blocksizes: Vec<u64> = links.iter().map(|(_, size)| *size).collect();
            if !fit {
                blocksizes.pop();
            }
            let fs = FsNode { data: data.as_deref(), filesize: *filesize, blocksizes, ..FsNode::new(kind) };
            let to: Vec<Cid> = links.iter().map(|(to, _)| cid(*to)).collect();
            source.0.insert(cid(index), pb_block(&fs, &to, false).data().clone());
        }
        if let Ok(mut reader) = FileReader::open(&cid(0), &source) {
            reader.seek_to(Bytes::new(from));
            for _ in 0..100 {
                match reader.piece(usize::MAX) {
                    Ok(piece) if !piece.is_empty() => {}
                    Ok(_) | Err(_) => break,
                }
            }
        }
    }

    #[test]
    fn random_bytes_as_a_file_never_panic(bytes in bytes(200)) {
        let block = Block::of(Codec::DagPb, Buf::from(bytes));
        let mut memory = Memory::new();
        let root = put(block, &mut memory);
        let _ = write_file(&root, &memory, &mut io::sink(), &mut |_| ());
    }
}

/// Content in which no two pieces of four bytes are the same, cut to a length.
fn numbers(len: usize) -> Vec<u8> {
    (0u32..).flat_map(u32::to_be_bytes).take(len).collect()
}

fn check_ranges(content: &[u8], rules: &Rules, ranges: &[(usize, usize)]) -> Result<(), TestCaseError> {
    let mut memory = Memory::new();
    let added = add_file(&mut &content[..], rules, &mut memory, &mut |_| ()).unwrap();
    let mut reader = FileReader::open(&added.cid, &memory).unwrap();
    prop_assert_eq!(reader.size(), Bytes::of(content));
    for (from, len) in ranges {
        let range = (*from).min(content.len())..(from + len).min(content.len());
        reader.seek(SeekFrom::Start(u64::try_from(*from).unwrap())).unwrap();
        let mut out = Vec::new();
        reader.by_ref().take(u64::try_from(*len).unwrap()).read_to_end(&mut out).unwrap();
        prop_assert_eq!(&out, &content[range]);
    }
    reader.rewind().unwrap();
    let mut whole = Vec::new();
    reader.read_to_end(&mut whole).unwrap();
    prop_assert_eq!(&whole, content);
    Ok(())
}

#[test]
fn files_cut_by_content_or_by_kind_are_read_in_ranges() {
    let content = numbers(3_000_000);
    let ranges =
        [(0, 10), (16_000, 40_000), (1 << 20, 1), ((1 << 20) - 1, 2), (2_999_999, 9), (3_000_000, 1)];
    for chunker in [Chunker::Buzhash, Chunker::Auto, Chunker::Size(Bytes::new(99_999))] {
        for layout in [Layout::Profile, Layout::Balanced, Layout::Trickle] {
            for profile in [Profile::v0_2015(), Profile::v1_2025()] {
                let rules = Rules { profile: Profile { max_links: 4, ..profile }, chunker, layout };
                check_ranges(&content, &rules, &ranges).unwrap();
            }
        }
    }
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..6, Just(u64::MAX), Just(1 << 40), any::<u64>()]
}

#[test]
fn a_small_range_of_a_large_file_asks_for_one_path() {
    let profile = Profile { chunk: Bytes::new(4), max_links: 16, ..Profile::v1_2025() };
    let content = numbers(40_000);
    let mut memory = Memory::new();
    let root = add(&content, &profile, &mut memory).cid;
    let source = Counting::new(&memory);
    let mut reader = FileReader::open(&root, &source).unwrap();
    assert_eq!((reader.size(), source.take().len()), (Bytes::of(&content), 1));
    // 10,000 leaves below 16 links each: three more nodes and the leaf.
    reader.seek_to(Bytes::new(20_000));
    assert_eq!(reader.piece(100).unwrap().as_ref(), 5000u32.to_be_bytes());
    assert_eq!(source.take().len(), 4);
    // The neighbour shares the path, and the nodes are still in memory.
    assert_eq!(reader.piece(2).unwrap().as_ref(), &5001u32.to_be_bytes()[..2]);
    assert_eq!(reader.piece(2).unwrap().as_ref(), &5001u32.to_be_bytes()[2..]);
    assert_eq!(source.take().len(), 1);
    // Nothing is read at or behind the end.
    reader.seek_to(Bytes::new(40_000));
    assert!(reader.piece(100).unwrap().is_empty());
    reader.seek_to(Bytes::new(u64::MAX));
    assert!(reader.piece(100).unwrap().is_empty());
    assert!(source.take().is_empty());
    let mut whole = Vec::new();
    reader.rewind().unwrap();
    reader.read_to_end(&mut whole).unwrap();
    assert_eq!(whole, content);
}

#[test]
fn a_missing_block_ends_a_read_and_can_arrive_later() {
    let profile = Profile { chunk: Bytes::new(4), ..Profile::v1_2025() };
    let mut memory = Memory::new();
    let root = add(b"firstsecond", &profile, &mut memory).cid;
    let lost = *Block::of(Codec::Raw, Buf::from_static(b"tsec")).cid();
    let shared = std::rc::Rc::new(RefCell::new(memory));
    struct Shared(std::rc::Rc<RefCell<Memory>>);
    impl BlockSource for Shared {
        fn block(&self, cid: &Cid) -> Result<Option<Buf>, SourceError> {
            self.0.borrow().block(cid)
        }
    }
    shared.borrow_mut().remove(&lost);
    let mut reader = FileReader::open(&root, Shared(shared.clone())).unwrap();
    assert_eq!(reader.piece(9).unwrap().as_ref(), b"firs");
    assert!(matches!(reader.piece(9), Err(ExportError::Missing { cid }) if cid == lost));
    let error = reader.read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains(&lost.to_string()));
    shared.borrow_mut().insert(Block::of(Codec::Raw, Buf::from_static(b"tsec")));
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "tsecond");
}

#[test]
fn a_range_needs_no_blocks_beside_it() {
    let profile = Profile { chunk: Bytes::new(2), ..Profile::v1_2025() };
    let mut memory = Memory::new();
    let root = add(b"aabbccdd", &profile, &mut memory).cid;
    for gone in ["aa", "dd"] {
        memory.remove(Block::of(Codec::Raw, Buf::from(gone)).cid());
    }
    let mut out = Vec::new();
    read_range(&root, 2..6, &memory, &mut out, &mut |_| ()).unwrap();
    assert_eq!(out, b"bbcc");
    assert!(matches!(
        read_range(&root, 2..7, &memory, &mut out, &mut |_| ()),
        Err(ExportError::Missing { .. })
    ));
}

#[test]
fn false_sizes_are_told_and_never_shift_bytes() {
    let mut memory = Memory::new();
    let leaf = put(Block::of(Codec::Raw, Buf::from_static(b"abc")), &mut memory);
    let sized = |size: Option<u64>, sizes: &[u64]| FsNode {
        filesize: size,
        blocksizes: sizes.to_vec(),
        ..FsNode::new(Kind::File)
    };
    let good = put(pb_block(&sized(None, &[3, 3]), &[leaf, leaf], false), &mut memory);
    let table: [(FsNode<'_>, &[Cid]); 9] = [
        (sized(Some(5), &[3]), &[leaf]),
        (sized(Some(3), &[3, 0]), &[leaf]),
        (sized(Some(3), &[3]), &[leaf, leaf]),
        (sized(Some(3), &[]), &[leaf]),
        (sized(Some(2), &[2]), &[leaf]),
        (sized(Some(4), &[4]), &[leaf]),
        (sized(Some(5), &[5]), &[good]),
        (sized(None, &[u64::MAX, 3]), &[leaf, leaf]),
        (sized(Some(u64::MAX), &[u64::MAX]), &[good]),
    ];
    for (fs, links) in table {
        let root = put(pb_block(&fs, links, false), &mut memory);
        let refused = write_file(&root, &memory, &mut io::sink(), &mut |_| ());
        assert!(matches!(refused, Err(ExportError::Size { .. })), "{fs:?}");
    }
}

#[test]
fn what_is_no_part_of_a_file_is_told() {
    let mut memory = Memory::new();
    let folder = put(pb_block(&FsNode::new(Kind::Directory), &[], false), &mut memory);
    let value = put(Block::of(Codec::DagCbor, Buf::from_static(&[0xa0])), &mut memory);
    for part in [folder, value] {
        let fs = FsNode { blocksizes: vec![1], ..FsNode::new(Kind::File) };
        let root = put(pb_block(&fs, &[part], false), &mut memory);
        for cid in [part, root] {
            let refused = write_file(&cid, &memory, &mut io::sink(), &mut |_| ());
            assert!(matches!(refused, Err(ExportError::Kind { cid, .. }) if cid == part));
        }
    }
    let leaf = put(Block::of(Codec::Raw, Buf::from_static(b"a")), &mut memory);
    let fs = FsNode { blocksizes: vec![1], ..FsNode::new(Kind::File) }.encode();
    let link = pb::Link { cid: leaf, name: Some("a"), tsize: None };
    let named = pb::Node { links: vec![link], data: Some(&fs) }.encode();
    let root = put(Block::of(Codec::DagPb, Buf::from(named)), &mut memory);
    let refused = write_file(&root, &memory, &mut io::sink(), &mut |_| ());
    assert!(matches!(refused, Err(ExportError::Codec { cid, .. }) if cid == root));
}

#[test]
fn a_file_that_claims_two_to_the_sixty_is_read_where_it_is_asked() {
    let mut memory = Memory::new();
    let mut cid = put(Block::of(Codec::Raw, Buf::from_static(b"ab")), &mut memory);
    let mut size = 2u64;
    while size < 1 << 60 {
        let fs = FsNode { blocksizes: vec![size; 2], ..FsNode::new(Kind::File) };
        cid = put(pb_block(&fs, &[cid, cid], false), &mut memory);
        size *= 2;
    }
    assert_eq!(resolve(&cid, &[], &memory).unwrap().size, Bytes::new(1 << 60));
    let source = Counting::new(&memory);
    let mut out = Vec::new();
    read_range(&cid, size - 3..u64::MAX, &source, &mut out, &mut |_| ()).unwrap();
    assert_eq!((out.as_slice(), source.take().len()), (&b"bab"[..], 61));

    let mut deep = cid;
    for _ in 0..6 {
        let fs = FsNode { blocksizes: vec![size], ..FsNode::new(Kind::File) };
        deep = put(pb_block(&fs, &[deep], false), &mut memory);
    }
    let refused = read_range(&deep, 0..1, &memory, &mut out, &mut |_| ());
    assert!(matches!(refused, Err(ExportError::TooDeep { .. })));
}
