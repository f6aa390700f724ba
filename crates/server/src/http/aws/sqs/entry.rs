//! One message as a caller sends it: its members, its size, what it may hold.
//!
//! Source: sqs-api.md 2.5, 6.2 to 6.4.

use super::errors::{Kind, Refused};
use super::wire::Members;
use bus_core::document::Queue;

/// Attributes of one message.
const ATTRIBUTES_MAX: usize = 10;
/// Bytes of an attribute's name, and of its data type.
const NAME_BYTES_MAX: usize = 256;
/// Digits of a number.
const DIGITS_MAX: usize = 38;
/// Characters of a group id.
const ID_MAX: usize = 128;
/// The one system attribute that can be sent.
pub const TRACE: &str = "AWSTraceHeader";

const CHARACTERS: &str = "Invalid characters found. Valid unicode characters are \
    #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF";

/// A message attribute.
#[derive(Debug)]
pub struct Attribute<'a> {
    name: &'a str,
    kind: Option<&'a str>,
    text: Option<&'a str>,
    bytes: Option<Vec<u8>>,
    has_lists: bool,
}

/// A message as it is sent, not yet checked.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Of a batch entry.
    pub id: Option<&'a str>,
    /// Seconds before it can be received.
    pub delay: Option<i32>,
    /// `MessageGroupId`.
    pub group: Option<&'a str>,
    body: Option<&'a str>,
    deduplication: Option<&'a str>,
    attributes: Vec<Attribute<'a>>,
    system: Vec<Attribute<'a>>,
}

/// Name, data type, raw value.
pub type Triple<'a> = (&'a str, &'a str, &'a [u8]);

impl<'a> Entry<'a> {
    /// Reads the members of `SendMessage` or of one entry of its batch.
    ///
    /// # Errors
    /// One of another JSON type.
    pub fn read(members: &'a Members<'_>) -> Result<Self, Refused> {
        Ok(Self {
            id: members.text("Id")?,
            body: members.text("MessageBody")?,
            delay: members.integer("DelaySeconds")?,
            group: members.text("MessageGroupId")?,
            deduplication: members.text("MessageDeduplicationId")?,
            attributes: read_attributes(members, "MessageAttributes")?,
            system: read_attributes(members, "MessageSystemAttributes")?,
        })
    }

    /// The text; empty if there is none.
    #[must_use]
    pub fn body(&self) -> &'a str {
        self.body.unwrap_or("")
    }

    /// What counts against the bounds: the body and the message attributes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(|a| {
            let value = a.value().len();
            a.name.len() + a.kind.unwrap_or("").len() + value
        });
        self.body().len() + attributes.sum::<usize>()
    }

    /// Its attributes as they are stored and digested.
    #[must_use]
    pub fn attributes(&self) -> Vec<Triple<'_>> {
        self.attributes.iter().map(Attribute::triple).collect()
    }

    /// Its system attributes as they are digested.
    #[must_use]
    pub fn system(&self) -> Vec<Triple<'_>> {
        self.system.iter().map(Attribute::triple).collect()
    }

    /// The trace header that was sent as an attribute.
    #[must_use]
    pub fn trace(&self) -> Option<&'a str> {
        self.system.first()?.text
    }

    /// Checks it against the rules and the queue.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, queue: &Queue, in_batch: bool) -> Result<(), Refused> {
        let body = self.body.filter(|body| !body.is_empty());
        let body = body.ok_or_else(|| Refused::missing("MessageBody"))?;
        if !body.chars().all(is_allowed) {
            return Err(Refused::new(Kind::Contents, CHARACTERS));
        }
        if let Some(delay) = self.delay.filter(|delay| !(0..=900).contains(delay)) {
            let reason = "DelaySeconds must be >= 0 and <= 900.";
            return Err(Refused::value(delay, "DelaySeconds", reason));
        }
        let operation = match in_batch {
            true => "SendMessageBatch",
            false => "SendMessage",
        };
        if ATTRIBUTES_MAX < self.attributes.len() {
            return Err(bad(format!(
                "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
                self.attributes.len()
            )));
        }
        for attribute in &self.attributes {
            attribute.check_name()?;
            attribute.check_value(operation)?;
        }
        for attribute in &self.system {
            if attribute.name != TRACE {
                return Err(bad(format!(
                    "Message system attribute name '{}' is invalid.",
                    attribute.name
                )));
            }
            attribute.check_value(operation)?;
            if attribute.kind != Some("String") {
                return Err(bad(format!(
                    "Message system attribute '{TRACE}' must have the data type 'String'."
                )));
            }
        }
        let bytes_max = queue.message_bytes_max();
        if bytes_max < self.size() {
            let verb = if in_batch {
                "cannot be validated"
            } else {
                "are invalid"
            };
            return Err(bad(format!(
                "One or more parameters {verb}. Reason: Message must be shorter than {bytes_max} bytes."
            )));
        }
        if let Some(id) = self.deduplication {
            let reason = "The request includes a parameter that is not valid for this queue type.";
            return Err(Refused::value(id, "MessageDeduplicationId", reason));
        }
        match self.group {
            Some(group) if !is_id(group) => {
                let reason = "MessageGroupId can only include alphanumeric and punctuation characters. \
                              1 to 128 in length.";
                Err(Refused::value(group, "MessageGroupId", reason))
            }
            _ => Ok(()),
        }
    }
}

