//! `cargo xtask crash`: either side is killed at a random moment of a paid get, restarted, and held to its word.
//!
//! After every kill: the get completes, the bytes are equal, no accepted voucher is gone, and the client has
//! paid at most one interval more than the content costs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pop_units::{AttoFil, Bytes, PricePerByte};
use serde_json::json;

use crate::flag::Flags;
use crate::fleet::Binary;
use crate::market::{LONG, Market, Published, price_of};
use crate::sample;

/// The widest payment interval: what one crash may cost.
const INTERVAL: Bytes = Bytes::new(16 << 20);
/// Gets after a kill: the first may meet a peer that is still coming up.
const ATTEMPTS: u32 = 8;
/// New tries when a get was over before the kill.
const MISSES: u32 = 5;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Provider,
    Client,
}

/// What one kill showed.
#[derive(Debug)]
struct Round {
    side: Side,
    after: Duration,
    attempts: u32,
    books: Books,
}

/// Both sides' books after one kill, against what the content costs.
#[derive(Debug, Clone, Copy)]
struct Books {
    /// Paid beyond the cost: blocks paid for and lost with the kill.
    overpaid: AttoFil,
    /// Not paid of the cost: blocks that came before the kill and whose voucher did not go out any more.
    underpaid: AttoFil,
    /// Signed by the client, not seen by the provider: at most one interval, made good by the next voucher.
    unclaimed: AttoFil,
}

/// What every round shares.
#[derive(Debug, Clone, Copy)]
struct Plan {
    size: Bytes,
    price: PricePerByte,
    /// How long an undisturbed get takes.
    usual: Duration,
}

impl Plan {
    /// Returns a moment inside a get.
    fn moment(&self) -> Result<Duration> {
        let usual = u64::try_from(self.usual.as_micros())?;
        Ok(Duration::from_micros(sample::between(usual / 20, usual * 9 / 10)?))
    }
}

/// Runs the rounds; an unkept promise is an error that names it.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--rounds", "--size", "--price", "--pop", "--dir"], &["--json"])?;
    let size: Bytes = flags.value("--size", "512MiB")?;
    let price_text: String = flags.value("--price", "0.01 FIL/GiB")?;
    let price = price_of(&price_text)?;
    let rounds: u32 = flags.value("--rounds", "10")?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let binary = Binary::find(flags.text("--pop"))?;

    let folder = tempfile::Builder::new().prefix("pop-crash-").tempdir_in(folder)?;
    let mut market = Market::open(&binary, folder.path(), &price_text)?;
    let plan = Plan { size, price, usual: undisturbed(&market, size)? };
    eprintln!("an undisturbed get takes {:.2} s", plan.usual.as_secs_f64());

    let mut done = Vec::new();
    for number in 1..=rounds {
        let side = if sample::between(0, 2)? == 0 { Side::Provider } else { Side::Client };
        let round = round(&mut market, number, plan, side)
            .with_context(|| format!("round {number}, {side:?} killed"))?;
        eprintln!("round {number}: {side:?} killed after {:.3} s, kept its word", round.after.as_secs_f64());
        done.push(round);
    }
    market.close()?;
    print(&done, flags.has("--json"));
    Ok(true)
}

/// Measures how long a get takes, so that kills fall inside one.
fn undisturbed(market: &Market, size: Bytes) -> Result<Duration> {
    let published = market.publish("warm.bin", size)?;
    let begun = std::time::Instant::now();
    fetch(market, &published, "warm.bin")?;
    let took = begun.elapsed();
    clear(market, &published, "warm.bin")?;
    Ok(took)
}

/// Kills once in the middle of a get, with new content as often as the get was faster than the kill.
fn round(market: &mut Market, number: u32, plan: Plan, side: Side) -> Result<Round> {
    for miss in 0..MISSES {
        let name = format!("file-{number}-{miss}.bin");
        let published = market.publish(&name, plan.size)?;
        let paid_before = Market::best(&market.client)?;
        let hit = disturb(market, &published, &name, plan, side)?;
        if let Some((after, attempts)) = hit {
            let books = audit(market, &published, plan.price, paid_before)?;
            clear(market, &published, &name)?;
            return Ok(Round { side, after, attempts, books });
        }
        clear(market, &published, &name)?;
    }
    bail!("the get was over before the kill {MISSES} times; use a larger --size")
}

