//! JSON 1.0: reading strictly, so that a member is what the model says or an error.
//!
//! A request becomes a small tree: a member given twice is refused, `null` is absent, a number in place of a
//! text is an error and no guess. The number of values is bounded, since a body of 4 MiB could hold a million.
//! Source: sqs-api.md 1.2.

use super::errors::{Kind, Refused};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;

/// Values in one request. The largest that is of use, ten entries with ten attributes each, has some 500.
const VALUES_MAX: usize = 20_000;
/// Name under which `serde_json` hands out a number that it keeps as it was written.
const NUMBER: &str = "$serde_json::private::Number";

/// A value of a request.
#[derive(Debug, PartialEq)]
pub enum Json<'a> {
    /// Absent, that is.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// As it was written.
    Number(String),
    /// With its escapes undone.
    Text(Cow<'a, str>),
    /// In order.
    List(Vec<Json<'a>>),
    /// Members in order, no name twice.
    Map(Members<'a>),
}

/// The members of an object.
#[derive(Debug, Default, PartialEq)]
pub struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Reads a body: one JSON object.
///
/// # Errors
/// `SerializationException`.
pub fn read(body: &[u8]) -> Result<Members<'_>, Refused> {
    let left = Cell::new(VALUES_MAX);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Seed(&left).deserialize(&mut reader);
    match value.and_then(|value| reader.end().map(|()| value)) {
        Ok(Json::Map(members)) => Ok(members),
        Ok(_) => Err(malformed("The request body is not a JSON object.")),
        Err(error) => Err(malformed(&format!(
            "The request body is not valid: {error}"
        ))),
    }
}

fn malformed(text: &str) -> Refused {
    Refused::new(Kind::Serialization, text)
}

fn wrong(value: &Json<'_>, wanted: &str) -> Refused {
    let found = match value {
        Json::Null => "NULL_VALUE",
        Json::Bool(true) => "TRUE_VALUE",
        Json::Bool(false) => "FALSE_VALUE",
        Json::Number(_) => "NUMBER_VALUE",
        Json::Text(_) => "STRING_VALUE",
        Json::List(_) => "START_ARRAY",
        Json::Map(_) => "START_OBJECT",
    };
    malformed(&format!("{found} can not be converted to {wanted}"))
}

impl<'a> Json<'a> {
    fn text(&self) -> Result<&str, Refused> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(wrong(other, "a String")),
        }
    }

    /// The members of an object.
    ///
    /// # Errors
    /// It is none.
    pub fn members(&self) -> Result<&Members<'a>, Refused> {
        match self {
            Self::Map(members) => Ok(members),
            other => Err(wrong(other, "a Map")),
        }
    }
}

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&Json<'a>> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value).filter(|v| **v != Json::Null)
    }

    /// Members that are not `null`, in the order of the request.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0
            .iter()
            .filter(|(_, value)| *value != Json::Null)
            .map(|(name, value)| (name.as_ref(), value))
    }

    /// A text.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Refused> {
        self.get(name).map(Json::text).transpose()
    }

    /// A whole number of 32 bits.
    ///
    /// # Errors
    /// It is none.
    pub fn integer(&self, name: &str) -> Result<Option<i32>, Refused> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value {
            Json::Number(digits) => digits
                .parse()
                .map(Some)
                .map_err(|_| wrong(value, "an Integer")),
            other => Err(wrong(other, "an Integer")),
        }
    }

    /// Bytes in base64.
    ///
    /// # Errors
    /// They are none.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Refused> {
        use base64::Engine as _;
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        let bytes = bytes.map_err(|_| malformed(&format!("{name} is not valid base64")))?;
        Ok(Some(bytes))
    }

    /// A list.
    ///
    /// # Errors
    /// It is none.
    pub fn list(&self, name: &str) -> Result<Option<&[Json<'a>]>, Refused> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::List(items)) => Ok(Some(items)),
            Some(other) => Err(wrong(other, "a List")),
        }
    }

    /// A list of texts; absent is empty.
    ///
    /// # Errors
    /// It is none, or one of its items is no text.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, Refused> {
        let items = self.list(name)?.unwrap_or_default();
        items.iter().map(Json::text).collect()
    }

    /// An object.
    ///
    /// # Errors
    /// It is none.
    pub fn map(&self, name: &str) -> Result<Option<&Members<'a>>, Refused> {
        self.get(name).map(Json::members).transpose()
    }

    /// An object of texts, in the order of the request.
    ///
    /// # Errors
    /// It is none, or one of its members is no text.
    pub fn text_map(&self, name: &str) -> Result<Option<Vec<(&str, &str)>>, Refused> {
        let Some(map) = self.map(name)? else {
            return Ok(None);
        };
        let texts = map.iter().map(|(name, value)| Ok((name, value.text()?)));
        texts.collect::<Result<_, _>>().map(Some)
    }
}

struct Seed<'c>(&'c Cell<usize>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        let left = self.0.get().checked_sub(1);
        self.0
            .set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        // With its point, so that it is taken for no whole number.
        Ok(Json::Number(format!("{value:?}")))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed(self.0))? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut map: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some(name) = members.next_key_seed(Seed(self.0))? {
            let Json::Text(name) = name else {
                return Err(A::Error::custom("a name is no text"));
            };
            let value = members.next_value_seed(Seed(self.0))?;
            if name == NUMBER
                && let Json::Text(digits) = value
            {
                return Ok(Json::Number(digits.into_owned()));
            }
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("`{name}` is given twice")));
            }
            map.push((name, value));
        }
        Ok(Json::Map(Members(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(body: &str, expected: &str) {
        let members = read(body.as_bytes());
        let found = members.and_then(|m| {
            m.text("s")?;
            m.integer("n")?;
            m.bytes("b")?;
            m.texts("l")?;
            m.text_map("m").map(|_| ())
        });
        let found = found.expect_err("refused");
        assert_eq!(found.kind, Kind::Serialization);
        assert!(found.text.contains(expected), "{}", found.text);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        check_refused("", "not valid");
        check_refused("{", "not valid");
        check_refused("[]", "not a JSON object");
        check_refused("{} x", "not valid");
        check_refused(r#"{"s":"\ud800"}"#, "not valid");
        check_refused(&"[".repeat(2_000_000), "not valid");
        check_refused(&format!("[{}0]", "0,".repeat(VALUES_MAX)), "too many");
    }

    #[test]
    fn a_member_given_twice_is_refused() {
        check_refused(r#"{"s":"a","s":"b"}"#, "`s` is given twice");
        check_refused(r#"{"x":{"y":1,"y":1}}"#, "`y` is given twice");
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        check_refused(
            r#"{"s":5}"#,
            "NUMBER_VALUE can not be converted to a String",
        );
        check_refused(
            r#"{"n":"5"}"#,
            "STRING_VALUE can not be converted to an Integer",
        );
        check_refused(r#"{"n":1.5}"#, "an Integer");
        check_refused(r#"{"n":4294967296}"#, "an Integer");
        check_refused(r#"{"b":"***"}"#, "base64");
        check_refused(r#"{"l":["a",1]}"#, "a String");
        check_refused(r#"{"m":{"a":true}}"#, "TRUE_VALUE");
    }

    #[test]
    fn null_is_absent_and_unknown_members_are_passed_over() {
        let members = read(br#"{"s":null,"n":-3,"x":{"y":[1,{}]},"l":[]}"#).unwrap();
        assert_eq!(members.text("s"), Ok(None));
        assert_eq!(members.integer("n"), Ok(Some(-3)));
        assert_eq!(members.texts("l"), Ok(Vec::new()));
    }
}
