//! Random lives: whatever is told of people and their appointments, in whatever order and spelling, one person stays
//! one contact, and the figures are those of a recount.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use recado::clock::Timestamp;
use sqlx::Row;

use super::*;
use crate::support::TestStore;

/// Something that is told. Small numbers choose among few people, visits and days, so that they meet.
#[derive(Debug, Clone)]
enum Told {
    Book { visit: u8, person: u8, day: u8, status: u8 },
    Delete { visit: u8 },
    File(Vec<(u8, u8, u8, u8)>),
    Pass { hours: u8 },
}

fn told() -> impl Strategy<Value = Told> {
    let booking = || (0..8_u8, 0..3_u8, 0..20_u8, 0..5_u8);
    prop_oneof![
        6 => booking().prop_map(|(visit, person, day, status)| Told::Book { visit, person, day, status }),
        1 => (0..8_u8).prop_map(|visit| Told::Delete { visit }),
        2 => proptest::collection::vec(booking(), 1..6).prop_map(Told::File),
        2 => (1..120_u8).prop_map(|hours| Told::Pass { hours }),
    ]
}

const STATUSES: [&str; 5] = ["REQUESTED", "CONFIRMED", "CANCELLED", "COMPLETED", "NO_SHOW"];

fn starts(day: u8) -> String {
    format!("2026-{:02}-{:02}T12:00:00Z", 2 + day / 10, 20 - day % 10)
}

async fn live(shop: &Shop, app: &TestApp, told: &Told) {
    match told {
        Told::Book { visit, person, day, status } => {
            let body = json!({"contactId": format!("p{person}"), "startsAt": starts(*day), "status": STATUSES[usize::from(*status)]});
            let answer = shop.put(&format!("/v1/appointments/v{visit}"), &body).await;
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        }
        Told::Delete { visit } => drop(shop.delete(&format!("/v1/appointments/v{visit}")).await),
        Told::File(rows) => {
            let mut file = "externalId,contactId,startsAt,status\n".to_owned();
            for (visit, person, day, status) in rows {
                let (starts, status) = (starts(*day), STATUSES[usize::from(*status)]);
                writeln!(file, "v{visit},p{person},{starts},{status}").unwrap();
            }
            import(shop, "appointments", "text/csv", file).await.expect(200);
        }
        Told::Pass { hours } => app.clock.advance(Duration::from_hours(u64::from(*hours))),
    }
}

/// What the appointments that are stored come to.
async fn recount(app: &TestApp, shop: &Shop) -> BTreeMap<String, Value> {
    let rows = sqlx::query("select contact_id, status, starts_at from appointments where tenant_id = $1")
        .bind(&shop.id)
        .fetch_all(&app.app.db.pool)
        .await
        .unwrap();
    let mut all: BTreeMap<String, Vec<(String, i64)>> = BTreeMap::new();
    for row in rows {
        all.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    let figures = |visits: Vec<(String, i64)>| {
        let with = |status: &str| visits.iter().filter(|(s, _)| s == status).count();
        let kept: Vec<i64> =
            visits.iter().filter(|(s, _)| s != "CANCELLED" && s != "NO_SHOW").map(|(_, at)| *at).collect();
        let last = kept.iter().filter(|at| **at <= app.now().0).max().map(|at| Timestamp(*at));
        let next = kept.iter().filter(|at| **at > app.now().0).min().map(|at| Timestamp(*at));
        json!({"count": visits.len(), "completed": with("COMPLETED"), "cancelled": with("CANCELLED"),
            "noShows": with("NO_SHOW"), "lastAt": last, "nextAt": next})
    };
    all.into_iter().map(|(contact, visits)| (contact, figures(visits))).collect()
}

async fn figures_are_those_of_a_recount(store: TestStore, lives: &[Vec<Told>]) {
    let app = TestApp::with(store, &[]).await;
    for (n, life) in lives.iter().enumerate() {
        let shop = Shop::bare(&app, &format!("Salón {n}")).await;
        for person in 0..3 {
            put(&shop, &format!("p{person}"), json!({})).await;
        }
        let nothing = json!({"count": 0, "completed": 0, "cancelled": 0, "noShows": 0, "lastAt": null, "nextAt": null});
        for (step, told) in life.iter().enumerate() {
            live(&shop, &app, told).await;
            let expected = recount(&app, &shop).await;
            for contact in contacts(&shop, "").await {
                let expected = expected.get(contact["id"].as_str().unwrap()).unwrap_or(&nothing);
                assert_eq!(contact["appointments"], *expected, "life {n}, after step {step}: {life:?}");
            }
        }
    }
}

/// The same lives every time: what fails here fails everywhere.
fn lives<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_those_of_a_recount_after_any_life() {
    let lives = lives(proptest::collection::vec(told(), 5..30), 15);
    for store in TestStore::each().await {
        figures_are_those_of_a_recount(store, &lives).await;
    }
}

/// Of three people: by their app's id or without it, in any spelling of their phone, with their e-mail address or not.
fn sighting() -> impl Strategy<Value = (usize, usize, bool, bool)> {
    (0..3_usize, 0..4_usize, any::<bool>(), any::<bool>())
}

const PEOPLE: [[&str; 4]; 3] = [
    ["+52 1 33 3123 4567", "+523331234567", "33 3123 4567", "044 33 3123-4567"],
    ["+54 9 11 2345 6789", "+541123456789", "+5491123456789", "+54 11 15 2345 6789"],
    ["+55 11 8765-4321", "+5511987654321", "+55 (11) 98765 4321", "+551187654321"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_stays_one_contact_however_they_are_told_of() {
    let lives = lives(proptest::collection::vec(sighting(), 1..12), 15);
    for store in TestStore::each().await {
        let app = TestApp::with(store, &[]).await;
        for (n, life) in lives.iter().enumerate() {
            let shop = Shop::bare(&app, &format!("Salón {n}")).await;
            let mut seen = BTreeSet::new();
            for (person, spelling, with_id, with_mail) in life {
                let (phone, mail) = (PEOPLE[*person][*spelling], format!("p{person}@x.example"));
                let mut row = json!({"phone": phone});
                if *with_mail {
                    row["email"] = mail.into();
                }
                if *with_id {
                    put(&shop, &format!("p{person}"), row).await;
                } else {
                    let report = import(&shop, "contacts", "application/x-ndjson", row.to_string()).await.expect(200);
                    assert_eq!(counts(&report)[2], 0, "{report}");
                }
                seen.insert(*person);
                let stored = contacts(&shop, "").await;
                assert_eq!(stored.len(), seen.len(), "life {n}: {life:?}");
                let phones: BTreeSet<&str> = stored.iter().map(|c| c["phone"].as_str().unwrap()).collect();
                assert_eq!(phones.len(), seen.len());
            }
        }
    }
}
