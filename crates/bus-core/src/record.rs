//! The records of the journal: everything that must survive.
//!
//! `apply` of the state reads them and nothing else, so what is not here is gone after a crash.
//! Each begins with a kind and a version of its form; numbers and texts lie as `codec` says. Times are
//! wall clock in epoch milliseconds unless a name says `running`.
//!
//! Start at [`Record`].

use crate::codec::{DecodeError, Reader, Writer};
use crate::document::Change;
use crate::outcome::{Code, Failure};
use crate::position::Position;
use crate::retry::Exhausted;
use sha2::{Digest, Sha256};

/// Form of the records that this program writes.
const FORM: u8 = 1;

/// Identity of a delivery or message: the record that made it, and its place among what that made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key {
    /// Sequence of the record.
    pub sequence: u64,
    /// From 0.
    pub index: u16,
}

impl Key {
    pub(crate) fn write(self, w: &mut Writer) {
        w.u64(self.sequence);
        w.u16(self.index);
    }
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sequence: r.u64()?,
            index: r.u16()?,
        })
    }
}

/// Where a record's body lies in the journal, in the journal's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Segment.
    pub segment: u64,
    /// Byte in the segment.
    pub offset: u32,
    /// Bytes of the body.
    pub length: u32,
}

impl Place {
    pub(crate) fn write(self, w: &mut Writer) {
        w.u64(self.segment);
        w.u32(self.offset);
        w.u32(self.length);
    }
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            segment: r.u64()?,
            offset: r.u32()?,
            length: r.u32()?,
        })
    }
}

/// An event as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// When the bus accepted it.
    pub accepted_ms: i64,
    /// Its id: text that may occur again.
    pub id: &'a str,
    /// The bus it was put on.
    pub bus: &'a str,
    /// `X-Amzn-Trace-Id`, empty if none.
    pub trace: &'a str,
    /// The whole envelope.
    pub envelope: &'a [u8],
}

impl<'a> Event<'a> {
    fn write(&self, w: &mut Writer) {
        w.i64(self.accepted_ms);
        w.text(self.id);
        w.text(self.bus);
        w.text(self.trace);
        w.bytes(self.envelope);
    }
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            accepted_ms: r.i64()?,
            id: r.text()?,
            bus: r.text()?,
            trace: r.text()?,
            envelope: r.bytes()?,
        })
    }
}

/// The key under which the journal's index finds all records of an event id.
#[must_use]
pub fn event_key(id: &str) -> u128 {
    let hash = Sha256::new()
        .chain_update(b"event\0")
        .chain_update(id)
        .finalize();
    u128::from_le_bytes(hash[..16].try_into().expect("a SHA-256 has 32 bytes"))
}

/// What an attempt's record says followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// Delivered.
    Done,
    /// To be tried again at this moment.
    RetryAt(i64),
    /// Given up, and there is no dead-letter queue: counted and shown.
    Expired(Option<Exhausted>),
    /// To be given up, but the dead-letter queue cannot be reached; asked again at this moment.
    DeadLetterRetryAt(i64, Option<Exhausted>),
}

/// What was given up, kept with its reason: a message of a dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The delivery that ends with it; none if it never was one (shaping failed at the put).
    pub delivery: Option<Key>,
    /// Version of the target.
    pub version: u32,
    /// Number of the dead-letter queue.
    pub queue: u32,
    /// Where the event first stood.
    pub position: Position,
    /// Index of the delivery at that position.
    pub index: u16,
    /// Why.
    pub failure: Failure,
    /// Which bound was reached, if one was.
    pub exhausted: Option<Exhausted>,
    /// Attempts made.
    pub attempts: u32,
    /// When it was given up.
    pub at_ms: i64,
    /// ARN of the rule.
    pub rule_arn: &'a str,
    /// ARN of the target.
    pub target_arn: &'a str,
    /// Rule and target id, for people and for redrive.
    pub rule: &'a str,
    /// Target id.
    pub target: &'a str,
    /// The input as attempted; empty if that was the envelope itself.
    pub body: &'a [u8],
    /// The event, copied, so that it lives as long as the dead letter.
    pub event: Event<'a>,
    /// The idempotency key that was sent with it; empty = none.
    pub key: &'a str,
}

