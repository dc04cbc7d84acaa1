//! Which URLs are refused, and with which code: when they are saved, and again when something connects.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plugin_api::Failure;
use plugin_api::conformance::HttpDouble;
use plugin_api::http::{Http, Url};
use plugin_api::net::{Guard, Names};

fn code(guard: &Guard, text: &str) -> &'static str {
    guard.check_text(text).map_or_else(|e| e.code, |_| "ok")
}

fn all(guard: &Guard, expected: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(code(guard, text), expected, "{text}");
    }
}

fn loopback() -> Guard {
    Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true, ..Guard::default() }
}

fn named(names: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Guard {
    Guard { names: Names::from_fn(names), ..Guard::default() }
}

#[test]
fn disguised_ipv4_addresses_are_seen_through() {
    let hosts = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1."];
    for host in hosts {
        all(&Guard::default(), "address", &[&format!("http://{host}/"), &format!("https://{host}/x")]);
    }
    all(&Guard::default(), "address", &["https://127%2e0%2e0%2e1/"]);
}

#[test]
fn ipv6_addresses_are_judged_by_what_they_lead_to() {
    let special = [
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "fd00::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:1::",
        "2001:db8::1",
        "100::1",
        "::ffff:169.254.169.254",
        "3fff::1",
    ];
    for host in special {
        all(&Guard::default(), "address", &[&format!("http://[{host}]/"), &format!("https://[{host}]/")]);
    }
    all(
        &Guard::default(),
        "ok",
        &["https://[2606:4700::1111]/", "https://[::ffff:1.1.1.1]/", "https://[2002:101:101::1]/"],
    );
}

#[test]
fn private_and_metadata_addresses_are_refused() {
    let hosts = [
        "169.254.169.254",
        "100.100.100.200",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "metadata.google.internal",
        "METADATA.google.internal.",
    ];
    for host in hosts {
        all(&Guard::default(), "address", &[&format!("https://{host}/")]);
    }
    let neighbours =
        ["9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.0", "198.20.0.1"];
    for host in neighbours {
        all(&Guard::default(), "ok", &[&format!("https://{host}/")]);
    }
}

#[test]
fn local_names_and_our_own_are_refused() {
    let guard = Guard { own_hosts: vec!["Recado.example".into()], ..Guard::default() };
    let hosts = [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "printer.local",
        "a.b.internal",
        "a.internal.",
        "recado.example",
        "RECADO.EXAMPLE.",
        "%6cocalhost",
    ];
    for host in hosts {
        all(&guard, "host", &[&format!("https://{host}/"), &format!("http://{host}:8080/")]);
    }
    all(&guard, "ok", &["https://notlocalhost.example/", "https://my-recado.example/", "https://locales.example"]);
}

#[test]
fn an_operator_who_allows_loopback_may_say_localhost() {
    all(&loopback(), "ok", &["http://localhost:3000/", "http://127.0.0.1:25/", "https://[::ffff:127.0.0.1]/"]);
    all(&loopback(), "address", &["http://10.0.0.1/", "http://[::1]/"]);
    all(&loopback(), "scheme", &["http://1.1.1.1/"]);
    let without_http = Guard { allow_http: false, ..loopback() };
    all(&without_http, "scheme", &["http://localhost:3000/", "http://127.0.0.1/"]);
}

#[test]
fn other_schemes_are_refused() {
    all(
        &Guard::default(),
        "scheme",
        &[
            "file:///etc/passwd",
            "gopher://h/",
            "ftp://h/",
            "data:text/html,x",
            "javascript:alert(1)",
            "http://a.example/",
        ],
    );
}

#[test]
fn credentials_and_service_ports_are_refused() {
    let guard = Guard::default();
    all(&guard, "credentials", &["https://u:p@host/", "https://host@127.0.0.1/", "https://@a.example/"]);
    for port in [22, 25, 1, 1023, 6379, 5432, 3306, 11211, 27017, 9200, 2375] {
        all(&guard, "port", &[&format!("https://a.example:{port}/")]);
    }
    all(&guard, "ok", &["https://a.example:443/", "https://a.example:80/", "https://a.example:8443/"]);
}

#[test]
fn malformed_urls_are_refused_before_they_are_repaired() {
    let long = format!("https://a.example/{}", "x".repeat(4000));
    let texts = [
        "http:127.0.0.1",
        "http:/127.0.0.1/",
        "http:///127.0.0.1/",
        "https://",
        "https://:443/",
        "https://?x",
        "https://a\\@b/",
        "https:\\\\a\\b",
        "https://a\t.example/",
        "https://a.exam\nple/",
        " https://a.example/",
        "https://a.example/ x",
        "https://a\0.example/",
        "a.example",
        "",
        "https://[fe80::1%25eth0]/",
        "https://./",
        &long,
    ];
    all(&Guard::default(), "malformed", &texts);
    all(&Guard::default(), "ok", &[&format!("https://a.example/{}", "x".repeat(2000)), "HTTPS://A.example"]);
}

#[tokio::test]
async fn a_name_with_one_private_address_is_refused_when_saved() {
    let guard = named(|name| match name {
        "inside.example" => vec![[127, 0, 0, 1].into()],
        "both.example" => vec![[1, 1, 1, 1].into(), [10, 0, 0, 1].into()],
        "public.example" => vec![[1, 1, 1, 1].into()],
        _ => vec![],
    });
    assert_eq!(guard.check_url("https://inside.example/").await.unwrap_err().code, "address");
    assert_eq!(guard.check_url("https://both.example/").await.unwrap_err().code, "address");
    assert_eq!(guard.check_host("both.example", 587).await.unwrap_err().code, "address");
    assert!(guard.check_url("https://public.example/").await.is_ok());
    assert!(guard.check_url("https://nobody.example/").await.is_ok(), "a name may be registered later");
}

#[tokio::test]
async fn plain_http_and_odd_ports_need_every_address_inside_allow() {
    let names = Names::from_fn(|name| match name {
        "chatwoot" => vec![[127, 0, 0, 1].into()],
        "both.example" => vec![[127, 0, 0, 1].into(), [1, 1, 1, 1].into()],
        _ => vec![],
    });
    let guard = Guard { names, ..loopback() };
    assert!(guard.check_url("http://chatwoot:25/").await.is_ok());
    assert!(guard.check_url("https://both.example/").await.is_ok());
    assert_eq!(guard.check_url("http://both.example/").await.unwrap_err().code, "scheme");
    assert_eq!(guard.check_url("https://both.example:25/").await.unwrap_err().code, "port");
    assert_eq!(guard.check_url("http://nobody.example/").await.unwrap_err().code, "scheme");
}

#[tokio::test]
async fn a_mail_host_is_judged_like_the_host_of_a_url() {
    let guard = named(|_| vec![[1, 1, 1, 1].into()]);
    let code = async |host, port| guard.check_host(host, port).await.map_or_else(|e| e.code, |()| "ok");
    assert_eq!(code("mail.example", 587).await, "ok");
    assert_eq!(code("mail.example", 25).await, "ok");
    assert_eq!(code("mail.example", 2525).await, "ok");
    assert_eq!(code("mail.example", 22).await, "port");
    assert_eq!(code("2130706433", 25).await, "address");
    assert_eq!(code("::1", 25).await, "address");
    assert_eq!(code("[::1]", 25).await, "address");
    assert_eq!(code("localhost", 25).await, "host");
    for host in ["", "a b", "https://a", "a:25", "a/b", "u@a"] {
        assert_eq!(code(host, 25).await, "malformed", "{host}");
    }
}

/// The name is public when it is saved; when something connects to it, it leads into the house.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_not_followed() {
    let double = HttpDouble::start().await;
    let asked = AtomicUsize::new(0);
    let guard = Arc::new(named(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => vec![[1, 1, 1, 1].into()],
        _ => vec![[127, 0, 0, 1].into()],
    }));
    let url = guard.check_url(&format!("https://rebind.example:{}/", double.address().port())).await.unwrap();
    let error = Http::new(guard, Duration::from_secs(5)).post(&url).send().await.unwrap_err();
    assert_eq!((error.failure, &*error.reason), (Failure::NotSent, "blocked_address"));
    assert_eq!(double.connections(), 0);
}

#[tokio::test]
async fn a_literal_is_judged_again_at_each_call() {
    let http = Http::new(Arc::default(), Duration::from_secs(5));
    for text in [
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost/",
        "https://1.1.1.1:25/",
        "http://1.1.1.1/",
    ] {
        let error = http.get(&Url::parse(text).unwrap()).send().await.unwrap_err();
        assert_eq!((error.failure, &*error.reason), (Failure::NotSent, "blocked_address"), "{text}");
    }
}

#[tokio::test]
async fn a_plain_http_name_connects_only_inside_allow() {
    let double = HttpDouble::start().await;
    let names = Names::from_fn(|name| match name {
        "inside.example" => vec![[127, 0, 0, 1].into(), [1, 1, 1, 1].into()],
        _ => vec![[1, 1, 1, 1].into()],
    });
    let http = Http::new(Arc::new(Guard { names, ..loopback() }), Duration::from_secs(5));
    let at = |host: &str| Url::parse(&format!("http://{host}:{}/", double.address().port())).unwrap();
    assert_eq!(http.post(&at("inside.example")).send().await.unwrap().status, 200);
    assert_eq!(http.post(&at("outside.example")).send().await.unwrap_err().reason, "blocked_address");
}
