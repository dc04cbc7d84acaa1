//! Contacts, consents, appointments, imports.

use std::collections::{BTreeMap, HashMap};

use recado::appointment::{self, Appointment, AppointmentStatus as S, NewAppointment, Whose};
use recado::contact::{Consent, Contact, Figures, Preferences};
use recado::error::Fault;
use recado::ids::{ContactId, ImportId};
use recado::status::Category;
use recado::store::appointments::{self, Difference};
use recado::store::caps;
use recado::store::contacts::{self, By, Filter, Key};
use recado::store::imports::Mark;
use recado::store::imports::{self, ImportRow};
use recado::store::{self, consents};

use super::*;

fn contact(id: &str, phone: Option<&str>, email: Option<&str>) -> Contact {
    let attributes = json!({"points": 7, "ñ": "\" ✓"}).to_string();
    Contact {
        id: id.into(),
        external_id: Some(format!("x-{id}")),
        name: Some(format!("Ana LÓPEZ {id}")),
        phone: phone.map(Into::into),
        email: email.map(Into::into),
        attributes,
        preferences: Preferences { channels: vec!["sms".into()] },
        consents: vec![said("sms", false)],
        ..Contact::new(NOW)
    }
}

fn said(channel: &str, granted: bool) -> Consent {
    Consent { channel: channel.into(), category: Category::Marketing, granted, at: NOW, source: "form".into() }
}

async fn put(db: &Db, tenant: &TenantId, contacts: &[Contact], mark: Option<Mark>) {
    let (import, line) = (mark.map(|m| m.import), mark.map_or(0, |m| m.line));
    for contact in contacts {
        let row = (contact.clone(), line);
        contacts::insert(&db.pool, db.engine, tenant, import, &[row], contact.updated_at).await.unwrap();
    }
}

on_each_db!(contacts_are_kept_found_and_listed, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    let all = [
        contact("c1", Some("+523331234567"), Some("Ana@x.example")),
        contact("c2", Some("+523331234568"), None),
        contact("c3", None, Some("beto@x.example")),
    ];
    put(db, &a, &all, None).await;
    put(db, &b, &all[..1], None).await;
    contacts::insert(pool, db.engine, &a, None, &[], NOW).await.unwrap();
    let found = contacts::find(pool, &a, "c1", NOW).await.unwrap().unwrap();
    assert_eq!((&found.contact, found.figures), (&all[0], Figures::default()));
    assert_eq!(contacts::find(pool, &a, "x-c2", NOW).await.unwrap().unwrap().contact, all[1]);
    assert!(contacts::find(pool, &b, "c2", NOW).await.unwrap().is_none());
    let changed = Contact { name: None, phone: Some("+523331234569".into()), updated_at: later(5), ..all[1].clone() };
    let stored = async || contacts::find(pool, &a, "c2", NOW).await.unwrap().unwrap().contact;
    contacts::update(pool, db.engine, &a, None, &[(changed.clone(), 0)], later(5)).await.unwrap();
    contacts::update(pool, db.engine, &a, None, &[], NOW).await.unwrap();
    assert_eq!(stored().await, changed);
    contacts::touch(pool, db.engine, &a, 7, &[(all[1].clone(), 4)]).await.unwrap();
    contacts::touch(pool, db.engine, &a, 8, &[]).await.unwrap();
    assert_eq!(stored().await, changed);
    let key = Key { n: 0, external_id: Some("x-c2"), phone: None, email: None };
    let found = contacts::lookup(pool, db.engine, &a, &[key]).await.unwrap();
    assert_eq!(found[0].mark, Some(Mark { import: 7, line: 4 }));
    let list = async |filter: Filter, limit: usize| -> Vec<String> {
        let listed = contacts::list(pool, &a, &filter, limit, NOW).await.unwrap();
        listed.into_iter().map(|l| l.contact.id.to_string()).collect()
    };
    let q = |q: &str| Filter { q: Some(q.into()), ..Filter::default() };
    assert_eq!(list(Filter::default(), 2).await, ["c3", "c2"]);
    assert_eq!(list(Filter { before: Some("c2".into()), ..Filter::default() }, 2).await, ["c1"]);
    assert_eq!(list(q("lopez C3"), 9).await, ["c3"]);
    assert_eq!(list(q("%"), 9).await, Vec::<String>::new());
    assert_eq!(list(Filter { phone: Some("+523331234567".into()), ..Filter::default() }, 9).await, ["c1"]);
    assert_eq!(list(Filter { email: Some("ANA@x.example".into()), ..Filter::default() }, 9).await, ["c1"]);
    let both = Filter { phone: Some("+523331234567".into()), email: Some("beto@x.example".into()), ..q("ana") };
    assert_eq!(list(both, 9).await, Vec::<String>::new());
});

