//! A value of dag-json or dag-cbor as a page, whose links can be followed.
//!
//! A block may hold a million values or a hundred levels of them; a page shows the first, and says so.

use maud::{Markup, PreEscaped, Render, html};
use pop_dag::{Cid, Value};
use pop_units::Bytes;

use super::link::Place;
use super::name::{cut, quoted};
use super::{exact, foot, forms, heading, whole};

/// Values that a page shows at most.
const MOST: u32 = 5000;

/// Levels that a page shows at most: after them there is no room on a screen.
const DEEPEST: usize = 32;

/// Bytes of one text that a page shows at most.
const TEXT: usize = 4096;

/// Bytes of a byte string that a page shows at most.
const HEX: usize = 32;

/// Markup after which no further value begins.
const MARKUP: usize = 1 << 20;

/// A block that a page is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) cid: &'a Cid,
    pub(crate) size: Bytes,
    /// The name of its codec, which is also that of its format.
    pub(crate) codec: &'static str,
}

/// Returns the page of a block; `shown` is its value, or why there is none to show.
pub(crate) fn page(place: &Place, facts: Facts<'_>, shown: Result<&Value, &str>) -> Markup {
    let ways = [(facts.codec, facts.codec), ("car", "CAR"), ("raw", "raw block")];
    whole(
        &format!("{} {}", facts.codec, place.path()),
        &html! {
            header {
                (heading(facts.codec, place))
                @if place.parent().is_some() { p.cid translate="no" { (facts.cid) } }
                p.facts { span title=(exact(facts.size)) { b { (facts.size) } " in this block" } }
            }
            @match shown {
                Ok(value) => {
                    @let (markup, is_whole) = Printed::of(value, place);
                    div.card { pre translate="no" { (markup) } }
                    @if !is_whole { div.note { p { "This is not all of the block; fetch it to see the rest." } } }
                }
                Err(why) => div.note { p { (why) } },
            }
            (foot(&forms(&ways)))
        },
    )
}

/// A value as it is being printed.
struct Printed<'a> {
    place: &'a Place,
    out: String,
    /// How many values may still be printed.
    left: u32,
    is_whole: bool,
}

impl<'a> Printed<'a> {
    /// Returns a value as markup, and whether that is all of it.
    fn of(value: &Value, place: &'a Place) -> (Markup, bool) {
        let mut printed = Self { place, out: String::new(), left: MOST, is_whole: true };
        printed.value(value, 0);
        (PreEscaped(printed.out), printed.is_whole)
    }

    fn value(&mut self, value: &Value, depth: usize) {
        self.left = self.left.saturating_sub(1);
        match value {
            Value::Null => self.add(&html! { span.v { "null" } }),
            Value::Bool(value) => self.add(&html! { span.v { (value) } }),
            Value::Unsigned(_) | Value::Negative(_) => {
                self.add(&html! { span.v { (value.as_integer().unwrap_or_default().to_string()) } });
            }
            Value::Float(number) => self.add(&html! { span.v { (format!("{number:?}")) } }),
            Value::Text(text) => self.text("t", text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Link(cid) => self.add(&html! { a href=(self.place.cid(cid)) { (cid) } }),
            Value::List(items) => {
                let items = items.iter().map(|item| (None, item));
                self.members(("[", "]"), items, depth);
            }
            Value::Map(map) => {
                let entries = map.iter().map(|(key, value)| (Some(key), value));
                self.members(("{", "}"), entries, depth);
            }
        }
    }

    /// Prints a list or a map, a member in a line.
    fn members<'v>(
        &mut self,
        (begin, end): (&str, &str),
        members: impl ExactSizeIterator<Item = (Option<&'v str>, &'v Value)>,
        depth: usize,
    ) {
        let count = members.len();
        self.out.push_str(begin);
        for (index, (key, value)) in members.enumerate() {
            self.line(depth + 1);
            if depth >= DEEPEST || self.left == 0 || self.out.len() > MARKUP {
                self.is_whole = false;
                self.add(&html! { span.m { "… " (count - index) " more" } });
                break;
            }
            if let Some(key) = key {
                self.text("k", key);
                self.out.push_str(": ");
            }
            self.value(value, depth + 1);
            if index + 1 < count {
                self.out.push(',');
            }
        }
        if count > 0 {
            self.line(depth);
        }
        self.out.push_str(end);
    }

    fn line(&mut self, depth: usize) {
        self.out.push('\n');
        (0..depth).for_each(|_| self.out.push_str("  "));
    }

    fn text(&mut self, class: &str, text: &str) {
        let shown = cut(text, TEXT);
        self.add(&html! { span class=(class) { (quoted(shown)) } });
        if shown.len() < text.len() {
            self.is_whole = false;
            self.add(&html! { span.m { "… (" (exact(Bytes::of(text.as_bytes()))) ")" } });
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let shown = bytes.get(..HEX).unwrap_or(bytes);
        let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        let is_cut = shown.len() < bytes.len();
        self.is_whole &= !is_cut;
        self.add(&html! {
            span.m { "bytes " } span.v { (hex) @if is_cut { "…" } } span.m { " (" (exact(Bytes::of(bytes))) ")" }
        });
    }

    fn add(&mut self, markup: &Markup) {
        markup.render_to(&mut self.out);
    }
}
