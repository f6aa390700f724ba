//! One wildcard: reading it, matching it, and counting how complex AWS would find it.
//!
//! Matching needs no automaton: with `*` alone, taking each literal piece at its leftmost place
//! is right, and linear in the value. The complexity count of the service is therefore no
//! defence of ours; it is here so that a pattern AWS refuses is refused here (5.3).
//!
//! Start at `Wildcard::parse`; [`complexity`] stands alone.

use std::collections::HashSet;

use memchr::memmem::Finder;

/// State sets that [`complexity`] explores before it gives up and calls the wildcards complex.
/// Where no more than 10 states are alive at once, three wildcards can wait at two asterisks
/// each: eight times the characters of a pattern, which are 4096 at most.
const SETS_MAX: usize = 50_000;

/// A wildcard: the whole value must be its pieces in order, with any run of text between them.
#[derive(Debug, Clone)]
pub(crate) enum Wildcard {
    /// No asterisk.
    Exactly(Box<str>),
    /// The piece before the first asterisk, those between two, the one behind the last.
    Pieces {
        first: Box<str>,
        between: Box<[Finder<'static>]>,
        last: Box<str>,
    },
}

/// What is wrong with the text of a wildcard; `at` counts UTF-8 bytes from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WildcardFault {
    /// Two asterisks side by side.
    Run { at: usize },
    /// A backslash before something other than `*` and `\`.
    Escape { at: usize },
}

impl Wildcard {
    pub(crate) fn parse(text: &str) -> Result<Wildcard, WildcardFault> {
        let mut pieces = vec![String::new()];
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let piece = pieces.last_mut().expect("there is always a piece");
            match (character, next) {
                ('*', Some('*')) => return Err(WildcardFault::Run { at: at + 1 }),
                ('*', _) => pieces.push(String::new()),
                ('\\', Some(escaped @ ('*' | '\\'))) => {
                    piece.push(escaped);
                    characters.next();
                }
                ('\\', _) => return Err(WildcardFault::Escape { at: at + 1 }),
                _ => piece.push(character),
            }
        }
        let last = pieces
            .pop()
            .expect("there is always a piece")
            .into_boxed_str();
        if pieces.is_empty() {
            return Ok(Wildcard::Exactly(last));
        }
        let first = pieces.remove(0).into_boxed_str();
        let between = pieces
            .iter()
            .map(|piece| Finder::new(piece).into_owned())
            .collect();
        Ok(Wildcard::Pieces {
            first,
            between,
            last,
        })
    }

    /// The text as it was read.
    pub(crate) fn text(&self) -> String {
        let escaped = |piece: &str| piece.replace('\\', r"\\").replace('*', r"\*");
        match self {
            Wildcard::Exactly(text) => escaped(text),
            Wildcard::Pieces {
                first,
                between,
                last,
            } => {
                let between = between
                    .iter()
                    .map(|piece| escaped(&String::from_utf8_lossy(piece.needle())));
                let pieces: Vec<String> = std::iter::once(escaped(first))
                    .chain(between)
                    .chain([escaped(last)])
                    .collect();
                pieces.join("*")
            }
        }
    }

    /// Bounds: linear in the value.
    pub(crate) fn matches(&self, value: &str) -> bool {
        let (first, between, last) = match self {
            Wildcard::Exactly(text) => return **text == *value,
            Wildcard::Pieces {
                first,
                between,
                last,
            } => (first, between, last),
        };
        let Some(rest) = value.strip_prefix(&**first) else {
            return false;
        };
        let Some(rest) = rest.strip_suffix(&**last) else {
            return false;
        };
        let mut rest = rest.as_bytes();
        for piece in between {
            let Some(at) = piece.find(rest) else {
                return false;
            };
            rest = &rest[at + piece.needle().len()..];
        }
        true
    }
}

/// The most wildcard prefixes alive at once over all inputs, for the wildcards of one field.
///
/// Shape: counting stops with the first number above `limit`, so an answer above it means no
/// more than "too complex". Repeated wildcards count once. A wildcard that would be refused is
/// read as far as it makes sense.
/// Bounds: `SETS_MAX` sets of live states, each at most `limit` large; where those do not
/// suffice the answer is `limit + 1`.
/// Source: event-patterns.md 5.3, which describes event-ruler's count; the service's limit is 10.
pub fn complexity(wildcards: &[&str], limit: u32) -> u32 {
    let mut distinct = wildcards.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let automata: Vec<Vec<u16>> = distinct.iter().map(|wildcard| tokens(wildcard)).collect();

    // A state is (automaton, tokens consumed); a set of live states is sorted.
    let start: Vec<(usize, usize)> = (0..automata.len()).map(|which| (which, 0)).collect();
    let mut seen = HashSet::from([start.clone()]);
    let mut todo = vec![start];
    let mut worst = 0;
    while let Some(live) = todo.pop() {
        // Only what some live state waits for makes a difference; `OTHER` is any other byte.
        let mut letters: Vec<u16> = live
            .iter()
            .filter_map(|(which, at)| automata[*which].get(*at).copied())
            .filter(|token| *token != ASTERISK)
            .chain([OTHER])
            .collect();
        letters.sort_unstable();
        letters.dedup();
        for letter in letters {
            let next = step(&automata, &live, letter);
            let count = u32::try_from(next.len()).unwrap_or(u32::MAX);
            worst = worst.max(count);
            if limit < worst {
                return worst;
            }
            if !next.is_empty() && seen.insert(next.clone()) {
                if SETS_MAX < seen.len() {
                    return limit.saturating_add(1);
                }
                todo.push(next);
            }
        }
    }
    worst
}

