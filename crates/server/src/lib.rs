//! Everything that opens a port or a file, keeps time, and wires the bus together.
//!
//! Rooms from ground floor to top; a room uses only rooms listed before it.

pub mod clock;
pub mod config;
pub mod shapers;
pub mod store;
pub mod router;
pub mod bus;
pub mod dispatcher;
