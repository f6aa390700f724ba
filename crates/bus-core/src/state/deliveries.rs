//! Deliveries that wait: one backlog for each target.
//!
//! A pending delivery costs its place, not its body: 64 bytes in a [`Line`], which never doubles.
//! First attempts go in the order of the journal, behind a cursor; what failed before waits by its due
//! time. The two take turns, so that neither a flood of new events nor a crowd of retries starves the
//! other (reliability-security.md 5).

use crate::line::Line;
use crate::name::{BusName, RuleName, TargetId};
use crate::outcome::Failure;
use crate::record::{Key, Place};
use crate::retry::Exhausted;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

/// One delivery that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// The record that holds its event.
    pub place: Place,
    /// Running clock when the event was accepted.
    pub accepted_running: u64,
    /// When it is to be tried again; 0 = never tried.
    pub(super) due: u64,
    /// Version of its target.
    pub version: u32,
    /// Attempts that have ended.
    pub attempts: u16,
    /// Whether an attempt is being made.
    pub(super) in_flight: bool,
}

const _: () = assert!(std::mem::size_of::<Pending>() + std::mem::size_of::<Key>() <= 64);

impl Pending {
    pub(super) fn new(place: Place, version: u32, accepted_running: u64) -> Self {
        Self {
            place,
            accepted_running,
            due: 0,
            version,
            attempts: 0,
            in_flight: false,
        }
    }
}

/// Bus, rule, id, and whether it is a webhook.
pub type BacklogName = (BusName, RuleName, TargetId, bool);

/// The deliveries of one target.
#[derive(Debug)]
pub struct Backlog {
    /// Its number.
    pub number: u32,
    /// Which target.
    pub name: BacklogName,
    /// Versions of the target that are still there.
    pub(super) versions: u32,
    /// Since when the target is gone.
    pub retired_running: Option<u64>,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that became dead letters.
    pub dead_letters: u64,
    /// Deliveries that ended without a dead-letter queue.
    pub expired: u64,
    /// When the newest delivery arrived, epoch milliseconds.
    pub last_delivered_ms: Option<i64>,
    /// The newest failure and when, epoch milliseconds.
    pub last_failure: Option<(i64, Failure)>,
    pub(super) pending: Line<Pending>,
    pub(super) giving_up: HashMap<Key, (Failure, Option<Exhausted>)>,
    waiting: BTreeSet<(u64, Key)>,
    cursor: Option<Key>,
    in_flight: usize,
    retry_next: bool,
}

impl Backlog {
    pub(super) fn new(number: u32, name: BacklogName) -> Self {
        Self {
            number,
            name,
            versions: 0,
            retired_running: None,
            delivered: 0,
            dead_letters: 0,
            expired: 0,
            last_delivered_ms: None,
            last_failure: None,
            pending: Line::default(),
            giving_up: HashMap::new(),
            waiting: BTreeSet::new(),
            cursor: None,
            in_flight: 0,
            retry_next: false,
        }
    }

    /// Whether attempts go out of the house, and so have few slots.
    #[must_use]
    pub fn is_webhook(&self) -> bool {
        self.name.3
    }

    /// Deliveries that have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Attempts being made.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Deliveries that failed before and wait for their time.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.waiting.len()
    }

    /// When the next retry is due, on the running clock.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// One delivery.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Pending> {
        self.pending.get(key)
    }

    /// Why a delivery whose dead-letter queue cannot be reached was given up.
    #[must_use]
    pub fn giving_up(&self, key: Key) -> Option<&(Failure, Option<Exhausted>)> {
        self.giving_up.get(&key)
    }

    pub(super) fn insert(&mut self, key: Key, pending: Pending) {
        self.pending.insert(key, pending);
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Pending> {
        let pending = self.pending.remove(key)?;
        self.giving_up.remove(&key);
        if pending.in_flight {
            self.in_flight -= 1;
        }
        if pending.due != 0 {
            self.waiting.remove(&(pending.due, key));
        }
        Some(pending)
    }

    pub(super) fn retry(
        &mut self,
        key: Key,
        attempts: u32,
        due: u64,
        giving_up: Option<(Failure, Option<Exhausted>)>,
    ) {
        let Some(pending) = self.pending.get_mut(key) else {
            return;
        };
        if pending.in_flight {
            self.in_flight -= 1;
        }
        if pending.due != 0 {
            self.waiting.remove(&(pending.due, key));
        }
        pending.in_flight = false;
        pending.due = due.max(1);
        pending.attempts = u16::try_from(attempts).expect("at most ATTEMPTS_MAX");
        self.waiting.insert((pending.due, key));
        match giving_up {
            Some(reason) => drop(self.giving_up.insert(key, reason)),
            None => drop(self.giving_up.remove(&key)),
        }
    }

    pub(super) fn start(&mut self, turn: impl Fn(u64) -> u64) {
        self.waiting.clear();
        self.cursor = None;
        self.in_flight = 0;
        for (key, pending) in self.pending.values_mut() {
            pending.in_flight = false;
            if pending.due != 0 {
                pending.due = turn(pending.due).max(1);
                self.waiting.insert((pending.due, key));
            }
        }
        if self.retired_running.is_some() {
            // The wait for its return begins anew: the stop must not use it up.
            self.retired_running = Some(turn(0));
        }
    }

    /// Takes the next delivery that is due at `now` and durable (up to `synced`), and counts it in flight.
    pub(crate) fn take(&mut self, now: u64, synced: u64) -> Option<(Key, Pending)> {
        let retry = self
            .waiting
            .first()
            .copied()
            .filter(|(due, _)| *due <= now)
            .map(|(_, key)| key);
        let fresh = self.fresh(synced);
        let key = match (retry, fresh) {
            (Some(retry), Some(fresh)) => {
                self.retry_next = !self.retry_next;
                if self.retry_next { fresh } else { retry }
            }
            (one, other) => one.or(other)?,
        };
        if Some(key) == fresh {
            self.cursor = Some(key);
        }
        let pending = self.pending.get_mut(key).expect("found above");
        if pending.due != 0 {
            self.waiting.remove(&(pending.due, key));
            pending.due = 0;
        }
        pending.in_flight = true;
        self.in_flight += 1;
        Some((key, *pending))
    }

    /// Whether [`Backlog::take`] would find something.
    pub(crate) fn has_due(&mut self, now: u64, synced: u64) -> bool {
        self.waiting.first().is_some_and(|(due, _)| *due <= now) || self.fresh(synced).is_some()
    }

    /// The first delivery behind the cursor that was never tried. What lies behind the cursor and was
    /// tried is passed over once.
    fn fresh(&mut self, synced: u64) -> Option<Key> {
        let from = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let mut passed = None;
        let mut found = None;
        for (key, pending) in self.pending.range(from) {
            if pending.due == 0 && !pending.in_flight {
                found = Some(key);
                break;
            }
            passed = Some(key);
        }
        self.cursor = passed.or(self.cursor);
        found.filter(|key| key.sequence <= synced)
    }
}
