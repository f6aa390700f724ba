//! The part of JSON Schema that a catalogue entry may ask of `detail`.
//!
//! A keyword that we do not check is refused, so that nobody trusts a check that is not made.
//! Source: certificate-lifecycle.md 5.1.

use super::fault::Code;
use super::read::{Place, Reader};
use super::shape::{Member, Shape, words};
use crate::moment;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// A schema that was read.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    types: Vec<Type>,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    choices: Option<Vec<Value>>,
    pattern: Option<Regex>,
    format: Option<Format>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    items: Option<Box<Schema>>,
    additional: Additional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Number,
    Integer,
    Boolean,
    Null,
}

const TYPES: [(&str, Type); 7] = [
    ("object", Type::Object),
    ("array", Type::Array),
    ("string", Type::String),
    ("number", Type::Number),
    ("integer", Type::Integer),
    ("boolean", Type::Boolean),
    ("null", Type::Null),
];

#[derive(Debug, Clone, Copy)]
enum Format {
    Uuid,
    DateTime,
}

const FORMATS: [(&str, Format); 2] = [("uuid", Format::Uuid), ("date-time", Format::DateTime)];

/// A schema as it may be written in a document.
pub(super) const DETAIL: Shape = Shape::Named("detail", || Shape::Object(&KEYWORDS));

static KEYWORDS: [Member; 10] = [
    Member::optional(
        "type",
        Shape::Either(&[TYPE_WORDS, Shape::List(0, &TYPE_WORDS)]),
        "One type, or a list of those that are allowed.",
    ),
    Member::optional(
        "properties",
        Shape::Map(None, &DETAIL),
        "A schema for each member.",
    ),
    Member::optional(
        "required",
        Shape::List(0, &Shape::Text),
        "Members that must be there.",
    ),
    Member::optional(
        "enum",
        Shape::List(0, &Shape::Any),
        "The values that are allowed.",
    ),
    Member::optional(
        "pattern",
        Shape::Text,
        "An expression that a text must match somewhere.",
    ),
    Member::optional(
        "format",
        Shape::Words(&words(&FORMATS)),
        "A form that a text must have.",
    ),
    Member::optional("minimum", Shape::Number, "Least number."),
    Member::optional("maximum", Shape::Number, "Greatest number."),
    Member::optional("items", DETAIL, "The schema of each item."),
    Member::optional(
        "additionalProperties",
        Shape::Either(&[Shape::Boolean, DETAIL]),
        "Whether members that are not listed are allowed, or the schema for them.",
    ),
];
const TYPE_WORDS: Shape = Shape::Words(&words(&TYPES));

#[derive(Debug, Clone, Default)]
enum Additional {
    #[default]
    Allowed,
    Refused,
    As(Box<Schema>),
}

