//! Dead letters: looked at without receiving them, and brought back to the target of their rule.
//!
//! A dead letter is a message of an ordinary queue whose record says why the delivery was given up. A queue
//! may hold other messages too; those are passed over.
//!
//! Start at [`list`] and [`redrive`].

use crate::bus::{Bus, Unavailable};
use crate::trail::exhausted_name;
use bus_core::core::{Answer, Input, Letter, message_id};
use bus_core::envelope::format_millis;
use bus_core::name::{BusName, RuleName, TargetId};
use bus_core::outcome::Code;
use bus_core::record::{DeadLetter, Key, Place, Record, event_key};
use serde::Serialize;
use std::collections::HashSet;

/// Messages looked at in one go; also the most that one record group redrives.
const PAGE: usize = 1_000;
/// Bytes read from the journal for one list.
const LIST_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a body that are shown.
const BODY_BYTES_MAX: usize = 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The server is stopping, or the journal has no room.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// There is no such queue.
    #[error("queue `{0}` does not exist")]
    NoQueue(String),
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Id of the message, the same that a receive shows.
    pub message_id: String,
    /// The queue it lies in.
    pub queue: String,
    /// When it was given up.
    pub at: String,
    /// The bus of the event.
    pub bus: String,
    /// The rule.
    pub rule: String,
    /// The target's id.
    pub target: String,
    /// What the target names.
    pub target_arn: String,
    /// The event's id.
    pub event_id: String,
    /// Why.
    pub code: &'static str,
    /// HTTP status of the target's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For people.
    pub text: String,
    /// Attempts made.
    pub attempts: u32,
    /// Which bound was reached, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<&'static str>,
    /// Nobody is holding it: a redrive takes it.
    pub visible: bool,
    /// The input as attempted, its first KiB.
    pub body: String,
    /// Its whole size.
    pub body_bytes: usize,
}

/// One page of a list.
#[derive(Debug, Default, Serialize)]
pub struct List {
    /// In the order in which they were given up.
    pub dead_letters: Vec<Listed>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cursor")]
    pub cursor: Option<Key>,
}

/// What is to be redriven.
#[derive(Debug, Default)]
pub struct Selection {
    /// Those of this rule.
    pub rule: Option<String>,
    /// Those of this bus.
    pub bus: Option<String>,
    /// Those with these message ids.
    pub message_ids: Option<HashSet<String>>,
    /// At most so many.
    pub max: Option<usize>,
}

/// What a redrive came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Went back.
    pub redriven: usize,
    /// Have no target any more; they stay.
    pub without_target: usize,
    /// Hold no event, since its record was damaged; they stay.
    pub without_event: usize,
}

struct Found {
    key: Key,
    place: Place,
    /// It was delivered to this queue, so it is no dead letter, also if its event lies in one.
    delivery: bool,
    visible: bool,
}

struct Page {
    number: u32,
    found: Vec<Found>,
    appended: u64,
}

async fn page(bus: &Bus, queue: &str, after: Key) -> Result<Page, DeadLettersError> {
    let name = queue.to_owned();
    let now = bus.now();
    let page = bus.look(move |core, _| {
        let queue = core.state().queue(&name)?;
        let found = queue.messages_after(after).take(PAGE);
        Some(Page {
            number: queue.number,
            found: found
                .map(|(key, stored)| Found {
                    key,
                    place: stored.place,
                    delivery: stored.version != 0,
                    visible: stored.is_visible(now.running_ms),
                })
                .collect(),
            appended: core.appended(),
        })
    });
    page.await?
        .ok_or_else(|| DeadLettersError::NoQueue(queue.to_owned()))
}

