//! The connection test tells token, account and inbox apart, and touches nobody.

use plugin_chatwoot::double::{Double, Fault, Inbox};
use serde_json::json;

use crate::support::*;

async fn check(double: &Double, setting: &str, value: serde_json::Value) -> Result<String, String> {
    let mut settings = double.settings(Inbox::Api);
    settings.0.insert(setting.into(), value);
    open(&settings).check().await
}

#[tokio::test]
async fn a_good_account_says_who_writes_through_what() {
    let (double, channel) = double(Inbox::Api).await;
    let said = channel.check().await.unwrap();
    assert_eq!(said, "Gateway Bot can write through the API inbox \"Api Centro\"");
    assert_eq!(double.take_counts(), [("fetchProfile", 1), ("getInbox", 1)].into());
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let (double, _) = double(Inbox::Api).await;
    let token = check(&double, "apiAccessToken", json!("wrong-token")).await.unwrap_err();
    assert!(token.contains("access token") && !token.contains("wrong-token"), "{token}");
    let account = check(&double, "accountId", json!(99)).await.unwrap_err();
    assert!(account.contains("account 99") && account.contains("member of: 1"), "{account}");
    let inbox = check(&double, "inboxId", json!(99)).await.unwrap_err();
    assert!(inbox.contains("no inbox 99"), "{inbox}");
    let website = check(&double, "inboxId", json!(Inbox::Website.id())).await.unwrap_err();
    assert!(website.contains("Website") && website.contains("cannot start a conversation with a phone"), "{website}");
    let refused = check(&double, "baseUrl", json!("http://127.0.0.1:9")).await.unwrap_err();
    assert!(refused.contains("connect"), "{refused}");
}

#[tokio::test]
async fn permission_plan_and_proxy_problems_are_told_apart() {
    let (double, channel) = double(Inbox::Api).await;
    let problems = [
        ("getInbox", Fault::error(401, "You are not authorized to do this action"), "collaborators"),
        ("getInbox", Fault::error(403, "API access is not enabled for this account"), "plan"),
        ("fetchProfile", Fault::not_signed_in(), "underscores"),
        ("fetchProfile", Fault::page(404), "baseUrl"),
        ("fetchProfile", Fault::Text(200, "text/html", "<html>"), "baseUrl"),
        ("fetchProfile", Fault::page(500), "500"),
        ("getInbox", Fault::throttled(), "too many requests"),
    ];
    for (operation, fault, word) in problems {
        double.fail_next(operation, fault);
        let said = channel.check().await.unwrap_err();
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn the_manifest_matches_what_open_reads() {
    let plugin = plugin_chatwoot::plugin();
    let manifest = plugin.manifest();
    let provider = manifest.provider("chatwoot").unwrap();
    assert!(provider.is_secret("apiAccessToken") && provider.is_secret("webhookSecret"));
    let given = [("accountId", json!(1)), ("inboxId", json!(7)), ("apiAccessToken", json!("hush-hush"))];
    let settings = provider.validate(given.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()).unwrap();
    assert_eq!(settings.0["baseUrl"], "https://app.chatwoot.com");
    assert!(!format!("{settings:?}").contains("hush"));
    assert!(
        plugin
            .open("chatwoot", &settings, &plugin_api::conformance::loopback_host(std::time::Duration::from_secs(1)))
            .is_ok()
    );
}
