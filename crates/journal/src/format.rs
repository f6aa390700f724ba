//! The bytes of a segment: its header, blocks, records. Pure; all numbers little-endian.
//!
//! ```text
//! segment  header (4 KiB) · block · block · …
//! block    header (80 bytes) · record · record · … · padding to 64
//! record   header (32 bytes) · keys (16 bytes each) · body · padding to 8
//! ```
//!
//! Each segment has a `mark`, a number that nobody outside can guess. A block begins with it
//! and record checksums start from it, so that a body that looks like a block is never taken
//! for one when recovery searches past a bad place.

use crate::contract::{Sequence, Stamp};

/// Bytes before the first block.
pub(crate) const SEGMENT_HEADER_BYTES: u32 = 4096;
/// Blocks begin at multiples of this.
pub(crate) const BLOCK_ALIGN: u32 = 64;
/// Bytes of a block's header.
pub(crate) const BLOCK_HEADER_BYTES: usize = 80;
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
/// Bytes of a block without records.
pub(crate) const BLOCK_EMPTY_BYTES: u32 = 128;
/// How a segment's file begins; the last byte is the format's number.
const SEGMENT_MAGIC: [u8; 8] = *b"BUSBARJ\x01";

const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(BLOCK_ALIGN));
const _: () = assert!(BLOCK_HEADER_BYTES <= BLOCK_EMPTY_BYTES as usize);

pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn get_u128(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}

pub(crate) fn pad(length: usize, to: usize) -> usize {
    length.next_multiple_of(to)
}

/// The mark of a segment: differs for each life, and cannot be guessed without the seed.
pub(crate) fn mark(seed: u64, segment: u64) -> u64 {
    // The finisher of splitmix64: every bit of the seed reaches every bit of the mark.
    let mut mixed = seed ^ segment.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub segment: u64,
    pub mark: u64,
    /// The segment that was made before this one, durable when this one was begun; so that one
    /// that vanished is missed even if nothing was written after it.
    pub before: u64,
    /// Length of the file until the segment is sealed.
    pub bytes: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.mark.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.before.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header, if it is whole and of this life.
    pub(crate) fn decode(bytes: &[u8], segment: u64) -> Option<SegmentHeader> {
        let whole = bytes.len() >= 40
            && bytes[..8] == SEGMENT_MAGIC
            && get_u64(bytes, 8) == segment
            && get_u32(bytes, 36) == crc32fast::hash(&bytes[..36]);
        whole.then(|| SegmentHeader {
            segment,
            mark: get_u64(bytes, 16),
            before: get_u64(bytes, 24),
            bytes: get_u32(bytes, 32),
        })
    }
}

/// A block's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub mark: u64,
    pub segment: u64,
    /// Sequence of the first record; of the record to come, if there is none.
    pub first: Sequence,
    /// Position known to be synced when the block was written.
    pub synced: Sequence,
    pub stamp: Stamp,
    /// The segment before this one in the chain; 0 for the first of all.
    pub previous: u64,
    /// Where the segment before ends. What lies beyond was cut and is never read.
    pub previous_end: u32,
    pub count: u32,
    /// Bytes of all records.
    pub bytes: u32,
}

impl BlockHeader {
    pub(crate) fn encode(&self, into: &mut [u8]) {
        into[0..8].copy_from_slice(&self.mark.to_le_bytes());
        into[8..16].copy_from_slice(&self.segment.to_le_bytes());
        into[16..24].copy_from_slice(&self.first.to_le_bytes());
        into[24..32].copy_from_slice(&self.synced.to_le_bytes());
        into[32..40].copy_from_slice(&self.stamp.wall_ms.to_le_bytes());
        into[40..48].copy_from_slice(&self.stamp.running_ms.to_le_bytes());
        into[48..56].copy_from_slice(&self.stamp.rules_version.to_le_bytes());
        into[56..64].copy_from_slice(&self.previous.to_le_bytes());
        into[64..68].copy_from_slice(&self.previous_end.to_le_bytes());
        into[68..72].copy_from_slice(&self.count.to_le_bytes());
        into[72..76].copy_from_slice(&self.bytes.to_le_bytes());
        seal_header(into, self.synced);
    }

    /// Reads a header, if it is whole and belongs to this life of this segment.
    pub(crate) fn decode(bytes: &[u8], mark: u64, segment: u64) -> Option<BlockHeader> {
        if bytes.len() < BLOCK_HEADER_BYTES
            || get_u64(bytes, 0) != mark
            || get_u64(bytes, 8) != segment
            || get_u32(bytes, 76) != crc32fast::hash(&bytes[..76])
        {
            return None;
        }
        Some(BlockHeader {
            mark,
            segment,
            first: get_u64(bytes, 16),
            synced: get_u64(bytes, 24),
            stamp: Stamp {
                wall_ms: get_u64(bytes, 32).cast_signed(),
                running_ms: get_u64(bytes, 40),
                rules_version: get_u64(bytes, 48),
            },
            previous: get_u64(bytes, 56),
            previous_end: get_u32(bytes, 64),
            count: get_u32(bytes, 68),
            bytes: get_u32(bytes, 72),
        })
    }

