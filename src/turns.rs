//! Turns at something costly, by tenant: a few have theirs at once, a few more may wait, and the rest is told to come
//! back. One tenant's do not count against another's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::TenantId;

pub struct Turns {
    at_once: usize,
    waiting: usize,
    /// Those of tenants that have or want a turn.
    places: Mutex<HashMap<TenantId, Weak<Places>>>,
}

struct Places {
    turns: Arc<Semaphore>,
    /// For those who have a turn and those who wait for one.
    all: Arc<Semaphore>,
}

/// A turn, until it is dropped.
pub struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
    _places: Arc<Places>,
}

impl Turns {
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self { at_once, waiting, places: Mutex::default() }
    }

    /// Waits for a turn; `None` when too many of this tenant's wait already.
    pub async fn take(&self, tenant: &TenantId) -> Option<Turn> {
        let places = self.places(tenant);
        let place = Arc::clone(&places.all).try_acquire_owned().ok()?;
        let turn = Arc::clone(&places.turns).acquire_owned().await.ok()?;
        Some(Turn { _turn: turn, _place: place, _places: places })
    }

    fn places(&self, tenant: &TenantId) -> Arc<Places> {
        let mut all = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = all.get(tenant).and_then(Weak::upgrade) {
            return places;
        }
        all.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Places {
            turns: Arc::new(Semaphore::new(self.at_once)),
            all: Arc::new(Semaphore::new(self.at_once + self.waiting)),
        });
        all.insert(tenant.clone(), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt;
    use futures_util::future::poll_immediate;

    use super::*;

    #[tokio::test]
    async fn some_have_a_turn_some_wait_and_the_rest_is_told_so() {
        let turns = Turns::new(2, 1);
        let (one, two) = (TenantId::from("one"), TenantId::from("two"));
        let held = [turns.take(&one).await.unwrap(), turns.take(&one).await.unwrap()];
        let mut waits = Box::pin(turns.take(&one));
        assert!(poll_immediate(&mut waits).await.is_none());
        assert!(turns.take(&one).await.is_none(), "one too many");
        assert!(turns.take(&two).await.is_some(), "it is the other's");
        let [first, second] = held;
        drop(first);
        let third = waits.now_or_never().flatten().unwrap();
        drop((second, third));
        assert!(turns.take(&one).await.is_some());
        // Who gives up waiting leaves the place to others.
        let held = [turns.take(&one).await.unwrap(), turns.take(&one).await.unwrap()];
        assert!(turns.take(&one).now_or_never().is_none());
        let mut waits = Box::pin(turns.take(&one));
        assert!(poll_immediate(&mut waits).await.is_none());
        drop((waits, held));
        turns.take(&two).await.unwrap();
        assert_eq!(turns.places.lock().unwrap().len(), 1, "nothing is kept of who wants nothing");
    }
}
