//! Would a message be accepted? Reads the sending number, which proves token and number, and the business account's
//! numbers where its id is given. Nobody is reached.

use plugin_api::SendError;
use plugin_api::http::{Answer, Http};
use serde::Deserialize;
use serde_json::Value;

use super::account::Account;
use super::errors;

#[derive(Deserialize)]
struct Number {
    display_phone_number: Option<String>,
    verified_name: Option<String>,
    quality_rating: Option<String>,
}

#[derive(Deserialize)]
struct Numbers {
    data: Vec<Id>,
    #[serde(default)]
    paging: Value,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

pub(crate) async fn check(account: &Account, http: &Http) -> Result<String, String> {
    let fields = "id,display_phone_number,verified_name,quality_rating";
    let answer = get(account, http, &account.phone_number_id, fields).await.map_err(|e| e.detail)?;
    let number: Number = answer.json().ok_or("the answer is not Meta's; compare baseUrl")?;
    let mut said = format!(
        "{} can write as {}",
        number.display_phone_number.as_deref().unwrap_or("the number"),
        number.verified_name.as_deref().unwrap_or("an unnamed business"),
    );
    if let Some("RED" | "YELLOW") = number.quality_rating.as_deref() {
        said.push_str("; its quality is not good, and Meta may restrict it (WhatsApp Manager)");
    }
    if let Some(waba) = &account.waba_id {
        said.push_str(belongs(account, http, waba).await?);
    }
    if account.app_secret.is_empty() || account.verify_token.is_empty() {
        said.push_str("; replies and statuses are not heard until appSecret and verifyToken are set");
    }
    Ok(said)
}

/// Sending needs no right to read the business account, so the lack of it is no fault.
async fn belongs(account: &Account, http: &Http, waba: &str) -> Result<&'static str, String> {
    match get(account, http, &format!("{waba}/phone_numbers"), "id").await {
        Ok(answer) => match answer.json::<Numbers>() {
            Some(numbers) if numbers.data.iter().any(|n| n.id == account.phone_number_id) => Ok(""),
            Some(numbers) if numbers.paging["next"].is_null() => {
                Err("the token and the number are good, but the number is not of the business account wabaId".into())
            }
            _ => Ok("; the business account could not be read"),
        },
        Err(e) if e.reason == "unknown_sender" => {
            Err("Meta knows no business account with this wabaId, or the token may not see it".into())
        }
        Err(_) => Ok("; whether it belongs to wabaId could not be seen"),
    }
}

async fn get(account: &Account, http: &Http, path: &str, fields: &str) -> Result<Answer, SendError> {
    let mut url = account.url(path);
    url.query_pairs_mut().append_pair("fields", fields);
    let answer = http.get(&url).headers(&account.headers).send().await?;
    errors::judge(&answer, 1)?;
    Ok(answer)
}
