//! The CIDs that others published, and those that other writers' programs give.

use serde_json::Value;

use super::*;

fn vectors(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(testdata(name)).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap()
}

/// Keeps nothing, so that content of any size can be added.
struct Nowhere;

impl BlockSink for Nowhere {
    fn accept(&mut self, _: Block) -> Result<(), SinkError> {
        Ok(())
    }
}

fn check_profile(file: &Value) {
    let len = number(file, "bytes");
    let mut content: Box<dyn Read> = match file["text"].as_str() {
        Some(text) => Box::new(text.as_bytes()),
        None => Box::new(KeyStream::new(text(file, "seed"), len)),
    };
    let rules = Rules::new(profile(text(file, "profile")));
    let mut seen = Bytes::ZERO;
    let mut progress = |size| seen = seen.saturating_add(size);
    let added = add_file(&mut content, &rules, &mut Nowhere, &mut progress).unwrap();
    assert_eq!(added.cid.to_string(), text(file, "cid"), "{file}");
    assert_eq!((added.size.get(), seen.get()), (len, len));
}

#[test]
fn published_vectors_give_their_cids() {
    let vectors = vectors("unixfs/cid-profiles.json");
    let (small, large): (Vec<&Value>, Vec<&Value>) =
        vectors["files"].as_array().unwrap().iter().partition(|file| number(file, "bytes") <= 1 << 26);
    assert_eq!((small.len(), large.len()), (7, 1));
    small.into_iter().for_each(check_profile);
}

#[test]
#[ignore = "hashes 1 GiB: cargo test --release -p pop-dag -- --ignored published_gibibyte"]
fn published_gibibyte_gives_its_cid() {
    let vectors = vectors("unixfs/cid-profiles.json");
    let large = vectors["files"].as_array().unwrap().iter().find(|file| number(file, "bytes") == 1 << 30);
    check_profile(large.unwrap());
}

#[test]
fn files_get_the_cids_that_another_writer_gives_in_both_layouts() {
    let vectors = vectors("unixfs/boxo.json");
    let files = vectors["files"].as_array().unwrap();
    assert_eq!(files.len(), 49);
    for file in files {
        let layout = if text(file, "layout") == "trickle" { Layout::Trickle } else { Layout::Balanced };
        let max_links = usize::try_from(number(file, "max_links")).unwrap();
        let profile = Profile { max_links, ..profile(text(file, "profile")) };
        let chunker = Chunker::Size(Bytes::new(number(file, "chunk")));
        let rules = Rules { profile, chunker, layout };
        let len = number(file, "bytes");
        let mut content = KeyStream::new(text(file, "seed"), len);
        let added = add_file(&mut content, &rules, &mut Nowhere, &mut |_| ()).unwrap();
        assert_eq!(added.cid.to_string(), text(file, "cid"), "{file}");
        assert_eq!((added.size.get(), added.tsize.get()), (len, number(file, "tsize")), "{file}");
    }
}

#[test]
fn directories_get_the_cids_that_another_writer_gives_and_are_sharded_where_it_shards() {
    let vectors = vectors("unixfs/boxo.json");
    let dirs = vectors["directories"].as_array().unwrap();
    assert_eq!(dirs.len(), 11);
    for dir in dirs {
        let profile = profile(text(dir, "profile"));
        let file = add(b"x", &profile, &mut Memory::new());
        let (count, width) = (number(dir, "entries"), number(dir, "name_len"));
        let entry = |at: u64| {
            let width = if at + 1 == count { number(dir, "last_name_len") } else { width };
            let width = usize::try_from(width).unwrap();
            Entry { name: format!("{at:0width$}"), cid: file.cid, tsize: file.tsize }
        };
        // Any order: the writer must not depend on it.
        let entries = (0..count).rev().map(entry).collect();
        let (root, tsize) = directory(entries, &profile, &mut Nowhere).unwrap();
        let node = pb::Node::decode(root.data()).unwrap();
        let kind = FsNode::decode(node.data.unwrap()).unwrap().kind;
        assert_eq!(kind == Kind::HamtShard, dir["sharded"].as_bool().unwrap(), "{dir}");
        assert_eq!(root.cid().to_string(), text(dir, "cid"), "{dir}");
        assert_eq!(tsize.get(), number(dir, "tsize"), "{dir}");
    }
}

#[test]
fn a_directory_of_another_writer_is_built_again_to_the_same_cid() {
    let mut built = Vec::new();
    for folder in ["unixfs", "car"] {
        for file in std::fs::read_dir(testdata(folder)).unwrap() {
            let path = file.unwrap().path();
            // Some archives are broken on purpose; what can be read of them counts.
            if path.extension().is_some_and(|extension| extension == "car") {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                built.extend(rebuild(&path).into_iter().map(|kind| (name.clone(), kind)));
            }
        }
    }
    let count = |wanted| built.iter().filter(|(_, kind)| *kind == wanted).count();
    assert_eq!((count(Kind::Directory), count(Kind::HamtShard)), (40, 2), "{built:?}");
}

/// Builds every whole directory of an archive again and returns what it was.
fn rebuild(path: &std::path::Path) -> Vec<Kind> {
    let mut memory = Memory::new();
    let (mut dirs, mut below) = (Vec::new(), Vec::new());
    let Ok(mut car) = CarReader::new(std::fs::File::open(path).unwrap()) else { return Vec::new() };
    while let Ok(Some(block)) = car.next_block() {
        if let Some((kind, links)) = directory_node(&block) {
            dirs.push((*block.cid(), kind));
            // A shard that a shard leads to is a part of a directory and none by itself.
            below.extend(links.into_iter().filter(|_| kind == Kind::HamtShard));
        }
        memory.insert(block);
    }
    dirs.retain(|(cid, kind)| *kind == Kind::Directory || !below.contains(cid));
    let mut kinds = Vec::new();
    for (cid, kind) in dirs {
        let entries = list(&cid, &memory).unwrap();
        let shard_above = if kind == Kind::HamtShard { Bytes::ZERO } else { Bytes::MIB };
        let cid_v0 = cid.version() == cid::Version::V0;
        let profile = Profile { shard_above, cid_v0, ..Profile::v1_2025() };
        let (root, _) = directory(entries, &profile, &mut Nowhere).unwrap();
        assert_eq!(*root.cid(), cid, "{path:?}");
        kinds.push(kind);
    }
    kinds
}

fn directory_node(block: &Block) -> Option<(Kind, Vec<Cid>)> {
    let is_pb = block.cid().codec() == Codec::DagPb.code();
    let node = is_pb.then(|| pb::Node::decode(block.data()).ok()).flatten()?;
    let fs = FsNode::decode(node.data?).ok()?;
    let links = node.links.iter().map(|link| link.cid).collect();
    matches!(fs.kind, Kind::Directory | Kind::HamtShard).then_some((fs.kind, links))
}
