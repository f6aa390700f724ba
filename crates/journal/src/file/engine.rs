//! The journal on files: what is appended, what is due for the disk, what came of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::contract::{
    AppendError, Appended, Chunks, Done, Failed, FreeError, Journal, Place, Reader, Record, Replay,
    Room, SegmentId, SegmentInfo, Sequence, SnapshotError, Stamp, Work, WorkKind,
};
use crate::disk::{Disk, File, is_full, read_most, write_all};
use crate::file::index;
use crate::file::job::{Came, Job, Part};
use crate::file::reader::FileReader;
use crate::file::recovery::{self, Info, OpenError, Recovered, at};
use crate::file::segment::{Segment, Shared, Table, prepare, segment_name};
use crate::file::snapshot::{Head, Live};
use crate::format::{
    self, BLOCK_ALIGN, BLOCK_EMPTY_BYTES, BLOCK_HEADER_BYTES, BlockHeader, Kind,
    SEGMENT_HEADER_BYTES, SegmentHeader,
};

/// Segments kept ready: one for everybody, the last for what drains.
const READY: usize = 2;
/// Pause before a segment that found no space is tried again, and between looks at free space.
const PROBE_MS: u64 = 1000;
/// Parts of a group; a group that began a segment begins no second one.
const PARTS_MAX: usize = 2;

/// How the engine is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a segment; at most 2 GiB. The last one kept ready is the reserve.
    pub segment_bytes: u32,
    /// Bytes that may gather while a group is written. At the bound an append waits.
    pub group_bytes_max: u32,
    /// Damaged records are skipped and counted instead of refusing to open. They stay on disk,
    /// so that the next start refuses again until a snapshot lies past them.
    pub accept_data_loss: bool,
    /// With less free space than this ordinary records are refused.
    pub free_bytes_min: u64,
    /// Given-back segments kept to be recycled, beyond those that are ready.
    pub segments_spare_max: usize,
    /// Open handles of sealed segments.
    pub handles_max: usize,
    /// A random number that nobody outside learns: with it a body cannot be made to look like
    /// a block. Need not be the same at each start.
    pub mark_seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            group_bytes_max: 16 << 20,
            accept_data_loss: false,
            free_bytes_min: 1 << 30,
            segments_spare_max: 2,
            handles_max: 32,
            mark_seed: 0,
        }
    }
}

/// The segment that is written to.
struct Current {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    previous: u64,
    previous_end: u32,
    /// Appended up to here.
    end: u32,
}

struct Snapshotting {
    position: Sequence,
    segment: u64,
    bytes: u64,
    records: u64,
    work: Option<(Head, Chunks)>,
    written: bool,
}

/// The journal on files. Made by [`open`].
pub struct FileJournal {
    shared: Arc<Shared>,
    options: Options,
    current: Current,
    group: Vec<Part>,
    buffers: Vec<Vec<u8>>,
    next: Sequence,
    synced: Sequence,
    /// Some block on disk knows that this position is synced.
    protected: Sequence,
    /// Last record and known synced position of the group that is being written.
    writing: (Sequence, Sequence),
    stamp: Stamp,
    clock_ms: u64,
    live: BTreeMap<u64, Info>,
    ready: VecDeque<(Arc<Segment>, Arc<dyn File>)>,
    id_next: u64,
    /// Segments whose freeing is recorded at that sequence, not synced yet.
    freeing: VecDeque<(Sequence, u64)>,
    recyclable: VecDeque<u64>,
    to_index: VecDeque<u64>,
    running: BTreeSet<WorkKind>,
    snapshot: Option<Snapshotting>,
    snapshot_position: Sequence,
    /// The segment in which that snapshot's tail begins.
    snapshot_segment: u64,
    tail: (u64, u64),
    lost: u64,
    full: bool,
    low: bool,
    probe_at_ms: u64,
    prepare_at_ms: u64,
    index_at_ms: u64,
    failed: bool,
}

