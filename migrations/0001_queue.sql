-- The queue (CONTRACT section 2). Anyone with a SQLite from 3.26 on reads and inserts here: no STRICT, no generated
-- columns, no newer function in a DEFAULT, CHECK or trigger. A constraint's name is the message that its breaker sees.

CREATE TABLE sessions (
    session_id    TEXT    NOT NULL PRIMARY KEY
        CONSTRAINT "session_id must be text of 1 to 128 characters, each one of A-Z a-z 0-9 _ - ."
        -- The length in bytes is compared as well, because length() and GLOB stop at a NUL.
        CHECK (typeof(session_id) = 'text' AND length(session_id) BETWEEN 1 AND 128
               AND length(CAST(session_id AS BLOB)) = length(session_id)
               AND session_id NOT GLOB '*[^A-Za-z0-9_.-]*'),
    bot           TEXT    NOT NULL DEFAULT 'default'
        CONSTRAINT "bot must be text of 1 to 128 characters, the NAME of a [bots.NAME] in the settings"
        CHECK (typeof(bot) = 'text' AND length(bot) BETWEEN 1 AND 128),
    priority      INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "priority must be a whole number; higher goes first"
        CHECK (typeof(priority) = 'integer'),
    call_ended_at TEXT    NULL
        CONSTRAINT "call_ended_at must be text like 2026-11-23T08:15:00Z, or NULL"
        CHECK (typeof(call_ended_at) IN ('text', 'null') AND length(call_ended_at) <= 100),
    metadata      TEXT    NULL
        CONSTRAINT "metadata must be text holding a JSON object of at most 1,000,000 characters, or NULL"
        CHECK (typeof(metadata) IN ('text', 'null') AND length(metadata) <= 1000000),
    enqueued_at   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CONSTRAINT "enqueued_at must be UTC text like 2026-11-23T08:15:00.000Z; leave it out for now"
        CHECK (typeof(enqueued_at) = 'text' AND length(enqueued_at) = 24 AND enqueued_at GLOB
               '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9].[0-9][0-9][0-9]Z'),
    state         TEXT    NOT NULL DEFAULT 'pending'
        CONSTRAINT "state must be pending, done, suspect, unavailable or failed"
        CHECK (typeof(state) = 'text' AND state IN ('pending', 'done', 'suspect', 'unavailable', 'failed')),
    kore_status   TEXT    NULL
        CONSTRAINT "kore_status is written by the daemon: text or NULL"
        CHECK (typeof(kore_status) IN ('text', 'null')),
    next_poll_at  TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CONSTRAINT "next_poll_at must be UTC text like 2026-11-23T08:15:00.000Z; leave it out for now"
        CHECK (typeof(next_poll_at) = 'text' AND length(next_poll_at) = 24 AND next_poll_at GLOB
               '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9].[0-9][0-9][0-9]Z'),
    polls         INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "polls is written by the daemon: a count"
        CHECK (typeof(polls) = 'integer' AND polls >= 0),
    failures      INTEGER NOT NULL DEFAULT 0
        CONSTRAINT "failures is written by the daemon: a count"
        CHECK (typeof(failures) = 'integer' AND failures >= 0),
    reason        TEXT    NULL
        CONSTRAINT "reason is written by the daemon: one of its words, or NULL"
        CHECK (reason IS NULL OR (typeof(reason) = 'text' AND reason IN (
            'archived', 'suspect_content', 'media_unavailable', 'recording_disabled', 'too_short', 'kore_failed',
            'never_ready', 'not_found', 'invalid_row', 'unknown_bot', 'too_many_failures', 'too_large',
            'host_refused'))),
    last_error    TEXT    NULL
        CONSTRAINT "last_error is written by the daemon: text of at most 1,000 characters, or NULL"
        CHECK (typeof(last_error) IN ('text', 'null') AND length(last_error) <= 1000),
    finished_at   TEXT    NULL
        CONSTRAINT "finished_at is written by the daemon: a time, or NULL"
        CHECK (typeof(finished_at) IN ('text', 'null')),

    -- From here on the daemon's own; enqueuers never need them.

    -- Since when the row is pending: the start of poll.give_up_after.
    pending_since    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- Changes whenever the row starts afresh, so that a result of before changes no row.
    lease_token      TEXT    NOT NULL DEFAULT (lower(hex(randomblob(16)))),
    -- Where the row is in its backoffs: of which kind its last wait was, and how many of that kind came in a row.
    wait_kind        TEXT    NOT NULL DEFAULT '',
    wait_step        INTEGER NOT NULL DEFAULT 0,
    error_step       INTEGER NOT NULL DEFAULT 0,
    first_failure_at TEXT    NULL,
    -- Answers in a row that said there is no recording.
    denials          INTEGER NOT NULL DEFAULT 0,
    -- Attempts that brought text or nothing where a recording should be.
    odd_bodies       INTEGER NOT NULL DEFAULT 0
);

-- Claiming walks bot by bot and priority by priority, and stays flat up to 10 million rows.
CREATE INDEX sessions_due ON sessions (bot, priority, next_poll_at) WHERE state = 'pending';
-- Counts, and the oldest of each state.
CREATE INDEX sessions_by_state ON sessions (state, enqueued_at);
-- The newest that need a person.
CREATE INDEX sessions_in_need ON sessions (finished_at) WHERE state IN ('suspect', 'failed');

