//! What every 2xx of a vendor becomes.

use plugin_api::Receipt;
use plugin_api::http::Answer;

/// The message was taken. An answer that says so in no readable way is flagged, and its message has no id.
pub(crate) fn receipt(answer: &Answer, message_id: Option<String>, note: Option<String>) -> Receipt {
    let odd = if !answer.complete {
        Some("the answer was cut; the message was taken")
    } else if message_id.is_none() {
        Some("the answer held no message id; the message was taken, but reports of it cannot be matched by id")
    } else {
        None
    };
    Receipt {
        message_id,
        http_status: Some(answer.status),
        note: note.or_else(|| odd.map(str::to_owned)),
        ..Receipt::default()
    }
}
