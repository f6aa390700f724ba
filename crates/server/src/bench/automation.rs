//! What triggers and scans cost: the intake rate beside many triggers, and beside a scan over many objects.

use super::{Client, Figure, Files, Plan, Server, counted, figure, load, percentile, put_body};
use crate::clock::{instant, wall_ms};
use anyhow::{Context, Result, ensure};
use lifecycle::moment;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Groups of the object that events are about.
const GROUPS: usize = 3;
/// Rounds in which the two servers are loaded in turn. Many short ones: what comes and goes on a machine is
/// slower than a pair of them, and so leaves their ratio alone.
const ROUNDS: usize = 60;
/// Connections of every load.
const CONNECTIONS: usize = 16;
/// Triggers of one file.
const OF_A_FILE: usize = 1_000;
/// Objects of one call.
const OF_A_CALL: usize = 1_000;
/// Longest time in which what was put is decided about.
const DECIDED: Duration = Duration::from_secs(300);
/// How long the intake is measured that no scan runs beside.
const ALONE: Duration = Duration::from_secs(5);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The runs that the plan names.
pub(super) fn run(plan: &Plan, tell: &mut dyn FnMut(Figure)) -> Result<()> {
    if 0 < plan.triggers {
        triggers(plan, tell)?;
    }
    if 0 < plan.objects {
        scans(plan, tell)?;
    }
    Ok(())
}

// ---- triggers ----------------------------------------------------------------------------------------------

/// One of two servers that differ in their triggers alone.
struct Side {
    server: Server,
    triggers: usize,
    /// Events taken a second, by round.
    taken: Vec<f64>,
    /// Events decided a second, by round, from the first put to the last firing.
    decided: Vec<f64>,
    /// Seconds of processor time, in all rounds.
    cpu: f64,
}

/// The same events, put in turn on a server with a trigger for each of their groups and on one with very many
/// more.
fn triggers(plan: &Plan, tell: &mut dyn FnMut(Figure)) -> Result<()> {
    ensure!(
        GROUPS <= plan.triggers,
        "{GROUPS} triggers at least are wanted"
    );
    // The object's groups lie far apart among those that have a trigger.
    let apart = (plan.triggers - 1) / (GROUPS - 1);
    let few: Vec<usize> = (0..GROUPS).map(|n| n * apart).collect();
    let many: Vec<usize> = (0..plan.triggers).collect();
    let groups: Vec<String> = few.iter().map(group).collect();
    let subject = json!([{"type": "thing", "id": "one", "scopes": {"group": groups}}]).to_string();
    let mut sides = Vec::new();
    for (name, triggered) in [("few", few), ("many", many)] {
        let server = Server::start(&plan.dir.join(name), &trigger_files(&triggered))?;
        let triggers = triggered.len();
        let started = server.started.as_secs_f64() * 1e3;
        tell(figure(
            &format!("start, {triggers} triggers"),
            started,
            "ms",
        ));
        tell(figure(
            &format!("resident memory, {triggers} triggers"),
            server.resident_mb()?,
            "MB",
        ));
        Client::connect(server.api)?.native("/v1/inventory", &subject)?;
        sides.push(Side {
            server,
            triggers,
            taken: Vec::new(),
            decided: Vec::new(),
            cpu: 0.0,
        });
    }
    let calls = (plan.events / ROUNDS / plan.batch).max(1);
    let events = calls * plan.batch;
    for round in 0..=ROUNDS {
        // Who is first in one round is last in the next; the first round is for warming up.
        for side in [round % 2, (round + 1) % 2] {
            let side = &mut sides[side];
            let cpu = side.server.cpu_seconds()?;
            let (taken, decided) = round_of(plan, &side.server, calls, (round + 1) * events)?;
            if 0 < round {
                side.taken.push(taken);
                side.decided.push(decided);
                side.cpu += side.server.cpu_seconds()? - cpu;
            }
        }
    }
    for side in &sides {
        let triggers = side.triggers;
        tell(figure(
            &format!("put, durable: {GROUPS} of {triggers} triggers fire"),
            quartiles(side.taken.iter().copied())[1],
            "events/s",
        ));
        tell(figure(
            &format!("events decided, {triggers} triggers"),
            quartiles(side.decided.iter().copied())[1],
            "events/s",
        ));
        tell(figure(
            &format!("processor time of the server, {triggers} triggers"),
            side.cpu * 1e6 / (ROUNDS * events) as f64,
            "µs/event",
        ));
        tell(figure(
            &format!("resident memory after the firings, {triggers} triggers"),
            side.server.resident_mb()?,
            "MB",
        ));
    }
    let [few, many] = &sides[..] else {
        unreachable!("two sides were made");
    };
    for (what, few, many) in [
        ("put, durable", &few.taken, &many.taken),
        ("events decided", &few.decided, &many.decided),
    ] {
        let ratios = quartiles(few.iter().zip(many).map(|(few, many)| many / few));
        for (name, ratio) in ["lower quartile", "median", "upper quartile"]
            .iter()
            .zip(ratios)
        {
            tell(figure(
                &format!("{what}: many triggers to few, {name} of {ROUNDS} rounds"),
                ratio,
                "times",
            ));
        }
    }
    tell(figure(
        "processor time: many triggers to few",
        many.cpu / few.cpu,
        "times",
    ));
    Ok(())
}

