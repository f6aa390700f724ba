//! An object of the inventory, and who wrote what of it when.
//!
//! Each attribute, the owner and the membership of each scope type remember the time of what wrote
//! them; what is older changes nothing, what is of equal time does. That holds for removals too.
//! Source: certificate-lifecycle.md 5.2, INV-1, INV-2.

use crate::documents::shape::{ID, Member, REFERENCE, Shape, TYPE};
use crate::event::{DEPTH_MAX, nests_deeper};
use crate::moment;
use crate::reference::{Ref, is_id, is_type};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What is known of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its type and id.
    pub object: Ref,
    owner: Option<Ref>,
    attributes: Map<String, Value>,
    scopes: BTreeMap<String, Vec<String>>,
    relations: BTreeMap<String, Vec<Ref>>,
    /// Time of the newest write, epoch milliseconds; `None`: nothing was ever written.
    updated_at: Option<i64>,
    /// Time of the first write: that of every field that is there and not listed in `written`. Most
    /// objects are written in one go, and need no list.
    base: i64,
    /// Times of writes by field, as `owner`, `attributes.NAME`, `scopes.TYPE`; also of removed ones.
    written: BTreeMap<String, i64>,
}

/// An object at rest: a third of the memory. What people see of it, ready to be matched, and the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// [`Object::to_json`] as text.
    pub(crate) shown: Box<str>,
    rest: Box<str>,
}

#[derive(Serialize, Deserialize)]
struct Rest<'r> {
    updated_at: Option<i64>,
    base: i64,
    written: std::borrow::Cow<'r, BTreeMap<String, i64>>,
}

/// One change of one field, with a value that was checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// The owner, or none.
    Owner(Option<Ref>),
    /// An attribute; `None` removes it.
    Attribute(String, Option<Value>),
    /// The ids of the scopes of a type; `None` removes the membership.
    Scope(String, Option<Vec<String>>),
}

impl Field {
    fn key(&self) -> String {
        match self {
            Field::Owner(_) => "owner".to_owned(),
            Field::Attribute(name, _) => format!("attributes.{name}"),
            Field::Scope(kind, _) => format!("scopes.{kind}"),
        }
    }
}

impl Object {
    /// An object of which nothing is known: empty members and no owner.
    #[must_use]
    pub fn unknown(object: Ref) -> Object {
        Object {
            object,
            owner: None,
            attributes: Map::new(),
            scopes: BTreeMap::new(),
            relations: BTreeMap::new(),
            updated_at: None,
            base: i64::MIN,
            written: BTreeMap::new(),
        }
    }

    pub(crate) fn store(&self) -> Stored {
        let rest = Rest {
            updated_at: self.updated_at,
            base: self.base,
            written: std::borrow::Cow::Borrowed(&self.written),
        };
        let rest = serde_json::to_string(&rest).expect("numbers by names");
        Stored {
            shown: self.to_json().to_string().into(),
            rest: rest.into(),
        }
    }

