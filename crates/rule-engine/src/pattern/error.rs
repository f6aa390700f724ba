//! Why a pattern was turned down, in the words of the service (event-patterns.md 5.2).
//!
//! The texts are a contract: `Display` gives them letter for letter, slips included. What we
//! have to add for people is in [`PatternError::help`], and where to look in
//! [`PatternError::span`].

use std::fmt;
use std::ops::Range;

use crate::json::{self, JsonErrorKind};
use crate::words;

/// A refusal: the reason, and its place in the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    reason: Reason,
    span: Range<usize>,
    path: String,
}

/// What is wrong with a pattern. `Display` is what the service writes behind
/// `Event pattern is not valid. Reason: `, its first line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the text of each says it")]
pub enum Reason {
    #[error(
        "Unrecognized token '{token}': was expecting (JSON String, Number, Array, Object or token \
         'null', 'true' or 'false')"
    )]
    Token { token: String },
    /// Not JSON in another way; the words are ours.
    #[error("Not a JSON text: {0}")]
    Json(JsonErrorKind),
    #[error("Filter is not an object")]
    NotAnObject,
    #[error("Empty objects are not allowed")]
    EmptyObject,
    #[error("Empty arrays are not allowed")]
    EmptyArray,
    #[error("\"{name}\" must be an object or an array")]
    NotAContainer { name: String },
    #[error("Match value must be String, number, true, false, or null")]
    ArrayInLeaf,
    #[error("Match expression name not found")]
    NoOperator,
    #[error("Unrecognized match type {operator}")]
    UnknownOperator { operator: String },
    #[error("Only one key allowed in match expression")]
    SecondOperator,
    /// A filter that the caller added; the words are its own.
    #[error("{text}")]
    Added { text: String },
    #[error("exact match pattern must be a string")]
    ExactlyNotString,
    #[error("prefix match pattern must be a string")]
    PrefixNotString,
    #[error("suffix match pattern must be a string")]
    SuffixNotString,
    #[error("Prefix expression name not found")]
    PrefixEmpty,
    #[error("Suffix expression name not found")]
    SuffixEmpty,
    #[error("Unsupported prefix pattern: {operator}")]
    PrefixUnknown { operator: String },
    #[error("Unsupported suffix pattern: {operator}")]
    SuffixUnknown { operator: String },
    #[error("equals-ignore-case match pattern must be a string")]
    IgnoreCaseNotString,
    #[error("exists match pattern must be either true or false.")]
    ExistsNotBoolean,
    #[error("wildcard match pattern must be a string")]
    WildcardNotString,
    #[error("Consecutive wildcard characters at pos {at}")]
    WildcardRun { at: usize },
    #[error("Invalid escape character at pos {at}")]
    WildcardEscape { at: usize },
    #[error("Value of numeric must be an array.")]
    NumericNotArray,
    #[error("Invalid member in numeric match: {found}")]
    NumericMember { found: String },
    #[error("Unrecognized numeric range operator: {found}")]
    NumericOperator { found: String },
    #[error("Value of {operator} must be numeric")]
    NumericOperand { operator: String },
    /// More after a single comparison, or a second member beside `numeric` or `anything-but`.
    #[error("Too many elements in numeric expression")]
    TooManyElements,
    #[error("Bad value in numeric range: {found}")]
    NumericTopValue { found: String },
    #[error("Bad numeric range operator: {found}")]
    NumericTopOperator { found: String },
    #[error("Too many terms in numeric range expression")]
    NumericTooMany,
    #[error("Bottom must be less than top")]
    NumericBottom,
    #[error("Cannot compare number : {number}")]
    NotComparable { number: String },
    #[error("Value of anything-but must be an array or single string/number value.")]
    AnythingButValue,
    #[error("Anything-But expression name not found")]
    AnythingButEmpty,
    #[error("Unsupported anything-but pattern: {operator}")]
    AnythingButUnknown { operator: String },
    #[error("Inside anything but list, start|null|boolean is not supported.")]
    AnythingButItem,
    #[error(
        "Inside anything but list, either all values are number or string, mixed type is not \
         supported"
    )]
    AnythingButMixed,
    #[error("prefix/suffix match pattern must be a string")]
    AnythingButAffixNotString,
    #[error("Null prefix/suffix not allowed")]
    AnythingButAffixEmpty,
    #[error(
        "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
    )]
    AnythingButIgnoreCase,
    /// The service says "prefix" here.
    #[error("prefix match pattern must be a string")]
    CidrNotString,
    #[error("Malformed CIDR, one '/' required")]
    CidrShape,
    #[error("Malformed CIDR, mask bits must be an integer")]
    CidrMask,
    #[error("Malformed CIDR, mask bits must not be negative")]
    CidrMaskNegative,
    #[error("Nonstandard IP address: {address}")]
    AddressShape { address: String },
    #[error("Invalid IP address: {address}")]
    AddressInvalid { address: String },
    #[error("{family} mask bits must be < {width}")]
    CidrMaskLong { family: &'static str, width: u32 },
    #[error("It must be an Array followed with $or.")]
    OrNotArray,
    #[error("Only JSON object is allowed in array of $or relationship.")]
    OrMember,
    #[error("There must have at least 2 Objects in $or relationship.")]
    OrTooFew,
    #[error("more than {max} rule combinations", max = super::ALTERNATIVES_MAX)]
    OrTooMany,
    #[error("{name} is Ruler reserved fieldName which cannot be used inside $or.")]
    OrReserved { name: String },
    #[error(
        "Rule is too complex - try using fewer wildcard characters or fewer repeating character \
         sequences after a wildcard character"
    )]
    TooComplex,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

