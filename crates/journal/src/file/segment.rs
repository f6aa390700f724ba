//! Segments as readers and the engine share them, and the names of files.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::contract::Sequence;
use crate::disk::{Disk, File, write_all};
use crate::format;

/// Name of a snapshot that is being written.
pub(crate) const SNAPSHOT_TMP: &str = "snapshot.tmp";

pub(crate) fn segment_name(id: u64) -> String {
    format!("{id:016x}.segment")
}

pub(crate) fn index_name(id: u64) -> String {
    format!("{id:016x}.index")
}

pub(crate) fn snapshot_name(position: Sequence) -> String {
    format!("{position:016x}.snapshot")
}

/// The number in a name of the form `<16 hex digits>.<ending>`.
pub(crate) fn number_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?.strip_suffix('.')?;
    let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// Keys and landmarks of one segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    /// Where the keys are.
    pub table: Table,
    /// Some blocks, by first sequence and offset, so that a scan can begin near its goal.
    pub landmarks: Vec<(Sequence, u32)>,
}

/// Bytes from one landmark to the next, at least.
pub(crate) const LANDMARK_BYTES: u32 = 64 << 10;

impl Keys {
    /// Notes a block that begins at `offset` with `first`.
    pub(crate) fn landmark(&mut self, first: Sequence, offset: u32) {
        let near = self.landmarks.last();
        if near.is_none_or(|&(_, last)| LANDMARK_BYTES <= offset - last) {
            self.landmarks.push((first, offset));
        }
    }
}

/// Where a segment's keys are.
#[derive(Debug, Clone)]
pub(crate) enum Table {
    /// In memory, by offset: the open segment, and a sealed one until its index is written.
    Memory(Vec<(u128, u32)>),
    /// In the index file, this many.
    File(u32),
}

impl Default for Table {
    fn default() -> Self {
        Table::Memory(Vec::new())
    }
}

/// One life of a segment file.
pub(crate) struct Segment {
    pub id: u64,
    pub mark: u64,
    /// First sequence; set when the segment is begun.
    pub first: AtomicU64,
    /// Bytes up to here are synced blocks.
    pub end: AtomicU32,
    keys: Mutex<Keys>,
    /// The handle, kept while the segment is written to.
    pinned: Mutex<Option<Arc<dyn File>>>,
}

impl Segment {
    pub(crate) fn new(id: u64, mark: u64, file: Option<Arc<dyn File>>) -> Self {
        Self {
            id,
            mark,
            first: AtomicU64::new(0),
            end: AtomicU32::new(format::SEGMENT_HEADER_BYTES),
            keys: Mutex::default(),
            pinned: Mutex::new(file),
        }
    }

    pub(crate) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn first(&self) -> Sequence {
        self.first.load(Ordering::Acquire)
    }

    /// Lets the handle go: from now on readers open the file when they need it.
    pub(crate) fn unpin(&self) {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        *pinned = None;
    }

    pub(crate) fn pinned(&self) -> Option<Arc<dyn File>> {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.clone()
    }
}

/// What the engine and its readers share.
pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub synced: AtomicU64,
    segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// Open handles of sealed segments, newest use last.
    handles: Mutex<VecDeque<(u64, Arc<dyn File>)>>,
    handles_max: usize,
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, handles_max: usize) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            synced: AtomicU64::new(0),
            segments: RwLock::default(),
            handles: Mutex::default(),
            handles_max,
        }
    }

    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segments_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        let guard = self.segments.write();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a segment from the readers. One that reads it just now sees another life's bytes,
    /// which no checksum lets pass, and then that the segment is gone.
    pub(crate) fn forget(&self, id: u64) {
        self.segments_mut().remove(&id);
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|(held, _)| *held != id);
    }

    /// A handle of a segment's file.
    pub(crate) fn handle(&self, segment: &Segment) -> io::Result<Arc<dyn File>> {
        if let Some(file) = segment.pinned() {
            return Ok(file);
        }
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = handles.iter().position(|(id, _)| *id == segment.id) {
            let held = handles.remove(at).expect("just found");
            let file = held.1.clone();
            handles.push_back(held);
            return Ok(file);
        }
        let file = self.disk.open(&self.dir.join(segment_name(segment.id)))?;
        while self.handles_max <= handles.len() {
            handles.pop_front();
        }
        handles.push_back((segment.id, file.clone()));
        Ok(file)
    }
}

/// Makes a segment file that is ready for blocks, from a given-back one if there is one.
///
/// The header is durable before the name is, so that a file with a segment's name always has
/// the header that goes with it: any other is damage.
pub(crate) fn prepare(
    disk: &dyn Disk,
    dir: &Path,
    header: format::SegmentHeader,
    recycled: Option<u64>,
) -> io::Result<Arc<dyn File>> {
    let (id, bytes) = (header.segment, header.bytes);
    let path = dir.join(segment_name(id));
    let draft = dir.join(format!("{}.tmp", segment_name(id)));
    let made = (|| {
        let file = if let Some(old) = recycled {
            // The index is of no use any more, and of no harm either.
            let _ = disk.remove(&dir.join(index_name(old)));
            disk.rename(&dir.join(segment_name(old)), &draft)?;
            disk.open(&draft)?
        } else {
            disk.create(&draft)?
        };
        if file.len()? < u64::from(bytes) {
            file.allocate(u64::from(bytes))?;
        }
        write_all(&*file, &header.encode(), 0)?;
        file.sync_data()?;
        disk.rename(&draft, &path)?;
        disk.sync_dir(dir)?;
        Ok(file)
    })();
    if made.is_err() {
        let _ = disk.remove(&draft);
    }
    made
}
