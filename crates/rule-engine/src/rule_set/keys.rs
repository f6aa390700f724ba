//! What can be looked up: each thing that a leaf may ask of a value, as a kind and some bytes.
//!
//! A [`Key`] is one such thing at one path, for instance "the string `running`" or "begins with
//! `/data/`". Each alternative of a rule waits at the keys of one of its leaves; the reader of an
//! event looks up which keys its values are, and only what waits there is tried. Keys of plain
//! values serve leaves as well: a value is compared to a leaf's values by their keys' numbers.
//!
//! | kind | bytes |
//! | --- | --- |
//! | `String`, `NumberText` | the text |
//! | `Number` | the decimal, one for each comparable number |
//! | `Literal` | one letter |
//! | `Prefix`, `Suffix` | the text |
//! | `Folded…` | the text in lower case (ASCII alone) |
//! | `Block` | how many bits, and those bits of the address |
//! | `Range` | the common first bits of the bounds, and how many |
//! | `Gram` | one to four bytes that occur somewhere |
//! | `Grammed`, `Present` | none: any string, any value |

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::pages::{Row, Table};
use super::wanted::{Asked, Wanted};
use crate::address::{Address, Block};
use crate::fold::Folded;
use crate::matcher::{Matcher, Range, TextMatcher};
use crate::number::Decimal;
use crate::wildcard::Wildcard;

/// No key.
pub(super) const NONE: u32 = u32::MAX;
/// Bytes of a gram, at most.
pub(super) const GRAM: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    String,
    Number,
    NumberText,
    Literal,
    Prefix,
    Suffix,
    Folded,
    FoldedPrefix,
    FoldedSuffix,
    Block,
    Range,
    Gram,
    Grammed,
    Present,
}

/// One line of the cache.
#[derive(Debug, Clone, Default)]
#[repr(align(64))]
pub(super) struct Key {
    pub(super) path: u32,
    kind: Kind,
    /// Leaves that hold it and alternatives that wait at it.
    uses: u32,
    pub(super) waiting: Waiting,
    text: Text,
}

/// Bytes, those of most keys within the key: one place less to fetch from memory.
#[derive(Debug, Clone)]
enum Text {
    Short(u8, [u8; Text::SHORT]),
    Long(Box<[u8]>),
}

impl Text {
    const SHORT: usize = 22;
}

impl Default for Text {
    fn default() -> Self {
        Text::from(&[][..])
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        if Text::SHORT < bytes.len() {
            return Text::Long(bytes.into());
        }
        let mut text = [0; Text::SHORT];
        text[..bytes.len()].copy_from_slice(bytes);
        Text::Short(bytes.len() as u8, text)
    }
}

impl std::ops::Deref for Text {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Text::Short(length, bytes) => &bytes[..usize::from(*length)],
            Text::Long(bytes) => bytes,
        }
    }
}

/// Alternatives that wait at a key, by number.
#[derive(Debug, Clone, Default)]
pub(super) enum Waiting {
    #[default]
    Nothing,
    One(u32),
    Few(Arc<Vec<u32>>),
    Split(Arc<Split>),
    Ranges(Arc<Ranges>),
}

/// Many alternatives at one key, by a second key that the event must have as well.
#[derive(Debug, Clone, Default)]
pub(super) struct Split {
    len: usize,
    /// Those that have no second key.
    rest: Vec<u32>,
    by: std::collections::HashMap<u32, Vec<u32>, FixedState>,
}

