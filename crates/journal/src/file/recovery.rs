//! What the disk holds after whatever happened. Reads only; `engine::open` then writes.
//!
//! The chain of segments is walked from the newest snapshot on. Each block must carry on the
//! sequence; the first that does not is either a torn tail or damage, and which of both is
//! told by evidence: every later whole header says up to where the journal was synced when it
//! was written. A bad place below that was synced once and is damage; one above was not
//! promised to anybody. The chain itself stands in the headers: each names the segment before
//! its own and where that ends, so that what was cut there is never read again.
//!
//! Source: reliability-security.md, rules 4 and 5.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::contract::{Place, Replay, SegmentId, Sequence, Stamp};
use crate::disk::{Disk, File, read_most};
use crate::file::blocks::{Blocks, Found};
use crate::file::segment::{number_of, segment_name, snapshot_name};
use crate::file::snapshot::{self, SnapshotFault};
use crate::format::{self, BlockHeader, Kind, RecordView, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// What was synced once is not whole any more. Exit 74, unless loss is accepted.
    #[error("damaged: {detail} in {file} at byte {offset}")]
    Damaged {
        /// Name of the file within the journal's directory.
        file: String,
        /// Byte at which the bad place begins.
        offset: u64,
        /// What should have been there.
        detail: &'static str,
    },
    /// The disk refused.
    #[error("could not use {file}")]
    Io {
        /// Name of the file within the journal's directory, or the directory.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// What was read makes no sense to the caller.
    #[error("could not apply what was read: {0}")]
    Replay(String),
}

/// Adds a file's name to what the disk said.
pub(crate) fn at(file: &str) -> impl FnOnce(io::Error) -> OpenError {
    let file = file.to_owned();
    move |source| OpenError::Io { file, source }
}

/// A live segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Info {
    pub mark: u64,
    pub first: Sequence,
    pub last: Sequence,
    /// Bytes up to here belong to the journal.
    pub end: u32,
    pub wall_ms: i64,
}

/// A block that may not be durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unproven {
    pub segment: u64,
    pub from: u32,
    pub to: u32,
    /// Its last record; `None` if it has none.
    last: Option<Sequence>,
}

/// What recovery found.
#[derive(Default)]
pub(crate) struct Recovered {
    /// Live segments, all sealed from now on.
    pub live: BTreeMap<u64, Info>,
    /// Those of them that were read through.
    pub walked: Vec<u64>,
    /// Blocks of which no later one says that they were synced: they may lie in the page cache
    /// alone, left there by a sync that failed.
    pub unproven: Vec<Unproven>,
    /// The last segment of the chain and where it ends; (0, 0) if there is none.
    pub tail: (u64, u32),
    /// Sequence that comes next.
    pub next: Sequence,
    /// Highest segment id that any file bears.
    pub id_max: u64,
    /// The newest block's stamp.
    pub stamp: Stamp,
    pub snapshot_position: Sequence,
    /// The segment in which the snapshot's tail begins.
    pub snapshot_segment: u64,
    pub tail_bytes: u64,
    pub tail_records: u64,
    /// Files that are no part of the journal any more.
    pub stale: Vec<String>,
    /// Records that were lost to damage and accepted as such.
    pub lost: u64,
    /// Each damage that was accepted.
    pub accepted: Vec<OpenError>,
}

/// A segment's file with a whole header.
struct Candidate {
    mark: u64,
    /// The segment made before it.
    before: u64,
    /// The file is shorter than it was made.
    short: bool,
    file: Arc<dyn File>,
    /// The header of its first block, if whole.
    begin: Option<BlockHeader>,
}

struct Walk<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    accept_loss: bool,
    replay: &'a mut dyn Replay,
    candidates: BTreeMap<u64, Candidate>,
    /// Files with a segment's name and without its header.
    headless: BTreeSet<u64>,
    freed: BTreeSet<u64>,
    found: Recovered,
}

/// Where the walk is.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    segment: u64,
    offset: u32,
    next: Sequence,
}

