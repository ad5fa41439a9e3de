//! Answers that are not content: what is wrong, why, and what to do.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::page;
use crate::request::{accept, headers};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How long others may remember a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Not at all: it may be different in a moment.
    No,
    /// For so long: the same request will be refused again.
    For(Duration),
}

/// A request that gets no content. Small, as it is the error of nearly everything here.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(Box<Said>);

/// What a refusal says.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    /// One sentence: what failed and why.
    pub(crate) message: String,
    /// What to do about it; may be empty.
    pub(crate) hint: String,
    pub(crate) keep: Keep,
    /// Further headers, such as `Retry-After`, `Location` or `Allow`.
    pub(crate) headers: HeaderMap,
    /// A body in JSON instead of the sentence.
    pub(crate) json: Option<serde_json::Value>,
}

impl std::ops::Deref for Refusal {
    type Target = Said;

    fn deref(&self) -> &Said {
        &self.0
    }
}

impl std::ops::DerefMut for Refusal {
    fn deref_mut(&mut self) -> &mut Said {
        &mut self.0
    }
}

impl Refusal {
    /// Refuses, for now.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(Box::new(Said {
            status,
            message: message.into(),
            hint: String::new(),
            keep: Keep::No,
            headers: HeaderMap::new(),
            json: None,
        }))
    }

    /// Refuses a request that can never be right.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message).keep(Keep::For(Duration::from_secs(3600)))
    }

    /// Refuses a request for what its headers say. Not to be remembered: a cache files it under the URL, and would
    /// hand it to those who do not send them.
    pub(crate) fn bad_head(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Refuses for so many seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Returns the answer, as text.
    pub(crate) fn into_response(self) -> Response<Body> {
        self.answer(&HeaderMap::new())
    }

    /// Returns the answer in the form that a client takes.
    pub(crate) fn answer(self, client: &HeaderMap) -> Response<Body> {
        let (kind, body) = self.body(client);
        let Self(said) = self;
        let directive = cache_control(said.status, said.keep);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = said.status;
        let headers = response.headers_mut();
        *headers = said.headers;
        if kind == page::HTML {
            headers.insert(header::CONTENT_SECURITY_POLICY, page::POLICY);
        }
        headers.insert(header::CONTENT_TYPE, kind);
        headers.entry(header::CACHE_CONTROL).or_insert(directive);
        if !said.status.is_redirection() {
            headers::add_vary(headers, "Accept");
        }
        response
    }

    fn body(&self, client: &HeaderMap) -> (HeaderValue, String) {
        if let Some(json) = &self.json {
            return (JSON, format!("{json}\n"));
        }
        if !self.status.is_redirection() && accept::takes_json(client) {
            let mut json = serde_json::json!({ "status": self.status.as_u16(), "error": self.message });
            if !self.hint.is_empty() {
                json["hint"] = self.hint.as_str().into();
            }
            return (JSON, format!("{json}\n"));
        }
        if !self.status.is_redirection() && accept::takes_html(client) {
            return (page::HTML, page::refusal(self.status, &self.message, &self.hint).into_string());
        }
        let text = match self.hint.is_empty() {
            true => format!("{}\n", self.message),
            false => format!("{}\n{}\n", self.message, self.hint),
        };
        (TEXT, text)
    }
}

/// Says how long a refusal may be remembered. Always something: caches remember many a status by guess otherwise.
fn cache_control(status: StatusCode, keep: Keep) -> HeaderValue {
    let seconds = match keep {
        Keep::No => return HeaderValue::from_static("no-store"),
        Keep::For(time) => time.as_secs(),
    };
    let text = match status {
        StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS | StatusCode::UNPROCESSABLE_ENTITY => {
            format!("max-age={seconds}")
        }
        _ => format!("public, max-age={seconds}"),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("no-store"))
}