// The text of the reason is the whole text, so it is no `source` beside it.
impl std::error::Error for PatternError {}

impl PatternError {
    pub(super) fn new(reason: Reason, span: Range<usize>, path: &str) -> PatternError {
        PatternError {
            reason,
            span,
            path: path.to_owned(),
        }
    }

    /// What is wrong.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The bytes of the pattern that are at fault; empty at the end of a text cut short.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Names from the root to the fault, joined with dots; empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What to try.
    pub fn help(&self) -> String {
        let text = match &self.reason {
            Reason::Token { .. } => "strings stand in double quotes",
            Reason::Json(kind) => json_help(kind),
            Reason::NotAnObject => "such as `{\"source\": [\"my.app\"]}`",
            Reason::EmptyObject => {
                "name a field and list its values; `{\"source\": [{\"prefix\": \"\"}]}` takes every event"
            }
            Reason::EmptyArray => "to ask that the field is there, write `[{\"exists\": true}]`",
            Reason::NotAContainer { .. } => "write the value in an array, such as `[\"value\"]`",
            Reason::ArrayInLeaf => "list the values in one array, it matches any of them",
            Reason::NoOperator => "such as `{\"prefix\": \"aws.\"}`",
            Reason::UnknownOperator { operator } => return suggest(operator, &OPERATORS),
            Reason::Added { .. } => "write it as the document of triggers says",
            Reason::SecondOperator => "write each operator as an object of its own in the array",
            Reason::ExactlyNotString | Reason::IgnoreCaseNotString => {
                "write a string; numbers, `true`, `false` and `null` stand in the array themselves"
            }
            Reason::PrefixNotString | Reason::SuffixNotString => {
                "write one string; for one of several write an operator for each, or compare \
                 numbers with `numeric`"
            }
            Reason::PrefixEmpty | Reason::SuffixEmpty => {
                "write a string, or `{\"equals-ignore-case\": \"text\"}`"
            }
            Reason::PrefixUnknown { .. } | Reason::SuffixUnknown { .. } => {
                "only `equals-ignore-case` may stand here"
            }
            Reason::ExistsNotBoolean => "`{\"exists\": true}` or `{\"exists\": false}`, unquoted",
            Reason::WildcardNotString => "write one string, such as `prod-*-eu`",
            Reason::WildcardRun { .. } => {
                "one `*` matches any run of characters; for an asterisk itself write `\\\\*`"
            }
            Reason::WildcardEscape { .. } => "in JSON write `\\\\*` or `\\\\\\\\`",
            Reason::NumericNotArray => "such as `{\"numeric\": [\">\", 0, \"<=\", 5]}`",
            Reason::NumericMember { .. } => {
                "the array begins with one of `=`, `<`, `<=`, `>`, `>=`, in quotes"
            }
            Reason::NumericOperator { found } => return comparison(found),
            Reason::NumericOperand { .. } => "write the number behind it, without quotes",
            Reason::TooManyElements => {
                "only `>` and `>=` take a second bound behind them, and only one operator stands \
                 in an object"
            }
            Reason::NumericTopValue { .. } | Reason::NumericTopOperator { .. } => {
                "a range is a lower bound, then `<` or `<=`: `[\">\", 0, \"<=\", 5]`"
            }
            Reason::NumericTooMany => "a range has two bounds; write a second range beside it",
            Reason::NumericBottom => "the lower bound comes first; a single number is `[\"=\", 5]`",
            Reason::NotComparable { .. } => "a number of at most 15 digits is always comparable",
            Reason::AnythingButValue => {
                "write a string, a number, or a list of either; that a field is there is \
                 `{\"exists\": true}`"
            }
            Reason::AnythingButEmpty => {
                "write what is excluded, such as `\"test\"` or `{\"prefix\": \"test-\"}`"
            }
            Reason::AnythingButUnknown { operator } => {
                return suggest(operator, &AFTER_ANYTHING_BUT);
            }
            Reason::AnythingButItem => "list strings alone or numbers alone",
            Reason::AnythingButMixed => {
                "two `anything-but` beside each other would match everything; exclude one type"
            }
            Reason::AnythingButAffixNotString | Reason::AnythingButIgnoreCase => {
                "write a string or a list of strings"
            }
            Reason::AnythingButAffixEmpty => {
                "every string begins and ends with the empty string; name at least one character"
            }
            Reason::CidrNotString | Reason::CidrShape => "such as `10.0.0.0/24`",
            Reason::CidrMask | Reason::CidrMaskNegative => {
                "bits are counted, not masked: `10.0.0.0/24`"
            }
            Reason::AddressShape { .. } | Reason::AddressInvalid { .. } => {
                "such as `10.0.0.0` or `2001:db8::`; names are not looked up"
            }
            Reason::CidrMaskLong { .. } => "for a single address write it as a plain string",
            Reason::OrNotArray | Reason::OrMember => {
                "such as `\"$or\": [{\"state\": [\"failed\"]}, {\"code\": [1]}]`"
            }
            Reason::OrTooFew => "with one object, write its members without `$or`",
            Reason::OrTooMany => "write several rules instead",
            Reason::OrReserved { .. } => "an operator belongs into the array of a field",
            Reason::TooComplex => {
                "use `prefix` or `suffix` where one asterisk stands at an end, or write several \
                 rules"
            }
        };
        text.to_owned()
    }

