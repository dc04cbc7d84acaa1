//! F2, F3, F4: the process dies at a chosen point of the work on a notification.

use std::time::Duration;

use chrono::{DateTime, Utc};
use plugin_chatwoot::double::{ACCOUNT, Double, Inbox, TOKEN};
use serde_json::{Value, json};

use crate::support::{House, MailSink, Shop, Sink, drained, eventually, note, number, time_passes};

const SECOND: Duration = Duration::from_secs(1);

fn outcomes(found: &Value) -> Vec<&str> {
    found["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap_or("open")).collect()
}

/// Half of the shops hold what is unknown. Each has as many notifications as its budget for retries lets through.
const SHOPS: usize = 50;
const EACH: usize = 10;
/// Longer than a call may last in the test of webhooks.
const WEBHOOK_CALL: Duration = Duration::from_mins(2);

/// Waits until no attempt is open any more.
async fn judged(house: &House) {
    let open = "select count(*) from notifications where status = 'sending'";
    eventually("every open attempt is judged", 60 * SECOND, || async { number(&house.store.url, open).await == 0 })
        .await;
}

on_each_store!(
    f2_what_was_taken_before_a_crash_is_unknown_and_repeated_only_where_it_may_be,
    async |store: TestStore| {
        let sink = Sink::start().await;
        let house = House::new(store, &[("RECADO_DELIVERY__CALL_TIMEOUT", "60s"), ("RECADO_DELIVERY__LEASE", "61s")]);
        let server = house.start().await;
        let mut shops = Vec::new();
        for n in 0..SHOPS {
            let shop = Shop::open(&server, &sink.url()).await;
            if n % 2 == 0 {
                shop.on_unknown("hold").await;
            }
            shops.push(shop);
        }
        server.stop().await;
        // Every message is with the receiver before the first answer is seen.
        sink.answer_from(SHOPS * EACH);
        let server = house.start_with(&[("RECADO_FAILPOINT", "after_call:die")]).await;
        let mut ids = Vec::new();
        for shop in &mut shops {
            *shop = shop.at(&server);
            let to: Vec<Value> = (0..EACH).map(|n| json!({"externalId": format!("p-{n}")})).collect();
            let mut body = note("Hola");
            body["to"] = json!(to);
            let answer = shop.api.post("/v1/notify", &body).await.expect(202);
            let sent = answer["notifications"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap().to_owned());
            ids.push(sent.collect::<Vec<_>>());
        }
        server.died().await;
        assert_eq!(sink.total(), SHOPS * EACH);

        // Where several nodes may be at work, the dead one's attempts are its own until its calls must have ended.
        time_passes(&house.store.url, WEBHOOK_CALL).await;
        let server = house.start().await;
        judged(&house).await;
        drained(&house.store.url, 60 * SECOND).await;
        for (n, (shop, ids)) in shops.iter().zip(&ids).enumerate() {
            for id in ids {
                let found = shop.at(&server).api.find(id).await;
                assert_eq!(outcomes(&found)[0], "unknown", "{found}");
                assert_eq!(found["attempts"][0]["error"]["reason"], "interrupted", "{found}");
                if n % 2 == 0 {
                    assert_eq!((&found["status"], sink.taken(id)), (&json!("unknown"), 1), "{found}");
                } else {
                    assert_eq!(
                        (&found["status"], outcomes(&found)),
                        (&json!("sent"), vec!["unknown", "accepted"]),
                        "{found}"
                    );
                    assert_eq!(sink.taken(id), 2, "once more, under the same webhook-id");
                }
            }
        }
        server.stop().await;
        house.remove().await;
    }
);

/// A mail may be on its way for so long.
const MAIL_CALL: Duration = Duration::from_mins(11);
const QUARTER: Duration = Duration::from_mins(15);

on_each_store!(
    f2_a_mail_taken_before_a_crash_is_sent_once_more_where_it_matters_and_never_as_marketing,
    async |store: TestStore| {
        let sink = MailSink::start().await;
        let house = House::new(store, &[]);
        let server = house.start().await;
        let mut shops = Vec::new();
        for _ in 0..SHOPS {
            let shop = Shop::bare(&server).await;
            let settings =
                json!({"host": "127.0.0.1", "port": sink.port(), "security": "none", "from": "citas@salon.example"});
            shop.api.put("/v1/channels/email", &json!({"provider": "smtp", "settings": settings})).await.expect(200);
            shops.push(shop);
        }
        server.stop().await;
        sink.confirm_from(SHOPS * EACH);
        let server = house.start_with(&[("RECADO_FAILPOINT", "after_call:die")]).await;
        let mut ids = Vec::new();
        for (n, shop) in shops.iter_mut().enumerate() {
            *shop = shop.at(&server);
            let category = if n % 2 == 0 { "marketing" } else { "transactional" };
            let to: Vec<Value> = (0..EACH).map(|p| json!({"email": format!("p-{p}@shop-{n}.example")})).collect();
            let body = json!({"type": "note", "channel": "email", "category": category, "to": to,
                "content": {"subject": "Hola", "text": "Hola Ana"}});
            let answer = shop.api.post("/v1/notify", &body).await.expect(202);
            for sent in answer["notifications"].as_array().unwrap() {
                let address = sent["recipient"]["email"].as_str().unwrap().to_owned();
                ids.push((n, sent["id"].as_str().unwrap().to_owned(), address));
            }
        }
        server.died().await;
        assert_eq!(sink.total(), SHOPS * EACH);

        time_passes(&house.store.url, MAIL_CALL).await;
        let server = house.start().await;
        judged(&house).await;
        for (n, id, _) in &ids {
            let found = shops[*n].at(&server).api.find(id).await;
            assert_eq!((&found["status"], outcomes(&found)), (&json!("unknown"), vec!["unknown"]), "{found}");
            assert_eq!(found["attempts"][0]["error"]["reason"], "interrupted", "{found}");
            let waits = found["dueAt"].as_str().map(|at| at.parse::<DateTime<Utc>>().unwrap() - Utc::now());
            match waits {
                None => assert_eq!(found["category"], "marketing", "{found}"),
                Some(waits) => {
                    assert_eq!(found["category"], "transactional", "{found}");
                    assert!(waits > chrono::TimeDelta::minutes(13), "{found}");
                }
            }
        }
        assert_eq!(sink.total(), SHOPS * EACH, "nothing is sent again before its wait is over");
        server.stop().await;

        time_passes(&house.store.url, QUARTER).await;
        let server = house.start().await;
        drained(&house.store.url, 60 * SECOND).await;
        for (n, id, address) in &ids {
            let found = shops[*n].at(&server).api.find(id).await;
            let taken = sink.taken(address);
            if n % 2 == 0 {
                assert_eq!((&found["status"], outcomes(&found)), (&json!("unknown"), vec!["unknown"]), "{found}");
                assert_eq!(taken.len(), 1);
            } else {
                let wanted = (&json!("sent"), vec!["unknown", "accepted"]);
                assert_eq!((&found["status"], outcomes(&found)), wanted, "{found}");
                assert_eq!(taken.len(), 2);
                assert_eq!(taken[0], taken[1], "once more, with the same Message-ID");
            }
        }
        server.stop().await;
        house.remove().await;
    }
);

on_each_store!(f3_a_crash_before_the_call_sends_nothing_or_once, async |store: TestStore| {
    let sink = Sink::start().await;
    let house = House::new(store, &[]);
    let server = house.start().await;
    let (sends, holds) = (Shop::open(&server, &sink.url()).await, Shop::open(&server, &sink.url()).await);
    holds.on_unknown("hold").await;
    server.stop().await;
    let mut ids = Vec::new();
    for shop in [&sends, &holds] {
        let server = house.start_with(&[("RECADO_FAILPOINT", "before_call:die")]).await;
        // It may die before it has answered; the row is there all the same.
        let answer = shop.at(&server).api.notify_once("the-key", &note("Hola")).await;
        server.died().await;
        assert_eq!(sink.total(), 0, "no call was made");
        ids.push(answer.map(|a| a.id()).ok());
    }
    let server = house.start().await;
    let again = |shop: &Shop| {
        let api = shop.at(&server).api;
        async move { api.notify_once("the-key", &note("Hola")).await.unwrap() }
    };
    let (sent, held) = (again(&sends).await, again(&holds).await);
    assert!(sent.replayed && held.replayed, "both were stored before the crash");
    for (first, now) in ids.into_iter().zip([sent.id(), held.id()]) {
        assert!(first.is_none_or(|first| first == now));
    }
    sink.has(1, 60 * SECOND).await;
    drained(&house.store.url, 60 * SECOND).await;
    let found = sends.at(&server).api.find(&sent.id()).await;
    assert_eq!((&found["status"], outcomes(&found)), (&json!("sent"), vec!["unknown", "accepted"]), "{found}");
    let found = holds.at(&server).api.find(&held.id()).await;
    assert_eq!((&found["status"], outcomes(&found)), (&json!("unknown"), vec!["unknown"]), "{found}");
    assert_eq!((sink.taken(&sent.id()), sink.taken(&held.id())), (1, 0));
    server.stop().await;
    house.remove().await;
});

on_each_store!(f4_a_crash_before_the_answer_leaves_one_notification_for_the_key, async |store: TestStore| {
    let sink = Sink::start().await;
    let house = House::new(store, &[]);
    let server = house.start().await;
    let shop = Shop::open(&server, &sink.url()).await;
    server.stop().await;
    let server = house.start_with(&[("RECADO_FAILPOINT", "before_answer:die")]).await;
    let answer = shop.at(&server).api.notify_once("the-key", &note("Hola")).await;
    if let Ok(answer) = answer {
        panic!("nobody should be answered: {} {}", answer.status, answer.body);
    }
    server.died().await;
    let server = house.start().await;
    let shop = shop.at(&server);
    let first = shop.api.notify_once("the-key", &note("Hola")).await.unwrap();
    assert_eq!((first.status, first.replayed), (202, true), "{}", first.body);
    let second = shop.api.notify_once("the-key", &note("Hola")).await.unwrap();
    assert_eq!((second.id(), second.body), (first.id(), first.body.clone()));
    let other = shop.api.notify_once("the-key", &note("Adiós")).await.unwrap();
    assert_eq!((other.status, &other.body["type"]), (422, &json!("/problems/idempotency-mismatch")));
    drained(&house.store.url, 60 * SECOND).await;
    let found = shop.api.find(&first.id()).await;
    assert_eq!(found["status"], "sent");
    let page = shop.api.get("/v1/notifications").await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    // The call may have been under way when the process died.
    let unknown = outcomes(&found).iter().filter(|o| **o == "unknown").count();
    assert!((1..=1 + unknown).contains(&sink.taken(&first.id())), "{found}");
    server.stop().await;
    house.remove().await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_f3_a_provider_that_can_be_asked_has_the_message_once_even_of_marketing() {
    let chatwoot = Double::start().await;
    let house = House::new(crate::support::TestStore::sqlite(), &[]);
    let server = house.start().await;
    let shop = Shop::bare(&server).await;
    let settings =
        json!({"baseUrl": chatwoot.url(), "accountId": ACCOUNT, "inboxId": Inbox::Api.id(), "apiAccessToken": TOKEN});
    shop.api.put("/v1/channels/chatwoot", &json!({"provider": "chatwoot", "settings": settings})).await.expect(200);
    server.stop().await;
    let mut messages = Vec::new();
    for (point, phone) in [("after_call:die", "33 1234 5678"), ("before_call:die", "33 1234 5679")] {
        let server = house.start_with(&[("RECADO_FAILPOINT", point)]).await;
        let body = json!({"type": "promo", "channel": "chatwoot", "category": "marketing", "to": {"phone": phone, "name": "Ana"},
            "message": format!("Hola {phone}")});
        let _ = shop.at(&server).api.notify_once(point, &body).await;
        server.died().await;
        messages.push((point, body));
    }
    assert_eq!(chatwoot.sent().len(), 1, "one was taken before the crash, one was never sent");
    let server = house.start().await;
    judged(&house).await;
    let mut ids = Vec::new();
    for (point, body) in &messages {
        let first = shop.at(&server).api.notify_once(point, body).await.unwrap();
        assert!(first.replayed, "{}", first.body);
        let found = shop.at(&server).api.find(&first.id()).await;
        assert_eq!((&found["status"], outcomes(&found)), (&json!("unknown"), vec!["unknown"]), "{found}");
        ids.push(first.id());
    }
    server.stop().await;
    // So long is waited before the provider is asked.
    time_passes(&house.store.url, 60 * SECOND).await;
    let server = house.start().await;
    drained(&house.store.url, 60 * SECOND).await;
    for id in ids {
        assert_eq!(shop.at(&server).api.find(&id).await["status"], "sent");
    }
    let mut texts: Vec<String> = chatwoot.sent().into_iter().map(|m| m.content).collect();
    texts.sort();
    assert_eq!(texts, ["Hola 33 1234 5678", "Hola 33 1234 5679"]);
    server.stop().await;
    house.remove().await;
}
