//! What all batches share: the errors of a whole request, and answers entry by entry.
//!
//! Source: sqs-api.md 1.7.

use super::Output;
use super::errors::{Kind, Refused};
use serde_json::{Map, Value, json};

/// Entries of one batch.
const ENTRIES_MAX: usize = 10;
/// Characters of an entry's id.
const ID_MAX: usize = 80;

/// Checks a batch before any of its entries is looked at.
///
/// # Errors
/// The first rule that the whole breaks.
pub fn check<'a>(
    operation: &str,
    ids: impl ExactSizeIterator<Item = Option<&'a str>> + Clone,
) -> Result<(), Refused> {
    let count = ids.len();
    if count == 0 {
        let text =
            format!("There should be at least one {operation}BatchRequestEntry in the request.");
        return Err(Refused::new(Kind::BatchEmpty, text));
    }
    if ENTRIES_MAX < count {
        let text = format!(
            "Maximum number of entries per request are {ENTRIES_MAX}. You have sent {count}."
        );
        return Err(Refused::new(Kind::BatchCount, text));
    }
    if !ids.clone().all(|id| id.is_some_and(is_id)) {
        return Err(Refused::new(
            Kind::BatchId,
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
             It can be at most 80 letters long.",
        ));
    }
    let mut seen = std::collections::HashSet::new();
    match ids.flatten().find(|id| !seen.insert(*id)) {
        Some(id) => Err(Refused::new(
            Kind::BatchIdTwice,
            format!("Id {id} repeated."),
        )),
        None => Ok(()),
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// An entry that failed, by its place in the request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failed {
    n: usize,
    code: String,
    text: String,
    is_senders: bool,
}

impl Failed {
    /// Entry number `n` and why.
    #[must_use]
    pub fn new(n: usize, refused: &Refused) -> Self {
        Self {
            n,
            code: refused.kind.code().to_owned(),
            text: refused.text.clone(),
            is_senders: refused.kind.is_senders(),
        }
    }

    /// For an answer that is to be given again: empty in the ordinary case.
    #[must_use]
    pub fn encode(failed: &[Self]) -> Vec<u8> {
        match failed {
            [] => Vec::new(),
            failed => serde_json::to_vec(failed).expect("plain values"),
        }
    }

    /// Reads what [`Failed::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Vec<Self>> {
        match bytes {
            [] => Some(Vec::new()),
            bytes => serde_json::from_slice(bytes).ok(),
        }
    }
}

/// The answer of a batch: each entry once, in the order of the request. `good` gives the members of an entry
/// that did not fail; it is called in order.
pub fn answer<'a>(
    ids: impl Iterator<Item = Option<&'a str>>,
    failed: &[Failed],
    mut good: impl FnMut(usize) -> Map<String, Value>,
) -> Output {
    let (mut successful, mut unsuccessful) = (Vec::new(), Vec::new());
    for (n, id) in ids.enumerate() {
        if let Some(failed) = failed.iter().find(|failed| failed.n == n) {
            unsuccessful.push(json!({
                "Id": id,
                "SenderFault": failed.is_senders,
                "Code": failed.code,
                "Message": failed.text,
            }));
        } else {
            let mut entry = Map::from_iter([("Id".to_owned(), json!(id))]);
            entry.extend(good(n));
            successful.push(Value::Object(entry));
        }
    }
    let mut answer = Map::new();
    for (name, list) in [("Successful", successful), ("Failed", unsuccessful)] {
        if !list.is_empty() {
            answer.insert(name.into(), Value::Array(list));
        }
    }
    Output::Whole(Value::Object(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(ids: &[&str], expected: Kind) {
        let refused = check("SendMessage", ids.iter().map(|id| Some(*id)));
        assert_eq!(refused.expect_err("refused").kind, expected);
    }

    #[test]
    fn the_whole_is_checked_in_order() {
        check_refused(&[], Kind::BatchEmpty);
        check_refused(&["a b"; 11], Kind::BatchCount);
        check_refused(&["a b", "a b"], Kind::BatchId);
        check_refused(&[""], Kind::BatchId);
        check_refused(&[&"i".repeat(81)], Kind::BatchId);
        check_refused(&["a", "b", "a"], Kind::BatchIdTwice);
    }

    #[test]
    fn failed_entries_can_be_told_again() {
        let failed = vec![Failed::new(2, &Refused::no_queue())];
        assert_eq!(Failed::decode(&Failed::encode(&failed)), Some(failed));
        assert_eq!(Failed::encode(&[]), Vec::<u8>::new());
        assert_eq!(Failed::decode(&[]), Some(Vec::new()));
    }

    #[test]
    fn each_entry_is_answered_once_and_empty_lists_are_left_out() {
        let failed = [Failed::new(1, &Refused::no_queue())];
        let ids = [Some("a"), Some("b"), Some("c")];
        let mut asked = Vec::new();
        let Output::Whole(found) = answer(ids.into_iter(), &failed, |n| {
            asked.push(n);
            Map::new()
        }) else {
            panic!("a batch has a whole answer")
        };
        assert_eq!(asked, [0, 2]);
        assert_eq!(found["Successful"], json!([{"Id": "a"}, {"Id": "c"}]));
        assert_eq!(found["Failed"][0]["Id"], "b");
        let Output::Whole(found) = answer(ids.into_iter(), &[], |_| Map::new()) else {
            panic!("a batch has a whole answer")
        };
        assert_eq!(found.get("Failed"), None);
    }
}