/// Lists the dead letters of a queue behind `after`, at most `limit`.
///
/// Bounds: [`LIST_BYTES_MAX`] are read; a list that ends there has a cursor too, and may be empty.
///
/// # Errors
/// [`DeadLettersError`].
pub async fn list(
    bus: &Bus,
    queue: &str,
    after: Key,
    limit: usize,
) -> Result<List, DeadLettersError> {
    let mut list = List::default();
    let mut after = after;
    let mut budget = LIST_BYTES_MAX;
    loop {
        let page = page(bus, queue, after).await?;
        let more = page.found.len() == PAGE;
        let (bus, queue, room) = (
            bus.clone(),
            queue.to_owned(),
            limit - list.dead_letters.len(),
        );
        let reading = tokio::task::spawn_blocking(move || {
            let mut listed = Vec::new();
            let mut stopped = None;
            let mut last = after;
            for found in page.found {
                if listed.len() == room || budget == 0 {
                    stopped = Some(last);
                    break;
                }
                last = found.key;
                if found.delivery {
                    continue;
                }
                budget = budget.saturating_sub(u64::from(found.place.length));
                with_letter(&bus, found.place, |letter| {
                    listed.push(listed_of(&bus, &queue, &found, letter));
                });
            }
            (listed, stopped, last, budget)
        });
        let (listed, stopped, last, left) = reading.await.expect("reading does not panic");
        (after, budget) = (last, left);
        list.dead_letters.extend(listed);
        if stopped.is_some() || !more {
            list.cursor = stopped;
            return Ok(list);
        }
    }
}

/// Calls `then` if the record at `place` is a dead letter that can be read. Blocking.
fn with_letter<T>(bus: &Bus, place: Place, then: impl FnOnce(&DeadLetter<'_>) -> T) -> Option<T> {
    let bytes = match bus.read_blocking(place) {
        Ok(bytes) => bytes,
        Err(error) => {
            // One that was taken meanwhile may be gone; anything else somebody must know.
            if !matches!(error, journal::ReadError::Gone) {
                tracing::error!(%error, "a message could not be read");
            }
            return None;
        }
    };
    match Record::decode(&bytes) {
        Ok(Record::DeadLetter(letter)) => Some(then(&letter)),
        _ => None,
    }
}

fn listed_of(bus: &Bus, queue: &str, found: &Found, letter: &DeadLetter<'_>) -> Listed {
    let body = if letter.body.is_empty() {
        letter.event.envelope
    } else {
        letter.body
    };
    Listed {
        message_id: message_id(&bus.identity().secret, found.key).to_string(),
        queue: queue.to_owned(),
        at: format_millis(letter.at_ms),
        bus: letter.event.bus.to_owned(),
        rule: letter.rule.to_owned(),
        target: letter.target.to_owned(),
        target_arn: letter.target_arn.to_owned(),
        event_id: letter.event.id.to_owned(),
        code: letter.failure.code.as_str(),
        status: letter.failure.status,
        text: letter.failure.text.clone(),
        attempts: letter.attempts,
        exhausted: letter.exhausted.map(exhausted_name),
        visible: found.visible,
        body: beginning(body),
        body_bytes: body.len(),
    }
}

/// The first [`BODY_BYTES_MAX`] of a text, cut between two characters.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(BODY_BYTES_MAX)]);
    match text.strip_suffix(char::REPLACEMENT_CHARACTER) {
        Some(whole) if BODY_BYTES_MAX < body.len() => whole.to_owned(),
        _ => text.into_owned(),
    }
}

