//! The bounds of the bus, on one page, each with its unit and reason.
//!
//! What the operator may set is a default here and a key of `busbar.toml` in the server. Bounds of
//! the rule language live in `rule-engine`, those of the disk format in `journal`.

/// Entries of one `PutEvents`. Source: eventbridge-api.md 17, part of the API's contract.
pub const PUT_ENTRIES_MAX: usize = 10;
/// Sum of the sizes of all entries of one call must be less than this. Source: same, 2.4.
pub const PUT_BYTES_MAX: usize = 1_048_576;
/// Entries of one call of the native doors: keeps one block small enough to group.
pub const NATIVE_ENTRIES_MAX: usize = 1_000;
/// Deliveries of one event; over it the entry fails. Source: reliability-security.md 3.
pub const DELIVERIES_MAX: usize = 10_000;
/// Characters of a detail type. Source: eventbridge-api.md 17.
pub const DETAIL_TYPE_CHARS_MAX: usize = 128;
/// Bytes of an event id: forwarders send what they like. Source: design.md 4.
pub const EVENT_ID_BYTES_MAX: usize = 256;
/// Nesting of `Detail`. Source: eventbridge-api.md 17.
pub const DEPTH_MAX: usize = 1_000;
/// Names in one event. Source: same.
pub const NAMES_MAX: usize = 10_000;

/// Buses. Source: reliability-security.md 3 (AWS: 100).
pub const BUSES_MAX: usize = 10_000;
/// Rules on one bus. Source: same (AWS: 300).
pub const RULES_MAX: usize = 1_000_000;
/// Targets of one rule. Source: same (AWS: 5).
pub const TARGETS_MAX: usize = 100;
/// Queues. Source: sqs-api.md 6.1.
pub const QUEUES_MAX: usize = 10_000;
/// Messages waiting in one queue. Source: sqs-api.md 6.1.
pub const QUEUE_MESSAGES_MAX: usize = 10_000_000;
/// Messages in flight in one standard queue. Source: sqs-api.md 6.1.
pub const IN_FLIGHT_MESSAGES_MAX: usize = 120_000;
/// Receives that wait, in all. Source: sqs-api.md 4.
pub const WAITERS_MAX: usize = 4_000;
/// Sum of the bodies of one receive's answer; one message always fits. Source: sqs-api.md 2.6.
pub const RECEIVE_BYTES_MAX: usize = 1_048_576;
/// Answers of receives kept for a repeated try. Source: sqs-api.md 3.6.
pub const RECEIVE_TRIES_MAX: usize = 10_000;
/// How long such an answer is kept, in milliseconds of running time. Source: same.
pub const RECEIVE_TRY_MS: u64 = 5 * 60 * 1000;
/// Longest time that a message may be invisible after a receive, in seconds. Source: sqs-api.md 2.9.
pub const VISIBILITY_SECONDS_MAX: u64 = 43_200;
/// Pause between two purges of one queue, in milliseconds. Source: sqs-api.md 2.4.
pub const PURGE_INTERVAL_MS: u64 = 60_000;
/// How long the name of a deleted queue stays taken where AWS's way is wanted, in milliseconds. Source:
/// sqs-api.md 2.1.
pub const QUEUE_NAME_TAKEN_MS: u64 = 60_000;
/// After a start that follows a crash, receives are synced before the answer for this long, so that
/// a message which kills the server is counted. Source: sqs-api.md 5.3.
pub const RECEIVE_SYNC_AFTER_CRASH_MS: u64 = 60_000;

/// Attempts of one delivery, the first included. Source: EventBridge retry policy, 185 retries.
pub const ATTEMPTS_MAX: u32 = 186;
/// Retries when a target says nothing.
pub const RETRIES_DEFAULT: u32 = 185;
/// Oldest event still delivered, in seconds; older ones become dead letters.
pub const AGE_SECONDS_MAX: u32 = 24 * 60 * 60;
/// Shortest age that a target may ask for, in seconds.
pub const AGE_SECONDS_MIN: u32 = 60;
/// Longest pause between two attempts, in milliseconds. With 960 s, 185 retries span the day.
pub const BACKOFF_MS_MAX: u64 = 960 * 1000;
/// Shortest pause between two attempts, in milliseconds: no hidden immediate second try.
pub const BACKOFF_MS_MIN: u64 = 250;
/// Attempts in flight to one webhook. At the bound, deliveries wait in the journal, not in memory.
pub const WEBHOOK_IN_FLIGHT_MAX: usize = 16;
/// Lines in flight to one log: one batch being synced and the next forming.
pub const LOG_IN_FLIGHT_MAX: usize = 1_024;
/// Attempts in flight to all webhooks. Source: reliability-security.md 3.
pub const OUTBOUND_IN_FLIGHT_MAX: usize = 512;
/// Lines in flight to all logs.
pub const LOGS_IN_FLIGHT_MAX: usize = 4_096;
/// How long the deliveries of a vanished target wait for its return, in milliseconds. Source: F27.
pub const RETIRE_MS: u64 = 10 * 60 * 1000;
/// How long a removed target's version stays resolvable for blocks that were matched before, in
/// milliseconds. Longer than any request's deadline. Source: design.md 5.
pub const VERSION_LINGER_MS: u64 = 60_000;

/// How long an idempotency key is kept, in milliseconds of running time. Source: rule 8.
pub const IDEMPOTENCY_MS: u64 = 10 * 60 * 1000;
/// Idempotency keys kept; the oldest go first. Source: rule 8.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1_000_000;

/// Largest change of documents in one journal record, in bytes; a larger one takes several, of
/// which the last one commits.
pub const DOCUMENTS_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(BACKOFF_MS_MIN < BACKOFF_MS_MAX);
const _: () = assert!(BACKOFF_MS_MAX < AGE_SECONDS_MAX as u64 * 1000);
const _: () = assert!(RETRIES_DEFAULT + 1 == ATTEMPTS_MAX);
const _: () = assert!(WEBHOOK_IN_FLIGHT_MAX <= OUTBOUND_IN_FLIGHT_MAX);
const _: () = assert!(LOG_IN_FLIGHT_MAX <= LOGS_IN_FLIGHT_MAX);
