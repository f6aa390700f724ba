//! The members of a call, read one by one and only as deep as they are asked for.
//!
//! A body is checked once (UTF-8, one object, nesting, surrogates); after that an object is a list of names
//! and raw texts, and a member becomes a value when its type is known. A wrong type, and a name that stands
//! twice, is a `SerializationException` with its place. `null` is as if absent, unknown members are ignored.
//! Source: eventbridge-api.md 1.1; reliability-security.md 4.2.

use super::Fault;
use rule_engine::json::{Limits, line_column, validate};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Names in a call: as many as its size allows.
const LIMITS: Limits = Limits {
    depth_max: bus_core::limits::DEPTH_MAX,
    names_max: usize::MAX,
};

/// A string that is borrowed where nothing was escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'b>(pub Cow<'b, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// An object's members in order, each once.
struct Members<'b>(Vec<(Cow<'b, str>, &'b RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) =
                    map.next_entry::<Text<'de>, &'de RawValue>()?
                {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// A call's object, or one within it.
#[derive(Debug, Clone)]
pub struct Object<'b> {
    body: &'b str,
    members: Vec<(Cow<'b, str>, &'b RawValue)>,
}

impl<'b> Object<'b> {
    /// Reads a whole body; an empty one counts as `{}`.
    ///
    /// # Errors
    /// `SerializationException`.
    pub fn of_body(body: &'b [u8]) -> Result<Self, Fault> {
        if body.is_empty() {
            let (body, members) = ("", Vec::new());
            return Ok(Self { body, members });
        }
        check(body, body)?;
        let body = std::str::from_utf8(body).map_err(|e| Fault::serialization(e.to_string()))?;
        Self::read(body, body)
    }

    /// Reads an object that is a part of `body`, which itself was not checked.
    ///
    /// # Errors
    /// `SerializationException`.
    pub fn of_part(body: &'b str, part: &'b str) -> Result<Self, Fault> {
        check(body.as_bytes(), part.as_bytes())?;
        Self::read(body, part)
    }

    fn read(body: &'b str, text: &'b str) -> Result<Self, Fault> {
        let Members(members) = serde_json::from_str(text)
            .map_err(|_| fault(body, text, "an object is expected here"))?;
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let what = format!("the member {:?} stands twice in this object", pair[0]);
            return Err(fault(body, text, &what));
        }
        Ok(Self { body, members })
    }

    /// A member's text, unless it is absent or `null`.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'b str> {
        let (_, raw) = self.members.iter().find(|(member, _)| member == name)?;
        Some(raw.get()).filter(|text| *text != "null")
    }

    /// The members' names and texts, `null`s too.
    pub fn all(&self) -> impl Iterator<Item = (&str, &'b str)> {
        self.members
            .iter()
            .map(|(name, raw)| (name.as_ref(), raw.get()))
    }

    fn typed<T: Deserialize<'b>>(&self, name: &str, what: &str) -> Result<Option<T>, Fault> {
        self.raw(name)
            .map(|raw| {
                serde_json::from_str(raw)
                    .map_err(|_| fault(self.body, raw, &format!("{name} is to be {what}")))
            })
            .transpose()
    }

    /// A string.
    ///
    /// # Errors
    /// `SerializationException` if it is none.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'b, str>>, Fault> {
        Ok(self.typed::<Text<'b>>(name, "a string")?.map(|text| text.0))
    }

    /// A whole number.
    ///
    /// # Errors
    /// `SerializationException` if it is none.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        self.typed(name, "a whole number")
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// `SerializationException` if it is neither.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.typed(name, "true or false")
    }

    /// An object.
    ///
    /// # Errors
    /// `SerializationException` if it is none.
    pub fn object(&self, name: &str) -> Result<Option<Self>, Fault> {
        let raw = self.raw(name);
        raw.map(|raw| Self::read(self.body, raw)).transpose()
    }

    /// A list of objects.
    ///
    /// # Errors
    /// `SerializationException` if it is none.
    pub fn objects(&self, name: &str) -> Result<Option<Vec<Self>>, Fault> {
        let items: Option<Vec<&'b RawValue>> = self.typed(name, "a list")?;
        items
            .map(|items| {
                let read = |item: &'b RawValue| Self::read(self.body, item.get());
                items.into_iter().map(read).collect()
            })
            .transpose()
    }

    /// A list of strings.
    ///
    /// # Errors
    /// `SerializationException` if it is none.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<Cow<'b, str>>>, Fault> {
        let items: Option<Vec<Text<'b>>> = self.typed(name, "a list of strings")?;
        Ok(items.map(|items| items.into_iter().map(|text| text.0).collect()))
    }

    /// The JSON texts of a list's strings.
    ///
    /// # Errors
    /// `SerializationException` if it is no list of strings.
    pub fn raw_texts(&self, name: &str) -> Result<Option<Vec<&'b str>>, Fault> {
        self.texts(name)?;
        let items: Option<Vec<&'b RawValue>> = self.typed(name, "a list of strings")?;
        Ok(items.map(|items| items.into_iter().map(RawValue::get).collect()))
    }

    /// Any object, as it is.
    ///
    /// # Errors
    /// `SerializationException` if it is none.
    pub fn value(&self, name: &str) -> Result<Option<serde_json::Value>, Fault> {
        self.object(name)?;
        self.typed(name, "an object")
    }
}

/// Checks that `part` of `body` is one object within the bounds of JSON.
fn check(body: &[u8], part: &[u8]) -> Result<(), Fault> {
    validate(part, &LIMITS).map_err(|error| {
        let (line, column) = line_column(body, offset(body, part) + error.offset);
        Fault::serialization(format!("{} at line {line} column {column}", error.kind))
    })
}

/// Where `part` begins in `body`.
fn offset(body: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize)
}

/// A fault at `text`, which is a part of `body`.
fn fault(body: &str, text: &str, what: &str) -> Fault {
    let offset = offset(body.as_bytes(), text.as_bytes());
    let (line, column) = line_column(body.as_bytes(), offset);
    Fault::serialization(format!("{what}: line {line} column {column}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, read: impl Fn(&Object<'_>) -> Result<(), Fault>, expected: &str) {
        let fault = Object::of_body(body.as_bytes()).and_then(|object| read(&object));
        assert_eq!(fault.unwrap_err().message, expected);
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let limit = |object: &Object<'_>| object.integer("Limit").map(drop);
        check(
            "{\"x\":1,\n \"Limit\":\"10\"}",
            limit,
            "Limit is to be a whole number: line 2 column 10",
        );
        check(
            "{\"Limit\":1.5}",
            limit,
            "Limit is to be a whole number: line 1 column 10",
        );
    }

    #[test]
    fn a_doubled_member_is_refused_known_or_not() {
        check(
            r#"{"x":1,"\u0078":2}"#,
            |_| Ok(()),
            "the member \"x\" stands twice in this object: line 1 column 1",
        );
    }

    #[test]
    fn null_is_absent_and_unknown_is_ignored() {
        let object = Object::of_body(br#"{"Name":null,"Later":{"x":[]}}"#).unwrap();
        assert_eq!(object.text("Name").unwrap(), None);
        assert_eq!(object.text("Other").unwrap(), None);
        assert!(Object::of_body(b"").unwrap().raw("x").is_none());
    }
}
