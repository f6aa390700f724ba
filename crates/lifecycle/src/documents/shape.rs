//! What members each document has, as tables: readers look names up in them, JSON Schemas are made of them.
//!
//! A table stands beside the reader of its document. What a table cannot say (what one member means for
//! another, what is between documents) is the reader's alone, so a schema takes at least what the reader
//! takes; `tests/schemas.rs` compares the two on thousands of spoilt documents.
//!
//! Start at [`schema`].

use super::fault::Code;
use crate::condition::Dialect;
use rule_engine::pattern::{PatternError, Reason};
use rule_engine::words;
use serde_json::{Map, Value, json};

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub need: Need,
    /// What it holds.
    pub shape: Shape,
    /// What it means, for its author.
    pub doc: &'static str,
}

/// Whether a member must be there.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// It must; the code tells when it is not.
    Required(Code),
    /// It may be left out.
    Optional,
    /// It may be left out and is then this, written as JSON.
    Default(&'static str),
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything.
    Any,
    /// A text.
    Text,
    /// A text of this form.
    Form(Form),
    /// One of these texts.
    Words(&'static [&'static str]),
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// A whole number of this range, both ends included.
    Integer(i64, i64),
    /// An object of these members.
    Object(&'static [Member]),
    /// The same, with exactly one of some members.
    OneOf(&'static [Member], &'static [&'static str]),
    /// An object whose names, of this form, are its author's.
    Map(Option<Form>, &'static Shape),
    /// A list of at least so many.
    List(usize, &'static Shape),
    /// Either one.
    Either(&'static [Shape]),
    /// A pattern, as an object or as its text.
    Pattern(Dialect),
    /// What refers to itself, by the name that the schema gives it.
    Named(&'static str, fn() -> Shape),
}

/// A form of texts, as an expression that JSON Schema and the `regex` crate read alike.
#[derive(Debug, Clone, Copy)]
pub struct Form(pub &'static str);

/// Members that every document may have and that mean nothing here.
pub const REMARKS: [Member; 2] = [
    Member::optional(
        "$schema",
        Shape::Any,
        "Where the schema of this document is, for editors.",
    ),
    Member::optional("Description", Shape::Any, "For people."),
];

/// Names of documents and rules.
pub const NAME: Form = Form("^[A-Za-z0-9._-]{1,64}$");
/// Names of types of objects (4.1).
pub const TYPE: Form = Form("^[a-z][a-z0-9-]{0,63}$");
/// Ids of objects (4.1).
pub const ID: Form = Form("^[^/]{1,256}$");
/// An object, as type and id.
pub const REFERENCE: Form = Form("^[a-z][a-z0-9-]{0,63}/[^/]{1,256}$");
/// A duration (6.3).
pub const DURATION: Form =
    Form("^P([0-9]{1,9}W)?([0-9]{1,9}D)?(T([0-9]{1,9}H)?([0-9]{1,9}M)?([0-9]{1,9}S)?)?$");
/// A path from the root (4.3).
pub const PATH: Form = Form("^\\$");
/// A path from an object (4.3).
pub const RELATIVE: Form = Form("^[^$]");
/// Where ids come from (4.4).
pub const SELECTORS: Shape = Shape::List(1, &Shape::Form(Form("^(\\$|resources:|inventory:)")));

/// Filters of the bus's language, and those of triggers and monitors, with what they hold for.
const FILTERS: [(&str, &str, Dialect); 14] = [
    ("prefix", "Texts that begin so.", Dialect::Plain),
    ("suffix", "Texts that end so.", Dialect::Plain),
    (
        "wildcard",
        "Texts of this form; `*` stands for any characters.",
        Dialect::Plain,
    ),
    (
        "equals-ignore-case",
        "This text, in any case.",
        Dialect::Plain,
    ),
    ("exactly", "This text.", Dialect::Plain),
    (
        "anything-but",
        "Anything that is not one of these.",
        Dialect::Plain,
    ),
    (
        "numeric",
        "Numbers: an operator and a number, or two of each.",
        Dialect::Plain,
    ),
    (
        "exists",
        "Whether the member is there at all.",
        Dialect::Plain,
    ),
    ("cidr", "Addresses of this range.", Dialect::Plain),
    (
        "within-next",
        "Times from now to less than this duration ahead.",
        Dialect::Trigger,
    ),
    (
        "within-past",
        "Times less than this duration ago.",
        Dialect::Trigger,
    ),
    (
        "regex",
        "Texts in which this expression is found.",
        Dialect::Trigger,
    ),
    (
        "count",
        "Lists of such a length, as `numeric` has it.",
        Dialect::Trigger,
    ),
    (
        "later-than",
        "Times after that of the subject at this path.",
        Dialect::Unless,
    ),
];

/// What to try where a pattern is refused: as the rule engine says, and of the filters that it does not know.
#[must_use]
pub fn pattern_help(error: &PatternError, dialect: Dialect) -> String {
    let added = FILTERS.iter().filter(|it| it.2 != Dialect::Plain);
    let added: Vec<&str> = added.map(|it| it.0).collect();
    match error.reason() {
        Reason::UnknownOperator { operator } if dialect == Dialect::Plain => {
            match added.contains(&operator.as_str()) {
                true => format!("`{operator}` is for triggers and monitors: add a `Trigger`"),
                false => error.help(),
            }
        }
        Reason::UnknownOperator { operator } => match words::nearest(operator, &added) {
            Some(name) => format!("did you mean `{name}`?"),
            None => error.help(),
        },
        Reason::Added { .. } => {
            "such as `{\"within-next\": \"P30D\"}`, `{\"count\": [\">\", 1]}`, `{\"regex\": \"^a+$\"}`".into()
        }
        _ => error.help(),
    }
}

impl Member {
    /// A member that must be there.
    #[must_use]
    pub const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Member {
        Member::required_or(Code::MemberMissing, name, shape, doc)
    }

    /// The same, with a code of its own.
    #[must_use]
    pub const fn required_or(
        code: Code,
        name: &'static str,
        shape: Shape,
        doc: &'static str,
    ) -> Member {
        let need = Need::Required(code);
        Member {
            name,
            need,
            shape,
            doc,
        }
    }

    /// A member that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Member {
        let need = Need::Optional;
        Member {
            name,
            need,
            shape,
            doc,
        }
    }

    /// A member that may be left out and is then `default`, written as JSON.
    #[must_use]
    pub const fn default(
        name: &'static str,
        shape: Shape,
        default: &'static str,
        doc: &'static str,
    ) -> Member {
        let need = Need::Default(default);
        Member {
            name,
            need,
            shape,
            doc,
        }
    }
}

/// The words of a list of words and values.
#[must_use]
pub const fn words<T: Copy, const N: usize>(pairs: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut n = 0;
    while n < N {
        words[n] = pairs[n].0;
        n += 1;
    }
    words
}

/// The JSON Schema (draft 2020-12) of a shape.
#[must_use]
pub fn schema(title: &str, shape: &Shape) -> Value {
    let mut definitions = Map::new();
    let Value::Object(body) = written(shape, &mut definitions) else {
        unreachable!("a schema of ours is an object")
    };
    let mut whole = Map::new();
    whole.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    whole.insert("title".into(), title.into());
    whole.extend(body);
    if !definitions.is_empty() {
        definitions.sort_keys();
        whole.insert("$defs".into(), definitions.into());
    }
    whole.into()
}

/// Recurses as deep as the tables nest; what refers to itself is defined once.
fn written(shape: &Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Any => json!({}),
        Shape::Text => json!({"type": "string"}),
        Shape::Form(Form(form)) => json!({"type": "string", "pattern": form}),
        Shape::Words(words) => json!({"enum": words}),
        Shape::Null => json!({"type": "null"}),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Number => json!({"type": "number"}),
        Shape::Integer(min, max) => {
            let mut schema = json!({"type": "integer"});
            for (name, bound, none) in [("minimum", min, i64::MIN), ("maximum", max, i64::MAX)] {
                if *bound != none {
                    schema[name] = json!(bound);
                }
            }
            schema
        }
        Shape::Object(members) => object(members, &[], definitions),
        Shape::OneOf(members, one) => object(members, one, definitions),
        Shape::Map(names, value) => {
            let value = written(value, definitions);
            let mut schema = json!({"type": "object", "additionalProperties": value});
            if let Some(Form(form)) = names {
                schema["propertyNames"] = json!({"pattern": form});
            }
            schema
        }
        Shape::List(least, item) => {
            let item = written(item, definitions);
            let mut schema = json!({"type": "array", "items": item});
            if 0 < *least {
                schema["minItems"] = json!(least);
            }
            schema
        }
        Shape::Either(shapes) => {
            let shapes = shapes.iter().map(|it| written(it, definitions));
            json!({"anyOf": shapes.collect::<Vec<_>>()})
        }
        Shape::Pattern(dialect) => {
            let name = match dialect {
                Dialect::Plain => "pattern",
                Dialect::Trigger => "pattern-of-trigger",
                Dialect::Monitor => "pattern-of-monitor",
                Dialect::Unless => "pattern-of-unless",
            };
            let known = json!({"$ref": format!("#/$defs/{name}")});
            if !definitions.contains_key(name) {
                definitions.insert(name.into(), pattern(*dialect, &known));
            }
            json!({"anyOf": [known, {"type": "string"}]})
        }
        Shape::Named(name, shape) => {
            if !definitions.contains_key(*name) {
                // First a mark, so that it may refer to itself.
                definitions.insert((*name).into(), Value::Null);
                let schema = written(&shape(), definitions);
                definitions.insert((*name).into(), schema);
            }
            json!({"$ref": format!("#/$defs/{name}")})
        }
    }
}

fn object(members: &[Member], one: &[&str], definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let remarks = REMARKS.iter();
    let remarks = remarks.filter(|it| members.iter().all(|member| member.name != it.name));
    for member in members.iter().chain(remarks) {
        let mut schema = json!({"description": member.doc});
        let Value::Object(body) = written(&member.shape, definitions) else {
            unreachable!("a schema of ours is an object")
        };
        schema.as_object_mut().expect("it is one").extend(body);
        match member.need {
            Need::Required(_) => required.push(member.name),
            Need::Optional => {}
            Need::Default(text) => {
                schema["default"] = serde_json::from_str(text).expect("a default is JSON");
            }
        }
        properties.insert(member.name.into(), schema);
    }
    let mut schema = json!({
        "type": "object", "properties": properties, "additionalProperties": false
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !one.is_empty() {
        let one = one.iter().map(|name| json!({"required": [name]}));
        schema["oneOf"] = one.collect();
    }
    schema
}

/// `known` refers to the pattern itself.
fn pattern(dialect: Dialect, known: &Value) -> Value {
    let mut filters = Map::new();
    for (name, doc, from) in FILTERS {
        let known = match from {
            Dialect::Plain => true,
            Dialect::Trigger | Dialect::Monitor => dialect != Dialect::Plain,
            Dialect::Unless => dialect == Dialect::Unless,
        };
        if known {
            filters.insert(name.into(), json!({ "description": doc }));
        }
    }
    let filter = json!({
        "type": "object", "properties": filters, "additionalProperties": false,
        "minProperties": 1, "maxProperties": 1
    });
    let leaf = json!({
        "description": "What the member may be: one of these values, or what a filter takes.",
        "type": "array", "minItems": 1,
        "items": {"anyOf": [{"type": ["string", "number", "boolean", "null"]}, filter]}
    });
    let alternatives = json!({
        "description": "One of these patterns at least.",
        "type": "array", "minItems": 2, "items": known
    });
    json!({
        "description": "A member for each member that is looked at; all must hold.",
        "type": "object",
        "properties": {"$or": {"anyOf": [alternatives, known, leaf]}},
        "additionalProperties": {"anyOf": [known, leaf]}
    })
}
