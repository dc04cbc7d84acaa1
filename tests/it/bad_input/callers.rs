//! B24 to B28 and B32: who calls.

use super::*;
use crate::support::{JWT_SECRET, token};
use axum::http::Method;

/// Made once with the openssl command; the private half is gone.
const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA9R2SY6VLVHGJ3QrC527u
7JZqfQw5i7wrfUcEfFBKs8oyXtO0rRrNZXaeU9g4CJccJpGIgQluf7lfPa7rhXDc
Szo0zfrnrWinPMZ6hQvuvFfzDh2PNughXGYpKBFEWZpPe3fJYmdV6t/FmC76fBx2
CCs7YmwHeqrCK2E4T7vNw/cwzC1V7pb8KzpuREaSnwdulJpgIarwiBK63/NeoL5g
L3qU1PGuWcjrRrpHb+X8faIDMyTi4T+oitt+OM0Dmjb6Q0OduvWQ7loSqvxrO45+
/0uux0UgYBD8y4wr7y/lPw80eWrUL7La1dq91t5XZW9w6VzkbFhQaIbwvW2W/qBG
FwIDAQAB
-----END PUBLIC KEY-----
";

fn claims(door: &Door, role: &str, seconds_left: i64) -> Value {
    json!({"sub": "u1", "tenantId": door.shop.id, "role": role, "exp": door.app.now().0 / 1000 + seconds_left})
}

