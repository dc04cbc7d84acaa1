//! Would a message be accepted? Asks who the token is, then for the inbox, so that token, account and inbox are told
//! apart. Nothing is written and nobody is reached.

use plugin_api::SendError;

use crate::api::{Api, Profile};

pub(crate) async fn check(api: &Api) -> Result<String, String> {
    let profile = api.profile().await.map_err(|e| profile_problem(&e))?;
    membership(api, &profile)?;
    let (name, kind) = api.inbox().await.map_err(|e| inbox_problem(api, &e))?;
    if let Some(obstacle) = kind.obstacle() {
        return Err(format!("inbox {} (\"{name}\"): {obstacle}", api.account.inbox_id));
    }
    let user = profile.name.as_deref().unwrap_or("the token's user");
    Ok(format!("{user} can write through the {} inbox \"{name}\"", kind.name()))
}

fn profile_problem(e: &SendError) -> String {
    match e.http_status {
        Some(401) => e.detail.clone(),
        Some(404) => {
            "there is no Chatwoot API at baseUrl; give the server's address without /app and what follows".into()
        }
        _ => format!("Chatwoot cannot be asked: {}", e.detail),
    }
}

/// The profile answers for any good token, whatever account it may use.
fn membership(api: &Api, profile: &Profile) -> Result<(), String> {
    let wanted = api.account.account_id;
    match profile.accounts.iter().find(|a| a.id == wanted) {
        Some(account) if account.status.as_deref() == Some("suspended") => {
            Err(format!("Chatwoot account {wanted} is suspended"))
        }
        Some(_) => Ok(()),
        None => {
            let has: Vec<_> = profile.accounts.iter().map(|a| a.id.to_string()).collect();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            Err(format!(
                "the token is good, but its user is not a member of account {wanted} (member of: {has}); correct accountId"
            ))
        }
    }
}

fn inbox_problem(api: &Api, e: &SendError) -> String {
    let inbox = api.account.inbox_id;
    match e.http_status {
        Some(404) => {
            format!(
                "token and account are good, but account {} has no inbox {inbox}; correct inboxId",
                api.account.account_id
            )
        }
        Some(401) => format!("inbox {inbox}: {}", e.detail),
        _ => e.detail.clone(),
    }
}
