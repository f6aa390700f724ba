//! From an event to what matters of it: its fields at wanted paths, and the keys they are.
//!
//! One walk over the bytes, left to right, on a stack of its own. What no rule names is stepped
//! over (see `scan`). The walk ends early when
//!
//! * every wanted path was seen outside of arrays: a name that is repeated behind that goes
//!   unseen, which event-patterns.md 2.2 allows; a name with dots in it that would still lead to
//!   a wanted path does not, since the rest is searched for one first; or
//! * no rule can match any more: each demands one of a few plain values of some member of the
//!   root, and the event has another; or every path was seen at which alternatives wait, and none
//!   has to be tried.

use std::cell::Cell;

use memchr::memchr;

use super::keys::{self, Keys, Kind, NONE};
use super::wanted::{Asked, Lengths, Node, ROOT, Ranges, Rare, Wanted, head, head_at};
use crate::fields::{self, Kind as Container, Tree};
use crate::matcher::{Matcher, Value};
use crate::number::{Decimal, comparable};
use crate::pattern::Leaf;
use crate::scan::{Blocks, scalar_end, space};

/// A scalar of the event at a wanted path.
#[derive(Debug, Clone)]
pub(super) struct Field {
    scalar: Scalar,
    /// Its text, in the event or, where it had escapes, in [`Reader::text`].
    start: u32,
    end: u32,
    /// Its key among plain values.
    pub(super) key: u32,
    pub(super) place: u32,
    /// The next field of the same path.
    next: u32,
    /// Of a number, what is known of it.
    number: Cell<Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar {
    String,
    /// A string whose escapes are undone.
    Unescaped,
    Number,
    True,
    False,
    Null,
}

/// What is known of a number. Whether a long one is comparable costs more to tell than all else
/// about it, and few have to be told.
#[derive(Debug, Clone, Copy)]
enum Known {
    Nothing,
    /// Its double lies between these.
    Between(f64, f64),
    Comparable(f64),
    Incomparable,
}

impl Field {
    /// The double of a comparable number.
    fn comparable(&self, text: &str) -> Option<f64> {
        let told = match self.number.get() {
            Known::Comparable(double) => return Some(double),
            Known::Incomparable => return None,
            Known::Nothing | Known::Between(..) => comparable(text),
        };
        self.number
            .set(told.map_or(Known::Incomparable, Known::Comparable));
        told
    }
}

/// The fields of one path, as a chain.
#[derive(Debug, Clone, Copy, Default)]
struct Chain {
    first: u32,
    last: u32,
    /// The event that it is of, and the key of the field, while it is the only one and outside of
    /// all arrays of containers; else [`SEVERAL`]. See [`only`].
    only: u64,
}

impl Chain {
    fn stamp(&self) -> u32 {
        (self.only >> 32) as u32
    }
}

#[inline(always)]
fn only(stamp: u32, key: u32) -> u64 {
    u64::from(stamp) << 32 | u64::from(key)
}

/// What no key is.
const SEVERAL: u32 = NONE - 1;

/// What was read of an event. Kept for the next, so that reading needs no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Reader {
    stamp: u32,
    chains: Vec<Chain>,
    fields: Vec<Field>,
    /// Keys of plain values that the event has.
    pub(super) hits: Vec<u32>,
    /// Keys that the event has and at which alternatives wait.
    pub(super) waits: Vec<u32>,
    /// Alternatives whose range the event has a number in.
    pub(super) ranges: Vec<u32>,
    pub(super) tree: Tree,
    /// Paths at which alternatives wait and that were not seen yet, outside of arrays.
    waited: u32,
    /// Unescaped strings.
    text: Vec<u8>,
    /// A string in lower case, a name unescaped, grams found: while they are looked at.
    lower: Vec<u8>,
    name: Vec<u8>,
    grams: Vec<u32>,
    frames: Vec<Frame>,
}

/// An open container on the way to wanted paths.
#[derive(Debug, Clone, Copy)]
struct Frame {
    node: u32,
    place: u32,
    kind: Container,
    /// Members seen, by place among the node's children.
    seen: u64,
    /// No name of several steps led here: the event may spell the way here only by repeats.
    is_straight: bool,
}

