//! Paths, and finding what they name in one pass over an event.
//!
//! All paths of a target walk the event together. A value `n` levels down can only interest
//! paths whose first `n` steps led there, so each open bracket keeps the list of those; a value
//! that interests none is stepped over. Nothing is looked up twice, whatever the number of steps.
//!
//! Of a doubled member the last counts. Hence the pass never ends early, and entering a member
//! again takes back what its path found below the first.

use std::borrow::Cow;

use super::json;

/// A path that was checked. Made by [`Path::parse`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(Box<[u8]>),
    Element(usize),
    Each,
}

impl Step {
    /// Whether a value that begins with this byte has such parts.
    fn enters(&self, first: Option<u8>) -> bool {
        match self {
            Self::Member(_) => first == Some(b'{'),
            Self::Element(_) | Self::Each => first == Some(b'['),
        }
    }
}

impl Path {
    /// Reads a path. `None`: it is none, or uses more of JSONPath than EventBridge takes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$')?;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after
                    .bytes()
                    .position(|byte| !is_name_byte(byte))
                    .unwrap_or(after.len());
                if end == 0 {
                    return None;
                }
                steps.push(Step::Member(after.as_bytes()[..end].into()));
                rest = &after[end..];
            } else {
                let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
                steps.push(if index == "*" {
                    Step::Each
                } else if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) {
                    // Digits alone fail to parse only by their number, and then no array has it.
                    Step::Element(index.parse().unwrap_or(usize::MAX))
                } else {
                    return None;
                });
                rest = after;
            }
        }
        Some(Self(steps))
    }

    /// The path of one member of the envelope.
    pub fn member(name: &str) -> Self {
        Self(vec![Step::Member(name.as_bytes().into())])
    }

    /// `$`, the whole event.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Whether this is [`Path::root`].
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/')
}

/// What one path found.
#[derive(Debug, Default)]
pub struct Found<'e> {
    /// In the order of the event. At most one unless `listed`.
    values: Vec<&'e [u8]>,
    /// Whether a `[*]` met an array: then the values are one array, even when there are none.
    listed: bool,
}

impl<'e> Found<'e> {
    /// Compact JSON text, borrowed where the event has it so; `None`: missing.
    pub fn json(&self) -> Option<Cow<'e, [u8]>> {
        if !self.listed {
            return self.values.first().map(|value| json::compact(value));
        }
        let mut array = vec![b'['];
        for (place, value) in self.values.iter().enumerate() {
            if 0 < place {
                array.push(b',');
            }
            array.extend_from_slice(&json::compact(value));
        }
        array.push(b']');
        Some(Cow::Owned(array))
    }

    fn mark(&self) -> Mark {
        Mark {
            values: self.values.len(),
            listed: self.listed,
        }
    }

    fn back_to(&mut self, mark: Mark) {
        self.values.truncate(mark.values);
        self.listed = mark.listed;
    }
}

/// How much a path had found at some moment.
#[derive(Clone, Copy)]
struct Mark {
    values: usize,
    listed: bool,
}

/// A path whose steps led to the value in hand.
#[derive(Clone, Copy)]
struct Active {
    path: usize,
    /// What it had found before this value.
    before: Mark,
}

/// An open bracket on the way.
struct Frame {
    /// Its paths are `active[first..last]`.
    first: usize,
    last: usize,
    start: usize,
    is_object: bool,
    /// The place of the element to come.
    element: usize,
}

/// Finds what each path names; the answers are in the order of the paths.
///
/// Bounds: one pass over `event`; at most as many frames as the longest path has steps.
pub fn find<'e>(paths: &[Path], event: &'e [u8]) -> Vec<Found<'e>> {
    let mut found: Vec<Found<'e>> = paths.iter().map(|_| Found::default()).collect();
    if paths.is_empty() {
        return found;
    }
    let mut active: Vec<Active> = (0..paths.len())
        .map(|path| Active {
            path,
            before: found[path].mark(),
        })
        .collect();
    let mut frames: Vec<Frame> = Vec::new();
    // The paths of the value at `at` are `active[first..]`.
    let mut first = 0;
    let mut at = json::blanks(event, 0);
    loop {
        let level = frames.len();
        let byte = event.get(at).copied();
        let step = |path: usize| paths[path].0.get(level);
        if active[first..]
            .iter()
            .any(|it| step(it.path).is_some_and(|step| step.enters(byte)))
        {
            let is_object = byte == Some(b'{');
            for it in &active[first..] {
                if !is_object && step(it.path) == Some(&Step::Each) {
                    found[it.path].listed = true;
                }
            }
            frames.push(Frame {
                first,
                last: active.len(),
                start: at,
                is_object,
                element: 0,
            });
            at += 1;
        } else {
            let end = json::skip(event, at);
            take(&active[first..], paths, level, &event[at..end], &mut found);
            active.truncate(first);
            at = end;
        }
        // On to the next value that interests a path.
        loop {
            let level = frames.len();
            let Some(frame) = frames.last_mut() else {
                return found;
            };
            at = json::blanks(event, at);
            match event.get(at) {
                None => return found,
                Some(b',') => at += 1,
                Some(b'}' | b']') => {
                    at += 1;
                    let whole = &event[frame.start..at];
                    take(&active[frame.first..], paths, level - 1, whole, &mut found);
                    active.truncate(frame.first);
                    frames.pop();
                }
                Some(_) => {
                    let key = if frame.is_object {
                        let end = json::skip_string(event, at);
                        let inner = event.get(at + 1..end - 1).unwrap_or_default();
                        // Past the colon.
                        at = json::blanks(event, json::blanks(event, end) + 1).min(event.len());
                        Some(json::unescape(inner))
                    } else {
                        None
                    };
                    for place in frame.first..frame.last {
                        let Active { path, before } = active[place];
                        let leads = match (paths[path].0.get(level - 1), &key) {
                            (Some(Step::Member(name)), Some(key)) => **name == **key,
                            (Some(Step::Element(wanted)), None) => *wanted == frame.element,
                            (Some(Step::Each), None) => true,
                            _ => false,
                        };
                        if leads {
                            if key.is_some() {
                                found[path].back_to(before);
                            }
                            active.push(Active {
                                path,
                                before: found[path].mark(),
                            });
                        }
                    }
                    frame.element += 1;
                    if frame.last < active.len() {
                        first = frame.last;
                        break;
                    }
                    at = json::skip(event, at);
                }
            }
        }
    }
}