/// Ranges around one centre, by either end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    /// Ascending.
    bottoms: Vec<(u64, u32)>,
    /// Descending.
    tops: Vec<(u64, u32)>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        match self {
            Waiting::Nothing => 0,
            Waiting::One(_) => 1,
            Waiting::Few(few) => few.len(),
            Waiting::Split(split) => split.len,
            Waiting::Ranges(ranges) => ranges.bottoms.len(),
        }
    }

    /// Adds to `out` what waits, of a split only what waits for one of `hits`.
    pub(super) fn collect(&self, hits: &[u32], out: &mut Vec<u32>) {
        match self {
            Waiting::Nothing | Waiting::Ranges(_) => {}
            Waiting::One(one) => out.push(*one),
            Waiting::Few(few) => out.extend_from_slice(few),
            Waiting::Split(split) => {
                out.extend_from_slice(&split.rest);
                for hit in hits {
                    if let Some(more) = split.by.get(hit) {
                        out.extend_from_slice(more);
                    }
                }
            }
        }
    }

    /// Adds one more. `seconds` gives the second keys of an alternative, once there are so many
    /// that they are split.
    pub(super) fn add<'s>(&mut self, alternative: u32, seconds: impl Fn(u32) -> &'s [u32]) {
        match self {
            Waiting::Nothing => *self = Waiting::One(alternative),
            Waiting::One(one) => *self = Waiting::Few(Arc::new(vec![*one, alternative])),
            Waiting::Few(few) if few.len() < SPLIT_AT => Arc::make_mut(few).push(alternative),
            Waiting::Few(few) => {
                let mut split = Split::default();
                for one in few.iter().chain([&alternative]) {
                    split.add(*one, seconds(*one));
                }
                *self = Waiting::Split(Arc::new(split));
            }
            Waiting::Split(split) => Arc::make_mut(split).add(alternative, seconds(alternative)),
            Waiting::Ranges(_) => unreachable!("ranges are added by `add_range`"),
        }
    }

    /// Takes one out. `all` are all keys that may ever have been its second ones.
    pub(super) fn remove(&mut self, alternative: u32, all: &[u32]) {
        match self {
            Waiting::Nothing => unreachable!("what is removed was added"),
            Waiting::One(_) => *self = Waiting::Nothing,
            Waiting::Few(few) if few.len() == 1 => *self = Waiting::Nothing,
            Waiting::Few(few) => Arc::make_mut(few).retain(|one| *one != alternative),
            Waiting::Split(split) if split.len == 1 => *self = Waiting::Nothing,
            Waiting::Split(split) => Arc::make_mut(split).remove(alternative, all),
            Waiting::Ranges(ranges) => {
                let ranges = Arc::make_mut(ranges);
                ranges.bottoms.retain(|(_, one)| *one != alternative);
                ranges.tops.retain(|(_, one)| *one != alternative);
                if ranges.bottoms.is_empty() {
                    *self = Waiting::Nothing;
                }
            }
        }
    }

    fn add_range(&mut self, alternative: u32, span: Span) {
        if matches!(self, Waiting::Nothing) {
            *self = Waiting::Ranges(Arc::default());
        }
        let Waiting::Ranges(ranges) = self else {
            unreachable!("only ranges wait at a range");
        };
        let ranges = Arc::make_mut(ranges);
        let at = ranges
            .bottoms
            .partition_point(|entry| entry.0 <= span.bottom);
        ranges.bottoms.insert(at, (span.bottom, alternative));
        let at = ranges.tops.partition_point(|entry| span.top <= entry.0);
        ranges.tops.insert(at, (span.top, alternative));
    }

    /// Adds to `out` the ranges that may hold for a number from `low` to `high`, which lie close
    /// together; all of the ranges have `bits` first bits in common with one of them.
    pub(super) fn collect_ranges(&self, low: u64, high: u64, bits: usize, out: &mut Vec<u32>) {
        let Waiting::Ranges(ranges) = self else {
            return;
        };
        // The next bit tells the sides of the centre apart, and every range reaches over it.
        let is_one_side =
            low == high || (bits < 64 && first_bits(low, bits + 1) == first_bits(high, bits + 1));
        if !is_one_side {
            out.extend(ranges.bottoms.iter().map(|(_, alternative)| *alternative));
        } else if bits < 64 && low >> (63 - bits) & 1 == 0 {
            let inside = ranges.bottoms.iter().take_while(|(end, _)| *end <= high);
            out.extend(inside.map(|(_, alternative)| *alternative));
        } else {
            let inside = ranges.tops.iter().take_while(|(end, _)| low <= *end);
            out.extend(inside.map(|(_, alternative)| *alternative));
        }
    }
}

