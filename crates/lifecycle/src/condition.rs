//! Patterns of triggers and monitors: the bus's language and five filters more.
//!
//! The pattern is read by the rule engine, which hands each filter that it does not know to the reader
//! here and keeps a number for it; when the pattern is tried it asks for the filter of that number. So
//! alternatives within a leaf, `$or` and array elements mean what they mean everywhere.
//! Source: certificate-lifecycle.md 6.3.

mod many;

pub use many::{Conditions, Held};

use crate::moment;
use crate::path::Path;
use regex::Regex;
use rule_engine::json::{self, Node, NodeKind};
use rule_engine::oracle;
use rule_engine::pattern::{Extension, Found, Options, Pattern, PatternError};
use serde_json::Value;
use std::collections::BTreeMap;

/// Which added filters a pattern may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// None: as an ordinary rule (`When` of a catalogue entry).
    Plain,
    /// Those that need nothing but the time.
    Trigger,
    /// Those, and durations by parameter.
    Monitor,
    /// Those, and comparison with the subject.
    Unless,
}

/// What a pattern is tried with besides the document.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The event's time or the nominal tick, epoch milliseconds; never the wall clock.
    pub now: i64,
    /// Durations by name, in milliseconds.
    pub parameters: &'a BTreeMap<String, i64>,
    /// What `later-than` compares with: `{"subject": object}`.
    pub subject: &'a Value,
}

impl Context<'static> {
    /// A time and nothing else.
    #[must_use]
    pub fn at(now: i64) -> Context<'static> {
        static NONE: BTreeMap<String, i64> = BTreeMap::new();
        Context {
            now,
            parameters: &NONE,
            subject: &Value::Null,
        }
    }
}

/// A pattern with what it needs to be tried and to say why it failed.
#[derive(Debug, Clone)]
pub struct Condition {
    /// `None`: without members, matches everything.
    whole: Option<Tested>,
    /// Its members one by one, in the order of the text: the path, and a pattern of it alone.
    members: Vec<(String, Tested)>,
    /// Names of parameters that it refers to, and where.
    references: Vec<String>,
}

#[derive(Debug, Clone)]
struct Tested {
    pattern: Pattern,
    filters: Vec<Filter>,
}

#[derive(Debug, Clone)]
enum Filter {
    WithinNext(Span),
    WithinPast(Span),
    LaterThan(Path),
    Regex(Regex),
    /// A pattern over `{"n": length}`, so that its operand is read as that of `numeric`.
    Count(Pattern),
}

#[derive(Debug, Clone)]
enum Span {
    Ms(i64),
    Parameter(String),
}

impl Condition {
    /// What matches everything.
    #[must_use]
    pub fn always() -> Condition {
        Condition {
            whole: None,
            members: Vec::new(),
            references: Vec::new(),
        }
    }

    /// Reads a pattern; `{}` matches everything.
    ///
    /// # Errors
    /// The first fault, in the words of the service.
    pub fn parse(
        text: &str,
        dialect: Dialect,
        options: &Options,
    ) -> Result<Condition, PatternError> {
        let root = json::parse(text, rule_engine::pattern::DEPTH_MAX);
        let Ok(Node {
            kind: NodeKind::Object(members),
            ..
        }) = &root
        else {
            // Not JSON or no object: the engine says so in its words.
            Pattern::parse_with(text, options)?;
            unreachable!("the engine takes objects only");
        };
        if members.is_empty() {
            return Ok(Condition::always());
        }
        let mut reader = Reader {
            text,
            dialect,
            filters: Vec::new(),
            references: Vec::new(),
        };
        let whole = reader.read(text, options)?;
        let references = std::mem::take(&mut reader.references);
        let mut members = Vec::new();
        for (at, alone) in members_of(text, &root.expect("it was looked at")) {
            // A part of a pattern without fault has none, but for a name reserved in `$or` alone.
            let mut reader = Reader {
                text: &alone,
                dialect,
                filters: Vec::new(),
                references: Vec::new(),
            };
            members.push((at, reader.read(&alone, options)?));
        }
        Ok(Condition {
            whole: Some(whole),
            members,
            references,
        })
    }

