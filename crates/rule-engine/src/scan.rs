//! Over the bytes of an event that is known to be JSON, without looking at what nobody wants.
//!
//! Blocks of 64 bytes are turned into bitmaps (`wide`: SSE2, NEON), in order and only as far as
//! the reader goes: where unescaped quotes are, and, while a container is skipped, where brackets
//! outside of strings are. What is not JSON is not detected here; it gives some answer, in time.

use wide::u8x16;

/// Bytes of a block.
const BLOCK: usize = 64;

/// A reader's place in the blocks of an event.
#[derive(Debug)]
pub(crate) struct Blocks<'e> {
    event: &'e [u8],
    /// Where the block at hand begins.
    base: usize,
    /// Its quotes that are not escaped.
    quotes: u64,
    /// The first byte of the next block is escaped.
    carry: bool,
    /// A backslash was seen in some block so far.
    pub(crate) escapes: bool,
    /// The bytes of the block at hand where the event ends within it, filled with spaces.
    tail: [u8; BLOCK],
}

impl<'e> Blocks<'e> {
    pub(crate) fn new(event: &'e [u8]) -> Self {
        let mut blocks = Blocks {
            event,
            base: 0,
            quotes: 0,
            carry: false,
            escapes: false,
            tail: [b' '; BLOCK],
        };
        blocks.load(0);
        blocks
    }

    /// Where the next unescaped quote is, from `at` on; the end of the event where there is none.
    /// `at` is never before what was asked for last.
    #[inline(always)]
    pub(crate) fn quote(&mut self, at: usize) -> usize {
        if at < self.base + BLOCK {
            let quotes = self.quotes & from(at - self.base);
            if quotes != 0 {
                return self.base + quotes.trailing_zeros() as usize;
            }
        }
        self.quote_further(at)
    }

    /// The next quote where there is none at hand.
    fn quote_further(&mut self, at: usize) -> usize {
        self.turn_to(at);
        let mut quotes = self.quotes & from(at - self.base);
        while quotes == 0 {
            if self.event.len() <= self.base + BLOCK {
                return self.event.len();
            }
            self.load(self.base + BLOCK);
            quotes = self.quotes;
        }
        self.base + quotes.trailing_zeros() as usize
    }

    /// Behind the bracket that closes the container in which `at` lies, outside of any string;
    /// the end of the event where there is none.
    pub(crate) fn skip_container(&mut self, at: usize) -> usize {
        self.turn_to(at);
        let mut depth = 1_u64;
        let mut wanted = from(at - self.base);
        // All ones while a string goes on from the block before.
        let mut string = 0_u64;
        loop {
            let quotes = self.quotes & wanted;
            let inside = prefix_xor(quotes) ^ string;
            string = ((inside as i64) >> 63) as u64;
            let (mut opening, mut closing) = self.brackets();
            opening &= wanted & !inside;
            closing &= wanted & !inside;
            // One by one: counting them together pays only where the machine counts bits by itself.
            let mut brackets = opening | closing;
            while brackets != 0 {
                let first = brackets & brackets.wrapping_neg();
                if closing & first == 0 {
                    depth += 1;
                } else {
                    depth -= 1;
                    if depth == 0 {
                        return self.base + brackets.trailing_zeros() as usize + 1;
                    }
                }
                brackets ^= first;
            }
            if self.event.len() <= self.base + BLOCK {
                return self.event.len();
            }
            self.load(self.base + BLOCK);
            wanted = !0;
        }
    }

    #[inline(always)]
    fn turn_to(&mut self, at: usize) {
        while self.base + BLOCK <= at {
            self.load(self.base + BLOCK);
        }
    }

    #[inline]
    fn chunk(&self) -> &[u8; BLOCK] {
        self.event
            .get(self.base..)
            .and_then(|rest| rest.first_chunk())
            .unwrap_or(&self.tail)
    }

