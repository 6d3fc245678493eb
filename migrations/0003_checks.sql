-- Text columns that were not guarded yet (CONTRACT section 2). A CHECK changes nothing that is stored, so the schema's
-- text alone is rewritten, as SQLite's documentation of ALTER TABLE describes it: a queue of any size is done in no time.
PRAGMA writable_schema = ON;

UPDATE sqlite_master SET sql =
    replace(replace(replace(replace(replace(replace(replace(sql,
    'lease_token      TEXT    NOT NULL DEFAULT (lower(hex(randomblob(16))))',
    'lease_token      TEXT    NOT NULL DEFAULT (lower(hex(randomblob(16))))
        CONSTRAINT "lease_token is written by the daemon: text" CHECK (typeof(lease_token) = ''text'')'),
    'wait_kind        TEXT    NOT NULL DEFAULT ''''',
    'wait_kind        TEXT    NOT NULL DEFAULT ''''
        CONSTRAINT "wait_kind is written by the daemon: text" CHECK (typeof(wait_kind) = ''text'')'),
    'pending_since    TEXT    NOT NULL DEFAULT (strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now''))',
    'pending_since    TEXT    NOT NULL DEFAULT (strftime(''%Y-%m-%dT%H:%M:%fZ'', ''now''))
        CONSTRAINT "pending_since is written by the daemon: text" CHECK (typeof(pending_since) = ''text'')'),
    'first_failure_at TEXT    NULL',
    'first_failure_at TEXT    NULL
        CONSTRAINT "first_failure_at is written by the daemon: a time, or NULL"
        CHECK (typeof(first_failure_at) IN (''text'', ''null''))'),
    'in_call_at TEXT NULL',
    'in_call_at TEXT NULL CONSTRAINT "in_call_at is written by the daemon: a time, or NULL"
        CHECK (typeof(in_call_at) IN (''text'', ''null''))'),
    'not_ready_at TEXT NULL',
    'not_ready_at TEXT NULL CONSTRAINT "not_ready_at is written by the daemon: a time, or NULL"
        CHECK (typeof(not_ready_at) IN (''text'', ''null''))'),
    'over_at TEXT NULL',
    'over_at TEXT NULL CONSTRAINT "over_at is written by the daemon: a time, or NULL"
        CHECK (typeof(over_at) IN (''text'', ''null''))')
 WHERE type = 'table' AND name = 'sessions';

UPDATE sqlite_master SET sql = replace(sql, 'PRIMARY KEY (bucket, key)',
   'CONSTRAINT "the columns of recordings are text, but for bytes, duration_seconds, channels and sample_rate"
    CHECK (typeof(session_id) = ''text'' AND typeof(file_name) = ''text'' AND typeof(bucket) = ''text''
           AND typeof(key) = ''text'' AND typeof(sha256) = ''text'' AND typeof(crc64nvme) = ''text''
           AND typeof(etag) IN (''text'', ''null'') AND typeof(version_id) IN (''text'', ''null'')
           AND typeof(content_type) = ''text'' AND typeof(suspect) IN (''text'', ''null'')
           AND typeof(archived_at) = ''text'' AND typeof(source) = ''text''),
    PRIMARY KEY (bucket, key)')
 WHERE type = 'table' AND name = 'recordings';

-- Not its session_id: a row whose id went around the CHECKs must be deletable, which its history tells of.
UPDATE sqlite_master SET sql = replace(sql, 'detail     TEXT NOT NULL DEFAULT ''{}''',
   'detail     TEXT NOT NULL DEFAULT ''{}'',
    CONSTRAINT "at, kind and detail of an event are text"
    CHECK (typeof(at) = ''text'' AND typeof(kind) = ''text'' AND typeof(detail) = ''text'')')
 WHERE type = 'table' AND name = 'events';

PRAGMA writable_schema = OFF;

-- Whoever has the queue open reads the new text after the next change of the schema, which is this one.
CREATE VIEW schema_change AS SELECT 1;
DROP VIEW schema_change;
