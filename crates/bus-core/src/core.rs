//! The core: one step of the bus.
//!
//! [`Core::step`] takes a moment and an input, appends what must survive, applies it to the state, and
//! says what is to happen outside. It does no I/O and never waits; HTTP, targets, timers and the disk are
//! shells that talk to it. A record is applied when it is appended, but what leaves the core waits in
//! `held` until the records that it rests on are durable ([`Input::Synced`]). Only outcomes and receives are
//! not waited for: after a crash they cost a duplicate, never a loss.
//!
//! Callers are known by request numbers, never by channels, so that a simulation can play them.
//! Rooms beside this file: [`control`] changes documents, [`dispatch`] decides what is attempted and what
//! follows, [`receive`] serves the queues.

mod control;
mod dispatch;
mod receive;

pub use control::{Control, Refusal, TargetRefusal};
pub use dispatch::{Attempt, Attempted, Decided};
pub use receive::{Given, Handle, HandleRefusal, Receive};

use crate::document::Tick;
use crate::limits::{BUSES_MAX, PURGE_INTERVAL_MS, RETIRE_MS, RULES_MAX, TARGETS_MAX};
use crate::name::{BusName, QueueName, RuleName, TargetId};
use crate::outcome::Failure;
use crate::record::{Key, Place, Record};
use crate::state::{Arrival, Now, RuleKey, State};
use dispatch::Lane;
use receive::Waiters;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Number of a caller's request, given by the shell, never reused in one life.
pub type RequestNumber = u64;

/// The journal as the core sees it. Filled in by the floor above.
pub trait Append {
    /// Adds records to the group that is forming: `(index key, bytes)`. Not yet durable.
    /// `reserve` may use the room that is kept for outcomes and deletes.
    ///
    /// # Errors
    /// [`Full`]; nothing was added.
    fn append(
        &mut self,
        now: Now,
        records: &[(Option<u128>, &[u8])],
        reserve: bool,
    ) -> Result<(u64, Vec<Place>), Full>;

    /// The number that the next record gets.
    fn next(&self) -> u64;
}

/// The journal takes nothing more now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The group or the next segment is not ready: the same call again in a moment.
    #[error("the journal is busy")]
    Busy,
    /// No room on the disk.
    #[error("the journal has no room")]
    Disk,
    /// A block that no segment can hold.
    #[error("the block is larger than a segment")]
    TooLarge,
}

/// What the operator may set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Queue for what targets without one give up; none = such deliveries expire.
    pub default_dlq: Option<QueueName>,
    /// How long deliveries of a vanished target wait for it, in milliseconds.
    pub retire_ms: u64,
    /// Pause between two purges of a queue, in milliseconds; 0 = none.
    pub purge_interval_ms: u64,
    /// How many of each kind there may be.
    pub quotas: Quotas,
    /// The name of a deleted queue stays taken for a minute.
    pub queue_deleted_recently: bool,
}

/// How many of each kind of resource the API may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Buses.
    pub buses: usize,
    /// Rules on one bus, those of files not counted.
    pub rules: usize,
    /// Targets of one rule.
    pub targets: usize,
}

impl Quotas {
    /// AWS's own. Source: eventbridge-api.md 17.
    pub const AWS: Self = Self {
        buses: 100,
        rules: 300,
        targets: 5,
    };
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            buses: BUSES_MAX,
            rules: RULES_MAX,
            targets: TARGETS_MAX,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_dlq: QueueName::parse("busbar-dead-letters").ok(),
            retire_ms: RETIRE_MS,
            purge_interval_ms: PURGE_INTERVAL_MS,
            quotas: Quotas::default(),
            queue_deleted_recently: false,
        }
    }
}

/// A call that is to be answered the same way when it is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Hash of the caller and its key.
    pub key: u128,
    /// Hash of the body.
    pub body: u64,
    /// What the answer's ids are made from.
    pub seed: u128,
    /// What the door needs besides.
    pub rest: Vec<u8>,
}

