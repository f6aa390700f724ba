//! Verifies everything, for `busbar data check`. Changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::contract::{Place, Replay, Sequence, Stamp};
use crate::disk::Disk;
use crate::file::blocks::{Blocks, Found};
use crate::file::index;
use crate::file::recovery::{self, OpenError};
use crate::file::segment::{Segment, Shared, index_name, segment_name};
use crate::format::SEGMENT_HEADER_BYTES;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the file within the journal's directory.
    pub file: String,
    /// Byte at which the bad place begins.
    pub offset: u64,
    /// What it is.
    pub detail: String,
    /// Records may be lost; without it the next start mends it.
    pub loss: bool,
}

struct Nobody;

impl Replay for Nobody {
    fn snapshot(&mut self, _: Sequence, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _: &Stamp, _: Sequence, _: Place, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Reads all segments, indexes and the snapshot in `dir`, and says what is damaged. No journal
/// may be open there.
#[must_use]
pub fn check(disk: &Arc<dyn Disk>, dir: &Path) -> Vec<Finding> {
    let found = match recovery::read(&**disk, dir, true, &mut Nobody) {
        Ok(found) => found,
        Err(error) => return vec![finding(&error)],
    };
    let mut findings: Vec<_> = found.accepted.iter().map(finding).collect();
    let shared = Shared::new(disk.clone(), dir, 1);
    for (id, info) in &found.live {
        let segment = Segment::new(*id, info.mark, None);
        segment.first.store(info.first, Ordering::Release);
        segment.end.store(info.end, Ordering::Release);
        if !found.walked.contains(id) {
            findings.extend(check_blocks(&shared, &segment));
        }
        let present = disk.open(&dir.join(index_name(*id))).is_ok();
        if present && index::load(&shared, &segment).is_some() && !index::verify(&shared, &segment)
        {
            findings.push(Finding {
                file: index_name(*id),
                offset: 0,
                detail: "an index, which can be made again".to_owned(),
                loss: false,
            });
        }
    }
    findings
}

fn finding(error: &OpenError) -> Finding {
    let (file, offset) = match error {
        OpenError::Damaged { file, offset, .. } => (file.clone(), *offset),
        OpenError::Io { file, .. } => (file.clone(), 0),
        OpenError::Replay(_) => (String::new(), 0),
    };
    Finding {
        file,
        offset,
        detail: error.to_string(),
        loss: true,
    }
}

/// Reads a sealed segment through.
fn check_blocks(shared: &Shared, segment: &Segment) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut bad = |offset: u32, detail: &str| {
        findings.push(Finding {
            file: segment_name(segment.id),
            offset: u64::from(offset),
            detail: detail.to_owned(),
            loss: true,
        });
    };
    let Ok(file) = shared.handle(segment) else {
        bad(0, "could not be opened");
        return findings;
    };
    let blocks = Blocks::new(&*file, segment.id, segment.mark, Some(segment.end()));
    let Ok(mut blocks) = blocks else {
        bad(0, "could not be read");
        return findings;
    };
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset < segment.end() {
        let header = match blocks.block(offset) {
            Ok(Found::Whole(header, _)) => header,
            Ok(Found::Damaged(header, _, place)) => {
                bad(place, "a damaged record");
                header
            }
            Ok(Found::Nothing) => {
                bad(offset, "a damaged block");
                match blocks.find_header(offset, |_| true) {
                    Ok(Some((next, _))) => {
                        offset = next;
                        continue;
                    }
                    _ => break,
                }
            }
            Err(_) => {
                bad(offset, "could not be read");
                break;
            }
        };
        let length = u32::try_from(header.block_bytes()).unwrap_or(u32::MAX);
        offset = offset.saturating_add(length);
    }
    findings
}
