//! What is attempted when, and what follows an attempt.
//!
//! Each target has its own backlog and its own slots, so that one that is dead or slow delays no other;
//! backlogs with due work take turns. The sending itself is the shell's.

use super::{Answer, Append, Core, Effect, Full, Input, Letter, RequestNumber, Timer};
use crate::document::{Change, Kind, Queue, Webhook};
use crate::limits::{
    LOG_IN_FLIGHT_MAX, LOGS_IN_FLIGHT_MAX, OUTBOUND_IN_FLIGHT_MAX, VERSION_LINGER_MS,
    WEBHOOK_IN_FLIGHT_MAX,
};
use crate::name::QueueName;
use crate::outcome::{Code, Failure, Outcome};
use crate::position::Position;
use crate::record::{DeadLetter, Event, Followed, Key, Place, Record, event_key};
use crate::retry::{self, Exhausted, Next};
use crate::state::{Now, Version};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// AWS's text for a queue that is not there.
const NO_QUEUE: &str = "The specified queue does not exist or you do not have access to it. (Service: AmazonSQS; Status Code: 400; Error Code: AWS.SimpleQueueService.NonExistentQueue)";

/// An attempt to make: read the event at `place`, shape it, send it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which delivery.
    pub delivery: Key,
    /// Its target as it was when the event was accepted.
    pub version: Arc<Version>,
    /// Where to, for a webhook: as it is now.
    pub webhook: Option<Webhook>,
    /// Where the event lies.
    pub place: Place,
    /// Number of the attempt, from 1.
    pub number: u32,
    /// Nothing is to be sent: read and shape only, so that it can be given up for this reason.
    pub give_up: Option<(Failure, Option<Exhausted>)>,
    /// Which slots it holds: those of what goes out, or those of what stays in the house.
    pub(super) outbound: bool,
}

/// Backlogs that share a bound on their attempts, taking turns.
#[derive(Debug)]
pub(super) struct Lane {
    ready: BTreeSet<u32>,
    last: u32,
    pub(super) in_flight: usize,
    in_flight_max: usize,
}

impl Lane {
    /// What stays in the house, and what goes out of it.
    pub(super) fn both() -> [Self; 2] {
        [LOGS_IN_FLIGHT_MAX, OUTBOUND_IN_FLIGHT_MAX].map(|in_flight_max| Self {
            ready: BTreeSet::new(),
            last: 0,
            in_flight: 0,
            in_flight_max,
        })
    }

    /// The next backlog in turn.
    fn next(&mut self) -> Option<u32> {
        let after = (Bound::Excluded(self.last), Bound::Unbounded);
        let next = self
            .ready
            .range(after)
            .next()
            .or_else(|| self.ready.first());
        self.last = *next?;
        Some(self.last)
    }
}

/// What a decision made: records to be written as one block.
#[derive(Debug)]
pub struct Decided {
    /// Encoded [`Record::Event`]s and [`Record::Made`]s with their index keys, [`Record::Annex`]es without.
    pub records: Vec<(Option<u128>, Vec<u8>)>,
    /// The attempt that it ends, delivered. Who is not answered [`Answer::Stored`] has to end it otherwise.
    pub ends: Option<Box<Attempt>>,
    /// Running clock when the rule set that routed them was taken.
    pub matched_running: u64,
}

/// What an attempt came to.
#[derive(Debug)]
pub struct Attempted {
    /// The attempt.
    pub attempt: Box<Attempt>,
    /// Its outcome. Delivered is also what a queue delivery reports whose input could be shaped.
    pub outcome: Outcome,
    /// The record that holds the event, if it could be read.
    pub record: Option<Vec<u8>>,
    /// The input as attempted, if it is not the envelope itself.
    pub body: Option<Vec<u8>>,
}

impl Core {
    /// A backlog may have something due.
    pub(super) fn wake(&mut self, number: u32) {
        if let Some(backlog) = self.state.backlogs.get(&number) {
            self.lanes[usize::from(backlog.is_webhook())]
                .ready
                .insert(number);
        }
    }

    /// Hands out what is due, in turns, while there are slots.
    pub(super) fn pump(&mut self, now: Now) {
        for lane in 0..self.lanes.len() {
            while self.lanes[lane].in_flight < self.lanes[lane].in_flight_max {
                let Some(number) = self.lanes[lane].next() else {
                    break;
                };
                if !self.pump_one(now, number) {
                    // A freed slot, a record that becomes durable, or a timer brings it back.
                    self.lanes[lane].ready.remove(&number);
                }
            }
        }
    }