on_each_db!(people_are_looked_up_set_by_set, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    let mark = Mark { import: i64::MAX, line: 3 };
    let mut odd = contact("c2", Some("+523331234567"), None);
    // Somebody's external id is another's id.
    odd.external_id = Some("c1".into());
    put(db, &a, &[contact("c1", Some("+523331234567"), Some("Ana@x.example"))], Some(mark)).await;
    put(db, &a, &[odd], None).await;
    put(db, &b, &[contact("c9", Some("+523331234567"), Some("ana@x.example"))], None).await;
    let key = |n, external_id, phone, email: Option<&str>| Key { n, external_id, phone, email: email.map(Into::into) };
    let keys = [
        // By external id, and so not by what else they have.
        key(0, Some("x-c1"), Some("+523331234567"), Some("ana@x.example")),
        key(1, None, Some("+523331234567"), None),
        key(2, Some("nobody"), Some("+520"), Some("ana@x.example")),
        key(3, None, None, None),
    ];
    let found = contacts::lookup(pool, db.engine, &a, &keys).await.unwrap();
    let mut found: Vec<_> = found.iter().map(|f| (f.n, f.by, f.contact.id.as_str(), f.mark)).collect();
    found.sort_by_key(|(n, _, id, _)| (*n, (*id).to_owned()));
    assert_eq!(
        found,
        [
            (0, By::ExternalId, "c1", Some(mark)),
            (1, By::Phone, "c1", Some(mark)),
            (1, By::Phone, "c2", None),
            (2, By::Email, "c1", Some(mark))
        ]
    );
    // Only what is written like an id is looked for as one.
    let (id, other) = ("0193f0a0-0000-7000-8000-00000000000a", "0193f0a0-0000-7000-8000-00000000000b");
    let namesake = Contact { external_id: Some(id.into()), ..contact(other, None, None) };
    put(db, &a, &[contact(id, None, None), namesake], None).await;
    let asked = [id, "x-c1", other, "c9", &format!("x-{id}"), "c1"];
    let by_id = contacts::resolve_ids(pool, db.engine, &a, &asked).await.unwrap();
    let expected = [Some(id), Some("c1"), Some(other), None, Some(id), Some("c2")];
    assert_eq!(by_id, expected.map(|id| id.map(ContactId::from)), "an id goes before an equal external id");
    assert_eq!(contacts::resolve_ids(pool, db.engine, &b, &asked[..3]).await.unwrap(), [None, None, None]);
    let resolved = contacts::resolve(pool, db.engine, &a, &["c1", "x-c1", "c9"]).await.unwrap();
    let resolved: HashMap<&str, &str> = resolved.iter().map(|(k, c)| (k.as_str(), c.id.as_str())).collect();
    assert_eq!(resolved, HashMap::from([("c1", "c1"), ("x-c1", "c1")]), "an id goes before an equal external id");
    let mut own = db.connect_for_growing().await.unwrap();
    assert_eq!(contacts::lookup(&mut own, db.engine, &a, &keys).await.unwrap().len(), 4, "whatever the plan");
    let standings = contacts::standings(pool, db.engine, &a, &["c1", "c9", "x-c1"]).await.unwrap();
    assert_eq!(standings.len(), 1);
    assert_eq!((standings[0].id.as_str(), &standings[0].consents), ("c1", &vec![said("sms", false)]));
    assert_eq!(standings[0].person.as_deref(), Some("+523331234567"));
    assert_eq!(standings[0].preferences.channels, ["sms"]);
});

