//! Patterns from the fields of an event: most conditions hold, some fail by little.

use std::net::IpAddr;

use super::words::{ADDRESSES_SAME, CIDRS, COMPARABLE, INCOMPARABLE, WORDS};
use super::{Generator, Kind, Members, Name, Theme, Value};

/// A field of an event, for patterns to ask for.
struct Field<'e> {
    path: Vec<&'e str>,
    value: &'e Value,
}

impl Generator {
    pub(super) fn pattern(&mut self, event: &Value) -> Value {
        let mut fields = Vec::new();
        let one_element = self.chance(75);
        self.fields(event, &mut Vec::new(), one_element, &mut fields);
        let count = self.pick(&[1, 1, 2, 2, 3, 4]);
        let mut members = self.conditions(&fields, count);
        if matches!(self.theme, Theme::Sources) {
            let source = self.pick(&["acme.orders", "acme.order", "acme.billing"]);
            let source = match fields.iter().find(|field| field.path == ["source"]) {
                Some(field) if self.chance(85) => field.value.clone(),
                _ => Value::Text(source.to_owned()),
            };
            let leaf = Value::Array(vec![source]);
            self.place(&mut members, &["source"], leaf);
        }
        if self.chance(15) {
            self.or(&mut members, &fields);
        }
        if self.chance(30) {
            self.random.shuffle(&mut members);
        }
        Value::Object(members)
    }

