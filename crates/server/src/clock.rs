//! The only room that reads a clock.
//!
//! Two times: the wall clock, which may jump, and the running clock, which counts the milliseconds that the
//! server has run over all its lives and never goes back.

#![expect(clippy::disallowed_methods, reason = "this is the room that may")]

use bus_core::state::Now;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that goes on from where the journal's newest record stood.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base_running: u64,
    started: Instant,
}

impl Clock {
    /// Starts at `base_running` milliseconds of running time.
    #[must_use]
    pub fn start(base_running: u64) -> Self {
        Self {
            base_running,
            started: Instant::now(),
        }
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let running = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            wall_ms: wall_ms(),
            running_ms: self.base_running + running,
        }
    }
}

/// How far the wall clock of this process is moved, in milliseconds.
static MOVED_MS: AtomicI64 = AtomicI64::new(0);

/// Moves the wall clock of this process, for tests that play days in seconds: it shows `wall_ms` now and goes
/// on from there. The running clock is not moved.
pub fn set_wall(wall: i64) {
    let moved = wall - (wall_ms() - MOVED_MS.load(Ordering::Relaxed));
    MOVED_MS.store(moved, Ordering::Relaxed);
}

/// Epoch milliseconds; a clock before 1970 counts as 1970.
#[must_use]
pub fn wall_ms() -> i64 {
    let system = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
    system.saturating_add(MOVED_MS.load(Ordering::Relaxed))
}

/// For measuring how long something took.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}
