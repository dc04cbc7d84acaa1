//! The operator's commands. They open the store themselves, beside a running server.

use serde::Serialize;
use serde_json::json;

use super::{ChannelsCommand, Done, Failure, KeyCommand, TenantCommand, open, out};
use crate::app::{App, check_channels};
use crate::config::Config;
use crate::http::{CreatedKey, NewTenant, create_key, create_tenant};
use crate::ids::TenantId;
use crate::integrations;
use crate::jwt::Verifier;
use crate::keys::Scopes;
use crate::plugins::Registry;
use crate::store::{keys, tenants};

fn print_json(value: &impl Serialize) -> Done {
    out(serde_json::to_string(value).map_err(anyhow::Error::from)?)
}

pub(super) fn config_check(loaded: Result<Config, Failure>, json: bool) -> Done {
    let checked = loaded.and_then(|config| {
        Verifier::new(&config.auth).map_err(|e| Failure::config(e.to_string()))?;
        let plugins = Registry::load(config.paths.plugins.as_deref()).map_err(super::start_failure)?;
        check_channels(&config, &plugins).map_err(|e| Failure::config(e.to_string()))?;
        Ok(())
    });
    match (checked, json) {
        (Ok(()), true) => print_json(&json!({"ok": true})),
        (Ok(()), false) => out("the configuration is in order"),
        (Err(failure), true) => {
            let faults: Vec<&str> = failure.message.lines().collect();
            print_json(&json!({"ok": false, "faults": faults}))?;
            Err(failure)
        }
        (Err(failure), false) => Err(failure),
    }
}

pub(super) fn config_print(config: &Config, json: bool) -> Done {
    if json { print_json(&config.settings().collect::<Vec<_>>()) } else { out(config.describe()) }
}

pub(super) async fn migrate(config: Config, json: bool) -> Done {
    let app = open(config).await?;
    let engine = app.db.engine.name();
    if json {
        print_json(&json!({"ok": true, "store": engine}))
    } else {
        out(format!("the {engine} store is up to date"))
    }
}

pub(super) async fn tenant(config: Config, command: TenantCommand, json: bool) -> Done {
    let app = open(config).await?;
    match command {
        TenantCommand::Create { name, country, locale, timezone } => {
            let [locale, timezone, country] = [locale, timezone, country].map(|given| given.map(Some));
            let new = NewTenant { name, locale, timezone, country, ..NewTenant::default() };
            let tenant = create_tenant(&app, new).await?;
            if json { print_json(&tenant) } else { out(tenant.id) }
        }
        TenantCommand::List => {
            let rows = tenants::list_any_tenant(&app.db.pool, None, 10_000).await.map_err(crate::error::Error::from)?;
            if json {
                let items: Vec<_> =
                    rows.iter().map(|r| json!({"id": r.id, "name": r.name, "createdAt": r.created_at})).collect();
                return print_json(&json!({"items": items, "nextCursor": null}));
            }
            rows.iter().try_for_each(|r| out(format!("{}  {}", r.id, r.name)))
        }
    }
}

pub(super) async fn key(config: Config, command: KeyCommand, json: bool) -> Done {
    let app = open(config).await?;
    match command {
        KeyCommand::Create { tenant, scopes, name, .. } => {
            let scopes: Scopes = scopes.parse().map_err(|e| Failure::usage(format!("--scopes: {e}")))?;
            let tenant = match tenant {
                Some(id) => Some(existing(&app, &id).await?),
                None => None,
            };
            let created: CreatedKey = create_key(&app, tenant, &name, scopes).await?;
            if json { print_json(&created) } else { out(created.key) }
        }
        KeyCommand::List { tenant } => {
            let tenant = match tenant {
                Some(id) => Some(existing(&app, &id).await?),
                None => None,
            };
            let rows = keys::list(&app.db.pool, tenant.as_ref()).await.map_err(crate::error::Error::from)?;
            if json {
                let items: Vec<_> = rows
                    .iter()
                    .map(|r| json!({"id": r.id, "name": r.name, "scopes": r.scopes, "hint": r.hint, "createdAt": r.created_at, "revokedAt": r.revoked_at}))
                    .collect();
                return print_json(&json!({"items": items, "nextCursor": null}));
            }
            rows.iter().try_for_each(|r| {
                let state = if r.revoked_at.is_some() { "revoked" } else { "active" };
                out(format!("{}  …{}  {state}  {}  {}", r.id, r.hint, r.scopes, r.name))
            })
        }
        KeyCommand::Revoke { id } => {
            let id = id.trim_start_matches("rcd_").split('_').next().unwrap_or_default().to_owned();
            let row = keys::find_any_tenant(&app.db.pool, &id).await.map_err(crate::error::Error::from)?;
            let row = row.ok_or_else(|| Failure::no_input(format!("there is no key {id}")))?;
            let revoked = keys::revoke(&app.db.pool, row.tenant.as_ref(), &id, app.now())
                .await
                .map_err(crate::error::Error::from)?;
            if json { print_json(&json!({"id": id, "revoked": revoked})) } else { out(format!("{id} is revoked")) }
        }
    }
}

