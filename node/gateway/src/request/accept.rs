//! The form of an answer: `?format=`, else `Accept`.

use http::{HeaderMap, StatusCode, header};

use crate::asked::{CarForm, Format, Query, Target};
use crate::refusal::{Keep, Refusal};
use crate::settings::Serves;

/// How the form of an answer was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) format: Format,
    /// Whether `Accept` had a say, so that the URL alone does not name the answer.
    pub(crate) by_accept: bool,
    /// Whether the client takes the content as it is too, if it cannot be had in the form.
    pub(crate) or_natural: bool,
}

/// The forms that a client can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Raw,
    Car,
    Tar,
    DagJson,
    DagCbor,
    Json,
    Cbor,
    IpnsRecord,
    /// A page: the content as it is.
    Html,
}

/// Names in queries and in headers.
const NAMES: [(Name, &str, &str); 8] = [
    (Name::Raw, "raw", "application/vnd.ipld.raw"),
    (Name::Car, "car", "application/vnd.ipld.car"),
    (Name::Tar, "tar", "application/x-tar"),
    (Name::DagJson, "dag-json", "application/vnd.ipld.dag-json"),
    (Name::DagCbor, "dag-cbor", "application/vnd.ipld.dag-cbor"),
    (Name::Json, "json", "application/json"),
    (Name::Cbor, "cbor", "application/cbor"),
    (Name::IpnsRecord, "ipns-record", "application/vnd.ipfs.ipns-record"),
];

/// A member of `Accept`.
struct Range<'a> {
    /// In lower case.
    kind: String,
    parameters: Vec<(String, &'a str)>,
    /// In thousandths.
    quality: u16,
}

/// Chooses the form of an answer.
///
/// The query counts more than the header. Of types that mean a form here, the one with the highest quality is
/// taken, the first among equals; wildcards never choose a form, and a client that names none gets the content as
/// it is.
///
/// # Errors
/// The form that is asked for is unknown.
pub(crate) fn negotiate(query: &Query, headers: &HeaderMap) -> Result<Choice, Refusal> {
    let ranges = ranges(headers);
    let accepted = best(&ranges);
    let name = match &query.format {
        Some(format) => Some(by_query(format)?),
        None => accepted.map(|(name, _)| name),
    };
    if name.is_none()
        && let Some(range) = ranges.iter().find(|range| range.quality > 0 && is_unknown(&range.kind))
    {
        return Err(Refusal::bad(format!("{} is no format of this gateway", range.kind)).hint(hint()));
    }
    let Some(name) = name else { return Ok(Choice::default()) };
    let same = accepted.filter(|(other, _)| *other == name).map(|(_, range)| range);
    let mut by_accept = query.format.is_none() || accepted.is_some_and(|(other, _)| other != name);
    let format = match name {
        Name::Raw => Format::Raw,
        Name::Car => {
            let form = car(query, same);
            Format::Car(form)
        }
        Name::Tar => Format::Tar,
        Name::DagJson => Format::DagJson,
        Name::DagCbor => Format::DagCbor,
        Name::Json => Format::Json,
        Name::Cbor => Format::Cbor,
        Name::Html => return Ok(Choice::default()),
        Name::IpnsRecord => {
            return Err(Refusal::bad("an IPNS record exists only for a name below /ipns/"));
        }
    };
    by_accept |= is_car_of_accept(query, &format);
    let or_natural =
        query.format.is_none() && ranges.iter().any(|range| range.quality > 0 && is_any(&range.kind));
    Ok(Choice { format, by_accept, or_natural })
}

/// Refuses what a host that serves only verifiable answers does not serve.
///
/// # Errors
/// The answer would have to be believed.
pub(crate) fn refuse_form(
    serves: Serves,
    choice: &Choice,
    target: &Target,
    headers: &HeaderMap,
    query: &Query,
) -> Result<(), Refusal> {
    let why = match (serves, &choice.format) {
        (Serves::Everything, _) | (Serves::Trustless, Format::Car(_)) => return Ok(()),
        (Serves::Trustless, Format::Raw) if target.segments.is_empty() => return Ok(()),
        (Serves::Trustless, Format::Raw) => "this node serves a single block only by its CID, without a path",
        (Serves::Trustless, _) => "this node serves only what clients can verify: blocks and CARs",
    };
    let hint = "ask with ?format=raw or ?format=car; its owner can start it with --gateway-serve full";
    if query.format.is_none() && !headers.contains_key(header::ACCEPT) {
        return Err(Refusal::bad(why).hint(hint));
    }
    Err(not_acceptable(why).hint(hint))
}

/// Says that content is not to be had in the form that was asked for.
pub(crate) fn not_acceptable(why: impl Into<String>) -> Refusal {
    let keep = Keep::For(std::time::Duration::from_secs(3600));
    Refusal::new(StatusCode::NOT_ACCEPTABLE, why).keep(keep)
}

