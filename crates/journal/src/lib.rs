//! The durable ordered record under the bus: append, sync, read in order, free from the front.
//!
//! It knows no rule, no target and no event: bodies are opaque bytes, keys are opaque 128-bit
//! numbers by which records are found again. It starts no thread and reads no clock: the owner
//! calls [`Journal::append`], a disk thread runs what [`Journal::take_work`] hands out, and
//! times come in with each [`Stamp`].
//!
//! Begin with the trait [`Journal`] in `contract`. Then, from ground floor to top:
//!
//! - `contract`: the trait and its nouns.
//! - [`disk`]: what an engine asks of a disk, and the real one.
//! - [`sim`]: a disk in memory that tears writes and fails on demand.
//! - `format`: the bytes of segments, blocks and records.
//! - [`mod@file`]: the engine of segments; recovery is the place to read with most care.
//! - [`memory`]: the engine for unit tests.
//! - [`conformance`]: the promises that all engines keep, as tests.

mod contract;
pub mod disk;
mod format;

pub mod conformance;
pub mod file;
pub mod memory;
pub mod sim;

pub use contract::{
    AppendError, Appended, Chunks, Done, Failed, FreeError, Journal, Place, ReadError, Reader,
    Record, Replay, Room, SegmentId, SegmentInfo, Sequence, SnapshotError, Stamp, Work, WorkKind,
};
