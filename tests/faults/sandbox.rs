//! What tenants write, at the running program: every bad template and script of B58 to B67, and every bound of the two
//! tables of the sandbox, tried over HTTP. After each row it is the same process, and a message goes out.

mod rows;

use reqwest::Method;
use rustix::process::Pid;
use serde_json::{Value, json};

use crate::support::hostile::{RECURSION, script};
use crate::support::{Answer, House, Server, Shop, Sink, TestStore, note, pager_with};

/// A request, and the answer it must get.
pub struct Try {
    method: Method,
    path: String,
    body: Value,
    expected: Expected,
}

enum Expected {
    Status(u16),
    /// 422 with this problem, and among its errors this code.
    Refused(&'static str, &'static str),
    /// 200 with this at this JSON pointer; null where there must be nothing.
    Shows(&'static str, Value),
    /// 200 of which this holds.
    Holds(fn(&Value) -> bool),
}

impl Try {
    async fn ask(&self, shop: &Shop) -> Answer {
        let body = Some(&self.body).filter(|body| !body.is_null());
        let asked = match &self.body {
            Value::String(lines) => shop.api.import(&self.path, lines).await,
            _ => shop.api.try_call(self.method.clone(), &self.path, &[], body).await,
        };
        asked.unwrap_or_else(|e| panic!("{} {}: {e:?}", self.method, self.path))
    }

    async fn holds(&self, shop: &Shop) -> Result<(), String> {
        let Answer { status, body, .. } = self.ask(shop).await;
        let fits = match &self.expected {
            Expected::Status(wanted) => status == *wanted,
            Expected::Refused(slug, code) => {
                let errors = body["errors"].as_array();
                status == 422
                    && body["type"] == format!("/problems/{slug}")
                    && errors.is_some_and(|errors| errors.iter().any(|e| e["code"] == *code))
            }
            Expected::Shows(pointer, wanted) => {
                status == 200 && body.pointer(pointer).unwrap_or(&Value::Null) == wanted
            }
            Expected::Holds(so) => status == 200 && so(&body),
        };
        let shortened = |value: &Value| value.to_string().chars().take(400).collect::<String>();
        if fits { Ok(()) } else { Err(format!("{} got {status} {}", shortened(&self.body), shortened(&body))) }
    }
}

/// The process that must stay, and a tenant who has nothing to do with it all.
pub struct Watch {
    pub server: Server,
    pid: Pid,
    bystander: Shop,
    sink: Sink,
}

impl Watch {
    pub async fn begin(house: &House) -> Self {
        let sink = Sink::start().await;
        let server = house.start().await;
        let bystander = Shop::open(&server, &sink.url()).await;
        let pid = server.pid();
        Self { server, pid, bystander, sink }
    }

    /// One more.
    pub async fn shop(&self) -> Shop {
        Shop::open(&self.server, &self.sink.url()).await
    }