/// Opens the journal in `dir`, which must be there, or begins one, and gives `replay` what it
/// holds. What `replay` saw is durable when this returns.
///
/// # Errors
/// [`OpenError`]; the files are then as they were, or what was cut is cut.
pub fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
    replay: &mut dyn Replay,
) -> Result<FileJournal, OpenError> {
    assert!(SEGMENT_HEADER_BYTES + 1024 <= options.segment_bytes);
    assert!(options.segment_bytes <= 1 << 31);
    let found = recovery::read(&*disk, dir, options.accept_data_loss, replay)?;
    let shared = Arc::new(Shared::new(disk, dir, options.handles_max.max(1)));
    settle_disk(&shared, &found)?;
    let current = begin(&shared, options, &found)?;
    let mut journal = FileJournal {
        next: found.next,
        synced: found.next - 1,
        protected: found.next - 1,
        writing: (0, 0),
        stamp: found.stamp,
        clock_ms: found.stamp.running_ms,
        id_next: current.segment.id + 1,
        group: Vec::new(),
        buffers: Vec::new(),
        ready: VecDeque::new(),
        freeing: VecDeque::new(),
        recyclable: VecDeque::new(),
        to_index: VecDeque::new(),
        running: BTreeSet::new(),
        snapshot: None,
        snapshot_position: found.snapshot_position,
        snapshot_segment: found.snapshot_segment,
        tail: (found.tail_bytes, found.tail_records),
        lost: found.lost,
        full: false,
        low: false,
        probe_at_ms: 0,
        prepare_at_ms: 0,
        index_at_ms: 0,
        failed: false,
        live: found.live,
        options: options.clone(),
        shared,
        current,
    };
    journal
        .shared
        .synced
        .store(journal.synced, Ordering::Release);
    journal.load_keys()?;
    let segment = journal.current.segment.clone();
    journal.note_live(&segment);
    journal.cut_tail(found.tail)?;
    for _ in 0..READY {
        let job = journal.prepare_job();
        let done = job.run();
        // A full disk is no reason not to open: what is there drains.
        journal.take(done).map_err(|failed| OpenError::Io {
            file: failed.at,
            source: io::Error::other(failed.source),
        })?;
        if journal.full {
            break;
        }
    }
    Ok(journal)
}

/// Makes durable what was read and removes what is no part of the journal.
///
/// What no header proves to be synced is written again: after a failed sync the page cache may
/// hold it as clean, so that a second sync alone would claim what is not so.
fn settle_disk(shared: &Shared, found: &Recovered) -> Result<(), OpenError> {
    let Shared { disk, dir, .. } = shared;
    for id in &found.walked {
        let name = segment_name(*id);
        let file = disk.open(&dir.join(&name)).map_err(at(&name))?;
        for block in found.unproven.iter().filter(|block| block.segment == *id) {
            let mut bytes = vec![0; (block.to - block.from) as usize];
            let offset = u64::from(block.from);
            let read = read_most(&*file, &mut bytes, offset).map_err(at(&name))?;
            write_all(&*file, &bytes[..read], offset).map_err(at(&name))?;
        }
        file.sync_data().map_err(at(&name))?;
    }
    // The names that we lean on first, then the end of those that they replace.
    disk.sync_dir(dir).map_err(at("the directory"))?;
    for name in &found.stale {
        disk.remove(&dir.join(name)).map_err(at(name))?;
        // One by one, newest first: one that is there must not miss the one made before it.
        disk.sync_dir(dir).map_err(at("the directory"))?;
    }
    Ok(())
}

