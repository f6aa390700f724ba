//! `busbar bench`: what the bus costs on this machine.
//!
//! It starts this very binary as a server on a folder of its own, loads it over real sockets, and reads its
//! processor time and memory from the system. Figures are of one run on one machine; the raw line beside them
//! (the same bytes appended and synced by a bare loop) says what the disk gives.

mod automation;

use crate::clock::instant;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Events of each put run.
    pub events: usize,
    /// Entries of each call.
    pub batch: usize,
    /// Bytes of each event's detail.
    pub size: usize,
    /// Connections of each put run.
    pub connections: Vec<usize>,
    /// Events of the webhook run, at 500 a second.
    pub webhook_events: usize,
    /// Pending deliveries of the start run; 0 = leave it out.
    pub pending: usize,
    /// Triggers of the automation run; 0 = leave it out.
    pub triggers: usize,
    /// Objects of the scan run; 0 = leave it out.
    pub objects: usize,
    /// Where data folders are made.
    pub dir: PathBuf,
}

/// One figure: what, how much, unit.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// Measures what the plan says, telling each figure as it comes: the runs of automation if it names one, else
/// all others.
///
/// # Errors
/// If a server does not start or answers wrongly.
pub fn run(plan: &Plan, tell: &mut dyn FnMut(Figure)) -> Result<()> {
    let exe = std::env::current_exe().context("this program's own path")?;
    let size = std::fs::metadata(&exe)?.len();
    tell(figure("binary size", size as f64 / 1e6, "MB"));
    if 0 < plan.triggers || 0 < plan.objects {
        return automation::run(plan, tell);
    }
    for connections in &plan.connections {
        let raw = raw(plan, *connections)?;
        tell(figure(
            &format!("raw append + fdatasync, groups of {connections} calls"),
            raw,
            "events/s",
        ));
        put(plan, *connections, tell)?;
    }
    webhook(plan, tell)?;
    start(plan, tell)?;
    Ok(())
}

fn figure(what: &str, value: f64, unit: &'static str) -> Figure {
    Figure {
        what: what.into(),
        value,
        unit,
    }
}