on_each_db!(the_history_of_consents_is_kept_in_order, async |db: &Db| {
    let pool = &db.pool;
    let a = tenant(db, "a").await;
    let (ana, beto) = (ContactId::from("c1"), ContactId::from("c2"));
    consents::insert(pool, db.engine, &a, &[]).await.unwrap();
    let rows = [(ana.clone(), said("sms", true)), (ana.clone(), said("sms", false)), (beto, said("all", true))];
    consents::insert(pool, db.engine, &a, &rows).await.unwrap();
    let first = consents::list(pool, &a, &ana, None, 1).await.unwrap();
    assert_eq!(first[0].consent, said("sms", false));
    let rest = consents::list(pool, &a, &ana, Some(&first[0].id), 9).await.unwrap();
    assert_eq!((rest.len(), &rest[0].consent), (1, &said("sms", true)));
});

fn visit(id: &str, contact: &str, at: i64, status: S) -> Appointment {
    Appointment {
        external_id: id.into(),
        contact_id: contact.into(),
        branch_id: Some("b1".into()),
        starts_at: later(at),
        ends_at: Some(later(at + 1)),
        status,
        service: Some("Corte".into()),
        professional: None,
        attributes: "{\"room\":2}".into(),
        created_at: NOW,
        updated_at: NOW,
    }
}

on_each_db!(appointments_are_kept_listed_and_counted, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    put(db, &a, &[contact("c1", None, None), contact("c2", None, None)], None).await;
    put(db, &b, &[contact("c1", None, None)], None).await;
    let all = [
        visit("v1", "c1", -20, S::Completed),
        visit("v2", "c1", -10, S::NoShow),
        visit("v3", "c1", 10, S::Cancelled),
        visit("v4", "c1", 20, S::Confirmed),
        visit("v5", "c2", 20, S::Requested),
    ];
    let rows: Vec<_> = all.iter().map(|v| (v.clone(), 2)).collect();
    appointments::insert(pool, db.engine, &a, Some(1), &rows, NOW).await.unwrap();
    appointments::insert(pool, db.engine, &a, None, &[], NOW).await.unwrap();
    assert_eq!(appointments::find(pool, &a, "v3").await.unwrap(), Some(all[2].clone()));
    assert_eq!(appointments::find(pool, &b, "v3").await.unwrap(), None);
    let list = async |filter: appointments::Filter, limit| -> Vec<String> {
        let listed = appointments::list(pool, &a, &filter, limit).await.unwrap();
        listed.into_iter().map(|v| v.external_id).collect()
    };
    let none = appointments::Filter::default;
    assert_eq!(list(none(), 2).await, ["v1", "v2"]);
    assert_eq!(list(appointments::Filter { after: Some((later(20), "v4".into())), ..none() }, 9).await, ["v5"]);
    assert_eq!(list(appointments::Filter { contact: Some("c2".into()), ..none() }, 9).await, ["v5"]);
    assert_eq!(list(appointments::Filter { from: Some(NOW), to: Some(later(20)), ..none() }, 9).await, ["v3"]);
    assert_eq!(list(appointments::Filter { status: Some(S::NoShow), ..none() }, 9).await, ["v2"]);
    assert_eq!(list(appointments::Filter { branch: Some("b2".into()), ..none() }, 9).await, Vec::<String>::new());
    let before = appointments::before(pool, db.engine, &a, &["v2", "v9"]).await.unwrap();
    assert_eq!((before.len(), &before["v2"].appointment), (1, &all[1]));
    assert_eq!(before["v2"].mark, Some(Mark { import: 1, line: 2 }));
    let moved = Appointment { starts_at: later(21), professional: Some("Eva".into()), ..all[4].clone() };
    let stored = async || appointments::find(pool, &a, "v5").await.unwrap().unwrap();
    appointments::update(pool, db.engine, &a, Some(1), &[(moved.clone(), 9)], later(1)).await.unwrap();
    appointments::update(pool, db.engine, &a, None, &[], NOW).await.unwrap();
    assert_eq!(stored().await, Appointment { updated_at: later(1), ..moved.clone() });
    appointments::touch(pool, db.engine, &a, 7, &[(all[4].clone(), 4)]).await.unwrap();
    appointments::touch(pool, db.engine, &a, 8, &[]).await.unwrap();
    assert_eq!(stored().await, Appointment { updated_at: later(1), ..moved });
    let before = appointments::before(pool, db.engine, &a, &["v5"]).await.unwrap();
    assert_eq!(before["v5"].mark, Some(Mark { import: 7, line: 4 }));
    let mut difference = Difference::default();
    for visit in &all[..4] {
        difference.add(visit, NOW);
    }
    appointments::tally(pool, db.engine, &a, &BTreeMap::new(), NOW).await.unwrap();
    appointments::tally(pool, db.engine, &a, &BTreeMap::from([("c1".into(), difference)]), NOW).await.unwrap();
    let figures = async |now| contacts::find(pool, &a, "c1", now).await.unwrap().unwrap().figures;
    let expected = Figures {
        count: 4,
        completed: 1,
        cancelled: 1,
        no_shows: 1,
        last_at: Some(later(-20)),
        next_at: Some(later(20)),
    };
    assert_eq!(figures(NOW).await, expected);
    // Nothing was written since, and yet they are true at any other moment.
    assert_eq!(figures(later(20)).await, Figures { last_at: Some(later(20)), next_at: None, ..expected });
    assert_eq!(figures(later(-30)).await, Figures { last_at: None, next_at: Some(later(-20)), ..expected });
    assert_eq!(contacts::find(pool, &b, "c1", NOW).await.unwrap().unwrap().figures, Figures::default());
    assert!(appointments::delete(pool, &a, "v4").await.unwrap());
    assert!(!appointments::delete(pool, &a, "v4").await.unwrap());
});

