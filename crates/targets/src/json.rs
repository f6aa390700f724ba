//! Is it JSON? For the log line, which may hold an input as it is only if it is.
//!
//! One pass and one bit per level, no recursion and no tree: an input may be nested a thousand
//! levels deep and a megabyte long. Numbers, strings and escapes are checked by RFC 8259; text
//! must be UTF-8.
//!
//! Start at [`is_json`].

/// Whether `text` is exactly one JSON value, with blanks around it.
pub(crate) fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok() && value(text).is_some()
}

/// One value and nothing after it; `None` where it is not JSON.
fn value(text: &[u8]) -> Option<()> {
    // True where the open bracket is `{`.
    let mut open: Vec<bool> = Vec::new();
    let mut at = blanks(text, 0);
    loop {
        // Here a value stands.
        match *text.get(at)? {
            b'{' => {
                at = blanks(text, at + 1);
                if text.get(at) != Some(&b'}') {
                    open.push(true);
                    at = key(text, at)?;
                    continue;
                }
                at += 1;
            }
            b'[' => {
                at = blanks(text, at + 1);
                if text.get(at) != Some(&b']') {
                    open.push(false);
                    continue;
                }
                at += 1;
            }
            b'"' => at = string(text, at)?,
            b't' => at = word(text, at, b"true")?,
            b'f' => at = word(text, at, b"false")?,
            b'n' => at = word(text, at, b"null")?,
            _ => at = number(text, at)?,
        }
        // Here a value has ended: close what ends with it, or go on to the next one.
        loop {
            at = blanks(text, at);
            let Some(object) = open.last() else {
                return (at == text.len()).then_some(());
            };
            match (*text.get(at)?, object) {
                (b',', true) => {
                    at = key(text, blanks(text, at + 1))?;
                    break;
                }
                (b',', false) => {
                    at = blanks(text, at + 1);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    open.pop();
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

fn blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// A member's name and its colon; where the value begins.
fn key(text: &[u8], at: usize) -> Option<usize> {
    let at = blanks(text, string(text, at)?);
    (text.get(at) == Some(&b':')).then(|| blanks(text, at + 1))
}

fn string(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match *text.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    let hex = text.get(at + 2..at + 6)?;
                    if !hex.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    at += 6;
                }
                _ => return None,
            },
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

fn word(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(word).then(|| at + word.len())
}

fn number(text: &[u8], at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let first = at;
        while text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (first < at).then_some(at)
    };
    let at = at + usize::from(text.get(at) == Some(&b'-'));
    let mut at = if text.get(at) == Some(&b'0') {
        at + 1
    } else {
        digits(at)?
    };
    if text.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_what_only_looks_like_it() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for good in [
            "{}",
            "[]",
            "\"\"",
            "0",
            "-0.5e+10",
            "true",
            " null\n",
            "[1,[2],{}]",
            &deep,
            "{\"a\":{\"b\":[1,\"\\u00e9\\n\"]},\"c\":\"é\"}",
            "[ ]",
            "{ }",
            "1E5",
        ] {
            assert!(is_json(good.as_bytes()), "{:.60}", good);
        }
        for bad in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{1:2}",
            "[1}",
            "{\"a\":1]",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "tru",
            "truee",
            "nul",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "1 2",
            "{}{}",
            "'a'",
            "[1 2]",
            "NaN",
            &deep[1..],
        ] {
            assert!(!is_json(bad.as_bytes()), "{:.60}", bad);
        }
        assert!(!is_json(b"\"\xff\""));
    }
}
