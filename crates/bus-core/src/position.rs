//! Where a record stands in the journal: the identity of what it tells.
//!
//! An event id is text that may occur again, so everything that must be unique (message ids,
//! `webhook-id`, receipt handles, deduplication ids) is made from the position, never from the
//! event id. A record that is copied forward keeps its first position.

/// A place in the journal's own counting: `(partition, sequence)`. One node has partition 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which part of a divided journal; 0 on one node.
    pub partition: u16,
    /// Number of the record in its partition, from 1, never reused.
    pub sequence: u64,
}

impl Position {
    /// A position in partition 0.
    #[must_use]
    pub fn local(sequence: u64) -> Self {
        Self {
            partition: 0,
            sequence,
        }
    }

    /// Ten bytes, big-endian, so that byte order is position order.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&self.partition.to_be_bytes());
        bytes[2..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.partition, self.sequence)
    }
}