    /// Turns to the block at `base`, which follows the one at hand.
    #[inline(always)]
    fn load(&mut self, base: usize) {
        self.base = base;
        if self.event.len() < base + BLOCK {
            self.fill_tail();
        }
        let [quotes, backslashes] = masks(self.chunk(), |chunk| {
            [
                chunk.simd_eq(u8x16::splat(b'"')),
                chunk.simd_eq(u8x16::splat(b'\\')),
            ]
        });
        self.quotes = quotes;
        if backslashes != 0 || self.carry {
            self.unescape(backslashes);
        }
    }

    #[cold]
    fn fill_tail(&mut self) {
        self.tail = [b' '; BLOCK];
        let rest = self.event.get(self.base..).unwrap_or_default();
        self.tail[..rest.len()].copy_from_slice(rest);
    }

    /// Takes the escaped quotes out: a character is escaped behind an odd run of backslashes.
    /// Source: the addition trick of simdjson's "find escaped".
    #[cold]
    fn unescape(&mut self, backslashes: u64) {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        self.escapes = true;
        let carry = u64::from(self.carry);
        let backslashes = backslashes & !carry;
        let follows = backslashes << 1 | carry;
        let odd_starts = backslashes & !EVEN & !follows;
        let (even_runs, overflow) = odd_starts.overflowing_add(backslashes);
        self.carry = overflow;
        let escaped = (EVEN ^ (even_runs << 1)) & follows;
        self.quotes &= !escaped;
    }

    /// Opening and closing brackets of the block at hand, those in strings included.
    #[inline]
    fn brackets(&self) -> (u64, u64) {
        let [opening, closing] = masks(self.chunk(), |chunk| {
            // `[` and `{` differ in one bit, as `]` and `}` do.
            let folded = chunk | u8x16::splat(0x20);
            [
                folded.simd_eq(u8x16::splat(b'{')),
                folded.simd_eq(u8x16::splat(b'}')),
            ]
        });
        (opening, closing)
    }
}

/// The bits from `place` on.
#[inline]
fn from(place: usize) -> u64 {
    !0 << place
}

/// Two questions about each of 64 bytes, as bits.
#[inline]
fn masks(chunk: &[u8; BLOCK], ask: impl Fn(u8x16) -> [u8x16; 2]) -> [u64; 2] {
    let mut found = [0; 2];
    let (parts, _) = chunk.as_chunks::<16>();
    for (number, part) in parts.iter().enumerate() {
        let answers = ask(u8x16::new(*part));
        for (found, answer) in found.iter_mut().zip(answers) {
            *found |= u64::from(answer.to_bitmask()) << (16 * number);
        }
    }
    found
}

/// Each bit: the parity of the bits up to it.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotes and container ends, found one byte at a time.
    fn plain_quotes(text: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < text.len() {
            match text[at] {
                b'\\' => at += 1,
                b'"' => found.push(at),
                _ => {}
            }
            at += 1;
        }
        found
    }

    fn plain_end(text: &[u8], quotes: &[usize], start: usize) -> usize {
        let mut depth = 1;
        for (at, byte) in text.iter().enumerate().skip(start) {
            let inside = quotes
                .iter()
                .filter(|quote| start <= **quote && **quote < at)
                .count()
                % 2
                == 1;
            match byte {
                b'{' | b'[' if !inside => depth += 1,
                b'}' | b']' if !inside => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        text.len()
    }

    #[test]
    fn blocks_find_what_a_plain_walk_finds() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..3_000 {
            let length = random.usize(1..400);
            let quiet = random.u8(1..12);
            let text: Vec<u8> = (0..length)
                .map(|_| match random.u8(..quiet + 5) {
                    0 => b'"',
                    1 => b'\\',
                    2 => b'[',
                    3 => b'}',
                    4 => b'{',
                    _ => b'x',
                })
                .collect();
            let quotes = plain_quotes(&text);
            let mut blocks = Blocks::new(&text);
            let mut at = 0;
            for quote in &quotes {
                assert_eq!(blocks.quote(at), *quote);
                at = *quote + 1;
            }
            assert_eq!(blocks.quote(at), text.len());
            let start = random.usize(..length);
            // A start inside an escape is none.
            if !text[..start].contains(&b'\\') {
                let mut blocks = Blocks::new(&text);
                let end = plain_end(&text, &quotes, start);
                assert_eq!(blocks.skip_container(start), end);
            }
        }
    }
}
