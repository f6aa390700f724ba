//! When two number texts are one number (event-patterns.md 4.2).
//!
//! event-ruler compares numbers as binary64, but only where that loses nothing: a token takes
//! part when its exact decimal value is the one that Java prints for its double. Any other
//! token equals its own text alone.

use std::io::Write;

/// Significant digits that no double's print goes beyond.
const DIGITS_MAX: u32 = 17;
/// A decimal of fewer units than this, far from the ends of binary64, is what its double prints:
/// doubles lie closer together than such decimals, so no other of so few digits has this double.
const SURE: u64 = 1 << 52;
/// Powers of ten that are doubles exactly; the next one is not.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The double of a comparable number, `None` for any other number. `-0` comes out as `0`.
///
/// Bounds: linear in the text; nothing is allocated but near the ends of binary64. `text` is a
/// JSON number.
pub(crate) fn comparable(text: &str) -> Option<f64> {
    let decimal = Decimal::of(text.as_bytes())?;
    if let Some(told) = decimal.comparable_by_whole_numbers() {
        return told;
    }
    let (double, is_certain) = decimal.double(text.as_bytes())?;
    (is_certain || decimal.is_shortest(double)).then_some(double)
}

/// An exact decimal: `mantissa` times ten to `exponent`. Of equal numbers all members are equal.
///
/// Comparable numbers are equal exactly when their decimals are, since each is the shortest of
/// its double; and what equals a comparable number's decimal is comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    is_negative: bool,
    mantissa: u64,
    exponent: i64,
}

impl Decimal {
    /// `None` if it takes more significant digits than any double's print; one more may still
    /// pass. What is no number gives anything.
    pub(crate) fn of(text: &[u8]) -> Option<Decimal> {
        if let Some((short, length)) = Decimal::begin(text)
            && length == text.len()
        {
            return Some(short);
        }
        let mut decimal = Decimal {
            is_negative: false,
            mantissa: 0,
            exponent: 0,
        };
        let mut is_fraction = false;
        for (at, byte) in text.iter().copied().enumerate() {
            match byte {
                b'-' => decimal.is_negative = true,
                b'.' => is_fraction = true,
                b'e' | b'E' => {
                    decimal.exponent += clamped(&text[at + 1..]);
                    break;
                }
                _ if decimal.mantissa < 10_u64.pow(DIGITS_MAX) => {
                    let digit = byte.wrapping_sub(b'0') & 0xF;
                    decimal.mantissa = decimal.mantissa * 10 + u64::from(digit);
                    decimal.exponent -= i64::from(is_fraction);
                }
                // Zeros behind all that counts.
                b'0' => decimal.exponent += i64::from(!is_fraction),
                _ => return None,
            }
        }
        Some(decimal.normal())
    }

    /// Reads the number that `text` begins with, and how long it is. `None` for one with an
    /// exponent or with so many digits that they could overflow, and for what is none: `of` reads
    /// those.
    #[inline]
    pub(crate) fn begin(text: &[u8]) -> Option<(Decimal, usize)> {
        let is_negative = text.first() == Some(&b'-');
        let start = usize::from(is_negative);
        let (mut mantissa, mut at) = digits(text, start, 0);
        let mut count = at - start;
        let mut behind = 0;
        if text.get(at) == Some(&b'.') {
            let from = at + 1;
            (mantissa, at) = digits(text, from, mantissa);
            behind = at - from;
            count += behind;
        }
        let is_end = match text.get(at) {
            None => true,
            Some(byte) => *byte <= b' ' || matches!(byte, b',' | b'}' | b']'),
        };
        if !is_end || count == 0 || DIGITS_MAX as usize + 1 < count {
            return None;
        }
        let decimal = Decimal {
            is_negative,
            mantissa,
            exponent: -(behind as i64),
        };
        Some((decimal.normal(), at))
    }

    /// The one of all spellings: without zeros at the end.
    #[inline]
    fn normal(mut self) -> Decimal {
        if self.mantissa == 0 {
            return Decimal {
                is_negative: false,
                mantissa: 0,
                exponent: 0,
            };
        }
        while self.mantissa.is_multiple_of(10) {
            self.mantissa /= 10;
            self.exponent += 1;
        }
        self
    }

