//! The key index of a sealed segment: a file of sorted (key, offset), read by pages.
//!
//! ```text
//! header (48 bytes) · landmarks (12 bytes each) · crc · padding to 4 KiB · page · page · …
//! page    204 entries of 20 bytes · padding · crc
//! ```
//!
//! It is made of the segment and can be made again: a damaged one costs time, nothing else.

use std::io;
use std::sync::Arc;

use crate::contract::Sequence;
use crate::disk::{Disk, File, read_most, write_all};
use crate::file::blocks::{Blocks, Found};
use crate::file::segment::{Keys, Segment, Shared, Table, index_name};
use crate::format::{self, get_u32, get_u64, get_u128};

const MAGIC: [u8; 8] = *b"BUSBARI\x01";
const HEADER_BYTES: usize = 48;
const LANDMARK_BYTES: usize = 12;
const PAGE_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 20;
const PAGE_ENTRIES: usize = (PAGE_BYTES - 4) / ENTRY_BYTES;

/// Writes the index of `segment`, whose keys are in memory, and gives the number of keys.
pub(crate) fn write(shared: &Shared, segment: &Segment) -> io::Result<u32> {
    let Keys { table, landmarks } = segment.keys().clone();
    let Table::Memory(mut keys) = table else {
        unreachable!("an index is written once");
    };
    keys.sort_unstable();
    let count = u32::try_from(keys.len()).expect("fewer keys than bytes in a segment");
    let bytes = encode(segment, &keys, &landmarks);
    let path = shared.dir.join(index_name(segment.id));
    let draft = shared.dir.join(format!("{}.tmp", index_name(segment.id)));
    let written = (|| {
        let file = create(&*shared.disk, &draft)?;
        write_all(&*file, &bytes, 0)?;
        file.sync_data()?;
        shared.disk.rename(&draft, &path)?;
        shared.disk.sync_dir(&shared.dir)
    })();
    if written.is_err() {
        let _ = shared.disk.remove(&draft);
    }
    written.map(|()| count)
}

fn create(disk: &dyn Disk, path: &std::path::Path) -> io::Result<Arc<dyn File>> {
    match disk.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path)?;
            disk.create(path)
        }
        result => result,
    }
}