    /// Hands out one delivery of a backlog. False if it has none to give now.
    fn pump_one(&mut self, now: Now, number: u32) -> bool {
        let retire_ms = self.settings.retire_ms;
        let synced = self.synced;
        let Some(backlog) = self.state.backlogs.get_mut(&number) else {
            return false;
        };
        let retired = backlog.retired_running.map(|at| at + retire_ms);
        if let Some(end) = retired.filter(|end| now.running_ms < *end) {
            if !backlog.is_empty() {
                self.set_timer(Timer::Backlog(number), end);
            }
            return false;
        }
        let slots = match backlog.is_webhook() {
            true => WEBHOOK_IN_FLIGHT_MAX,
            false => LOG_IN_FLIGHT_MAX,
        };
        if slots <= backlog.in_flight() {
            return false;
        }
        if !backlog.has_due(now.running_ms, synced) {
            if let Some(due) = backlog.next_due() {
                self.set_timer(Timer::Backlog(number), due.max(now.running_ms + 1));
            }
            return false;
        }
        let outbound = backlog.is_webhook();
        let (delivery, pending) = backlog
            .take(now.running_ms, synced)
            .expect("it has something due");
        let given_up = backlog.giving_up(delivery).cloned();
        let version = Arc::clone(
            self.state
                .version(pending.version)
                .expect("pending deliveries keep their version"),
        );
        let age = now.running_ms - pending.accepted_running;
        // What was accepted in an earlier life gets an attempt whatever its age (rule 9).
        let too_old =
            version.policy.age_ms_max < age && self.started_running <= pending.accepted_running;
        let give_up = if given_up.is_some() {
            given_up
        } else if retired.is_some() {
            Some((
                Failure::new(Code::NoResource, "The target does not exist any more."),
                None,
            ))
        } else if too_old {
            Some((
                Failure::new(Code::Timeout, "The event is older than the target takes."),
                Some(Exhausted::Age),
            ))
        } else {
            None
        };
        let mut attempt = Attempt {
            delivery,
            webhook: None,
            place: pending.place,
            number: u32::from(pending.attempts) + 1,
            give_up,
            version,
            outbound,
        };
        match &attempt.version.kind {
            kind @ (Kind::Webhook(..) | Kind::Destination(_)) => {
                attempt.webhook = self.state.webhook(kind).cloned();
                if attempt.webhook.is_none() && attempt.give_up.is_none() {
                    attempt.give_up = Some((
                        Failure::new(Code::NoResource, "The webhook does not exist."),
                        None,
                    ));
                }
            }
            Kind::Unknown if attempt.give_up.is_none() => {
                attempt.give_up = Some((
                    Failure::new(Code::NoResource, "The target cannot be reached from here."),
                    None,
                ));
            }
            Kind::Queue(_) | Kind::Log(_) | Kind::Internal | Kind::Unknown => {}
        }
        self.lanes[usize::from(outbound)].in_flight += 1;
        self.out.push(Effect::Attempt(Box::new(attempt)));
        true
    }

    /// Takes an outcome. Where the journal cannot take its record now, the outcome waits in the core: it is
    /// never answered by another attempt.
    pub(super) fn attempted(&mut self, now: Now, attempted: Attempted, journal: &mut dyn Append) {
        match self.conclude(now, &attempted, journal) {
            Ok(()) => {
                self.lanes[usize::from(attempted.attempt.outbound)].in_flight -= 1;
                self.wake(attempted.attempt.version.backlog);
            }
            Err(_) => self.unrecorded.push(attempted),
        }
    }

    /// Tries again to record the outcomes that the journal had no room for.
    pub(super) fn record_outcomes(&mut self, now: Now, journal: &mut dyn Append) {
        for attempted in std::mem::take(&mut self.unrecorded) {
            self.attempted(now, attempted, journal);
        }
    }

