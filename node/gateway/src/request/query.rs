//! The query of a URL.

use crate::asked::Query;
use crate::page::link;

/// Reads the parameters that mean something. Of repeated ones the first counts, as caches that sort them cannot tell.
pub(crate) fn read(raw: Option<&str>) -> Query {
    let mut query = Query { raw: raw.map(str::to_owned), ..Query::default() };
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
        if seen.contains(&name) {
            continue;
        }
        set(&mut query, &name, &value);
        // Only those of this list are remembered: what a client makes up takes no memory.
        if NAMES.contains(&name.as_ref()) {
            seen.push(name);
        }
    }
    query
}

/// Every parameter that is read.
const NAMES: [&str; 11] = [
    "format",
    "filename",
    "download",
    "page",
    "dag-scope",
    "entity-bytes",
    "car-version",
    "car-order",
    "car-dups",
    "uri",
    "go-get",
];

fn set(query: &mut Query, name: &str, value: &str) {
    let text = || (!value.is_empty()).then(|| value.to_owned());
    match name {
        "format" => query.format = text(),
        "filename" => query.filename = text().as_deref().map(link::told_name),
        "download" => query.download = value == "true" || value == "1",
        "page" => query.page = value.parse().ok(),
        "dag-scope" => query.dag_scope = Some(value.to_owned()),
        "entity-bytes" => query.entity_bytes = Some(value.to_owned()),
        "car-version" => query.car_version = Some(value.to_owned()),
        "car-order" => query.car_order = Some(value.to_owned()),
        "car-dups" => query.car_dups = Some(value.to_owned()),
        "uri" => query.uri = text(),
        "go-get" => query.go_get = value == "1",
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_repeated_parameters_counts() {
        let query = read(Some("format=raw&format=car&filename=a&filename=b&page=2&page=3"));
        assert_eq!(query.format.as_deref(), Some("raw"));
        assert_eq!(query.filename.as_deref(), Some("a"));
        assert_eq!(query.page, Some(2));
        assert_eq!(read(Some("format=&format=car")).format, None);
    }

    #[test]
    fn parameters_are_decoded_once() {
        let query = read(Some("filename=a%2520b+c%26&%66ormat=raw&x=%zz&&=&dag-scope="));
        assert_eq!(query.filename.as_deref(), Some("a%20b c&"));
        assert_eq!(query.format.as_deref(), Some("raw"));
        assert_eq!(query.dag_scope.as_deref(), Some(""));
    }

    #[test]
    fn words_mean_what_they_say_and_nothing_else() {
        let cases =
            [("download=true", true), ("download=1", true), ("download=false", false), ("download", false)];
        for (sent, expected) in cases {
            assert_eq!(read(Some(sent)).download, expected, "{sent}");
        }
        assert!(read(Some("go-get=1")).go_get);
        assert!(!read(Some("go-get=0")).go_get);
        assert_eq!(read(Some("page=-1")).page, None);
        assert_eq!(read(None), Query::default());
    }
}
