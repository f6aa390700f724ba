//! What a valid pattern's author may come to regret.
//!
//! Nothing here refuses anything: each warning has a code of [`CODES`], a place and a reason, and
//! whoever shows them lets a rule switch a code off. A pattern is called impossible only where
//! that is proven from what a bus stores: the envelope has ten members and no others, all but
//! `resources` and `detail` strings, and what lies below `detail` may be anything.
//!
//! The pattern is walked once more beside [`Pattern`], which has forgotten where a condition was
//! written and what it replaced. A test holds the two walks together.
//!
//! Start at [`lint`]; [`canonical`] tells when two patterns are one.

use std::collections::BTreeMap;
use std::ops;
use std::rc::Rc;

use crate::fold::Folded;
use crate::json::{self, Member, Node, NodeKind};
use crate::matcher::{Matcher, Range, TextMatcher, Value};
use crate::number::comparable;
use crate::pattern::operators;
use crate::pattern::{
    COMPLEXITY_MAX, DEPTH_MAX, Diagnostic, Nothing, Options, Pattern, PatternError, Reason,
};
use crate::wildcard::{Wildcard, complexity};

/// No event of a bus has such a value there, or such a member.
pub const IMPOSSIBLE_VALUE: &str = "impossible-value";
/// No number lies between the bounds of a `numeric`.
pub const EMPTY_RANGE: &str = "empty-range";
/// Each alternative has a condition that no event meets.
pub const IMPOSSIBLE_PATTERN: &str = "impossible-pattern";
/// A condition inside `$or` replaces one outside, or the reverse (event-patterns.md 2.1).
pub const OVERWRITTEN_BY_OR: &str = "overwritten-by-or";
/// A second condition on one path replaces the first.
pub const DUPLICATE_MEMBER: &str = "duplicate-member";
/// Items of one list that exclude each other: what one leaves out, another takes.
pub const EXCLUDES_NOTHING: &str = "excludes-nothing";
/// Every event of the bus matches.
pub const MATCHES_EVERYTHING: &str = "matches-everything";
/// Two rules of a bus have one pattern. Found by whoever holds the rules, with [`canonical`].
pub const DUPLICATE_RULE: &str = "duplicate-rule";
/// The service would refuse the wildcards (event-patterns.md 5.3).
pub const TOO_COMPLEX_FOR_AWS: &str = "too-complex-for-aws";
/// It costs time or memory out of proportion.
pub const COSTLY: &str = "costly";

/// Every code there is.
pub const CODES: [&str; 10] = [
    IMPOSSIBLE_VALUE,
    EMPTY_RANGE,
    IMPOSSIBLE_PATTERN,
    OVERWRITTEN_BY_OR,
    DUPLICATE_MEMBER,
    EXCLUDES_NOTHING,
    MATCHES_EVERYTHING,
    DUPLICATE_RULE,
    TOO_COMPLEX_FOR_AWS,
    COSTLY,
];

/// Alternatives above which a pattern is called costly: each is kept, and tried, by itself.
const ALTERNATIVES_MANY: usize = 100;
/// A wildcard between two asterisks that asks for fewer bytes than this narrows nothing down.
const PIECE_BYTES_MIN: usize = 3;

/// Warnings of one pattern, in the order of the text.
///
/// Bounds: those of [`Pattern::parse`]; the wildcards may be as complex as they like.
///
/// # Errors
/// A pattern that is not valid.
pub fn lint(text: &str) -> Result<Vec<Diagnostic>, PatternError> {
    with_walk(text, |walk, root| {
        let mut warnings = Vec::new();
        for condition in &walk.conditions {
            condition.lint(&mut warnings);
        }
        for (later, earlier) in &walk.replaced {
            let (later, earlier) = (&walk.conditions[*later], &walk.conditions[*earlier]);
            warnings.push(later.replaces(earlier));
        }
        walk.lint_whole(root, &mut warnings);
        warnings.sort_by_key(|warning| (warning.span.start, warning.span.end));
        warnings
    })
}

/// A text that two patterns share only if they match the same events because they say the same:
/// order, spelling and repetition aside.
///
/// # Errors
/// A pattern that is not valid.
pub fn canonical(text: &str) -> Result<String, PatternError> {
    with_walk(text, |walk, _| {
        let alternatives = walk.alternatives.iter().map(|alternative| {
            let leaves = alternative.iter();
            let leaves = leaves.map(|(path, at)| {
                let condition = &walk.conditions[*at];
                format!("{path:?}:{}", condition.canonical)
            });
            format!("{{{}}}", leaves.collect::<Vec<_>>().join(","))
        });
        set(alternatives.collect())
    })
}

