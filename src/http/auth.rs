//! Who calls. Having one of these extractors is the proof of a right: a handler without one is open to everybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use secrecy::ExposeSecret;

use crate::app::App;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::jwt::{JwtError, Role};
use crate::keys::{KeyHash, Presented, Scope, Scopes, same_secret};
use crate::store::keys;

/// Whoever presented good credentials.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `None`: an operator who named no tenant.
    tenant: Option<TenantId>,
    operator: bool,
    scopes: Scopes,
    /// The one branch of the tenant that the caller is for, where it is not for all of it.
    branch: Option<Arc<str>>,
}

/// May send for this tenant.
pub struct Sender(pub TenantId);
/// May read this tenant's things.
pub struct Reader(pub TenantId);
/// May change this tenant's settings.
pub struct Manager(pub TenantId);
/// As [`Sender`], within a reach.
pub struct SenderWithin(pub TenantId, pub Reach);
/// As [`Reader`], within a reach.
pub struct ReaderWithin(pub TenantId, pub Reach);
/// As [`Manager`], within a reach.
pub struct ManagerWithin(pub TenantId, pub Reach);
/// An operator of the whole platform.
pub struct Operator;
/// An operator, or a manager of the tenant that is named in the path.
pub struct OperatorOrManager(Caller);

/// How much of a tenant the caller is for: all of it, or one branch. A handler that does not ask is closed to callers of
/// one branch.
pub struct Reach(Option<Arc<str>>);

impl Reach {
    /// The branch that is meant: of a caller for one branch that one, named or not.
    pub fn branch(&self, named: Option<String>) -> Result<Option<String>> {
        match (&self.0, named) {
            (None, named) => Ok(named),
            (Some(own), Some(named)) if **own != *named => Err(another_branch(own)),
            (Some(own), _) => Ok(Some(own.to_string())),
        }
    }

    /// What belongs elsewhere is as unknown as what does not exist.
    pub fn find(&self, branch: Option<&str>) -> Result<()> {
        if self.includes(branch) { Ok(()) } else { Err(Error::NotFound) }
    }

    pub fn includes(&self, branch: Option<&str>) -> bool {
        self.0.as_deref().is_none_or(|own| branch == Some(own))
    }

    /// The one branch, if it is only one.
    pub fn only(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

fn another_branch(own: &str) -> Error {
    Error::refused("forbidden", format!("this token is for the branch {own} only"))
}

impl OperatorOrManager {
    /// Another tenant's id is as unknown as one that does not exist.
    pub fn of(&self, id: &str) -> Result<TenantId> {
        self.0.whole()?;
        self.tenant(id)
    }

    /// As [`OperatorOrManager::of`], also for who is for this branch alone.
    pub fn of_branch(&self, id: &str, branch: &str) -> Result<TenantId> {
        Reach(self.0.branch.clone()).find(Some(branch))?;
        self.tenant(id)
    }

    fn tenant(&self, id: &str) -> Result<TenantId> {
        if self.0.operator {
            return Ok(id.into());
        }
        self.0.tenant.clone().filter(|t| t.as_str() == id).ok_or(Error::NotFound)
    }
}

impl Caller {
    fn whole(&self) -> Result<()> {
        self.branch.as_deref().map_or(Ok(()), |own| Err(another_branch(own)))
    }

    fn tenant_with(self, scope: Scope) -> Result<TenantId> {
        if !self.scopes.contains(scope) {
            return Err(Error::refused("forbidden", format!("this needs the scope \"{scope}\"")));
        }
        self.tenant.ok_or_else(|| {
            Error::refused("tenant-required", "an operator names the tenant with the header X-Tenant-Id")
        })
    }
}

macro_rules! scoped {
    ($($name:ident, $within:ident => $scope:expr),*) => {$(
        impl FromRequestParts<Arc<App>> for $name {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
                let caller = caller(parts, app).await?;
                caller.whole()?;
                caller.tenant_with($scope).map(Self)
            }
        }

        impl FromRequestParts<Arc<App>> for $within {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
                let caller = caller(parts, app).await?;
                let reach = Reach(caller.branch.clone());
                Ok(Self(caller.tenant_with($scope)?, reach))
            }
        }
    )*};
}

scoped!(
    Sender, SenderWithin => Scope::Send,
    Reader, ReaderWithin => Scope::Read,
    Manager, ManagerWithin => Scope::Admin
);

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let caller = caller(parts, app).await?;
        caller.operator.then_some(Self).ok_or_else(|| Error::refused("forbidden", "this is for operators"))
    }
}

impl FromRequestParts<Arc<App>> for OperatorOrManager {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let caller = caller(parts, app).await?;
        if !caller.operator && !caller.scopes.contains(Scope::Admin) {
            return Err(Error::refused("forbidden", "this needs the scope \"admin\""));
        }
        Ok(Self(caller))
    }
}

async fn caller(parts: &Parts, app: &Arc<App>) -> Result<Caller> {
    let found = identify(&parts.headers, app).await;
    // Good credentials pass from any address: somebody else behind the same router may be the one who guesses.
    if let Err(Error::Refused { slug: "unauthorized" | "token-expired", .. }) = &found
        && parts.headers.contains_key(header::AUTHORIZATION)
        && let Some(ConnectInfo(address)) = parts.extensions.get::<ConnectInfo<std::net::SocketAddr>>()
    {
        app.bad_credentials.count(address.ip())?;
    }
    found
}

