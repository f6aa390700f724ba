//! Which scopes of an event apply (certificate-lifecycle.md 7.1, 7.2).

use crate::documents::{Documents, Entry, Resolution};
use crate::event::Event;
use crate::object::Object;
use crate::reference::PLATFORM;
use crate::selector;

/// The scopes of one subject of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// All it belongs to, level by level, the platform last.
    pub scopes: Vec<String>,
    /// Those whose triggers apply, in order.
    pub applied: Vec<String>,
    /// Those with triggers that a more specific level keeps out.
    pub skipped: Vec<String>,
}

/// Makes the plan, once, before any trigger acts.
///
/// Bounds: one look-up for each scope of the event, however many triggers there are (TRG-8).
#[must_use]
pub fn plan(documents: &Documents, entry: &Entry, event: &Event, subject: &Object) -> Plan {
    let mut levels: Vec<Vec<String>> = Vec::new();
    for scope in &entry.scopes {
        let mut ids = selector::ids(&scope.id, &event.value, Some(subject));
        ids.sort_unstable();
        let named = ids.iter().map(|id| format!("{}/{id}", scope.kind));
        levels.push(named.collect());
    }
    levels.push(vec![PLATFORM.to_owned()]);
    let (mut applied, mut skipped) = (Vec::new(), Vec::new());
    for level in &levels {
        let chosen = !applied.is_empty() && entry.resolution == Resolution::Override;
        let has = |scope: &&String| {
            let place = documents.triggers(&entry.name, &event.bus, scope);
            place.is_some()
        };
        let list = if chosen { &mut skipped } else { &mut applied };
        list.extend(level.iter().filter(has).cloned());
    }
    Plan {
        scopes: levels.concat(),
        applied,
        skipped,
    }
}
