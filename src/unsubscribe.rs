//! The link by which a person takes themselves off a tenant's marketing (RFC 8058). It is all there is to know: it
//! names tenant and address, sealed, so that nobody can read them from a log or make one up, and it works for as long
//! as the key file does.

use crate::clock::Timestamp;
use crate::error::Result;
use crate::ids::TenantId;
use crate::secrets::Keyring;
use crate::store::{Db, suppressions, tenants};

const PURPOSE: &str = "unsubscribe";

/// Where the links lead, below `server.public_url`.
pub const PATH: &str = "/hooks/email/unsubscribe/";

/// The same for the same person at the same tenant, so that a repeated e-mail is the same e-mail.
pub fn link(keyring: &Keyring, public_url: &str, tenant: &TenantId, address: &str) -> String {
    let token = keyring.seal_link(PURPOSE, &format!("{tenant}\n{address}"));
    format!("{}{PATH}{token}", public_url.trim_end_matches('/'))
}

/// Who leaves which tenant; `None` for a token that is not ours.
pub fn read(keyring: &Keyring, token: &str) -> Option<(TenantId, String)> {
    let text = keyring.open_link(PURPOSE, token)?;
    let (tenant, address) = text.split_once('\n')?;
    Some((TenantId(tenant.into()), address.to_owned()))
}

/// From now on this address gets no marketing of this tenant. Twice is as good as once.
pub async fn leave(db: &Db, tenant: &TenantId, address: &str, now: Timestamp) -> Result<()> {
    suppressions::insert(&db.pool, tenant, address, "marketing", "unsubscribed", "email", now).await?;
    Ok(tenants::bump(&db.pool, tenant).await?)
}
