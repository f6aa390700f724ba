//! Triggers: rules with a `Trigger` member. The rest of the rule is for the server's reader.
//!
//! Source: certificate-lifecycle.md 6.1, 8.

use super::fault::{Code, Fault};
use super::read::{Members, Place, Reader, document};
use super::shape::{Form, Member, NAME, PATH, Shape, words};
use crate::condition::{Condition, Dialect};
use crate::event::{DEPTH_MAX, nests_deeper};
use crate::object::{Field, ids_from, owner_from};
use crate::path::Path;
use crate::reference::{PLATFORM, Ref, is_type};
use rule_engine::pattern::Options;
use serde_json::Value;

/// A trigger.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Name of the rule.
    pub name: String,
    /// Its bus.
    pub bus: String,
    /// A disabled one does not exist for any purpose.
    pub enabled: bool,
    /// Name of the event type.
    pub event: String,
    /// `platform` or `type/id`, at least one, each once.
    pub scopes: Vec<String>,
    /// Ascending; equal ones go by name.
    pub order: i64,
    /// It silences.
    pub ignore: bool,
    /// What the trigger document must look like.
    pub pattern: Condition,
    /// In the order written.
    pub actions: Vec<Action>,
    /// Ids of the rule's targets, in the order written.
    pub targets: Vec<String>,
}

/// What a trigger does besides its targets.
#[derive(Debug, Clone)]
pub enum Action {
    /// Writes a field of the object.
    SetField {
        /// As it is written: `owner`, `attributes.NAME`, `scopes.TYPE`.
        field: String,
        /// Where the value comes from.
        from: Origin,
    },
    /// Sends notifications.
    Notify {
        /// Names of profiles, at least one.
        profiles: Vec<String>,
    },
}

impl Action {
    /// `set-field` or `notify`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Action::SetField { .. } => "set-field",
            Action::Notify { .. } => "notify",
        }
    }
}

/// Where the value of *set-field* comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// It is always this.
    Value(Field),
    /// What the trigger document has at a path.
    From(Path),
}

impl Trigger {
    /// Reads the trigger's part of a document of `rules/`; `None` when it is an ordinary rule.
    ///
    /// # Errors
    /// Every fault of it by itself, in the order of its text; other members are not looked at.
    pub fn read(text: &str, options: &Options) -> Result<Option<Trigger>, Vec<Fault>> {
        document(text, options, rule)
    }
}

const STATES: [(&str, bool); 3] = [
    ("ENABLED", true),
    ("DISABLED", false),
    ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", true),
];

/// `Name` of a rule.
pub const RULE_NAME: Member =
    Member::required("Name", Shape::Form(NAME), "One of a kind on its bus.");
/// `State` of a rule.
pub const STATE: Member = Member::default(
    "State",
    Shape::Words(&words(&STATES)),
    "\"ENABLED\"",
    "A disabled rule matches nothing.",
);
/// `Trigger` of a rule, which makes it a trigger.
pub const TRIGGER: Member = Member::optional(
    "Trigger",
    Shape::Object(&INNER),
    "Attaches the rule to events of a type, in some scopes.",
);
/// `Actions` of a trigger.
pub const ACTIONS: Member = Member::optional(
    "Actions",
    Shape::List(
        0,
        &Shape::Either(&[
            Shape::OneOf(&SET_FIELD, &["Value", "From"]),
            Shape::Object(&NOTIFY),
        ]),
    ),
    "What a trigger does before its targets are handed the event, in this order.",
);

