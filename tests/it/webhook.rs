//! Promises about calls, kept with the plainest channel: what the receiver gets, and what follows from each answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use plugin_api::conformance::{Behaviour, HttpDouble, Reply, Seen};
use recado::clock::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Gate, Shop, TestApp, hello};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

async fn shop_with(app: &TestApp, url: &str) -> Shop {
    let shop = Shop::bare(app, "Salón Uno").await;
    shop.set("webhook", json!({"provider": "webhook", "settings": {"url": url, "secret": SECRET}})).await;
    shop
}

fn note(changes: Value) -> Value {
    let mut body = hello();
    body["channel"] = json!("webhook");
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    body
}

fn id_of(body: &str) -> Option<String> {
    serde_json::from_str::<Value>(body).ok()?["id"].as_str().map(str::to_owned)
}

fn posts(sink: &HttpDouble) -> Vec<Seen> {
    sink.seen().into_iter().filter(|s| s.method == "POST").collect()
}

fn due(found: &Value) -> Timestamp {
    Timestamp::parse(found["dueAt"].as_str().unwrap_or_else(|| panic!("nothing is due: {found}"))).unwrap()
}

fn outcomes(found: &Value) -> Vec<&str> {
    found["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect()
}

on_each_store!(the_receiver_gets_every_part_signed, async |app: TestApp| {
    let sink = HttpDouble::start().await;
    let shop = shop_with(&app, &sink.url("/in")).await;
    let id = shop
        .send(&json!({
            "type": "promo", "channel": "webhook", "category": "marketing",
            "to": {"phone": "33 1234 5678", "name": "Ana López", "email": "ana@x.example", "externalId": "p-7"},
            "content": {"subject": "Asunto", "text": "Texto", "html": "<p>Texto</p>"},
            "actions": [{"title": "Sí", "value": "yes"}], "data": {"any": [1, {"thing": "ñ"}]},
        }))
        .await;
    app.deliver_due().await;
    let seen = posts(&sink).remove(0);
    let wanted = json!({
        "id": id, "type": "promo", "channel": "webhook",
        "recipient": {"contactId": null, "externalId": "p-7", "name": "Ana López", "phone": "+523312345678", "email": "ana@x.example"},
        "subject": "Asunto", "text": "Texto", "html": "<p>Texto</p>", "actions": [{"title": "Sí", "value": "yes"}],
        "data": {"any": [1, {"thing": "ñ"}]}, "attempt": 1,
    });
    assert_eq!(seen.json(), wanted);
    assert_eq!(seen.header("webhook-id"), Some(id.as_str()));
    let timestamp = seen.header("webhook-timestamp").unwrap();
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&seen.body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(seen.header("webhook-signature"), Some(signature.as_str()));
});

on_each_store!(f14_what_was_stored_and_then_answered_500_is_unknown_until_the_retry_is_taken, async |app: TestApp| {
    let stored: Arc<Mutex<Vec<String>>> = Arc::default();
    let sink = HttpDouble::with(|seen| seen.method == "POST", {
        let stored = Arc::clone(&stored);
        move |_, seen| {
            let mut stored = stored.lock().unwrap();
            stored.push(seen.header("webhook-id").unwrap().to_owned());
            // Whatever comes of it, the first one is kept.
            Some(Reply::new([500, 502, 504, 200][stored.len().min(4) - 1], "{}"))
        }
    })
    .await;
    let shop = shop_with(&app, &sink.url("/in")).await;
    let id = shop.send(&note(json!({"category": "marketing"}))).await;
    for attempts in 1..=3 {
        app.deliver_due().await;
        let found = shop.find(&id).await;
        assert_eq!((&found["status"], outcomes(&found).len()), (&json!("unknown"), attempts), "{found}");
        assert!(outcomes(&found).iter().all(|o| *o == "unknown"));
        app.clock.advance_to(due(&found));
    }
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!(
        (&found["status"], outcomes(&found)),
        (&json!("sent"), vec!["unknown", "unknown", "unknown", "accepted"])
    );
    assert_eq!(*stored.lock().unwrap(), vec![id; 4], "every attempt carries the same webhook-id");
    let numbers: Vec<Value> = posts(&sink).iter().map(|s| s.json()["attempt"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
});

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_means_what_it_means() {
    let app = TestApp::sqlite().await;
    let sink = HttpDouble::start().await;
    let shop = shop_with(&app, &sink.url("/in")).await;
    for (behaviour, status, outcome, reason) in [
        (Behaviour::Accept, "sent", "accepted", None),
        (Behaviour::Rubbish, "sent", "accepted", None),
        (Behaviour::CutBody, "sent", "accepted", None),
        (Behaviour::Refuse, "failed", "rejected", Some("refused")),
        (Behaviour::Redirect(301), "failed", "rejected", Some("redirect_not_followed")),
        (Behaviour::Redirect(308), "failed", "rejected", Some("redirect_not_followed")),
        (Behaviour::CutHead, "unknown", "unknown", None),
        (Behaviour::Silence, "unknown", "unknown", None),
        (Behaviour::ServerError(500), "unknown", "unknown", Some("provider_error")),
        (Behaviour::Throttle(None), "queued", "throttled", Some("rate_limited")),
    ] {
        let before = sink.calls();
        sink.behave(behaviour);
        let id = shop.send(&note(json!({}))).await;
        app.deliver_due().await;
        let found = shop.find(&id).await;
        assert_eq!(found["status"], status, "{behaviour:?}: {found}");
        assert_eq!(outcomes(&found), [outcome], "{behaviour:?}: {found}");
        if let Some(reason) = reason {
            assert_eq!(found["attempts"][0]["error"]["reason"], reason, "{behaviour:?}");
        }
        assert_eq!(sink.calls() - before, 1, "{behaviour:?}: one attempt is one call");
        // Settle it, so that it does not come back among the next ones.
        sink.behave(Behaviour::Accept);
        app.advance(HOUR).await;
        app.advance(HOUR).await;
        assert!(found["status"] == "failed" || shop.status(&id).await == "sent", "{behaviour:?}");
    }
}

on_each_store!(f12_what_was_not_sent_is_sent_later_and_once, async |app: TestApp| {
    // A port that nobody listens on, until somebody does.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shop = shop_with(&app, &format!("http://{free}/in")).await;
    let id = shop.send(&note(json!({}))).await;
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], outcomes(&found)), (&json!("queued"), vec!["not_sent"]));
    let sink = HttpDouble::start().await;
    shop.set("webhook", json!({"provider": "webhook", "settings": {"url": sink.url("/in"), "secret": SECRET}})).await;
    app.advance(HOUR).await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], outcomes(&found)), (&json!("sent"), vec!["not_sent", "accepted"]));
    assert_eq!(sink.calls(), 1);
});

