//! B49 to B57: where a tenant's addresses may not lead, at save and at send.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plugin_api::net::Names;
use plugin_sms::double::Twilio;
use plugin_whatsapp::double::MetaDouble;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A server with the operator's usual rules, and names that mean what a test wants.
async fn door() -> Door {
    let names = Names::from_fn(|name| match name {
        "private.example" => vec![ip("127.0.0.1")],
        "both.example" => vec![ip("93.184.216.34"), ip("10.0.0.1")],
        "public.example" => vec![ip("93.184.216.34")],
        _ => vec![],
    });
    Door::to(TestApp::strict(names).await).await
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn save(door: &Door, url: &str) -> Answer {
    door.shop
        .put("/v1/channels/webhook", &json!({"provider": "webhook", "settings": {"url": url, "secret": SECRET}}))
        .await
}

async fn refuses(door: &Door, urls: &[&str], code: &str) {
    for url in urls {
        let answer = save(door, url).await;
        assert_eq!(answer.status, 422, "{url}: {}", answer.text());
        answer.has_fault("url-not-allowed", "/settings/url", code);
        // Attachments are fetched as well.
        let attachment = json!([{"filename": "a.ics", "contentType": "text/calendar", "url": url}]);
        let answer = door.notify(&with(json!({"attachments": attachment}))).await;
        answer.has_fault("url-not-allowed", "/attachments/0/url", code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b49_an_address_in_disguise_is_still_that_address() {
    let door = door().await;
    for host in ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "①②⑦.⓪.⓪.①", "127。0。0。1"] {
        refuses(&door, &[&format!("https://{host}/")], "address").await;
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_special_ipv6_addresses_are_out_of_reach() {
    let door = door().await;
    let hosts = [
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fd00::1]",
        "[fe80::1]",
        "[2002:7f00:1::]",
    ];
    for host in hosts {
        refuses(&door, &[&format!("https://{host}/")], "address").await;
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b51_inner_networks_and_metadata_are_out_of_reach() {
    let door = door().await;
    for host in [
        "169.254.169.254",
        "100.100.100.200",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "metadata.google.internal",
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
    ] {
        refuses(&door, &[&format!("https://{host}/")], "address").await;
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b52_local_names_are_out_of_reach() {
    let door = door().await;
    for host in ["localhost", "localhost.", "x.localhost", "printer.local", "db.internal", "LOCALHOST"] {
        refuses(&door, &[&format!("https://{host}/")], "host").await;
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b52_our_own_host_is_out_of_reach() {
    let settings = [("RECADO_SERVER__PUBLIC_URL", "https://recado.example"), ("RECADO_OUTBOUND__ALLOW", "[]")];
    let door = Door::with(&settings).await;
    refuses(&door, &["https://recado.example/v1/notify", "https://RECADO.example./"], "host").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b53_a_name_is_judged_by_every_address_it_has() {
    let door = door().await;
    refuses(&door, &["https://private.example/", "https://both.example/"], "address").await;
    save(&door, "https://public.example/").await.expect(200);
    door.still_works().await;
}

/// What is true of the plainest channel's address is true of every other's, a script's and a mail server's too.
#[tokio::test(flavor = "multi_thread")]
async fn b49_to_b57_hold_for_every_address_that_a_channel_is_given() {
    let door = door().await;
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let twilio = Value::Object(Twilio::settings_at(nowhere).0);
    let meta = Value::Object(MetaDouble::settings(nowhere).0);
    let chatwoot = json!({"accountId": 1, "inboxId": 9, "apiAccessToken": "made-up-token"});
    let telegram = json!({"token": "1:made-up-token", "chatId": "-1001"});
    for (channel, provider, mut settings) in [
        ("sms", "twilio", twilio),
        ("whatsapp", "meta", meta),
        ("chatwoot", "chatwoot", chatwoot),
        ("telegram", "telegram", telegram),
    ] {
        for (url, code) in [
            ("https://0x7f000001/", "address"),
            ("https://[::ffff:127.0.0.1]/", "address"),
            ("https://169.254.169.254/", "address"),
            ("https://both.example/", "address"),
            ("https://x.localhost/", "host"),
            ("http://public.example/", "scheme"),
            ("https://u:p@public.example/", "credentials"),
            ("https://public.example:6379/", "port"),
            ("https://a\\@b/", "malformed"),
        ] {
            settings["baseUrl"] = json!(url);
            let body = json!({"provider": provider, "settings": settings});
            let answer = door.shop.put(&format!("/v1/channels/{channel}"), &body).await;
            answer.has_fault("url-not-allowed", "/settings/baseUrl", code);
        }
    }
    for (host, code) in [
        ("127.0.0.1", "address"),
        ("::1", "address"),
        ("10.0.0.1", "address"),
        ("private.example", "address"),
        ("metadata.google.internal", "address"),
        ("localhost", "host"),
        ("https://public.example", "malformed"),
    ] {
        let settings = json!({"host": host, "from": "citas@salon.example"});
        let answer = door.shop.put("/v1/channels/email", &json!({"provider": "smtp", "settings": settings})).await;
        answer.has_fault("url-not-allowed", "/settings/host", code);
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b54_a_name_that_turned_private_is_not_connected_to() {
    let turned = Arc::new(AtomicBool::new(false));
    let names = Names::from_fn({
        let turned = Arc::clone(&turned);
        move |_| vec![ip(if turned.load(Ordering::SeqCst) { "127.0.0.1" } else { "93.184.216.34" })]
    });
    let door = Door::to(TestApp::strict(names).await).await;
    save(&door, "https://rebinds.example/").await.expect(200);
    turned.store(true, Ordering::SeqCst);
    let id = door.shop.send(&with(json!({"channel": "webhook"}))).await;
    door.app.deliver_due().await;
    let found = door.shop.find(&id).await;
    let attempt = &found["attempts"][0];
    assert_eq!(attempt["outcome"], "not_sent", "{found}");
    assert_eq!(attempt["error"]["reason"], "blocked_address", "{found}");
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b55_only_https_leaves_the_house() {
    let door = door().await;
    let urls = [
        "file:///etc/passwd",
        "gopher://public.example/",
        "ftp://public.example/",
        "data:text/plain,x",
        "javascript:alert(1)",
        "http://public.example/",
    ];
    refuses(&door, &urls, "scheme").await;
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b56_no_credentials_and_no_other_services() {
    let door = door().await;
    refuses(&door, &["https://u:p@public.example/", "https://public.example@127.0.0.1/"], "credentials").await;
    for port in [22, 25, 6379] {
        refuses(&door, &[&format!("https://public.example:{port}/")], "port").await;
    }
    door.still_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b57_what_a_lenient_parser_would_repair_is_refused() {
    let door = door().await;
    let long = format!("https://public.example/{}", "a".repeat(4000));
    let urls = [
        "http:127.0.0.1",
        "http:///127.0.0.1/",
        "https://a\\@b/",
        "https://pub\tlic.example/",
        "https://public.example/\n",
        "https://",
        &long,
    ];
    refuses(&door, &urls, "malformed").await;
    door.still_works().await;
}
