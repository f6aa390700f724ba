//! Reading JSON from bytes, without trees where none are needed and without recursion.
//!
//! A library would do most of this, but not all that we lean on at once: number texts as they
//! were written, repeated names in order, the byte offset of every value, and a stack of our own
//! so that depth is a number we choose. Open containers cost one byte each.
//!
//! [`validate`] is the door, with a faster way of its own to say that all is well. `Scanner` gives
//! tokens to whoever walks an event; `parse` builds the small tree of a pattern.
//!
//! Start at [`validate`], then `Scanner::next`.

mod validate;

pub use validate::validate;

use std::borrow::Cow;
use std::str;

/// How deep and how wide an event may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside each other, the root object counted. Source: event-patterns.md 5.4.
    pub depth_max: usize,
    /// Member names in the whole text, repeats counted.
    pub names_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            depth_max: 1_000,
            names_max: 10_000,
        }
    }
}

/// Why a text is not the JSON that was wanted, and at which byte that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Bytes before the fault. At the end of a text cut short, its length.
    pub offset: usize,
}

/// What can be wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The text stops in the middle.
    #[error("unexpected end of text")]
    End,
    /// A byte that cannot stand here.
    #[error("unexpected character")]
    Unexpected,
    /// Something begins where a value must, and is none.
    #[error("no JSON value")]
    Value,
    /// A member without a colon after its name.
    #[error("expected a colon")]
    Colon,
    /// Not a number as RFC 8259 writes them.
    #[error("malformed number")]
    Number,
    /// A backslash with something behind it that is no escape.
    #[error("unknown escape")]
    Escape,
    /// Half of a surrogate pair.
    #[error("lone surrogate")]
    Surrogate,
    /// A control character inside a string, unescaped.
    #[error("control character in a string")]
    Control,
    /// Bytes that are not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Something follows the value.
    #[error("text after the end of the value")]
    Trailing,
    /// A value, but no object.
    #[error("not an object")]
    NotAnObject,
    /// Deeper than [`Limits::depth_max`].
    #[error("nested deeper than {0} levels")]
    Depth(usize),
    /// More than [`Limits::names_max`].
    #[error("more than {0} names")]
    Names(usize),
}

/// The line and the column of a byte offset, both from 1; columns count characters.
///
/// An offset behind the text gives the place behind its last character. Bytes that are no UTF-8
/// count as characters unless they look like the inside of one.
pub fn line_column(text: &[u8], offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let characters = before[start..].iter().filter(|byte| **byte & 0xC0 != 0x80);
    (line, 1 + characters.count())
}

fn fault(kind: JsonErrorKind, offset: usize) -> JsonError {
    JsonError { kind, offset }
}

/// The inside of a JSON string, already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text<'t> {
    raw: &'t str,
    escaped: bool,
}

impl<'t> Text<'t> {
    /// The text with its escapes undone; borrowed when there are none.
    pub(crate) fn unescape(self) -> Cow<'t, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            let escape = rest.as_bytes()[at + 1];
            let mut length = 2;
            out.push(match escape {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    length = 6;
                    let high = hex4(&rest.as_bytes()[at + 2..]).expect("checked by the scanner");
                    let code = if (0xD800..0xDC00).contains(&high) {
                        length = 12;
                        let low = hex4(&rest.as_bytes()[at + 8..]).expect("checked by the scanner");
                        0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                    } else {
                        high
                    };
                    char::from_u32(code).expect("the scanner refuses lone surrogates")
                }
                itself => char::from(itself),
            });
            rest = &rest[at + length..];
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    let mut code = 0;
    for byte in bytes.get(..4)? {
        code = code * 16 + char::from(*byte).to_digit(16)?;
    }
    Some(code)
}