/// Begins a new segment. Its first block, empty and synced at once, is the cut: it says where
/// the tail ends, so that what lies beyond is never read again.
fn begin(shared: &Shared, options: &Options, found: &Recovered) -> Result<Current, OpenError> {
    let id = found.id_max + 1;
    let mark = format::mark(options.mark_seed, id);
    let name = segment_name(id);
    let (previous, previous_end) = found.tail;
    let header = SegmentHeader {
        segment: id,
        mark,
        before: previous,
        bytes: options.segment_bytes,
    };
    let file = prepare(&*shared.disk, &shared.dir, header, None).map_err(at(&name))?;
    let header = BlockHeader {
        mark,
        segment: id,
        first: found.next,
        synced: found.next - 1,
        stamp: found.stamp,
        previous,
        previous_end,
        count: 0,
        bytes: 0,
    };
    let mut block = vec![0; BLOCK_EMPTY_BYTES as usize];
    header.encode(&mut block);
    write_all(&*file, &block, u64::from(SEGMENT_HEADER_BYTES)).map_err(at(&name))?;
    file.sync_data().map_err(at(&name))?;
    let segment = Segment::new(id, mark, Some(file.clone()));
    let end = SEGMENT_HEADER_BYTES + BLOCK_EMPTY_BYTES;
    segment.first.store(found.next, Ordering::Release);
    segment.end.store(end, Ordering::Release);
    segment.keys().landmark(found.next, SEGMENT_HEADER_BYTES);
    Ok(Current {
        segment: Arc::new(segment),
        file,
        previous,
        previous_end,
        end,
    })
}

impl FileJournal {
    /// Records that were lost to damage at opening.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes the keys of sealed segments from their indexes, or reads the segment for them.
    fn load_keys(&mut self) -> Result<(), OpenError> {
        for (id, info) in &self.live {
            let segment = Segment::new(*id, info.mark, None);
            segment.first.store(info.first, Ordering::Release);
            segment.end.store(info.end, Ordering::Release);
            let keys = if let Some(keys) = index::load(&self.shared, &segment) {
                keys
            } else {
                let name = segment_name(*id);
                let file = self.shared.handle(&segment).map_err(at(&name))?;
                self.to_index.push_back(*id);
                index::rebuild(&*file, &segment).map_err(at(&name))?
            };
            *segment.keys() = keys;
            self.shared.segments_mut().insert(*id, Arc::new(segment));
        }
        Ok(())
    }

    /// Gives back the space past the tail's end. The cut itself is in the new segment's header.
    fn cut_tail(&self, (id, end): (u64, u32)) -> Result<(), OpenError> {
        if !self.live.contains_key(&id) {
            return Ok(());
        }
        let name = segment_name(id);
        let path = self.shared.dir.join(&name);
        let file = self.shared.disk.open(&path).map_err(at(&name))?;
        if u64::from(end) < file.len().map_err(at(&name))? {
            file.set_len(u64::from(end)).map_err(at(&name))?;
            file.sync_data().map_err(at(&name))?;
        }
        Ok(())
    }

    /// Readers may find `segment` from now on, and it counts as live.
    fn note_live(&mut self, segment: &Arc<Segment>) {
        let info = Info {
            mark: segment.mark,
            first: self.next,
            last: self.next - 1,
            end: self.current.end,
            wall_ms: self.stamp.wall_ms,
        };
        self.live.insert(segment.id, info);
        let mut segments = self.shared.segments_mut();
        segments.insert(segment.id, segment.clone());
    }

    fn prepare_job(&mut self) -> Job {
        let id = self.id_next;
        let header = SegmentHeader {
            segment: id,
            mark: format::mark(self.options.mark_seed, id),
            // Ids of one life of the process have no gaps: one is passed on by success alone.
            before: id - 1,
            bytes: self.options.segment_bytes,
        };
        Job::Prepare {
            disk: self.shared.disk.clone(),
            dir: self.shared.dir.clone(),
            header,
            recycled: self.recyclable.pop_front(),
        }
    }

    fn dir(&self) -> (Arc<dyn Disk>, PathBuf) {
        (self.shared.disk.clone(), self.shared.dir.clone())
    }

    fn tick(&mut self, stamp: &Stamp) {
        self.clock_ms = self.clock_ms.max(stamp.running_ms);
    }

