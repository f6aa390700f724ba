//! From what producers hand over to records: entries and envelopes, checked and routed.
