//! What a queue file must be, and what becomes of an older one.

use std::collections::BTreeMap;

use super::*;

#[test]
fn a_sqlite_with_the_wal_reset_bug_is_refused_q12() {
    assert!(!is_recent("3.51.2"));
    assert!(!is_recent("3.46.1"));
    assert!(!is_recent(""));
    assert!(is_recent("3.51.3"));
    assert!(is_recent("3.52.0"));
    assert!(is_recent("4.0.0"));
}

#[tokio::test]
async fn the_linked_sqlite_is_recent_and_the_durable_settings_hold_q12() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    create_if_missing(&path).await.unwrap();
    let mut open = connect(&path).await.unwrap();
    let synchronous: i32 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut open).await.unwrap();
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut open).await.unwrap();
    assert_eq!((synchronous, journal.as_str()), (2, "wal"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the queue, its -wal and its -shm");
}

#[tokio::test]
async fn a_log_that_grew_is_cut_once_it_starts_afresh_q8() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    create_if_missing(&path).await.unwrap();
    let mut queue = connect(&path).await.unwrap();
    let kept: u64 = WAL_KEPT.parse().unwrap();
    let grow = format!("CREATE TABLE large (body BLOB); INSERT INTO large VALUES (zeroblob({}))", kept + kept / 8);
    sqlx::raw_sql(sqlx::AssertSqlSafe(grow)).execute(&mut queue).await.unwrap();
    let log = folder.path().join("queue.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > kept);
    // The commit above put all of it into the queue; the next one starts the log afresh.
    sqlx::query("DROP TABLE large").execute(&mut queue).await.unwrap();
    assert_eq!(fs::metadata(&log).unwrap().len(), kept);
}

#[tokio::test]
async fn a_migration_that_fails_half_way_leaves_the_old_state_q13() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    create_if_missing(&path).await.unwrap();
    // As the first version left it, but with something in the way of the second one's last statement.
    let mut queue = connect(&path).await.unwrap();
    let back = "DROP TRIGGER sessions_requeued_untold; DROP TABLE models; ALTER TABLE uploads DROP COLUMN told_at; \
                ALTER TABLE sessions DROP COLUMN in_call_at; ALTER TABLE sessions DROP COLUMN over_at; \
                ALTER TABLE sessions DROP COLUMN not_ready_at; DELETE FROM _sqlx_migrations WHERE version >= 2; \
                CREATE TRIGGER sessions_requeued_untold AFTER UPDATE OF bot ON sessions BEGIN SELECT 1; END;";
    sqlx::raw_sql(back).execute(&mut queue).await.unwrap();
    let schema = "SELECT group_concat(sql) FROM sqlite_schema";
    let before: String = sqlx::query_scalar(schema).fetch_one(&mut queue).await.unwrap();
    queue.close().await.unwrap();

    migrate(&path).await.unwrap_err();
    let mut queue = connect(&path).await.unwrap();
    let after: String = sqlx::query_scalar(schema).fetch_one(&mut queue).await.unwrap();
    assert_eq!(after, before);

    sqlx::raw_sql("DROP TRIGGER sessions_requeued_untold").execute(&mut queue).await.unwrap();
    migrate(&path).await.unwrap();
}

/// What every earlier version may have left: rows in each state, and what belongs to them.
const FILLED: &str = "\
    INSERT INTO sessions (session_id, state, reason, finished_at, polls, metadata) VALUES \
        ('done-1', 'done', 'archived', '2026-11-01T08:00:00.000Z', 3, '{\"agent\": \"4711\"}'), \
        ('suspect-1', 'suspect', 'suspect_content', '2026-11-01T08:00:00.000Z', 2, NULL), \
        ('unavailable-1', 'unavailable', 'too_short', '2026-11-01T08:00:00.000Z', 1, NULL), \
        ('failed-1', 'failed', 'never_ready', '2026-11-01T08:00:00.000Z', 99, NULL); \
    INSERT INTO sessions (session_id, bot, priority, call_ended_at, kore_status, polls, failures, last_error) VALUES \
        ('pending-1', 'sales', 7, '2026-11-01T07:00:00Z', 'media_in_progress', 4, 1, 'HTTP 404'); \
    INSERT INTO recordings \
        (session_id, file_name, bucket, key, bytes, sha256, crc64nvme, etag, content_type, archived_at, source) VALUES \
        ('done-1', 'a.wav', 'b', 'k/a.wav', 44, hex(zeroblob(32)), 'AAAAAAAAAAA=', 'ef', 'audio/wav', \
        '2026-11-01T08:00:00.000Z', 's'); \
    INSERT INTO events (session_id, kind, detail) VALUES ('done-1', 'done', '{\"reason\": \"archived\"}'); \
    INSERT INTO uploads (bucket, key, upload_id, run, started_at) VALUES \
        ('b', 'k/b.wav', 'u', 'r', '2026-11-01T08:00:00.000Z')";

async fn texts(queue: &mut SqliteConnection, sql: &str) -> Vec<String> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(queue).await.unwrap()
}

/// Everything in the columns that the table has at that version.
async fn dump(queue: &mut SqliteConnection, columns: &BTreeMap<&'static str, Vec<String>>) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in columns {
        let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
        all.extend(texts(queue, &format!("SELECT {} FROM {table} ORDER BY rowid", quoted.join(" || '|' || "))).await);
    }
    all
}

#[tokio::test]
async fn a_filled_queue_of_any_earlier_version_is_brought_up_with_all_that_is_in_it_q13() {
    let schema =
        "SELECT type || name || coalesce(sql, '') FROM sqlite_schema WHERE substr(name, 1, 5) <> '_sqlx' ORDER BY 1";
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.db");
    create_if_missing(&new).await.unwrap();
    let of_new = texts(&mut connect(&new).await.unwrap(), schema).await;
    let all: Vec<_> = MIGRATIONS.iter().cloned().collect();
    for version in 1..all.len() {
        let path = folder.path().join(format!("{version}.db"));
        let mut queue = options(&path).create_if_missing(true).connect().await.unwrap();
        Migrator::with_migrations(all[..version].to_vec()).run(&mut queue).await.unwrap();
        let mark = format!("PRAGMA application_id = {APPLICATION_ID}; {FILLED}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut queue).await.unwrap();
        let mut columns = BTreeMap::new();
        for table in ["sessions", "recordings", "events", "uploads"] {
            columns.insert(table, texts(&mut queue, &format!("SELECT name FROM pragma_table_info('{table}')")).await);
        }
        let before = dump(&mut queue, &columns).await;
        assert_eq!(before.len(), 8, "{before:?}");
        queue.close().await.unwrap();

        migrate(&path).await.unwrap();
        let mut queue = connect(&path).await.unwrap();
        assert_eq!(dump(&mut queue, &columns).await, before, "from version {version}");
        assert_eq!(texts(&mut queue, schema).await, of_new, "from version {version}");
        assert_eq!(texts(&mut queue, "PRAGMA integrity_check").await, ["ok"]);
        let bent = "UPDATE sessions SET lease_token = x'00' WHERE session_id = 'pending-1'";
        let refused = sqlx::query(bent).execute(&mut queue).await.unwrap_err().to_string();
        assert!(refused.contains("lease_token is written by the daemon"), "{refused}");
    }
}
