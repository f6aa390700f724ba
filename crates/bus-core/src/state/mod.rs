//! The state: what a reader of the whole journal would know.
//!
//! `apply(record)` is the only way in; it does no I/O, reads no clock and draws nothing, so the same
//! journal always gives the same state. Documents with their versions are kept here, deliveries that
//! wait in [`deliveries`], messages in [`queues`]; [`snapshot`] writes all of it down and reads it back.
//!
//! Times: a record holds wall-clock times, a living process counts on the running clock. While the
//! journal is read back, due times stay wall clock; [`State::start`] turns them round once, and bounds
//! those that a clock jump has put too far away (reliability-security.md rule 6).

pub mod deliveries;
pub mod queues;
pub mod snapshot;

use crate::codec::DecodeError;
use crate::document::{Bus, Change, Kind, Queue, Rule, Target, Tick, Webhook, destinations_rule};
use crate::limits::{
    BACKOFF_MS_MAX, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_MS, VERSION_LINGER_MS, VISIBILITY_SECONDS_MAX,
};
use crate::name::{BusName, Home, QueueName, RuleName, TargetId};
use crate::record::{Followed, Key, Place, Record};
use crate::retry::Policy;
use deliveries::{Backlog, Pending};
use queues::{QueueState, Stored};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// The two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Epoch milliseconds; may jump.
    pub wall_ms: i64,
    /// Milliseconds that the server has run, over all its lives; never goes back.
    pub running_ms: u64,
}

/// One version of a target: what was fixed for the deliveries that name it.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Number, never reused.
    pub number: u32,
    /// Number of the backlog it waits in.
    pub backlog: u32,
    /// Bus of its rule.
    pub bus: BusName,
    /// Its rule.
    pub rule: RuleName,
    /// The target as it was.
    pub target: Arc<Target>,
    /// What its ARN means.
    pub kind: Kind,
    /// Its retry policy.
    pub policy: Policy,
}

#[derive(Debug)]
struct VersionEntry {
    version: Arc<Version>,
    references: u64,
    removed_running: Option<u64>,
}

/// An answer kept for a repeated call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Hash of the call's body.
    pub body: u64,
    /// What the answer's ids are made from.
    pub seed: u128,
    /// What the door needs besides.
    pub rest: Box<[u8]>,
    /// Record that holds it: the answer may leave when this is durable.
    pub sequence: u64,
    running_ms: u64,
}

/// Set in the version of a delivery that may not go into its queue at once: its input could not be
/// shaped, so the dispatcher has to look at it and make it a dead letter.
pub const MUST_WAIT: u32 = 1 << 31;

/// A rule, by bus and name.
pub type RuleKey = (BusName, RuleName);

/// A part of the state that the core keeps for a room above it and knows nothing of.
pub trait Annex: std::fmt::Debug + Send {
    /// Takes what a record of it holds. Twice is as once.
    ///
    /// # Errors
    /// [`DecodeError`] if no version of us wrote it so.
    fn apply(&mut self, bytes: &[u8]) -> Result<(), DecodeError>;
    /// All of it as it is now, as texts that `apply` takes in this order: its part of a snapshot, made while
    /// they are taken, which is beside the running work.
    fn told(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send>;
}

/// All that the journal tells.
#[derive(Debug)]
pub struct State {
    pub(crate) home: Home,
    /// How often the server has started.
    pub start_number: u64,
    /// Whether the newest life ended in order.
    pub stopped_clean: bool,
    /// Key of receipt handles and paging tokens.
    pub secret: [u8; 32],
    /// Birth of the data directory, epoch milliseconds.
    pub born_ms: i64,
    /// Running clock of the newest record.
    pub running_ms: u64,
    buses: BTreeMap<BusName, Bus>,
    rules: BTreeMap<BusName, BTreeMap<RuleName, Arc<Rule>>>,
    staged: Vec<Change>,
    versions: HashMap<u32, VersionEntry>,
    versions_removed: VecDeque<(u64, u32)>,
    version_next: u32,
    current: BTreeMap<(BusName, RuleName, TargetId), u32>,
    pub(crate) backlogs: BTreeMap<u32, Backlog>,
    backlog_names: HashMap<(BusName, RuleName, TargetId, bool), u32>,
    backlog_next: u32,
    pub(crate) queues: BTreeMap<u32, QueueState>,
    queue_names: BTreeMap<QueueName, u32>,
    queue_next: u32,
    kept: HashMap<u128, Kept>,
    kept_order: VecDeque<(u64, u128)>,
    segments: BTreeMap<u64, u64>,
    /// Deliveries that ended without a dead-letter queue, since the data directory was made.
    pub expired: u64,
    pub(crate) live: bool,
    pub(crate) changed_rules: Vec<RuleKey>,
    /// A bus came or went: what routes events must know, though none of its rules has changed.
    pub(crate) changed_buses: bool,
    /// Queues and backlogs that got something with a record, oldest first: the core looks at them when
    /// that record is durable.
    pub(crate) arrivals: VecDeque<(u64, Arrival)>,
    annex: Option<Box<dyn Annex>>,
}

/// What got something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Queue(u32),
    Backlog(u32),
}

