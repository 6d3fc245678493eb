-- What the adaptive schedule learned of each bot, so that a restart forgets nothing: the daemon's own.
CREATE TABLE models (
    bot        TEXT NOT NULL PRIMARY KEY,
    state      TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- What polls told of a session: the last answer that people were talking, the first that they no longer were, and the
-- last that there is no media yet.
ALTER TABLE sessions ADD COLUMN in_call_at TEXT NULL;
ALTER TABLE sessions ADD COLUMN over_at TEXT NULL;
ALTER TABLE sessions ADD COLUMN not_ready_at TEXT NULL;

-- A row that starts afresh knows none of it.
CREATE TRIGGER sessions_requeued_untold AFTER UPDATE OF state ON sessions WHEN NEW.state = 'pending'
BEGIN
    UPDATE sessions SET in_call_at = NULL, over_at = NULL, not_ready_at = NULL WHERE rowid = NEW.rowid;
END;
