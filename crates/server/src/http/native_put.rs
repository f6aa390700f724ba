//! Our own doors for events: entries and whole envelopes, no SDK needed.