impl<'a> DeadLetter<'a> {
    /// The rule's bus, by its ARN. Of what a decision made for a channel it is not the event's.
    #[must_use]
    pub fn rule_bus(&self) -> &'a str {
        let resource = self.rule_arn.split_once(":rule/").map_or("", |(_, it)| it);
        resource.split_once('/').map_or("default", |(bus, _)| bus)
    }
}

/// A message put into a queue by `SendMessage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// When it was accepted.
    pub sent_ms: i64,
    /// Access key id or account.
    pub sender: &'a str,
    /// `AWSTraceHeader`, empty if none.
    pub trace: &'a str,
    /// `MessageGroupId`, empty if none.
    pub group: &'a str,
    /// Name, data type, value; values of binary attributes are raw bytes.
    pub attributes: Vec<(&'a str, &'a str, &'a [u8])>,
    /// The text.
    pub body: &'a [u8],
}

/// One fact in the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// The server began to run.
    Start {
        /// How often it has, from 1.
        number: u64,
        /// Key of receipt handles and paging tokens; the same for the life of the data directory.
        secret: [u8; 32],
    },
    /// The server stopped in order.
    Stop,
    /// An event and its deliveries, by target version.
    Event {
        /// Versions of the targets, in the rule set's order.
        deliveries: Vec<u32>,
        /// The event.
        event: Event<'a>,
    },
    /// What an attempt came to.
    Outcome {
        /// Which delivery.
        delivery: Key,
        /// Version of its target.
        version: u32,
        /// Number of the attempt, from 1; 0 if none was made.
        attempt: u32,
        /// When it ended.
        at_ms: i64,
        /// What followed.
        followed: Followed,
        /// Why, unless delivered.
        failure: Option<Failure>,
    },
    /// A delivery was given up.
    DeadLetter(DeadLetter<'a>),
    /// A delivery that waited for its queue went into it.
    Enqueue {
        /// Which delivery.
        delivery: Key,
        /// Version of its target.
        version: u32,
        /// The queue's number.
        queue: u32,
    },
    /// A dead letter went back to the target of its rule.
    Redrive {
        /// The dead-letter queue's number.
        queue: u32,
        /// The message.
        message: Key,
        /// Version of the target it goes to.
        version: u32,
        /// When.
        at_ms: i64,
    },
    /// A message was sent.
    Send {
        /// The queue's number.
        queue: u32,
        /// When it can first be received; 0 = at once.
        visible_ms: i64,
        /// The message.
        message: Message<'a>,
    },
    /// Messages were received.
    Receive {
        /// The queue's number.
        queue: u32,
        /// When.
        at_ms: i64,
        /// When they become visible again.
        visible_ms: i64,
        /// Each with the stamp of this receive.
        messages: Vec<(Key, u64)>,
    },
    /// A received message's time was changed, or the message was given back.
    Visibility {
        /// The queue's number.
        queue: u32,
        /// Which message.
        message: Key,
        /// When it becomes visible again.
        visible_ms: i64,
    },
    /// Messages were deleted by who received them.
    Delete {
        /// The queue's number.
        queue: u32,
        /// Which.
        messages: Vec<Key>,
    },
    /// Messages outlived their retention.
    Expire {
        /// The queue's number.
        queue: u32,
        /// Which.
        messages: Vec<Key>,
    },
    /// A queue was emptied.
    Purge {
        /// The queue's number.
        queue: u32,
        /// When.
        at_ms: i64,
        /// All that was sent up to here is gone.
        up_to: u64,
    },
    /// Messages went to their queue's dead-letter queue.
    Move {
        /// From.
        from: u32,
        /// To.
        to: u32,
        /// Which.
        messages: Vec<Key>,
    },
    /// Documents changed. Taken back if no record with `last` follows.
    Documents {
        /// The changes in order.
        changes: Vec<Change>,
        /// Whether the set is whole with this record.
        last: bool,
    },
    /// An input that a decision made for targets: no event of a bus, but delivered as one.
    Made {
        /// Versions of the targets.
        deliveries: Vec<u32>,
        /// What its maker wants to be told when a delivery is given up; empty = nothing.
        note: &'a [u8],
        /// The idempotency key that is sent with it; empty = none.
        key: &'a str,
        /// Its envelope is the input before it is shaped; the rest is of the event that was decided about.
        event: Event<'a>,
    },
    /// Something that the annex of the state keeps; the core knows nothing of it.
    Annex {
        /// As the annex wrote it.
        bytes: &'a [u8],
    },
    /// An answer to give again.
    Kept {
        /// Hash of the call.
        key: u128,
        /// Hash of its body.
        body: u64,
        /// What the answer's ids are made from.
        seed: u128,
        /// What the door needs besides.
        rest: &'a [u8],
    },
    /// A rule's schedule has fired; its event stands in the same block.
    Ticked {
        /// The rule, on the default bus.
        rule: &'a str,
        /// The tick.
        at_ms: i64,
    },
}