/// Reads all that is needed to go on, and gives it to `replay`.
pub(crate) fn read(
    disk: &dyn Disk,
    dir: &Path,
    accept_loss: bool,
    replay: &mut dyn Replay,
) -> Result<Recovered, OpenError> {
    let mut walk = Walk {
        disk,
        dir,
        accept_loss,
        replay,
        candidates: BTreeMap::new(),
        headless: BTreeSet::new(),
        freed: BTreeSet::new(),
        found: Recovered::default(),
    };
    let names = disk.list(dir).map_err(at("the directory"))?;
    walk.list(&names)?;
    let mut cursor = walk.snapshot(&names)?;
    walk.follow(&mut cursor)?;
    walk.settle(cursor, &names)?;
    Ok(walk.found)
}

impl Walk<'_> {
    /// Damage: refuses, or counts `lost` records and goes on.
    fn damage(
        &mut self,
        file: String,
        offset: u64,
        detail: &'static str,
        lost: u64,
    ) -> Result<(), OpenError> {
        let error = OpenError::Damaged {
            file,
            offset,
            detail,
        };
        if !self.accept_loss {
            return Err(error);
        }
        self.found.accepted.push(error);
        self.found.lost += lost;
        Ok(())
    }

    /// Opens each segment's file and reads its header and that of its first block.
    fn list(&mut self, names: &[String]) -> Result<(), OpenError> {
        for name in names {
            let Some(id) = number_of(name, "segment") else {
                continue;
            };
            self.found.id_max = self.found.id_max.max(id);
            let file = self.disk.open(&self.dir.join(name)).map_err(at(name))?;
            let mut bytes = [0; SEGMENT_HEADER_BYTES as usize + 8];
            let read = read_most(&*file, &mut bytes, 0).map_err(at(name))?;
            let bytes = &bytes[..read];
            let length = file.len().map_err(at(name))?;
            let header = SegmentHeader::decode(bytes, id).or_else(|| {
                // Its first block bears the mark too: with that the rest can be saved.
                let mark = bytes.get(SEGMENT_HEADER_BYTES as usize..)?;
                let save = self.accept_loss && mark.len() == 8;
                save.then(|| SegmentHeader {
                    segment: id,
                    mark: format::get_u64(mark, 0),
                    before: 0,
                    bytes: 0,
                })
            });
            let Some(header) = header else {
                self.headless.insert(id);
                continue;
            };
            let mark = header.mark;
            let mut blocks = Blocks::new(&*file, id, mark, None).map_err(at(name))?;
            let begin = blocks.header(SEGMENT_HEADER_BYTES).map_err(at(name))?;
            drop(blocks);
            if header.bytes == 0 {
                if begin.is_none() {
                    self.headless.insert(id);
                    continue;
                }
                self.damage(name.clone(), 0, "a segment's header", 0)?;
            }
            let candidate = Candidate {
                mark,
                before: header.before,
                short: length < u64::from(header.bytes),
                file,
                begin,
            };
            self.candidates.insert(id, candidate);
        }
        Ok(())
    }

    /// Reads the newest snapshot and says where the tail begins.
    fn snapshot(&mut self, names: &[String]) -> Result<Cursor, OpenError> {
        let positions = names.iter().filter_map(|name| number_of(name, "snapshot"));
        let Some(position) = positions.max() else {
            return Ok(Cursor {
                segment: 0,
                offset: 0,
                next: 1,
            });
        };
        let name = snapshot_name(position);
        let file = self.disk.open(&self.dir.join(&name)).map_err(at(&name))?;
        let refuse = |fault| match fault {
            SnapshotFault::Io(source) => OpenError::Io {
                file: name.clone(),
                source,
            },
            SnapshotFault::Damaged(offset) => OpenError::Damaged {
                file: name.clone(),
                offset,
                detail: "a snapshot",
            },
            SnapshotFault::Replay(message) => OpenError::Replay(message),
        };
        // Without its head nobody knows which segments should be there: no loss can be accepted.
        let (head, begin) = snapshot::head(&*file, position).map_err(refuse)?;
        let replay = &mut *self.replay;
        let mut take = |chunk: &[u8]| replay.snapshot(position, chunk);
        match snapshot::chunks(&*file, begin, &mut take) {
            Ok(()) => {}
            Err(SnapshotFault::Damaged(offset)) => self.damage(name, offset, "a snapshot", 1)?,
            Err(fault) => return Err(refuse(fault)),
        }
        for live in &head.live {
            let info = Info {
                mark: self.candidates.get(&live.id).map_or(0, |held| held.mark),
                first: live.first,
                last: live.last,
                end: live.end,
                wall_ms: live.wall_ms,
            };
            self.found.live.insert(live.id, info);
            self.found.id_max = self.found.id_max.max(live.id);
        }
        self.found.snapshot_position = position;
        self.found.snapshot_segment = head.segment;
        Ok(Cursor {
            segment: head.segment,
            offset: head.offset,
            next: position + 1,
        })
    }

    /// The segment that carries on after `segment`, and where it says that one ends. The newest
    /// one that says so: older ones hold what was cut.
    fn successor(&self, segment: u64) -> Option<(u64, u32)> {
        let later = self.candidates.range(segment + 1..).rev();
        let mut begins = later.filter_map(|(id, held)| Some((*id, held.begin?)));
        begins
            .find(|(_, begin)| begin.previous == segment)
            .map(|(id, begin)| (id, begin.previous_end))
    }

    /// Walks the blocks from `cursor` on and leaves it at the end.
    fn follow(&mut self, cursor: &mut Cursor) -> Result<(), OpenError> {
        loop {
            let successor = self.successor(cursor.segment);
            let limit = successor.map(|(_, end)| end);
            self.enter(*cursor);
            self.read_blocks(cursor, limit)?;
            // The snapshot's last segment may have been given back: then nothing was in it past
            // the snapshot but empty blocks. That it was not just lost is seen when we settle.
            let gone = !self.candidates.contains_key(&cursor.segment);
            let ended = gone || limit.is_some_and(|limit| limit <= cursor.offset);
            // A successor that does not carry on the sequence is a bad place like any other; the
            // chain then ends, or is mended, at the segment before it.
            if let (true, Some((id, _))) = (ended, successor)
                && self.carries_on(id, cursor.next)
            {
                cursor.segment = id;
                cursor.offset = SEGMENT_HEADER_BYTES;
                continue;
            }
            let evidence = self.evidence(*cursor)?;
            if evidence < cursor.next {
                return Ok(());
            }
            self.skip(cursor, limit, evidence)?;
        }
    }

    /// There is a live segment at `cursor` from now on.
    fn enter(&mut self, cursor: Cursor) {
        let Some(held) = self.candidates.get(&cursor.segment) else {
            return;
        };
        let info = Info {
            mark: held.mark,
            first: cursor.next,
            last: cursor.next - 1,
            end: cursor.offset,
            wall_ms: 0,
        };
        self.found.live.entry(cursor.segment).or_insert(info);
        if self.found.walked.last() != Some(&cursor.segment) {
            self.found.walked.push(cursor.segment);
        }
    }

    fn carries_on(&self, segment: u64, next: Sequence) -> bool {
        let begin = self.candidates[&segment].begin;
        begin.is_some_and(|begin| begin.first == next)
    }

    /// Takes whole blocks in order until there is none at the cursor.
    fn read_blocks(&mut self, cursor: &mut Cursor, limit: Option<u32>) -> Result<(), OpenError> {
        let Some(held) = self.candidates.get(&cursor.segment) else {
            return Ok(());
        };
        let name = segment_name(cursor.segment);
        let file = held.file.clone();
        let blocks = Blocks::new(&*file, cursor.segment, held.mark, limit);
        let mut blocks = blocks.map_err(at(&name))?;
        loop {
            match blocks.block(cursor.offset).map_err(at(&name))? {
                Found::Whole(header, records) if header.first == cursor.next => {
                    self.take(cursor, &header, &records)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Applies a block and steps over it.
    fn take(
        &mut self,
        cursor: &mut Cursor,
        header: &BlockHeader,
        records: &[(u32, RecordView<'_>)],
    ) -> Result<(), OpenError> {
        for (offset, record) in records {
            match record.kind {
                Kind::Freed => {
                    self.freed.insert(format::get_u64(record.body, 0));
                }
                Kind::Ordinary => {
                    let place = Place {
                        segment: SegmentId(cursor.segment),
                        offset: *offset,
                        length: u32::try_from(record.body.len()).expect("below 4 GiB"),
                    };
                    self.replay
                        .record(&header.stamp, record.sequence, place, record.body)
                        .map_err(OpenError::Replay)?;
                }
            }
        }
        let length = u32::try_from(header.block_bytes()).unwrap_or(u32::MAX);
        self.prove(cursor, header, length);
        cursor.next = header.first + u64::from(header.count);
        cursor.offset = cursor.offset.saturating_add(length);
        self.found.stamp = header.stamp;
        self.found.tail_bytes += u64::from(length);
        self.found.tail_records += u64::from(header.count);
        let info = self.found.live.get_mut(&cursor.segment);
        let info = info.expect("entered before");
        info.last = cursor.next - 1;
        info.end = cursor.offset;
        info.wall_ms = header.stamp.wall_ms;
        Ok(())
    }

    /// Notes a block as unproven, and what it proves of those before it. Groups are synced one
    /// after the other, so that what is proven proves all that lies before.
    fn prove(&mut self, cursor: &Cursor, header: &BlockHeader, length: u32) {
        let unproven = &mut self.found.unproven;
        let proven = |block: &Unproven| block.last.is_some_and(|last| last <= header.synced);
        if let Some(at) = unproven.iter().rposition(proven) {
            unproven.drain(..=at);
        }
        unproven.push(Unproven {
            segment: cursor.segment,
            from: cursor.offset,
            to: cursor.offset.saturating_add(length),
            last: (header.count != 0).then(|| header.first + u64::from(header.count) - 1),
        });
    }

    /// The highest position that any whole header past the cursor knows to be synced.
    fn evidence(&self, cursor: Cursor) -> Result<Sequence, OpenError> {
        let mut highest = 0;
        for (id, held) in self.candidates.range(cursor.segment..) {
            let from = if *id == cursor.segment {
                cursor.offset
            } else {
                SEGMENT_HEADER_BYTES
            };
            let name = segment_name(*id);
            let blocks = Blocks::new(&*held.file, *id, held.mark, None);
            let mut blocks = blocks.map_err(at(&name))?;
            highest = highest.max(blocks.synced_after(from).map_err(at(&name))?);
        }
        Ok(highest)
    }

    /// Gets over a damaged place, if loss is accepted.
    fn skip(
        &mut self,
        cursor: &mut Cursor,
        limit: Option<u32>,
        evidence: Sequence,
    ) -> Result<(), OpenError> {
        let name = segment_name(cursor.segment);
        if let Some(held) = self.candidates.get(&cursor.segment) {
            let file = held.file.clone();
            let blocks = Blocks::new(&*file, cursor.segment, held.mark, limit);
            let mut blocks = blocks.map_err(at(&name))?;
            // The header is whole: keep the records that are.
            if let Found::Damaged(header, records, bad) =
                blocks.block(cursor.offset).map_err(at(&name))?
                && header.first == cursor.next
            {
                let lost = u64::from(header.count).saturating_sub(records.len() as u64);
                self.damage(name, u64::from(bad), "a record", lost)?;
                return self.take(cursor, &header, &records);
            }
            // It is not: go on at the next one that is.
            let from = cursor.offset;
            let next = blocks.find_header(from, |header| cursor.next <= header.first);
            if let Some((offset, header)) = next.map_err(at(&name))? {
                let lost = header.first - cursor.next;
                self.damage(name, u64::from(cursor.offset), "a block", lost)?;
                cursor.offset = offset;
                cursor.next = header.first;
                return Ok(());
            }
        }
        let later = self.candidates.range(cursor.segment + 1..);
        let mut begins = later.filter_map(|(id, held)| Some((*id, held.begin?.first)));
        let next = begins.find(|(_, first)| cursor.next <= *first);
        let (segment, first) = next.unwrap_or((cursor.segment, evidence + 1));
        let lost = first - cursor.next;
        self.damage(name, u64::from(cursor.offset), "a block", lost)?;
        cursor.next = first;
        if segment == cursor.segment {
            // Nothing whole follows. Only what makes the sequences go on is kept.
            let end = self.candidates.get(&segment).map(|held| held.file.len());
            let end = end.transpose().map_err(at("a segment"))?;
            cursor.offset = end.map_or(0, |end| u32::try_from(end).unwrap_or(u32::MAX));
        } else {
            cursor.segment = segment;
            cursor.offset = SEGMENT_HEADER_BYTES;
        }
        Ok(())
    }

    /// Compares what should be there with what is.
    fn settle(&mut self, end: Cursor, names: &[String]) -> Result<(), OpenError> {
        self.found.next = end.next;
        self.found.tail = (end.segment, end.offset);
        for id in &self.freed {
            self.found.live.remove(id);
        }
        let live: Vec<(u64, Info)> = self
            .found
            .live
            .iter()
            .map(|(id, info)| (*id, *info))
            .collect();
        for (id, info) in live {
            let begin = self.candidates.get(&id).map(|held| held.begin);
            let empty = info.end <= SEGMENT_HEADER_BYTES;
            let detail = match begin {
                None if self.headless.contains(&id) => "a segment's header",
                None => "a segment that is missing and was not freed",
                Some(_) if empty => continue,
                Some(Some(begin)) if begin.first == info.first => continue,
                // Walked already, and its loss accepted.
                Some(_) if self.found.walked.contains(&id) => continue,
                Some(_) => "a segment's first block",
            };
            let (offset, lost) = match begin {
                None => (0, info.last + 1 - info.first.min(info.last + 1)),
                Some(_) => (u64::from(SEGMENT_HEADER_BYTES), 0),
            };
            self.damage(segment_name(id), offset, detail, lost)?;
            if begin.is_none() {
                self.found.live.remove(&id);
            }
        }
        for id in self.headless.clone() {
            // A file with a later life's name was made whole before it got the name.
            if end.segment < id && !self.freed.contains(&id) {
                self.damage(segment_name(id), 0, "a segment's header", 1)?;
            }
        }
        self.miss(end)?;
        self.list_stale(names);
        Ok(())
    }

    /// Looks for what is missing at the end, where no block tells of it: a segment that is
    /// shorter than it was made, or not there though one was made after it.
    fn miss(&mut self, end: Cursor) -> Result<(), OpenError> {
        let last = self.candidates.range(end.segment..);
        let last: Vec<_> = last
            .map(|(id, held)| (*id, held.before, held.short))
            .collect();
        for (id, before, short) in last {
            if short {
                let name = segment_name(id);
                self.damage(name, 0, "a segment that is shorter than it was made", 1)?;
            }
            let there = before <= end.segment
                || self.candidates.contains_key(&before)
                || self.headless.contains(&before);
            if !there {
                let name = segment_name(before);
                self.damage(name, 0, "a segment that is missing", 1)?;
            }
        }
        Ok(())
    }

    /// Files that are no part of the journal, newest segment first.
    fn list_stale(&mut self, names: &[String]) {
        let kept_snapshot = snapshot_name(self.found.snapshot_position);
        for name in names {
            let stale = if let Some(id) = number_of(name, "segment") {
                !self.found.live.contains_key(&id)
            } else if let Some(id) = number_of(name, "index") {
                !self.found.live.contains_key(&id)
            } else if number_of(name, "snapshot").is_some() {
                *name != kept_snapshot
            } else {
                std::path::Path::new(name)
                    .extension()
                    .is_some_and(|ending| ending == "tmp")
            };
            if stale {
                self.found.stale.push(name.clone());
            }
        }
        self.found.stale.sort_unstable_by(|a, b| b.cmp(a));
    }
}
