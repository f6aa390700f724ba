//! Which known word was probably meant.

/// Bytes beyond which a word is not compared: nobody mistypes one of that length.
const WORD_BYTES_MAX: usize = 64;

/// `did you mean …?` for a word that is not known, or what there is.
#[must_use]
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// The known word that was probably meant.
///
/// Shape: case counts for nothing, nor how words are joined: `equalsIgnoreCase` and
/// `equals_ignore_case` are `equals-ignore-case`. Beyond that one edit in a short word, one more
/// for each five characters.
#[must_use]
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if WORD_BYTES_MAX < word.len() {
        return None;
    }
    let word = plain(word);
    known
        .iter()
        .map(|name| (distance(&word, &plain(name)), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min()
        .map(|(_, name)| name)
}

/// Whether two words differ in case and in how they are joined alone.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() <= WORD_BYTES_MAX && plain(a) == plain(b)
}

fn plain(word: &str) -> Vec<char> {
    let letters = word.chars().flat_map(char::to_lowercase);
    letters.filter(|it| !['-', '_', ' '].contains(it)).collect()
}

/// Edits from one word to the other: a character more, less or another, or two neighbours swapped.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (row[j] + usize::from(x != y))
                .min(row[j + 1] + 1)
                .min(next[j] + 1);
            if 0 < i && 0 < j && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        let known = ["Name", "Targets", "equals-ignore-case", "exists"];
        for (word, meant) in [
            ("Tragets", Some("Targets")),
            ("name", Some("Name")),
            ("exsits", Some("exists")),
            ("exist", Some("exists")),
            ("equalsIgnoreCase", Some("equals-ignore-case")),
            ("equals_ignore_case", Some("equals-ignore-case")),
            ("Frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
    }
}
