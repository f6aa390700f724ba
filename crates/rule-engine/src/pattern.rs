//! From the text of a pattern to its alternatives (event-patterns.md 2.1, 3, 4, 5).
//!
//! A pattern is read once, checked wholly, and kept as a list of alternatives: sets of leaves
//! joined by AND, with no `$or` left. Faults are found in the order of the text and carry the
//! words of the service, which lives in [`error`]; the operators are read in `operators`.
//!
//! Start at [`Pattern::parse`].

pub mod error;

pub(crate) mod operators;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use error::{Diagnostic, PatternError, Reason};

use crate::json::{self, JsonErrorKind, Member, Node, NodeKind};
use crate::matcher::{Matcher, TextMatcher, Value};
use crate::wildcard::complexity;

/// Levels of objects and arrays in a pattern, the outermost counted. Source: us, 5.4.
pub const DEPTH_MAX: usize = 100;
/// Alternatives of a pattern after its `$or`s are multiplied out. Source: AWS documentation.
pub const ALTERNATIVES_MAX: usize = 1_000;
/// What the service allows of [`complexity`]. Source: its answers, 5.3.
pub const COMPLEXITY_MAX: u32 = 10;

/// Names that AWS keeps for itself as field names inside `$or`. Source: event-ruler 2.0.1.
const RESERVED_IN_OR: [&str; 24] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// What may be chosen when a pattern is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The most that [`complexity`] may count for one leaf; `None`: whatever it counts. We need
    /// no limit ourselves, a wildcard costs us the length of the value.
    pub complexity_limit: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            complexity_limit: Some(COMPLEXITY_MAX),
        }
    }
}

/// Filters that a caller adds to the language: it reads them, and is asked about values later.
///
/// Ordinary patterns are read without one, so there these filters are unknown operators.
pub trait Extension {
    /// Reads `{name: operand}`, which stands behind `anything-but` when `negated`, and gives it a
    /// number to be asked by. `None` when it knows no such filter.
    ///
    /// # Errors
    /// What is wrong with the operand, in words that go behind `Event pattern is not valid. Reason: `.
    fn read(
        &mut self,
        name: &str,
        operand: &Node<'_>,
        negated: bool,
    ) -> Option<Result<u32, String>>;
}

/// The language as it is.
pub(crate) struct Nothing;

impl Extension for Nothing {
    fn read(&mut self, _: &str, _: &Node<'_>, _: bool) -> Option<Result<u32, String>> {
        None
    }
}

/// What an added filter is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'v> {
    /// A string.
    Text(&'v str),
    /// An array of so many elements.
    Length(u64),
    /// A number, `true`, `false` or `null`.
    Other,
}

/// Says whether the added filter of this number holds.
pub type Ask<'a> = dyn Fn(u32, Found<'_>) -> bool + 'a;

/// A pattern that was checked. A clone shares all of it.
#[derive(Debug, Clone)]
pub struct Pattern {
    alternatives: Arc<[Alternative]>,
}

/// Leaves that must all hold together.
#[derive(Debug)]
pub(crate) struct Alternative {
    /// Sorted by path in UTF-16 code units (2.3), each path once.
    pub(crate) leaves: Vec<Arc<Leaf>>,
}

/// What is asked of one path: any one of the matchers.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) path: String,
    pub(crate) matchers: Vec<Matcher>,
    /// True when one of the matchers is `{"exists":false}`.
    pub(crate) absent: bool,
}

impl Leaf {
    pub(crate) fn holds(&self, value: &Value<'_>) -> bool {
        self.matchers.iter().any(|matcher| matcher.holds(value))
    }

    /// As [`Leaf::holds`], with added filters. A length is seen by them alone.
    pub(crate) fn holds_asking(&self, value: &Value<'_>, ask: &Ask<'_>) -> bool {
        let found = match value {
            Value::String(text) => Found::Text(text),
            Value::Length(length) => Found::Length(*length),
            _ => Found::Other,
        };
        let length = matches!(value, Value::Length(_));
        self.matchers.iter().any(|matcher| match matcher {
            Matcher::Added { filter, negated } if length => !negated && ask(*filter, found),
            Matcher::Added { filter, negated } => ask(*filter, found) != *negated,
            plain => !length && plain.holds(value),
        })
    }
}

