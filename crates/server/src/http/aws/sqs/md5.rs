//! The digests that SDKs compare: of a body and of message attributes.
//!
//! A wrong attribute digest is invisible in Python and fatal in Java. Source: sqs-api.md 1.6.

use super::entry::Triple;
use md5::{Digest, Md5};
use std::fmt::Write as _;

/// Lower-case hex MD5 of a body's bytes.
#[must_use]
pub fn of_body(body: &[u8]) -> String {
    hex(Md5::new().chain_update(body))
}

/// Lower-case hex MD5 over `(name, data type, raw value)` of each attribute, in any order; `None` of none.
#[must_use]
pub fn of_attributes(attributes: &[Triple<'_>]) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut sorted = attributes.to_vec();
    sorted.sort_unstable_by_key(|(name, _, _)| name.as_bytes());
    let mut md5 = Md5::new();
    for (name, kind, value) in sorted {
        let marker = if kind.starts_with("Binary") { 2 } else { 1 };
        update(&mut md5, name.as_bytes());
        update(&mut md5, kind.as_bytes());
        md5.update([marker]);
        update(&mut md5, value);
    }
    Some(hex(md5))
}

fn update(md5: &mut Md5, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("bounded by the size of a message");
    md5.update(length.to_be_bytes());
    md5.update(bytes);
}

fn hex(md5: Md5) -> String {
    md5.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attributes: &[Triple<'_>], expected: &str) {
        assert_eq!(of_attributes(attributes).as_deref(), Some(expected));
    }

    #[test]
    fn a_body_is_digested_by_its_bytes() {
        assert_eq!(of_body("hé".as_bytes()), "33fcd01258e6ba07ef405dc9e721f3a7");
    }

    #[test]
    fn no_attributes_have_no_digest() {
        assert_eq!(of_attributes(&[]), None);
    }

    #[test]
    fn the_vectors_of_aws_come_out() {
        let general: Triple<'_> = ("General", "String", b"Kenobi");
        let hello: Triple<'_> = ("Hello", "String", b"There");
        let help: Triple<'_> = ("Help.Me", "String", b"Me");
        check(
            &[("Foo", "String", b"Bar")],
            "ae7155c6026991b6d54b11589678bf9c",
        );
        check(&[help, general, hello], "4c360f3fdafd970e05fae2f149d997f5");
        check(&[hello, help], "83fee93c1bcd8b9a5a923ffacdc636c7");
        check(
            &[(
                "attr1",
                "Binary",
                "traceparent\u{1e}00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"
                    .as_bytes(),
            )],
            "8cbe4db156db8a94db8b801b7addb984",
        );
        check(
            &[
                ("n", "Number.int", b"-12.50"),
                ("a.b-c_d", "String.url", b"x y"),
                ("blob", "Binary.gif", &[0, 0xff, 1]),
                ("Z", "String", "é€😀".as_bytes()),
            ],
            "f14c8ea6622352256ef1e906df1a14b3",
        );
        check(
            &[(
                "AWSTraceHeader",
                "String",
                b"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            )],
            "5ae4d5d7636402d80f4eb6d213245a88",
        );
    }
}
