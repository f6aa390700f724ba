//! Catalogue entries: which events there are, what they are about, which scopes they belong to.
//!
//! Source: certificate-lifecycle.md 5.1, 5.3.

use super::fault::{Code, Fault};
use super::read::{Members, Place, Reader, TYPE_HELP, document};
use super::schema::{DETAIL, Schema};
use super::shape::{DURATION, Form, Member, PATH, SELECTORS, Shape, TYPE, words};
use crate::condition::{Condition, Dialect};
use crate::path::Path;
use crate::selector::Selector;
use rule_engine::pattern::Options;
use serde_json::Value;

/// A source and a detail type, both exact.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// `source` of the envelope.
    pub source: String,
    /// `detail-type` of the envelope.
    pub detail_type: String,
}

/// A type and where its ids come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the type.
    pub kind: String,
    /// Tried in order.
    pub id: Vec<Selector>,
}

/// Which levels of scopes apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The first with triggers, alone.
    Override,
    /// All.
    Additive,
}

/// What a matching ignore trigger silences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreReach {
    /// Its scope.
    Scope,
    /// The whole event.
    Event,
}

/// Who is told when a profile leaves it to the event type.
#[derive(Debug, Clone)]
pub enum DefaultRecipient {
    /// The object's owner.
    Owner,
    /// The object itself.
    Object,
    /// Objects of a type that is known.
    Of(Source),
    /// Objects of a type that the event names.
    TypeFrom {
        /// Where the type comes from.
        kind: Vec<Selector>,
        /// Where the ids come from; owner and object need none.
        id: Vec<Selector>,
    },
}

/// What an attribute is set to.
#[derive(Debug, Clone)]
pub enum Input {
    /// What the event has at a path.
    Path(Path),
    /// Always this.
    Const(Value),
}

/// A relation that a step writes.
#[derive(Debug, Clone)]
pub struct Relate {
    /// Its name, seen from the subject.
    pub relation: String,
    /// Its name, seen from the other end.
    pub inverse: String,
    /// The other ends.
    pub target: Source,
}

/// A step that keeps the inventory.
#[derive(Debug, Clone)]
pub struct Step {
    /// For which events.
    pub when: Condition,
    /// Attributes by name.
    pub set: Vec<(String, Input)>,
    /// Memberships by type.
    pub scopes: Vec<Source>,
    /// Relations.
    pub relate: Vec<Relate>,
    /// Removes the object, last of all.
    pub delete: bool,
}

/// What a field that *set-field* names is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settable(String);

impl Settable {
    /// True when `field` is the one, or begins as it does up to its `*`.
    #[must_use]
    pub fn covers(&self, field: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(head) => field.starts_with(head),
            None => field == self.0,
        }
    }
}

/// An event type.
#[derive(Debug, Clone)]
pub struct Entry {
    /// One of a kind.
    pub name: String,
    /// The envelopes it covers, at least one pair.
    pub matches: Vec<Pair>,
    /// What its events are about.
    pub resource: Source,
    /// Scope types, most specific first; the platform is not among them.
    pub scopes: Vec<Source>,
    /// Which levels apply.
    pub resolution: Resolution,
    /// What an ignore trigger silences.
    pub ignore_reach: IgnoreReach,
    /// Ignored subjects stay out of the inventory.
    pub admission: bool,
    /// Throttles apply; monitors may emit it.
    pub monitoring: bool,
    /// A stream fed from outside is forgotten when silent for longer, in milliseconds.
    pub idle_reset: Option<i64>,
    /// Fields that *set-field* may write.
    pub settable: Vec<Settable>,
    /// Who is told by default, in order.
    pub default_recipients: Vec<DefaultRecipient>,
    /// How it keeps the inventory, in order.
    pub steps: Vec<Step>,
    /// What its detail must look like.
    pub detail: Option<Schema>,
    /// An event of another look does not fire at all.
    pub skip_invalid: bool,
}

const RESOLUTIONS: [(&str, Resolution); 2] = [
    ("override", Resolution::Override),
    ("additive", Resolution::Additive),
];
const REACHES: [(&str, IgnoreReach); 2] =
    [("scope", IgnoreReach::Scope), ("event", IgnoreReach::Event)];
/// Whether an event of another look is skipped.
const ON_INVALID: [(&str, bool); 2] = [("flag", false), ("skip", true)];