const ASTERISK: u16 = 256;
const OTHER: u16 = 257;

/// The bytes of a wildcard between two quotes, with one token for each asterisk.
fn tokens(wildcard: &str) -> Vec<u16> {
    let mut tokens = vec![u16::from(b'"')];
    let mut bytes = wildcard.bytes();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'*' => ASTERISK,
            b'\\' => u16::from(bytes.next().unwrap_or(b'\\')),
            _ => u16::from(byte),
        });
    }
    tokens.push(u16::from(b'"'));
    tokens
}

/// The states alive after one more letter. The state behind an asterisk stays alive, and a
/// state before an asterisk keeps the one behind it alive too.
fn step(automata: &[Vec<u16>], live: &[(usize, usize)], letter: u16) -> Vec<(usize, usize)> {
    let mut next = Vec::with_capacity(live.len() + 2);
    let mut reach = |which: usize, at: usize| {
        next.push((which, at));
        if automata[which].get(at) == Some(&ASTERISK) {
            next.push((which, at + 1));
        }
    };
    for (which, at) in live {
        let tokens = &automata[*which];
        if 0 < *at && tokens[at - 1] == ASTERISK {
            reach(*which, *at);
        }
        if tokens.get(*at) == Some(&letter) {
            reach(*which, at + 1);
        }
    }
    next.sort_unstable();
    next.dedup();
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wildcard: &str, value: &str, expected: bool) {
        let parsed = Wildcard::parse(wildcard).unwrap();
        assert_eq!(parsed.matches(value), expected, "{wildcard} {value}");
    }

    #[test]
    fn an_asterisk_is_any_run_and_the_whole_value_counts() {
        check("a*c", "ac", true);
        check("a*c", "abbbc", true);
        check("a*c", "abcd", false);
        check("a*c", "xac", false);
        check("*", "", true);
        check("*", "\n\u{1f600}", true);
        check("", "", true);
        check("", "a", false);
        check("*a*b*", "xaxbx", true);
        check("*a*b*", "xbxax", false);
        check("*aab", "aaaab", true);
        check("ab*ba", "aba", false);
        check("ab*ba", "abba", true);
        check("*ab*ab*", "abab", true);
        check("*ab*ab*", "aab", false);
        check("a*b*a", "aba", true);
        check("a*b*a", "aa", false);
        check("?[a]*", "?[a]", true);
        check("?*", "x", false);
    }

    #[test]
    fn escapes_are_an_asterisk_and_a_backslash() {
        check(r"a\*b", "a*b", true);
        check(r"a\*b", "axb", false);
        check(r"a\\*", r"a\x", true);
        check(r"a\\\*", r"a\*", true);
        check(r"\**", "*x", true);
    }

    #[test]
    fn faults_are_placed_in_bytes_from_one() {
        let fault = |wildcard: &str| Wildcard::parse(wildcard).unwrap_err();
        assert_eq!(
            fault("arn:aws:events:us-east-1:**"),
            WildcardFault::Run { at: 26 }
        );
        assert_eq!(fault("é**"), WildcardFault::Run { at: 3 });
        assert_eq!(fault(r"a\x"), WildcardFault::Escape { at: 2 });
        assert_eq!(fault("é\\"), WildcardFault::Escape { at: 3 });
        assert_eq!(fault(r"\x**"), WildcardFault::Escape { at: 1 });
    }

    #[test]
    fn complexity_is_that_of_the_known_points() {
        let check = |wildcards: &[&str], expected: u32| {
            assert_eq!(complexity(wildcards, 100), expected, "{wildcards:?}");
        };
        check(&["arn:aws:events:us-east-1:*:event-bus/*"], 3);
        check(&["/Users/*/dir/dir/dir/dir/dir/doc.txt"], 7);
        check(&["*:stack/ab/*", "*:stack/cd/*", "*:stack/ef/*"], 9);
        check(&["*:*:*:*:*:event-bus/*"], 11);
        check(
            &[
                "*:stack/ab/*",
                "*:stack/cd/*",
                "*:stack/ef/*",
                "*:stack/gh/*",
            ],
            12,
        );
        check(&["*.bif", "*.tiff", "*.tif", "*.svs"], 8);
        check(&["*/datasync/*.bif", "*/datasync/*.tif"], 8);
        check(
            &[
                "*/datasync/*.bif",
                "*/datasync/*.tif",
                "*/datasync/*.tiff",
                "*/datasync/*.svs",
            ],
            16,
        );
        check(&["*/dir/*", "*/init/*", "*/dir/*"], 7);
        check(&[], 0);
    }

    #[test]
    fn long_wildcards_are_not_complex_by_length() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut long = || {
            let letters: String = (0..1_300).map(|_| random.lowercase()).collect();
            format!("*{letters}*")
        };
        let three = [long(), long(), long()];
        let three: Vec<&str> = three.iter().map(String::as_str).collect();
        assert!(complexity(&three, 10) <= 10);
    }

    #[test]
    fn complexity_stops_above_the_limit() {
        assert_eq!(complexity(&["*:*:*:*:*:event-bus/*"], 10), 11);
        let monster = "*a".repeat(2_000);
        assert!(10 < complexity(&[&monster], 10));
        // Live states stay few, the sets of them do not: this ends at the bound.
        let many: Vec<String> = (0..12)
            .map(|n| format!("{}*{n}x", "ab".repeat(300)))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(10 < complexity(&many, 10));
    }
}
