//! Trees as JSON, with more escapes and white space than there need be.

use super::{Generator, Kind, Value};

impl Generator {
    pub(super) fn write(&mut self, value: &Value, out: &mut String) {
        self.space(out);
        match value {
            Value::Text(text) => self.write_text(text, out),
            Value::Number(number) => out.push_str(number),
            Value::True => out.push_str("true"),
            Value::False => out.push_str("false"),
            Value::Null => out.push_str("null"),
            Value::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if 0 < at {
                        out.push(',');
                    }
                    self.write(item, out);
                }
                self.space(out);
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if 0 < at {
                        out.push(',');
                    }
                    self.space(out);
                    self.write_text(name, out);
                    self.space(out);
                    out.push(':');
                    self.write(value, out);
                }
                self.space(out);
                out.push('}');
            }
        }
        self.space(out);
    }

    fn space(&mut self, out: &mut String) {
        if self.space_max == 0 || !self.chance(25) {
            return;
        }
        for _ in 0..1 + self.below(self.space_max) {
            out.push(self.pick(&[' ', ' ', '\n', '\t', '\r']));
        }
    }

    fn write_text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            let must = matches!(character, '"' | '\\' | '\0'..' ');
            if !must && (self.escapes == 0 || self.escapes <= self.random.u8(..)) {
                out.push(character);
                continue;
            }
            self.kinds.add(Kind::Escape);
            let short = match character {
                '"' | '\\' | '/' => Some(character),
                '\n' => Some('n'),
                '\t' => Some('t'),
                '\r' => Some('r'),
                '\u{8}' => Some('b'),
                '\u{c}' => Some('f'),
                _ => None,
            };
            match short {
                Some(short) if self.chance(70) => {
                    out.push('\\');
                    out.push(short);
                }
                _ => {
                    let upper = self.random.bool();
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        out.push_str(&if upper {
                            format!("\\u{unit:04X}")
                        } else {
                            format!("\\u{unit:04x}")
                        });
                    }
                }
            }
        }
        out.push('"');
    }
}
