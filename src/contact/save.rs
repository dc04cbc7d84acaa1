//! Whom a row is about, and writing it: one contact or a file's batch of them, in the caller's transaction.

use std::collections::{HashMap, HashSet};
use std::pin::pin;

use futures_util::future::poll_immediate;
use sha2::{Digest, Sha256};
use sqlx::AnyConnection;

use super::{Change, Contact, How};
use crate::clock::Timestamp;
use crate::error::Fault;
use crate::ids::{ContactId, TenantId};
use crate::store::contacts::{self, By, Found, Key};
use crate::store::imports::Mark;
use crate::store::{Engine, StoreResult, consents, tenants};

/// A change on its way to the store.
pub struct Incoming {
    /// Of the file it came from.
    pub line: i64,
    pub change: Change,
    pub how: How,
    /// Whom it is about, where that is settled; else found by external id, then phone, then e-mail.
    pub known: Option<Contact>,
}

pub struct Saved {
    pub id: ContactId,
    pub created: bool,
}

/// An import under way: what it wrote already, so that a second line about the same is refused.
pub struct Import {
    /// Tells its rows in the store from others'.
    pub mark: i64,
    /// The lines of what was found just as the file has it, by a digest of the id. Of a file that comes every night only
    /// what changed is written.
    unchanged: HashMap<[u8; 16], i64>,
}

/// So many are remembered, which takes some 6 MiB; what comes then is marked in the store like all the rest.
const REMEMBERED: usize = 200_000;

impl Import {
    pub fn new(mark: i64) -> Self {
        Self { mark, unchanged: HashMap::new() }
    }

    /// False when that would be too many.
    pub fn remember(&mut self, id: &str, line: i64) -> bool {
        let room = self.unchanged.len() < REMEMBERED;
        if room {
            self.unchanged.insert(digest(id), line);
        }
        room
    }

    /// From which line it wrote this one.
    pub fn line_of(&self, id: &str, mark: Option<Mark>) -> Option<i64> {
        let marked = mark.filter(|mark| mark.import == self.mark).map(|mark| mark.line);
        marked.or_else(|| self.unchanged.get(&digest(id)).copied())
    }
}

fn digest(id: &str) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&Sha256::digest(id)[..16]);
    digest
}

/// Writes the changes in few statements. The tenant must be locked: between looking and writing nobody else may make
/// the person that is looked for. Whatever is refused leaves no trace.
pub async fn save(
    conn: &mut AnyConnection,
    engine: Engine,
    tenant: &TenantId,
    import: Option<&mut Import>,
    rows: Vec<Incoming>,
    now: Timestamp,
) -> StoreResult<Vec<Result<Saved, Fault>>> {
    tenants::bump_before_first_contact(&mut *conn, tenant).await?;
    let mut writer = Writer { engine, tenant, import, now };
    let mut saved = Vec::with_capacity(rows.len());
    // Rows that could be about one person are written after each other, so that the second finds what the first made.
    let mut run: Vec<Incoming> = Vec::with_capacity(rows.len());
    let mut names = HashSet::new();
    for row in rows {
        let own = row.names();
        if own.iter().any(|name| names.contains(name)) {
            saved.extend(writer.write(conn, std::mem::take(&mut run)).await?);
            names.clear();
        }
        names.extend(own);
        run.push(row);
    }
    saved.extend(writer.write(conn, run).await?);
    Ok(saved)
}

impl Incoming {
    /// Everything by which this row could be found.
    fn names(&self) -> Vec<String> {
        let Change { external_id, phone, email, .. } = &self.change;
        let email = there(email.as_ref()).map(str::to_lowercase);
        [there(external_id.as_ref()), there(phone.as_ref())]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .chain(email)
            .collect()
    }

