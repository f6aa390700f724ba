//! A long row that two sets can share, and a table of numbers by hash on top of it.
//!
//! A set of a million rules is changed one rule at a time while readers hold the one before. So
//! everything long lies in pages that are shared until one is written to: a change copies the
//! pages that it touches and the short row of pointers above them, and nothing else.

use std::sync::Arc;

/// Pages below one row of pointers.
const GROUP: usize = 128;
/// Elements of a [`Row`] in one page.
const PAGE: usize = 64;

/// Pages by number.
#[derive(Debug, Clone)]
pub(super) struct Pages<P> {
    groups: Vec<Arc<Vec<Arc<P>>>>,
}

impl<P: Clone> Pages<P> {
    pub(super) fn new() -> Self {
        Pages { groups: Vec::new() }
    }

    #[inline(always)]
    pub(super) fn get(&self, number: usize) -> &P {
        &self.groups[number / GROUP][number % GROUP]
    }

    /// The page for writing; copied first when another set has it too.
    pub(super) fn get_mut(&mut self, number: usize) -> &mut P {
        let group = Arc::make_mut(&mut self.groups[number / GROUP]);
        Arc::make_mut(&mut group[number % GROUP])
    }

    pub(super) fn push(&mut self, page: P) {
        match self.groups.last_mut() {
            Some(group) if group.len() < GROUP => Arc::make_mut(group).push(Arc::new(page)),
            _ => self.groups.push(Arc::new(vec![Arc::new(page)])),
        }
    }
}

/// Elements by number; numbers given back are used again.
#[derive(Debug, Clone)]
pub(super) struct Row<T> {
    // An array lies within its page: what is looked up is one place in memory, not two.
    pages: Pages<[T; PAGE]>,
    len: usize,
    free: Arc<Vec<u32>>,
}

impl<T: Clone + Default> Row<T> {
    pub(super) fn new() -> Self {
        Row {
            pages: Pages::new(),
            len: 0,
            free: Arc::default(),
        }
    }

    /// Numbers ever given out: each is below this.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> &T {
        &self.pages.get(number as usize / PAGE)[number as usize % PAGE]
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut T {
        &mut self.pages.get_mut(number as usize / PAGE)[number as usize % PAGE]
    }

    pub(super) fn add(&mut self, element: T) -> u32 {
        if !self.free.is_empty() {
            let number = Arc::make_mut(&mut self.free).pop().expect("not empty");
            *self.get_mut(number) = element;
            return number;
        }
        let number = u32::try_from(self.len).expect("memory ends before numbers");
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(std::array::from_fn(|_| T::default()));
        }
        self.pages.get_mut(self.len / PAGE)[self.len % PAGE] = element;
        self.len += 1;
        number
    }

    pub(super) fn give_back(&mut self, number: u32) {
        *self.get_mut(number) = T::default();
        Arc::make_mut(&mut self.free).push(number);
    }
}

/// Buckets of a [`Table`] in one page.
const BUCKETS: usize = 16;
/// Numbers in a bucket, on average, before there is one bucket more.
const LOAD: usize = 8;
/// Numbers that a bucket has room for within itself: nearly always all.
const SLOTS: usize = 12;

/// Numbers by the hash of what they stand for. It grows by one bucket at a time (linear hashing),
/// so that no single change pays for all.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pages: Pages<[Bucket; BUCKETS]>,
    len: usize,
    /// Buckets: those of the last round, a power of two, and those split in this round.
    round: usize,
    split: usize,
}

/// Two lines of the cache, and of those mostly the first.
#[derive(Debug, Clone, Default)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; SLOTS],
    len: u32,
    numbers: [u32; SLOTS],
    /// What there is no room for above.
    more: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    number: u32,
}

impl Bucket {
    fn within(&self) -> usize {
        (self.len as usize).min(SLOTS)
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let all = self.tags.iter().zip(&self.numbers).take(self.within());
        let all = all.map(|(tag, number)| Slot {
            tag: *tag,
            number: *number,
        });
        all.chain(self.more.iter().copied())
    }

