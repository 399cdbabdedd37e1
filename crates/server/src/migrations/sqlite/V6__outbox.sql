-- A message that was delivered is forgotten at once: the audit log tells what happened, and nobody looks here for it.
DROP INDEX outbox_done;
DROP INDEX outbox_due;
DELETE FROM outbox WHERE done_at IS NOT NULL;
ALTER TABLE outbox DROP COLUMN done_at;

CREATE INDEX outbox_due ON outbox (due_at);