    /// That of a comparable number which is `double`.
    pub(crate) fn of_double(double: f64) -> Option<Decimal> {
        let mut buffer = zmij::Buffer::new();
        let shortest = Decimal::of(buffer.format_finite(double).as_bytes())?;
        if 10 <= shortest.mantissa || f64::MIN_POSITIVE <= double.abs() {
            return Some(shortest);
        }
        // Java prints two digits at least, which matters where a double has no more than one:
        // that is why `4.9e-324` is comparable and `5e-324`, the same double, is not.
        let mut two = [0; 32];
        let mut rest = &mut two[..];
        write!(rest, "{double:.1e}").ok()?;
        let unused = rest.len();
        let two = &two[..two.len() - unused];
        let read_back = std::str::from_utf8(two).ok()?.parse();
        if read_back == Ok(double) {
            return Decimal::of(two);
        }
        Some(shortest)
    }

    /// The double of `text`, which is this number, and whether it is certainly comparable. `None`
    /// when there is no double: then it is not.
    pub(crate) fn double(self, text: &[u8]) -> Option<(f64, bool)> {
        if self.mantissa == 0 {
            return Some((0.0, true));
        }
        let is_short = self.mantissa < SURE;
        if is_short && let Some(power) = POWERS.get(self.exponent.unsigned_abs() as usize) {
            // Both are exact, so this rounds once, as reading the text would.
            let mantissa = self.mantissa as f64;
            let size = match self.exponent {
                0.. => mantissa * power,
                _ => mantissa / power,
            };
            return Some((if self.is_negative { -size } else { size }, true));
        }
        let double: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        if double.is_infinite() || double == 0.0 {
            return None;
        }
        Some((double, is_short && self.exponent.abs() <= 270))
    }

    /// Two doubles between which that of this number lies, the same when it is known; and whether
    /// it is certainly comparable. `None` where that takes as long as [`Decimal::double`].
    #[inline]
    pub(crate) fn between(self) -> Option<(f64, f64, bool)> {
        if self.mantissa == 0 {
            return Some((0.0, 0.0, true));
        }
        let power = POWERS.get(self.exponent.unsigned_abs() as usize)?;
        let mantissa = self.mantissa as f64;
        let size = match self.exponent {
            0.. => mantissa * power,
            _ => mantissa / power,
        };
        let about = if self.is_negative { -size } else { size };
        if self.mantissa < SURE {
            return Some((about, about, true));
        }
        // Rounded twice, so it may be the one beside; this is three or more beside.
        const BESIDE: f64 = 1.0 / (1_u64 << 51) as f64;
        let margin = size * BESIDE;
        Some((about - margin, about + margin, false))
    }

    /// What [`comparable`] says of a fraction whose digits are too many for [`SURE`]: without
    /// reading and printing doubles. `None` where whole numbers of 128 bits do not tell.
    fn comparable_by_whole_numbers(self) -> Option<Option<f64>> {
        let places = usize::try_from(self.exponent.checked_neg()?).ok()?;
        if self.mantissa < SURE || places == 0 {
            return None;
        }
        let power = 10_u64.checked_pow(u32::try_from(places).ok()?)?;
        // The double, or the one beside it, as whole number over a power of two.
        let bits = (self.mantissa as f64 / POWERS.get(places)?).to_bits();
        let mut whole = bits % SURE + SURE;
        let shift = 1075_u64.checked_sub(bits / SURE)?;
        if 64 < shift || (u64::MAX >> 4) < self.mantissa {
            return None;
        }
        // All in units of one by `power` by two to `shift`: half of the way from one double to the
        // next, one step of the decimal's last digit, and how far it lies above the double.
        let (power, step) = (i128::from(power), 1_i128 << shift);
        let mut above = i128::from(self.mantissa) * step - i128::from(whole) * power;
        if power < 2 * above {
            (whole, above) = (whole + 1, above - power);
        } else if 2 * above < -power {
            (whole, above) = (whole - 1, above + power);
        }
        // Where the exponent of two changes, doubles lie closer on one side.
        if whole <= SURE || 2 * SURE <= whole || power <= 2 * above.abs() {
            return None;
        }
        let last = i128::from(self.mantissa % 10);
        let shorter = [above - last * step, above + (10 - last) * step];
        let nearest_shorter = shorter.map(i128::abs).into_iter().min()?;
        if 2 * above.abs() == step || 2 * nearest_shorter == power {
            return None;
        }
        if step < 2 * above.abs() || 2 * nearest_shorter < power {
            return Some(None);
        }
        let size = f64::from_bits(bits - bits % SURE + whole % SURE);
        Some(Some(if self.is_negative { -size } else { size }))
    }