/// Alternatives at one key before they are split by a second.
const SPLIT_AT: usize = 16;

impl Split {
    fn add(&mut self, alternative: u32, seconds: &[u32]) {
        self.len += 1;
        if seconds.is_empty() {
            self.rest.push(alternative);
        }
        for key in seconds {
            self.by.entry(*key).or_default().push(alternative);
        }
    }

    fn remove(&mut self, alternative: u32, all: &[u32]) {
        self.len -= 1;
        self.rest.retain(|one| *one != alternative);
        for key in all {
            if let Some(here) = self.by.get_mut(key) {
                here.retain(|one| *one != alternative);
                if here.is_empty() {
                    self.by.remove(key);
                }
            }
        }
    }
}

/// All keys of a set.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    row: Row<Key>,
    table: Table,
}

/// A key that is not looked up yet.
#[derive(Debug, Clone)]
pub(super) struct Spec<'l> {
    pub(super) kind: Kind,
    pub(super) text: std::borrow::Cow<'l, [u8]>,
    /// Of a range, its ends.
    pub(super) span: Option<Span>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Keys {
            row: Row::new(),
            table: Table::new(),
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, key: u32) -> &Key {
        self.row.get(key)
    }

    pub(super) fn waiting_mut(&mut self, key: u32) -> &mut Waiting {
        &mut self.row.get_mut(key).waiting
    }

    /// The key of this kind and text at a path where `asked` is asked.
    #[inline]
    pub(super) fn find(&self, path: u32, asked: &Asked, kind: Kind, text: &[u8]) -> Option<u32> {
        if let Some(mut alike) = asked.few.like(kind, text) {
            return alike.find(|key| text.len() <= 8 || *self.row.get(*key).text == *text);
        }
        self.table.find(hash(path, kind, text), |number| {
            let key = self.row.get(number);
            key.path == path && key.kind == kind && *key.text == *text
        })
    }

    /// The share of events with a value at the key's path that have it, roughly. And the bytes of
    /// its text.
    pub(super) fn chance(&self, asked: &Asked, key: u32) -> (f64, usize) {
        let key = self.row.get(key);
        // What waits at it uses it once more, or only, for that.
        let waiting = u32::try_from(key.waiting.len()).unwrap_or(u32::MAX);
        let uses = key.uses.saturating_sub(waiting).max(waiting);
        let chance = chance(key.kind, key.text.len(), uses, asked.leaves);
        (chance, key.text.len())
    }

    /// What it costs to find an alternative by this key: how many will be found with it, and how
    /// often. And the bytes of its text.
    pub(super) fn cost(&self, asked: &Asked, key: u32) -> (f64, usize) {
        let (chance, length) = self.chance(asked, key);
        ((self.get(key).waiting.len() + 1) as f64 * chance, length)
    }

    /// As [`Keys::cost`], for a key that may not be there yet.
    pub(super) fn cost_of(&self, path: u32, asked: &Asked, spec: &Spec<'_>) -> (f64, usize) {
        match self.find(path, asked, spec.kind, &spec.text) {
            Some(key) => self.cost(asked, key),
            None => (
                chance(spec.kind, spec.text.len(), 1, asked.leaves),
                spec.text.len(),
            ),
        }
    }

    /// One more use of a key.
    pub(super) fn retain(&mut self, key: u32) {
        self.row.get_mut(key).uses += 1;
    }

    /// The number of a key, which has one more use.
    pub(super) fn take(&mut self, wanted: &mut Wanted, path: u32, kind: Kind, text: &[u8]) -> u32 {
        if let Some(number) = self.find(path, &wanted.node(path).asked, kind, text) {
            self.row.get_mut(number).uses += 1;
            return number;
        }
        let number = self.row.add(Key {
            path,
            kind,
            uses: 1,
            waiting: Waiting::Nothing,
            text: text.into(),
        });
        let hash_of = |number| {
            let key = self.row.get(number);
            hash(key.path, key.kind, &key.text)
        };
        self.table.insert(hash(path, kind, text), number, hash_of);
        count(wanted.asked_mut(path), kind, text, number, true);
        number
    }

    /// Gives one use of a key back.
    pub(super) fn give_back(&mut self, wanted: &mut Wanted, number: u32) {
        let key = self.row.get_mut(number);
        key.uses -= 1;
        if 0 < key.uses {
            return;
        }
        let Key {
            path, kind, text, ..
        } = std::mem::take(key);
        self.table.remove(hash(path, kind, &text), number);
        self.row.give_back(number);
        count(wanted.asked_mut(path), kind, &text, number, false);
    }

    /// Lets an alternative wait at `key`, at a range by its ends.
    pub(super) fn wait<'s>(
        &mut self,
        key: u32,
        span: Option<Span>,
        alternative: u32,
        seconds: impl Fn(&Keys, u32) -> &'s [u32],
    ) {
        let mut waiting = std::mem::take(self.waiting_mut(key));
        match span {
            Some(span) => waiting.add_range(alternative, span),
            None => waiting.add(alternative, |one| seconds(self, one)),
        }
        *self.waiting_mut(key) = waiting;
    }
}

