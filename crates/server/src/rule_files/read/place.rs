//! Where in a file a thing is written.

use rule_engine::json::Node;
use std::ops::Range;

pub(super) fn span(node: &Node<'_>) -> Range<usize> {
    node.start..node.end
}

/// The bracket that opens an object: where something is missing in it.
pub(super) fn first(node: &Node<'_>) -> Range<usize> {
    node.start..node.start + 1
}

/// Bytes of a file that hold `inside` of the pattern that is written at `place`, as object or string.
pub fn inside_pattern(text: &str, place: &Range<usize>, inside: Range<usize>) -> Range<usize> {
    if text[place.clone()].starts_with('"') {
        return inside_string(text, place, inside);
    }
    place.start + inside.start..place.start + inside.end
}

/// Bytes of a file that hold `inside` of what the JSON string at `place` means.
pub(super) fn inside_string(
    text: &str,
    place: &Range<usize>,
    inside: Range<usize>,
) -> Range<usize> {
    let raw = &text[place.start + 1..place.end - 1];
    let start = place.start + 1 + raw_offset(raw, inside.start);
    let end = place.start + 1 + raw_offset(raw, inside.end);
    start..end.max(start)
}

/// Where in the raw text of a JSON string the byte `offset` of its meaning is written.
fn raw_offset(raw: &str, offset: usize) -> usize {
    let (mut at, mut meant) = (0, 0);
    while meant < offset && at < raw.len() {
        let rest = &raw[at..];
        let (width, bytes) = match rest.strip_prefix("\\u") {
            Some(hex) => {
                let code = u32::from_str_radix(hex.get(..4).unwrap_or("0"), 16).unwrap_or(0);
                // The two halves of a pair are one character of four bytes.
                match char::from_u32(code) {
                    Some(character) => (6, character.len_utf8()),
                    None => (12, 4),
                }
            }
            None if rest.starts_with('\\') => (2, 1),
            None => {
                let width = rest.chars().next().map_or(1, char::len_utf8);
                (width, width)
            }
        };
        at += width;
        meant += bytes;
    }
    at.min(raw.len())
}