async fn identify(headers: &HeaderMap, app: &App) -> Result<Caller> {
    let token = bearer(headers)?;
    let named = headers.get("x-tenant-id");
    let mut caller = if token.starts_with("rcd_") {
        by_key(token, app).await?
    } else if app.config.load().auth.operator_key.as_ref().is_some_and(|k| same_secret(token, k.expose_secret())) {
        Caller { tenant: None, operator: true, scopes: Scopes::all(), branch: None }
    } else {
        by_token(token, app)?
    };
    if let Some(named) = named {
        if !caller.operator {
            return Err(Error::refused("forbidden", "X-Tenant-Id is for operators; a key belongs to one tenant"));
        }
        let id: TenantId = named.to_str().map_err(|_| Error::NotFound)?.into();
        app.tenants.get(&id).await?;
        caller.tenant = Some(id);
    }
    Ok(caller)
}

fn bearer(headers: &HeaderMap) -> Result<&str> {
    let unauthorized = || Error::refused("unauthorized", "send Authorization: Bearer with an API key or a token");
    let text = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).ok_or_else(unauthorized)?;
    let (scheme, token) = text.split_once(' ').ok_or_else(unauthorized)?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token).ok_or_else(unauthorized)
}

async fn by_key(token: &str, app: &App) -> Result<Caller> {
    let unknown = || Error::refused("unauthorized", "this API key is not known");
    let presented = Presented::parse(token).ok_or_else(unknown)?;
    let known = app.keys.get(presented.id, app).await?.ok_or_else(unknown)?;
    if !presented.matches(&known.hash) {
        return Err(unknown());
    }
    Ok(known.caller)
}

fn by_token(token: &str, app: &App) -> Result<Caller> {
    let claims = app.tokens.verify(token, app.clock.now().0 / 1000).map_err(|e| match e {
        JwtError::Expired => Error::refused("token-expired", "get a new token"),
        JwtError::Invalid => Error::refused("unauthorized", "neither an API key nor a valid token"),
    })?;
    let tenant = claims.tenant_id.map(TenantId::from);
    let branch = claims.branch_id.map(Into::into);
    Ok(match claims.role {
        // Reads its tenant's widget configuration and nothing else: none of these scopes.
        Role::User => Caller { tenant, operator: false, scopes: Scopes::default(), branch },
        Role::Admin => Caller { tenant, operator: false, scopes: Scopes::all(), branch },
        Role::Superadmin => Caller { tenant, operator: true, scopes: Scopes::all(), branch: None },
    })
}

/// Keys seen lately. A revoked one is refused after two seconds at most, on every node.
#[derive(Default)]
pub struct KeyCache(RwLock<HashMap<String, Known>>);

#[derive(Clone)]
struct Known {
    hash: KeyHash,
    caller: Caller,
    read_at: Instant,
}

const KEY_FRESH_FOR: Duration = Duration::from_secs(2);

impl KeyCache {
    async fn get(&self, id: &str, app: &App) -> Result<Option<Known>> {
        {
            let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = keys.get(id).filter(|k| k.read_at.elapsed() < KEY_FRESH_FOR) {
                return Ok(Some(known.clone()));
            }
        }
        let row = keys::find_any_tenant(&app.db.pool, id).await?.filter(|row| row.revoked_at.is_none());
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(row) = row else {
            keys.remove(id);
            return Ok(None);
        };
        let hash = row.hash.parse().map_err(|_| Error::Internal("an API key's hash is unreadable".into()))?;
        let scopes = row.scopes.parse().map_err(|_| Error::Internal("an API key's scopes are unreadable".into()))?;
        let operator = row.tenant.is_none();
        let scopes = if operator { Scopes::all() } else { scopes };
        let caller = Caller { tenant: row.tenant, operator, scopes, branch: None };
        let known = Known { hash, caller, read_at: Instant::now() };
        if keys.len() > 10_000 {
            keys.retain(|_, k| k.read_at.elapsed() < KEY_FRESH_FOR);
        }
        keys.insert(id.to_owned(), known.clone());
        Ok(Some(known))
    }

    /// This node revoked a key.
    pub fn forget(&self, id: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Who keeps guessing is told to wait: 20 bad credentials in a minute from one address.
#[derive(Default)]
pub struct BadCredentials(Mutex<HashMap<IpAddr, (u32, Option<Instant>)>>);

const GUESSES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

impl BadCredentials {
    fn count(&self, address: IpAddr) -> Result<()> {
        let mut guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() > 10_000 {
            guesses.retain(|_, (_, since)| since.is_some_and(|s| s.elapsed() < WINDOW));
        }
        let entry = guesses.entry(address).or_insert((0, None));
        if entry.1.is_none_or(|since| since.elapsed() >= WINDOW) {
            *entry = (0, Some(Instant::now()));
        }
        entry.0 += 1;
        if entry.0 > GUESSES {
            return Err(Error::refused("rate-limited", "too many bad credentials from this address; wait a minute"));
        }
        Ok(())
    }
}