/// A document of `catalogue/`.
pub const ENTRY: Shape = Shape::Object(&MEMBERS);

const MEMBERS: [Member; 14] = [
    Member::required(
        "Name",
        Shape::Form(TYPE),
        "What triggers and monitors call it.",
    ),
    Member::required_or(
        Code::MatchMissing,
        "Match",
        Shape::List(1, &Shape::Object(&PAIR)),
        "The events it covers; a pair belongs to one event type only.",
    ),
    Member::required(
        "Resource",
        SOURCE,
        "What its events are about: a type, and where the ids come from.",
    ),
    Member::default(
        "Scopes",
        Shape::List(0, &SOURCE),
        "[]",
        "What else triggers may be attached to, most specific first; `platform` is always last.",
    ),
    Member::default(
        "Resolution",
        Shape::Words(&words(&RESOLUTIONS)),
        "\"override\"",
        "Whether the first level of scopes with triggers applies alone, or all do.",
    ),
    Member::default(
        "IgnoreReach",
        Shape::Words(&words(&REACHES)),
        "\"scope\"",
        "What a matching ignore trigger silences: its scope, or the whole event.",
    ),
    Member::default(
        "Admission",
        Shape::Boolean,
        "false",
        "Ignore triggers may keep the subject out of the inventory.",
    ),
    Member::default(
        "Monitoring",
        Shape::Boolean,
        "false",
        "Throttles of notification profiles apply; monitors may emit it.",
    ),
    Member::optional(
        "MonitoringIdleReset",
        Shape::Form(DURATION),
        "A throttle that is fed from outside begins anew after such a silence.",
    ),
    Member::default(
        "Settable",
        Shape::List(0, &Shape::Form(SETTABLE)),
        "[\"owner\", \"attributes.*\", \"scopes.*\"]",
        "Fields that `set-field` may write; a `*` at the end covers the rest.",
    ),
    Member::default(
        "DefaultRecipients",
        Shape::List(0, &Shape::OneOf(&RECIPIENT, &["Type", "TypeFrom"])),
        "[]",
        "Who is told by profiles with recipients of type `default`.",
    ),
    Member::default(
        "Inventory",
        Shape::List(0, &Shape::Object(&STEP)),
        "[]",
        "What its events say about the inventory.",
    ),
    Member::optional(
        "Detail",
        DETAIL,
        "JSON Schema of the event's detail, of these keywords.",
    ),
    Member::default(
        "OnInvalid",
        Shape::Words(&words(&ON_INVALID)),
        "\"flag\"",
        "An event that fails `Detail` is marked and goes on, or fires nothing.",
    ),
];
const PAIR: [Member; 2] = [
    Member::required("Source", Shape::Text, "The event's source, all of it."),
    Member::required(
        "DetailType",
        Shape::Text,
        "The event's detail-type, all of it.",
    ),
];
const SETTABLE: Form = Form("^(owner|(attributes|scopes)\\..*|(attributes|scopes)\\.\\*)$");
const SOURCE: Shape = Shape::Object(&SOURCE_MEMBERS);
const SOURCE_MEMBERS: [Member; 2] = [
    Member::required("Type", Shape::Form(TYPE), "A type of object."),
    Member::required("Id", SELECTORS, IDS),
];
const IDS: &str = "Where ids come from: `$.path.into.the.event`, `resources:TYPE` or \
                   `inventory:TYPE`; the first that yields something counts.";
const RECIPIENT: [Member; 3] = [
    Member::optional(
        "Type",
        Shape::Form(TYPE),
        "A type of object, `owner` or `object`.",
    ),
    Member::optional("TypeFrom", SELECTORS, "Where the type comes from."),
    Member::optional("Id", SELECTORS, IDS),
];
const STEP: [Member; 5] = [
    Member::optional(
        "When",
        Shape::Pattern(Dialect::Plain),
        "For which events; left out: for all.",
    ),
    Member::optional(
        "Set",
        Shape::Map(
            None,
            &Shape::Either(&[Shape::Form(PATH), Shape::Object(&CONSTANT)]),
        ),
        "Attributes, each from a path into the event or a constant.",
    ),
    Member::optional(
        "Scopes",
        Shape::Map(Some(TYPE), &SELECTORS),
        "Memberships by type of scope; what is found replaces the old ones.",
    ),
    Member::default(
        "Relate",
        Shape::List(0, &Shape::Object(&RELATE)),
        "[]",
        "Relations to write.",
    ),
    Member::default(
        "Delete",
        Shape::Boolean,
        "false",
        "Removes the object, when everything else is done.",
    ),
];
const CONSTANT: [Member; 1] = [Member::required("Const", Shape::Any, "Always this.")];
const RELATE: [Member; 3] = [
    Member::required(
        "Relation",
        Shape::Form(TYPE),
        "Its name, seen from the subject.",
    ),
    Member::required(
        "Inverse",
        Shape::Form(TYPE),
        "Its name, seen from the other end.",
    ),
    Member::required("Target", SOURCE, "The other ends."),
];