/// The rules that an event is read for.
#[derive(Clone, Copy)]
pub(super) struct For<'s> {
    pub(super) wanted: &'s Wanted,
    pub(super) keys: &'s Keys,
    /// Alternatives in all.
    pub(super) alternatives: u32,
    /// Each of them waits for some value.
    pub(super) all_wait: bool,
    pub(super) stop_early: bool,
}

/// The place of what a name of several steps leads to: it is none of the node's members.
const WINDING: u32 = u32::MAX;

/// No alternative can match any more.
struct Hopeless;

impl Reader {
    /// Reads `event`. `false` when no alternative can match.
    ///
    /// Bounds: linear in the event, but for strings at a path with keys of many lengths.
    pub(super) fn read(&mut self, event: &[u8], rules: For<'_>) -> bool {
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.chains.fill(Chain::default());
            self.stamp = 1;
        }
        self.fields.clear();
        self.hits.clear();
        self.waits.clear();
        self.ranges.clear();
        self.text.clear();
        self.frames.clear();
        self.tree.clear();
        self.waited = rules.wanted.waited;
        if self.chains.len() < rules.wanted.len() {
            self.chains.resize(rules.wanted.len(), Chain::default());
        }
        let mut frame = Frame {
            node: ROOT,
            place: fields::ROOT,
            kind: Container::Object,
            seen: 0,
            is_straight: true,
        };
        let hopeful = self.walk(event, rules, &mut frame).is_ok();
        // What is still open where the walk ended.
        while let Some(outer) = self.frames.pop() {
            self.leave(&mut frame, outer);
        }
        self.tree.finish();
        hopeful
    }

    /// The fields at a path, in the order of the text.
    #[inline]
    pub(super) fn at(&self, path: u32) -> impl Iterator<Item = &Field> {
        let chain = &self.chains[path as usize];
        let mut next = if chain.stamp() == self.stamp {
            chain.first
        } else {
            NONE
        };
        std::iter::from_fn(move || {
            let field = self.fields.get(next as usize)?;
            next = field.next;
            Some(field)
        })
    }

    /// The key of the field of a path that has just one, outside of all arrays of containers.
    #[inline(always)]
    pub(super) fn only(&self, path: u32) -> Option<u32> {
        let chain = &self.chains[path as usize];
        let key = chain.only as u32;
        (chain.stamp() == self.stamp && key != SEVERAL).then_some(key)
    }

    /// True when the path has just one field, outside of all arrays of containers, with this key.
    #[inline(always)]
    pub(super) fn is_only(&self, path: u32, key: u32) -> bool {
        self.chains[path as usize].only == only(self.stamp, key)
    }

    /// False when `leaf` asks for ranges alone and the field is in none of them: then nobody has to
    /// tell whether its number is comparable.
    pub(super) fn may_be_in_range(&self, leaf: &Leaf, field: &Field) -> bool {
        let Known::Between(low, high) = field.number.get() else {
            return true;
        };
        leaf.matchers.iter().any(|matcher| match matcher {
            Matcher::Numeric(range) => range.reaches(low, high),
            _ => true,
        })
    }

    /// What a leaf of ranges alone says to a number that is known. `None` for anything else.
    pub(super) fn is_in_range(&self, leaf: &Leaf, field: &Field) -> Option<bool> {
        let Known::Comparable(double) = field.number.get() else {
            return None;
        };
        let mut holds = false;
        for matcher in &leaf.matchers {
            let Matcher::Numeric(range) = matcher else {
                return None;
            };
            holds |= range.holds(double);
        }
        Some(holds)
    }

    /// A field's value; `None` where the event is no UTF-8.
    pub(super) fn value<'v>(&'v self, event: &'v [u8], field: &Field) -> Option<Value<'v>> {
        let span = field.start as usize..field.end as usize;
        let text = |bytes: &'v [u8]| std::str::from_utf8(bytes).ok();
        Some(match field.scalar {
            Scalar::String => Value::String(text(&event[span])?.into()),
            Scalar::Unescaped => Value::String(text(&self.text[span])?.into()),
            Scalar::Number => {
                let text = text(&event[span])?;
                Value::Number(text, field.comparable(text))
            }
            Scalar::True => Value::True,
            Scalar::False => Value::False,
            Scalar::Null => Value::Null,
        })
    }

    fn walk(&mut self, event: &[u8], rules: For<'_>, frame: &mut Frame) -> Result<(), Hopeless> {
        let wanted = rules.wanted;
        let mut at = space(event, 0);
        if event.get(at) != Some(&b'{') {
            return Err(Hopeless);
        }
        at += 1;
        let mut blocks = Blocks::new(event);
        let mut node = wanted.node(ROOT);
        // Whether the walk may end with the last wanted member of the root.
        let mut may_stop = rules.stop_early;
        loop {
            let is_object = matches!(frame.kind, Container::Object);
            let mut name_end = None;
            if is_object {
                (at, name_end) = blocks.unwanted(at, node);
            }
            match event.get(at) {
                None => return Ok(()),
                Some(b',' | b' ' | b'\n' | b'\r' | b'\t') => {
                    at += 1;
                    continue;
                }
                Some(b'}' | b']') => {
                    at += 1;
                    let Some(outer) = self.frames.pop() else {
                        return Ok(());
                    };
                    self.leave(frame, outer);
                    node = wanted.node(frame.node);
                }
                Some(_) => {
                    let mut target = (frame.node, node, frame.is_straight);
                    if is_object {
                        let start = at + 1;
                        let end = name_end.unwrap_or_else(|| blocks.quote(start));
                        let name = event.get(start..end).unwrap_or_default();
                        at = space(event, end + 1);
                        if event.get(at) != Some(&b':') {
                            return Ok(());
                        }
                        at = space(event, at + 1);
                        let head = head_at(event, start, name.len());
                        let Some((place, child)) =
                            self.find(wanted, node, name, head, blocks.escapes)
                        else {
                            at = blocks.skip_value(at);
                            continue;
                        };
                        frame.seen |= 1_u64.checked_shl(place).unwrap_or(0);
                        let is_straight = frame.is_straight && place != WINDING;
                        target = (child, wanted.node(child), is_straight);
                    }
                    let inside =
                        self.value_of(event, rules, &mut blocks, &mut at, target, frame)?;
                    if let Some(inside) = inside {
                        self.frames.push(*frame);
                        (*frame, node) = (inside, target.1);
                        continue;
                    }
                    if self.waited == 0 {
                        // One look is enough: what waits now will have to be tried.
                        self.waited = u32::MAX;
                        let nothing = self.waits.is_empty() && self.ranges.is_empty();
                        let rest = event.get(at..).unwrap_or_default();
                        let mut around = self.frames.iter().chain([&*frame]);
                        if nothing
                            && rules.all_wait
                            && rules.stop_early
                            && !around.any(|it| dotted(wanted, wanted.node(it.node), rest))
                        {
                            return Err(Hopeless);
                        }
                    }
                }
            }
            // A value has ended; with it may end what is wanted of the containers around it.
            while complete(frame, node) && rules.stop_early {
                let outermost = match self.frames.as_slice() {
                    [] => Some(node),
                    [root] => Some(wanted.node(root.node)).filter(|node| complete(root, node)),
                    _ => None,
                };
                if let Some(root) = outermost
                    && may_stop
                {
                    let rest = event.get(at..).unwrap_or_default();
                    if !dotted(wanted, root, rest) && !dotted(wanted, node, rest) {
                        return Ok(());
                    }
                    may_stop = false;
                }
                if node.leads_deeper() {
                    break;
                }
                at = space(event, at);
                // Nothing to step over: it ends here.
                if event.get(at) == Some(&b'}') {
                    break;
                }
                let Some(outer) = self.frames.pop() else {
                    break;
                };
                at = blocks.skip_container(at);
                self.leave(frame, outer);
                node = wanted.node(frame.node);
            }
        }
    }

    fn leave(&mut self, frame: &mut Frame, outer: Frame) {
        self.tree.close(frame.place, frame.kind, Some(outer.kind));
        *frame = outer;
    }

    /// Where a member's name leads, if anywhere, and the place of that among the node's children.
    #[inline(always)]
    fn find(
        &mut self,
        wanted: &Wanted,
        node: &Node,
        name: &[u8],
        head: u64,
        escapes: bool,
    ) -> Option<(u32, u32)> {
        let escaped = escapes && name.contains(&b'\\');
        if escaped || (node.may_wind(name) && name.contains(&b'.')) {
            return self.winding(wanted, node, name, escaped);
        }
        wanted.child(node, head, name)
    }

    /// Where a member's name of several steps or with escapes leads.
    #[cold]
    fn winding(
        &mut self,
        wanted: &Wanted,
        node: &Node,
        name: &[u8],
        escaped: bool,
    ) -> Option<(u32, u32)> {
        if escaped {
            self.name.clear();
            unescape(name, &mut self.name);
        }
        let name = if escaped { &self.name } else { name };
        let child = |node: &Node, name: &[u8]| wanted.child(node, head(name), name);
        if !name.contains(&b'.') {
            return child(node, name);
        }
        let mut steps = name.split(|byte| *byte == b'.');
        let first = child(node, steps.next()?)?.1;
        let last = steps.try_fold(first, |at, step| {
            child(wanted.node(at), step).map(|found| found.1)
        })?;
        Some((WINDING, last))
    }

    /// Takes the value at `at`, for the path of the node `target`, and turns to what follows it.
    /// A container that has to be looked into is only opened.
    #[inline]
    fn value_of(
        &mut self,
        event: &[u8],
        rules: For<'_>,
        blocks: &mut Blocks<'_>,
        at: &mut usize,
        target: (u32, &Node, bool),
        frame: &Frame,
    ) -> Result<Option<Frame>, Hopeless> {
        let (path, node, is_straight) = target;
        let start = *at;
        let first = event.get(start).copied().unwrap_or_default();
        if first == b'{' || first == b'[' {
            let array = first == b'[';
            let is_wanted = node.has_children() || (array && node.is_path());
            if !is_wanted {
                *at = blocks.skip_container(start + 1);
                return Ok(None);
            }
            *at += 1;
            let (place, kind) = self.tree.open(frame.place, Some(frame.kind), array);
            return Ok(Some(Frame {
                node: path,
                place,
                kind,
                seen: 0,
                is_straight,
            }));
        }
        let mut decimal = None;
        let (scalar, end) = if first == b'"' {
            let end = blocks.quote(start + 1);
            *at = end + 1;
            (Scalar::String, end)
        } else {
            let scalar = match first {
                b't' => Scalar::True,
                b'f' => Scalar::False,
                b'n' => Scalar::Null,
                _ => Scalar::Number,
            };
            if scalar == Scalar::Number && node.is_path() {
                decimal = Decimal::begin(event.get(start..).unwrap_or_default());
            }
            *at = match decimal {
                Some((_, length)) => start + length,
                None => scalar_end(event, start),
            };
            (scalar, *at)
        };
        if !node.is_path() {
            return Ok(None);
        }
        let start = start + usize::from(scalar == Scalar::String);
        let bytes = event.get(start..end).unwrap_or_default();
        let mut field = Field {
            scalar,
            start: number(start),
            end: number(start + bytes.len()),
            key: NONE,
            place: frame.place,
            next: NONE,
            number: Cell::new(Known::Nothing),
        };
        match scalar {
            Scalar::String if blocks.escapes && bytes.contains(&b'\\') => {
                let from = self.text.len();
                unescape(bytes, &mut self.text);
                field.scalar = Scalar::Unescaped;
                field.start = number(from);
                field.end = number(self.text.len());
                let text = std::mem::take(&mut self.text);
                field.key = self.string(rules.keys, path, &node.asked, &text[from..]);
                self.text = text;
            }
            Scalar::String => field.key = self.string(rules.keys, path, &node.asked, bytes),
            Scalar::Number => {
                let decimal = decimal.map(|(decimal, _)| decimal);
                let decimal = decimal.or_else(|| Decimal::of(bytes));
                field.key = self.number(rules.keys, path, &node.asked, bytes, decimal, &field);
            }
            _ => {
                let letter = &bytes[..1.min(bytes.len())];
                field.key = self.plain(rules.keys, path, &node.asked, Kind::Literal, letter);
            }
        }
        // The path of a member of the root has no other chance, but for repeats.
        let demanded = node.asked.demanded == rules.alternatives && rules.stop_early;
        let is_only = self.frames.is_empty() && node.is_member_of_root();
        if demanded && field.key == NONE && is_only {
            return Err(Hopeless);
        }
        if let Some(present) = node.asked.present {
            self.waits.push(present);
        }
        let index = number(self.fields.len());
        let chain = &mut self.chains[path as usize];
        if chain.stamp() == self.stamp {
            self.fields[chain.last as usize].next = index;
            chain.last = index;
            chain.only = only(self.stamp, SEVERAL);
        } else {
            let is_outside = frame.place == fields::ROOT;
            let key = if is_outside { field.key } else { SEVERAL };
            *chain = Chain {
                first: index,
                last: index,
                only: only(self.stamp, key),
            };
            let is_alone = is_outside && matches!(frame.kind, Container::Object);
            if is_alone && is_straight && 0 < node.asked.waiting {
                self.waited -= 1;
            }
        }
        self.fields.push(field);
        Ok(None)
    }

    /// Looks a plain value up.
    #[inline]
    fn plain(&mut self, keys: &Keys, path: u32, asked: &Asked, kind: Kind, text: &[u8]) -> u32 {
        if asked.plain == 0 {
            return NONE;
        }
        let Some(key) = keys.find(path, asked, kind, text) else {
            return NONE;
        };
        self.hits.push(key);
        if 0 < keys.get(key).waiting.len() {
            self.waits.push(key);
        }
        key
    }

    fn number(
        &mut self,
        keys: &Keys,
        path: u32,
        asked: &Asked,
        text: &[u8],
        decimal: Option<Decimal>,
        field: &Field,
    ) -> u32 {
        if let Some(rare) = asked.rare.as_ref().filter(|rare| !rare.ranges.is_empty())
            && let Some((low, high, is_certain)) = decimal.and_then(|decimal| {
                let exactly = |(double, is_certain)| (double, double, is_certain);
                let between = decimal.between();
                between.or_else(|| decimal.double(text).map(exactly))
            })
        {
            field.number.set(match is_certain {
                true => Known::Comparable(low),
                false => Known::Between(low, high),
            });
            self.ranges(keys, path, asked, &rare.ranges, low, high);
        }
        if asked.plain == 0 {
            return NONE;
        }
        let as_number = decimal.map_or(NONE, |decimal| {
            self.plain(keys, path, asked, Kind::Number, &decimal.bytes())
        });
        if as_number != NONE || asked.number_texts == 0 {
            return as_number;
        }
        self.plain(keys, path, asked, Kind::NumberText, text)
    }

    /// Looks up the ranges that may hold for a number from `low` to `high`.
    fn ranges(
        &mut self,
        keys: &Keys,
        path: u32,
        asked: &Asked,
        ranges: &Ranges,
        low: f64,
        high: f64,
    ) {
        let (low, high) = (keys::ordered(low), keys::ordered(high));
        let mut collect = |key: u32, bits: usize| {
            let waiting = &keys.get(key).waiting;
            waiting.collect_ranges(low, high, bits, &mut self.ranges);
        };
        if let Some(few) = ranges.few() {
            for (bits, keys) in few {
                let (low, high) = (keys::first_bits(low, *bits), keys::first_bits(high, *bits));
                let from = keys.partition_point(|entry| entry.0 < low);
                for (_, key) in keys[from..].iter().take_while(|entry| entry.0 <= high) {
                    collect(*key, *bits);
                }
            }
            return;
        }
        for bits in ranges.bits.iter() {
            let texts = [low, high].map(|point| keys::range_text(point, bits));
            let different = if texts[0] == texts[1] { 1 } else { 2 };
            for text in &texts[..different] {
                if let Some(key) = keys.find(path, asked, Kind::Range, text) {
                    collect(key, bits);
                }
            }
        }
    }

    #[inline]
    fn string(&mut self, keys: &Keys, path: u32, asked: &Asked, text: &[u8]) -> u32 {
        if let Some(rare) = &asked.rare {
            self.rare(keys, path, asked, rare, text);
        }
        self.plain(keys, path, asked, Kind::String, text)
    }

    /// Looks up all that a string is besides itself.
    fn rare(&mut self, keys: &Keys, path: u32, asked: &Asked, rare: &Rare, text: &[u8]) {
        let Reader {
            waits,
            lower,
            grams,
            ..
        } = self;
        let mut look = |kind: Kind, text: &[u8]| waits.extend(keys.find(path, asked, kind, text));
        let mut ends = |prefixes: &Lengths, suffixes: &Lengths, kinds: [Kind; 2], text: &[u8]| {
            for length in prefixes.iter().take_while(|length| *length <= text.len()) {
                look(kinds[0], &text[..length]);
            }
            for length in suffixes.iter().take_while(|length| *length <= text.len()) {
                look(kinds[1], &text[text.len() - length..]);
            }
        };
        ends(
            &rare.prefixes,
            &rare.suffixes,
            [Kind::Prefix, Kind::Suffix],
            text,
        );
        let folds =
            0 < rare.folded || !rare.folded_prefixes.is_empty() || !rare.folded_suffixes.is_empty();
        if folds {
            lower.clear();
            lower.extend_from_slice(text);
            lower.make_ascii_lowercase();
            let kinds = [Kind::FoldedPrefix, Kind::FoldedSuffix];
            ends(&rare.folded_prefixes, &rare.folded_suffixes, kinds, lower);
            if 0 < rare.folded {
                look(Kind::Folded, lower);
            }
        }
        if !rare.blocks.is_empty()
            && let Some((width, address)) =
                std::str::from_utf8(text).ok().and_then(keys::address_bits)
        {
            for (family, bits) in rare.blocks.iter().map(keys::block_of) {
                if family == width {
                    look(Kind::Block, &keys::block_text(width, bits, address));
                }
            }
        }
        if let Some(grammed) = rare.grammed {
            // A long text has more grams than there are wildcards to try.
            if keys.get(grammed).waiting.len() * 8 <= text.len() {
                waits.push(grammed);
                return;
            }
            grams.clear();
            for length in rare.grams.iter() {
                let windows = text.windows(length);
                grams.extend(windows.filter_map(|gram| keys.find(path, asked, Kind::Gram, gram)));
            }
            grams.sort_unstable();
            grams.dedup();
            waits.extend_from_slice(grams);
        }
    }
}

