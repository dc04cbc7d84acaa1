//! Caps on marketing: counted in the commit that accepts a message, so that two at once can't both be the last.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::AnyConnection;

use super::task::Task;
use super::{Accept, Fate};
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::store::caps::{self, Planned};
use crate::store::{Db, StoreResult};

pub const CAPPED: &str = "capped";

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

impl Task {
    /// Suppresses what would be one too many, and counts the rest.
    pub(super) async fn cap(
        &self,
        conn: &mut AnyConnection,
        accept: &Accept,
        fates: &mut [Fate],
        most: u32,
        now: Timestamp,
    ) -> StoreResult<()> {
        let queued = accept.notifications.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Queued);
        let counted: Vec<_> = queued
            .filter_map(|(new, fate)| {
                let at = new.delivery.send_at.unwrap_or(now).max(now);
                let notification = new.delivery.id.to_string();
                Some((Planned { person: new.person.clone()?, notification, at: at.0 }, fate))
            })
            .collect();
        let (Some(first), Some(last)) = (counted.iter().map(|c| c.0.at).min(), counted.iter().map(|c| c.0.at).max())
        else {
            return Ok(());
        };
        let people: Vec<&str> = counted.iter().map(|c| c.0.person.as_str()).collect();
        let span = (Timestamp(first).minus(WEEK), Timestamp(last).plus(WEEK));
        let mut known: HashMap<String, Vec<Timestamp>> = HashMap::new();
        for (person, at) in caps::planned(&mut *conn, self.db.engine, &accept.tenant, &people, span).await? {
            known.entry(person).or_default().push(at);
        }
        let mut taken = Vec::new();
        for (planned, fate) in counted {
            let theirs = known.entry(planned.person.clone()).or_default();
            let at = Timestamp(planned.at);
            if is_full(theirs, at, most) {
                *fate = Fate::Suppressed(CAPPED.to_owned());
            } else {
                theirs.push(at);
                taken.push(planned);
            }
        }
        if !taken.is_empty() {
            caps::insert(conn, self.db.engine, &accept.tenant, &taken, now.minus(WEEK)).await?;
        }
        Ok(())
    }
}

/// Whether one more message to this person at this moment would be too many; to say so beforehand, binding nobody.
pub async fn would_be_capped(db: &Db, tenant: &TenantId, person: &str, at: Timestamp, most: u32) -> StoreResult<bool> {
    let span = (at.minus(WEEK), at.plus(WEEK));
    let planned = caps::planned(&db.pool, db.engine, tenant, &[person], span).await?;
    Ok(is_full(&planned.into_iter().map(|(_, at)| at).collect::<Vec<_>>(), at, most))
}

/// Whether some seven days around `at` would hold more than `most`, with one more then.
fn is_full(planned: &[Timestamp], at: Timestamp, most: u32) -> bool {
    let most = most as usize;
    let mut all = planned.to_vec();
    all.push(at);
    all.sort_unstable();
    let here = all.partition_point(|t| *t < at);
    let windows = here.saturating_sub(most)..=here;
    windows.into_iter().any(|n| all.get(n + most).is_some_and(|last| last.since(all[n]) < WEEK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_seven_days_hold_more_than_the_cap() {
        const DAY: i64 = 86_400_000;
        let full = |days: &[i64], at: i64, most| {
            let planned: Vec<_> = days.iter().map(|d| Timestamp(d * DAY)).collect();
            is_full(&planned, Timestamp(at * DAY), most)
        };
        assert!(full(&[], 0, 0) && !full(&[], 0, 1));
        assert!(full(&[10], 10, 1) && full(&[10], 16, 1) && !full(&[10], 17, 1), "seven days later is another week");
        assert!(full(&[10], 4, 1) && !full(&[10], 3, 1), "what is planned for later counts as well");
        assert!(!full(&[4, 16], 10, 2), "they are no week together");
        assert!(full(&[8, 12], 10, 2) && full(&[8, 9], 10, 2) && full(&[11, 12], 10, 2));
        assert!(full(&[10, 10], 10, 2) && !full(&[10, 10], 17, 2));
        assert!(full(&[10, 10, 10, 10], 12, 2) && !full(&[10, 10, 10, 10], 20, 2), "a cap that was lowered");
    }
}
