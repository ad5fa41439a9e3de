use pop_dag::Memory;

use super::*;
use crate::testing::{ask, get, request, settings, site, site_with};

/// An empty block that every gateway has.
const PROBE: &str = "bafkqaaa";

#[tokio::test]
async fn methods_that_are_not_served_are_refused() {
    let site = site(Memory::new());
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "FOO"] {
        for path in ["/", "/rpc", "/ipfs/bafkqaaa"] {
            let (status, headers, _) = get(&site, method, path, &[]).await;
            assert_eq!(status, 405, "{method} {path}");
            assert_eq!(headers["allow"], "GET, HEAD, OPTIONS");
            assert_eq!(headers["access-control-allow-origin"], "*");
            assert_eq!(headers["cache-control"], "no-store");
        }
    }
}

#[tokio::test]
async fn connect_is_refused_rather_than_answered() {
    let site = site(Memory::new());
    let (status, headers, _) = get(&site, "CONNECT", "example.net:443", &[]).await;
    assert_eq!(status, 405);
    assert_eq!(headers["allow"], "GET, HEAD, OPTIONS");
}
