//! How calls reach a chain: over HTTP, or into the ledger of this process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Devnet, RpcFault, Token};

/// Long enough for a busy public node, short enough that a wallet does not seem to hang.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read; what we ask for fits a hundred times.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Waits before a read is tried again.
const RETRIES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// Whether a call may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// A read: sent again where no answer came.
    Safe,
    /// A write: sent once.
    Never,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No answer came.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// What came is no answer of JSON-RPC.
    #[error("answer makes no sense: {0}")]
    Protocol(String),
    /// The chain answered with an error.
    #[error(transparent)]
    Fault(#[from] RpcFault),
}

/// A way to call a chain.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Calls `method` with positional parameters. Dropped, it may still have reached the chain.
    async fn call(&self, method: &str, params: Value, repeat: Repeat) -> Result<Value, CallError>;
}

/// The ledger of this process.
#[derive(Clone, Debug)]
pub struct InProcess(Arc<Devnet>);

impl InProcess {
    /// Returns the transport into `devnet`.
    pub const fn new(devnet: Arc<Devnet>) -> Self {
        Self(devnet)
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn call(&self, method: &str, params: Value, _: Repeat) -> Result<Value, CallError> {
        let (devnet, method) = (Arc::clone(&self.0), method.to_owned());
        let answer = tokio::task::spawn_blocking(move || devnet.handle(&method, params)).await;
        Ok(answer.map_err(|e| CallError::Unreachable(e.to_string()))??)
    }
}

/// A node behind HTTP: Lotus, Forest, a public gateway, or the ledger of another process.
pub struct Http {
    url: reqwest::Url,
    token: Option<Token>,
    client: reqwest::Client,
    next_id: AtomicU64,
}

impl Http {
    /// Returns the transport to `url` (such as `http://127.0.0.1:1234/rpc/v1`).
    ///
    /// # Errors
    /// The URL is none, or TLS cannot be set up.
    pub fn new(url: &str, token: Option<Token>) -> Result<Self, CallError> {
        let url = reqwest::Url::parse(url).map_err(|e| CallError::Unreachable(e.to_string()))?;
        // A redirect would carry the token to whoever answers, a proxy would have to reach its own loopback.
        let mut client =
            reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|e| CallError::Unreachable(e.to_string()))?;
        Ok(Self { url, token, client, next_id: AtomicU64::new(1) })
    }

    async fn once(&self, body: &[u8], id: u64) -> Result<Value, CallError> {
        let unreachable = |e: reqwest::Error| CallError::Unreachable(e.without_url().to_string());
        let mut request = self.client.post(self.url.clone()).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        let mut response = request.body(body.to_vec()).send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(part) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + part.len() > MAX_ANSWER {
                return Err(CallError::Protocol(format!("answer is longer than {MAX_ANSWER} bytes")));
            }
            answer.extend_from_slice(&part);
        }
        match read_answer(&answer, id) {
            // Lotus answers errors of the chain with status 500 and an ordinary error object.
            Err(CallError::Protocol(_)) if status.is_server_error() || status.as_u16() == 429 => {
                Err(CallError::Unreachable(format!("status {status}")))
            }
            Err(CallError::Protocol(_)) if status.as_u16() == 401 => {
                Err(CallError::Protocol("the token is missing or wrong".to_owned()))
            }
            Err(CallError::Protocol(_)) if !status.is_success() => {
                Err(CallError::Protocol(format!("status {status}")))
            }
            answer => answer,
        }
    }
}

#[async_trait]
impl Transport for Http {
    async fn call(&self, method: &str, params: Value, repeat: Repeat) -> Result<Value, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let retries: &[Duration] = if repeat == Repeat::Safe { &RETRIES } else { &[] };
        for wait in retries {
            match self.once(body.as_bytes(), id).await {
                Err(CallError::Unreachable(_)) => tokio::time::sleep(*wait).await,
                answer => return answer,
            }
        }
        self.once(body.as_bytes(), id).await
    }
}

impl fmt::Debug for Http {
    // A URL may carry a key in its path: the host is enough to know which node is meant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({})", self.url.host_str().unwrap_or_default())
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[derive(Deserialize)]
struct Answer {
    id: Value,
    #[serde(default)]
    result: Value,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    code: i64,
    #[serde(default)]
    message: String,
}

/// Reads a JSON-RPC answer to call `id`.
pub(crate) fn read_answer(answer: &[u8], id: u64) -> Result<Value, CallError> {
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|e| CallError::Protocol(format!("no JSON-RPC: {e}")))?;
    if let Some(Fault { code, message }) = answer.error {
        // Nodes put whole stack traces into messages; what matters stands at their end.
        let skip = message.chars().count().saturating_sub(500);
        return Err(RpcFault::new(code, message.chars().skip(skip).collect::<String>()).into());
    }
    match answer.id == json!(id) {
        true => Ok(answer.result),
        false => Err(CallError::Protocol("answer to another call".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each connection with the next of `answers`, and says how many it gave.
    async fn scripted(answers: Vec<Vec<u8>>) -> (Http, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = Http::new(&format!("http://{}/", listener.local_addr().unwrap()), None).unwrap();
        let given = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&given);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
            }
        });
        (http, given)
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .into_bytes()
    }

    const GOOD: &str = r#"{"jsonrpc":"2.0","id":1,"result":5}"#;
    const FAULT: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#;

    #[tokio::test]
    async fn reads_are_tried_again_and_writes_are_not() {
        let script = || vec![answer("503 Busy", "later"), Vec::new(), answer("200 OK", GOOD)];
        let (http, given) = scripted(script()).await;
        assert_eq!(http.call("m", json!([]), Repeat::Safe).await.unwrap(), json!(5));
        assert_eq!(given.load(Ordering::Relaxed), 3);
        let (http, given) = scripted(script()).await;
        let once = http.call("m", json!([]), Repeat::Never).await;
        assert!(matches!(once, Err(CallError::Unreachable(_))));
        assert_eq!(given.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn faults_are_read_whatever_the_status_and_long_answers_are_refused() {
        let (http, _) = scripted(vec![answer("500 Error", FAULT)]).await;
        let Err(CallError::Fault(fault)) = http.call("m", json!([]), Repeat::Safe).await else { panic!() };
        assert_eq!((fault.code, fault.message.as_str()), (1, "no"));
        let (http, _) = scripted(vec![answer("200 OK", &" ".repeat(MAX_ANSWER + 1))]).await;
        let long = http.call("m", json!([]), Repeat::Never).await;
        assert!(matches!(long, Err(CallError::Protocol(why)) if why.contains("longer")));
    }

    #[test]
    fn answers_to_other_calls_are_none() {
        assert!(matches!(read_answer(GOOD.as_bytes(), 2), Err(CallError::Protocol(_))));
        assert!(matches!(read_answer(b"<html>", 1), Err(CallError::Protocol(_))));
        assert_eq!(read_answer(GOOD.as_bytes(), 1).unwrap(), json!(5));
    }
}
