//! Names of types and objects, and the chains of objects that a string refers to.
//!
//! Source: certificate-lifecycle.md 4.1, 4.2. Comparison is by bytes; nothing is normalised.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The scope that every event belongs to. No type may be called so.
pub const PLATFORM: &str = "platform";

/// True for the name of a type: `^[a-z][a-z0-9-]{0,63}$`.
#[must_use]
pub fn is_type(text: &str) -> bool {
    let head = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    head && text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// True for the id of an object: 1 to 256 characters, no control characters, no `/`.
#[must_use]
pub fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.chars().take(257).count() <= 256
        && !text.chars().any(|c| c.is_control() || c == '/')
}

/// An object: its type and id, written `type/id`. Made by [`Ref::parse`] and [`Ref::new`] alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ref(Arc<str>);

impl Ref {
    /// The object of this type and id; `None` when one of them is none of 4.1.
    #[must_use]
    pub fn new(kind: &str, id: &str) -> Option<Ref> {
        (is_type(kind) && is_id(id)).then(|| Ref(format!("{kind}/{id}").into()))
    }

    /// Reads `type/id`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Ref> {
        let (kind, id) = text.split_once('/')?;
        Ref::new(kind, id)
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.parts().0
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.parts().1
    }

    /// `type/id`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').expect("checked when it was made")
    }
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Ref {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Ref {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Ref, Self::Error> {
        Ref::parse(&text).ok_or("not an object written as `type/id`")
    }
}

impl From<Ref> for String {
    fn from(object: Ref) -> String {
        object.0.as_ref().to_owned()
    }
}

/// The objects that `text` names, outermost first; none when it is no reference.
///
/// `certificate-authority/A/certificate/B` gives two, behind `arn:aws:acm-pca:R:N:` or bare.
#[must_use]
pub fn chain(text: &str) -> Vec<Ref> {
    let path = match text.strip_prefix("arn:") {
        // The first colon is gone with the prefix; four more are left before the resource.
        Some(rest) => match rest.splitn(5, ':').nth(4) {
            Some(path) => path,
            None => return Vec::new(),
        },
        None => text,
    };
    let parts: Vec<&str> = path.split('/').collect();
    let pairs = parts.chunks(2).map(|pair| match pair {
        [kind, id] => Ref::new(kind, id),
        _ => None,
    });
    pairs.collect::<Option<Vec<Ref>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found = chain(text);
        let found: Vec<&str> = found.iter().map(Ref::as_str).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_reference_is_pairs_of_type_and_id() {
        check("certificate/A", &["certificate/A"]);
        check("a/1/b/2", &["a/1", "b/2"]);
        check(
            "arn:aws:acm-pca:us-east-1:1:certificate-authority/A/certificate/B",
            &["certificate-authority/A", "certificate/B"],
        );
        check("arn:aws:s3:::bucket", &[]);
        check("arn:aws:acm:certificate/A", &[]);
        check("arn:aws:x:::a/b:c", &["a/b:c"]);
        for text in [
            "",
            "a",
            "a/",
            "/b",
            "a/1/b",
            "A/1",
            "a//b/2",
            "a/\u{7}",
            "1a/x",
            "not-a-reference",
            "58a37123-012d-4a56-8544-2a85110bdf26",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn types_and_ids_keep_to_their_bounds() {
        assert!(is_type(&format!("a{}", "b".repeat(63))));
        assert!(!is_type(&format!("a{}", "b".repeat(64))));
        assert!(is_id(&"é".repeat(256)));
        assert!(!is_id(&"é".repeat(257)));
        assert_eq!(Ref::parse("a/b/c"), None);
        let object = Ref::parse("ra-profile/x y").unwrap();
        assert_eq!((object.kind(), object.id()), ("ra-profile", "x y"));
    }
}
