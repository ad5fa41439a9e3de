//! One connection: HTTP/1 or HTTP/2 over any wire, watched, and ended in order.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tracing::Instrument;

use crate::figures::{Cause, Cut};
use crate::refusal::Refusal;
use crate::server::guest::{Refused, Turn};
use crate::server::id::X_REQUEST_ID;
use crate::server::line::Pulse;
use crate::server::outflow::Outflow;
use crate::server::record::{Head, Record};
use crate::server::stream::{Flow, Streams};
use crate::server::watch::{Watch, interval};
use crate::server::{Answer, Hall, Transport, inflow};

/// The largest head of a request: more is 431.
const HEAD: usize = 64 * 1024;

/// What HTTP/1 may hold of a connection, each way. A target may be longer than a head should be, so that what is
/// answered is that the target is too long; hyper itself answers that above 64 KiB.
const BUFFER: usize = 96 * 1024;

/// Streams of one connection at a time.
const STREAMS: u32 = 100;

/// What a client may send of uploads before we read it: of one stream, and of a connection.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);

/// What one stream may have waiting on its way out.
const SEND: usize = 64 * 1024;

/// Streams that a client may have reset before we looked at them: more is an attack (CVE-2023-44487).
const RESETS: usize = 20;

/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Where a connection comes from and what it runs over.
#[derive(Clone, Copy, Debug)]
pub(super) struct From {
    pub(super) peer: IpAddr,
    pub(super) is_tls: bool,
}

/// How connections are spoken over.
pub(super) type Speech = auto::Builder<Streams>;

/// Sets up what is spoken on a connection.
pub(super) fn speech(streams: Streams) -> Speech {
    let mut builder = auto::Builder::new(streams);
    // The watch looks at heads; hyper's timer for them counts the time between requests too.
    builder.http1().header_read_timeout(None).max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

/// Answers the requests of one connection until it ends.
pub(super) async fn converse<A: Answer, W>(hall: Arc<Hall<A>>, wire: W, pulse: Arc<Pulse>, from: From)
where
    W: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let streams = Streams::new(hall.tasks.clone(), Arc::clone(&hall.limits));
    let speech = speech(streams.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let is_multiplexed = request.version() == Version::HTTP_2;
        pulse.begin(is_multiplexed);
        let asker = Asker {
            hall: Arc::clone(&hall),
            pulse: Arc::clone(&pulse),
            flow: is_multiplexed.then(|| streams.begin()),
            from,
            began: Instant::now(),
        };
        // A connection keeps room for the work on an answer as long as it lives: here that is a pointer.
        Box::pin(asker.answer(request))
    });
    let mut connection = pin!(speech.serve_connection(TokioIo::new(wire), service));
    let mut looks = Looks::new(&hall, Arc::clone(&pulse));
    let mut stop = pin!(hall.stop.cancelled());
    let mut end = pin!(hall.end.cancelled());
    // Polled once, to be woken; after that a flag is cheaper than asking.
    let mut is_waiting = false;
    let mut is_leaving = false;
    poll_fn(|context| {
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if !is_waiting {
            is_waiting = true;
            let _ = (stop.as_mut().poll(context), end.as_mut().poll(context));
        }
        if hall.is_over() {
            pulse.cut(Cut::Stopped);
            return Poll::Ready(());
        }
        let mut leave = hall.is_stopping();
        match looks.poll(context) {
            Poll::Ready(Some(Cut::Idle)) if !is_leaving => leave = true,
            Poll::Ready(Some(why)) => {
                pulse.cut(why);
                if pulse.seen().open == 0 {
                    hall.told.figures.cut(why);
                }
                return Poll::Ready(());
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        if leave && !is_leaving {
            is_leaving = true;
            connection.as_mut().graceful_shutdown();
            return connection.as_mut().poll(context).map(drop);
        }
        Poll::Pending
    })
    .await;
}

/// The looks at a connection.
struct Looks {
    every: Interval,
    watch: Watch,
    pulse: Arc<Pulse>,
}

impl Looks {
    fn new<A>(hall: &Hall<A>, pulse: Arc<Pulse>) -> Self {
        let every = interval(&hall.limits);
        let now = Instant::now();
        let watch = Watch::new(&hall.limits, now);
        let mut every = interval_at((now + every).into(), every);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { every, watch, pulse }
    }

    /// Looks when it is time, and returns what came of it.
    fn poll(&mut self, context: &mut std::task::Context<'_>) -> Poll<Option<Cut>> {
        while let Poll::Ready(now) = self.every.poll_tick(context) {
            if let Some(why) = self.watch.on_look(self.pulse.seen(), now.into()) {
                return Poll::Ready(Some(why));
            }
        }
        Poll::Pending
    }
}

/// One request of a connection.
struct Asker<A> {
    hall: Arc<Hall<A>>,
    pulse: Arc<Pulse>,
    flow: Option<Arc<Flow>>,
    from: From,
    began: Instant,
}

impl<A: Answer> Asker<A> {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Outflow>, Infallible> {
        let (parts, body) = request.into_parts();
        let hall = &self.hall;
        let id = hall.ids.of(&parts.headers);
        let client = hall.answers.client(&parts.headers, self.from.peer);
        let head = Head { parts: &parts, id: &id, from: client, began: self.began };
        let mut record = Record::new(&hall.told, &self.pulse, self.flow.clone(), head);
        let method = parts.method.clone();
        // Also when the request is refused, it is noted that nobody reads it.
        let body = inflow::wrap(body, &self.pulse);
        self.pulse.room().await;
        let mut response = match self.admit(&parts, client) {
            Ok(turn) => {
                record.keep(turn);
                let mut request = Request::from_parts(parts, body);
                if self.from.is_tls {
                    request.extensions_mut().insert(Transport { is_tls: true });
                }
                self.respond(request, &id).await
            }
            Err(refused) => hall.answers.refuse(refuse(refused)),
        };
        response.headers_mut().insert(X_REQUEST_ID, id);
        if hall.is_stopping() && self.flow.is_none() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        record.answered(&response);
        Ok(Outflow::wrap(response, &method, self.flow, record))
    }

    async fn respond(&self, request: Request<Body>, id: &HeaderValue) -> Response<Body> {
        let span = tracing::debug_span!("request", id = id.to_str().unwrap_or_default());
        let answer = Arc::clone(&self.hall.answers).answer(request, self.from.peer);
        match span.is_disabled() {
            true => answer.await,
            false => answer.instrument(span).await,
        }
    }

    fn admit(&self, parts: &http::request::Parts, client: IpAddr) -> Result<Turn, Refused> {
        // What one header costs beside its text, as HTTP/2 counts it (RFC 9113, section 6.5.2).
        let size = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        if parts.headers.iter().map(size).sum::<usize>() > HEAD {
            self.hall.told.figures.refused(Cause::Head);
            return Err(Refused { cause: Cause::Head, wait: Duration::ZERO });
        }
        self.hall.guests.turn(client, self.began)
    }
}

/// Says why a request gets no answer.
fn refuse(refused: Refused) -> Refusal {
    let busy = |message| Refusal::new(StatusCode::TOO_MANY_REQUESTS, message);
    let seconds = refused.wait.as_millis().div_ceil(1000).max(1);
    let refusal = match refused.cause {
        Cause::Head => {
            return Refusal::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the headers are larger than 64 KiB",
            );
        }
        Cause::Rate => busy("your address asks faster than it may"),
        Cause::AddressRequests | Cause::AddressConnections => {
            busy("your address has too many requests under way")
        }
        Cause::Requests | Cause::Connections => busy("there are too many requests at the moment"),
    };
    refusal.with(RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)))
}
