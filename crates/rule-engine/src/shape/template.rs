//! Templates: text with placeholders, and where a value may stand in it.
//!
//! A template is cut into parts once. On an event each value is made ready once, however often
//! it stands there, so that the cost is that of the output.
//!
//! In an object template (first character `{`) values go in as JSON; in any other, a text
//! template, as raw text. What comes out must be JSON. An object template can only break that by
//! an object or array inside quotes, so only then, and for text templates, it is checked again.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::error::{InputError, Place, Warning};
use super::path::{self, Found, Path};
use super::{Context, KEY_CHARACTERS_MAX, Options, PATHS_MAX, Unshaped, json, time};

/// A checked template.
#[derive(Debug)]
pub struct Template {
    text: Box<str>,
    is_object: bool,
    parts: Vec<Part>,
    values: Vec<Value>,
    /// Those of [`Value::Path`] and [`Value::Event`].
    paths: Vec<Path>,
    /// An accepted unknown placeholder stands in it, so what comes out proves nothing.
    has_unknown: bool,
    warnings: Vec<Warning>,
}

#[derive(Debug)]
enum Part {
    Text(Range<usize>),
    Value {
        /// Place in [`Template::values`].
        value: usize,
        is_quoted: bool,
    },
}

/// Where a placeholder's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// Place in [`Template::paths`].
    Path(usize),
    RuleArn,
    RuleName,
    IngestionTime,
    /// The event without its detail; its members' paths begin at this place.
    Event(usize),
}

const RULE_ARN: &str = "aws.events.rule-arn";
const RULE_NAME: &str = "aws.events.rule-name";
const INGESTION_TIME: &str = "aws.events.event.ingestion-time";
const EVENT: &str = "aws.events.event";
const EVENT_JSON: &str = "aws.events.event.json";
const RESERVED: [&str; 5] = [RULE_ARN, RULE_NAME, INGESTION_TIME, EVENT, EVENT_JSON];

/// Members of `<aws.events.event>`: name there, name in the envelope. Order as captured.
const EVENT_MEMBERS: [(&str, &str); 8] = [
    ("id", "id"),
    ("account", "account"),
    ("detailType", "detail-type"),
    ("time", "time"),
    ("source", "source"),
    ("region", "region"),
    ("resources", "resources"),
    ("version", "version"),
];

impl Template {
    /// Checks map and template in AWS's order, then cuts the template into parts.
    pub fn compile(
        map: &[(String, String)],
        text: &str,
        target_id: &str,
        options: &Options,
    ) -> Result<Self, InputError> {
        if text.is_empty() {
            return Err(InputError::TemplateEmpty);
        }
        let named = check_map(map, target_id)?;
        let (places, mut warnings) = placeholders(text);
        let is_object = text[json::blanks(text.as_bytes(), 0)..].starts_with('{');

        let is_known = |place: &Placeholder<'_>| {
            named.contains_key(place.name) || RESERVED.contains(&place.name)
        };
        let unknown_accepted = options.unknown_placeholders_accepted && map.is_empty();
        let target = || target_id.to_owned();
        if let Some(place) = places.iter().find(|it| !unknown_accepted && !is_known(it)) {
            return Err(InputError::Placeholder {
                target_id: target(),
                name: place.name.to_owned(),
                offset: place.range.start,
            });
        }
        if let Some(place) = places
            .iter()
            .find(|it| matches!(it.name, EVENT | EVENT_JSON) && !(is_object && it.is_member_value))
        {
            return Err(InputError::ObjectOnly {
                target_id: target(),
                name: place.name.to_owned(),
                offset: place.range.start,
            });
        }
        if let Some(place) = places.iter().find(|it| it.is_key) {
            return Err(InputError::ObjectKey {
                target_id: target(),
                offset: place.range.start,
            });
        }
        check_probe(text, &places, target_id)?;

