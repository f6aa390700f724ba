//! Selectors: where the ids of subjects, scopes and recipients come from.
//!
//! Source: certificate-lifecycle.md 4.4.

use crate::object::Object;
use crate::path::Path;
use crate::reference::{chain, is_id, is_type};
use serde_json::Value;

/// One place to take ids from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The scalars at a path into the event, as text.
    Path(Path),
    /// The ids of a type in the chains of `resources`.
    Resources(Box<str>),
    /// The ids in the subject's scopes of a type.
    Inventory(Box<str>),
}

impl Selector {
    /// Reads a selector; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Selector> {
        let kind = |kind: &str| is_type(kind).then(|| kind.into());
        if let Some(rest) = text.strip_prefix("resources:") {
            return kind(rest).map(Selector::Resources);
        }
        if let Some(rest) = text.strip_prefix("inventory:") {
            return kind(rest).map(Selector::Inventory);
        }
        Path::parse(text).map(Selector::Path)
    }
}

/// The texts of the first selector that yields an id of 4.1: each once, in order; the others of it
/// are dropped. `subject` is what `inventory:` looks into.
#[must_use]
pub fn ids(selectors: &[Selector], event: &Value, subject: Option<&Object>) -> Vec<String> {
    for selector in selectors {
        let mut found: Vec<String> = Vec::new();
        for text in texts(selector, event, subject) {
            if is_id(&text) && !found.contains(&text) {
                found.push(text);
            }
        }
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn texts(selector: &Selector, event: &Value, subject: Option<&Object>) -> Vec<String> {
    match selector {
        Selector::Path(path) => path.values(event).into_iter().filter_map(text).collect(),
        Selector::Resources(kind) => {
            let Some(resources) = event.get("resources").and_then(Value::as_array) else {
                return Vec::new();
            };
            let named = resources.iter().filter_map(Value::as_str).flat_map(chain);
            named
                .filter(|object| object.kind() == &**kind)
                .map(|object| object.id().to_owned())
                .collect()
        }
        Selector::Inventory(kind) => subject.map_or(Vec::new(), |it| it.scope_ids(kind).to_vec()),
    }
}

/// A scalar as text: numbers as they were written.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selectors: &[&str], expected: &[&str]) {
        let event: Value = serde_json::from_str(
            r#"{"resources":["thing/1","x","other/9/thing/2","thing/1"],
                "detail":{"n":1.50,"t":true,"s":["a","","b/c","a"],"none":null,"o":{}}}"#,
        )
        .unwrap();
        let selectors: Vec<Selector> = selectors
            .iter()
            .map(|it| Selector::parse(it).unwrap())
            .collect();
        assert_eq!(ids(&selectors, &event, None), expected);
    }

    #[test]
    fn the_first_selector_that_yields_an_id_is_used_alone() {
        check(&["resources:thing"], &["1", "2"]);
        check(&["$.detail.s[*]", "resources:thing"], &["a"]);
        check(
            &[
                "$.detail.s[1]",
                "$.detail.none",
                "$.detail.o",
                "resources:other",
            ],
            &["9"],
        );
        check(&["$.detail.n"], &["1.50"]);
        check(&["$.detail.t"], &["true"]);
        check(&["inventory:thing"], &[]);
        check(&[], &[]);
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["detail.id", "resources:", "inventory:A", "Resources:a", ""] {
            assert_eq!(Selector::parse(text), None, "{text}");
        }
    }
}
