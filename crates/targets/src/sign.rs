//! Standard Webhooks signatures: `v1`, HMAC-SHA256 over `id.timestamp.body`.
//!
//! The body is signed byte for byte as sent. During rotation a target has several secrets and the
//! header as many signatures; a receiver is content with one. The verifier is the one for inbound
//! webhooks and for tests: it decodes first, wants the exact length, compares in constant time.
//!
//! Ed25519 (`v1a`, `whsk_`) is not made here yet; such a key is refused rather than taken for text.
//!
//! Source: reliability-security.md 8; the Standard Webhooks specification. Start at [`signatures`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::limits::{
    SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRET_TEXT_BYTES_MAX, SIGNATURE_SECONDS_MAX,
    SIGNATURES_MAX,
};

/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// A signing secret. Wiped when dropped; neither `Debug` nor comparable.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a secret was turned down. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Nothing, or more than the bound.
    #[error("a secret has 1 to {SECRET_TEXT_BYTES_MAX} bytes")]
    Length,
    /// After `whsec_` stands no base64.
    #[error("what follows `whsec_` is not base64")]
    Base64,
    /// The decoded key is too short or too long.
    #[error("a `whsec_` secret decodes to {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")]
    KeyLength,
    /// `whsk_` or `whpk_`.
    #[error("ed25519 keys are not supported, use a `whsec_` secret")]
    Ed25519,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// No secret to verify with.
    #[error("no secret")]
    NoSecret,
    /// The timestamp is no number, or too far from now.
    #[error("the timestamp is not within {SIGNATURE_SECONDS_MAX} s of now")]
    Timestamp,
    /// Empty, too many, not base64, or not of the exact length.
    #[error("the signature header is malformed")]
    Malformed,
    /// No signature fits.
    #[error("no signature matches")]
    Mismatch,
}

impl Secret {
    /// Reads `whsec_` and base64, or takes the text's bytes as they are.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        if text.starts_with("whsk_") || text.starts_with("whpk_") {
            return Err(SecretError::Ed25519);
        }
        let Some(encoded) = text.strip_prefix("whsec_") else {
            if text.is_empty() || SECRET_TEXT_BYTES_MAX < text.len() {
                return Err(SecretError::Length);
            }
            return Ok(Self(Zeroizing::new(text.as_bytes().to_vec())));
        };
        let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?);
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&key.len()) {
            return Err(SecretError::KeyLength);
        }
        Ok(Self(key))
    }

    fn mac(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp_seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

/// `v1,<base64>` for each secret, space-separated. Empty without a secret.
#[must_use]
pub fn signatures(secrets: &[Secret], id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
    let one = |secret: &Secret| {
        let mac = secret.mac(id, timestamp_seconds, body);
        format!("v1,{}", STANDARD.encode(mac))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Verifies the three headers of a request as received.
///
/// Signatures of versions that we do not know are passed over; at least one `v1` must fit one of
/// the secrets. A `v1` that is not exactly 32 bytes of base64 fails the whole header.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(
    secrets: &[Secret],
    id: &str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now_unix_seconds: u64,
) -> Result<(), VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NoSecret);
    }
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit());
    let at: u64 = timestamp
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or(VerifyError::Timestamp)?;
    if SIGNATURE_SECONDS_MAX < at.abs_diff(now_unix_seconds) {
        return Err(VerifyError::Timestamp);
    }
    let mut given: Vec<[u8; MAC_BYTES]> = Vec::new();
    for (count, part) in signature.split(' ').enumerate() {
        if SIGNATURES_MAX <= count {
            return Err(VerifyError::Malformed);
        }
        let (version, encoded) = part.split_once(',').ok_or(VerifyError::Malformed)?;
        if version != "v1" {
            continue;
        }
        let mac = STANDARD
            .decode(encoded)
            .map_err(|_| VerifyError::Malformed)?;
        given.push(mac.try_into().map_err(|_| VerifyError::Malformed)?);
    }
    let mut fits = subtle::Choice::from(0);
    for secret in secrets {
        let expected = secret.mac(id, at, body);
        for mac in &given {
            fits |= expected.ct_eq(mac);
        }
    }
    if bool::from(fits) {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's libraries.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn check(signature: &str, timestamp: &str) -> Result<(), VerifyError> {
        let secret = Secret::parse(KEY).unwrap();
        verify(&[secret], ID, timestamp, signature, BODY, 1_614_265_330)
    }

    #[test]
    fn a_signature_is_the_published_one() {
        let secret = Secret::parse(KEY).unwrap();
        let signature = signatures(&[secret], ID, 1_614_265_330, BODY);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(check(&signature, "1614265330"), Ok(()));
    }

    #[test]
    fn rotation_sends_both_and_either_secret_verifies() {
        let old = Secret::parse(KEY).unwrap();
        let new = Secret::parse("plain text").unwrap();
        let both = signatures(&[new.clone(), old.clone()], "msg_1", 1000, b"{}");
        assert_eq!(both.split(' ').count(), 2);
        for secret in [old, new] {
            assert_eq!(
                verify(&[secret], "msg_1", "1000", &both, b"{}", 1000),
                Ok(())
            );
        }
        let other = Secret::parse("other").unwrap();
        let result = verify(&[other], "msg_1", "1000", &both, b"{}", 1000);
        assert_eq!(result, Err(VerifyError::Mismatch));
    }

    #[test]
    fn what_is_not_a_whole_signature_is_refused() {
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let now = "1614265330";
        let many = vec![good; 17].join(" ");
        for malformed in [
            "",
            " ",
            "v1",
            "v1,",
            "v1,!",
            "v1,g0hM",
            &good[..45],
            &many,
            "v1,AAAA v1,",
        ] {
            assert_eq!(
                check(malformed, now),
                Err(VerifyError::Malformed),
                "{malformed}"
            );
        }
        assert_eq!(check("v1a,xyz", now), Err(VerifyError::Mismatch));
        assert_eq!(check(&format!("v9,x {good}"), now), Ok(()));
        assert_eq!(
            check("v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", now),
            Err(VerifyError::Mismatch)
        );
        for timestamp in [
            "",
            "+1614265330",
            "1614265330.0",
            "1614264000",
            "1614266000",
            "x",
        ] {
            assert_eq!(
                check(good, timestamp),
                Err(VerifyError::Timestamp),
                "{timestamp}"
            );
        }
        assert_eq!(check(good, "1614265331"), Err(VerifyError::Mismatch));
        assert_eq!(
            verify(&[], ID, now, good, BODY, 1),
            Err(VerifyError::NoSecret)
        );
    }

    #[test]
    fn a_secret_is_text_or_a_key_of_the_right_length() {
        let error = |text: &str| Secret::parse(text).err();
        assert_eq!(error(""), Some(SecretError::Length));
        assert_eq!(error("whsec_"), Some(SecretError::KeyLength));
        assert_eq!(error("whsec_c2hvcnQ="), Some(SecretError::KeyLength));
        assert_eq!(error("whsec_%%"), Some(SecretError::Base64));
        assert_eq!(error("whsk_abc"), Some(SecretError::Ed25519));
        assert_eq!(error("s3cret"), None);
    }
}
