//! A mail server that is nobody's test double: Exim, on a loopback port, with its spool in a scratch folder. Needs
//! root and the package `exim4-daemon-light`; where CI is set its absence is a failure.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mailparse::{MailHeaderMap, parse_mail};
use plugin_api::conformance::{Authority, Leaf};
use plugin_api::{Attachment, Channel, Event, Failure, Hint, State};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::reports::{SECRET, callback};
use crate::sink::{Act, Sink};
use crate::support::{message, outcome, send, try_open};

const EXIM: &str = "/usr/sbin/exim4";
const PACKAGE: &str = "exim4-daemon-light";

struct Exim {
    daemon: Child,
    port: u16,
    folder: TempDir,
    authority: Authority,
}

impl Drop for Exim {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Exim {
    /// `None`, loudly, where there is no Exim to start.
    fn start() -> Option<Self> {
        Self::start_before(9)
    }

    /// As [`Exim::start`]; mail for remote.test goes on to the server on this port.
    fn start_before(next: u16) -> Option<Self> {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0);
        if !is_root || !Path::new(EXIM).exists() {
            let why = format!("no mail was sent to a real server: wants root and apt-get install {PACKAGE}");
            assert!(std::env::var_os("CI").is_none(), "{why}");
            // Past the test runner, which keeps what a passing test prints to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
            return None;
        }
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        configure(folder.path(), next, &authority.leaf("localhost"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let daemon = Command::new(EXIM)
            .args(["-bdf", "-oX", &format!("127.0.0.1:{port}"), "-C"])
            .arg(folder.path().join("exim.conf"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let exim = Self { daemon, port, folder, authority };
        wait_until("Exim listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(exim)
    }

    fn open(&self, password: &str) -> Arc<dyn Channel> {
        self.open_with(password, json!({}))
    }

    fn open_with(&self, password: &str, extra: Value) -> Arc<dyn Channel> {
        let plugin = plugin_email::plugin_trusting(self.authority.roots.clone());
        let mut settings = json!({"host": "localhost", "port": self.port, "username": "recado", "password": password});
        settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        try_open(plugin.as_ref(), &crate::support::host_allowing(&["127.0.0.0/8", "::1/128"]), settings).unwrap()
    }

    /// The maildir once it holds `count` mails, oldest first.
    fn delivered(&self, count: usize) -> Vec<Vec<u8>> {
        let new = self.folder.path().join("mail/new");
        let list = || std::fs::read_dir(&new).map(|d| d.map(|f| f.unwrap().path()).collect::<Vec<_>>());
        wait_until("the mail is delivered", || list().is_ok_and(|found| found.len() >= count));
        let mut found = list().unwrap();
        found.sort();
        found.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }
}

/// The other side is a process of its own: there is nothing to await.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn configure(folder: &Path, next: u16, leaf: &Leaf) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("cert.pem", &leaf.certificate_pem);
    write("key.pem", &leaf.key_pem);
    let text = CONFIGURATION.replace("FOLDER", folder.to_str().unwrap()).replace("NEXT", &next.to_string());
    write("exim.conf", &text);
    for made in ["spool", "log", "mail"] {
        std::fs::create_dir(folder.join(made)).unwrap();
    }
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).current_dir(folder).status().unwrap().success(), "{program}");
    };
    run("chmod", &["755", "."]);
    run("chown", &["-R", "Debian-exim:Debian-exim", "spool", "log", "mail", "key.pem"]);
}

const CONFIGURATION: &str = r"
primary_hostname = mx.example.test
spool_directory = FOLDER/spool
log_file_path = FOLDER/log/%slog
pid_file_path = FOLDER/spool/exim.pid
tls_advertise_hosts = *
tls_certificate = FOLDER/cert.pem
tls_privatekey = FOLDER/key.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
host_lookup =
keep_environment =
smtp_accept_queue_per_connection = 0
rfc1413_query_timeout = 0s
deliver_drop_privilege = true
acl_smtp_rcpt = rcpt

begin acl
rcpt:
  defer  local_parts = later
         message = 4.2.1 greylisted, come back
  deny   local_parts = nobody
         message = 5.1.1 $local_part@$domain is unknown
  accept authenticated = *
         domains = example.test : remote.test
  deny   message = 5.7.1 relay not permitted

begin routers
remote:
  driver = manualroute
  domains = remote.test
  route_list = * 127.0.0.1
  self = send
  transport = onward
gone:
  driver = redirect
  local_parts = gone
  allow_fail
  data = :fail: nobody lives here any more
everyone:
  driver = accept
  transport = box

begin transports
onward:
  driver = smtp
  port = NEXT
  allow_localhost
  hosts_try_fastopen =
box:
  driver = appendfile
  maildir_format
  return_path_add
  directory = FOLDER/mail
  user = Debian-exim

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{recado}}{eq{$auth3}{right}}}}
  server_set_id = $auth2
