//! The `OpenRPC` document of the contract, made from the types themselves.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{Error, ErrorCode, Event};

/// One method as the document describes it.
pub(crate) struct Description {
    wire: &'static str,
    summary: &'static str,
    params: Value,
    result: Value,
    long: bool,
}

/// Describes one method; schemas that it shares with others go into `schemas`.
pub(crate) fn describe<P: JsonSchema, R: JsonSchema>(
    schemas: &mut SchemaGenerator,
    wire: &'static str,
    summary: &'static str,
    long: bool,
) -> Description {
    let params = P::json_schema(schemas).to_value();
    if long {
        schemas.subschema_for::<Event<R>>();
    }
    let result = schemas.subschema_for::<R>().to_value();
    Description { wire, summary: summary.trim(), params, result, long }
}

impl Description {
    fn into_value(self) -> Value {
        let mut method = json!({
            "name": self.wire,
            "summary": self.summary,
            "paramStructure": "by-name",
            "params": by_name(&self.params),
            "result": { "name": "result", "schema": self.result },
            "errors": ErrorCode::ALL.map(|code| json!({ "$ref": format!("#/components/errors/{}", code.name()) })),
        });
        if let (true, Some(method)) = (self.long, method.as_object_mut()) {
            method.insert("x-watchable".to_owned(), Value::Bool(true));
        }
        method
    }
}

/// Turns the schema of a parameter object into one content descriptor for each member, wanted ones first.
fn by_name(params: &Value) -> Vec<Value> {
    let none = Map::new();
    let members = params["properties"].as_object().unwrap_or(&none);
    let wanted =
        |name: &str| params["required"].as_array().is_some_and(|list| list.iter().any(|v| v == name));
    let (first, rest): (Vec<_>, Vec<_>) = members.iter().partition(|(name, _)| wanted(name));
    let descriptor = |(name, schema): (&String, &Value)| json!({ "name": name, "required": wanted(name), "schema": schema });
    first.into_iter().chain(rest).map(descriptor).collect()
}

fn watch_method() -> Value {
    json!({
        "name": crate::WATCH,
        "summary": "Runs a long method as a subscription (WebSocket): any number of progress events, then done or failed. Leaving it cancels the operation.",
        "paramStructure": "by-name",
        "params": [
            { "name": "method", "required": true, "schema": { "type": "string", "description": "A method marked x-watchable." } },
            { "name": "params", "required": false, "schema": { "type": "object", "description": "Its parameters." } },
        ],
        "result": { "name": "subscription", "schema": { "type": ["string", "integer"] } },
        "x-notification": crate::EVENT,
        "x-unsubscribe": crate::UNWATCH,
    })
}

/// Returns the `OpenRPC` document of the control API.
pub fn openrpc() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let methods = crate::contract::descriptions(&mut schemas);
    schemas.subschema_for::<Error>();
    let methods: Vec<_> = methods.into_iter().map(Description::into_value).chain([watch_method()]).collect();
    let errors: Map<String, Value> = ErrorCode::ALL
        .into_iter()
        .map(|code| {
            let data = json!({ "code": code.name() });
            (code.name().to_owned(), json!({ "code": code.rpc(), "message": code.name(), "data": data }))
        })
        .collect();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "pop control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON-RPC 2.0 over HTTP POST and WebSocket on one socket. Sizes are integers, money is a decimal string of attoFIL in members that end in _atto, times are seconds in members that end in _s.",
        },
        "methods": methods,
        "components": { "schemas": schemas.take_definitions(true), "errors": errors },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/rpc/openrpc.json");

    /// `POP_BLESS=1 cargo test -p pop-rpc` writes the golden file anew; the difference then shows in review.
    #[test]
    fn the_document_is_the_golden_one() {
        let document = serde_json::to_string_pretty(&openrpc()).unwrap() + "\n";
        if std::env::var_os("POP_BLESS").is_some() {
            std::fs::write(GOLDEN, &document).unwrap();
        }
        let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
        assert!(document == golden, "the contract changed; look at it, then bless it with POP_BLESS=1");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, root: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                        assert!(found.is_some(), "{target}");
                    }
                    members.values().for_each(|value| walk(value, root));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(value, root)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = openrpc();
        walk(&document, &document);
    }

    #[test]
    fn method_names_are_distinct() {
        let document = openrpc();
        let mut names: Vec<_> =
            document["methods"].as_array().unwrap().iter().map(|m| m["name"].to_string()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
