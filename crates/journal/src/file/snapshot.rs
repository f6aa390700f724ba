//! A snapshot's file: where the tail begins, which segments live, and the caller's chunks.
//!
//! ```text
//! head   magic · position · segment · offset · count · live segments (48 bytes each) · crc
//! chunk  length · crc · bytes, and so on
//! foot   length 0xffff_ffff · crc over the number of chunks
//! ```

use std::io;
use std::path::Path;

use crate::contract::{Chunks, Sequence};
use crate::disk::{Disk, File, read_most, write_all};
use crate::format::{get_u32, get_u64};

const MAGIC: [u8; 8] = *b"BUSBARS\x01";
const HEAD_BYTES: usize = 40;
const LIVE_BYTES: usize = 48;
const FOOT: u32 = u32::MAX;
/// Largest chunk.
const CHUNK_BYTES_MAX: u32 = 1 << 30;
/// Chunks are gathered to writes of this size.
const WRITE_BYTES: usize = 1 << 20;

/// A segment that lived when the snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Live {
    pub id: u64,
    pub first: Sequence,
    pub last: Sequence,
    pub end: u32,
    pub wall_ms: i64,
}

/// What the engine keeps with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub position: Sequence,
    /// The segment that was open, and where the tail begins in it.
    pub segment: u64,
    pub offset: u32,
    pub live: Vec<Live>,
}

impl Head {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&u64::from(self.offset).to_le_bytes());
        bytes.extend_from_slice(&(self.live.len() as u64).to_le_bytes());
        for live in &self.live {
            bytes.extend_from_slice(&live.id.to_le_bytes());
            bytes.extend_from_slice(&live.first.to_le_bytes());
            bytes.extend_from_slice(&live.last.to_le_bytes());
            bytes.extend_from_slice(&u64::from(live.end).to_le_bytes());
            bytes.extend_from_slice(&live.wall_ms.to_le_bytes());
            bytes.extend_from_slice(&[0; 8]);
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// Writes and syncs a snapshot under its draft name.
pub(crate) fn write(disk: &dyn Disk, draft: &Path, head: &Head, chunks: Chunks) -> io::Result<()> {
    let file = match disk.create(draft) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(draft)?;
            disk.create(draft)?
        }
        result => result?,
    };
    let mut bytes = head.encode();
    let mut offset = 0;
    let mut count: u64 = 0;
    for chunk in chunks {
        let length = u32::try_from(chunk.len()).unwrap_or(FOOT);
        if CHUNK_BYTES_MAX < length {
            return Err(io::Error::other("a snapshot's chunk is larger than 1 GiB"));
        }
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&chunk).to_le_bytes());
        bytes.extend_from_slice(&chunk);
        count += 1;
        if WRITE_BYTES <= bytes.len() {
            write_all(&*file, &bytes, offset)?;
            offset += bytes.len() as u64;
            bytes.clear();
        }
    }
    bytes.extend_from_slice(&FOOT.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&count.to_le_bytes()).to_le_bytes());
    write_all(&*file, &bytes, offset)?;
    file.sync_data()
}

/// Why a snapshot was not read to its end.
pub(crate) enum SnapshotFault {
    Io(io::Error),
    /// Damaged from this byte on.
    Damaged(u64),
    Replay(String),
}

impl From<io::Error> for SnapshotFault {
    fn from(error: io::Error) -> Self {
        SnapshotFault::Io(error)
    }
}

fn exactly(file: &dyn File, length: usize, offset: u64) -> Result<Vec<u8>, SnapshotFault> {
    // A damaged length must not become an allocation.
    if file.len()? < offset + length as u64 {
        return Err(SnapshotFault::Damaged(offset));
    }
    let mut bytes = vec![0; length];
    if read_most(file, &mut bytes, offset)? < length {
        return Err(SnapshotFault::Damaged(offset));
    }
    Ok(bytes)
}

/// Reads the head, and says where the chunks begin.
pub(crate) fn head(file: &dyn File, position: Sequence) -> Result<(Head, u64), SnapshotFault> {
    let bytes = exactly(file, HEAD_BYTES, 0)?;
    let count = get_u64(&bytes, 32);
    let known = bytes[..8] == MAGIC && get_u64(&bytes, 8) == position;
    if !known || file.len()? / (LIVE_BYTES as u64) < count {
        return Err(SnapshotFault::Damaged(0));
    }
    let count = usize::try_from(count).expect("below the file's length");
    let length = HEAD_BYTES + LIVE_BYTES * count;
    let bytes = exactly(file, length + 4, 0)?;
    if get_u32(&bytes, length) != crc32fast::hash(&bytes[..length]) {
        return Err(SnapshotFault::Damaged(0));
    }
    let narrow = |at| u32::try_from(get_u64(&bytes, at)).map_err(|_| SnapshotFault::Damaged(0));
    let mut live = Vec::with_capacity(count);
    for number in 0..count {
        let at = HEAD_BYTES + LIVE_BYTES * number;
        live.push(Live {
            id: get_u64(&bytes, at),
            first: get_u64(&bytes, at + 8),
            last: get_u64(&bytes, at + 16),
            end: narrow(at + 24)?,
            wall_ms: get_u64(&bytes, at + 32).cast_signed(),
        });
    }
    let head = Head {
        position,
        segment: get_u64(&bytes, 16),
        offset: narrow(24)?,
        live,
    };
    Ok((head, length as u64 + 4))
}

/// Gives each chunk from `offset` on to `take`.
pub(crate) fn chunks(
    file: &dyn File,
    mut offset: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), SnapshotFault> {
    let mut count: u64 = 0;
    loop {
        let header = exactly(file, 8, offset)?;
        let (length, crc) = (get_u32(&header, 0), get_u32(&header, 4));
        if length == FOOT {
            if crc != crc32fast::hash(&count.to_le_bytes()) {
                return Err(SnapshotFault::Damaged(offset));
            }
            return Ok(());
        }
        let chunk = exactly(file, length as usize, offset + 8)?;
        if crc != crc32fast::hash(&chunk) {
            return Err(SnapshotFault::Damaged(offset));
        }
        take(&chunk).map_err(SnapshotFault::Replay)?;
        count += 1;
        offset += 8 + u64::from(length);
    }
}