/// Hands the walk over a valid pattern, and the pattern's root, to `look`.
fn with_walk<T>(
    text: &str,
    look: impl FnOnce(&Walk<'_, '_>, &Node<'_>) -> T,
) -> Result<T, PatternError> {
    let options = Options {
        complexity_limit: None,
    };
    Pattern::parse_with(text, &options)?;
    let root = json::parse(text, DEPTH_MAX).expect("it was parsed before");
    let mut walk = Walk::default();
    let mut alternatives = Vec::new();
    walk.object(&mut alternatives, None, members(&root), 0);
    walk.alternatives = alternatives;
    Ok(look(&walk, &root))
}

/// The last condition written to each path, by its index.
type Alternative = BTreeMap<Rc<str>, usize>;

/// A valid pattern with its places, built by the rules of event-patterns.md 2.1.
#[derive(Default)]
struct Walk<'n, 't> {
    /// In the order of the text.
    conditions: Vec<Condition<'n, 't>>,
    alternatives: Vec<Alternative>,
    /// A condition, and an earlier one that it replaced in some alternative.
    replaced: Vec<(usize, usize)>,
    /// Objects inside `$or`s so far.
    branches: usize,
}

/// One leaf as it is written.
struct Condition<'n, 't> {
    path: Rc<str>,
    name: ops::Range<usize>,
    list: ops::Range<usize>,
    items: &'n [Node<'t>],
    /// One for each item.
    matchers: Vec<Matcher>,
    canonical: String,
    /// The object of a `$or` that it stands in; 0 outside.
    branch: usize,
}

impl<'n, 't> Walk<'n, 't> {
    /// Recurses at most `DEPTH_MAX` deep, as deep as the tree.
    fn object(
        &mut self,
        alternatives: &mut Vec<Alternative>,
        path: Option<&str>,
        members: &'n [Member<'t>],
        branch: usize,
    ) {
        for member in members {
            if member.name == "$or" {
                let mut before = std::mem::take(alternatives);
                if before.is_empty() {
                    before.push(Alternative::new());
                }
                for item in items(&member.value) {
                    self.branches += 1;
                    let mut forked = before.clone();
                    self.object(&mut forked, path, self::members(item), self.branches);
                    alternatives.append(&mut forked);
                }
                continue;
            }
            let below = match path {
                Some(path) => format!("{path}.{}", member.name),
                None => member.name.to_string(),
            };
            match &member.value.kind {
                NodeKind::Object(members) => {
                    self.object(alternatives, Some(&below), members, branch);
                }
                _ => self.condition(alternatives, below.into(), member, branch),
            }
        }
    }

    fn condition(
        &mut self,
        alternatives: &mut Vec<Alternative>,
        path: Rc<str>,
        member: &'n Member<'t>,
        branch: usize,
    ) {
        let items = items(&member.value);
        let mut matchers = Vec::new();
        for item in items {
            operators::item(&mut matchers, item, &path, &mut Nothing).expect("it was read before");
        }
        assert_eq!(matchers.len(), items.len());
        if alternatives.is_empty() {
            alternatives.push(Alternative::new());
        }
        let this = self.conditions.len();
        let mut earlier = None;
        for alternative in alternatives {
            earlier = earlier.or(alternative.insert(Rc::clone(&path), this));
        }
        let canonical = set(items.iter().map(|item| canonical_of(item, false)).collect());
        // To say the same twice does no harm.
        self.replaced.extend(
            earlier
                .filter(|earlier| self.conditions[*earlier].canonical != canonical)
                .map(|earlier| (this, earlier)),
        );
        self.conditions.push(Condition {
            path,
            name: member.name_start..member.name_end,
            list: member.value.start..member.value.end,
            items,
            matchers,
            canonical,
            branch,
        });
    }

    /// What is to be said of the alternatives together.
    fn lint_whole(&self, root: &Node<'_>, warnings: &mut Vec<Diagnostic>) {
        let mut warn = |code, message: String, help: &str| {
            warnings.push(Diagnostic {
                code,
                message,
                span: root.start..root.end,
                path: String::new(),
                help: Some(help.to_owned()),
            });
        };
        let of = |alternative: &Alternative| -> Vec<&Condition<'_, '_>> {
            alternative
                .values()
                .map(|at| &self.conditions[*at])
                .collect()
        };
        let possible: Vec<_> = self
            .alternatives
            .iter()
            .map(of)
            .filter(|conditions| !conditions.iter().any(|it| it.is_impossible()))
            .collect();
        if possible.is_empty() {
            warn(
                IMPOSSIBLE_PATTERN,
                "no event matches this pattern".to_owned(),
                "mend the conditions of it that are impossible",
            );
        }
        let everything = possible
            .iter()
            .any(|conditions| conditions.iter().all(|it| it.is_always_met()));
        if everything {
            warn(
                MATCHES_EVERYTHING,
                "every event on the bus matches this pattern".to_owned(),
                "if that is wanted, allow this warning in the rule",
            );
        } else if possible
            .iter()
            .any(|conditions| !conditions.iter().any(|it| it.narrows()))
        {
            warn(
                COSTLY,
                "nothing here asks for a value, so every event is tried against it".to_owned(),
                "name a `source` or a `detail-type` as well",
            );
        }
        let count = self.alternatives.len();
        if ALTERNATIVES_MANY < count {
            warn(
                COSTLY,
                format!(
                    "its `$or`s multiply to {count} alternatives, each kept and tried by itself"
                ),
                "list the values of one member in one array, or write several rules",
            );
        }
    }
}