impl State {
    /// The state of an empty journal: the default bus and nothing else.
    #[must_use]
    pub fn new(home: Home, now: Now) -> Self {
        let mut state = Self {
            home,
            start_number: 0,
            stopped_clean: true,
            secret: [0; 32],
            born_ms: now.wall_ms,
            running_ms: 0,
            buses: BTreeMap::new(),
            rules: BTreeMap::new(),
            staged: Vec::new(),
            versions: HashMap::new(),
            versions_removed: VecDeque::new(),
            version_next: 1,
            current: BTreeMap::new(),
            backlogs: BTreeMap::new(),
            backlog_names: HashMap::new(),
            backlog_next: 1,
            queues: BTreeMap::new(),
            queue_names: BTreeMap::new(),
            queue_next: 1,
            kept: HashMap::new(),
            kept_order: VecDeque::new(),
            segments: BTreeMap::new(),
            expired: 0,
            live: false,
            changed_rules: Vec::new(),
            changed_buses: false,
            arrivals: VecDeque::new(),
            annex: None,
        };
        state.rules.insert(BusName::internal(), BTreeMap::new());
        state.put_bus(default_bus(now.wall_ms));
        state
    }

    /// The same with an annex, before anything is read back.
    #[must_use]
    pub fn with_annex(mut self, annex: Box<dyn Annex>) -> Self {
        self.annex = Some(annex);
        self
    }

    /// Account and region of this server.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The moment at which a wall-clock time comes, on the clock that due times are kept in.
    pub(crate) fn due(&self, wall_ms: i64, now: Now) -> u64 {
        let offset = if self.live {
            now.wall_ms - now.running_ms.cast_signed()
        } else {
            0
        };
        u64::try_from(wall_ms - offset).unwrap_or(0)
    }

