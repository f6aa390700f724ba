//! Monitors: a schedule, a condition over the inventory, and an event to emit.
//!
//! Source: certificate-lifecycle.md 10.1, 10.3, 10.4.

use super::fault::{Code, Fault};
use super::read::{Members, PATH_HELP, Place, Reader, document};
use super::shape::{DURATION, Form, Member, NAME, RELATIVE, Shape, TYPE, words};
use crate::condition::{Condition, Dialect};
use crate::path::Path;
use crate::reference::is_type;
use crate::schedule::Schedule;
use crate::template::Template;
use rule_engine::pattern::Options;

/// A monitor.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// One of a kind.
    pub name: String,
    /// A disabled one does not scan.
    pub enabled: bool,
    /// Where its events are put.
    pub bus: String,
    /// When it scans.
    pub schedule: Schedule,
    /// The type of object it looks at.
    pub resource: String,
    /// Name of the event type.
    pub event: String,
    /// By name.
    pub parameters: Vec<Parameter>,
    /// Which objects.
    pub condition: Condition,
    /// But not those.
    pub unless: Vec<Unless>,
    /// Least time between two events for one object, in milliseconds.
    pub every: Option<i64>,
    /// `source` of its events, when it is not that of the entry's first pair.
    pub source: Option<String>,
    /// `detail-type`, likewise.
    pub detail_type: Option<String>,
    /// What `detail` is made of.
    pub detail: Template,
}

/// A duration that scopes may set.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// What conditions call it.
    pub name: String,
    /// In milliseconds.
    pub default: i64,
    /// Scope types and paths, in order.
    pub from: Vec<(String, Path)>,
}

/// What keeps an object from being selected.
#[derive(Debug, Clone)]
pub struct Unless {
    /// Where others are looked for.
    pub others: Others,
    /// What one of them must be.
    pub condition: Condition,
}

/// Where other objects are looked for.
#[derive(Debug, Clone)]
pub enum Others {
    /// Those reached by a relation.
    Relation(String),
    /// All of the type with equal values at all of these paths.
    SameFields(Vec<Path>),
}

impl Monitor {
    /// Reads a document of `monitors/`.
    ///
    /// # Errors
    /// Every fault of it by itself, in the order of its text.
    pub fn read(text: &str, options: &Options) -> Result<Monitor, Vec<Fault>> {
        document(text, options, monitor)
    }
}

const STATES: [(&str, bool); 2] = [("ENABLED", true), ("DISABLED", false)];

/// A document of `monitors/`.
pub const MONITOR: Shape = Shape::Object(&MEMBERS);

const MEMBERS: [Member; 11] = [
    Member::required("Name", Shape::Form(NAME), "What it is called."),
    Member::default(
        "State",
        Shape::Words(&words(&STATES)),
        "\"ENABLED\"",
        "A disabled monitor does not scan.",
    ),
    Member::default(
        "EventBusName",
        Shape::Text,
        "\"default\"",
        "Where its events are put.",
    ),
    Member::required(
        "ScheduleExpression",
        Shape::Form(Form("^(rate|cron)\\(")),
        "When it scans: `rate(1 hour)`, or `cron(0 * * * ? *)` in UTC.",
    ),
    Member::required(
        "Resource",
        Shape::Form(TYPE),
        "The type of object that it looks at.",
    ),
    Member::required(
        "Event",
        Shape::Text,
        "The event type that it emits, a monitoring one.",
    ),
    Member::default(
        "Parameters",
        Shape::Map(None, &Shape::Object(&PARAMETER)),
        "{}",
        "Durations that conditions name with `Ref`, and that scopes may set.",
    ),
    Member::optional(
        "Condition",
        Shape::Pattern(Dialect::Monitor),
        "Which objects it selects; left out: all.",
    ),
    Member::default(
        "Unless",
        Shape::List(0, &Shape::OneOf(&UNLESS, &["Relation", "SameFields"])),
        "[]",
        "Other objects that keep one from being selected.",
    ),
    Member::optional(
        "Every",
        Shape::Form(DURATION),
        "Least time between two of its events for one object.",
    ),
    Member::required(
        "Emit",
        Shape::Object(&EMIT),
        "The event that it puts for each object.",
    ),
];
const PARAMETER: [Member; 2] = [
    Member::required(
        "Default",
        Shape::Form(DURATION),
        "The duration where no scope sets one.",
    ),
    Member::default(
        "From",
        Shape::List(0, &Shape::Form(Form("^[a-z][a-z0-9-]{0,63}:"))),
        "[]",
        "Where scopes set it, as `TYPE:path`, such as `group:attributes.window`.",
    ),
];
const UNLESS: [Member; 3] = [
    Member::optional(
        "Relation",
        Shape::Text,
        "Objects that are reached by this relation.",
    ),
    Member::optional(
        "SameFields",
        Shape::List(1, &Shape::Form(RELATIVE)),
        "Objects of the same type with equal values at all of these paths.",
    ),
    Member::optional(
        "Condition",
        Shape::Pattern(Dialect::Unless),
        "What one of them must be; left out: anything.",
    ),
];
const EMIT: [Member; 3] = [
    Member::optional(
        "Source",
        Shape::Text,
        "Left out: that of the event type's first pair.",
    ),
    Member::optional(
        "DetailType",
        Shape::Text,
        "Left out: that of the event type's first pair.",
    ),
    Member::default(
        "Detail",
        Shape::Map(None, &Shape::Any),
        "{}",
        "The event's detail: paths such as `$.object.id`, `{\"DaysUntil\": path}`, and constants.",
    ),
];

