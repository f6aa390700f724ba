//! The trail of an event: what became of it, found through the journal.
//!
//! Everything that happens to an event is a record that carries its key, so the trail is those records in
//! their order, joined by delivery. Records alone decide what became of a delivery; the state is asked only
//! for names (of target versions and queues) and for messages that still lie in a queue, since taking a
//! message out of a queue carries no event's key.
//!
//! A delivery has several identities in its life: the event's record and its place in it, and after a
//! redrive the record that redrove it. [`Story`] follows it through them.
//!
//! Start at [`trail`].

use crate::bus::{Bus, Unavailable};
use crate::status::kind_name;
use bus_core::core::{Core, message_id};
use bus_core::document::Kind;
use bus_core::envelope::format_millis;
use bus_core::outcome::Failure;
use bus_core::position::Position;
use bus_core::record::{DeadLetter, Followed, Key, Record, event_key};
use bus_core::retry::Exhausted;
use bus_core::state::{MUST_WAIT, State, Version};
use journal::{ReadError, Reader};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Occurrences of one id that are shown, the newest ones. Whoever reuses an id for everything gets no
/// answer without end.
const OCCURRENCES_MAX: usize = 100;
/// Queues through which a message may have been moved and is still looked for.
const MOVES_MAX: usize = 5;

/// Why there is no trail.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The server is stopping.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The journal cannot be read.
    #[error("could not read the journal")]
    Read(#[source] ReadError),
}

/// What became of an event id.
#[derive(Debug, Serialize)]
pub struct Trail {
    /// The id.
    pub event_id: String,
    /// Each event that had it, oldest first.
    pub occurrences: Vec<Occurrence>,
    /// Older occurrences that are not shown.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: usize,
    /// Records that are damaged and could not be told.
    #[serde(skip_serializing_if = "is_zero")]
    pub damaged: usize,
}

/// One event that had the id.
#[derive(Debug, Serialize)]
pub struct Occurrence {
    /// Where it stands.
    pub position: String,
    /// The bus it was put on.
    pub bus: String,
    /// When it was accepted.
    pub accepted: String,
    /// The event itself.
    pub envelope: Option<Box<RawValue>>,
    /// The rules that it matched, each once.
    pub rules: Vec<String>,
    /// Its deliveries.
    pub deliveries: Vec<Delivery>,
}

/// What became of one delivery.
#[derive(Debug, Serialize)]
pub struct Delivery {
    /// Its rule; none if nothing remembers the target's version.
    pub rule: Option<String>,
    /// Its target's id, or `version N`.
    pub target: String,
    /// `webhook`, `log`, `queue` or `unknown`.
    pub kind: &'static str,
    /// What its target names.
    pub arn: Option<String>,
    /// What was tried, in order.
    pub attempts: Vec<Step>,
    /// `delivered`, `pending`, `dead-lettered`, `expired`, `in queue`.
    pub state: &'static str,
    /// Its newest dead letter, whatever became of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Letter>,
    /// Where its message lies, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Id of that message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// An attempt, or a redrive between two of them.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Number of the attempt, from 1, anew after a redrive; a redrive has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// When.
    pub at: String,
    /// `delivered`, `deferred`, `refused`; `redriven`.
    pub outcome: &'static str,
    /// The code that a dead letter shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// HTTP status of the target's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it was to be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_try: Option<String>,
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub struct Letter {
    /// Its queue; none if that was deleted.
    pub queue: Option<String>,
    /// Id of the message.
    pub message_id: String,
    /// When it was given up.
    pub at: String,
    /// Why.
    pub code: &'static str,
    /// For people.
    pub text: String,
    /// Which bound was reached, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<&'static str>,
    /// It was brought back to the target since.
    pub redriven: bool,
}

/// As a dead letter spells it. Source: eventbridge-api.md 8.3.
#[must_use]
pub fn exhausted_name(exhausted: Exhausted) -> &'static str {
    match exhausted {
        Exhausted::Attempts => "MaximumRetryAttempts",
        Exhausted::Age => "MaximumEventAgeInSeconds",
    }
}

/// The trail of an event id; `None` if the journal knows no event that had it.
///
/// # Errors
/// [`TrailError`].
pub async fn trail(bus: &Bus, id: &str) -> Result<Option<Trail>, TrailError> {
    let mut story = read(bus, id).await?;
    let mut wanted = Wanted::of(&story);
    if wanted.versions.is_empty() && story.occurrences.is_empty() {
        return Ok(None);
    }
    let names = bus.look(move |core, _| wanted.look(core)).await?;
    if names.read_again {
        // What ended between reading and looking has left a record by now.
        story = read(bus, id).await?;
    }
    Ok(Some(story.tell(id, &names, &bus.identity().secret)))
}

