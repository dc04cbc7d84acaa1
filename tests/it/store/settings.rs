//! Tenants, branches, keys, channels, suppressions.

use recado::ids::{BranchId, KeyId};
use recado::status::Category;
use recado::store::channels::{self, AccountRow, IntegrationRow};
use recado::store::keys::{self, KeyRow};
use recado::store::{notifications::Asked, suppressions};

use super::*;

on_each_db!(tenants_are_kept_listed_and_versioned, async |db: &Db| {
    let pool = &db.pool;
    for id in ["t1", "t2", "t3"] {
        tenant(db, id).await;
    }
    let t2 = TenantId::from("t2");
    let found = tenants::find(pool, &t2).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.version, found.created_at), ("Salón", 1, NOW));
    assert_eq!(found.settings, TenantSettings::default());
    assert!(tenants::find(pool, &"nobody".into()).await.unwrap().is_none());
    let settings = TenantSettings { locale: Some("es-MX".into()), ..TenantSettings::default() };
    assert!(tenants::update(pool, &t2, "Otro", &settings).await.unwrap());
    assert!(!tenants::update(pool, &"nobody".into(), "Otro", &settings).await.unwrap());
    let found = tenants::find(pool, &t2).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.version, found.settings), ("Otro", 2, settings));
    tenants::bump(pool, &t2).await.unwrap();
    assert_eq!(tenants::version(pool, &t2).await.unwrap(), Some(3));
    assert_eq!(tenants::version(pool, &"t1".into()).await.unwrap(), Some(1));
    assert_eq!(tenants::version(pool, &"nobody".into()).await.unwrap(), None);
    let ids = async |before: Option<&str>, limit: usize| -> Vec<String> {
        let listed = tenants::list_any_tenant(pool, before, limit).await.unwrap();
        listed.into_iter().map(|t| t.id.to_string()).collect()
    };
    assert_eq!(ids(None, 2).await, ["t3", "t2"]);
    assert_eq!(ids(Some("t2"), 2).await, ["t1"]);
    assert!(tenants::insert(pool, &t2, "again", &TenantSettings::default(), NOW).await.is_err());
});

on_each_db!(branches_belong_to_their_tenant, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    let branch = BranchId::from("b1");
    let settings = TenantSettings { timezone: Some("America/Tijuana".into()), ..TenantSettings::default() };
    for tenant in [&a, &b] {
        tenants::insert_branch(pool, tenant, &branch, "Centro", &settings, NOW).await.unwrap();
    }
    assert!(tenants::update_branch(pool, &a, &branch, "Norte", &TenantSettings::default()).await.unwrap());
    assert!(!tenants::update_branch(pool, &a, &"b2".into(), "Norte", &settings).await.unwrap());
    let (of_a, of_b) =
        (tenants::list_branches(pool, &a).await.unwrap(), tenants::list_branches(pool, &b).await.unwrap());
    assert_eq!((of_a.len(), of_a[0].name.as_str(), &of_a[0].settings), (1, "Norte", &TenantSettings::default()));
    assert_eq!((of_b.len(), of_b[0].name.as_str(), &of_b[0].settings), (1, "Centro", &settings));
    assert!(tenants::insert_branch(pool, &"nobody".into(), &branch, "Centro", &settings, NOW).await.is_err());
});

