//! JSON as bytes: checking a text, stepping over a value, blanks and escapes.
//!
//! No tree and no recursion. [`check_text`] and [`check_texts`] trust nothing; the others take
//! what was validated when the event was accepted, and merely end early where it was not.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Checks that `text` is one JSON text with blanks around it.
///
/// # Errors
/// The offset of what does not belong.
pub fn check_text(text: &[u8]) -> Result<(), usize> {
    let end = blanks(text, value(text, blanks(text, 0))?);
    if end == text.len() { Ok(()) } else { Err(end) }
}

/// Checks that `text` is one JSON text, or several JSON strings parted by blanks.
///
/// # Errors
/// The offset of what does not belong.
pub fn check_texts(text: &[u8]) -> Result<(), usize> {
    let mut at = blanks(text, 0);
    if text.get(at) != Some(&b'"') {
        return check_text(text);
    }
    loop {
        let end = string(text, at)?;
        at = blanks(text, end);
        if at == text.len() {
            return Ok(());
        }
        if at == end || text[at] != b'"' {
            return Err(at);
        }
    }
}

/// The first place from `at` on that is no blank.
pub fn blanks(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|&byte| is_blank(byte)) {
        at += 1;
    }
    at
}

pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Checks the value at `at`; its end. The stack of open brackets is on the heap.
fn value(text: &[u8], mut at: usize) -> Result<usize, usize> {
    let mut open: Vec<u8> = Vec::new();
    loop {
        match text.get(at) {
            Some(&bracket @ (b'{' | b'[')) => {
                at = blanks(text, at + 1);
                if text.get(at) == Some(&(bracket + 2)) {
                    at += 1;
                } else {
                    open.push(bracket);
                    if bracket == b'{' {
                        at = key(text, at)?;
                    }
                    continue;
                }
            }
            Some(b'"') => at = string(text, at)?,
            Some(b'-' | b'0'..=b'9') => at = number(text, at)?,
            Some(_) => at = word(text, at)?,
            None => return Err(at),
        }
        // A value has ended at `at`; so may some that hold it.
        loop {
            let Some(&bracket) = open.last() else {
                return Ok(at);
            };
            at = blanks(text, at);
            match text.get(at) {
                Some(b',') => {
                    at = blanks(text, at + 1);
                    if bracket == b'{' {
                        at = key(text, at)?;
                    }
                    break;
                }
                // In ASCII, `}` is `{` + 2 and `]` is `[` + 2.
                Some(&byte) if byte == bracket + 2 => {
                    open.pop();
                    at += 1;
                }
                _ => return Err(at),
            }
        }
    }
}

/// Checks a key and its colon; where the value begins.
fn key(text: &[u8], at: usize) -> Result<usize, usize> {
    if text.get(at) != Some(&b'"') {
        return Err(at);
    }
    let colon = blanks(text, string(text, at)?);
    if text.get(colon) != Some(&b':') {
        return Err(colon);
    }
    Ok(blanks(text, colon + 1))
}

/// Checks a string; the place after its closing quote.
fn string(text: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start + 1;
    loop {
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => {
                let escape = text.get(at + 1).ok_or(start)?;
                at += match escape {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                    b'u' if hex(text, at + 2).is_some() => 6,
                    _ => return Err(at),
                };
            }
            Some(0..=0x1f) => return Err(at),
            Some(_) => at += 1,
            None => return Err(start),
        }
    }
}

fn number(text: &[u8], start: usize) -> Result<usize, usize> {
    let digits = |from: usize| {
        let count = text[from.min(text.len())..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            Err(start)
        } else {
            Ok(from + count)
        }
    };
    let integer = start + usize::from(text[start] == b'-');
    let mut at = digits(integer)?;
    if text[integer] == b'0' && integer + 1 < at {
        return Err(start);
    }
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Ok(at)
}

