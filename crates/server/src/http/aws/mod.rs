//! The two APIs that AWS clients speak.

pub mod events;
pub mod sqs;