/// Starts a get, kills, restarts, completes; `None` when the get was over before the kill.
fn disturb(
    market: &mut Market,
    published: &Published,
    name: &str,
    plan: Plan,
    side: Side,
) -> Result<Option<(Duration, u32)>> {
    let after = plan.moment()?;
    let target = market.target(name);
    let address = market.provider.address();
    let words = ["get", &published.path, "-o", path_text(&target)?, "--peer", &address];
    let mut get = market.client.begin(&words)?;
    std::thread::sleep(after.saturating_sub(get.elapsed()));
    // What the provider has accepted by now must still be there afterwards.
    let accepted = Market::best(&market.provider)?;
    if get.is_over()? {
        get.finish(LONG).context("before the kill")?;
        return Ok(None);
    }
    let after = get.elapsed();
    let victim = match side {
        Side::Provider => &mut market.provider,
        Side::Client => &mut market.client,
    };
    victim.kill()?;
    victim.restart()?;
    let kept = Market::best(&market.provider)?;
    ensure!(kept >= accepted, "provider's best vouchers fell from {accepted} to {kept}");
    let attempts = complete(market, published, name, get)?;
    Ok(Some((after, attempts)))
}

/// Lets the interrupted get end, then repeats it until the content is here; returns how many it took.
fn complete(market: &Market, published: &Published, name: &str, get: crate::fleet::Running) -> Result<u32> {
    let mut last = match get.finish(LONG) {
        Ok(_) => return same(market, published, name).map(|()| 1),
        Err(error) => error,
    };
    for attempt in 2..=ATTEMPTS {
        match fetch(market, published, name) {
            Ok(()) => return Ok(attempt),
            Err(error) => last = error,
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Err(last.context(format!("not complete after {ATTEMPTS} gets")))
}

fn fetch(market: &Market, published: &Published, name: &str) -> Result<()> {
    let target = market.target(name);
    let address = market.provider.address();
    market.client.call(&["get", &published.path, "-o", path_text(&target)?, "--peer", &address], LONG)?;
    same(market, published, name)
}

fn same(market: &Market, published: &Published, name: &str) -> Result<()> {
    ensure!(sample::is_same(&published.file, &market.target(name))?, "the fetched file differs");
    Ok(())
}

/// Compares both sides' books after one kill with each other and with the cost.
fn audit(market: &Market, published: &Published, price: PricePerByte, paid_before: AttoFil) -> Result<Books> {
    let signed = Market::best(&market.client)?;
    let held = Market::best(&market.provider)?;
    ensure!(signed >= held, "the provider holds vouchers over {held}, the client knows of {signed}");
    let paid = signed.checked_sub(paid_before)?;
    let cost = price.cost_of(published.size)?;
    let interval = price.cost_of(INTERVAL)?;
    let books = Books {
        overpaid: paid.saturating_sub(cost),
        underpaid: cost.saturating_sub(paid),
        unclaimed: signed.checked_sub(held)?,
    };
    ensure!(books.overpaid <= interval, "overpaid {}, one interval is {interval}", books.overpaid);
    ensure!(
        books.unclaimed <= interval,
        "{} signed but not held, one interval is {interval}",
        books.unclaimed
    );
    // The provider sends at most two intervals ahead of payment.
    let exposure = interval.checked_add(interval)?;
    ensure!(books.underpaid <= exposure, "underpaid {}, the exposure is {exposure}", books.underpaid);
    Ok(books)
}

/// Removes a round's files, so that rounds do not add up on disk.
fn clear(market: &Market, published: &Published, name: &str) -> Result<()> {
    std::fs::remove_file(&published.file)?;
    std::fs::remove_file(market.target(name))?;
    Ok(())
}

fn path_text(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("temp dir is not UTF-8")
}

fn print(rounds: &[Round], as_json: bool) {
    let equal_books = rounds.iter().filter(|round| round.books.unclaimed.is_zero()).count();
    if as_json {
        let rounds: Vec<_> = rounds
            .iter()
            .map(|round| {
                json!({
                    "killed": format!("{:?}", round.side).to_lowercase(),
                    "after_s": round.after.as_secs_f64(),
                    "gets": round.attempts,
                    "overpaid_atto": round.books.overpaid.to_atto_string(),
                    "underpaid_atto": round.books.underpaid.to_atto_string(),
                    "unclaimed_atto": round.books.unclaimed.to_atto_string(),
                })
            })
            .collect();
        println!("{}", json!({ "rounds": rounds, "equal_books": equal_books }));
        return;
    }
    println!("killed      after s   gets   overpaid / underpaid / not claimed");
    for round in rounds {
        let side = format!("{:?}", round.side).to_lowercase();
        let Books { overpaid, underpaid, unclaimed } = round.books;
        let after = round.after.as_secs_f64();
        println!("{side:<10}{after:>9.3}{:>7}   {overpaid} / {underpaid} / {unclaimed}", round.attempts);
    }
    println!("{} rounds: content equal, no voucher lost, books equal in {equal_books}", rounds.len());
}
