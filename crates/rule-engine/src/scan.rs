//! Over the bytes of an event that is known to be JSON, without looking at what nobody wants.
//!
//! Blocks of 64 bytes are turned into bitmaps (`wide`: SSE2, NEON), in order and only as far as
//! the reader goes: where unescaped quotes are, and, while a container is skipped, where brackets
//! outside of strings are. What is not JSON is not detected here; it gives some answer, in time.

use wide::u8x16;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Tells names apart that surely nobody wants.
pub(crate) trait Unwanted: Copy {
    /// True when no name without escapes that has this length and first byte is wanted.
    fn is_unwanted(&self, length: usize, first: u8) -> bool;
}

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
        let place = at.wrapping_sub(self.base);
        if place < BLOCK {
            let quotes = self.quotes >> place;
            if quotes != 0 {
                return at.wrapping_add(quotes.trailing_zeros() as usize);
            }
        }
        self.quote_further(at)
    }

    /// Steps over members of an object while their names are surely unwanted: from `at`, where a
    /// member or a comma may be, to where it has to be looked closer, with the end of the name that
    /// begins there if it was seen. Apart from all else, so that the little it needs stays in
    /// registers.
    #[inline(never)]
    pub(crate) fn unwanted(
        &mut self,
        mut at: usize,
        names: impl Unwanted,
    ) -> (usize, Option<usize>) {
        let event = self.event;
        while !self.escapes {
            at = at.wrapping_add(usize::from(event.get(at) == Some(&b',')));
            if event.get(at) == Some(&b' ') {
                at = space(event, at);
            }
            if event.get(at) != Some(&b'"') {
                return (at, None);
            }
            let start = at.wrapping_add(1);
            let end = self.quote(start);
            let colon = event.get(end.wrapping_add(1));
            let (Some(first), Some(b':')) = (event.get(start), colon) else {
                return (at, Some(end));
            };
            if self.escapes || !names.is_unwanted(end.wrapping_sub(start), *first) {
                return (at, Some(end));
            }
            at = self.skip_value(end.wrapping_add(2));
        }
        (at, None)
    }

    /// Behind the value that begins at `at`, or behind spaces.
    #[inline(always)]
    pub(crate) fn skip_value(&mut self, at: usize) -> usize {
        let at = space(self.event, at);
        match self.event.get(at) {
            Some(b'"') => self.quote(at.wrapping_add(1)).wrapping_add(1),
            Some(b'{' | b'[') => self.skip_container(at.wrapping_add(1)),
            _ => scalar_end(self.event, at),
        }
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
            let chunk = self.chunk();
            let mut brackets = brackets(chunk) & wanted & !inside;
            // One by one: counting them together pays only where the machine counts bits by itself.
            while brackets != 0 {
                let place = brackets.trailing_zeros() as usize;
                if chunk[place] & CLOSING == 0 {
                    depth = depth.wrapping_add(1);
                } else {
                    depth = depth.wrapping_sub(1);
                    if depth == 0 {
                        return self.base + place + 1;
                    }
                }
                brackets &= brackets - 1;
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
        let backslash = u8x16::splat(b'\\');
        let mut backslashes = u8x16::ZERO;
        [self.quotes] = masks(self.chunk(), |chunk| {
            backslashes |= chunk.simd_eq(backslash);
            [chunk.simd_eq(u8x16::splat(b'"'))]
        });
        if backslashes.to_bitmask() != 0 || self.carry {
            let [backslashes] = masks(self.chunk(), |chunk| [chunk.simd_eq(backslash)]);
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
}

/// The bit that tells a closing bracket from an opening one.
const CLOSING: u8 = 0x04;

/// Brackets of a block, and some letters that JSON has in strings only.
#[inline]
fn brackets(chunk: &[u8; BLOCK]) -> u64 {
    // `[`, `]`, `{` and `}` differ in three bits. With them `y`, `Y`, `_` and DEL do.
    let alike = u8x16::splat(0x26);
    let [brackets] = masks(chunk, |chunk| [(chunk | alike).simd_eq(u8x16::splat(0x7F))]);
    brackets
}

/// Behind the number or literal that begins at `at`.
#[inline(always)]
pub(crate) fn scalar_end(event: &[u8], at: usize) -> usize {
    // At least one byte, so that what is no JSON ends too.
    let mut end = at.wrapping_add(1);
    while let Some(byte) = event.get(end)
        && b' ' < *byte
        && !matches!(byte, b',' | b'}' | b']')
    {
        end += 1;
    }
    end
}

/// Behind spaces.
#[inline(always)]
pub(crate) fn space(event: &[u8], mut at: usize) -> usize {
    while let Some(byte) = event.get(at)
        && *byte <= b' '
    {
        at += 1;
    }
    at
}

/// The bits from `place` on.
#[inline]
fn from(place: usize) -> u64 {
    u64::MAX.wrapping_shl(place as u32)
}

/// Questions about each of 64 bytes, as bits.
#[inline(always)]
fn masks<const N: usize>(
    chunk: &[u8; BLOCK],
    mut ask: impl FnMut(u8x16) -> [u8x16; N],
) -> [u64; N] {
    let mut found = [0; N];
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