// Whatever comes, moves, changes hands or goes, and wherever the clock stands: what is kept is what a count would say.
on_each_db!(figures_are_those_of_the_appointments_after_any_change_at_any_time, async |db: &Db| {
    let a = tenant(db, "a").await;
    put(db, &a, &[contact("c1", None, None), contact("c2", None, None)], None).await;
    let mut conn = db.connect().await.unwrap();
    let mut random = numbers(7);
    for _ in 0..80 {
        let now = later(random(40) - 20);
        let id = format!("v{}", random(6));
        if random(5) == 0 {
            appointment::remove(&mut conn, db.engine, &a, &id, now).await.unwrap();
        } else {
            let (whose, status) = (format!("x-c{}", random(2) + 1), S::ALL[random(5) as usize]);
            let visit = visit(&id, "", random(40) - 20, status);
            let row = NewAppointment { line: 0, whose: Whose::Id(whose), appointment: visit };
            let saved = appointment::save(&mut conn, db.engine, &a, None, vec![row], now).await.unwrap();
            assert!(saved[0].is_ok());
        }
        for whose in ["c1", "c2"] {
            let filter = appointments::Filter { contact: Some(whose.into()), ..Default::default() };
            let visits = appointments::list(&db.pool, &a, &filter, 99).await.unwrap();
            let many = |status| visits.iter().filter(|v| v.status == status).count() as i64;
            let held = || visits.iter().filter(|v| !matches!(v.status, S::Cancelled | S::NoShow)).map(|v| v.starts_at);
            let counted = Figures {
                count: visits.len() as i64,
                completed: many(S::Completed),
                cancelled: many(S::Cancelled),
                no_shows: many(S::NoShow),
                last_at: held().filter(|at| *at <= now).max(),
                next_at: held().filter(|at| *at > now).min(),
            };
            assert_eq!(contacts::find(&db.pool, &a, whose, now).await.unwrap().unwrap().figures, counted);
        }
    }
});

/// Numbers below the one asked with, the same in every run.
fn numbers(mut state: u64) -> impl FnMut(i64) -> i64 {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 33) % below as u64) as i64
    }
}

