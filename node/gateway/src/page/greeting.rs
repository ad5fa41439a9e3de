//! The page at `/`: what this is and how it is used.

use maud::{Markup, html};

use super::link;
use super::{foot, whole};
use crate::asked::Origin;
use crate::settings::{Serves, Settings};

/// Greets whoever opens the gateway without asking for content.
pub(crate) fn greeting(origin: &Origin, settings: &Settings) -> Markup {
    let base = link::origin(origin);
    let has_files = settings.serves == Serves::Everything;
    whole(
        "pop gateway",
        &html! {
            h1.big { "This is a pop gateway" }
            p {
                "It serves content by what it is, not by where it lies: every address holds the hash of what it "
                "names, so that whoever gets it can check it."
            }
            form action="/ipfs/" {
                input type="text" name="uri" placeholder="ipfs://CID/path" aria-label="Address"
                    pattern="ip[fn]s://.+" title="An address that begins with ipfs://" required spellcheck="false"
                    autocapitalize="off" autocomplete="off";
                button { "Open" }
            }
            @if has_files {
                h2 { "Files and directories" }
                div.card { pre {
                    "curl -L " (base) "/ipfs/" span.v { "CID" } "/" span.v { "path" } "\n"
                    "curl -L -H 'Accept: application/json' " (base) "/ipfs/" span.v { "CID" } span.m { "   # a directory as JSON" }
                } }
            }
            h2 { "What can be verified" }
            div.card { pre {
                "curl '" (base) "/ipfs/" span.v { "CID" } "?format=raw'" span.m { "   # one block" } "\n"
                "curl '" (base) "/ipfs/" span.v { "CID" } "/" span.v { "path" } "?format=car' -o content.car"
            } }
            @if settings.uploads.is_some() {
                h2 { "Upload" }
                div.card { pre {
                    "curl --data-binary @" span.v { "FILE" } " " (base) "/" span.m { "   # one file" } "\n"
                    "curl -F a=@" span.v { "FILE" } " -F b=@" span.v { "FILE" } " " (base) "/"
                    span.m { "   # several, under one root" }
                } }
                @if settings.uploads.as_ref().is_some_and(|uploads| uploads.tokens.is_some()) {
                    p.soft { "Uploads need a token: add " code { "-H 'Authorization: Bearer TOKEN'" } "." }
                }
            }
            (foot(&html! {
                "Speaks the "
                a href="https://specs.ipfs.tech/http-gateways/" rel="noreferrer" { "IPFS gateway protocols" }
            }))
        },
    )
}
