//! What runs on disk threads: each job owns all that it needs, and tells what it came to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::contract::{Chunks, Sequence, WorkKind};
use crate::disk::{Disk, File, write_all};
use crate::file::index;
use crate::file::segment::{self, SNAPSHOT_TMP, Segment, Shared, index_name, segment_name};
use crate::file::snapshot::{self, Head};
use crate::format::SegmentHeader;

/// A part of a group: what goes to one segment.
pub(crate) struct Part {
    pub segment: Arc<Segment>,
    pub file: Arc<dyn File>,
    /// Where the bytes go.
    pub offset: u32,
    pub bytes: Vec<u8>,
    /// Where blocks begin within the bytes.
    pub blocks: Vec<u32>,
}

/// A piece of work.
pub(crate) enum Job {
    Write(Vec<Part>),
    Prepare {
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        header: SegmentHeader,
        recycled: Option<u64>,
    },
    Index {
        shared: Arc<Shared>,
        segment: Arc<Segment>,
    },
    Snapshot {
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        head: Head,
        chunks: Chunks,
    },
    Install {
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        position: Sequence,
        /// The snapshot that it replaces; 0 if none.
        old: Sequence,
    },
    Remove {
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        id: u64,
    },
    Probe {
        disk: Arc<dyn Disk>,
        dir: PathBuf,
    },
}

/// What a piece of work came to.
pub(crate) enum Came {
    Written(Vec<Part>, io::Result<()>),
    /// The handle; free bytes where they could be asked.
    Prepared(SegmentHeader, Option<u64>, io::Result<Arc<dyn File>>),
    Indexed(Arc<Segment>, io::Result<u32>),
    Snapshot(io::Result<()>),
    Installed(io::Result<()>),
    Removed(io::Result<()>),
    Probed(io::Result<u64>),
}

impl Job {
    pub(crate) fn kind(&self) -> WorkKind {
        match self {
            Job::Write(_) => WorkKind::Write,
            Job::Prepare { .. } => WorkKind::Prepare,
            Job::Index { .. } => WorkKind::Index,
            Job::Snapshot { .. } => WorkKind::Snapshot,
            Job::Install { .. } => WorkKind::Install,
            Job::Remove { .. } => WorkKind::Remove,
            Job::Probe { .. } => WorkKind::Probe,
        }
    }

    pub(crate) fn run(self) -> Came {
        match self {
            Job::Write(parts) => {
                let result = write(&parts);
                Came::Written(parts, result)
            }
            Job::Prepare {
                disk,
                dir,
                header,
                recycled,
            } => {
                let made = segment::prepare(&*disk, &dir, header, recycled);
                Came::Prepared(header, disk.free_bytes(&dir).ok(), made)
            }
            Job::Index { shared, segment } => {
                let result = index::write(&shared, &segment);
                Came::Indexed(segment, result)
            }
            Job::Snapshot {
                disk,
                dir,
                head,
                chunks,
            } => {
                let draft = dir.join(SNAPSHOT_TMP);
                let result = snapshot::write(&*disk, &draft, &head, chunks);
                if result.is_err() {
                    let _ = disk.remove(&draft);
                }
                Came::Snapshot(result)
            }
            Job::Install {
                disk,
                dir,
                position,
                old,
            } => {
                let path = dir.join(segment::snapshot_name(position));
                let result = disk
                    .rename(&dir.join(SNAPSHOT_TMP), &path)
                    .and_then(|()| disk.sync_dir(&dir));
                if result.is_ok() && old != 0 && old != position {
                    // One that stays is removed at the next start.
                    let _ = disk.remove(&dir.join(segment::snapshot_name(old)));
                }
                Came::Installed(result)
            }
            Job::Remove { disk, dir, id } => {
                let _ = disk.remove(&dir.join(index_name(id)));
                Came::Removed(disk.remove(&dir.join(segment_name(id))))
            }
            Job::Probe { disk, dir } => Came::Probed(disk.free_bytes(&dir)),
        }
    }
}

/// Writes all parts, then syncs each: the order in which they become durable does not matter.
fn write(parts: &[Part]) -> io::Result<()> {
    for part in parts {
        write_all(&*part.file, &part.bytes, u64::from(part.offset))?;
    }
    for part in parts {
        part.file.sync_data()?;
    }
    Ok(())
}
