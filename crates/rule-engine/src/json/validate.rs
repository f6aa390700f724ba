//! The door: whether a text is one JSON object within its limits, told as fast as we can.
//!
//! Nearly every event is good, so there are two judges. `accepts` only ever says yes or no, and
//! its no is not believed: `find_fault` then reads the text again, token by token, and names the
//! fault and its byte. Whatever `accepts` takes, `find_fault` must take; tests hold them together.
//!
//! What makes `accepts` fast is that it does not wait. `Marks` finds the quotes of 64 bytes at a
//! time, so where a string ends does not depend on where the bytes before it ended, and the
//! processor works on several tokens at once. Looking for the closing quote from each opening one
//! (16 or 32 bytes at a time, or 8 as serde_json does) took 1.1 to 1.7 times as long; so did a
//! list of all quotes made beforehand.
//!
//! Start at [`validate`], then `accepts`.

use super::{JsonError, JsonErrorKind, Limits, Scanner, TokenKind, escape_length, fault};
use std::str;
use wide::u8x16;

/// Checks that `event` is one JSON object within `limits`, and nothing else.
///
/// Bounds: one pass, a second one when there is a fault, each linear in the length; no memory but
/// the stack's, and one byte for each open container when there is a fault. White space around
/// the object is allowed, a byte order mark is not.
/// Source: RFC 8259; lone surrogates are refused because they are no text.
///
/// # Errors
/// The first fault from the left.
pub fn validate(event: &[u8], limits: &Limits) -> Result<(), JsonError> {
    match accepts(event, limits) {
        Some(()) => Ok(()),
        None => find_fault(event, limits),
    }
}

#[cold]
fn find_fault(event: &[u8], limits: &Limits) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(event, limits.depth_max);
    let mut names = 0;
    let mut first = true;
    while let Some(token) = scanner.next()? {
        if first && !matches!(token.kind, TokenKind::ObjectStart) {
            return Err(fault(JsonErrorKind::NotAnObject, token.start));
        }
        first = false;
        if let TokenKind::Name(_) = token.kind {
            names += 1;
            if limits.names_max < names {
                return Err(fault(JsonErrorKind::Names(limits.names_max), token.start));
            }
        }
    }
    Ok(())
}

/// `Some` if `event` is valid, as [`validate`] says it. `None` may also mean that it is too deep
/// for `Open`.
fn accepts(event: &[u8], limits: &Limits) -> Option<()> {
    let mut marks = Marks::of(event);
    let mut open = Open {
        depth: 0,
        word: 0,
        outer: &mut [0; OUTER],
    };
    let mut names = 0;
    let mut at = space(event, 0);
    if *event.get(at)? != b'{' {
        return None;
    }
    'value: loop {
        match *event.get(at)? {
            b'"' => at = marks.string(at)?,
            b'-' | b'0'..=b'9' => at = number(event, at)?,
            b'{' => {
                if open.depth == limits.depth_max {
                    return None;
                }
                at = space(event, at + 1);
                if *event.get(at)? != b'}' {
                    open.push(true)?;
                    names += 1;
                    at = name(event, &mut marks, at)?;
                    continue 'value;
                }
                at += 1;
            }
            b'[' => {
                if open.depth == limits.depth_max {
                    return None;
                }
                at = space(event, at + 1);
                if *event.get(at)? != b']' {
                    open.push(false)?;
                    continue 'value;
                }
                at += 1;
            }
            b't' => at = literal(event, at, b"true")?,
            b'f' => at = literal(event, at, b"false")?,
            b'n' => at = literal(event, at, b"null")?,
            _ => return None,
        }
        // Behind a value: the ends of containers, then the next value or the end of the text.
        while 0 < open.depth {
            at = no_space(event, at);
            let byte = *event.get(at)?;
            at += 1;
            if byte == b',' {
                at = space(event, at);
                if open.is_object() {
                    names += 1;
                    at = name(event, &mut marks, at)?;
                }
                continue 'value;
            }
            if byte != (if open.is_object() { b'}' } else { b']' }) {
                return None;
            }
            open.pop();
        }
        break;
    }
    let is_whole = space(event, at) == event.len() && names <= limits.names_max;
    // Outside of strings no byte above 0x7F gets this far.
    let is_text = marks.is_ascii() || str::from_utf8(event).is_ok();
    (is_whole && is_text).then_some(())
}