    /// Bytes of the whole block, padding included.
    pub(crate) fn block_bytes(&self) -> usize {
        pad(
            BLOCK_HEADER_BYTES + self.bytes as usize,
            BLOCK_ALIGN as usize,
        )
    }
}

/// Sets the synced position of an encoded header, which is known only when it is written.
pub(crate) fn seal_header(header: &mut [u8], synced: Sequence) {
    header[24..32].copy_from_slice(&synced.to_le_bytes());
    let crc = crc32fast::hash(&header[..76]);
    header[76..80].copy_from_slice(&crc.to_le_bytes());
}

/// Who wrote a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The caller.
    Ordinary,
    /// This engine: the body is the id of a segment that was given back.
    Freed,
}

/// A record as it lies in a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordView<'a> {
    pub sequence: Sequence,
    pub kind: Kind,
    /// Keys, 16 bytes each.
    pub keys: &'a [u8],
    pub body: &'a [u8],
}

impl RecordView<'_> {
    pub(crate) fn keys(&self) -> impl Iterator<Item = u128> + '_ {
        self.keys.chunks_exact(16).map(|key| get_u128(key, 0))
    }
}

/// Bytes that a record takes, padding included.
pub(crate) fn record_bytes(keys: usize, body: usize) -> usize {
    pad(RECORD_HEADER_BYTES + 16 * keys + body, 8)
}

fn record_crc(mark: u64, bytes: &[u8]) -> u32 {
    let seed = (mark ^ (mark >> 32)) & 0xffff_ffff;
    let mut hasher = crc32fast::Hasher::new_with_initial(u32::try_from(seed).expect("masked"));
    hasher.update(bytes);
    hasher.finalize()
}

/// Appends a record to a buffer.
pub(crate) fn put_record(
    into: &mut Vec<u8>,
    mark: u64,
    segment: u64,
    sequence: Sequence,
    kind: Kind,
    keys: &[u128],
    body: &[u8],
) {
    let start = into.len();
    let mut header = [0; RECORD_HEADER_BYTES];
    let length = u32::try_from(body.len()).expect("a block is smaller than 4 GiB");
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16..24].copy_from_slice(&segment.to_le_bytes());
    let count = u16::try_from(keys.len()).expect("checked by append");
    header[24..26].copy_from_slice(&count.to_le_bytes());
    header[26..28].copy_from_slice(&u16::from(kind == Kind::Freed).to_le_bytes());
    into.extend_from_slice(&header);
    for key in keys {
        into.extend_from_slice(&key.to_le_bytes());
    }
    into.extend_from_slice(body);
    let crc = record_crc(mark, &into[start + 4..]);
    into[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    into.resize(start + record_bytes(keys.len(), body.len()), 0);
}

/// Lengths that a record's header tells, unverified: number of keys, bytes of the body.
pub(crate) fn record_lengths(header: &[u8]) -> Option<(usize, usize)> {
    (header.len() >= RECORD_HEADER_BYTES)
        .then(|| (get_u16(header, 24) as usize, get_u32(header, 4) as usize))
}

/// Reads the record at the start of `bytes`, if it is whole and of this life.
pub(crate) fn read_record(bytes: &[u8], mark: u64, segment: u64) -> Option<RecordView<'_>> {
    let (keys, body) = record_lengths(bytes)?;
    let end = RECORD_HEADER_BYTES + 16 * keys + body;
    if bytes.len() < end
        || get_u64(bytes, 16) != segment
        || get_u32(bytes, 0) != record_crc(mark, &bytes[4..end])
    {
        return None;
    }
    let kind = match get_u16(bytes, 26) {
        0 => Kind::Ordinary,
        1 if body == 8 => Kind::Freed,
        _ => return None,
    };
    let keys_end = RECORD_HEADER_BYTES + 16 * keys;
    Some(RecordView {
        sequence: get_u64(bytes, 8),
        kind,
        keys: &bytes[RECORD_HEADER_BYTES..keys_end],
        body: &bytes[keys_end..end],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            mark: 7,
            segment: 3,
            first: 10,
            synced: 9,
            stamp: Stamp {
                wall_ms: -1,
                running_ms: 2,
                rules_version: 5,
            },
            previous: 2,
            previous_end: 4096,
            count: 1,
            bytes: 48,
        }
    }

    #[test]
    fn a_block_header_comes_back_as_it_was() {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        header().encode(&mut bytes);
        assert_eq!(BlockHeader::decode(&bytes, 7, 3), Some(header()));
    }

    #[test]
    fn a_header_of_another_life_is_none() {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        header().encode(&mut bytes);
        assert_eq!(BlockHeader::decode(&bytes, 7, 4), None);
        assert_eq!(BlockHeader::decode(&bytes, 8, 3), None);
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_seen() {
        let mut bytes = Vec::new();
        put_record(&mut bytes, 7, 3, 10, Kind::Ordinary, &[1, 2], b"body");
        let end = RECORD_HEADER_BYTES + 32 + 4;
        for bit in 0..end * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read_record(&bad, 7, 3).is_none(), "bit {bit}");
        }
        let view = read_record(&bytes, 7, 3).unwrap();
        assert_eq!(view.keys().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(view.body, b"body");
    }
}
