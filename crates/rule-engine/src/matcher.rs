//! One item of a leaf against one value (event-patterns.md 3 and 4).
//!
//! Whether a field is there at all is not decided here: `Exists` holds for every value and
//! `Absent` for none, and `seats` knows when there is no value.

mod print;

use std::borrow::Cow;

use crate::address::{Address, Block};
use crate::fold::Folded;
use crate::number::comparable;
use crate::wildcard::Wildcard;

/// A scalar of an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'e> {
    String(Cow<'e, str>),
    /// The text as written, and its double where it is comparable.
    Number(&'e str, Option<f64>),
    True,
    False,
    Null,
    /// Elements of an array. Only where added filters are asked.
    Length(u64),
}

impl<'e> Value<'e> {
    pub(crate) fn number(text: &'e str) -> Value<'e> {
        Value::Number(text, comparable(text))
    }
}

/// One item of a leaf.
#[derive(Debug, Clone)]
pub(crate) enum Matcher {
    Text(TextMatcher),
    Number(Box<str>, Option<f64>),
    True,
    False,
    Null,
    Exists,
    Absent,
    Numeric(Range),
    /// A present value that is none of these; values of other types hold.
    AnythingButNumbers(Box<[f64]>),
    AnythingBut(Box<[TextMatcher]>),
    /// A filter that the caller reads and answers; by itself it is never met.
    Added {
        filter: u32,
        negated: bool,
    },
}

/// What can be asked of a string.
#[derive(Debug, Clone)]
pub(crate) enum TextMatcher {
    Exactly(Box<str>),
    Address(Address),
    Block(Block),
    Prefix(Box<str>),
    Suffix(Box<str>),
    PrefixIgnoreCase(Folded),
    SuffixIgnoreCase(Folded),
    EqualsIgnoreCase(Folded),
    Wildcard(Wildcard),
}

/// The numbers between two bounds; a missing bound bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) bottom: Option<Bound>,
    pub(crate) top: Option<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bound {
    pub(crate) number: f64,
    /// True when the number itself is inside.
    pub(crate) inclusive: bool,
}

impl Range {
    /// The number, if there is one inside alone.
    pub(crate) fn only(&self) -> Option<f64> {
        let (bottom, top) = (self.bottom?, self.top?);
        (bottom == top && bottom.inclusive).then_some(bottom.number)
    }

    pub(crate) fn holds(&self, number: f64) -> bool {
        let above = self.bottom.is_none_or(|bottom| {
            bottom.number < number || (bottom.inclusive && bottom.number == number)
        });
        let below = self
            .top
            .is_none_or(|top| number < top.number || (top.inclusive && top.number == number));
        above && below
    }
}

impl Matcher {
    pub(crate) fn holds(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Matcher::Exists, _) => true,
            (Matcher::Absent, _) => false,
            (Matcher::Text(text), Value::String(value)) => text.holds(value),
            (Matcher::Number(text, double), Value::Number(value, other)) => {
                **text == **value || (double.is_some() && double == other)
            }
            (Matcher::True, Value::True) => true,
            (Matcher::False, Value::False) => true,
            (Matcher::Null, Value::Null) => true,
            (Matcher::Numeric(range), Value::Number(_, Some(double))) => range.holds(*double),
            (Matcher::AnythingButNumbers(numbers), Value::Number(_, Some(double))) => {
                !numbers.contains(double)
            }
            (Matcher::AnythingBut(texts), Value::String(value)) => {
                !texts.iter().any(|text| text.holds(value))
            }
            // Of another type, hence none of them.
            (Matcher::AnythingButNumbers(_) | Matcher::AnythingBut(_), _) => true,
            (
                Matcher::Text(_)
                | Matcher::Number(..)
                | Matcher::True
                | Matcher::False
                | Matcher::Null
                | Matcher::Numeric(_)
                | Matcher::Added { .. },
                _,
            ) => false,
        }
    }
}

impl TextMatcher {
    fn holds(&self, value: &str) -> bool {
        match self {
            TextMatcher::Exactly(text) => **text == *value,
            TextMatcher::Address(address) => Address::parse(value) == Some(*address),
            TextMatcher::Block(block) => Address::parse(value).is_some_and(|it| block.holds(it)),
            TextMatcher::Prefix(text) => value.starts_with(&**text),
            TextMatcher::Suffix(text) => value.ends_with(&**text),
            TextMatcher::PrefixIgnoreCase(folded) => folded.begins(value),
            TextMatcher::SuffixIgnoreCase(folded) => folded.ends(value),
            TextMatcher::EqualsIgnoreCase(folded) => folded.equals(value),
            TextMatcher::Wildcard(wildcard) => wildcard.matches(value),
        }
    }
}
