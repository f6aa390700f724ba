//! Everything that opens a port or a file, keeps time, and wires the bus together.
//!
//! Rooms from ground floor to top; a room uses only rooms listed before it (`tests/floors.rs` looks).

pub mod clock;
pub mod diagnostic;
pub mod config;
pub mod shapers;
pub mod history;
pub mod annex;
pub mod store;
pub mod router;
pub mod bus;
pub mod decisions;
pub mod dispatcher;
pub mod rule_files;
pub mod status;
pub mod metrics;
pub mod intake;
pub mod scheduler;
pub mod trail;
pub mod tail;
pub mod dead_letters;
pub mod http;
pub mod serve;
pub mod bench;
pub mod cli;
