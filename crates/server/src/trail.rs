//! The trail of an event: what became of it, found through the journal.
