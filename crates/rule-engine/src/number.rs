//! When two number texts are one number (event-patterns.md 4.2).
//!
//! event-ruler compares numbers as binary64, but only where that loses nothing: a token takes
//! part when its exact decimal value is the one that Java prints for its double. Any other
//! token equals its own text alone.

/// The double of a comparable number, `None` for any other number. `-0` comes out as `0`.
///
/// Bounds: linear in the text. `text` is a JSON number.
pub(crate) fn comparable(text: &str) -> Option<f64> {
    let decimal = Decimal::of(text);
    if decimal.digits.is_empty() {
        return Some(0.0);
    }
    // No double prints more digits than this.
    if 17 < decimal.digits.len() {
        return None;
    }
    let double: f64 = text.parse().ok()?;
    if double.is_infinite() || double == 0.0 {
        return None;
    }
    // Fifteen digits always survive the way to binary64 and back, far from its ends.
    let certain = decimal.digits.len() <= 15 && decimal.exponent.abs() <= 270;
    if certain || decimal == Decimal::of(&shortest(double)) {
        return Some(double);
    }
    None
}

/// The shortest decimal that reads back as `double`, but of two digits at least: so prints Java,
/// and that is why `4.9e-324` is comparable and `5e-324`, the same double, is not.
fn shortest(double: f64) -> String {
    let text = format!("{double:e}");
    if !text.contains('.') {
        let two = format!("{double:.1e}");
        if two.parse() == Ok(double) {
            return two;
        }
    }
    text
}

/// An exact decimal: `digits` with neither leading nor trailing zeros, times ten to `exponent`.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Decimal {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, clamped(exponent)),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = all.iter().take_while(|digit| **digit == b'0').count();
        let trailing = all[leading..]
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count();
        Decimal {
            negative,
            exponent: exponent - fraction.len() as i64 + trailing as i64,
            digits: all[leading..all.len() - trailing].to_vec(),
        }
    }
}

/// An exponent's text as a number; beyond any that a double or a length could offset, the bound.
fn clamped(text: &str) -> i64 {
    const BOUND: i64 = 1 << 50;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut exponent: i64 = 0;
    for digit in digits.bytes() {
        exponent = (exponent * 10 + i64::from(digit - b'0')).min(BOUND);
    }
    sign * exponent
}

#[cfg(test)]
mod tests {
    use super::comparable;

    #[test]
    fn spellings_of_one_number_are_one_double() {
        for text in [
            "300",
            "300.0",
            "3.0e2",
            "3E2",
            "30e+1",
            "0.3e3",
            "300.000000000000000000",
        ] {
            assert_eq!(comparable(text), Some(300.0), "{text}");
        }
        for text in ["0", "-0", "0.0", "-0.0e5", "0e99999999999999999999", "0e-9"] {
            let zero = comparable(text).unwrap();
            assert_eq!(zero, 0.0);
            assert!(zero.is_sign_positive(), "{text}");
        }
    }

    #[test]
    fn what_a_double_cannot_hold_is_not_comparable() {
        for text in [
            "9007199254740993",
            "123456789012345678901234567890",
            "1e400",
            "-1e400",
            "1e-400",
            "5e-324",
            "1e-323",
            "0.1000000000000000055511151231257827",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ] {
            assert_eq!(comparable(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_double_prints_is_comparable() {
        for (text, double) in [
            ("9007199254740992", 9007199254740992.0),
            ("9007199254740994", 9007199254740994.0),
            ("1e23", 1e23),
            ("4.9e-324", f64::from_bits(1)),
            ("9.9e-324", f64::from_bits(2)),
            ("1.7976931348623157e308", f64::MAX),
            ("2.2250738585072014E-308", f64::MIN_POSITIVE),
            ("0.1", 0.1),
            ("-0.30000000000000004", -0.30000000000000004),
        ] {
            assert_eq!(comparable(text), Some(double), "{text}");
        }
    }

    #[test]
    fn every_double_is_comparable_as_printed() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let double = f64::from_bits(random.u64(..));
            if double.is_finite() {
                let text = super::shortest(double);
                assert_eq!(comparable(&text), Some(double), "{text}");
                let longer = format!("{double:.25e}");
                let exact = super::Decimal::of(&longer) == super::Decimal::of(&text);
                assert_eq!(comparable(&longer).is_some(), exact, "{longer}");
            }
        }
    }
}