/// One token and its bytes `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: TokenKind<'t>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind<'t> {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    /// The name of a member; its colon has been read too, but lies outside `start..end`.
    Name(Text<'t>),
    String(Text<'t>),
    Number(&'t str),
    True,
    False,
    Null,
}

/// What the grammar allows next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    /// Behind `[`: a value or `]`.
    ValueOrEnd,
    /// Behind `{`: a name or `}`.
    NameOrEnd,
    /// Behind a value: a comma or the end of the container, or of the text.
    CommaOrEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

/// Tokens of one JSON text, from left to right, each checked when it is given.
///
/// Gives `Ok(None)` once, and only if, the whole text was one value.
pub(crate) struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    open: Vec<Container>,
    depth_max: usize,
    expect: Expect,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t [u8], depth_max: usize) -> Self {
        Scanner {
            text,
            at: 0,
            open: Vec::new(),
            depth_max,
            expect: Expect::Value,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Token<'t>>, JsonError> {
        self.skip_space();
        let mut byte = self.text.get(self.at).copied();
        if self.expect == Expect::CommaOrEnd {
            let Some(container) = self.open.last().copied() else {
                return match byte {
                    None => Ok(None),
                    Some(_) => Err(fault(JsonErrorKind::Trailing, self.at)),
                };
            };
            match (byte, container) {
                (Some(b'}'), Container::Object) => return self.close(TokenKind::ObjectEnd),
                (Some(b']'), Container::Array) => return self.close(TokenKind::ArrayEnd),
                (Some(b','), _) => self.at += 1,
                (Some(_), _) => return Err(fault(JsonErrorKind::Unexpected, self.at)),
                (None, _) => return Err(fault(JsonErrorKind::End, self.at)),
            }
            self.skip_space();
            byte = self.text.get(self.at).copied();
            if container == Container::Object {
                return self.name(byte);
            }
        } else if self.expect == Expect::NameOrEnd {
            if byte == Some(b'}') {
                return self.close(TokenKind::ObjectEnd);
            }
            return self.name(byte);
        } else if self.expect == Expect::ValueOrEnd && byte == Some(b']') {
            return self.close(TokenKind::ArrayEnd);
        }
        self.value(byte)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn close(&mut self, kind: TokenKind<'t>) -> Result<Option<Token<'t>>, JsonError> {
        self.open.pop();
        self.at += 1;
        self.expect = Expect::CommaOrEnd;
        Ok(Some(Token {
            kind,
            start: self.at - 1,
            end: self.at,
        }))
    }

    fn name(&mut self, byte: Option<u8>) -> Result<Option<Token<'t>>, JsonError> {
        let start = self.at;
        match byte {
            Some(b'"') => {}
            Some(_) => return Err(fault(JsonErrorKind::Unexpected, start)),
            None => return Err(fault(JsonErrorKind::End, start)),
        }
        let text = self.string()?;
        let end = self.at;
        self.skip_space();
        match self.text.get(self.at) {
            Some(b':') => self.at += 1,
            Some(_) => return Err(fault(JsonErrorKind::Colon, self.at)),
            None => return Err(fault(JsonErrorKind::End, self.at)),
        }
        self.expect = Expect::Value;
        Ok(Some(Token {
            kind: TokenKind::Name(text),
            start,
            end,
        }))
    }

    fn value(&mut self, byte: Option<u8>) -> Result<Option<Token<'t>>, JsonError> {
        let start = self.at;
        let Some(byte) = byte else {
            return Err(fault(JsonErrorKind::End, start));
        };
        self.expect = Expect::CommaOrEnd;
        let kind = match byte {
            b'{' => {
                self.descend(Container::Object)?;
                TokenKind::ObjectStart
            }
            b'[' => {
                self.descend(Container::Array)?;
                TokenKind::ArrayStart
            }
            b'"' => TokenKind::String(self.string()?),
            b'-' | b'0'..=b'9' => TokenKind::Number(self.number()?),
            b't' => self.literal("true", TokenKind::True)?,
            b'f' => self.literal("false", TokenKind::False)?,
            b'n' => self.literal("null", TokenKind::Null)?,
            _ => return Err(fault(JsonErrorKind::Value, start)),
        };
        Ok(Some(Token {
            kind,
            start,
            end: self.at,
        }))
    }

    fn descend(&mut self, container: Container) -> Result<(), JsonError> {
        if self.open.len() == self.depth_max {
            return Err(fault(JsonErrorKind::Depth(self.depth_max), self.at));
        }
        self.open.push(container);
        self.at += 1;
        self.expect = match container {
            Container::Object => Expect::NameOrEnd,
            Container::Array => Expect::ValueOrEnd,
        };
        Ok(())
    }

    fn literal(&mut self, word: &str, kind: TokenKind<'t>) -> Result<TokenKind<'t>, JsonError> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(fault(JsonErrorKind::Value, self.at));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn number(&mut self) -> Result<&'t str, JsonError> {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits(start)?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits(start)?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits(start)?;
        }
        if self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            // A leading zero with more digits behind it.
            return Err(fault(JsonErrorKind::Number, start));
        }
        Ok(str::from_utf8(&self.text[start..self.at]).expect("a number is ASCII"))
    }

    fn digits(&mut self, start: usize) -> Result<(), JsonError> {
        let first = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == first {
            return Err(fault(JsonErrorKind::Number, start));
        }
        Ok(())
    }

    /// Reads the string that begins at the quote under `at`, and checks all of it.
    fn string(&mut self) -> Result<Text<'t>, JsonError> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            match self.text.get(at) {
                None => return Err(fault(JsonErrorKind::End, at)),
                Some(b'"') => break,
                Some(0..=0x1F) => return Err(fault(JsonErrorKind::Control, at)),
                Some(b'\\') => {
                    escaped = true;
                    at += escape_length(self.text, at)?;
                }
                Some(_) => at += 1,
            }
        }
        let raw = str::from_utf8(&self.text[start..at])
            .map_err(|error| fault(JsonErrorKind::Utf8, start + error.valid_up_to()))?;
        self.at = at + 1;
        Ok(Text { raw, escaped })
    }
}

