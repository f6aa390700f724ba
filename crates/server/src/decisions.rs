//! Runs crate `lifecycle`: firings, scans, edits of the inventory and loads of documents, one after another.
//!
//! A decision is made on what is kept, under the one `turn`, and written as one block: what it changes, what it
//! makes for targets and buses, and the end of the firing that it is. The turn goes on when the core has
//! taken the block, so the next decision sees all of it, and stands behind it in the journal: many share a sync.
//! Only what leaves the room waits for that: answers, the history, the end of a firing. A crash leaves the whole
//! block or nothing, and a firing without its block is attempted again.
//!
//! Start at [`Decisions::start`].

mod scans;

pub use scans::{Scanning, TickError};

use crate::annex::{Entry, Inbound, Kept, Text};
use crate::bus::{Bus, Taken, Unavailable};
use crate::history::{self, Coming, Row};
use crate::router::{Routing, delivery};
use arc_swap::ArcSwap;
use bus_core::core::{Answer, Attempt, Attempted, Control, Decided, Input};
use bus_core::limits::{LOGS_IN_FLIGHT_MAX, OUTBOUND_IN_FLIGHT_MAX};
use bus_core::name::{BusName, RuleName};
use bus_core::outcome::{Code, Failure, Outcome};
use bus_core::record::{self, Record, event_key};
use bus_core::state::Version;
use journal::ReadError;
use lifecycle::documents::Documents;
use lifecycle::event::{Event, Raised};
use lifecycle::firing::{self, DUPLICATE_MS_DEFAULT, Decision, Firing, Now};
use lifecycle::history::FiringRow;
use lifecycle::moment;
use lifecycle::notification::{Notice, Step, take_back};
use lifecycle::object::Edit;
use lifecycle::reference::Ref;
use lifecycle::scan::{self, Trial};
use lifecycle::state::Draft;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

/// Events read at once for the firings that wait.
const READ_MAX: usize = 64;
/// Decisions about firings that wait for their sync.
const AHEAD_MAX: usize = 512;
/// How often a decision is made again when rules changed under it.
const TRIES_MAX: usize = 3;
/// Firings and notes that wait for their turn.
const JOBS_MAX: usize = LOGS_IN_FLIGHT_MAX + OUTBOUND_IN_FLIGHT_MAX + 1;

/// The handle of the room. Cheap to clone.
#[derive(Clone)]
pub struct Decisions {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Bus,
    documents: ArcSwap<Documents>,
    turn: tokio::sync::Mutex<()>,
    jobs: mpsc::Sender<Job>,
    open: watch::Sender<bool>,
    under_way: AtomicUsize,
    /// The tick of each monitor whose scan runs.
    scanning: Mutex<BTreeMap<String, i64>>,
}

enum Job {
    Fire(Box<Attempt>),
    GaveUp(Box<[u8]>, Failure),
}

/// A job with what it is about.
enum Read {
    Firing(Box<Attempt>, Vec<u8>, Box<Event>),
    GaveUp(Box<Note>, Failure),
}

/// The firing that a decision ends, with its record; `None` when it tells of a failure.
type Ends = Option<(Box<Attempt>, Vec<u8>)>;

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unwritten {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("it is larger than the journal takes at once")]
    TooLarge,
    #[error("the decision panicked")]
    Panicked,
}

impl From<Unwritten> for Unavailable {
    fn from(_: Unwritten) -> Self {
        Self
    }
}

/// A block that the core has taken.
struct Written(Taken);

impl Written {
    /// Waits until it is durable: the number of its first record.
    async fn durable(self) -> Result<u64, Unavailable> {
        let answer = match self.0 {
            Taken::Answered(answer) => answer,
            Taken::Held(held) => held.answer().await?,
        };
        match answer {
            Answer::Stored(first) => Ok(first),
            _ => Err(Unavailable),
        }
    }
}

/// A block with what the history is to know of it, which lies so far behind its first record.
struct Told {
    written: Result<Written, Unwritten>,
    rows: Option<(u64, Vec<Row>, Coming)>,
}