/// Brings dead letters back to the targets of their rules, as those are now.
///
/// Only visible ones: one that a consumer has received would be dealt with twice. What comes back to the
/// queue meanwhile, because its target has failed again, is not taken a second time.
///
/// # Errors
/// [`DeadLettersError`]; what was redriven before it stays so.
pub async fn redrive(
    bus: &Bus,
    queue: &str,
    selection: Selection,
) -> Result<Redriven, DeadLettersError> {
    let selection = std::sync::Arc::new(selection);
    let mut came_to = Redriven::default();
    let mut after = Key::default();
    let mut end = None;
    loop {
        let page = page(bus, queue, after).await?;
        let end = *end.get_or_insert(page.appended);
        let (last, number) = (page.found.last().map(|f| f.key), page.number);
        let full = page.found.len() == PAGE;
        let room = selection
            .max
            .map_or(usize::MAX, |max| max - came_to.redriven);
        let (reader, wanted) = (bus.clone(), std::sync::Arc::clone(&selection));
        let reading = tokio::task::spawn_blocking(move || {
            let found = page
                .found
                .iter()
                .filter(|f| f.visible && !f.delivery && f.key.sequence <= end);
            let mut without_event = 0;
            let mut letters = Vec::new();
            for found in found {
                if letters.len() == room {
                    break;
                }
                match wanted.letter(&reader, found) {
                    Some(Some(letter)) => letters.push(letter),
                    Some(None) => without_event += 1,
                    None => {}
                }
            }
            (letters, without_event)
        });
        let (letters, without_event) = reading.await.expect("reading does not panic");
        came_to.without_event += without_event;
        let asked = letters.len();
        if asked > 0 {
            let answer = bus.ask(move |request| Input::Redrive {
                request,
                queue: number,
                letters,
            });
            let Answer::Redriven(redriven) = answer.await? else {
                return Err(Unavailable.into());
            };
            came_to.redriven += redriven;
            came_to.without_target += asked - redriven;
        }
        let enough = selection.max.is_some_and(|max| max <= came_to.redriven);
        match last.filter(|last| full && !enough && last.sequence <= end) {
            Some(last) => after = last,
            None => return Ok(came_to),
        }
    }
}

impl Selection {
    /// The letter if it is wanted; `Some(None)` if it is and holds no event. Blocking.
    fn letter(&self, bus: &Bus, found: &Found) -> Option<Option<Letter>> {
        if let Some(ids) = &self.message_ids
            && !ids.contains(&message_id(&bus.identity().secret, found.key).to_string())
        {
            return None;
        }
        with_letter(bus, found.place, |letter| {
            let other =
                |wanted: &Option<String>, is: &str| wanted.as_ref().is_some_and(|w| w != is);
            if other(&self.rule, letter.rule) || other(&self.bus, letter.event.bus) {
                return None;
            }
            if letter.failure.code == Code::StorageCorrupt {
                return Some(None);
            }
            Some(Some(Letter {
                message: found.key,
                event: event_key(letter.event.id),
                bus: BusName::parse(letter.rule_bus()).ok()?,
                rule: RuleName::parse(letter.rule).ok()?,
                target: TargetId::parse(letter.target).ok()?,
            }))
        })
        .flatten()
    }
}

#[expect(clippy::ref_option, reason = "serde passes it so")]
fn cursor<S: serde::Serializer>(key: &Option<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => serializer.collect_str(&format_args!("0-{}-{}", key.sequence, key.index)),
        None => serializer.serialize_none(),
    }
}

/// Reads a cursor that a list gave.
#[must_use]
pub fn parse_cursor(text: &str) -> Option<Key> {
    let (sequence, index) = text.strip_prefix("0-")?.split_once('-')?;
    Some(Key {
        sequence: sequence.parse().ok()?,
        index: index.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_between_characters() {
        let body = "é".repeat(600);
        assert_eq!(beginning(body.as_bytes()).len(), 1024);
        let body = format!("a{body}");
        assert_eq!(beginning(body.as_bytes()).len(), 1023);
        assert_eq!(beginning(b"{}"), "{}");
    }

    #[test]
    fn a_cursor_reads_as_it_was_written() {
        let key = Key {
            sequence: 17,
            index: 3,
        };
        let list = List {
            dead_letters: Vec::new(),
            cursor: Some(key),
        };
        let text = serde_json::to_value(&list).unwrap();
        assert_eq!(text["cursor"], "0-17-3");
        assert_eq!(parse_cursor("0-17-3"), Some(key));
        assert_eq!(parse_cursor("17"), None);
    }
}
