//! The daemon's answers to the control API: each method reads its words, asks the parts, and tells the result.

mod content;
mod money;
mod peers;

use pop_rpc::{
    Address, AddressParams, Api, Balance, ChainAdvanceParams, ChainStatus, Channel, ChannelParams,
    CommitParams, Committed, ConfigShow, DispatchParams, Earnings, ExportParams, Exported, ExportedKey,
    Freed, GcParams, GetParams, Got, ImportParams, Imported, KeyEntry, NoParams, OffParams, PaySubmitParams,
    Payment, PeerEntry, PingParams, Pinned, Pong, Put, PutParams, RefEntry, Reporter, Result, RootParams,
    Stopped, StoreFigures, TxStatus, WalletImportParams, WalletNewParams, WalletPayParams,
};

use crate::node::Node;

impl Api for Node {
    async fn ping(&self, params: PingParams) -> Result<Pong> {
        peers::ping(self, params).await
    }

    async fn off(&self, params: OffParams) -> Result<Stopped> {
        let drain = params.drain.map_or(crate::daemon::DRAIN, pop_units::Span::as_duration);
        self.stop.send_replace(Some(drain));
        Ok(Stopped::DONE)
    }

    async fn status(&self, _: NoParams) -> Result<TxStatus> {
        content::status(self).await
    }

    async fn list(&self, _: NoParams) -> Result<Vec<RefEntry>> {
        content::list(self).await
    }

    async fn pin(&self, params: RootParams) -> Result<Pinned> {
        content::set_pinned(self, params, true).await
    }

    async fn unpin(&self, params: RootParams) -> Result<Pinned> {
        content::set_pinned(self, params, false).await
    }

    async fn rm(&self, params: RootParams) -> Result<Freed> {
        content::rm(self, params).await
    }

    async fn store(&self, _: NoParams) -> Result<StoreFigures> {
        content::store(self).await
    }

    async fn peers(&self, _: NoParams) -> Result<Vec<PeerEntry>> {
        peers::peers(self).await
    }

    async fn wallet_new(&self, params: WalletNewParams) -> Result<Address> {
        money::wallet_new(self, params).await
    }

    async fn wallet_list(&self, _: NoParams) -> Result<Vec<KeyEntry>> {
        money::wallet_list(self).await
    }

    async fn wallet_default(&self, params: AddressParams) -> Result<Address> {
        money::wallet_default(self, params).await
    }

    async fn wallet_balance(&self, params: AddressParams) -> Result<Balance> {
        money::wallet_balance(self, params).await
    }

    async fn wallet_import(&self, params: WalletImportParams) -> Result<Address> {
        money::wallet_import(self, params).await
    }

    async fn wallet_export(&self, params: AddressParams) -> Result<ExportedKey> {
        money::wallet_export(self, params).await
    }

    async fn wallet_pay(&self, params: WalletPayParams) -> Result<Payment> {
        money::wallet_pay(self, params).await
    }

    async fn pay_list(&self, _: NoParams) -> Result<Vec<Channel>> {
        money::pay_list(self).await
    }

    async fn pay_track(&self, params: ChannelParams) -> Result<Channel> {
        money::pay_track(self, params).await
    }

    async fn pay_submit(&self, params: PaySubmitParams) -> Result<Channel> {
        money::pay_submit(self, params).await
    }

    async fn pay_settle(&self, params: ChannelParams) -> Result<Channel> {
        money::pay_settle(self, params).await
    }

    async fn pay_collect(&self, params: ChannelParams) -> Result<Channel> {
        money::pay_collect(self, params).await
    }

    async fn pay_earnings(&self, _: NoParams) -> Result<Earnings> {
        money::pay_earnings(self).await
    }

    async fn chain_status(&self, _: NoParams) -> Result<ChainStatus> {
        money::chain_status(self).await
    }

    async fn chain_advance(&self, params: ChainAdvanceParams) -> Result<ChainStatus> {
        money::chain_advance(self, params).await
    }

    async fn config_show(&self, _: NoParams) -> Result<ConfigShow> {
        Ok(self.config.show())
    }

    async fn put(&self, params: PutParams, progress: Reporter) -> Result<Put> {
        content::put(self, params, progress).await
    }

    async fn commit(&self, params: CommitParams, progress: Reporter) -> Result<Committed> {
        content::commit(self, params, progress).await
    }

    async fn dispatch(&self, params: DispatchParams, progress: Reporter) -> Result<Committed> {
        content::dispatch(self, params, progress).await
    }

    async fn import(&self, params: ImportParams, progress: Reporter) -> Result<Imported> {
        content::import(self, params, progress).await
    }

    async fn export(&self, params: ExportParams, progress: Reporter) -> Result<Exported> {
        content::export(self, params, progress).await
    }

    async fn get(&self, params: GetParams, progress: Reporter) -> Result<Got> {
        content::get(self, params, progress).await
    }

    async fn gc(&self, params: GcParams, progress: Reporter) -> Result<Freed> {
        content::gc(self, params, progress).await
    }
}
