//! A firing: one event of a catalogued type, from its subjects to what is done for each.
//!
//! [`begin`] says whether and for which subjects it fires; [`subject`] decides everything for one of
//! them, which the server makes durable as one record before it takes the next, so that a crash repeats
//! no subject that was done. [`fire`] is both, over one draft: a dry run, and what tests look at.
//! Source: certificate-lifecycle.md 5.3, 5.4, 7, 8.

use crate::condition::{Context, Held};
use crate::documents::{
    Action, Documents, Entry, IgnoreReach, Input, Origin, Place, Placed, Trigger, field_of,
};
use crate::event::{DEPTH_MAX, Event, Raised, nests_deeper};
use crate::history::{Evaluation, FiringRow, ObjectRow, Record, RecordKind, Status, Told};
use crate::moment;
use crate::notification::{About, Notice, Verdict, notify};
use crate::object::Field;
use crate::plan::{Plan, plan};
use crate::reference::Ref;
use crate::selector;
use crate::state::{Draft, Effect, State};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long an event that fired does not fire again, in milliseconds. Source: 5.4 step 3.
pub const DUPLICATE_MS_DEFAULT: i64 = 60 * 60 * 1000;

/// Whether an event fires.
#[derive(Debug, Clone)]
pub enum Start {
    /// For these subjects, one after another.
    Go(Vec<Ref>),
    /// It fired before.
    Duplicate,
    /// It cannot, and why.
    Failed(String),
}

/// What is known of a firing before its subjects.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The event type.
    pub entry: Arc<Entry>,
    /// Whether it goes on.
    pub start: Start,
    /// Where the detail is not as the catalogue wants it, and why.
    pub detail_fault: Option<String>,
    /// That it fired.
    pub effects: Vec<Effect>,
}

/// What the server knows beside the event.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The bus's own clock, epoch milliseconds: for de-duplication and for the history.
    pub wall: i64,
    /// How long an event that fired does not fire again, in milliseconds.
    pub duplicate: i64,
}

/// Steps 2 to 5 of 5.4; `None` when no event type covers the event.
#[must_use]
pub fn begin(
    documents: &Documents,
    state: &State,
    event: &Event,
    raised: &Raised,
    now: Now,
) -> Option<Begun> {
    let entry = documents.covering(event.text("source"), event.text("detail-type"))?;
    let mut begun = Begun {
        entry: entry.clone(),
        start: Start::Duplicate,
        detail_fault: None,
        effects: Vec::new(),
    };
    let id = event.text("id");
    if *raised != Raised::Replay && state.has_fired(&entry.name, id, now.wall) {
        return Some(begun);
    }
    begun.effects.push(Effect::Fired {
        event: entry.name.clone(),
        id: id.to_owned(),
        at: now.wall,
        until: now.wall.saturating_add(now.duplicate),
    });
    let detail = event.value.get("detail").unwrap_or(&Value::Null);
    begun.detail_fault = entry
        .detail
        .as_ref()
        .and_then(|schema| schema.fault(detail))
        .map(|(at, why)| format!("detail{at}: {why}"));
    if let (Some(fault), true) = (&begun.detail_fault, entry.skip_invalid) {
        begun.start = Start::Failed(fault.clone());
        return Some(begun);
    }
    let ids = selector::ids(&entry.resource.id, &event.value, None);
    let subjects: Vec<Ref> = ids
        .iter()
        .filter_map(|id| Ref::new(&entry.resource.kind, id))
        .collect();
    begun.start = match subjects.is_empty() {
        true => Start::Failed(format!("no {} is named by the event", entry.resource.kind)),
        false => Start::Go(subjects),
    };
    Some(begun)
}

/// Targets of a trigger that are handed an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed {
    /// Name of the rule.
    pub trigger: String,
    /// Ids of its targets.
    pub targets: Vec<String>,
    /// The trigger document: what `InputPath` and `InputTransformer` look into. A target without
    /// either receives the plain envelope.
    pub document: String,
}

/// All that is decided for one subject.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What is kept of it.
    pub row: ObjectRow,
    /// What changes, to be written together.
    pub effects: Vec<Effect>,
    /// What is told.
    pub notices: Vec<Notice>,
    /// What is sent.
    pub handed: Vec<Handed>,
}

