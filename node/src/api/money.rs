//! Methods about money: keys, plain transfers, payment channels, the chain.
//!
//! The wallet's calls wait for the disk and for the chain; they run in a pool of their own, so that a slow
//! chain never holds up the store.

use std::time::Duration;

use pop_keys::Address as ChainAddress;
use pop_payments::Chain;
use pop_rpc::{
    Address, AddressParams, Balance, ChainAdvanceParams, ChainStatus, Channel, ChannelParams, Direction,
    Earnings, Error, ErrorCode, ExportedKey, KeyEntry, PaySubmitParams, Payment, Result, WalletImportParams,
    WalletNewParams, WalletPayParams,
};
use pop_wallet::{ChannelPhase, Wallet, WalletError};

use crate::fault::Fault;
use crate::node::Node;

/// Runs a call of the wallet in the pool, where it may wait.
async fn wallet<T: Send + 'static, E: Fault + Send + 'static, F: Future<Output = Result<T, E>>>(
    node: &Node,
    work: impl FnOnce(Wallet) -> F + Send + 'static,
) -> Result<T> {
    let wallet = node.money.wallet.clone();
    let runtime = tokio::runtime::Handle::current();
    let done = node.waits.run(move || runtime.block_on(work(wallet))).await.map_err(Fault::fault)?;
    done.map_err(Fault::fault)
}

fn parse_address(text: &str) -> Result<ChainAddress> {
    text.parse().map_err(|error| {
        let message = format!("{text:?} is no address: {error}");
        Error::new(ErrorCode::Usage, message).with_hint("`pop wallet list` names this node's own")
    })
}

pub(super) async fn wallet_new(node: &Node, params: WalletNewParams) -> Result<Address> {
    wallet(node, move |wallet| async move {
        let address = wallet.new_key()?;
        if params.default {
            wallet.set_default(&address)?;
        }
        Ok::<_, WalletError>(Address { address: address.to_string() })
    })
    .await
}

pub(super) async fn wallet_list(node: &Node) -> Result<Vec<KeyEntry>> {
    let keys = wallet(node, |wallet| async move { wallet.list().await }).await?;
    let entry = |key: pop_wallet::KeySummary| KeyEntry {
        address: key.address.to_string(),
        balance_atto: key.balance,
        default: key.default,
    };
    Ok(keys.into_iter().map(entry).collect())
}

pub(super) async fn wallet_default(node: &Node, params: AddressParams) -> Result<Address> {
    let wanted = params.address.as_deref().map(parse_address).transpose()?;
    wallet(node, move |wallet| async move {
        if let Some(wanted) = &wanted {
            wallet.set_default(wanted)?;
        }
        let address = wallet.default_address()?;
        Ok::<_, WalletError>(Address { address: address.to_string() })
    })
    .await
}

pub(super) async fn wallet_balance(node: &Node, params: AddressParams) -> Result<Balance> {
    let wanted = params.address.as_deref().map(parse_address).transpose()?;
    wallet(node, move |wallet| async move {
        let address = match wanted {
            Some(address) => address,
            None => wallet.default_address()?,
        };
        let balance_atto = wallet.balance(&address).await?;
        Ok::<_, WalletError>(Balance { address: address.to_string(), balance_atto })
    })
    .await
}

pub(super) async fn wallet_import(node: &Node, params: WalletImportParams) -> Result<Address> {
    wallet(node, move |wallet| async move {
        let address = wallet.import(&params.key)?;
        if params.default {
            wallet.set_default(&address)?;
        }
        Ok::<_, WalletError>(Address { address: address.to_string() })
    })
    .await
}

pub(super) async fn wallet_export(node: &Node, params: AddressParams) -> Result<ExportedKey> {
    let wanted = params.address.as_deref().map(parse_address).transpose()?;
    wallet(node, move |wallet| async move {
        let address = match wanted {
            Some(address) => address,
            None => wallet.default_address()?,
        };
        let key = wallet.export(&address)?;
        Ok::<_, WalletError>(ExportedKey { address: address.to_string(), key: key.to_string() })
    })
    .await
}

pub(super) async fn wallet_pay(node: &Node, params: WalletPayParams) -> Result<Payment> {
    let (from, to) = (parse_address(&params.from)?, parse_address(&params.to)?);
    let amount = params.amount;
    let message = wallet(node, move |wallet| async move { wallet.pay(&from, &to, amount).await }).await?;
    let (from, to) = (from.to_string(), to.to_string());
    Ok(Payment { message: message.to_string(), from, to, amount_atto: amount })
}

