//! `recado send`: through the running server, so that it is stored, limited and logged like everything else.

use plugin_api::http::Url;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Done, Failure, SendArguments, open, out};
use crate::app::App;
use crate::config::Config;
use crate::http::{create_key, local_client};
use crate::ids::TenantId;
use crate::keys::Scope;
use crate::store::{keys, tenants};

pub(super) async fn send(config: Config, arguments: SendArguments, json: bool) -> Done {
    let mut listen = config.server.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let app = open(config).await?;
    let tenant: TenantId = arguments.tenant.as_str().into();
    tenants::find(&app.db.pool, &tenant)
        .await
        .map_err(crate::error::Error::from)?
        .ok_or_else(|| Failure::no_input(format!("there is no tenant {tenant}; see recado tenant list")))?;
    let body = body(&arguments)?;
    let url: Url = format!("http://{listen}/v1/notify").parse().map_err(anyhow::Error::from)?;
    // An operator key if one is configured, else a key of the tenant's that lives for this one request.
    let operator = app.config.load().auth.operator_key.as_ref().map(|k| k.expose_secret().to_owned());
    let (status, answer) = match operator {
        Some(key) => post(&url, &key, Some(&tenant), &body).await?,
        None => with_passing_key(&app, &tenant, &url, &body).await?,
    };
    if status >= 300 {
        let detail = answer["detail"].as_str().unwrap_or("the server gave no reason");
        return Err(Failure {
            code: if status < 500 { super::USAGE } else { super::SOFTWARE },
            message: detail.to_owned(),
        });
    }
    if json {
        return out(answer);
    }
    out(format!(
        "{} {}",
        answer["logId"].as_str().unwrap_or_default(),
        answer["notifications"][0]["status"].as_str().unwrap_or_default()
    ))
}

fn body(arguments: &SendArguments) -> Result<Value, Failure> {
    let to = if arguments.to.contains('@') { json!({"email": arguments.to}) } else { json!({"phone": arguments.to}) };
    let mut body = json!({"to": to, "type": arguments.template.as_deref().unwrap_or("message")});
    if let Some(channel) = &arguments.channel {
        body["channel"] = json!(channel);
    }
    if let Some(message) = &arguments.message {
        body["message"] = json!(message);
    }
    if let Some(data) = &arguments.data {
        body["data"] = serde_json::from_str(data).map_err(|e| Failure::usage(format!("--data: not JSON: {e}")))?;
    }
    Ok(body)
}

async fn with_passing_key(app: &App, tenant: &TenantId, url: &Url, body: &Value) -> Result<(u16, Value), Failure> {
    let key = create_key(app, Some(tenant.clone()), "recado send", [Scope::Send].into_iter().collect()).await?;
    let sent = post(url, &key.key, None, body).await;
    keys::revoke(&app.db.pool, Some(tenant), &key.id, app.now()).await.map_err(crate::error::Error::from)?;
    sent
}

async fn post(url: &Url, key: &str, tenant: Option<&TenantId>, body: &Value) -> Result<(u16, Value), Failure> {
    let mut headers = vec![("authorization", format!("Bearer {key}"))];
    headers.extend(tenant.map(|t| ("x-tenant-id", t.to_string())));
    local_client(url, &headers, body).await.map_err(|e| Failure {
        code: super::SOFTWARE,
        message: format!("no server answers at {}: {e}; start one with recado serve", url.authority()),
    })
}