    /// True when this is what Java prints for `double`.
    pub(crate) fn is_shortest(self, double: f64) -> bool {
        Decimal::of_double(double) == Some(self)
    }

    /// All of it as bytes.
    pub(crate) fn bytes(self) -> [u8; 17] {
        let mut bytes = [u8::from(self.is_negative); 17];
        bytes[..8].copy_from_slice(&self.mantissa.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.exponent.to_le_bytes());
        bytes
    }
}

/// The digits of `text` from `at` on, behind those of `number`, and where they end. What overflows
/// is wrong.
#[inline(always)]
fn digits(text: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let (value, count) = leading_digits(u64::from_le_bytes(*chunk));
        number = number.wrapping_mul(TENS[count]).wrapping_add(value);
        at += count;
        if count < 8 {
            return (number, at);
        }
    }
    while let Some(byte @ b'0'..=b'9') = text.get(at) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    (number, at)
}

const TENS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// The number that the leading digits of eight bytes are, the first of them in the lowest byte; and
/// how many they are.
/// Source: the arithmetic in one word of fast_float's `parse_eight_digits_unrolled`.
#[inline(always)]
fn leading_digits(text: u64) -> (u64, usize) {
    let digits = text.wrapping_sub(0x3030_3030_3030_3030);
    // What is borrowed or carried comes from a byte that is no digit, and goes to those behind it.
    let above = text.wrapping_add(0x4646_4646_4646_4646);
    let others = (digits | above) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // Fewer than eight get zeros before them.
    let digits = digits.checked_shl(64 - 8 * count).unwrap_or(0);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(100 + (1_000_000 << 32));
    let high = (pairs >> 16 & 0x0000_00FF_0000_00FF).wrapping_mul(1 + (10_000 << 32));
    (low.wrapping_add(high) >> 32, count as usize)
}

/// An exponent's text as a number; beyond any that a double or a length could offset, the bound.
fn clamped(text: &[u8]) -> i64 {
    const BOUND: i64 = 1 << 50;
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let mut exponent: i64 = 0;
    for digit in digits {
        exponent = (exponent * 10 + i64::from(digit.wrapping_sub(b'0') & 0xF)).min(BOUND);
    }
    sign * exponent
}

#[cfg(test)]
mod tests {
    use super::{Decimal, comparable};