impl Entry {
    /// Reads a document of `catalogue/`.
    ///
    /// # Errors
    /// Every fault of it by itself, in the order of its text.
    pub fn read(text: &str, options: &Options) -> Result<Entry, Vec<Fault>> {
        document(text, options, entry)
    }
}

fn entry(reader: &mut Reader<'_>, place: Place<'_>) -> Option<Entry> {
    let members = reader.object(&place, &MEMBERS)?;
    // Each is read whatever became of the others, so that all faults are noted.
    let name = members.get("Name");
    let name = name.and_then(|place| reader.type_name(&place));
    let matches = pairs(reader, &members);
    let resource = members.get("Resource");
    let resource = resource.and_then(|place| source(reader, &place, false));
    let scopes = reader.list_or_empty(&members, "Scopes", |reader, item| {
        source(reader, item, true)
    });
    let resolution = reader.word(&members, "Resolution", &RESOLUTIONS);
    let ignore_reach = reader.word(&members, "IgnoreReach", &REACHES);
    let admission = reader.boolean(&members, "Admission");
    let monitoring = reader.boolean(&members, "Monitoring");
    let idle_reset = reader.optional_span(&members, "MonitoringIdleReset");
    let settable = settable(reader, &members);
    let default_recipients = reader.list_or_empty(&members, "DefaultRecipients", recipient);
    let steps = reader.list_or_empty(&members, "Inventory", step);
    let detail = members.get("Detail");
    let detail = detail.map_or(Some(None), |place| Schema::read(reader, &place).map(Some));
    let skip_invalid = reader.word(&members, "OnInvalid", &ON_INVALID);
    Some(Entry {
        name: name?,
        matches: matches?,
        resource: resource?,
        scopes: scopes?,
        resolution: resolution?,
        ignore_reach: ignore_reach?,
        admission: admission?,
        monitoring: monitoring?,
        idle_reset,
        settable: settable?,
        default_recipients: default_recipients?,
        steps: steps?,
        detail: detail?,
        skip_invalid: skip_invalid?,
    })
}

fn pairs(reader: &mut Reader<'_>, members: &Members<'_>) -> Option<Vec<Pair>> {
    let place = members.get("Match")?;
    let mut seen: Vec<Pair> = Vec::new();
    let pairs = reader.list(&place, |reader, item| {
        let members = reader.object(item, &PAIR)?;
        let source = members.get("Source");
        let source = source.and_then(|place| reader.string(&place));
        let detail_type = members.get("DetailType");
        let detail_type = detail_type.and_then(|place| reader.string(&place));
        let (source, detail_type) = (source?, detail_type?);
        let pair = Pair {
            source,
            detail_type,
        };
        if seen.contains(&pair) {
            let help = "take one of them away";
            reader.fault(Code::DuplicatePair, item, "this pair is there twice", help);
        }
        seen.push(pair.clone());
        Some(pair)
    })?;
    if pairs.is_empty() {
        let message = "an event type covers at least one pair of source and detail type";
        let help = "such as `{\"Source\": \"com.example\", \"DetailType\": \"Thing happened\"}`";
        reader.fault(Code::MatchMissing, &place, message, help);
        return None;
    }
    Some(pairs)
}

/// `{Type, Id}`.
fn source(reader: &mut Reader<'_>, place: &Place<'_>, inventory: bool) -> Option<Source> {
    let members = reader.object(place, &SOURCE_MEMBERS)?;
    let kind = members.get("Type");
    let kind = kind.and_then(|place| reader.type_name(&place));
    let id = members.get("Id");
    let id = id.and_then(|place| reader.selectors(&place, inventory));
    Some(Source {
        kind: kind?,
        id: id?,
    })
}

