//! Pages of a list, and the tokens that lead from one to the next.
//!
//! A token holds the last name that was returned, not a count, so that what is made or taken away meanwhile
//! neither repeats nor skips others. It is bound to its operation, bus and filter by a keyed checksum, and
//! lives for ever. Source: eventbridge-api.md 14.

use super::Fault;
use super::members::Object;
use crate::http::aws::constraints::{Constraints, Text};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Members of a page.
const LIMIT_MAX: i64 = 100;
/// Form of the tokens that this program writes.
const FORM: u8 = 1;
/// Bytes of the checksum that a token carries.
const CHECKSUM_BYTES: usize = 16;

/// What a list call says of paging.
pub struct Paging {
    token: Option<String>,
    limit: Option<i64>,
}

/// From where on, and how many.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The last name of the page before; none for the first page.
    pub after: Option<String>,
    /// Most members of this page.
    pub limit: usize,
}

impl Paging {
    /// Reads `NextToken` and `Limit`.
    ///
    /// # Errors
    /// `SerializationException`.
    pub fn of(call: &Object<'_>) -> Result<Self, Fault> {
        Ok(Self {
            token: call.text("NextToken")?.map(Into::into),
            limit: call.integer("Limit")?,
        })
    }

    /// Their bounds.
    pub fn check(&self, constraints: &mut Constraints) {
        constraints.text("nextToken", self.token.as_deref(), &Text::of(1, 2048));
        constraints.range("limit", self.limit, 1, LIMIT_MAX);
    }

    /// The page that is asked for.
    ///
    /// # Errors
    /// `ValidationException` if the token is none of this list.
    pub fn page(&self, list: &List<'_>) -> Result<Page, Fault> {
        let after = match &self.token {
            None => None,
            Some(token) => Some(
                list.open(token)
                    .ok_or_else(|| Fault::validation("Parameter NextToken is not valid."))?,
            ),
        };
        Ok(Page {
            after,
            limit: usize::try_from(self.limit.unwrap_or(LIMIT_MAX)).unwrap_or(1),
        })
    }
}

/// A list that tokens are bound to.
pub struct List<'a> {
    /// Key of the checksum.
    pub secret: &'a [u8; 32],
    /// Name of the operation.
    pub operation: &'a str,
    /// What it was asked for: bus, and prefix or target.
    pub filter: &'a [&'a str],
}

impl List<'_> {
    fn checksum(&self, last: &str) -> [u8; CHECKSUM_BYTES] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret).expect("a key of any length is taken");
        for part in [&["page", self.operation, last], self.filter].concat() {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let whole = mac.finalize().into_bytes();
        whole[..CHECKSUM_BYTES]
            .try_into()
            .expect("a SHA-256 has 32 bytes")
    }

    /// The token that leads behind `last`.
    #[must_use]
    pub fn token(&self, last: &str) -> String {
        let checksum = self.checksum(last);
        URL_SAFE_NO_PAD.encode([&[FORM], checksum.as_slice(), last.as_bytes()].concat())
    }

    fn open(&self, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (head, last) = bytes.split_at_checked(1 + CHECKSUM_BYTES)?;
        let last = std::str::from_utf8(last).ok()?;
        let made_here = head[0] == FORM && head[1..] == self.checksum(last);
        made_here.then(|| last.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list<'a>(operation: &'a str, filter: &'a [&'a str]) -> List<'a> {
        let secret = &[7; 32];
        List {
            secret,
            operation,
            filter,
        }
    }

    #[track_caller]
    fn check(list: &List<'_>, token: &str, expected: Option<&str>) {
        assert_eq!(list.open(token).as_deref(), expected);
    }

    #[test]
    fn a_token_opens_where_it_was_made() {
        let rules = list("ListRules", &["default", "a"]);
        let token = rules.token("abc");
        check(&rules, &token, Some("abc"));
        check(&list("ListRules", &["default", "b"]), &token, None);
        check(&list("ListRules", &["defaulta", ""]), &token, None);
        check(&list("ListEventBuses", &["default", "a"]), &token, None);
        check(&rules, "garbage", None);
        check(&rules, "", None);
        check(&rules, &token[..token.len() - 2], None);
    }
}