    /// A name for the kind of fault that stays the same between versions.
    pub fn code(&self) -> &'static str {
        match &self.reason {
            Reason::Token { .. } | Reason::Json(_) => "pattern::json",
            Reason::NotAnObject => "pattern::not_an_object",
            Reason::EmptyObject => "pattern::empty_object",
            Reason::EmptyArray => "pattern::empty_array",
            Reason::NotAContainer { .. } => "pattern::not_a_container",
            Reason::ArrayInLeaf => "pattern::array_in_leaf",
            Reason::NoOperator => "pattern::no_operator",
            Reason::UnknownOperator { .. } => "pattern::unknown_operator",
            Reason::SecondOperator => "pattern::second_operator",
            Reason::Added { .. } => "pattern::added",
            Reason::ExactlyNotString => "pattern::exactly",
            Reason::PrefixNotString | Reason::PrefixEmpty | Reason::PrefixUnknown { .. } => {
                "pattern::prefix"
            }
            Reason::SuffixNotString | Reason::SuffixEmpty | Reason::SuffixUnknown { .. } => {
                "pattern::suffix"
            }
            Reason::IgnoreCaseNotString => "pattern::equals_ignore_case",
            Reason::ExistsNotBoolean => "pattern::exists",
            Reason::WildcardNotString
            | Reason::WildcardRun { .. }
            | Reason::WildcardEscape { .. } => "pattern::wildcard",
            Reason::NumericNotArray
            | Reason::NumericMember { .. }
            | Reason::NumericOperator { .. }
            | Reason::NumericOperand { .. }
            | Reason::TooManyElements
            | Reason::NumericTopValue { .. }
            | Reason::NumericTopOperator { .. }
            | Reason::NumericTooMany
            | Reason::NumericBottom => "pattern::numeric",
            Reason::NotComparable { .. } => "pattern::not_comparable",
            Reason::AnythingButValue
            | Reason::AnythingButEmpty
            | Reason::AnythingButUnknown { .. }
            | Reason::AnythingButItem
            | Reason::AnythingButMixed
            | Reason::AnythingButAffixNotString
            | Reason::AnythingButAffixEmpty
            | Reason::AnythingButIgnoreCase => "pattern::anything_but",
            Reason::CidrNotString
            | Reason::CidrShape
            | Reason::CidrMask
            | Reason::CidrMaskNegative
            | Reason::AddressShape { .. }
            | Reason::AddressInvalid { .. }
            | Reason::CidrMaskLong { .. } => "pattern::cidr",
            Reason::OrNotArray
            | Reason::OrMember
            | Reason::OrTooFew
            | Reason::OrTooMany
            | Reason::OrReserved { .. } => "pattern::or",
            Reason::TooComplex => "pattern::too_complex",
        }
    }
}

/// A fault as tools show it: every part a plain value. Line and column come from the span and
/// the text: [`json::line_column`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// [`PatternError::code`].
    pub code: &'static str,
    /// The words of the service.
    pub message: String,
    /// Bytes of the pattern's text.
    pub span: Range<usize>,
    /// Names joined with dots; empty at the root.
    pub path: String,
    /// What to try.
    pub help: Option<String>,
}

