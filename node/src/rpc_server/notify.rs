//! Notifications that are carried out.
//!
//! The specification says that a notification gets no answer, not that nothing happens; the server library drops it.
//! This layer runs the method and throws the answer away.

use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::{Id, Request};

use super::door::MAX_ANSWER;

/// The layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notifications;

impl<S> tower::Layer<S> for Notifications {
    type Service = Notified<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Notified { inner }
    }
}

/// A service whose notifications are carried out.
#[derive(Clone, Debug)]
pub(super) struct Notified<S> {
    inner: S,
}

impl<S> RpcServiceT for Notified<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            NotificationResponse = MethodResponse,
            BatchResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.inner.call(request)
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let mut answers =
                BatchResponseBuilder::new_with_limit(usize::try_from(MAX_ANSWER).unwrap_or(usize::MAX));
            let mut notified = false;
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(request)) => this.inner.call(request).await,
                    Ok(BatchEntry::Notification(notification)) => {
                        notified = true;
                        this.notification(notification).await;
                        continue;
                    }
                    Err(error) => {
                        let (error, id) = error.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_large) = answers.append(answer) {
                    return too_large;
                }
            }
            match notified && answers.is_empty() {
                true => MethodResponse::notification(),
                // An empty batch is an invalid request, which is what the library makes of it.
                false => MethodResponse::from_batch(answers.finish()),
            }
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let inner = self.inner.clone();
        async move {
            let Notification { method, params, extensions, .. } = notification;
            let mut request =
                Request::owned(method.into_owned(), params.map(std::borrow::Cow::into_owned), Id::Null);
            request.extensions = extensions.clone();
            // A subscription without an id could never be left again.
            if request.method != pop_rpc::WATCH {
                inner.call(request).await;
            }
            MethodResponse::notification().with_extensions(extensions)
        }
    }
}