    fn push(&mut self, slot: Slot) {
        match self.tags.get_mut(self.len as usize) {
            Some(tag) => {
                *tag = slot.tag;
                self.numbers[self.len as usize] = slot.number;
            }
            None => self.more.push(slot),
        }
        self.len += 1;
    }

    fn remove(&mut self, number: u32) {
        let at = self.slots().position(|slot| slot.number == number);
        let at = at.expect("what is removed was inserted");
        let last = self.slots().last().expect("it has one");
        self.len -= 1;
        match at.checked_sub(SLOTS) {
            None => (self.tags[at], self.numbers[at]) = (last.tag, last.number),
            Some(at) => self.more[at] = last,
        }
        self.more.pop();
    }
}

impl Table {
    pub(super) fn new() -> Self {
        let mut pages = Pages::new();
        pages.push(Default::default());
        Table {
            pages,
            len: 0,
            round: 1,
            split: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of this hash that `is_it` says yes to.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = hash as u32;
        let place = self.place(tag);
        let bucket = &self.pages.get(place / BUCKETS)[place % BUCKETS];
        for at in 0..bucket.within() {
            if bucket.tags[at] == tag && is_it(bucket.numbers[at]) {
                return Some(bucket.numbers[at]);
            }
        }
        if bucket.len as usize <= SLOTS {
            return None;
        }
        let mut more = bucket.more.iter();
        let found = more.find(|slot| slot.tag == tag && is_it(slot.number));
        found.map(|slot| slot.number)
    }

    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        let tag = hash as u32;
        let place = self.place(tag);
        self.bucket(place).push(Slot { tag, number });
        self.len += 1;
        if LOAD * (self.round + self.split) < self.len {
            self.grow();
        }
    }

    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let place = self.place(hash as u32);
        self.bucket(place).remove(number);
        self.len -= 1;
    }

    #[inline]
    fn place(&self, tag: u32) -> usize {
        let place = tag as usize & (self.round - 1);
        if place < self.split {
            return tag as usize & (2 * self.round - 1);
        }
        place
    }

    fn bucket(&mut self, place: usize) -> &mut Bucket {
        &mut self.pages.get_mut(place / BUCKETS)[place % BUCKETS]
    }

    /// Splits the next bucket in two.
    fn grow(&mut self) {
        let from = self.split;
        let to = self.round + self.split;
        if to.is_multiple_of(BUCKETS) {
            self.pages.push(Default::default());
        }
        let round = self.round;
        let both = std::mem::take(self.bucket(from));
        for slot in both.slots() {
            let goes = slot.tag as usize & round != 0;
            self.bucket(if goes { to } else { from }).push(slot);
        }
        self.split += 1;
        if self.split == self.round {
            self.round *= 2;
            self.split = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut row = Row::new();
        for number in 0..1_000_u32 {
            assert_eq!(row.add(number), number);
        }
        let before = row.clone();
        *row.get_mut(500) = 7;
        row.give_back(3);
        assert_eq!(row.add(9), 3);
        assert_eq!((*before.get(500), *before.get(3)), (500, 3));
        assert_eq!((*row.get(500), *row.get(3), row.len()), (7, 9, 1_000));
    }

    #[test]
    fn a_table_finds_what_it_holds_and_nothing_else() {
        let hash = |number: u32| u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let mut table = Table::new();
        for number in 0..5_000 {
            table.insert(hash(number), number);
        }
        let before = table.clone();
        for number in (0..5_000).step_by(2) {
            table.remove(hash(number), number);
        }
        for number in 0..5_000 {
            let is_it = |it| it == number;
            assert_eq!(before.find(hash(number), is_it), Some(number));
            let left = (number % 2 == 1).then_some(number);
            assert_eq!(table.find(hash(number), is_it), left);
        }
        assert_eq!((before.len(), table.len()), (5_000, 2_500));
    }
}
