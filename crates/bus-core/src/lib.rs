//! The nouns of the bus: event, ids, records, the core and its state machines, limits.
//!
//! No I/O, no async, no clock, no randomness of its own: time and random values come in.

pub mod outcome;
pub mod position;
