//! `equals-ignore-case` (event-patterns.md 4.7).
//!
//! Not Unicode case folding: for each character of the pattern the value must have its
//! lower-case or its upper-case form. One form may be two characters long, and the relation has
//! a direction (`ß` takes `SS`, `SS` does not take `ß`).

/// A text that ignores case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Folded {
    /// ASCII alone, whose forms are ASCII again: compared in one go.
    Ascii(Box<str>),
    /// For each character its lower-case and its upper-case form. No form is the beginning or
    /// the end of the other unless they are equal, so a value is read without going back.
    Forms(Box<[(Box<str>, Box<str>)]>),
}

impl Folded {
    pub(crate) fn new(text: &str) -> Folded {
        if text.is_ascii() {
            return Folded::Ascii(text.into());
        }
        Folded::Forms(text.chars().map(forms).collect())
    }

    /// A text that reads back as this one: what was read, but for the case of some letters.
    pub(crate) fn text(&self) -> String {
        match self {
            Folded::Ascii(text) => text.to_string(),
            Folded::Forms(pairs) => pairs
                .iter()
                .map(|(lower, upper)| {
                    let mut candidates = lower.chars().chain(upper.chars());
                    let itself = candidates.find(|it| forms(*it) == (lower.clone(), upper.clone()));
                    itself.map_or_else(|| lower.to_string(), String::from)
                })
                .collect(),
        }
    }

    pub(crate) fn equals(&self, value: &str) -> bool {
        self.after(value) == Some("")
    }

    pub(crate) fn begins(&self, value: &str) -> bool {
        self.after(value).is_some()
    }

    /// True when `value` ends with a form of this text.
    pub(crate) fn ends(&self, value: &str) -> bool {
        match self {
            Folded::Ascii(text) => {
                let value = value.as_bytes();
                text.len() <= value.len()
                    && value[value.len() - text.len()..].eq_ignore_ascii_case(text.as_bytes())
            }
            Folded::Forms(forms) => forms
                .iter()
                .rev()
                .try_fold(value, |rest, (lower, upper)| {
                    rest.strip_suffix(&**lower)
                        .or_else(|| rest.strip_suffix(&**upper))
                })
                .is_some(),
        }
    }

    /// What follows this text at the beginning of `value`.
    fn after<'v>(&self, value: &'v str) -> Option<&'v str> {
        match self {
            Folded::Ascii(text) => {
                let head = value.as_bytes().get(..text.len())?;
                if !head.eq_ignore_ascii_case(text.as_bytes()) {
                    return None;
                }
                Some(&value[text.len()..])
            }
            Folded::Forms(forms) => forms.iter().try_fold(value, |rest, (lower, upper)| {
                rest.strip_prefix(&**lower)
                    .or_else(|| rest.strip_prefix(&**upper))
            }),
        }
    }
}

/// The forms of one character. Beyond U+FFFF it has only itself: event-ruler knows no case there
/// and never matches such a character, which section 6 calls a bug.
fn forms(character: char) -> (Box<str>, Box<str>) {
    if 0xFFFF < u32::from(character) {
        let itself: Box<str> = character.to_string().into();
        return (itself.clone(), itself);
    }
    let lower: String = character.to_lowercase().collect();
    let upper: String = character.to_uppercase().collect();
    (lower.into(), upper.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, value: &str, expected: bool) {
        let folded = Folded::new(pattern);
        assert_eq!(folded.equals(value), expected, "{pattern} {value}");
        let longer = format!("{value}~");
        assert_eq!(folded.begins(&longer), expected, "{pattern} {longer}");
        let longer = format!("~{value}");
        assert_eq!(folded.ends(&longer), expected, "{pattern} {longer}");
    }

    #[test]
    fn each_character_takes_its_lower_or_upper_form() {
        check("aCmE", "AcMe", true);
        check("acme", "acm3", false);
        check("é", "É", true);
        check("ß", "SS", true);
        check("SS", "ß", false);
        check("ß", "ẞ", false);
        check("ı", "I", true);
        check("i", "İ", false);
        check("ς", "Σ", true);
        check("ς", "σ", false);
        check("σ", "ς", false);
        check("\u{212a}", "k", true);
        check("k", "\u{212a}", false);
        check("ⱥ", "Ⱥ", true);
        check("𐐨", "𐐨", true);
        check("𐐨", "𐐀", false);
        check("ßx", "SSX", true);
    }

    #[test]
    fn the_empty_text_equals_only_itself() {
        assert!(Folded::new("").equals(""));
        assert!(!Folded::new("").equals("a"));
    }

    #[test]
    fn a_value_cut_inside_a_character_is_no_beginning() {
        assert!(!Folded::new("a").begins("é"));
        assert!(!Folded::new("aa").ends("aé"));
    }

    #[test]
    fn reading_a_value_never_has_to_go_back() {
        for character in '\0'..=char::MAX {
            let (lower, upper) = forms(character);
            if lower != upper {
                assert!(!lower.starts_with(&*upper) && !upper.starts_with(&*lower));
                assert!(!lower.ends_with(&*upper) && !upper.ends_with(&*lower));
            }
        }
    }
}
