//! What operators write: catalogue entries, triggers, monitors, notification profiles, destinations.
//!
//! Each kind is read by itself ([`Entry::read`] and its fellows), with every fault, its place and its
//! code; what one document says of another is checked over the whole set ([`Documents::new`]), which
//! also makes it ready to be asked: event types by pair, triggers by event type and scope.
//! Source: certificate-lifecycle.md 5.1, 6.1, 6.5, 9.1, 10.1.

mod catalogue;
mod fault;
mod monitor;
mod profile;
mod read;
mod schema;
mod set;
pub mod shape;
pub mod target;
mod trigger;

pub use catalogue::{
    DefaultRecipient, ENTRY, Entry, IgnoreReach, Input, Pair, Relate, Resolution, Settable, Source,
    Step,
};
pub use fault::{Code, Fault};
pub use monitor::{MONITOR, Monitor, Others, Parameter, Unless};
pub use profile::{
    Channel, DESTINATION, Destination, PROFILE, Profile, RECIPIENT_TYPES, Recipients,
};
pub use read::{json_help, span_of};
pub use schema::Schema;
pub use set::{Documents, Kind, Pairs, Place, Placed, Set, SetFault};
pub use trigger::{ACTIONS, Action, Origin, RULE_NAME, STATE, TRIGGER, Trigger, field_of};