    pub(crate) fn restore(object: &Ref, stored: &Stored) -> Object {
        let members = serde_json::from_str(&stored.shown).expect("it was written by `store`");
        let edit = Edit::read(object.clone(), &members).expect("it was written by `store`");
        let rest: Rest<'_> = serde_json::from_str(&stored.rest).expect("it was written by `store`");
        let mut it = Object::unknown(object.clone());
        for field in edit.fields {
            it.set(field);
        }
        it.relations = edit.relations;
        it.updated_at = rest.updated_at;
        it.base = rest.base;
        it.written = rest.written.into_owned();
        it
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Option<&Ref> {
        self.owner.as_ref()
    }

    /// The ids of its scopes of a type, as they were given.
    #[must_use]
    pub fn scope_ids(&self, kind: &str) -> &[String] {
        self.scopes.get(kind).map_or(&[], Vec::as_slice)
    }

    /// All its scopes, by type.
    #[must_use]
    pub fn scopes(&self) -> &BTreeMap<String, Vec<String>> {
        &self.scopes
    }

    /// The objects it is related to by one name.
    #[must_use]
    pub fn related(&self, relation: &str) -> &[Ref] {
        self.relations.get(relation).map_or(&[], Vec::as_slice)
    }

    /// All its relations, by name.
    #[must_use]
    pub fn relations(&self) -> &BTreeMap<String, Vec<Ref>> {
        &self.relations
    }

    /// Writes a field with the time of its cause. `false`, and nothing changed, when something newer
    /// wrote it.
    pub fn write(&mut self, field: Field, at: i64) -> bool {
        let key = field.key();
        let base = self.has(&field).then_some(self.base);
        if self
            .written
            .get(&key)
            .copied()
            .or(base)
            .is_some_and(|written| at < written)
        {
            return false;
        }
        if self.updated_at.is_none() {
            self.base = at;
        }
        self.touch(at);
        self.set(field.clone());
        if at == self.base && self.has(&field) {
            self.written.remove(&key);
        } else {
            self.written.insert(key, at);
        }
        true
    }

    /// Whether the field of this name is there.
    fn has(&self, field: &Field) -> bool {
        match field {
            Field::Owner(_) => self.owner.is_some(),
            Field::Attribute(name, _) => self.attributes.contains_key(name),
            Field::Scope(kind, _) => self.scopes.contains_key(kind),
        }
    }

    fn set(&mut self, field: Field) {
        match field {
            Field::Owner(owner) => self.owner = owner,
            Field::Attribute(name, Some(value)) => {
                self.attributes.insert(name, value);
            }
            Field::Attribute(name, None) => {
                self.attributes.shift_remove(&name);
            }
            Field::Scope(kind, Some(ids)) => {
                self.scopes.insert(kind, ids);
            }
            Field::Scope(kind, None) => {
                self.scopes.remove(&kind);
            }
        }
    }

    /// Adds a relation; `false` when it was there.
    pub fn relate(&mut self, relation: &str, to: Ref, at: i64) -> bool {
        let list = self.relations.entry(relation.to_owned()).or_default();
        if list.contains(&to) {
            return false;
        }
        list.push(to);
        self.touch(at);
        true
    }

    /// Removes a relation; `false` when it was not there.
    pub fn unrelate(&mut self, relation: &str, to: &Ref, at: i64) -> bool {
        let Some(list) = self.relations.get_mut(relation) else {
            return false;
        };
        let before = list.len();
        list.retain(|it| it != to);
        let changed = list.len() < before;
        if list.is_empty() {
            self.relations.remove(relation);
        }
        if changed {
            self.touch(at);
        }
        changed
    }

    fn touch(&mut self, at: i64) {
        self.updated_at = self.updated_at.max(Some(at));
    }

    /// The fields that a replacement by `edit` leaves out, as removals.
    fn missing_from(&self, edit: &Edit) -> Vec<Field> {
        let given: Vec<String> = edit.fields.iter().map(Field::key).collect();
        let attributes = self.attributes.keys();
        let scopes = self.scopes.keys();
        let owner = self.owner.is_some().then_some(Field::Owner(None));
        owner
            .into_iter()
            .chain(attributes.map(|name| Field::Attribute(name.clone(), None)))
            .chain(scopes.map(|kind| Field::Scope(kind.clone(), None)))
            .filter(|field| !given.contains(&field.key()))
            .collect()
    }

    /// Time of the newest write, epoch milliseconds; `None`: nothing was ever written.
    #[must_use]
    pub fn updated_at(&self) -> Option<i64> {
        self.updated_at
    }

    /// As 5.2 shows it; what was never written has no `updatedAt`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut shown = json!({
            "type": self.object.kind(),
            "id": self.object.id(),
            "owner": self.owner.as_ref().map(owner_json),
            "attributes": self.attributes,
            "scopes": self.scopes,
            "relations": self.relations,
        });
        if let Some(at) = self.updated_at {
            shown["updatedAt"] = moment::format(at).into();
        }
        shown
    }
}

/// `{"type": …, "id": …}`, as owners are written.
#[must_use]
pub fn owner_json(owner: &Ref) -> Value {
    json!({"type": owner.kind(), "id": owner.id()})
}

/// Reads `{"type": …, "id": …}`; `None` if it is no such thing.
#[must_use]
pub fn owner_from(value: &Value) -> Option<Ref> {
    let members = value.as_object()?;
    let (kind, id) = (members.get("type")?.as_str()?, members.get("id")?.as_str()?);
    (members.len() == 2).then(|| Ref::new(kind, id))?
}

/// Reads a list of ids of scopes; each once.
#[must_use]
pub fn ids_from(value: &Value) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    for item in value.as_array()? {
        let id = item.as_str().filter(|id| is_id(id))?.to_owned();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Some(ids)
}

