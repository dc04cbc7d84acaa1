//! Whether there is room for what a request would store.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::App;
use crate::error::{Error, Result};

/// There is. A handler without it adds little or nothing, or takes something away: opting out and cancelling must be
/// possible also when the disk is all but full.
pub(super) struct Room;

impl FromRequestParts<Arc<App>> for Room {
    type Rejection = Error;

    async fn from_request_parts(_: &mut Parts, app: &Arc<App>) -> Result<Self> {
        app.db.check_room()?;
        Ok(Self)
    }
}
