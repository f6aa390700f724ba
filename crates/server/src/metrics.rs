//! Counters that `/metrics` shows. Labels come from small closed sets.

use crate::status::{Queue, Status, Target};
use std::fmt::Write as _;
use std::sync::Arc;
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

/// How many of something there are, with a bound.
#[derive(Debug, Default, Clone)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// One more, until what is returned is dropped; `None` if there are `most` already.
    #[must_use]
    pub fn enter(&self, most: u64) -> Option<Inside> {
        let more = |n: u64| (n < most).then_some(n + 1);
        let entered = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.ok().map(|_| Inside(self.clone()))
    }
    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a [`Gauge`] counts.
#[derive(Debug)]
pub struct Inside(Gauge);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
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
    /// Events of schedules stored.
    pub scheduled_events: Counter,
    /// Ticks of schedules that made no event: the server did not run, or they lay too far back.
    pub schedule_missed: Counter,
    /// Ticks of monitors that came while the scan before them still ran.
    pub monitor_ticks_dropped: Counter,
    /// Requests that panicked.
    pub panics: Counter,
    /// Live tails.
    pub tails: Gauge,
}

/// Series of one answer at most: what a scraper keeps for good. Source: reliability-security.md 10.
const SERIES_MAX: usize = 10_000;
/// Series of one queue, and of one target.
const SERIES_PER_QUEUE: usize = 5;
const SERIES_PER_TARGET: usize = 5;
/// Queues may take at most half of the series, so that targets are always seen.
const QUEUES_MAX: usize = SERIES_MAX / 2 / SERIES_PER_QUEUE;

impl Metrics {
    /// All figures in Prometheus's text form.
    ///
    /// Bounds: [`SERIES_MAX`] series; `busbar_metrics_series_left_out` says how many more there would be.
    #[must_use]
    pub fn text(&self, status: &Status, rule_files_ok: bool) -> String {
        let mut text = Text::default();
        text.single(
            "busbar_events_put_total",
            "counter",
            "Events stored.",
            self.events_put.get(),
        );
        text.single(
            "busbar_entries_failed_total",
            "counter",
            "Entries refused.",
            self.entries_failed.get(),
        );
        text.single(
            "busbar_events_unmatched_total",
            "counter",
            "Events that matched no rule.",
            self.events_unmatched.get(),
        );
        text.family(
            "busbar_events_dropped_total",
            "counter",
            "Events answered and not kept.",
        );
        text.sample(
            "busbar_events_dropped_total",
            &[("reason", "unknown_bus")],
            self.events_dropped_unknown_bus.get(),
        );
        text.single(
            "busbar_deliveries_ended_expired_total",
            "counter",
            "Deliveries that ended without a dead-letter queue, removed targets included.",
            status.expired,
        );
        text.single(
            "busbar_scheduled_events_total",
            "counter",
            "Events of schedules stored.",
            self.scheduled_events.get(),
        );
        text.single(
            "busbar_schedule_missed_total",
            "counter",
            "Ticks of schedules that made no event.",
            self.schedule_missed.get(),
        );
        text.single(
            "busbar_monitor_ticks_dropped_total",
            "counter",
            "Ticks of monitors that came while the scan before them still ran.",
            self.monitor_ticks_dropped.get(),
        );
        text.single(
            "busbar_panics_total",
            "counter",
            "Requests that panicked.",
            self.panics.get(),
        );
        text.single(
            "busbar_history_damaged_total",
            "counter",
            "Files of the history found damaged, set aside and made again.",
            status.history_damaged,
        );
        text.single("busbar_tails", "gauge", "Live tails.", self.tails.get());
        text.single(
            "busbar_rule_files_ok",
            "gauge",
            "1 if the rule files as they are now are in force.",
            u64::from(rule_files_ok),
        );
        text.single(
            "busbar_starts_total",
            "counter",
            "Starts on this data directory.",
            status.starts,
        );
        let journal = &status.journal;
        text.single(
            "busbar_journal_records_total",
            "counter",
            "Records appended since the data directory was made.",
            journal.next - 1,
        );
        text.single(
            "busbar_journal_records_synced_total",
            "counter",
            "Records that are durable.",
            journal.synced,
        );
        text.single(
            "busbar_journal_snapshot_record",
            "gauge",
            "Newest record that the newest snapshot knows.",
            journal.snapshot,
        );
        text.single(
            "busbar_journal_segments",
            "gauge",
            "Segments kept.",
            journal.segments as u64,
        );
        text.single(
            "busbar_journal_bytes",
            "gauge",
            "Bytes in the segments kept.",
            journal.bytes,
        );
        text.single(
            "busbar_journal_disk_low",
            "gauge",
            "1 if free space is under its mark and events are refused.",
            u64::from(journal.disk_low),
        );

        let queues = &status.queues[..status.queues.len().min(QUEUES_MAX)];
        text.queues(queues);
        // One series is kept for the count of those that are left out.
        let room = (SERIES_MAX - text.series - 1) / SERIES_PER_TARGET;
        let targets = &status.targets[..status.targets.len().min(room)];
        text.targets(targets);
        let left_out = (status.queues.len() - queues.len()) * SERIES_PER_QUEUE
            + (status.targets.len() - targets.len() + status.targets_left_out) * SERIES_PER_TARGET;
        text.single(
            "busbar_metrics_series_left_out",
            "gauge",
            "Series that are not shown, since there are too many.",
            left_out as u64,
        );
        assert!(text.series <= SERIES_MAX);
        text.out
    }
}

