//! The table of the unknown outcome: for each provider what happens, and when, after nobody could say whether a message
//! was taken. The answers get lost on the way back, or the requests on the way there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plugin_api::conformance::{Behaviour, Cut, Fault, HttpDouble, Proxy, Seen};
use plugin_api::{Callback, Settings};
use plugin_chatwoot::double::{Double as Chatwoot, Inbox};
use plugin_sms::double::{Infobip, Twilio, Vonage};
use plugin_whatsapp::double::{MetaDouble, TwilioDouble};
use recado::clock::Timestamp;
use serde_json::{Value, json};

use crate::support::{Shop, TestApp, TestStore, hello};

const ANA: &str = "+523312345678";
const LOST: Fault = Fault::CutAfterRequest(Cut::Reset);
const NEVER_GOT: Fault = Fault::CutInside(Cut::Reset);
const MOMENT: Duration = Duration::from_millis(1);

/// A callback to this hook, as of now.
type Opening = dyn Fn(&str, Timestamp) -> Callback + Send + Sync;

/// A row of the table, with its provider behind a proxy.
struct Row {
    channel: &'static str,
    provider: &'static str,
    settings: Settings,
    proxy: Proxy,
    taken: Box<dyn Fn() -> usize + Send + Sync>,
    /// What Ana writes to the hook, where that comes first.
    opening: Option<Box<Opening>>,
    wait: Duration,
    lookup: bool,
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

async fn behind(at: SocketAddr, makes_message: fn(&Seen) -> bool) -> Proxy {
    Proxy::concerning(at, makes_message).await
}

async fn chatwoot() -> Row {
    let double = Chatwoot::start().await;
    double.add_contact(Some(ANA), None);
    let at = double.url().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = behind(at, |seen| {
        seen.method == "POST" && (seen.path.ends_with("/messages") || seen.path.ends_with("/conversations"))
    });
    let proxy = proxy.await;
    let mut settings = double.settings(Inbox::Api);
    settings.0.insert("baseUrl".into(), json!(proxy.url("")));
    let taken = Box::new(move || double.sent().len());
    let (channel, provider) = ("chatwoot", "chatwoot");
    Row { channel, provider, settings, proxy, taken, opening: None, wait: minutes(1), lookup: true }
}

async fn meta() -> Row {
    let double = Arc::new(MetaDouble::start().await);
    double.without_pair_limit();
    let proxy = behind(double.http.address(), |seen| seen.path.ends_with("/messages")).await;
    let settings = MetaDouble::settings(proxy.address());
    let writer = Arc::clone(&double);
    let opening = Box::new(move |hook: &str, _| {
        writer.callback(hook, &[writer.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}))])
    });
    let taken = Box::new(move || double.sent().len());
    let (channel, provider) = ("whatsapp", "meta");
    Row { channel, provider, settings, proxy, taken, opening: Some(opening), wait: minutes(10), lookup: false }
}

async fn whatsapp_twilio() -> Row {
    let double = Arc::new(TwilioDouble::start().await);
    let proxy = behind(double.http.address(), |seen| seen.method == "POST").await;
    let settings = TwilioDouble::settings(proxy.address());
    let writer = Arc::clone(&double);
    let opening = Box::new(move |hook: &str, now: Timestamp| {
        // Its messages are told apart by their time.
        writer.advance(now.to_system().duration_since(writer.now()).unwrap());
        writer.writes(ANA, hook, &[])
    });
    let taken = Box::new(move || double.messages().iter().filter(|m| m["direction"] != "inbound").count());
    let (channel, provider) = ("whatsapp", "twilio");
    Row { channel, provider, settings, proxy, taken, opening: Some(opening), wait: minutes(5), lookup: true }
}

async fn sms_twilio() -> Row {
    let double = Twilio::start().await;
    let proxy = behind(double.http().address(), |seen| seen.method == "POST").await;
    let settings = Twilio::settings_at(proxy.address());
    let taken = Box::new(move || double.sent().len());
    let (channel, provider) = ("sms", "twilio");
    Row { channel, provider, settings, proxy, taken, opening: None, wait: minutes(5), lookup: true }
}