        let mut template = Self {
            text: text.into(),
            is_object,
            parts: Vec::with_capacity(2 * places.len() + 1),
            values: Vec::new(),
            paths: Vec::new(),
            has_unknown: false,
            warnings: Vec::new(),
        };
        let mut values: HashMap<&str, usize> = HashMap::new();
        let mut copied = 0;
        for place in &places {
            if !is_known(place) {
                template.has_unknown = true;
                warnings.push(place.warning(true));
                continue;
            }
            if !is_object && !RESERVED.contains(&place.name) {
                warnings.push(place.warning(false));
            }
            let value = *values
                .entry(place.name)
                .or_insert_with(|| template.add_value(place.name, &named));
            template.add_text(copied..place.range.start);
            template.parts.push(Part::Value {
                value,
                is_quoted: place.is_quoted,
            });
            copied = place.range.end;
        }
        template.add_text(copied..text.len());
        warnings.sort_by_key(Warning::offset_in_template);
        let mut said = HashSet::new();
        warnings.retain(|warning| said.insert(warning.to_string()));
        template.warnings = warnings;
        Ok(template)
    }

    fn add_text(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.parts.push(Part::Text(range));
        }
    }

    fn add_value(&mut self, name: &str, named: &HashMap<&str, Path>) -> usize {
        let path = self.paths.len();
        self.values.push(match name {
            RULE_ARN => Value::RuleArn,
            RULE_NAME => Value::RuleName,
            INGESTION_TIME => Value::IngestionTime,
            EVENT => {
                let members = EVENT_MEMBERS.iter().map(|(_, name)| Path::member(name));
                self.paths.extend(members);
                Value::Event(path)
            }
            EVENT_JSON => {
                self.paths.push(Path::root());
                Value::Path(path)
            }
            _ => {
                self.paths.push(named[name].clone());
                Value::Path(path)
            }
        });
        self.values.len() - 1
    }

    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Puts the input together.
    pub fn shape<'e>(
        &'e self,
        envelope: &'e [u8],
        context: &Context<'_>,
    ) -> Result<Cow<'e, [u8]>, Unshaped> {
        let text = self.text.as_bytes();
        if self.values.is_empty() && !self.has_unknown {
            return Ok(Cow::Borrowed(text));
        }
        let found = path::find(&self.paths, envelope);
        let ready: Vec<Ready<'_>> = self
            .values
            .iter()
            .map(|value| self.ready(*value, &found, context))
            .collect();
        let pieces = || {
            self.parts.iter().map(|part| match part {
                Part::Text(range) => &text[range.clone()],
                Part::Value { value, is_quoted } => ready[*value].piece(*is_quoted),
            })
        };
        let bytes = pieces().map(<[u8]>::len).sum();
        if context.bytes_max < bytes {
            return Err(Unshaped::TooLarge {
                bytes,
                bytes_max: context.bytes_max,
            });
        }
        let mut body = Vec::with_capacity(bytes);
        pieces().for_each(|piece| body.extend_from_slice(piece));

        let is_sure = self.is_object
            && !self.has_unknown
            && !self.parts.iter().any(|part| match part {
                Part::Value { value, is_quoted } => *is_quoted && ready[*value].is_nested,
                Part::Text(_) => false,
            });
        if !is_sure && json::check_texts(&body).is_err() {
            return Err(Unshaped::NotJson { body });
        }
        Ok(Cow::Owned(body))
    }

    fn ready<'e>(&self, value: Value, found: &[Found<'e>], context: &Context<'_>) -> Ready<'e> {
        let json = match value {
            Value::Path(path) => found[path].json(),
            Value::RuleArn => Some(Cow::Owned(json::quote(context.rule_arn))),
            Value::RuleName => Some(Cow::Owned(json::quote(context.rule_name))),
            Value::IngestionTime => {
                Some(Cow::Owned(json::quote(&time::format(context.ingestion_ms))))
            }
            Value::Event(first) => Some(Cow::Owned(event_members(&found[first..]))),
        };
        if self.is_object {
            Ready::json(json)
        } else {
            Ready::text(json)
        }
    }
}

