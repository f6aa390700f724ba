//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Longest name lookup. Source: reliability-security.md 3, as the four after it.
pub const DNS: Duration = Duration::from_secs(2);
/// Longest TCP connect, over all addresses that are tried.
pub const CONNECT: Duration = Duration::from_secs(3);
/// Longest TLS handshake.
pub const TLS: Duration = Duration::from_secs(5);
/// From the first byte of the request that we send to the last of the response head.
pub const HEAD: Duration = Duration::from_secs(5);
/// The whole attempt, from the name lookup on.
pub const ATTEMPT: Duration = Duration::from_secs(10);
/// Longest `HEAD` that may be set.
pub const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long we read a body that nobody wants, only to keep the connection. A target that takes
/// longer costs a new connection, not a slot.
pub const DRAIN: Duration = Duration::from_secs(1);
/// Longest life of an idle connection. Source: reliability-security.md 8, rule 3.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long a checked answer of the resolver is used again. The system's resolver hides the TTL;
/// this is well below the 60 s that rule 3 allows, and spares a busy target a lookup per attempt.
pub const RESOLVED: Duration = Duration::from_secs(10);

/// Response head, every 1xx before it included. Beyond it the attempt fails.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Fields of a response head. Beyond it the attempt fails.
pub const HEAD_FIELDS_MAX: usize = 64;
/// Response body that is read. Beyond it the connection is closed.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// What TLS may hold of a request before the socket takes it.
pub const TLS_BUFFER_BYTES: usize = 16 * 1024;
/// Sent and kept: hyper's read buffer, rustls with its records, one piece of body. F16.
pub const ATTEMPT_BYTES_MAX: usize = 128 * 1024;
/// A TLS record and what of it is decoded, as rustls holds them.
const TLS_RECORDS_BYTES: usize = 2 * 18 * 1024;
const _: () = assert!(HEAD_BYTES_MAX + TLS_RECORDS_BYTES + TLS_BUFFER_BYTES < ATTEMPT_BYTES_MAX);

/// Idle connections to one address for one host. More are closed.
pub const IDLE_PER_KEY_MAX: usize = 16;
/// Idle connections in all. At the bound the one that idled longest is closed.
pub const IDLE_MAX: usize = 512;
/// Addresses of one answer that a connect tries. The others wait for the next attempt.
pub const ADDRESSES_TRIED_MAX: usize = 4;
/// Lookups at one time; each holds a thread of the blocking pool for as long as the system's
/// resolver likes. At the bound, lookups wait within their own time.
pub const LOOKUPS_MAX: usize = 32;
/// Of these for one host, so that a dead resolver of one target leaves room for the others.
pub const LOOKUPS_PER_HOST_MAX: usize = 4;
/// Hosts whose checked addresses are remembered. At the bound the memory starts anew.
pub const RESOLVED_HOSTS_MAX: usize = 1024;

/// Longest URL. Source: the bound of a URI in reliability-security.md 3.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// Longest name of a header that a user sets.
pub const HEADER_NAME_BYTES_MAX: usize = 256;
/// Longest value of a header that a user sets: what common servers take.
pub const HEADER_VALUE_BYTES_MAX: usize = 8 * 1024;
/// Longest `Retry-After` that is believed. Source: F22.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Decoded `whsec_` secret. Source: Standard Webhooks.
pub const SECRET_BYTES_MIN: usize = 24;
/// Decoded `whsec_` secret. Source: Standard Webhooks.
pub const SECRET_BYTES_MAX: usize = 64;
/// A secret that is plain text.
pub const SECRET_TEXT_BYTES_MAX: usize = 256;
/// How far a signature's time may be off. Source: reliability-security.md 8.
pub const SIGNATURE_SECONDS_MAX: u64 = 5 * 60;
/// Signatures that one header may carry; more are a refusal.
pub const SIGNATURES_MAX: usize = 16;

/// Size at which a log file is put aside. Source: eventbridge-api.md 8.1.
pub const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Log files held open. At the bound the one used longest ago is closed.
pub const LOG_FILES_OPEN_MAX: usize = 64;
/// Longest name of a log file before a digest takes the place of its end; file systems end at 255.
pub const LOG_NAME_BYTES_MAX: usize = 200;