const INNER: [Member; 4] = [
    Member::required(
        "Event",
        Shape::Text,
        "Name of the event type, an entry of the catalogue.",
    ),
    Member::required_or(
        Code::ScopeMissing,
        "Scopes",
        Shape::List(1, &Shape::Form(SCOPE)),
        "Where it applies: `platform`, or objects as `type/id`.",
    ),
    Member::default(
        "Order",
        Shape::Integer(i64::MIN, i64::MAX),
        "0",
        "Ascending within a scope; equal ones go by name.",
    ),
    Member::default(
        "Ignore",
        Shape::Boolean,
        "false",
        "It silences and does nothing else.",
    ),
];
const SCOPE: Form = Form("^(platform|[a-z][a-z0-9-]{0,63}/[^/]{1,256})$");
const SET_FIELD: [Member; 4] = [
    Member::required(
        "Type",
        Shape::Words(&["set-field"]),
        "Writes a field of the object.",
    ),
    Member::required(
        "Field",
        Shape::Form(Form(
            "^(owner|attributes\\..+|scopes\\.[a-z][a-z0-9-]{0,63})$",
        )),
        "`owner`, `attributes.NAME` or `scopes.TYPE`.",
    ),
    Member::optional("Value", Shape::Any, "The value; null removes."),
    Member::optional(
        "From",
        Shape::Form(PATH),
        "Where the value is found in the event, `object` or `scopes`.",
    ),
];
const NOTIFY: [Member; 2] = [
    Member::required("Type", Shape::Words(&["notify"]), "Sends notifications."),
    Member::required(
        "Profiles",
        Shape::List(1, &Shape::Text),
        "Names of profiles, in order.",
    ),
];

fn rule(reader: &mut Reader<'_>, place: Place<'_>) -> Option<Option<Trigger>> {
    let members = reader.map(&place)?;
    let Some(place) = members.get("Trigger") else {
        if let Some(actions) = members.get("Actions") {
            let help = "add `Trigger`, or use `Targets`";
            let message = "`Actions` are for triggers only";
            reader.fault(Code::ActionsWithoutTrigger, &actions, message, help);
        }
        return Some(None);
    };
    if !members.has("Name") {
        reader.missing(Code::MemberMissing, &members, "Name", RULE_NAME.doc);
    }
    let name = reader.name(&members);
    if let Some(schedule) = members.get("ScheduleExpression") {
        let help = "a monitor emits events by a schedule";
        let message = "a trigger has no schedule";
        reader.fault(Code::TriggerWithSchedule, &schedule, message, help);
    }
    let bus = members.get("EventBusName");
    let bus = bus.map_or(Some("default".into()), |place| reader.string(&place));
    let enabled = reader.word(&members, "State", &STATES);
    let pattern = reader.condition(&members, "EventPattern", Dialect::Trigger);
    if let Some(pattern) = &pattern {
        for name in pattern.references() {
            let place = members.get("EventPattern").expect("it has a reference");
            reader.fault(
                Code::UnknownParameter,
                &place,
                format!("a trigger has no parameter `{name}`"),
                "write the duration itself; parameters are for monitors",
            );
        }
    }
    let targets = reader.list_or_empty(&members, "Targets", |reader, item| {
        // The rest of a target is the server's to read, its faults too.
        let id = reader.map(item)?.get("Id")?;
        Some(id.as_str()?.to_owned())
    });
    let actions = reader.list_or_empty(&members, "Actions", action);
    let inner = reader.object(&place, &INNER);
    let inner = inner.and_then(|inner| {
        let event = inner.get("Event");
        let event = event.and_then(|place| reader.string(&place));
        let scopes = scopes(reader, &inner);
        let order = inner.get("Order");
        let order = order.map_or(Some(0), |place| reader.integer(&place));
        let ignore = reader.boolean(&inner, "Ignore");
        Some((event?, scopes?, order?, ignore?))
    });
    let does = |name: &str| {
        let place = members.get(name)?;
        (place.items().is_none_or(|items| !items.is_empty())).then_some(place)
    };
    // Whether it silences is asked again by itself: other members may have faults.
    let ignore = inner.as_ref().map(|(_, _, _, ignore)| *ignore);
    match ignore {
        Some(true) => {
            for name in ["Actions", "Targets"] {
                if let Some(place) = does(name) {
                    let message = format!("a trigger with `Ignore` has no `{name}`");
                    let help = "take it away, or take `Ignore` away";
                    reader.fault(Code::IgnoreWithActions, &place, message, help);
                }
            }
        }
        Some(false) if does("Actions").is_none() && does("Targets").is_none() => {
            let help = "give it `Actions` or `Targets`, or make it `\"Ignore\": true`";
            reader.fault(
                Code::TriggerWithoutActions,
                &place,
                "a trigger that does nothing",
                help,
            );
        }
        _ => {}
    }
    let (event, scopes, order, ignore) = inner?;
    Some(Some(Trigger {
        name: name?,
        bus: bus?,
        enabled: enabled?,
        event,
        scopes,
        order,
        ignore,
        pattern: pattern?,
        actions: actions?,
        targets: targets.unwrap_or_default(),
    }))
}

