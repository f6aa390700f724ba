//! Everything that opens a port or a file, keeps time, and wires the bus together.
//!
//! Rooms from ground floor to top; a room uses only rooms listed before it.

pub mod bench;
pub mod bus;
pub mod clock;
pub mod config;
pub mod dead_letters;
pub mod diagnostic;
pub mod dispatcher;
pub mod http;
pub mod intake;
pub mod metrics;
pub mod router;
pub mod rule_files;
pub mod serve;
pub mod shapers;
pub mod status;
pub mod store;
pub mod tail;
pub mod trail;

pub mod cli;
