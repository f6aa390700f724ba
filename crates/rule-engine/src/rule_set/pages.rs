//! A long row that two sets can share, and a table of numbers by hash on top of it.
//!
//! A set of a million rules is changed one rule at a time while readers hold the one before. So
//! everything long lies in pages that are shared until one is written to: a change copies the
//! pages that it touches and the short row of pointers above them, and nothing else.

use std::sync::Arc;

use wide::u8x16;

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
/// Numbers in a bucket, on average, before there is one bucket more. Those that are due to be
/// split hold twice as many as those that just were.
const LOAD: usize = 5;
/// Numbers that one bucket has room for.
const SLOTS: usize = 12;

/// Numbers by the hash of what they stand for. It grows by one bucket at a time (linear hashing),
/// so that no single change pays for all.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pages: Pages<[Bucket; BUCKETS]>,
    /// Buckets that go on from those that are full.
    more: Row<Bucket>,
    len: usize,
    /// Buckets: those of the last round, a power of two, and those split in this round.
    round: usize,
    split: usize,
}

/// One line of the cache.
#[derive(Debug, Clone, Default)]
#[repr(C, align(64))]
struct Bucket {
    /// Eight bits of each hash, 0 where a slot is free; behind them where in [`Table::more`] it goes
    /// on, plus one. All are compared at once: to go from one to the next until one fits is a
    /// branch that nobody can foretell.
    tags: [u8; 16],
    numbers: [u32; SLOTS],
}

/// What a bucket keeps of a hash. Its other end tells the bucket.
#[inline(always)]
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

impl Bucket {
    /// The slots with this tag, as bits.
    #[inline(always)]
    fn with(&self, tag: u8) -> u32 {
        u8x16::new(self.tags)
            .simd_eq(u8x16::splat(tag))
            .to_bitmask()
            & ((1 << SLOTS) - 1)
    }

    /// Where it goes on.
    #[inline(always)]
    fn next(&self) -> Option<u32> {
        let [.., a, b, c, d] = self.tags;
        u32::from_le_bytes([a, b, c, d]).checked_sub(1)
    }

    fn set_next(&mut self, next: u32) {
        self.tags[SLOTS..].copy_from_slice(&(next + 1).to_le_bytes());
    }

    /// False when it is full.
    fn push(&mut self, tag: u8, number: u32) -> bool {
        let free = self.with(0).trailing_zeros() as usize;
        let Some(slot) = self.numbers.get_mut(free) else {
            return false;
        };
        (self.tags[free], *slot) = (tag, number);
        true
    }

    /// The numbers that it holds itself.
    fn numbers(&self) -> impl Iterator<Item = u32> {
        let slots = self.tags.iter().zip(&self.numbers);
        slots.filter(|slot| *slot.0 != 0).map(|slot| *slot.1)
    }
}

impl Table {
    pub(super) fn new() -> Self {
        let mut pages = Pages::new();
        pages.push(Default::default());
        Table {
            pages,
            more: Row::new(),
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
        let place = self.place(hash);
        let mut bucket = &self.pages.get(place / BUCKETS)[place % BUCKETS];
        let tag = tag(hash);
        loop {
            let mut alike = bucket.with(tag);
            while alike != 0 {
                let number = bucket.numbers[alike.trailing_zeros() as usize];
                if is_it(number) {
                    return Some(number);
                }
                alike &= alike - 1;
            }
            bucket = self.more.get(bucket.next()?);
        }
    }

    /// `hash_of` tells the hash of any number in it.
    pub(super) fn insert(&mut self, hash: u64, number: u32, hash_of: impl Fn(u32) -> u64) {
        self.put(self.place(hash), hash, number);
        self.len += 1;
        if LOAD * (self.round + self.split) < self.len {
            self.grow(hash_of);
        }
    }

    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        self.len -= 1;
        let mut bucket = self.bucket(self.place(hash));
        loop {
            let mut slots = bucket.numbers.iter().zip(&bucket.tags);
            if let Some(at) = slots.position(|slot| slot == (&number, &tag(hash))) {
                bucket.tags[at] = 0;
                return;
            }
            let next = bucket.next();
            bucket = self
                .more
                .get_mut(next.expect("what is removed was inserted"));
        }
    }

    #[inline]
    fn place(&self, hash: u64) -> usize {
        let place = hash as usize & (self.round - 1);
        if place < self.split {
            return hash as usize & (2 * self.round - 1);
        }
        place
    }

    fn bucket(&mut self, place: usize) -> &mut Bucket {
        &mut self.pages.get_mut(place / BUCKETS)[place % BUCKETS]
    }

    fn put(&mut self, place: usize, hash: u64, number: u32) {
        let tag = tag(hash);
        let bucket = &mut self.pages.get_mut(place / BUCKETS)[place % BUCKETS];
        if bucket.push(tag, number) {
            return;
        }
        // What is full goes on in another, and that in those before it.
        let mut next = bucket.next();
        while let Some(more) = next {
            let more = self.more.get_mut(more);
            if more.push(tag, number) {
                return;
            }
            next = more.next();
        }
        let mut new = Bucket::default();
        if let Some(next) = bucket.next() {
            new.set_next(next);
        }
        new.push(tag, number);
        bucket.set_next(self.more.add(new));
    }

    /// Splits the next bucket in two.
    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let from = self.split;
        let to = self.round + self.split;
        if to.is_multiple_of(BUCKETS) {
            self.pages.push(Default::default());
        }
        let mut old = std::mem::take(self.bucket(from));
        self.split += 1;
        loop {
            for number in old.numbers() {
                let hash = hash_of(number);
                self.put(self.place(hash), hash, number);
            }
            let Some(next) = old.next() else {
                break;
            };
            old = self.more.get(next).clone();
            self.more.give_back(next);
        }
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
        let hash = |number: u32| {
            u64::from(number)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(32)
        };
        let mut table = Table::new();
        for number in 0..5_000 {
            table.insert(hash(number), number, hash);
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