fn scopes(reader: &mut Reader<'_>, members: &Members<'_>) -> Option<Vec<String>> {
    let place = members.get("Scopes")?;
    let mut scopes: Vec<String> = Vec::new();
    reader.list(&place, |reader, item| {
        let text = reader.string(item)?;
        let object = Ref::parse(&text).filter(|object| object.kind() != PLATFORM);
        if text != PLATFORM && object.is_none() {
            let message = format!("`{text}` is no scope");
            reader.fault(
                Code::ScopeMalformed,
                item,
                message,
                "`platform`, or `type/id`",
            );
            return None;
        }
        if !scopes.contains(&text) {
            scopes.push(text);
        }
        Some(())
    })?;
    if scopes.is_empty() {
        let message = "at least one scope is wanted: `platform`, or `type/id`";
        let help = "`[\"platform\"]` is for every event of the type";
        reader.fault(Code::ScopeMissing, &place, message, help);
        return None;
    }
    Some(scopes)
}

fn action(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Action> {
    let kind = reader.map(place)?;
    if !kind.has("Type") {
        let help = "set-field or notify";
        reader.missing(Code::MemberMissing, &kind, "Type", help);
        return None;
    }
    let words = [("set-field", true), ("notify", false)];
    if reader.word(&kind, "Type", &words)? {
        let members = reader.object(place, &SET_FIELD)?;
        return set_field(reader, &members);
    }
    let members = reader.object(place, &NOTIFY)?;
    let place = members.get("Profiles")?;
    let profiles = reader.list(&place, |reader, item| reader.string(item))?;
    if profiles.is_empty() {
        reader.fault(
            Code::MemberMissing,
            &place,
            "at least one profile is wanted",
            "name a document of notification-profiles/",
        );
        return None;
    }
    Some(Action::Notify { profiles })
}

fn set_field(reader: &mut Reader<'_>, members: &Members<'_>) -> Option<Action> {
    let field = members.get("Field").and_then(|place| {
        let text = reader.string(&place)?;
        if field_of(&text, &Value::Null).is_none() {
            let help = "`owner`, `attributes.NAME` or `scopes.TYPE`";
            reader.fault(
                Code::FieldNotSettable,
                &place,
                format!("`{text}` cannot be set"),
                help,
            );
            return None;
        }
        Some(text)
    });
    let from = match (members.get("Value"), members.get("From")) {
        (None, Some(from)) => reader.path(&from).map(Origin::From),
        (Some(place), None) => {
            let value = reader.value(&place);
            let written = field.as_ref().and_then(|field| field_of(field, &value));
            if field.is_some() && written.is_none() {
                let help = "for `owner` `{\"type\", \"id\"}`, for `scopes.TYPE` a list of ids; null removes";
                reader.fault(Code::MemberType, &place, "not a value of this field", help);
            }
            written.map(Origin::Value)
        }
        (both, _) => {
            let place = both.unwrap_or_else(|| members.place().clone());
            reader.fault(
                Code::SetFieldSource,
                &place,
                "exactly one of `Value` and `From` is wanted",
                "`Value` is written as it is, `From` is a path such as `$.time`",
            );
            None
        }
    };
    Some(Action::SetField {
        field: field?,
        from: from?,
    })
}

/// A value as one of a field that is named as `owner`, `attributes.NAME` or `scopes.TYPE`; null
/// removes. `None` when there is no such field or it has no such value.
#[must_use]
pub fn field_of(name: &str, value: &Value) -> Option<Field> {
    let present = (!value.is_null()).then_some(value);
    if name == "owner" {
        return match present {
            None => Some(Field::Owner(None)),
            Some(owner) => owner_from(owner).map(|owner| Field::Owner(Some(owner))),
        };
    }
    if let Some(name) = name.strip_prefix("attributes.") {
        let fits = !name.is_empty() && !nests_deeper(value, DEPTH_MAX);
        return fits.then(|| Field::Attribute(name.to_owned(), present.cloned()));
    }
    let kind = name.strip_prefix("scopes.").filter(|kind| is_type(kind))?;
    match present {
        None => Some(Field::Scope(kind.to_owned(), None)),
        Some(ids) => Some(Field::Scope(kind.to_owned(), Some(ids_from(ids)?))),
    }
}
