//! The head of a request, looked at byte by byte before hyper parses it.
//!
//! hyper reads some heads leniently that a proxy in front might read another way (a bare line feed ends a
//! line, a length beside chunks is passed over), and lets a head be larger than its buffer. Such a request
//! is refused and its connection closed, so that nothing can be smuggled behind it.
//! Source: reliability-security.md 3, 4.2.

/// Request line and headers, in bytes.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Longest field name that is looked at; longer ones are none of those that matter.
const NAME_BYTES_MAX: usize = 32;

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFault {
    /// More than [`HEAD_BYTES_MAX`].
    TooLarge,
    /// Two ways to read where the request ends.
    Framing,
    /// No `Host`, or more than one.
    Host,
}

/// Follows one head to its end.
#[derive(Debug, Default)]
pub struct Head {
    bytes: usize,
    name: Vec<u8>,
    in_value: bool,
    after_return: bool,
    lengths: usize,
    codings: usize,
    hosts: usize,
    fault: Option<HeadFault>,
    done: bool,
}

impl Head {
    /// Whether a byte of the head has been seen.
    pub fn has_begun(&self) -> bool {
        self.bytes > 0
    }

    /// Whether its end has been seen.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What is wrong with what has been seen.
    pub fn fault(&self) -> Option<HeadFault> {
        self.fault
    }

    /// Takes the next bytes; what lies behind the head's end is not looked at.
    pub fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.done {
                return;
            }
            // Empty lines before a request are passed over by every parser.
            if self.bytes == 0 && matches!(byte, b'\r' | b'\n') {
                continue;
            }
            self.bytes += 1;
            if HEAD_BYTES_MAX < self.bytes {
                self.end(HeadFault::TooLarge);
                return;
            }
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                if !self.after_return {
                    self.fault.get_or_insert(HeadFault::Framing);
                }
                self.end_of_line();
            }
            b'\r' => self.after_return = true,
            _ if self.after_return => {
                self.after_return = false;
                self.fault.get_or_insert(HeadFault::Framing);
            }
            b':' => self.in_value = true,
            _ if !self.in_value && self.name.len() < NAME_BYTES_MAX => {
                self.name.push(byte.to_ascii_lowercase());
            }
            _ => {}
        }
    }

    fn end_of_line(&mut self) {
        let empty = self.name.is_empty() && !self.in_value;
        match self.name.as_slice() {
            b"content-length" => self.lengths += 1,
            b"transfer-encoding" => self.codings += 1,
            b"host" => self.hosts += 1,
            _ => {}
        }
        self.name.clear();
        self.in_value = false;
        self.after_return = false;
        if !empty {
            return;
        }
        self.done = true;
        if 1 < self.lengths + self.codings {
            self.fault.get_or_insert(HeadFault::Framing);
        }
        if self.hosts != 1 {
            self.fault.get_or_insert(HeadFault::Host);
        }
    }

    fn end(&mut self, fault: HeadFault) {
        self.fault.get_or_insert(fault);
        self.done = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, expected: Option<HeadFault>) {
        let mut whole = Head::default();
        whole.take(head.as_bytes());
        assert_eq!(whole.fault(), expected, "in one piece");
        assert!(whole.is_done());
        let mut pieces = Head::default();
        head.as_bytes()
            .iter()
            .for_each(|byte| pieces.take(&[*byte]));
        assert_eq!(pieces.fault(), expected, "byte by byte");
    }

    #[test]
    fn a_head_that_can_be_read_one_way_only_is_taken() {
        check(
            "POST / HTTP/1.1\r\nHost: a:1\r\nContent-Length: 2\r\n\r\n{}",
            None,
        );
        check("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", None);
    }

    #[test]
    fn a_head_that_can_be_read_two_ways_is_not() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        check(
            &with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
            Some(HeadFault::Framing),
        );
        check(
            &with("Content-Length: 2\r\nContent-Length: 2\r\n"),
            Some(HeadFault::Framing),
        );
        check(&with("A: b\nC: d\r\n"), Some(HeadFault::Framing));
        check(&with("A: b\rC: d\r\n"), Some(HeadFault::Framing));
        check("POST / HTTP/1.1\r\n\r\n", Some(HeadFault::Host));
        check(&with("Host: b\r\n"), Some(HeadFault::Host));
    }

    #[test]
    fn a_head_is_bounded() {
        let long = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX)
        );
        check(&long, Some(HeadFault::TooLarge));
    }
}