/// A dead letter that is to go back to the target of its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The message.
    pub message: Key,
    /// Index key of its event.
    pub event: u128,
    /// Bus of the rule.
    pub bus: BusName,
    /// The rule.
    pub rule: RuleName,
    /// The target's id.
    pub target: TargetId,
}

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// Events to keep, with their deliveries.
    Put {
        /// Whom to answer.
        request: RequestNumber,
        /// Encoded [`Record::Event`]s and their index keys.
        events: Vec<(u128, Vec<u8>)>,
        /// To be answered the same way when repeated.
        idempotency: Option<Idempotency>,
        /// Running clock when the rule set that matched them was taken.
        matched_running: u64,
        /// Whose events they are: moves the places of these schedules with them.
        ticks: Vec<Tick>,
    },
    /// Messages to keep.
    Send {
        /// Whom to answer.
        request: RequestNumber,
        /// The queue's number.
        queue: u32,
        /// Encoded [`Record::Send`]s of that queue.
        messages: Vec<Vec<u8>>,
        /// To be answered the same way when repeated.
        idempotency: Option<Idempotency>,
    },
    /// Messages to hand out.
    Receive {
        /// Whom to answer.
        request: RequestNumber,
        /// What is asked.
        receive: Receive,
    },
    /// Messages that are done with.
    Delete {
        /// Whom to answer.
        request: RequestNumber,
        /// The queue's number.
        queue: u32,
        /// What their receives gave.
        handles: Vec<Handle>,
    },
    /// Messages to hide longer or show again.
    Visibility {
        /// Whom to answer.
        request: RequestNumber,
        /// The queue's number.
        queue: u32,
        /// What their receives gave, and seconds from now; `None` = the queue's own.
        handles: Vec<(Handle, Option<u64>)>,
    },
    /// An answer with messages could not be sent: give them back.
    Return {
        /// The queue's number.
        queue: u32,
        /// What it held.
        handles: Vec<Handle>,
    },
    /// The caller of a waiting receive went away.
    Gone {
        /// Which.
        request: RequestNumber,
    },
    /// A change of documents.
    Control {
        /// Whom to answer.
        request: RequestNumber,
        /// What is asked.
        control: Control,
    },
    /// Dead letters to bring back to the target of their rule.
    Redrive {
        /// Whom to answer.
        request: RequestNumber,
        /// The dead-letter queue's number.
        queue: u32,
        /// Which.
        letters: Vec<Letter>,
    },
    /// What a decision made.
    Decided(RequestNumber, Box<Decided>),
    /// What an attempt came to.
    Attempted(Attempted),
    /// Every record up to here is durable.
    Synced(u64),
    /// Time has passed.
    Tick,
}

/// What a caller is told.
#[derive(Debug)]
pub enum Answer {
    /// Stored; the first record's number.
    Stored(u64),
    /// It was stored before: make the first answer again.
    Kept {
        /// What its ids are made from.
        seed: u128,
        /// What the door needs besides.
        rest: Box<[u8]>,
    },
    /// The same key with another body.
    KeptDiffers,
    /// The rule set that matched is too old, or a tick is no more due: match again.
    MatchAgain,
    /// The journal has no room; nothing was stored.
    Unavailable,
    /// A decision is larger than the journal takes at once; nothing was stored.
    TooLarge,
    /// The journal is busy; nothing was stored. The same input again in a moment.
    Again(Box<Input>),
    /// Messages handed out; none when the wait is over.
    Messages(Vec<Given>),
    /// One verdict for each handle, in order.
    Handles(Vec<Result<(), HandleRefusal>>),
    /// Documents changed.
    Done,
    /// Documents changed but for these targets, by id.
    Targets(Vec<(String, TargetRefusal)>),
    /// Nothing was changed.
    Refused(Refusal),
    /// Dead letters brought back; the rest have no target any more.
    Redriven(usize),
}