/// A value as it goes into the template.
struct Ready<'e> {
    bare: Cow<'e, [u8]>,
    /// What of `bare` goes inside quotes.
    quoted: Range<usize>,
    /// An object or array: inside quotes it may break them.
    is_nested: bool,
}

impl<'e> Ready<'e> {
    /// For an object template. A string is in the event with the escapes that it needs here.
    fn json(json: Option<Cow<'e, [u8]>>) -> Self {
        let bare = json.unwrap_or(Cow::Borrowed(b"\"\""));
        let quoted = match bare.first() {
            Some(b'"') => 1..(bare.len() - 1).max(1),
            _ => 0..bare.len(),
        };
        let is_nested = matches!(bare.first(), Some(b'{' | b'['));
        Self {
            bare,
            quoted,
            is_nested,
        }
    }

    /// For a text template: strings without escapes, objects and arrays without any quote.
    fn text(json: Option<Cow<'e, [u8]>>) -> Self {
        let json = json.unwrap_or_default();
        let bare = match json.first() {
            Some(b'"') => match json {
                Cow::Borrowed(json) => json::unescape(inner(json)),
                Cow::Owned(json) => Cow::Owned(json::unescape(inner(&json)).into_owned()),
            },
            Some(b'{' | b'[') if memchr::memchr(b'"', &json).is_some() => {
                let mut bare = json.into_owned();
                bare.retain(|&byte| byte != b'"');
                Cow::Owned(bare)
            }
            _ => json,
        };
        Self {
            quoted: 0..bare.len(),
            bare,
            is_nested: false,
        }
    }

    fn piece(&self, is_quoted: bool) -> &[u8] {
        if is_quoted {
            &self.bare[self.quoted.clone()]
        } else {
            &self.bare
        }
    }
}

/// What is between the quotes of a JSON string.
fn inner(json: &[u8]) -> &[u8] {
    json.get(1..json.len().saturating_sub(1))
        .unwrap_or_default()
}

/// `<aws.events.event>`, from the values of [`EVENT_MEMBERS`].
fn event_members(found: &[Found<'_>]) -> Vec<u8> {
    let mut object = vec![b'{'];
    for (&(name, _), found) in EVENT_MEMBERS.iter().zip(found) {
        if 1 < object.len() {
            object.push(b',');
        }
        object.extend_from_slice(&json::quote(name));
        object.push(b':');
        let value = found.json().unwrap_or(Cow::Borrowed(b"null"));
        let unix_ms = match name {
            "time" => time::parse(inner(&value)),
            _ => None,
        };
        match unix_ms {
            Some(unix_ms) => object.extend_from_slice(unix_ms.to_string().as_bytes()),
            None => object.extend_from_slice(&value),
        }
    }
    object.push(b'}');
    object
}

/// Checks the map's keys, their number, and the paths.
fn check_map<'m>(
    map: &'m [(String, String)],
    target_id: &str,
) -> Result<HashMap<&'m str, Path>, InputError> {
    // Each name where it first stood, with its last path: so AWS prints the map.
    let mut entries: Vec<(&str, &str)> = Vec::with_capacity(map.len());
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(map.len());
    for (name, path) in map {
        let place = *places.entry(name).or_insert(entries.len());
        if place == entries.len() {
            entries.push((name, path));
        } else {
            entries[place].1 = path;
        }
    }
    let printed = || {
        let entries: Vec<String> = entries
            .iter()
            .map(|(name, path)| format!("{name}={path}"))
            .collect();
        format!("{{{}}}", entries.join(", "))
    };
    let is_key = |name: &str| {
        (1..=KEY_CHARACTERS_MAX).contains(&name.len()) && name.bytes().all(is_name_byte)
    };
    if !entries.iter().all(|(name, _)| is_key(name)) {
        return Err(InputError::Key { map: printed() });
    }
    if PATHS_MAX < entries.len() {
        return Err(InputError::PathsCount { map: printed() });
    }
    entries
        .into_iter()
        .map(|(name, path)| match Path::parse(path) {
            Some(parsed) => Ok((name, parsed)),
            None => Err(InputError::Path {
                target_id: target_id.to_owned(),
                path: path.to_owned(),
            }),
        })
        .collect()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// A placeholder and what stands around it.
