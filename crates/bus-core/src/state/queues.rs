//! Messages of the queues that consumers read.
//!
//! A message is a place in the journal and what happened to it; its body is read when it is handed out.
//! Visible messages stand in the order in which they became visible, so that one that always fails does
//! not stand before fresh ones. Source: sqs-api.md 2.6, 5.

use crate::document::{Queue, Redrive};
use crate::limits::QUEUE_MESSAGES_MAX;
use crate::line::Line;
use crate::record::{Key, Place};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// Sent and never received, in this order. Such messages stand in the order of their keys.
    Fresh(u64),
    /// To be received, in this order: it was hidden before.
    Ready(u64),
    /// Sent with a delay that ends then.
    Delayed(u64),
    /// Received; visible again then.
    InFlight(u64),
}

/// A [`Seat`] in eight bytes: which one in the two top bits, its number below. No order and no running clock
/// comes near 2^62.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct PackedSeat(u64);

impl PackedSeat {
    const NUMBER: u64 = (1 << 62) - 1;

    fn pack(seat: Seat) -> Self {
        let (which, number) = match seat {
            Seat::Fresh(order) => (3, order),
            Seat::Ready(order) => (0, order),
            Seat::Delayed(due) => (1, due),
            Seat::InFlight(until) => (2, until),
        };
        Self(which << 62 | number.min(Self::NUMBER))
    }

    fn unpack(self) -> Seat {
        let number = self.0 & Self::NUMBER;
        match self.0 >> 62 {
            0 => Seat::Ready(number),
            1 => Seat::Delayed(number),
            2 => Seat::InFlight(number),
            _ => Seat::Fresh(number),
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The record that holds it.
    pub place: Place,
    /// Running clock when it was sent: retention counts from here.
    pub sent_running: u64,
    seat: PackedSeat,
    /// Version of the target that it was delivered for; 0 if it was sent.
    pub version: u32,
    /// What receives have done to it.
    pub touched: Option<Box<Touched>>,
}

/// What receives have done to a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Receives in all queues.
    pub receives: u32,
    /// Receives in this queue.
    pub receives_here: u32,
    /// First receive, epoch milliseconds.
    pub first_ms: i64,
    /// Newest receive, epoch milliseconds.
    pub last_ms: i64,
    /// Stamp of the newest receive.
    pub stamp: u64,
    /// Name of the queue that it was moved from.
    pub source: Option<Box<str>>,
}

impl Stored {
    pub(super) fn new(place: Place, version: u32, sent_running: u64) -> Self {
        Self {
            place,
            sent_running,
            seat: PackedSeat::pack(Seat::Ready(0)),
            version,
            touched: None,
        }
    }

    pub(super) fn delay_until(&mut self, due: u64) {
        self.take_seat(Seat::Delayed(due));
    }

    pub(super) fn moved_from(&mut self, queue: &str) {
        let touched = self.touched.get_or_insert_default();
        touched.receives_here = 0;
        touched.source = Some(queue.into());
        self.take_seat(Seat::Ready(0));
    }

    /// Where it stands.
    #[must_use]
    pub fn seat(&self) -> Seat {
        self.seat.unpack()
    }

    pub(super) fn take_seat(&mut self, seat: Seat) {
        self.seat = PackedSeat::pack(seat);
    }

    /// Whether it could be received at `now` on the running clock.
    #[must_use]
    pub fn is_visible(&self, now: u64) -> bool {
        match self.seat() {
            Seat::Fresh(_) | Seat::Ready(_) => true,
            Seat::Delayed(until) | Seat::InFlight(until) => until <= now,
        }
    }
}

const _: () = assert!(size_of::<Stored>() + size_of::<Key>() <= 64);

/// A queue and its messages.
#[derive(Debug)]
pub struct QueueState {
    /// Never reused, so that handles of a deleted queue are not taken for those of its successor.
    pub number: u32,
    /// Its settings.
    pub document: Queue,
    /// Messages that were deleted by who received them.
    pub deleted: u64,
    /// Messages that outlived their retention.
    pub expired: u64,
    /// Messages that went to the dead-letter queue.
    pub moved: u64,
    /// Running clock of the newest purge.
    pub purged_running: Option<u64>,
    redrive: Option<Redrive>,
    messages: Line<Stored>,
    /// Every fresh message stands behind this one.
    fresh_after: Option<Key>,
    fresh: usize,
    ready: BTreeSet<(u64, Key)>,
    hidden: BTreeSet<(u64, Key)>,
    in_flight: usize,
    order_next: u64,
}

impl QueueState {
    pub(super) fn new(number: u32, document: Queue) -> Self {
        Self {
            number,
            redrive: document.redrive(),
            document,
            deleted: 0,
            expired: 0,
            moved: 0,
            purged_running: None,
            messages: Line::default(),
            fresh_after: None,
            fresh: 0,
            ready: BTreeSet::new(),
            hidden: BTreeSet::new(),
            in_flight: 0,
            order_next: 1,
        }
    }