async fn vonage() -> Row {
    let double = Vonage::start().await;
    let proxy = behind(double.http().address(), |seen| seen.method == "POST").await;
    let settings = Vonage::settings_at(proxy.address());
    let taken = Box::new(move || double.sent().len());
    let (channel, provider) = ("sms", "vonage");
    Row { channel, provider, settings, proxy, taken, opening: None, wait: minutes(5), lookup: false }
}

async fn infobip() -> Row {
    let double = Infobip::start().await;
    let proxy = behind(double.http().address(), |seen| seen.method == "POST").await;
    let settings = Infobip::settings_at(proxy.address());
    let taken = Box::new(move || double.sent().len());
    let (channel, provider) = ("sms", "infobip");
    Row { channel, provider, settings, proxy, taken, opening: None, wait: minutes(5), lookup: true }
}

/// A channel that a script describes, and whose manifest says nothing of the unknown.
async fn telegram() -> Row {
    let double = HttpDouble::start().await;
    let proxy = behind(double.address(), |seen| seen.method == "POST").await;
    let settings = json!({"token": "1:token-canary-0001", "chatId": "-1001", "baseUrl": proxy.url("")});
    let settings = Settings(settings.as_object().unwrap().clone());
    let taken = Box::new(move || double.taken());
    let (channel, provider) = ("telegram", "telegram");
    Row { channel, provider, settings, proxy, taken, opening: None, wait: minutes(5), lookup: false }
}

async fn rows() -> Vec<Row> {
    vec![
        chatwoot().await,
        meta().await,
        whatsapp_twilio().await,
        sms_twilio().await,
        vonage().await,
        infobip().await,
        telegram().await,
    ]
}

/// One message of a tenant of its own, so that nothing is left of the one before.
struct Played<'a> {
    app: &'a TestApp,
    row: &'a Row,
    shop: Shop,
    id: String,
    before: usize,
}

impl<'a> Played<'a> {
    /// Sends one whose call breaks, and heals the way.
    async fn new(app: &'a TestApp, row: &'a Row, fault: Fault, changes: Value) -> Self {
        let shop = Shop::bare(app, "Salón Uno").await;
        let settings = Value::Object(row.settings.0.clone());
        shop.set(row.channel, json!({"provider": row.provider, "settings": settings})).await;
        if let Some(wish) = changes.get("onUnknown") {
            shop.change(json!({"onUnknown": {row.channel: wish}})).await;
        }
        if let Some(opening) = &row.opening {
            app.take(&opening(&shop.hook(row.channel).await, app.now())).await;
        }
        let before = (row.taken)();
        let mut body = hello();
        body["channel"] = json!(row.channel);
        body["to"] = json!({"phone": ANA});
        // Look-ups compare texts.
        body["message"] = json!(format!("Hola, {}", shop.id));
        body["category"] = changes["category"].clone();
        row.proxy.set(fault);
        let id = shop.send(&body).await;
        app.deliver_due().await;
        row.proxy.set(Fault::Pass);
        Self { app, row, shop, id, before }
    }

    /// Status, calls, and messages the provider took.
    async fn is(&self, status: &str, attempts: usize, taken: usize) -> Value {
        let what = format!("{} through {}", self.row.channel, self.row.provider);
        let found = self.shop.find(&self.id).await;
        let made = found["attempts"].as_array().unwrap().len();
        let took = (self.row.taken)() - self.before;
        assert_eq!((found["status"].as_str().unwrap(), made, took), (status, attempts, taken), "{what}: {found}");
        found
    }

    /// It is looked into after the row's wait and not a moment before.
    async fn waits(&self, taken: usize) {
        let found = self.is("unknown", 1, taken).await;
        let due = Timestamp::parse(found["dueAt"].as_str().unwrap_or_else(|| panic!("never looked into: {found}")));
        assert_eq!(due.unwrap().since(self.app.now()), self.row.wait, "{} {}", self.row.channel, self.row.provider);
        self.app.advance(self.row.wait.saturating_sub(MOMENT)).await;
        self.is("unknown", 1, taken).await;
        self.app.advance(MOMENT).await;
    }

