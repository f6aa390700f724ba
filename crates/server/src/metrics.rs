//! Counters that `/metrics` shows. Labels come from small closed sets.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }
    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted outside the core. What the core counts is read from its state.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Events stored.
    pub events_put: Counter,
    /// Entries refused.
    pub entries_failed: Counter,
    /// Events that matched no rule.
    pub events_unmatched: Counter,
    /// Events answered and dropped because their bus does not exist (`aws_exact.unknown_bus`).
    pub events_dropped_unknown_bus: Counter,
    /// Requests that panicked.
    pub panics: Counter,
}
