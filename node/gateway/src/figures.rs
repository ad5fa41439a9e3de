//! What the gateway counts, for those who watch it.
//!
//! Counting is an atomic step on a counter that was found when the gateway began: nothing is looked up, allocated
//! or locked for a request. Labels come from fixed lists, so that no client can make series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds; from a block in memory to the end of everybody's patience.
const BUCKETS: [f64; 13] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0];

/// What the gateway counts. Clones count the same.
#[derive(Clone)]
pub struct Figures(Arc<Counted>);

struct Counted {
    registry: Registry,
    /// By form, then by class.
    requests: [[Counter; CLASSES.len()]; Form::ALL.len()],
    refused: [Counter; Cause::ALL.len()],
    cut: [Counter; Cut::ALL.len()],
    caches: [Counter; 2],
    fetches: [Counter; Fetched::ALL.len()],
    sent: Counter,
    first_byte: Histogram,
    requests_open: Gauge,
    connections: Gauge,
    unlogged: Counter,
    uploads: [Counter; 2],
    uploaded: Counter,
    is_draining: AtomicBool,
}

/// Classes of a status, as labels; `other` is what HTTP does not know.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Makes a fixed list of labels an enum.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            const ALL: [Self; [$($label),*].len()] = [$(Self::$variant),*];

            /// Returns what it is called in figures and logs.
            pub(crate) fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            fn position(self) -> usize {
                Self::ALL.iter().position(|each| *each == self).unwrap_or_default()
            }
        }
    };
}

labels! {
    /// What kind of content an answer was.
    Form {
        Car = "car",
        Raw = "raw",
        Tar = "tar",
        Html = "html",
        Json = "json",
        Cbor = "cbor",
        File = "file",
        Nothing = "none",
    }
}

labels! {
    /// Why somebody was turned away at the door.
    Cause {
        /// There are as many connections as there may be.
        Connections = "connections",
        /// The address has as many connections as it may have.
        AddressConnections = "address_connections",
        /// As many requests are being answered as may be.
        Requests = "requests",
        /// The address has as many requests under way as it may have.
        AddressRequests = "address_requests",
        /// The address begins requests too fast.
        Rate = "rate",
        /// The head of the request is too large.
        Head = "head",
    }
}

labels! {
    /// Why a connection or an answer was cut.
    Cut {
        /// No request came.
        Idle = "idle",
        /// The head of a request took too long.
        Head = "head",
        /// The client took nothing.
        Stalled = "stalled",
        /// The answer took too long in all.
        Whole = "whole",
        /// The content failed after the head was sent.
        Body = "body",
        /// The client went away.
        Gone = "gone",
        /// The gateway stopped and the time for it was over.
        Stopped = "stopped",
    }
}

labels! {
    /// How the search for content elsewhere ended.
    Fetched {
        Found = "found",
        NotFound = "not_found",
        TimedOut = "timed_out",
        Priced = "priced",
        Refused = "refused",
        Failed = "failed",
    }
}

impl Form {
    /// Reads what an answer is from its head.
    fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        if !status.is_success() {
            return Self::Nothing;
        }
        let Some(kind) = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes) else {
            return Self::Nothing;
        };
        let end = kind.iter().position(|byte| *byte == b';').unwrap_or(kind.len());
        match kind.get(..end).unwrap_or_default().trim_ascii() {
            b"application/vnd.ipld.car" => Self::Car,
            b"application/vnd.ipld.raw" => Self::Raw,
            b"application/x-tar" => Self::Tar,
            b"text/html" => Self::Html,
            b"application/json" | b"application/vnd.ipld.dag-json" => Self::Json,
            b"application/cbor" | b"application/vnd.ipld.dag-cbor" => Self::Cbor,
            _ => Self::File,
        }
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}

