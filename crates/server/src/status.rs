//! How the bus is doing: targets, queues, journal, at one moment.
//!
//! Read from the state in one look, so that the figures agree with each other, and shown by the status call
//! and by `/metrics`. What stands here rests on durable records, as everything that leaves the core.
//!
//! Start at [`read`].

use crate::bus::{Bus, Unavailable};
use crate::store::Appender;
use bus_core::core::Core;
use bus_core::document::Kind;
use bus_core::envelope::format_millis;
use bus_core::outcome::Failure;
use bus_core::state::deliveries::Backlog;
use bus_core::state::{Now, Version};
use journal::Journal;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Targets that are shown at most; those with work or trouble come first. With the core's own speed a look
/// at so many takes a few milliseconds, in which nothing else is stepped.
pub const TARGETS_MAX: usize = 10_000;

/// How the bus is doing.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// By bus, rule and target id.
    pub targets: Vec<Target>,
    /// Targets that are not shown, since there are too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub targets_left_out: usize,
    /// By name.
    pub queues: Vec<Queue>,
    /// The journal.
    pub journal: JournalStatus,
    /// How often the server has started.
    #[serde(skip)]
    pub starts: u64,
    /// Deliveries that ended without a dead-letter queue, since the data directory was made.
    #[serde(skip)]
    pub expired: u64,
    /// Files of the history that were found damaged since the start.
    #[serde(skip)]
    pub history_damaged: u64,
}

/// One target and what waits for it.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    /// Bus of its rule.
    pub bus: String,
    /// Its rule.
    pub rule: String,
    /// Its id.
    pub target: String,
    /// `webhook`, `log`, `queue`, or `unknown`.
    pub kind: &'static str,
    /// What it names; empty if it is gone and nothing names it any more.
    pub arn: String,
    /// Deliveries that have not ended; of a queue, what waits outside of it.
    pub pending: usize,
    /// Attempts being made.
    pub in_flight: usize,
    /// Deliveries that failed before and wait for their time.
    pub retries: usize,
    /// When the next of them is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that became dead letters.
    pub dead_letters: u64,
    /// Deliveries that ended without a dead-letter queue.
    pub expired: u64,
    /// When the newest delivery arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivered: Option<String>,
    /// The newest failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// The target is gone; what waits for it waits a while for its return.
    pub retired: bool,
}

/// Why something failed, and when.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// When.
    pub at: String,
    /// The code that a dead letter shows.
    pub code: &'static str,
    /// HTTP status of the target's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For people.
    pub text: String,
}

/// One queue.
#[derive(Debug, Clone, Serialize)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Messages that can be received.
    pub visible: usize,
    /// Messages that were received and not yet deleted.
    pub in_flight: usize,
    /// Messages sent with a delay that has not ended.
    pub delayed: usize,
    /// Messages that were deleted by who received them.
    pub deleted: u64,
    /// Messages that outlived their retention.
    pub expired: u64,
}

/// The journal.
#[derive(Debug, Clone, Serialize)]
pub struct JournalStatus {
    /// Number that the next record gets.
    pub next: u64,
    /// Every record up to here is durable.
    pub synced: u64,
    /// Segments that are kept.
    pub segments: usize,
    /// Bytes in them.
    pub bytes: u64,
    /// Newest record that the newest snapshot knows.
    pub snapshot: u64,
    /// Free space is under its mark: new events are refused.
    pub disk_low: bool,
}

/// Reads all of it.
///
/// # Errors
/// [`Unavailable`] if the core has ended.
pub async fn read(bus: &Bus) -> Result<Status, Unavailable> {
    let now = bus.now();
    let damaged = bus.history().damaged();
    bus.look(move |core, appender| Status {
        history_damaged: damaged,
        ..of(core, appender, now)
    })
    .await
}

/// What a target's ARN means, in one word.
#[must_use]
pub fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Webhook(..) => "webhook",
        Kind::Destination(_) => "destination",
        Kind::Log(_) => "log",
        Kind::Queue(_) => "queue",
        Kind::Internal => "internal",
        Kind::Unknown => "unknown",
    }
}

fn of(core: &Core, appender: &Appender, now: Now) -> Status {
    let state = core.state();
    let mut newest: HashMap<u32, &Arc<Version>> = HashMap::new();
    for version in state.versions() {
        let entry = newest.entry(version.backlog).or_insert(version);
        if entry.number < version.number {
            *entry = version;
        }
    }
    let mut backlogs: Vec<&Backlog> = state.backlogs().collect();
    let left_out = backlogs.len().saturating_sub(TARGETS_MAX);
    if left_out > 0 {
        backlogs.sort_by_key(|b| b.is_empty() && b.dead_letters == 0 && b.expired == 0);
        backlogs.truncate(TARGETS_MAX);
    }
    backlogs.sort_by(|a, b| a.name.cmp(&b.name));
    let targets = backlogs
        .into_iter()
        .map(|backlog| target(backlog, newest.get(&backlog.number).copied(), now));
    let home = state.home();
    let queues = state.queues().map(|queue| {
        let name = queue.document.name.as_str();
        let (visible, in_flight, delayed) = queue.counts(now.running_ms);
        Queue {
            name: name.to_owned(),
            arn: home.queue_arn(name),
            visible,
            in_flight,
            delayed,
            deleted: queue.deleted,
            expired: queue.expired,
        }
    });
    let journal = &appender.journal;
    let segments = journal.segments();
    Status {
        targets: targets.collect(),
        targets_left_out: left_out,
        queues: queues.collect(),
        journal: JournalStatus {
            next: journal.next(),
            synced: journal.synced(),
            segments: segments.len(),
            bytes: segments.iter().map(|s| s.bytes).sum(),
            snapshot: journal.snapshot_position(),
            disk_low: journal.disk_low(),
        },
        starts: state.start_number,
        expired: state.expired,
        history_damaged: 0,
    }
}

fn target(backlog: &Backlog, version: Option<&Arc<Version>>, now: Now) -> Target {
    let (bus, rule, id, shorthand) = &backlog.name;
    let gone = if *shorthand { "webhook" } else { "unknown" };
    Target {
        bus: bus.as_str().to_owned(),
        rule: rule.as_str().to_owned(),
        target: id.as_str().to_owned(),
        kind: version.map_or(gone, |v| kind_name(&v.kind)),
        arn: version.map_or_else(String::new, |v| v.target.arn.clone()),
        pending: backlog.len(),
        in_flight: backlog.in_flight(),
        retries: backlog.retries(),
        next_try: backlog.next_due().map(|due| {
            let wait = due.saturating_sub(now.running_ms).cast_signed();
            format_millis(now.wall_ms + wait)
        }),
        delivered: backlog.delivered,
        dead_letters: backlog.dead_letters,
        expired: backlog.expired,
        last_delivered: backlog.last_delivered_ms.map(format_millis),
        last_error: backlog
            .last_failure
            .as_ref()
            .map(|(at_ms, failure)| last_error(*at_ms, failure)),
        retired: backlog.retired_running.is_some(),
    }
}

fn last_error(at_ms: i64, failure: &Failure) -> LastError {
    LastError {
        at: format_millis(at_ms),
        code: failure.code.as_str(),
        status: failure.status,
        text: failure.text.clone(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}
