//! The listing of a directory, in three pieces: what stands above the rows, the rows, and what stands below.
//!
//! Its markup has the shape of kubo's, which tools and the conformance suite know: "Index of", a link for each
//! segment, a row with the name as a link and one with the CID that says `filename`, and `..`.

use maud::{Markup, PreEscaped, html};
use pop_dag::unixfs::{Entry, Outline};
use pop_dag::{Cid, Codec};
use pop_units::Bytes;

use super::icon::{self, Icon};
use super::link::Place;
use super::{close, exact, foot, forms, grouped, heading, name, open};

/// Which part of the entries a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// From one.
    pub(crate) page: u64,
    /// How many entries stand on the pages before.
    pub(crate) before: u64,
    /// How many this page has.
    pub(crate) count: u64,
    /// Whether more follow.
    pub(crate) is_last: bool,
}

/// Returns what stands above the rows.
pub(crate) fn above(place: &Place, cid: &Cid, outline: Outline, page: u64) -> Markup {
    html! {
        (open(&format!("Index of {}", place.path())))
        (icon::sprite())
        header {
            (heading("Index of", place))
            @if place.parent().is_some() { p.cid translate="no" { (cid) } }
            p.facts {
                span title=(exact(outline.tsize)) { b { (outline.tsize) } " in all" }
                @if let Some(entries) = outline.entries { span { (counted(entries)) } }
                @if page > 1 { span { "page " (grouped(page)) } }
            }
        }
        (PreEscaped("<div class=\"card\"><table>"))
        caption { "Entries of the directory" }
        thead {
            tr {
                th.i { span.unseen { "Kind" } }
                th.n { "Name" }
                th.c { "CID" }
                th.s title="Size of the DAG: data and what holds it together" { "Size" }
            }
        }
        (PreEscaped("<tbody>"))
        @if let Some(parent) = place.parent() {
            tr {
                td.i { (Icon::Up.markup()) }
                td.n { a href=(parent) { ".." } }
                td.c {}
                td.s {}
            }
        }
    }
}

/// Returns the row of an entry.
pub(crate) fn row(place: &Place, entry: &Entry) -> Markup {
    let is_leaf = entry.cid.codec() != Codec::DagPb.code();
    // Old links do not say how large a node is.
    let is_unknown = entry.tsize == Bytes::ZERO && !is_leaf;
    html! {
        tr {
            td.i { (Icon::of(&entry.name, is_leaf).markup()) }
            td.n { bdi { a href=(place.entry(&entry.name, &entry.cid)) { (name::visible(&entry.name)) } } }
            td.c title=(entry.cid) {
                a.ipfs-hash translate="no" href=(place.named(&entry.cid, &entry.name)) { (short(&entry.cid)) }
            }
            @if is_unknown { td.s { "–" } } @else { td.s title=(exact(entry.tsize)) { (entry.tsize) } }
        }
    }
}

/// Returns what stands below the rows.
pub(crate) fn below(part: Part) -> Markup {
    let ways = [("json", "JSON"), ("car", "CAR"), ("tar", "tar"), ("raw", "raw block")];
    html! {
        (PreEscaped("</tbody></table>"))
        @if part.before == 0 && part.count == 0 { p.none { "This directory is empty." } }
        (PreEscaped("</div>"))
        @if part.page > 1 || !part.is_last {
            nav aria-label="Pages" {
                @if part.page > 1 { a rel="prev" href=(format!("?page={}", part.page - 1)) { "← Previous" } }
                span.soft {
                    (grouped(part.before.saturating_add(1))) "–" (grouped(part.before.saturating_add(part.count)))
                }
                @if !part.is_last {
                    a rel="next" href=(format!("?page={}", part.page.saturating_add(1))) { "Next →" }
                }
            }
        }
        (foot(&forms(&ways)))
        (close())
    }
}

fn counted(entries: u64) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        _ => format!("{} entries", grouped(entries)),
    }
}

/// Returns the first and last characters of a CID; the last ones tell CIDs apart.
fn short(cid: &Cid) -> String {
    let text = cid.to_string();
    match text.len() > 14 {
        // Text of a CID is ASCII, whatever its base here.
        true => format!("{}…{}", &text[..5], &text[text.len() - 6..]),
        false => text,
    }
}
