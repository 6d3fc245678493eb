-- A bot may be paused, and some of its files wait for another reason. The daemon's own memory, emptied at its start.
DROP TABLE pauses;
CREATE TABLE pauses (
    what    TEXT NOT NULL,
    reason  TEXT NOT NULL,
    message TEXT NOT NULL,
    since   TEXT NOT NULL,
    until   TEXT NOT NULL,
    PRIMARY KEY (what, reason)
);

-- The same columns; counted in an index, where what is next due was read from every row.
DROP VIEW queue_overview;
CREATE VIEW queue_overview AS
    SELECT state,
           COUNT(*) AS sessions,
           MIN(enqueued_at) AS oldest_enqueued_at,
           CASE WHEN state = 'pending'
                THEN (SELECT MIN(next_poll_at) FROM sessions WHERE state = 'pending')
           END AS next_due_at
      FROM sessions
     GROUP BY state;