impl Figures {
    /// Begins at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pop_gateway");
        let to = &mut registry;
        let requests = Family::<[(&str, &str); 2], Counter>::default();
        to.register("requests", "Requests that were answered", requests.clone());
        let requests = Form::ALL.map(|form| {
            CLASSES
                .map(|class| requests.get_or_create(&[("format", form.label()), ("status", class)]).clone())
        });
        let refused =
            family(to, ("refused", "Clients turned away at the door"), "cause", Cause::ALL.map(Cause::label));
        let cut =
            family(to, ("cut", "Connections and answers that were cut"), "why", Cut::ALL.map(Cut::label));
        let caches = family(to, ("cache", "Answers by where the content was"), "result", ["hit", "miss"]);
        let fetches = family(
            to,
            ("fetches", "Searches for content elsewhere"),
            "result",
            Fetched::ALL.map(Fetched::label),
        );
        let uploads = family(to, ("uploads", "Uploads that ended"), "result", ["kept", "refused"]);
        let counted = Counted {
            requests,
            refused,
            cut,
            caches,
            fetches,
            uploads,
            sent: Counter::default(),
            first_byte: Histogram::new(BUCKETS),
            requests_open: Gauge::default(),
            connections: Gauge::default(),
            unlogged: Counter::default(),
            uploaded: Counter::default(),
            is_draining: AtomicBool::new(false),
            registry: Registry::default(),
        };
        to.register_with_unit("sent", "Bytes of bodies that went out", Unit::Bytes, counted.sent.clone());
        to.register_with_unit(
            "uploaded",
            "Bytes of uploads that were kept",
            Unit::Bytes,
            counted.uploaded.clone(),
        );
        let first = counted.first_byte.clone();
        to.register_with_unit("first_byte", "From a request's head to its answer's", Unit::Seconds, first);
        to.register("requests_open", "Requests that are being answered", counted.requests_open.clone());
        to.register("connections", "Connections that are open", counted.connections.clone());
        to.register("unlogged", "Lines that the access log had no room for", counted.unlogged.clone());
        Self(Arc::new(Counted { registry, ..counted }))
    }

    /// Writes all figures in the text form of OpenMetrics, without its end mark.
    pub(crate) fn write(&self, to: &mut String) -> std::fmt::Result {
        prometheus_client::encoding::text::encode_registry(to, &self.0.registry)
    }

    /// Returns whether the gateway is stopping.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Counts the head of an answer.
    pub(crate) fn answered(&self, status: StatusCode, headers: &HeaderMap, after: Duration) {
        self.request(status, Form::of(status, headers));
        self.0.first_byte.observe(after.as_secs_f64());
        let Some(cache) = headers.get("cache-status").map(http::HeaderValue::as_bytes) else { return };
        let is_hit = cache.windows(4).any(|part| part == b" hit" || part == b";hit");
        let [hits, misses] = &self.0.caches;
        if is_hit { hits } else { misses }.inc();
    }

    /// Counts a request that has its status.
    pub(crate) fn request(&self, status: StatusCode, form: Form) {
        let class = usize::from(status.as_u16() / 100);
        let row = self.0.requests.get(form.position());
        let one = row.and_then(|row| row.get(class).or_else(|| row.first()));
        if let Some(one) = one {
            one.inc();
        }
    }

    pub(crate) fn refused(&self, cause: Cause) {
        count(&self.0.refused, cause.position());
    }

    pub(crate) fn cut(&self, why: Cut) {
        count(&self.0.cut, why.position());
    }

    /// Counts how a search for content elsewhere ended.
    pub(crate) fn fetched(&self, how: Fetched) {
        count(&self.0.fetches, how.position());
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.0.sent.inc_by(bytes);
    }

    /// Counts an upload: the bytes that were kept, or that nothing was.
    pub(crate) fn uploaded(&self, kept: Option<u64>) {
        let [good, bad] = &self.0.uploads;
        if kept.is_some() { good } else { bad }.inc();
        self.0.uploaded.inc_by(kept.unwrap_or_default());
    }

    pub(crate) fn unlogged(&self) {
        self.0.unlogged.inc();
    }

    pub(crate) fn requests_open(&self) -> &Gauge {
        &self.0.requests_open
    }

    pub(crate) fn connections(&self) -> &Gauge {
        &self.0.connections
    }
}

/// Registers a family with all its members.
fn family<const N: usize>(
    registry: &mut Registry,
    (name, help): (&str, &str),
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let members = Family::<[(&str, &str); 1], Counter>::default();
    registry.register(name, help, members.clone());
    values.map(|value| members.get_or_create(&[(label, value)]).clone())
}

fn count(counters: &[Counter], at: usize) {
    if let Some(counter) = counters.get(at) {
        counter.inc();
    }
}