/// What is to happen outside.
#[derive(Debug)]
pub enum Effect {
    /// Tell a caller.
    Answer(RequestNumber, Answer),
    /// Make an attempt and tell its outcome.
    Attempt(Box<Attempt>),
    /// Publish a rule set in which the buses and these rules are as the state has them. Comes before the
    /// answer.
    Rules(Vec<RuleKey>),
    /// Tell the maker of an input that a delivery of it was given up.
    GaveUp {
        /// What it wanted to be told.
        note: Box<[u8]>,
        /// Why.
        failure: Failure,
    },
    /// Tell the operator that a delivery ended with no dead letter (I5).
    Expired {
        /// The event's id.
        event: String,
        /// Bus, rule and target id.
        target: String,
        /// Why.
        failure: Failure,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Backlog(u32),
    Queue(u32),
    Sweep,
}

/// Pause between two sweeps of what time has made useless, in milliseconds.
const SWEEP_MS: u64 = 5_000;

/// The owner of the state.
#[derive(Debug)]
pub struct Core {
    state: State,
    settings: Settings,
    random: Random,
    synced: u64,
    appended: u64,
    unclean_until: u64,
    started_running: u64,
    held: VecDeque<(u64, Effect)>,
    out: Vec<Effect>,
    timers: BTreeSet<(u64, Timer)>,
    timer_of: HashMap<Timer, u64>,
    lanes: [Lane; 2],
    woken: BTreeSet<u32>,
    waiters: Waiters,
    receives: u64,
    /// Outcomes that the journal had no room for; at most one for each attempt in flight.
    unrecorded: Vec<Attempted>,
    /// When queues were deleted, on the running clock; only while their names stay taken.
    deleted_queues: HashMap<QueueName, u64>,
}

impl Core {
    /// Begins a life on a state that has been read back: its start record is appended, and nothing may be
    /// served before that is durable. `seed` drives jitter; `secret` is used if the journal has none yet.
    ///
    /// # Errors
    /// [`Full`] if not even the start fits.
    pub fn start(
        mut state: State,
        settings: Settings,
        now: Now,
        seed: u64,
        secret: [u8; 32],
        journal: &mut dyn Append,
    ) -> Result<Self, Full> {
        let clean = state.stopped_clean;
        state.start(now);
        let number = state.start_number + 1;
        let secret = if number == 1 { secret } else { state.secret };
        let mut core = Self {
            state,
            settings,
            random: Random(seed),
            synced: 0,
            appended: 0,
            unclean_until: if clean {
                0
            } else {
                now.running_ms + crate::limits::RECEIVE_SYNC_AFTER_CRASH_MS
            },
            started_running: now.running_ms,
            held: VecDeque::new(),
            out: Vec::new(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            lanes: Lane::both(),
            woken: BTreeSet::new(),
            waiters: Waiters::default(),
            receives: 0,
            unrecorded: Vec::new(),
            deleted_queues: HashMap::new(),
        };
        core.record(
            now,
            &[(None, Record::Start { number, secret })],
            true,
            journal,
        )?;
        let waiting: Vec<u32> = core
            .state
            .backlogs()
            .filter(|b| !b.is_empty())
            .map(|b| b.number)
            .collect();
        // They are looked at when this start is durable, whatever is stepped before that.
        let arrived = |number| (core.appended, Arrival::Backlog(number));
        core.state.arrivals.extend(waiting.into_iter().map(arrived));
        core.set_timer(Timer::Sweep, now.running_ms + SWEEP_MS);
        Ok(core)
    }

    /// The state, to be read.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The newest record that was appended: what is read from the state rests on it.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Whether something waits for a sync.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// When the next input is due at the latest, on the running clock.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.waiters.next_deadline()).min()
    }

    /// Attempts being made, all targets.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.in_flight).sum()
    }

