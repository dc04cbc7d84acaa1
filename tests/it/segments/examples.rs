//! The example segments: their cases, and their answers on a salon whose numbers are known.

use std::path::{Path, PathBuf};

use recado::clock::Timestamp;
use recado::scripts::{Kind, run_cases};

use super::*;

/// 2026-03-02T15:00:00Z
const NOW: i64 = 1_772_463_600_000;
const HOUR: i64 = 3600 * 1000;
const DAY: i64 = 24 * HOUR;
const PEOPLE: i64 = 400;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/examples/segments")
}

fn source(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.rhai"))).unwrap()
}

/// Person `n` was here `n % 8` times, the last time `n` days ago, has a birthday in month `n % 12 + 1`, comes for colour
/// if `n` is divisible by 4, missed an appointment if by 5, and has one booked if by 7.
async fn salon(shop: &Shop) {
    let person = |n: i64| {
        let favorite = if n % 4 == 0 { "color" } else { "corte" };
        let birthday = format!("1990-{:02}-15", n % 12 + 1);
        json!({"externalId": format!("p{n}"), "attributes": {"birthday": birthday, "favorite": favorite}})
    };
    import(shop, "contacts", (0..PEOPLE).map(person)).await;
    let visit = |n: i64, id: String, at: i64, status: &str| json!({"externalId": id, "contactId": format!("p{n}"), "startsAt": Timestamp(at).to_string(), "status": status});
    let visits = (0..PEOPLE).flat_map(|n| {
        let came =
            (0..n % 8).map(move |k| visit(n, format!("v{n}-{k}"), NOW - n * DAY - k * 7 * DAY - HOUR, "COMPLETED"));
        let missed = (n % 5 == 0).then(|| visit(n, format!("m{n}"), NOW - 500 * DAY, "NO_SHOW"));
        let booked = (n % 7 == 0).then(|| visit(n, format!("b{n}"), NOW + DAY, "CONFIRMED"));
        came.chain(missed).chain(booked)
    });
    import(shop, "appointments", visits).await;
}

fn answer(is_in: impl Fn(i64) -> bool) -> usize {
    (0..PEOPLE).filter(|n| is_in(*n)).count()
}

on_each_store!(they_count_whom_they_should, async |app: TestApp| {
    let shop = app.shop().await;
    salon(&shop).await;
    for (name, expected) in [
        ("birthday", answer(|n| n % 12 == 2 && n % 8 > 0 && n <= 365)),
        ("colour_fades", answer(|n| n % 8 == 4 && (56..=112).contains(&n) && n % 7 != 0)),
        ("reliable", answer(|n| n % 8 >= 5 && n % 5 != 0)),
    ] {
        write(&shop, name, &script("segment", &source(name))).await;
        assert_eq!(count(&shop, name).await, json!({"count": expected}), "{name}");
        assert!(expected > 5, "{name}: {expected}");
    }
});

#[tokio::test]
async fn they_do_what_their_cases_say() {
    let mut tried = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "rhai") {
            continue;
        }
        let script = Kind::Segment.compile(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let cases = std::fs::read_to_string(path.with_extension("cases.json")).unwrap();
        for case in run_cases(Kind::Segment, &script, &cases).await.unwrap() {
            assert!(case.faults.is_empty(), "{}, {}: {:?}", path.display(), case.name, case.faults);
            tried += 1;
        }
    }
    assert!(tried >= 12, "{tried}");
}
