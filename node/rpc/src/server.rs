//! The daemon's half of the contract: from JSON to the trait and back.
//!
//! It knows nothing of sockets; whoever serves the module owns them.

use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorCode, Event, Reporter};

/// Reads the parameters of a call; none at all and an empty array count as an empty object.
pub(crate) fn read<P: DeserializeOwned>(text: Option<&str>) -> Result<P, Error> {
    let text = match text.map(str::trim) {
        None | Some("" | "null" | "[]") => "{}",
        Some(text) => text,
    };
    if !text.starts_with('{') {
        let error = Error::new(ErrorCode::Usage, "parameters are given by name, in one object");
        return Err(error.with_hint("rpc.discover describes every method"));
    }
    serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorCode::Usage, format!("parameters do not fit: {error}")))
}

/// Turns a result into what the server library sends.
pub(crate) fn answer<R>(result: Result<R, Error>) -> Result<R, ErrorObjectOwned> {
    result.map_err(ErrorObjectOwned::from)
}

/// Runs a long operation and streams its events; the operation is dropped with its subscription.
pub(crate) async fn watch<P, R, F>(
    pending: PendingSubscriptionSink,
    params: Option<serde_json::Value>,
    start: impl FnOnce(P, Reporter) -> F,
) where
    P: DeserializeOwned,
    R: Serialize,
    F: Future<Output = Result<R, Error>>,
{
    let text = params.map(|value| value.to_string());
    let params = match read(text.as_deref()) {
        Ok(params) => params,
        Err(error) => return pending.reject(error).await,
    };
    // The caller left between asking and being answered: nothing was started.
    let Ok(sink) = pending.accept().await else { return };
    let reporter = Reporter::heard();
    let operation = start(params, reporter.clone());
    let told = async {
        loop {
            if !send(&sink, &Event::<R>::Progress(reporter.next().await)).await {
                // Nobody listens any more; `closed` below ends the operation.
                std::future::pending::<()>().await;
            }
        }
    };
    // The operation and the telling are polled side by side: a watcher that stops reading sees no more reports,
    // and the operation goes on.
    let result = tokio::select! {
        biased;
        () = sink.closed() => return,
        result = operation => result,
        () = told => return,
    };
    while let Some(report) = reporter.try_next() {
        if !send(&sink, &Event::<R>::Progress(report)).await {
            return;
        }
    }
    let last = match result {
        Ok(result) => Event::Done(result),
        Err(error) => Event::Failed(error),
    };
    send(&sink, &last).await;
}

async fn send<R: Serialize>(sink: &SubscriptionSink, event: &Event<R>) -> bool {
    match serde_json::value::to_raw_value(event) {
        Ok(message) => sink.send(message).await.is_ok(),
        Err(_) => false,
    }
}
