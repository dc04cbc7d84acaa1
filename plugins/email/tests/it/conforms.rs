//! What every channel must do, as far as SMTP has it.

use std::net::SocketAddr;
use std::sync::Arc;

use plugin_api::conformance::{Behaviour, Expected, Harness, run};
use plugin_api::{Failure, Plugin, Settings};
use serde_json::json;

use crate::sink::{Act, Encryption, Sink};
use crate::support::host;

struct Mail {
    plugin: Box<dyn Plugin>,
    sink: Arc<Sink>,
}

impl Harness for Mail {
    fn plugin(&self) -> &dyn Plugin {
        self.plugin.as_ref()
    }

    fn provider(&self) -> &'static str {
        "smtp"
    }

    fn settings(&self, at: SocketAddr) -> Settings {
        let settings = json!({
            "host": at.ip().to_string(), "port": at.port(), "security": "none",
            "username": "clinic-user", "password": "password-canary", "from": "clinic@example.test",
        });
        settings.as_object().unwrap().clone().into_iter().collect()
    }

    fn address(&self) -> SocketAddr {
        self.sink.address.unwrap()
    }

    fn behave(&self, behaviour: Behaviour) {
        self.sink.replace(match behaviour {
            Behaviour::Refuse => vec![("RCPT", Act::Say("550 5.1.1 <zoraida@patients.example> unknown"))],
            // Said to MAIL, so that the account is refused by a server which has seen the message's commands.
            Behaviour::Unauthorized => vec![("MAIL", Act::Say("530 5.7.0 password-canary is not it"))],
            Behaviour::Throttle(_) => vec![("RCPT", Act::Say("450 4.2.1 greylisted"))],
            Behaviour::Rubbish => vec![(".", Act::Say("{}"))],
            Behaviour::CutHead => vec![(".", Act::Close)],
            _ => vec![],
        });
    }

    fn calls(&self) -> usize {
        self.sink.count("RCPT")
    }

    fn taken(&self) -> usize {
        self.sink.mails().len()
    }

    fn expects(&self, behaviour: Behaviour) -> Expected {
        match behaviour {
            // Only a 250 is acceptance.
            Behaviour::Rubbish => Expected::Fails(Failure::Unknown),
            Behaviour::Throttle(Some(_)) => Expected::NotApplicable("SMTP names no delay"),
            Behaviour::ServerError(_) => Expected::NotApplicable("every 5yz is a refusal"),
            Behaviour::CutBody => Expected::NotApplicable("an answer is one line"),
            Behaviour::Redirect(_) => Expected::NotApplicable("SMTP has none that this client would follow"),
            Behaviour::Silence => Expected::NotApplicable("waits twenty time-outs; tried with a clock that jumps"),
            other => other.usual(),
        }
    }
}

#[tokio::test]
async fn it_conforms() {
    // Prepares the process for the HTTP client that every host holds.
    drop(host());
    let sink = Sink::start(Encryption::None, &["PIPELINING", "AUTH PLAIN"], &[]).await;
    run(&Mail { plugin: plugin_email::plugin(), sink }).await;
}
