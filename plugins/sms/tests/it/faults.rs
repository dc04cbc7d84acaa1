//! After a connection that broke, the vendors that list their messages can say what became of one. How each channel
//! stands broken connections is the conformance suite's matter.

use plugin_api::conformance::{Cut, Fault, Proxy};
use plugin_api::{Channel, Failure, Lookup, Message};
use plugin_sms::double::{Infobip, Twilio};

use crate::support::*;

/// What was taken before the cut is found, and what was cut itself is not.
async fn is_found(proxy: &Proxy, channel: &dyn Channel) {
    let since = now();
    for (id, fault, taken) in
        [("d1", Fault::CutAfterRequest(Cut::Reset), true), ("d2", Fault::CutInside(Cut::Reset), false)]
    {
        let message = Message { id: id.into(), ..message(&format!("Hola {id}")) };
        proxy.set(fault);
        assert_eq!(channel.send(&message).await.unwrap_err().failure, Failure::Unknown);
        proxy.set(Fault::Pass);
        let found = channel.lookup(&message, since).await;
        assert_eq!(matches!(found, Lookup::Found { message_id: Some(_) }), taken, "{id}: {found:?}");
    }
}

#[tokio::test]
async fn twilio_says_what_it_took_before_the_connection_broke() {
    let double = Twilio::start().await;
    let proxy = Proxy::start(double.http().address()).await;
    is_found(&proxy, &*open("twilio", &Twilio::settings_at(proxy.address()))).await;
}

#[tokio::test]
async fn infobip_says_what_it_took_before_the_connection_broke() {
    let double = Infobip::start().await;
    let proxy = Proxy::start(double.http().address()).await;
    is_found(&proxy, &*open("infobip", &Infobip::settings_at(proxy.address()))).await;
}
