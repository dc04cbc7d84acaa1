//! Contacts as scripts are shown them.

use recado::contact::{Contact, Figures};
use recado::store::contacts;
use recado::store::segments::{self, Reads};

use super::*;

async fn person(db: &Db, tenant: &TenantId, name: &str, figures: [i64; 2], last_and_next: [Option<i64>; 2]) -> Contact {
    let mut contact = Contact::new(NOW);
    contact.name = Some(name.into());
    contact.attributes = r#"{"city":"León"}"#.into();
    contacts::insert(&db.pool, db.engine, tenant, None, &[(contact.clone(), 0)], NOW).await.unwrap();
    sqlx::query(
        "update contacts set appointments = $3, completed = $4, last_at = $5, next_at = $6 \
         where tenant_id = $1 and contact_id = $2",
    )
    .bind(tenant.as_str())
    .bind(contact.id.as_str())
    .bind(figures[0])
    .bind(figures[1])
    .bind(last_and_next[0])
    .bind(last_and_next[1])
    .execute(&db.pool)
    .await
    .unwrap();
    contact
}

on_each_db!(contacts_stream_by_with_what_a_script_reads_and_no_more, async |db: &Db| {
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    let mut people = Vec::new();
    for n in 0..5 {
        people.push(person(db, &a, &format!("Ana {n}"), [n, 1], [Some(NOW.0 - n), None]).await);
    }
    person(db, &b, "Otra", [9, 9], [None, None]).await;
    contacts::erase(&mut db.connect().await.unwrap(), &a, &people[3], NOW).await.unwrap();
    let newest_first = [4, 2, 1, 0].map(|n| people[n].id.to_string());
    for (times, person, documents) in
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true), (true, true, true)]
    {
        let reads = Reads { times, person, documents };
        let seen = segments::stream(&db.pool, &a, reads, None, 10, NOW).await.unwrap();
        assert_eq!(seen.iter().map(|f| f.id.clone()).collect::<Vec<_>>(), newest_first, "{reads:?}");
        let first = &seen[0];
        assert_eq!((first.figures.count, first.figures.completed), (4, 1));
        assert_eq!(first.figures.last_at, times.then_some(Timestamp(NOW.0 - 4)));
        assert_eq!(first.name.as_deref(), person.then_some("Ana 4"));
        assert_eq!(first.attributes.is_empty(), !documents);
    }
    let page = segments::stream(&db.pool, &a, Reads::ALL, Some(&newest_first[1]), 1, NOW).await.unwrap();
    assert_eq!((page.len(), &page[0].id), (1, &newest_first[2]));
    assert!(segments::stream(&db.pool, &a, Reads::ALL, Some(&newest_first[3]), 1, NOW).await.unwrap().is_empty());
    assert_eq!(segments::size(&db.pool, &a).await.unwrap(), 4);
});

on_each_db!(some_contacts_are_found_with_everything_about_them, async |db: &Db| {
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    let ana = person(db, &a, "Ana", [3, 2], [Some(NOW.0 - 5), Some(NOW.0 + 5)]).await;
    let gone = person(db, &a, "Beto", [1, 1], [None, None]).await;
    let others = person(db, &b, "Otra", [9, 9], [None, None]).await;
    contacts::erase(&mut db.connect().await.unwrap(), &a, &gone, NOW).await.unwrap();
    let ids = [ana.id.as_str(), gone.id.as_str(), others.id.as_str(), "nobody"];
    let facts = segments::facts(&db.pool, db.engine, &a, &ids, NOW).await.unwrap();
    let figures = Figures {
        count: 3,
        completed: 2,
        last_at: Some(Timestamp(NOW.0 - 5)),
        next_at: Some(Timestamp(NOW.0 + 5)),
        ..Figures::default()
    };
    assert_eq!(facts.len(), 1);
    assert_eq!((facts[0].name.as_deref(), facts[0].figures), (Some("Ana"), figures));
    assert_eq!((facts[0].attributes.as_str(), facts[0].consents.as_str()), (r#"{"city":"León"}"#, "[]"));
    let listed = contacts::listed(&db.pool, db.engine, &a, &ids, NOW).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].contact.id, listed[0].figures), (&ana.id, figures));
});
