//! The nouns of the bus: event, ids, records, the core and its state machines, limits.
//!
//! No I/O, no async, no clock, no randomness of its own: time and random values come in.
//!
//! Start at [`core`], which says what one step of the bus is.

pub mod codec;
pub mod core;
pub mod document;
pub mod envelope;
pub mod limits;
mod line;
pub mod name;
pub mod outcome;
pub mod position;
pub mod record;
pub mod retry;
pub mod state;
