//! The journal in memory, durable at once: for unit tests of what stands on it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::contract::{
    AppendError, Appended, Chunks, Done, Failed, FreeError, Journal, Place, Read, ReadError,
    Reader, Record, Room, SegmentId, SegmentInfo, Sequence, SnapshotError, Stamp, Work,
};

/// Records of one segment. Small, so that tests see more than one.
const SEGMENT_RECORDS: usize = 1024;
/// As the file engine: more keys than this do not fit a record.
const KEYS_MAX: usize = u16::MAX as usize;

struct Kept {
    sequence: Sequence,
    keys: Vec<u128>,
    /// `None` is a record of the engine's own.
    body: Option<Vec<u8>>,
}

struct Segment {
    first: Sequence,
    last: Sequence,
    bytes: u64,
    wall_ms: i64,
    records: Vec<Kept>,
}

type Segments = BTreeMap<u64, Segment>;

#[derive(Default)]
struct Shared(RwLock<Segments>);

impl Shared {
    fn get(&self) -> RwLockReadGuard<'_, Segments> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn get_mut(&self) -> RwLockWriteGuard<'_, Segments> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal in memory.
pub struct MemoryJournal {
    shared: Arc<Shared>,
    current: u64,
    next: Sequence,
    snapshot_position: Sequence,
    tail: (u64, u64),
    stamp: Stamp,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        let mut journal = Self {
            shared: Arc::default(),
            current: 0,
            next: 1,
            snapshot_position: 0,
            tail: (0, 0),
            stamp: Stamp::default(),
        };
        journal.roll();
        journal
    }

    fn roll(&mut self) {
        self.current += 1;
        let segment = Segment {
            first: self.next,
            last: self.next - 1,
            bytes: 0,
            wall_ms: self.stamp.wall_ms,
            records: Vec::new(),
        };
        self.shared.get_mut().insert(self.current, segment);
    }

    fn put(&mut self, keys: &[u128], body: Option<&[u8]>) -> Place {
        let full = self.shared.get()[&self.current].records.len() == SEGMENT_RECORDS;
        if full {
            self.roll();
        }
        let mut segments = self.shared.get_mut();
        let segment = segments.get_mut(&self.current);
        let segment = segment.expect("the current one is live");
        let length = body.map_or(0, <[u8]>::len);
        let place = Place {
            segment: SegmentId(self.current),
            offset: u32::try_from(segment.records.len()).expect("few records"),
            length: u32::try_from(length).expect("checked by append"),
        };
        segment.records.push(Kept {
            sequence: self.next,
            keys: keys.to_vec(),
            body: body.map(<[u8]>::to_vec),
        });
        segment.last = self.next;
        segment.bytes += length as u64;
        segment.wall_ms = self.stamp.wall_ms;
        self.next += 1;
        self.tail.0 += length as u64;
        self.tail.1 += 1;
        place
    }
}

impl Journal for MemoryJournal {
    fn append(
        &mut self,
        stamp: &Stamp,
        records: &[Record<'_>],
        _room: Room,
    ) -> Result<Appended, AppendError> {
        let fits = |record: &Record<'_>| {
            record.keys.len() <= KEYS_MAX && u32::try_from(record.body.len()).is_ok()
        };
        if !records.iter().all(fits) {
            return Err(AppendError::TooLarge);
        }
        self.stamp = *stamp;
        let first = self.next;
        let places = records
            .iter()
            .map(|record| self.put(record.keys, Some(record.body)))
            .collect();
        Ok(Appended { first, places })
    }

    fn take_work(&mut self, _idle: Option<&Stamp>) -> Option<Work> {
        None
    }

    fn done(&mut self, _done: Done) -> Result<(), Failed> {
        Ok(())
    }

    fn synced(&self) -> Sequence {
        self.next - 1
    }

    fn next(&self) -> Sequence {
        self.next
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        let segments = self.shared.get();
        let infos = segments.iter().map(|(id, segment)| SegmentInfo {
            id: SegmentId(*id),
            first: segment.first,
            last: segment.last,
            bytes: segment.bytes,
            sealed: *id != self.current,
            wall_ms: segment.wall_ms,
        });
        infos.collect()
    }

    fn free(&mut self, segment: SegmentId) -> Result<(), FreeError> {
        let last = self.shared.get().get(&segment.0).map(|held| held.last);
        let last = last.ok_or(FreeError::Unknown)?;
        if segment.0 == self.current || self.snapshot_position < last {
            return Err(FreeError::Needed);
        }
        self.put(&[], None);
        self.shared.get_mut().remove(&segment.0);
        Ok(())
    }

    fn snapshot(&mut self, position: Sequence, chunks: Chunks) -> Result<(), SnapshotError> {
        if position != self.next - 1 || position == 0 {
            return Err(SnapshotError::Position);
        }
        // Nobody recovers from memory; the chunks are made, as they would be.
        chunks.for_each(drop);
        self.snapshot_position = position;
        self.tail = (0, 0);
        Ok(())
    }

    fn snapshot_position(&self) -> Sequence {
        self.snapshot_position
    }

    fn snapshot_running(&self) -> bool {
        false
    }

    fn tail_bytes(&self) -> u64 {
        self.tail.0
    }

    fn tail_records(&self) -> u64 {
        self.tail.1
    }

    fn disk_low(&self) -> bool {
        false
    }

    fn reader(&self) -> Reader {
        Reader(Arc::new(MemoryReader(self.shared.clone())))
    }
}

struct MemoryReader(Arc<Shared>);

impl Read for MemoryReader {
    fn read(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        let segments = self.0.get();
        let segment = segments.get(&place.segment.0).ok_or(ReadError::Gone)?;
        let record = segment.records.get(place.offset as usize);
        let body = record.and_then(|record| record.body.clone());
        body.ok_or(ReadError::Unsynced)
    }

    fn find(&self, key: u128) -> Result<Vec<(Sequence, Place)>, ReadError> {
        let found = each(&self.0.get(), |record, place| {
            record
                .keys
                .contains(&key)
                .then_some((record.sequence, place))
        });
        Ok(found)
    }

    fn scan(
        &self,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<(Sequence, Place, Vec<u8>)>, ReadError> {
        let mut bytes = 0;
        let mut full = false;
        let found = each(&self.0.get(), |record, place| {
            let body = record.body.as_ref().filter(|_| from <= record.sequence)?;
            full = full || bytes_max < bytes;
            bytes += body.len();
            (!full).then(|| (record.sequence, place, body.clone()))
        });
        Ok(found)
    }
}

/// What `pick` makes of each record, in order.
fn each<T>(segments: &Segments, mut pick: impl FnMut(&Kept, Place) -> Option<T>) -> Vec<T> {
    let mut found = Vec::new();
    for (id, segment) in segments {
        for (record, offset) in segment.records.iter().zip(0..) {
            let length = record.body.as_ref().map_or(0, Vec::len);
            let place = Place {
                segment: SegmentId(*id),
                offset,
                length: u32::try_from(length).expect("checked by append"),
            };
            found.extend(pick(record, place));
        }
    }
    found
}