    /// Nothing more is done about it.
    async fn is_held(&self, attempts: usize, taken: usize) {
        let found = self.is("unknown", attempts, taken).await;
        assert_eq!(found["dueAt"], Value::Null, "{found}");
        self.app.advance(minutes(60 * 24)).await;
        self.is("unknown", attempts, taken).await;
    }

    async fn was_looked_up(&self) {
        let found = self.is("sent", 1, 1).await;
        let told = found["timeline"].as_array().unwrap().iter().any(|e| e["event"] == "looked_up");
        assert!(told && found["messageId"].is_string(), "{found}");
    }
}

/// Some providers only report to a server that they can reach.
async fn gateway() -> TestApp {
    TestApp::with(TestStore::sqlite(), &[("RECADO_SERVER__PUBLIC_URL", "https://recado.example")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactional_is_looked_up_or_tried_once_more_after_the_wait() {
    let app = gateway().await;
    for row in rows().await {
        let lost = Played::new(&app, &row, LOST, json!({"category": "transactional"})).await;
        lost.waits(1).await;
        if row.lookup {
            lost.was_looked_up().await;
        } else {
            lost.is("sent", 2, 2).await;
        }
        let cut = Played::new(&app, &row, NEVER_GOT, json!({"category": "transactional"})).await;
        cut.waits(0).await;
        cut.is("sent", 2, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_retry_is_the_last() {
    let app = gateway().await;
    for row in rows().await.iter().filter(|row| !row.lookup) {
        let lost = Played::new(&app, row, LOST, json!({"category": "transactional"})).await;
        row.proxy.set(LOST);
        lost.waits(1).await;
        lost.is_held(2, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marketing_is_held_unless_the_provider_can_say() {
    let app = gateway().await;
    for row in rows().await {
        let lost = Played::new(&app, &row, LOST, json!({"category": "marketing"})).await;
        if row.lookup {
            lost.waits(1).await;
            lost.was_looked_up().await;
        } else {
            lost.is_held(1, 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_wants_comes_first() {
    let app = gateway().await;
    for row in rows().await {
        let hold = json!({"category": "transactional", "onUnknown": "hold"});
        let lost = Played::new(&app, &row, LOST, hold).await;
        if row.lookup {
            // A look-up is no retry.
            lost.waits(1).await;
            lost.was_looked_up().await;
        } else {
            lost.is_held(1, 1).await;
        }
        for category in ["transactional", "marketing"] {
            let lost = Played::new(&app, &row, LOST, json!({"category": category, "onUnknown": "fail"})).await;
            let found = lost.is("failed", 1, 1).await;
            assert_eq!(found["reason"], "unknown_outcome");
        }
        let lost = Played::new(&app, &row, LOST, json!({"category": "marketing", "onUnknown": "retry"})).await;
        lost.waits(1).await;
        if row.lookup {
            lost.was_looked_up().await;
        } else {
            lost.is("sent", 2, 2).await;
        }
    }
}

/// WhatsApp Cloud can't be asked, but tells: its status carries our reference, and then nothing is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_with_our_reference_says_what_became_of_it() {
    let app = gateway().await;
    let double = MetaDouble::start().await;
    let proxy = behind(double.http.address(), |seen| seen.path.ends_with("/messages")).await;
    let shop = Shop::bare(&app, "Salón Uno").await;
    let settings = Value::Object(MetaDouble::settings(proxy.address()).0);
    shop.set("whatsapp", json!({"provider": "meta", "settings": settings})).await;
    let hook = shop.hook("whatsapp").await;
    app.take(&double.callback(&hook, &[double.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}))])).await;
    let mut body = hello();
    body["channel"] = json!("whatsapp");
    for category in ["transactional", "marketing"] {
        body["category"] = json!(category);
        proxy.set(LOST);
        let id = shop.send(&body).await;
        app.deliver_due().await;
        proxy.set(Fault::Pass);
        assert_eq!(shop.status(&id).await, "unknown");
        let message = double.sent().pop().unwrap()["id"].as_str().unwrap().to_owned();
        app.take(&double.callback(&hook, &[double.status(&message, "sent")])).await;
        assert_eq!(shop.status(&id).await, "sent");
        app.advance(minutes(60)).await;
        let found = shop.find(&id).await;
        assert_eq!((&found["status"], found["attempts"].as_array().unwrap().len()), (&json!("sent"), 1), "{found}");
    }
    assert_eq!(double.sent().len(), 2);
}

/// What may have been taken goes no other way: not when the retry is refused, nor when it can't be made any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_other_channel_follows_on_what_may_have_been_taken() {
    let app = gateway().await;
    let double = MetaDouble::start().await;
    let proxy = behind(double.http.address(), |seen| seen.path.ends_with("/messages")).await;
    let shop = app.shop().await;
    let settings = Value::Object(MetaDouble::settings(proxy.address()).0);
    shop.set("whatsapp", json!({"provider": "meta", "settings": settings})).await;
    let hook = shop.hook("whatsapp").await;
    app.take(&double.callback(&hook, &[double.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}))])).await;
    let mut body = hello();
    body.as_object_mut().unwrap().remove("channel");
    body["channels"] = json!(["whatsapp", "sms"]);
    body["to"] = json!({"phone": ANA});
    let lose = async || {
        proxy.set(LOST);
        let id = shop.send(&body).await;
        app.deliver_due().await;
        proxy.set(Fault::Pass);
        id
    };
    let refused = lose().await;
    double.http.behave(Behaviour::Refuse);
    app.advance(minutes(10)).await;
    let throttled = lose().await;
    double.http.behave(Behaviour::Throttle(None));
    app.advance(minutes(10)).await;
    double.http.behave(Behaviour::Refuse);
    app.advance(minutes(60)).await;
    double.http.behave(Behaviour::Accept);
    app.advance(minutes(60 * 24 - 85)).await;
    let closed = lose().await;
    app.advance(minutes(10)).await;
    for (id, attempts) in [(refused, 2), (throttled, 3), (closed, 1)] {
        let found = shop.find(&id).await;
        assert_eq!((&found["status"], &found["channel"]), (&json!("unknown"), &json!("whatsapp")), "{found}");
        assert_eq!((found["attempts"].as_array().unwrap().len(), &found["dueAt"]), (attempts, &Value::Null), "{found}");
    }
    assert_eq!(shop.captured().await.len(), 0);
    // Known to have been refused, a message goes the other way.
    app.take(&double.callback(&hook, &[double.writes(ANA, json!({"type": "text", "text": {"body": "Hola"}}))])).await;
    double.http.behave(Behaviour::Refuse);
    let other = shop.send(&body).await;
    app.deliver_due().await;
    assert_eq!((&shop.find(&other).await["channel"], shop.captured().await.len()), (&json!("sms"), 1));
}

/// The receiver of `webhook` drops what it has, so an unknown outcome is tried again in every category.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_tried_again_under_its_id_unless_it_is_to_be_held() {
    let app = gateway().await;
    let double = HttpDouble::start().await;
    let proxy = behind(double.address(), |seen| seen.method == "POST").await;
    let settings = json!({"url": proxy.url("/in"), "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
    let settings = Settings(settings.as_object().unwrap().clone());
    let (channel, provider) = ("webhook", "webhook");
    let taken = {
        let double = double.clone();
        Box::new(move || double.taken())
    };
    let row = Row { channel, provider, settings, proxy, taken, opening: None, wait: minutes(1), lookup: false };
    for category in ["transactional", "marketing"] {
        let lost = Played::new(&app, &row, LOST, json!({"category": category})).await;
        lost.is("unknown", 1, 1).await;
        app.advance(Duration::from_secs(5)).await;
        lost.is("sent", 2, 2).await;
        let ids: Vec<_> =
            double.seen().iter().rev().take(2).map(|s| s.header("webhook-id").map(str::to_owned)).collect();
        assert_eq!(ids, [Some(lost.id.clone()), Some(lost.id.clone())]);
        let held = Played::new(&app, &row, LOST, json!({"category": category, "onUnknown": "hold"})).await;
        held.is_held(1, 1).await;
    }
}
