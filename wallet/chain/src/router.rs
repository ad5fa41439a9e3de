//! JSON-RPC 2.0 on bytes: what an HTTP server needs to host the ledger, and nothing of HTTP.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Devnet, RpcFault, Token};

/// The largest request that is read; a message is at most 3 KiB.
pub const MAX_REQUEST: usize = 1024 * 1024;
/// Calls of one batch at most: each may cost a sync of the disk.
const MAX_BATCH: usize = 100;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The token is missing or wrong.
    Unauthorized,
    /// Only notifications came, which have no answer.
    Nothing,
    /// A JSON body.
    Json(Vec<u8>),
}

/// A ledger behind a token.
#[derive(Clone, Debug)]
pub struct Router {
    devnet: Arc<Devnet>,
    token: Token,
    may_advance: bool,
}

impl Router {
    /// Returns a router that admits whoever shows `token`; `may_advance` lets them move time as well.
    pub fn new(devnet: Arc<Devnet>, token: Token, may_advance: bool) -> Self {
        Self { devnet, token, may_advance }
    }

    /// Returns true for the right token.
    pub fn admits(&self, bearer: Option<&str>) -> bool {
        bearer.is_some_and(|shown| self.token.admits(shown))
    }

    /// Answers one request body. Blocks on the ledger's store.
    pub fn answer(&self, bearer: Option<&str>, body: &[u8]) -> Reply {
        if !self.admits(bearer) {
            return Reply::Unauthorized;
        }
        let answer = match serde_json::from_slice(body) {
            Ok(Value::Array(calls)) => self.batch(calls),
            Ok(call) => self.single(call),
            Err(_) => Some(fault(Value::Null, PARSE_ERROR, "parse error")),
        };
        answer.map_or(Reply::Nothing, |answer| Reply::Json(answer.to_string().into_bytes()))
    }

    fn batch(&self, calls: Vec<Value>) -> Option<Value> {
        if calls.is_empty() || calls.len() > MAX_BATCH {
            return Some(fault(Value::Null, INVALID_REQUEST, "batch is empty or too long"));
        }
        let answers: Vec<Value> = calls.into_iter().filter_map(|call| self.single(call)).collect();
        (!answers.is_empty()).then_some(Value::Array(answers))
    }

    fn single(&self, mut call: Value) -> Option<Value> {
        let id = call.get_mut("id").map(Value::take);
        let known = matches!(id, None | Some(Value::Null | Value::String(_) | Value::Number(_)));
        let version = call.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
        let params = call.get_mut("params").map_or(Value::Null, Value::take);
        let Some(method) = call.get("method").and_then(Value::as_str).filter(|_| known && version) else {
            let id = id.filter(|_| known).unwrap_or_default();
            return Some(fault(id, INVALID_REQUEST, "invalid request"));
        };
        let answer = self.devnet.handle_remote(method, params, self.may_advance);
        let id = id?;
        Some(match answer {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err(RpcFault { code, message }) => fault(id, code, &message),
        })
    }
}

fn fault(id: Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}
