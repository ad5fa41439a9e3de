//! `cargo xtask bench transfer`: a file is put, committed, bought by a second node, compared, and settled.
//!
//! It prints speeds and peak memory and fails when a byte differs or when money appears or disappears.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pop_units::{AttoFil, Bytes};
use serde_json::{Value, json};

use crate::flag::Flags;
use crate::fleet::{Binary, atto, seconds};
use crate::market::{LONG, Market, price_of};
use crate::sample;

/// What one repetition measured.
#[derive(Debug)]
struct Round {
    /// MiB/s of put and commit.
    put: f64,
    /// MiB/s of the whole `get` command, written to a file.
    get: f64,
    /// MiB/s between the first and the last block.
    transfer: f64,
    routing_s: f64,
    provider_peak: f64,
    client_peak: f64,
    spent: AttoFil,
}

/// Runs the benchmark; returns whether every check held.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let flags = Flags::parse(words, &["--size", "--price", "--repeat", "--pop", "--dir"], &["--json"])?;
    let size: Bytes = flags.value("--size", "1GiB")?;
    let price: String = flags.value("--price", "0.01 FIL/GiB")?;
    let repeat: u32 = flags.value("--repeat", "1")?;
    let folder: PathBuf = flags.text("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    ensure!(repeat > 0, "--repeat 0 measures nothing");
    price_of(&price)?;
    let binary = Binary::find(flags.text("--pop"))?;
    let rounds: Result<Vec<Round>> = (1..=repeat)
        .map(|number| {
            eprintln!("round {number} of {repeat}");
            round(&binary, &folder, size, &price)
        })
        .collect();
    print(&rounds?, size, &price, flags.has("--json"));
    Ok(true)
}

fn round(binary: &Binary, folder: &std::path::Path, size: Bytes, price: &str) -> Result<Round> {
    let folder = tempfile::Builder::new().prefix("pop-bench-").tempdir_in(folder)?;
    let market = Market::open(binary, folder.path(), price)?;
    let supply = market.balances()?;

    let published = market.publish("file.bin", size)?;
    let target = market.target("file.bin");
    let target_text = target.to_str().context("temp dir is not UTF-8")?;
    let begun = std::time::Instant::now();
    let got = market.client.call(&["get", &published.path, "-o", target_text], LONG)?;
    let took = begun.elapsed();
    ensure!(sample::is_same(&published.file, &target)?, "the fetched file differs from the source");

    let spent = atto(&got, "spent_atto")?;
    let expected = price_of(price)?.cost_of(published.size)?;
    ensure!(spent == expected, "spent {spent} for {} bytes, which cost {expected}", published.size);
    let held = market.balances()?.checked_add(market.deposits()?)?;
    ensure!(held == supply, "balances and deposits add up to {held}, before it was {supply}");
    market.settle()?;
    let after = market.balances()?;
    ensure!(after == supply, "balances add up to {after} after settling, before it was {supply}");

    let round = Round {
        put: speed(size, published.took.as_secs_f64()),
        get: speed(size, took.as_secs_f64()),
        transfer: speed(size, seconds(&got, "transfer_s")?),
        routing_s: seconds(&got, "routing_s")?,
        provider_peak: mib(market.provider.peak_memory()?),
        client_peak: mib(market.client.peak_memory()?),
        spent,
    };
    market.close()?;
    Ok(round)
}

fn speed(size: Bytes, seconds: f64) -> f64 {
    mib(size.get()) / seconds.max(Duration::from_micros(1).as_secs_f64())
}

fn mib(bytes: u64) -> f64 {
    // Whole KiB fit a u32 up to 4 TiB, and a u32 converts to f64 exactly.
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

fn median(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn print(rounds: &[Round], size: Bytes, price: &str, as_json: bool) {
    let spent = rounds.last().map_or(AttoFil::ZERO, |round| round.spent);
    let rows: [(&str, &str, f64); 6] = [
        ("put and commit", "put_mib_s", median(rounds, |round| round.put)),
        ("get, to a file", "get_mib_s", median(rounds, |round| round.get)),
        ("transfer", "transfer_mib_s", median(rounds, |round| round.transfer)),
        ("routing", "routing_s", median(rounds, |round| round.routing_s)),
        ("provider's peak memory", "provider_peak_mib", median(rounds, |round| round.provider_peak)),
        ("client's peak memory", "client_peak_mib", median(rounds, |round| round.client_peak)),
    ];
    if as_json {
        let mut result = json!({
            "size": size.get(), "price": price, "rounds": rounds.len(),
            "spent_atto": spent.to_atto_string(), "equal": true, "conserved": true,
        });
        for (_, field, value) in rows {
            if let Some(object) = result.as_object_mut() {
                object.insert(field.to_owned(), Value::from(value));
            }
        }
        println!("{result}");
        return;
    }
    println!("{size} at {price}, medians of {}: bytes equal, money conserved, spent {spent}", rounds.len());
    for (name, field, value) in rows {
        let unit = if field.ends_with("_mib_s") {
            "MiB/s"
        } else if field.ends_with("_s") {
            "s"
        } else {
            "MiB"
        };
        println!("  {name:<24}{value:>10.2} {unit}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_mib_per_second() {
        assert!((speed(Bytes::new(1 << 30), 2.0) - 512.0).abs() < 1e-9);
    }

    #[test]
    fn median_ignores_one_outlier() {
        let round = |put: f64| Round {
            put,
            get: 0.0,
            transfer: 0.0,
            routing_s: 0.0,
            provider_peak: 0.0,
            client_peak: 0.0,
            spent: AttoFil::ZERO,
        };
        assert!((median(&[round(1.0), round(9.0), round(2.0)], |round| round.put) - 2.0).abs() < 1e-9);
    }
}
