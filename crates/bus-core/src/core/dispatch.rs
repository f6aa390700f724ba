//! What is attempted when, and what follows an attempt.
//!
//! Each target has its own backlog and its own slots, so that one that is dead or slow delays no other;
//! backlogs with due work take turns. The sending itself is the shell's.

use super::{Answer, Append, Core, Effect, Full, Input, Letter, RequestNumber, Timer};
use crate::document::{Change, Kind, Queue, Webhook};
use crate::limits::{
    LOG_IN_FLIGHT_MAX, LOGS_IN_FLIGHT_MAX, OUTBOUND_IN_FLIGHT_MAX, WEBHOOK_IN_FLIGHT_MAX,
};
use crate::name::QueueName;
use crate::outcome::{Code, Failure, Outcome};
use crate::position::Position;
use crate::record::{DeadLetter, Event, Followed, Key, Place, Record, event_key};
use crate::retry::{self, Exhausted, Next};
use crate::state::{Now, Version};
use std::ops::Bound;
use std::sync::Arc;

/// Pause before a full journal is asked again to take an outcome, in milliseconds.
const FULL_PAUSE_MS: u64 = 1_000;

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
    /// Hands out what is due, in turns, while there are slots.
    pub(super) fn pump(&mut self, now: Now) {
        let mut skipped = std::collections::BTreeSet::new();
        loop {
            let after = (Bound::Excluded(self.pumped), Bound::Unbounded);
            let next = self
                .ready
                .range(after)
                .find(|n| !skipped.contains(*n))
                .copied();
            let Some(number) =
                next.or_else(|| self.ready.iter().find(|n| !skipped.contains(*n)).copied())
            else {
                break;
            };
            self.pumped = number;
            if !self.pump_one(now, number) {
                skipped.insert(number);
            }
        }
    }

    /// Hands out one delivery of a backlog. False if it has none to give now.
    fn pump_one(&mut self, now: Now, number: u32) -> bool {
        let retire_ms = self.settings.retire_ms;
        let synced = self.synced;
        let Some(backlog) = self.state.backlogs.get_mut(&number) else {
            self.ready.remove(&number);
            return false;
        };
        let retired = backlog.retired_running.map(|at| at + retire_ms);
        if let Some(end) = retired.filter(|end| now.running_ms < *end) {
            self.ready.remove(&number);
            if !backlog.is_empty() {
                self.set_timer(Timer::Backlog(number), end);
            }
            return false;
        }
        let slots = if backlog.webhook {
            WEBHOOK_IN_FLIGHT_MAX
        } else {
            LOG_IN_FLIGHT_MAX
        };
        if slots <= backlog.in_flight() || !backlog.has_due(now.running_ms, synced) {
            // A freed slot, a record that becomes durable, or the timer brings it back.
            self.ready.remove(&number);
            if let Some(due) = backlog.next_due() {
                self.set_timer(Timer::Backlog(number), due.max(now.running_ms + 1));
            }
            return false;
        }
        if OUTBOUND_IN_FLIGHT_MAX <= self.outbound || LOGS_IN_FLIGHT_MAX <= self.others {
            return false;
        }
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
        };
        match &attempt.version.kind {
            Kind::Webhook(bus, rule, id) => {
                attempt.webhook = self
                    .state
                    .current_version(bus, rule, id)
                    .and_then(|v| v.target.webhook.clone());
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
            Kind::Queue(_) | Kind::Log(_) | Kind::Unknown => {}
        }
        *self.class(&attempt) += 1;
        self.out.push(Effect::Attempt(Box::new(attempt)));
        true
    }

    /// The count that an attempt belongs to: what goes out, and what stays in the house.
    fn class(&mut self, attempt: &Attempt) -> &mut usize {
        if attempt.webhook.is_some() && attempt.give_up.is_none() {
            &mut self.outbound
        } else {
            &mut self.others
        }
    }

    pub(super) fn attempted(&mut self, now: Now, attempted: Attempted, journal: &mut dyn Append) {
        let Attempted {
            attempt,
            outcome,
            record,
            body,
        } = attempted;
        *self.class(&attempt) -= 1;
        self.ready.insert(attempt.version.backlog);
        let (delivery, number) = (attempt.delivery, attempt.version.number);
        let Some(pending) = self
            .state
            .backlogs
            .get(&attempt.version.backlog)
            .and_then(|b| b.get(delivery))
            .filter(|p| p.version == number)
        else {
            return;
        };
        let age = now.running_ms - pending.accepted_running;
        let attempts_before = u32::from(pending.attempts);
        let key = record
            .as_deref()
            .and_then(event_of)
            .map(|event| event_key(event.id));
        let random = self.random.next();
        let (next, attempts) = match (&attempt.give_up, outcome) {
            (Some((failure, exhausted)), _) => {
                (Next::GiveUp(failure.clone(), *exhausted), attempts_before)
            }
            (None, Outcome::Delivered) if matches!(attempt.version.kind, Kind::Queue(_)) => {
                match self.enqueue_waiting(now, &attempt, key, journal) {
                    Ok(()) => return,
                    Err(failure) => (Next::GiveUp(failure, None), attempt.number),
                }
            }
            (None, outcome) => {
                let failure = match &outcome {
                    Outcome::Deferred { failure, .. } => Some(failure.clone()),
                    Outcome::Delivered | Outcome::Refused(_) => None,
                };
                let next = retry::after(
                    &attempt.version.policy,
                    attempt.number,
                    age,
                    outcome,
                    random,
                );
                if let Next::RetryIn(delay) = next {
                    let followed = Followed::RetryAt(now.wall_ms + delay.cast_signed());
                    return self.tell(
                        now,
                        &attempt,
                        attempt.number,
                        key,
                        followed,
                        failure,
                        journal,
                    );
                }
                (next, attempt.number)
            }
        };
        match next {
            Next::Done => self.tell(now, &attempt, attempts, key, Followed::Done, None, journal),
            Next::GiveUp(failure, exhausted) => {
                let parts = GivenUp {
                    attempt: &attempt,
                    attempts,
                    failure,
                    exhausted,
                    record: record.as_deref(),
                    body: body.as_deref(),
                };
                self.give_up(now, &parts, key, journal);
            }
            Next::RetryIn(_) => unreachable!("told above"),
        }
    }

    /// Records an outcome; where the journal has no room, the delivery is due again in a second.
    #[expect(clippy::too_many_arguments, reason = "the members of one record")]
    fn tell(
        &mut self,
        now: Now,
        attempt: &Attempt,
        number: u32,
        key: Option<u128>,
        followed: Followed,
        failure: Option<Failure>,
        journal: &mut dyn Append,
    ) {
        let record = Record::Outcome {
            delivery: attempt.delivery,
            version: attempt.version.number,
            attempt: number,
            at_ms: now.wall_ms,
            followed,
            failure,
        };
        if self.record(now, &[(key, record)], true, journal).is_err() {
            self.put_back(now, attempt);
        }
    }

    fn put_back(&mut self, now: Now, attempt: &Attempt) {
        if let Some(backlog) = self.state.backlogs.get_mut(&attempt.version.backlog) {
            backlog.put_back(attempt.delivery, now.running_ms + FULL_PAUSE_MS);
        }
    }

    /// A delivery that waited for its queue goes into it, if it can.
    fn enqueue_waiting(
        &mut self,
        now: Now,
        attempt: &Attempt,
        key: Option<u128>,
        journal: &mut dyn Append,
    ) -> Result<(), Failure> {
        let Kind::Queue(name) = &attempt.version.kind else {
            return Ok(());
        };
        let Some(queue) = self.state.queue(name.as_str()) else {
            return Err(Failure::new(
                Code::NoResource,
                "The specified queue does not exist or you do not have access to it. (Service: AmazonSQS; Status Code: 400; Error Code: AWS.SimpleQueueService.NonExistentQueue)",
            ));
        };
        if queue.is_full() {
            return Err(Failure::new(Code::QueueFull, "The queue is full."));
        }
        let queue = queue.number;
        let record = Record::Enqueue {
            delivery: attempt.delivery,
            version: attempt.version.number,
            queue,
        };
        if self.record(now, &[(key, record)], true, journal).is_err() {
            self.put_back(now, attempt);
        }
        Ok(())
    }

    fn give_up(
        &mut self,
        now: Now,
        given_up: &GivenUp<'_>,
        key: Option<u128>,
        journal: &mut dyn Append,
    ) {
        let GivenUp {
            attempt,
            attempts,
            failure,
            exhausted,
            ..
        } = given_up;
        let queue = match self.dead_letter_queue(now, &attempt.version, journal) {
            Destination::Queue(queue) => queue,
            Destination::None => {
                let event = given_up
                    .record
                    .and_then(event_of)
                    .map_or_else(String::new, |e| e.id.to_owned());
                let version = &attempt.version;
                let target = format!("{}/{}/{}", version.bus, version.rule, version.target.id);
                self.out.push(Effect::Expired {
                    event,
                    target,
                    failure: failure.clone(),
                });
                let followed = Followed::Expired(*exhausted);
                return self.tell(
                    now,
                    attempt,
                    *attempts,
                    key,
                    followed,
                    Some(failure.clone()),
                    journal,
                );
            }
            Destination::Missing => {
                let delay = retry::backoff((*attempts).max(1), self.random.next());
                let followed =
                    Followed::DeadLetterRetryAt(now.wall_ms + delay.cast_signed(), *exhausted);
                return self.tell(
                    now,
                    attempt,
                    *attempts,
                    key,
                    followed,
                    Some(failure.clone()),
                    journal,
                );
            }
        };
        let decoded = given_up.record.and_then(|bytes| Record::decode(bytes).ok());
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
            bus: attempt.version.bus.as_str(),
            trace: "",
            envelope: b"{}",
        };
        let home = self.state.home().clone();
        let version = &attempt.version;
        let letter = DeadLetter {
            delivery: Some(attempt.delivery),
            version: version.number,
            queue,
            position,
            index,
            failure: failure.clone(),
            exhausted: *exhausted,
            attempts: *attempts,
            at_ms: now.wall_ms,
            rule_arn: &home.rule_arn(version.bus.as_str(), version.rule.as_str()),
            target_arn: &version.target.arn,
            rule: version.rule.as_str(),
            target: version.target.id.as_str(),
            body: given_up.body.unwrap_or_default(),
            event: decoded
                .as_ref()
                .and_then(Record::event)
                .copied()
                .unwrap_or(lost),
        };
        if self
            .record(now, &[(key, Record::DeadLetter(letter))], true, journal)
            .is_err()
        {
            self.put_back(now, attempt);
        }
    }

    /// The queue for what a target gives up: its own, the bus's, or the default one, which is made when it
    /// is first needed.
    fn dead_letter_queue(
        &mut self,
        now: Now,
        version: &Version,
        journal: &mut dyn Append,
    ) -> Destination {
        let bus = self.state.buses().get(&version.bus);
        let named = version
            .target
            .dead_letter_arn()
            .or_else(|| bus?.dead_letter_arn.as_deref());
        if let Some(arn) = named {
            let queue = match Kind::of(arn, self.state.home()) {
                Kind::Queue(name) => self.state.queue(name.as_str()).map(|q| q.number),
                _ => None,
            };
            return queue.map_or(Destination::Missing, Destination::Queue);
        }
        let Some(name) = self.settings.default_dlq.clone() else {
            return Destination::None;
        };
        if self.state.queue(name.as_str()).is_none() && !self.make_queue(now, name.clone(), journal)
        {
            return Destination::Missing;
        }
        self.state
            .queue(name.as_str())
            .map_or(Destination::Missing, |q| Destination::Queue(q.number))
    }

    fn make_queue(&mut self, now: Now, name: QueueName, journal: &mut dyn Append) -> bool {
        let changes = vec![Change::PutQueue(Queue::new(name, now.wall_ms))];
        self.record(
            now,
            &[(
                None,
                Record::Documents {
                    changes,
                    last: true,
                },
            )],
            true,
            journal,
        )
        .is_ok()
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
            Err(Full::Disk) => Answer::Unavailable,
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

struct GivenUp<'a> {
    attempt: &'a Attempt,
    attempts: u32,
    failure: Failure,
    exhausted: Option<Exhausted>,
    record: Option<&'a [u8]>,
    body: Option<&'a [u8]>,
}

fn event_of(bytes: &[u8]) -> Option<Event<'_>> {
    Record::decode(bytes).ok()?.event().copied()
}