on_each_db!(an_erased_person_leaves_counts_and_nothing_else, async |db: &Db| {
    let a = tenant(db, "a").await;
    let ana = contact("c1", Some("+523331234567"), Some("ana@x.example"));
    put(db, &a, std::slice::from_ref(&ana), None).await;
    consents::insert(&db.pool, db.engine, &a, &[(ana.id.clone(), said("sms", true))]).await.unwrap();
    let written = "insert into inbound_messages (tenant_id, account, message_id, channel, sender, body, happened_at, \
        received_at) values ('a', 'sms#default', $1, 'sms', $2, 'soy Ana', 1, 1)";
    for (id, sender) in [("m1", "+523331234567"), ("m2", "+523300000000")] {
        sqlx::query(written).bind(id).bind(sender).execute(&db.pool).await.unwrap();
    }
    let mut conn = db.pool.acquire().await.unwrap();
    let mut alone = store::begin_alone(&mut conn, db.engine, &a).await.unwrap();
    contacts::erase(&mut alone, &a, &ana, later(5)).await.unwrap();
    drop(alone);
    let found = contacts::find(&db.pool, &a, "c1", NOW).await.unwrap().unwrap();
    assert_eq!(found.contact, ana, "it was not committed");
    let mut alone = store::begin_alone(&mut conn, db.engine, &a).await.unwrap();
    contacts::erase(&mut alone, &a, &ana, later(5)).await.unwrap();
    assert!(contacts::erase(&mut alone, &a, &contact("c9", None, None), later(5)).await.is_err());
    store::commit_alone(alone).await.unwrap();
    let left = contacts::find(&db.pool, &a, "c1", NOW).await.unwrap().unwrap().contact;
    let nothing = Contact { id: "c1".into(), erased_at: Some(later(5)), updated_at: later(5), ..Contact::new(NOW) };
    assert_eq!(left, nothing);
    let heard = "select message_id from inbound_messages";
    let heard: Vec<String> = sqlx::query_scalar(heard).fetch_all(&db.pool).await.unwrap();
    assert_eq!(heard, ["m2"], "what they wrote is theirs, too");
    assert!(contacts::list(&db.pool, &a, &Filter::default(), 9, NOW).await.unwrap().is_empty());
    assert!(contacts::resolve(&db.pool, db.engine, &a, &["c1"]).await.unwrap().is_empty());
    assert_eq!(consents::list(&db.pool, &a, &ana.id, None, 9).await.unwrap()[0].consent.source, "erased");
});

on_each_db!(what_waits_for_an_erased_person_is_cancelled_and_an_open_call_left, async |db: &Db| {
    let (a, pool) = (tenant(db, "a").await, &db.pool);
    let ana = contact("c1", Some("+523331234567"), Some("ana@x.example"));
    let recipient = r#"{"name":"Ana","phone":"+523331234567"}"#;
    let row = |changes: Value| {
        let mut row = json!({"recipient": recipient, "address": "+523331234567"});
        row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        row
    };
    insert(db, "n1", row(json!({"lease_token": "t", "attempts": 1}))).await;
    insert(db, "n2", row(json!({"status": "sending", "lease_token": "t", "attempts": 1}))).await;
    insert(db, "n3", row(json!({"contact_id": "c1", "address": "other@x.example", "status": "scheduled"}))).await;
    insert(db, "n4", row(json!({"status": "sent", "due_at": null}))).await;
    insert(db, "n5", json!({"address": "+523300000000"})).await;
    let mut waiting = contacts::waiting(pool, &a, &ana).await.unwrap();
    waiting.sort();
    assert_eq!(waiting, ["n1", "n2", "n3"]);
    for notification in &waiting {
        contacts::forget_waiting(pool, &a, &ana.id, notification, later(5)).await.unwrap();
    }
    for (id, status, due) in
        [("n1", Status::Cancelled, None), ("n2", Status::Sending, Some(NOW)), ("n3", Status::Cancelled, None)]
    {
        let found = find(db, id).await;
        assert_eq!((found.status, found.due_at), (status, due), "{id}");
        assert_eq!((found.recipient.contact_id.as_deref(), found.recipient.name), (Some("c1"), None), "{id}");
    }
    assert_eq!(find(db, "n4").await.recipient.name.as_deref(), Some("Ana"), "it does not wait");
    assert_eq!(find(db, "n5").await.status, Status::Queued, "it is another's");
});