    /// The fields of an event, all of them or those that one element of each array has.
    fn fields<'e>(
        &mut self,
        value: &'e Value,
        path: &mut Vec<&'e str>,
        one_element: bool,
        out: &mut Vec<Field<'e>>,
    ) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    path.push(name);
                    self.fields(value, path, one_element, out);
                    path.pop();
                }
            }
            Value::Array(items) if one_element && !items.is_empty() => {
                let at = self.below(items.len());
                self.fields(&items[at], path, one_element, out);
            }
            Value::Array(items) => {
                for item in items {
                    self.fields(item, path, one_element, out);
                }
            }
            value => out.push(Field {
                path: path.clone(),
                value,
            }),
        }
    }

    fn conditions(&mut self, fields: &[Field<'_>], count: usize) -> Members {
        let mut members = Vec::new();
        for _ in 0..count {
            if fields.is_empty() || self.chance(4) {
                let path: Vec<&str> = (0..1 + self.below(2))
                    .map(|_| self.pick(self.names))
                    .collect();
                let value = self.scalar();
                let leaf = if self.chance(50) {
                    self.absence()
                } else {
                    self.leaf(&value)
                };
                self.place(&mut members, &path, leaf);
                continue;
            }
            let field = &fields[self.below(fields.len())];
            if self.chance(12) {
                // A neighbour, which may be there in this element or in another.
                let mut path = field.path.clone();
                let neighbours = ["b", "c", "e", "d", "zz"];
                *path.last_mut().unwrap() = self.pick(&neighbours);
                let leaf = self.absence();
                self.place(&mut members, &path, leaf);
            } else {
                let leaf = self.leaf(field.value);
                self.place(&mut members, &field.path, leaf);
            }
        }
        members
    }

    fn absence(&mut self) -> Value {
        self.kinds.add(Kind::ExistsFalse);
        let mut items = vec![operator("exists", Value::False)];
        if self.chance(25) {
            let value = self.scalar();
            items.push(self.item(&value));
        }
        Value::Array(items)
    }

    /// Forks: at the root, or below one name.
    fn or(&mut self, members: &mut Members, fields: &[Field<'_>]) {
        self.kinds.add(Kind::Or);
        let below = fields
            .iter()
            .find(|field| 1 < field.path.len() && self.random.u8(..4) == 0)
            .map(|field| field.path[0]);
        let inside: Vec<Field<'_>> = fields
            .iter()
            .filter(|field| below.is_none_or(|name| 1 < field.path.len() && field.path[0] == name))
            .map(|field| Field {
                path: field.path[usize::from(below.is_some())..].to_vec(),
                value: field.value,
            })
            .collect();
        let mut branches = Vec::new();
        for _ in 0..2 + self.below(2) {
            let count = 1 + self.below(2);
            let mut branch = self.conditions(&inside, count);
            if !inside.is_empty() && self.chance(10) {
                let nested = (0..2).map(|_| Value::Object(self.conditions(&inside[..1], 1)));
                let nested = Value::Array(nested.collect());
                branch.push(("$or".into(), nested));
            }
            branches.push(Value::Object(branch));
        }
        let fork: (Name, Value) = ("$or".into(), Value::Array(branches));
        let at = self.below(members.len() + 1);
        match below {
            None => members.insert(at, fork),
            Some(name) => {
                members.insert(at, (name.to_owned().into(), Value::Object(vec![fork])));
            }
        }
    }

    /// Adds a leaf: nested into what is there, beside it, or with a dotted name.
    fn place(&mut self, members: &mut Members, path: &[&str], leaf: Value) {
        let (name, rest) = path.split_first().unwrap();
        if name.contains('.') {
            self.kinds.add(Kind::PatternDotted);
        }
        if rest.is_empty() {
            members.push(((*name).to_owned().into(), leaf));
            return;
        }
        if self.chance(12) {
            self.kinds.add(Kind::PatternDotted);
            members.push((path.join(".").into(), leaf));
            return;
        }
        for (other, value) in members.iter_mut() {
            if let Value::Object(inside) = value
                && other == name
            {
                self.place(inside, rest, leaf);
                return;
            }
        }
        let mut inside = Vec::new();
        self.place(&mut inside, rest, leaf);
        members.push(((*name).to_owned().into(), Value::Object(inside)));
    }

    /// What is asked of a path: mostly something that holds for `value`.
    fn leaf(&mut self, value: &Value) -> Value {
        let count = match self.below(100) {
            0..62 => 1,
            62..92 => 2 + self.below(2),
            _ => 4 + self.below(20),
        };
        if 1 < count {
            self.kinds.add(Kind::SeveralValues);
        }
        let mut items = vec![self.item(value)];
        for _ in 1..count {
            let other = if self.chance(50) {
                self.near(value)
            } else {
                self.scalar()
            };
            items.push(self.item(&other));
        }
        self.random.shuffle(&mut items);
        Value::Array(items)
    }

    /// One item that mostly holds for `value`.
    fn item(&mut self, value: &Value) -> Value {
        let near = (!self.chance(84)).then(|| self.near(value));
        let value = near.as_ref().unwrap_or(value);
        if self.chance(35) {
            return self.plain(value);
        }
        match value {
            Value::Text(text) => self.about_text(text),
            Value::Number(number) => self.about_number(number),
            _ => match self.below(3) {
                0 => self.exists(),
                1 => self.plain(value),
                _ => self.about_other(),
            },
        }
    }

    /// The value itself, in another spelling now and then.
    fn plain(&mut self, value: &Value) -> Value {
        match value {
            Value::Text(text) => {
                let same = ADDRESSES_SAME.iter().find(|same| same.contains(&&**text));
                let same = match same {
                    Some(same) if self.chance(60) => self.pick(same),
                    _ => text,
                };
                self.kinds.add(if same.parse::<IpAddr>().is_ok() {
                    Kind::Address
                } else {
                    Kind::Text
                });
                Value::Text(same.to_owned())
            }
            Value::Number(number) => {
                self.kinds.add(Kind::Number);
                self.spelled(number)
            }
            literal => {
                self.kinds.add(Kind::Literal);
                literal.clone()
            }
        }
    }

    fn exists(&mut self) -> Value {
        if self.chance(80) {
            self.kinds.add(Kind::ExistsTrue);
            operator("exists", Value::True)
        } else {
            self.kinds.add(Kind::ExistsFalse);
            operator("exists", Value::False)
        }
    }

    fn about_text(&mut self, text: &str) -> Value {
        if text.parse::<IpAddr>().is_ok() && self.chance(50) {
            return self.cidr(text);
        }
        let cut = self.cut(text);
        match self.below(22) {
            0 => self.of(Kind::Exactly, "exactly", text),
            1 | 2 => self.of(Kind::Prefix, "prefix", &text[..cut]),
            3 | 4 => self.of(Kind::Suffix, "suffix", &text[cut..]),
            5 | 6 => {
                let text = self.other_case(&text[..cut]);
                self.kinds.add(Kind::PrefixIgnoreCase);
                operator("prefix", operator("equals-ignore-case", text))
            }
            7 | 8 => {
                let text = self.other_case(&text[cut..]);
                self.kinds.add(Kind::SuffixIgnoreCase);
                operator("suffix", operator("equals-ignore-case", text))
            }
            9 | 10 => {
                let text = self.other_case(text);
                self.kinds.add(Kind::EqualsIgnoreCase);
                operator("equals-ignore-case", text)
            }
            11..14 => {
                self.kinds.add(Kind::Wildcard);
                let wildcard = self.wildcard(text);
                operator("wildcard", wildcard)
            }
            14 => self.exists(),
            15 => self.about_number("5"),
            16 => self.cidr(text),
            _ => self.anything_but(Some(text)),
        }
    }

    fn of(&mut self, kind: Kind, name: &'static str, text: &str) -> Value {
        self.kinds.add(kind);
        operator(name, Value::Text(text.to_owned()))
    }

    fn about_number(&mut self, number: &str) -> Value {
        let number = if INCOMPARABLE.contains(&number) {
            self.pick(COMPARABLE)
        } else {
            number
        };
        if self.chance(25) {
            return match self.below(4) {
                0 => self.exists(),
                1 => self.about_other(),
                _ => self.but_numbers(number),
            };
        }
        self.kinds.add(Kind::Numeric);
        let own: f64 = number.parse().unwrap();
        let word = |text: &str| Value::Text(text.to_owned());
        let here = self.spelled(number);
        // Another bound, close by or far away.
        let other = match self.below(3) {
            0 => self.pick(COMPARABLE).to_owned(),
            1 if own.abs() < 1e6 && own.fract() == 0.0 => (own + 1.0).to_string(),
            1 if own.abs() < 1e6 && own.fract() == 0.0 => (own - 1.0).to_string(),
            _ => self.random.i32(-100..450).to_string(),
        };
        let far: f64 = other.parse().unwrap();
        let there = self.spelled(&other);
        let (above, below) = (self.pick(&[">", ">=", ">="]), self.pick(&["<", "<=", "<="]));
        let items = match self.below(10) {
            0 | 1 => vec![word("="), here],
            2 if own < far => vec![word(below), there],
            2 | 3 => vec![word(below), here],
            4 if far < own => vec![word(above), there],
            4 | 5 => vec![word(above), here],
            _ if own < far => vec![word(above), here, word(below), there],
            _ if far < own => vec![word(above), there, word(below), here],
            _ => vec![word("="), there],
        };
        operator("numeric", Value::Array(items))
    }

    /// Something that asks for values of another type, or for any.
    fn about_other(&mut self) -> Value {
        if self.chance(50) {
            let number = self.pick(COMPARABLE);
            self.but_numbers(number)
        } else {
            self.anything_but(None)
        }
    }

    fn but_numbers(&mut self, number: &str) -> Value {
        self.kinds.add(Kind::ButNumbers);
        let mut items = Vec::new();
        for _ in 0..self.pick(&[1, 1, 2, 4]) {
            let other = self.pick(COMPARABLE);
            items.push(self.spelled(other));
        }
        if self.chance(40) {
            items[0] = self.spelled(number);
        }
        let items = self.one_or_list(items);
        operator("anything-but", items)
    }

    /// None of some texts; mostly it holds for `text`, but by little.
    fn anything_but(&mut self, text: Option<&str>) -> Value {
        let mut texts = Vec::new();
        for _ in 0..self.pick(&[1, 1, 2, 4]) {
            let other = match text {
                Some(text) if self.chance(50) => self.near_text(text),
                _ => self.pick(WORDS).to_owned(),
            };
            texts.push(other);
        }
        if let Some(text) = text
            && self.chance(25)
        {
            texts[0] = text.to_owned();
        }
        // Neither is allowed to be empty.
        let filled = |text: &str| Value::Text(if text.is_empty() { "z" } else { text }.to_owned());
        let (name, items): (_, Vec<Value>) = match self.below(6) {
            0 | 1 => {
                self.kinds.add(Kind::ButTexts);
                let items = texts.into_iter().map(Value::Text).collect();
                let items = self.one_or_list(items);
                return operator("anything-but", items);
            }
            2 => {
                self.kinds.add(Kind::ButPrefix);
                let items = texts.iter().map(|text| filled(&text[..self.cut(text)]));
                ("prefix", items.collect())
            }
            3 => {
                self.kinds.add(Kind::ButSuffix);
                let items = texts.iter().map(|text| filled(&text[self.cut(text)..]));
                ("suffix", items.collect())
            }
            4 => {
                self.kinds.add(Kind::ButEqualsIgnoreCase);
                let items = texts.iter().map(|text| self.other_case(text));
                ("equals-ignore-case", items.collect())
            }
            _ => {
                self.kinds.add(Kind::ButWildcard);
                let items = texts.iter().map(|text| self.wildcard(text));
                ("wildcard", items.collect())
            }
        };
        let items = self.one_or_list(items);
        operator("anything-but", operator(name, items))
    }

    fn one_or_list(&mut self, mut items: Vec<Value>) -> Value {
        if items.len() == 1 && self.chance(60) {
            return items.remove(0);
        }
        Value::Array(items)
    }

    fn cidr(&mut self, text: &str) -> Value {
        self.kinds.add(Kind::Cidr);
        let bits_max = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 31,
            // Not shaped as an address of a pattern is.
            Ok(IpAddr::V6(_)) if text.contains('.') => 0,
            Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => 31,
            Ok(IpAddr::V6(_)) => 127,
            Err(_) => 0,
        };
        let block = match bits_max {
            0 => self.pick(CIDRS).to_owned(),
            bits_max => {
                let bits = match self.below(3) {
                    0 => self.below(bits_max + 1),
                    _ => bits_max - self.below(10),
                };
                format!("{text}/{bits}")
            }
        };
        operator("cidr", Value::Text(block))
    }

    /// A place between two characters, the ends included.
    fn cut(&mut self, text: &str) -> usize {
        text.floor_char_boundary(self.below(text.len() + 1))
    }

    fn other_case(&mut self, text: &str) -> Value {
        let mode = self.below(3);
        let mut out = String::with_capacity(text.len());
        for character in text.chars() {
            match mode {
                0 => out.extend(character.to_lowercase()),
                1 => out.extend(character.to_uppercase()),
                _ if self.random.bool() => out.extend(character.to_uppercase()),
                _ => out.push(character),
            }
        }
        Value::Text(out)
    }

    /// The text with some runs of it replaced by asterisks.
    fn wildcard(&mut self, text: &str) -> Value {
        let mut cuts: Vec<usize> = (0..self.pick(&[0, 2, 2, 4, 6]))
            .map(|_| self.cut(text))
            .collect();
        cuts.sort_unstable();
        let mut out = String::with_capacity(text.len() + 4);
        let mut star = false;
        let mut at = 0;
        let copy = |out: &mut String, star: &mut bool, part: &str| {
            for character in part.chars() {
                if let '*' | '\\' = character {
                    out.push('\\');
                }
                out.push(character);
                *star = false;
            }
        };
        for run in cuts.chunks(2) {
            copy(&mut out, &mut star, &text[at..run[0]]);
            if !star {
                out.push('*');
                star = true;
            }
            at = run[1];
        }
        copy(&mut out, &mut star, &text[at..]);
        Value::Text(out)
    }

    /// Another value that is much like this one.
    fn near(&mut self, value: &Value) -> Value {
        match value {
            Value::Text(text) if self.chance(90) => Value::Text(self.near_text(text)),
            Value::Number(number) if self.chance(15) => Value::Text(number.to_string()),
            Value::Number(_) if self.chance(90) => self.number(),
            Value::True | Value::False | Value::Null if self.chance(50) => self.literal(),
            _ => self.scalar(),
        }
    }

    fn near_text(&mut self, text: &str) -> String {
        let cut = self.cut(text);
        match self.below(7) {
            0 => format!("{text}{}", self.pick(&["a", "b", ".", "é", "\""])),
            1 => text[..cut].to_owned(),
            2 => text[cut..].to_owned(),
            3 => format!("{}b{}", &text[..cut], &text[cut..]),
            4 => text.to_uppercase(),
            5 => format!("{}{text}", self.pick(&["a", "x", "*", "é"])),
            _ => match text.char_indices().next_back() {
                Some((last, _)) => format!("{}{}", &text[..last], self.pick(&['a', 'z', 'é'])),
                None => " ".to_owned(),
            },
        }
    }
}

/// An operator of the pattern language.
fn operator(name: &'static str, operand: Value) -> Value {
    Value::Object(vec![(name.into(), operand)])
}
