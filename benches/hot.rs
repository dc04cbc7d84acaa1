//! What every notification passes through, one function at a time, in one thread:
//!
//!     cargo bench --bench hot
//!
//! The figure is the median of several rounds; it says something only beside another of the same run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use recado::clock::Timestamp;
use recado::notify::NotifyRequest;
use recado::retry::{self, Attempted, Repeat};
use recado::status::{Category, Outcome};
use recado::template::{Body, Own, OwnTemplates, Parts, Templates, TenantTemplates};
use recado::{address, json};
use serde_json::{Value, json};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(100);

fn main() {
    println!("{:<36} {:>12} {:>14}", "what", "ns a call", "calls a second");
    let body = json!({
        "type": "appointment_reminder",
        "channel": "whatsapp",
        "to": {"phone": "33 1234 5678", "name": "Ana López", "email": "ana@example.com"},
        "data": {"appointmentDate": "mañana", "appointmentTime": "2:00 PM", "serviceName": "Manicure y Pedicure"},
    })
    .to_string();
    row("serde_json: a notify body as Value", || serde_json::from_str::<Value>(black_box(&body)).unwrap());
    row("json: a notify body, strictly", || json::parse::<NotifyRequest>(black_box(body.as_bytes())).unwrap());
    row("address: a national phone", || address::phone(black_box("33 1234 5678"), Some("MX")).unwrap());
    row("address: an international phone", || address::phone(black_box("+52 33 1234 5678"), None).unwrap());

    let templates = Templates::builtin();
    let data = json!({"clientName": "Ana López", "appointmentDate": "mañana", "appointmentTime": "2:00 PM",
        "serviceName": "Manicure y Pedicure"});
    for channel in ["chatwoot", "webhook", "email"] {
        row(&format!("template: a reminder for {channel}"), || {
            templates.render("appointment_reminder", "es-MX", Parts::of(channel), black_box(&data)).unwrap()
        });
    }
    row("template: its missing variables", || {
        templates.missing("appointment_reminder", "es-MX", Parts::of("chatwoot"), black_box(&data)).unwrap()
    });

    against_the_bare_crate(&data);

    let attempted = attempted();
    row("retry: next", || retry::next(black_box(&attempted)));
}

/// A tenant's own reminder, budgets included, beside Handlebars by itself on the same text.
fn against_the_bare_crate(data: &Value) {
    let program = Arc::new(Templates::builtin());
    let text = program.get("appointment_reminder").unwrap().sources("es").remove("text").unwrap();
    let mut bare = handlebars::Handlebars::new();
    bare.set_strict_mode(true);
    bare.register_escape_fn(handlebars::no_escape);
    bare.register_template_string("reminder", text.trim_end()).unwrap();
    let body = Body { parts: [("text".to_owned(), text)].into(), ..Body::default() };
    let own = Own { branch: String::new(), name: "reminder".to_owned(), locale: String::new(), body };
    let own = Some(Arc::new(OwnTemplates::of(vec![own], &program, false)));
    let tenant = TenantTemplates { program, own };
    let found = tenant.find("reminder", None).unwrap();
    let parts = Parts::of("chatwoot");
    let mut ours = || found.render_here("es-MX", parts, black_box(data)).unwrap();
    let mut theirs = || bare.render("reminder", black_box(data)).unwrap();
    assert_eq!(ours().text, theirs().trim_end());
    // In turns, so that whatever slows the machine slows both.
    let mut ratios: Vec<f64> = (0..=ROUNDS).map(|_| round(&mut theirs) / round(&mut ours)).skip(1).collect();
    ratios.sort_by(f64::total_cmp);
    row("template: a tenant's reminder", ours);
    row("handlebars: the same from a Value", theirs);
    println!("{:<36} {:>27.2}", "renders a second, ours to bare", ratios[ratios.len() / 2]);
}

fn attempted() -> Attempted {
    let now = Timestamp(1_764_000_000_000);
    Attempted {
        outcome: Outcome::Throttled,
        category: Category::Transactional,
        tries: 3,
        step_began_at: now,
        now,
        retry_after: Some(Duration::from_secs(30)),
        after_unknown: false,
        unresolved: false,
        repeat: Repeat { key_holds_until: None, lookup: false, wait: Duration::from_secs(60) },
        on_unknown: None,
        chance: 0.5,
    }
}

/// Prints the median over the rounds; the first one warms up.
fn row<T>(what: &str, mut call: impl FnMut() -> T) {
    let mut rounds: Vec<f64> = (0..=ROUNDS).map(|_| round(&mut call)).skip(1).collect();
    rounds.sort_by(f64::total_cmp);
    let ns = rounds[rounds.len() / 2];
    println!("{what:<36} {ns:>12.0} {:>14.0}", 1e9 / ns);
}

/// Nanoseconds a call, over about a tenth of a second.
fn round<T>(call: &mut impl FnMut() -> T) -> f64 {
    let (began, mut calls) = (Instant::now(), 0_u32);
    loop {
        // The clock is read seldom, so that it does not show in the figure.
        for _ in 0..64 {
            black_box(call());
        }
        calls += 64;
        let took = began.elapsed();
        if took >= ROUND {
            return took.as_nanos() as f64 / f64::from(calls);
        }
    }
}
