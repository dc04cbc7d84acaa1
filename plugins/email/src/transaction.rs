//! One message over an open connection. Until the server has said 354 nothing of the message is written, so whatever
//! goes wrong is certainly not accepted; from then on a loss is `unknown`.

use std::time::Duration;

use plugin_api::SendError;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connection::{Broken, Connection};
use crate::mail::Mail;
use crate::reply::{Reply, Stage};

/// How long each half of the exchange may take.
pub(crate) struct Deadlines {
    /// Until the server has said 354.
    pub(crate) before: Instant,
    /// From there to its last word.
    pub(crate) last: Duration,
}

impl Broken {
    /// No byte of a message has been written.
    pub(crate) fn before_content(self) -> SendError {
        match self {
            Self::Lost => SendError::not_sent("connection_lost", "the server closed the connection before the message"),
            Self::Garbage => SendError::not_sent("broken_answer", "what answered does not speak SMTP"),
        }
    }

    fn within_content(self) -> SendError {
        match self {
            Self::Lost => SendError::unknown("connection_lost", "the connection broke before the server confirmed"),
            Self::Garbage => SendError::unknown("broken_answer", "the server's last answer could not be read"),
        }
    }
}

/// Hands the mail over, once. Leaves the connection marked as fit for the next, or not.
pub(crate) async fn deliver(connection: &mut Connection, mail: &Mail, deadlines: &Deadlines) -> Result<(), SendError> {
    if let Some(limit @ 1..) = connection.extensions.size
        && mail.data.len() as u64 > limit
    {
        let detail = format!("the message has {} bytes and the server takes {limit}", mail.data.len());
        return Err(SendError::rejected("message_too_big", detail));
    }
    connection.in_step = false;
    match timeout_at(deadlines.before, announce(connection, mail)).await {
        Err(_) => return Err(SendError::not_sent("timeout", "the server did not answer in time")),
        Ok(refused) => refused?,
    }
    match timeout(deadlines.last, hand_over(connection, mail)).await {
        Err(_) => Err(SendError::unknown("timeout", "the server did not confirm the message in time")),
        Ok(outcome) => outcome,
    }
}

/// MAIL, RCPT and DATA: in one packet where the server allows, which leaves two round trips a message.
async fn announce(connection: &mut Connection, mail: &Mail) -> Result<(), SendError> {
    let size = match connection.extensions.size {
        Some(_) => format!(" SIZE={}", mail.data.len()),
        None => String::new(),
    };
    let mut commands = Vec::with_capacity(4);
    if connection.needs_reset {
        commands.push((Stage::Reset, "RSET\r\n".to_owned()));
    }
    commands.push((Stage::Mail, format!("MAIL FROM:<{}>{size}\r\n", mail.sender)));
    commands.push((Stage::Rcpt, format!("RCPT TO:<{}>\r\n", mail.recipient)));
    commands.push((Stage::Data, "DATA\r\n".to_owned()));
    connection.needs_reset = false;
    if connection.extensions.pipelining {
        together(connection, &commands).await
    } else {
        in_turn(connection, &commands).await
    }
}

async fn in_turn(connection: &mut Connection, commands: &[(Stage, String)]) -> Result<(), SendError> {
    for (stage, line) in commands {
        let reply = connection.command(line).await.map_err(Broken::before_content)?;
        if !accepts(*stage, &reply) {
            set_back(connection, &reply);
            return Err(reply.refusal(*stage));
        }
    }
    Ok(())
}

/// The first refusal is the one that counts: those after it only follow from it.
async fn together(connection: &mut Connection, commands: &[(Stage, String)]) -> Result<(), SendError> {
    let lines: String = commands.iter().map(|(_, line)| line.as_str()).collect();
    connection.write(lines.as_bytes()).await.map_err(Broken::before_content)?;
    let mut refused = None;
    for (stage, _) in commands {
        match connection.read().await {
            Ok(reply) if accepts(*stage, &reply) => {
                // 354 in spite of a refusal: the server now waits for content that must not come. RFC 2920 would send
                // it a lone dot; hanging up cannot be misread as an empty message.
                if *stage == Stage::Data
                    && let Some(refused) = refused
                {
                    return Err(refused);
                }
            }
            Ok(reply) => {
                let refusal = reply.refusal(*stage);
                if reply.code == 421 {
                    return Err(refused.unwrap_or(refusal));
                }
                refused.get_or_insert(refusal);
            }
            Err(broken) => return Err(refused.unwrap_or_else(|| broken.before_content())),
        }
    }
    match refused {
        None => Ok(()),
        Some(refused) => {
            connection.in_step = true;
            connection.needs_reset = true;
            Err(refused)
        }
    }
}

async fn hand_over(connection: &mut Connection, mail: &Mail) -> Result<(), SendError> {
    // A server that gives up half-way says why before it closes, and then it has certainly not taken the message.
    let written = connection.write(&mail.data).await;
    let reply = connection.read().await.map_err(|broken| written.err().unwrap_or(broken).within_content())?;
    match written {
        Ok(()) if reply.is_positive() => {
            connection.in_step = true;
            connection.carried += 1;
            Ok(())
        }
        Err(broken) if reply.is_positive() => Err(broken.within_content()),
        written => {
            if written.is_ok() {
                set_back(connection, &reply);
            }
            Err(reply.refusal(Stage::Content))
        }
    }
}

/// Asks whether mail from `sender` would be taken, and leaves without sending any.
pub(crate) async fn rehearse(connection: &mut Connection, sender: &str, deadline: Instant) -> Result<(), SendError> {
    let exchange = async {
        let line = format!("MAIL FROM:<{sender}>\r\n");
        let reply = connection.command(&line).await.map_err(Broken::before_content)?;
        if !reply.is_positive() {
            return Err(reply.refusal(Stage::Mail));
        }
        connection.command("RSET\r\n").await.map_err(Broken::before_content)?;
        // The answer is courtesy: all there was to learn has been said.
        let _ = connection.command("QUIT\r\n").await;
        Ok(())
    };
    let answered = timeout_at(deadline, exchange).await;
    answered.unwrap_or_else(|_| Err(SendError::not_sent("timeout", "the server did not answer in time")))
}

fn accepts(stage: Stage, reply: &Reply) -> bool {
    if stage == Stage::Data { reply.code == 354 } else { reply.is_positive() }
}

/// After a refusal both sides agree to start anew, unless the server is closing or answered beside the question.
fn set_back(connection: &mut Connection, reply: &Reply) {
    connection.in_step = reply.code != 421 && reply.code >= 400;
    connection.needs_reset = true;
}
