//! `_redirects`: what an author says about paths that content does not have
//! (<https://specs.ipfs.tech/http-gateways/web-redirects-file/>).
//!
//! Only content with a web origin of its own has it, since a rule speaks for all of an origin, and it is looked at
//! only when a path is known to be absent. It stands in the root; what is wrong with it is the author's, and is said.

mod rule;

use std::collections::HashSet;

use http::{HeaderValue, StatusCode, header};
use pop_dag::What;
use pop_units::Bytes;

use self::rule::Rule;
use crate::asked::{Asked, Format, Target};
use crate::body;
use crate::refusal::{Keep, Refusal};
use crate::request::{redirect, target};
use crate::resolve::{self, Kind};
use crate::view::View;

/// The name of the file.
const NAME: &str = "_redirects";

/// The largest file that the specification allows.
const MAX_SIZE: Bytes = Bytes::new(64 << 10);

/// Headers that a page of refusal is not subject to.
const CONDITIONS: [header::HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// What a rule comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The client is sent elsewhere.
    Moved(Refusal),
    /// Other content is shown in its place, with a status.
    Shown(Box<Asked>, StatusCode),
}

/// Returns whether an author may have a word on a refusal.
pub(crate) fn apply_to(asked: &Asked, refusal: &Refusal) -> bool {
    is_absent(refusal) && asked.is_isolated() && asked.format == Format::Natural
}

/// Returns whether a refusal says that content does not have a path, rather than that it is not here.
pub(crate) fn is_absent(refusal: &Refusal) -> bool {
    refusal.status == StatusCode::NOT_FOUND && refusal.keep != Keep::No
}

/// Looks for a rule on a path that is absent.
///
/// # Errors
/// The file is no list of rules, or is not to be had.
pub(crate) async fn find(asked: &Asked, view: &View) -> Result<Option<Outcome>, Refusal> {
    let Some(text) = read(asked, view).await? else { return Ok(None) };
    let rules = Rule::parse_all(&text).map_err(|why| broken(&why))?;
    let Target { segments, slash, .. } = &asked.target;
    let found = rules.iter().find_map(|rule| Some((rule, rule.take(segments, *slash)?)));
    let Some((rule, taken)) = found else { return Ok(None) };
    let to = rule.lead(&taken).map_err(|why| broken(&why))?;
    outcome(asked, rule.status(), &to).map(Some)
}

/// Reads the file; `None` when there is none.
async fn read(asked: &Asked, view: &View) -> Result<Option<String>, Refusal> {
    let at = Target { segments: vec![NAME.into()], ..asked.target.clone() };
    // What is retrieved for the path does not bring the file.
    let view = &view.of(at.segments.clone(), What::Entity);
    let cid = match resolve::find(view, &at).await {
        Ok(found) => match found.kind {
            Kind::File(size) if size > MAX_SIZE => {
                return Err(broken(&format!("redirects file size cannot exceed {} bytes", MAX_SIZE.get())));
            }
            Kind::File(_) => found.cid,
            Kind::Directory | Kind::Symlink | Kind::Value | Kind::Other | Kind::Malformed => {
                return Err(broken("it is no file"));
            }
        },
        Err(refusal) if is_absent(&refusal) => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let (bytes, _) = view.read_small(move |blocks| body::head(blocks, &cid, MAX_SIZE)).await?;
    String::from_utf8(bytes).map(Some).map_err(|_| broken("it is no text"))
}

fn outcome(asked: &Asked, status: StatusCode, to: &str) -> Result<Outcome, Refusal> {
    if status.is_redirection() {
        return Ok(Outcome::Moved(redirect::elsewhere(status, &merge(to, asked.query.raw.as_deref()))));
    }
    let path = to.split(['?', '#']).next().unwrap_or_default();
    let path = target::split(path).map_err(|refusal| broken(&refusal.message))?;
    let mut asked = asked.clone();
    // Where it ends has been said: a directory is not redirected once more.
    (asked.target.segments, asked.target.slash) = (path.segments, true);
    if status != StatusCode::OK {
        for name in CONDITIONS {
            asked.headers.remove(name);
        }
    }
    Ok(Outcome::Shown(Box::new(asked), status))
}

/// Adds the client's query to that of a rule; what the client says counts more.
fn merge(to: &str, sent: Option<&str>) -> String {
    let Some(sent) = sent.filter(|sent| !sent.is_empty()) else { return to.to_owned() };
    let (to, fragment) = to.split_once('#').map_or((to, None), |(to, fragment)| (to, Some(fragment)));
    let (path, own) = to.split_once('?').unwrap_or((to, ""));
    let name = |pair: &str| form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
    let said: HashSet<String> = sent.split('&').filter_map(name).collect();
    let own = own.split('&').filter(|pair| name(pair).is_some_and(|name| !said.contains(&name)));
    let query: Vec<&str> = own.chain([sent]).collect();
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{path}?{}{fragment}", query.join("&"))
}

fn broken(why: &str) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("could not parse {NAME}: {why}"))
}

/// The type of a page that stands for a refusal.
pub(crate) const PAGE: HeaderValue = HeaderValue::from_static("text/html");

#[cfg(test)]
mod tests;