/// True when all members that can lead to a wanted path were seen.
#[inline]
fn complete(frame: &Frame, node: &Node) -> bool {
    let children = node.children() as u32;
    matches!(frame.kind, Container::Object)
        && children < u64::BITS
        && frame.seen == (1 << children) - 1
}

/// No member with a dot in its name is shorter.
const SHORTEST_DOTTED: &str = r#"".":0}"#;

/// True when a name in `rest` may still lead through one of the node's members to a path below it
/// in one go. An escaped name may be any.
fn dotted(wanted: &Wanted, node: &Node, rest: &[u8]) -> bool {
    if !node.leads_deeper() || rest.len() < SHORTEST_DOTTED.len() {
        return false;
    }
    let finds = |node: u32| {
        let finder = wanted.node(node).dotted.as_ref();
        finder.is_some_and(|finder| finder.find(rest).is_some())
    };
    memchr(b'\\', rest).is_some() || node.nodes().any(finds)
}

/// Undoes the escapes of a string. What is no escape is left out.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest.get(at + 1).copied().unwrap_or_default();
        let mut length = 2;
        match escape {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                length = 6;
                let mut code = hex(rest, at + 2);
                if let Some(high @ 0xD800..0xDC00) = code {
                    length = 12;
                    let low = hex(rest, at + 8).filter(|low| (0xDC00..0xE000).contains(low));
                    code = low.map(|low| 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
                }
                if let Some(character) = code.and_then(char::from_u32) {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            itself => out.push(itself),
        }
        rest = rest.get(at + length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

fn hex(text: &[u8], at: usize) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("an event has fewer than 2^32 bytes")
}