    fn key(&self, n: usize) -> Key<'_> {
        let Change { external_id, phone, email, .. } = &self.change;
        let by_address = self.known.is_none();
        Key {
            n: n as i64,
            external_id: there(external_id.as_ref()),
            phone: there(phone.as_ref()).filter(|_| by_address),
            email: there(email.as_ref()).filter(|_| by_address).map(str::to_lowercase),
        }
    }
}

fn there(given: Option<&Option<String>>) -> Option<&str> {
    given?.as_deref()
}

/// What a row comes to.
struct Settled {
    contact: Contact,
    line: i64,
    was: Was,
    /// New to the history.
    consents: Vec<super::Consent>,
}

/// Who the contact was before.
#[derive(PartialEq, Eq)]
enum Was {
    Nobody,
    Other,
    TheSame,
}

/// Rows that are written with one statement of each kind.
const PART: usize = 500;

/// What is to be written of some rows.
#[derive(Default)]
struct Part {
    new: Vec<(Contact, i64)>,
    changed: Vec<(Contact, i64)>,
    same: Vec<(Contact, i64)>,
    said: Vec<(ContactId, super::Consent)>,
}

impl Part {
    async fn write(
        self,
        conn: &mut AnyConnection,
        engine: Engine,
        tenant: &TenantId,
        import: Option<i64>,
        now: Timestamp,
    ) -> StoreResult<()> {
        if let Some(import) = import {
            contacts::touch(&mut *conn, engine, tenant, import, &self.same).await?;
        }
        contacts::update(&mut *conn, engine, tenant, import, &self.changed, now).await?;
        contacts::insert(&mut *conn, engine, tenant, import, &self.new, now).await?;
        consents::insert(&mut *conn, engine, tenant, &self.said).await
    }
}

struct Writer<'a> {
    engine: Engine,
    tenant: &'a TenantId,
    import: Option<&'a mut Import>,
    now: Timestamp,
}