    /// The clean end of a life. All that was appended is durable once this record is.
    ///
    /// # Errors
    /// [`Full`].
    pub fn stop(&mut self, now: Now, journal: &mut dyn Append) -> Result<u64, Full> {
        self.record(now, &[(None, Record::Stop)], true, journal)?;
        Ok(self.appended)
    }

    /// Answers every waiting receive with nothing: the server stops.
    pub fn release_waiters(&mut self) -> Vec<Effect> {
        for request in self.waiters.drain() {
            self.out
                .push(Effect::Answer(request, Answer::Messages(Vec::new())));
        }
        std::mem::take(&mut self.out)
    }

    /// One step of the bus.
    pub fn step(&mut self, now: Now, input: Input, journal: &mut dyn Append) -> Vec<Effect> {
        match input {
            Input::Put {
                request,
                events,
                idempotency,
                matched_running,
                ticks,
            } => {
                let put = Put {
                    request,
                    events,
                    idempotency,
                    matched_running,
                    ticks,
                };
                self.put(now, put, journal);
            }
            Input::Send {
                request,
                queue,
                messages,
                idempotency,
            } => {
                self.send(now, request, queue, messages, idempotency, journal);
            }
            Input::Receive { request, receive } => self.receive(now, request, receive, journal),
            Input::Delete {
                request,
                queue,
                handles,
            } => self.delete(now, request, queue, &handles, journal),
            Input::Visibility {
                request,
                queue,
                handles,
            } => self.visibility(now, request, queue, &handles, journal),
            Input::Return { queue, handles } => self.give_back(now, queue, &handles, journal),
            Input::Gone { request } => self.waiters.remove(request),
            Input::Control { request, control } => self.control(now, request, control, journal),
            Input::Redrive {
                request,
                queue,
                letters,
            } => self.redrive(now, request, queue, letters, journal),
            Input::Decided(request, decided) => self.decided(now, request, *decided, journal),
            Input::Attempted(attempted) => self.attempted(now, attempted, journal),
            Input::Synced(sequence) => self.synced(sequence),
            Input::Tick => {}
        }
        self.timers(now, journal);
        self.record_outcomes(now, journal);
        self.serve_waiters(now, journal);
        self.pump(now);
        std::mem::take(&mut self.out)
    }

    fn put(&mut self, now: Now, put: Put, journal: &mut dyn Append) {
        let Put {
            request,
            events,
            idempotency,
            matched_running,
            ticks,
        } = put;
        if self.answer_kept(request, idempotency.as_ref()) {
            return;
        }
        let matched_late =
            now.running_ms.saturating_sub(matched_running) >= crate::limits::VERSION_LINGER_MS;
        if matched_late
            || !events
                .iter()
                .all(|(_, bytes)| self.state.knows_targets_of(bytes))
            || !ticks.iter().all(|tick| self.state.awaits(tick))
        {
            self.out.push(Effect::Answer(request, Answer::MatchAgain));
            return;
        }
        let kept = idempotency.as_ref().map(kept_record);
        let ticked: Vec<Vec<u8>> = ticks.iter().map(ticked_record).collect();
        let mut records: Vec<(Option<u128>, &[u8])> = events
            .iter()
            .map(|(key, bytes)| (Some(*key), bytes.as_slice()))
            .collect();
        let beside = kept.iter().chain(&ticked);
        records.extend(beside.map(|bytes| (None, bytes.as_slice())));
        let answer = match self.append(now, &records, false, journal) {
            Ok(first) => Answer::Stored(first),
            Err(Full::Disk | Full::TooLarge) => Answer::Unavailable,
            Err(Full::Busy) => {
                drop(records);
                Answer::Again(Box::new(Input::Put {
                    request,
                    events,
                    idempotency,
                    matched_running,
                    ticks,
                }))
            }
        };
        self.answer(request, answer);
    }

