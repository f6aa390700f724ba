//! Notification profiles and destinations.
//!
//! Source: certificate-lifecycle.md 9.1, 9.2.

use super::fault::{Code, Fault};
use super::read::{Members, Place, Reader, document};
use super::shape::{DURATION, ID, Member, NAME, RELATIVE, REMARKS, Shape};
use super::target;
use crate::path::Path;
use crate::reference::{Ref, is_id};
use rule_engine::pattern::Options;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Types of objects that profiles may name as recipients (9.2).
pub const RECIPIENT_TYPES: [&str; 3] = ["user", "group", "role"];

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// Nobody; one delivery without a list.
    Nobody,
    /// These objects.
    Objects(Vec<Ref>),
    /// The object's owner.
    Owner,
    /// The object itself.
    Object,
    /// Whoever the event type names.
    Default,
}

/// A way to tell them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// One of a kind in its profile.
    pub id: String,
    /// Members of the recipient that are sent, by the name they are sent under.
    pub contact: BTreeMap<String, Path>,
    /// The target, in the members of a rule's target; its reading is the server's.
    pub target: Map<String, Value>,
}

/// A notification profile: all of it but its description, which makes no version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// One of a kind.
    pub name: String,
    /// Who is told.
    pub recipients: Recipients,
    /// How.
    pub channels: Vec<Channel>,
    /// Also in the inbox of each.
    pub internal: bool,
    /// Least time between two notifications of a stream, in milliseconds.
    pub frequency: Option<i64>,
    /// Notifications of a stream in all.
    pub repetitions: Option<u32>,
}

impl Profile {
    /// Reads a document of `notification-profiles/`.
    ///
    /// # Errors
    /// Every fault of it by itself, in the order of its text.
    pub fn read(text: &str, options: &Options) -> Result<Profile, Vec<Fault>> {
        document(text, options, profile)
    }
}

/// A document of `notification-profiles/`.
pub const PROFILE: Shape = Shape::Object(&MEMBERS);

const MEMBERS: [Member; 6] = [
    Member::required("Name", Shape::Form(NAME), "What triggers call it."),
    Member::required("Recipients", Shape::Object(&RECIPIENTS), "Who is told."),
    Member::default(
        "Channels",
        Shape::List(0, &Shape::Object(&CHANNEL)),
        "[]",
        "How they are told, in this order.",
    ),
    Member::default(
        "Internal",
        Shape::Boolean,
        "false",
        "Also in the inbox of each of them.",
    ),
    Member::optional(
        "Frequency",
        Shape::Form(DURATION),
        "Least time between two notifications about one object, of monitoring events.",
    ),
    Member::optional(
        "Repetitions",
        Shape::Integer(1, u32::MAX as i64),
        "Notifications about one object in all, of monitoring events.",
    ),
];
const RECIPIENTS: [Member; 2] = [
    Member::required(
        "Type",
        Shape::Words(&[
            "none", "default", "user", "group", "role", "owner", "object",
        ]),
        "Nobody in particular, whoever the event type names, these objects, the object's owner, \
         or the object itself.",
    ),
    Member::optional(
        "Ids",
        Shape::List(0, &Shape::Form(ID)),
        "Which users, groups or roles.",
    ),
];

fn profile(reader: &mut Reader<'_>, place: Place<'_>) -> Option<Profile> {
    let members = reader.object(&place, &MEMBERS)?;
    let name = reader.name(&members);
    let recipients = members.get("Recipients");
    let recipients = recipients.and_then(|place| recipients_of(reader, &place));
    let mut ids = Vec::new();
    let channels = reader.list_or_empty(&members, "Channels", |reader, item| {
        let channel = channel(reader, item)?;
        if ids.contains(&channel.id) {
            reader.fault(
                Code::MemberType,
                item,
                format!("a second channel `{}`", channel.id),
                "an `Id` is one of a kind in its profile: rename one of them",
            );
        }
        ids.push(channel.id.clone());
        Some(channel)
    });
    let internal = reader.boolean(&members, "Internal");
    if internal == Some(true) && matches!(recipients, Some(Recipients::Nobody | Recipients::Object))
    {
        let place = members.get("Internal").expect("it is true");
        let message = "the inbox cannot serve the recipients `none` and `object`";
        let help = "use a channel, or other recipients";
        reader.fault(Code::InternalNeedsRecipient, &place, message, help);
    }
    if internal == Some(false) && channels.as_ref().is_some_and(Vec::is_empty) {
        let help = "give it `Channels`, or make it `\"Internal\": true`";
        reader.fault(
            Code::NoChannel,
            members.place(),
            "no way to tell anybody",
            help,
        );
    }
    let frequency = reader.optional_span(&members, "Frequency");
    let repetitions = repetitions(reader, &members);
    Some(Profile {
        name: name?,
        recipients: recipients?,
        channels: channels?,
        internal: internal?,
        frequency,
        repetitions,
    })
}

fn repetitions(reader: &mut Reader<'_>, members: &Members<'_>) -> Option<u32> {
    let place = members.get("Repetitions")?;
    let number = reader.integer(&place)?;
    let fits = u32::try_from(number).ok().filter(|number| 1 <= *number);
    if fits.is_none() {
        let help = "the number of notifications in all, the first included";
        reader.fault(Code::RepetitionsRange, &place, "1 or more is wanted", help);
    }
    fits
}

