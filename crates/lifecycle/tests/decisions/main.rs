//! Decisions as a whole, over documents and objects: the acceptance scenarios and what they leave out.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;
mod documents;
mod firing;
mod scan;
mod scenarios;