pub(super) async fn pay_list(node: &Node) -> Result<Vec<Channel>> {
    let channels = wallet(node, |wallet| async move { wallet.channels() }).await?;
    Ok(channels.into_iter().map(shown).collect())
}

fn shown(channel: pop_wallet::ChannelSummary) -> Channel {
    Channel {
        channel: channel.channel.to_string(),
        direction: match channel.direction {
            pop_wallet::Direction::Outbound => Direction::Outbound,
            pop_wallet::Direction::Inbound => Direction::Inbound,
        },
        from: channel.from.to_string(),
        to: channel.to.to_string(),
        deposit_atto: channel.deposit,
        best_voucher_atto: channel.best_voucher,
        redeemed_atto: channel.redeemed,
        state: channel.state.to_string(),
        settles_at: channel.settles_at,
    }
}

/// Acts on one channel, then tells how it stands.
async fn act<F>(
    node: &Node,
    channel: &str,
    work: impl FnOnce(Wallet, ChainAddress) -> F + Send + 'static,
) -> Result<Channel>
where
    F: Future<Output = Result<(), WalletError>>,
{
    let address = parse_address(channel)?;
    let channels = wallet(node, move |wallet| async move {
        work(wallet.clone(), address).await?;
        wallet.channels()
    })
    .await?;
    let found = channels.into_iter().find(|known| known.channel == address);
    found.map(shown).ok_or_else(|| Error::new(ErrorCode::NotFound, format!("no channel {address}")))
}

pub(super) async fn pay_track(node: &Node, params: ChannelParams) -> Result<Channel> {
    act(node, &params.channel, |wallet, channel| async move { wallet.track(&channel).await.map(drop) }).await
}

pub(super) async fn pay_submit(node: &Node, params: PaySubmitParams) -> Result<Channel> {
    let lane = params.lane;
    let work = move |wallet: Wallet, channel| async move { wallet.submit(&channel, lane).await.map(drop) };
    act(node, &params.channel, work).await
}

pub(super) async fn pay_settle(node: &Node, params: ChannelParams) -> Result<Channel> {
    act(node, &params.channel, |wallet, channel| async move { wallet.settle(&channel).await.map(drop) }).await
}

pub(super) async fn pay_collect(node: &Node, params: ChannelParams) -> Result<Channel> {
    let chain = node.money.chain.clone();
    let work = move |wallet: Wallet, channel| async move { collect(&wallet, &*chain, &channel).await };
    act(node, &params.channel, work).await
}

/// How often, and how long apart, a collection by somebody else is looked for.
const LOOKS: (u32, Duration) = (30, Duration::from_millis(100));

/// Collects a channel. The collector may have been faster, or be at it: what is collected is collected.
async fn collect(wallet: &Wallet, chain: &dyn Chain, channel: &ChainAddress) -> Result<(), WalletError> {
    let Err(error) = wallet.collect(channel).await else { return Ok(()) };
    for _ in 0..LOOKS.0 {
        let known = wallet.channels()?.into_iter().find(|known| known.channel == *channel);
        match known.map(|known| known.state) {
            Some(ChannelPhase::Closed) => return Ok(()),
            // Only a channel whose time has come can have been collected meanwhile.
            Some(ChannelPhase::Collectable) => chain.pause(LOOKS.1).await,
            _ => return Err(error),
        }
    }
    Err(error)
}

pub(super) async fn pay_earnings(node: &Node) -> Result<Earnings> {
    let earnings = wallet(node, |wallet| async move { wallet.earnings() }).await?;
    Ok(Earnings {
        earned_atto: earnings.earned,
        redeemed_atto: earnings.redeemed,
        collected_atto: earnings.collected,
        spent_atto: earnings.spent,
    })
}

pub(super) async fn chain_status(node: &Node) -> Result<ChainStatus> {
    let head = node.money.chain.head().await.map_err(Fault::fault)?;
    Ok(ChainStatus {
        chain_id: node.money.chain.id().to_string(),
        epoch: head.epoch,
        listen: node.chain_url.clone(),
    })
}

pub(super) async fn chain_advance(node: &Node, params: ChainAdvanceParams) -> Result<ChainStatus> {
    node.money.steering.advance(params.epochs).await.map_err(|error| {
        let hint = "only an embedded chain moves on request, and only for the node that runs it";
        Error::of(ErrorCode::Refused, &error).with_hint(hint)
    })?;
    node.collect_now.notify_one();
    chain_status(node).await
}
