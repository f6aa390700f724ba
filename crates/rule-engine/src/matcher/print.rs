//! A matcher as the JSON of a pattern, and a value as the JSON of an event.
//!
//! Printed back from the model, so that patterns keep no text for it. The text is one that reads
//! back as the same matcher, not always the one that was read: a number in `numeric` is printed
//! in its shortest form, a list of one as its item, a block of addresses from its first address.

use std::fmt::{self, Display, Formatter, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Matcher, Range, TextMatcher, Value};
use crate::address::Address;

impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            // In a leaf a text alone may be an address, which `exactly` never is.
            Matcher::Text(TextMatcher::Exactly(text)) if Address::parse(text).is_none() => {
                string(f, text)
            }
            Matcher::Text(TextMatcher::Address(address)) => string(f, &address.to_string()),
            Matcher::Text(text) => {
                write!(f, "{{\"{}\":", text.operator())?;
                text.operand(f)?;
                f.write_char('}')
            }
            Matcher::Number(text, _) => f.write_str(text),
            Matcher::True => f.write_str("true"),
            Matcher::False => f.write_str("false"),
            Matcher::Null => f.write_str("null"),
            // Its words are with the caller.
            Matcher::Added { filter, .. } => write!(f, "{{\"filter\":{filter}}}"),
            Matcher::Exists => f.write_str("{\"exists\":true}"),
            Matcher::Absent => f.write_str("{\"exists\":false}"),
            Matcher::Numeric(range) => write!(f, "{{\"numeric\":{range}}}"),
            Matcher::AnythingButNumbers(numbers) => {
                f.write_str("{\"anything-but\":")?;
                list(f, numbers, |f, it| number(f, *it))?;
                f.write_char('}')
            }
            Matcher::AnythingBut(texts) => {
                f.write_str("{\"anything-but\":")?;
                // All of one kind: a pattern has no other.
                match &texts[0] {
                    TextMatcher::Exactly(_) => list(f, texts, |f, it| it.operand(f))?,
                    first => {
                        write!(f, "{{\"{}\":", first.operator())?;
                        list(f, texts, |f, it| it.operand(f))?;
                        f.write_char('}')?;
                    }
                }
                f.write_char('}')
            }
        }
    }
}

impl TextMatcher {
    fn operator(&self) -> &'static str {
        match self {
            TextMatcher::Exactly(_) | TextMatcher::Address(_) => "exactly",
            TextMatcher::Block(_) => "cidr",
            TextMatcher::Prefix(_) | TextMatcher::PrefixIgnoreCase(_) => "prefix",
            TextMatcher::Suffix(_) | TextMatcher::SuffixIgnoreCase(_) => "suffix",
            TextMatcher::EqualsIgnoreCase(_) => "equals-ignore-case",
            TextMatcher::Wildcard(_) => "wildcard",
        }
    }

    fn operand(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            TextMatcher::Exactly(text) | TextMatcher::Prefix(text) | TextMatcher::Suffix(text) => {
                string(f, text)
            }
            TextMatcher::Address(address) => string(f, &address.to_string()),
            TextMatcher::Block(block) => {
                let (address, bits) = block.first();
                string(f, &format!("{address}/{bits}"))
            }
            TextMatcher::PrefixIgnoreCase(folded) | TextMatcher::SuffixIgnoreCase(folded) => {
                f.write_str("{\"equals-ignore-case\":")?;
                string(f, &folded.text())?;
                f.write_char('}')
            }
            TextMatcher::EqualsIgnoreCase(folded) => string(f, &folded.text()),
            TextMatcher::Wildcard(wildcard) => string(f, &wildcard.text()),
        }
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        if let (Some(bottom), Some(top)) = (self.bottom, self.top)
            && bottom.number == top.number
        {
            f.write_str("\"=\",")?;
            number(f, bottom.number)?;
            return f.write_char(']');
        }
        if let Some(bottom) = self.bottom {
            f.write_str(if bottom.inclusive {
                "\">=\","
            } else {
                "\">\","
            })?;
            number(f, bottom.number)?;
        }
        if self.bottom.is_some() && self.top.is_some() {
            f.write_char(',')?;
        }
        if let Some(top) = self.top {
            f.write_str(if top.inclusive { "\"<=\"," } else { "\"<\"," })?;
            number(f, top.number)?;
        }
        f.write_char(']')
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Address::V4(bits) => Ipv4Addr::from(*bits).fmt(f),
            Address::V6(bits) => {
                let address = Ipv6Addr::from(*bits);
                let text = address.to_string();
                // A dotted tail is no address to us.
                if !text.contains('.') {
                    return f.write_str(&text);
                }
                let groups = address.segments().map(|group| format!("{group:x}"));
                f.write_str(&groups.join(":"))
            }
        }
    }
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) => string(f, text),
            Value::Number(text, _) => f.write_str(text),
            Value::True => f.write_str("true"),
            Value::False => f.write_str("false"),
            Value::Null => f.write_str("null"),
            Value::Length(elements) => write!(f, "{elements} elements"),
        }
    }
}

