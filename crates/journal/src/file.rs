//! The engine on files: a chain of segments of fixed size, synced by groups.
//!
//! Appending copies into a buffer; one write and one sync make the whole group durable while
//! the next group forms. Segments are made ahead, so that a full disk is known before anything
//! is appended. Given-back segments are recycled: an overwritten block syncs faster than a
//! fresh one.
//!
//! Rooms, from ground floor to top: `segment` (files by name, handles), `blocks` (reading a
//! segment through), `index` (keys of a sealed segment), `snapshot` (its file), `job` (what runs
//! on disk threads), `reader`, `recovery` (what the disk holds after whatever happened),
//! `engine` (the [`Journal`](crate::Journal)), `check`.
//!
//! Begin at [`open`].

mod blocks;
mod check;
mod engine;
mod index;
mod job;
mod reader;
mod recovery;
mod segment;
mod snapshot;

pub use check::{Finding, check};
pub use engine::{FileJournal, Options, open};
pub(crate) use job::{Came, Job};
pub use recovery::OpenError;
