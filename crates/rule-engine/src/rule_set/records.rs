//! Alternatives of rules, compiled: a few words each, side by side in pages.
//!
//! | words | |
//! | --- | --- |
//! | each | a key that it waits at |
//! | 1 for each leaf | the path |
//! | 1 | kind of the leaf (2 bits), whether absence will do (1), whether a value whose key it waits at meets it (1), and a count or index (28) |
//! | count | for `Any` and `None`: keys of plain values |
//!
//! A leaf that is more than plain values keeps the [`Leaf`] of the pattern, by its index in the
//! page.

use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use super::pages::Pages;
use crate::pattern::Leaf;

/// No alternative.
pub(super) const NO_RECORD: u32 = u32::MAX;
/// Records of one page.
const PAGE: usize = 64;
/// Words that lie beside a record's head. Most records have no more: one line of the cache is
/// fetched for them.
const BESIDE: usize = 14;

/// What is asked of a path's values.
#[derive(Debug, Clone)]
pub(super) enum Ask<L, K> {
    /// To be one of these plain values.
    Any(K),
    /// To be none of these plain values.
    None(K),
    /// To be there.
    Present,
    /// What the leaf says.
    Leaf(L),
}

/// One leaf, compiled.
#[derive(Debug, Clone)]
pub(super) struct Compiled<L, K> {
    pub(super) path: u32,
    /// It also holds where the path has no value.
    pub(super) absent: bool,
    /// The alternative waits at its keys, and a value that has one of them meets it.
    pub(super) is_told: bool,
    pub(super) ask: Ask<L, K>,
}

impl<L> Compiled<L, Vec<u32>> {
    fn has_one_value(&self) -> bool {
        matches!(&self.ask, Ask::Any(keys) if keys.len() == 1)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Records<Id> {
    pages: Pages<Page<Id>>,
    len: usize,
    free: Arc<Vec<u32>>,
}

#[derive(Debug, Clone)]
struct Page<Id> {
    heads: [Head<Id>; PAGE],
    /// Of each, the next alternative of the same rule.
    next: [u32; PAGE],
    /// Words of records that have many.
    words: Vec<u32>,
    /// Words of records that are gone.
    garbage: usize,
    leaves: Vec<Option<Arc<Leaf>>>,
}

/// One line of the cache, with an id of four bytes.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Head<Id> {
    id: Id,
    /// Words in all, and those of keys that it waits at. No words: the three beside are where they
    /// begin in the page and these two numbers.
    len: u16,
    waits: u16,
    words: [u32; BESIDE],
}

impl<Id> Head<Id> {
    /// Of a record without words.
    fn new(id: Id) -> Self {
        Head {
            id,
            len: 0,
            waits: 0,
            words: [0; BESIDE],
        }
    }

    /// Where its words are in the page, if they are there, and how many are of keys that it waits
    /// at.
    fn elsewhere(&self) -> Option<(Range<usize>, usize)> {
        let [start, len, waits, ..] = self.words.map(|word| word as usize);
        (self.len == 0).then_some((start..start + len, waits))
    }
}

/// One alternative, to read.
#[derive(Debug)]
pub(super) struct Record<'r, Id> {
    pub(super) id: Id,
    waits: &'r [u32],
    /// Words of its leaves.
    words: &'r [u32],
    number: u32,
    page: &'r Page<Id>,
}

const ANY: u32 = 0;
const NONE: u32 = 1;
const PRESENT: u32 = 2;
const LEAF: u32 = 3;
/// One key, of one plain value.
const ONE: u32 = ANY << 30 | 1;
const ABSENT: u32 = 1 << 29;
const TOLD: u32 = 1 << 28;
const COUNT: u32 = TOLD - 1;

