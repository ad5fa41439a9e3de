//! Pages for people: one look for listings, values, refusals and the greeting.
//!
//! A page is one response: no script, no font, no picture from elsewhere, so that it also works offline, in a
//! text browser and under the strictest policy. What strangers wrote is escaped by maud; nothing here builds
//! markup by hand but the tags that open before a stream of rows and close behind it.

pub(crate) mod greeting;
pub(crate) mod icon;
pub(crate) mod link;
pub(crate) mod listing;
pub(crate) mod name;
pub(crate) mod value;

use std::sync::LazyLock;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use pop_units::Bytes;

use self::link::Place;

const STYLE: &str = include_str!("page/style.css");

/// What a page may load: nothing but what it brings along.
pub(crate) const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src data:");

/// How long others may remember a page that was made of content: the content stays, the page may be made nicer.
pub(crate) const KEEP: HeaderValue =
    HeaderValue::from_static("public, max-age=604800, stale-while-revalidate=2678400");

/// The type of a page.
pub(crate) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Tells versions of the pages apart, in entity tags: a hash of all that they are made of.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    const SOURCES: [&str; 7] = [
        STYLE,
        include_str!("page.rs"),
        include_str!("page/icon.rs"),
        include_str!("page/link.rs"),
        include_str!("page/listing.rs"),
        include_str!("page/name.rs"),
        include_str!("page/value.rs"),
    ];
    // FNV-1a: any change shows, and nobody gains by a collision.
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let bytes = SOURCES.iter().flat_map(|source| source.bytes());
    format!("{:016x}", bytes.fold(0xcbf2_9ce4_8422_2325, step))
});

/// A refusal as a page.
pub(crate) fn refusal(status: StatusCode, message: &str, hint: &str) -> Markup {
    let reason = status.canonical_reason().unwrap_or("Refused");
    let title = format!("{} {reason}", status.as_u16());
    whole(
        &title,
        &html! {
            h1.big { span.status { (status.as_u16()) } " " (reason) }
            p { (name::visible(&sentence(message))) }
            @if !hint.is_empty() {
                p.soft { (name::visible(&sentence(hint))) }
            }
            (foot(&html! {}))
        },
    )
}

/// Wraps the content of a page.
pub(crate) fn whole(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body { main { (content) } }
        }
    }
}

/// Opens a page whose content comes in pieces; [`close`] ends it.
pub(crate) fn open(title: &str) -> Markup {
    html! { (DOCTYPE) (PreEscaped("<html lang=\"en\">")) (head(title)) (PreEscaped("<body><main>")) }
}

/// Ends a page that [`open`] began.
pub(crate) fn close() -> Markup {
    PreEscaped("</main></body></html>\n".to_owned())
}

/// Answers with a page.
pub(crate) fn response(status: StatusCode, page: Markup) -> Response<Body> {
    let mut response = Response::new(Body::from(page.into_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HTML);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Lets an answer be remembered as long as pages are.
pub(crate) fn kept(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, KEEP);
    response
}

fn head(title: &str) -> Markup {
    /// A drop, drawn small.
    const SIGN: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
        %3Crect width='16' height='16' rx='4' fill='%230b8a83'/%3E\
        %3Cpath d='m8 3 4.5 2.5v5L8 13l-4.5-2.5v-5z' fill='%23fff'/%3E%3C/svg%3E";
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="referrer" content="no-referrer";
            title { (name::plain(name::cut(title, 300))) }
            link rel="icon" href=(SIGN);
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// The last lines of a page: what belongs to it, and who made it.
fn foot(own: &Markup) -> Markup {
    html! {
        footer { span { (own) } span { "pop " (env!("CARGO_PKG_VERSION")) } }
    }
}

/// The heading with a link to each directory on the way.
fn heading(what: &str, place: &Place) -> Markup {
    html! {
        h1 {
            span.what { (what) } " /ipfs"
            @for (href, text) in place.crumbs() { "/" a href=(href) { (name::visible(text)) } }
        }
    }
}

/// The same content in other forms.
fn forms(names: &[(&str, &str)]) -> Markup {
    html! {
        "As "
        @for (index, (format, text)) in names.iter().enumerate() {
            @if index > 0 { " · " }
            a href=(format!("?format={format}")) rel="nofollow" { (text) }
        }
    }
}

/// Makes a sentence of a message, which begins small and ends without a stop. What begins with a CID or a path
/// stays as it is.
fn sentence(message: &str) -> String {
    let word = message.split(' ').next().unwrap_or_default();
    let is_word = word.len() < 20 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let split = if is_word { word.len().min(1) } else { 0 };
    let stop = match message.chars().last() {
        None | Some('.' | '!' | '?' | ':' | '"' | '/') => "",
        Some(_) => ".",
    };
    format!("{}{}{stop}", message[..split].to_ascii_uppercase(), &message[split..])
}

/// Writes a size to the byte.
fn exact(size: Bytes) -> String {
    match size.get() {
        1 => "1 byte".to_owned(),
        bytes => format!("{} bytes", grouped(bytes)),
    }
}

/// Writes a number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().copied().map(char::from));
    }
    text
}

#[cfg(test)]
mod tests;
