//! A request, read: what is asked for, in which form, by whom.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use pop_dag::{Cid, What};

/// A request for content.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) target: Target,
    pub(crate) query: Query,
    /// The form of the answer that was chosen.
    pub(crate) format: Format,
    /// The client, behind proxies that are believed.
    pub(crate) from: IpAddr,
    /// Whether that is a program of this machine.
    pub(crate) is_at_home: bool,
    /// Whether what is not here may be looked for elsewhere for this client.
    pub(crate) may_fetch: bool,
    /// The scheme, host and port that the client used.
    pub(crate) origin: Origin,
}

/// What the URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) root: Cid,
    /// The root as it was written; answers repeat it.
    pub(crate) root_text: String,
    /// Decoded, without empty ones. A slash inside one is part of a name.
    pub(crate) segments: Vec<String>,
    /// Whether the path ended in a slash.
    pub(crate) slash: bool,
    /// The path of the URL as the client sent it, for redirects.
    pub(crate) sent: String,
    pub(crate) face: Face,
}

/// How the content path was addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// `/ipfs/CID/…`.
    Path,
    /// `/CID/…`.
    Short,
    /// `CID.ipfs.host/…`: an origin of its own.
    Subdomain,
}

/// Where the client thinks it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) is_https: bool,
    /// The host in lower case without port; for [`Face::Subdomain`] the gateway's, without the subdomain.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// The parameters that mean something here; of repeated ones the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    /// The query as it was sent.
    pub(crate) raw: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) filename: Option<String>,
    pub(crate) download: bool,
    pub(crate) page: Option<u64>,
    pub(crate) dag_scope: Option<String>,
    pub(crate) entity_bytes: Option<String>,
    pub(crate) car_version: Option<String>,
    pub(crate) car_order: Option<String>,
    pub(crate) car_dups: Option<String>,
    pub(crate) uri: Option<String>,
    pub(crate) go_get: bool,
}

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// By what the content is.
    #[default]
    Natural,
    /// The block.
    Raw,
    /// A CAR.
    Car(CarForm),
    /// A tar archive.
    Tar,
    DagJson,
    DagCbor,
    Json,
    Cbor,
}

/// Parameters of a CAR as they were asked for, by Accept or the query; checked where it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CarForm {
    pub(crate) version: Option<String>,
    pub(crate) order: Option<String>,
    pub(crate) dups: Option<String>,
}

impl Asked {
    /// Returns whether only the head is wanted.
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Returns whether the content has a web origin of its own.
    pub(crate) fn is_isolated(&self) -> bool {
        self.target.face == Face::Subdomain
    }

    /// Returns how much of what the path leads to the answer reaches.
    pub(crate) fn what(&self) -> What {
        match (&self.format, self.query.dag_scope.as_deref()) {
            (Format::Car(_), _) if self.query.entity_bytes.is_some() => What::Entity,
            (Format::Car(_), Some("entity")) => What::Entity,
            (Format::Car(_), Some("block"))
            | (Format::Raw | Format::DagJson | Format::DagCbor | Format::Cbor, _) => What::Block,
            (Format::Car(_) | Format::Tar, _) => What::All,
            (Format::Natural | Format::Json, _) => What::Entity,
        }
    }
}