    /// Room for `length` bytes at the end of the group, in the next segment if need be.
    fn make_room(&mut self, length: usize, room: Room) -> Result<(), AppendError> {
        let gathered: usize = self.group.iter().map(|part| part.bytes.len()).sum();
        if gathered != 0 && gathered + length > self.options.group_bytes_max as usize {
            return Err(AppendError::NotReady);
        }
        // An empty block must always find room, so that the last group can be protected.
        let limit = (self.options.segment_bytes - BLOCK_EMPTY_BYTES) as usize;
        let fits = self.current.end as usize + length <= limit;
        let wanted = usize::from(room == Room::Ordinary) + usize::from(!fits);
        if self.ready.len() < wanted {
            return Err(if self.full {
                AppendError::Full
            } else {
                AppendError::NotReady
            });
        }
        if !fits {
            if self.group.len() == PARTS_MAX {
                return Err(AppendError::NotReady);
            }
            self.roll();
        }
        let id = self.current.segment.id;
        if self.group.last().is_none_or(|part| part.segment.id != id) {
            self.group.push(Part {
                segment: self.current.segment.clone(),
                file: self.current.file.clone(),
                offset: self.current.end,
                bytes: self.buffers.pop().unwrap_or_default(),
                blocks: Vec::new(),
            });
        }
        Ok(())
    }

    /// Seals the current segment and goes on in the next.
    fn roll(&mut self) {
        let (segment, file) = self.ready.pop_front().expect("counted before");
        let previous = self.current.segment.id;
        let previous_end = self.current.end;
        self.to_index.push_back(previous);
        segment.first.store(self.next, Ordering::Release);
        self.current = Current {
            segment: segment.clone(),
            file,
            previous,
            previous_end,
            end: SEGMENT_HEADER_BYTES,
        };
        self.note_live(&segment);
    }