fn settable(reader: &mut Reader<'_>, members: &Members<'_>) -> Option<Vec<Settable>> {
    if !members.has("Settable") {
        let all = ["owner", "attributes.*", "scopes.*"];
        return Some(all.map(|field| Settable(field.to_owned())).to_vec());
    }
    reader.list_or_empty(members, "Settable", |reader, item| {
        let text = reader.string(item)?;
        let head = text.strip_suffix('*').unwrap_or(&text);
        let fits = head == "owner" && !text.ends_with('*')
            || ["attributes.", "scopes."].iter().any(|kind| head.starts_with(kind));
        if !fits {
            let help = "`owner`, `attributes.NAME`, `scopes.TYPE`, the last two also with a `*` at the end";
            let message = format!("`{text}` cannot be made settable");
            reader.fault(Code::FieldNotSettable, item, message, help);
            return None;
        }
        Some(Settable(text))
    })
}

fn recipient(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<DefaultRecipient> {
    let members = reader.object(place, &RECIPIENT)?;
    let id = match members.get("Id") {
        Some(place) => Some(reader.selectors(&place, true)?),
        None => None,
    };
    match (members.get("Type"), members.get("TypeFrom")) {
        (Some(kind), None) => {
            let kind = reader.type_name(&kind)?;
            match (kind.as_str(), id) {
                ("owner", _) => Some(DefaultRecipient::Owner),
                ("object", _) => Some(DefaultRecipient::Object),
                (_, Some(id)) => Some(DefaultRecipient::Of(Source { kind, id })),
                (_, None) => {
                    reader.missing(Code::MemberMissing, &members, "Id", IDS);
                    None
                }
            }
        }
        (None, Some(kind)) => {
            let kind = reader.selectors(&kind, true)?;
            let id = id.unwrap_or_default();
            Some(DefaultRecipient::TypeFrom { kind, id })
        }
        (Some(_), Some(both)) => {
            reader.fault(
                Code::MemberUnknown,
                &both,
                "`Type` and `TypeFrom` exclude each other",
                "take one of them away",
            );
            None
        }
        (None, None) => {
            let help = "a type of object, or `TypeFrom` where it comes from";
            reader.missing(Code::MemberMissing, &members, "Type", help);
            None
        }
    }
}

fn step(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Step> {
    let members = reader.object(place, &STEP)?;
    let when = reader.condition(&members, "When", Dialect::Plain);
    let mut set = Vec::new();
    if let Some(place) = members.get("Set") {
        for (name, value) in reader.map(&place)?.iter() {
            let input = if value.is_object() {
                let members = reader.object(&value, &CONSTANT)?;
                let constant = members.get("Const")?;
                Input::Const(reader.value(&constant))
            } else {
                Input::Path(reader.path(&value)?)
            };
            set.push((name.to_owned(), input));
        }
    }
    let mut scopes = Vec::new();
    if let Some(place) = members.get("Scopes") {
        for (kind, value) in reader.map(&place)?.iter() {
            if !crate::reference::is_type(kind) || kind == crate::reference::PLATFORM {
                let message = format!("`{kind}` is no type of scope");
                reader.fault(Code::NameMalformed, &value, message, TYPE_HELP);
            }
            let id = reader.selectors(&value, true)?;
            let kind = kind.to_owned();
            scopes.push(Source { kind, id });
        }
    }
    let relate = reader.list_or_empty(&members, "Relate", |reader, item| {
        let members = reader.object(item, &RELATE)?;
        let relation = members.get("Relation");
        let relation = relation.and_then(|place| reader.type_name(&place));
        let inverse = members.get("Inverse");
        let inverse = inverse.and_then(|place| reader.type_name(&place));
        let target = members.get("Target");
        let target = target.and_then(|place| source(reader, &place, true));
        let (relation, inverse, target) = (relation?, inverse?, target?);
        Some(Relate {
            relation,
            inverse,
            target,
        })
    });
    let delete = reader.boolean(&members, "Delete");
    Some(Step {
        when: when?,
        set,
        scopes,
        relate: relate?,
        delete: delete?,
    })
}