impl Condition<'_, '_> {
    /// What is to be said of it alone.
    fn lint(&self, warnings: &mut Vec<Diagnostic>) {
        let path = &self.path;
        let place = Place::of(path);
        let mut warn = |code, span: ops::Range<usize>, message: String, help: Option<&str>| {
            warnings.push(Diagnostic {
                code,
                message,
                span,
                path: path.to_string(),
                help: help.map(str::to_owned),
            });
        };
        if place == Place::Nothing && self.is_impossible() {
            let help = match &**path {
                "detail" => "`detail` is an object: name a member of it",
                _ => {
                    "the members are version, id, detail-type, source, account, time, region, \
                     resources, detail; what a producer writes lies below detail"
                }
            };
            let message = format!("no event has a value at `{path}`");
            warn(IMPOSSIBLE_VALUE, self.name.clone(), message, Some(help));
        } else {
            for (item, matcher) in self.items.iter().zip(&self.matchers) {
                if let Some((code, message)) = impossible(matcher, place, path) {
                    warn(code, item.start..item.end, message, None);
                }
            }
        }
        if 2 <= self.matchers.len() {
            let message = if takes_all(&self.matchers, place) {
                Some("these items together take every value: what one leaves out, another takes")
            } else if takes_all_numbers(&self.matchers) {
                Some("these ranges together take every number")
            } else {
                None
            };
            if let Some(message) = message {
                let help = "items of a list are joined by OR; for AND write one item, such as \
                            {\"anything-but\": [\"a\", \"b\"]} or {\"numeric\": [\">\", 0, \"<\", 5]}";
                warn(
                    EXCLUDES_NOTHING,
                    self.list.clone(),
                    message.into(),
                    Some(help),
                );
            }
        }
        if COMPLEXITY_MAX < complexity(&operators::wildcards(self.items), COMPLEXITY_MAX) {
            let message = format!("AWS refuses this: {}", Reason::TooComplex);
            warn(TOO_COMPLEX_FOR_AWS, self.list.clone(), message, None);
        }
    }

    /// The warning that it replaces `earlier`.
    fn replaces(&self, earlier: &Condition<'_, '_>) -> Diagnostic {
        let path = &self.path;
        let (code, message, help) = if self.branch == earlier.branch {
            (
                DUPLICATE_MEMBER,
                format!("a second condition on `{path}`: it replaces the first"),
                "list all values in one array",
            )
        } else {
            (
                OVERWRITTEN_BY_OR,
                format!(
                    "a second condition on `{path}`, and a `$or` between the two: where both \
                     would hold, only this one does"
                ),
                "write the condition in each member of the `$or`, and not outside",
            )
        };
        Diagnostic {
            code,
            message,
            span: self.name.clone(),
            path: path.to_string(),
            help: Some(help.to_owned()),
        }
    }

    /// No event meets it.
    fn is_impossible(&self) -> bool {
        let place = Place::of(&self.path);
        let mut matchers = self.matchers.iter();
        matchers.all(|matcher| impossible(matcher, place, &self.path).is_some())
    }

    /// Every event meets it.
    fn is_always_met(&self) -> bool {
        let absent = self.matchers.iter().any(|it| matches!(it, Matcher::Absent));
        let place = Place::of(&self.path);
        match place {
            Place::Nothing => absent,
            Place::Text(_) => takes_all(&self.matchers, place),
            Place::Texts | Place::Anything => absent && takes_all(&self.matchers, place),
        }
    }

    /// It holds for few events, as far as one can say without seeing them.
    fn narrows(&self) -> bool {
        let wide = |matcher: &Matcher| match matcher {
            Matcher::Exists
            | Matcher::Absent
            | Matcher::AnythingBut(_)
            | Matcher::AnythingButNumbers(_) => true,
            Matcher::Text(text) => asks_little(text),
            _ => false,
        };
        let place = Place::of(&self.path);
        let possible = |matcher: &&Matcher| impossible(matcher, place, &self.path).is_none();
        !self.matchers.iter().filter(possible).any(wide) && !self.is_always_met()
    }
}

/// What may stand at a path in an event of a bus. Source: event-patterns.md 8; `replay-name` is
/// there on what an archive replays.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// No value, ever.
    Nothing,
    /// One string, always; and which, if it is always the same.
    Text(Option<&'static str>),
    /// Any number of strings.
    Texts,
    /// Whatever a producer writes.
    Anything,
}

impl Place {
    fn of(path: &str) -> Place {
        match path {
            "version" => Place::Text(Some("0")),
            "id" | "detail-type" | "source" | "account" | "time" | "region" => Place::Text(None),
            "resources" | "replay-name" => Place::Texts,
            _ if path.starts_with("detail.") => Place::Anything,
            _ => Place::Nothing,
        }
    }
}