    /// Names of the parameters that it refers to.
    #[must_use]
    pub fn references(&self) -> &[String] {
        &self.references
    }

    /// True when it matches everything.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.whole.is_none()
    }

    /// `None` when `document` matches; else the path of the first member that did not, as `$.a.b`.
    /// A document that is no JSON object matches nothing.
    #[must_use]
    pub fn failure(&self, document: &[u8], context: &Context<'_>) -> Option<String> {
        self.failure_by(|_, tested| tested.holds(document, context))
    }

    /// As [`Condition::failure`], asking whether a part holds: the whole is part 0, its members come after it.
    fn failure_by(&self, holds: impl Fn(u32, &Tested) -> bool) -> Option<String> {
        if holds(0, self.whole.as_ref()?) {
            return None;
        }
        let mut parts = (1..).zip(&self.members);
        let failed = match &self.members[..] {
            [only] => Some(only),
            _ => parts
                .find(|(part, (_, member))| !holds(*part, member))
                .map(|(_, member)| member)
                // Each holds alone, but not in the same array elements: the last one is one too many.
                .or(self.members.last()),
        };
        Some(failed.map_or("$".to_owned(), |(at, _)| at.clone()))
    }

    /// What has to be asked to know [`Condition::failure`], with the numbers of the parts.
    fn parts(&self) -> impl Iterator<Item = (u32, &Tested)> {
        let members = self.members.iter().map(|(_, member)| member);
        // One member is the whole.
        let members = members.filter(|_| 1 < self.members.len());
        (0..).zip(self.whole.iter().chain(members))
    }

    /// True when `document` matches.
    #[must_use]
    pub fn holds(&self, document: &[u8], context: &Context<'_>) -> bool {
        self.whole
            .as_ref()
            .is_none_or(|whole| whole.holds(document, context))
    }
}

impl Tested {
    fn holds(&self, document: &[u8], context: &Context<'_>) -> bool {
        let ask =
            |number: u32, found: Found<'_>| self.filters[number as usize].holds(found, context);
        oracle::matches_asking(&self.pattern, document, &ask).unwrap_or(false)
    }
}