impl<'r, Id: Copy> Record<'r, Id> {
    /// The keys that it waits at.
    pub(super) fn waits(&self) -> &'r [u32] {
        self.waits
    }

    /// The next alternative of the same rule.
    pub(super) fn next(&self) -> u32 {
        self.page.next[self.number as usize % PAGE]
    }

    /// Whether it matches, which was found by a key that it waits at, as far as `only` gives the key
    /// of the one field of each path. `None` when there is more to look at. `is_only` is as `only`,
    /// for one key; `holds` says whether the one field of a path is as a leaf asks. `met` are first
    /// words of the record before that the event meets: rules that wait for the same value often
    /// begin alike.
    #[inline(always)]
    pub(super) fn decide(
        &self,
        met: &mut &'r [u32],
        is_only: impl Fn(u32, u32) -> bool,
        only: impl Fn(u32) -> Option<u32>,
        holds: impl Fn(u32, &Leaf) -> bool,
    ) -> Option<bool> {
        let mut words = match self.words.strip_prefix(*met) {
            Some(rest) if !met.is_empty() => rest,
            _ => {
                let mut rest = self.words;
                // Nearly all leaves are like this, and nearly all that are looked at are met.
                while let [path, ONE, key, more @ ..] = rest
                    && is_only(*path, *key)
                {
                    rest = more;
                }
                *met = &self.words[..self.words.len() - rest.len()];
                rest
            }
        };
        loop {
            let [path, kind, rest @ ..] = words else {
                return Some(true);
            };
            let key = only(*path)?;
            let count = (kind & COUNT) as usize;
            let (is_met, behind) = match kind >> 30 {
                PRESENT => (true, rest),
                LEAF => (
                    kind & TOLD != 0 || holds(*path, self.page.leaf(count)),
                    rest,
                ),
                kind => {
                    let (keys, behind) = rest.split_at(count);
                    (is_one(keys, key) == (kind == ANY), behind)
                }
            };
            if !is_met {
                return Some(false);
            }
            words = behind;
        }
    }

    #[inline(always)]
    pub(super) fn leaves(&self) -> Leaves<'r, Id> {
        Leaves {
            words: self.words,
            page: self.page,
        }
    }
}

/// True when `key` is one of `keys`, which are mostly one or two.
#[inline(always)]
fn is_one(keys: &[u32], key: u32) -> bool {
    match keys {
        [one] => *one == key,
        [one, other] => *one == key || *other == key,
        _ => keys.contains(&key),
    }
}

/// The leaves of an alternative in turn.
#[derive(Debug)]
pub(super) struct Leaves<'r, Id> {
    words: &'r [u32],
    page: &'r Page<Id>,
}

impl<'r, Id: Copy> Iterator for Leaves<'r, Id> {
    type Item = Compiled<&'r Leaf, &'r [u32]>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let [path, kind, rest @ ..] = self.words else {
            return None;
        };
        let count = (kind & COUNT) as usize;
        let keys = if kind >> 30 <= NONE { count } else { 0 };
        let (keys, rest) = rest.split_at(keys);
        self.words = rest;
        let ask = match kind >> 30 {
            ANY => Ask::Any(keys),
            NONE => Ask::None(keys),
            PRESENT => Ask::Present,
            _ => Ask::Leaf(self.page.leaf(count)),
        };
        Some(Compiled {
            path: *path,
            absent: kind & ABSENT != 0,
            is_told: kind & TOLD != 0,
            ask,
        })
    }
}

impl<Id: Copy + Hash> Records<Id> {
    pub(super) fn new() -> Self {
        Records {
            pages: Pages::new(),
            len: 0,
            free: Arc::default(),
        }
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Record<'_, Id> {
        let page = self.pages.get(number as usize / PAGE);
        let head = &page.heads[number as usize % PAGE];
        let (waits, words) = page.words_of(head);
        Record {
            id: head.id,
            waits,
            words,
            number,
            page,
        }
    }

    /// The number that the next [`add`](Records::add) will give.
    pub(super) fn next_number(&self) -> u32 {
        let new = || u32::try_from(self.len).expect("memory ends before numbers");
        self.free.last().copied().unwrap_or_else(new)
    }

    pub(super) fn add(
        &mut self,
        id: Id,
        next: u32,
        waits: &[u32],
        leaves: &[Compiled<Arc<Leaf>, Vec<u32>>],
    ) -> u32 {
        let number = self.next_number();
        if !self.free.is_empty() {
            Arc::make_mut(&mut self.free).pop();
        } else {
            if self.len.is_multiple_of(PAGE) {
                self.pages.push(Page::new(id));
            }
            self.len += 1;
        }
        let page = self.pages.get_mut(number as usize / PAGE);
        let start = page.words.len();
        page.words.extend_from_slice(waits);
        // Those of one value come first: they are decided the quickest, and the likeliest to be
        // shared. Where absence will do, what holds depends on the order (event-patterns.md 2.3).
        let is_ordered = leaves.iter().any(|leaf| leaf.absent);
        let is_first = |leaf: &Compiled<_, Vec<u32>>| is_ordered || leaf.has_one_value();
        for first in [true, false] {
            for leaf in leaves.iter().filter(|leaf| is_first(leaf) == first) {
                page.push(leaf);
            }
        }
        let words = &page.words[start..];
        let mut head = Head::new(id);
        match head.words.get_mut(..words.len()) {
            Some(beside) if !words.is_empty() => {
                beside.copy_from_slice(words);
                (head.len, head.waits) = (words.len() as u16, waits.len() as u16);
                page.words.truncate(start);
            }
            _ => head.words[..3].copy_from_slice(&[start, words.len(), waits.len()].map(count)),
        }
        page.next[number as usize % PAGE] = next;
        page.heads[number as usize % PAGE] = head;
        number
    }