fn recipients_of(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Recipients> {
    let members = reader.object(place, &RECIPIENTS)?;
    let kind = members.get("Type")?;
    let text = reader.string(&kind)?;
    let plain = match text.as_str() {
        "none" => Some(Recipients::Nobody),
        "owner" => Some(Recipients::Owner),
        "object" => Some(Recipients::Object),
        "default" => Some(Recipients::Default),
        known if RECIPIENT_TYPES.contains(&known) => None,
        unknown => {
            let help = "none, default, user, group, role, owner or object";
            let message = format!("no recipients of type `{unknown}`");
            reader.fault(Code::MemberType, &kind, message, help);
            return None;
        }
    };
    let ids = reader.list_or_empty(&members, "Ids", |reader, item| {
        let id = reader.string(item)?;
        if !is_id(&id) {
            let help = "1 to 256 characters without `/`; the type is not part of it";
            reader.fault(Code::NameMalformed, item, format!("`{id}` is no id"), help);
            return None;
        }
        Some(id)
    })?;
    match plain {
        Some(plain) if ids.is_empty() => Some(plain),
        Some(_) => {
            let place = members.get("Ids").expect("it has some");
            reader.fault(
                Code::MemberUnknown,
                &place,
                format!("recipients of type `{text}` have no ids"),
                "take `Ids` away, or name a user, group or role",
            );
            None
        }
        None if ids.is_empty() => {
            let message = format!("recipients of type `{text}` need `Ids`");
            reader.fault(
                Code::RecipientIdsMissing,
                place,
                message,
                "name one at least",
            );
            None
        }
        None => {
            let object = |id: &String| Ref::new(&text, id).expect("both were checked");
            let mut objects: Vec<Ref> = Vec::new();
            for object in ids.iter().map(object) {
                if !objects.contains(&object) {
                    objects.push(object);
                }
            }
            Some(Recipients::Objects(objects))
        }
    }
}

const CHANNEL: [Member; 11] = [
    Member::required("Id", Shape::Form(NAME), "One of a kind in its profile."),
    Member::required(
        "Arn",
        Shape::Text,
        "A destination (`…:api-destination/NAME`), a queue or a log.",
    ),
    Member::default(
        "Contact",
        Shape::Map(None, &Shape::Form(RELATIVE)),
        "{}",
        "Which members of the recipient are sent, by the name they are sent under.",
    ),
    target::INPUT,
    target::INPUT_PATH,
    target::INPUT_TRANSFORMER,
    target::RETRY_POLICY,
    target::DEAD_LETTER_CONFIG,
    target::SQS_PARAMETERS,
    target::HTTP_PARAMETERS,
    target::ROLE_ARN,
];

fn channel(reader: &mut Reader<'_>, place: &Place<'_>) -> Option<Channel> {
    let members = reader.object(place, &CHANNEL)?;
    let id = members.get("Id").and_then(|place| {
        let id = reader.string(&place)?;
        if bus_core::name::TargetId::parse(&id).is_err() {
            reader.fault(
                Code::NameMalformed,
                &place,
                format!("`{id}` is no id of a channel"),
                "1 to 64 of A-Z a-z 0-9 . - _",
            );
            return None;
        }
        Some(id)
    });
    let arn = members.get("Arn");
    let arn = arn.and_then(|place| reader.string(&place));
    let mut contact = BTreeMap::new();
    if let Some(place) = members.get("Contact") {
        for (name, value) in reader.map(&place)?.iter() {
            if let Some(path) = reader.relative_path(&value) {
                contact.insert(name.to_owned(), path);
            }
        }
    }
    let ours = |name: &str| name == "Contact" || REMARKS.iter().any(|it| it.name == name);
    let target = members.iter().filter(|(name, _)| !ours(name));
    let target = target.map(|(name, value)| (name.to_owned(), reader.value(&value)));
    let target = target.collect();
    arn?;
    Some(Channel {
        id: id?,
        contact,
        target,
    })
}

/// A destination: where an ARN `…:api-destination/NAME` leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// One of a kind.
    pub name: String,
    /// Where to. Which URLs are allowed is the server's to say.
    pub url: String,
    /// `POST` or `PUT`.
    pub method: String,
    /// Headers besides our own.
    pub headers: BTreeMap<String, String>,
    /// Standard Webhooks secret, or where it is found; never shown.
    pub secret: Option<String>,
}

const METHODS: [(&str, &str); 2] = [("POST", "POST"), ("PUT", "PUT")];

/// A document of `destinations/`.
pub const DESTINATION: Shape = Shape::Object(&DESTINATION_MEMBERS);

const DESTINATION_MEMBERS: [Member; 5] = [
    Member::required(
        "Name",
        Shape::Form(NAME),
        "What ARNs call it: `…:api-destination/NAME`.",
    ),
    target::URL,
    target::METHOD,
    target::HEADERS,
    target::SECRET,
];

impl Destination {
    /// Reads a document of `destinations/`.
    ///
    /// # Errors
    /// Every fault of it by itself, in the order of its text.
    pub fn read(text: &str, options: &Options) -> Result<Destination, Vec<Fault>> {
        document(text, options, |reader, place| {
            let members = reader.object(&place, &DESTINATION_MEMBERS)?;
            let name = reader.name(&members);
            let url = members.get("Url");
            let url = url.and_then(|place| reader.string(&place));
            let method = reader.word(&members, "Method", &METHODS);
            let mut headers = BTreeMap::new();
            if let Some(place) = members.get("Headers") {
                for (name, value) in reader.map(&place)?.iter() {
                    if let Some(value) = reader.string(&value) {
                        headers.insert(name.to_owned(), value);
                    }
                }
            }
            let secret = members.get("Secret");
            let secret = secret.map_or(Some(None), |place| reader.string(&place).map(Some));
            Some(Destination {
                name: name?,
                url: url?,
                method: method?.to_owned(),
                headers,
                secret: secret?,
            })
        })
    }
}
