//! Paths into a JSON value: `$`, then any of `.name`, `['name']`, `[0]`, `[*]`.
//!
//! Our own, since the names are freer than JSONPath's: `$.detail-type` is one member.
//! Source: certificate-lifecycle.md 4.3.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A path that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path {
    text: Box<str>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(Box<str>),
    Index(usize),
    All,
}

impl Path {
    /// Reads a path that begins with `$`; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Path> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$')?;
        while !rest.is_empty() {
            if let Some(name) = rest.strip_prefix('.') {
                let end = name
                    .find(['.', '[', ']', '\'', '"', '*'])
                    .unwrap_or(name.len());
                if end == 0 {
                    return None;
                }
                steps.push(Step::Name(name[..end].into()));
                rest = &name[end..];
            } else if let Some(name) = rest.strip_prefix("['") {
                let (name, behind) = name.split_once("']")?;
                steps.push(Step::Name(name.into()));
                rest = behind;
            } else {
                let (index, behind) = rest.strip_prefix('[')?.split_once(']')?;
                steps.push(match index {
                    "*" => Step::All,
                    digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                        Step::Index(digits.parse().ok()?)
                    }
                    _ => return None,
                });
                rest = behind;
            }
        }
        let text = text.into();
        Some(Path { text, steps })
    }

    /// Reads a path that starts at an object and leaves its `$.` out: `attributes.email`.
    #[must_use]
    pub fn relative(text: &str) -> Option<Path> {
        Path::parse(&format!("$.{text}"))
    }

    /// As it was written, or as it would be with `$.`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The values it leads to, in order. Bounds: no more than the value has members.
    #[must_use]
    pub fn values<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        let mut here = vec![root];
        for step in &self.steps {
            let below = |value: &'v Value| match (step, value) {
                (Step::Name(name), Value::Object(members)) => {
                    members.get(&**name).into_iter().collect()
                }
                (Step::Index(index), Value::Array(items)) => {
                    items.get(*index).into_iter().collect()
                }
                (Step::All, Value::Array(items)) => items.iter().collect(),
                _ => Vec::new(),
            };
            here = here.into_iter().flat_map(below).collect();
        }
        here
    }

    /// The first value it leads to.
    #[must_use]
    pub fn first<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.values(root).into_iter().next()
    }
}

impl TryFrom<String> for Path {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Path, Self::Error> {
        Path::parse(&text).ok_or("not a path")
    }
}

impl From<Path> for String {
    fn from(path: Path) -> String {
        path.text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_to_its_values() {
        let value =
            json!({"detail-type": "x", "a": [{"b": 1}, {"b": 2}, 3], "s": {"ra-profile": ["p"]}});
        for (path, expected) in [
            ("$.detail-type", json!(["x"])),
            ("$.a[*].b", json!([1, 2])),
            ("$.a[1].b", json!([2])),
            ("$.s['ra-profile'][0]", json!(["p"])),
            ("$['s'].ra-profile[*]", json!(["p"])),
            ("$.a.b", json!([])),
            ("$.none[0]", json!([])),
        ] {
            let found = Path::parse(path).unwrap();
            assert_eq!(json!(found.values(&value)), expected, "{path}");
        }
        assert_eq!(Path::parse("$").unwrap().values(&value), [&value]);
        assert!(
            Path::relative("s.ra-profile")
                .unwrap()
                .first(&value)
                .is_some()
        );
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "a",
            "$a",
            "$.",
            "$..a",
            "$.a.",
            "$.a[",
            "$.a[]",
            "$.a[-1]",
            "$.a[1",
            "$.a['b]",
            "$.a*",
            "$.*",
            "$[b]",
            "$.a]",
            "$.a'b",
            "detail.id",
        ] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
    }
}
