//! One attempt at one target, told as an outcome.
//!
//! A webhook attempt is one request of the one outbound client; a log attempt is one batch of
//! lines and one sync. This crate never retries, follows no redirect, knows no rule, no storage
//! and no bus: who calls it decides when, and what an outcome leads to.
//!
//! What a target answered is read here and nowhere else. What leaves this process leaves through
//! [`client`], and [`egress`] says where it may go.
//!
//! Start at [`webhook::attempt`], or at [`log::LogFiles`].

pub mod limits;

pub mod egress;

pub mod client;

pub mod sign;

pub mod webhook;

mod json;

pub mod log;
