//! The table of methods, and everything that follows from it.
//!
//! A short method answers at once. A long one reports progress and can be left: called plainly it answers with its
//! result when it is done; called through the subscription `pop_watch {method, params}` it streams events.

use schemars::SchemaGenerator;

use crate::openrpc::{Description, describe};
use crate::{Client, Watch, params::*, result::*};

macro_rules! contract {
    (
        short { $( $(#[doc = $doc:literal])+ $name:ident = $wire:literal, $params:ty => $result:ty; )* }
        long { $( $(#[doc = $long_doc:literal])+ $long:ident = $long_wire:literal, $long_params:ty => $long_result:ty; )* }
    ) => {
        /// What a daemon does for its callers: one method for each of the contract.
        ///
        /// A future that is dropped has been cancelled by its caller: it leaves nothing half done.
        #[cfg(feature = "server")]
        pub trait Api: Send + Sync + 'static {
            $( $(#[doc = $doc])+ fn $name(&self, params: $params) -> impl Future<Output = crate::Result<$result>> + Send; )*
            $( $(#[doc = $long_doc])+ fn $long(&self, params: $long_params, progress: crate::Reporter)
                -> impl Future<Output = crate::Result<$long_result>> + Send; )*
        }

        /// Returns the module that serves `api`: every method, `pop_watch` for the long ones, and `rpc.discover`.
        ///
        /// # Panics
        /// Never: the names of the table are distinct, which a test checks.
        #[cfg(feature = "server")]
        pub fn module<A: Api>(api: A) -> jsonrpsee::RpcModule<A> {
            use crate::server::{answer, read, watch};
            const DISTINCT: &str = "the table names every method once";

            let mut module = jsonrpsee::RpcModule::new(api);
            $( module.register_async_method($wire, |params, api, _| async move {
                answer(api.$name(read(params.as_str())?).await)
            }).expect(DISTINCT); )*
            $( module.register_async_method($long_wire, |params, api, _| async move {
                answer(api.$long(read(params.as_str())?, crate::Reporter::mute()).await)
            }).expect(DISTINCT); )*
            module.register_method("rpc.discover", |_, _, _| crate::openrpc()).expect(DISTINCT);
            module.register_subscription(crate::WATCH, crate::EVENT, crate::UNWATCH, |params, pending, api, _| async move {
                let wanted: WatchParams = match read(params.as_str()) {
                    Ok(wanted) => wanted,
                    Err(error) => return pending.reject(error).await,
                };
                match wanted.method.as_str() {
                    $( $long_wire => watch(pending, wanted.params, |params, progress| async move {
                        api.$long(params, progress).await
                    }).await, )*
                    _ => pending.reject(wanted.unknown()).await,
                }
            }).expect(DISTINCT);
            module
        }

        impl Client {
            $( $(#[doc = $doc])+
            ///
            /// # Errors
            /// What the daemon answers, or that it is gone. Cancel safe; the daemon may finish it.
            pub async fn $name(&self, params: $params) -> crate::Result<$result> {
                self.call($wire, &params).await
            } )*
            $( $(#[doc = $long_doc])+
            /// Dropping what is returned cancels the operation.
            ///
            /// # Errors
            /// The daemon refuses the parameters, or is gone.
            pub async fn $long(&self, params: $long_params) -> crate::Result<Watch<$long_result>> {
                self.watch($long_wire, &params).await
            } )*
        }

        /// Describes every method for the `OpenRPC` document, in the order of the table.
        pub(crate) fn descriptions(schemas: &mut SchemaGenerator) -> Vec<Description> {
            vec![
                $( describe::<$params, $result>(schemas, $wire, concat!($($doc),+), false), )*
                $( describe::<$long_params, $long_result>(schemas, $long_wire, concat!($($long_doc),+), true), )*
            ]
        }
    };
}

contract! {
    short {
        /// Tells who this node is, or asks another one.
        ping = "pop_ping", PingParams => Pong;
        /// Stops the daemon in order.
        off = "pop_off", OffParams => Stopped;
        /// Tells what the open transaction holds.
        status = "pop_status", NoParams => TxStatus;
        /// Lists the roots of this node, least used first.
        list = "pop_list", NoParams => Vec<RefEntry>;
        /// Keeps a root from ever being evicted.
        pin = "pop_pin", RootParams => Pinned;
        /// Lets a root be evicted when room is needed.
        unpin = "pop_unpin", RootParams => Pinned;
        /// Forgets a root.
        rm = "pop_rm", RootParams => Freed;
        /// Tells how full the store is and how well it chooses what stays.
        store = "pop_store", NoParams => StoreFigures;
        /// Lists the connected nodes.
        peers = "pop_peers", NoParams => Vec<PeerEntry>;
        /// Makes a key.
        wallet_new = "pop_walletNew", WalletNewParams => Address;
        /// Lists the keys.
        wallet_list = "pop_walletList", NoParams => Vec<KeyEntry>;
        /// Tells the default address, or changes it.
        wallet_default = "pop_walletDefault", AddressParams => Address;
        /// Tells what an address holds.
        wallet_balance = "pop_walletBalance", AddressParams => Balance;
        /// Takes a key in.
        wallet_import = "pop_walletImport", WalletImportParams => Address;
        /// Hands a key out.
        wallet_export = "pop_walletExport", AddressParams => ExportedKey;
        /// Pays plainly, outside every channel.
        wallet_pay = "pop_walletPay", WalletPayParams => Payment;
        /// Lists the payment channels.
        pay_list = "pop_payList", NoParams => Vec<Channel>;
        /// Takes a channel that exists on the chain into the books.
        pay_track = "pop_payTrack", ChannelParams => Channel;
        /// Submits the best vouchers of a channel.
        pay_submit = "pop_paySubmit", PaySubmitParams => Channel;
        /// Starts the end of a channel.
        pay_settle = "pop_paySettle", ChannelParams => Channel;
        /// Collects a settled channel.
        pay_collect = "pop_payCollect", ChannelParams => Channel;
        /// Tells what was earned and spent.
        pay_earnings = "pop_payEarnings", NoParams => Earnings;
        /// Tells which chain the money lives on.
        chain_status = "pop_chainStatus", NoParams => ChainStatus;
        /// Moves the embedded chain on.
        chain_advance = "pop_chainAdvance", ChainAdvanceParams => ChainStatus;
        /// Tells the configuration the daemon runs with.
        config_show = "pop_configShow", NoParams => ConfigShow;
    }
    long {
        /// Adds files and directories to the open transaction.
        put = "pop_put", PutParams => Put;
        /// Makes the open transaction permanent and replicates it.
        commit = "pop_commit", CommitParams => Committed;
        /// Replicates a root that is already here.
        dispatch = "pop_dispatch", DispatchParams => Committed;
        /// Takes a CAR in.
        import = "pop_import", ImportParams => Imported;
        /// Writes a CAR.
        export = "pop_export", ExportParams => Exported;
        /// Retrieves, verifies and keeps.
        get = "pop_get", GetParams => Got;
        /// Reclaims what no root needs, and checks every block where that is asked for.
        gc = "pop_gc", GcParams => Freed;
    }
}

/// The parameters of `pop_watch`.
#[cfg(feature = "server")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchParams {
    method: String,
    #[serde(default)]
    params: Option<serde_json::Value>,
}

#[cfg(feature = "server")]
impl WatchParams {
    fn unknown(&self) -> crate::Error {
        let message = format!("{:?} is no method that can be watched", self.method);
        crate::Error::new(crate::ErrorCode::Usage, message).with_hint(
            "long methods are put, commit, dispatch, import, export, get and gc; call the others plainly",
        )
    }
}
