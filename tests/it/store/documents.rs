//! What tenants write themselves, in versions.

use recado::store;
use recado::store::documents::{self, Document, KEPT, Key, Kind};

use super::*;

const VIP: Key = Key { kind: Kind::Script, branch: "", name: "vip", locale: "" };

async fn save(db: &Db, tenant: &TenantId, key: Key<'_>, body: &str) -> i64 {
    let mut conn = db.connect().await.unwrap();
    let mut alone = store::begin_alone(&mut conn, db.engine, tenant).await.unwrap();
    let version = documents::save(&mut alone, tenant, key, body, NOW).await.unwrap();
    store::commit_alone(alone).await.unwrap();
    version
}

async fn roll_back(db: &Db, tenant: &TenantId, key: Key<'_>, version: i64) -> bool {
    documents::roll_back(&mut db.connect().await.unwrap(), tenant, key, version).await.unwrap()
}

async fn held(db: &Db, tenant: &TenantId, key: Key<'_>) -> Option<(i64, String)> {
    documents::find(&db.pool, tenant, key).await.unwrap().map(|d| (d.version, d.body))
}

on_each_db!(a_document_has_versions_of_which_one_holds, async |db: &Db| {
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    for (n, body) in ["one", "two", "three"].into_iter().enumerate() {
        assert_eq!(save(db, &a, VIP, body).await, n as i64 + 1);
    }
    assert_eq!(save(db, &b, VIP, "other").await, 1);
    assert_eq!(held(db, &a, VIP).await, Some((3, "three".to_owned())));
    assert!(roll_back(db, &a, VIP, 1).await);
    assert!(!roll_back(db, &a, VIP, 4).await && !roll_back(db, &a, Key { name: "none", ..VIP }, 1).await);
    assert_eq!(held(db, &a, VIP).await, Some((1, "one".to_owned())));
    assert_eq!(held(db, &b, VIP).await, Some((1, "other".to_owned())));
    let versions = documents::versions(&db.pool, &a, VIP).await.unwrap();
    let seen: Vec<_> = versions.iter().map(|d| (d.version, d.body.as_str(), d.current)).collect();
    assert_eq!(seen, [(3, "three", false), (2, "two", false), (1, "one", true)]);
    // What is written after going back is new, not a second two.
    assert_eq!(save(db, &a, VIP, "four").await, 4);
    let mut conn = db.connect().await.unwrap();
    assert!(
        documents::delete(&mut conn, &a, VIP).await.unwrap() && !documents::delete(&mut conn, &a, VIP).await.unwrap()
    );
    assert_eq!(held(db, &a, VIP).await, None);
    assert!(documents::versions(&db.pool, &a, VIP).await.unwrap().is_empty());
    assert_eq!(held(db, &b, VIP).await, Some((1, "other".to_owned())));
    assert_eq!(save(db, &a, VIP, "five").await, 5);
});

on_each_db!(documents_are_told_apart_by_kind_branch_name_and_language, async |db: &Db| {
    let a = tenant(db, "a").await;
    let keys = [
        VIP,
        Key { kind: Kind::Plugin, ..VIP },
        Key { branch: "centro", ..VIP },
        Key { name: "all", ..VIP },
        Key { locale: "en", ..VIP },
    ];
    for (n, key) in keys.into_iter().enumerate() {
        assert_eq!(save(db, &a, key, &n.to_string()).await, 1);
    }
    let listed = documents::list(&db.pool, &a, Kind::Script).await.unwrap();
    let seen: Vec<_> =
        listed.iter().map(|Document { name, branch, locale, body, .. }| [name, branch, locale, body]).collect();
    assert_eq!(seen, [["all", "", "", "3"], ["vip", "", "", "0"], ["vip", "", "en", "4"], ["vip", "centro", "", "2"]]);
    assert_eq!(documents::count(&db.pool, &a, Kind::Script).await.unwrap(), 4);
    let stamps = documents::stamps(&db.pool, &a, Kind::Script).await.unwrap();
    assert_eq!(stamps, listed.iter().map(Document::stamp).collect::<Vec<_>>());
    let named = documents::named(&db.pool, &a, Kind::Script, "vip").await.unwrap();
    assert_eq!(
        named.iter().map(|d| (d.branch.as_str(), d.locale.as_str())).collect::<Vec<_>>(),
        [("", ""), ("", "en"), ("centro", "")]
    );
    assert_eq!(documents::count(&db.pool, &a, Kind::Template).await.unwrap(), 0);
    assert!(listed.iter().all(|d| d.current && d.created_at == NOW));
});

on_each_db!(only_the_newest_versions_are_kept_and_a_save_is_seen_by_every_node, async |db: &Db| {
    let a = tenant(db, "a").await;
    let before = tenants::version(&db.pool, &a).await.unwrap().unwrap();
    for _ in 0..KEPT + 2 {
        save(db, &a, VIP, "x").await;
    }
    let versions = documents::versions(&db.pool, &a, VIP).await.unwrap();
    assert_eq!((versions.len() as i64, versions.last().unwrap().version), (KEPT, 3));
    assert!(!roll_back(db, &a, VIP, 2).await && roll_back(db, &a, VIP, 3).await);
    assert!(tenants::version(&db.pool, &a).await.unwrap().unwrap() > before + KEPT);
});