/// The one item itself, or all of them as an array.
fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    print: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if let [only] = items {
        return print(f, only);
    }
    for (at, item) in items.iter().enumerate() {
        f.write_char(if at == 0 { '[' } else { ',' })?;
        print(f, item)?;
    }
    f.write_char(']')
}

/// A double as JSON, which reads back as the same comparable number.
fn number(f: &mut Formatter<'_>, double: f64) -> fmt::Result {
    let text = format!("{double:?}");
    let whole = text.strip_suffix(".0").unwrap_or(&text);
    // The smallest double has one digit here and needs two to be comparable.
    if crate::number::comparable(whole) == Some(double) {
        f.write_str(whole)
    } else {
        write!(f, "{double:.1e}")
    }
}

/// A string as JSON: escaped where it must be, else as it is.
fn string(out: &mut Formatter<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            // The terminal's controls beyond ASCII go the same way.
            control if control.is_control() => write!(out, "\\u{:04x}", u32::from(control))?,
            other => out.write_char(other)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use crate::pattern::Pattern;

    /// The leaf at `a` as it is printed.
    fn printed(leaf: &str) -> String {
        let pattern = Pattern::parse(&format!("{{\"a\":{leaf}}}")).unwrap();
        pattern.alternatives()[0].leaves[0].to_string()
    }

    #[test]
    fn a_leaf_is_printed_as_it_was_written() {
        for leaf in [
            r#"["x",1,1.50,true,false,null]"#,
            r#"["q\"b\\s\nn\u0001é"]"#,
            r#"[{"prefix":"a"},{"suffix":"b"},{"wildcard":"a*\\*b\\\\*"}]"#,
            r#"[{"prefix":{"equals-ignore-case":"aB"}},{"suffix":{"equals-ignore-case":"ßσς"}}]"#,
            r#"[{"equals-ignore-case":"aß\u212aİıσ𐐨"}]"#,
            r#"[{"exists":true},{"exists":false}]"#,
            r#"[{"numeric":["=",5]},{"numeric":["<",-1.5]},{"numeric":[">=",0]}]"#,
            r#"[{"numeric":[">",0,"<=",1e300]},{"numeric":[">",4.9e-324]}]"#,
            r#"[{"anything-but":"x"},{"anything-but":["x","y"]},{"anything-but":[1,2.5]}]"#,
            r#"[{"anything-but":{"prefix":["x","y"]}},{"anything-but":{"wildcard":"*x"}}]"#,
            r#"["10.0.0.1","::1",{"exactly":"::1"},{"cidr":"10.0.0.0/24"},{"cidr":"2001:db8::/32"}]"#,
        ] {
            assert_eq!(printed(leaf), leaf.replace("\\u212a", "\u{212a}"), "{leaf}");
        }
    }

    #[test]
    fn what_is_printed_otherwise_reads_back_as_the_same() {
        for (leaf, expected) in [
            (r#"["010.0.0.1"]"#, r#"["10.0.0.1"]"#),
            (r#"["::102:304"]"#, r#"["::102:304"]"#),
            (r#"[{"cidr":"10.0.0.7/24"}]"#, r#"[{"cidr":"10.0.0.0/24"}]"#),
            (r#"[{"numeric":["=",5.0]}]"#, r#"[{"numeric":["=",5]}]"#),
            (r#"[{"anything-but":["x"]}]"#, r#"[{"anything-but":"x"}]"#),
            (r#"[{"exactly":"x"}]"#, r#"["x"]"#),
            (
                r#"[{"equals-ignore-case":"ΣÉ"}]"#,
                r#"[{"equals-ignore-case":"σé"}]"#,
            ),
        ] {
            assert_eq!(printed(leaf), expected);
            assert_eq!(printed(expected), expected);
        }
    }
}