    pub(super) fn set(&mut self, document: Queue) {
        self.redrive = document.redrive();
        self.document = document;
    }

    /// Where messages go that are received too often.
    #[must_use]
    pub fn redrive(&self) -> Option<&Redrive> {
        self.redrive.as_ref()
    }

    /// All messages in the order they were sent.
    pub fn messages(&self) -> impl Iterator<Item = (Key, &Stored)> {
        self.messages.iter()
    }

    /// Messages behind `key` in the order they were sent.
    pub fn messages_after(&self, key: Key) -> impl Iterator<Item = (Key, &Stored)> {
        self.messages.range(Bound::Excluded(key))
    }

    /// One message.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Stored> {
        self.messages.get(key)
    }

    /// Messages in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether it takes no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.messages.len() >= QUEUE_MESSAGES_MAX
    }

    /// Messages to be received, in flight, and delayed, at `now` on the running clock.
    #[must_use]
    pub fn counts(&self, now: u64) -> (usize, usize, usize) {
        let over = self.hidden.range(
            ..=(
                now,
                Key {
                    sequence: u64::MAX,
                    index: u16::MAX,
                },
            ),
        );
        let over_in_flight = over
            .clone()
            .filter(|(_, key)| matches!(self.message(*key).seat(), Seat::InFlight(_)))
            .count();
        let over = over.count();
        let in_flight = self.in_flight - over_in_flight;
        (
            self.fresh + self.ready.len() + over,
            in_flight,
            self.hidden.len() - over - in_flight,
        )
    }

    fn message(&self, key: Key) -> &Stored {
        self.messages.get(key).expect("what has a seat is there")
    }

    pub(super) fn insert(&mut self, key: Key, stored: Stored) {
        let seat = stored.seat();
        let at_the_end = self.messages.insert(key, stored);
        let seat = match seat {
            Seat::Fresh(_) | Seat::Ready(_) => {
                let order = self.order_next;
                self.order_next += 1;
                // What comes out of order cannot be found by its key: it stands with those that were hidden.
                if at_the_end {
                    Seat::Fresh(order)
                } else {
                    Seat::Ready(order)
                }
            }
            hidden => hidden,
        };
        self.take_seat(key, seat);
    }

    fn take_seat(&mut self, key: Key, seat: Seat) {
        match seat {
            Seat::Fresh(_) => self.fresh += 1,
            Seat::Ready(order) => drop(self.ready.insert((order, key))),
            Seat::Delayed(due) => drop(self.hidden.insert((due, key))),
            Seat::InFlight(until) => {
                self.hidden.insert((until, key));
                self.in_flight += 1;
            }
        }
        if let Some(stored) = self.messages.get_mut(key) {
            stored.take_seat(seat);
        }
    }

    fn leave_seat(&mut self, key: Key, seat: Seat) {
        match seat {
            Seat::Fresh(_) => self.fresh -= 1,
            Seat::Ready(order) => drop(self.ready.remove(&(order, key))),
            Seat::Delayed(due) => drop(self.hidden.remove(&(due, key))),
            Seat::InFlight(until) => {
                self.hidden.remove(&(until, key));
                self.in_flight -= 1;
            }
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Stored> {
        let stored = self.messages.remove(key)?;
        self.leave_seat(key, stored.seat());
        Some(stored)
    }

    fn seat(&mut self, key: Key, seat: Seat) {
        let Some(old) = self.messages.get(key).map(Stored::seat) else {
            return;
        };
        self.leave_seat(key, old);
        self.take_seat(key, seat);
    }

    fn make_ready(&mut self, key: Key) {
        let order = self.order_next;
        self.order_next += 1;
        self.seat(key, Seat::Ready(order));
    }

    pub(super) fn received(&mut self, key: Key, stamp: u64, at_ms: i64, until: Option<u64>) {
        let Some(stored) = self.messages.get_mut(key) else {
            return;
        };
        let touched = stored.touched.get_or_insert_default();
        touched.receives += 1;
        touched.receives_here += 1;
        if touched.receives == 1 {
            touched.first_ms = at_ms;
        }
        touched.last_ms = at_ms;
        touched.stamp = stamp;
        match until {
            Some(until) => self.seat(key, Seat::InFlight(until)),
            None => self.make_ready(key),
        }
    }

    pub(super) fn hide(&mut self, key: Key, until: Option<u64>) {
        match until {
            Some(until) => self.seat(key, Seat::InFlight(until)),
            None => self.make_ready(key),
        }
    }

    pub(super) fn keys_up_to(&self, sequence: u64) -> Vec<Key> {
        let keys = self.messages.iter().map(|(key, _)| key);
        keys.take_while(|key| key.sequence <= sequence).collect()
    }

    pub(super) fn start(&mut self, running_ms: u64, turn: impl Fn(u64) -> u64) {
        let hidden: Vec<Key> = self.hidden.iter().map(|(_, key)| *key).collect();
        for key in hidden {
            let seat = match self.message(key).seat() {
                Seat::Delayed(due) => Seat::Delayed(turn(due)),
                Seat::InFlight(until) => Seat::InFlight(turn(until)),
                visible @ (Seat::Ready(_) | Seat::Fresh(_)) => visible,
            };
            self.seat(key, seat);
        }
        self.show(running_ms);
    }

    /// Makes visible what was hidden until `now`.
    pub(crate) fn show(&mut self, now: u64) {
        while let Some((until, key)) = self.hidden.first().copied() {
            if until > now {
                break;
            }
            self.make_ready(key);
        }
        self.find_fresh();
    }

    /// When the next hidden message becomes visible.
    #[must_use]
    pub fn next_shown(&self) -> Option<u64> {
        self.hidden.first().map(|(until, _)| *until)
    }

    /// Visible messages in order.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Key> {
        let from = self.fresh_after.map_or(Bound::Unbounded, Bound::Excluded);
        let row = self
            .messages
            .range(from)
            .filter_map(|(key, stored)| match stored.seat() {
                Seat::Fresh(order) => Some((order, key)),
                _ => None,
            });
        let mut fresh = row.take(self.fresh).peekable();
        let mut hidden_before = self.ready.iter().copied().peekable();
        std::iter::from_fn(move || {
            let next = match (fresh.peek(), hidden_before.peek()) {
                (Some(a), Some(b)) if b < a => hidden_before.next(),
                (Some(_), _) => fresh.next(),
                (None, _) => hidden_before.next(),
            };
            next.map(|(_, key)| key)
        })
    }

    /// Passes over what stands in front of the first fresh message.
    fn find_fresh(&mut self) {
        let from = self.fresh_after.map_or(Bound::Unbounded, Bound::Excluded);
        let row = self.messages.range(from);
        let passed = row.take_while(|(_, stored)| !matches!(stored.seat(), Seat::Fresh(_)));
        self.fresh_after = passed.last().map(|(key, _)| key).or(self.fresh_after);
    }

    /// Messages in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a message has outlived the queue's retention.
    #[must_use]
    pub fn is_expired(&self, stored: &Stored, now: u64) -> bool {
        now.saturating_sub(stored.sent_running) >= self.document.retention_ms()
    }

    /// The oldest messages that have outlived the retention, at most `most`. Keys are in the order of
    /// sending, so the first that has not ends the search.
    pub(crate) fn outlived(&self, now: u64, most: usize) -> Vec<Key> {
        self.messages
            .iter()
            .take_while(|(_, m)| self.is_expired(m, now))
            .take(most)
            .map(|(key, _)| key)
            .collect()
    }

    pub(super) fn restore(&mut self, key: Key, stored: Stored) {
        self.insert(key, stored);
    }
}
