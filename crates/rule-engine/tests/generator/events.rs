//! Events: small objects, envelopes, arrays of rows, deep ones, and ones full of noise.

use super::words::{ADDRESSES, COMPARABLE, INCOMPARABLE, NOISE, NUMBERS_SAME, STEMS, WORDS};
use super::{Generator, Kind, Members, Theme, Value};

impl Generator {
    pub(super) fn event(&mut self) -> Value {
        let shape = self.below(100);
        let mut members = match (self.theme, shape) {
            (Theme::Rows, _) => self.rows(),
            (Theme::Sources, 0..80) => self.envelope(),
            (_, 0..50) => {
                let depth = 1 + self.below(3);
                self.members(depth)
            }
            (_, 50..70) => self.envelope(),
            (_, 70..85) => self.rows(),
            (_, 85..89) => self.deep(),
            _ => self.crowded(),
        };
        if !self.kinds.has(Kind::ArrayOfObjects) && self.chance(60) {
            let rows = self.array_of_objects(1);
            self.push(&mut members, rows);
        }
        if members.is_empty() || self.chance(10) {
            let value = self.scalar();
            self.push(&mut members, value);
        }
        Value::Object(members)
    }

    fn members(&mut self, depth: usize) -> Members {
        let mut members = Vec::new();
        for _ in 0..self.pick(&[0, 1, 2, 2, 3, 4]) {
            let value = self.value(depth);
            self.push(&mut members, value);
        }
        members
    }