    /// It is the same process, and the next real message goes out.
    pub async fn still_works(&mut self, row: &str) {
        assert!(!self.server.has_ended() && self.server.pid() == self.pid, "after {row} the process is another");
        self.bystander.api.get("/healthz").await.expect(200);
        let wait = [("prefer", "wait=30")];
        let sent = self.bystander.api.try_call(Method::POST, "/v1/notify", &wait, Some(&note(row))).await;
        let sent = sent.unwrap_or_else(|e| panic!("after {row}: {e:?}"));
        assert_eq!((sent.status, &sent.body["notifications"][0]["status"]), (200, &json!("sent")), "after {row}");
        assert_eq!(self.sink.taken(&sent.id()), 1, "after {row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b58_to_b67_and_every_bound_leave_the_process_as_it_was() {
    let house = House::new(TestStore::sqlite(), &[]);
    let mut watch = Watch::begin(&house).await;
    let (mut wrong, before) = (Vec::new(), watch.server.largest_memory());
    let mut tries = 0;
    for (row, all) in rows::templates().into_iter().chain(rows::scripts()) {
        // Each on words of its own; what an earlier row wrote is another tenant's.
        let shop = Shop::open(&watch.server, &watch.sink.url()).await;
        for one in &all {
            if let Err(why) = one.holds(&shop).await {
                wrong.push(format!("{row}: {why}"));
            }
        }
        tries += all.len();
        watch.still_works(row).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after = watch.server.largest_memory();
    eprintln!("{tries} tries; resident memory was {} MiB at most, {} MiB before", after >> 20, before >> 20);
    // A script may hold a quarter of a gigabyte for a moment; whatever came before it is given back.
    assert!(after < before + (384 << 20), "{} MiB more at most", (after - before) >> 20);
    watch.server.stop().await;
}

/// The same where nobody is told at once: what runs into a bound when it is used fails alone, and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b66_what_runs_into_a_bound_when_a_message_is_sent_fails_alone() {
    let house = House::new(TestStore::sqlite(), &[]);
    let mut watch = Watch::begin(&house).await;
    let shop = Shop::open(&watch.server, &watch.sink.url()).await;
    let put = async |path: &str, body: &Value| {
        let answer = shop.api.put(path, body).await;
        assert!(matches!(answer.status, 200 | 201), "{path}: {}", answer.body);
    };
    put("/v1/templates/loops", &json!({"parts": {"text": "{{#each a}}{{#each ../a}}.{{/each}}{{/each}}"}})).await;
    put("/v1/templates/large", &json!({"parts": {"text": "{{#each a}}{{../b}}{{/each}}"}})).await;
    put("/v1/templates/subject", &json!({"parts": {"text": "x", "email.subject": "{{a}}"}})).await;
    let wild = "fn request(message, settings) { if message.text == \"loop\" { loop {} } \
        if message.text == \"recurse\" { return request(message, settings); } \
        if message.text == \"grow\" { let s = message.text; loop { s += s; } }";
    put("/v1/plugins/pager", &pager_with("pager", "fn request(message, settings) {", wild)).await;
    let settings = json!({"url": watch.sink.url(), "token": "token-0123456789"});
    put("/v1/channels/pager", &json!({"provider": "pager", "settings": settings})).await;
    let by = |channel: &str, kind: &str, data: Value| json!({"type": kind, "channel": channel, "to": {"phone": "33 1234 5678"}, "data": data});
    let page =
        |text: &str| json!({"type": "note", "channel": "pager", "to": {"phone": "33 1234 5678"}, "message": text});
    for (body, reason) in [
        (by("webhook", "loops", json!({"a": vec![1; 500]})), "template_limit"),
        (by("webhook", "large", json!({"a": vec![1; 100], "b": "x".repeat(9000)})), "template_limit"),
        (by("webhook", "subject", json!({"a": "one\ntwo"})), "control_characters"),
        (page("loop"), "script_limit"),
        (page("recurse"), "script_limit"),
        (page("grow"), "script_limit"),
    ] {
        let sent = shop.api.try_call(Method::POST, "/v1/notify", &[("prefer", "wait=30")], Some(&body)).await.unwrap();
        let item = &sent.body["notifications"][0];
        assert_eq!((&item["status"], &item["reason"]), (&json!("failed"), &json!(reason)), "{}", sent.body);
        watch.still_works(reason).await;
    }
    let plain = json!({"type": "note", "to": {"phone": "33 1234 5678"}, "message": "Hola"});
    for source in [
        "fn route(notification, contact, channels, now) { loop {} }".to_owned(),
        format!("{RECURSION} fn route(notification, contact, channels, now) {{ deeper(0) }}"),
    ] {
        put("/v1/scripts/route", &script("route", &source)).await;
        let sent = shop.api.try_call(Method::POST, "/v1/notify", &[("prefer", "wait=30")], Some(&plain)).await.unwrap();
        assert_eq!(sent.body["notifications"][0]["status"], "sent", "{}", sent.body);
        let found = shop.api.find(&sent.id()).await;
        assert!(found["timeline"].to_string().contains("the plain order was taken"), "{found}");
        watch.still_works("a route").await;
    }
    // A segment that never ends ends for everybody, and for the next run as well.
    let people: Vec<_> = (0..1200).map(|n| json!({"externalId": n.to_string()}).to_string()).collect();
    let taken = shop.api.import("/v1/contacts/import", &people.join("\n")).await.unwrap();
    assert_eq!(taken.expect(200)["created"], 1200);
    put("/v1/scripts/endless", &crate::support::hostile::segment("loop {}")).await;
    for _ in 0..2 {
        let counted = shop.api.get("/v1/segments/endless/count").await.expect(200);
        assert_eq!((&counted["count"], &counted["failed"]), (&json!(0), &json!(1200)));
        watch.still_works("a segment").await;
    }
    watch.server.stop().await;
}