struct Placeholder<'t> {
    /// With `<` and `>`.
    range: Range<usize>,
    name: &'t str,
    /// Inside a JSON string.
    is_quoted: bool,
    /// In an object's key, or where one should be.
    is_key: bool,
    /// The whole value of an object's member.
    is_member_value: bool,
}

impl Placeholder<'_> {
    fn warning(&self, is_unknown: bool) -> Warning {
        let (name, offset) = (self.name.to_owned(), self.range.start);
        match (is_unknown, self.is_quoted) {
            (true, _) => Warning::Unknown { name, offset },
            (false, true) => Warning::RawText { name, offset },
            (false, false) => Warning::BareText { name, offset },
        }
    }
}

/// Finds the placeholders. Brackets are followed only as far as keys and values need it, since
/// whether they fit is for the probe to say.
fn placeholders(template: &str) -> (Vec<Placeholder<'_>>, Vec<Warning>) {
    let text = template.as_bytes();
    let mut places = Vec::new();
    let mut warnings = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    let mut is_quoted = false;
    let mut is_key = false;
    // The last byte outside strings that is no blank.
    let mut before = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'<'
            && let Some(name) = name_at(template, at + 1)
        {
            let end = at + name.len() + 2;
            if RESERVED.contains(&name) || !name.contains('.') {
                let next = text.get(json::blanks(text, end));
                places.push(Placeholder {
                    range: at..end,
                    name,
                    is_quoted,
                    is_key,
                    is_member_value: !is_quoted
                        && before == b':'
                        && matches!(next, Some(b',' | b'}')),
                });
                before = b'>';
                at = end;
                continue;
            }
            warnings.push(Warning::NoPlaceholder {
                name: name.to_owned(),
                offset: at,
            });
        }
        if is_quoted {
            match byte {
                b'\\' => at += 1,
                b'"' => is_quoted = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => is_quoted = true,
                b'{' | b'[' => {
                    open.push(byte);
                    is_key = byte == b'{';
                }
                b'}' | b']' => {
                    open.pop();
                    is_key = false;
                }
                b',' => is_key = open.last() == Some(&b'{'),
                b':' => is_key = false,
                _ => {}
            }
            if !json::is_blank(byte) {
                before = byte;
            }
        }
        at += 1;
    }
    (places, warnings)
}

/// The name at `at` when a `>` follows it.
fn name_at(template: &str, at: usize) -> Option<&str> {
    let length = template.as_bytes()[at..]
        .iter()
        .take_while(|&&byte| is_name_byte(byte) || byte == b'.')
        .count();
    let end = at + length;
    (0 < length && template.as_bytes().get(end) == Some(&b'>')).then(|| &template[at..end])
}

/// Checks that the template is JSON once values stand in it.
fn check_probe(
    template: &str,
    places: &[Placeholder<'_>],
    target_id: &str,
) -> Result<(), InputError> {
    let mut probe = String::with_capacity(template.len());
    // Where each placeholder begins in the probe.
    let mut starts = Vec::with_capacity(places.len());
    let mut copied = 0;
    for place in places {
        probe.push_str(&template[copied..place.range.start]);
        starts.push(probe.len());
        // No hexadecimal digits: `\u00<n>` must not pass for an escape.
        probe.push_str(if place.is_quoted { "text" } else { "null" });
        copied = place.range.end;
    }
    probe.push_str(&template[copied..]);
    let Err(fault) = json::check_texts(probe.as_bytes()) else {
        return Ok(());
    };
    let offset = match starts.partition_point(|&start| start <= fault) {
        0 => fault,
        count => {
            let place = &places[count - 1].range;
            match fault - starts[count - 1] {
                0..4 => place.start,
                past => place.end + past - 4,
            }
        }
    };
    Err(InputError::Template {
        target_id: target_id.to_owned(),
        place: Place::new(&probe, fault),
        offset,
    })
}
