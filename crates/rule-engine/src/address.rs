//! IP addresses as event-ruler reads them, and blocks of them (event-patterns.md 4.10).
//!
//! An IPv4 part is decimal whatever its leading zeros, an IPv4-mapped IPv6 address is the IPv4
//! address, and neither zones nor dotted tails are known. A block of one family never holds an
//! address of the other: event-ruler lets that slip, we do not (section 6).

use std::net::Ipv6Addr;

/// One address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    V4(u32),
    V6(u128),
}

impl Address {
    /// Reads an address; `None` when `text` is none.
    pub(crate) fn parse(text: &str) -> Option<Address> {
        if shaped_v4(text) {
            let mut address = 0;
            for part in text.split('.') {
                let part = part.trim_start_matches('0');
                if 3 < part.len() {
                    return None;
                }
                // An empty rest was all zeros.
                let number: u32 = part.parse().unwrap_or(0);
                address = address << 8 | u32::from(u8::try_from(number).ok()?);
            }
            return Some(Address::V4(address));
        }
        if !shaped_v6(text) {
            return None;
        }
        let address = u128::from(text.parse::<Ipv6Addr>().ok()?);
        if address >> 32 == 0xFFFF {
            return Some(Address::V4(address as u32));
        }
        Some(Address::V6(address))
    }

    pub(crate) fn bits(self) -> (u32, u128) {
        match self {
            Address::V4(bits) => (32, u128::from(bits)),
            Address::V6(bits) => (128, bits),
        }
    }
}

/// True when `text` looks like an address, right or wrong.
pub(crate) fn shaped(text: &str) -> bool {
    shaped_v4(text) || shaped_v6(text)
}

fn shaped_v4(text: &str) -> bool {
    let mut parts = 0;
    for part in text.split('.') {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        parts += 1;
    }
    parts == 4
}

fn shaped_v6(text: &str) -> bool {
    text.contains(':')
        && text
            .bytes()
            .all(|byte| byte == b':' || byte.is_ascii_hexdigit())
}

/// The addresses that share their first bits with one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) network: Address,
    pub(crate) bits: u32,
}

impl Block {
    /// The block of `address` with `bits` bits; the error is the family's name and width when
    /// `bits` reaches the width.
    pub(crate) fn new(address: Address, bits: u32) -> Result<Block, (&'static str, u32)> {
        let (family, width) = match address {
            Address::V4(_) => ("IPv4", 32),
            Address::V6(_) => ("IPv6", 128),
        };
        if width <= bits {
            return Err((family, width));
        }
        Ok(Block {
            network: address,
            bits,
        })
    }

    /// The first address, and the bits that all of them share.
    pub(crate) fn first(&self) -> (Address, u32) {
        let mask = |width: u32| !u128::MAX.checked_shr(128 - width + self.bits).unwrap_or(0);
        let first = match self.network {
            Address::V4(bits) => Address::V4(bits & mask(32) as u32),
            Address::V6(bits) => Address::V6(bits & mask(128)),
        };
        (first, self.bits)
    }

    pub(crate) fn holds(&self, address: Address) -> bool {
        let (width, network) = self.network.bits();
        let (width_other, other) = address.bits();
        if width != width_other {
            return false;
        }
        // No bits at all shift by the whole width, which `>>` refuses for 128.
        let head = |bits: u128| bits.checked_shr(width - self.bits).unwrap_or(0);
        head(network) == head(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Address>) {
        assert_eq!(Address::parse(text), expected, "{text}");
    }

    #[test]
    fn v4_parts_are_decimal_with_any_leading_zeros() {
        check("10.0.0.1", Some(Address::V4(0x0A00_0001)));
        check("010.0.0.00000001", Some(Address::V4(0x0A00_0001)));
        check("255.255.255.255", Some(Address::V4(u32::MAX)));
        check("256.0.0.1", None);
        check("10.0.0.18446744073709551617", None);
        check("10.0.0", None);
        check("10.0.0.1.1", None);
        check("10.0.0.1 ", None);
        check("10..0.1", None);
        check("", None);
    }

    #[test]
    fn v6_is_the_usual_text_without_zone_or_dotted_tail() {
        check("::1", Some(Address::V6(1)));
        check("0:0:0:0:0:0:0:1", Some(Address::V6(1)));
        check("FE80::", Some(Address::V6(0xFE80 << 112)));
        check("fe80::", Some(Address::V6(0xFE80 << 112)));
        check(
            "1:2:3:4:5:6:7::",
            Some(Address::V6(0x0001_0002_0003_0004_0005_0006_0007_0000)),
        );
        check("1:2:3:4:5:6:7:8::", None);
        check("1:2:3:4::5:6:7:8", None);
        check("::1::", None);
        check(":::", None);
        check(":", None);
        check("12345::", None);
        check("::1%eth0", None);
        check("::ffff:10.0.0.1", None);
    }

    #[test]
    fn mapped_v4_is_v4() {
        check("::ffff:a00:1", Some(Address::V4(0x0A00_0001)));
    }

    #[test]
    fn blocks_hold_their_own_family_alone() {
        let block = |text: &str, bits| Block::new(Address::parse(text).unwrap(), bits).unwrap();
        let holds = |block: Block, text: &str| block.holds(Address::parse(text).unwrap());
        assert!(holds(block("10.0.0.200", 24), "10.0.0.1"));
        assert!(!holds(block("10.0.0.0", 24), "10.0.1.1"));
        assert!(holds(block("0.0.0.0", 0), "255.0.0.1"));
        assert!(!holds(block("0.0.0.0", 0), "::1"));
        assert!(holds(block("::", 0), "ffff::"));
        assert!(!holds(block("::", 0), "10.0.0.1"));
        assert!(holds(block("2001:db8::", 32), "2001:DB8:ffff::1"));
        assert!(!holds(block("2001:db8::", 32), "2001:db9::"));
        assert_eq!(Block::new(Address::V4(0), 32), Err(("IPv4", 32)));
        assert_eq!(Block::new(Address::V6(0), 128), Err(("IPv6", 128)));
    }
}