/// Why no event meets a condition of this one matcher.
fn impossible(matcher: &Matcher, place: Place, path: &str) -> Option<(&'static str, String)> {
    let message = match (place, matcher) {
        (_, Matcher::Numeric(range)) if is_empty(*range) => {
            let message = "no number lies in this range".to_owned();
            return Some((EMPTY_RANGE, message));
        }
        (Place::Nothing, Matcher::Absent) => return None,
        (Place::Nothing, _) => format!("no event has a value at `{path}`"),
        (Place::Text(_), Matcher::Absent) => format!("every event has a `{path}`"),
        (Place::Text(Some(text)), _) => {
            if matcher.holds(&Value::String(text.into())) {
                return None;
            }
            format!("`{path}` is always \"{text}\"")
        }
        (
            Place::Text(None) | Place::Texts,
            Matcher::Number(..)
            | Matcher::True
            | Matcher::False
            | Matcher::Null
            | Matcher::Numeric(_),
        ) => format!("`{path}` holds strings only"),
        (Place::Text(None) | Place::Texts, Matcher::AnythingBut(texts))
            if texts.iter().any(takes_all_texts) =>
        {
            format!("every string is excluded, and `{path}` holds strings only")
        }
        _ => return None,
    };
    Some((IMPOSSIBLE_VALUE, message))
}

/// Every double is some number of some event, so that trying the lowest one suffices.
fn is_empty(range: Range) -> bool {
    let lowest = match range.bottom {
        None => f64::MIN,
        Some(bottom) if bottom.inclusive => bottom.number,
        Some(bottom) => bottom.number.next_up(),
    };
    !lowest.is_finite() || !Matcher::Numeric(range).holds(&Value::Number("", Some(lowest)))
}

/// Each value that may stand there satisfies one of the matchers, as far as that is easily seen.
fn takes_all(matchers: &[Matcher], place: Place) -> bool {
    let all_of = |which: usize| {
        let others = || {
            let others = matchers.iter().enumerate();
            others.filter(move |(other, _)| *other != which)
        };
        match &matchers[which] {
            Matcher::Exists => true,
            Matcher::AnythingBut(texts) => texts
                .iter()
                .all(|text| others().any(|(_, other)| takes(other, text))),
            // Where only strings are, no number is to be excluded.
            Matcher::AnythingButNumbers(_) if matches!(place, Place::Text(_) | Place::Texts) => {
                true
            }
            Matcher::AnythingButNumbers(numbers) => numbers.iter().all(|number| {
                let value = Value::Number("", Some(*number));
                others().any(|(_, other)| other.holds(&value))
            }),
            Matcher::Text(text) => match place {
                Place::Text(Some(value)) => matchers[which].holds(&Value::String(value.into())),
                Place::Text(None) | Place::Texts => takes_all_texts(text),
                Place::Nothing | Place::Anything => false,
            },
            _ => false,
        }
    };
    (0..matchers.len()).any(all_of)
}

/// Two half-open ranges that meet or overlap.
fn takes_all_numbers(matchers: &[Matcher]) -> bool {
    let ranges = || {
        matchers.iter().filter_map(|matcher| match matcher {
            Matcher::Numeric(range) => Some(range),
            _ => None,
        })
    };
    let below = ranges()
        .filter(|it| it.bottom.is_none())
        .filter_map(|it| it.top);
    let above = || {
        ranges()
            .filter(|it| it.top.is_none())
            .filter_map(|it| it.bottom)
    };
    let mut pairs = below.flat_map(|top| above().map(move |bottom| (bottom, top)));
    pairs.any(|(bottom, top)| {
        bottom.number < top.number
            || (bottom.number == top.number && (bottom.inclusive || top.inclusive))
    })
}

/// Each string that `text` takes satisfies `matcher`, as far as that is easily seen.
fn takes(matcher: &Matcher, text: &TextMatcher) -> bool {
    if let TextMatcher::Exactly(text) = text {
        return matcher.holds(&Value::String((&**text).into()));
    }
    match matcher {
        Matcher::AnythingButNumbers(_) => true,
        Matcher::AnythingBut(others) => others.iter().all(|other| disjoint(text, other)),
        Matcher::Text(other) => match (text, other) {
            (TextMatcher::Prefix(text), TextMatcher::Prefix(other)) => text.starts_with(&**other),
            (TextMatcher::Suffix(text), TextMatcher::Suffix(other)) => text.ends_with(&**other),
            _ => takes_all_texts(other),
        },
        _ => false,
    }
}

/// No string satisfies both, as far as that is easily seen.
fn disjoint(a: &TextMatcher, b: &TextMatcher) -> bool {
    match (a, b) {
        (TextMatcher::Exactly(text), other) | (other, TextMatcher::Exactly(text)) => {
            !Matcher::Text(other.clone()).holds(&Value::String((&**text).into()))
        }
        (TextMatcher::Prefix(a), TextMatcher::Prefix(b)) => {
            !a.starts_with(&**b) && !b.starts_with(&**a)
        }
        (TextMatcher::Suffix(a), TextMatcher::Suffix(b)) => {
            !a.ends_with(&**b) && !b.ends_with(&**a)
        }
        _ => false,
    }
}

