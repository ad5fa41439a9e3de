//! Two nodes that trade: a provider with the embedded ledger and a client on that ledger, funded.
//!
//! Both evidence drivers start from here, so that they measure the same set-up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pop_units::{AttoFil, Bytes, PricePerByte};
use serde_json::Value;

use crate::fleet::{Binary, CALL, Daemon, Role, atto, count, text, until};
use crate::sample;

/// Longer than any content of these drivers takes on a slow disk.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// What the client starts with: more than any run spends, less than the operator's 1,000 FIL.
const FUNDS: &str = "100 FIL";

/// The two sides.
#[derive(Debug)]
pub(crate) struct Market {
    /// Serves content and the ledger.
    pub(crate) provider: Daemon,
    /// Buys.
    pub(crate) client: Daemon,
    folder: PathBuf,
}

/// Content that the provider has committed.
#[derive(Debug)]
pub(crate) struct Published {
    /// The file it came from.
    pub(crate) file: PathBuf,
    /// `ROOT/name`, what the client asks for.
    pub(crate) path: String,
    /// Unique bytes of all blocks, what the client pays for.
    pub(crate) size: Bytes,
    /// Time of `put` and `commit` together.
    pub(crate) took: Duration,
}

impl Market {
    /// Starts both sides in `folder` and gives the client money.
    pub(crate) fn open(binary: &Binary, folder: &Path, price: &str) -> Result<Self> {
        let provider = Daemon::start(
            binary,
            folder,
            Role {
                name: "provider",
                flags: words(&["--chain", "local", "--price", price]),
                serves_chain: true,
            },
        )?;
        let token = provider.chain_token();
        let token = token.to_str().context("temp dir is not UTF-8")?;
        let (chain, address) = (provider.chain_url(), provider.address());
        let flags =
            ["--chain", &chain, "--chain-token-file", token, "--max-price", price, "--bootstrap", &address];
        let role = Role { name: "client", flags: words(&flags), serves_chain: false };
        let client = Daemon::start(binary, folder, role)?;
        let market = Self { provider, client, folder: folder.to_owned() };
        market.fund()?;
        Ok(market)
    }

    fn fund(&self) -> Result<()> {
        let (from, to) = (default_address(&self.provider)?, default_address(&self.client)?);
        self.provider.call(&["wallet", "pay", &from, &to, FUNDS], CALL)?;
        until("money at the client", CALL, || {
            let balance = balance(&self.client)?;
            Ok((!balance.is_zero()).then_some(()))
        })?;
        until("connection between the nodes", CALL, || {
            let peers = self.client.call(&["peers"], CALL)?;
            Ok(peers.as_array().filter(|peers| !peers.is_empty()).map(|_| ()))
        })
    }

    /// Makes a random file and commits it at the provider.
    pub(crate) fn publish(&self, name: &str, size: Bytes) -> Result<Published> {
        let file = self.folder.join(name);
        sample::write_random(&file, size)?;
        let begun = std::time::Instant::now();
        self.provider.call(&["put", file.to_str().context("temp dir is not UTF-8")?], LONG)?;
        let commit = self.provider.call(&["commit", "--cache-rf", "0"], LONG)?;
        let took = begun.elapsed();
        let path = format!("{}/{name}", text(&commit, "root")?);
        Ok(Published { file, path, size: Bytes::new(count(&commit, "size")?), took })
    }

    /// Returns where the client writes what it fetched.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.fetched"))
    }

    /// Returns the sum of both balances.
    pub(crate) fn balances(&self) -> Result<AttoFil> {
        Ok(balance(&self.provider)?.checked_add(balance(&self.client)?)?)
    }

    /// Returns money held by open channels of the client.
    pub(crate) fn deposits(&self) -> Result<AttoFil> {
        let open: Vec<Value> =
            channels(&self.client)?.into_iter().filter(|channel| !is_closed(channel)).collect();
        let amounts: Result<Vec<AttoFil>> =
            open.iter().map(|channel| atto(channel, "deposit_atto")).collect();
        Ok(AttoFil::checked_sum(amounts?)?)
    }

    /// Closes every channel: submit, settle, let the ledger's epochs pass, collect.
    pub(crate) fn settle(&self) -> Result<()> {
        for channel in channels(&self.provider)?.iter().filter(|channel| !is_closed(channel)) {
            let name = text(channel, "channel")?;
            self.provider.call(&["pay", "submit", &name], CALL)?;
            self.provider.call(&["pay", "settle", &name], CALL)?;
            let settles_at = until("settle epoch", CALL, || self.settles_at(&name))?;
            let status = self.provider.call(&["chain", "status"], CALL)?;
            let missing = settles_at.saturating_sub(count(&status, "epoch")?) + 1;
            self.provider.call(&["chain", "advance", &missing.to_string()], CALL)?;
            // The node's own collector may be faster; what counts is that the channel closes.
            let collect = self.provider.call(&["pay", "collect", &name], CALL);
            until("closed channel", CALL, || {
                let all = channels(&self.provider)?;
                let closed =
                    all.iter().filter(|c| text(c, "channel").is_ok_and(|n| n == name)).all(is_closed);
                Ok(closed.then_some(()))
            })
            .with_context(|| format!("pay collect answered {collect:?}"))?;
        }
        Ok(())
    }

    fn settles_at(&self, name: &str) -> Result<Option<u64>> {
        let all = channels(&self.provider)?;
        let channel = all.iter().find(|channel| text(channel, "channel").is_ok_and(|n| n == name));
        Ok(channel.and_then(|channel| channel.get("settles_at")).and_then(Value::as_u64).filter(|at| *at > 0))
    }

    /// Returns what the best vouchers of one side add up to.
    pub(crate) fn best(side: &Daemon) -> Result<AttoFil> {
        let amounts: Result<Vec<AttoFil>> =
            channels(side)?.iter().map(|channel| atto(channel, "best_voucher_atto")).collect();
        Ok(AttoFil::checked_sum(amounts?)?)
    }

    /// Stops both sides in order.
    pub(crate) fn close(self) -> Result<()> {
        self.client.stop()?;
        self.provider.stop()
    }
}

/// Returns the price that both drivers compute with, from its text.
pub(crate) fn price_of(text: &str) -> Result<PricePerByte> {
    text.parse().map_err(|error| anyhow::anyhow!("--price {text}: {error}"))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn channels(side: &Daemon) -> Result<Vec<Value>> {
    let list = side.call(&["pay", "list"], CALL)?;
    list.as_array().cloned().with_context(|| format!("pay list is not a list: {list}"))
}

/// Such channels are kept for the record; their money is back in the balances, or never left them.
fn is_closed(channel: &Value) -> bool {
    text(channel, "state").is_ok_and(|state| matches!(state.to_lowercase().as_str(), "closed" | "failed"))
}

fn default_key(side: &Daemon) -> Result<Value> {
    let keys = side.call(&["wallet", "list"], CALL)?;
    let keys = keys.as_array().cloned().unwrap_or_default();
    ensure!(!keys.is_empty(), "wallet list is empty");
    let is_default = |key: &&Value| key.get("default").and_then(Value::as_bool).unwrap_or(false);
    keys.iter().find(is_default).cloned().context("no default key")
}

fn default_address(side: &Daemon) -> Result<String> {
    text(&default_key(side)?, "address")
}

fn balance(side: &Daemon) -> Result<AttoFil> {
    atto(&default_key(side)?, "balance_atto")
}