/// The JSON of the leaf: an array of its matchers.
impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, matcher) in self.matchers.iter().enumerate() {
            write!(f, "{}{matcher}", if at == 0 { '[' } else { ',' })?;
        }
        f.write_str("]")
    }
}

impl Pattern {
    /// Reads a pattern as the service does, its limit on wildcards included.
    ///
    /// Bounds: [`DEPTH_MAX`], [`ALTERNATIVES_MAX`], [`COMPLEXITY_MAX`]. How long a pattern may be
    /// is for the caller to say; time and memory are linear in the text times its alternatives.
    ///
    /// # Errors
    /// The first fault of the text, in the words of the service.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        Pattern::parse_with(text, &Options::default())
    }

    /// Reads a pattern with other options than the service has.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn parse_with(text: &str, options: &Options) -> Result<Pattern, PatternError> {
        Pattern::read(text, options, &mut Nothing)
    }

    /// Reads a pattern that may hold filters of the caller's own. Only
    /// [`oracle::matches_asking`](crate::oracle::matches_asking) knows them; a rule set takes them
    /// as never met.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn parse_extended(
        text: &str,
        options: &Options,
        extension: &mut dyn Extension,
    ) -> Result<Pattern, PatternError> {
        Pattern::read(text, options, extension)
    }

    fn read(
        text: &str,
        options: &Options,
        extension: &mut dyn Extension,
    ) -> Result<Pattern, PatternError> {
        let root = json::parse(text, DEPTH_MAX).map_err(|error| not_json(text, error))?;
        let NodeKind::Object(members) = &root.kind else {
            return Err(fault(Reason::NotAnObject, &root, ""));
        };
        let mut reader = Reader {
            options: *options,
            too_complex: None,
            extension,
        };
        let mut drafts = Vec::new();
        reader.object(&mut drafts, None, &root, members, false)?;
        if let Some(error) = reader.too_complex {
            return Err(error);
        }
        assert!(!drafts.is_empty());
        assert!(drafts.len() <= ALTERNATIVES_MAX);
        let alternatives = drafts.into_iter().map(|draft| {
            let mut leaves: Vec<Arc<Leaf>> = draft.into_values().collect();
            leaves.sort_by(|a, b| a.path.encode_utf16().cmp(b.path.encode_utf16()));
            Alternative { leaves }
        });
        Ok(Pattern {
            alternatives: alternatives.collect(),
        })
    }

    /// What finds this pattern among very many in a rule set: that the member `member` of the document, a text or
    /// a list of them, has one of `names`, and of what the pattern itself asks as much as a rule set can tell.
    /// Whatever matches the pattern matches this; without filters of the caller's own also the other way around.
    /// `None` when the pattern names that member itself.
    #[must_use]
    pub fn found_by(&self, member: &str, names: &[String]) -> Option<Pattern> {
        let texts = names
            .iter()
            .map(|name| TextMatcher::Exactly(name.as_str().into()));
        let leaf = Arc::new(Leaf {
            path: member.to_owned(),
            matchers: texts.map(Matcher::Text).collect(),
            absent: false,
        });
        let found_by = |alternative: &Alternative| {
            let is_added = |leaf: &&Arc<Leaf>| {
                let mut matchers = leaf.matchers.iter();
                matchers.any(|matcher| matches!(matcher, Matcher::Added { .. }))
            };
            let is_plain = !alternative.leaves.iter().any(|leaf| is_added(&leaf));
            // Which array elements were chosen decides what is absent there, so that goes as well.
            let kept = |leaf: &&Arc<Leaf>| is_plain || !(leaf.absent || is_added(leaf));
            let mut leaves: Vec<Arc<Leaf>> =
                alternative.leaves.iter().filter(kept).cloned().collect();
            leaves.push(leaf.clone());
            leaves.sort_by(|a, b| a.path.encode_utf16().cmp(b.path.encode_utf16()));
            Alternative { leaves }
        };
        let mut leaves = self.alternatives.iter().flat_map(|it| &it.leaves);
        if leaves.any(|leaf| leaf.path == member) {
            return None;
        }
        Some(Pattern {
            alternatives: self.alternatives.iter().map(found_by).collect(),
        })
    }

    pub(crate) fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }
}

/// An alternative in the making: the last leaf written to each path.
type Draft = BTreeMap<Arc<str>, Arc<Leaf>>;

