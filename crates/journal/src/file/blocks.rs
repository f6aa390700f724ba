//! Reading a segment through, block by block, and searching it for headers past a bad place.

use std::io;

use crate::contract::Sequence;
use crate::disk::{File, read_most};
use crate::format::{
    self, BLOCK_ALIGN, BLOCK_HEADER_BYTES, BlockHeader, RecordView, SEGMENT_HEADER_BYTES,
};

/// Bytes read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// A segment's file, read through a window that moves forward.
pub(crate) struct Blocks<'a> {
    file: &'a dyn File,
    segment: u64,
    mark: u64,
    /// Nothing from here on is looked at.
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
}

/// What lies at an offset.
pub(crate) enum Found<'a> {
    /// A block, all of whose records are whole. Each with its offset in the segment.
    Whole(BlockHeader, Vec<(u32, RecordView<'a>)>),
    /// A whole header with records that are not all whole: those that are, by place in the
    /// block, and the offset of the first that is not.
    Damaged(BlockHeader, Vec<(u32, RecordView<'a>)>, u32),
    /// No header of this life.
    Nothing,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(
        file: &'a dyn File,
        segment: u64,
        mark: u64,
        limit: Option<u32>,
    ) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self {
            file,
            segment,
            mark,
            limit: limit.map_or(length, |limit| length.min(u64::from(limit))),
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// At most `length` bytes at `offset`; fewer at the limit.
    fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.limit.saturating_sub(offset)).expect("below 4 GiB");
        let length = length.min(left);
        let inside = self.window_at <= offset
            && offset + length as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            let wanted = length.max(WINDOW_BYTES.min(left));
            self.window.resize(wanted, 0);
            let read = read_most(self.file, &mut self.window, offset)?;
            self.window.truncate(read);
            self.window_at = offset;
        }
        let from = usize::try_from(offset - self.window_at).expect("within the window");
        let from = from.min(self.window.len());
        let to = (from + length).min(self.window.len());
        Ok(&self.window[from..to])
    }

    /// The header at `offset`, if there is one.
    pub(crate) fn header(&mut self, offset: u32) -> io::Result<Option<BlockHeader>> {
        let (mark, segment) = (self.mark, self.segment);
        let bytes = self.bytes(u64::from(offset), BLOCK_HEADER_BYTES)?;
        Ok(BlockHeader::decode(bytes, mark, segment))
    }

    /// The block at `offset`.
    pub(crate) fn block(&mut self, offset: u32) -> io::Result<Found<'_>> {
        let Some(header) = self.header(offset)? else {
            return Ok(Found::Nothing);
        };
        let (mark, segment) = (self.mark, self.segment);
        let length = BLOCK_HEADER_BYTES + header.bytes as usize;
        let bytes = self.bytes(u64::from(offset), length)?;
        let mut records = Vec::with_capacity(header.count.min(1 << 16) as usize);
        let mut bad = None;
        let mut at = BLOCK_HEADER_BYTES;
        for place in 0..u64::from(header.count) {
            let here = offset.saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
            let rest = bytes.get(at..).unwrap_or_default();
            let Some((keys, body)) = format::record_lengths(rest) else {
                bad.get_or_insert(here);
                break;
            };
            match format::read_record(rest, mark, segment) {
                Some(record) if record.sequence == header.first + place => {
                    records.push((here, record));
                }
                _ => {
                    bad.get_or_insert(here);
                }
            }
            at += format::record_bytes(keys, body);
        }
        if bad.is_none() && (at != length || bytes.len() < length) {
            bad = Some(offset);
        }
        Ok(match bad {
            None => Found::Whole(header, records),
            Some(bad) => Found::Damaged(header, records, bad),
        })
    }

    /// The first whole header at or after `from` that `wanted` says yes to.
    pub(crate) fn find_header(
        &mut self,
        from: u32,
        mut wanted: impl FnMut(&BlockHeader) -> bool,
    ) -> io::Result<Option<(u32, BlockHeader)>> {
        let mut offset = from.max(SEGMENT_HEADER_BYTES).next_multiple_of(BLOCK_ALIGN);
        let (mark, segment) = (self.mark, self.segment);
        let begin = mark.to_le_bytes();
        while u64::from(offset) < self.limit {
            let bytes = self.bytes(u64::from(offset), WINDOW_BYTES)?;
            if bytes.len() < BLOCK_HEADER_BYTES {
                break;
            }
            // Stop before a header could reach past the window; the next one begins there.
            let steps = (bytes.len() - BLOCK_HEADER_BYTES) / BLOCK_ALIGN as usize + 1;
            let mut here = None;
            for step in 0..steps {
                let at = step * BLOCK_ALIGN as usize;
                if bytes[at..at + 8] == begin {
                    let header = BlockHeader::decode(&bytes[at..], mark, segment);
                    if let Some(header) = header.filter(&mut wanted) {
                        let at = u32::try_from(at).expect("within the window");
                        here = Some((offset + at, header));
                        break;
                    }
                }
            }
            if here.is_some() {
                return Ok(here);
            }
            offset += u32::try_from(steps).expect("within the window") * BLOCK_ALIGN;
        }
        Ok(None)
    }

    /// The highest position that any whole header at or after `from` knows to be synced.
    pub(crate) fn synced_after(&mut self, from: u32) -> io::Result<Sequence> {
        let mut highest = 0;
        self.find_header(from, |header| {
            highest = highest.max(header.synced);
            false
        })?;
        Ok(highest)
    }
}
