//! `cargo xtask`: the house rules as a program, and the drivers that gather evidence from the real binary.
//!
//! It exists so that a rule which matters is a failing command and not a paragraph somebody forgot.
//! It never edits a file of the workspace and, but for packages that `clients` takes from npm, never talks to
//! anything but loopback.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore runner reports on its terminal")]

mod abuse;
mod bench_cache;
mod bench_evict;
mod bench_gateway;
mod bench_import;
mod bench_store;
mod bench_transfer;
mod check;
mod clients;
mod crash;
mod crash_gateway;
mod crash_store;
mod finding;
mod flag;
mod fleet;
mod layers;
mod links;
mod manifest;
mod market;
mod sample;
mod source;
mod table;
mod trace;
mod tree;

use std::process::ExitCode;

/// As in the binary: an allocator is part of what a measurement of the store measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check             layers, size budgets, clocks and tasks, names, links: exit 1 on any finding
  abuse             a gateway under attack, with a client beside that must not feel it; needs ulimit -n 20000
      [--quick] [--size 1GiB] [--only slow-loris,headers,urls,paths,ranges,smuggling,multiplex,flood,
      parallel,uploads,stalled,http10] [--pop PATH] [--dir DIR] [--json]
  bench cache       recorded requests through a real store, against the policy alone: hits, live share, moves
      [--part 20] [--only adapt,web07] [--dir DIR] [--json]
  bench evict       eviction policies on recorded requests: hits, golden counts, memory, speed
      [--salt 0] [--json]
  bench gateway     the gateway of a daemon against nginx on the same bytes: ratios, what they must reach;
                    needs nginx and wrk (apt-get install nginx-light wrk)
      [--size 1GiB] [--files 1000] [--repeat 5] [--seconds 5] [--readers 1000]
      [--only plain,tls,small,ranges,first,car,memory] [--pop PATH] [--dir DIR] [--json]
  bench import      a daemon that puts files and takes archives in, against SHA-256 and a durable file write
      [--size 1GiB] [--large 8GiB] [--files 100000] [--repeat 5] [--only put,large,files,car]
      [--pop PATH] [--dir DIR] [--json]
  bench store       the block store against plain files on the same disk: ratios, what they must reach
      [--repeat 5] [--size 1GiB] [--blocks 100000] [--only put,get,commit,disk,memory,open]
      [--dir DIR] [--json]
  bench transfer    two daemons on loopback: put, commit, paid get, settle
      [--size 1GiB] [--price \"0.01 FIL/GiB\"] [--repeat 1] [--pop PATH] [--dir DIR] [--json]
  clients           a site read by real clients through the gateway of a daemon, and compared: curl, wget,
                    chromium (screenshots), @helia/verified-fetch and ipfs-car from npm; needs
                    apt-get install curl wget chromium ffmpeg npm
      [--only curl,wget,chromium,npm] [--out target/clients] [--modules DIR] [--pop PATH] [--dir DIR]
  crash             kill -9 of either side in the middle of a paid get
      [--rounds 10] [--size 512MiB] [--price \"0.01 FIL/GiB\"] [--pop PATH] [--dir DIR] [--json]
  crash gateway     kill -9 of a node in the middle of an upload, and of a fetch on a miss, of either side
      [--rounds 10] [--only upload,fetch] [--size 256MiB] [--pop PATH] [--dir DIR] [--json]
  crash store       kill -9 of a process that commits, removes, evicts and compacts [--rounds 20] [--dir DIR]
  crash power       the same with a copy of its disk at a random instant; needs root [--rounds 10] [--dir DIR]
  crash full        put, commit and compaction on disks that others fill; needs root [--dir DIR]

--pop names a built binary (default: built with cargo, release); --dir is where repos and files are made;
--modules names a folder whose node_modules hold what would be installed.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check"] => check::run(),
        ["abuse", flags @ ..] => abuse::run(flags),
        ["bench", "cache", flags @ ..] => bench_cache::run(flags),
        ["bench", "evict", flags @ ..] => bench_evict::run(flags),
        ["bench", "gateway", flags @ ..] => bench_gateway::run(flags),
        ["bench", "import", flags @ ..] => bench_import::run(flags),
        ["bench", "store", flags @ ..] => bench_store::run(flags),
        ["bench", "store-child", words @ ..] => bench_store::child(words),
        ["bench", "transfer", flags @ ..] => bench_transfer::run(flags),
        ["clients", flags @ ..] => clients::run(flags),
        ["crash", "gateway", flags @ ..] => crash_gateway::run(flags),
        ["crash", what @ ("store" | "power" | "full"), flags @ ..] => crash_store::run(what, flags),
        ["crash", flags @ ..] => crash::run(flags),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
