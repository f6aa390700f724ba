//! The two APIs that AWS clients speak.

pub mod constraints;
pub mod events;
pub mod sqs;