/// A text in the making.
#[derive(Debug, Default)]
struct Text {
    out: String,
    series: usize,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.series += 1;
        self.out.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            self.out.push(if n == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn queues(&mut self, queues: &[Queue]) {
        let name = "busbar_queue_messages";
        self.family(name, "gauge", "Messages in a queue.");
        for queue in queues {
            for (state, count) in [
                ("visible", queue.visible),
                ("in_flight", queue.in_flight),
                ("delayed", queue.delayed),
            ] {
                self.sample(
                    name,
                    &[("queue", &queue.name), ("state", state)],
                    count as u64,
                );
            }
        }
        let name = "busbar_queue_deleted_total";
        self.family(name, "counter", "Messages deleted by who received them.");
        for queue in queues {
            self.sample(name, &[("queue", &queue.name)], queue.deleted);
        }
        let name = "busbar_queue_messages_expired_total";
        self.family(name, "counter", "Messages that outlived their retention.");
        for queue in queues {
            self.sample(name, &[("queue", &queue.name)], queue.expired);
        }
    }

    fn targets(&mut self, targets: &[Target]) {
        type Figure = fn(&Target) -> u64;
        let figures: [(&str, &str, &str, Figure); SERIES_PER_TARGET] = [
            (
                "busbar_deliveries_delivered_total",
                "counter",
                "Deliveries that arrived.",
                |t| t.delivered,
            ),
            (
                "busbar_deliveries_dead_lettered_total",
                "counter",
                "Deliveries that became dead letters.",
                |t| t.dead_letters,
            ),
            (
                "busbar_deliveries_expired_total",
                "counter",
                "Deliveries that ended without a dead-letter queue.",
                |t| t.expired,
            ),
            (
                "busbar_deliveries_pending",
                "gauge",
                "Deliveries that have not ended.",
                |t| t.pending as u64,
            ),
            (
                "busbar_deliveries_in_flight",
                "gauge",
                "Attempts being made.",
                |t| t.in_flight as u64,
            ),
        ];
        for (name, kind, help, figure) in figures {
            self.family(name, kind, help);
            // A target that came back as another kind has two backlogs under one name.
            let same = |a: &Target, b: &Target| {
                (&a.bus, &a.rule, &a.target) == (&b.bus, &b.rule, &b.target)
            };
            for target in targets.chunk_by(same) {
                let labels = [
                    ("bus", target[0].bus.as_str()),
                    ("rule", target[0].rule.as_str()),
                    ("target", target[0].target.as_str()),
                ];
                self.sample(name, &labels, target.iter().map(figure).sum());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::JournalStatus;

    fn status(targets: usize, queues: usize) -> Status {
        let target = |n: usize| Target {
            bus: "default".into(),
            rule: format!("r{n}"),
            target: "a\"b\\c\nd".into(),
            kind: "log",
            arn: String::new(),
            pending: n,
            in_flight: 0,
            retries: 0,
            next_try: None,
            delivered: 3,
            dead_letters: 0,
            expired: 0,
            last_delivered: None,
            last_error: None,
            retired: false,
        };
        let queue = |n: usize| Queue {
            name: format!("q{n}"),
            arn: String::new(),
            visible: 1,
            in_flight: 2,
            delayed: 3,
            deleted: 4,
            expired: 5,
        };
        Status {
            targets: (0..targets).map(target).collect(),
            targets_left_out: 0,
            queues: (0..queues).map(queue).collect(),
            journal: JournalStatus {
                next: 1,
                synced: 0,
                segments: 1,
                bytes: 0,
                snapshot: 0,
                disk_low: false,
            },
            starts: 1,
            expired: 0,
            history_damaged: 0,
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let text = Metrics::default().text(&status(1, 1), true);
        assert!(text.contains(
            "busbar_deliveries_delivered_total{bus=\"default\",rule=\"r0\",target=\"a\\\"b\\\\c\\nd\"} 3\n"
        ));
        assert!(text.contains("busbar_queue_messages{queue=\"q0\",state=\"delayed\"} 3\n"));
        assert!(text.ends_with("busbar_metrics_series_left_out 0\n"));
    }

    #[test]
    fn series_are_bounded_and_the_rest_is_counted() {
        let text = Metrics::default().text(&status(3_000, 3_000), true);
        let series = text.lines().filter(|l| !l.starts_with('#')).count();
        assert!(series <= SERIES_MAX);
        assert!(SERIES_MAX - 10 < series);
        let left_out: usize = text
            .lines()
            .last()
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        // 20 series are neither of a queue nor of a target.
        assert_eq!(series + left_out, 20 + 6_000 * 5);
    }
}