CREATE TABLE recordings (
    session_id   TEXT    NOT NULL,
    file_name    TEXT    NOT NULL,
    bucket       TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    bytes        INTEGER NOT NULL CONSTRAINT "bytes must be a count" CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    sha256       TEXT    NOT NULL CONSTRAINT "sha256 must be 64 hex digits" CHECK (length(sha256) = 64),
    crc64nvme    TEXT    NOT NULL CONSTRAINT "crc64nvme must be base64 of 8 bytes" CHECK (length(crc64nvme) = 12),
    etag         TEXT    NULL,
    version_id   TEXT    NULL,
    content_type TEXT    NOT NULL,
    suspect      TEXT    NULL,
    archived_at  TEXT    NOT NULL,

    -- SHA-256 of the path of the file's URL: tells a file from its siblings at every poll. The URL is not stored.
    source           TEXT    NOT NULL,
    duration_seconds REAL    NULL,
    channels         INTEGER NULL,
    sample_rate      INTEGER NULL,
    PRIMARY KEY (bucket, key)
);
CREATE INDEX recordings_of_session ON recordings (session_id);

CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL,
    at         TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    kind       TEXT NOT NULL,
    detail     TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX events_of_session ON events (session_id);

CREATE VIEW queue_overview AS
    SELECT state,
           COUNT(*) AS sessions,
           MIN(enqueued_at) AS oldest_enqueued_at,
           MIN(CASE WHEN state = 'pending' THEN next_poll_at END) AS next_due_at
      FROM sessions
     GROUP BY state;

-- Multipart uploads in progress: noted before they are created, so that a run that died leaves none behind.
CREATE TABLE uploads (
    id         INTEGER PRIMARY KEY,
    bucket     TEXT NOT NULL,
    key        TEXT NOT NULL,
    upload_id  TEXT NULL,
    run        TEXT NOT NULL,
    started_at TEXT NOT NULL
);

-- What waits for somebody else, for `status` to show: the daemon's own memory, emptied at its start.
CREATE TABLE pauses (
    what    TEXT NOT NULL PRIMARY KEY,
    reason  TEXT NOT NULL,
    message TEXT NOT NULL,
    since   TEXT NOT NULL,
    until   TEXT NOT NULL
);

-- One row: the daemon that may write results. A newer run changes the token, and the older one's writes fail.
-- The batch number tells, after a COMMIT whose answer was lost, whether it took place.
CREATE TABLE daemon (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    run        TEXT    NOT NULL,
    batch      INTEGER NOT NULL,
    version    TEXT    NOT NULL,
    started_at TEXT    NOT NULL
);
INSERT INTO daemon (id, run, batch, version, started_at) VALUES (1, '', 0, '', '');

-- Back to pending, by whatever tool: the row starts afresh.
CREATE TRIGGER sessions_requeued AFTER UPDATE OF state ON sessions WHEN NEW.state = 'pending'
BEGIN
    UPDATE sessions
       SET next_poll_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), failures = 0, reason = NULL, finished_at = NULL,
           pending_since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), lease_token = lower(hex(randomblob(16))),
           wait_kind = '', wait_step = 0, error_step = 0, first_failure_at = NULL, denials = 0, odd_bodies = 0
     WHERE rowid = NEW.rowid;
    INSERT INTO events (session_id, kind, detail)
    VALUES (NEW.session_id, 'requeued', '{"from":"' || OLD.state || '"}');
END;

CREATE TRIGGER sessions_finished AFTER UPDATE OF state ON sessions WHEN NEW.state <> 'pending' AND NEW.state <> OLD.state
BEGIN
    INSERT INTO events (session_id, kind, detail)
    VALUES (NEW.session_id, NEW.state, '{"from":"' || OLD.state || '","reason":"' || COALESCE(NEW.reason, '') || '"}');
END;

CREATE TRIGGER sessions_deleted AFTER DELETE ON sessions
BEGIN
    INSERT INTO events (session_id, kind, detail) VALUES (OLD.session_id, 'deleted', '{"from":"' || OLD.state || '"}');
END;

-- Another session, bot or metadata: what is under way concerns the row as it was, and its result must not change it.
CREATE TRIGGER sessions_rewritten AFTER UPDATE OF session_id, bot, metadata ON sessions
BEGIN
    UPDATE sessions SET lease_token = lower(hex(randomblob(16))) WHERE rowid = NEW.rowid;
END;

-- A known session that was replaced, or deleted and inserted again: said in its history.
CREATE TRIGGER sessions_inserted_again AFTER INSERT ON sessions
    WHEN EXISTS (SELECT 1 FROM events WHERE session_id = NEW.session_id)
BEGIN
    INSERT INTO events (session_id, kind, detail) VALUES (NEW.session_id, 'requeued', '{"by":"insert"}');
END;

-- A priority beyond what anybody means would make claiming walk level by level: it is clamped.
CREATE TRIGGER sessions_priority_inserted AFTER INSERT ON sessions
    WHEN typeof(NEW.priority) = 'integer' AND NEW.priority NOT BETWEEN -1000 AND 1000
BEGIN
    UPDATE sessions SET priority = MAX(-1000, MIN(1000, NEW.priority)) WHERE rowid = NEW.rowid;
END;

CREATE TRIGGER sessions_priority_updated AFTER UPDATE OF priority ON sessions
    WHEN typeof(NEW.priority) = 'integer' AND NEW.priority NOT BETWEEN -1000 AND 1000
BEGIN
    UPDATE sessions SET priority = MAX(-1000, MIN(1000, NEW.priority)) WHERE rowid = NEW.rowid;
END;