/// What is to be told when a delivery that a firing made is given up.
#[derive(Serialize, Deserialize)]
struct Note {
    firing: String,
    object: Ref,
    trigger: String,
    /// Id of the channel or target.
    to: String,
    notice: Option<OfNotice>,
}

#[derive(Serialize, Deserialize)]
struct OfNotice {
    action: u32,
    profile: String,
    step: Option<Step>,
    /// Channels and inboxes that have it.
    held_by: usize,
}

/// Documents to be put in force.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// Ready to be asked.
    pub documents: Documents,
    /// As they are written.
    pub texts: Vec<Text>,
}

/// Where a firing's inputs come from.
struct Source<'a> {
    routing: &'a Routing,
    event: &'a Event,
    record: record::Event<'a>,
    firing: &'a str,
}

impl Decisions {
    /// Begins. Firings wait until there are documents to decide by.
    #[must_use]
    pub fn start(bus: &Bus, runtime: &tokio::runtime::Handle) -> Self {
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let decisions = Self {
            inner: Arc::new(Inner {
                bus: bus.clone(),
                documents: ArcSwap::default(),
                turn: tokio::sync::Mutex::new(()),
                jobs,
                open: watch::Sender::new(false),
                under_way: AtomicUsize::new(0),
                scanning: Mutex::default(),
            }),
        };
        runtime.spawn(decisions.clone().run(waiting));
        decisions
    }

    /// Puts documents in force; what waits may be decided.
    fn decide_by(&self, documents: Documents) {
        self.inner.documents.store(Arc::new(documents));
        self.inner.open.send_replace(true);
    }