/// Notes at a path that it has one key more, or less.
fn count(asked: &mut Asked, kind: Kind, text: &[u8], number: u32, more: bool) {
    let step = |counter: &mut u32| match more {
        true => *counter += 1,
        false => *counter -= 1,
    };
    step(&mut asked.keys);
    asked.few.change(kind, text, number, more);
    if kind == Kind::Present {
        asked.present = more.then_some(number);
        return;
    }
    if matches!(
        kind,
        Kind::String | Kind::Number | Kind::NumberText | Kind::Literal
    ) {
        step(&mut asked.plain);
        if kind == Kind::NumberText {
            step(&mut asked.number_texts);
        }
        return;
    }
    let rare = asked.rare.get_or_insert_default();
    match kind {
        Kind::Prefix => rare.prefixes.change(text.len(), more),
        Kind::Suffix => rare.suffixes.change(text.len(), more),
        Kind::Folded => step(&mut rare.folded),
        Kind::FoldedPrefix => rare.folded_prefixes.change(text.len(), more),
        Kind::FoldedSuffix => rare.folded_suffixes.change(text.len(), more),
        Kind::Block => rare.blocks.change(usize::from(text[0]), more),
        Kind::Range => {
            let first = text[1..].first_chunk().expect("eight bytes of bits");
            let first = u64::from_le_bytes(*first);
            rare.ranges
                .change(usize::from(text[0]), first, number, more);
        }
        Kind::Gram => rare.grams.change(text.len(), more),
        Kind::Grammed => rare.grammed = more.then_some(number),
        Kind::String | Kind::Number | Kind::NumberText | Kind::Literal | Kind::Present => {
            unreachable!("counted above")
        }
    }
}

#[inline]
fn hash(path: u32, kind: Kind, text: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u64(u64::from(path) << 8 | kind as u64);
    hasher.write(text);
    hasher.finish()
}

/// The share of events with a value at a path that have a key there, roughly: what many rules
/// ask for is met often. Of the `leaves` that name the path, `uses` ask for it.
fn chance(kind: Kind, length: usize, uses: u32, leaves: u32) -> f64 {
    let one = (f64::from(uses.max(1)) / f64::from(leaves.max(1))).min(1.0);
    match kind {
        Kind::String | Kind::Number | Kind::NumberText | Kind::Folded => one,
        Kind::Literal => 0.5,
        Kind::Block => (4.0 * one).min(0.5),
        Kind::Range => 0.25,
        Kind::Present => 1.0,
        // Its gram counts.
        Kind::Grammed => 0.0,
        // Short texts are in many values.
        Kind::Prefix | Kind::Suffix | Kind::FoldedPrefix | Kind::FoldedSuffix | Kind::Gram => {
            match length {
                0 | 1 => 0.5,
                2 => 0.05,
                _ => (4.0 * one).min(0.05),
            }
        }
    }
}

