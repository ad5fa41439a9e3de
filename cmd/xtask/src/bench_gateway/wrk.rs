//! Many requests at once, by `wrk`: small files, and pieces of the large one.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::site::{SMALL, Server, utf8};
use crate::table::{self, Bound, Row, number};

/// Connections that are kept.
const CONNECTIONS: u32 = 64;
/// One piece of the large file.
const PIECE: u64 = 64 << 10;

/// What all scripts print at the end, on a line of its own.
const DONE: &str = "
done = function(summary, latency, requests)
  local bad = summary.errors
  io.write(string.format('RESULT %d %d %d %d\\n', summary.requests, summary.duration, summary.bytes,
    bad.connect + bad.read + bad.write + bad.status + bad.timeout))
end
";

pub(super) fn small(bench: &mut Bench) -> Result<Vec<Row>> {
    let script = bench.site.path("small.lua");
    let (path, files) = (&bench.site.small, bench.site.files);
    let text = format!(
        "local all = {{}}
        init = function(args)
          math.randomseed(tonumber(tostring(wrk.thread):match('0x(%x+)'), 16) or 1)
          for n = 0, {files} - 1 do all[n] = wrk.format('GET', string.format('{path}%04d.bin', n)) end
        end
        request = function() return all[math.random(0, {files} - 1)] end
        {DONE}"
    );
    std::fs::write(&script, text)?;
    let pairs = pairs(bench, &script, SMALL.get())?;
    let name = format!("{files} files of 4 KiB, {CONNECTIONS} connections ÷ nginx");
    Ok(vec![Row::ratio(name, Bound::AtLeast(0.4), &pairs, "requests/s")])
}

pub(super) fn ranges(bench: &mut Bench) -> Result<Vec<Row>> {
    let script = bench.site.path("ranges.lua");
    let (path, last) = (&bench.site.large, bench.site.size.get() - PIECE);
    let text = format!(
        "init = function(args)
          math.randomseed(tonumber(tostring(wrk.thread):match('0x(%x+)'), 16) or 1)
        end
        request = function()
          local from = math.random(0, {last})
          return wrk.format('GET', '{path}', {{ ['Range'] = 'bytes=' .. from .. '-' .. (from + {PIECE} - 1) }})
        end
        {DONE}"
    );
    std::fs::write(&script, text)?;
    let pairs = pairs(bench, &script, PIECE)?;
    let name =
        format!("random 64 KiB ranges of a file of {}, {CONNECTIONS} connections ÷ nginx", bench.site.size);
    Ok(vec![Row::ratio(name, Bound::AtLeast(0.5), &pairs, "requests/s")])
}

fn pairs(bench: &Bench, script: &Path, body: u64) -> Result<Vec<(f64, f64)>> {
    let run = |server: &Server, seconds: u64| load(server, script, seconds, body);
    let (nginx, pop) = (&bench.nginx.server, &bench.pop.server);
    // Every file was asked for once before it counts.
    run(nginx, 1)?;
    run(pop, 1)?;
    let seconds = bench.load.as_secs().max(1);
    table::in_turn(bench.repeat, || run(nginx, seconds), || run(pop, seconds))
}

/// Runs `wrk` and returns requests per second.
fn load(server: &Server, script: &Path, seconds: u64, body: u64) -> Result<f64> {
    let output = Command::new("wrk")
        .args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-d", &format!("{seconds}s"), "-s", utf8(script)?])
        .arg(format!("http://{}/", server.plain))
        .output()
        .context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = || format!("wrk said\n{text}{}", String::from_utf8_lossy(&output.stderr));
    let result = text.lines().find_map(|line| line.strip_prefix("RESULT ")).with_context(said)?;
    let values: Vec<u64> = result.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, micros, bytes, bad] = values[..] else { anyhow::bail!(said()) };
    ensure!(bad == 0, "{bad} requests failed; {}", said());
    // A head beside each body, and one answer of each connection may have been under way at the end.
    let most = requests.saturating_add(CONNECTIONS.into()).saturating_mul(body + 2048);
    ensure!((requests * body..most).contains(&bytes), "{bytes} bytes in {requests} answers; {}", said());
    Ok(number(requests) / (number(micros) / 1e6))
}