    fn conclude(
        &mut self,
        now: Now,
        attempted: &Attempted,
        journal: &mut dyn Append,
    ) -> Result<(), Full> {
        let attempt = &attempted.attempt;
        let backlog = self.state.backlogs.get(&attempt.version.backlog);
        let pending = backlog
            .and_then(|b| b.get(attempt.delivery))
            .filter(|p| p.version == attempt.version.number);
        let Some(pending) = pending else {
            return Ok(());
        };
        let age = now.running_ms - pending.accepted_running;
        let attempts_before = u32::from(pending.attempts);
        let damaged =
            matches!(&attempted.outcome, Outcome::Refused(f) if f.code == Code::StorageCorrupt);
        if attempted.record.is_none() && !damaged {
            // It could not be read now, and may be another time: it must not end as an empty letter.
            return self.look_again(now, attempted, attempts_before, journal);
        }
        if let Some((failure, exhausted)) = &attempt.give_up {
            let ended = Ended {
                attempts: attempts_before,
                failure,
                exhausted: *exhausted,
            };
            return self.give_up(now, attempted, &ended, journal);
        }
        let mut outcome = attempted.outcome.clone();
        if let (Kind::Queue(name), Outcome::Delivered) = (&attempt.version.kind, &outcome) {
            match self.open_queue(name) {
                Ok(queue) => return self.enqueue_waiting(now, attempted, queue, journal),
                Err(failure) => outcome = Outcome::Refused(failure),
            }
        }
        let deferred = match &outcome {
            Outcome::Deferred { failure, .. } => Some(failure.clone()),
            Outcome::Delivered | Outcome::Refused(_) => None,
        };
        let random = self.random.next();
        let policy = &attempt.version.policy;
        match retry::after(policy, attempt.number, age, outcome, random) {
            Next::Done => self.tell(
                now,
                attempted,
                attempt.number,
                Followed::Done,
                None,
                journal,
            ),
            Next::RetryIn(delay) => {
                let followed = Followed::RetryAt(now.wall_ms + delay.cast_signed());
                self.tell(now, attempted, attempt.number, followed, deferred, journal)
            }
            Next::GiveUp(failure, exhausted) => {
                let ended = Ended {
                    attempts: attempt.number,
                    failure: &failure,
                    exhausted,
                };
                self.give_up(now, attempted, &ended, journal)
            }
        }
    }

    /// Writes what a decision made, and the end of the delivery that it was made for, as one block.
    /// The attempt stays in flight until its outcome is told, as any other.
    pub(super) fn decided(
        &mut self,
        now: Now,
        request: RequestNumber,
        decided: Decided,
        journal: &mut dyn Append,
    ) {
        let late = now.running_ms.saturating_sub(decided.matched_running) >= VERSION_LINGER_MS;
        let named = decided.records.iter().filter(|(key, _)| key.is_some());
        if late
            || !named
                .into_iter()
                .all(|(_, it)| self.state.knows_targets_of(it))
        {
            self.out.push(Effect::Answer(request, Answer::MatchAgain));
            return;
        }
        if let Some(attempt) = &decided.ends
            && !self.is_current(attempt)
        {
            // It was given up waiting for, and is made again.
            self.out.push(Effect::Answer(request, Answer::Unavailable));
            return;
        }
        let end = decided.ends.as_ref().map(|attempt| {
            let end = Record::Outcome {
                delivery: attempt.delivery,
                version: attempt.version.number,
                attempt: attempt.number,
                at_ms: now.wall_ms,
                followed: Followed::Done,
                failure: None,
            };
            end.encode()
        });
        let records: Vec<(Option<u128>, &[u8])> = decided
            .records
            .iter()
            .map(|(key, bytes)| (*key, bytes.as_slice()))
            .chain(end.as_deref().map(|bytes| (None, bytes)))
            .collect();
        // What ends no delivery must leave the room that is kept for ends.
        let reserve = decided.ends.is_some();
        let answer = match self.append(now, &records, reserve, journal) {
            Ok(first) => Answer::Stored(first),
            Err(Full::Disk) => Answer::Unavailable,
            Err(Full::TooLarge) => Answer::TooLarge,
            Err(Full::Busy) => Answer::Again(Box::new(Input::Decided(request, Box::new(decided)))),
        };
        self.answer(request, answer);
    }

    /// True while nothing has come of an attempt yet.
    fn is_current(&self, attempt: &Attempt) -> bool {
        let backlog = self.state.backlogs.get(&attempt.version.backlog);
        let pending = backlog.and_then(|it| it.get(attempt.delivery));
        pending.is_some_and(|it| {
            it.version == attempt.version.number && u32::from(it.attempts) + 1 == attempt.number
        })
    }