impl<'l> Spec<'l> {
    fn new(kind: Kind, text: impl Into<std::borrow::Cow<'l, [u8]>>) -> Self {
        Spec {
            kind,
            text: text.into(),
            span: None,
        }
    }
}

/// The keys of one matcher: a value that it holds for has one of them. None for
/// `{"exists":false}`, and for what holds for no value.
pub(super) fn specs<'l>(matcher: &'l Matcher, out: &mut Vec<Spec<'l>>) {
    match matcher {
        Matcher::Text(text) => text_specs(text, out),
        Matcher::Number(_, Some(double)) => out.push(number(*double)),
        Matcher::Number(text, None) => {
            out.push(Spec::new(Kind::NumberText, text.as_bytes()));
        }
        Matcher::True => out.push(Spec::new(Kind::Literal, b"t".as_slice())),
        Matcher::False => out.push(Spec::new(Kind::Literal, b"f".as_slice())),
        Matcher::Null => out.push(Spec::new(Kind::Literal, b"n".as_slice())),
        Matcher::Numeric(range) => match range.only() {
            Some(double) => out.push(number(double)),
            None => out.extend(range_spec(range)),
        },
        // What a caller answers for, a set cannot: it holds for no value.
        Matcher::Absent | Matcher::Added { .. } => {}
        Matcher::Exists | Matcher::AnythingButNumbers(_) | Matcher::AnythingBut(_) => {
            out.push(Spec::new(Kind::Present, b"".as_slice()));
        }
    }
}

/// True when every value that has one of the matcher's keys is one that it holds for.
pub(super) fn tell(matcher: &Matcher) -> bool {
    let Matcher::Text(text) = matcher else {
        return false;
    };
    match text {
        TextMatcher::Prefix(_) | TextMatcher::Suffix(_) | TextMatcher::Exactly(_) => true,
        TextMatcher::PrefixIgnoreCase(folded)
        | TextMatcher::SuffixIgnoreCase(folded)
        | TextMatcher::EqualsIgnoreCase(folded) => matches!(folded, Folded::Ascii(_)),
        TextMatcher::Address(_) | TextMatcher::Block(_) | TextMatcher::Wildcard(_) => false,
    }
}

fn text_specs<'l>(text: &'l TextMatcher, out: &mut Vec<Spec<'l>>) {
    let folded = |folded: &'l Folded, kind: Kind| match folded {
        Folded::Ascii(text) => Spec::new(kind, text.to_ascii_lowercase().into_bytes()),
        Folded::Forms(_) => Spec::new(Kind::Present, b"".as_slice()),
    };
    let spec = match text {
        TextMatcher::Exactly(text) => Spec::new(Kind::String, text.as_bytes()),
        TextMatcher::Address(address) => {
            let (width, bits) = address.bits();
            block(width, width, bits)
        }
        TextMatcher::Block(Block { network, bits }) => {
            let (width, address) = network.bits();
            block(width, *bits, address)
        }
        TextMatcher::Prefix(text) => Spec::new(Kind::Prefix, text.as_bytes()),
        TextMatcher::Suffix(text) => Spec::new(Kind::Suffix, text.as_bytes()),
        TextMatcher::PrefixIgnoreCase(text) => folded(text, Kind::FoldedPrefix),
        TextMatcher::SuffixIgnoreCase(text) => folded(text, Kind::FoldedSuffix),
        TextMatcher::EqualsIgnoreCase(text) => folded(text, Kind::Folded),
        TextMatcher::Wildcard(wildcard) => {
            wildcard_specs(wildcard, out);
            return;
        }
    };
    out.push(spec);
}