impl From<&PatternError> for Diagnostic {
    fn from(error: &PatternError) -> Self {
        Diagnostic {
            code: error.code(),
            message: error.to_string(),
            span: error.span(),
            path: error.path.clone(),
            help: Some(error.help()),
        }
    }
}

impl Diagnostic {
    /// The message as it is, and on a line of its own where it is and what to try. `text` is
    /// the text that the span lies in.
    #[must_use]
    pub fn told(&self, text: &str) -> String {
        let (line, column) = json::line_column(text.as_bytes(), self.span.start);
        let mut told = format!("{}\n at line {line}, column {column}", self.message);
        if !self.path.is_empty() {
            told.push_str(&format!(", in `{}`", self.path));
        }
        if let Some(help) = &self.help {
            told.push_str(&format!(": {help}"));
        }
        told
    }
}

const OPERATORS: [&str; 9] = [
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
    "exactly",
];
const AFTER_ANYTHING_BUT: [&str; 4] = ["prefix", "suffix", "equals-ignore-case", "wildcard"];

/// What other languages call these, and what says it here.
const FOREIGN: [(&[&str], &str); 9] = [
    (
        &["equals", "eq", "is", "value"],
        "write the value itself: `[\"value\"]`",
    ),
    (
        &["in", "any-of", "one-of"],
        "list the values: `[\"one\", \"two\"]`",
    ),
    (
        &["not", "ne", "not-equals", "not-in"],
        "did you mean `anything-but`?",
    ),
    (&["starts-with", "begins-with"], "did you mean `prefix`?"),
    (&["ends-with"], "did you mean `suffix`?"),
    (
        &["contains", "like"],
        "did you mean `wildcard`, such as `{\"wildcard\": \"*text*\"}`?",
    ),
    (
        &["regex", "regexp", "matches"],
        "there are no regular expressions; `wildcard` takes `*` for any run of characters",
    ),
    (
        &[
            "=", "==", "<", "<=", ">", ">=", "gt", "gte", "lt", "lte", "between",
        ],
        "did you mean `numeric`, such as `{\"numeric\": [\">\", 0, \"<=\", 5]}`?",
    ),
    (&["ip", "ip-address", "subnet"], "did you mean `cidr`?"),
];

/// The operator that was probably meant, or all there are.
fn suggest(operator: &str, known: &[&str]) -> String {
    if let Some(name) = words::nearest(operator, known) {
        return format!("did you mean `{name}`?");
    }
    let foreign = FOREIGN
        .iter()
        .find(|(names, _)| names.iter().any(|name| words::same(operator, name)));
    // `anything-but` takes some of the operators only: there no other advice holds.
    match foreign {
        Some((_, advice)) if known.len() == OPERATORS.len() => (*advice).to_owned(),
        _ => format!("the operators are {}", known.join(", ")),
    }
}

/// The comparison that was probably meant, or all there are.
fn comparison(found: &str) -> String {
    let meant = match found {
        "==" | "===" | "eq" => "=",
        "=<" | "≤" | "lte" | "le" => "<=",
        "=>" | "≥" | "gte" | "ge" => ">=",
        "lt" => "<",
        "gt" => ">",
        "!=" | "<>" | "ne" => {
            return "all numbers but some are `{\"anything-but\": [5]}`".to_owned();
        }
        _ => return "one of `=`, `<`, `<=`, `>`, `>=`".to_owned(),
    };
    format!("did you mean `{meant}`?")
}

fn json_help(kind: &JsonErrorKind) -> &'static str {
    match kind {
        JsonErrorKind::End => "a bracket or a quote is not closed",
        JsonErrorKind::Unexpected => "look for a comma too many or too few before it",
        JsonErrorKind::Value => "a value is missing here; strings stand in double quotes",
        JsonErrorKind::Colon => "between a name and its value stands a colon",
        JsonErrorKind::Number => {
            "a number has no leading zeros, no `+` and a digit on each side of its point"
        }
        JsonErrorKind::Escape => "a backslash in a string is written twice",
        JsonErrorKind::Surrogate => {
            "characters beyond U+FFFF are written as two `\\u`, or as themselves"
        }
        JsonErrorKind::Control => "write it as an escape, such as `\\n`",
        JsonErrorKind::Utf8 => "save it as UTF-8",
        JsonErrorKind::Trailing => "a pattern is one object; take away what follows it",
        JsonErrorKind::NotAnObject => "a pattern is one object",
        JsonErrorKind::Depth(_) | JsonErrorKind::Names(_) => {
            "write nested names as one with dots: `{\"detail.state\": [\"failed\"]}`"
        }
    }
}