async fn read(bus: &Bus, id: &str) -> Result<Story, TrailError> {
    let (reader, id) = (bus.reader(), id.to_owned());
    tokio::task::spawn_blocking(move || Story::read(&reader, &id))
        .await
        .expect("reading does not panic")
        .map_err(TrailError::Read)
}

/// The records of an event id, joined.
#[derive(Debug, Default)]
struct Story {
    /// By sequence of the event.
    occurrences: BTreeMap<u64, Told>,
    left_out: usize,
    damaged: usize,
}

#[derive(Debug)]
struct Told {
    bus: String,
    accepted_ms: i64,
    envelope: Vec<u8>,
    deliveries: BTreeMap<u16, Course>,
}

/// What happened to one delivery.
#[derive(Debug)]
struct Course {
    /// Its identity now.
    key: Key,
    /// Version of its target now.
    version: u32,
    /// May not go into its queue at once.
    waits: bool,
    steps: Vec<Step>,
    /// Number of the newest attempt since the newest redrive.
    number: u32,
    end: Option<End>,
    letter: Option<LetterTold>,
    queued: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Delivered,
    DeadLettered,
    Expired,
    Queued,
}

#[derive(Debug)]
struct LetterTold {
    key: Key,
    queue: u32,
    at_ms: i64,
    failure: Failure,
    exhausted: Option<Exhausted>,
    rule: String,
    target: String,
    target_arn: String,
    redriven: bool,
}

impl Course {
    fn new(key: Key, version: u32) -> Self {
        Self {
            key,
            version: version & !MUST_WAIT,
            waits: version & MUST_WAIT != 0,
            steps: Vec::new(),
            number: 0,
            end: None,
            letter: None,
            queued: None,
        }
    }

    fn attempt(
        &mut self,
        number: u32,
        at_ms: i64,
        outcome: &'static str,
        failure: Option<&Failure>,
        next_ms: Option<i64>,
    ) {
        // Giving up is told again and again while the dead-letter queue cannot be reached; only the first
        // telling was an attempt.
        if number <= self.number {
            return;
        }
        self.number = number;
        self.steps.push(Step {
            number: Some(number),
            at: format_millis(at_ms),
            outcome,
            code: failure.map(|f| f.code.as_str()),
            status: failure.and_then(|f| f.status),
            text: failure.map(|f| f.text.clone()),
            next_try: next_ms.map(format_millis),
        });
    }

    fn outcome(
        &mut self,
        attempt: u32,
        at_ms: i64,
        followed: &Followed,
        failure: Option<&Failure>,
    ) {
        match followed {
            Followed::Done => {
                self.attempt(attempt, at_ms, "delivered", None, None);
                self.end = Some(End::Delivered);
            }
            Followed::RetryAt(due) => {
                self.attempt(attempt, at_ms, "deferred", failure, Some(*due));
            }
            Followed::Expired(exhausted) => {
                self.attempt(attempt, at_ms, last_outcome(*exhausted), failure, None);
                self.end = Some(End::Expired);
            }
            Followed::DeadLetterRetryAt(_, exhausted) => {
                self.attempt(attempt, at_ms, last_outcome(*exhausted), failure, None);
            }
        }
    }

    fn dead_letter(&mut self, sequence: u64, letter: &DeadLetter<'_>) {
        self.attempt(
            letter.attempts,
            letter.at_ms,
            last_outcome(letter.exhausted),
            Some(&letter.failure),
            None,
        );
        self.end = Some(End::DeadLettered);
        self.letter = Some(LetterTold {
            key: Key { sequence, index: 0 },
            queue: letter.queue,
            at_ms: letter.at_ms,
            failure: letter.failure.clone(),
            exhausted: letter.exhausted,
            rule: letter.rule.to_owned(),
            target: letter.target.to_owned(),
            target_arn: letter.target_arn.to_owned(),
            redriven: false,
        });
    }

    fn redrive(&mut self, key: Key, version: u32, at_ms: i64) {
        self.key = key;
        self.version = version;
        // What was redriven waits in the backlog first, whatever its target is.
        self.waits = true;
        self.number = 0;
        self.end = None;
        if let Some(letter) = &mut self.letter {
            letter.redriven = true;
        }
        self.steps.push(Step {
            number: None,
            at: format_millis(at_ms),
            outcome: "redriven",
            code: None,
            status: None,
            text: None,
            next_try: None,
        });
    }
}

/// The outcome of the attempt after which a delivery was given up: worth another try, were there one left.
fn last_outcome(exhausted: Option<Exhausted>) -> &'static str {
    match exhausted {
        Some(_) => "deferred",
        None => "refused",
    }
}