/// Step 6 of 5.4 for one subject. The changes are in `draft` and in the decision's effects.
#[must_use]
pub fn subject(
    documents: &Documents,
    draft: &mut Draft<'_>,
    entry: &Entry,
    event: &Event,
    raised: &Raised,
    subject: &Ref,
) -> Decision {
    let before = entry.admission.then(|| draft.clone());
    let delete = keep_inventory(documents, draft, entry, event, subject);
    let plan = plan(documents, entry, event, &draft.object(subject));
    let mut work = Work {
        documents,
        entry,
        event,
        raised,
        subject,
        plan: &plan,
        draft,
        document: Document::default(),
        held: None,
        verdicts: BTreeMap::new(),
        done: BTreeSet::new(),
        evaluations: Vec::new(),
        notices: Vec::new(),
        handed: Vec::new(),
    };
    work.refresh();
    let admitted = before.map(|before| {
        let ignored = work.ignored_at_all();
        if ignored {
            *work.draft = before;
            work.refresh();
        }
        !ignored
    });
    match entry.ignore_reach {
        IgnoreReach::Scope => {
            for scope in &plan.applied {
                if !work.ignored(scope) {
                    work.act_at(scope);
                }
            }
        }
        IgnoreReach::Event => {
            let silenced = plan.applied.iter().any(|scope| work.ignored(scope));
            if !silenced {
                for scope in &plan.applied {
                    work.act_at(scope);
                }
            }
        }
    }
    let Work {
        evaluations,
        notices,
        handed,
        ..
    } = work;
    // Last of all, so that there is still somebody to tell.
    if delete && admitted != Some(false) {
        draft.delete(subject, documents.pairs(), event.time);
    }
    let matched = |ignore: bool| {
        let mut all = evaluations.iter();
        all.any(|it| it.ignore == ignore && it.conditions_matched)
    };
    Decision {
        row: ObjectRow {
            object: subject.as_str().to_owned(),
            matched: matched(false),
            ignored: matched(true),
            admitted,
            evaluations,
            scopes: plan.scopes,
            applied: plan.applied,
            skipped: plan.skipped,
        },
        effects: draft.take_effects(),
        notices,
        handed,
    }
}

/// A whole firing.
#[derive(Debug, Clone)]
pub struct Firing {
    /// What is kept of it.
    pub row: FiringRow,
    /// Changes before the first subject.
    pub effects: Vec<Effect>,
    /// By subject, in order; their rows are in `row`.
    pub decisions: Vec<Decision>,
}

/// Decides a whole firing without changing anything; `None` when no event type covers the event.
#[must_use]
pub fn fire(
    documents: &Documents,
    state: &State,
    event: &Event,
    raised: &Raised,
    now: Now,
    firing: &str,
) -> Option<Firing> {
    fire_over(
        documents,
        &mut Draft::new(state),
        event,
        raised,
        now,
        firing,
    )
}

/// As [`fire`], with changes that a dry run supposes; the decisions' effects have them too.
#[must_use]
pub fn fire_over(
    documents: &Documents,
    draft: &mut Draft<'_>,
    event: &Event,
    raised: &Raised,
    now: Now,
    firing: &str,
) -> Option<Firing> {
    let begun = begin(documents, draft.state(), event, raised, now)?;
    let (status, message, subjects) = match begun.start {
        Start::Go(subjects) => (Status::Finished, begun.detail_fault.clone(), subjects),
        Start::Duplicate => (Status::Duplicate, None, Vec::new()),
        Start::Failed(why) => (Status::Failed, Some(why), Vec::new()),
    };
    let decisions: Vec<Decision> = subjects
        .iter()
        .map(|it| subject(documents, draft, &begun.entry, event, raised, it))
        .collect();
    Some(Firing {
        row: FiringRow {
            firing: firing.to_owned(),
            event: begun.entry.name.clone(),
            event_id: event.text("id").to_owned(),
            bus: event.bus.clone(),
            started_at: moment::format(now.wall),
            finished_at: Some(moment::format(now.wall)),
            status,
            detail_valid: begun.detail_fault.is_none(),
            message,
            objects: decisions.iter().map(|it| it.row.clone()).collect(),
        },
        effects: begun.effects,
        decisions,
    })
}