/// What the API writes of an object: the whole of it (put) or some members (patch).
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Which object.
    pub object: Ref,
    fields: Vec<Field>,
    /// Relations by name, each to be exactly this list.
    pub(crate) relations: BTreeMap<String, Vec<Ref>>,
    /// The time that it claims, epoch milliseconds; else the present is used.
    pub at: Option<i64>,
}

/// Why an edit was turned down: the member, as a JSON pointer, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{at}`: {message}")]
pub struct EditError {
    /// JSON pointer.
    pub at: String,
    /// What is wrong.
    pub message: &'static str,
}

/// An object in the form of 5.2, as an edit has it.
pub const OBJECT: Shape = Shape::Object(&[
    Member::optional("type", Shape::Form(TYPE), "Its type."),
    Member::optional("id", Shape::Form(ID), "Its id."),
    Member::optional(
        "owner",
        Shape::Either(&[Shape::Null, Shape::Object(&OWNER)]),
        "Another object; null: none.",
    ),
    Member::optional(
        "attributes",
        Shape::Map(None, &Shape::Any),
        "What is known of it.",
    ),
    Member::optional(
        "scopes",
        Shape::Map(
            Some(TYPE),
            &Shape::Either(&[Shape::Null, Shape::List(0, &Shape::Form(ID))]),
        ),
        "Ids by type of scope.",
    ),
    Member::optional(
        "relations",
        Shape::Map(
            Some(TYPE),
            &Shape::Either(&[Shape::Null, Shape::List(0, &Shape::Form(REFERENCE))]),
        ),
        "Other objects as `type/id`, by name of the relation.",
    ),
    Member::optional(
        "updatedAt",
        Shape::Text,
        "Time of the write; left out: the present.",
    ),
]);
const OWNER: [Member; 2] = [
    Member::required("type", Shape::Form(TYPE), "Its type."),
    Member::required("id", Shape::Form(ID), "Its id."),
];

impl Edit {
    /// Reads an object in the form of 5.2, or a part of one. `null` removes an attribute, the
    /// membership of a scope type, a relation or the owner. `type` and `id` may be left out.
    ///
    /// # Errors
    /// The first member that is not as 5.2 has it.
    pub fn read(object: Ref, value: &Value) -> Result<Edit, EditError> {
        let fault = |at: String, message| Err(EditError { at, message });
        let mut edit = Edit {
            object,
            fields: Vec::new(),
            relations: BTreeMap::new(),
            at: None,
        };
        let Value::Object(members) = value else {
            return fault(String::new(), "an object is wanted");
        };
        for (name, value) in members {
            let at = format!("/{name}");
            match (name.as_str(), value) {
                ("type", Value::String(kind)) if kind == edit.object.kind() => {}
                ("id", Value::String(id)) if id == edit.object.id() => {}
                ("type" | "id", _) => return fault(at, "another object than the address names"),
                ("owner", Value::Null) => edit.fields.push(Field::Owner(None)),
                ("owner", owner) => match owner_from(owner) {
                    Some(owner) => edit.fields.push(Field::Owner(Some(owner))),
                    None => return fault(at, "an owner is `{\"type\": …, \"id\": …}` or null"),
                },
                ("attributes", Value::Object(attributes)) => {
                    for (name, value) in attributes {
                        if nests_deeper(value, DEPTH_MAX) {
                            return fault(
                                format!("{at}/{name}"),
                                "a value nests 64 containers deep at most",
                            );
                        }
                        let value = (!value.is_null()).then(|| value.clone());
                        edit.fields.push(Field::Attribute(name.clone(), value));
                    }
                }
                ("scopes", Value::Object(scopes)) => {
                    for (kind, ids) in scopes {
                        let at = format!("{at}/{kind}");
                        if !is_type(kind) {
                            return fault(at, "not the name of a type");
                        }
                        let ids = match ids {
                            Value::Null => None,
                            ids => match ids_from(ids) {
                                Some(ids) => Some(ids),
                                None => return fault(at, "a list of ids is wanted"),
                            },
                        };
                        edit.fields.push(Field::Scope(kind.clone(), ids));
                    }
                }
                ("relations", Value::Object(relations)) => {
                    for (relation, list) in relations {
                        let at = format!("{at}/{relation}");
                        let read = |item: &Value| item.as_str().and_then(Ref::parse);
                        let list = match list {
                            Value::Null => Some(Vec::new()),
                            Value::Array(items) => items.iter().map(read).collect(),
                            _ => None,
                        };
                        match list {
                            Some(list) if is_type(relation) => {
                                edit.relations.insert(relation.clone(), list);
                            }
                            Some(_) => return fault(at, "not the name of a relation"),
                            None => return fault(at, "a list of `type/id` is wanted"),
                        }
                    }
                }
                ("attributes" | "scopes" | "relations", _) => {
                    return fault(at, "an object is wanted");
                }
                ("updatedAt", Value::String(text)) if moment::parse(text).is_some() => {
                    edit.at = moment::parse(text);
                }
                ("updatedAt", _) => return fault(at, "an RFC 3339 time is wanted"),
                ("$schema" | "Description", _) => {}
                _ => return fault(at, "no such member"),
            }
        }
        Ok(edit)
    }

