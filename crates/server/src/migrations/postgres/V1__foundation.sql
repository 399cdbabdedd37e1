-- What every use case stands on: the audit log, requests answered, messages to other families.

CREATE TABLE audit (
    family TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    detail TEXT NOT NULL,
    prev BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (family, seq)
);

CREATE TABLE audit_head (
    family TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    checkpoint BIGINT,
    PRIMARY KEY (family)
);

-- Finds the heads that no checkpoint holds yet.
CREATE INDEX audit_head_open ON audit_head (family) WHERE checkpoint IS NULL;

-- Without root and signature, a checkpoint is still being collected.
CREATE TABLE audit_checkpoint (
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    entries BIGINT,
    root BYTEA,
    prev BYTEA NOT NULL,
    signature TEXT,
    PRIMARY KEY (number)
);

CREATE TABLE audit_checkpoint_entry (
    family TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (family, number)
);

CREATE INDEX audit_checkpoint_entry_number ON audit_checkpoint_entry (number, family);

CREATE TABLE request (
    family TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    status BIGINT NOT NULL,
    answer BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (family, request_id)
);

CREATE INDEX request_expires ON request (expires_at);

CREATE TABLE outbox (
    family TEXT COLLATE "C" NOT NULL,
    operation_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT,
    done_at BIGINT,
    PRIMARY KEY (family, operation_id)
);

CREATE INDEX outbox_due ON outbox (due_at) WHERE done_at IS NULL;
