//! Pairs of a pattern and an event, made from a seed.
//!
//! The event comes first and the pattern is built from its fields, so that most pairs match or
//! miss by little. Names and values are few and much alike, since faults hide where things meet:
//! in one path spelled two ways, in a value that begins as another does, in arrays of objects.
//!
//! Texts of rules and events are trees of [`Value`] until they are written, with escapes, white
//! space and spellings that change from pair to pair.
//!
//! Start at [`Generator::pair`].

use std::borrow::Cow;

use fastrand::Rng;

mod events;
mod patterns;
mod words;
mod written;

use words::NAMES;

/// What a pair has in it. Asked of both answers, so that each is met often both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Address,
    Number,
    Literal,
    Exactly,
    Prefix,
    Suffix,
    PrefixIgnoreCase,
    SuffixIgnoreCase,
    EqualsIgnoreCase,
    Wildcard,
    Numeric,
    ExistsTrue,
    ExistsFalse,
    Cidr,
    ButTexts,
    ButNumbers,
    ButPrefix,
    ButSuffix,
    ButEqualsIgnoreCase,
    ButWildcard,
    SeveralValues,
    Or,
    PatternDotted,
    EventDotted,
    /// The event has one name twice in one object.
    Repeat,
    /// It spells one path twice in one object, by nesting and with dots.
    TwoSpellings,
    ArrayOfObjects,
    ArrayOfArrays,
    Escape,
    IncomparableNumber,
    LongText,
    Deep,
    Envelope,
}

impl Kind {
    /// Each of them once.
    pub const ALL: [Kind; 34] = [
        Kind::Text,
        Kind::Address,
        Kind::Number,
        Kind::Literal,
        Kind::Exactly,
        Kind::Prefix,
        Kind::Suffix,
        Kind::PrefixIgnoreCase,
        Kind::SuffixIgnoreCase,
        Kind::EqualsIgnoreCase,
        Kind::Wildcard,
        Kind::Numeric,
        Kind::ExistsTrue,
        Kind::ExistsFalse,
        Kind::Cidr,
        Kind::ButTexts,
        Kind::ButNumbers,
        Kind::ButPrefix,
        Kind::ButSuffix,
        Kind::ButEqualsIgnoreCase,
        Kind::ButWildcard,
        Kind::SeveralValues,
        Kind::Or,
        Kind::PatternDotted,
        Kind::EventDotted,
        Kind::Repeat,
        Kind::TwoSpellings,
        Kind::ArrayOfObjects,
        Kind::ArrayOfArrays,
        Kind::Escape,
        Kind::IncomparableNumber,
        Kind::LongText,
        Kind::Deep,
        Kind::Envelope,
    ];
}

/// Some of the kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u64);

impl Kinds {
    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u32;
    }
}

/// A pattern, an event, and what is in them.
#[derive(Debug)]
pub struct Pair {
    pub pattern: String,
    pub event: String,
    pub kinds: Kinds,
}

/// What most values are, and how many paths there are: rules that lie close together make a
/// different set than rules that lie apart.
#[derive(Debug, Clone, Copy)]
pub enum Theme {
    Any,
    /// Texts that share beginnings, ends and middles.
    Texts,
    Numbers,
    Addresses,
    /// Arrays of like objects, with values of 1 to 3.
    Rows,
    /// Every rule names one of few sources, and asks for more besides.
    Sources,
}

impl Theme {
    pub const ALL: [Theme; 6] = [
        Theme::Any,
        Theme::Texts,
        Theme::Numbers,
        Theme::Addresses,
        Theme::Rows,
        Theme::Sources,
    ];
}

/// A JSON value as it will be written: numbers by their text, names in order, repeats kept.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Number(Cow<'static, str>),
    True,
    False,
    Null,
    Array(Vec<Value>),
    Object(Members),
}

type Name = Cow<'static, str>;
type Members = Vec<(Name, Value)>;

/// Makes pairs, one after the other.
pub struct Generator {
    random: Rng,
    theme: Theme,
    names: &'static [&'static str],
    kinds: Kinds,
    /// One object may have one name twice.
    repeats: bool,
    /// One object may spell one path twice, nested and with dots.
    spellings: bool,
    /// Of 256 characters, how many are escaped without need.
    escapes: u8,
    /// The most white space between two tokens.
    space_max: usize,
}

impl Generator {
    /// The same seed and theme give the same pairs.
    pub fn new(seed: u64, theme: Theme) -> Self {
        let mut random = Rng::with_seed(seed);
        let names = match theme {
            Theme::Any | Theme::Sources => NAMES,
            // All rules on one path, or on a few.
            _ => &NAMES[..random.choice([1, 4, 8]).unwrap()],
        };
        Generator {
            random,
            theme,
            names,
            kinds: Kinds::default(),
            repeats: false,
            spellings: false,
            escapes: 0,
            space_max: 0,
        }
    }

    /// A pattern and an event.
    pub fn pair(&mut self) -> Pair {
        self.kinds = Kinds::default();
        self.repeats = self.chance(8);
        self.spellings = self.chance(12);
        let event = self.event();
        let pattern = self.pattern(&event);
        self.escapes = if self.chance(30) { 20 } else { 0 };
        self.space_max = match self.below(100) {
            0..60 => 0,
            60..95 => 1,
            _ => 90,
        };
        let mut pair = Pair {
            pattern: String::with_capacity(256),
            event: String::with_capacity(512),
            kinds: Kinds::default(),
        };
        self.write(&pattern, &mut pair.pattern);
        self.write(&event, &mut pair.event);
        pair.kinds = self.kinds;
        pair
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.u32(..100) < percent
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.usize(..bound)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.usize(..from.len())]
    }
}