struct Reader<'x> {
    options: Options,
    extension: &'x mut dyn Extension,
    /// The first leaf whose wildcards are too complex: reported only when nothing else is wrong.
    too_complex: Option<PatternError>,
}

impl Reader<'_> {
    /// Reads the members of one object. Recurses at most `DEPTH_MAX` deep, as deep as the tree.
    fn object(
        &mut self,
        drafts: &mut Vec<Draft>,
        path: Option<&str>,
        node: &Node<'_>,
        members: &[Member<'_>],
        in_or: bool,
    ) -> Result<(), PatternError> {
        if members.is_empty() {
            return Err(fault(Reason::EmptyObject, node, path.unwrap_or_default()));
        }
        for member in members {
            if member.name == "$or" {
                self.or(drafts, path, &member.value)?;
                continue;
            }
            let below = match path {
                Some(path) => format!("{path}.{}", member.name),
                None => member.name.to_string(),
            };
            let name = member.name.to_string();
            if in_or && RESERVED_IN_OR.contains(&&*member.name) {
                let span = member.name_start..member.name_end;
                return Err(PatternError::new(Reason::OrReserved { name }, span, &below));
            }
            match &member.value.kind {
                NodeKind::Object(members) => {
                    self.object(drafts, Some(&below), &member.value, members, in_or)?;
                }
                NodeKind::Array(items) => {
                    let leaf = Arc::new(self.leaf(&below, &member.value, items)?);
                    let path: Arc<str> = below.into();
                    if drafts.is_empty() {
                        drafts.push(Draft::new());
                    }
                    for draft in drafts.iter_mut() {
                        draft.insert(path.clone(), leaf.clone());
                    }
                }
                _ => return Err(fault(Reason::NotAContainer { name }, &member.value, &below)),
            }
        }
        Ok(())
    }

    /// Multiplies what was read so far by the members of a `$or`.
    fn or(
        &mut self,
        drafts: &mut Vec<Draft>,
        path: Option<&str>,
        node: &Node<'_>,
    ) -> Result<(), PatternError> {
        let here = path.unwrap_or_default();
        let NodeKind::Array(items) = &node.kind else {
            return Err(fault(Reason::OrNotArray, node, here));
        };
        let mut before = std::mem::take(drafts);
        if before.is_empty() {
            before.push(Draft::new());
        }
        for item in items {
            let NodeKind::Object(members) = &item.kind else {
                return Err(fault(Reason::OrMember, item, here));
            };
            let mut branch = before.clone();
            self.object(&mut branch, path, item, members, true)?;
            drafts.append(&mut branch);
            if ALTERNATIVES_MAX < drafts.len() {
                return Err(fault(Reason::OrTooMany, node, here));
            }
        }
        if items.len() < 2 {
            return Err(fault(Reason::OrTooFew, node, here));
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        path: &str,
        node: &Node<'_>,
        items: &[Node<'_>],
    ) -> Result<Leaf, PatternError> {
        let mut matchers = Vec::new();
        for item in items {
            operators::item(&mut matchers, item, path, self.extension)?;
        }
        if matchers.is_empty() {
            return Err(fault(Reason::EmptyArray, node, path));
        }
        if let Some(limit) = self.options.complexity_limit
            && self.too_complex.is_none()
            && limit < complexity(&operators::wildcards(items), limit)
        {
            self.too_complex = Some(fault(Reason::TooComplex, node, path));
        }
        Ok(Leaf {
            path: path.to_owned(),
            absent: matchers.iter().any(|it| matches!(it, Matcher::Absent)),
            matchers,
        })
    }
}

fn fault(reason: Reason, node: &Node<'_>, path: &str) -> PatternError {
    PatternError::new(reason, node.start..node.end, path)
}

/// Puts a text that is no JSON in the words of the service's parser, as far as they are known.
fn not_json(text: &str, error: json::JsonError) -> PatternError {
    let rest = &text[error.offset..];
    let word: String = rest
        .chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect();
    let length = match word.len() {
        0 => rest.chars().next().map_or(0, char::len_utf8),
        length => length,
    };
    let reason = match error.kind {
        JsonErrorKind::Value if !word.is_empty() => Reason::Token { token: word },
        kind => Reason::Json(kind),
    };
    PatternError::new(reason, error.offset..error.offset + length, "")
}

#[cfg(test)]
mod tests;