fn versions(w: &mut Writer, deliveries: &[u32]) {
    w.u32(u32::try_from(deliveries.len()).expect("at most DELIVERIES_MAX"));
    for version in deliveries {
        w.u32(*version);
    }
}

fn keys(w: &mut Writer, keys: &[Key]) {
    w.u32(u32::try_from(keys.len()).expect("bounded by the request"));
    for key in keys {
        key.write(w);
    }
}

fn read_list<'a, T>(
    r: &mut Reader<'a>,
    one: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = r.u32()? as usize;
    if r.0.len() < count {
        return Err(DecodeError::Short);
    }
    (0..count).map(|_| one(r)).collect()
}

pub(crate) fn write_exhausted(w: &mut Writer, exhausted: Option<Exhausted>) {
    w.u8(match exhausted {
        None => 0,
        Some(Exhausted::Attempts) => 1,
        Some(Exhausted::Age) => 2,
    });
}

pub(crate) fn read_exhausted(r: &mut Reader<'_>) -> Result<Option<Exhausted>, DecodeError> {
    Ok(match r.u8()? {
        0 => None,
        1 => Some(Exhausted::Attempts),
        2 => Some(Exhausted::Age),
        _ => return Err(DecodeError::Unknown("retry condition")),
    })
}

pub(crate) fn write_failure(w: &mut Writer, failure: &Failure) {
    w.u8(failure.code as u8);
    w.u16(failure.status.unwrap_or(0));
    w.text(&failure.text);
}

pub(crate) fn read_failure(r: &mut Reader<'_>) -> Result<Failure, DecodeError> {
    let code = Code::from_number(r.u8()?).ok_or(DecodeError::Unknown("error code"))?;
    let status = Some(r.u16()?).filter(|s| *s != 0);
    Ok(Failure {
        code,
        status,
        text: r.text()?.to_owned(),
    })
}

