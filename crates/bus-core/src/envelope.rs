//! The envelope of an event, as EventBridge sends it.
//!
//! An event is kept as one compact JSON text: members in EventBridge's order, `detail` and
//! `resources` byte for byte as they were put. What a queue receives, what a pattern sees and what the
//! journal holds are the same bytes, so nothing is ever built twice.
//! Source: eventbridge-api.md 2.5.

use time::OffsetDateTime;

/// What an envelope is made of. `detail` and `resources` are JSON texts.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Text of 1 to 256 bytes; may occur again.
    pub id: &'a str,
    /// What kind of fact it is.
    pub detail_type: &'a str,
    /// Who says it.
    pub source: &'a str,
    /// Account of the caller.
    pub account: &'a str,
    /// `YYYY-MM-DDTHH:MM:SSZ`.
    pub time: &'a str,
    /// Region of the server, or of the forwarder's event.
    pub region: &'a str,
    /// Which things it is about.
    pub resources: &'a [&'a str],
    /// One JSON object, as the producer wrote it.
    pub detail: &'a str,
}

impl Envelope<'_> {
    /// The envelope's one form: compact, in EventBridge's order.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.detail.len() + 320);
        out.extend_from_slice(b"{\"version\":\"0\",\"id\":");
        write_string(&mut out, self.id);
        for (name, value) in [
            ("detail-type", self.detail_type),
            ("source", self.source),
            ("account", self.account),
            ("time", self.time),
            ("region", self.region),
        ] {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            write_string(&mut out, value);
        }
        out.extend_from_slice(b",\"resources\":[");
        for (n, resource) in self.resources.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write_string(&mut out, resource);
        }
        out.extend_from_slice(b"],\"detail\":");
        out.extend_from_slice(self.detail.as_bytes());
        out.push(b'}');
        out
    }
}

/// Writes `text` as a JSON string: only what JSON demands is escaped.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// First and last moment that an envelope's `time` can hold, in epoch seconds: 1970 to 9999.
pub const TIME_SECONDS: std::ops::RangeInclusive<i64> = 0..=253_402_300_799;

/// `YYYY-MM-DDTHH:MM:SSZ` of a moment in [`TIME_SECONDS`]; `None` outside.
#[must_use]
pub fn format_seconds(seconds: i64) -> Option<String> {
    if !TIME_SECONDS.contains(&seconds) {
        return None;
    }
    let t = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        t.year(),
        u8::from(t.month()),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    ))
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, for logs, trails and people; moments out of range show the epoch.
#[must_use]
pub fn format_millis(millis: i64) -> String {
    let seconds =
        format_seconds(millis.div_euclid(1000)).unwrap_or_else(|| "1970-01-01T00:00:00Z".into());
    format!("{}.{:03}Z", &seconds[..19], millis.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example_is_made_byte_for_byte() {
        let made = Envelope {
            id: "0b9c2b2e-52e4-4f64-8d53-3a4e4a3fd2c1",
            detail_type: "OrderPlaced",
            source: "shop.orders",
            account: "000000000000",
            time: &format_seconds(1_700_000_000).unwrap(),
            region: "us-east-1",
            resources: &["arn:aws:shop:us-east-1:000000000000:order/17"],
            detail: r#"{"order":{"id":17,"total":12.50},"note":"caf\u00e9"}"#,
        }
        .to_json();
        assert_eq!(
            String::from_utf8(made).unwrap(),
            r#"{"version":"0","id":"0b9c2b2e-52e4-4f64-8d53-3a4e4a3fd2c1","detail-type":"OrderPlaced","source":"shop.orders","account":"000000000000","time":"2023-11-14T22:13:20Z","region":"us-east-1","resources":["arn:aws:shop:us-east-1:000000000000:order/17"],"detail":{"order":{"id":17,"total":12.50},"note":"caf\u00e9"}}"#
        );
    }

    #[test]
    fn a_string_is_escaped_as_json_demands() {
        let mut out = Vec::new();
        write_string(&mut out, "a\"b\\c\n\u{1}é");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"a\\\"b\\\\c\\n\\u0001é\""
        );
    }

    #[test]
    fn years_are_1970_to_9999() {
        assert_eq!(format_seconds(-1), None);
        assert_eq!(
            format_seconds(253_402_300_799).unwrap(),
            "9999-12-31T23:59:59Z"
        );
        assert_eq!(format_seconds(253_402_300_800), None);
        assert_eq!(format_millis(1_789_301_850_408), "2026-09-13T12:17:30.408Z");
    }
}
