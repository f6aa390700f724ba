//! What a monitor's event is made of (certificate-lifecycle.md 10.4).

use crate::moment::{self, DAY_MS};
use crate::path::Path;
use serde_json::{Map, Value};

/// A template that was read. The outermost value is an object.
#[derive(Debug, Clone)]
pub struct Template(Part);

#[derive(Debug, Clone)]
enum Part {
    Constant(Value),
    Path(Path),
    DaysUntil(Path),
    Object(Vec<(String, Part)>),
    Array(Vec<Part>),
}

/// A path that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is no path")]
pub struct TemplateError {
    /// As it was written.
    pub path: String,
}

impl Template {
    /// `{}`.
    #[must_use]
    pub fn empty() -> Template {
        Template(Part::Object(Vec::new()))
    }

    /// Reads a template. Recurses as deep as the value, which documents bound.
    ///
    /// # Errors
    /// The first path that is none.
    pub fn compile(value: &Value) -> Result<Template, TemplateError> {
        part(value).map(Template)
    }

    /// Fills it from `{object, scopeObjects}` at a tick, epoch milliseconds. What yields nothing is
    /// left out, at any depth; of several values the first is taken.
    #[must_use]
    pub fn fill(&self, from: &Value, tick: i64) -> Value {
        filled(&self.0, from, tick).unwrap_or_else(|| Value::Object(Map::new()))
    }
}

fn part(value: &Value) -> Result<Part, TemplateError> {
    let path = |text: &str| {
        let path = text.to_owned();
        Path::parse(text).ok_or(TemplateError { path })
    };
    Ok(match value {
        Value::String(text) if text.starts_with("$.") => Part::Path(path(text)?),
        Value::Object(members) => match members.get("DaysUntil") {
            Some(Value::String(text)) if members.len() == 1 => Part::DaysUntil(path(text)?),
            _ => {
                let each = members
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), part(value)?)));
                Part::Object(each.collect::<Result<_, _>>()?)
            }
        },
        Value::Array(items) => Part::Array(items.iter().map(part).collect::<Result<_, _>>()?),
        constant => Part::Constant(constant.clone()),
    })
}

fn filled(part: &Part, from: &Value, tick: i64) -> Option<Value> {
    Some(match part {
        Part::Constant(value) => value.clone(),
        Part::Path(path) => path.first(from)?.clone(),
        Part::DaysUntil(path) => {
            let until = moment::parse(path.first(from)?.as_str()?)?;
            (until - tick).div_euclid(DAY_MS).into()
        }
        Part::Object(parts) => {
            let each = parts.iter();
            let each = each.filter_map(|(name, it)| Some((name.clone(), filled(it, from, tick)?)));
            Value::Object(each.collect())
        }
        Part::Array(parts) => Value::Array(
            parts
                .iter()
                .filter_map(|it| filled(it, from, tick))
                .collect(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_yields_nothing_is_left_out_at_any_depth() {
        let template = json!({
            "a": "$.object.id", "b": "$.object.none", "c": {"d": "$.object.none", "e": [1, "$.object.none", "$x"]},
            "left": {"DaysUntil": "$.object.end"}, "bad": {"DaysUntil": "$.object.id"}, "n": null,
        });
        let from = json!({"object": {"id": "1", "end": "1970-01-03T12:00:00Z"}});
        let filled = Template::compile(&template).unwrap().fill(&from, DAY_MS);
        assert_eq!(
            filled,
            json!({"a": "1", "c": {"e": [1, "$x"]}, "left": 1, "n": null})
        );
        let late = Template::compile(&template)
            .unwrap()
            .fill(&from, 3 * DAY_MS);
        assert_eq!(late["left"], -1);
        let bad = Template::compile(&json!({"a": ["$.b["]})).unwrap_err();
        assert_eq!(bad.path, "$.b[");
    }
}