fn takes_all_texts(text: &TextMatcher) -> bool {
    longest_piece(text) == Some(0)
}

fn asks_little(text: &TextMatcher) -> bool {
    longest_piece(text).is_some_and(|bytes| bytes < PIECE_BYTES_MIN)
}

/// Bytes of the longest literal that a text must hold somewhere, no matter where; `None` where it
/// matters.
fn longest_piece(text: &TextMatcher) -> Option<usize> {
    match text {
        TextMatcher::Prefix(text) | TextMatcher::Suffix(text) if text.is_empty() => Some(0),
        TextMatcher::PrefixIgnoreCase(Folded::Ascii(text))
        | TextMatcher::SuffixIgnoreCase(Folded::Ascii(text))
            if text.is_empty() =>
        {
            Some(0)
        }
        TextMatcher::Wildcard(Wildcard::Pieces {
            first,
            between,
            last,
        }) if first.is_empty() && last.is_empty() => {
            let lengths = between.iter().map(|piece| piece.needle().len());
            Some(lengths.max().unwrap_or(0))
        }
        _ => None,
    }
}

/// An item without what makes no difference. What `anything-but` lists is a set.
fn canonical_of(node: &Node<'_>, in_set: bool) -> String {
    match &node.kind {
        NodeKind::Object(members) => {
            let members = members.iter().map(|member| {
                let in_set = in_set || member.name == "anything-but";
                let value = canonical_of(&member.value, in_set);
                format!("{:?}:{value}", member.name)
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        NodeKind::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| canonical_of(item, in_set))
                .collect();
            match in_set {
                true => set(items),
                false => format!("[{}]", items.join(",")),
            }
        }
        NodeKind::String(text) => format!("{text:?}"),
        // The sign keeps apart what only looks like a double.
        NodeKind::Number(text) => comparable(text).map_or(format!("={text}"), |it| it.to_string()),
        NodeKind::True => "true".to_owned(),
        NodeKind::False => "false".to_owned(),
        NodeKind::Null => "null".to_owned(),
    }
}

/// A list whose order and repeats make no difference; of one item, the item.
fn set(mut items: Vec<String>) -> String {
    items.sort_unstable();
    items.dedup();
    match items.as_slice() {
        [item] => item.clone(),
        _ => format!("[{}]", items.join(",")),
    }
}

/// The members of a node that a valid pattern has as an object.
fn members<'n, 't>(node: &'n Node<'t>) -> &'n [Member<'t>] {
    match &node.kind {
        NodeKind::Object(members) => members,
        _ => unreachable!("the pattern was read before"),
    }
}