/// Checks `true`, `false` or `null`.
fn word(text: &[u8], at: usize) -> Result<usize, usize> {
    let word = [b"true".as_slice(), b"false", b"null"]
        .into_iter()
        .find(|word| text[at..].starts_with(word))
        .ok_or(at)?;
    let end = at + word.len();
    // `nullx` is one wrong word, not a right one and a rest.
    if text.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return Err(at);
    }
    Ok(end)
}

/// Steps over the valid value at `at`; its end.
pub fn skip(text: &[u8], mut at: usize) -> usize {
    match text.get(at) {
        Some(b'"') => skip_string(text, at),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            while let Some(&byte) = text.get(at) {
                match byte {
                    b'"' => {
                        at = skip_string(text, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            text.len()
        }
        _ => {
            while let Some(&byte) = text.get(at) {
                if matches!(byte, b',' | b'}' | b']') || is_blank(byte) {
                    break;
                }
                at += 1;
            }
            at
        }
    }
}

/// Steps over the string whose opening quote is at `at`; the place after the closing one.
pub fn skip_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(step) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += step;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// A valid value without the blanks between its tokens. Borrowed when there are none.
pub fn compact(value: &[u8]) -> Cow<'_, [u8]> {
    if !matches!(value.first(), Some(b'{' | b'[')) {
        return Cow::Borrowed(value);
    }
    let mut copy: Vec<u8> = Vec::new();
    let mut run = 0;
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        if byte == b'"' {
            at = skip_string(value, at);
        } else if is_blank(byte) {
            copy.extend_from_slice(&value[run..at]);
            at = blanks(value, at);
            run = at;
        } else {
            at += 1;
        }
    }
    if run == 0 {
        return Cow::Borrowed(value);
    }
    copy.extend_from_slice(&value[run..]);
    Cow::Owned(copy)
}

/// The text between the quotes of a valid string, with its escapes undone. Borrowed when there
/// are none.
pub fn unescape(inner: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = memchr(b'\\', inner) else {
        return Cow::Borrowed(inner);
    };
    let mut text = Vec::with_capacity(inner.len());
    text.extend_from_slice(&inner[..at]);
    while at < inner.len() {
        let Some(&escape) = inner.get(at + 1) else {
            break;
        };
        at += 2;
        match escape {
            b'b' => text.push(0x08),
            b'f' => text.push(0x0c),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'u' => {
                let (character, end) = unicode(inner, at);
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at = end;
            }
            plain => text.push(plain),
        }
        let rest = inner.get(at..).unwrap_or_default();
        let run = memchr(b'\\', rest).unwrap_or(rest.len());
        text.extend_from_slice(&rest[..run]);
        at += run;
    }
    Cow::Owned(text)
}

/// The character whose four digits begin at `at`, and the place after it and its second half.
/// A half alone does not occur in an accepted event.
fn unicode(inner: &[u8], at: usize) -> (char, usize) {
    let end = at + 4;
    let Some(first) = hex(inner, at) else {
        return (char::REPLACEMENT_CHARACTER, end);
    };
    if let Some(character) = char::from_u32(first) {
        return (character, end);
    }
    let second = match inner.get(end..end + 2) {
        Some(b"\\u") => hex(inner, end + 2),
        _ => None,
    };
    match second {
        Some(second @ 0xdc00..=0xdfff) if first < 0xdc00 => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            (
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                end + 6,
            )
        }
        _ => (char::REPLACEMENT_CHARACTER, end),
    }
}

/// Four hexadecimal digits at `at`.
fn hex(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |sum, &byte| {
        Some(sum * 16 + char::from(byte).to_digit(16)?)
    })
}

/// `text` as a JSON string with its quotes.
pub fn quote(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend_from_slice(&[b'\\', byte]),
            b'\n' => quoted.extend_from_slice(b"\\n"),
            b'\r' => quoted.extend_from_slice(b"\\r"),
            b'\t' => quoted.extend_from_slice(b"\\t"),
            0..=0x1f => quoted.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'"');
    quoted
}
