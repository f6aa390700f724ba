//! JSON bytes in, rule ids out: event patterns as EventBridge reads them.
//!
//! This crate knows no bus, no clock and no I/O; it can be read, fuzzed and measured alone. What
//! the language means is written in `event-patterns.md`, which the comments cite by section.
//!
//! | room | holds |
//! | --- | --- |
//! | [`json`] | the scanner, the check of an event at the door, places in a text |
//! | [`pattern`] | from the text of a pattern to its alternatives, and every refusal |
//! | [`wildcard`] | one wildcard: reading, matching, counting its complexity |
//! | [`oracle`] | one pattern against one event, plain and slow |
//! | [`shape`] | what a target is sent of an event |
//! | [`lint`] | what the author of a valid pattern may regret |
//! | [`explain`] | why an event matches or does not, for people |
//! | [`words`] | "did you mean" |
//! | [`rule_set`] | many patterns against one event: what the bus holds |
//!
//! Below them, for nobody else: `number`, `address` and `fold` (when two values are the same),
//! `matcher` (one item of a leaf), `fields` (an event as fields with seats), `seats` (which
//! fields may be chosen together), `scan` (over an event at the speed of bitmaps).

pub mod explain;
pub mod json;
pub mod lint;
pub mod oracle;
pub mod pattern;
pub mod rule_set;
pub mod shape;
pub mod wildcard;
pub mod words;

mod address;
mod fields;
mod fold;
mod matcher;
mod number;
mod scan;
mod seats;

pub use pattern::{Diagnostic, Pattern, PatternError};
pub use rule_set::RuleSet;