/// Notes a value for the paths that end at it.
fn take<'e>(
    active: &[Active],
    paths: &[Path],
    level: usize,
    value: &'e [u8],
    found: &mut [Found<'e>],
) {
    for it in active {
        if paths[it.path].0.len() == level {
            found[it.path].values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, event: &str, expected: Option<&str>) {
        let path = Path::parse(path).expect("a path");
        let found = find(&[path], event.as_bytes());
        let json = found[0]
            .json()
            .map(|json| String::from_utf8(json.into_owned()).unwrap());
        assert_eq!(json.as_deref(), expected);
    }

    #[test]
    fn of_a_doubled_member_the_last_counts() {
        check("$.a", r#"{"a":1,"a":2}"#, Some("2"));
        check("$.a.b", r#"{"a":{"b":1},"a":{"b":2}}"#, Some("2"));
        check("$.a.b", r#"{"a":{"b":1},"a":{"c":2}}"#, None);
        check("$.a.b", r#"{"a":{"b":1},"a":7}"#, None);
        check(
            "$.a[*].b",
            r#"{"a":[{"b":1,"b":2},{"b":3}]}"#,
            Some("[2,3]"),
        );
        check("$.a[*].b", r#"{"a":[{"b":1}],"a":[]}"#, Some("[]"));
        check("$.a[*].b", r#"{"a":[{"b":1}],"a":{}}"#, None);
        check("$.a[*]", r#"{"a":[1,2],"x":0,"a":[3]}"#, Some("[3]"));
    }

    #[test]
    fn a_name_with_escapes_is_the_same_name() {
        check("$.a/b", r#"{"a\/b":1}"#, Some("1"));
        check("$.ab", r#"{"\u0061b":1}"#, Some("1"));
    }

    #[test]
    fn each_element_gives_one_array() {
        check("$[*]", "[1, null, [2]]", Some("[1,null,[2]]"));
        check("$[*]", "[]", Some("[]"));
        check("$.a[*]", r#"{"a":7}"#, None);
        check(
            "$.a[*].b",
            r#"{"a":[{"b":1},{},5,{"b":null}]}"#,
            Some("[1,null]"),
        );
        check("$.a[*][*]", r#"{"a":[[1,2],7,[],[3]]}"#, Some("[1,2,3]"));
        check("$.a[*][1]", r#"{"a":[[1,2],[3],[4,5]]}"#, Some("[2,5]"));
        check("$.a[1][*]", r#"{"a":[[1],[2,3]]}"#, Some("[2,3]"));
    }

    #[test]
    fn a_step_of_the_other_kind_finds_nothing() {
        check("$.a.b", r#"{"a":[{"b":1}]}"#, None);
        check("$.a[0]", r#"{"a":{"0":1}}"#, None);
        check("$.a.b.c", r#"{"a":{"b":"c"}}"#, None);
        check("$.a[18446744073709551616]", r#"{"a":[1]}"#, None);
    }

    #[test]
    fn blanks_go_but_not_those_in_strings() {
        let event = "{ \"a\" : { \"b c\" : [ 1 , \" x \\\" \" ] \n} , \"z\": 1 }";
        check("$.a", event, Some(r#"{"b c":[1," x \" "]}"#));
        check("$.z", event, Some("1"));
        check("$", event, Some(r#"{"a":{"b c":[1," x \" "]},"z":1}"#));
    }

    #[test]
    fn paths_that_share_their_steps_find_their_own() {
        let event = br#"{"d":{"a":[{"x":1},{"x":2}],"b":3}}"#;
        let texts = [
            "$.d",
            "$.d.a",
            "$.d.a[*].x",
            "$.d.a[1].x",
            "$.d.a[0]",
            "$.d.b",
            "$.d.c",
        ];
        let paths: Vec<Path> = texts.iter().filter_map(|text| Path::parse(text)).collect();
        let found: Vec<Option<String>> = find(&paths, event)
            .iter()
            .map(|it| {
                it.json()
                    .map(|json| String::from_utf8(json.into_owned()).unwrap())
            })
            .collect();
        let expected = [
            Some(r#"{"a":[{"x":1},{"x":2}],"b":3}"#),
            Some(r#"[{"x":1},{"x":2}]"#),
            Some("[1,2]"),
            Some("2"),
            Some(r#"{"x":1}"#),
            Some("3"),
            None,
        ];
        assert_eq!(
            found.iter().map(Option::as_deref).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn what_is_no_json_ends_early_and_quietly() {
        let event = br#" {"a":[{"b":"c\"d"},[1,2,{"e":null}]],"f":tru"#;
        let paths = ["$.a[*].b", "$.a[1][2].e", "$.f"].map(|text| Path::parse(text).unwrap());
        for start in 0..event.len() {
            for end in start..event.len() {
                find(&paths, &event[start..end]);
            }
        }
    }
}
