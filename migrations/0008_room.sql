-- A contact's row is written again with each of its appointments and by every import. Where its page has room, PostgreSQL
-- keeps the new version beside the old one and leaves the indexes alone.
/* postgres: alter table contacts set (fillfactor = 80); */
/* postgres: alter table appointments set (fillfactor = 90); */
