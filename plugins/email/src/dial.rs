//! From settings to a connection that is ready for mail: name, address, TCP, TLS, EHLO, AUTH. Every failure here is
//! `not_sent` or a plain refusal, as no message has been begun.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use plugin_api::{Hint, Host, SendError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::account::{Account, Login, Security};
use crate::connection::{Broken, Connection, Extensions};
use crate::reply::{Reply, Stage};
use crate::tls;

pub(crate) async fn open(
    account: &Account,
    host: &Host,
    tls: &Arc<ClientConfig>,
    deadline: Instant,
) -> Result<Connection, SendError> {
    let dialled = timeout_at(deadline, dial(account, host, tls, deadline)).await;
    dialled.unwrap_or_else(|_| Err(SendError::not_sent("timeout", "the server did not answer in time")))
}

async fn dial(
    account: &Account,
    host: &Host,
    tls: &Arc<ClientConfig>,
    deadline: Instant,
) -> Result<Connection, SendError> {
    let addresses = addresses(account, host).await?;
    let tcp = connect(&addresses, deadline).await?;
    let name = server_name(account)?;
    let connection = match account.security {
        Security::Tls => {
            let mut connection = Connection::tls(tcp, name, tls).await.map_err(|e| tls_failed(&e))?;
            greet(&mut connection, host).await?;
            connection
        }
        Security::Starttls => {
            let mut connection = Connection::plain(tcp);
            greet(&mut connection, host).await?;
            if !connection.extensions.starttls {
                let detail = "the server does not offer STARTTLS, and nothing is sent in clear";
                return Err(SendError::not_sent("starttls_not_offered", detail));
            }
            expect(connection.command("STARTTLS\r\n").await, Stage::StartTls)?;
            let mut connection = connection.upgrade(name, tls).await.map_err(|e| tls_failed(&e))?;
            hello(&mut connection, host).await?;
            connection
        }
        Security::None => {
            let mut connection = Connection::plain(tcp);
            greet(&mut connection, host).await?;
            connection
        }
    };
    match &account.login {
        Some(login) => sign_in(connection, login).await,
        None => Ok(connection),
    }
}

/// Where the guard lets us go; in clear only where the operator said so.
async fn addresses(account: &Account, host: &Host) -> Result<Vec<SocketAddr>, SendError> {
    let mut found = match account.literal() {
        Some(ip) => vec![SocketAddr::new(ip, account.port)],
        None => host.guard.resolve(&account.host.to_string(), account.port).await?,
    };
    if found.is_empty() {
        return Err(SendError::not_sent("name_not_resolved", "the host name has no address"));
    }
    found.retain(|a| host.guard.permits(a.ip()));
    if found.is_empty() {
        return Err(SendError::not_sent("blocked_address", "the host's address may not be connected to"));
    }
    if account.security == Security::None {
        found.retain(|a| host.guard.allows(a.ip()));
        if found.is_empty() {
            let detail = "security \"none\" is only for networks the operator opened";
            return Err(SendError::not_sent("plaintext_not_allowed", detail));
        }
    }
    Ok(found)
}

/// One address after the other, the time shared out so that a silent first one leaves some for the second.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, SendError> {
    for (n, address) in addresses.iter().enumerate() {
        let share = deadline.saturating_duration_since(Instant::now()) / (addresses.len() - n) as u32;
        if let Ok(Ok(tcp)) = tokio::time::timeout(share, TcpStream::connect(address)).await {
            // Without it the closing dot waits for the other side's delayed acknowledgement.
            let _ = tcp.set_nodelay(true);
            return Ok(tcp);
        }
    }
    Err(SendError::not_sent("connect_failed", "could not connect to the server"))
}

fn server_name(account: &Account) -> Result<ServerName<'static>, SendError> {
    match account.literal() {
        Some(ip) => Ok(ServerName::IpAddress(ip.into())),
        None => ServerName::try_from(account.host.to_string())
            .map_err(|_| SendError::not_sent("name_not_resolved", "the host name is not a valid one")),
    }
}

async fn greet(connection: &mut Connection, host: &Host) -> Result<(), SendError> {
    expect(connection.read().await, Stage::Greeting)?;
    hello(connection, host).await
}

async fn hello(connection: &mut Connection, host: &Host) -> Result<(), SendError> {
    let line = format!("EHLO {}\r\n", own_name(&host.hostname));
    let reply = expect(connection.command(&line).await, Stage::Ehlo)?;
    connection.extensions = Extensions::parse(&reply.text);
    Ok(())
}

/// Servers refuse an EHLO that is no name; an address in brackets is the standard's way to have none.
fn own_name(hostname: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    match hostname.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Err(_) if !hostname.is_empty() && hostname.chars().all(is_name) => hostname.to_owned(),
        Err(_) => "[127.0.0.1]".to_owned(),
    }
}

async fn sign_in(mut connection: Connection, login: &Login) -> Result<Connection, SendError> {
    if connection.extensions.auth_plain {
        let secret = BASE64.encode(format!("\0{}\0{}", login.username, login.password));
        expect(connection.command(&format!("AUTH PLAIN {secret}\r\n")).await, Stage::Auth)?;
    } else if connection.extensions.auth_login {
        let mut reply = connection.command("AUTH LOGIN\r\n").await;
        for secret in [&login.username, &login.password] {
            match reply {
                Ok(asked) if asked.code == 334 => {}
                other => {
                    expect(other, Stage::Auth)?;
                    return Err(SendError::not_sent("broken_answer", "the server ended AUTH LOGIN before its time"));
                }
            }
            reply = connection.command(&format!("{}\r\n", BASE64.encode(secret))).await;
        }
        expect(reply, Stage::Auth)?;
    } else {
        let detail = "the server offers no sign-in this gateway speaks (PLAIN, LOGIN)";
        return Err(SendError::rejected("auth_not_offered", detail).hint(Hint::Misconfigured));
    }
    Ok(connection)
}

fn expect(reply: Result<Reply, Broken>, stage: Stage) -> Result<Reply, SendError> {
    match reply {
        Ok(reply) if reply.is_positive() => Ok(reply),
        Ok(reply) => Err(reply.refusal(stage)),
        Err(broken) => Err(broken.before_content()),
    }
}

fn tls_failed(error: &std::io::Error) -> SendError {
    SendError::not_sent("tls_failed", format!("no safe connection to the server: {}", tls::describe(error)))
}