    #[test]
    fn digits_are_read_as_one_by_one() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut text: Vec<u8> = (0..random.usize(..20))
                .map(|_| random.u8(b'0'..=b'9'))
                .collect();
            let count = text.len();
            let value = text.iter().fold(7_u64, |all, digit| {
                all.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
            });
            // Any byte may follow, and be followed by digits.
            text.push(random.u8(..));
            text.extend((0..random.usize(..9)).map(|_| random.u8(..)));
            if !text[count].is_ascii_digit() {
                assert_eq!(super::digits(&text, 0, 7), (value, count), "{text:?}");
            }
        }
    }

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
    fn of_two_prints_as_near_the_even_one_counts() {
        // The double is 167271932131646.625. Java and Python print 62, Rust 63.
        assert!(comparable("167271932131646.62").is_some());
        assert_eq!(comparable("167271932131646.63"), None);
    }

    #[test]
    fn every_double_is_comparable_as_printed() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let double = f64::from_bits(random.u64(..));
            if double.is_finite() {
                let text = shortest(double);
                assert_eq!(comparable(&text), Some(double), "{text}");
                check_definition(&text);
                check_definition(&format!("{double:.25e}"));
            }
        }
    }

    #[test]
    fn fractions_beside_what_a_double_prints_are_told_apart() {
        let mut random = fastrand::Rng::with_seed(9);
        let check = |double: f64| {
            for digits in 13..18 {
                check_definition(&format!("{double:.digits$}"));
            }
            let text = format!("{double}");
            for last in '0'..='9' {
                check_definition(&format!("{}{last}", &text[..text.len() - 1]));
            }
        };
        for _ in 0..20_000 {
            check((random.f64() - 0.3) * 10_f64.powi(random.i32(-4..9)));
        }
        // Around powers of two, where doubles lie closer on one side.
        for exponent in -20..40 {
            let power = 2_f64.powi(exponent).to_bits();
            for bits in power - 9..power + 9 {
                check(f64::from_bits(bits));
            }
        }
    }

    #[test]
    fn any_token_is_comparable_by_the_definition_alone() {
        let mut random = fastrand::Rng::with_seed(8);
        for turn in 0..TOKENS {
            let mut text = String::new();
            if random.bool() {
                text.push('-');
            }
            // Many zeros, or digits of any kind; lengths around the bounds of 15, 17 and 18.
            let digit = |random: &mut fastrand::Rng| match turn % 3 {
                0 => char::from(b"000001239"[random.usize(..9)]),
                _ => random.digit(10),
            };
            match random.u8(..4) {
                0 => text.push('0'),
                _ => {
                    text.push(char::from(random.u8(b'1'..=b'9')));
                    (0..random.u8(..20)).for_each(|_| text.push(digit(&mut random)));
                }
            }
            if random.bool() {
                text.push('.');
                (0..random.u8(1..20)).for_each(|_| text.push(digit(&mut random)));
            }
            match random.u8(..6) {
                0 => text.push_str(&format!("e{}", random.i32(-45..45))),
                1 => text.push_str(&format!("E{:+}", random.i32(-345..330))),
                _ => {}
            }
            check_definition(&text);
        }
    }

    /// What Java prints: the fewest digits, but two, that read back, the nearest of them, and of
    /// two as near the even one. By the standard library's printer, not the one under test.
    fn shortest(double: f64) -> String {
        let mut prints = (1..17).map(|digits| format!("{double:.digits$e}"));
        let reads_back = prints.find(|print| print.parse() == Ok(double));
        reads_back.expect("seventeen digits always do")
    }

    /// Tokens that the suite draws. Once, 20 million were.
    const TOKENS: u32 = 200_000;

    /// Whether `text` is comparable as event-patterns.md 4.2 has it, digit by digit; and what is
    /// told of it without reading it wholly.
    #[track_caller]
    fn check_definition(text: &str) {
        if let Some((decimal, length)) = Decimal::begin(text.as_bytes()) {
            assert_eq!(length, text.len());
            let double: f64 = text.parse().unwrap();
            if let Some((low, high, is_certain)) = decimal.between() {
                assert!(low <= double && double <= high, "{text}: {low} to {high}");
                assert!(!is_certain || comparable(text).is_some(), "{text}");
            }
        }
        let double: f64 = text.parse().unwrap();
        let exact = digits(text);
        let expected = if exact.1.is_empty() {
            Some(0.0)
        } else if double.is_infinite() || double == 0.0 {
            None
        } else {
            (exact == digits(&shortest(double))).then_some(double)
        };
        let bits = |double: Option<f64>| double.map(f64::to_bits);
        assert_eq!(bits(comparable(text)), bits(expected), "{text}");
    }

    /// Sign, digits without zeros around them, and the power of ten that the last one stands at.
    fn digits(text: &str) -> (bool, String, i64) {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{}{fraction}", whole.trim_start_matches('-'));
        let short = all.trim_end_matches('0');
        let power = exponent.parse::<i64>().unwrap() - fraction.len() as i64;
        let zeros = (all.len() - short.len()) as i64;
        let digits = short.trim_start_matches('0').to_owned();
        (text.starts_with('-'), digits, power + zeros)
    }
}