    /// Tells the maker of an input that a delivery of it was given up.
    fn tell_maker(&mut self, attempted: &Attempted, failure: &Failure) {
        let record = attempted.record.as_deref().map(Record::decode);
        if let Some(Ok(Record::Made { note, .. })) = record
            && !note.is_empty()
        {
            let told = Effect::GaveUp {
                note: note.into(),
                failure: failure.clone(),
            };
            self.hold(self.appended, told);
        }
    }

    /// An attempt that came to nothing that counts is made again.
    fn look_again(
        &mut self,
        now: Now,
        attempted: &Attempted,
        attempts: u32,
        journal: &mut dyn Append,
    ) -> Result<(), Full> {
        let delay = retry::backoff(attempts.max(1), self.random.next());
        let due = now.wall_ms + delay.cast_signed();
        let (followed, failure) = match (&attempted.attempt.give_up, &attempted.outcome) {
            (Some((failure, exhausted)), _) => (
                Followed::DeadLetterRetryAt(due, *exhausted),
                Some(failure.clone()),
            ),
            (None, Outcome::Deferred { failure, .. }) => {
                (Followed::RetryAt(due), Some(failure.clone()))
            }
            (None, _) => (Followed::RetryAt(due), None),
        };
        self.tell(now, attempted, attempts, followed, failure, journal)
    }

    /// Records what followed attempt number `attempt`.
    fn tell(
        &mut self,
        now: Now,
        attempted: &Attempted,
        attempt: u32,
        followed: Followed,
        failure: Option<Failure>,
        journal: &mut dyn Append,
    ) -> Result<(), Full> {
        let record = Record::Outcome {
            delivery: attempted.attempt.delivery,
            version: attempted.attempt.version.number,
            attempt,
            at_ms: now.wall_ms,
            followed,
            failure,
        };
        self.record(now, &[(attempted.event_key(), record)], true, journal)?;
        Ok(())
    }

    /// A queue that takes a message, by number.
    fn open_queue(&self, name: &QueueName) -> Result<u32, Failure> {
        let Some(queue) = self.state.queue(name.as_str()) else {
            return Err(Failure::new(Code::NoResource, NO_QUEUE));
        };
        if queue.is_full() {
            return Err(Failure::new(Code::QueueFull, "The queue is full."));
        }
        Ok(queue.number)
    }

    /// A delivery that waited for its queue goes into it.
    fn enqueue_waiting(
        &mut self,
        now: Now,
        attempted: &Attempted,
        queue: u32,
        journal: &mut dyn Append,
    ) -> Result<(), Full> {
        let record = Record::Enqueue {
            delivery: attempted.attempt.delivery,
            version: attempted.attempt.version.number,
            queue,
        };
        self.record(now, &[(attempted.event_key(), record)], true, journal)?;
        Ok(())
    }

    fn give_up(
        &mut self,
        now: Now,
        attempted: &Attempted,
        ended: &Ended<'_>,
        journal: &mut dyn Append,
    ) -> Result<(), Full> {
        let attempt = &attempted.attempt;
        let version = &attempt.version;
        let failure = ended.failure.clone();
        let queue = match self.dead_letter_queue(now, version, journal)? {
            Destination::Queue(queue) => queue,
            Destination::None => {
                let followed = Followed::Expired(ended.exhausted);
                self.tell(
                    now,
                    attempted,
                    ended.attempts,
                    followed,
                    Some(failure.clone()),
                    journal,
                )?;
                let event = attempted
                    .event()
                    .map_or_else(String::new, |e| e.id.to_owned());
                let target = format!("{}/{}/{}", version.bus, version.rule, version.target.id);
                self.tell_maker(attempted, &failure);
                self.out.push(Effect::Expired {
                    event,
                    target,
                    failure,
                });
                return Ok(());
            }
            Destination::Missing => {
                let delay = retry::backoff(ended.attempts.max(1), self.random.next());
                let due = now.wall_ms + delay.cast_signed();
                let followed = Followed::DeadLetterRetryAt(due, ended.exhausted);
                return self.tell(
                    now,
                    attempted,
                    ended.attempts,
                    followed,
                    Some(failure),
                    journal,
                );
            }
        };
        let decoded = attempted
            .record
            .as_deref()
            .and_then(|bytes| Record::decode(bytes).ok());
        let (position, index) = match &decoded {
            Some(Record::DeadLetter(letter)) => (letter.position, letter.index),
            _ => (
                Position::local(attempt.delivery.sequence),
                attempt.delivery.index,
            ),
        };
        // What cannot be read is given up as an envelope without a body (F8).
        let lost = Event {
            accepted_ms: now.wall_ms,
            id: "",
            bus: version.bus.as_str(),
            trace: "",
            envelope: b"{}",
        };
        let rule_arn = self
            .state
            .home()
            .rule_arn(version.bus.as_str(), version.rule.as_str());
        let letter = DeadLetter {
            delivery: Some(attempt.delivery),
            version: version.number,
            queue,
            position,
            index,
            failure: failure.clone(),
            exhausted: ended.exhausted,
            attempts: ended.attempts,
            at_ms: now.wall_ms,
            rule_arn: &rule_arn,
            target_arn: &version.target.arn,
            rule: version.rule.as_str(),
            target: version.target.id.as_str(),
            body: attempted.body.as_deref().unwrap_or_default(),
            event: decoded
                .as_ref()
                .and_then(Record::event)
                .copied()
                .unwrap_or(lost),
            key: decoded.as_ref().map_or("", Record::idempotency_key),
        };
        let record = Record::DeadLetter(letter);
        self.record(now, &[(attempted.event_key(), record)], true, journal)?;
        self.tell_maker(attempted, &failure);
        Ok(())
    }