on_each_db!(imports_are_remembered_with_what_they_refused, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    let ids: Vec<ImportId> = (0..25).map(|n| ImportId::from(format!("i{n:02}").as_str())).collect();
    for id in &ids {
        imports::insert(pool, &a, id, "contacts", NOW).await.unwrap();
        let refused = [(7, Fault::new("/phone", "phone", "no digits in it")), (9, Fault::new("", "duplicate", "ñ"))];
        imports::refuse(pool, db.engine, &a, id, &refused).await.unwrap();
    }
    imports::refuse(pool, db.engine, &a, &ids[0], &[]).await.unwrap();
    let mut row = imports::find(pool, &a, "i24").await.unwrap().unwrap();
    assert_eq!((row.kind.as_str(), row.finished_at, row.started_at), ("contacts", None, NOW));
    row = ImportRow {
        line: 9,
        created: 3,
        updated: 2,
        refused: 2,
        columns: "[{}]".into(),
        problem: Some("{}".into()),
        updated_at: later(5),
        finished_at: Some(later(6)),
        ..row
    };
    imports::update(pool, &a, &row).await.unwrap();
    assert_eq!(imports::find(pool, &a, "i24").await.unwrap(), Some(row));
    assert_eq!(imports::find(pool, &b, "i24").await.unwrap(), None);
    let listed = imports::list(pool, &a, Some("i03"), 2).await.unwrap();
    assert_eq!(listed.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["i02", "i01"]);
    let lines = async |id: &ImportId, after| -> Vec<i64> {
        let refused = imports::refusals(pool, &a, id, after, 9).await.unwrap();
        refused.into_iter().map(|(line, _)| line).collect()
    };
    assert_eq!((lines(&ids[24], 0).await, lines(&ids[24], 7).await), (vec![7, 9], vec![9]));
    imports::forget_old(pool, &a).await.unwrap();
    assert_eq!((lines(&ids[4], 0).await, lines(&ids[5], 0).await), (vec![], vec![7, 9]));
});

on_each_db!(marketing_is_counted_by_person_and_moment, async |db: &Db| {
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    assert!(!contacts::any(&db.pool, &a).await.unwrap());
    put(db, &a, &[contact("c1", Some("+521"), None)], None).await;
    assert!(contacts::any(&db.pool, &a).await.unwrap() && !contacts::any(&db.pool, &b).await.unwrap());
    insert(db, "n1", json!({"category": "marketing"})).await;
    insert(db, "n2", json!({"category": "marketing", "status": "failed"})).await;
    let planned = |person: &str, id: &str, at: i64| caps::Planned {
        person: person.into(),
        notification: id.into(),
        at: later(at).0,
    };
    let mut conn = db.connect().await.unwrap();
    let mut alone = store::begin_alone(&mut conn, db.engine, &a).await.unwrap();
    caps::lock(&mut alone, db.engine, &a).await.unwrap();
    let rows = [
        planned("+521", "n1", 0),
        planned("+521", "n2", 1),
        planned("+521", "not yet stored", 2),
        planned("+522", "n3", 3),
    ];
    caps::insert(&mut alone, db.engine, &a, &rows, later(-10)).await.unwrap();
    store::commit_alone(alone).await.unwrap();
    let of = async |tenant: &TenantId, people: &[&str], from: i64, to: i64| {
        let mut found = caps::planned(&db.pool, db.engine, tenant, people, (later(from), later(to))).await.unwrap();
        found.sort();
        found.into_iter().map(|(person, at)| (person, at.0 - NOW.0)).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&a, &["+521", "+521", "+522"], -1, 9).await,
        [("+521".to_owned(), 0), ("+521".to_owned(), 2), ("+522".to_owned(), 3)]
    );
    assert_eq!(of(&a, &["+521"], 0, 2).await, [], "both ends are outside");
    assert_eq!(of(&b, &["+521"], -1, 9).await, []);
    // The next one takes along what is old of the same person, and of nobody else.
    caps::insert(&mut conn, db.engine, &a, &[planned("+521", "n4", 5)], later(4)).await.unwrap();
    assert_eq!(of(&a, &["+521", "+522"], -1, 9).await, [("+521".to_owned(), 5), ("+522".to_owned(), 3)]);
});

on_each_db!(the_first_person_changes_how_a_tenant_is_seen, async |db: &Db| {
    let a = tenant(db, "a").await;
    let version = async || tenants::version(&db.pool, &a).await.unwrap().unwrap();
    let before = version().await;
    tenants::bump_before_first_contact(&db.pool, &a).await.unwrap();
    assert_eq!(version().await, before + 1);
    put(db, &a, &[contact("c1", Some("+521"), None)], None).await;
    tenants::bump_before_first_contact(&db.pool, &a).await.unwrap();
    assert_eq!(version().await, before + 1);
});
