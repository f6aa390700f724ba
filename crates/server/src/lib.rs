//! Everything that opens a port or a file, keeps time, and wires the bus together.
//!
//! Rooms from ground floor to top; a room uses only rooms listed before it.

pub mod bus;
pub mod clock;
pub mod config;
pub mod diagnostic;
pub mod dispatcher;
pub mod http;
pub mod intake;
pub mod metrics;
pub mod router;
pub mod rule_files;
pub mod serve;
pub mod shapers;
pub mod store;
pub mod trail;

pub mod cli;
