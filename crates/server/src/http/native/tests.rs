//! The native API on a real bus: a server on free ports, events put through its core, and a webhook that
//! answers what the test says.

use super::*;
use crate::config::Config;
use crate::serve::Server;
use bus_core::core::{Answer, Control, Input};
use bus_core::document::{Origin, Queue, Rule, RuleState, Target, Webhook};
use bus_core::envelope::Envelope;
use bus_core::name::{BusName, QueueName, RuleName, TargetId};
use bus_core::record::{Event, Record, event_key};
use http_body_util::BodyExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[test]
fn a_path_is_decoded_or_not_understood() {
    assert_eq!(decode("a%2Fb%c3%a9").as_deref(), Some("a/bé"));
    assert_eq!(decode("a+b").as_deref(), Some("a+b"));
    assert_eq!(decode("%2"), None);
    assert_eq!(decode("%zz"), None);
    assert_eq!(decode("%ff"), None);
}

#[test]
fn a_page_of_another_origin_is_foreign() {
    let request = |origin: Option<&str>| {
        let mut headers = ::http::HeaderMap::new();
        headers.insert("host", "127.0.0.1:4101".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().unwrap());
        }
        Request {
            method: Method::POST,
            path: "/v1/dead-letters/redrive".into(),
            query: String::new(),
            headers,
            body: "{}".into(),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            id: uuid::Uuid::nil(),
        }
    };
    assert!(!is_foreign(&request(None)));
    assert!(!is_foreign(&request(Some("http://127.0.0.1:4101"))));
    assert!(is_foreign(&request(Some("http://evil.example"))));
    assert!(is_foreign(&request(Some("null"))));
    let mut form = request(None);
    assert!(check_json(&form).is_ok());
    form.headers
        .insert("content-type", "text/plain".parse().unwrap());
    assert!(check_json(&form).is_err());
    form.headers.insert(
        "content-type",
        "application/json; charset=utf-8".parse().unwrap(),
    );
    assert!(check_json(&form).is_ok());
}

#[test]
fn the_place_of_a_fault_is_a_byte_offset() {
    assert_eq!(offset(b"{\n  \"a\": x}", 2, 8), 9);
    assert_eq!(offset(b"{", 1, 1), 0);
    assert_eq!(offset(b"{", 9, 9), 1);
}