impl Writer<'_> {
    async fn write(&mut self, conn: &mut AnyConnection, run: Vec<Incoming>) -> StoreResult<Vec<Result<Saved, Fault>>> {
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key<'_>> = run.iter().enumerate().map(|(n, row)| row.key(n)).collect();
        let mut found: HashMap<i64, Vec<Found>> = HashMap::new();
        for one in contacts::lookup(&mut *conn, self.engine, self.tenant, &keys).await? {
            found.entry(one.n).or_default().push(one);
        }
        let mut saved = Vec::with_capacity(run.len());
        // Two rows of a run may still turn out to be one person, one by phone and one by e-mail.
        let mut taken: HashMap<ContactId, i64> = HashMap::new();
        let mut rows = run.into_iter().enumerate().map(|(n, row)| {
            let candidates = found.remove(&(n as i64)).unwrap_or_default();
            (row, candidates)
        });
        let mut next = self.settle_part(&mut rows, &mut taken, &mut saved);
        while let Some(part) = next {
            let import = self.import.as_ref().map(|import| import.mark);
            let mut writing = pin!(part.write(&mut *conn, self.engine, self.tenant, import, self.now));
            // The store is at work on this part while the next one is settled.
            let written = poll_immediate(writing.as_mut()).await;
            next = self.settle_part(&mut rows, &mut taken, &mut saved);
            match written {
                Some(written) => written?,
                None => writing.await?,
            }
        }
        Ok(saved)
    }

    /// Settles the next rows; none when there are no more.
    fn settle_part(
        &mut self,
        rows: &mut impl Iterator<Item = (Incoming, Vec<Found>)>,
        taken: &mut HashMap<ContactId, i64>,
        saved: &mut Vec<Result<Saved, Fault>>,
    ) -> Option<Part> {
        let (mut part, before) = (Part::default(), saved.len());
        for (row, candidates) in rows.take(PART) {
            let done = self.settle(row, candidates, taken).map(|Settled { contact, line, was, consents }| {
                let id = contact.id.clone();
                part.said.extend(consents.into_iter().map(|consent| (id.clone(), consent)));
                match (&was, &mut self.import) {
                    (Was::Nobody, _) => part.new.push((contact, line)),
                    (Was::Other, _) => part.changed.push((contact, line)),
                    (Was::TheSame, Some(import)) => {
                        if !import.remember(id.as_str(), line) {
                            part.same.push((contact, line));
                        }
                    }
                    (Was::TheSame, None) => {}
                }
                Saved { id, created: was == Was::Nobody }
            });
            saved.push(done);
        }
        (saved.len() > before).then_some(part)
    }

    fn settle(
        &self,
        row: Incoming,
        candidates: Vec<Found>,
        taken: &mut HashMap<ContactId, i64>,
    ) -> Result<Settled, Fault> {
        let Incoming { line, change, how, known } = row;
        let known = match known {
            Some(known) => {
                if candidates.iter().any(|c| c.by == By::ExternalId && c.contact.id != known.id) {
                    return Err(Fault::new("/externalId", "taken", "another contact has this externalId"));
                }
                Some(known)
            }
            None => self.choose(&change, candidates)?,
        };
        let before = known.clone();
        let mut contact = known.unwrap_or_else(|| Contact::new(self.now));
        if let Some(first) = taken.get(&contact.id) {
            return Err(same_as(*first));
        }
        let consents = contact.apply(change, how, self.now)?;
        taken.insert(contact.id.clone(), line);
        let was = match before.map(|before| contact == Contact { updated_at: contact.updated_at, ..before }) {
            None => Was::Nobody,
            Some(false) => Was::Other,
            Some(true) => Was::TheSame,
        };
        Ok(Settled { contact, line, was, consents })
    }

    /// By external id, then phone, then e-mail. A contact that has another external id is another person, however much
    /// else they share: a mother's phone is often her children's, too.
    fn choose(&self, change: &Change, candidates: Vec<Found>) -> Result<Option<Contact>, Fault> {
        let external_id = there(change.external_id.as_ref());
        let mut candidates = candidates;
        for by in [By::ExternalId, By::Phone, By::Email] {
            let fits = |found: &Found| {
                found.by == by && (by == By::ExternalId || external_id.is_none() || found.contact.external_id.is_none())
            };
            let (mut fitting, rest): (Vec<Found>, Vec<Found>) = candidates.into_iter().partition(fits);
            candidates = rest;
            match (fitting.pop(), fitting.is_empty()) {
                (None, _) => {}
                (Some(only), true) => {
                    let import = self.import.as_ref();
                    return match import.and_then(|import| import.line_of(only.contact.id.as_str(), only.mark)) {
                        Some(line) => Err(same_as(line)),
                        None => Ok(Some(only.contact)),
                    };
                }
                (Some(_), false) if external_id.is_some() => return Ok(None),
                (Some(_), false) => {
                    let (pointer, what) =
                        if by == By::Phone { ("/phone", "phone") } else { ("/email", "e-mail address") };
                    let detail = format!("several contacts have this {what}; say which one by externalId");
                    return Err(Fault::new(pointer, "ambiguous", detail));
                }
            }
        }
        if self.import.is_some()
            && external_id.or(there(change.phone.as_ref())).or(there(change.email.as_ref())).is_none()
        {
            return Err(Fault::new("", "no_address", "nothing says who this is: give externalId, phone or email"));
        }
        Ok(None)
    }
}

fn same_as(line: i64) -> Fault {
    Fault::new("", "duplicate", format!("the same person as in line {line}, which was taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_to_remember_is_left_to_the_marks() {
        let mut import = Import::new(7);
        assert!((0..REMEMBERED).all(|n| import.remember(&n.to_string(), n as i64)));
        assert!(!import.remember("one more", 9));
        let mark = |import| Some(Mark { import, line: 9 });
        assert_eq!(import.line_of("5", None), Some(5));
        assert_eq!(import.line_of("one more", None), None);
        assert_eq!(import.line_of("one more", mark(7)), Some(9));
        assert_eq!(import.line_of("one more", mark(8)), None, "that was another import");
    }
}