impl Story {
    /// Finds and joins the records. Blocking.
    fn read(reader: &Reader, id: &str) -> Result<Self, ReadError> {
        let mut story = Self::default();
        // Which occurrence and delivery an identity belongs to.
        let mut owners: HashMap<Key, (u64, u16)> = HashMap::new();
        for (sequence, place) in reader.find(event_key(id))? {
            let bytes = match reader.read(place) {
                Ok(bytes) => bytes,
                Err(ReadError::Gone) => continue,
                Err(ReadError::Damaged { file, offset }) => {
                    tracing::error!(file, offset, "a record of an event's trail is damaged");
                    story.damaged += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match Record::decode(&bytes) {
                Ok(record) => story.take(id, sequence, &record, &mut owners),
                Err(_) => story.damaged += 1,
            }
        }
        while OCCURRENCES_MAX < story.occurrences.len() {
            story.occurrences.pop_first();
            story.left_out += 1;
        }
        Ok(story)
    }

    fn take(
        &mut self,
        id: &str,
        sequence: u64,
        record: &Record<'_>,
        owners: &mut HashMap<Key, (u64, u16)>,
    ) {
        match record {
            // The key is a hash: another id may have the same one. What a decision made of the event is told as
            // another occurrence, with what it handed over as its envelope.
            Record::Event { deliveries, event }
            | Record::Made {
                deliveries, event, ..
            } if event.id == id => {
                let mut told = Told {
                    bus: event.bus.to_owned(),
                    accepted_ms: event.accepted_ms,
                    envelope: event.envelope.to_vec(),
                    deliveries: BTreeMap::new(),
                };
                for (index, version) in (0..).zip(deliveries) {
                    let key = Key { sequence, index };
                    told.deliveries.insert(index, Course::new(key, *version));
                    owners.insert(key, (sequence, index));
                }
                self.occurrences.insert(sequence, told);
            }
            Record::DeadLetter(letter) if letter.event.id == id => {
                let owner = (letter.position.sequence, letter.index);
                owners.insert(Key { sequence, index: 0 }, owner);
                // The event's own record may have been freed; the dead letter has a copy.
                let told = self.occurrences.entry(owner.0).or_insert_with(|| Told {
                    bus: letter.event.bus.to_owned(),
                    accepted_ms: letter.event.accepted_ms,
                    envelope: letter.event.envelope.to_vec(),
                    deliveries: BTreeMap::new(),
                });
                let first = Key {
                    sequence: owner.0,
                    index: owner.1,
                };
                told.deliveries
                    .entry(owner.1)
                    .or_insert_with(|| Course::new(first, letter.version))
                    .dead_letter(sequence, letter);
            }
            Record::Outcome {
                delivery,
                attempt,
                at_ms,
                followed,
                failure,
                ..
            } => {
                if let Some(course) = self.course(owners.get(delivery)) {
                    course.outcome(*attempt, *at_ms, followed, failure.as_ref());
                }
            }
            Record::Enqueue {
                delivery, queue, ..
            } => {
                if let Some(course) = self.course(owners.get(delivery)) {
                    course.end = Some(End::Queued);
                    course.queued = Some(*queue);
                }
            }
            Record::Redrive {
                message,
                version,
                at_ms,
                ..
            } => {
                let Some(owner) = owners.get(message).copied() else {
                    return;
                };
                let key = Key { sequence, index: 0 };
                owners.insert(key, owner);
                if let Some(course) = self.course(Some(&owner)) {
                    course.redrive(key, *version, *at_ms);
                }
            }
            _ => {}
        }
    }

    fn course(&mut self, owner: Option<&(u64, u16)>) -> Option<&mut Course> {
        let (occurrence, index) = owner?;
        self.occurrences
            .get_mut(occurrence)?
            .deliveries
            .get_mut(index)
    }

    fn tell(self, id: &str, names: &Names, secret: &[u8; 32]) -> Trail {
        let occurrences = self.occurrences.into_iter().map(|(sequence, told)| {
            let deliveries: Vec<Delivery> = told
                .deliveries
                .into_values()
                .map(|course| delivery(course, names, secret))
                .collect();
            let mut seen = HashSet::new();
            let rules = deliveries.iter().filter_map(|d| d.rule.as_ref());
            let rules = rules.filter(|rule| seen.insert(*rule)).cloned().collect();
            Occurrence {
                position: Position::local(sequence).to_string(),
                bus: told.bus,
                accepted: format_millis(told.accepted_ms),
                envelope: raw(told.envelope),
                rules,
                deliveries,
            }
        });
        Trail {
            event_id: id.to_owned(),
            occurrences: occurrences.collect(),
            left_out: self.left_out,
            damaged: self.damaged,
        }
    }
}

/// JSON text as it is stored.
#[must_use]
pub fn raw(envelope: Vec<u8>) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(envelope).ok()?).ok()
}

