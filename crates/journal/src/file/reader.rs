//! Reading beside the journal: a record by place, by key, in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::contract::{Place, Read, ReadError, SegmentId, Sequence};
use crate::disk::{File, read_most};
use crate::file::blocks::{Blocks, Found};
use crate::file::index;
use crate::file::segment::{Segment, Shared, segment_name};
use crate::format::{self, Kind, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// Keys that a first read allows for; a record with more is read twice.
const KEYS_GUESS: usize = 8;

pub(crate) struct FileReader(pub Arc<Shared>);

impl FileReader {
    fn segment(&self, id: SegmentId) -> Result<Arc<Segment>, ReadError> {
        let segment = self.0.segments().get(&id.0).cloned();
        segment.ok_or(ReadError::Gone)
    }

    /// What is not as it should be is damage, unless the segment was given back meanwhile.
    fn damaged(&self, segment: &Segment, offset: u32) -> ReadError {
        if !self.0.segments().contains_key(&segment.id) {
            return ReadError::Gone;
        }
        ReadError::Damaged {
            file: segment_name(segment.id),
            offset: u64::from(offset),
        }
    }

    fn handle(&self, segment: &Segment) -> Result<Arc<dyn File>, ReadError> {
        self.0.handle(segment).map_err(|error| {
            // A recycled segment's file has another name.
            if self.0.segments().contains_key(&segment.id) {
                refused(error)
            } else {
                ReadError::Gone
            }
        })
    }

    /// The sequence and place of the record at `offset`, if it is whole.
    fn locate(
        &self,
        segment: &Segment,
        file: &dyn File,
        offset: u32,
    ) -> Result<Option<(Sequence, Place)>, ReadError> {
        let bytes = record_at(file, segment.end(), offset, None).map_err(refused)?;
        let record = format::read_record(&bytes, segment.mark, segment.id);
        Ok(record.map(|record| {
            let place = Place {
                segment: SegmentId(segment.id),
                offset,
                length: u32::try_from(record.body.len()).expect("below 4 GiB"),
            };
            (record.sequence, place)
        }))
    }
}

fn refused(error: io::Error) -> ReadError {
    ReadError::Io(Arc::new(error))
}

/// The bytes of the record at `offset`, as long as its header says, within `end`. With the
/// body's length known one read is enough.
fn record_at(file: &dyn File, end: u32, offset: u32, body: Option<u32>) -> io::Result<Vec<u8>> {
    let room = end.saturating_sub(offset) as usize;
    let guess = RECORD_HEADER_BYTES + 16 * KEYS_GUESS + body.unwrap_or(0) as usize;
    let mut bytes = vec![0; guess.min(room)];
    let read = read_most(file, &mut bytes, u64::from(offset))?;
    bytes.truncate(read);
    if let Some((keys, body)) = format::record_lengths(&bytes) {
        let wanted = format::record_bytes(keys, body).min(room);
        if bytes.len() < wanted {
            let have = bytes.len();
            bytes.resize(wanted, 0);
            let read = read_most(file, &mut bytes[have..], offset as u64 + have as u64)?;
            bytes.truncate(have + read);
        }
    }
    Ok(bytes)
}

impl Read for FileReader {
    fn read(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        let segment = self.segment(place.segment)?;
        let end = segment.end();
        if end <= place.offset {
            return Err(ReadError::Unsynced);
        }
        let file = self.handle(&segment)?;
        let bytes = record_at(&*file, end, place.offset, Some(place.length)).map_err(refused)?;
        let record = format::read_record(&bytes, segment.mark, segment.id);
        match record {
            Some(record) if record.body.len() == place.length as usize => {
                let from = RECORD_HEADER_BYTES + record.keys.len();
                let to = from + record.body.len();
                let mut bytes = bytes;
                bytes.truncate(to);
                bytes.drain(..from);
                Ok(bytes)
            }
            _ => Err(self.damaged(&segment, place.offset)),
        }
    }

    fn find(&self, key: u128) -> Result<Vec<(Sequence, Place)>, ReadError> {
        let segments: Vec<_> = self.0.segments().values().cloned().collect();
        let mut found = Vec::new();
        for segment in segments {
            let end = segment.end();
            let mut offsets = {
                let keys = segment.keys();
                match &keys.table {
                    crate::file::segment::Table::Memory(_) => {
                        index::find(&self.0, &segment, key, &keys)
                    }
                    crate::file::segment::Table::File(_) => {
                        // Reads files: not under the lock.
                        let keys = keys.clone();
                        index::find(&self.0, &segment, key, &keys)
                    }
                }
            };
            if offsets.is_none() {
                // The index is damaged: the segment itself knows.
                let file = match self.handle(&segment) {
                    Err(ReadError::Gone) => continue,
                    file => file?,
                };
                let keys = index::rebuild(&*file, &segment).map_err(refused)?;
                offsets = index::find(&self.0, &segment, key, &keys);
            }
            let offsets = offsets.expect("keys in memory are always found");
            if offsets.is_empty() {
                continue;
            }
            let file = match self.handle(&segment) {
                Err(ReadError::Gone) => continue,
                file => file?,
            };
            for offset in offsets {
                if offset < end {
                    found.extend(self.locate(&segment, &*file, offset)?);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn scan(
        &self,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<(Sequence, Place, Vec<u8>)>, ReadError> {
        let synced = self.0.synced.load(Ordering::Acquire);
        let mut found = Vec::new();
        let mut bytes = 0;
        if synced < from {
            return Ok(found);
        }
        let segments: Vec<_> = {
            let segments = self.0.segments();
            let begun = segments.values().filter(|segment| segment.first() != 0);
            let begun: Vec<_> = begun.cloned().collect();
            // Begin in the last segment that begins at or before `from`.
            let after = begun.partition_point(|segment| segment.first() <= from);
            begun[after.saturating_sub(1)..].to_vec()
        };
        for segment in segments {
            let mut offset = {
                let keys = segment.keys();
                let after = keys.landmarks.partition_point(|(first, _)| *first <= from);
                let near = keys.landmarks[..after].last();
                near.map_or(SEGMENT_HEADER_BYTES, |(_, offset)| *offset)
            };
            let end = segment.end();
            let file = match self.handle(&segment) {
                Err(ReadError::Gone) => continue,
                file => file?,
            };
            let blocks = Blocks::new(&*file, segment.id, segment.mark, Some(end));
            let mut blocks = blocks.map_err(refused)?;
            while offset < end {
                let header = blocks.header(offset).map_err(refused)?;
                let Some(header) = header else {
                    // Damage before `from` hides nothing that is asked for.
                    let next = blocks.find_header(offset, |_| true).map_err(refused)?;
                    match next {
                        Some((at, header)) if header.first <= from => {
                            offset = at;
                            continue;
                        }
                        _ if found.is_empty() => return Err(self.damaged(&segment, offset)),
                        _ => return Ok(found),
                    }
                };
                let length = u32::try_from(header.block_bytes()).unwrap_or(u32::MAX);
                // Hop over what lies before.
                if from < header.first + u64::from(header.count) {
                    let (records, bad) = match blocks.block(offset).map_err(refused)? {
                        Found::Whole(_, records) => (records, None),
                        Found::Damaged(_, records, bad) => (records, Some(bad)),
                        Found::Nothing => return Err(self.damaged(&segment, offset)),
                    };
                    // Whoever asks again past a damaged record gets what follows it.
                    let mut due = from.max(header.first);
                    for (at, record) in records {
                        if record.sequence < from {
                            continue;
                        }
                        if let Some(bad) = bad.filter(|_| record.sequence != due) {
                            if found.is_empty() {
                                return Err(self.damaged(&segment, bad));
                            }
                            return Ok(found);
                        }
                        due += 1;
                        if record.kind == Kind::Freed {
                            continue;
                        }
                        if synced < record.sequence || (bytes_max < bytes && !found.is_empty()) {
                            return Ok(found);
                        }
                        bytes += record.body.len();
                        let place = Place {
                            segment: SegmentId(segment.id),
                            offset: at,
                            length: u32::try_from(record.body.len()).expect("below 4 GiB"),
                        };
                        found.push((record.sequence, place, record.body.to_vec()));
                    }
                    if let Some(bad) = bad.filter(|_| due < header.first + u64::from(header.count))
                    {
                        if found.is_empty() {
                            return Err(self.damaged(&segment, bad));
                        }
                        return Ok(found);
                    }
                }
                offset = offset.saturating_add(length);
            }
        }
        Ok(found)
    }
}