fn bad(text: impl Into<String>) -> Refused {
    Refused::new(Kind::Value, text)
}

/// Characters of XML 1.0, which the older protocol answers in.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Printable ASCII without space.
fn is_id(text: &str) -> bool {
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn read_attributes<'a>(
    members: &'a Members<'_>,
    name: &str,
) -> Result<Vec<Attribute<'a>>, Refused> {
    let Some(map) = members.map(name)? else {
        return Ok(Vec::new());
    };
    let attributes = map.iter().map(|(name, value)| {
        let members = value.members()?;
        let texts = members.texts("StringListValues")?;
        let binaries = members.texts("BinaryListValues")?;
        Ok(Attribute {
            name,
            kind: members.text("DataType")?,
            text: members.text("StringValue")?,
            bytes: members.bytes("BinaryValue")?,
            has_lists: !texts.is_empty() || !binaries.is_empty(),
        })
    });
    attributes.collect()
}

impl Attribute<'_> {
    fn value(&self) -> &[u8] {
        match (&self.bytes, self.text) {
            (Some(bytes), _) => bytes,
            (None, text) => text.unwrap_or("").as_bytes(),
        }
    }

    fn triple(&self) -> Triple<'_> {
        (self.name, self.kind.unwrap_or(""), self.value())
    }

    fn check_name(&self) -> Result<(), Refused> {
        let name = self.name;
        if NAME_BYTES_MAX < name.len() {
            return Err(bad(
                "Message (user) attribute names must be shorter than 256 Bytes",
            ));
        }
        let fits = |c: char| {
            c.is_ascii_alphanumeric()
                || "_-.".contains(c)
                || (('\u{c0}'..='\u{17f}').contains(&c) && c.is_alphabetic())
        };
        if name.is_empty() || !name.chars().all(fits) {
            return Err(bad(
                "Message (user) attributes name can only contain upper and lower score characters, digits, \
                 periods, hyphens and underscores. ",
            ));
        }
        let lower = name.to_ascii_lowercase();
        let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
        if reserved || name.starts_with('.') || name.ends_with('.') || name.contains("..") {
            return Err(bad(
                "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. \
                 These strings are reserved for internal use. Additionally, they cannot start or end with '.'.",
            ));
        }
        Ok(())
    }

    fn check_value(&self, operation: &str) -> Result<(), Refused> {
        let name = self.name;
        let kind = self.kind.filter(|kind| !kind.is_empty());
        let kind = kind.ok_or_else(|| bad("Missing required parameter DataType"))?;
        if NAME_BYTES_MAX < kind.len() {
            return Err(bad(
                "Message (user) attribute types must be shorter than 256 Bytes",
            ));
        }
        let base = kind.split('.').next().unwrap_or("");
        if !["String", "Number", "Binary"].contains(&base) {
            return Err(bad(format!(
                "Type for parameter MessageAttributes.Attribute_name.DataType must be prefixed with \
                 \"String\", \"Binary\", or \"Number\", but was: {kind}"
            )));
        }
        if self.has_lists {
            return Err(Refused::new(
                Kind::Unsupported,
                format!(
                    "Message attribute list values in {operation} operation are not supported."
                ),
            ));
        }
        let right = match base {
            "Binary" => self.text.is_none(),
            _ => self.bytes.is_none(),
        };
        if !right || self.value().is_empty() {
            return Err(bad(format!(
                "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
            )));
        }
        let mut texts = kind.chars().chain(self.text.unwrap_or("").chars());
        if !texts.all(is_allowed) {
            return Err(bad(CHARACTERS));
        }
        if base == "Number" && !self.text.is_some_and(is_number) {
            return Err(bad(format!(
                "Can't cast the value of message (user) attribute '{name}' to a number."
            )));
        }
        Ok(())
    }
}

