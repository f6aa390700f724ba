//! `busbar serve`: opens the store, starts the bus, opens the ports, and stops in order.

use crate::bus::{Bus, Options, Unavailable, queue_setting};
use crate::config::Config;
use crate::decisions::Decisions;
use crate::diagnostic::Diagnostic;
use crate::dispatcher::Dispatcher;
use crate::http::Doors;
use crate::http::connection::{BODIES_KIB_MAX, Port, serve as serve_port};
use crate::metrics::Metrics;
use crate::rule_files::{self, keeper::Keeper};
use crate::scheduler::Scheduler;
use crate::store::{self, StoreError};
use bus_core::core::{Quotas, Settings};
use rustix::process::{Resource, Rlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use targets::client::{Client, Timeouts};
use targets::egress::{Egress, EgressSettings};
use targets::log::{LogFiles, LogOptions};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Why a server did not start. The exit code says which kind.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal took not even the start record.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// The rule files have faults, and no earlier good set is there to run on.
    #[error("the rule files cannot be loaded, and no earlier good set is in the journal")]
    Rules(Vec<Diagnostic>),
    /// A port could not be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl ServeError {
    /// Exit code of the process, after `sysexits.h`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Unavailable(_) => 70,
            Self::Config(_) | Self::Rules(_) => 78,
            Self::Listen { .. } => 71,
        }
    }
}

/// A server that accepts requests.
pub struct Server {
    /// Address of the API port.
    pub api: SocketAddr,
    /// Address of the operators' port.
    pub operator: SocketAddr,
    /// What the doors share.
    pub doors: Doors,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    core: std::thread::JoinHandle<i32>,
}

impl Server {
    /// Starts everything; when it returns, requests are served.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn start(mut config: Config) -> Result<Self, ServeError> {
        config.connections_max = config.connections_max.min(connections_within_limit());
        let (api_listener, operator_listener) = (
            listen(config.listen).await?,
            listen(config.operator_listen).await?,
        );
        let api = local(&api_listener, config.listen)?;
        let operator = local(&operator_listener, config.operator_listen)?;
        let loopback = api.ip().is_loopback() && operator.ip().is_loopback();
        if !loopback && !config.insecure_no_auth {
            return Err(ServeError::Config(format!(
                "{api} is not a loopback address and no key is configured: anyone who reaches it could put events; \
                 listen on 127.0.0.1, or say --insecure-no-auth"
            )));
        }
        let egress = Egress::new(&EgressSettings {
            allow: config.egress_allow.clone(),
            loopback_allowed: api.ip().is_loopback(),
            http_allowed: false,
            own: vec![api, operator],
        })
        .map_err(|e| ServeError::Config(format!("egress.allow: {e}")))?;
        let timeouts = Timeouts {
            head: Duration::from_secs(config.response_seconds),
            ..Timeouts::default()
        };
        let client =
            Client::new(egress, timeouts, &[]).map_err(|e| ServeError::Config(e.to_string()))?;
        let client = Arc::new(client);
        let store = store::open(&config)?;
        let logs_dir = config.data.join("logs");
        let log_options = LogOptions {
            stdout: config.log_stdout,
            ..LogOptions::default()
        };
        let logs =
            LogFiles::open(&logs_dir, log_options).map_err(|source| StoreError::Unwritable {
                path: logs_dir,
                source,
            })?;
        let options = Options {
            core: Settings {
                default_dlq: queue_setting(&config.default_dlq),
                retire_ms: config.retire_seconds * 1000,
                purge_interval_ms: config.purge_interval_seconds * 1000,
                quotas: if config.aws_quotas {
                    Quotas::AWS
                } else {
                    Quotas::default()
                },
                queue_deleted_recently: config.aws_queue_deleted_recently,
            },
            trail: config.trail,
            trail_bytes: config.trail_bytes,
        };
        let runtime = tokio::runtime::Handle::current();
        let for_dispatcher = Arc::clone(&client);
        let (started, decisions) = tokio::task::spawn_blocking(move || {
            let mut decisions = None;
            let started = Bus::start(store, options, |bus| {
                let made = decisions.insert(Decisions::start(bus, &runtime)).clone();
                Box::new(Dispatcher::start(bus, for_dispatcher, logs, made, runtime))
            });
            (started, decisions)
        })
        .await
        .expect("starting does not panic");
        let (bus, core) = started?;
        let decisions = decisions.expect("a bus that started has made its dispatcher");
        let context = rule_files::Context {
            home: config.home.clone(),
            egress: client.egress().clone(),
            complexity: config.aws_complexity,
            placeholders: config.aws_placeholders,
        };
        let files = Arc::default();
        let (mut keeper, edits) = Keeper::new(
            bus.clone(),
            decisions.clone(),
            config.rules.clone(),
            context,
            Arc::clone(&files),
        );
        let doors = Doors {
            bus,
            decisions,
            config: Arc::new(config),
            client,
            files,
            edits,
            bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
            metrics: Arc::new(Metrics::default()),
        };
        let (stop, stopped) = watch::channel(false);
        if let Err(faults) = keeper.start().await {
            doors.bus.stop().await;
            doors.bus.history().close();
            let _ = tokio::task::spawn_blocking(move || core.join()).await;
            return Err(ServeError::Rules(faults));
        }
        // After the rule files: what they took away is not made up for.
        let catch_up_ms = doors.config.schedules_catch_up_seconds.cast_signed() * 1_000;
        let (bus, metrics) = (doors.bus.clone(), Arc::clone(&doors.metrics));
        let monitors = doors
            .config
            .monitors_scheduled
            .then(|| doors.decisions.clone());
        let scheduler = Scheduler::start(bus, monitors, metrics, catch_up_ms).await?;
        let tasks = vec![
            tokio::spawn(scheduler.run(stopped.clone())),
            tokio::spawn(keeper.watch(stopped.clone())),
            tokio::spawn(serve_port(
                api_listener,
                Port::Api,
                doors.clone(),
                stopped.clone(),
            )),
            tokio::spawn(serve_port(
                operator_listener,
                Port::Operator,
                doors.clone(),
                stopped,
            )),
        ];
        Ok(Self {
            api,
            operator,
            doors,
            stop,
            tasks,
            core,
        })
    }

    /// Whether the core has ended by itself: the disk failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.core.is_finished()
    }

    /// Stops in order and returns the exit code.
    pub async fn stop(self) -> i32 {
        if !self.core.is_finished() {
            let _ = self.stop.send(true);
            self.doors.bus.stop().await;
        }
        for task in &self.tasks {
            task.abort();
        }
        tokio::task::spawn_blocking(move || {
            // A core that panicked has failed as a disk does (F35).
            let code = self.core.join().unwrap_or(70);
            self.doors.bus.history().close();
            code
        })
        .await
        .unwrap_or(70)
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, ServeError> {
    listener
        .local_addr()
        .map_err(|source| ServeError::Listen { address, source })
}

/// Descriptors that are not for connections: segments, logs, rule files, standard streams.
const DESCRIPTORS_KEPT: u64 = 64;

/// Raises the limit of descriptors as far as it goes, and says how many connections fit under it: outbound
/// ones have a quarter. Source: design.md 5.
fn connections_within_limit() -> usize {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it may not be raised, what there is has to do.
    let _ = rustix::process::setrlimit(Resource::Nofile, wanted);
    let descriptors = rustix::process::getrlimit(Resource::Nofile)
        .current
        .unwrap_or(u64::MAX);
    let connections = (descriptors - descriptors / 4)
        .saturating_sub(DESCRIPTORS_KEPT)
        .max(16);
    usize::try_from(connections)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}