#[test]
fn a_bad_pattern_is_told_with_place_and_advice() {
    let error = Pattern::parse(r#"{"source":[{"prefx":"a"}]}"#).unwrap_err();
    let error = NativeError::from(&error);
    assert_eq!(error.code, "InvalidEventPatternException");
    assert!(error.at.is_some());
    assert_eq!(error.hint.as_deref(), Some("did you mean `prefix`?"));
}

// ---- on a real bus -------------------------------------------------------------------------------------

/// A server with a data directory of its own.
struct Running {
    server: Server,
    data: Arc<tempfile::TempDir>,
}

fn file_rule(name: &str, target: Target) -> Rule {
    Rule {
        name: RuleName::parse(name).unwrap(),
        bus: BusName::default_bus(),
        description: None,
        pattern: Some(r#"{"source":["demo"]}"#.into()),
        schedule: None,
        state: RuleState::Enabled,
        role_arn: None,
        origin: Origin::File("rules/a.json".into()),
        targets: BTreeMap::from([(target.id.clone(), target.into())]),
    }
}

impl Running {
    async fn start() -> Self {
        Self::start_with(
            "busbar-dead-letters",
            Arc::new(tempfile::tempdir().unwrap()),
        )
        .await
    }

    async fn start_with(default_dlq: &str, data: Arc<tempfile::TempDir>) -> Self {
        let config = Config {
            data: data.path().join("data"),
            rules: data.path().join("rules"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            operator_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            disk_reserve_bytes: 4 << 20,
            disk_free_bytes_min: 0,
            default_dlq: default_dlq.into(),
            // The fixtures are of one day.
            history_days: 0,
            ..Config::default()
        };
        Self {
            server: Server::start(config).await.unwrap(),
            data,
        }
    }

    async fn control(&self, control: Control) {
        let bus = &self.server.doors.bus;
        let answer = bus
            .ask(|request| Input::Control { request, control })
            .await
            .unwrap();
        let done = match &answer {
            Answer::Done => true,
            Answer::Targets(refused) => refused.is_empty(),
            _ => false,
        };
        assert!(done, "{answer:?}");
    }

    /// Makes `rule` for source `demo` with one target, as a rule file would.
    async fn rule(&self, rule: &str, target: Target) {
        let rules = vec![file_rule(rule, target)];
        self.control(Control::LoadFiles(rules, Vec::new())).await;
    }

    async fn webhook(&self, rule: &str, url: &str) {
        let home = &self.server.doors.bus.identity().home;
        let arn = home.webhook_arn("default", rule, "hook");
        let mut target = Target::new(TargetId::parse("hook").unwrap(), arn);
        target.webhook = Some(Webhook {
            url: url.into(),
            method: None,
            headers: BTreeMap::new(),
            secret: None,
        });
        self.rule(rule, target).await;
    }

    async fn put(&self, id: &str, detail: &str) -> u64 {
        let bus = &self.server.doors.bus;
        let envelope = Envelope {
            id,
            detail_type: "Test",
            source: "demo",
            account: "000000000000",
            time: "2026-01-01T00:00:00Z",
            region: "us-east-1",
            resources: &[],
            detail,
        }
        .to_json();
        let accepted_ms = bus.now().wall_ms;
        let (matched_running, routing) = bus.routing();
        let routed = routing.route("default", &envelope, bus.shapers(), accepted_ms);
        let record = Record::Event {
            deliveries: routed.unwrap().deliveries,
            event: Event {
                accepted_ms,
                id,
                bus: "default",
                trace: "",
                envelope: &envelope,
            },
        }
        .encode();
        let events = vec![(event_key(id), record)];
        let answer = bus.ask(move |request| Input::Put {
            request,
            events,
            idempotency: None,
            matched_running,
            ticks: Vec::new(),
        });
        match answer.await {
            Ok(Answer::Stored(first)) => first,
            other => panic!("{other:?}"),
        }
    }

    async fn call(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let response = self.ask(method, path, body).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&body);
        (
            status,
            value.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into())),
        )
    }

    async fn ask(&self, method: Method, path: &str, body: &str) -> Response {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method,
            path: path.into(),
            query: query.into(),
            headers: ::http::HeaderMap::new(),
            body: body.to_owned().into(),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            id: uuid::Uuid::nil(),
        };
        crate::http::operator::answer(&self.server.doors, request).await
    }

    /// Asks again until the answer is as wanted.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let (_, value) = self.call(Method::GET, path, "").await;
            if wanted(&value) {
                return value;
            }
            assert!(tokio::time::Instant::now() < deadline, "{value:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A webhook receiver: answers `statuses` in turn, the last one for ever.
async fn receiver(statuses: &'static [u16]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut head = Vec::new();
                let mut buffer = [0; 4096];
                // One request a connection; its body is small and comes with or right behind its head.
                while !head.ends_with(b"}") {
                    match stream.read(&mut buffer).await {
                        Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
                        _ => return,
                    }
                }
                let n = counted.fetch_add(1, Ordering::SeqCst);
                let status = statuses[n.min(statuses.len() - 1)];
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (url, count)
}

fn course(trail: &Value) -> &Value {
    &trail["occurrences"][0]["deliveries"][0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delivery_is_a_dead_letter_and_a_redrive_brings_it_home() {
    let running = Running::start().await;
    let (url, count) = receiver(&[400, 200]).await;
    running.webhook("to-hook", &url).await;
    running.put("e/1", r#"{"a": 1.50}"#).await;

    let trail = running
        .until("/v1/events/e%2F1", |t| {
            course(t)["state"] == "dead-lettered"
        })
        .await;
    assert_eq!(trail["event_id"], "e/1");
    let occurrence = &trail["occurrences"][0];
    assert_eq!(occurrence["rules"], json!(["to-hook"]));
    assert_eq!(
        occurrence["envelope"]["detail"].to_string(),
        r#"{"a":1.50}"#
    );
    let delivery = course(&trail);
    assert_eq!(delivery["kind"], "webhook");
    assert_eq!(delivery["target"], "hook");
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(delivery["attempts"][0]["number"], 1);
    assert_eq!(delivery["attempts"][0]["outcome"], "refused");
    assert_eq!(delivery["attempts"][0]["code"], "ERROR_FROM_TARGET");
    assert_eq!(delivery["attempts"][0]["status"], 400);
    assert_eq!(delivery["dead_letter"]["queue"], "busbar-dead-letters");

    let (status, list) = running.call(Method::GET, "/v1/dead-letters", "").await;
    assert_eq!(status, StatusCode::OK);
    let letter = &list["dead_letters"][0];
    assert_eq!(letter["message_id"], delivery["dead_letter"]["message_id"]);
    assert_eq!(letter["event_id"], "e/1");
    assert_eq!(letter["rule"], "to-hook");
    assert_eq!(letter["attempts"], 1);
    assert_eq!(letter["visible"], true);
    assert!(
        letter["body"]
            .as_str()
            .unwrap()
            .contains(r#""detail":{"a": 1.50}"#)
    );

    let (_, none) = running
        .call(
            Method::POST,
            "/v1/dead-letters/redrive",
            r#"{"Rule":"another"}"#,
        )
        .await;
    assert_eq!(none["redriven"], 0);
    let (_, redriven) = running
        .call(Method::POST, "/v1/dead-letters/redrive", "")
        .await;
    assert_eq!(
        redriven,
        json!({"redriven":1,"without_target":0,"without_event":0})
    );
    let trail = running
        .until("/v1/events/e%2F1", |t| course(t)["state"] == "delivered")
        .await;
    let told: Vec<&str> = course(&trail)["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["refused", "redriven", "delivered"]);
    assert_eq!(course(&trail)["dead_letter"]["redriven"], true);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let (_, list) = running.call(Method::GET, "/v1/dead-letters", "").await;
    assert_eq!(list, json!({"dead_letters":[]}));
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_delivery_is_tried_again_and_the_trail_tells_each_attempt() {
    let running = Running::start().await;
    let (url, _) = receiver(&[503, 200]).await;
    running.webhook("to-hook", &url).await;
    running.put("e1", "{}").await;
    let trail = running
        .until("/v1/events/e1", |t| course(t)["state"] == "delivered")
        .await;
    let attempts = course(&trail)["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["outcome"], "deferred");
    assert_eq!(attempts[0]["status"], 503);
    assert!(attempts[0]["next_try"].is_string());
    assert_eq!(attempts[1]["number"], 2);
    assert_eq!(attempts[1]["outcome"], "delivered");

    let (_, status) = running.call(Method::GET, "/v1/status", "").await;
    let target = &status["targets"][0];
    assert_eq!(target["delivered"], 1);
    assert_eq!(target["pending"], 0);
    assert_eq!(target["last_error"]["status"], 503);
    assert_eq!(status["server"]["starts"], 1);
    let (_, metrics) = running.call(Method::GET, "/metrics", "").await;
    let line =
        "busbar_deliveries_delivered_total{bus=\"default\",rule=\"to-hook\",target=\"hook\"} 1";
    assert!(metrics.as_str().unwrap().contains(line));
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_occurs_twice_has_two_trails_in_order() {
    let running = Running::start().await;
    let queue = QueueName::parse("orders").unwrap();
    running
        .control(Control::CreateQueue(Queue::new(queue, 0)))
        .await;
    let home = &running.server.doors.bus.identity().home;
    let arn = home.queue_arn("orders");
    running
        .rule("to-queue", Target::new(TargetId::parse("q").unwrap(), arn))
        .await;
    let first = running.put("same", r#"{"n":1}"#).await;
    running.put("other", r#"{"n":2}"#).await;
    let second = running.put("same", r#"{"n":3}"#).await;
    let (_, trail) = running.call(Method::GET, "/v1/events/same", "").await;
    let occurrences = trail["occurrences"].as_array().unwrap();
    assert_eq!(occurrences.len(), 2);
    assert_eq!(occurrences[0]["position"], format!("0-{first}"));
    assert_eq!(occurrences[1]["position"], format!("0-{second}"));
    let delivery = &occurrences[1]["deliveries"][0];
    assert_eq!(delivery["state"], "in queue");
    assert_eq!(delivery["queue"], "orders");
    assert!(delivery["message_id"].is_string());
    let (_, status) = running.call(Method::GET, "/v1/status", "").await;
    assert_eq!(status["queues"][0]["visible"], 3);
    assert_eq!(status["targets"][0]["delivered"], 3);

    running
        .control(Control::PurgeQueue(QueueName::parse("orders").unwrap()))
        .await;
    let (_, trail) = running.call(Method::GET, "/v1/events/same", "").await;
    assert_eq!(course(&trail)["state"], "delivered");

    let (status, error) = running.call(Method::GET, "/v1/events/unknown", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(error["error"]["hint"].is_string());
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_delivery_whose_target_is_gone_keeps_its_story() {
    let running = Running::start().await;
    let home = &running.server.doors.bus.identity().home;
    let arn = home.log_arn("audit");
    running
        .rule("to-log", Target::new(TargetId::parse("l").unwrap(), arn))
        .await;
    running.put("e1", "{}").await;
    let trail = running
        .until("/v1/events/e1", |t| course(t)["state"] == "delivered")
        .await;
    assert_eq!(course(&trail)["kind"], "log");
    running
        .control(Control::LoadFiles(Vec::new(), Vec::new()))
        .await;
    let (_, trail) = running.call(Method::GET, "/v1/events/e1", "").await;
    assert_eq!(course(&trail)["state"], "delivered");
    let (_, status) = running.call(Method::GET, "/v1/status", "").await;
    assert_eq!(status["targets"][0]["retired"], true);
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_what_is_put_after_it_began_and_matches() {
    let running = Running::start().await;
    running.put("before", r#"{"n":1}"#).await;
    let pattern: String =
        url::form_urlencoded::byte_serialize(br#"{"detail":{"n":[2]}}"#).collect();
    let path = format!("/v1/buses/default/tail?pattern={pattern}");
    let response = running.ask(Method::GET, &path, "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(running.server.doors.metrics.tails.get(), 1);
    running.put("no", r#"{"n":1}"#).await;
    running.put("yes", r#"{"n":2}"#).await;
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains("yes") {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    let data: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .collect();
    assert_eq!(data.len(), 1);
    let event: Value = serde_json::from_str(data[0]).unwrap();
    assert_eq!(event["envelope"]["id"], "yes");
    assert_eq!(event["rules"], json!([]));
    drop(body);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while running.server.doors.metrics.tails.get() > 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let (status, error) = running
        .call(
            Method::GET,
            "/v1/buses/default/tail?pattern=%7B%22a%22%3A1%7D",
            "",
        )
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["error"]["code"], "InvalidEventPatternException");
    assert_eq!(error["error"]["at"], 5);
    let (status, _) = running.call(Method::GET, "/v1/buses/none/tail", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused() {
    let running = Running::start().await;
    for (method, path, body, status, code) in [
        (
            Method::GET,
            "/v1/nothing",
            "",
            404,
            "UnknownOperationException",
        ),
        (
            Method::GET,
            "/v1/events/",
            "",
            404,
            "UnknownOperationException",
        ),
        (Method::GET, "/other", "", 404, "UnknownOperationException"),
        (Method::POST, "/v1/status", "", 405, "MethodNotAllowed"),
        (
            Method::GET,
            "/v1/dead-letters/redrive",
            "",
            405,
            "MethodNotAllowed",
        ),
        (
            Method::GET,
            "/v1/status?x=1",
            "",
            400,
            "ValidationException",
        ),
        (
            Method::GET,
            "/v1/dead-letters?limit=0",
            "",
            400,
            "ValidationException",
        ),
        (
            Method::GET,
            "/v1/dead-letters?limit=5&limit=6",
            "",
            400,
            "ValidationException",
        ),
        (
            Method::GET,
            "/v1/dead-letters?cursor=x",
            "",
            400,
            "ValidationException",
        ),
        (
            Method::GET,
            "/v1/dead-letters?queue=none",
            "",
            404,
            "ResourceNotFoundException",
        ),
        (
            Method::POST,
            "/v1/dead-letters/redrive",
            r#"{"rule":"x"}"#,
            400,
            "ValidationException",
        ),
        (
            Method::POST,
            "/v1/dead-letters/redrive",
            r#"{"Max":0}"#,
            400,
            "ValidationException",
        ),
        (
            Method::POST,
            "/v1/dead-letters/redrive",
            "nonsense",
            400,
            "ValidationException",
        ),
        (Method::DELETE, "/metrics", "", 405, "MethodNotAllowed"),
    ] {
        let (answered, error) = running.call(method.clone(), path, body).await;
        assert_eq!(answered.as_u16(), status, "{method} {path}: {error}");
        assert_eq!(error["error"]["code"], code, "{method} {path}");
        assert!(error["error"]["request_id"].is_string());
    }
    for (path, begins) in [("/", "busbar"), ("/healthz", "ok"), ("/readyz", "ready")] {
        let (status, text) = running.call(Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.as_str().unwrap().starts_with(begins));
    }
    running
        .server
        .doors
        .files
        .store(Arc::new(crate::rule_files::Status {
            fault: Some("rules/a.json:3: what".into()),
            ..Default::default()
        }));
    let (status, text) = running.call(Method::GET, "/readyz", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.as_str().unwrap().contains("rules/a.json:3"));
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_takes_what_is_asked_for_and_each_letter_once() {
    let running = Running::start().await;
    let (url, count) = receiver(&[400]).await;
    running.webhook("to-hook", &url).await;
    for id in ["a", "b", "c"] {
        running.put(id, "{}").await;
    }
    let three = |list: &Value| list["dead_letters"].as_array().unwrap().len() == 3;
    let list = running.until("/v1/dead-letters", three).await;
    let ids: Vec<&str> = list["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["message_id"].as_str().unwrap())
        .collect();

    let (_, page) = running
        .call(Method::GET, "/v1/dead-letters?limit=2", "")
        .await;
    assert_eq!(page["dead_letters"].as_array().unwrap().len(), 2);
    let next = format!(
        "/v1/dead-letters?limit=2&cursor={}",
        page["cursor"].as_str().unwrap()
    );
    let (_, page) = running.call(Method::GET, &next, "").await;
    assert_eq!(page["dead_letters"][0]["message_id"], ids[2]);
    assert_eq!(page["cursor"], Value::Null);

    let redrive = "/v1/dead-letters/redrive";
    let one = json!({ "MessageIds": [ids[1]] }).to_string();
    let (_, redriven) = running.call(Method::POST, redrive, &one).await;
    assert_eq!(redriven["redriven"], 1);
    // It fails again and is a new letter: the old one is not there twice.
    let again = |list: &Value| three(list) && list["dead_letters"][2]["message_id"] != ids[2];
    let list = running.until("/v1/dead-letters", again).await;
    assert_eq!(list["dead_letters"][1]["message_id"], ids[2]);
    let event = format!(
        "/v1/events/{}",
        list["dead_letters"][2]["event_id"].as_str().unwrap()
    );
    let (_, trail) = running.call(Method::GET, &event, "").await;
    let course = course(&trail);
    assert_eq!(course["state"], "dead-lettered");
    assert_eq!(course["attempts"].as_array().unwrap().len(), 3);
    assert_eq!(
        course["dead_letter"]["message_id"],
        list["dead_letters"][2]["message_id"]
    );
    assert_eq!(course["dead_letter"]["redriven"], false);

    let (_, redriven) = running.call(Method::POST, redrive, r#"{"Max":2}"#).await;
    assert_eq!(redriven["redriven"], 2);
    running.until("/v1/dead-letters", three).await;
    assert_eq!(count.load(Ordering::SeqCst), 6);
    running
        .control(Control::LoadFiles(Vec::new(), Vec::new()))
        .await;
    let (_, redriven) = running
        .call(Method::POST, redrive, r#"{"Bus":"default"}"#)
        .await;
    assert_eq!(redriven["redriven"], 0);
    assert_eq!(redriven["without_target"], 3);
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_a_dead_letter_queue_is_seen_to_expire_also_after_a_restart() {
    let running = Running::start_with("", Arc::new(tempfile::tempdir().unwrap())).await;
    let (url, _) = receiver(&[400]).await;
    running.webhook("to-hook", &url).await;
    running.put("e1", "{}").await;
    let expired = |t: &Value| course(t)["state"] == "expired";
    let before = running.until("/v1/events/e1", expired).await;
    assert_eq!(course(&before)["attempts"][0]["outcome"], "refused");
    let (status, _) = running.call(Method::GET, "/v1/dead-letters", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let data = Arc::clone(&running.data);
    assert_eq!(running.server.stop().await, 0);

    let running = Running::start_with("", data).await;
    let (_, after) = running.call(Method::GET, "/v1/events/e1", "").await;
    assert_eq!(before, after);
    let (_, status) = running.call(Method::GET, "/v1/status", "").await;
    assert_eq!(status["targets"][0]["expired"], 1);
    assert_eq!(status["server"]["starts"], 2);
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_to_a_queue_that_is_not_there_is_a_dead_letter() {
    let running = Running::start().await;
    let home = &running.server.doors.bus.identity().home;
    let arn = home.queue_arn("nowhere");
    let target = Target::new(TargetId::parse("q").unwrap(), arn);
    running.rule("to-queue", target).await;
    running.put("e1", "{}").await;
    let dead = |t: &Value| course(t)["state"] == "dead-lettered";
    let trail = running.until("/v1/events/e1", dead).await;
    assert_eq!(course(&trail)["dead_letter"]["code"], "NO_RESOURCE");

    let queue = QueueName::parse("nowhere").unwrap();
    running
        .control(Control::CreateQueue(Queue::new(queue, 0)))
        .await;
    running
        .call(Method::POST, "/v1/dead-letters/redrive", "{}")
        .await;
    let there = |t: &Value| course(t)["state"] == "in queue";
    let trail = running.until("/v1/events/e1", there).await;
    assert_eq!(course(&trail)["queue"], "nowhere");
    let (_, list) = running
        .call(Method::GET, "/v1/dead-letters?queue=nowhere", "")
        .await;
    assert_eq!(list, json!({"dead_letters":[]}));
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_read_by_all_that_names_a_firing_and_page_by_page() {
    use crate::history::Row;
    use crate::history::tests::{firings, hand_over};
    let running = Running::start().await;
    let (status, none) = running.call(Method::GET, "/v1/history/firings", "").await;
    assert_eq!((status, none), (StatusCode::OK, json!({"firings": []})));
    let all = firings();
    let history = running.server.doors.bus.history().clone();
    for (position, firing) in (1_000..).zip(&all) {
        hand_over(&history, position, vec![Row::Firing(firing.clone())]);
    }
    let wanted = all
        .iter()
        .find(|it| it.objects.iter().any(|o| o.matched))
        .unwrap();
    let object = &wanted.objects[0];
    let path = format!("/v1/history/firings/{}", wanted.firing);
    let (_, whole) = running.call(Method::GET, &path, "").await;
    assert_eq!(whole["evaluated"], wanted.objects.len());
    assert_eq!(whole["objects"], json!(wanted.objects));
    let queries = [
        format!("event={}", wanted.event),
        format!("eventId={}", wanted.event_id),
        format!("object={}", object.object.replace('/', "%2F")),
        format!("trigger={}&status=finished", object.evaluations[0].trigger),
        format!("from={}&limit=1000", wanted.started_at),
    ];
    for query in queries {
        let path = format!("/v1/history/firings?{query}");
        let (_, list) = running.call(Method::GET, &path, "").await;
        let list = list["firings"].as_array().unwrap();
        assert!(list.contains(&whole), "{query}");
    }
    let mut seen = 0;
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/history/firings?limit=4{cursor}");
        let (_, page) = running.call(Method::GET, &path, "").await;
        seen += page["firings"].as_array().unwrap().len();
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all.len());
    for bad in [
        "limit=0",
        "limit=1001",
        "status=x",
        "from=x",
        "to=x",
        "cursor=x",
        "objekt=x",
    ] {
        let path = format!("/v1/history/firings?{bad}");
        let (status, error) = running.call(Method::GET, &path, "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
        assert_eq!(error["error"]["code"], "ValidationException", "{bad}");
    }
    let (status, error) = running
        .call(Method::GET, "/v1/history/firings/none", "")
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(error["error"]["hint"].is_string());
    let (status, _) = running.call(Method::POST, "/v1/history/firings", "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);

    let data = Arc::clone(&running.data);
    assert_eq!(running.server.stop().await, 0);
    let running = Running::start_with("", data).await;
    let (_, after) = running.call(Method::GET, &path, "").await;
    assert_eq!(after, whole);
    assert_eq!(running.server.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_the_webhook_that_its_file_says_now() {
    let running = Running::start().await;
    let (refusing, first) = receiver(&[503]).await;
    let (taking, second) = receiver(&[200]).await;
    let home = &running.server.doors.bus.identity().home;
    let arn = home.webhook_arn("default", "r", "t");
    let (home_of_arn, _) = arn.split_once(":webhook/").unwrap();
    let arn = format!("{home_of_arn}:api-destination/d");
    let target = |id: &str| Target::new(TargetId::parse(id).unwrap(), arn.clone());
    let to = |url: &str| {
        let mut kept = target("d");
        kept.webhook = Some(Webhook {
            url: url.into(),
            method: None,
            headers: BTreeMap::new(),
            secret: None,
        });
        let name = bus_core::document::destinations_rule();
        let mut kept = file_rule(name.as_str(), kept);
        kept.bus = BusName::internal();
        kept.pattern = None;
        vec![file_rule("r", target("t")), kept]
    };
    running
        .control(Control::LoadFiles(to(&refusing), Vec::new()))
        .await;
    running.put("e-1", "{}").await;
    let retried = |t: &Value| {
        course(t)["attempts"]
            .as_array()
            .is_some_and(|a| !a.is_empty())
    };
    running.until("/v1/events/e-1", retried).await;
    // What waits follows its file to another address.
    running
        .control(Control::LoadFiles(to(&taking), Vec::new()))
        .await;
    let done = |t: &Value| course(t)["state"] == "delivered";
    let trail = running.until("/v1/events/e-1", done).await;
    assert_eq!(course(&trail)["kind"], "destination");
    assert!(1 <= first.load(Ordering::SeqCst));
    assert_eq!(second.load(Ordering::SeqCst), 1);
}