/// Decimal, with sign, fraction and exponent if need be.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let count = whole.len() + fraction.len();
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && exponent.len() <= DIGITS_MAX && digits(exponent)
    });
    (1..=DIGITS_MAX).contains(&count) && digits(whole) && digits(fraction) && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::super::wire;
    use super::*;
    use bus_core::name::QueueName;

    #[track_caller]
    fn check(members: &str, expected: Result<(), (Kind, &str)>) {
        let members = wire::read(members.as_bytes()).unwrap();
        let mut queue = Queue::new(QueueName::parse("q").unwrap(), 0);
        let size = ("MaximumMessageSize".into(), "1024".into());
        queue.attributes.extend([size]);
        let found = Entry::read(&members).and_then(|entry| entry.check(&queue, false));
        let found = found.as_ref().map_err(|r| (r.kind, r.text.as_str()));
        assert_eq!(found, expected.as_ref().map_err(|e| *e));
    }

    #[track_caller]
    fn check_attribute(name: &str, value: &str, expected: Result<(), (Kind, &str)>) {
        let attributes =
            format!(r#"{{"MessageBody":"m","MessageAttributes":{{"{name}":{value}}}}}"#);
        check(&attributes, expected);
    }

    #[test]
    fn a_body_holds_characters_of_xml() {
        check(r#"{"MessageBody":"a\t\n\r\u007f\ufdd0\ufffd😀"}"#, Ok(()));
        for bad in [
            "\\u0000", "\\u0008", "\\u000b", "\\u001f", "\\ufffe", "\\uffff",
        ] {
            let body = format!(r#"{{"MessageBody":"a{bad}"}}"#);
            check(&body, Err((Kind::Contents, CHARACTERS)));
        }
        let missing = "The request must contain the parameter MessageBody.";
        check(r#"{"MessageBody":""}"#, Err((Kind::Missing, missing)));
        check("{}", Err((Kind::Missing, missing)));
    }

    #[test]
    fn a_message_fits_its_queue_to_the_byte() {
        let body = |n| format!(r#"{{"MessageBody":"{}"}}"#, "x".repeat(n));
        let text =
            "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.";
        check(&body(1024), Ok(()));
        check(&body(1025), Err((Kind::Value, text)));
        let with_attribute = |n| {
            format!(
                r#"{{"MessageBody":"{}","MessageAttributes":{{"A":{{"DataType":"String","StringValue":"v"}}}}}}"#,
                "x".repeat(n)
            )
        };
        check(&with_attribute(1016), Ok(()));
        check(&with_attribute(1017), Err((Kind::Value, text)));
    }

    #[test]
    fn attribute_names_keep_to_their_set() {
        let value = r#"{"DataType":"String","StringValue":"v"}"#;
        for good in ["a", "A.b-c_9", "ÀÿŽ", "aws", "awsx.y"] {
            check_attribute(good, value, Ok(()));
        }
        for bad in [
            "", "a b", "名", "a×b", "AWS.x", "amazon.x", ".a", "a.", "a..b",
        ] {
            let members =
                format!(r#"{{"MessageBody":"m","MessageAttributes":{{"{bad}":{value}}}}}"#);
            let members = wire::read(members.as_bytes()).unwrap();
            let queue = Queue::new(QueueName::parse("q").unwrap(), 0);
            let refused = Entry::read(&members).unwrap().check(&queue, false);
            assert_eq!(refused.unwrap_err().kind, Kind::Value, "{bad}");
        }
    }

    #[test]
    fn an_attribute_has_one_value_of_its_type() {
        let empty = "Message (user) attribute 'a' must contain a non-empty value of type 'String'.";
        for bad in [
            r#"{"DataType":"String"}"#,
            r#"{"DataType":"String","StringValue":""}"#,
            r#"{"DataType":"String","BinaryValue":"AAE="}"#,
            r#"{"DataType":"String","StringValue":"v","BinaryValue":"AAE="}"#,
        ] {
            check_attribute("a", bad, Err((Kind::Value, empty)));
        }
        let lists = "Message attribute list values in SendMessage operation are not supported.";
        check_attribute(
            "a",
            r#"{"DataType":"String","StringValue":"v","StringListValues":["x"]}"#,
            Err((Kind::Unsupported, lists)),
        );
        check_attribute(
            "a",
            r#"{"DataType":"Binary.gif","BinaryValue":"AAE=","StringListValues":[]}"#,
            Ok(()),
        );
    }

    #[test]
    fn a_number_is_decimal() {
        for good in ["0", "-12.50", "+1e3", ".5", "5.", "1E-9", &"9".repeat(38)] {
            assert!(is_number(good), "{good}");
        }
        for bad in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1.2.3",
            "0x1",
            " 1",
            &"1".repeat(39),
        ] {
            assert!(!is_number(bad), "{bad}");
        }
    }
}
