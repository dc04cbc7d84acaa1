//! `recado demo`: the main job on an embedded store, without an account at any vendor. Every channel is captured, and
//! what each phone would show is printed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::cli::{Done, Failure, Listening, listen_and_serve, out};
use crate::config::Config;
use crate::error::Error;
use crate::http::{CreatedKey, NewTenant, create_branch, create_key, create_tenant};
use crate::ids::TenantId;
use crate::integrations::{self, ChannelSettings};
use crate::keys::Scopes;
use crate::notify::{self, NotifyRequest, Submitted};
use crate::plugins::SANDBOX;
use crate::store::{sandbox, tenants};

/// Sets everything up, serves, and tells the newcomer what to try.
pub(crate) async fn run(port: u16, data: Option<PathBuf>, json: bool) -> Done {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .try_init();
    let temporary = data.is_none();
    let folder = data.unwrap_or_else(|| std::env::temp_dir().join(format!("recado-demo-{}", std::process::id())));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|e| Failure {
        code: 69,
        message: format!("can't listen on port {port}: {e}; choose another with --port"),
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = App::build(config(&folder, &url)?, None).await?;
    app.start().await?;
    let salon = furnish(&app).await?;
    if json {
        out(json!({"url": url, "tenantId": salon.tenant.as_str(), "key": salon.key.key}))?;
    }
    let show = {
        let (app, url) = (Arc::clone(&app), url.clone());
        async move {
            if let Err(failure) = show(&app, &salon, &url, json).await {
                tracing::error!(error = failure.message, "the demonstration did not finish");
            }
        }
    };
    let served = listen_and_serve(Listening { app, listener, on_start: Box::pin(show) }).await;
    if temporary {
        let _ = std::fs::remove_dir_all(&folder);
    }
    served
}

fn config(folder: &Path, url: &str) -> Result<Config, Failure> {
    let env = [
        ("RECADO_STORE__URL", format!("sqlite://{}", folder.join("recado.db").display())),
        ("RECADO_SECRETS__KEY_FILE", folder.join("recado.key").display().to_string()),
        ("RECADO_SERVER__PUBLIC_URL", url.to_owned()),
    ];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value));
    Config::from_text(None, env).map_err(|e| Failure { code: 78, message: e.to_string() })
}

struct Salon {
    tenant: TenantId,
    branches: Vec<String>,
    key: CreatedKey,
    channels: Vec<String>,
}

/// A salon with two branches, all channels captured. In a folder that was used before, the salon is found again.
async fn furnish(app: &App) -> Result<Salon, Failure> {
    let channels: Vec<String> = app.plugins.names().iter().map(ToString::to_string).collect();
    let known = tenants::list_any_tenant(&app.db.pool, None, 1).await.map_err(Error::from)?;
    let tenant: TenantId = match known.into_iter().next() {
        Some(row) => row.id,
        None => create_tenant(app, new_tenant("Salón Aurora")).await?.id.into(),
    };
    let mut branches: Vec<String> = tenants::list_branches(&app.db.pool, &tenant)
        .await
        .map_err(Error::from)?
        .into_iter()
        .map(|b| b.id.to_string())
        .collect();
    if branches.is_empty() {
        for name in ["Sucursal Centro", "Sucursal Norte"] {
            let new = NewTenant { name: name.into(), ..NewTenant::default() };
            branches.push(create_branch(app, &tenant, new).await?.id);
        }
        for channel in &channels {
            let given = ChannelSettings { provider: Some(SANDBOX.into()), ..ChannelSettings::default() };
            integrations::save(app, &tenant, "", channel, given).await?;
        }
    }
    let key = create_key(app, Some(tenant.clone()), "demo", Scopes::all()).await?;
    Ok(Salon { tenant, branches, key, channels })
}

fn new_tenant(name: &str) -> NewTenant {
    NewTenant {
        name: name.into(),
        country: Some(Some("MX".into())),
        locale: Some(Some("es-MX".into())),
        timezone: Some(Some("America/Mexico_City".into())),
        ..NewTenant::default()
    }
}