pub(super) async fn channels(config: Config, command: ChannelsCommand, json: bool) -> Done {
    let app = open(config).await?;
    match command {
        ChannelsCommand::List { tenant } => {
            let tenant = app.tenants.get(&only(&app, tenant).await?).await?;
            let names = tenant.channels.names();
            let states: Vec<_> =
                names.iter().filter_map(|name| integrations::state(&app, &tenant, None, name)).collect();
            if json {
                return print_json(&json!({"items": states}));
            }
            states.iter().try_for_each(|s| {
                let state = match (s.enabled_by_operator, s.configured, s.enabled) {
                    (false, _, _) => "off (operator)",
                    (_, false, _) => "not configured",
                    (_, _, false) => "off",
                    _ => "on",
                };
                let provider = s.provider.as_deref().unwrap_or("-");
                out(format!("{:10} {state:15} {provider:10} {}", s.channel, s.can.describe()))
            })
        }
        ChannelsCommand::Test { tenant, channel } => {
            let tenant = app.tenants.get(&only(&app, tenant).await?).await?;
            if let Some(channel) = channel {
                if !tenant.channels.has(&channel) {
                    let known = tenant.channels.names();
                    return Err(Failure::usage(format!(
                        "there is no channel {channel}; there are: {}. One of your own is found through paths.plugins",
                        known.join(", ")
                    )));
                }
                let result = integrations::test(&app, &tenant, None, &channel).await;
                if json {
                    print_json(&result)?;
                } else {
                    out(line(&channel, result.ok, &result.detail))?;
                }
                return verdict(result.ok);
            }
            let results = integrations::test_all(&app, &tenant, None).await;
            if json {
                return print_json(&results);
            }
            for (name, detail) in results["details"].as_object().into_iter().flatten() {
                let ok = detail["ok"].as_bool().unwrap_or_default();
                let text = detail["detail"].as_str().or(detail["problem"].as_str()).unwrap_or_default();
                out(line(name, ok, text))?;
            }
            Ok(())
        }
    }
}

fn line(channel: &str, ok: bool, detail: &str) -> String {
    format!("{channel:10} {}  {detail}", if ok { "ok " } else { "NOT" })
}

fn verdict(ok: bool) -> Done {
    if ok { Ok(()) } else { Err(Failure { code: 1, message: "the channel would not take a message".into() }) }
}

async fn existing(app: &App, id: &str) -> Result<TenantId, Failure> {
    let id: TenantId = id.into();
    let found = tenants::find(&app.db.pool, &id).await.map_err(crate::error::Error::from)?;
    found.map(|row| row.id).ok_or_else(|| Failure::no_input(format!("there is no tenant {id}; see recado tenant list")))
}

/// The tenant meant: the one named, or the only one there is.
async fn only(app: &App, id: Option<String>) -> Result<TenantId, Failure> {
    if let Some(id) = id {
        return existing(app, &id).await;
    }
    let rows = tenants::list_any_tenant(&app.db.pool, None, 2).await.map_err(crate::error::Error::from)?;
    match rows.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Failure::no_input("there is no tenant yet; recado tenant create --name NAME")),
        _ => Err(Failure::usage("there are several tenants; name one with --tenant ID")),
    }
}