fn encode(segment: &Segment, keys: &[(u128, u32)], landmarks: &[(Sequence, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&segment.id.to_le_bytes());
    bytes.extend_from_slice(&segment.mark.to_le_bytes());
    bytes.extend_from_slice(&segment.first().to_le_bytes());
    bytes.extend_from_slice(&segment.end().to_le_bytes());
    for count in [keys.len(), landmarks.len(), 0] {
        let count = u32::try_from(count).expect("fewer than bytes in a segment");
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    assert_eq!(bytes.len(), HEADER_BYTES);
    for (first, offset) in landmarks {
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.resize(format::pad(bytes.len(), PAGE_BYTES), 0);
    for page in keys.chunks(PAGE_ENTRIES) {
        let start = bytes.len();
        for (key, offset) in page {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
        bytes.resize(start + PAGE_BYTES - 4, 0);
        let crc = crc32fast::hash(&bytes[start..]);
        bytes.extend_from_slice(&crc.to_le_bytes());
    }
    bytes
}

fn pages_at(landmarks: usize) -> u64 {
    format::pad(HEADER_BYTES + LANDMARK_BYTES * landmarks + 4, PAGE_BYTES) as u64
}

/// Reads number of keys and landmarks from an index file; `None` if it is missing, damaged, or
/// of another life or length of the segment.
pub(crate) fn load(shared: &Shared, segment: &Segment) -> Option<Keys> {
    let path = shared.dir.join(index_name(segment.id));
    let file = shared.disk.open(&path).ok()?;
    let mut header = [0; HEADER_BYTES];
    if read_most(&*file, &mut header, 0).ok()? < HEADER_BYTES {
        return None;
    }
    let count = get_u32(&header, 36);
    let landmarks = get_u32(&header, 40) as usize;
    let known = header[..8] == MAGIC
        && get_u64(&header, 8) == segment.id
        && get_u64(&header, 16) == segment.mark
        && get_u64(&header, 24) == segment.first()
        && get_u32(&header, 32) == segment.end();
    // The count is not verified yet: a file too short for it says no before it is believed.
    let pages = (count as usize).div_ceil(PAGE_ENTRIES);
    let length = pages_at(landmarks) + (pages * PAGE_BYTES) as u64;
    if !known || file.len().ok()? != length {
        return None;
    }
    let mut bytes = vec![0; HEADER_BYTES + LANDMARK_BYTES * landmarks + 4];
    if read_most(&*file, &mut bytes, 0).ok()? < bytes.len() {
        return None;
    }
    let body = bytes.len() - 4;
    if get_u32(&bytes, body) != crc32fast::hash(&bytes[..body]) {
        return None;
    }
    let places = bytes[HEADER_BYTES..body].chunks_exact(LANDMARK_BYTES);
    Some(Keys {
        table: Table::File(count),
        landmarks: places
            .map(|place| (get_u64(place, 0), get_u32(place, 8)))
            .collect(),
    })
}

/// Makes keys and landmarks again by reading the segment. What is damaged is passed over.
pub(crate) fn rebuild(file: &dyn File, segment: &Segment) -> io::Result<Keys> {
    let mut keys = Keys::default();
    let mut found = Vec::new();
    let mut blocks = Blocks::new(file, segment.id, segment.mark, Some(segment.end()))?;
    let mut offset = format::SEGMENT_HEADER_BYTES;
    while let Some((at, header)) = blocks.find_header(offset, |_| true)? {
        keys.landmark(header.first, at);
        let (Found::Whole(_, records) | Found::Damaged(_, records, _)) = blocks.block(at)? else {
            unreachable!("its header was just read");
        };
        for (place, record) in records {
            found.extend(record.keys().map(|key| (key, place)));
        }
        let length = u32::try_from(header.block_bytes()).unwrap_or(u32::MAX);
        offset = at.saturating_add(length);
    }
    keys.table = Table::Memory(found);
    Ok(keys)
}

/// Offsets of the records with `key`; `None` if the index is damaged or gone.
pub(crate) fn find(shared: &Shared, segment: &Segment, key: u128, keys: &Keys) -> Option<Vec<u32>> {
    let count = match &keys.table {
        Table::Memory(keys) => {
            let with = keys.iter().filter(|(held, _)| *held == key);
            return Some(with.map(|(_, offset)| *offset).collect());
        }
        Table::File(count) => *count as usize,
    };
    let file = shared.disk.open(&shared.dir.join(index_name(segment.id)));
    let file = file.ok()?;
    let first_page = pages_at(keys.landmarks.len());
    let mut page = vec![0; PAGE_BYTES];
    let mut read_page = |number: usize| {
        let read = read_most(&*file, &mut page, first_page + (number * PAGE_BYTES) as u64);
        let whole = read.ok()? == PAGE_BYTES
            && get_u32(&page, PAGE_BYTES - 4) == crc32fast::hash(&page[..PAGE_BYTES - 4]);
        let entries = (count - number * PAGE_ENTRIES).min(PAGE_ENTRIES);
        whole.then(|| page[..entries * ENTRY_BYTES].to_vec())
    };
    let pages = count.div_ceil(PAGE_ENTRIES);
    // The first page that may hold the key is the last one that begins below it.
    let (mut low, mut high) = (0, pages);
    while low < high {
        let middle = low.midpoint(high);
        if get_u128(&read_page(middle)?, 0) < key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let mut offsets = Vec::new();
    for number in low.saturating_sub(1)..pages {
        for entry in read_page(number)?.chunks_exact(ENTRY_BYTES) {
            let held = get_u128(entry, 0);
            if key < held {
                return Some(offsets);
            }
            if held == key {
                offsets.push(get_u32(entry, 16));
            }
        }
    }
    Some(offsets)
}

/// Verifies all pages; `false` if any is damaged.
pub(crate) fn verify(shared: &Shared, segment: &Segment) -> bool {
    let Some(keys) = load(shared, segment) else {
        return false;
    };
    let Table::File(count) = keys.table else {
        unreachable!("load gives files");
    };
    let Ok(file) = shared.disk.open(&shared.dir.join(index_name(segment.id))) else {
        return false;
    };
    let mut page = vec![0; PAGE_BYTES];
    let mut at = pages_at(keys.landmarks.len());
    for _ in 0..(count as usize).div_ceil(PAGE_ENTRIES) {
        let read = read_most(&*file, &mut page, at).unwrap_or(0);
        if read < PAGE_BYTES
            || get_u32(&page, PAGE_BYTES - 4) != crc32fast::hash(&page[..PAGE_BYTES - 4])
        {
            return false;
        }
        at += PAGE_BYTES as u64;
    }
    true
}