/// Sends a confirmation and a reminder on every channel and prints what arrives.
async fn show(app: &App, salon: &Salon, url: &str, json: bool) -> Done {
    let tenant = app.tenants.get(&salon.tenant).await?;
    let mut waiting = Vec::new();
    for (n, channel) in salon.channels.iter().enumerate() {
        for body in [confirmation(channel, &salon.branches[n % 2]), reminder(channel, &salon.branches[n % 2])] {
            let request: NotifyRequest = serde_json::from_value(body).map_err(anyhow::Error::from)?;
            let draft = notify::draft(app, &tenant, request).await?;
            let told = draft.notifications.iter().map(|n| app.engine.wait_for(&n.delivery.id)).collect::<Vec<_>>();
            if let Submitted::Accepted(_) = notify::submit(app, &tenant, draft, None).await? {
                waiting.extend(told);
            }
        }
    }
    let count = waiting.len();
    let _ = tokio::time::timeout(Duration::from_secs(10), futures_util::future::join_all(waiting)).await;
    if json {
        return Ok(());
    }
    let mut captured = sandbox::list(&app.db.pool, &salon.tenant, None, None, count).await.map_err(Error::from)?;
    captured.sort_by(|a, b| (&a.channel, &a.id).cmp(&(&b.channel, &b.id)));
    for message in &captured {
        let to = message.recipient.phone.as_deref().or(message.recipient.email.as_deref()).unwrap_or("-");
        let address = if message.channel == "email" { message.recipient.email.as_deref().unwrap_or(to) } else { to };
        out(phone(&format!("{} → {address}", message.channel), message.subject.as_deref(), &message.text))?;
    }
    out(invitation(salon, url, captured.len()))
}

fn confirmation(channel: &str, branch: &str) -> Value {
    json!({
        "type": "appointment_confirmation", "channel": channel, "branchId": branch,
        "to": {"phone": "+523312345678", "email": "maria@example.com", "name": "María González"},
        "data": {"appointmentDate": "15 de Noviembre, 2025", "appointmentTime": "10:00 AM",
            "serviceName": "Corte de Cabello Premium", "professionalName": "Carlos García", "branchName": "Sucursal Centro"},
    })
}

fn reminder(channel: &str, branch: &str) -> Value {
    json!({
        "type": "appointment_reminder", "channel": channel, "branchId": branch,
        "to": {"phone": "33 1234 5679", "email": "ana@example.com", "name": "Ana López"},
        "data": {"appointmentDate": "mañana", "appointmentTime": "2:00 PM", "serviceName": "Manicure y Pedicure"},
    })
}

/// A message with a frame around it.
fn phone(title: &str, subject: Option<&str>, text: &str) -> String {
    let mut lines = vec![format!("╭─ {title}")];
    lines.extend(subject.map(|s| format!("│ [{s}]")));
    lines.extend(text.lines().map(|l| format!("│ {l}")));
    lines.push(format!("╰{}", "─".repeat(44)));
    lines.join("\n")
}

fn invitation(salon: &Salon, url: &str, count: usize) -> String {
    let Salon { tenant, key, .. } = salon;
    let key = &key.key;
    format!(
        r#"
{count} messages were captured, none was sent. Recado listens on {url}
  tenant  {tenant}
  key     {key}

Send one yourself:
  curl -s {url}/v1/notify -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \
    -d '{{"type":"appointment_reminder","channel":"whatsapp","to":{{"phone":"33 1234 5678","name":"Ana López"}},"data":{{"appointmentDate":"mañana","appointmentTime":"2:00 PM","serviceName":"Manicure y Pedicure"}}}}'

See what the phone shows, and what happened:
  curl -s '{url}/v1/sandbox/messages?limit=1' -H 'Authorization: Bearer {key}'
  curl -s '{url}/v1/notifications?limit=1' -H 'Authorization: Bearer {key}'

Ask all channels whether they work (nobody gets a message):
  curl -s -X POST {url}/v1/channels/test -H 'Authorization: Bearer {key}'

The API: {url}/docs        Stop: Ctrl-C"#
    )
}