    /// Puts a block of records into the group. There is room.
    fn put_block(
        &mut self,
        stamp: &Stamp,
        kind: Kind,
        records: &[Record<'_>],
        length: usize,
    ) -> Vec<Place> {
        let part = self.group.last_mut().expect("made by make_room");
        let (id, mark) = (part.segment.id, part.segment.mark);
        let start = part.bytes.len();
        part.bytes.reserve(length);
        part.bytes.resize(start + BLOCK_HEADER_BYTES, 0);
        let mut places = Vec::with_capacity(records.len());
        {
            let mut keys = part.segment.keys();
            keys.landmark(self.next, self.current.end);
            let Table::Memory(table) = &mut keys.table else {
                unreachable!("an index is written of sealed segments only");
            };
            for (record, sequence) in records.iter().zip(self.next..) {
                let offset = part.offset + narrow(part.bytes.len());
                let (keys, body) = (record.keys, record.body);
                format::put_record(&mut part.bytes, mark, id, sequence, kind, keys, body);
                table.extend(keys.iter().map(|key| (*key, offset)));
                places.push(Place {
                    segment: SegmentId(id),
                    offset,
                    length: narrow(body.len()),
                });
            }
        }
        let header = BlockHeader {
            mark,
            segment: id,
            first: self.next,
            // Set when the block is written.
            synced: 0,
            stamp: *stamp,
            previous: self.current.previous,
            previous_end: self.current.previous_end,
            count: narrow(records.len()),
            bytes: narrow(part.bytes.len() - start - BLOCK_HEADER_BYTES),
        };
        part.bytes.resize(start + length, 0);
        header.encode(&mut part.bytes[start..start + BLOCK_HEADER_BYTES]);
        part.blocks.push(narrow(start));
        self.current.end += narrow(length);
        self.next += records.len() as u64;
        self.stamp = *stamp;
        self.tail.0 += length as u64;
        self.tail.1 += records.len() as u64;
        let info = self.live.get_mut(&id).expect("the current one is live");
        info.last = self.next - 1;
        info.end = self.current.end;
        info.wall_ms = stamp.wall_ms;
        places
    }

    fn add(
        &mut self,
        stamp: &Stamp,
        kind: Kind,
        records: &[Record<'_>],
        room: Room,
    ) -> Result<Appended, AppendError> {
        if self.failed {
            return Err(AppendError::Failed);
        }
        self.tick(stamp);
        let mut length = BLOCK_HEADER_BYTES;
        for record in records {
            if record.keys.len() > usize::from(u16::MAX) {
                return Err(AppendError::TooLarge);
            }
            length += format::record_bytes(record.keys.len(), record.body.len());
        }
        let length = format::pad(length, BLOCK_ALIGN as usize);
        let room_max = self.options.segment_bytes - BLOCK_EMPTY_BYTES - SEGMENT_HEADER_BYTES;
        if room_max as usize <= length {
            return Err(AppendError::TooLarge);
        }
        if room == Room::Ordinary && self.low {
            return Err(AppendError::Full);
        }
        self.make_room(length, room)?;
        let first = self.next;
        let places = self.put_block(stamp, kind, records, length);
        Ok(Appended { first, places })
    }

    /// The group, ready to be written.
    fn take_group(&mut self) -> Option<Job> {
        if self.group.is_empty() {
            return None;
        }
        let mut parts = std::mem::take(&mut self.group);
        for part in &mut parts {
            for start in &part.blocks {
                let start = *start as usize;
                let header = &mut part.bytes[start..start + BLOCK_HEADER_BYTES];
                format::seal_header(header, self.synced);
            }
        }
        self.writing = (self.next - 1, self.synced);
        Some(Job::Write(parts))
    }

    /// Puts an empty block into the group if the newest synced position stands nowhere yet.
    fn protect(&mut self, stamp: &Stamp) {
        let due = self.group.is_empty() && self.protected < self.synced;
        let room = self.current.end + BLOCK_EMPTY_BYTES <= self.options.segment_bytes;
        if due && room {
            self.group.push(Part {
                segment: self.current.segment.clone(),
                file: self.current.file.clone(),
                offset: self.current.end,
                bytes: self.buffers.pop().unwrap_or_default(),
                blocks: Vec::new(),
            });
            self.put_block(stamp, Kind::Ordinary, &[], BLOCK_EMPTY_BYTES as usize);
        }
    }

    fn next_job(&mut self, idle: Option<&Stamp>) -> Option<Job> {
        if !self.running.contains(&WorkKind::Write) {
            if let Some(stamp) = idle {
                self.protect(stamp);
            }
            if let Some(job) = self.take_group() {
                return Some(job);
            }
        }
        let may_prepare = !self.recyclable.is_empty() || self.prepare_at_ms <= self.clock_ms;
        if !self.running.contains(&WorkKind::Prepare) && self.ready.len() < READY && may_prepare {
            return Some(self.prepare_job());
        }
        if let Some(job) = self.snapshot_job() {
            return Some(job);
        }
        if !self.running.contains(&WorkKind::Index)
            && self.index_at_ms <= self.clock_ms
            && let Some(id) = self.to_index.front()
        {
            let last = self.live.get(id).map(|info| info.last);
            match last {
                // Given back before its turn.
                None => {
                    self.to_index.pop_front();
                }
                Some(last) if last <= self.synced => {
                    let id = self.to_index.pop_front().expect("at the front");
                    let segment = self.shared.segments()[&id].clone();
                    let shared = self.shared.clone();
                    return Some(Job::Index { shared, segment });
                }
                Some(_) => {}
            }
        }
        if !self.running.contains(&WorkKind::Remove)
            && self.options.segments_spare_max < self.recyclable.len()
        {
            let (disk, dir) = self.dir();
            let id = self.recyclable.pop_back().expect("more than none");
            return Some(Job::Remove { disk, dir, id });
        }
        if !self.running.contains(&WorkKind::Probe)
            && self.options.free_bytes_min > 0
            && self.probe_at_ms <= self.clock_ms
        {
            self.probe_at_ms = self.clock_ms + PROBE_MS;
            let (disk, dir) = self.dir();
            return Some(Job::Probe { disk, dir });
        }
        None
    }

    fn snapshot_job(&mut self) -> Option<Job> {
        let (disk, dir) = self.dir();
        let snapshot = self.snapshot.as_mut()?;
        if let Some((head, chunks)) = snapshot.work.take() {
            return Some(Job::Snapshot {
                disk,
                dir,
                head,
                chunks,
            });
        }
        let due = snapshot.written && snapshot.position <= self.synced;
        if due && !self.running.contains(&WorkKind::Install) {
            return Some(Job::Install {
                disk,
                dir,
                position: snapshot.position,
                old: self.snapshot_position,
            });
        }
        None
    }

    fn fail(&mut self, what: &str, error: io::Error) -> Failed {
        self.failed = true;
        Failed {
            at: what.to_owned(),
            source: Arc::new(error),
        }
    }

    fn take(&mut self, came: Came) -> Result<(), Failed> {
        match came {
            Came::Written(parts, result) => {
                self.running.remove(&WorkKind::Write);
                // Also without space: the records are applied already, and cannot be refused.
                result.map_err(|error| self.fail("writing a group", error))?;
                self.written(parts);
            }
            Came::Prepared(header, free_bytes, result) => {
                self.running.remove(&WorkKind::Prepare);
                match result {
                    Ok(file) => {
                        self.id_next = header.segment + 1;
                        let segment = Segment::new(header.segment, header.mark, Some(file.clone()));
                        self.ready.push_back((Arc::new(segment), file));
                        self.full = false;
                    }
                    Err(error) if is_full(&error) => {
                        self.full = true;
                        self.prepare_at_ms = self.clock_ms + PROBE_MS;
                    }
                    Err(error) => return Err(self.fail("preparing a segment", error)),
                }
                if let Some(free_bytes) = free_bytes {
                    self.low = free_bytes < self.options.free_bytes_min;
                }
            }
            Came::Indexed(segment, result) => {
                self.running.remove(&WorkKind::Index);
                match result {
                    Ok(count) => {
                        segment.keys().table = Table::File(count);
                        segment.unpin();
                    }
                    // It goes on from memory, and is tried again later.
                    Err(error) if is_full(&error) => {
                        self.to_index.push_back(segment.id);
                        self.index_at_ms = self.clock_ms + PROBE_MS;
                    }
                    Err(error) => return Err(self.fail("writing an index", error)),
                }
            }
            Came::Snapshot(result) => {
                self.running.remove(&WorkKind::Snapshot);
                match result {
                    Ok(()) => {
                        let snapshot = self.snapshot.as_mut();
                        snapshot.expect("one is running").written = true;
                    }
                    // Without space there is no snapshot; the old one and the tail stay.
                    Err(error) if is_full(&error) => self.snapshot = None,
                    Err(error) => return Err(self.fail("writing a snapshot", error)),
                }
            }
            Came::Installed(result) => {
                self.running.remove(&WorkKind::Install);
                result.map_err(|error| self.fail("installing a snapshot", error))?;
                let snapshot = self.snapshot.take().expect("one is running");
                self.snapshot_position = snapshot.position;
                self.snapshot_segment = snapshot.segment;
                self.tail.0 -= snapshot.bytes;
                self.tail.1 -= snapshot.records;
            }
            Came::Removed(result) => {
                self.running.remove(&WorkKind::Remove);
                result.map_err(|error| self.fail("removing a segment", error))?;
            }
            Came::Probed(result) => {
                self.running.remove(&WorkKind::Probe);
                let free = result.map_err(|error| self.fail("asking for free space", error))?;
                self.low = free < self.options.free_bytes_min;
            }
        }
        Ok(())
    }

    /// A group is durable.
    fn written(&mut self, parts: Vec<Part>) {
        for mut part in parts {
            let end = part.offset + narrow(part.bytes.len());
            part.segment.end.store(end, Ordering::Release);
            part.bytes.clear();
            self.buffers.push(part.bytes);
        }
        // Two groups take turns; a third buffer is one too many.
        self.buffers.truncate(PARTS_MAX);
        let (last, protected) = self.writing;
        self.synced = last;
        self.protected = protected;
        self.shared.synced.store(last, Ordering::Release);
        while let Some((sequence, id)) = self.freeing.front().copied() {
            if self.synced < sequence {
                break;
            }
            self.freeing.pop_front();
            self.shared.forget(id);
            self.recyclable.push_back(id);
        }
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("within a segment")
}

impl Journal for FileJournal {
    fn append(
        &mut self,
        stamp: &Stamp,
        records: &[Record<'_>],
        room: Room,
    ) -> Result<Appended, AppendError> {
        self.add(stamp, Kind::Ordinary, records, room)
    }

    fn take_work(&mut self, idle: Option<&Stamp>) -> Option<Work> {
        if self.failed {
            return None;
        }
        if let Some(stamp) = idle {
            self.tick(stamp);
        }
        let job = self.next_job(idle)?;
        let fresh = self.running.insert(job.kind());
        assert!(fresh, "one work of a kind at a time");
        Some(Work(job))
    }

    fn done(&mut self, done: Done) -> Result<(), Failed> {
        self.take(done.0)
    }

    fn synced(&self) -> Sequence {
        self.synced
    }

    fn next(&self) -> Sequence {
        self.next
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        let live = self.live.iter();
        live.map(|(id, info)| SegmentInfo {
            id: SegmentId(*id),
            first: info.first,
            last: info.last,
            bytes: u64::from(info.end),
            sealed: *id != self.current.segment.id,
            wall_ms: info.wall_ms,
        })
        .collect()
    }

    fn free(&mut self, segment: SegmentId) -> Result<(), FreeError> {
        let info = self.live.get(&segment.0).ok_or(FreeError::Unknown)?;
        let sealed = segment.0 != self.current.segment.id;
        // Past the snapshot even an empty segment is a link of the chain that recovery walks.
        let linked = self.snapshot_segment < segment.0;
        if !sealed || linked || self.snapshot_position < info.last {
            return Err(FreeError::Needed);
        }
        let record = Record {
            keys: &[],
            body: &segment.0.to_le_bytes(),
        };
        let stamp = self.stamp;
        let appended = self
            .add(&stamp, Kind::Freed, &[record], Room::Reserve)
            .map_err(FreeError::Append)?;
        self.live.remove(&segment.0);
        self.freeing.push_back((appended.first, segment.0));
        Ok(())
    }

    fn snapshot(&mut self, position: Sequence, chunks: Chunks) -> Result<(), SnapshotError> {
        if self.failed {
            return Err(SnapshotError::Failed);
        }
        if self.snapshot.is_some() {
            return Err(SnapshotError::Busy);
        }
        if position != self.next - 1 || position == 0 {
            return Err(SnapshotError::Position);
        }
        let live = self.live.iter();
        let head = Head {
            position,
            segment: self.current.segment.id,
            offset: self.current.end,
            live: live
                .map(|(id, info)| Live {
                    id: *id,
                    first: info.first,
                    last: info.last,
                    end: info.end,
                    wall_ms: info.wall_ms,
                })
                .collect(),
        };
        self.snapshot = Some(Snapshotting {
            position,
            segment: self.current.segment.id,
            bytes: self.tail.0,
            records: self.tail.1,
            work: Some((head, chunks)),
            written: false,
        });
        Ok(())
    }

    fn snapshot_position(&self) -> Sequence {
        self.snapshot_position
    }

    fn snapshot_running(&self) -> bool {
        self.snapshot.is_some()
    }

    fn tail_bytes(&self) -> u64 {
        self.tail.0
    }

    fn tail_records(&self) -> u64 {
        self.tail.1
    }

    fn disk_low(&self) -> bool {
        self.low || self.full
    }

    fn reader(&self) -> Reader {
        Reader(Arc::new(FileReader(self.shared.clone())))
    }
}