    /// Makes it the replacement of `before`: what it does not name is removed.
    pub(crate) fn replacing(mut self, before: &Object) -> Edit {
        let missing = before.missing_from(&self);
        self.fields.extend(missing);
        for relation in before.relations.keys() {
            self.relations.entry(relation.clone()).or_default();
        }
        self
    }

    pub(crate) fn apply(&self, object: &mut Object, at: i64) {
        for field in &self.fields {
            object.write(field.clone(), at);
        }
        // Also an edit without members is a write: the object is there from now on.
        object.touch(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object::unknown(Ref::parse("thing/1").unwrap())
    }

    fn attribute(value: Option<&str>) -> Field {
        Field::Attribute("a".into(), value.map(Value::from))
    }

    #[test]
    fn an_attribute_that_could_not_be_read_again_is_refused() {
        let mut value = json!(1);
        for _ in 0..DEPTH_MAX {
            value = json!([value]);
        }
        let object = || Ref::parse("thing/1").unwrap();
        assert!(Edit::read(object(), &json!({"attributes": {"a": value}})).is_ok());
        let refused = Edit::read(object(), &json!({"attributes": {"a": [value]}}));
        assert_eq!(refused.unwrap_err().at, "/attributes/a");
    }

    #[test]
    fn an_older_write_changes_nothing_and_an_equal_one_does() {
        let mut it = object();
        assert!(it.write(attribute(Some("x")), 5));
        assert!(!it.write(attribute(Some("y")), 4));
        assert_eq!(it.to_json()["attributes"]["a"], "x");
        assert!(it.write(attribute(Some("z")), 5));
        assert_eq!(it.to_json()["attributes"]["a"], "z");
        assert!(it.write(attribute(None), 6));
        assert!(!it.write(attribute(Some("late")), 5));
        assert_eq!(it.to_json()["attributes"], json!({}));
        // Each field has a time of its own.
        assert!(it.write(Field::Owner(Ref::parse("user/u")), 1));
        assert!(it.write(Field::Scope("group".into(), Some(vec!["g".into()])), 2));
        assert!(!it.write(Field::Scope("group".into(), None), 1));
        assert_eq!(it.scope_ids("group"), ["g"]);
        assert_eq!(it.to_json()["updatedAt"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn the_unknown_has_empty_members_and_no_owner() {
        let shown = json!({"type": "thing", "id": "1", "owner": null, "attributes": {}, "scopes": {}, "relations": {}});
        assert_eq!(object().to_json(), shown);
    }

    #[test]
    fn an_edit_is_checked() {
        let read = |value: Value| Edit::read(Ref::parse("thing/1").unwrap(), &value);
        assert!(read(json!({})).is_ok());
        for (value, at) in [
            (json!([]), ""),
            (json!({"id": "2"}), "/id"),
            (json!({"owner": "u"}), "/owner"),
            (
                json!({"owner": {"type": "user", "id": "u", "x": 1}}),
                "/owner",
            ),
            (json!({"attributes": []}), "/attributes"),
            (json!({"scopes": {"group": "g"}}), "/scopes/group"),
            (json!({"scopes": {"group": ["a/b"]}}), "/scopes/group"),
            (json!({"scopes": {"G": []}}), "/scopes/G"),
            (json!({"relations": {"r": ["x"]}}), "/relations/r"),
            (json!({"updatedAt": "now"}), "/updatedAt"),
            (json!({"colour": 1}), "/colour"),
        ] {
            assert_eq!(read(value).unwrap_err().at, at);
        }
    }
}