    /// Adds a member under some name that is free, unless repeats are wanted.
    fn push(&mut self, members: &mut Members, value: Value) {
        for _ in 0..3 {
            let name = if self.chance(60) {
                self.pick(&self.names[..self.names.len().min(6)])
            } else {
                self.pick(self.names)
            };
            let name = if self.spellings && self.chance(50) {
                self.pick(&["a", "a.b", "b", "b.c"])
            } else {
                name
            };
            let same = members.iter().any(|(other, _)| other == name);
            let meets = members
                .iter()
                .any(|(other, _)| other != name && meet(other, name));
            if (same && !self.repeats) || (meets && !self.spellings) {
                continue;
            }
            if same {
                self.kinds.add(Kind::Repeat);
            }
            if meets {
                self.kinds.add(Kind::TwoSpellings);
            }
            if name.contains('.') {
                self.kinds.add(Kind::EventDotted);
            }
            members.push((name.into(), value));
            return;
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        if depth == 0 {
            return self.scalar();
        }
        match self.below(100) {
            0..35 => self.scalar(),
            35..55 => Value::Object(self.members(depth - 1)),
            55..80 => self.array_of_objects(depth - 1),
            80..85 => {
                let one = self.scalar();
                let two = self.scalar();
                Value::Array(vec![one, two])
            }
            _ => {
                let count = self.below(4);
                let items: Vec<Value> = (0..count).map(|_| self.value(depth - 1)).collect();
                if items.iter().any(|item| matches!(item, Value::Array(_))) {
                    self.kinds.add(Kind::ArrayOfArrays);
                }
                Value::Array(items)
            }
        }
    }

    /// Objects that share names, with other things between them now and then.
    fn array_of_objects(&mut self, depth: usize) -> Value {
        let mut items = Vec::new();
        for _ in 0..self.pick(&[1, 2, 2, 3, 3, 5]) {
            items.push(match self.below(20) {
                0 => self.scalar(),
                1 => {
                    self.kinds.add(Kind::ArrayOfArrays);
                    let inside = Value::Object(self.members(depth));
                    Value::Array(vec![inside])
                }
                _ => {
                    self.kinds.add(Kind::ArrayOfObjects);
                    Value::Object(self.members(depth))
                }
            });
        }
        Value::Array(items)
    }

    /// What the bus delivers, in any order of its members.
    fn envelope(&mut self) -> Members {
        self.kinds.add(Kind::Envelope);
        let source = match self.below(10) {
            0 => self.scalar(),
            _ => Value::Text(
                self.pick(&["acme.orders", "acme.order", "acme.billing"])
                    .to_owned(),
            ),
        };
        let kind = match self.below(10) {
            0 => Value::Array(vec![self.scalar(), self.scalar()]),
            _ => Value::Text(
                self.pick(&["Order Placed", "Order placed", "Order"])
                    .to_owned(),
            ),
        };
        let resources = (0..self.below(3)).map(|_| self.text()).collect();
        let detail = Value::Object(self.members(2));
        let mut members: Members = vec![
            ("version".into(), Value::Text("0".to_owned())),
            (
                "id".into(),
                Value::Text("17793124-05d4-b198-2fde-7ededc63b103".to_owned()),
            ),
            ("detail-type".into(), kind),
            ("source".into(), source),
            ("account".into(), Value::Text("123456789012".to_owned())),
            (
                "time".into(),
                Value::Text("2026-01-02T03:04:05Z".to_owned()),
            ),
            ("region".into(), Value::Text("eu-central-1".to_owned())),
            ("resources".into(), Value::Array(resources)),
            ("detail".into(), detail),
        ];
        if self.chance(30) {
            self.random.shuffle(&mut members);
        }
        if self.chance(20) {
            members.truncate(5);
        }
        members
    }

    /// Many objects with few names and fewer values, arrays within arrays.
    fn rows(&mut self) -> Members {
        let mut members = Vec::new();
        for name in ["a", "d"].into_iter().take(1 + self.below(2)) {
            let mut items = Vec::new();
            for _ in 0..2 + self.below(3) {
                let mut row = self.row();
                if self.chance(30) {
                    let below = (0..1 + self.below(2)).map(|_| Value::Object(self.row()));
                    let below = Value::Array(below.collect());
                    row.retain(|(name, _)| name != "c");
                    row.push(("c".into(), below));
                }
                items.push(Value::Object(row));
            }
            members.push((name.into(), Value::Array(items)));
        }
        self.kinds.add(Kind::ArrayOfObjects);
        members
    }

    fn row(&mut self) -> Members {
        let mut names = ["b", "c", "e"];
        self.random.shuffle(&mut names);
        let count = self.below(4);
        let names = names.into_iter().take(count);
        names
            .map(|name| {
                let number = self.pick(&["1", "2", "3"]);
                (name.into(), Value::Number(number.into()))
            })
            .collect()
    }

    fn deep(&mut self) -> Members {
        self.kinds.add(Kind::Deep);
        let arrays_only = self.chance(30);
        let levels = if arrays_only {
            20 + self.below(600)
        } else {
            10 + self.below(50)
        };
        let mut value = if self.chance(50) {
            self.scalar()
        } else {
            Value::Object(self.members(1))
        };
        for _ in 0..levels {
            value = match self.below(3) {
                _ if arrays_only => Value::Array(vec![value]),
                0 => Value::Array(vec![value]),
                1 => Value::Array(vec![Value::Object(vec![("b".into(), value)])]),
                _ => Value::Object(vec![("a".into(), value)]),
            };
        }
        if arrays_only {
            self.kinds.add(Kind::ArrayOfArrays);
        }
        vec![("a".into(), value), ("b".into(), self.scalar())]
    }

    /// Fields among many others that nobody asks for, with long texts full of brackets, quotes
    /// and backslashes, so that each comes to lie on every edge of a block.
    fn crowded(&mut self) -> Members {
        let mut members = self.members(2);
        let noise = ["noise", "n\"", "n\\", "zz"];
        for (at, name) in noise.into_iter().enumerate().take(1 + self.below(4)) {
            let text = self.long_text();
            let value = match self.below(4) {
                0 => Value::Object(vec![
                    ("a".into(), self.scalar()),
                    (name.into(), Value::Text(text)),
                    ("b".into(), Value::Array(vec![Value::Object(Vec::new())])),
                ]),
                1 => Value::Array(vec![Value::Text(text), self.scalar()]),
                _ => Value::Text(text),
            };
            members.insert(members.len().min(at), (name.into(), value));
        }
        members
    }

    pub(super) fn scalar(&mut self) -> Value {
        let (texts, numbers, addresses) = match self.theme {
            Theme::Any | Theme::Sources => (55, 80, 88),
            Theme::Texts => (90, 95, 95),
            Theme::Numbers => (5, 95, 95),
            Theme::Addresses => (10, 15, 95),
            Theme::Rows => (5, 90, 90),
        };
        let roll = self.below(100);
        if roll < texts {
            self.text()
        } else if roll < numbers {
            self.number()
        } else if roll < addresses {
            Value::Text(self.address())
        } else {
            self.literal()
        }
    }

    pub(super) fn literal(&mut self) -> Value {
        match self.below(3) {
            0 => Value::True,
            1 => Value::False,
            _ => Value::Null,
        }
    }

    pub(super) fn text(&mut self) -> Value {
        let mut text = String::new();
        match self.below(100) {
            0..40 => text.push_str(self.pick(WORDS)),
            40..85 => {
                for _ in 0..1 + self.below(4) {
                    text.push_str(self.pick(STEMS));
                }
            }
            85..94 => {
                for _ in 0..self.below(7) {
                    text.push(self.pick(&['a', 'b', 'A', '*', '\\', 'é']));
                }
            }
            _ => text = self.long_text(),
        }
        Value::Text(text)
    }

    fn long_text(&mut self) -> String {
        self.kinds.add(Kind::LongText);
        let length = self.pick(&[50, 62, 63, 64, 65, 66, 120, 127, 128, 129, 130, 200, 300]);
        let mut text = String::with_capacity(length + 16);
        let plain = self.chance(50);
        while text.len() < length {
            text.push_str(if plain {
                self.pick(STEMS)
            } else {
                self.pick(NOISE)
            });
        }
        text
    }

    pub(super) fn number(&mut self) -> Value {
        if matches!(self.theme, Theme::Rows) {
            return Value::Number(self.pick(&["1", "2", "3"]).into());
        }
        match self.below(100) {
            0..45 => {
                let number = self.pick(COMPARABLE);
                self.spelled(number)
            }
            45..60 => {
                self.kinds.add(Kind::IncomparableNumber);
                Value::Number(self.pick(INCOMPARABLE).into())
            }
            60..90 => {
                let number = self.random.i32(-60..400).to_string();
                self.spelled(&number)
            }
            _ => {
                let number = format!("{}.{}", self.random.i32(-60..400), self.random.u8(..100));
                self.spelled(&number)
            }
        }
    }

    /// The same number in another spelling, or in this one.
    pub(super) fn spelled(&mut self, number: &str) -> Value {
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let plain = digits < 12 && !number.contains(['e', 'E']);
        let same = NUMBERS_SAME.iter().find(|same| same.contains(&number));
        let text = match (self.below(10), same) {
            (0..3, Some(same)) => self.pick(same).to_owned(),
            (0, None) if plain => format!("{number}e0"),
            (1, None) if plain => format!("{number}E+00"),
            (2, None) if plain && number.contains('.') => format!("{number}0"),
            (2, None) if plain => format!("{number}.0"),
            (3, None) if plain && !number.contains('.') => format!("{number}00e-2"),
            _ => number.to_owned(),
        };
        Value::Number(text.into())
    }

    fn address(&mut self) -> String {
        match self.below(10) {
            0..3 => self.pick(ADDRESSES).to_owned(),
            3..8 => format!("10.0.{}.{}", self.random.u8(..3), self.random.u8(..)),
            8 => format!("2001:db8::{:x}", self.random.u16(..600)),
            _ => format!("2001:0DB8:0:0:0:0:0:{:X}", self.random.u16(..600)),
        }
    }
}

/// True when two members of one object can spell one path.
fn meet(one: &str, other: &str) -> bool {
    let begins = |long: &str, short: &str| {
        long.strip_prefix(short)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    begins(one, other) || begins(other, one)
}