/// Steps over the name that begins at `at`, its colon and the blanks around that.
#[inline(always)]
fn name(event: &[u8], marks: &mut Marks<'_>, at: usize) -> Option<usize> {
    if *event.get(at)? != b'"' {
        return None;
    }
    let at = no_space(event, marks.string(at)?);
    if *event.get(at)? != b':' {
        return None;
    }
    Some(space(event, at + 1))
}

/// Steps over blanks where there are hardly ever any.
#[inline(always)]
fn no_space(event: &[u8], at: usize) -> usize {
    match event.get(at) {
        Some(byte) if b' ' < *byte => at,
        _ => blanks(event, at),
    }
}

/// Steps over blanks; most often there are none, or one space.
#[inline(always)]
fn space(event: &[u8], at: usize) -> usize {
    match event.get(at..).and_then(<[u8]>::first_chunk) {
        Some([byte, _]) if b' ' < *byte => at,
        Some([b' ', byte]) if b' ' < *byte => at + 1,
        _ => blanks(event, at),
    }
}

#[inline(never)]
fn blanks(event: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = event.get(at) {
        at += 1;
    }
    at
}

fn literal(event: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    event[at..].starts_with(word).then_some(at + word.len())
}

/// Steps over the number that begins at `at` with a minus or a digit.
#[inline(always)]
fn number(event: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(event[at] == b'-');
    let first = at;
    at = digits(event, first)?;
    if event[first] == b'0' && at != first + 1 {
        return None;
    }
    if event.get(at) == Some(&b'.') {
        at = many_digits(event, at + 1)?;
    }
    if let Some(b'e' | b'E') = event.get(at) {
        at += 1;
        at += usize::from(matches!(event.get(at), Some(b'+' | b'-')));
        at = digits(event, at)?;
    }
    Some(at)
}

/// Steps over one digit or more, expecting few.
#[inline(always)]
fn digits(event: &[u8], first: usize) -> Option<usize> {
    let end = digits_end(event, first);
    (first < end).then_some(end)
}

/// Steps over one digit or more, expecting up to 16: the fraction of a double has them.
#[inline(always)]
fn many_digits(event: &[u8], first: usize) -> Option<usize> {
    let mut at = first;
    while let Some(chunk) = event.get(at..).and_then(<[u8]>::first_chunk) {
        let value = u8x16::new(*chunk) - u8x16::splat(b'0');
        let is_digit = value.min(u8x16::splat(9)).simd_eq(value);
        let count = is_digit.to_bitmask().trailing_ones() as usize;
        at += count;
        if count < 16 {
            return (first < at).then_some(at);
        }
    }
    let end = digits_end(event, at);
    (first < end).then_some(end)
}

#[inline(always)]
fn digits_end(event: &[u8], mut at: usize) -> usize {
    while event.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Words of `Open` beside the one at work: with it enough for 1,088 levels, and the bus allows 1,000.
const OUTER: usize = 16;

/// The containers that are open, one bit each: 1 is an object.
struct Open<'o> {
    depth: usize,
    /// The innermost of them, up to 64; the last is the lowest.
    word: u64,
    /// The others, 64 each. Borrowed, because an array in here would keep the fields above in memory.
    outer: &'o mut [u64; OUTER],
}

impl Open<'_> {
    /// `None` if there is no room.
    #[inline(always)]
    fn push(&mut self, is_object: bool) -> Option<()> {
        if 0 < self.depth && self.depth.is_multiple_of(64) {
            *self.outer.get_mut(self.depth / 64 - 1)? = self.word;
        }
        self.word = self.word << 1 | u64::from(is_object);
        self.depth += 1;
        Some(())
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.depth -= 1;
        self.word >>= 1;
        if 0 < self.depth && self.depth.is_multiple_of(64) {
            self.word = self.outer[self.depth / 64 - 1];
        }
    }

    #[inline(always)]
    fn is_object(&self) -> bool {
        self.word & 1 == 1
    }
}

const BLOCK: usize = 64;