/// Bytes of the escape that begins at `at`; 12 for a surrogate pair.
fn escape_length(text: &[u8], at: usize) -> Result<usize, JsonError> {
    match text.get(at + 1) {
        None => return Err(fault(JsonErrorKind::End, at + 1)),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(2),
        Some(b'u') => {}
        Some(_) => return Err(fault(JsonErrorKind::Escape, at)),
    }
    let high = hex4(&text[at + 2..]).ok_or(fault(JsonErrorKind::Escape, at))?;
    if !(0xD800..0xE000).contains(&high) {
        return Ok(6);
    }
    let lone = fault(JsonErrorKind::Surrogate, at);
    if 0xDC00 <= high || !text[at + 6..].starts_with(b"\\u") {
        return Err(lone);
    }
    match hex4(&text[at + 8..]) {
        Some(0xDC00..0xE000) => Ok(12),
        _ => Err(lone),
    }
}

/// A value of a small text that is kept as a tree, with its bytes `start..end`.
#[derive(Debug)]
pub struct Node<'t> {
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last one.
    pub end: usize,
    /// What it is.
    pub kind: NodeKind<'t>,
}

/// What a value is.
#[derive(Debug)]
pub enum NodeKind<'t> {
    /// Members in the order of the text, repeats included.
    Object(Vec<Member<'t>>),
    /// Items in order.
    Array(Vec<Node<'t>>),
    /// Text, with its escapes undone.
    String(Cow<'t, str>),
    /// A number as it was written.
    Number(&'t str),
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// A member of an object.
#[derive(Debug)]
pub struct Member<'t> {
    /// Its name, with its escapes undone.
    pub name: Cow<'t, str>,
    /// Bytes of the name, quotes included.
    pub name_start: usize,
    /// The byte behind the name.
    pub name_end: usize,
    /// Its value.
    pub value: Node<'t>,
}

/// Builds the tree of a text at most `depth_max` deep. Without recursion; dropping the tree
/// recurses, so `depth_max` must stay in the hundreds.
///
/// # Errors
/// The first fault from the left.
pub fn parse(text: &str, depth_max: usize) -> Result<Node<'_>, JsonError> {
    let mut scanner = Scanner::new(text.as_bytes(), depth_max);
    let mut open: Vec<Node<'_>> = Vec::new();
    // For each open object the name that waits for its value.
    let mut names: Vec<(Cow<'_, str>, usize, usize)> = Vec::new();
    let mut root = None;
    while let Some(token) = scanner.next()? {
        let leaf = match token.kind {
            TokenKind::Name(name) => {
                names.push((name.unescape(), token.start, token.end));
                continue;
            }
            TokenKind::ObjectStart | TokenKind::ArrayStart => {
                open.push(Node {
                    start: token.start,
                    end: token.end,
                    kind: match token.kind {
                        TokenKind::ObjectStart => NodeKind::Object(Vec::new()),
                        _ => NodeKind::Array(Vec::new()),
                    },
                });
                continue;
            }
            TokenKind::ObjectEnd | TokenKind::ArrayEnd => {
                let mut node = open.pop().expect("the scanner pairs its brackets");
                node.end = token.end;
                node
            }
            TokenKind::String(text) => leaf(token, NodeKind::String(text.unescape())),
            TokenKind::Number(text) => leaf(token, NodeKind::Number(text)),
            TokenKind::True => leaf(token, NodeKind::True),
            TokenKind::False => leaf(token, NodeKind::False),
            TokenKind::Null => leaf(token, NodeKind::Null),
        };
        match open.last_mut().map(|node| &mut node.kind) {
            Some(NodeKind::Object(members)) => {
                let (name, name_start, name_end) = names.pop().expect("a member has a name");
                members.push(Member {
                    name,
                    name_start,
                    name_end,
                    value: leaf,
                });
            }
            Some(NodeKind::Array(items)) => items.push(leaf),
            Some(_) => unreachable!("only containers are open"),
            None => root = Some(leaf),
        }
    }
    Ok(root.expect("the scanner ends only behind a value"))
}

fn leaf<'t>(token: Token<'t>, kind: NodeKind<'t>) -> Node<'t> {
    Node {
        start: token.start,
        end: token.end,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &[u8], expected: Result<(), (JsonErrorKind, usize)>) {
        let found = validate(event, &Limits::default());
        assert_eq!(found.map_err(|error| (error.kind, error.offset)), expected);
    }

    #[test]
    fn objects_are_taken() {
        for event in [
            "{}",
            " {\t\"a\"\r\n:1} ",
            r#"{"a":[],"b":{},"a":[[],{}],"":null}"#,
            r#"{"a":"\"\\\/\b\f\n\r\t\u0000\ud83d\ude00é"}"#,
            r#"{"a":[0,-0,10,1.5,-1e5,1E+5,1e-05,0.0,true,false]}"#,
            "{\"a\":\"\u{7f}\u{10ffff}\"}",
        ] {
            check(event.as_bytes(), Ok(()));
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused_where_it_begins() {
        for event in ["[]", " 1", "\"a\"", "null"] {
            let offset = event.find(|c| c != ' ').expect("not blank");
            check(event.as_bytes(), Err((JsonErrorKind::NotAnObject, offset)));
        }
    }

    #[test]
    fn faults_are_named_with_their_byte() {
        use JsonErrorKind::*;
        let table: &[(&[u8], JsonErrorKind, usize)] = &[
            (b"", End, 0),
            (b"  ", End, 2),
            (b"{", End, 1),
            (b"{\"a\"", End, 4),
            (b"{\"a\":", End, 5),
            (b"{\"a\":1", End, 6),
            (b"{\"a\":1,", End, 7),
            (b"{\"a", End, 3),
            (b"{\"a\\", End, 4),
            (b"{\"a\":1,}", Unexpected, 7),
            (b"{,}", Unexpected, 1),
            (b"{a:1}", Unexpected, 1),
            (b"{\"a\":[1,]}", Value, 8),
            (b"{\"a\":[1}", Unexpected, 7),
            (b"{\"a\":1]", Unexpected, 6),
            (b"{\"a\" 1}", Colon, 5),
            (b"{\"a\":tru}", Value, 5),
            (b"{\"a\":trueish}", Unexpected, 9),
            (b"{\"a\":NaN}", Value, 5),
            (b"{\"a\":01}", Number, 5),
            (b"{\"a\":-}", Number, 5),
            (b"{\"a\":1.}", Number, 5),
            (b"{\"a\":.5}", Value, 5),
            (b"{\"a\":1e}", Number, 5),
            (b"{\"a\":+1}", Value, 5),
            (b"{\"a\":\"\n\"}", Control, 6),
            (b"{\"a\":\"\\x\"}", Escape, 6),
            (b"{\"a\":\"\\u12g4\"}", Escape, 6),
            (b"{\"a\":\"\\ud800\"}", Surrogate, 6),
            (b"{\"a\":\"\\udc00\"}", Surrogate, 6),
            (b"{\"a\":\"\\ud800\\u0041\"}", Surrogate, 6),
            (b"{\"a\":\"x\xff\"}", Utf8, 7),
            (b"{\"a\":\"\xed\xa0\x80\"}", Utf8, 6),
            (b"\xef\xbb\xbf{}", Value, 0),
            (b"{} {}", Trailing, 3),
            (b"{}\0", Trailing, 2),
        ];
        for (event, kind, offset) in table {
            check(event, Err((*kind, *offset)));
        }
    }

    #[test]
    fn every_prefix_of_an_object_is_refused() {
        let event = r#"{"a":[1.5e3,"\u00e9\ud83d\ude00é",true,null,{"b":{}}]}"#.as_bytes();
        for end in 0..event.len() {
            assert!(
                validate(&event[..end], &Limits::default()).is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn depth_and_names_are_bounded() {
        let nested = |depth: usize| {
            let inside = "[".repeat(depth - 1) + &"]".repeat(depth - 1);
            format!("{{\"a\":{inside}}}")
        };
        check(nested(1_000).as_bytes(), Ok(()));
        check(
            nested(1_001).as_bytes(),
            Err((JsonErrorKind::Depth(1_000), 1_004)),
        );
        assert!(validate(nested(1_000_000).as_bytes(), &Limits::default()).is_err());
        let wide = |names: usize| format!("{{{}}}", vec!["\"a\":0"; names].join(","));
        check(wide(10_000).as_bytes(), Ok(()));
        check(
            wide(10_001).as_bytes(),
            Err((JsonErrorKind::Names(10_000), 60_001)),
        );
    }

    #[test]
    fn a_place_has_line_and_column_in_characters() {
        let text = "{\n \"é\": x\n}".as_bytes();
        assert_eq!(line_column(text, 0), (1, 1));
        assert_eq!(line_column(text, 1), (1, 2));
        assert_eq!(line_column(text, 2), (2, 1));
        assert_eq!(line_column(text, text.len() - 3), (2, 7));
        assert_eq!(line_column(text, 999), (3, 2));
    }

    #[test]
    fn the_tree_keeps_order_repeats_texts_and_places() {
        let root = parse(r#"{"b":1.50,"a":["\u0078\ud83d\ude00"],"b":{}}"#, 10).unwrap();
        let NodeKind::Object(members) = &root.kind else {
            panic!("an object");
        };
        let names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert!(matches!(members[0].value.kind, NodeKind::Number("1.50")));
        assert_eq!((members[1].name_start, members[1].name_end), (10, 13));
        assert_eq!((members[1].value.start, members[1].value.end), (14, 36));
        let NodeKind::Array(items) = &members[1].value.kind else {
            panic!("an array");
        };
        assert!(matches!(&items[0].kind, NodeKind::String(text) if text == "x😀"));
    }

    #[test]
    fn errors_read_well() {
        let error = validate(b"{\"a\":01}", &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "malformed number at byte 5");
    }
}
