//! What the operator sets. Where it is set: [`layers`].

pub mod layers;

use bus_core::name::Home;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// All settings of a server, with their defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything durable lies.
    pub data: PathBuf,
    /// Where rule files lie.
    pub rules: PathBuf,
    /// Where producers and consumers connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub operator_listen: SocketAddr,
    /// Account and region.
    pub home: Home,
    /// Serve addresses that are not loopback although no key is configured.
    pub insecure_no_auth: bool,
    /// Host names that requests may name besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Scheme and host of the queue URLs that are handed out; by default those of the request.
    pub public_url: Option<String>,
    /// Hosts and CIDRs that webhooks may reach besides public addresses.
    pub egress_allow: Vec<String>,
    /// Queue for what targets without one give up; empty = none.
    pub default_dlq: String,
    /// How long deliveries of a vanished target wait for it, in seconds.
    pub retire_seconds: u64,
    /// Pause between two purges of a queue, in seconds; 0 = none.
    pub purge_interval_seconds: u64,
    /// Oldest missed tick of a schedule that is made up for, in seconds; 0 = none.
    pub schedules_catch_up_seconds: u64,
    /// Log targets write to standard output too.
    pub log_stdout: bool,
    /// Longest that a webhook may take to answer, in seconds: 1 to 30.
    pub response_seconds: u64,
    /// Free space under which new events are refused, in bytes.
    pub disk_free_bytes_min: u64,
    /// Room kept for outcomes, deletes and dead letters: the size of a segment, in bytes.
    pub disk_reserve_bytes: u32,
    /// Skip damaged records at start instead of refusing.
    pub accept_data_loss: bool,
    /// How long finished segments stay for the trail.
    pub trail: Duration,
    /// How many bytes of finished segments stay for the trail.
    pub trail_bytes: u64,
    /// How long firings stay in the history, in days; 0 = for ever.
    pub history_days: u64,
    /// How many firings stay in the history; 0 = as many as there are.
    pub history_firings_max: u64,
    /// Sum of the sizes of the entries of a `PutEvents`, in bytes; less than this.
    pub put_bytes_max: usize,
    /// Size of a request's body, in bytes.
    pub body_bytes_max: usize,
    /// Time for a request's head, from its first byte.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Idle time of a kept connection.
    pub idle_timeout: Duration,
    /// Connections in all.
    pub connections_max: usize,
    /// Answer an id for an unknown bus and drop the event, as AWS does.
    pub aws_unknown_bus: bool,
    /// Accept placeholders without a map, as AWS does.
    pub aws_placeholders: bool,
    /// Refuse patterns beyond AWS's wildcard complexity.
    pub aws_complexity: bool,
    /// AWS's own quotas of buses, rules and targets.
    pub aws_quotas: bool,
    /// The name of a deleted queue stays taken for a minute, as at AWS.
    pub aws_queue_deleted_recently: bool,
    /// Monitors scan by their schedules. Off in tests, which make the ticks themselves.
    pub monitors_scheduled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("busbar-data"),
            rules: PathBuf::from("rules"),
            listen: SocketAddr::from(([127, 0, 0, 1], 4100)),
            operator_listen: SocketAddr::from(([127, 0, 0, 1], 4101)),
            home: Home::default(),
            insecure_no_auth: false,
            hosts: Vec::new(),
            public_url: None,
            egress_allow: Vec::new(),
            default_dlq: "busbar-dead-letters".into(),
            retire_seconds: bus_core::limits::RETIRE_MS / 1000,
            purge_interval_seconds: bus_core::limits::PURGE_INTERVAL_MS / 1000,
            schedules_catch_up_seconds: 3_600,
            log_stdout: false,
            response_seconds: 5,
            disk_free_bytes_min: 1 << 30,
            disk_reserve_bytes: 64 << 20,
            accept_data_loss: false,
            trail: Duration::from_secs(24 * 60 * 60),
            trail_bytes: 1 << 30,
            history_days: 90,
            history_firings_max: 0,
            put_bytes_max: bus_core::limits::PUT_BYTES_MAX,
            body_bytes_max: 4 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            connections_max: 4096,
            aws_unknown_bus: false,
            aws_placeholders: false,
            aws_complexity: true,
            aws_quotas: false,
            aws_queue_deleted_recently: false,
            monitors_scheduled: true,
        }
    }
}