    fn send(
        &mut self,
        now: Now,
        request: RequestNumber,
        queue: u32,
        messages: Vec<Vec<u8>>,
        idempotency: Option<Idempotency>,
        journal: &mut dyn Append,
    ) {
        if self.answer_kept(request, idempotency.as_ref()) {
            return;
        }
        match self.state.queue_by_number(queue) {
            None => return self.refuse(request, Refusal::NoQueue),
            Some(state) if state.is_full() => return self.refuse(request, Refusal::QueueFull),
            Some(_) => {}
        }
        // The ids of the answer are made from where the messages stand.
        let seed = u128::from(journal.next());
        let kept = idempotency.as_ref().map(|call| {
            kept_record(&Idempotency {
                seed,
                ..call.clone()
            })
        });
        let mut records: Vec<(Option<u128>, &[u8])> = messages
            .iter()
            .map(|bytes| (None, bytes.as_slice()))
            .collect();
        records.extend(kept.as_deref().map(|bytes| (None, bytes)));
        let answer = match self.append(now, &records, false, journal) {
            Ok(first) => {
                assert_eq!(u128::from(first), seed);
                Answer::Stored(first)
            }
            Err(Full::Disk | Full::TooLarge) => Answer::Unavailable,
            Err(Full::Busy) => {
                drop(records);
                Answer::Again(Box::new(Input::Send {
                    request,
                    queue,
                    messages,
                    idempotency,
                }))
            }
        };
        self.answer(request, answer);
    }

    fn answer_kept(&mut self, request: RequestNumber, call: Option<&Idempotency>) -> bool {
        let Some((call, kept)) = call.and_then(|call| Some((call, self.state.kept(call.key)?)))
        else {
            return false;
        };
        let answer = if kept.body == call.body {
            Answer::Kept {
                seed: kept.seed,
                rest: kept.rest.clone(),
            }
        } else {
            Answer::KeptDiffers
        };
        let after = kept.sequence;
        self.hold(after, Effect::Answer(request, answer));
        true
    }

    /// Appends encoded records and applies them. Returns the first one's number.
    fn append(
        &mut self,
        now: Now,
        records: &[(Option<u128>, &[u8])],
        reserve: bool,
        journal: &mut dyn Append,
    ) -> Result<u64, Full> {
        if records.is_empty() {
            return Ok(self.appended + 1);
        }
        let (first, places) = journal.append(now, records, reserve)?;
        assert!(self.appended < first);
        assert_eq!(places.len(), records.len());
        for (n, ((_, bytes), place)) in records.iter().zip(places).enumerate() {
            let number = first + n as u64;
            Record::decode(bytes)
                .and_then(|record| self.state.apply(now, number, place, &record))
                .expect("the bus reads what it has just written");
        }
        self.appended = first + records.len() as u64 - 1;
        self.after_change();
        Ok(first)
    }