impl Schema {
    /// Reads a schema. Recurses as deep as the text, which the reader bounds.
    pub(super) fn read(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Schema> {
        let members = reader.map(place)?;
        let mut schema = Schema::default();
        for (keyword, value) in members.iter() {
            match keyword {
                "$schema" => {}
                "type" => schema.types = types(reader, &value)?,
                "properties" => {
                    for (name, value) in reader.map(&value)?.iter() {
                        if let Some(below) = Schema::read(reader, &value) {
                            schema.properties.insert(name.to_owned(), below);
                        }
                    }
                }
                "required" => schema.required = reader.list(&value, |it, item| it.string(item))?,
                "enum" => {
                    let choices = reader.list(&value, |it, item| Some(it.value(item)))?;
                    schema.choices = Some(choices);
                }
                "pattern" => {
                    let text = reader.string(&value)?;
                    match Regex::new(&text) {
                        Ok(regex) => schema.pattern = Some(regex),
                        Err(error) => {
                            let help = error.to_string();
                            reader.fault(Code::MemberType, &value, "not an expression", help);
                        }
                    }
                }
                "format" => {
                    let text = reader.string(&value)?;
                    let found = FORMATS.iter().find(|(name, _)| *name == text);
                    schema.format = found.map(|(_, format)| *format);
                    if found.is_none() {
                        let message = format!("the format `{text}` is not checked here");
                        reader.fault(
                            Code::SchemaKeyword,
                            &value,
                            message,
                            words(&FORMATS).join(" or "),
                        );
                    }
                }
                "minimum" => schema.minimum = bound(reader, &value),
                "maximum" => schema.maximum = bound(reader, &value),
                "items" => schema.items = Some(Box::new(Schema::read(reader, &value)?)),
                "additionalProperties" => {
                    schema.additional = match reader.value(&value) {
                        Value::Bool(true) => Additional::Allowed,
                        Value::Bool(false) => Additional::Refused,
                        _ => Additional::As(Box::new(Schema::read(reader, &value)?)),
                    };
                }
                _ => {
                    let known: Vec<&str> = KEYWORDS.iter().map(|it| it.name).collect();
                    let help = known.join(", ");
                    let message = format!("the keyword `{keyword}` is not checked here");
                    reader.fault(Code::SchemaKeyword, &value, message, help);
                }
            }
        }
        Some(schema)
    }

    /// `None` when the value is as wanted; else where it is not, as a JSON pointer, and why.
    /// Recurses as deep as the schema.
    #[must_use]
    pub fn fault(&self, value: &Value) -> Option<(String, String)> {
        let here = |why: String| Some((String::new(), why));
        if !self.types.is_empty() && !self.types.iter().any(|it| it.fits(value)) {
            let names = TYPES.iter().filter(|(_, it)| self.types.contains(it));
            let names: Vec<&str> = names.map(|(name, _)| *name).collect();
            return here(format!("not of type {}", names.join(" or ")));
        }
        if let Some(choices) = &self.choices
            && !choices.iter().any(|it| same(it, value))
        {
            return here("none of the listed values".into());
        }
        match value {
            Value::String(text) => {
                if self.pattern.as_ref().is_some_and(|it| !it.is_match(text)) {
                    return here("not of the pattern".into());
                }
                let fits = match self.format {
                    None => true,
                    Some(Format::Uuid) => text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
                    Some(Format::DateTime) => moment::parse(text).is_some(),
                };
                if !fits {
                    return here("not of the format".into());
                }
                None
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                let low = self.minimum.is_some_and(|bound| number < bound);
                let high = self.maximum.is_some_and(|bound| bound < number);
                (low || high).then(|| (String::new(), "out of range".into()))
            }
            Value::Object(members) => {
                if let Some(name) = self.required.iter().find(|it| !members.contains_key(*it)) {
                    return here(format!("`{name}` is missing"));
                }
                members.iter().find_map(|(name, value)| {
                    let fault = match (self.properties.get(name), &self.additional) {
                        (Some(schema), _) => schema.fault(value)?,
                        (None, Additional::As(schema)) => schema.fault(value)?,
                        (None, Additional::Allowed) => return None,
                        (None, Additional::Refused) => (String::new(), "not listed".to_owned()),
                    };
                    Some(below(name, fault))
                })
            }
            Value::Array(items) => {
                let schema = self.items.as_ref()?;
                let each = items.iter().enumerate();
                let mut faults =
                    each.filter_map(|(n, it)| Some(below(&n.to_string(), schema.fault(it)?)));
                faults.next()
            }
            Value::Null | Value::Bool(_) => None,
        }
    }
}

fn below(name: &str, (at, why): (String, String)) -> (String, String) {
    (
        format!("/{}{at}", name.replace('~', "~0").replace('/', "~1")),
        why,
    )
}

/// Equal as JSON Schema has it: numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

impl Type {
    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Type::Integer, Value::Number(number)) => {
                number.is_i64()
                    || number.is_u64()
                    || number.as_f64().is_some_and(|it| it.fract() == 0.0)
            }
            (Type::Object, Value::Object(_))
            | (Type::Array, Value::Array(_))
            | (Type::String, Value::String(_))
            | (Type::Number, Value::Number(_))
            | (Type::Boolean, Value::Bool(_))
            | (Type::Null, Value::Null) => true,
            _ => false,
        }
    }
}

fn types(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Vec<Type>> {
    let read = |reader: &mut Reader<'_>, place: &Place<'_>| {
        let text = reader.string(place)?;
        let found = TYPES.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let help = format!("one of {}", words(&TYPES).join(", "));
            reader.fault(Code::MemberType, place, format!("no type `{text}`"), help);
        }
        found.map(|(_, it)| *it)
    };
    if place.as_str().is_some() {
        return Some(vec![read(reader, place)?]);
    }
    reader.list(place, read)
}

fn bound(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<f64> {
    match reader.value(place) {
        Value::Number(number) => number.as_f64(),
        _ => {
            reader.fault(
                Code::MemberType,
                place,
                "a number is wanted",
                "such as 5 or 0.5",
            );
            None
        }
    }
}
