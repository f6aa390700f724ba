//! Receipt handles: what a receive gives, to delete a message or change its time.
//!
//! A handle says queue, message and receive, and carries a MAC, so that it needs no table and none can be
//! made up. A queue that was made anew has another number: handles of its predecessor are not taken.
//! Source: sqs-api.md 2.7.

use super::errors::{Kind, Refused};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus_core::core::Handle;
use bus_core::record::Key;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Form of the handles that this program makes.
const FORM: u8 = 1;
/// Form, queue, sequence, index, stamp.
const CLAIM: usize = 1 + 4 + 8 + 2 + 8;
const MAC: usize = 8;

/// First bytes of a MAC over `parts`, for what is handed out and comes back.
#[must_use]
pub fn mac(secret: &[u8; 32], purpose: &str, claim: &[u8]) -> [u8; MAC] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(claim);
    let full = mac.finalize().into_bytes();
    full[..MAC].try_into().expect("a SHA-256 is longer")
}

/// Whether two MACs are the same, in a time that does not say where they differ.
#[must_use]
pub fn same_mac(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The handle as text.
#[must_use]
pub fn write(secret: &[u8; 32], handle: &Handle) -> String {
    let mut bytes = Vec::with_capacity(CLAIM + MAC);
    bytes.push(FORM);
    bytes.extend_from_slice(&handle.queue.to_be_bytes());
    bytes.extend_from_slice(&handle.message.sequence.to_be_bytes());
    bytes.extend_from_slice(&handle.message.index.to_be_bytes());
    bytes.extend_from_slice(&handle.stamp.to_be_bytes());
    let mac = mac(secret, "handle", &bytes);
    bytes.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a handle that we have made.
///
/// # Errors
/// `ReceiptHandleIsInvalid` for any other text.
pub fn read(secret: &[u8; 32], text: &str) -> Result<Handle, Refused> {
    parse(secret, text).ok_or_else(|| foreign(text))
}

/// A handle that is not ours or of another queue.
#[must_use]
pub fn foreign(text: &str) -> Refused {
    let text = format!("The input receipt handle \"{text}\" is not a valid receipt handle.");
    Refused::new(Kind::Handle, text)
}

fn parse(secret: &[u8; 32], text: &str) -> Option<Handle> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (claim, given) = bytes.split_at_checked(CLAIM)?;
    if !same_mac(given, &mac(secret, "handle", claim)) || claim[0] != FORM {
        return None;
    }
    Some(Handle {
        queue: u32::from_be_bytes(claim[1..5].try_into().ok()?),
        message: Key {
            sequence: u64::from_be_bytes(claim[5..13].try_into().ok()?),
            index: u16::from_be_bytes(claim[13..15].try_into().ok()?),
        },
        stamp: u64::from_be_bytes(claim[15..23].try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: Handle = Handle {
        queue: 7,
        message: Key {
            sequence: 1 << 40,
            index: 3,
        },
        stamp: u64::MAX,
    };

    #[test]
    fn a_handle_comes_back_as_it_was() {
        let text = write(&[1; 32], &HANDLE);
        assert_eq!(read(&[1; 32], &text), Ok(HANDLE));
    }

    #[test]
    fn a_handle_that_is_not_ours_is_refused() {
        let text = write(&[1; 32], &HANDLE);
        assert_eq!(read(&[2; 32], &text), Err(foreign(&text)));
        for wrong in ["", "garbage", &text[1..], &format!("{text}A")] {
            assert_eq!(read(&[1; 32], wrong), Err(foreign(wrong)));
        }
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert!(read(&[1; 32], &changed).is_err(), "byte {at}");
        }
    }
}
