//! F31: the store's answer is lost.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, House, PgProxy, Rule, Shop, Sink, TestStore, drained, note, number, pause};

const SECOND: Duration = Duration::from_secs(1);
const MARK: &str = "cut-after-this-text";

/// What the caller is told when this happens to the first or to a later request of a lane, and whether it was stored.
const CASES: &[(Rule, bool, &str, bool)] = &[
    // The batch is one statement and commits by itself.
    (Rule::CutAnswerTo(MARK), false, "outcome-unknown", true),
    (Rule::CutBefore(MARK), false, "outcome-unknown", false),
    (Rule::SwallowAnswerTo(MARK), false, "outcome-unknown", true),
    // The lane is taken in the same transaction, so a COMMIT follows.
    (Rule::CutCommitAfter(MARK), true, "outcome-unknown", true),
    (Rule::CutAnswerTo(MARK), true, "store-unavailable", false),
];

/// Repeats with the same key, as callers do; the server may need a moment to find its store again.
async fn until_answered(shop: &Shop, key: &str, body: &Value) -> Answer {
    for _ in 0..20 {
        let answer = shop.api.notify_once(key, body).await.unwrap();
        if answer.status != 503 {
            return answer;
        }
        pause(SECOND / 2).await;
    }
    panic!("the server does not find its store again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f31_after_a_lost_commit_the_same_key_yields_one_notification_and_the_true_answer() {
    let Some(store) = TestStore::postgres().await else { return };
    let sink = Sink::start().await;
    let (proxy, through) = PgProxy::start(&store.url).await;
    let house = House::new(store, &[("RECADO_STORE__URL", &through)]);
    let server = house.start().await;
    for (n, (rule, first_of_lane, slug, stored)) in CASES.iter().enumerate() {
        let shop = Shop::open(&server, &sink.url()).await;
        if !first_of_lane {
            let id = shop.send(&note("Hola")).await;
            drained(&house.store.url, 20 * SECOND).await;
            assert_eq!(sink.taken(&id), 1);
        }
        let (before, began) = (sink.total(), std::time::Instant::now());
        let key = format!("key-{n}");
        let rows =
            format!("select count(*) from notifications where tenant_id = '{}' and content like '%{MARK}%'", shop.id);
        proxy.set(rule.clone());
        let answer = shop.api.notify_once(&key, &note(MARK)).await.unwrap();
        assert!(proxy.is_done(), "{rule:?} was never met");
        let told = format!("/problems/{slug}");
        assert_eq!(
            (answer.status, &answer.body["type"]),
            (503, &json!(told)),
            "{rule:?} {first_of_lane}: {}",
            answer.body
        );
        assert_eq!(number(&house.store.url, &rows).await, i64::from(*stored), "{rule:?} {first_of_lane}");
        let again = until_answered(&shop, &key, &note(MARK)).await;
        assert_eq!((again.status, again.replayed), (202, *stored), "{rule:?} {first_of_lane}: {}", again.body);
        assert_eq!(number(&house.store.url, &rows).await, 1, "{rule:?}: one notification");
        drained(&house.store.url, 60 * SECOND).await;
        eprintln!("{rule:?}, first of its lane {first_of_lane}: {slug}, made good after {:?}", began.elapsed());
        let found = shop.api.find(&again.id()).await;
        assert_eq!((&found["status"], sink.total() - before), (&json!("sent"), 1), "{rule:?}: {found}");
        let attempts = found["attempts"].as_array().unwrap();
        assert!(attempts.iter().all(|a| a["outcome"] == "accepted"), "nothing was called in doubt: {found}");
    }
    server.stop().await;
    house.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f31_an_outcome_whose_commit_was_lost_is_written_again_and_nothing_is_called_twice() {
    // Only the row of an attempt that has ended holds this.
    const OUTCOME: &str = "\"finished\":";
    let Some(store) = TestStore::postgres().await else { return };
    let sink = Sink::start().await;
    let (proxy, through) = PgProxy::start(&store.url).await;
    let house = House::new(store, &[("RECADO_STORE__URL", &through)]);
    let server = house.start().await;
    let shop = Shop::open(&server, &sink.url()).await;
    for rule in [Rule::CutAnswerTo(OUTCOME), Rule::CutBefore(OUTCOME), Rule::SwallowAnswerTo(OUTCOME)] {
        proxy.set(rule.clone());
        // The outcome that is written again may share its batch with the next request, whose caller then repeats.
        let answer = until_answered(&shop, &format!("{rule:?}"), &note("Hola")).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let id = answer.id();
        drained(&house.store.url, 60 * SECOND).await;
        assert!(proxy.is_done(), "{rule:?} was never met");
        let found = shop.api.find(&id).await;
        assert_eq!((&found["status"], sink.taken(&id)), (&json!("sent"), 1), "{rule:?}: {found}");
        let attempts = found["attempts"].as_array().unwrap();
        assert_eq!((attempts.len(), &attempts[0]["outcome"]), (1, &json!("accepted")), "{rule:?}: {found}");
    }
    server.stop().await;
    house.remove().await;
}