on_each_db!(keys_are_found_listed_and_revoked_once, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    for (id, tenant) in [("k1", Some(&a)), ("k2", Some(&b)), ("k3", None)] {
        let row = KeyRow {
            id: KeyId::from(id),
            tenant: tenant.cloned(),
            name: "a test".into(),
            scopes: "send read".into(),
            hash: format!("hash of {id}"),
            hint: "wxyz".into(),
            created_at: NOW,
            revoked_at: None,
        };
        keys::insert(pool, &row).await.unwrap();
        assert!(keys::insert(pool, &row).await.is_err(), "an id is used once");
    }
    let found = keys::find_any_tenant(pool, "k1").await.unwrap().unwrap();
    assert_eq!(
        (found.tenant.as_ref(), found.hash.as_str(), found.scopes.as_str()),
        (Some(&a), "hash of k1", "send read")
    );
    assert!(keys::find_any_tenant(pool, "k9").await.unwrap().is_none());
    let ids = async |tenant: Option<&TenantId>| -> Vec<String> {
        keys::list(pool, tenant).await.unwrap().into_iter().map(|k| k.id.to_string()).collect()
    };
    assert_eq!(
        (ids(Some(&a)).await, ids(Some(&b)).await, ids(None).await),
        (vec!["k1".into()], vec!["k2".into()], vec!["k3".into()])
    );
    assert!(!keys::revoke(pool, Some(&b), "k1", NOW).await.unwrap(), "it is another's");
    assert!(!keys::revoke(pool, None, "k1", NOW).await.unwrap());
    assert!(keys::revoke(pool, Some(&a), "k1", NOW).await.unwrap());
    assert!(!keys::revoke(pool, Some(&a), "k1", later(1)).await.unwrap());
    assert!(keys::revoke(pool, None, "k3", NOW).await.unwrap());
    assert_eq!(keys::find_any_tenant(pool, "k1").await.unwrap().unwrap().revoked_at, Some(NOW));
});

on_each_db!(channel_settings_are_replaced_and_removed_level_by_level, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    let row = |branch: &str, url: &str, disabled_at| IntegrationRow {
        branch: branch.into(),
        channel: "webhook".into(),
        accounts: vec![AccountRow {
            name: "default".into(),
            provider: "webhook".into(),
            settings: json!({"url": url}).as_object().unwrap().clone(),
        }],
        disabled_at,
        updated_at: NOW,
    };
    for (tenant, branch) in [(&a, ""), (&a, "b1"), (&b, "")] {
        channels::upsert(pool, tenant, &row(branch, "https://one.example", None)).await.unwrap();
    }
    channels::upsert(pool, &a, &row("", "https://two.example", Some(later(5)))).await.unwrap();
    let of_a = channels::list(pool, &a).await.unwrap();
    assert_eq!((of_a.len(), of_a[0].branch.as_str(), of_a[1].branch.as_str()), (2, "", "b1"));
    assert_eq!(of_a[0].accounts[0].settings["url"], "https://two.example");
    assert_eq!((of_a[0].disabled_at, of_a[1].disabled_at), (Some(later(5)), None));
    assert_eq!(channels::list(pool, &b).await.unwrap()[0].accounts[0].settings["url"], "https://one.example");
    assert!(channels::delete(pool, &a, "", "webhook").await.unwrap());
    assert!(!channels::delete(pool, &a, "", "webhook").await.unwrap());
    assert_eq!((channels::list(pool, &a).await.unwrap().len(), channels::list(pool, &b).await.unwrap().len()), (1, 1));
});

on_each_db!(what_a_plugin_remembers_is_found_by_account_and_address, async |db: &Db| {
    let pool = &db.pool;
    let a = TenantId::from("a");
    for memory in [r#"{"contact": 1}"#, r#"{"contact": 2, "ñ": "✓"}"#] {
        let row = [json!("a"), json!("chatwoot#default"), json!("+52"), json!(memory), json!(NOW.0)];
        write(db, Kind::Memory, &[row]).await.unwrap();
    }
    let find = async |tenant: &str, account: &str, address: &str| {
        channels::find_memory(pool, &tenant.into(), account, address).await.unwrap()
    };
    assert_eq!(find("a", "chatwoot#default", "+52").await, Some(json!({"contact": 2, "ñ": "✓"})));
    assert_eq!(channels::find_memory(pool, &a, "chatwoot#other", "+52").await.unwrap(), None);
    assert_eq!(find("a", "chatwoot#default", "+53").await, None);
    assert_eq!(find("b", "chatwoot#default", "+52").await, None);
});

