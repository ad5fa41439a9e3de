//! Chunking by what a file is, other rules, and what they cost.

use super::*;

fn rules(chunker: Chunker) -> Rules {
    Rules { chunker, ..Rules::default() }
}

fn add_named(name: Option<&str>, content: &[u8], rules: &Rules, memory: &mut Memory) -> Added {
    let mut reader = content;
    let content = Content { reader: &mut reader, name, size: None };
    add_content(content, rules, memory, &mut |_| ()).unwrap()
}

fn noise(len: u64) -> Vec<u8> {
    let mut content = Vec::new();
    KeyStream::new("auto", len).read_to_end(&mut content).unwrap();
    content
}

/// Text that never repeats a line.
fn prose(len: usize) -> Vec<u8> {
    let lines = (0u64..)
        .flat_map(|at| format!("line {at} says {:x}\n", at.wrapping_mul(0x9e37_79b9_97f4_a7c1)).into_bytes());
    lines.take(len).collect()
}

#[test]
fn what_a_file_is_decides_how_it_is_cut_and_joined() {
    let big = noise(3_500_000);
    let with_magic = |magic: &[u8]| [magic, &big].concat();
    let mp4 = with_magic(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom");
    let png = with_magic(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let text = prose(3_500_000);
    let mib = || Rules { chunker: Chunker::Size(Bytes::MIB), ..Rules::default() };
    let trickled = Rules { layout: Layout::Trickle, ..mib() };
    let (packed, defined, plain) = (mib(), rules(Chunker::Buzhash), Rules::default());
    let table = [
        (Some("film.mkv"), &big, &trickled),
        (Some("film"), &mp4, &trickled),
        (None, &mp4, &trickled),
        (Some("photo.jpg"), &big, &packed),
        (Some("photo"), &png, &packed),
        (Some("notes.txt"), &big, &defined),
        (Some("main.rs"), &text, &defined),
        (None, &text, &defined),
        (None, &big, &plain),
        (Some("x.unknown"), &big, &plain),
    ];
    for (name, content, wanted) in table {
        let mut memory = Memory::new();
        let got = add_named(name, content, &rules(Chunker::Auto), &mut memory);
        assert_eq!(got, add_named(None, content, wanted, &mut Memory::new()), "{name:?}");
        assert_eq!(read_back(&got.cid, &memory).unwrap(), *content, "{name:?}");
    }
}

#[test]
fn chunker_and_layout_override_what_the_file_is() {
    let film = [&b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"[..], &noise(2_500_000)].concat();
    let add = |chunker, layout| {
        let rules = Rules { chunker, layout, ..Rules::default() };
        let mut memory = Memory::new();
        let added = add_named(Some("film.mp4"), &film, &rules, &mut memory);
        assert_eq!(read_back(&added.cid, &memory).unwrap(), film);
        added
    };
    assert_eq!(add(Chunker::Auto, Layout::Balanced), add(Chunker::Profile, Layout::Profile));
    assert_eq!(add(Chunker::Auto, Layout::Profile), add(Chunker::Profile, Layout::Trickle));
    let small = Chunker::Size(Bytes::new(1000));
    assert_eq!(add(small, Layout::Profile), add(small, Layout::Balanced));
    assert_ne!(add(small, Layout::Profile), add(small, Layout::Trickle));
    assert_eq!(add(Chunker::Buzhash, Layout::Profile), add(Chunker::Buzhash, Layout::Balanced));
}

#[test]
fn no_byte_is_lost_to_looking_at_the_content() {
    // Around the length of what is looked at, from readers that give a byte at a time or all at once.
    struct Single<'a>(&'a [u8]);
    impl Read for Single<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(&mut into[..1])
        }
    }
    for content in [noise(10_000), prose(10_000), [&b"ID3\x04\0\0"[..], &noise(10_000)].concat()] {
        for len in [0, 1, 2, 100, 3071, 3072, 3073, 4095, 4096, 4097, 8192, 10_000] {
            let content = &content[..len];
            for rules in [rules(Chunker::Auto), Rules { profile: Profile::v0_2015(), ..rules(Chunker::Auto) }]
            {
                let mut memory = Memory::new();
                let single = add_file(&mut Single(content), &rules, &mut memory, &mut |_| ()).unwrap();
                assert_eq!(single.size, Bytes::of(content));
                assert_eq!(read_back(&single.cid, &memory).unwrap(), content);
                assert_eq!(add_named(None, content, &rules, &mut memory), single);
            }
        }
    }
}

#[test]
fn an_insertion_into_a_text_costs_little_with_buzhash_and_everything_without() {
    let before = prose(4 << 20);
    let after = [&before[..1 << 20], b"a new line near the start\n", &before[1 << 20..]].concat();
    let cost = |chunker| {
        /// Counts the bytes that were not there before.
        struct Counting<'a>(&'a mut Memory, u64);
        impl BlockSink for Counting<'_> {
            fn accept(&mut self, block: Block) -> Result<(), SinkError> {
                if self.0.block(block.cid()).unwrap().is_none() {
                    self.1 += block.size().get();
                }
                self.0.accept(block)
            }
        }
        let mut memory = Memory::new();
        let rules = rules(chunker);
        add_named(Some("book.txt"), &before, &rules, &mut memory);
        let mut sink = Counting(&mut memory, 0);
        add_file(&mut after.as_slice(), &rules, &mut sink, &mut |_| ()).unwrap();
        sink.1
    };
    // Of 4 MiB: a piece or two and the nodes above, against three pieces of 1 MiB and what is left.
    assert!(cost(Chunker::Buzhash) < 150 << 10, "{}", cost(Chunker::Buzhash));
    assert!(cost(Chunker::Auto) < 150 << 10);
    assert!(cost(Chunker::Profile) > 3 << 20);
    assert!(cost(Chunker::Size(Bytes::new(16 << 10))) > 3 << 20);
}

