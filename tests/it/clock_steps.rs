//! F35, P26: somebody sets the clock of a machine with a SQLite store. What waits for its turn waits as long as before,
//! what was planned for a moment goes by the clock; nothing is lost, and nothing is sent twice.

use std::time::Duration;

use plugin_api::conformance::{Behaviour, HttpDouble};
use recado::status::Status;
use recado::store::callbacks::Report;
use recado::writer::{Events, Op, ReportOp};
use serde_json::{Value, json};

use crate::support::{Gate, Shop, TestApp, TestStore, hello};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
const STEPS: [i64; 6] = [HOUR, -HOUR, DAY, -DAY, YEAR, -YEAR];

async fn shop_with(app: &TestApp, url: &str) -> Shop {
    let shop = Shop::bare(app, "Salón Uno").await;
    let settings = json!({"url": url, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
    shop.set("webhook", json!({"provider": "webhook", "settings": settings})).await;
    shop
}

fn note(changes: Value) -> Value {
    let mut body = hello();
    body["channel"] = json!("webhook");
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body
}

fn outcomes(found: &Value) -> Vec<&str> {
    found["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect()
}

/// RFC 3339, so many minutes from now.
fn in_minutes(app: &TestApp, minutes: u64) -> Value {
    json!(app.now().plus(Duration::from_mins(minutes)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f35_what_is_under_way_and_what_waits_behind_it_is_called_once() {
    for by in STEPS {
        let one_by_one = [("RECADO_DELIVERY__CALL_TIMEOUT", "30s"), ("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "1")];
        let app = TestApp::with(TestStore::sqlite(), &one_by_one).await;
        let gate = Gate::start(200, |_| Some("all".into())).await;
        let shop = shop_with(&app, &gate.url("/in")).await;
        let to: Vec<Value> = (0..3).map(|n| json!({"externalId": format!("p-{n}")})).collect();
        let answer = shop.notify(&note(json!({"to": to}))).await;
        let ids = answer["notifications"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap().to_owned());
        let ids: Vec<String> = ids.collect();
        gate.holds(1).await;
        // Something that falls due makes the lane look into the store.
        let later = shop.send(&note(json!({"sendAt": in_minutes(&app, 30)}))).await;
        app.clock.set_by(by);
        for _ in 0..3 {
            app.app.engine.tick().await;
            app.app.engine.writer.flush().await;
        }
        assert_eq!(shop.status(&ids[0]).await, "sending", "by {by}");
        gate.open();
        app.deliver_due().await;
        for id in &ids {
            let found = shop.find(id).await;
            assert_eq!((&found["status"], outcomes(&found)), (&json!("sent"), vec!["accepted"]), "by {by}: {found}");
        }
        let calls = if shop.status(&later).await == "sent" { 4 } else { 3 };
        assert_eq!(gate.calls("all").total, calls, "by {by}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f35_a_retry_waits_as_long_as_it_would_have() {
    for by in STEPS {
        let app = TestApp::sqlite().await;
        let sink = HttpDouble::start().await;
        let shop = shop_with(&app, &sink.url("/in")).await;
        sink.behave(Behaviour::Throttle(Some(60)));
        // Marketing is given up after six hours of trying.
        let id = shop.send(&note(json!({"category": "marketing"}))).await;
        app.deliver_due().await;
        assert_eq!(sink.calls(), 1);
        app.advance(30 * SECOND).await;
        app.clock.set_by(by);
        app.advance(29 * SECOND).await;
        assert_eq!(sink.calls(), 1, "by {by}: not before its time");
        sink.behave(Behaviour::Throttle(None));
        app.advance(2 * SECOND).await;
        assert_eq!(sink.calls(), 2, "by {by}: {}", shop.find(&id).await);
        app.clock.set_by(-by);
        sink.behave(Behaviour::Accept);
        app.advance(20 * SECOND).await;
        let found = shop.find(&id).await;
        let wanted = vec!["throttled", "throttled", "accepted"];
        assert_eq!((&found["status"], outcomes(&found)), (&json!("sent"), wanted), "by {by}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f35_what_was_planned_for_a_moment_goes_by_the_clock() {
    for by in STEPS {
        let app = TestApp::sqlite().await;
        let shop = app.shop().await;
        let mut body = hello();
        body["sendAt"] = in_minutes(&app, 30);
        let id = shop.send(&body).await;
        app.clock.set_by(by);
        app.deliver_due().await;
        let (status, count) = match by {
            HOUR => ("sent", 1),
            // By the clock it comes too late, and says so.
            DAY | YEAR => ("expired", 0),
            _ => ("scheduled", 0),
        };
        assert_eq!((shop.status(&id).await.as_str(), shop.captured().await.len()), (status, count), "by {by}");
        if by < 0 {
            // Held back by no more than the step.
            app.advance(Duration::from_millis(by.unsigned_abs())).await;
            assert_eq!(shop.status(&id).await, "scheduled");
            app.advance(Duration::from_mins(30)).await;
            assert_eq!(shop.captured().await.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_came_early_is_kept_as_long_as_it_would_have_been() {
    let app = TestApp::sqlite().await;
    let shop = app.shop().await;
    let report = Report {
        tenant: shop.id.as_str().into(),
        account: "sms".into(),
        message_id: "not-known-yet".into(),
        reference: None,
        state: Status::Delivered,
        reason: None,
        detail: None,
        hint: None,
        happened_at: app.now(),
        received_at: app.now(),
    };
    let (reply, done) = tokio::sync::oneshot::channel();
    let events = Events { reports: vec![report], ..Events::default() };
    app.app.engine.writer.send(Op::Report(ReportOp { events, kept: false, reply })).await;
    done.await.unwrap().unwrap();
    let kept = async || {
        sqlx::query_scalar::<_, i64>("select count(*) from reports").fetch_one(&app.app.db.pool).await.unwrap()
    };
    app.clock.set_by(DAY);
    app.deliver_due().await;
    assert_eq!(kept().await, 1);
    app.advance(Duration::from_mins(61)).await;
    assert_eq!(kept().await, 0);
}
