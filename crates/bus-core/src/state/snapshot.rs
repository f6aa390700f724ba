//! The state written down, so that a start reads it and the journal's tail only.
//!
//! A snapshot is a row of chunks, each whole in itself: a kind, then its items. Due times are wall clock
//! in it, as in records. What the journal holds besides (bodies) is not in it.

use super::deliveries::{Backlog, Pending};
use super::queues::{QueueState, Seat, Stored, Touched};
use super::{Kept, Now, State, Version, VersionEntry};
use crate::codec::{DecodeError, Reader, Writer};
use crate::document::{Change, Kind, Queue, Rule, Target};
use crate::name::{BusName, RuleName, TargetId};
use crate::record::{Key, Place, read_exhausted, read_failure, write_exhausted, write_failure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Form of the chunks that this program writes.
const FORM: u8 = 1;
/// A chunk is closed when it is larger than this, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

const HEAD: u8 = 1;
const DOCUMENTS: u8 = 2;
const VERSIONS: u8 = 3;
const QUEUES: u8 = 4;
const BACKLOGS: u8 = 5;
const PENDING: u8 = 6;
const MESSAGES: u8 = 7;
const KEPT: u8 = 8;
const ANNEX: u8 = 9;

#[derive(Serialize, Deserialize)]
struct VersionRow {
    number: u32,
    backlog: u32,
    bus: BusName,
    rule: RuleName,
    target: Arc<Target>,
    removed: bool,
}

#[derive(Serialize, Deserialize)]
struct QueueRow {
    number: u32,
    document: Queue,
    deleted: u64,
    expired: u64,
    moved: u64,
    purged_running: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct BacklogRow {
    number: u32,
    bus: BusName,
    rule: RuleName,
    id: TargetId,
    webhook: bool,
    retired: bool,
    delivered: u64,
    dead_letters: u64,
    expired: u64,
}

#[derive(Default)]
struct Chunks {
    done: Vec<Vec<u8>>,
    open: Writer,
}

impl Chunks {
    fn begin(&mut self, kind: u8) -> &mut Writer {
        if self.open.0.len() > CHUNK_BYTES || self.open.0.first().is_some_and(|k| *k != kind) {
            self.done.push(std::mem::take(&mut self.open.0));
        }
        if self.open.0.is_empty() {
            self.open.u8(kind);
            self.open.u8(FORM);
        }
        &mut self.open
    }

    /// All of them, the open one too.
    fn end(self) -> impl Iterator<Item = Vec<u8>> {
        let open = (!self.open.0.is_empty()).then_some(self.open.0);
        self.done.into_iter().chain(open)
    }

    fn json(&mut self, kind: u8, row: &impl Serialize) {
        let row = serde_json::to_vec(row).expect("documents are plain values");
        self.begin(kind).bytes(&row);
    }
}

/// Chunks of rows of one kind, which are encoded only when they are asked for.
fn documents<T: Serialize>(
    kind: u8,
    mut rows: impl Iterator<Item = T>,
) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let mut chunks = Chunks::default();
        chunks.json(kind, &rows.next()?);
        while chunks.open.0.len() <= CHUNK_BYTES
            && let Some(row) = rows.next()
        {
            chunks.json(kind, &row);
        }
        Some(chunks.open.0)
    })
}

fn row<T: DeserializeOwned>(r: &mut Reader<'_>) -> Result<T, DecodeError> {
    serde_json::from_slice(r.bytes()?).map_err(|_| DecodeError::Unknown("row"))
}