#[test]
fn a_chunker_is_read_as_it_is_written() {
    let table = [
        ("profile", Chunker::Profile),
        ("buzhash", Chunker::Buzhash),
        ("auto", Chunker::Auto),
        ("size-1", Chunker::Size(Bytes::new(1))),
        ("size-262144", Chunker::Size(Bytes::new(262_144))),
        ("size-2096896", Chunker::Size(MAX_CHUNK)),
    ];
    for (text, chunker) in table {
        assert_eq!(text.parse(), Ok(chunker));
        assert_eq!(chunker.to_string(), text);
    }
    for text in
        ["size-", "size-0", "size-2096897", "size-+5", "size--1", "size-1k", "size-99999999999999999999"]
    {
        assert_eq!(text.parse::<Chunker>(), Err(ChunkerError::Size { text: text.to_owned() }));
    }
    for text in ["", "rabin", "Auto", "buzhash-16", "1024"] {
        assert_eq!(text.parse::<Chunker>(), Err(ChunkerError::Unknown { text: text.to_owned() }));
    }
}

#[test]
fn the_largest_leaves_are_blocks_that_everybody_takes() {
    let content = noise(2 * MAX_CHUNK.get() + 5);
    for profile in [Profile::v1_2025(), Profile::v0_2015()] {
        for layout in [Layout::Balanced, Layout::Trickle] {
            /// What a store does with each block.
            struct Checking(Memory);
            impl BlockSink for Checking {
                fn accept(&mut self, block: Block) -> Result<(), SinkError> {
                    let (cid, data) = block.into_parts();
                    self.0.accept(Block::verified(cid, data).map_err(SinkError::new)?)
                }
            }
            let rules = Rules { profile: profile.clone(), chunker: Chunker::Size(MAX_CHUNK), layout };
            let mut sink = Checking(Memory::new());
            let added = add_file(&mut content.as_slice(), &rules, &mut sink, &mut |_| ()).unwrap();
            assert_eq!(read_back(&added.cid, &sink.0).unwrap(), content);
        }
    }
    for size in [0, MAX_CHUNK.get() + 1] {
        let rules = rules(Chunker::Size(Bytes::new(size)));
        let refused = add_file(&mut &b"x"[..], &rules, &mut Memory::new(), &mut |_| ());
        assert!(matches!(refused, Err(ImportError::Profile)));
    }
}

/// Where a leaf lies in a trickled file: the way the definition says it, one leaf after the other.
fn trickled_depths(leaves: usize, max_links: usize) -> Vec<u32> {
    fn node(depth: u32, limit: Option<u32>, left: &mut usize, max_links: usize, out: &mut Vec<u32>) {
        let here = max_links.min(*left);
        out.extend(std::iter::repeat_n(depth, here));
        *left -= here;
        let mut below = 1;
        while *left > 0 && limit.is_none_or(|limit| below < limit) {
            for _ in 0..4 {
                if *left > 0 {
                    node(depth + 1, Some(below), left, max_links, out);
                }
            }
            below += 1;
        }
    }
    let (mut left, mut out) = (leaves, Vec::new());
    node(1, None, &mut left, max_links, &mut out);
    out
}

fn depths(cid: &Cid, depth: u32, memory: &Memory, out: &mut Vec<u32>) {
    if cid.codec() == Codec::Raw.code() {
        return out.push(depth);
    }
    let data = memory.block(cid).unwrap().unwrap();
    for link in pb::Node::decode(&data).unwrap().links {
        depths(&link.cid, depth + 1, memory, out);
    }
}

#[test]
fn trickled_leaves_lie_where_the_definition_puts_them() {
    for (len, max_links) in [(1, 2), (2, 2), (3, 2), (10, 2), (11, 2), (50, 2), (777, 2), (777, 3), (5000, 5)]
    {
        let profile = Profile { max_links, ..Profile::default() };
        let rules = Rules { profile, chunker: Chunker::Size(Bytes::new(1)), layout: Layout::Trickle };
        let content = noise(len);
        let mut memory = Memory::new();
        let added = add_named(None, &content, &rules, &mut memory);
        let mut got = Vec::new();
        depths(&added.cid, 0, &memory, &mut got);
        assert_eq!(got, trickled_depths(content.len(), max_links), "{len} {max_links}");
        assert_eq!(read_back(&added.cid, &memory).unwrap(), content);
    }
}

proptest! {
    #[test]
    fn content_under_any_rules_is_read_back(
        content in prop::collection::vec(any::<u8>(), 0..400),
        size in 1u64..40,
        max_links in 2usize..6,
        trickle in any::<bool>(),
        v0 in any::<bool>(),
    ) {
        let profile = if v0 { Profile::v0_2015() } else { Profile::v1_2025() };
        let profile = Profile { max_links, ..profile };
        let layout = if trickle { Layout::Trickle } else { Layout::Balanced };
        let rules = Rules { profile, chunker: Chunker::Size(Bytes::new(size)), layout };
        let mut memory = Memory::new();
        let added = add_named(None, &content, &rules, &mut memory);
        prop_assert_eq!(read_back(&added.cid, &memory).unwrap(), content);
    }
}