    fn record(
        &mut self,
        now: Now,
        records: &[(Option<u128>, Record<'_>)],
        reserve: bool,
        journal: &mut dyn Append,
    ) -> Result<u64, Full> {
        let encoded: Vec<(Option<u128>, Vec<u8>)> = records
            .iter()
            .map(|(key, record)| (*key, record.encode()))
            .collect();
        let records: Vec<(Option<u128>, &[u8])> = encoded
            .iter()
            .map(|(key, bytes)| (*key, bytes.as_slice()))
            .collect();
        self.append(now, &records, reserve, journal)
    }

    fn after_change(&mut self) {
        let changed = std::mem::take(&mut self.state.changed_rules);
        let buses = std::mem::take(&mut self.state.changed_buses);
        if buses || !changed.is_empty() {
            self.hold(self.appended, Effect::Rules(changed));
        }
    }

    /// Lets `effect` leave once record `after` is durable.
    fn hold(&mut self, after: u64, effect: Effect) {
        if after <= self.synced && self.held.is_empty() {
            self.out.push(effect);
        } else {
            // A kept answer may rest on an older record than the newest held one: it waits behind it.
            let after = self
                .held
                .back()
                .map_or(after, |(newest, _)| after.max(*newest));
            self.held.push_back((after, effect));
        }
    }

    fn answer(&mut self, request: RequestNumber, answer: Answer) {
        self.hold(self.appended, Effect::Answer(request, answer));
    }

    fn refuse(&mut self, request: RequestNumber, refusal: Refusal) {
        // A refusal rests on what the state says, and that may not be durable yet.
        self.answer(request, Answer::Refused(refusal));
    }

    fn synced(&mut self, sequence: u64) {
        assert!(self.synced <= sequence);
        self.synced = sequence;
        while self
            .held
            .front()
            .is_some_and(|(after, _)| *after <= sequence)
        {
            self.out
                .extend(self.held.pop_front().map(|(_, effect)| effect));
        }
        while let Some((at, arrival)) = self.state.arrivals.front().copied() {
            if at > sequence {
                break;
            }
            self.state.arrivals.pop_front();
            match arrival {
                Arrival::Queue(number) => drop(self.woken.insert(number)),
                Arrival::Backlog(number) => self.wake(number),
            }
        }
    }

    fn set_timer(&mut self, timer: Timer, at: u64) {
        match self.timer_of.get(&timer) {
            Some(old) if *old <= at => return,
            Some(old) => drop(self.timers.remove(&(*old, timer))),
            None => {}
        }
        self.timer_of.insert(timer, at);
        self.timers.insert((at, timer));
    }

    fn timers(&mut self, now: Now, journal: &mut dyn Append) {
        while let Some((at, timer)) = self.timers.first().copied() {
            if at > now.running_ms {
                break;
            }
            self.timers.pop_first();
            self.timer_of.remove(&timer);
            match timer {
                Timer::Backlog(number) => self.wake(number),
                Timer::Queue(number) => drop(self.woken.insert(number)),
                Timer::Sweep => {
                    self.state.sweep(now.running_ms);
                    self.deleted_queues
                        .retain(|_, until| now.running_ms < *until);
                    self.expire_messages(now, journal);
                    self.set_timer(Timer::Sweep, now.running_ms + SWEEP_MS);
                }
            }
        }
    }
}

/// The members of [`Input::Put`].
struct Put {
    request: RequestNumber,
    events: Vec<(u128, Vec<u8>)>,
    idempotency: Option<Idempotency>,
    matched_running: u64,
    ticks: Vec<Tick>,
}

fn ticked_record(tick: &Tick) -> Vec<u8> {
    Record::Ticked {
        rule: tick.rule.as_str(),
        at_ms: tick.at_ms,
    }
    .encode()
}

fn kept_record(call: &Idempotency) -> Vec<u8> {
    Record::Kept {
        key: call.key,
        body: call.body,
        seed: call.seed,
        rest: &call.rest,
    }
    .encode()
}

/// SplitMix64: jitter needs to be spread, not secret, and a seed must repeat it.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Ids of messages are made from where they stand: UUID version 4 in form.
#[must_use]
pub fn message_id(secret: &[u8; 32], key: Key) -> uuid::Uuid {
    use sha2::{Digest, Sha256};
    let hash = Sha256::new()
        .chain_update(b"message\0")
        .chain_update(secret)
        .chain_update(key.sequence.to_be_bytes())
        .chain_update(key.index.to_be_bytes())
        .finalize();
    let bytes: [u8; 16] = hash[..16].try_into().expect("a SHA-256 has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Id of event number `n` of a call: a repeated answer makes the same ones from the same seed.
#[must_use]
pub fn event_id(seed: u128, n: usize) -> uuid::Uuid {
    use sha2::{Digest, Sha256};
    let hash = Sha256::new()
        .chain_update(b"id\0")
        .chain_update(seed.to_be_bytes())
        .chain_update((n as u64).to_be_bytes())
        .finalize();
    let bytes: [u8; 16] = hash[..16].try_into().expect("a SHA-256 has 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
