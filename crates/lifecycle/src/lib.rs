//! Decisions about events of catalogued types: which triggers apply, what they do, who is told, and
//! what monitors find. Values in, decisions out.
//!
//! No disk, no network, no async, no clock: the server feeds this crate from its state, makes the
//! effects of a decision durable, and carries the rest out. Nothing here knows an event type, a
//! resource type or a scope type by name; all of that is in the operators' documents.
//! Source: certificate-lifecycle.md, which the comments cite by section.
//!
//! | room | holds |
//! | --- | --- |
//! | [`moment`], [`reference`], [`path`], [`object`], [`selector`] | times, names, paths, objects, where ids come from |
//! | [`condition`] | patterns with the five filters of triggers and monitors |
//! | [`schedule`], [`template`] | when a monitor scans, what its event is made of |
//! | [`documents`] | operator documents: reading, every refusal, what they say of each other |
//! | [`state`] | what decisions read, and the effects that change it |
//! | [`event`], [`history`] | what a decision is about, what is kept of it |
//! | [`plan`] | which scopes apply |
//! | [`notification`] | who is told what, and when not |
//! | [`firing`] | one event, all of it: [`firing::fire`] |
//! | [`scan`] | one tick of a monitor: [`scan::page`] |

pub mod condition;
pub mod documents;
pub mod event;
pub mod firing;
pub mod history;
pub mod moment;
pub mod notification;
pub mod object;
pub mod path;
pub mod plan;
pub mod reference;
pub mod scan;
pub mod schedule;
pub mod selector;
pub mod state;
pub mod template;