on_each_store!(f15_the_next_call_is_not_earlier_than_the_provider_asked_for, async |app: TestApp| {
    let header: Arc<Mutex<Option<String>>> = Arc::default();
    let sink = HttpDouble::with(|seen| seen.method == "POST", {
        let header = Arc::clone(&header);
        move |behaviour, _| match behaviour {
            Behaviour::Throttle(_) => {
                let reply = Reply::new(429, "{}");
                Some(header.lock().unwrap().iter().fold(reply, |reply, value| reply.header("retry-after", value)))
            }
            _ => None,
        }
    })
    .await;
    let shop = shop_with(&app, &sink.url("/in")).await;
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(10));
    let day = 24 * HOUR;
    for (value, floor) in [
        (Some("120"), 120 * SECOND),
        // A date counts whole seconds, and the test takes a moment.
        (Some(date.as_str()), 500 * SECOND),
        (Some("86400"), day),
        (Some("1000000000"), day),
        (Some("0"), Duration::ZERO),
        (Some("-5"), Duration::ZERO),
        (Some("1e9"), Duration::ZERO),
        (Some("soon"), Duration::ZERO),
        (None, Duration::ZERO),
    ] {
        for category in ["transactional", "marketing"] {
            *header.lock().unwrap() = value.map(str::to_owned);
            sink.behave(Behaviour::Throttle(None));
            let before = sink.calls();
            let id = shop.send(&note(json!({"category": category}))).await;
            app.deliver_due().await;
            let found = shop.find(&id).await;
            assert_eq!((&found["status"], outcomes(&found)), (&json!("queued"), vec!["throttled"]), "{value:?}");
            let wait = due(&found).since(app.now());
            assert!(wait >= floor && wait <= day && wait >= SECOND / 2, "{value:?}: {wait:?}");
            sink.behave(Behaviour::Accept);
            app.advance(wait.saturating_sub(Duration::from_millis(1))).await;
            assert_eq!(sink.calls() - before, 1, "{value:?}: not a moment earlier");
            app.advance(Duration::from_millis(1)).await;
            // A provider that asked for patience is probed by one call at a time, at most a minute later.
            app.advance(60 * SECOND).await;
            assert_eq!((shop.status(&id).await.as_str(), sink.calls() - before), ("sent", 2), "{value:?}");
        }
    }
});