fn delivery(course: Course, names: &Names, secret: &[u8; 32]) -> Delivery {
    let version = names.versions.get(&course.version);
    let letter = course.letter.as_ref();
    let lies_in = names.messages.get(&course.key);
    let state = match course.end {
        Some(End::Delivered) => "delivered",
        Some(End::DeadLettered) => "dead-lettered",
        Some(End::Expired) => "expired",
        _ if lies_in.is_some() => "in queue",
        // It was in its queue, and was taken out.
        Some(End::Queued) => "delivered",
        None if names.waiting.contains(&course.key) => "pending",
        None if names.is_queue(&course) => "delivered",
        None => "pending",
    };
    Delivery {
        rule: version
            .map(|v| v.rule.as_str().to_owned())
            .or_else(|| letter.map(|l| l.rule.clone())),
        target: version
            .map(|v| v.target.id.as_str().to_owned())
            .or_else(|| letter.map(|l| l.target.clone()))
            .unwrap_or_else(|| format!("version {}", course.version)),
        kind: match (version, letter) {
            (Some(version), _) => kind_name(&version.kind),
            (None, Some(letter)) => kind_name(&Kind::of(&letter.target_arn, &names.home)),
            (None, None) => "unknown",
        },
        arn: version
            .map(|v| v.target.arn.clone())
            .or_else(|| letter.map(|l| l.target_arn.clone())),
        state,
        queue: lies_in.cloned(),
        message_id: lies_in.map(|_| message_id(secret, course.key).to_string()),
        dead_letter: letter.map(|letter| Letter {
            queue: names.queues.get(&letter.queue).cloned(),
            message_id: message_id(secret, letter.key).to_string(),
            at: format_millis(letter.at_ms),
            code: letter.failure.code.as_str(),
            text: letter.failure.text.clone(),
            exhausted: letter.exhausted.map(exhausted_name),
            redriven: letter.redriven,
        }),
        attempts: course.steps,
    }
}

/// What the state is asked for.
struct Wanted {
    versions: Vec<u32>,
    queues: Vec<u32>,
    /// Deliveries that no record ends: identity and version.
    open: Vec<(Key, u32)>,
}

/// What the state says.
#[derive(Debug)]
struct Names {
    home: bus_core::name::Home,
    versions: HashMap<u32, Arc<Version>>,
    queues: HashMap<u32, String>,
    /// Name of the queue in which a delivery's message lies.
    messages: HashMap<Key, String>,
    /// Deliveries that wait in a backlog.
    waiting: HashSet<Key>,
    /// Something was not where the records had it.
    read_again: bool,
}

impl Names {
    /// Whether a delivery without a record that ends it must have gone into a queue: its version names one,
    /// or is gone, which it is not while something waits for it.
    fn is_queue(&self, course: &Course) -> bool {
        match self.versions.get(&course.version) {
            Some(version) => matches!(version.kind, Kind::Queue(_)),
            None => !course.waits,
        }
    }
}

impl Wanted {
    fn of(story: &Story) -> Self {
        let courses = || {
            story
                .occurrences
                .values()
                .flat_map(|t| t.deliveries.values())
        };
        Self {
            versions: courses().map(|c| c.version).collect(),
            queues: courses()
                .filter_map(|c| Some(c.letter.as_ref()?.queue))
                .collect(),
            open: courses()
                .filter(|c| matches!(c.end, None | Some(End::Queued)))
                .map(|c| (c.key, c.version))
                .collect(),
        }
    }

    fn look(&mut self, core: &Core) -> Names {
        let state = core.state();
        let mut names = Names {
            home: state.home().clone(),
            versions: HashMap::new(),
            queues: HashMap::new(),
            messages: HashMap::new(),
            waiting: HashSet::new(),
            read_again: false,
        };
        for number in &self.versions {
            if let Some(version) = state.version(*number) {
                names.versions.insert(*number, Arc::clone(version));
            }
        }
        for number in &self.queues {
            if let Some(queue) = state.queue_by_number(*number) {
                let name = queue.document.name.as_str().to_owned();
                names.queues.insert(*number, name);
            }
        }
        for (key, version) in &self.open {
            let Some(version) = names.versions.get(version) else {
                names.read_again = true;
                continue;
            };
            let Kind::Queue(queue) = &version.kind else {
                continue;
            };
            names.read_again = true;
            if let Some(found) = queue_of(state, queue.as_str(), *key) {
                names.messages.insert(*key, found);
            } else if state
                .backlog(version.backlog)
                .is_some_and(|b| b.get(*key).is_some())
            {
                names.waiting.insert(*key);
            }
        }
        names
    }
}

/// The queue in which a message lies that was put into `queue`: that one, or where its redrive policy has
/// moved it.
fn queue_of(state: &State, queue: &str, key: Key) -> Option<String> {
    let mut name = queue.to_owned();
    for _ in 0..MOVES_MAX {
        let queue = state.queue(&name)?;
        if queue.get(key).is_some() {
            return Some(name);
        }
        name = queue.redrive()?.queue.clone();
    }
    None
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}