";

#[tokio::test]
async fn a_real_server_takes_the_mail_over_starttls_and_a_password() {
    let Some(exim) = Exim::start() else { return };
    let channel = exim.open("right");
    let says = channel.check().await.unwrap();
    assert!(says.contains("signed in") && says.contains("TLS"), "{says}");

    let mut full = message("0198c0de");
    full.recipient.email = Some("ana@example.test".into());
    full.text = "Hola Ana:\n.\n..mañana\n".into();
    full.html = Some("<p>Hola Ana: <b>mañana</b></p>".into());
    full.attachments = vec![Attachment {
        filename: "cita mañana.txt".into(),
        content_type: "text/plain".into(),
        content: "a las 10".into(),
    }];
    let receipt = channel.send(&full).await.unwrap();
    let raw = exim.delivered(1).remove(0);
    let mail = parse_mail(&raw).unwrap();
    assert_eq!(mail.headers.get_first_value("Message-ID"), receipt.message_id);
    assert_eq!(mail.headers.get_first_value("Subject").unwrap(), "Tu cita es mañana");
    assert_eq!(mail.headers.get_first_value("Return-Path").unwrap(), "<clinic@example.test>");
    assert_eq!(mail.headers.get_all_values("Date").len(), 1);
    let received = mail.headers.get_first_value("Received").unwrap();
    assert!(received.contains("esmtpsa") && received.contains("gateway.example.test"), "{received}");
    let text = mail.subparts[0].subparts[0].get_body().unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), "Hola Ana:\n.\n..mañana");
    assert_eq!(mail.subparts[1].get_content_disposition().params["filename"], "cita mañana.txt");

    // Refusals in between leave the connection good for the next.
    let to = |address: &str| {
        let mut message = message("m2");
        message.recipient.email = Some(address.into());
        message
    };
    let error = channel.send(&to("nobody@example.test")).await.unwrap_err();
    assert_eq!((error.reason.as_ref(), error.hint), ("no_such_user", Some(Hint::SuppressAddress)));
    let told = outcome(channel.send(&to("later@example.test")).await);
    assert_eq!(told, (Some(Failure::Throttled), "greylisted".into()));
    let told = outcome(channel.send(&to("ana@example.com")).await);
    assert_eq!(told, (Some(Failure::Rejected), "policy_refused".into()));
    for _ in 0..20 {
        channel.send(&to("ana@example.test")).await.unwrap();
    }
    assert_eq!(exim.delivered(21).len(), 21);
}

#[tokio::test]
async fn a_real_server_refuses_a_wrong_password() {
    let Some(exim) = Exim::start() else { return };
    let channel = exim.open("wrong");
    let error = send(&channel, "m1").await.unwrap_err();
    assert_eq!((error.reason.as_ref(), error.hint), ("auth_failed", Some(Hint::Misconfigured)));
    let says = channel.check().await.unwrap_err();
    assert!(says.contains("535") && says.contains("check username and password"), "{says}");
}

// A thread of its own for the next server, while this one waits for Exim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_servers_bounces_come_back_as_the_failures_they_are() {
    let next = Sink::plain(&[("RCPT", Act::Say("550 5.1.1 <dead@remote.test>: no such user here"))]).await;
    let Some(exim) = Exim::start_before(next.port()) else { return };
    let plain = exim.open_with("right", json!({"hookSecret": SECRET}));
    let marked = exim.open_with("right", json!({"hookSecret": SECRET, "bounceAddress": "bounces@example.test"}));
    let suppress = Some(Hint::SuppressAddress);
    let cases = [
        // Refused by the next server, whose words Exim hands on; and by Exim itself, which has none.
        (&plain, "dead@remote.test", "no_such_user", suppress),
        (&marked, "gone@example.test", "recipient_refused", None),
    ];
    for (n, (channel, address, reason, hint)) in cases.into_iter().enumerate() {
        let mut sent = message(&format!("01930000-0000-7000-8000-00000000000{n}"));
        sent.recipient.email = Some(address.into());
        let receipt = channel.send(&sent).await.unwrap();
        let raw =
            exim.delivered(n + 1).into_iter().find(|raw| String::from_utf8_lossy(raw).contains(&sent.id)).unwrap();
        assert!(String::from_utf8_lossy(&raw).contains("Return-path: <>"));
        let events = channel.receive(&callback(&raw)).await.unwrap().events;
        let [Event::Status(status)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(
            (Some(&status.message_id), status.reference.as_ref()),
            (receipt.message_id.as_ref(), Some(&sent.id))
        );
        let State::Failed { reason: told, hint: hinted, .. } = &status.state else { panic!("{:?}", status.state) };
        assert_eq!((told.as_ref(), *hinted), (reason, hint), "{}", String::from_utf8_lossy(&raw));
    }
}
