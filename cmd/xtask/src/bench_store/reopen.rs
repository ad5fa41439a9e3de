//! Memory under load and opening, each in a process of its own: what a process has used before must not count.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use pop_units::Bytes;

use super::Bench;
use crate::table::{Bound, Row, median, number};

/// What is loaded to see what the memory does.
const LOAD: Bytes = Bytes::new(2 << 30);

/// Measures peak memory above idle while blocks are put and committed.
pub(super) fn memory(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (len, bound) in [(Bytes::new(256 << 10), Bound::AtMost(64.0)), (Bytes::new(4 << 10), Bound::None)] {
        let (mut above, mut per_block) = (Vec::new(), Vec::new());
        for _ in bench.rounds() {
            let repo = bench.fresh("repo")?;
            let kib =
                numbers(child(&["load", text(&repo)?, &LOAD.get().to_string(), &len.get().to_string()])?)?;
            let [idle, peak] = *kib.as_slice() else { anyhow::bail!("the child told {kib:?}") };
            above.push((peak - idle) / 1024.0);
            per_block.push((peak - idle) * 1024.0 / number(LOAD.get() / len.get()));
        }
        let note = format!("{:.0} B a block", median(&per_block));
        let name = format!("peak memory above idle, {LOAD} in blocks of {len}");
        rows.push(Row::new(name, bound, "MiB", above).noting(&note));
    }
    Ok(rows)
}

/// Measures opening after an orderly stop, and after a kill.
pub(super) fn opens(bench: &Bench) -> Result<Vec<Row>> {
    let repo = bench.fresh("repo")?;
    let blocks = bench.blocks.to_string();
    numbers(child(&["fill", text(&repo)?, &blocks])?)?;
    let (mut clean, mut rate, mut killed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in bench.rounds() {
        clean.push(one(child(&["open", text(&repo)?, "clean"])?)?);
    }
    for _ in bench.rounds() {
        let mut victim = child(&["hold", text(&repo)?])?;
        wait_for_word(&mut victim)?;
        victim.kill()?;
        victim.wait()?;
        let seconds = one(child(&["open", text(&repo)?, "rebuilt"])?)? / 1000.0;
        killed.push(seconds * 1000.0);
        rate.push(f64::from(bench.blocks) / seconds);
    }
    super::clear(&repo)?;
    let name = |what: &str| format!("{what}, {blocks} blocks of 4 KiB");
    Ok(vec![
        Row::new(name("reopen after a clean stop"), Bound::AtMost(150.0), "ms", clean),
        Row::new(name("rebuild after a kill"), Bound::AtLeast(100_000.0), "records/s", rate)
            .noting(&format!("the whole open: {:.0} ms", median(&killed))),
    ])
}

fn child(words: &[&str]) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "store-child"]).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().context("starting a process of its own")
}

fn wait_for_word(child: &mut Child) -> Result<()> {
    let mut byte = [0];
    let out = child.stdout.as_mut().context("the child has no output")?;
    std::io::Read::read_exact(out, &mut byte).context("the child ended early")
}

fn numbers(child: Child) -> Result<Vec<f64>> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "a process of its own ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    text.split_whitespace().map(|word| word.parse().with_context(|| format!("{word:?}"))).collect()
}

fn one(child: Child) -> Result<f64> {
    numbers(child)?.first().copied().context("the child told nothing")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("temp dir is not UTF-8")
}
