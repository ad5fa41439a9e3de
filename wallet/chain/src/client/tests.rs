//! One client against the ledger in the process, the ledger behind HTTP, and replies as Lotus writes them.

use std::collections::HashMap;
use std::sync::Arc;

use pop_payments::paych::{ExecReturn, decode, init_actor, method};
use pop_units::Lane;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::devnet::tests::{atto, devnet, exec, key, update, voucher};
use crate::{Devnet, Http, InProcess, Router, RpcFault, Token, serve};

const TOKEN: &str = "open-sesame";

struct Hosted {
    url: String,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Hosted {
    async fn new(devnet: Devnet, may_advance: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/rpc/v1", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let router = Router::new(Arc::new(devnet), Token::new(TOKEN).unwrap(), may_advance);
        let task = tokio::spawn(serve(listener, router, stop.clone()));
        Self { url, stop, task }
    }

    fn http(&self) -> Http {
        Http::new(&self.url, Token::new(TOKEN)).unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Sends a message of key `by` and returns its receipt.
async fn send<T: Transport>(
    chain: &FilRpc<T>,
    by: u8,
    (to, value): (Address, u64),
    method: u64,
    params: Vec<u8>,
) -> Receipt {
    let from = key(by).address();
    let nonce = chain.next_nonce(&from).await.unwrap();
    let message = Message { nonce, ..Message::new(from, to, atto(value), method, params) };
    let message = chain.estimate(message, atto(1000)).await.unwrap();
    assert!(chain.dry_run(&message).await.unwrap().is_ok());
    let signed = message.sign(&key(by));
    assert_eq!(chain.lookup(&signed.cid()).await.unwrap(), None);
    let cid = chain.push(&signed).await.unwrap();
    assert_eq!(chain.push(&signed).await.unwrap(), cid, "pushing again is no error");
    chain.lookup(&cid).await.unwrap().unwrap()
}

/// Creates, pays, tops up, settles and collects a channel; returns all that was seen on the way.
async fn script<T: Transport>(chain: &FilRpc<T>) -> Vec<String> {
    let (payer, payee) = (key(1).address(), key(2).address());
    let mut seen = vec![chain.id().to_string(), format!("{:?}", chain.head().await.unwrap())];
    send(chain, 1, (payee, 500), method::SEND, Vec::new()).await;
    let code = chain.paych_code().await.unwrap();
    let made = send(chain, 1, (init_actor(), 100), method::EXEC, exec(payer, payee, code)).await;
    let channel = decode::<ExecReturn>(&made.ret).unwrap().robust;
    seen.push(format!("{made:?}"));
    for (lane, nonce, amount) in [(0, 1, 30), (9, 1, 20), (0, 2, 60)] {
        let params = update(voucher(channel, lane, nonce, amount, &key(1)));
        send(chain, 2, (channel, 0), method::UPDATE_CHANNEL_STATE, params).await;
        seen.push(format!("{:?}", chain.channel(&channel).await.unwrap()));
    }
    send(chain, 1, (channel, 11), method::SEND, Vec::new()).await;
    send(chain, 1, (channel, 0), method::SETTLE, Vec::new()).await;
    let state = chain.channel(&channel).await.unwrap().unwrap();
    assert_eq!((state.to_send, state.balance), (atto(80), atto(111)));
    assert_eq!(state.lanes[&Lane::new(0)].redeemed, atto(60));
    seen.push(format!("{state:?}"));
    assert_eq!(chain.advance(1440).await.unwrap(), state.settling_at);
    let confidence = chain.lookup(&MsgCid::new(chain_cid_of_nothing())).await.unwrap();
    assert_eq!(confidence, None);
    seen.push(format!("{:?}", send(chain, 2, (channel, 0), method::COLLECT, Vec::new()).await));
    assert_eq!(chain.channel(&channel).await.unwrap(), None);
    for address in [payer, payee, channel] {
        seen.push(chain.balance(&address).await.unwrap().to_atto_string());
        seen.push(format!("{:?}", chain.resolve(&address).await.ok()));
        seen.push(format!("{:?}", chain.next_nonce(&address).await.unwrap()));
    }
    seen.push(format!("{:?}", chain.head().await.unwrap()));
    seen
}

fn chain_cid_of_nothing() -> Cid {
    crate::cids::chain_cid(&[])
}

#[tokio::test]
async fn the_same_script_ends_alike_in_process_and_over_http() {
    let inside = FilRpc::connect(InProcess::new(Arc::new(devnet(5))), None).await.unwrap();
    let hosted = Hosted::new(devnet(5), true).await;
    let outside = FilRpc::connect(hosted.http(), Some(inside.id())).await.unwrap();
    let (inside, outside) = (script(&inside).await, script(&outside).await);
    assert_eq!(inside, outside);
    assert!(inside.contains(&"580".to_owned()), "payee has 500 and 80");
    hosted.end().await;
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let chain = FilRpc::connect(InProcess::new(Arc::new(devnet(5))), None).await.unwrap();
    let (payer, payee) = (key(1).address(), key(2).address());
    let good = Message::new(payer, payee, atto(5), method::SEND, Vec::new());
    let push =
        async |message: &Message, by: u8| chain.push(&message.clone().sign(&key(by))).await.unwrap_err();
    let gap = Message { nonce: Nonce::new(3), ..good.clone() };
    let Err(ChainError::Nonce { next, got }) = chain.push(&gap.sign(&key(1))).await else { panic!("gap") };
    assert_eq!((next.get(), got.get()), (0, 3));
    assert!(matches!(push(&good, 2).await, ChainError::Rejected { .. }), "bad signature");
    let rich = Message { value: AttoFil::from_fil(1001), ..good.clone() };
    assert!(matches!(push(&rich, 1).await, ChainError::Funds { .. }));
    let stranger = Message { from: key(8).address(), ..good.clone() };
    assert!(matches!(push(&stranger, 8).await, ChainError::UnknownActor(_)));
    assert!(matches!(chain.resolve(&key(8).address()).await, Err(ChainError::UnknownActor(_))));
    assert_eq!(chain.balance(&key(8).address()).await.unwrap(), AttoFil::ZERO);
    assert_eq!(chain.next_nonce(&key(8).address()).await.unwrap(), Nonce::new(0));
}

#[tokio::test]
async fn the_ledger_admits_only_the_right_token_and_guards_time() {
    let hosted = Hosted::new(devnet(5), false).await;
    for token in [None, Token::new("open-sesamf"), Token::new("x")] {
        let refused = FilRpc::connect(Http::new(&hosted.url, token).unwrap(), None).await;
        assert!(matches!(refused, Err(ChainError::Protocol(why)) if why.contains("token")));
    }
    let chain = FilRpc::connect(hosted.http(), None).await.unwrap();
    assert!(matches!(chain.advance(1).await, Err(ChainError::Rejected { .. })));
    assert_eq!(chain.head().await.unwrap().epoch.get(), 0);
    hosted.end().await;
}

#[tokio::test]
async fn another_chain_is_refused() {
    let want: ChainId = "fil:mainnet".parse().unwrap();
    let refused = FilRpc::connect(InProcess::new(Arc::new(devnet(5))), Some(&want)).await;
    assert!(matches!(refused, Err(ChainError::WrongChain { .. })));
}

#[test]
fn networks_have_one_name() {
    for (name, id) in [
        ("mainnet", "fil:mainnet"),
        ("local:0011aabb", "local:0011aabb"),
        ("localnet-4e4dbd96-6b1f-4d4e-9d5e-0f7a2a5d3c11", "fil:localnet-4e4dbd96-6b1f-4d4e-9d5e"),
    ] {
        assert_eq!(network(name), id);
        assert!(id.parse::<ChainId>().is_ok());
    }
}

#[tokio::test]
async fn http_is_answered_by_the_book() {
    let hosted = Hosted::new(devnet(5), false).await;
    let client = reqwest::Client::new();
    let post = async |url: &str, body: &str| {
        let sent = client.post(url).bearer_auth(TOKEN).body(body.to_owned()).send().await.unwrap();
        (sent.status().as_u16(), sent.text().await.unwrap())
    };
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"Filecoin.StateNetworkVersion","params":[]}"#;
    let note = r#"{"jsonrpc":"2.0","method":"Filecoin.StateNetworkVersion"}"#;
    assert_eq!(post(&hosted.url, call).await, (200, r#"{"id":7,"jsonrpc":"2.0","result":27}"#.to_owned()));
    assert_eq!(post(&hosted.url, note).await, (204, String::new()));
    let (status, batch) = post(&hosted.url, &format!("[{call},{note},{{}},{call}]")).await;
    let batch: Vec<Value> = serde_json::from_str(&batch).unwrap();
    assert_eq!((status, batch.len()), (200, 3));
    assert_eq!(batch[1]["error"]["code"], -32600);
    for (body, code) in [("{", -32700), ("[]", -32600), (r#"{"jsonrpc":"2.0","id":1}"#, -32600)] {
        let (_, answer) = post(&hosted.url, body).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["code"], code, "{body}");
    }
    assert_eq!(post(&hosted.url.replace("/rpc/v1", "/"), call).await.0, 404);
    assert_eq!(post(&hosted.url, &" ".repeat(crate::MAX_REQUEST + 1)).await.0, 413);
    let get = client.get(&hosted.url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(get.status().as_u16(), 405);
    let url = hosted.url.clone();
    hosted.end().await;
    assert!(client.post(&url).body(call).send().await.is_err(), "stopped");
}

#[tokio::test]
async fn a_silent_connection_does_not_delay_the_stop() {
    let hosted = Hosted::new(devnet(5), false).await;
    let address = hosted.url.trim_start_matches("http://").trim_end_matches("/rpc/v1").to_owned();
    let silent = tokio::net::TcpStream::connect(address).await.unwrap();
    FilRpc::connect(hosted.http(), None).await.unwrap();
    tokio::time::timeout(Duration::from_secs(3), hosted.end()).await.expect("stopped in time");
    drop(silent);
}

/// A node that answers from a list, by method.
struct Recorded(HashMap<&'static str, Result<Value, RpcFault>>);

#[async_trait]
impl Transport for Recorded {
    async fn call(&self, method: &str, _: Value, _: Repeat) -> Result<Value, CallError> {
        let name = method.trim_start_matches("Filecoin.");
        let known = self.0.get(name).cloned();
        Ok(known.unwrap_or_else(|| Err(RpcFault::new(-32601, format!("method '{method}' not found"))))?)
    }
}

async fn recorded(replies: Vec<(&'static str, Result<Value, RpcFault>)>) -> FilRpc<Recorded> {
    let name = ("StateNetworkName", Ok(json!("calibrationnet")));
    FilRpc::connect(Recorded(replies.into_iter().chain([name]).collect()), None).await.unwrap()
}

#[tokio::test]
async fn replies_of_real_nodes_are_understood() {
    let block = "bafy2bzacebjb2mx5kvk4wdkpqzlzc5jcmmwsi5lowipzbdp3wsi7xgy6vmmbw";
    let tree = crate::lanes::build(&[].into()).unwrap();
    let chain = recorded(vec![
        ("ChainHead", Ok(json!({ "Cids": [{ "/": block }, { "/": block }], "Blocks": [], "Height": 2_345_678 }))),
        ("StateGetActor", Ok(json!({
            "Code": { "/": block }, "Head": { "/": block }, "Nonce": 12, "Balance": "340282366920938463463",
            "DelegatedAddress": null,
        }))),
        ("MpoolGetNonce", Ok(json!(42))),
        ("StateReadState", Ok(json!({
            "Balance": "100000000000000000000", "Code": { "/": block },
            "State": {
                "From": "t01000", "To": "t01001", "ToSend": "0", "SettlingAt": 2_345_000,
                "MinSettleHeight": 0, "LaneStates": { "/": tree.root.to_string() },
            },
        }))),
        ("ChainReadObj", Ok(json!(BASE64.encode(&tree.blocks[0].1)))),
        ("StateSearchMsg", Ok(json!({
            "Message": { "/": block },
            "Receipt": { "ExitCode": 16, "Return": null, "GasUsed": 1_234_567, "EventsRoot": null },
            "ReturnDec": null, "TipSet": [{ "/": block }], "Height": 2_345_600,
        }))),
        ("StateLookupID", Ok(json!("t01000"))),
        ("StateAccountKey", Ok(json!("t1d2xrzcslx7xlbbylc5c3d5lvandqw4iwl6epxba"))),
    ])
    .await;
    assert_eq!(chain.id().as_str(), "fil:calibrationnet");
    assert_eq!(chain.chain_salt(), None);
    let head = chain.head().await.unwrap();
    assert_eq!((head.epoch.get(), head.tipset.len(), head.block_time.as_secs()), (2_345_678, 2, 30));
    let who: Address = "t01000".parse().unwrap();
    assert_eq!(chain.balance(&who).await.unwrap(), AttoFil::new(340_282_366_920_938_463_463));
    assert_eq!(chain.next_nonce(&who).await.unwrap(), Nonce::new(42));
    let channel = chain.channel(&who).await.unwrap().unwrap();
    assert_eq!((channel.settling_at.get(), channel.lanes.len()), (2_345_000, 0));
    assert_eq!(channel.balance, AttoFil::from_fil(100));
    let receipt = chain.lookup(&block.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((receipt.exit.get(), receipt.ret.len(), receipt.confidence), (16, 0, 78));
    assert_eq!(chain.lookup(&MsgCid::new(chain_cid_of_nothing())).await.unwrap(), None, "replaced");
    let resolved = chain.resolve(&who).await.unwrap();
    assert_eq!(resolved.key.to_testnet_string(), "t1d2xrzcslx7xlbbylc5c3d5lvandqw4iwl6epxba");
}

#[tokio::test]
async fn absent_actors_and_errors_of_real_nodes_are_understood() {
    let who: Address = "t01000".parse().unwrap();
    for absent in [
        Ok(Value::Null),
        Err(RpcFault::new(1, "resolution lookup failed (t01000): resolve address t01000: actor not found")),
        Err(RpcFault::new(3, "actor not found")),
        Err(RpcFault::new(-32603, "Actor not found: address: t01000")),
    ] {
        let methods = ["StateGetActor", "StateReadState", "StateLookupID", "MpoolGetNonce"];
        let chain = recorded(methods.map(|method| (method, absent.clone())).into()).await;
        assert_eq!(chain.balance(&who).await.unwrap(), AttoFil::ZERO);
        assert_eq!(chain.channel(&who).await.unwrap(), None);
        assert_eq!(chain.next_nonce(&who).await.unwrap(), Nonce::new(0));
        assert!(matches!(chain.resolve(&who).await, Err(ChainError::UnknownActor(_))));
    }
    let broken = Err(RpcFault::new(-32603, "node is syncing"));
    let chain = recorded(vec![("StateGetActor", broken), ("ChainHead", Ok(json!({ "Height": "1" })))]).await;
    assert!(matches!(chain.balance(&who).await, Err(ChainError::Rejected { .. })));
    assert!(matches!(chain.head().await, Err(ChainError::Protocol(_))));
}

#[tokio::test]
async fn a_pushed_message_that_a_node_knows_already_is_no_error() {
    let message = Message::new(key(1).address(), key(2).address(), atto(5), method::SEND, Vec::new());
    let signed = message.sign(&key(1));
    let known = RpcFault::new(1, "message from f1 with nonce 0 already in mpool: validation failure");
    let chain = recorded(vec![("MpoolPush", Err(known))]).await;
    assert_eq!(chain.push(&signed).await.unwrap(), signed.cid());
    let found = json!({
        "Message": { "/": signed.cid().to_string() },
        "Receipt": { "ExitCode": 0, "Return": null, "GasUsed": 1 }, "TipSet": [], "Height": 5,
    });
    let low = RpcFault::new(1, "minimum expected nonce is 1: message nonce too low");
    let head = json!({ "Cids": [], "Height": 9 });
    let executed =
        recorded(vec![("MpoolPush", Err(low)), ("StateSearchMsg", Ok(found)), ("ChainHead", Ok(head))]).await;
    assert_eq!(executed.push(&signed).await.unwrap(), signed.cid());
}