    /// Whether there are documents to decide by.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self.inner.open.borrow()
    }

    /// The documents in force.
    #[must_use]
    pub fn documents(&self) -> Arc<Documents> {
        self.inner.documents.load_full()
    }

    /// Firings and failures told of that have not been decided about; none that nobody decides about in this
    /// life.
    #[must_use]
    pub fn under_way(&self) -> usize {
        match self.is_open() {
            true => self.inner.under_way.load(Ordering::Relaxed),
            false => 0,
        }
    }

    /// Takes a firing. Does not wait.
    pub fn fire(&self, attempt: Box<Attempt>) {
        self.inner.under_way.fetch_add(1, Ordering::Relaxed);
        let sent = self.inner.jobs.try_send(Job::Fire(attempt));
        if let Err(mpsc::error::TrySendError::Full(Job::Fire(attempt))) = sent {
            self.put_off(attempt, None, "too many firings wait");
        }
    }

    /// Takes that a delivery was given up. Does not wait.
    pub fn gave_up(&self, note: Box<[u8]>, failure: Failure) {
        self.inner.under_way.fetch_add(1, Ordering::Relaxed);
        if self
            .inner
            .jobs
            .try_send(Job::GaveUp(note, failure))
            .is_err()
        {
            self.inner.under_way.fetch_sub(1, Ordering::Relaxed);
            tracing::error!("a channel gave up and its firing could not be told");
        }
    }

    async fn run(self, mut waiting: mpsc::Receiver<Job>) {
        let mut open = self.inner.open.subscribe();
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let (ahead, written) = mpsc::channel(AHEAD_MAX);
        tokio::spawn(self.clone().conclude(written));
        let mut jobs = Vec::new();
        while 0 < waiting.recv_many(&mut jobs, READ_MAX).await {
            for job in self.read(std::mem::take(&mut jobs)).await {
                let (told, ends) = match job {
                    Read::Firing(attempt, record, event) => {
                        let told = self.decide(&attempt, &record, &event).await;
                        (told, Some((attempt, record)))
                    }
                    Read::GaveUp(note, failure) => (self.note_failure(*note, &failure).await, None),
                };
                if ahead.send((told, ends)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Ends what was decided, in order, when it is durable.
    async fn conclude(self, mut written: mpsc::Receiver<(Result<Told, Unwritten>, Ends)>) {
        while let Some((told, ends)) = written.recv().await {
            let done = match told {
                Ok(told) => self.settle(told).await,
                Err(why) => Err(why),
            };
            match (ends, done) {
                // Its end is written; this frees its slot.
                (Some((attempt, record)), Ok(())) => {
                    self.end(attempt, Outcome::Delivered, Some(record));
                }
                (Some((attempt, record)), Err(Unwritten::TooLarge)) => {
                    let text = "What the event fires is larger than can be stored at once.";
                    let failure = Failure::new(Code::TooLarge, text);
                    self.end(attempt, Outcome::Refused(failure), Some(record));
                }
                (Some((attempt, record)), Err(why)) => {
                    self.put_off(attempt, Some(record), &why.to_string());
                }
                (None, done) => {
                    if let Err(why) = done {
                        tracing::error!(%why, "a delivery was given up and its firing could not be told");
                    }
                    self.inner.under_way.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn end(&self, attempt: Box<Attempt>, outcome: Outcome, record: Option<Vec<u8>>) {
        self.inner.bus.attempted(Attempted {
            attempt,
            outcome,
            record,
            body: None,
        });
        self.inner.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// The attempt is made again later.
    fn put_off(&self, attempt: Box<Attempt>, record: Option<Vec<u8>>, why: &str) {
        let outcome = Outcome::Deferred {
            failure: Failure::new(Code::InternalError, why),
            not_before: None,
        };
        self.end(attempt, outcome, record);
    }

    // ---- firings -----------------------------------------------------------------------------

    /// Reads the events of firings. Those that cannot be read are ended, and left out.
    async fn read(&self, jobs: Vec<Job>) -> Vec<Read> {
        let bus = self.inner.bus.clone();
        let read = move || {
            let read = |job| match job {
                Job::Fire(attempt) => {
                    let record = bus.read_blocking(attempt.place);
                    let event = record.as_deref().ok();
                    let read = |it| isolated(&attempt.delivery.sequence, || read_event(it));
                    let event = event.and_then(|it| read(it).ok()?);
                    (Job::Fire(attempt), Some((record, event)))
                }
                Job::GaveUp(..) => (job, None),
            };
            jobs.into_iter().map(read).collect::<Vec<_>>()
        };
        let Ok(read) = tokio::task::spawn_blocking(read).await else {
            // The server has ended.
            return Vec::new();
        };
        let ready = |(job, read)| match (job, read) {
            (Job::Fire(attempt), Some((Ok(record), Some(event)))) => {
                Some(Read::Firing(attempt, record, Box::new(event)))
            }
            (Job::Fire(attempt), Some((Ok(record), None))) => {
                let failure = Failure::new(
                    Code::InvalidParameter,
                    "The event cannot be read by triggers: it nests too deep.",
                );
                self.end(attempt, Outcome::Refused(failure), Some(record));
                None
            }
            (Job::Fire(attempt), Some((Err(ReadError::Damaged { file, offset }), _))) => {
                tracing::error!(file, offset, "a firing's record is damaged");
                let failure = Failure::new(Code::StorageCorrupt, "The event's record is damaged.");
                self.end(attempt, Outcome::Refused(failure), None);
                None
            }
            (Job::Fire(attempt), _) => {
                self.put_off(attempt, None, "the event could not be read");
                None
            }
            (Job::GaveUp(note, failure), _) => match serde_json::from_slice(&note) {
                Ok(note) => Some(Read::GaveUp(Box::new(note), failure)),
                Err(_) => {
                    self.inner.under_way.fetch_sub(1, Ordering::Relaxed);
                    None
                }
            },
        };
        read.into_iter().filter_map(ready).collect()
    }

    /// Decides about the event of a record, and writes it. Nothing but its end when nothing covers it any more.
    async fn decide(
        &self,
        attempt: &Attempt,
        bytes: &[u8],
        event: &Event,
    ) -> Result<Told, Unwritten> {
        let record = Record::decode(bytes).ok();
        let record = record.as_ref().and_then(Record::event).copied();
        let name = format!(
            "firing|{}|{}",
            attempt.delivery.sequence, attempt.delivery.index
        );
        let firing = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
        let _turn = self.inner.turn.lock().await;
        for _ in 0..TRIES_MAX {
            let (matched_running, routing) = self.inner.bus.routing();
            let mut rows = Vec::new();
            let mut records = Vec::new();
            if let Some(record) = record {
                let source = Source {
                    routing: &routing,
                    event,
                    record,
                    firing: &firing,
                };
                let row = isolated(&attempt.delivery.sequence, || {
                    self.fire_with(&source, &mut records)
                })?;
                rows.extend(row.map(Row::Firing));
            }
            let ends = Some(Box::new(attempt.clone()));
            if let Some(told) = self.tell(rows, records, ends, matched_running).await {
                return Ok(told);
            }
        }
        Err(Unavailable.into())
    }

    /// The records of what an event fires, and its row; `None` when nothing covers it.
    fn fire_with(
        &self,
        source: &Source<'_>,
        records: &mut Vec<(Option<u128>, Vec<u8>)>,
    ) -> Option<FiringRow> {
        let documents = self.documents();
        let kept = self.inner.bus.kept().read();
        let raised = raised(&documents, source.event);
        let now = Now {
            wall: self.inner.bus.now().wall_ms,
            duplicate: DUPLICATE_MS_DEFAULT,
        };
        let (event, firing) = (source.event, source.firing);
        let fired = firing::fire(&documents, &kept.state, event, &raised, now, firing)?;
        Some(self.block(source, fired, records))
    }

    /// Writes a block and what the history is to know of it; `None` if it was routed by rules that are gone.
    async fn tell(
        &self,
        rows: Vec<Row>,
        mut records: Vec<(Option<u128>, Vec<u8>)>,
        ends: Option<Box<Attempt>>,
        matched_running: u64,
    ) -> Option<Told> {
        let index = records.len() as u64;
        let history = self.inner.bus.history();
        let coming = (!rows.is_empty()).then(|| history.coming());
        let entry = Entry::History(rows);
        if coming.is_some() {
            records.push((Some(history::KEY), annex(&entry)));
        }
        let written = self.write(records, ends, matched_running).await;
        let Entry::History(rows) = entry else {
            unreachable!("made above")
        };
        let rows = coming.map(|coming| (index, rows, coming));
        let written = written.transpose()?;
        Some(Told { written, rows })
    }

    /// Waits until what was told is durable, and hands it to the history. One after another: a doubt is of
    /// what comes behind all that was told before.
    async fn settle(&self, told: Told) -> Result<(), Unwritten> {
        let history = self.inner.bus.history();
        let first = match told.written {
            Ok(written) => written.durable().await.map_err(Unwritten::from),
            Err(why) => Err(why),
        };
        if let Some((index, rows, coming)) = told.rows {
            match first {
                Ok(first) => history.record(first + index, rows, coming),
                Err(Unwritten::Unavailable(_)) => history.unsure(),
                Err(Unwritten::TooLarge | Unwritten::Panicked) => {}
            }
        }
        first.map(drop)
    }

    /// Writes a block; `None` if it was routed by rules that are gone.
    async fn write(
        &self,
        records: Vec<(Option<u128>, Vec<u8>)>,
        ends: Option<Box<Attempt>>,
        matched_running: u64,
    ) -> Result<Option<Written>, Unwritten> {
        let decided = Box::new(Decided {
            records,
            ends,
            matched_running,
        });
        let bus = &self.inner.bus;
        let taken = bus.ask_ahead(|request| Input::Decided(request, decided));
        match taken.await? {
            Taken::Answered(Answer::MatchAgain) => Ok(None),
            Taken::Answered(Answer::TooLarge) => Err(Unwritten::TooLarge),
            taken => Ok(Some(Written(taken))),
        }
    }

    /// The records of a whole firing, and its row.
    fn block(
        &self,
        source: &Source<'_>,
        fired: Firing,
        records: &mut Vec<(Option<u128>, Vec<u8>)>,
    ) -> FiringRow {
        let Firing {
            mut row,
            mut effects,
            decisions,
        } = fired;
        let mut inbox = Vec::new();
        for (at, decision) in decisions.into_iter().enumerate() {
            effects.extend(decision.effects.iter().cloned());
            let subject = &mut row.objects[at];
            self.hand_over(source, &decision, records);
            for notice in &decision.notices {
                for to in self.notify(source, notice, records) {
                    let mut evaluations = subject.evaluations.iter_mut();
                    if let Some(evaluation) = evaluations.find(|it| it.trigger == notice.trigger) {
                        evaluation.gave_up(
                            notice.action,
                            &notice.profile,
                            &to,
                            "the profile has no such channel any more",
                        );
                    }
                }
                inbox.extend(notice.inbox.iter().map(|(recipient, id)| Inbound {
                    id: id.clone(),
                    recipient: recipient.clone(),
                    time: moment::format(source.event.time),
                    profile: notice.profile.clone(),
                    trigger: notice.trigger.clone(),
                    object: notice.object.clone(),
                    event: row.event.clone(),
                    event_id: row.event_id.clone(),
                }));
            }
        }
        if !effects.is_empty() {
            records.push((None, annex(&Entry::Effects(effects))));
        }
        if !inbox.is_empty() {
            records.push((None, annex(&Entry::Inbox(inbox))));
        }
        row
    }

    /// What the targets of triggers are sent.
    fn hand_over(
        &self,
        source: &Source<'_>,
        decision: &Decision,
        records: &mut Vec<(Option<u128>, Vec<u8>)>,
    ) {
        for handed in &decision.handed {
            let names = (
                BusName::parse(source.record.bus),
                RuleName::parse(&handed.trigger),
            );
            let (Ok(bus), Ok(rule)) = names else { continue };
            for to in &handed.targets {
                let Some(version) = source.routing.handed(&bus, &rule, to) else {
                    tracing::error!(
                        rule = handed.trigger,
                        target = to,
                        "a trigger's target is gone"
                    );
                    continue;
                };
                let input = match version.target.shapes() {
                    true => handed.document.as_bytes(),
                    false => source.record.envelope,
                };
                let note = Note {
                    firing: source.firing.to_owned(),
                    object: Ref::clone(
                        &Ref::parse(&decision.row.object).expect("it was decided about"),
                    ),
                    trigger: handed.trigger.clone(),
                    to: to.clone(),
                    notice: None,
                };
                records.push(self.made(source, version, input, "", &note));
            }
        }
    }

    /// What the channels of a notice are sent; returns those that are gone.
    fn notify(
        &self,
        source: &Source<'_>,
        notice: &Notice,
        records: &mut Vec<(Option<u128>, Vec<u8>)>,
    ) -> Vec<String> {
        let profile = RuleName::parse(&notice.profile).ok();
        let version = |channel: &str| {
            let profile = profile.as_ref()?;
            let internal = BusName::internal();
            source.routing.handed(&internal, profile, channel)
        };
        let (there, gone): (Vec<_>, Vec<_>) = notice
            .handovers
            .iter()
            .map(|it| (it, version(&it.channel)))
            .partition(|(_, version)| version.is_some());
        let held_by = there.len() + notice.inbox.len();
        for (handover, version) in there {
            let version = version.expect("partitioned by it");
            let note = Note {
                firing: source.firing.to_owned(),
                object: notice.object.clone(),
                trigger: notice.trigger.clone(),
                to: handover.channel.clone(),
                notice: Some(OfNotice {
                    action: notice.action,
                    profile: notice.profile.clone(),
                    step: notice.step.clone(),
                    held_by,
                }),
            };
            let body = handover.body.to_string();
            let (body, key) = (body.as_bytes(), &handover.id);
            records.push(self.made(source, version, body, key, &note));
        }
        gone.into_iter().map(|(it, _)| it.channel.clone()).collect()
    }

    fn made(
        &self,
        source: &Source<'_>,
        version: &Version,
        input: &[u8],
        key: &str,
        note: &Note,
    ) -> (Option<u128>, Vec<u8>) {
        let event = record::Event {
            accepted_ms: self.inner.bus.now().wall_ms,
            envelope: input,
            ..source.record
        };
        let note = serde_json::to_vec(note).expect("plain values");
        let made = Record::Made {
            deliveries: vec![delivery(
                version,
                input,
                self.inner.bus.shapers(),
                event.accepted_ms,
            )],
            note: &note,
            key,
            event,
        };
        (Some(event_key(source.record.id)), made.encode())
    }

    async fn note_failure(&self, note: Note, failure: &Failure) -> Result<Told, Unwritten> {
        let _turn = self.inner.turn.lock().await;
        let (object, why) = (note.object.to_string(), failure.text.clone());
        let Note {
            firing,
            trigger,
            to,
            notice,
            ..
        } = note;
        let mut records = Vec::new();
        let row = match notice {
            None => Row::TargetFailed {
                firing,
                object,
                trigger,
                target: to,
                why,
            },
            Some(notice) => {
                let key = (firing, object, trigger, notice.action, notice.profile);
                let back = isolated(&key.0, || {
                    let kept = self.inner.bus.kept().read();
                    let step = notice.step.as_ref();
                    let step = step.filter(|_| kept.is_last(&key, &to, notice.held_by));
                    step.and_then(|step| take_back(&kept.state, step))
                })?;
                records.extend(back.map(|it| (None, annex(&Entry::Effects(vec![it])))));
                let (firing, object, trigger, action, profile) = key;
                Row::GaveUp {
                    firing,
                    object,
                    trigger,
                    action,
                    profile,
                    channel: to,
                    why,
                }
            }
        };
        let now = self.inner.bus.now().running_ms;
        let told = self.tell(vec![row], records, None, now).await;
        told.ok_or(Unavailable.into())
    }

    /// Decides about an event and changes nothing (HIS-6).
    #[must_use]
    pub fn dry_run(&self, event: &Event) -> Option<FiringRow> {
        let kept = self.inner.bus.kept().read();
        self.dry_fire(&mut Draft::new(&kept.state), event)
    }

    /// Looks at one object as a monitor's scan would, then decides about the event, if there is one. Changes
    /// nothing (HIS-6). `supposed` stands for what the inventory has of the object. `None` when there is no
    /// such monitor or object. Takes as long as a scan where the monitor compares fields.
    #[must_use]
    pub fn dry_scan(
        &self,
        monitor: &str,
        tick: i64,
        object: &Ref,
        supposed: Option<Edit>,
    ) -> Option<(Trial, Option<FiringRow>)> {
        let same = self.index(monitor)?;
        let documents = self.documents();
        let kept = self.inner.bus.kept().read();
        let mut draft = Draft::new(&kept.state);
        if let Some(edit) = supposed {
            draft.suppose(edit, documents.pairs(), tick);
        }
        let object = draft.get(object)?;
        let home = &self.inner.bus.identity().home;
        let trial = scan::trial(&documents, &kept.state, home, monitor, tick, &same, &object)?;
        let emitted = trial.emission.as_ref();
        let event = emitted.and_then(|it| Event::read(&it.bus, &it.json));
        let row = event.and_then(|event| self.dry_fire(&mut draft, &event));
        Some((trial, row))
    }

    fn dry_fire(&self, draft: &mut Draft<'_>, event: &Event) -> Option<FiringRow> {
        let now = Now {
            wall: self.inner.bus.now().wall_ms,
            duplicate: DUPLICATE_MS_DEFAULT,
        };
        let documents = self.documents();
        // As a replay: that it fired before is no reason to say nothing.
        let raised = &Raised::Replay;
        let fired = firing::fire_over(&documents, draft, event, raised, now, "dry-run");
        fired.map(|it| it.row)
    }

    // ---- inventory ---------------------------------------------------------------------------

    /// Changes the inventory, at this moment.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn edit<T>(
        &self,
        change: impl FnOnce(&mut Draft<'_>, &Documents, i64) -> T,
    ) -> Result<T, Unavailable> {
        let turn = self.inner.turn.lock().await;
        let now = self.inner.bus.now().wall_ms;
        let (value, effects) = {
            let kept = self.inner.bus.kept().read();
            let mut draft = Draft::new(&kept.state);
            let value = change(&mut draft, &self.documents(), now);
            (value, draft.take_effects())
        };
        if effects.is_empty() {
            drop(turn);
            // What was found may not be durable yet.
            self.inner.bus.look(|_, _| ()).await?;
        } else {
            let written = self.keep(&Entry::Effects(effects)).await?;
            drop(turn);
            written.durable().await?;
        }
        Ok(value)
    }

    /// What is kept, to be looked at shortly.
    pub fn look<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.inner.bus.kept().read())
    }

    async fn keep(&self, entry: &Entry) -> Result<Written, Unavailable> {
        let now = self.inner.bus.now().running_ms;
        let written = self.write(vec![(None, annex(entry))], None, now).await?;
        written.ok_or(Unavailable)
    }

    // ---- documents ---------------------------------------------------------------------------

    /// Puts rules and documents in force, or neither: what is refused changes nothing.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn load(&self, control: Control, adopted: Adopted) -> Result<Answer, Unavailable> {
        let _turn = self.inner.turn.lock().await;
        let asked = self
            .inner
            .bus
            .ask(|request| Input::Control { request, control });
        let answer = asked.await?;
        if matches!(answer, Answer::Done) {
            self.adopt(adopted).await?;
        }
        Ok(answer)
    }

    async fn adopt(&self, adopted: Adopted) -> Result<(), Unavailable> {
        let Adopted { documents, texts } = adopted;
        let now = self.inner.bus.now().wall_ms;
        let entries = {
            let kept = self.inner.bus.kept().read();
            let enabled = documents.monitors().filter(|it| it.enabled);
            let since = enabled.map(|it| {
                let before = kept.in_force.since.get(&it.name);
                (it.name.clone(), before.copied().unwrap_or(now))
            });
            let since: BTreeMap<String, i64> = since.collect();
            let mut entries = Vec::new();
            let came = texts != kept.in_force.texts;
            if came {
                entries = Entry::coming(&texts);
            }
            if came || since != kept.in_force.since {
                entries.push(Entry::InForce { came, since });
            }
            let effects = kept.state.adopt(&documents);
            if !effects.is_empty() {
                entries.push(Entry::Effects(effects));
            }
            entries
        };
        for entry in entries {
            self.keep(&entry).await?.durable().await?;
        }
        self.decide_by(documents);
        Ok(())
    }

    /// Takes over documents that the journal has, as long as no files say otherwise.
    pub fn resume(&self, documents: Documents) {
        self.decide_by(documents);
    }
}

/// What `decide` comes to. Should it panic, that is about this one event: others are still decided about, and
/// this one is attempted again until it is given up. `of` is the number of its record, or its firing.
fn isolated<T>(of: &dyn Display, decide: impl FnOnce() -> T) -> Result<T, Unwritten> {
    // It holds no lock for writing, and what it made so far is dropped.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decide)).map_err(|_| {
        tracing::error!(%of, "a decision panicked; this is a fault of the server");
        Unwritten::Panicked
    })
}

fn annex(entry: &Entry) -> Vec<u8> {
    Record::Annex {
        bytes: &entry.encode(),
    }
    .encode()
}

/// The event of a record.
fn read_event(bytes: &[u8]) -> Option<Event> {
    let record = Record::decode(bytes).ok()?;
    let event = record.event()?;
    Event::read(event.bus, std::str::from_utf8(event.envelope).ok()?)
}

/// Who raised an event: the id of what a monitor emits is made of monitor, object and tick, so it says so
/// itself, also after a crash.
fn raised(documents: &Documents, event: &Event) -> Raised {
    let object = event.value["resources"][0].as_str().and_then(Ref::parse);
    let by = object.and_then(|object| {
        let mut monitors = documents.monitors();
        monitors.find(|it| scan::id(&it.name, &object, event.time) == event.text("id"))
    });
    by.map_or(Raised::Outside, |it| Raised::Monitor(it.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::{Unwritten, isolated};

    #[test]
    fn a_panic_is_of_one_event() {
        assert_eq!(isolated(&1, || 1), Ok(1));
        let panics = || -> u8 { panic!("as it should") };
        assert_eq!(isolated(&2, panics), Err(Unwritten::Panicked));
    }
}
