//! Scans of monitors: page by page under the turn, each written with its events and the place it came to.
//!
//! A crash leaves a page whole or not at all, and the scan of the same tick goes on behind the last one. Start at
//! [`Decisions::begin`].

use super::{Decisions, Unwritten, Written, annex};
use crate::annex::Entry;
use crate::bus::Unavailable;
use crate::router::Routing;
use bus_core::record::{self, Record, event_key};
use lifecycle::reference::Ref;
use lifecycle::scan::{self, Done, Emission, Same};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

/// Objects of one page of a scan: about a millisecond under the lock.
const PAGE: usize = 256;
/// Objects looked at under one lock when their fields are indexed.
const INDEXED: usize = 2_000;

/// Why a scan did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TickError {
    /// No such monitor.
    #[error("there is no such monitor")]
    NoMonitor,
    /// The scan before it still runs (MON-3).
    #[error("the scan before it still runs; the tick was dropped")]
    Busy,
    /// Nothing can be stored.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Decisions {
    /// Begins a scan: a monitor's, for one tick.
    ///
    /// # Errors
    /// [`TickError`].
    pub fn begin(&self, monitor: &str, tick: i64) -> Result<Scanning, TickError> {
        if self.documents().monitor(monitor).is_none() {
            return Err(TickError::NoMonitor);
        }
        let mut scanning = self.locked_scanning();
        if scanning.contains_key(monitor) {
            return Err(TickError::Busy);
        }
        scanning.insert(monitor.to_owned(), tick);
        Ok(Scanning {
            decisions: self.clone(),
            monitor: monitor.to_owned(),
            tick,
        })
    }

    fn locked_scanning(&self) -> MutexGuard<'_, BTreeMap<String, i64>> {
        let scanning = self.inner.scanning.lock();
        scanning.unwrap_or_else(PoisonError::into_inner)
    }

    async fn scan(&self, monitor: &str, tick: i64) -> Result<Done, TickError> {
        let (decisions, name) = (self.clone(), monitor.to_owned());
        let same = tokio::task::spawn_blocking(move || decisions.index(&name)).await;
        let same = same.map_err(|_| Unavailable)?;
        let same = same.ok_or(TickError::NoMonitor)?;
        let mut before: Option<Written> = None;
        let (mut objects, mut with_events) = (PAGE, true);
        loop {
            let turn = self.inner.turn.lock().await;
            let (matched_running, routing) = self.inner.bus.routing();
            let (records, done) = {
                let kept = self.inner.bus.kept().read();
                let documents = self.documents();
                let home = &self.inner.bus.identity().home;
                let page = scan::page(&documents, &kept.state, home, monitor, tick, &same, objects);
                let page = page.ok_or(TickError::NoMonitor)?;
                let events = page.emissions.iter().filter(|_| with_events);
                let mut records: Vec<_> = events.filter_map(|it| self.emit(it, &routing)).collect();
                records.push((None, annex(&Entry::Effects(page.effects))));
                (records, page.done)
            };
            let written = self.write(records, None, matched_running).await;
            drop(turn);
            let written = match written {
                Ok(Some(written)) => written,
                // Of rules that changed meanwhile, the same page is asked again.
                Ok(None) => continue,
                // And of what no block holds, half a page.
                Err(Unwritten::TooLarge) if 1 < objects => {
                    objects /= 2;
                    continue;
                }
                // The scan goes on without what cannot be.
                Err(Unwritten::TooLarge) if with_events => {
                    tracing::error!(
                        monitor,
                        tick,
                        "the event about one object is larger than can be stored at once; it is left out"
                    );
                    with_events = false;
                    continue;
                }
                Err(why) => {
                    tracing::error!(monitor, tick, %why, "a page of a scan cannot be stored");
                    return Err(Unavailable.into());
                }
            };
            (objects, with_events) = (PAGE, true);
            if let Some(done) = done {
                // What was written before is durable with it.
                written.durable().await?;
                return Ok(done);
            }
            // One page is decided while another is synced.
            if let Some(before) = before.replace(written) {
                before.durable().await?;
            }
        }
    }

    /// The index of equal fields, made in pieces.
    pub(super) fn index(&self, monitor: &str) -> Option<Same> {
        let documents = self.documents();
        let monitor = documents.monitor(monitor)?;
        let mut same = Same::default();
        let mut after: Option<Ref> = None;
        loop {
            let kept = self.inner.bus.kept().read();
            let objects: Vec<_> = kept
                .state
                .shown(&monitor.resource, after.as_ref())
                .take(INDEXED)
                .collect();
            let Some((last, _)) = objects.last() else {
                return Some(same);
            };
            let last = (*last).clone();
            if !same.add(monitor, objects.into_iter()) {
                return Some(same);
            }
            after = Some(last);
        }
    }

    fn emit(&self, emission: &Emission, routing: &Routing) -> Option<(Option<u128>, Vec<u8>)> {
        let accepted_ms = self.inner.bus.now().wall_ms;
        let envelope = emission.json.as_bytes();
        let routed = routing.route(
            &emission.bus,
            envelope,
            self.inner.bus.shapers(),
            accepted_ms,
        );
        let Ok(routed) = routed else {
            tracing::error!(
                id = emission.id,
                "an event of a monitor matches too many targets"
            );
            return None;
        };
        let event = Record::Event {
            deliveries: routed.deliveries,
            event: record::Event {
                accepted_ms,
                id: &emission.id,
                bus: &emission.bus,
                trace: "",
                envelope,
            },
        };
        Some((Some(event_key(&emission.id)), event.encode()))
    }

    /// The tick of a monitor's scan that runs now.
    #[must_use]
    pub fn scanning(&self, monitor: &str) -> Option<i64> {
        self.locked_scanning().get(monitor).copied()
    }
}

/// A scan that has begun; there is one of each monitor at a time.
pub struct Scanning {
    decisions: Decisions,
    monitor: String,
    tick: i64,
}

impl Scanning {
    /// Goes through the objects. Dropped before the end, it goes on with the next scan of the same tick.
    ///
    /// # Errors
    /// [`TickError`].
    pub async fn run(self) -> Result<Done, TickError> {
        self.decisions.scan(&self.monitor, self.tick).await
    }
}

impl Drop for Scanning {
    fn drop(&mut self) {
        self.decisions.locked_scanning().remove(&self.monitor);
    }
}