fn bearer(door: &Door, token: &str) -> crate::support::Call {
    door.app.nobody().with_key(token).get("/v1/notifications")
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_without_good_credentials_nobody_gets_in() {
    let door = Door::open().await;
    let made = door.shop.make_key(&["read"]).await;
    let key = made["key"].as_str().unwrap();
    bearer(&door, key).await.expect(200);
    let path = format!("/v1/tenants/{}/keys/{}", door.shop.id, made["id"].as_str().unwrap());
    door.app.operator().delete(&path).await.expect(204);
    // Its last character changed.
    let mut wrong = key.to_owned();
    wrong.replace_range(wrong.len() - 1.., if key.ends_with('A') { "B" } else { "A" });
    let headers = [
        "Basic dXNlcjpwYXNz".to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer rcd_".to_owned(),
        "Bearer undefined".to_owned(),
        "Bearer null".to_owned(),
        format!("Bearer {key}"),
        format!("Bearer {wrong}"),
        key.to_owned(),
    ];
    for header in headers {
        for (method, path) in
            [(Method::GET, "/v1/notifications"), (Method::POST, "/v1/notify"), (Method::GET, "/v1/tenants")]
        {
            let answer = door.app.nobody().with_header("authorization", &header).call(method, path).await;
            answer.is_problem(401, "unauthorized");
            assert!(answer.header("www-authenticate").is_some_and(|w| w.starts_with("Bearer")), "{header}");
        }
    }
    door.app.nobody().get("/v1/notifications").await.is_problem(401, "unauthorized");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b25_a_token_cannot_choose_how_it_is_verified() {
    let door = Door::open().await;
    let claims = claims(&door, "ADMIN", 100);
    bearer(&door, &token("HS256", &claims, JWT_SECRET.as_bytes())).await.expect(200);
    for algorithm in ["none", "nOnE", "HS512", "RS256", ""] {
        let signed = token(algorithm, &claims, JWT_SECRET.as_bytes());
        let (unsigned, _) = signed.rsplit_once('.').unwrap();
        for forged in [signed.clone(), format!("{unsigned}.")] {
            bearer(&door, &forged).await.is_problem(401, "unauthorized");
        }
    }
    let forged = token("HS256", &claims, b"another-secret-of-32-characters!");
    bearer(&door, &forged).await.is_problem(401, "unauthorized");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b25_a_public_key_is_no_shared_secret() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), RSA).unwrap();
    let path = file.path().display().to_string();
    let door = Door::with(&[("RECADO_AUTH__JWT_PUBLIC_KEY_FILE", &path), ("RECADO_AUTH__JWT_SECRET", "")]).await;
    for secret in [RSA.as_bytes(), RSA.trim().as_bytes()] {
        let forged = token("HS256", &claims(&door, "SUPERADMIN", 100), secret);
        bearer(&door, &forged).await.is_problem(401, "unauthorized");
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b26_a_token_ends() {
    let door = Door::open().await;
    let signed = |claims: &Value| token("HS256", claims, JWT_SECRET.as_bytes());
    // Clocks may differ by a minute.
    bearer(&door, &signed(&claims(&door, "ADMIN", -59))).await.expect(200);
    bearer(&door, &signed(&claims(&door, "ADMIN", -61))).await.is_problem(401, "token-expired");
    let mut endless = claims(&door, "ADMIN", 0);
    endless.as_object_mut().unwrap().remove("exp");
    bearer(&door, &signed(&endless)).await.is_problem(401, "unauthorized");
    door.still_works().await;
}

on_each_store!(b27_anothers_id_is_answered_like_one_that_does_not_exist, async |app: TestApp| {
    let door = Door::to(app).await;
    let id = door.shop.send(&hello()).await;
    let other = Shop::new(&door.app, "Salón Dos").await;
    for (method, act) in [(Method::GET, ""), (Method::POST, "/cancel"), (Method::POST, "/retry")] {
        let theirs = other.call(method.clone(), &format!("/v1/notifications/{id}{act}")).await;
        let unknown = "01930000-0000-7000-8000-000000000000";
        let nobodys = other.call(method, &format!("/v1/notifications/{unknown}{act}")).await;
        theirs.is_problem(404, "not-found");
        assert_eq!(theirs.visible(), nobodys.visible());
    }
    door.still_works().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn b28_rights_end_where_they_end() {
    let door = Door::open().await;
    let own = door.shop.for_tenant(&door.shop.id).post("/v1/notify", &hello()).await;
    own.is_problem(403, "forbidden");
    let reader = door.shop.key(&["read"]).await;
    reader.post("/v1/notify", &hello()).await.is_problem(403, "forbidden");
    reader.put("/v1/channels/sms", &json!({"provider": "sandbox"})).await.is_problem(403, "forbidden");
    let sender = door.shop.key(&["send"]).await;
    sender.get("/v1/notifications").await.is_problem(403, "forbidden");
    door.shop.get("/v1/tenants").await.is_problem(403, "forbidden");
    door.shop.post("/v1/tenants", &json!({"name": "Mine"})).await.is_problem(403, "forbidden");
    let user = door.app.nobody().with_key(&token("HS256", &claims(&door, "USER", 100), JWT_SECRET.as_bytes()));
    user.post("/v1/notify", &hello()).await.is_problem(403, "forbidden");
    user.put("/v1/channels/sms", &json!({"provider": "sandbox"})).await.is_problem(403, "forbidden");
    user.patch(&format!("/v1/tenants/{}", door.shop.id), &json!({"name": "Mine"})).await.is_problem(403, "forbidden");
    door.app.operator().post("/v1/notify", &hello()).await.is_problem(400, "tenant-required");
    door.app.operator().for_tenant(&door.shop.id).post("/v1/notify", &hello()).await.expect(202);
    door.app.operator().for_tenant("nobody").post("/v1/notify", &hello()).await.is_problem(404, "not-found");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b32_who_keeps_guessing_has_to_wait() {
    let door = Door::open().await;
    let guess = || bearer(&door, "not-the-operator-key-of-the-tests");
    for _ in 0..20 {
        guess().coming_from("192.0.2.7:4711").await.is_problem(401, "unauthorized");
    }
    let answer = guess().coming_from("192.0.2.7:4712").await;
    answer.is_problem(429, "rate-limited");
    assert!(answer.header("retry-after").is_some());
    guess().coming_from("192.0.2.8:4711").await.is_problem(401, "unauthorized");
    // Somebody else behind the same router is not locked out.
    door.shop.get("/v1/notifications").coming_from("192.0.2.7:4713").await.expect(200);
    door.still_works().await;
}