on_each_store!(p20_attempts_come_to_an_end, async |app: TestApp| {
    let sink = HttpDouble::start().await;
    let shop = shop_with(&app, &sink.url("/in")).await;
    sink.behave(Behaviour::Throttle(None));
    for (category, most) in [("transactional", 8), ("marketing", 4)] {
        let before = sink.calls();
        let id = shop.send(&note(json!({"category": category}))).await;
        for _ in 0..=most {
            app.advance(HOUR).await;
        }
        let found = shop.find(&id).await;
        assert_eq!((&found["status"], &found["reason"]), (&json!("failed"), &json!("attempts_exhausted")), "{found}");
        assert_eq!((sink.calls() - before, outcomes(&found).len()), (most, most));
    }
});

/// As many calls at once as a provider's circuit can be told from.
const FOUR_AT_ONCE: &[(&str, &str)] = &[("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "4")];

on_each_store!(p21_a_provider_that_is_down_is_probed_and_not_stormed, FOUR_AT_ONCE, async |app: TestApp| {
    let sink = HttpDouble::start().await;
    let shop = shop_with(&app, &sink.url("/in")).await;
    sink.behave(Behaviour::Throttle(None));
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(shop.send(&note(json!({}))).await);
    }
    app.deliver_due().await;
    let first = sink.calls();
    assert!((5..=8).contains(&first), "{first} calls: the fifth failure ends it, and three more were under way");
    for second in 1..=600 {
        let before = sink.calls();
        app.advance(SECOND).await;
        assert!(sink.calls() - before <= 1, "second {second}: more than one probe at a time");
    }
    // Probes come every 8 s at first, growing to a minute.
    let probes = sink.calls() - first;
    assert!((7..=40).contains(&probes), "{probes} calls in ten minutes");
    sink.behave(Behaviour::Accept);
    for _ in 0..60 {
        app.advance(60 * SECOND).await;
    }
    for id in ids {
        assert_eq!(shop.status(&id).await, "sent");
    }
    assert_eq!(sink.taken(), 50);
});

const ONE_AT_A_TIME: &[(&str, &str)] = &[("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "1")];

on_each_store!(p21_five_failures_in_a_row_open_the_circuit, ONE_AT_A_TIME, async |app: TestApp| {
    let sink = HttpDouble::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let moment = Duration::from_millis(1);
    for (url, failure) in [(sink.url("/in"), "throttled"), (format!("http://{nobody}/in"), "not_sent")] {
        sink.behave(Behaviour::Throttle(None));
        // A circuit of its own.
        let shop = shop_with(&app, &url).await;
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(shop.send(&note(json!({}))).await);
        }
        let failures = async || {
            let mut count = 0;
            for id in &ids {
                let found = shop.find(id).await;
                assert!(outcomes(&found).iter().all(|o| *o == failure), "{found}");
                count += outcomes(&found).len();
            }
            count
        };
        app.deliver_due().await;
        assert_eq!(failures().await, 5, "{failure}");
        // The first pause is 8 s and a quarter more or less, the next one twice that.
        app.advance((6 * SECOND).saturating_sub(moment)).await;
        assert_eq!(failures().await, 5, "{failure}: a probe before its time");
        app.advance(4 * SECOND + moment).await;
        assert_eq!(failures().await, 6, "{failure}: one probe");
        app.advance((12 * SECOND).saturating_sub(moment)).await;
        assert_eq!(failures().await, 6, "{failure}: a probe before its time");
        app.advance(8 * SECOND + moment).await;
        assert_eq!(failures().await, 7, "{failure}: one probe");
        sink.behave(Behaviour::Accept);
        let settings = json!({"url": sink.url("/in"), "secret": SECRET});
        shop.set("webhook", json!({"provider": "webhook", "settings": settings})).await;
        let before = sink.taken();
        app.advance(40 * SECOND).await;
        assert!(sink.taken() - before > 1, "{failure}: the probe that is taken closes the circuit");
        app.advance(HOUR).await;
        for id in &ids {
            assert_eq!(shop.status(id).await, "sent", "{failure}");
        }
        assert_eq!(sink.taken() - before, 20, "{failure}");
    }
});

const PATIENT: &[(&str, &str)] =
    &[("RECADO_DELIVERY__CALL_TIMEOUT", "20s"), ("RECADO_CHANNELS__WEBHOOK__MAX_CONCURRENCY", "3")];

on_each_store!(p9_one_address_never_has_two_calls_at_once, PATIENT, async |app: TestApp| {
    // The first request of every call looks the phone up; it is refused, which ends the call.
    let gate = Gate::start(422, |body| {
        ["+523312345678", "+523312345671", "+523312345672"].into_iter().find(|p| body.contains(p)).map(str::to_owned)
    })
    .await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    let settings = json!({"baseUrl": gate.url(""), "accountId": 1, "inboxId": 9, "apiAccessToken": "made-up-token"});
    shop.set("chatwoot", json!({"provider": "chatwoot", "settings": settings})).await;
    let mut body = hello();
    body["channel"] = json!("chatwoot");
    let mut ids = Vec::new();
    for phone in ["+523312345678", "+523312345678", "+523312345671", "+523312345678", "+523312345672", "+523312345678"]
    {
        body["to"]["phone"] = json!(phone);
        ids.push(shop.send(&body).await);
    }
    let delivering = tokio::spawn({
        let engine = Arc::clone(&app.app.engine);
        async move { engine.run_until_idle().await }
    });
    // Three people at once, but none of them twice.
    gate.holds(3).await;
    gate.open();
    delivering.await.unwrap();
    app.deliver_due().await;
    for (phone, total) in [("+523312345678", 4), ("+523312345671", 1), ("+523312345672", 1)] {
        let calls = gate.calls(phone);
        assert!(calls.most_at_once == 1 && calls.total >= total, "{phone}: {calls:?}");
    }
    for id in ids {
        assert!(["failed", "queued"].contains(&shop.status(&id).await.as_str()));
    }
});

on_each_store!(p10_after_a_cancel_that_was_granted_no_call_starts, PATIENT, async |app: TestApp| {
    let gate = Gate::start(200, id_of).await;
    let shop = shop_with(&app, &gate.url("/in")).await;
    for round in 0..6 {
        let mut ids = Vec::new();
        for _ in 0..12 {
            ids.push(shop.send(&note(json!({}))).await);
        }
        let delivering = tokio::spawn({
            let engine = Arc::clone(&app.app.engine);
            async move { engine.run_until_idle().await }
        });
        // At first the calls under way are known to be held; later everything races.
        if round < 2 {
            gate.holds(3).await;
        } else {
            gate.let_through(round);
        }
        let cancels =
            ids.iter().map(|id| shop.post(&format!("/v1/notifications/{id}/cancel"), &json!({})).into_future());
        let cancels = join_all(cancels).await;
        gate.let_through(12);
        delivering.await.unwrap();
        app.deliver_due().await;
        let mut granted = 0;
        for (id, cancel) in ids.iter().zip(cancels) {
            let calls = gate.calls(id).total;
            if cancel.status == 200 {
                granted += 1;
                assert_eq!((calls, shop.status(id).await.as_str()), (0, "cancelled"));
            } else {
                cancel.is_problem(409, "already-handed-over");
                assert_eq!((calls, shop.status(id).await.as_str()), (1, "sent"));
            }
        }
        if round < 2 {
            assert_eq!(granted, 9);
        }
        // What was let through in vain must not help the next round.
        while gate.held() > 0 {
            tokio::task::yield_now().await;
        }
        gate.close();
    }
});

on_each_store!(p8_a_late_owner_may_only_add_to_the_journal, PATIENT, async |app: TestApp| {
    let gate = Gate::start(200, id_of).await;
    let shop = shop_with(&app, &gate.url("/in")).await;
    let id = shop.send(&note(json!({}))).await;
    gate.holds(1).await;
    // This process hangs for longer than its leases; another takes over.
    app.clock.advance(2 * HOUR);
    let node = app.another_node().await;
    node.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!((&found["status"], outcomes(&found)), (&json!("unknown"), vec!["unknown"]), "{found}");
    assert_eq!(found["attempts"][0]["error"]["reason"], "interrupted");
    let retry_at = due(&found);
    gate.let_through(1);
    app.deliver_due().await;
    let found = shop.find(&id).await;
    assert_eq!(
        (&found["status"], due(&found)),
        (&json!("unknown"), retry_at),
        "the late result moves nothing: {found}"
    );
    assert_eq!(outcomes(&found), ["accepted"], "but the journal has it");
    app.may_leave_work();
});