/// The items of a node that a valid pattern has as an array.
fn items<'n, 't>(node: &'n Node<'t>) -> &'n [Node<'t>] {
    match &node.kind {
        NodeKind::Array(items) => items,
        _ => unreachable!("the pattern was read before"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes of a pattern, each with the text under it.
    #[track_caller]
    fn check(pattern: &str, expected: &[(&str, &str)]) {
        let warnings = lint(pattern).unwrap();
        let found: Vec<(&str, &str)> = warnings
            .iter()
            .map(|warning| (warning.code, &pattern[warning.span.clone()]))
            .collect();
        assert_eq!(found, expected, "{pattern}");
        assert!(warnings.iter().all(|warning| CODES.contains(&warning.code)));
    }

    /// A pattern that nothing matches, and why.
    #[track_caller]
    fn check_impossible(pattern: &str, code: &str, under: &str) {
        check(pattern, &[(IMPOSSIBLE_PATTERN, pattern), (code, under)]);
    }

    #[test]
    fn a_value_that_the_envelope_never_has_is_impossible() {
        let check = |pattern: &str, under: &str| {
            check_impossible(pattern, IMPOSSIBLE_VALUE, under);
        };
        check(r#"{"source":[1]}"#, "1");
        check(r#"{"account":[123456789012]}"#, "123456789012");
        check(r#"{"time":[null]}"#, "null");
        check(r#"{"region":[true]}"#, "true");
        check(r#"{"id":[false]}"#, "false");
        check(r#"{"resources":[7]}"#, "7");
        let older = r#"{"numeric":["<",5]}"#;
        check(&format!(r#"{{"time":[{older}]}}"#), older);
        check(r#"{"version":["1"]}"#, r#""1""#);
        check(
            r#"{"version":[{"anything-but":"0"}]}"#,
            r#"{"anything-but":"0"}"#,
        );
        check(r#"{"source":[{"exists":false}]}"#, r#"{"exists":false}"#);
        let none = r#"{"anything-but":{"wildcard":"*"}}"#;
        check(&format!(r#"{{"detail-type":[{none}]}}"#), none);
        check(&format!(r#"{{"resources":[{none}]}}"#), none);
        check(r#"{"detail_type":["a"]}"#, r#""detail_type""#);
        check(r#"{"detail":["a"]}"#, r#""detail""#);
        check(r#"{"detail":[{"exists":true}]}"#, r#""detail""#);
        check(r#"{"source":{"name":["a","b"]}}"#, r#""name""#);
        check(r#"{"resources":{"arn":["a"]}}"#, r#""arn""#);
    }

    #[test]
    fn a_value_that_the_envelope_may_have_is_not() {
        for pattern in [
            r#"{"version":["0"]}"#,
            r#"{"account":["not twelve digits"]}"#,
            r#"{"resources":[{"exists":false},"a"]}"#,
            r#"{"replay-name":["a"]}"#,
            r#"{"detail":{"":[1,null,true,{"exists":false}]}}"#,
            r#"{"detail.a":[{"anything-but":{"wildcard":"*"}}]}"#,
            r#"{"source":[{"anything-but":[1]}]}"#,
            r#"{"sources":[{"exists":false}]}"#,
        ] {
            for warning in lint(pattern).unwrap() {
                assert!(
                    [COSTLY, MATCHES_EVERYTHING].contains(&warning.code),
                    "{warning:?}"
                );
            }
        }
    }

    #[test]
    fn a_range_without_a_number_is_empty() {
        let check = |range: &str| {
            let item = format!(r#"{{"numeric":{range}}}"#);
            let pattern = format!(r#"{{"detail":{{"n":[{item}]}}}}"#);
            check_impossible(&pattern, EMPTY_RANGE, &item);
        };
        check(r#"[">",1,"<",1.0000000000000002]"#);
        check(r#"[">",0,"<",4.9e-324]"#);
        check(r#"[">",1.7976931348623157e308]"#);
        check(r#"["<",-1.7976931348623157e308]"#);
        for range in [
            r#"[">",1,"<=",1.0000000000000002]"#,
            r#"[">=",1,"<",1.0000000000000002]"#,
            r#"[">=",1.7976931348623157e308]"#,
            r#"["=",-1.7976931348623157e308]"#,
            r#"[">",0,"<",9.9e-324]"#,
        ] {
            let pattern = format!(r#"{{"detail":{{"n":[{{"numeric":{range}}}]}}}}"#);
            super::tests::check(&pattern, &[]);
        }
    }

    #[test]
    fn one_impossible_alternative_does_not_make_the_pattern_impossible() {
        check(r#"{"source":["a",1]}"#, &[(IMPOSSIBLE_VALUE, "1")]);
        check(
            r#"{"$or":[{"source":[1]},{"source":["a"]}]}"#,
            &[(IMPOSSIBLE_VALUE, "1")],
        );
        let pattern = r#"{"detail":{"a":[1]},"$or":[{"source":[1]},{"time":[2]}]}"#;
        check(
            pattern,
            &[
                (IMPOSSIBLE_PATTERN, pattern),
                (IMPOSSIBLE_VALUE, "1"),
                (IMPOSSIBLE_VALUE, "2"),
            ],
        );
        // What is impossible here was replaced.
        check(
            r#"{"source":[1],"source":["a"]}"#,
            &[(IMPOSSIBLE_VALUE, "1"), (DUPLICATE_MEMBER, r#""source""#)],
        );
    }

    #[test]
    fn a_condition_that_or_overwrites_is_found() {
        let or = [(OVERWRITTEN_BY_OR, r#""a""#)];
        check(r#"{"detail":{"a":[1],"$or":[{"a":[2]},{"b":[3]}]}}"#, &or);
        check(r#"{"detail":{"$or":[{"a":[2]},{"b":[3]}],"a":[1]}}"#, &or);
        check(
            r#"{"detail.a":[1],"$or":[{"detail":{"a":[2]}},{"source":["s"]}]}"#,
            &or,
        );
        check(
            r#"{"detail":{"$or":[{"a":[1]},{"b":[1]}],"$or":[{"a":[2]},{"c":[3]}]}}"#,
            &or,
        );
        check(
            r#"{"detail":{"$or":[{"a":[1],"$or":[{"a":[2]},{"b":[3]}]},{"c":[1]}]}}"#,
            &or,
        );
        check(r#"{"detail":{"$or":[{"a":[1]},{"a":[2]}]}}"#, &[]);
        // The same again does no harm.
        check(
            r#"{"detail":{"a":[1],"$or":[{"a":[1.0],"b":[2]},{"c":[3]}]}}"#,
            &[],
        );
    }

    #[test]
    fn a_condition_that_another_replaces_is_found() {
        let a = [(DUPLICATE_MEMBER, r#""a""#)];
        check(r#"{"detail":{"a":[1],"a":[2]}}"#, &a);
        check(r#"{"detail.a":[1],"detail":{"a":[2]}}"#, &a);
        check(
            r#"{"detail":{"a":[1]},"detail.a":[2]}"#,
            &[(DUPLICATE_MEMBER, r#""detail.a""#)],
        );
        check(r#"{"detail":{"a":[1,2],"a":[2,1]}}"#, &[]);
        check(r#"{"detail":{"$or":[{"a":[1],"a":[2]},{"b":[1]}]}}"#, &a);
    }

    #[test]
    fn items_that_exclude_each_other_take_everything() {
        let found = |path: &str, list: &str| {
            let pattern = format!(r#"{{"source":["s"],"{path}":{list}}}"#);
            let warnings = lint(&pattern).unwrap();
            warnings.iter().any(|warning| {
                assert!([EXCLUDES_NOTHING, DUPLICATE_MEMBER].contains(&warning.code));
                assert!(warning.code != EXCLUDES_NOTHING || pattern[warning.span.clone()] == *list);
                warning.code == EXCLUDES_NOTHING
            })
        };
        for list in [
            r#"[{"anything-but":"a"},{"anything-but":"b"}]"#,
            r#"[{"anything-but":"a"},"a"]"#,
            r#"[{"anything-but":["ax","ay"]},{"prefix":"a"}]"#,
            r#"[{"prefix":"a"},{"anything-but":{"prefix":"ab"}}]"#,
            r#"[{"suffix":"a"},{"anything-but":{"suffix":"ba"}}]"#,
            r#"[{"anything-but":{"prefix":"a"}},{"anything-but":{"prefix":["b","c"]}}]"#,
            r#"[{"anything-but":{"suffix":"a"}},{"anything-but":{"suffix":"b"}}]"#,
            r#"[{"anything-but":{"suffix":"a"}},{"anything-but":"b"}]"#,
            r#"[{"anything-but":[1,2]},{"numeric":[">",0]}]"#,
            r#"[{"anything-but":[1]},{"anything-but":["1"]}]"#,
            r#"[{"exists":true},"a"]"#,
            r#"[{"exists":true},{"exists":false}]"#,
            r#"[{"numeric":["<",5]},{"numeric":[">",3]}]"#,
            r#"[{"numeric":[">",5]},{"numeric":["<=",5]}]"#,
        ] {
            assert!(found("detail.a", list), "{list}");
        }
        for list in [
            r#"[{"anything-but":["a","b"]}]"#,
            r#"[{"exists":false},{"anything-but":"a"}]"#,
            r#"[{"anything-but":["ax","b"]},{"prefix":"a"}]"#,
            r#"[{"prefix":"ab"},{"anything-but":{"prefix":"a"}}]"#,
            r#"[{"anything-but":{"prefix":"a"}},{"anything-but":{"prefix":["b","ac"]}}]"#,
            r#"[{"anything-but":{"prefix":"a"}},{"anything-but":{"suffix":"b"}}]"#,
            r#"[{"anything-but":[1,-2]},{"numeric":[">",0]}]"#,
            r#"[{"numeric":["<",5]},{"numeric":[">",5]}]"#,
            r#"[{"numeric":["<",3]},{"numeric":[">",5]}]"#,
            r#"[{"prefix":""},"a"]"#,
        ] {
            assert!(!found("detail.a", list), "{list}");
        }
        assert!(found("detail-type", r#"[{"prefix":""},"a"]"#));
        assert!(found("detail-type", r#"[{"anything-but":[1]},"a"]"#));
        assert!(!found("version", r#"["0"]"#));
    }

    #[test]
    fn a_pattern_of_everything_is_found() {
        for pattern in [
            r#"{"source":[{"prefix":""}]}"#,
            r#"{"source":[{"suffix":""}]}"#,
            r#"{"source":[{"prefix":{"equals-ignore-case":""}}]}"#,
            r#"{"source":[{"wildcard":"*"}],"version":["0"]}"#,
            r#"{"account":[{"exists":true}]}"#,
            r#"{"nonesuch":[{"exists":false}]}"#,
            r#"{"detail":[{"exists":false}]}"#,
            r#"{"$or":[{"source":["a"]},{"version":["0"]}]}"#,
        ] {
            check(pattern, &[(MATCHES_EVERYTHING, pattern)]);
        }
        let pattern = r#"{"detail":{"a":[{"exists":true},{"exists":false}]}}"#;
        let list = r#"[{"exists":true},{"exists":false}]"#;
        check(
            pattern,
            &[(MATCHES_EVERYTHING, pattern), (EXCLUDES_NOTHING, list)],
        );
        check(r#"{"source":[{"prefix":""}],"detail":{"a":[1]}}"#, &[]);
    }

    #[test]
    fn a_pattern_that_asks_for_no_value_is_costly() {
        for pattern in [
            r#"{"detail":{"a":[{"exists":false}]}}"#,
            r#"{"detail":{"a":[{"exists":true}]}}"#,
            r#"{"source":[{"anything-but":["a"]}]}"#,
            r#"{"detail":{"a":[{"anything-but":[1]}]},"source":[{"prefix":""}]}"#,
            r#"{"source":[{"wildcard":"*ab*"}]}"#,
            r#"{"$or":[{"source":["a"]},{"detail":{"a":[{"exists":true}]}}]}"#,
        ] {
            check(pattern, &[(COSTLY, pattern)]);
        }
        check(r#"{"source":[{"wildcard":"*abc*"}]}"#, &[]);
        check(r#"{"source":[{"wildcard":"a*"}]}"#, &[]);
        // What is impossible widens nothing.
        let absent = r#"{"exists":false}"#;
        check(
            &format!(r#"{{"source":["a",{absent}]}}"#),
            &[(IMPOSSIBLE_VALUE, absent)],
        );
        check(r#"{"source":["a"],"detail":{"a":[{"exists":false}]}}"#, &[]);
    }

    #[test]
    fn many_alternatives_are_costly() {
        let fork = |names: &str, count| {
            let objects: Vec<String> = (0..count)
                .map(|n| format!(r#"{{"{names}{n}":[1]}}"#))
                .collect();
            format!(r#""$or":[{}]"#, objects.join(","))
        };
        let pattern = |a, b| format!(r#"{{"detail":{{{},{}}}}}"#, fork("a", a), fork("b", b));
        check(&pattern(10, 10), &[]);
        let many = pattern(10, 11);
        check(&many, &[(COSTLY, &many)]);
        assert!(lint(&many).unwrap()[0].message.contains("110"));
    }

    #[test]
    fn wildcards_beyond_the_services_limit_are_told() {
        let list = r#"[{"wildcard":"*:*:*:*:*:event-bus/*"}]"#;
        check(
            &format!(r#"{{"source":{list}}}"#),
            &[(TOO_COMPLEX_FOR_AWS, list)],
        );
        check(
            r#"{"source":[{"wildcard":"/Users/*/dir/dir/dir/dir/dir/doc.txt"}]}"#,
            &[],
        );
    }

    #[test]
    fn a_pattern_that_is_not_valid_is_an_error() {
        assert_eq!(
            lint("{}").unwrap_err().to_string(),
            "Empty objects are not allowed"
        );
        assert!(canonical(r#"{"a":1}"#).is_err());
    }

    #[test]
    fn patterns_that_say_the_same_are_one() {
        let same = |a: &str, b: &str| canonical(a).unwrap() == canonical(b).unwrap();
        for (a, b) in [
            (
                r#"{"a":[1,"x"],"b":[2]}"#,
                r#"{ "b": [2.0], "a": ["\u0078", 1e0, 1] }"#,
            ),
            (r#"{"a":{"b":[1]}}"#, r#"{"a.b":[1]}"#),
            (r#"{"a":[2],"a":[1]}"#, r#"{"a":[1]}"#),
            (
                r#"{"c":[0],"$or":[{"a":[1]},{"b":[1]}]}"#,
                r#"{"$or":[{"b":[1]},{"a":[1]}],"c":[0]}"#,
            ),
            (
                r#"{"a":[{"anything-but":["x"]}]}"#,
                r#"{"a":[{"anything-but":"x"}]}"#,
            ),
            (
                r#"{"a":[{"anything-but":{"prefix":["x","y"]}}]}"#,
                r#"{"a":[{"anything-but":{"prefix":["y","x"]}}]}"#,
            ),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            (r#"{"a":[1]}"#, r#"{"a":["1"]}"#),
            (r#"{"a":[true]}"#, r#"{"a":["true"]}"#),
            (r#"{"a":[1],"b":[2]}"#, r#"{"$or":[{"a":[1]},{"b":[2]}]}"#),
            (r#"{"a":[5e-324]}"#, r#"{"a":[4.9e-324]}"#),
            (r#"{"a":["x","y"]}"#, r#"{"a":["x\",\"y"]}"#),
            (
                r#"{"a":[{"numeric":[">",1,"<",2]}]}"#,
                r#"{"a":[{"numeric":[">=",1,"<",2]}]}"#,
            ),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    /// What a pattern's own reader makes of it, against the walk of this file.
    #[test]
    fn both_walks_come_to_the_same_alternatives() {
        let mut count = 0;
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fixtures/patterns/pairs.jsonl"
        );
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["p"].as_str().unwrap();
            let Ok(pattern) = Pattern::parse(text) else {
                continue;
            };
            let expected: Vec<BTreeMap<String, String>> = pattern
                .alternatives()
                .iter()
                .map(|alternative| {
                    let leaves = alternative.leaves.iter();
                    leaves
                        .map(|leaf| (leaf.path.clone(), format!("{:?}", leaf.matchers)))
                        .collect()
                })
                .collect();
            let found: Vec<BTreeMap<String, String>> = with_walk(text, |walk, _| {
                let of = |(path, at): (&Rc<str>, &usize)| {
                    let condition = &walk.conditions[*at];
                    assert_eq!(*path, condition.path);
                    (path.to_string(), format!("{:?}", condition.matchers))
                };
                let alternatives = walk.alternatives.iter();
                alternatives.map(|it| it.iter().map(of).collect()).collect()
            })
            .unwrap();
            assert_eq!(found, expected, "{text}");
            count += 1;
        }
        assert!(10_000 < count, "{count}");
    }
}