    pub(super) fn remove(&mut self, number: u32) {
        let page = self.pages.get_mut(number as usize / PAGE);
        page.remove(number as usize % PAGE);
        Arc::make_mut(&mut self.free).push(number);
    }
}

impl<Id: Copy> Page<Id> {
    /// A page of no records; `id` stands where others will.
    fn new(id: Id) -> Self {
        Page {
            heads: [Head::new(id); PAGE],
            next: [NO_RECORD; PAGE],
            words: Vec::new(),
            garbage: 0,
            leaves: Vec::new(),
        }
    }

    /// The keys that a record waits at, and the words of its leaves.
    #[inline(always)]
    fn words_of<'p>(&'p self, head: &'p Head<Id>) -> (&'p [u32], &'p [u32]) {
        match head.words.get(..usize::from(head.len)) {
            Some(beside) if !beside.is_empty() => beside.split_at(usize::from(head.waits)),
            _ => self.words_elsewhere(head),
        }
    }

    #[cold]
    fn words_elsewhere(&self, head: &Head<Id>) -> (&[u32], &[u32]) {
        let (span, waits) = head.elsewhere().unwrap_or_default();
        self.words[span].split_at(waits)
    }

    fn leaf(&self, index: usize) -> &Leaf {
        self.leaves[index].as_ref().expect("kept while it is used")
    }

    fn push(&mut self, leaf: &Compiled<Arc<Leaf>, Vec<u32>>) {
        let (kind, keys, number) = match &leaf.ask {
            Ask::Any(keys) => (ANY, &keys[..], count(keys.len())),
            Ask::None(keys) => (NONE, &keys[..], count(keys.len())),
            Ask::Present => (PRESENT, &[][..], 0),
            Ask::Leaf(leaf) => {
                let free = self.leaves.iter().position(Option::is_none);
                let at = free.unwrap_or(self.leaves.len());
                if free.is_none() {
                    self.leaves.push(None);
                }
                self.leaves[at] = Some(leaf.clone());
                (LEAF, &[][..], count(at))
            }
        };
        let absent = if leaf.absent { ABSENT } else { 0 };
        let told = if leaf.is_told { TOLD } else { 0 };
        self.words
            .extend([leaf.path, kind << 30 | absent | told | number]);
        self.words.extend_from_slice(keys);
    }

    fn remove(&mut self, place: usize) {
        let head = self.heads[place];
        let (_, mut rest) = self.words_of(&head);
        let mut gone = Vec::new();
        while let [_, kind, more @ ..] = rest {
            let number = (kind & COUNT) as usize;
            let keys = if kind >> 30 <= NONE { number } else { 0 };
            if kind >> 30 == LEAF {
                gone.push(number);
            }
            rest = &more[keys..];
        }
        for leaf in gone {
            self.leaves[leaf] = None;
        }
        self.heads[place] = Head::new(head.id);
        if let Some((span, _)) = head.elsewhere() {
            self.garbage += span.len();
            if self.words.len() < 2 * self.garbage {
                self.compact();
            }
        }
    }

    /// Moves the words that are in use together.
    fn compact(&mut self) {
        let mut words = Vec::with_capacity(self.words.len() - self.garbage);
        for head in &mut self.heads {
            if let Some((span, _)) = head.elsewhere() {
                head.words[0] = count(words.len());
                words.extend_from_slice(&self.words[span]);
            }
        }
        self.words = words;
        self.garbage = 0;
    }
}

fn count(number: usize) -> u32 {
    let number = u32::try_from(number).expect("a pattern has fewer than 2^28 conditions");
    assert!(number <= COUNT);
    number
}