/// A wildcard waits by its beginning or its end, if one is long enough to say much, else by what
/// must occur somewhere.
fn wildcard_specs<'l>(wildcard: &'l Wildcard, out: &mut Vec<Spec<'l>>) {
    let (first, between, last) = match wildcard {
        Wildcard::Exactly(text) => {
            out.push(Spec::new(Kind::String, text.as_bytes()));
            return;
        }
        Wildcard::Pieces {
            first,
            between,
            last,
        } => (first.as_bytes(), between, last.as_bytes()),
    };
    let inner = between.iter().map(|piece| piece.needle());
    let inner = inner.max_by_key(|piece| piece.len()).unwrap_or_default();
    let ends = first.len().max(last.len());
    if ends < inner.len().min(3) {
        // Which four bytes of the piece are rare, nobody knows; the middle is past `/` and `.`.
        let gram = inner.len().min(GRAM);
        let start = (inner.len() - gram) / 2;
        out.push(Spec::new(Kind::Gram, &inner[start..start + gram]));
        out.push(Spec::new(Kind::Grammed, b"".as_slice()));
    } else if last.len() < first.len() {
        out.push(Spec::new(Kind::Prefix, first));
    } else {
        out.push(Spec::new(Kind::Suffix, last));
    }
}

/// The key of the comparable number that is `double`.
fn number<'l>(double: f64) -> Spec<'l> {
    let decimal = Decimal::of_double(double).expect("a comparable number has 17 digits at most");
    Spec::new(Kind::Number, decimal.bytes().to_vec())
}

/// The key of the first `bits` bits of an address of `width` bits.
fn block<'l>(width: u32, bits: u32, address: u128) -> Spec<'l> {
    Spec::new(Kind::Block, block_text(width, bits, address).to_vec())
}

/// How many bits, 128 more for IPv6 but for its whole width; then the bits.
pub(super) fn block_text(width: u32, bits: u32, address: u128) -> [u8; 17] {
    let mut text = [0; 17];
    let family = if width == 32 { 0 } else { 64 };
    // 0 to 32 and 64 to 192 lie apart.
    text[0] = u8::try_from(family + bits).expect("an address has 128 bits at most");
    let head = address.checked_shr(width - bits).unwrap_or(0);
    text[1..].copy_from_slice(&head.to_le_bytes());
    text
}

/// Which blocks a first byte of [`block_text`] speaks of: the width of the address, and the bits.
pub(super) fn block_of(first: usize) -> (u32, u32) {
    let first = u32::try_from(first).expect("it was a byte");
    if first <= 32 {
        (32, first)
    } else {
        (128, first - 64)
    }
}

/// The ends of a range of numbers, both inside, in the order of [`ordered`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    bottom: u64,
    top: u64,
}

/// A double as an integer of the same order; there is no NaN and no -0.
pub(super) fn ordered(double: f64) -> u64 {
    let bits = double.to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

/// A range waits at the longest run of first bits that its ends share: there all ranges reach
/// over one centre. `None` when no number is inside.
fn range_spec<'l>(range: &Range) -> Option<Spec<'l>> {
    let bottom = range.bottom.map_or(0, |bound| {
        ordered(bound.number) + u64::from(!bound.inclusive)
    });
    let top = range.top.map_or(u64::MAX, |bound| {
        ordered(bound.number) - u64::from(!bound.inclusive)
    });
    if top < bottom {
        return None;
    }
    let bits = (bottom ^ top).leading_zeros();
    Some(Spec {
        kind: Kind::Range,
        text: range_text(bottom, bits as usize).to_vec().into(),
        span: Some(Span { bottom, top }),
    })
}

/// How many first bits, then those.
pub(super) fn range_text(point: u64, bits: usize) -> [u8; 9] {
    let mut text = [0; 9];
    text[0] = u8::try_from(bits).expect("there are 64 bits");
    text[1..].copy_from_slice(&first_bits(point, bits).to_le_bytes());
    text
}

/// The first `bits` bits of `point`.
#[inline]
pub(super) fn first_bits(point: u64, bits: usize) -> u64 {
    let rest = 64 - bits as u32;
    point.checked_shr(rest).unwrap_or(0)
}

/// For the reader: the address of a text, as a width and its bits.
pub(super) fn address_bits(text: &str) -> Option<(u32, u128)> {
    Address::parse(text).map(Address::bits)
}