fn group(number: &usize) -> String {
    format!("g{number}")
}

/// A catalogue of one event type, and a trigger on each of these groups.
fn trigger_files(groups: &[usize]) -> Files {
    let entry = json!({
        "Name": "changed",
        "Match": [{"Source": "bench", "DetailType": "Load"}],
        "Resource": {"Type": "thing", "Id": ["$.detail.thing"]},
        "Scopes": [{"Type": "group", "Id": ["inventory:group"]}],
    });
    let trigger = |number: &usize| {
        json!({
            "Name": format!("t{number}"),
            "EventPattern": {"detail": {"thing": [{"exists": true}]}},
            "Trigger": {"Event": "changed", "Scopes": [format!("group/{}", group(number))]},
            "Targets": [{"Id": "q", "Queue": {"Name": "fired"}}],
        })
    };
    let mut files = vec![("catalogue/changed.json".to_owned(), entry)];
    for (n, some) in groups.chunks(OF_A_FILE).enumerate() {
        let some: Vec<Value> = some.iter().map(trigger).collect();
        files.push((format!("rules/triggers-{n}.json"), Value::from(some)));
    }
    files
}

/// Puts the events of a round and waits until the server has decided so many in all: the rates of both.
fn round_of(plan: &Plan, server: &Server, calls: usize, events: usize) -> Result<(f64, f64)> {
    let note = "x".repeat(plan.size.saturating_sub(27));
    let detail = json!({"thing": "one", "note": note}).to_string();
    let entry = json!({"Source": "bench", "DetailType": "Load", "Detail": detail});
    let body = json!({"Entries": vec![entry; plan.batch]}).to_string();
    let began = instant();
    let (rate, _) = load(server, CONNECTIONS, &body, &counted(calls))?;
    let mut client = Client::connect(server.api)?;
    let queue = format!("http://{}/000000000000/fired", server.api);
    let name = "ApproximateNumberOfMessages";
    let ask = json!({"QueueUrl": queue, "AttributeNames": [name]}).to_string();
    loop {
        let answer = client.aws("AmazonSQS.GetQueueAttributes", &ask)?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let waiting = answer["Attributes"][name].as_str();
        let waiting: usize = waiting.context("the queue says its length")?.parse()?;
        if waiting == events * GROUPS {
            break;
        }
        ensure!(
            waiting < events * GROUPS && began.elapsed() < DECIDED,
            "{waiting} messages of {events} events"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let decided = (calls * plan.batch) as f64 / began.elapsed().as_secs_f64();
    Ok((rate * plan.batch as f64, decided))
}

/// The lower, the middle and the upper one.
fn quartiles(of: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut of: Vec<f64> = of.collect();
    of.sort_by(f64::total_cmp);
    [1, 2, 3].map(|n| of.get(of.len() * n / 4).copied().unwrap_or_default())
}

// ---- scans -------------------------------------------------------------------------------------------------

/// Monitors: name, window, and how a successor is found.
const MONITORS: [(&str, &str, &str); 3] = [
    ("few", "P30D", "Relation"),
    ("few, same fields", "P30D", "SameFields"),
    ("many", "P90D", "Relation"),
];

/// Scans over many objects, alone and beside a load.
fn scans(plan: &Plan, tell: &mut dyn FnMut(Figure)) -> Result<()> {
    let server = Server::start(&plan.dir.join("scans"), &monitor_files())?;
    let (now, objects) = (wall_ms(), plan.objects);
    let began = instant();
    fill(&server, objects, now)?;
    let rate = objects as f64 / began.elapsed().as_secs_f64();
    tell(figure(
        &format!("inventory, {OF_A_CALL} objects in a call"),
        rate,
        "objects/s",
    ));
    tell(figure(
        &format!("resident memory, {objects} objects"),
        server.resident_mb()?,
        "MB",
    ));
    let until = instant() + ALONE;
    beside(plan, &server, "no scan", &|| instant() < until, tell)?;
    for (n, (what, ..)) in (0_i64..).zip(&MONITORS) {
        // A tick of its own for each scan: one that was done finds nothing to do.
        let tick = now - 2_000 * (n + 1);
        let alone = scan(&server, what, tick, &AtomicBool::new(false))?;
        let Scanned {
            seconds,
            memory,
            selected,
        } = alone;
        let label = format!("scan, {what} selected");
        tell(figure(
            &format!("{label}: objects"),
            selected as f64,
            "objects",
        ));
        tell(figure(&format!("{label}: alone"), seconds, "s"));
        tell(figure(
            &format!("{label}: most resident memory"),
            memory,
            "MB",
        ));
        let done = AtomicBool::new(false);
        let scanned = std::thread::scope(|scope| -> Result<Scanned> {
            let scanning = scope.spawn(|| scan(&server, what, tick + 1_000, &done));
            let more = || !done.load(Ordering::Relaxed);
            beside(plan, &server, &label, &more, tell)?;
            scanning.join().expect("a scan does not panic")
        })?;
        ensure!(scanned.selected == selected, "the two scans differ");
        tell(figure(
            &format!("{label}: beside puts"),
            scanned.seconds,
            "s",
        ));
    }
    Ok(())
}

/// The intake while something else goes on.
fn beside(
    plan: &Plan,
    server: &Server,
    what: &str,
    more: &(impl Fn() -> bool + Sync),
    tell: &mut dyn FnMut(Figure),
) -> Result<()> {
    let (rate, mut latencies) = load(server, CONNECTIONS, &put_body(plan), more)?;
    let rate = rate * plan.batch as f64;
    tell(figure(
        &format!("put, durable, beside {what}"),
        rate,
        "events/s",
    ));
    for percent in [50, 99, 100] {
        let within = percentile(&mut latencies, percent);
        tell(figure(
            &format!("put, p{percent}, beside {what}"),
            within,
            "ms",
        ));
    }
    Ok(())
}

fn monitor_name(what: &str) -> String {
    what.replace(", ", "-").replace(' ', "-")
}

/// Monitors over certificates; what they emit goes into a queue.
fn monitor_files() -> Files {
    let entry = json!({
        "Name": "expiring",
        "Match": [{"Source": "bench.monitor", "DetailType": "Expiring"}],
        "Resource": {"Type": "certificate", "Id": ["$.detail.id"]},
        "Scopes": [{"Type": "ra-profile", "Id": ["inventory:ra-profile"]}],
        "Monitoring": true,
    });
    let to_queue = |name: &str, source: &str| {
        json!({"Name": name, "EventPattern": {"source": [source]},
            "Targets": [{"Id": "q", "Queue": {"Name": name}}]})
    };
    let rules = json!([
        to_queue("put", "bench"),
        to_queue("expiring", "bench.monitor")
    ]);
    let mut files = vec![
        ("catalogue/expiring.json".to_owned(), entry),
        ("rules/bench.json".to_owned(), rules),
    ];
    for (what, window, others) in MONITORS {
        let mut unless = json!({"Condition": {"attributes": {"state": ["issued"],
            "expiresAt": [{"later-than": "subject.attributes.expiresAt"}]}}});
        unless[others] = match others {
            "Relation" => json!("replaced-by"),
            _ => json!(["attributes.commonName"]),
        };
        let monitor = json!({
            "Name": monitor_name(what),
            // Ticks come by hand.
            "ScheduleExpression": "rate(3650 days)",
            "Resource": "certificate",
            "Event": "expiring",
            "Parameters": {"window": {"Default": window, "From": ["ra-profile:attributes.window"]}},
            "Condition": {"attributes": {"state": ["issued"],
                "expiresAt": [{"within-next": {"Ref": "window"}}]}},
            "Unless": [unless],
            "Emit": {"Detail": {"id": "$.object.id", "expiresAt": "$.object.attributes.expiresAt",
                "profile": "$.scopeObjects['ra-profile'][0].attributes.name"}},
        });
        files.push((format!("monitors/{}.json", monitor_name(what)), monitor));
    }
    files
}

/// Puts the objects: of 10,000 one ends in 20 days, 1,000 in 60, and the others later.
fn fill(server: &Server, objects: usize, now: i64) -> Result<()> {
    let profile = |n| {
        let name = format!("profile {n}");
        json!({"type": "ra-profile", "id": format!("p{n}"), "attributes": {"name": name}})
    };
    let certificate = |n: usize| {
        let days = match n % 10_000 {
            0 => 20,
            n if n % 10 == 1 => 60,
            _ => 200,
        };
        json!({
            "type": "certificate",
            "id": format!("{n:08x}-7f3a-4c0e-9b1d-0123456789ab"),
            "owner": {"type": "user", "id": format!("u{}", n % 1_000)},
            "attributes": {
                "state": "issued",
                "commonName": format!("host-{n}.example.com"),
                "subjectDn": format!("CN=host-{n}.example.com,O=Example"),
                "serialNumber": format!("{n:032x}"),
                "expiresAt": moment::format(now + days * DAY_MS),
            },
            "scopes": {"ra-profile": [format!("p{}", n % 10)]},
        })
    };
    let mut client = Client::connect(server.api)?;
    let mut put = |some: Vec<Value>| client.native("/v1/inventory", &Value::from(some).to_string());
    put((0..10).map(profile).collect())?;
    for first in (0..objects).step_by(OF_A_CALL) {
        let until = objects.min(first + OF_A_CALL);
        put((first..until).map(certificate).collect())?;
    }
    Ok(())
}

struct Scanned {
    seconds: f64,
    /// The most resident memory meanwhile, in megabytes.
    memory: f64,
    selected: u64,
}

/// One tick by hand.
fn scan(server: &Server, what: &str, tick: i64, done: &AtomicBool) -> Result<Scanned> {
    let body = json!({"At": moment::format(tick)}).to_string();
    let path = format!("/v1/monitors/{}/ticks", monitor_name(what));
    let began = instant();
    let mut memory = server.resident_mb()?;
    let answer = std::thread::scope(|scope| -> Result<Value> {
        let ticking = scope.spawn(|| {
            let client = Client::connect(server.api);
            let answer = client.and_then(|mut client| client.native(&path, &body));
            done.store(true, Ordering::Relaxed);
            answer
        });
        while !ticking.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
            memory = memory.max(server.resident_mb()?);
        }
        ticking.join().expect("a caller does not panic")
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let selected = answer["selected"].as_u64().context("no count of objects")?;
    Ok(Scanned {
        seconds,
        memory,
        selected,
    })
}