/// Makes the steps of 5.3. True when one of them deletes the object.
fn keep_inventory(
    documents: &Documents,
    draft: &mut Draft<'_>,
    entry: &Entry,
    event: &Event,
    subject: &Ref,
) -> bool {
    let (value, at) = (&event.value, event.time);
    let mut delete = false;
    for step in &entry.steps {
        if !step.when.holds(event.json.as_bytes(), &Context::at(at)) {
            continue;
        }
        let mut fields = Vec::new();
        for (name, input) in &step.set {
            let found = match input {
                Input::Const(value) => Some(value),
                Input::Path(path) => path.first(value),
            };
            let found = found.filter(|value| !value.is_null() && !nests_deeper(value, DEPTH_MAX));
            if let Some(value) = found {
                fields.push(Field::Attribute(name.clone(), Some(value.clone())));
            }
        }
        for scope in &step.scopes {
            let ids = selector::ids(&scope.id, value, Some(&draft.object(subject)));
            if !ids.is_empty() {
                fields.push(Field::Scope(scope.kind.clone(), Some(ids)));
            }
        }
        if !fields.is_empty() {
            draft.change(subject, |object| {
                for field in fields {
                    // Something newer stays.
                    object.write(field, at);
                }
            });
        }
        for relate in &step.relate {
            let ids = selector::ids(&relate.target.id, value, Some(&draft.object(subject)));
            for to in ids
                .iter()
                .filter_map(|id| Ref::new(&relate.target.kind, id))
            {
                draft.relate(subject, &relate.relation, &to, documents.pairs(), at);
            }
        }
        delete |= step.delete;
    }
    delete
}

/// The trigger document (6.2), as text and as a value.
#[derive(Debug, Clone, Default)]
struct Document {
    json: String,
    value: Value,
}

/// The work on one subject.
struct Work<'w, 's> {
    documents: &'w Documents,
    entry: &'w Entry,
    event: &'w Event,
    raised: &'w Raised,
    subject: &'w Ref,
    plan: &'w Plan,
    draft: &'w mut Draft<'s>,
    document: Document,
    /// What its places' conditions say of the document, once they were asked.
    held: Option<Held<'w>>,
    /// Ignore triggers that were tried: where they failed, `None` when they matched.
    verdicts: BTreeMap<String, Option<String>>,
    /// Triggers that have their evaluation.
    done: BTreeSet<String>,
    evaluations: Vec<Evaluation>,
    notices: Vec<Notice>,
    handed: Vec<Handed>,
}

