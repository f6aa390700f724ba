//! A long row of entries by key, made at its end and taken mostly from its front.
//!
//! What waits is kept by the million, so an entry costs itself and no more: blocks of 512 that never move
//! and never double, each given back when its last entry goes. A B-tree that only grows at its end is half
//! empty and leaves its nodes all over the heap, which keeps them: measured on 90,000 messages, 176 bytes each
//! and 15 MB that stayed. The few entries that come out of order (moved from another queue) stand in a tree.

use crate::record::Key;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// Entries of a block.
const BLOCK: usize = 512;

/// Entries by key.
#[derive(Debug)]
pub struct Line<T> {
    blocks: VecDeque<Block<T>>,
    strays: BTreeMap<Key, T>,
    len: usize,
    /// The newest key that ever stood in a block.
    newest: Option<Key>,
}

#[derive(Debug)]
struct Block<T> {
    entries: Vec<(Key, T)>,
    present: [u64; BLOCK / 64],
    count: usize,
}

impl<T> Block<T> {
    fn has(&self, at: usize) -> bool {
        self.present[at / 64] & (1 << (at % 64)) != 0
    }

    fn find(&self, key: Key) -> Option<usize> {
        let at = self
            .entries
            .binary_search_by_key(&key, |(key, _)| *key)
            .ok()?;
        self.has(at).then_some(at)
    }

    fn last(&self) -> Key {
        self.entries
            .last()
            .expect("a block is made with its first entry")
            .0
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            strays: BTreeMap::new(),
            len: 0,
            newest: None,
        }
    }
}

impl<T: Default> Line<T> {
    /// Entries in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry. True if it stands at the end, behind all that were ever added.
    pub fn insert(&mut self, key: Key, value: T) -> bool {
        if self.newest.is_some_and(|newest| key <= newest) {
            if let Some((block, at)) = self.locate(key) {
                self.blocks[block].entries[at].1 = value;
            } else if self.strays.insert(key, value).is_none() {
                self.len += 1;
            }
            return false;
        }
        if self
            .blocks
            .back()
            .is_none_or(|block| block.entries.len() == BLOCK)
        {
            self.blocks.push_back(Block {
                entries: Vec::with_capacity(BLOCK),
                present: [0; BLOCK / 64],
                count: 0,
            });
        }
        let block = self.blocks.back_mut().expect("made above");
        let at = block.entries.len();
        block.entries.push((key, value));
        block.present[at / 64] |= 1 << (at % 64);
        block.count += 1;
        self.len += 1;
        self.newest = Some(key);
        true
    }

    fn locate(&self, key: Key) -> Option<(usize, usize)> {
        let block = self.blocks.partition_point(|block| block.last() < key);
        let at = self.blocks.get(block)?.find(key)?;
        Some((block, at))
    }

    /// An entry.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.locate(key) {
            Some((block, at)) => Some(&self.blocks[block].entries[at].1),
            None => self.strays.get(&key),
        }
    }

    /// An entry, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.locate(key) {
            Some((block, at)) => Some(&mut self.blocks[block].entries[at].1),
            None => self.strays.get_mut(&key),
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let Some((number, at)) = self.locate(key) else {
            let stray = self.strays.remove(&key)?;
            self.len -= 1;
            return Some(stray);
        };
        let block = &mut self.blocks[number];
        let value = std::mem::take(&mut block.entries[at].1);
        block.present[at / 64] &= !(1 << (at % 64));
        block.count -= 1;
        self.len -= 1;
        if block.count == 0 {
            self.blocks.remove(number);
        }
        Some(value)
    }

    /// All entries by key.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.range(Bound::Unbounded)
    }

    /// All entries from a key on.
    pub fn range(&self, from: Bound<Key>) -> impl Iterator<Item = (Key, &T)> {
        let first = match from {
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => {
                self.blocks.partition_point(|block| block.last() < key)
            }
        };
        let inside = move |key: Key| match from {
            Bound::Unbounded => true,
            Bound::Included(from) => from <= key,
            Bound::Excluded(from) => from < key,
        };
        let row = self
            .blocks
            .range(first.min(self.blocks.len())..)
            .flat_map(|block| {
                let entries = block.entries.iter().enumerate();
                entries
                    .filter(|(at, _)| block.has(*at))
                    .map(|(_, (key, value))| (*key, value))
            });
        let mut row = row.skip_while(move |(key, _)| !inside(*key)).peekable();
        let strays = self.strays.range((from, Bound::Unbounded));
        let mut strays = strays.map(|(key, value)| (*key, value)).peekable();
        std::iter::from_fn(move || match (row.peek(), strays.peek()) {
            (Some((a, _)), Some((b, _))) if b < a => strays.next(),
            (Some(_), _) => row.next(),
            (None, _) => strays.next(),
        })
    }

    /// All entries, to be changed. In no order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        let row = self.blocks.iter_mut().flat_map(|block| {
            let present = block.present;
            let entries = block.entries.iter_mut().enumerate();
            entries
                .filter(move |(at, _)| present[at / 64] & (1 << (at % 64)) != 0)
                .map(|(_, (key, value))| (*key, value))
        });
        row.chain(self.strays.iter_mut().map(|(key, value)| (*key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key {
            sequence: n / 3,
            index: u16::try_from(n % 3).unwrap(),
        }
    }

    /// Against a tree, through thousands of steps.
    #[test]
    fn a_line_is_a_map() {
        let (mut line, mut tree) = (Line::default(), BTreeMap::new());
        let mut random = 1_u64;
        let mut next = 0;
        for step in 0..40_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let pick = key((random >> 33) % (next + 10));
            match random >> 61 {
                0..=3 => {
                    next += 1 + (random >> 40) % 2;
                    assert!(line.insert(key(next), step));
                    tree.insert(key(next), step);
                }
                4 if !tree.contains_key(&pick) && pick < key(next) => {
                    assert!(!line.insert(pick, step));
                    tree.insert(pick, step);
                }
                5 => assert_eq!(line.get(pick), tree.get(&pick)),
                _ => {
                    let front = tree.keys().next().copied().unwrap_or(pick);
                    for gone in [pick, front] {
                        assert_eq!(line.remove(gone), tree.remove(&gone));
                    }
                }
            }
            assert_eq!(line.len(), tree.len());
            if step % 997 == 0 {
                assert!(
                    line.iter()
                        .map(|(k, v)| (k, *v))
                        .eq(tree.iter().map(|(k, v)| (*k, *v)))
                );
                let from = Bound::Excluded(pick);
                let behind = tree.range((from, Bound::Unbounded)).map(|(k, v)| (*k, *v));
                assert!(line.range(from).map(|(k, v)| (k, *v)).eq(behind));
            }
        }
    }

    #[test]
    fn blocks_go_with_their_last_entry() {
        let mut line = Line::default();
        for n in 1..=10_000 {
            line.insert(key(n), n);
        }
        for n in 1..=10_000 {
            assert_eq!(line.remove(key(n)), Some(n));
        }
        assert!(line.is_empty());
        assert!(line.blocks.is_empty());
    }
}