/// The same bytes, appended and synced by a loop that does nothing else.
fn raw(plan: &Plan, connections: usize) -> Result<f64> {
    let path = plan.dir.join("raw");
    let file = File::create(&path)?;
    let group = vec![b'x'; plan.batch * (plan.size + 320) * connections];
    let rounds = (plan.events / (plan.batch * connections)).clamp(1, 2_000);
    // As the journal does: the file has its size before it is written.
    let zeros = vec![0; group.len()];
    for n in 0..rounds {
        file.write_all_at(&zeros, (n * group.len()) as u64)?;
    }
    file.sync_all()?;
    let began = instant();
    for n in 0..rounds {
        file.write_all_at(&group, (n * group.len()) as u64)?;
        file.sync_data()?;
    }
    let rate = (rounds * connections * plan.batch) as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

fn put(plan: &Plan, connections: usize, tell: &mut dyn FnMut(Figure)) -> Result<()> {
    let rules = json!([{"Name": "all", "EventPattern": {"source": ["bench"]},
        "Targets": [{"Id": "q", "Queue": {"Name": "bench"}}]}]);
    let server = Server::start(
        &plan.dir.join(format!("put-{connections}")),
        &one_file(&rules),
    )?;
    let label = format!("{connections} connections, batches of {}", plan.batch);
    tell(figure("resident memory, idle", server.resident_mb()?, "MB"));
    let cpu = server.cpu_seconds()?;
    let body = put_body(plan);
    let calls = counted(plan.events / plan.batch);
    let (rate, mut latencies) = load(&server, connections, &body, &calls)?;
    let cpu = server.cpu_seconds()? - cpu;
    tell(figure(
        &format!("put, durable: {label}"),
        rate * plan.batch as f64,
        "events/s",
    ));
    tell(figure(
        &format!("put, p50: {label}"),
        percentile(&mut latencies, 50),
        "ms",
    ));
    tell(figure(
        &format!("put, p99: {label}"),
        percentile(&mut latencies, 99),
        "ms",
    ));
    tell(figure(
        &format!("put, processor time of the server: {label}"),
        cpu * 1e6 / plan.events as f64,
        "µs/event",
    ));
    tell(figure(
        "resident memory, after the puts",
        server.resident_mb()?,
        "MB",
    ));
    let began = instant();
    let cpu = server.cpu_seconds()?;
    let received = drain(&server, connections.min(4))?;
    ensure!(
        received == plan.events / plan.batch * plan.batch,
        "received {received} of {}",
        plan.events
    );
    let cpu = server.cpu_seconds()? - cpu;
    tell(figure(
        "receive and delete",
        received as f64 / began.elapsed().as_secs_f64(),
        "messages/s",
    ));
    tell(figure(
        "receive and delete, processor time of the server",
        cpu * 1e6 / received as f64,
        "µs/message",
    ));
    tell(figure(
        "resident memory, after all is received",
        server.resident_mb()?,
        "MB",
    ));
    Ok(())
}

fn put_body(plan: &Plan) -> String {
    let detail = json!({"note": "x".repeat(plan.size.saturating_sub(11))}).to_string();
    let entry = json!({"Source": "bench", "DetailType": "Load", "Detail": detail});
    json!({"Entries": vec![entry; plan.batch]}).to_string()
}

/// Says so many times that one more call is wanted.
fn counted(calls: usize) -> impl Fn() -> bool + Sync {
    let next = AtomicUsize::new(0);
    move || next.fetch_add(1, Ordering::Relaxed) < calls
}

/// Puts the same body again and again while `more` says so: calls a second, and how long each took.
fn load(
    server: &Server,
    connections: usize,
    body: &str,
    more: &(impl Fn() -> bool + Sync),
) -> Result<(f64, Vec<Duration>)> {
    let latencies = Mutex::new(Vec::new());
    let began = instant();
    std::thread::scope(|scope| -> Result<()> {
        let one = || -> Result<()> {
            let mut client = Client::connect(server.api)?;
            let mut mine = Vec::new();
            while more() {
                let sent = instant();
                let answer = client.aws("AWSEvents.PutEvents", body)?;
                ensure!(
                    answer.starts_with(b"{\"FailedEntryCount\":0"),
                    "{}",
                    String::from_utf8_lossy(&answer)
                );
                mine.push(sent.elapsed());
            }
            latencies
                .lock()
                .expect("no holder panics")
                .append(&mut mine);
            Ok(())
        };
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a loader does not panic"))
    })?;
    let took = began.elapsed().as_secs_f64();
    let latencies = latencies.into_inner().expect("no holder panics");
    Ok((latencies.len() as f64 / took, latencies))
}

fn drain(server: &Server, connections: usize) -> Result<usize> {
    let received = AtomicUsize::new(0);
    std::thread::scope(|scope| -> Result<()> {
        let one = || -> Result<()> {
            let mut client = Client::connect(server.api)?;
            let queue = format!("http://{}/000000000000/bench", server.api);
            loop {
                let ask = json!({"QueueUrl": queue, "MaxNumberOfMessages": 10}).to_string();
                let answer: Value =
                    serde_json::from_slice(&client.aws("AmazonSQS.ReceiveMessage", &ask)?)?;
                let Some(messages) = answer["Messages"].as_array() else {
                    return Ok(());
                };
                let entries: Vec<Value> = messages
                    .iter()
                    .enumerate()
                    .map(|(n, m)| json!({"Id": n.to_string(), "ReceiptHandle": m["ReceiptHandle"]}))
                    .collect();
                received.fetch_add(entries.len(), Ordering::Relaxed);
                let ask = json!({"QueueUrl": queue, "Entries": entries}).to_string();
                client.aws("AmazonSQS.DeleteMessageBatch", &ask)?;
            }
        };
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a consumer does not panic"))
    })?;
    Ok(received.into_inner())
}

/// From the producer's send to the receiver's hands.
fn webhook(plan: &Plan, tell: &mut dyn FnMut(Figure)) -> Result<()> {
    let receiver = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", receiver.local_addr()?);
    let arrived: Arc<Mutex<Vec<Option<Instant>>>> =
        Arc::new(Mutex::new(vec![None; plan.webhook_events]));
    std::thread::spawn({
        let arrived = Arc::clone(&arrived);
        move || {
            for stream in receiver.incoming().flatten() {
                let arrived = Arc::clone(&arrived);
                std::thread::spawn(move || receive(stream, &arrived));
            }
        }
    });
    let rules = json!([{"Name": "all", "EventPattern": {"source": ["bench"]},
        "Targets": [{"Id": "w", "Webhook": {"Url": url}}]}]);
    let server = Server::start(&plan.dir.join("webhook"), &one_file(&rules))?;
    let mut client = Client::connect(server.api)?;
    let mut sent = Vec::with_capacity(plan.webhook_events);
    let began = instant();
    for n in 0..plan.webhook_events {
        let due = began + Duration::from_millis(2 * n as u64);
        std::thread::sleep(due.saturating_duration_since(instant()));
        let detail = format!("{{\\\"n\\\":{n}}}");
        let body = format!(
            "{{\"Entries\":[{{\"Source\":\"bench\",\"DetailType\":\"Load\",\"Detail\":\"{detail}\"}}]}}"
        );
        sent.push(instant());
        client.aws("AWSEvents.PutEvents", &body)?;
    }
    let until = instant() + Duration::from_secs(10);
    while arrived
        .lock()
        .expect("no holder panics")
        .iter()
        .any(Option::is_none)
    {
        ensure!(instant() < until, "the webhook did not get every event");
        std::thread::sleep(Duration::from_millis(5));
    }
    let arrived = arrived.lock().expect("no holder panics");
    let mut latencies: Vec<Duration> = sent
        .iter()
        .zip(arrived.iter())
        .filter_map(|(sent, at)| Some(at.as_ref()?.duration_since(*sent)))
        .collect();
    tell(figure(
        "publish to webhook, p50 at 500/s",
        percentile(&mut latencies, 50),
        "ms",
    ));
    tell(figure(
        "publish to webhook, p99 at 500/s",
        percentile(&mut latencies, 99),
        "ms",
    ));
    Ok(())
}

fn receive(stream: TcpStream, arrived: &Mutex<Vec<Option<Instant>>>) {
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    while let Ok((_, body)) = read_message(&mut reader) {
        let at = instant();
        let event: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(n) = event["detail"]["n"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
        {
            arrived.lock().expect("no holder panics")[n].get_or_insert(at);
        }
        if writer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .is_err()
        {
            return;
        }
    }
}

/// Time to the ready line: on an empty folder, and on one with many pending deliveries.
fn start(plan: &Plan, tell: &mut dyn FnMut(Figure)) -> Result<()> {
    let rules = json!([{"Name": "all", "EventPattern": {"source": ["bench"]},
        "Targets": [{"Id": "w", "Webhook": {"Url": "http://127.0.0.1:9/"}}]}]);
    let rules = one_file(&rules);
    let server = Server::start(&plan.dir.join("start"), &rules)?;
    tell(figure(
        "start, empty data directory",
        server.started.as_secs_f64() * 1e3,
        "ms",
    ));
    if plan.pending == 0 {
        return Ok(());
    }
    let calls = counted(plan.pending / plan.batch);
    load(&server, 16, &put_body(plan), &calls)?;
    tell(figure(
        &format!("resident memory, {} pending", plan.pending),
        server.resident_mb()?,
        "MB",
    ));
    let data = server.data.clone();
    drop(server);
    let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    let server = Server::start(&data, &rules)?;
    let cache = if dropped {
        "page cache dropped"
    } else {
        "page cache warm"
    };
    tell(figure(
        &format!("start after kill, {} pending, {cache}", plan.pending),
        server.started.as_secs_f64() * 1e3,
        "ms",
    ));
    tell(figure(
        "resident memory after that start",
        server.resident_mb()?,
        "MB",
    ));
    Ok(())
}

fn percentile(latencies: &mut [Duration], percent: usize) -> f64 {
    latencies.sort_unstable();
    let at = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
    latencies.get(at).map_or(0.0, |d| d.as_secs_f64() * 1e3)
}

/// Rule files and documents by their paths.
type Files = Vec<(String, Value)>;

fn one_file(rules: &Value) -> Files {
    vec![("bench.json".to_owned(), rules.clone())]
}

/// This binary, serving. Killed when dropped, as a crash would.
struct Server {
    child: Child,
    api: SocketAddr,
    data: PathBuf,
    started: Duration,
}

impl Server {
    /// On a data folder, with these rule files.
    fn start(data: &Path, files: &Files) -> Result<Self> {
        let rules_dir = data.with_extension("rules");
        for (name, document) in files {
            let path = rules_dir.join(name);
            std::fs::create_dir_all(path.parent().expect("it is in a folder"))?;
            std::fs::write(path, document.to_string())?;
        }
        let began = instant();
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "serve",
                "--json",
                "--listen",
                "127.0.0.1:0",
                "--operator-listen",
                "127.0.0.1:0",
            ])
            .args(["--account", "000000000000", "--region", "us-east-1"])
            .arg("--data")
            .arg(data)
            .arg("--rules")
            .arg(&rules_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line)?;
        let started = began.elapsed();
        let ready: Value =
            serde_json::from_str(&line).context("the server did not say that it is ready")?;
        let Some(api) = ready["api"]
            .as_str()
            .and_then(|url| url.strip_prefix("http://")?.parse().ok())
        else {
            bail!("the server's ready line has no address: {line}");
        };
        Ok(Self {
            child,
            api,
            data: data.to_path_buf(),
            started,
        })
    }

    fn status(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!(
            "/proc/{}/{name}",
            self.child.id()
        ))?)
    }

    fn resident_mb(&self) -> Result<f64> {
        let status = self.status("status")?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("VmRSS")?.parse()?;
        Ok(kib / 1024.0)
    }

    fn cpu_seconds(&self) -> Result<f64> {
        let stat = self.status("stat")?;
        let fields: Vec<&str> = stat
            .rsplit(") ")
            .next()
            .context("stat")?
            .split(' ')
            .collect();
        let ticks = fields.get(11).context("utime")?.parse::<f64>()?
            + fields.get(12).context("stime")?.parse::<f64>()?;
        Ok(ticks / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One kept connection.
struct Client {
    reader: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::new(stream),
            address,
        })
    }

    fn aws(&mut self, target: &str, body: &str) -> Result<Vec<u8>> {
        let kind = format!("application/x-amz-json-1.1\r\nx-amz-target: {target}");
        self.post("/", &kind, body)
    }

    /// A call of our own API.
    fn native(&mut self, path: &str, body: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.post(
            path,
            "application/json",
            body,
        )?)?)
    }

    fn post(&mut self, path: &str, kind: &str, body: &str) -> Result<Vec<u8>> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body.as_bytes());
        self.reader.get_mut().write_all(&request)?;
        let (status, body) = read_message(&mut self.reader)?;
        ensure!(
            status.contains(" 200 "),
            "{status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

/// Reads a head and the body that its `content-length` says.
fn read_message(reader: &mut BufReader<TcpStream>) -> Result<(String, Vec<u8>)> {
    let mut first = String::new();
    ensure!(
        reader.read_line(&mut first)? > 0,
        "the connection was closed"
    );
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(
            reader.read_line(&mut line)? > 0,
            "the connection was closed"
        );
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((first, body))
}