/// The places of quotes, backslashes and control characters, from left to right.
///
/// All is inlined, the loads too: only then do the fields stay in registers, which is worth a
/// tenth of the time.
struct Marks<'t> {
    text: &'t [u8],
    /// Where the block begins that `bits` is about.
    base: usize,
    /// A bit for each mark of the block that was not given yet, the lowest for its first byte.
    bits: u64,
    /// All bytes so far, put together by "or".
    seen: u8x16,
}

impl<'t> Marks<'t> {
    fn of(text: &'t [u8]) -> Self {
        let mut marks = Marks {
            text,
            base: 0,
            bits: 0,
            seen: u8x16::splat(0),
        };
        marks.load();
        marks
    }

    #[inline(always)]
    fn load(&mut self) {
        let rest = &self.text[self.base..];
        let mut padded = [b' '; BLOCK];
        let block = rest.first_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        for (n, chunk) in block.as_chunks().0.iter().enumerate() {
            let bytes = u8x16::new(*chunk);
            let is_control = bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
            let is_quote = bytes.simd_eq(u8x16::splat(b'"'));
            let is_backslash = bytes.simd_eq(u8x16::splat(b'\\'));
            let is_mark = is_control | is_quote | is_backslash;
            self.bits |= u64::from(is_mark.to_bitmask()) << (16 * n);
            self.seen |= bytes;
        }
    }

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            if self.text.len() - self.base <= BLOCK {
                return None;
            }
            self.base += BLOCK;
            self.load();
        }
        let at = self.base + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(at)
    }

    /// The first mark at `from` or behind it that was not given yet.
    #[inline(always)]
    fn seek(&mut self, from: usize) -> Option<usize> {
        loop {
            let at = self.next()?;
            if from <= at {
                return Some(at);
            }
        }
    }

    /// Steps over the string that opens at `open`. UTF-8 is for the caller to check.
    #[inline(always)]
    fn string(&mut self, open: usize) -> Option<usize> {
        // Line breaks and tabs between tokens are marks too.
        if self.next()? != open {
            self.seek(open)?;
        }
        let mut at = self.next()?;
        if self.text[at] == b'"' {
            return Some(at + 1);
        }
        loop {
            match self.text[at] {
                b'"' => return Some(at + 1),
                b'\\' => {
                    let length = escape_length(self.text, at).ok()?;
                    at = self.seek(at + length)?;
                }
                _ => return None,
            }
        }
    }

    /// Whether all bytes are ASCII, up to and with the block of the last mark given.
    fn is_ascii(&self) -> bool {
        self.seen.to_bitmask() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::JsonErrorKind::{self, *};

    /// Both judges say the same, and it is `expected`.
    #[track_caller]
    fn check(event: &[u8], limits: &Limits, expected: Result<(), (JsonErrorKind, usize)>) {
        let found = agreed(event, limits).map_err(|error| (error.kind, error.offset));
        assert_eq!(found, expected, "{}", event.escape_ascii());
    }

    #[track_caller]
    fn agreed(event: &[u8], limits: &Limits) -> Result<(), JsonError> {
        let slow = find_fault(event, limits);
        let fast = accepts(event, limits);
        // What is good but too deep for `Open` is the slow one's to say.
        if slow.is_err() || limits.depth_max <= 64 * (OUTER + 1) {
            assert_eq!(fast.is_some(), slow.is_ok(), "{}", event.escape_ascii());
        }
        assert_eq!(validate(event, limits), slow);
        slow
    }

    /// serde_json says the same, where its rules are ours: any object of its is one of ours unless
    /// it holds the escape of a lone surrogate, which it looks at in strings that it keeps.
    #[track_caller]
    fn agreed_with_serde(event: &[u8]) {
        let theirs = serde_json::from_slice::<serde_json::Value>(event);
        let is_object = theirs.is_ok_and(|value| value.is_object());
        let ours = agreed(event, &Limits::default()).is_ok();
        assert_eq!(ours, is_object, "{}", event.escape_ascii());
    }

    /// Values as RFC 8259 has them, and texts that come close.
    const GOOD: [&str; 38] = [
        "0",
        "-0",
        "1",
        "-1",
        "10",
        "1234567890123456789012345678901234567890",
        "0.0",
        "-0.5",
        "1.0000000000000000000000000000000000",
        "0e0",
        "0E+1",
        "1e-2",
        "1.5e300",
        "1e999",
        "-1.25E-07",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "\" \"",
        "\"\u{7f}\"",
        "\"\u{80}\"",
        "\"\u{7ff}\"",
        "\"\u{800}\u{ffff}\"",
        "\"\u{10000}\u{10ffff}\"",
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0000\u00e9\uABCD\uabcd""#,
        r#""\ud800\udc00\uDBFF\uDFFF""#,
        r#""\\u12""#,
        r#""\\\"""#,
        "[]",
        "[[]]",
        "[ ]",
        "{}",
        "{ }",
        "[1,\"a\",null,{}]",
        r#"{"":{"":[{"a":{}}]},"":0}"#,
    ];
    const BAD: [&[u8]; 73] = [
        b"",
        b"-",
        b"+1",
        b"01",
        b"-01",
        b"00",
        b"0x1",
        b".5",
        b"5.",
        b"-.5",
        b"1.e1",
        b"1e",
        b"1e+",
        b"1E-",
        b"1e1.5",
        b"1.2.3",
        b"1-2",
        b"--1",
        b"1a",
        b"1_0",
        b"1 2",
        b"Infinity",
        b"NaN",
        b"-NaN",
        b"tru",
        b"truE",
        b"True",
        b"truex",
        b"fals",
        b"nul",
        b"nulll",
        b"nil",
        b"undefined",
        b"'a'",
        b"a",
        b"\"",
        b"\"a",
        b"\"a\\",
        b"\"\\\"",
        b"\"\\x\"",
        b"\"\\u\"",
        b"\"\\u123\"",
        b"\"\\u12g4\"",
        b"\"\\U1234\"",
        b"\"\\u+123\"",
        b"\"\\\n\"",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800x\"",
        b"\"\\ud800\\n\"",
        b"\"\\ud800\\ud800\"",
        b"\"\\ud800\\u0041\"",
        b"\"\n\"",
        b"\"\t\"",
        b"\"\0\"",
        b"\"\x1f\"",
        b"\"\x80\"",
        b"\"\xff\"",
        b"\"\xc0\xaf\"",
        b"\"\xe2\x82\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xf4\x90\x80\x80\"",
        b"[",
        b"]",
        b"[1",
        b"[1,",
        b"[1,]",
        b"[,1]",
        b"[1}",
        b"[1:2]",
        b"{\"a\"}",
        b"{\"a\":1,}",
        b"/**/1",
    ];

    #[test]
    fn values_of_every_kind_are_told_from_what_comes_close() {
        for value in GOOD {
            for event in [
                format!("{{\"a\":{value}}}"),
                format!(" {{\"a\" : [ {value} , {value} ] }}\n"),
            ] {
                check(event.as_bytes(), &Limits::default(), Ok(()));
            }
        }
        for value in BAD {
            for (before, behind) in [("{\"a\":", "}"), ("{\"a\" : [ 0 , ", " ] }\n")] {
                let event = [before.as_bytes(), value, behind.as_bytes()].concat();
                assert!(
                    agreed(&event, &Limits::default()).is_err(),
                    "{}",
                    event.escape_ascii()
                );
                agreed_with_serde(&event);
            }
        }
    }

    #[test]
    fn blocks_have_no_seams() {
        // Everything stands once at each place relative to the blocks of 16 and 64 bytes, with
        // more text behind it and with none.
        for before in 0..=80 {
            let before = "x".repeat(before);
            for behind in [
                "",
                ",\"b\":\"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\"",
            ] {
                for value in GOOD {
                    let event = format!("{{\"{before}\":{value}{behind}}}");
                    check(event.as_bytes(), &Limits::default(), Ok(()));
                }
                for value in BAD {
                    let (open, close) = (format!("{{\"{before}\":"), format!("{behind}}}"));
                    let event = [open.as_bytes(), value, close.as_bytes()].concat();
                    assert!(agreed(&event, &Limits::default()).is_err());
                }
            }
        }
    }

    #[test]
    fn depth_is_bounded_at_any_limit_and_containers_pair() {
        for depth_max in [
            0, 1, 2, 63, 64, 65, 127, 128, 129, 1_000, 1_087, 1_088, 1_089, 1_200,
        ] {
            let limits = Limits {
                depth_max,
                ..Limits::default()
            };
            for depth in [1, depth_max.max(1), depth_max + 1] {
                // Objects and arrays in no simple order, closed in the order that they ask for.
                let mut random = fastrand::Rng::with_seed(depth as u64);
                let mut event = String::from("{\"a\":0");
                let mut close = vec!['}'];
                for _ in 1..depth {
                    let is_object = random.bool();
                    event.push_str(if close.ends_with(&['}']) {
                        ",\"a\":"
                    } else {
                        ","
                    });
                    event.push_str(if is_object { "{\"a\":0" } else { "[0" });
                    close.push(if is_object { '}' } else { ']' });
                }
                let inside = event.len();
                event.extend(close.iter().rev());
                let is_ok = agreed(event.as_bytes(), &limits).is_ok();
                assert_eq!(is_ok, depth <= depth_max, "{depth} of {depth_max}");
                // One of them closed as the other kind.
                let at = inside + random.usize(..depth);
                let wrong = if event.as_bytes()[at] == b'}' {
                    "]"
                } else {
                    "}"
                };
                event.replace_range(at..=at, wrong);
                assert!(agreed(event.as_bytes(), &limits).is_err());
            }
        }
        // An empty container needs its level too.
        let limits = Limits {
            depth_max: 1,
            ..Limits::default()
        };
        check(b"{}", &limits, Ok(()));
        check(b"{\"a\":{}}", &limits, Err((Depth(1), 5)));
        check(b"{\"a\":[]}", &limits, Err((Depth(1), 5)));
    }

    #[test]
    fn names_are_counted_everywhere() {
        let event = br#"{"a":{"a":1,"b":{}},"c":[{"a":0},{"b":[]}]}"#;
        for names_max in 0..6 {
            let limits = Limits {
                names_max,
                ..Limits::default()
            };
            let at = [1, 6, 12, 20, 26, 34][names_max];
            check(event, &limits, Err((Names(names_max), at)));
        }
        check(
            event,
            &Limits {
                names_max: 6,
                ..Limits::default()
            },
            Ok(()),
        );
    }

    #[test]
    fn broken_events_are_refused_as_ever() {
        let events = [
            r#"{"version":"0","id":"decec191-a730-18a5-80d4-fc684f1a6842","detail-type":"Type 0","source":"svc.000","account":"053255851112","time":"2026-03-28T17:39:00Z","region":"us-east-2","resources":["arn:aws:ec2:us-east-2:053255851112:instance/i-f8ccfde18b82b78e"],"detail":{"id":"i-f8ccfde18b82b78e","amount":2853,"score":9.051,"items":[{"force":true},{"force":false}],"tags":[],"responseElements":null,"state":"pending"}}"#,
            r#"{"type": "Feature", "properties": {"BLOCK_NUM": "0001", "STREET": "DUBOCE", "ST_TYPE": null}, "geometry": {"coordinates": [{"x": -122.4154356784164, "y": 37.739971521238026, "z": 0}, {"x": -1.2e-05, "y": 3E+7}]}}"#,
            "{\n\t\"n\u{e4}me\": \"\u{1f600} caf\u{e9} \\ud83d\\ude00 \\\"q\\\" c:\\\\d\\/\\u00e9\",\r\n\t\"\": [ [ ], { } , \"\u{65e5}\u{672c}\u{8a9e}\\n\" ]\n}\n",
        ];
        const BYTES: &[u8] =
            b"\"\"\\\\{}[]:,, \n\t0159.-+eEtfnu/bd\0\x1f\x7f\x80\xbf\xc3\xed\xf0\xff";
        let mut random = fastrand::Rng::with_seed(4);
        for turn in 0..200_000 {
            let mut event = events[turn % events.len()].as_bytes().to_vec();
            for _ in 0..random.usize(1..3) {
                let at = random.usize(..event.len());
                let byte = BYTES[random.usize(..BYTES.len())];
                match random.u8(..5) {
                    0 => event[at] ^= 1 << random.u8(..8),
                    1 => event[at] = byte,
                    2 => event.insert(at, byte),
                    3 => drop(event.remove(at)),
                    _ => event.truncate(at + 1),
                }
            }
            if turn % 10 == 0 {
                agreed_with_serde(&event);
            } else {
                let _ = agreed(&event, &Limits::default());
            }
        }
    }
}
