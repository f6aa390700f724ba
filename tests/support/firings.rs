//! Firings as the decisions of `lifecycle` make them from the events of the fixtures, for tests of the history.

#[allow(dead_code, reason = "each test uses its part")]
#[path = "../../crates/lifecycle/tests/decisions/common.rs"]
mod common;

use common::{Operator, fixtures};
use lifecycle::documents::Documents;
use lifecycle::event::{Event, Raised};
use lifecycle::firing::{DUPLICATE_MS_DEFAULT, Now, fire};
use lifecycle::history::FiringRow;
use lifecycle::object::Edit;
use lifecycle::reference::Ref;
use lifecycle::state::{Draft, Effect, State};
use serde_json::Value;

/// The eight kinds of event of the platform, every line of their files, over the operators' documents and
/// inventory, and after them one that fired before and one without a subject. Ids are `f-001` and on.
pub fn firings() -> Vec<FiringRow> {
    let documents = Documents::new(Operator::read().set()).unwrap();
    let mut state = State::default();
    for effect in state.adopt(&documents) {
        state.apply(&effect);
    }
    let inventory = std::fs::read_to_string(fixtures().join("inventory/objects.jsonl")).unwrap();
    for line in inventory.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap();
        let object = Ref::new(text("type"), text("id")).unwrap();
        let mut draft = Draft::new(&state);
        draft.put(Edit::read(object, &value).unwrap(), documents.pairs(), 0);
        let effects = draft.take_effects();
        apply(&mut state, &effects);
    }
    let mut envelopes: Vec<String> = Vec::new();
    for (name, text) in common::texts("events") {
        if name.starts_with("clm-") {
            envelopes.extend(text.lines().map(str::to_owned));
        }
    }
    envelopes.sort_by_key(|envelope| event(envelope).time);
    let newest = envelopes.last().unwrap().clone();
    let mut without: Value = serde_json::from_str(&envelopes[0]).unwrap();
    without["id"] = "no-subject".into();
    without["time"] = event(&newest).value["time"].clone();
    without["detail"] = serde_json::json!({});
    without["resources"] = serde_json::json!([]);
    envelopes.extend([newest, without.to_string()]);
    let mut firings = Vec::new();
    for envelope in &envelopes {
        let event = event(envelope);
        let now = Now {
            wall: event.time,
            duplicate: DUPLICATE_MS_DEFAULT,
        };
        let id = format!("f-{:03}", firings.len() + 1);
        let Some(firing) = fire(&documents, &state, &event, &Raised::Outside, now, &id) else {
            continue;
        };
        apply(&mut state, &firing.effects);
        for decision in &firing.decisions {
            apply(&mut state, &decision.effects);
        }
        firings.push(firing.row);
    }
    assert!(20 < firings.len());
    firings
}

fn event(envelope: &str) -> Event {
    Event::read("default", envelope).unwrap()
}

fn apply(state: &mut State, effects: &[Effect]) {
    for effect in effects {
        state.apply(effect);
    }
}