impl<'w> Work<'w, '_> {
    fn place(&self, scope: &str) -> Option<&'w Place> {
        self.documents
            .triggers(&self.entry.name, &self.event.bus, scope)
    }

    fn triggers(&self, scope: &str) -> &'w [Placed] {
        self.place(scope).map_or(&[], |place| &place.triggers)
    }

    /// Makes the document anew, with the object as it is now.
    fn refresh(&mut self) {
        self.held = None;
        let object = self.draft.object(self.subject).to_json();
        let scopes = Value::from(self.plan.scopes.clone());
        let envelope = self
            .event
            .json
            .strip_suffix('}')
            .unwrap_or(&self.event.json);
        self.document.json = format!("{envelope},\"object\":{object},\"scopes\":{scopes}}}");
        self.document.value = self.event.value.clone();
        self.document.value["object"] = object;
        self.document.value["scopes"] = scopes;
    }

    fn failure(&mut self, placed: &Placed) -> Option<String> {
        if self.held.is_none() {
            let places = self.plan.applied.iter();
            let places = places.filter_map(|scope| Some(self.place(scope)?.number));
            let conditions = self.documents.conditions();
            self.held = Some(conditions.held(&self.document.json, places));
        }
        let context = Context::at(self.event.time);
        let document = self.document.json.as_bytes();
        let condition = &placed.trigger.pattern;
        self.held
            .as_ref()?
            .failure(placed.condition, condition, document, &context)
    }

    /// Tries an ignore trigger, once.
    fn verdict(&mut self, placed: &Placed) -> Option<String> {
        let name = &placed.trigger.name;
        if let Some(known) = self.verdicts.get(name) {
            return known.clone();
        }
        let verdict = self.failure(placed);
        self.verdicts.insert(name.clone(), verdict.clone());
        verdict
    }

    /// Whether some ignore trigger of an applicable scope matches, before anything is recorded.
    fn ignored_at_all(&mut self) -> bool {
        let plan = self.plan;
        let mut ignored = false;
        for scope in &plan.applied {
            let triggers = self.triggers(scope).iter();
            for placed in triggers.filter(|it| it.trigger.ignore) {
                ignored |= self.verdict(placed).is_none();
            }
            if ignored && self.entry.ignore_reach == IgnoreReach::Event {
                break;
            }
        }
        ignored
    }

    /// Whether a scope is silenced. All its ignore triggers are tried, each recorded at its first scope.
    fn ignored(&mut self, scope: &str) -> bool {
        let mut ignored = false;
        let triggers = self.triggers(scope).iter();
        for placed in triggers.filter(|it| it.trigger.ignore) {
            let (trigger, failure) = (&placed.trigger, self.verdict(placed));
            ignored |= failure.is_none();
            if self.done.insert(trigger.name.clone()) {
                let evaluation = evaluation(scope, trigger, failure);
                self.evaluations.push(evaluation);
            }
        }
        ignored
    }

    fn act_at(&mut self, scope: &str) {
        let triggers = self.triggers(scope).iter();
        for placed in triggers.filter(|it| !it.trigger.ignore) {
            let trigger = &placed.trigger;
            if !self.done.insert(trigger.name.clone()) {
                continue;
            }
            let failure = self.failure(placed);
            let matched = failure.is_none();
            let mut evaluation = evaluation(scope, trigger, failure);
            if matched {
                self.act(trigger, &mut evaluation);
            }
            self.evaluations.push(evaluation);
        }
    }

    fn act(&mut self, trigger: &Trigger, evaluation: &mut Evaluation) {
        evaluation.actions_performed = true;
        for (index, action) in (0..).zip(&trigger.actions) {
            let done = match action {
                Action::SetField { field, from } => self.set_field(field, from, index, evaluation),
                Action::Notify { profiles } => self.notify(trigger, profiles, index, evaluation),
            };
            if let Err(message) = done {
                evaluation.actions_performed = false;
                evaluation.records.push(Record {
                    kind: RecordKind::Action,
                    at: format!("/Actions/{index}"),
                    action: Some(index),
                    action_type: Some(action.kind().to_owned()),
                    message: Some(message),
                });
            }
        }
        if !trigger.targets.is_empty() {
            self.handed.push(Handed {
                trigger: trigger.name.clone(),
                targets: trigger.targets.clone(),
                document: self.document.json.clone(),
            });
        }
    }

    fn set_field(
        &mut self,
        name: &str,
        from: &Origin,
        index: u32,
        evaluation: &mut Evaluation,
    ) -> Result<(), String> {
        let field = match from {
            Origin::Value(field) => field.clone(),
            Origin::From(path) => {
                let values = path.values(&self.document.value);
                let Some(first) = values.first().filter(|value| !value.is_null()) else {
                    return Err(format!("`{}` yields nothing", path.as_str()));
                };
                let value = match (name.starts_with("scopes."), first) {
                    (true, Value::String(_)) => values.into_iter().cloned().collect(),
                    _ => (*first).clone(),
                };
                let field = field_of(name, &value);
                field.ok_or_else(|| format!("`{}` yields no value of `{name}`", path.as_str()))?
            }
        };
        let at = self.event.time;
        if self
            .draft
            .change(self.subject, |object| object.write(field, at))
        {
            self.refresh();
            return Ok(());
        }
        evaluation.records.push(Record {
            kind: RecordKind::Older,
            at: name.to_owned(),
            action: Some(index),
            action_type: Some("set-field".into()),
            message: Some("something newer wrote it".into()),
        });
        Ok(())
    }

    fn notify(
        &mut self,
        trigger: &Trigger,
        profiles: &[String],
        index: u32,
        evaluation: &mut Evaluation,
    ) -> Result<(), String> {
        let about = About {
            entry: self.entry,
            event: self.event,
            raised: self.raised,
            object: self.subject,
            trigger: &trigger.name,
            action: index,
        };
        let mut failed = Vec::new();
        let sent = evaluation.notification_sent.get_or_insert(false);
        for profile in profiles {
            match notify(&about, profile, self.draft, &mut evaluation.records) {
                (_, Verdict::Suppressed(reason)) => evaluation.records.push(Record {
                    kind: RecordKind::Suppressed,
                    at: profile.clone(),
                    action: Some(index),
                    action_type: Some("notify".into()),
                    message: Some(reason.to_owned()),
                }),
                (version, Verdict::Told(notice)) => {
                    *sent = true;
                    let handed = notice.handovers.iter().map(|it| it.channel.clone());
                    let inbox = (!notice.inbox.is_empty()).then(|| "internal".to_owned());
                    evaluation.told.push(Told {
                        action: index,
                        profile: profile.clone(),
                        version,
                        channels: handed.chain(inbox).collect(),
                    });
                    self.notices.push(*notice);
                }
                (_, Verdict::Nobody) => failed.push(profile.as_str()),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(format!("nobody was told by {}", failed.join(", ")))
    }
}

fn evaluation(scope: &str, trigger: &Trigger, failure: Option<String>) -> Evaluation {
    let condition = |at| Record {
        kind: RecordKind::Condition,
        at,
        action: None,
        action_type: None,
        message: None,
    };
    Evaluation {
        scope: scope.to_owned(),
        trigger: trigger.name.clone(),
        ignore: trigger.ignore,
        conditions_matched: failure.is_none(),
        actions_performed: false,
        notification_sent: None,
        records: failure.map(condition).into_iter().collect(),
        told: Vec::new(),
    }
}