impl Filter {
    fn holds(&self, found: Found<'_>, context: &Context<'_>) -> bool {
        match (self, found) {
            (Filter::Count(pattern), Found::Length(length)) => {
                oracle::matches(pattern, format!("{{\"n\":{length}}}").as_bytes()).unwrap_or(false)
            }
            (Filter::Regex(regex), Found::Text(text)) => regex.is_match(text),
            (Filter::WithinNext(span), Found::Text(text)) => {
                let (now, Some(span)) = (context.now, span.ms(context)) else {
                    return false;
                };
                moment::parse(text).is_some_and(|t| now <= t && t < now + span)
            }
            (Filter::WithinPast(span), Found::Text(text)) => {
                let (now, Some(span)) = (context.now, span.ms(context)) else {
                    return false;
                };
                moment::parse(text).is_some_and(|t| now - span < t && t < now)
            }
            (Filter::LaterThan(path), Found::Text(text)) => {
                let bound = path.first(context.subject).and_then(Value::as_str);
                match (moment::parse(text), bound.and_then(moment::parse)) {
                    (Some(t), Some(bound)) => bound < t,
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

impl Span {
    fn ms(&self, context: &Context<'_>) -> Option<i64> {
        match self {
            Span::Ms(ms) => Some(*ms),
            Span::Parameter(name) => context.parameters.get(name).copied(),
        }
    }
}

/// Reads the added filters of one text.
struct Reader<'t> {
    text: &'t str,
    dialect: Dialect,
    filters: Vec<Filter>,
    references: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self, text: &str, options: &Options) -> Result<Tested, PatternError> {
        let pattern = Pattern::parse_extended(text, options, self)?;
        Ok(Tested {
            pattern,
            filters: std::mem::take(&mut self.filters),
        })
    }

    fn filter(&mut self, name: &str, operand: &Node<'_>) -> Result<Filter, String> {
        let text = match &operand.kind {
            NodeKind::String(text) => Some(&**text),
            _ => None,
        };
        match name {
            "within-next" => self.span(name, operand).map(Filter::WithinNext),
            "within-past" => self.span(name, operand).map(Filter::WithinPast),
            "later-than" => text
                .filter(|text| text.starts_with("subject."))
                .and_then(Path::relative)
                .map(Filter::LaterThan)
                .ok_or_else(|| "later-than wants a path such as \"subject.attributes.end\"".into()),
            "regex" => {
                let text = text.ok_or("regex match pattern must be a string")?;
                match Regex::new(text) {
                    Ok(regex) => Ok(Filter::Regex(regex)),
                    Err(error) => Err(format!("regex not understood: {}", one_line(&error))),
                }
            }
            "count" => {
                let operand = &self.text[operand.start..operand.end];
                let pattern = format!("{{\"n\":[{{\"numeric\":{operand}}}]}}");
                match Pattern::parse(&pattern) {
                    Ok(pattern) => Ok(Filter::Count(pattern)),
                    Err(error) => Err(error.to_string().replace("numeric", "count")),
                }
            }
            _ => unreachable!("asked for the five filters only"),
        }
    }

    fn span(&mut self, name: &str, operand: &Node<'_>) -> Result<Span, String> {
        if let NodeKind::String(text) = &operand.kind {
            let ms = moment::span(text).map_err(|why| format!("bad duration for {name}: {why}"))?;
            return Ok(Span::Ms(ms));
        }
        if let NodeKind::Object(members) = &operand.kind
            && let [member] = members.as_slice()
            && member.name == "Ref"
            && let NodeKind::String(parameter) = &member.value.kind
        {
            self.references.push(parameter.to_string());
            return Ok(Span::Parameter(parameter.to_string()));
        }
        Err(format!(
            "{name} wants a duration such as \"P30D\" or {{\"Ref\": \"parameter\"}}"
        ))
    }
}

impl Extension for Reader<'_> {
    fn read(
        &mut self,
        name: &str,
        operand: &Node<'_>,
        negated: bool,
    ) -> Option<Result<u32, String>> {
        let known = match name {
            "within-next" | "within-past" | "regex" | "count" => self.dialect != Dialect::Plain,
            "later-than" => self.dialect == Dialect::Unless,
            _ => false,
        };
        // `anything-but` takes what asks for a text; of the five that is the expression.
        if !known || (negated && name != "regex") {
            return None;
        }
        Some(self.filter(name, operand).map(|filter| {
            self.filters.push(filter);
            u32::try_from(self.filters.len() - 1).expect("a pattern has fewer than 2^32 filters")
        }))
    }
}

/// The expression's fault without the drawing that the library makes of it.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The leaves and `$or`s of a pattern in the order of its text: the path, and the text of a pattern
/// that asks for nothing else. On a stack of its own, as patterns may be deep.
fn members_of(text: &str, root: &Node<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Nodes still to be looked at, the next one last, each with its path and the names around it.
    let mut open = vec![(root, "$".to_owned(), Vec::<&str>::new())];
    while let Some((node, at, around)) = open.pop() {
        if let NodeKind::Object(members) = &node.kind {
            for member in members.iter().rev() {
                let mut names = around.clone();
                names.push(&text[member.name_start..member.name_end]);
                open.push((&member.value, format!("{at}.{}", member.name), names));
            }
            continue;
        }
        let mut alone = text[node.start..node.end].to_owned();
        for name in around.iter().rev() {
            alone = format!("{{{name}:{alone}}}");
        }
        found.push((at, alone));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(pattern: &str, dialect: Dialect) -> Result<Condition, PatternError> {
        Condition::parse(pattern, dialect, &Options::default())
    }

    #[track_caller]
    fn check(pattern: &str, document: &str, expected: bool) {
        let condition = read(pattern, Dialect::Unless).unwrap();
        let parameters = BTreeMap::from([("window".to_owned(), 2 * moment::DAY_MS)]);
        let context = Context {
            now: moment::parse("2025-07-01T00:00:00Z").unwrap(),
            parameters: &parameters,
            subject: &json!({"subject": {"end": "2025-07-05T00:00:00Z", "bad": 5}}),
        };
        let document = document.as_bytes();
        assert_eq!(condition.holds(document, &context), expected, "{pattern}");
        assert_eq!(condition.failure(document, &context).is_none(), expected);
    }

    #[test]
    fn windows_are_half_open() {
        let next = r#"{"t":[{"within-next":"P1D"}]}"#;
        check(next, r#"{"t":"2025-07-01T00:00:00Z"}"#, true);
        check(next, r#"{"t":"2025-07-01T23:59:59.999Z"}"#, true);
        check(next, r#"{"t":"2025-07-02T00:00:00Z"}"#, false);
        check(next, r#"{"t":"2025-06-30T23:59:59Z"}"#, false);
        check(next, r#"{"t":"2025-07-02T01:00:00+02:00"}"#, true);
        check(next, r#"{"t":"soon"}"#, false);
        check(next, r#"{"t":5}"#, false);
        check(next, "{}", false);
        let past = r#"{"t":[{"within-past":"P1D"}]}"#;
        check(past, r#"{"t":"2025-07-01T00:00:00Z"}"#, false);
        check(past, r#"{"t":"2025-06-30T00:00:00Z"}"#, false);
        check(past, r#"{"t":"2025-06-30T00:00:01Z"}"#, true);
        let by_name = r#"{"t":[{"within-next":{"Ref":"window"}}]}"#;
        check(by_name, r#"{"t":"2025-07-02T23:00:00Z"}"#, true);
        check(by_name, r#"{"t":"2025-07-03T00:00:00Z"}"#, false);
    }

    #[test]
    fn later_than_compares_with_the_subject() {
        let later = r#"{"t":[{"later-than":"subject.end"}]}"#;
        check(later, r#"{"t":"2025-07-05T00:00:01Z"}"#, true);
        check(later, r#"{"t":"2025-07-05T00:00:00Z"}"#, false);
        let none = r#"{"t":[{"later-than":"subject.none"}]}"#;
        check(none, r#"{"t":"2025-07-05T00:00:01Z"}"#, false);
        let bad = r#"{"t":[{"later-than":"subject.bad"}]}"#;
        check(bad, r#"{"t":"2025-07-05T00:00:01Z"}"#, false);
    }

    #[test]
    fn an_expression_is_searched_for() {
        check(r#"{"a":[{"regex":"b+"}]}"#, r#"{"a":"abbc"}"#, true);
        check(r#"{"a":[{"regex":"^b"}]}"#, r#"{"a":"abbc"}"#, false);
        let not = r#"{"a":[{"anything-but":{"regex":"^b"}}]}"#;
        check(not, r#"{"a":"abc"}"#, true);
        check(not, r#"{"a":"bc"}"#, false);
        check(not, r#"{"a":["bc","x"]}"#, true);
        check(not, r#"{"a":5}"#, true);
        check(not, "{}", false);
        check(not, r#"{"a":[]}"#, false);
    }

    #[test]
    fn count_asks_an_array_for_its_length() {
        check(r#"{"a":[{"count":["=",0]}]}"#, r#"{"a":[]}"#, true);
        check(r#"{"a":[{"count":["=",0]}]}"#, "{}", false);
        check(r#"{"a":[{"count":["=",0]}]}"#, r#"{"a":"x"}"#, false);
        check(r#"{"a":[{"count":[">",1]}]}"#, r#"{"a":[1,{"b":2}]}"#, true);
        check(r#"{"a":[{"count":[">",1]}]}"#, r#"{"a":[[1,2]]}"#, true);
        check(
            r#"{"a":[{"count":[">",0,"<=",2]}]}"#,
            r#"{"a":[1,2,3]}"#,
            false,
        );
        check(
            r#"{"a":{"b":[{"count":["=",2]}]}}"#,
            r#"{"a":[{"b":[]},{"b":[1,2]}]}"#,
            true,
        );
    }

    #[test]
    fn added_filters_mix_with_the_others() {
        let either = r#"{"a":["x",{"within-next":"P1D"},{"exists":false},{"count":["=",3]}]}"#;
        check(either, r#"{"a":"x"}"#, true);
        check(either, r#"{"a":"2025-07-01T05:00:00Z"}"#, true);
        check(either, "{}", true);
        check(either, r#"{"a":[]}"#, true);
        check(either, r#"{"a":["y",1,2]}"#, true);
        check(either, r#"{"a":"y"}"#, false);
        // Lengths are seen by `count` alone.
        check(
            r#"{"a":[{"count":["=",1]}],"b":[{"exists":true}]}"#,
            r#"{"a":[1],"b":[]}"#,
            false,
        );
        check(
            r#"{"$or":[{"a":[{"regex":"x"}]},{"b":[1]}]}"#,
            r#"{"b":1}"#,
            true,
        );
        let seats = r#"{"l":{"n":["p"],"t":[{"within-next":"P1D"}]}}"#;
        let (near, far) = ("2025-07-01T05:00:00Z", "2026-07-01T05:00:00Z");
        let list =
            |a: &str, b: &str| format!(r#"{{"l":[{{"n":"p","t":"{a}"}},{{"n":"q","t":"{b}"}}]}}"#);
        check(seats, &list(near, far), true);
        check(seats, &list(far, near), false);
    }

    #[test]
    fn the_first_member_that_failed_is_named() {
        let pattern =
            r#"{"detail":{"a":[1],"b":{"c":[{"regex":"x"}]}},"$or":[{"d":[1]},{"e":[1]}],"f":[1]}"#;
        let condition = read(pattern, Dialect::Trigger).unwrap();
        let at = |document: &str| condition.failure(document.as_bytes(), &Context::at(0));
        let some = |at: &str| Some(at.to_owned());
        assert_eq!(at("{}"), some("$.detail.a"));
        assert_eq!(at(r#"{"detail":{"a":1}}"#), some("$.detail.b.c"));
        assert_eq!(at(r#"{"detail":{"a":1,"b":{"c":"x"}}}"#), some("$.$or"));
        assert_eq!(at(r#"{"detail":{"a":1,"b":{"c":"x"}},"e":1}"#), some("$.f"));
        assert_eq!(at(r#"{"detail":{"a":1,"b":{"c":"x"}},"e":1,"f":1}"#), None);
        assert_eq!(Condition::always().failure(b"{}", &Context::at(0)), None);
        let seats = read(r#"{"l":{"a":[1],"b":[2]}}"#, Dialect::Plain).unwrap();
        let apart = br#"{"l":[{"a":1},{"b":2}]}"#;
        assert_eq!(seats.failure(apart, &Context::at(0)), some("$.l.b"));
    }

    #[test]
    fn each_dialect_refuses_what_it_has_not() {
        let refused =
            |pattern: &str, dialect: Dialect| read(pattern, dialect).unwrap_err().to_string();
        for name in ["within-next", "within-past", "regex", "count", "later-than"] {
            let pattern = format!(r#"{{"a":[{{"{name}":"P1D"}}]}}"#);
            let text = refused(&pattern, Dialect::Plain);
            assert_eq!(text, format!("Unrecognized match type {name}"));
        }
        let later = r#"{"a":[{"later-than":"subject.a"}]}"#;
        assert!(read(later, Dialect::Monitor).is_err());
        assert!(read(later, Dialect::Unless).is_ok());
        for pattern in [
            r#"{"a":[{"within-next":"P1M"}]}"#,
            r#"{"a":[{"within-next":5}]}"#,
            r#"{"a":[{"within-next":{"Ref":5}}]}"#,
            r#"{"a":[{"later-than":"attributes.x"}]}"#,
            r#"{"a":[{"regex":"("}]}"#,
            r#"{"a":[{"regex":"(a)\\1"}]}"#,
            r#"{"a":[{"count":5}]}"#,
            r#"{"a":[{"count":["~",5]}]}"#,
            r#"{"a":[{"count":["=",5],"x":1}]}"#,
            r#"{"a":[{"anything-but":{"within-next":"P1D"}}]}"#,
            "[]",
            "",
        ] {
            assert!(read(pattern, Dialect::Unless).is_err(), "{pattern}");
        }
    }
}