    /// Takes a record that stands at `place` with number `sequence`.
    ///
    /// A record may name what is gone since (a queue that was deleted, a message received twice): it is
    /// then without effect, as it was when it was written.
    ///
    /// # Errors
    /// [`DecodeError`] if the annex does not read its part; all else of the record is there then.
    pub fn apply(
        &mut self,
        now: Now,
        sequence: u64,
        place: Place,
        record: &Record<'_>,
    ) -> Result<(), DecodeError> {
        self.running_ms = self.running_ms.max(now.running_ms);
        match record {
            Record::Start { number, secret } => {
                if self.start_number == 0 {
                    self.born_ms = now.wall_ms;
                    if let Some(bus) = self.buses.get_mut("default") {
                        bus.created_ms = now.wall_ms;
                        bus.modified_ms = now.wall_ms;
                    }
                }
                self.start_number = *number;
                self.secret = *secret;
                self.stopped_clean = false;
                self.staged.clear();
            }
            Record::Stop => self.stopped_clean = true,
            Record::Event { deliveries, .. } | Record::Made { deliveries, .. } => {
                for (index, version) in deliveries.iter().enumerate() {
                    let index = u16::try_from(index).expect("DELIVERIES_MAX fits 16 bits");
                    let key = Key { sequence, index };
                    match version & MUST_WAIT {
                        0 => self.deliver(now, key, place, *version),
                        _ => self.wait(now, key, place, version & !MUST_WAIT),
                    }
                }
            }
            Record::Outcome {
                delivery,
                version,
                attempt,
                at_ms,
                followed,
                failure,
            } => {
                self.outcome(
                    now,
                    *delivery,
                    *version,
                    *attempt,
                    *at_ms,
                    followed,
                    failure.as_ref(),
                );
            }
            Record::DeadLetter(letter) => {
                if let Some(delivery) = letter.delivery {
                    self.end_delivery(letter.version, delivery, |backlog| {
                        backlog.dead_letters += 1;
                        backlog.last_failure = Some((letter.at_ms, letter.failure.clone()));
                    });
                }
                self.enqueue(
                    letter.queue,
                    Key { sequence, index: 0 },
                    Stored::new(place, 0, now.running_ms),
                );
            }
            Record::Enqueue {
                delivery,
                version,
                queue,
            } => {
                if let Some(pending) = self.backlog_of(*version).and_then(|b| b.remove(*delivery)) {
                    self.unhold(pending.place.segment);
                    let stored =
                        Stored::new(pending.place, pending.version, pending.accepted_running);
                    // The version's reference goes over to the message.
                    self.enqueue_held(*queue, *delivery, stored);
                    if let Some(entry) = self.versions.get(version) {
                        self.delivered(entry.version.backlog, now);
                    }
                }
            }
            Record::Redrive {
                queue,
                message,
                version,
                ..
            } => {
                let Some(stored) = self.queues.get_mut(queue).and_then(|q| q.remove(*message))
                else {
                    return Ok(());
                };
                self.forget(&stored);
                self.wait(now, Key { sequence, index: 0 }, stored.place, *version);
            }
            Record::Send {
                queue, visible_ms, ..
            } => {
                let due = self.due(*visible_ms, now);
                let mut stored = Stored::new(place, 0, now.running_ms);
                if *visible_ms > now.wall_ms {
                    stored.delay_until(due);
                }
                self.enqueue(*queue, Key { sequence, index: 0 }, stored);
            }
            Record::Receive {
                queue,
                at_ms,
                visible_ms,
                messages,
            } => {
                let until = (*visible_ms > *at_ms).then(|| self.due(*visible_ms, now));
                if let Some(queue) = self.queues.get_mut(queue) {
                    for (key, stamp) in messages {
                        queue.received(*key, *stamp, *at_ms, until);
                    }
                }
            }
            Record::Visibility {
                queue,
                message,
                visible_ms,
            } => {
                let until = (*visible_ms > now.wall_ms).then(|| self.due(*visible_ms, now));
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.hide(*message, until);
                }
            }
            Record::Delete { queue, messages } => {
                let deleted = self.drop_messages(*queue, messages);
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.deleted += deleted;
                }
            }
            Record::Expire { queue, messages } => {
                let expired = self.drop_messages(*queue, messages);
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.expired += expired;
                }
            }
            Record::Purge { queue, up_to, .. } => {
                let gone = match self.queues.get_mut(queue) {
                    Some(queue) => {
                        queue.purged_running = Some(now.running_ms);
                        queue.keys_up_to(*up_to)
                    }
                    None => return Ok(()),
                };
                self.drop_messages(*queue, &gone);
            }
            Record::Move { from, to, messages } => {
                for key in messages {
                    let Some(source) = self.queues.get_mut(from) else {
                        return Ok(());
                    };
                    let name = source.document.name.as_str().to_owned();
                    let Some(mut stored) = source.remove(*key) else {
                        continue;
                    };
                    source.moved += 1;
                    stored.moved_from(&name);
                    if self.queues.contains_key(to) {
                        self.unhold(stored.place.segment);
                        self.enqueue_held(*to, *key, stored);
                    } else {
                        self.forget(&stored);
                    }
                }
            }
            Record::Documents { changes, last } => {
                self.staged.extend(changes.iter().cloned());
                if *last {
                    for change in std::mem::take(&mut self.staged) {
                        self.change(now, change);
                    }
                }
            }
            Record::Annex { bytes } => {
                if let Some(annex) = &mut self.annex {
                    annex.apply(bytes)?;
                }
            }
            Record::Kept {
                key,
                body,
                seed,
                rest,
            } => {
                let kept = Kept {
                    body: *body,
                    seed: *seed,
                    rest: (*rest).into(),
                    sequence,
                    running_ms: now.running_ms,
                };
                self.kept.insert(*key, kept);
                self.kept_order.push_back((now.running_ms, *key));
                if self.kept_order.len() > IDEMPOTENCY_KEYS_MAX {
                    self.forget_oldest_kept();
                }
            }
            Record::Ticked { rule, at_ms } => {
                let rules = self.rules.get_mut(BusName::default_bus().as_str());
                if let Some(rule) = rules.and_then(|rules| rules.get_mut(*rule))
                    && let Some(schedule) = &mut Arc::make_mut(rule).schedule
                {
                    schedule.done_ms = schedule.done_ms.max(*at_ms);
                }
            }
        }
        Ok(())
    }

    /// Ends the reading of the journal: from here on time runs.
    pub fn start(&mut self, now: Now) {
        assert!(!self.live);
        self.staged.clear();
        self.arrivals.clear();
        self.changed_rules.clear();
        self.changed_buses = false;
        let turn = |wall: u64, furthest: u64| {
            now.running_ms
                + wall
                    .saturating_sub(u64::try_from(now.wall_ms).unwrap_or(0))
                    .min(furthest)
        };
        for backlog in self.backlogs.values_mut() {
            backlog.start(|wall| turn(wall, BACKOFF_MS_MAX));
        }
        for queue in self.queues.values_mut() {
            queue.start(now.running_ms, |wall| {
                turn(wall, VISIBILITY_SECONDS_MAX * 1000)
            });
        }
        let removed: Vec<u32> = self
            .versions
            .values()
            .filter(|e| e.references == 0 && e.removed_running.is_some())
            .map(|e| e.version.number)
            .collect();
        for number in removed {
            self.collect_version(number);
        }
        self.versions_removed.clear();
        for entry in self.versions.values_mut() {
            if entry.removed_running.is_some() {
                entry.removed_running = Some(now.running_ms);
                self.versions_removed
                    .push_back((now.running_ms, entry.version.number));
            }
        }
        self.live = true;
    }

    /// Drops what time has made useless: kept answers, versions that nothing names.
    pub(crate) fn sweep(&mut self, running_ms: u64) {
        while self
            .kept_order
            .front()
            .is_some_and(|(at, _)| running_ms - at.min(&running_ms) > IDEMPOTENCY_MS)
        {
            self.forget_oldest_kept();
        }
        while let Some((at, number)) = self.versions_removed.front().copied() {
            if running_ms < at + VERSION_LINGER_MS {
                break;
            }
            self.versions_removed.pop_front();
            self.collect_version(number);
        }
    }

    fn collect_version(&mut self, number: u32) {
        if let Some(entry) = self.versions.get(&number)
            && entry.removed_running.is_some()
            && entry.references == 0
        {
            let number_of_backlog = entry.version.backlog;
            self.versions.remove(&number);
            let backlog = self
                .backlogs
                .get_mut(&number_of_backlog)
                .expect("a version's backlog lives as long as the version");
            backlog.versions -= 1;
            if backlog.versions == 0 {
                assert!(backlog.is_empty());
                self.backlog_names.remove(&backlog.name);
                self.backlogs.remove(&number_of_backlog);
            }
        }
    }

    fn forget_oldest_kept(&mut self) {
        if let Some((at, key)) = self.kept_order.pop_front()
            && self
                .kept
                .get(&key)
                .is_some_and(|kept| kept.running_ms == at)
        {
            self.kept.remove(&key);
        }
    }

    // ---- deliveries and messages -------------------------------------------------------------

    fn deliver(&mut self, now: Now, key: Key, place: Place, version: u32) {
        let Some(entry) = self.versions.get(&version) else {
            return;
        };
        if let Kind::Queue(name) = &entry.version.kind
            && let Some(number) = self.queue_names.get(name).copied()
            && !self.queues[&number].is_full()
        {
            let stored = Stored::new(place, version, now.running_ms);
            let backlog = entry.version.backlog;
            self.reference(version);
            self.enqueue_held(number, key, stored);
            self.delivered(backlog, now);
        } else {
            self.wait(now, key, place, version);
        }
    }

    /// A queue's delivery has arrived as soon as it is in the queue.
    fn delivered(&mut self, backlog: u32, now: Now) {
        if let Some(backlog) = self.backlogs.get_mut(&backlog) {
            backlog.delivered += 1;
            backlog.last_delivered_ms = Some(now.wall_ms);
        }
    }

    fn wait(&mut self, now: Now, key: Key, place: Place, version: u32) {
        let Some(entry) = self.versions.get(&version) else {
            return;
        };
        let backlog = entry.version.backlog;
        self.reference(version);
        self.hold(place.segment);
        self.backlogs
            .get_mut(&backlog)
            .expect("a version's backlog lives as long as the version")
            .insert(key, Pending::new(place, version, now.running_ms));
        self.arrive(key.sequence, Arrival::Backlog(backlog));
    }

    fn arrive(&mut self, sequence: u64, arrival: Arrival) {
        if self.live && self.arrivals.back() != Some(&(sequence, arrival)) {
            self.arrivals.push_back((sequence, arrival));
        }
    }

    /// Puts a message into a queue; its version, if any, is counted.
    fn enqueue(&mut self, queue: u32, key: Key, stored: Stored) {
        if stored.version != 0 {
            self.reference(stored.version);
        }
        self.enqueue_held(queue, key, stored);
    }

    fn enqueue_held(&mut self, queue: u32, key: Key, stored: Stored) {
        let segment = stored.place.segment;
        match self.queues.get_mut(&queue) {
            Some(queue) => queue.insert(key, stored),
            None => return,
        }
        self.hold(segment);
        self.arrive(key.sequence, Arrival::Queue(queue));
    }

    fn drop_messages(&mut self, queue: u32, keys: &[Key]) -> u64 {
        let mut dropped = 0;
        for key in keys {
            let Some(stored) = self.queues.get_mut(&queue).and_then(|q| q.remove(*key)) else {
                continue;
            };
            self.forget(&stored);
            dropped += 1;
        }
        dropped
    }

    /// Lets go of what a message held.
    fn forget(&mut self, stored: &Stored) {
        self.unhold(stored.place.segment);
        self.unreference(stored.version);
    }

    #[expect(clippy::too_many_arguments, reason = "the members of one record")]
    fn outcome(
        &mut self,
        now: Now,
        delivery: Key,
        version: u32,
        attempt: u32,
        at_ms: i64,
        followed: &Followed,
        failure: Option<&crate::outcome::Failure>,
    ) {
        let due = match followed {
            Followed::RetryAt(at) | Followed::DeadLetterRetryAt(at, _) => self.due(*at, now),
            Followed::Done | Followed::Expired(_) => 0,
        };
        match followed {
            Followed::Done => self.end_delivery(version, delivery, |backlog| {
                backlog.delivered += 1;
                backlog.last_delivered_ms = Some(at_ms);
            }),
            Followed::Expired(_) => {
                let mut ended = 0;
                self.end_delivery(version, delivery, |backlog| {
                    backlog.expired += 1;
                    backlog.last_failure = failure.map(|f| (at_ms, f.clone()));
                    ended = 1;
                });
                self.expired += ended;
            }
            Followed::RetryAt(_) | Followed::DeadLetterRetryAt(..) => {
                let Some(backlog) = self.backlog_of(version) else {
                    return;
                };
                let giving_up = match followed {
                    Followed::DeadLetterRetryAt(_, exhausted) => {
                        failure.map(|f| (f.clone(), *exhausted))
                    }
                    _ => None,
                };
                backlog.retry(delivery, attempt, due, giving_up);
                backlog.last_failure = failure.map(|f| (at_ms, f.clone()));
            }
        }
    }

    fn backlog_of(&mut self, version: u32) -> Option<&mut Backlog> {
        let number = self.versions.get(&version)?.version.backlog;
        self.backlogs.get_mut(&number)
    }

    fn end_delivery(&mut self, version: u32, delivery: Key, note: impl FnOnce(&mut Backlog)) {
        let Some(backlog) = self.backlog_of(version) else {
            return;
        };
        let Some(pending) = backlog.remove(delivery) else {
            return;
        };
        note(backlog);
        self.unhold(pending.place.segment);
        self.unreference(version);
    }

    fn reference(&mut self, version: u32) {
        if let Some(entry) = self.versions.get_mut(&version) {
            entry.references += 1;
        }
    }

    fn unreference(&mut self, version: u32) {
        if let Some(entry) = self.versions.get_mut(&version) {
            entry.references -= 1;
            if entry.references == 0
                && let Some(at) = entry.removed_running
            {
                self.versions_removed
                    .push_back((at.max(self.running_ms), version));
            }
        }
    }

    fn hold(&mut self, segment: u64) {
        *self.segments.entry(segment).or_default() += 1;
    }

    fn unhold(&mut self, segment: u64) {
        let count = self
            .segments
            .get_mut(&segment)
            .expect("a place handed out holds its segment");
        *count -= 1;
        if *count == 0 {
            self.segments.remove(&segment);
        }
    }

    // ---- documents ---------------------------------------------------------------------------

    fn put_bus(&mut self, bus: Bus) {
        self.rules.entry(bus.name.clone()).or_default();
        self.buses.insert(bus.name.clone(), bus);
    }

    fn change(&mut self, now: Now, change: Change) {
        match change {
            Change::PutBus(bus) => {
                self.changed_buses = true;
                self.put_bus(bus);
            }
            Change::DeleteBus(name) => {
                self.changed_buses = true;
                self.buses.remove(&name);
                let rules: Vec<RuleName> = self
                    .rules
                    .remove(&name)
                    .unwrap_or_default()
                    .into_keys()
                    .collect();
                for rule in rules {
                    self.retire_targets(now, &name, &rule, |_| true);
                    self.changed_rules.push((name.clone(), rule));
                }
            }
            Change::PutRule(rule) => {
                self.retire_targets(now, &rule.bus, &rule.name, |id| {
                    !rule.targets.contains_key(id)
                });
                for target in rule.targets.values() {
                    self.put_target(now, &rule, target);
                }
                self.changed_rules
                    .push((rule.bus.clone(), rule.name.clone()));
                let rules = self.rules.entry(rule.bus.clone()).or_default();
                rules.insert(rule.name.clone(), Arc::new(rule));
            }
            Change::DeleteRule(bus, name) => {
                self.retire_targets(now, &bus, &name, |_| true);
                if let Some(rules) = self.rules.get_mut(&bus) {
                    rules.remove(&name);
                }
                self.changed_rules.push((bus, name));
            }
            Change::PutQueue(queue) => {
                if let Some(number) = self.queue_names.get(&queue.name) {
                    self.queues
                        .get_mut(number)
                        .expect("names and numbers agree")
                        .set(queue);
                } else {
                    let number = self.queue_next;
                    self.queue_next += 1;
                    self.queue_names.insert(queue.name.clone(), number);
                    self.queues.insert(number, QueueState::new(number, queue));
                }
            }
            Change::DeleteQueue(name) => {
                let Some(number) = self.queue_names.remove(&name) else {
                    return;
                };
                let queue = self
                    .queues
                    .remove(&number)
                    .expect("names and numbers agree");
                for stored in queue.messages() {
                    self.forget(stored.1);
                }
            }
        }
    }

    fn put_target(&mut self, now: Now, rule: &Rule, target: &Arc<Target>) {
        let name = (rule.bus.clone(), rule.name.clone(), target.id.clone());
        if let Some(number) = self.current.get(&name).copied() {
            let old = &self.versions[&number].version;
            if old.target.same_version(target)
                && old.target.webhook.is_some() == target.webhook.is_some()
            {
                let mut version = (**old).clone();
                version.target = target.clone();
                self.versions
                    .get_mut(&number)
                    .expect("looked up above")
                    .version = Arc::new(version);
                return;
            }
            self.remove_version(now, number);
        }
        let kind = Kind::of(&target.arn, &self.home);
        // What goes out of the house and what stays in it have different slots, so a target that changes from
        // one to the other has two backlogs. And a webhook that comes back as another kind has not come back
        // (F27).
        let webhook = kind.is_outbound();
        let backlog_name = (name.0.clone(), name.1.clone(), name.2.clone(), webhook);
        let backlog = *self
            .backlog_names
            .entry(backlog_name.clone())
            .or_insert_with(|| {
                let number = self.backlog_next;
                self.backlog_next += 1;
                self.backlogs
                    .insert(number, Backlog::new(number, backlog_name));
                number
            });
        let number = self.version_next;
        self.version_next += 1;
        let version = Version {
            number,
            backlog,
            bus: rule.bus.clone(),
            rule: rule.name.clone(),
            target: target.clone(),
            kind,
            policy: target.policy(),
        };
        let entry = VersionEntry {
            version: Arc::new(version),
            references: 0,
            removed_running: None,
        };
        self.versions.insert(number, entry);
        self.current.insert(name, number);
        let backlog_state = self.backlogs.get_mut(&backlog).expect("made above");
        backlog_state.retired_running = None;
        backlog_state.versions += 1;
        if self.live {
            self.arrivals.push_back((0, Arrival::Backlog(backlog)));
        }
    }

    fn retire_targets(
        &mut self,
        now: Now,
        bus: &BusName,
        rule: &RuleName,
        gone: impl Fn(&TargetId) -> bool,
    ) {
        let Some(old) = self
            .rules
            .get(bus)
            .and_then(|rules| rules.get(rule))
            .cloned()
        else {
            return;
        };
        for id in old.targets.keys().filter(|id| gone(id)) {
            if let Some(number) = self
                .current
                .remove(&(bus.clone(), rule.clone(), id.clone()))
            {
                self.remove_version(now, number);
            }
        }
    }

    fn remove_version(&mut self, now: Now, number: u32) {
        let entry = self
            .versions
            .get_mut(&number)
            .expect("current versions exist");
        entry.removed_running = Some(now.running_ms);
        let backlog = entry.version.backlog;
        self.versions_removed.push_back((now.running_ms, number));
        self.backlogs
            .get_mut(&backlog)
            .expect("a version's backlog exists")
            .retired_running = Some(now.running_ms);
        if self.live {
            self.arrivals.push_back((0, Arrival::Backlog(backlog)));
        }
    }

    // ---- what others read --------------------------------------------------------------------

    /// All buses by name.
    #[must_use]
    pub fn buses(&self) -> &BTreeMap<BusName, Bus> {
        &self.buses
    }

    /// All rules of a bus by name; `None` if there is no such bus.
    #[must_use]
    pub fn rules(&self, bus: &str) -> Option<&BTreeMap<RuleName, Arc<Rule>>> {
        self.rules.get(bus)
    }

    /// One rule.
    #[must_use]
    pub fn rule(&self, bus: &str, rule: &str) -> Option<&Arc<Rule>> {
        self.rules.get(bus)?.get(rule)
    }

    /// The rules that are on and have a schedule, by name. All of them are on the default bus.
    pub fn scheduled(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let rules = self.rules(BusName::default_bus().as_str());
        let rules = rules.into_iter().flat_map(BTreeMap::values);
        rules.filter(|rule| rule.is_on() && rule.schedule.is_some())
    }

    /// The webhook that a target's kind means, as it is now.
    #[must_use]
    pub fn webhook(&self, kind: &Kind) -> Option<&Webhook> {
        let version = match kind {
            Kind::Webhook(bus, rule, id) => self.current_version(bus, rule, id),
            Kind::Destination(name) => {
                let id = TargetId::parse(name).ok()?;
                self.current_version(&BusName::internal(), &destinations_rule(), &id)
            }
            Kind::Queue(_) | Kind::Log(_) | Kind::Internal | Kind::Unknown => None,
        };
        version?.target.webhook.as_ref()
    }

    /// A target's newest version.
    #[must_use]
    pub fn current_version(
        &self,
        bus: &BusName,
        rule: &RuleName,
        id: &TargetId,
    ) -> Option<&Arc<Version>> {
        let number = self.current.get(&(bus.clone(), rule.clone(), id.clone()))?;
        self.version(*number)
    }

    /// A version by number, for as long as something names it.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<&Arc<Version>> {
        self.versions.get(&number).map(|entry| &entry.version)
    }

    /// All versions that something names, in no order.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.versions.values().map(|entry| &entry.version)
    }

    /// Whether a tick is still to be fired: its rule is on, its expression the same, and its time not done.
    pub(crate) fn awaits(&self, tick: &Tick) -> bool {
        let rule = self.rule(BusName::default_bus().as_str(), tick.rule.as_str());
        let schedule = rule.filter(|rule| rule.is_on());
        let schedule = schedule.and_then(|rule| rule.schedule.as_ref());
        schedule.is_some_and(|it| it.expression == tick.expression && it.done_ms < tick.at_ms)
    }

    /// Whether every target version that an encoded event or made input names is still there.
    pub(crate) fn knows_targets_of(&self, event: &[u8]) -> bool {
        match Record::decode(event) {
            Ok(Record::Event { deliveries, .. } | Record::Made { deliveries, .. }) => deliveries
                .iter()
                .all(|version| self.versions.contains_key(&(version & !MUST_WAIT))),
            Ok(Record::Annex { .. }) => true,
            _ => false,
        }
    }

    /// All queues by name.
    pub fn queues(&self) -> impl Iterator<Item = &QueueState> {
        self.queue_names.values().map(|number| &self.queues[number])
    }

    /// A queue by name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&QueueState> {
        self.queues.get(self.queue_names.get(name)?)
    }

    /// A queue by number.
    #[must_use]
    pub fn queue_by_number(&self, number: u32) -> Option<&QueueState> {
        self.queues.get(&number)
    }

    /// All backlogs.
    pub fn backlogs(&self) -> impl Iterator<Item = &Backlog> {
        self.backlogs.values()
    }

    /// A backlog by number.
    #[must_use]
    pub fn backlog(&self, number: u32) -> Option<&Backlog> {
        self.backlogs.get(&number)
    }

    /// A kept answer.
    #[must_use]
    pub fn kept(&self, key: u128) -> Option<&Kept> {
        self.kept.get(&key)
    }

    /// Whether something pending lies in a segment.
    #[must_use]
    pub fn holds_segment(&self, segment: u64) -> bool {
        self.segments.contains_key(&segment)
    }
}

fn default_bus(now_ms: i64) -> Bus {
    Bus {
        name: BusName::default_bus(),
        description: None,
        dead_letter_arn: None,
        shown: serde_json::Map::new(),
        created_ms: now_ms,
        modified_ms: now_ms,
    }
}

/// Makes a queue document's change, for who needs a queue with every default.
#[must_use]
pub fn new_queue(name: QueueName, now_ms: i64) -> Change {
    Change::PutQueue(Queue::new(name, now_ms))
}