impl<'a> Record<'a> {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(self.size_hint()));
        let mut begin = |kind: u8| {
            w.u8(kind);
            w.u8(FORM);
        };
        match self {
            Self::Start { number, secret } => {
                begin(1);
                w.u64(*number);
                w.bytes(secret);
            }
            Self::Stop => begin(2),
            Self::Event { deliveries, event } => {
                begin(3);
                versions(&mut w, deliveries);
                event.write(&mut w);
            }
            Self::Outcome {
                delivery,
                version,
                attempt,
                at_ms,
                followed,
                failure,
            } => {
                begin(4);
                delivery.write(&mut w);
                w.u32(*version);
                w.u32(*attempt);
                w.i64(*at_ms);
                match followed {
                    Followed::Done => w.u8(0),
                    Followed::RetryAt(due) => {
                        w.u8(1);
                        w.i64(*due);
                    }
                    Followed::Expired(exhausted) => {
                        w.u8(2);
                        write_exhausted(&mut w, *exhausted);
                    }
                    Followed::DeadLetterRetryAt(due, exhausted) => {
                        w.u8(3);
                        w.i64(*due);
                        write_exhausted(&mut w, *exhausted);
                    }
                }
                w.u8(u8::from(failure.is_some()));
                if let Some(failure) = failure {
                    write_failure(&mut w, failure);
                }
            }
            Self::DeadLetter(letter) => {
                begin(5);
                w.u8(u8::from(letter.delivery.is_some()));
                letter.delivery.unwrap_or_default().write(&mut w);
                w.u32(letter.version);
                w.u32(letter.queue);
                w.u16(letter.position.partition);
                w.u64(letter.position.sequence);
                w.u16(letter.index);
                write_failure(&mut w, &letter.failure);
                write_exhausted(&mut w, letter.exhausted);
                w.u32(letter.attempts);
                w.i64(letter.at_ms);
                for text in [
                    letter.rule_arn,
                    letter.target_arn,
                    letter.rule,
                    letter.target,
                ] {
                    w.text(text);
                }
                w.bytes(letter.body);
                letter.event.write(&mut w);
                w.text(letter.key);
            }
            Self::Enqueue {
                delivery,
                version,
                queue,
            } => {
                begin(6);
                delivery.write(&mut w);
                w.u32(*version);
                w.u32(*queue);
            }
            Self::Redrive {
                queue,
                message,
                version,
                at_ms,
            } => {
                begin(7);
                w.u32(*queue);
                message.write(&mut w);
                w.u32(*version);
                w.i64(*at_ms);
            }
            Self::Send {
                queue,
                visible_ms,
                message,
            } => {
                begin(8);
                w.u32(*queue);
                w.i64(*visible_ms);
                w.i64(message.sent_ms);
                w.text(message.sender);
                w.text(message.trace);
                w.text(message.group);
                w.u8(u8::try_from(message.attributes.len()).expect("at most 10 attributes"));
                for (name, kind, value) in &message.attributes {
                    w.text(name);
                    w.text(kind);
                    w.bytes(value);
                }
                w.bytes(message.body);
            }
            Self::Receive {
                queue,
                at_ms,
                visible_ms,
                messages,
            } => {
                begin(9);
                w.u32(*queue);
                w.i64(*at_ms);
                w.i64(*visible_ms);
                w.u32(u32::try_from(messages.len()).expect("at most 10 messages"));
                for (key, stamp) in messages {
                    key.write(&mut w);
                    w.u64(*stamp);
                }
            }
            Self::Visibility {
                queue,
                message,
                visible_ms,
            } => {
                begin(10);
                w.u32(*queue);
                message.write(&mut w);
                w.i64(*visible_ms);
            }
            Self::Delete { queue, messages } => {
                begin(11);
                w.u32(*queue);
                keys(&mut w, messages);
            }
            Self::Expire { queue, messages } => {
                begin(12);
                w.u32(*queue);
                keys(&mut w, messages);
            }
            Self::Purge {
                queue,
                at_ms,
                up_to,
            } => {
                begin(13);
                w.u32(*queue);
                w.i64(*at_ms);
                w.u64(*up_to);
            }
            Self::Move { from, to, messages } => {
                begin(14);
                w.u32(*from);
                w.u32(*to);
                keys(&mut w, messages);
            }
            Self::Documents { changes, last } => {
                begin(15);
                w.u8(u8::from(*last));
                w.bytes(&serde_json::to_vec(changes).expect("documents are plain values"));
            }
            Self::Kept {
                key,
                body,
                seed,
                rest,
            } => {
                begin(16);
                w.u128(*key);
                w.u64(*body);
                w.u128(*seed);
                w.bytes(rest);
            }
            Self::Ticked { rule, at_ms } => {
                begin(19);
                w.text(rule);
                w.i64(*at_ms);
            }
            Self::Made {
                deliveries,
                note,
                key,
                event,
            } => {
                begin(20);
                versions(&mut w, deliveries);
                w.bytes(note);
                w.text(key);
                event.write(&mut w);
            }
            Self::Annex { bytes } => {
                begin(21);
                w.bytes(bytes);
            }
        }
        w.0
    }

    fn size_hint(&self) -> usize {
        64 + match self {
            Self::Event { deliveries, event } => deliveries.len() * 4 + event.envelope.len() + 128,
            Self::Made { note, event, .. } => note.len() + event.envelope.len() + 128,
            Self::Annex { bytes } => bytes.len(),
            Self::DeadLetter(letter) => letter.body.len() + letter.event.envelope.len() + 512,
            Self::Send { message, .. } => message.body.len() + 256,
            _ => 64,
        }
    }

    /// Reads a record's bytes.
    ///
    /// # Errors
    /// [`DecodeError`] if no version of us wrote them so.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader(bytes);
        let kind = r.u8()?;
        if r.u8()? != FORM {
            return Err(DecodeError::Unknown("form"));
        }
        Ok(match kind {
            1 => Self::Start {
                number: r.u64()?,
                secret: r
                    .bytes()?
                    .try_into()
                    .map_err(|_| DecodeError::Unknown("secret"))?,
            },
            2 => Self::Stop,
            3 => Self::Event {
                deliveries: read_list(&mut r, Reader::u32)?,
                event: Event::read(&mut r)?,
            },
            4 => Self::Outcome {
                delivery: Key::read(&mut r)?,
                version: r.u32()?,
                attempt: r.u32()?,
                at_ms: r.i64()?,
                followed: match r.u8()? {
                    0 => Followed::Done,
                    1 => Followed::RetryAt(r.i64()?),
                    2 => Followed::Expired(read_exhausted(&mut r)?),
                    3 => Followed::DeadLetterRetryAt(r.i64()?, read_exhausted(&mut r)?),
                    _ => return Err(DecodeError::Unknown("outcome")),
                },
                failure: if r.u8()? == 1 {
                    Some(read_failure(&mut r)?)
                } else {
                    None
                },
            },
            5 => Self::DeadLetter(DeadLetter {
                delivery: {
                    let some = r.u8()? == 1;
                    let key = Key::read(&mut r)?;
                    some.then_some(key)
                },
                version: r.u32()?,
                queue: r.u32()?,
                position: Position {
                    partition: r.u16()?,
                    sequence: r.u64()?,
                },
                index: r.u16()?,
                failure: read_failure(&mut r)?,
                exhausted: read_exhausted(&mut r)?,
                attempts: r.u32()?,
                at_ms: r.i64()?,
                rule_arn: r.text()?,
                target_arn: r.text()?,
                rule: r.text()?,
                target: r.text()?,
                body: r.bytes()?,
                event: Event::read(&mut r)?,
                // Older ones end here; an older reader does not look further.
                key: if r.0.is_empty() { "" } else { r.text()? },
            }),
            6 => Self::Enqueue {
                delivery: Key::read(&mut r)?,
                version: r.u32()?,
                queue: r.u32()?,
            },
            7 => Self::Redrive {
                queue: r.u32()?,
                message: Key::read(&mut r)?,
                version: r.u32()?,
                at_ms: r.i64()?,
            },
            8 => Self::Send {
                queue: r.u32()?,
                visible_ms: r.i64()?,
                message: Message {
                    sent_ms: r.i64()?,
                    sender: r.text()?,
                    trace: r.text()?,
                    group: r.text()?,
                    attributes: {
                        let count = r.u8()?;
                        let one = |_| Ok((r.text()?, r.text()?, r.bytes()?));
                        (0..count).map(one).collect::<Result<_, DecodeError>>()?
                    },
                    body: r.bytes()?,
                },
            },
            9 => Self::Receive {
                queue: r.u32()?,
                at_ms: r.i64()?,
                visible_ms: r.i64()?,
                messages: read_list(&mut r, |r| Ok((Key::read(r)?, r.u64()?)))?,
            },
            10 => Self::Visibility {
                queue: r.u32()?,
                message: Key::read(&mut r)?,
                visible_ms: r.i64()?,
            },
            11 => Self::Delete {
                queue: r.u32()?,
                messages: read_list(&mut r, Key::read)?,
            },
            12 => Self::Expire {
                queue: r.u32()?,
                messages: read_list(&mut r, Key::read)?,
            },
            13 => Self::Purge {
                queue: r.u32()?,
                at_ms: r.i64()?,
                up_to: r.u64()?,
            },
            14 => Self::Move {
                from: r.u32()?,
                to: r.u32()?,
                messages: read_list(&mut r, Key::read)?,
            },
            15 => {
                let last = r.u8()? == 1;
                let changes = serde_json::from_slice(r.bytes()?)
                    .map_err(|_| DecodeError::Unknown("document"))?;
                Self::Documents { changes, last }
            }
            16 => Self::Kept {
                key: r.u128()?,
                body: r.u64()?,
                seed: r.u128()?,
                rest: r.bytes()?,
            },
            19 => Self::Ticked {
                rule: r.text()?,
                at_ms: r.i64()?,
            },
            20 => Self::Made {
                deliveries: read_list(&mut r, Reader::u32)?,
                note: r.bytes()?,
                key: r.text()?,
                event: Event::read(&mut r)?,
            },
            21 => Self::Annex { bytes: r.bytes()? },
            _ => return Err(DecodeError::Unknown("kind")),
        })
    }

    /// The idempotency key that goes with the input that this record holds; empty = none.
    #[must_use]
    pub fn idempotency_key(&self) -> &'a str {
        match self {
            Self::Made { key, .. } => key,
            Self::DeadLetter(letter) => letter.key,
            _ => "",
        }
    }

    /// The event that this record holds, if it is one that does: of an event, of an input made from one, or of
    /// a dead letter.
    #[must_use]
    pub fn event(&self) -> Option<&Event<'a>> {
        match self {
            Self::Event { event, .. } | Self::Made { event, .. } => Some(event),
            Self::DeadLetter(letter) => Some(&letter.event),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &Record<'_>) {
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes).as_ref(), Ok(record));
        for length in 0..bytes.len().min(200) {
            // A shorter text is an error or another record, never a panic.
            let _ = Record::decode(&bytes[..length]);
        }
    }

    const EVENT: Event<'_> = Event {
        accepted_ms: 5,
        id: "id",
        bus: "default",
        trace: "",
        envelope: b"{}",
    };

    fn letter(key: &str) -> DeadLetter<'_> {
        DeadLetter {
            delivery: None,
            version: 1,
            queue: 2,
            position: Position::local(3),
            index: 1,
            failure: Failure::new(Code::Timeout, "slow"),
            exhausted: None,
            attempts: 7,
            at_ms: 1,
            rule_arn: "r",
            target_arn: "t",
            rule: "rule",
            target: "target",
            body: b"",
            event: EVENT,
            key,
        }
    }

    #[test]
    fn records_read_as_they_were_written() {
        let event = EVENT;
        let key = Key {
            sequence: 9,
            index: 2,
        };
        let failure = Failure::new(Code::Timeout, "slow").with_status(503);
        for record in [
            Record::Start {
                number: 3,
                secret: [7; 32],
            },
            Record::Stop,
            Record::Ticked {
                rule: "nightly",
                at_ms: 60_000,
            },
            Record::Event {
                deliveries: vec![1, 2, 3],
                event,
            },
            Record::Outcome {
                delivery: key,
                version: 4,
                attempt: 1,
                at_ms: -5,
                followed: Followed::RetryAt(77),
                failure: Some(failure.clone()),
            },
            Record::DeadLetter(DeadLetter {
                delivery: Some(key),
                failure,
                exhausted: Some(Exhausted::Age),
                ..letter("once")
            }),
            Record::Enqueue {
                delivery: key,
                version: 5,
                queue: 1,
            },
            Record::Redrive {
                queue: 1,
                message: key,
                version: 3,
                at_ms: 8,
            },
            Record::Send {
                queue: 1,
                visible_ms: 0,
                message: Message {
                    sent_ms: 1,
                    sender: "busbar",
                    trace: "",
                    group: "g",
                    attributes: vec![("n", "String", b"v")],
                    body: b"hello",
                },
            },
            Record::Receive {
                queue: 1,
                at_ms: 2,
                visible_ms: 3,
                messages: vec![(key, 4)],
            },
            Record::Visibility {
                queue: 1,
                message: key,
                visible_ms: 0,
            },
            Record::Delete {
                queue: 1,
                messages: vec![key, key],
            },
            Record::Expire {
                queue: 1,
                messages: vec![],
            },
            Record::Purge {
                queue: 1,
                at_ms: 1,
                up_to: 9,
            },
            Record::Move {
                from: 1,
                to: 2,
                messages: vec![key],
            },
            Record::Documents {
                changes: vec![],
                last: true,
            },
            Record::Kept {
                key: 1,
                body: 2,
                seed: 3,
                rest: b"x",
            },
            Record::Made {
                deliveries: vec![4],
                note: b"who",
                key: "once",
                event,
            },
            Record::Annex { bytes: b"what" },
        ] {
            check(&record);
        }
    }

    #[test]
    fn a_dead_letter_of_before_has_no_key() {
        let letter = |key| Record::DeadLetter(letter(key));
        let written = letter("once").encode();
        assert_eq!(Record::decode(&written).unwrap(), letter("once"));
        let before = &written[..written.len() - "....once".len()];
        assert_eq!(Record::decode(before).unwrap(), letter(""));
    }
}
