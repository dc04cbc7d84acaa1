//! What comes in from outside as people, files and mails, at the running program: B34, B47, B68, B69, letters that would
//! break what reads them, and a file larger than anybody's memory should be. After each it is the same process, and a
//! message goes out.

use futures_util::stream;
use reqwest::Body;
use serde_json::{Value, json};

use crate::sandbox::Watch;
use crate::support::{House, Shop, TestStore};

/// Opens the house of one test, and a shop in it that gets what is bad.
async fn begin(house: &House) -> (Watch, Shop) {
    let watch = Watch::begin(house).await;
    let shop = watch.shop().await;
    (watch, shop)
}

fn refusals(report: &Value) -> Vec<(u64, &str)> {
    let errors = report["errors"].as_array().unwrap();
    errors.iter().map(|e| (e["line"].as_u64().unwrap(), e["code"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b34_and_b47_people_stay_one_and_zones_must_exist() {
    let house = House::new(TestStore::sqlite(), &[]);
    let (mut watch, shop) = begin(&house).await;
    let known = json!({"externalId": "ana", "phone": "+523331234567"}).to_string();
    assert_eq!(shop.api.import("/v1/contacts/import", &known).await.unwrap().expect(200)["created"], 1);
    let other = json!({"name": "Ana", "phone": "+52 1 33 3123 4567"}).to_string();
    assert_eq!(shop.api.import("/v1/contacts/import", &other).await.unwrap().expect(200)["updated"], 1);
    let ana = shop.api.get("/v1/contacts/ana").await.expect(200);
    assert_eq!((&ana["name"], &ana["phone"]), (&json!("Ana"), &json!("+523331234567")));
    watch.still_works("B34").await;
    for zone in ["America/Cd_Mexico", "GMT+25", ""] {
        let answer = shop.api.put("/v1/contacts/eva", &json!({"phone": "3312345678", "timezone": zone})).await;
        assert_eq!((answer.status, &answer.body["errors"][0]["code"]), (422, &json!("timezone")), "{}", answer.body);
        watch.still_works("B47").await;
    }
    watch.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b68_and_b69_files_are_refused_whole_or_row_by_row() {
    let house = House::new(TestStore::sqlite(), &[]);
    let (mut watch, shop) = begin(&house).await;
    for (file, line, code) in [
        (b"name,age\nAna,7\n".to_vec(), 1, "no_address_column"),
        (b"name,phone\nAna,3312345678\n\"Beto,3312345679\n".to_vec(), 3, "unclosed_quote"),
        (b"name,phone\nAna,3312345678\nJos\xe9,3312345679\n".to_vec(), 3, "not_utf8"),
    ] {
        let answer = shop.api.upload("/v1/contacts/import", "text/csv", file).await;
        assert_eq!((answer.status, &answer.body["type"]), (422, &json!("/problems/csv-invalid")), "{}", answer.body);
        let fault = &answer.body["errors"][0];
        assert_eq!((&fault["pointer"], &fault["code"]), (&json!(format!("/lines/{line}")), &json!(code)));
        watch.still_works("B68").await;
    }
    let file = format!(
        "name,phone,email\nAna,3312345678,\nx,12,\nBeto,3312345679,,,too,many\n\"{}\",3312345670,\nAna otra,+52 1 33 1234 5678,\n\
         Fin,3312345673,fin@x.example\n",
        "x".repeat(10 * 1024 * 1024)
    );
    let report = shop.api.upload("/v1/contacts/import", "text/csv", file).await.expect(200);
    assert_eq!(refusals(&report), [(3, "phone"), (4, "too_many_fields"), (5, "too_long"), (6, "duplicate")]);
    assert_eq!((&report["created"], &report["refused"]), (&json!(2), &json!(4)));
    watch.still_works("B69").await;
    watch.server.stop().await;
}

/// Megabytes of the file; as the issue has it.
const LARGE: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_200_megabytes_takes_no_more_memory_than_a_small_one() {
    let house = House::new(TestStore::sqlite(), &[]);
    let (mut watch, shop) = begin(&house).await;
    // Few people many times, each row as long as rows may be: what is refused is read and judged as all else.
    let notes = "ñandú ".repeat(1200);
    let lines = move |n: usize| {
        let rows = (0..16).map(|k| {
            let person = (n * 16 + k) % 4000;
            json!({"externalId": person.to_string(), "attributes": {"notas": notes}}).to_string() + "\n"
        });
        rows.collect::<String>()
    };
    let chunk = lines(0).len();
    let chunks = LARGE * 1024 * 1024 / chunk;
    let small: String = (0..40).map(&lines).collect();
    shop.api.upload("/v1/contacts/import", "application/x-ndjson", small).await.expect(200);
    let before = watch.server.largest_memory();
    let body = Body::wrap_stream(stream::iter((0..chunks).map(move |n| Ok::<_, std::io::Error>(lines(n)))));
    let report = shop.api.upload("/v1/contacts/import", "application/x-ndjson", body).await.expect(200);
    let count = |name: &str| usize::try_from(report[name].as_u64().unwrap()).unwrap();
    assert_eq!(count("created") + count("updated") + count("refused"), chunks * 16, "{report}");
    assert_eq!(count("created") + count("updated"), 4000);
    let more = watch.server.largest_memory().saturating_sub(before);
    eprintln!("{LARGE} MiB in {} rows; {} MiB more than a small file took", chunks * 16, more >> 20);
    assert!(more < 64 << 20, "{} MiB more", more >> 20);
    watch.still_works("a large file").await;
    watch.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_that_nest_or_multiply_are_refused_by_the_program_that_goes_on() {
    let house = House::new(TestStore::sqlite(), &[]);
    let (mut watch, shop) = begin(&house).await;
    let page = |inner: &str| {
        format!("<mjml><mj-body><mj-section><mj-column>{inner}</mj-column></mj-section></mj-body></mjml>")
    };
    let nested =
        |n: usize, open: &str, close: &str| page(&format!("<mj-text>{}{}</mj-text>", open.repeat(n), close.repeat(n)));
    let css = |css: &str| format!("<mjml><mj-head><mj-style>{css}</mj-style></mj-head><mj-body></mj-body></mjml>");
    let deep_json = format!("{{\"name\": {}1{}}}", "[".repeat(8000), "]".repeat(8000));
    for (part, source) in [
        ("email.mjml", nested(4000, "<div>", "</div>")),
        ("email.mjml", nested(6000, "<b></i>", "")),
        ("email.mjml", nested(6000, "<style><b>", "")),
        ("email.mjml", page(&"<mj-text>x</mj-text>".repeat(2500))),
        ("email.mjml", css(&format!("{}a{} {{ color: red }}", ":not(".repeat(3000), ")".repeat(3000)))),
        ("email.mjml", css(&"{(".repeat(7000))),
        ("email.mjml", "<mjml><mj-body>".to_owned()),
        ("whatsapp.template.json", deep_json),
        ("whatsapp.template.json", "{\"name\": \"a\", \"components\": ".to_owned()),
    ] {
        let parts = json!({"text": "x", "email.subject": "x", part: source});
        let shown: String = source.chars().take(60).collect();
        let kept = shop.api.put("/v1/templates/bad", &json!({"parts": parts})).await;
        assert_eq!(
            (kept.status, &kept.body["type"]),
            (422, &json!("/problems/template-invalid")),
            "{part} {shown}: {}",
            kept.body
        );
        let seen = shop.api.post("/v1/templates/preview", &json!({"parts": parts, "data": {}})).await;
        assert!(matches!(seen.status, 200 | 422), "{part} {shown}: {}", seen.status);
        watch.still_works(part).await;
    }
    watch.server.stop().await;
}