/// Returns whether the client names pages among what it takes: a browser that shows a document.
pub(crate) fn takes_html(headers: &HeaderMap) -> bool {
    ranges(headers).iter().any(|range| range.quality > 0 && range.kind == "text/html")
}

/// Returns whether the client would have JSON rather than a page or text.
pub(crate) fn takes_json(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers);
    let quality =
        |kind: &str| ranges.iter().find(|range| range.kind == kind).map_or(0, |range| range.quality);
    let json = quality("application/json").max(quality("application/problem+json"));
    json > 0 && json >= quality("text/html").max(quality("text/plain"))
}

/// Returns the URL that names the answer without `Accept`.
pub(crate) fn content_location(path: &str, query: &Query, format: &Format) -> Option<String> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let name = match format {
        Format::Natural => return None,
        Format::Raw => "raw",
        Format::Car(_) => "car",
        Format::Tar => "tar",
        Format::DagJson => "dag-json",
        Format::DagCbor => "dag-cbor",
        Format::Json => "json",
        Format::Cbor => "cbor",
    };
    if query.format.is_none() {
        pairs.push(("format", name));
    }
    if let Format::Car(form) = format {
        let said = [
            ("car-version", &form.version, &query.car_version),
            ("car-order", &form.order, &query.car_order),
            ("car-dups", &form.dups, &query.car_dups),
        ];
        let unsaid = said.into_iter().filter(|(_, _, in_query)| in_query.is_none());
        pairs.extend(unsaid.filter_map(|(name, value, _)| Some((name, value.as_deref()?))));
    }
    let added = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let raw = query.raw.as_deref().filter(|raw| !raw.is_empty());
    let raw = raw.map(|raw| super::redirect::with_query("", Some(raw)));
    let raw = raw.as_deref().map(|raw| raw.trim_start_matches('?'));
    let parts: Vec<&str> = raw.into_iter().chain((!added.is_empty()).then_some(added.as_str())).collect();
    Some(format!("{path}?{}", parts.join("&")))
}

fn hint() -> String {
    let names = NAMES.map(|(_, name, _)| name);
    format!("there are: {}", names.join(", "))
}

fn by_query(format: &str) -> Result<Name, Refusal> {
    let found = NAMES.into_iter().find(|(_, name, _)| *name == format);
    let found = found.map(|(name, ..)| name);
    found.ok_or_else(|| Refusal::bad(format!("{format:?} is no format of this gateway")).hint(hint()))
}

/// Returns the form that `Accept` chooses, with the member that names it.
fn best<'a, 'b>(ranges: &'b [Range<'a>]) -> Option<(Name, &'b Range<'a>)> {
    let mut best: Option<(Name, &Range<'_>)> = None;
    for range in ranges {
        let Some(name) = by_type(&range.kind) else { continue };
        if range.quality > best.map_or(0, |(_, best)| best.quality) {
            best = Some((name, range));
        }
    }
    best
}

fn by_type(kind: &str) -> Option<Name> {
    match kind {
        "text/html" | "application/xhtml+xml" => Some(Name::Html),
        kind => NAMES.into_iter().find(|(.., other)| *other == kind).map(|(name, ..)| name),
    }
}

fn is_unknown(kind: &str) -> bool {
    let is_ours = kind.starts_with("application/vnd.ipld.") || kind.starts_with("application/vnd.ipfs.");
    is_ours && by_type(kind).is_none()
}

fn is_any(kind: &str) -> bool {
    matches!(kind, "*/*" | "text/plain" | "text/*")
}

fn car(query: &Query, range: Option<&Range<'_>>) -> CarForm {
    let said = |name: &str| {
        let parameters = &range?.parameters;
        let found = parameters.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    CarForm {
        version: query.car_version.clone().or_else(|| said("version")),
        order: query.car_order.clone().or_else(|| said("order")),
        dups: query.car_dups.clone().or_else(|| said("dups")),
    }
}

/// Returns whether a parameter of a CAR is from `Accept`, so that the query alone does not settle what it is like.
pub(crate) fn is_car_of_accept(query: &Query, format: &Format) -> bool {
    let Format::Car(form) = format else { return false };
    form.version.is_some() && query.car_version.is_none()
        || form.order.is_some() && query.car_order.is_none()
        || form.dups.is_some() && query.car_dups.is_none()
}

/// Reads `Accept`. Members that cannot be read are left out: nobody is refused for what an extension of a browser adds.
fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let values = headers.get_all(header::ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(range)
        .collect()
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| kind.contains('/'))?.to_ascii_lowercase();
    let mut range = Range { kind, parameters: Vec::new(), quality: 1000 };
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
        match name.as_str() {
            "q" => range.quality = quality(value)?,
            _ => range.parameters.push((name, value)),
        }
    }
    Some(range)
}

/// Reads a quality into thousandths (RFC 9110, section 12.4.2).
fn quality(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_short = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part: u16 = format!("{part:0<3}").parse().ok().filter(|_| is_short)?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