fn monitor(reader: &mut Reader<'_>, place: Place<'_>) -> Option<Monitor> {
    let members = reader.object(&place, &MEMBERS)?;
    let name = reader.name(&members);
    let enabled = reader.word(&members, "State", &STATES);
    let bus = members.get("EventBusName");
    let bus = bus.map_or(Some("default".into()), |place| reader.string(&place));
    let schedule = members.get("ScheduleExpression");
    let schedule = schedule.and_then(|place| {
        let text = reader.string(&place)?;
        match Schedule::parse(&text) {
            Ok(schedule) => Some(schedule),
            Err(error) => {
                reader.fault(Code::MemberType, &place, error.to_string(), error.why);
                None
            }
        }
    });
    let resource = members.get("Resource");
    let resource = resource.and_then(|place| reader.type_name(&place));
    let event = members.get("Event");
    let event = event.and_then(|place| reader.string(&place));
    let parameters = parameters(reader, &members);
    let condition = reader.condition(&members, "Condition", Dialect::Monitor);
    let names: Option<Vec<String>> = parameters
        .as_ref()
        .map(|all| all.iter().map(|it| it.name.clone()).collect());
    let known = |reader: &mut Reader<'_>, members: &Members<'_>, condition: &Condition| {
        // With a fault among the parameters nobody knows which there would be.
        for name in names.iter().flat_map(|names| {
            let unknown = condition.references().iter();
            unknown.filter(|name| !names.contains(name))
        }) {
            let place = members.get("Condition").expect("it has a reference");
            reader.fault(
                Code::UnknownParameter,
                &place,
                format!("no parameter `{name}`"),
                "write it in `Parameters`, with a `Default`",
            );
        }
    };
    if let Some(condition) = &condition {
        known(reader, &members, condition);
    }
    let unless = reader.list_or_empty(&members, "Unless", |reader, item| {
        let members = reader.object(item, &UNLESS)?;
        let condition = reader.condition(&members, "Condition", Dialect::Unless);
        if let Some(condition) = &condition {
            known(reader, &members, condition);
        }
        let others = others(reader, &members);
        Some(Unless {
            others: others?,
            condition: condition?,
        })
    });
    let every = reader.optional_span(&members, "Every");
    let emit = members.get("Emit");
    let emit = emit.and_then(|place| {
        let members = reader.object(&place, &EMIT)?;
        let mut text = |name: &str| {
            let place = members.get(name);
            place.map_or(Some(None), |place| reader.string(&place).map(Some))
        };
        let (source, detail_type) = (text("Source"), text("DetailType"));
        let detail = match members.get("Detail") {
            None => Some(Template::empty()),
            Some(place) => {
                reader.map(&place)?;
                let value = reader.value(&place);
                match Template::compile(&value) {
                    Ok(template) => Some(template),
                    Err(error) => {
                        let message = format!("`{}` is no path", error.path);
                        reader.fault(Code::SelectorMalformed, &place, message, PATH_HELP);
                        None
                    }
                }
            }
        };
        Some((source?, detail_type?, detail?))
    });
    let (source, detail_type, detail) = emit?;
    Some(Monitor {
        name: name?,
        enabled: enabled?,
        bus: bus?,
        schedule: schedule?,
        resource: resource?,
        event: event?,
        parameters: parameters?,
        condition: condition?,
        unless: unless?,
        every,
        source,
        detail_type,
        detail,
    })
}

fn parameters(reader: &mut Reader<'_>, members: &Members<'_>) -> Option<Vec<Parameter>> {
    let Some(place) = members.get("Parameters") else {
        return Some(Vec::new());
    };
    let mut parameters = Some(Vec::new());
    for (name, value) in reader.map(&place)?.iter() {
        let read = reader.object(&value, &PARAMETER).and_then(|members| {
            let default = members.get("Default");
            let default = default.and_then(|place| reader.span(&place));
            let from = reader.list_or_empty(&members, "From", parameter_from);
            let name = name.to_owned();
            Some(Parameter {
                name,
                default: default?,
                from: from?,
            })
        });
        parameters = parameters.zip(read).map(|(mut all, one)| {
            all.push(one);
            all
        });
    }
    parameters
}

/// `scopeType:path`.
fn parameter_from(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<(String, Path)> {
    let text = reader.string(place)?;
    let parts = text.split_once(':').filter(|(kind, _)| is_type(kind));
    let read = parts.and_then(|(kind, path)| Some((kind.to_owned(), Path::relative(path)?)));
    if read.is_none() {
        let help = "a scope type and a path from the scope's object: `group:attributes.window`";
        let message = format!("`{text}` says no place");
        reader.fault(Code::SelectorMalformed, place, message, help);
    }
    read
}

fn others(reader: &mut Reader<'_>, members: &Members<'_>) -> Option<Others> {
    match (members.get("Relation"), members.get("SameFields")) {
        (Some(relation), None) => reader.string(&relation).map(Others::Relation),
        (None, Some(place)) => {
            let paths = reader.list(&place, |reader, item| reader.relative_path(item))?;
            if paths.is_empty() {
                let help = "such as `attributes.name`";
                reader.fault(
                    Code::MemberMissing,
                    &place,
                    "at least one field is wanted",
                    help,
                );
                return None;
            }
            Some(Others::SameFields(paths))
        }
        (Some(_), Some(both)) => {
            let message = "`Relation` and `SameFields` exclude each other";
            reader.fault(
                Code::MemberUnknown,
                &both,
                message,
                "write two items of `Unless`",
            );
            None
        }
        (None, None) => {
            let message = "`Relation` or `SameFields` is missing";
            let help = "where are the other objects? such as `\"Relation\": \"replaced-by\"`";
            reader.fault(Code::MemberMissing, members.place(), message, help);
            None
        }
    }
}
