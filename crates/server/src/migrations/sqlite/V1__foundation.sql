-- What every use case stands on: the audit log, requests answered, messages to other families.

CREATE TABLE audit (
    family TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    detail TEXT NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (family, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_head (
    family TEXT NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    checkpoint INTEGER,
    PRIMARY KEY (family)
) STRICT, WITHOUT ROWID;

-- Finds the heads that no checkpoint holds yet.
CREATE INDEX audit_head_open ON audit_head (family) WHERE checkpoint IS NULL;

-- Without root and signature, a checkpoint is still being collected.
CREATE TABLE audit_checkpoint (
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    entries INTEGER,
    root BLOB,
    prev BLOB NOT NULL,
    signature TEXT,
    PRIMARY KEY (number)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_checkpoint_entry (
    family TEXT NOT NULL,
    number INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (family, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_checkpoint_entry_number ON audit_checkpoint_entry (number, family);

CREATE TABLE request (
    family TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    status INTEGER NOT NULL,
    answer BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (family, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX request_expires ON request (expires_at);

CREATE TABLE outbox (
    family TEXT NOT NULL,
    operation_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    last_error TEXT,
    done_at INTEGER,
    PRIMARY KEY (family, operation_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_due ON outbox (due_at) WHERE done_at IS NULL;