on_each_db!(suppressions_count_for_their_category_and_tenant, async |db: &Db| {
    let pool = &db.pool;
    let (a, b) = (TenantId::from("a"), TenantId::from("b"));
    assert!(!suppressions::any(pool, &a).await.unwrap());
    for (address, category) in [("+521", "all"), ("+522", "marketing"), ("+522", "all"), ("+523", "marketing")] {
        suppressions::insert(pool, &a, address, category, "asked", "api", NOW).await.unwrap();
        suppressions::insert(pool, &a, address, category, "asked again", "api", later(1)).await.unwrap();
    }
    assert!(suppressions::any(pool, &a).await.unwrap() && !suppressions::any(pool, &b).await.unwrap());
    let find = async |tenant: &TenantId, address: &str, category| {
        suppressions::find(pool, tenant, address, category).await.unwrap()
    };
    assert_eq!(find(&a, "+521", Category::Transactional).await.as_deref(), Some("asked"), "the first reason stays");
    assert!(find(&a, "+523", Category::Transactional).await.is_none());
    assert!(find(&a, "+523", Category::Marketing).await.is_some());
    assert!(find(&b, "+521", Category::Marketing).await.is_none());
    let asked = json!([
        {"t": "a", "id": "n1", "a": "+521", "c": "transactional"}, {"t": "a", "id": "n2", "a": "+523", "c": "transactional"},
        {"t": "a", "id": "n3", "a": "+523", "c": "marketing"}, {"t": "b", "id": "n4", "a": "+521", "c": "marketing"},
    ]);
    let found = Asked::new(db.engine).suppressed(pool, &asked).await.unwrap();
    assert_eq!(found, [("n1", "asked"), ("n3", "asked")].map(|(id, why)| (id.to_owned(), why.to_owned())).into());
    let list = async |after: Option<(&str, &str)>, limit: usize| -> Vec<(String, String)> {
        let listed =
            suppressions::list(pool, &a, suppressions::Filter { after, ..Default::default() }, limit).await.unwrap();
        listed.into_iter().map(|s| (s.address, s.category)).collect()
    };
    let pair = |address: &str, category: &str| (address.to_owned(), category.to_owned());
    assert_eq!(list(None, 2).await, [pair("+521", "all"), pair("+522", "all")]);
    assert_eq!(list(Some(("+522", "all")), 9).await, [pair("+522", "marketing"), pair("+523", "marketing")]);
    assert!(suppressions::delete(pool, &a, "+522", None).await.unwrap());
    assert!(!suppressions::delete(pool, &a, "+522", None).await.unwrap());
    assert!(!suppressions::delete(pool, &b, "+521", None).await.unwrap());
    assert_eq!(list(None, 9).await.len(), 2);
});

on_each_db!(what_stops_messages_to_many_addresses_is_found_at_once, async |db: &Db| {
    let (a, b) = (tenant(db, "a").await, tenant(db, "b").await);
    for (tenant, address, category) in
        [(&a, "+521", "all"), (&a, "+521", "marketing"), (&a, "x@y.example", "marketing"), (&b, "+522", "all")]
    {
        suppressions::insert(&db.pool, tenant, address, category, "asked", "api", NOW).await.unwrap();
    }
    let among = async |tenant: &TenantId, addresses: &[&str]| {
        let found = suppressions::among(&db.pool, db.engine, tenant, addresses).await.unwrap();
        found.into_iter().map(|s| format!("{} {} {}", s.address, s.category, s.reason)).collect::<Vec<_>>()
    };
    assert_eq!(among(&a, &["+521", "+521", "+522", "+523"]).await, ["+521 all asked", "+521 marketing asked"]);
    assert_eq!(among(&a, &["x@y.example"]).await, ["x@y.example marketing asked"]);
    assert_eq!(among(&b, &["+521"]).await, Vec::<String>::new());
});