    /// The queue for what a target gives up: its own, the bus's, or the default one, which is made when it
    /// is first needed.
    fn dead_letter_queue(
        &mut self,
        now: Now,
        version: &Version,
        journal: &mut dyn Append,
    ) -> Result<Destination, Full> {
        let bus = self.state.buses().get(&version.bus);
        let named = version.target.dead_letter_arn();
        if let Some(arn) = named.or_else(|| bus?.dead_letter_arn.as_deref()) {
            let queue = match Kind::of(arn, self.state.home()) {
                Kind::Queue(name) => self.state.queue(name.as_str()).map(|q| q.number),
                _ => None,
            };
            return Ok(queue.map_or(Destination::Missing, Destination::Queue));
        }
        let Some(name) = self.settings.default_dlq.clone() else {
            return Ok(Destination::None);
        };
        if self.state.queue(name.as_str()).is_none() {
            let changes = vec![Change::PutQueue(Queue::new(name.clone(), now.wall_ms))];
            let made = Record::Documents {
                changes,
                last: true,
            };
            self.record(now, &[(None, made)], true, journal)?;
        }
        let queue = self.state.queue(name.as_str()).map(|q| q.number);
        Ok(queue.map_or(Destination::Missing, Destination::Queue))
    }

    pub(super) fn redrive(
        &mut self,
        now: Now,
        request: RequestNumber,
        queue: u32,
        letters: Vec<Letter>,
        journal: &mut dyn Append,
    ) {
        let mut records = Vec::new();
        for letter in &letters {
            let there = self
                .state
                .queue_by_number(queue)
                .is_some_and(|q| q.get(letter.message).is_some());
            if let Some(version) = self
                .state
                .current_version(&letter.bus, &letter.rule, &letter.target)
                .filter(|_| there)
            {
                let record = Record::Redrive {
                    queue,
                    message: letter.message,
                    version: version.number,
                    at_ms: now.wall_ms,
                };
                records.push((Some(letter.event), record));
            }
        }
        let answer = match self.record(now, &records, true, journal) {
            Ok(_) => Answer::Redriven(records.len()),
            Err(Full::Disk | Full::TooLarge) => Answer::Unavailable,
            Err(Full::Busy) => Answer::Again(Box::new(Input::Redrive {
                request,
                queue,
                letters,
            })),
        };
        self.answer(request, answer);
    }
}

enum Destination {
    Queue(u32),
    Missing,
    None,
}

/// How a delivery ends that is given up.
struct Ended<'a> {
    attempts: u32,
    failure: &'a Failure,
    exhausted: Option<Exhausted>,
}

impl Attempted {
    fn event(&self) -> Option<Event<'_>> {
        Record::decode(self.record.as_deref()?)
            .ok()?
            .event()
            .copied()
    }

    /// The key that finds all records of the event.
    fn event_key(&self) -> Option<u128> {
        self.event().map(|event| event_key(event.id))
    }
}