impl State {
    /// The state at this moment, as chunks of about 1 MiB.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        assert!(self.staged.is_empty());
        let wall = |due: u64| {
            if self.live {
                due.cast_signed() - now.running_ms.cast_signed() + now.wall_ms
            } else {
                due.cast_signed()
            }
        };
        let mut chunks = Chunks::default();
        let w = chunks.begin(HEAD);
        w.u64(self.start_number);
        w.u8(u8::from(self.stopped_clean));
        w.bytes(&self.secret);
        w.i64(self.born_ms);
        w.u64(self.running_ms);
        w.u64(self.expired);
        for number in [self.version_next, self.backlog_next, self.queue_next] {
            w.u32(number);
        }
        for backlog in self.backlogs.values() {
            let (bus, rule, id, webhook) = backlog.name.clone();
            let row = BacklogRow {
                number: backlog.number,
                bus,
                rule,
                id,
                webhook,
                retired: backlog.retired_running.is_some(),
                delivered: backlog.delivered,
                dead_letters: backlog.dead_letters,
                expired: backlog.expired,
            };
            chunks.json(BACKLOGS, &row);
        }
        let head = std::mem::take(&mut chunks);
        // There may be a hundred thousand rules, each with its targets: they are shared here, and encoded by
        // whoever writes the chunks.
        let versions = self.versions.values();
        let versions = versions.map(|it| (it.version.clone(), it.removed_running.is_some()));
        let versions: Vec<_> = versions.collect();
        let versions = versions.into_iter().map(|(version, removed)| VersionRow {
            number: version.number,
            backlog: version.backlog,
            bus: version.bus.clone(),
            rule: version.rule.clone(),
            target: version.target.clone(),
            removed,
        });
        let buses: Vec<_> = self.buses.values().cloned().collect();
        let rules = self.rules.values().flat_map(BTreeMap::values);
        let rules: Vec<_> = rules.cloned().collect();
        let rules = rules.into_iter().map(Arc::unwrap_or_clone);
        let changes = buses.into_iter().map(Change::PutBus);
        let changes = changes.chain(rules.map(Change::PutRule));
        for queue in self.queues.values() {
            let row = QueueRow {
                number: queue.number,
                document: queue.document.clone(),
                deleted: queue.deleted,
                expired: queue.expired,
                moved: queue.moved,
                purged_running: queue.purged_running,
            };
            chunks.json(QUEUES, &row);
        }
        for backlog in self.backlogs.values() {
            for (key, pending) in backlog.pending.iter() {
                let w = chunks.begin(PENDING);
                w.u32(backlog.number);
                key.write(w);
                pending.place.write(w);
                w.u64(pending.accepted_running);
                w.u32(pending.version);
                w.u16(pending.attempts);
                w.i64(if pending.due == 0 {
                    0
                } else {
                    wall(pending.due).max(1)
                });
                let reason = backlog.giving_up.get(&key);
                w.u8(u8::from(reason.is_some()));
                if let Some((failure, exhausted)) = reason {
                    write_failure(w, failure);
                    write_exhausted(w, *exhausted);
                }
            }
        }
        for queue in self.queues.values() {
            for (key, stored) in queue.messages() {
                let w = chunks.begin(MESSAGES);
                w.u32(queue.number);
                key.write(w);
                stored.place.write(w);
                w.u64(stored.sent_running);
                w.u32(stored.version);
                match stored.seat() {
                    Seat::Fresh(_) | Seat::Ready(_) => w.u8(0),
                    Seat::Delayed(due) => {
                        w.u8(1);
                        w.i64(wall(due));
                    }
                    Seat::InFlight(until) => {
                        w.u8(2);
                        w.i64(wall(until));
                    }
                }
                w.u8(u8::from(stored.touched.is_some()));
                if let Some(touched) = &stored.touched {
                    w.u32(touched.receives);
                    w.u32(touched.receives_here);
                    w.i64(touched.first_ms);
                    w.i64(touched.last_ms);
                    w.u64(touched.stamp);
                    w.text(touched.source.as_deref().unwrap_or(""));
                }
            }
        }
        for (_, key) in &self.kept_order {
            let Some(kept) = self.kept.get(key) else {
                continue;
            };
            let w = chunks.begin(KEPT);
            w.u128(*key);
            w.u64(kept.body);
            w.u128(kept.seed);
            w.u64(kept.sequence);
            w.u64(kept.running_ms);
            w.bytes(&kept.rest);
        }
        let annex = self.annex.as_ref().map(|annex| annex.told());
        let annex = annex.into_iter().flatten().map(|told| {
            let mut chunk = Chunks::default();
            chunk.begin(ANNEX).bytes(&told);
            chunk.open.0
        });
        let documents = documents(VERSIONS, versions).chain(documents(DOCUMENTS, changes));
        Box::new(head.end().chain(documents).chain(chunks.end()).chain(annex))
    }

    /// Takes a chunk of a snapshot, in the order they were given.
    ///
    /// # Errors
    /// [`DecodeError`] if no version of us wrote it so.
    pub fn restore(&mut self, chunk: &[u8]) -> Result<(), DecodeError> {
        assert!(!self.live);
        let mut r = Reader(chunk);
        let kind = r.u8()?;
        if r.u8()? != FORM {
            return Err(DecodeError::Unknown("form of snapshot"));
        }
        while !r.0.is_empty() {
            match kind {
                HEAD => {
                    self.start_number = r.u64()?;
                    self.stopped_clean = r.u8()? == 1;
                    self.secret = r
                        .bytes()?
                        .try_into()
                        .map_err(|_| DecodeError::Unknown("secret"))?;
                    self.born_ms = r.i64()?;
                    self.running_ms = r.u64()?;
                    self.expired = r.u64()?;
                    self.version_next = r.u32()?;
                    self.backlog_next = r.u32()?;
                    self.queue_next = r.u32()?;
                }
                BACKLOGS => {
                    let row: BacklogRow = row(&mut r)?;
                    let name = (row.bus, row.rule, row.id, row.webhook);
                    let mut backlog = Backlog::new(row.number, name.clone());
                    backlog.retired_running = row.retired.then_some(0);
                    backlog.delivered = row.delivered;
                    backlog.dead_letters = row.dead_letters;
                    backlog.expired = row.expired;
                    self.backlog_names.insert(name, row.number);
                    self.backlogs.insert(row.number, backlog);
                }
                VERSIONS => {
                    let row: VersionRow = row(&mut r)?;
                    if !row.removed {
                        let name = (row.bus.clone(), row.rule.clone(), row.target.id.clone());
                        self.current.insert(name, row.number);
                    }
                    let version = Version {
                        number: row.number,
                        backlog: row.backlog,
                        kind: Kind::of(&row.target.arn, &self.home),
                        policy: row.target.policy(),
                        bus: row.bus,
                        rule: row.rule,
                        target: row.target,
                    };
                    if let Some(backlog) = self.backlogs.get_mut(&row.backlog) {
                        backlog.versions += 1;
                    }
                    let entry = VersionEntry {
                        version: Arc::new(version),
                        references: 0,
                        removed_running: row.removed.then_some(0),
                    };
                    self.versions.insert(row.number, entry);
                }
                DOCUMENTS => match row(&mut r)? {
                    Change::PutBus(bus) => self.put_bus(bus),
                    Change::PutRule(rule) => self.restore_rule(rule),
                    _ => return Err(DecodeError::Unknown("document of a snapshot")),
                },
                QUEUES => {
                    let row: QueueRow = row(&mut r)?;
                    self.queue_names
                        .insert(row.document.name.clone(), row.number);
                    let mut queue = QueueState::new(row.number, row.document);
                    queue.deleted = row.deleted;
                    queue.expired = row.expired;
                    queue.moved = row.moved;
                    queue.purged_running = row.purged_running;
                    self.queues.insert(row.number, queue);
                }
                PENDING => {
                    let backlog = r.u32()?;
                    let key = Key::read(&mut r)?;
                    let place = Place::read(&mut r)?;
                    let accepted_running = r.u64()?;
                    let version = r.u32()?;
                    let attempts = r.u16()?;
                    let due = u64::try_from(r.i64()?).unwrap_or(1);
                    let mut pending = Pending::new(place, version, accepted_running);
                    pending.attempts = attempts;
                    pending.due = due;
                    let reason = if r.u8()? == 1 {
                        Some((read_failure(&mut r)?, read_exhausted(&mut r)?))
                    } else {
                        None
                    };
                    self.reference(version);
                    self.hold(place.segment);
                    let backlog = self
                        .backlogs
                        .get_mut(&backlog)
                        .ok_or(DecodeError::Unknown("backlog"))?;
                    backlog.insert(key, pending);
                    if let Some(reason) = reason {
                        backlog.giving_up.insert(key, reason);
                    }
                }
                MESSAGES => {
                    let queue = r.u32()?;
                    let key = Key::read(&mut r)?;
                    let place = Place::read(&mut r)?;
                    let sent_running = r.u64()?;
                    let version = r.u32()?;
                    let mut stored = Stored::new(place, version, sent_running);
                    match r.u8()? {
                        0 => {}
                        1 => stored.delay_until(u64::try_from(r.i64()?).unwrap_or(0)),
                        2 => {
                            let until = u64::try_from(r.i64()?).unwrap_or(0);
                            stored.take_seat(Seat::InFlight(until));
                        }
                        _ => return Err(DecodeError::Unknown("seat")),
                    }
                    if r.u8()? == 1 {
                        stored.touched = Some(Box::new(Touched {
                            receives: r.u32()?,
                            receives_here: r.u32()?,
                            first_ms: r.i64()?,
                            last_ms: r.i64()?,
                            stamp: r.u64()?,
                            source: Some(r.text()?).filter(|s| !s.is_empty()).map(Into::into),
                        }));
                    }
                    self.reference(version);
                    self.hold(place.segment);
                    self.queues
                        .get_mut(&queue)
                        .ok_or(DecodeError::Unknown("queue"))?
                        .restore(key, stored);
                }
                KEPT => {
                    let key = r.u128()?;
                    let (body, seed, sequence, running_ms) =
                        (r.u64()?, r.u128()?, r.u64()?, r.u64()?);
                    let kept = Kept {
                        body,
                        seed,
                        rest: r.bytes()?.into(),
                        sequence,
                        running_ms,
                    };
                    self.kept_order.push_back((running_ms, key));
                    self.kept.insert(key, kept);
                }
                ANNEX => {
                    let told = r.bytes()?;
                    if let Some(annex) = &mut self.annex {
                        annex.apply(told)?;
                    }
                }
                _ => return Err(DecodeError::Unknown("chunk")),
            }
        }
        Ok(())
    }

    fn restore_rule(&mut self, rule: Rule) {
        self.rules
            .entry(rule.bus.clone())
            .or_default()
            .insert(rule.name.clone(), Arc::new(rule));
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, DOCUMENTS, FORM, documents, row};
    use crate::codec::Reader;

    #[test]
    fn documents_lie_in_chunks_and_none_is_left_out() {
        let rows: Vec<String> = (0..3_000).map(|n| format!("{n:01000}")).collect();
        let chunks: Vec<_> = documents(DOCUMENTS, rows.iter()).collect();
        assert_eq!(chunks.len(), 3);
        let mut read: Vec<String> = Vec::new();
        for chunk in &chunks {
            assert!(chunk.len() < CHUNK_BYTES + 1_100);
            let mut r = Reader(chunk);
            assert_eq!([r.u8(), r.u8()], [Ok(DOCUMENTS), Ok(FORM)]);
            while !r.0.is_empty() {
                read.push(row(&mut r).expect("it was written so"));
            }
        }
        assert_eq!(read, rows);
        assert_eq!(documents(DOCUMENTS, [""; 0].iter()).count(), 0);
    }
}
