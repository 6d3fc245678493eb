//! The settings as people meet them: a file and variables go in, settings or one sentence comes out.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::read::from_text;
use super::*;

mod refusals;

/// All that is required, and nothing else; the secret comes from the environment.
const MINIMAL: &str = r#"
[bots.default]
host = "https://platform.kore.ai"
bot_id = "st-1"
client_id = "cs-1"
[bucket]
name = "acme-call-recordings"
region = "eu-central-1"
"#;

const SECRET: (&str, &str) = ("KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET", "canary-secret");

fn with(file: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let environment = variables.iter().copied().chain([SECRET]).collect();
    let read = from_text(file, &environment).map_err(|error| error.to_string());
    if let Err(message) = &read {
        assert!(!message.contains("canary"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    read
}

/// The minimal file with `line` in `[section]`.
fn with_line(section: &str, line: &str) -> Result<Settings, String> {
    let header = format!("[{section}]\n");
    let file = match MINIMAL.find(&header) {
        Some(at) => {
            let key = line.split(['=', '.']).next().unwrap().trim();
            let (before, after) = MINIMAL.split_at(at + header.len());
            let after = after.lines().filter(|other| !other.starts_with(&format!("{key} ="))).collect::<Vec<_>>();
            format!("{before}{line}\n{}", after.join("\n"))
        }
        None => format!("{MINIMAL}{header}{line}\n"),
    };
    with(&file, &[])
}

fn with_variable(name: &str, value: &str) -> Result<Settings, String> {
    with(MINIMAL, &[(&format!("KORE_ARCHIVER__{name}"), value)])
}

#[track_caller]
fn refused(section: &str, line: &str, message: &str) {
    let error = with_line(section, line).expect_err(line);
    assert_eq!(error, format!("config.toml: {message}"), "{line}");
}

#[track_caller]
fn starts(error: &str, beginning: &str) {
    assert!(error.starts_with(beginning), "{error}");
}

#[test]
fn a_minimal_file_is_enough() {
    let settings = with(MINIMAL, &[]).unwrap();
    assert_eq!(settings.poll.timeout, Duration::from_secs(30));
    assert_eq!(settings.transfer.memory, 128 << 20);
    assert_eq!(settings.http.listen, Some("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(settings.bucket.endpoint_url, None);
    assert_eq!(settings.bots["default"].client_secret.read().unwrap().expose_secret(), "canary-secret");
    assert_eq!(settings.warnings(), Vec::<String>::new());
}

#[test]
fn the_sample_shows_every_key_with_its_default() {
    let sample = include_str!("../../config/config.toml");
    let secret = "client_secret_file = \"/etc/kore-archiver/client-secret\"\n";
    assert!(sample.contains(secret));
    let shown = with(&sample.replace(secret, ""), &[]).unwrap().to_toml();

    let minimal = MINIMAL.replace("\"st-1\"", "\"st-00000000-0000-0000-0000-000000000000\"");
    let minimal = minimal.replace("\"cs-1\"", "\"cs-00000000-0000-0000-0000-000000000000\"");
    assert_eq!(shown, with(&minimal, &[]).unwrap().to_toml());

    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(|line| line.split('=').next().unwrap_or(line).trim().to_owned()).collect()
    };
    let sample_keys: Vec<String> = keys(sample).into_iter().filter(|key| key != "client_secret_file").collect();
    assert_eq!(sample_keys, keys(&shown), "the sample's keys, in the order of the manual");
}

#[test]
fn what_is_printed_reads_back_as_the_same_settings() {
    let file = r#"
        [queue]
        path = "/srv/queue \" é.db"
        [bots.default]
        host = "http://127.0.0.1:8080"
        bot_id = "st-1"
        client_id = "cs-1"
        account = "acme"
        media_hosts = ["127.0.0.1:9000"]
        allow_insecure_http = true
        [bots.sales]
        host = "https://de-platform.kore.ai:8443"
        bot_id = "st-2"
        client_id = "cs-2"
        client_secret_file = "/dev/null"
        requests_per_minute = 30
        [bucket]
        name = "b-1"
        endpoint_url = "http://127.0.0.1:9000/s3"
        sse = "aws:kms"
        kms_key_id = "alias/recordings"
        tags = { "Kept for" = "7 years", team = "" }
        expected_owner = "123456789012"
        storage_class = "STANDARD_IA"
        assume_role_arn = "arn:aws:iam::123456789012:role/archiver"
        checksum = "read_back"
        [poll]
        schedule = "backoff"
        error = { initial = "1500ms", factor = 1, max = "2d" }
        jitter = 0
        unavailable_grace = "0s"
        [transfer]
        memory = "10MB"
        part_size = "5MiB"
        min_throughput = "1B/s"
        [http]
        listen = ""
        [log]
        level = "info,kore_archiver::journey=debug"
        format = "json"
    "#;
    let environment = [SECRET].into_iter().collect();
    let read = |text: &str| {
        let tree = super::read::from_text_without_secrets(text, &environment);
        tree.unwrap_or_else(|error| panic!("{error}\n{text}"))
    };
    let settings = read(file);
    let printed = settings.to_toml();
    assert!(printed.contains("# client_secret = \"(hidden, from the environment)\"\n"), "{printed}");
    assert!(!printed.contains("canary"));
    assert!(printed.contains(r#"error = { initial = "1500ms", factor = 1.0, max = "48h" }"#), "{printed}");
    assert_eq!(read(&printed).to_toml(), printed);
    assert_eq!(format!("{:?}", read(&printed)), format!("{settings:?}"));

    let json = settings.to_json();
    assert_eq!(json["bots"]["default"]["client_secret"], "(hidden, from the environment)");
    assert_eq!(json["bots"]["sales"]["client_secret_file"], "/dev/null");
    assert_eq!(json["poll"]["error"]["max"], "48h");
    assert!(!json.to_string().contains("canary"));
}

#[test]
fn everything_can_come_from_the_environment() {
    let variables = [
        ("BOTS__MY-BOT__HOST", "http://10.0.0.1:8080"),
        ("BOTS__MY-BOT__ALLOW_INSECURE_HTTP", "true"),
        ("BOTS__MY-BOT__BOT_ID", "0012"),
        ("BOTS__MY-BOT__CLIENT_ID", "1e3"),
        ("BOTS__MY-BOT__CLIENT_SECRET", "0012"),
        ("BOTS__MY-BOT__REQUESTS_PER_MINUTE", "30"),
        ("BOTS__MY-BOT__MEDIA_HOSTS", "*.kore.ai, media.acme.lan"),
        ("BUCKET__NAME", "true"),
        ("BUCKET__REGION", "eu-central-1"),
        ("BUCKET__TAGS", r#"{ Team = "sales" }"#),
        ("POLL__ERROR__INITIAL", "5s"),
        ("POLL__CALL_IN_PROGRESS", r#"{ initial = "2s", factor = 3 }"#),
        ("POLL__JITTER", "0"),
        ("HTTP__LISTEN", ""),
    ];
    let variables = variables.map(|(name, value)| (format!("KORE_ARCHIVER__{name}"), value));
    let settings = from_text("", &variables.into_iter().collect()).unwrap();
    let bot = &settings.bots["my-bot"];
    assert_eq!((bot.bot_id.as_str(), bot.client_id.as_str(), bot.requests_per_minute), ("0012", "1e3", 30));
    assert_eq!(bot.client_secret.read().unwrap().expose_secret(), "0012");
    assert_eq!(bot.media_hosts.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*.kore.ai", "media.acme.lan"]);
    assert_eq!(settings.bucket.name, "true");
    assert_eq!(settings.bucket.tags["Team"], "sales");
    assert_eq!(settings.poll.error, Backoff::new(Duration::from_secs(5), 2.0, Duration::from_mins(15)).unwrap());
    assert_eq!(settings.poll.call_in_progress.factor().to_bits(), 3f64.to_bits());
    assert_eq!(settings.poll.call_in_progress.max(), Duration::from_mins(5));
    assert_eq!(settings.http.listen, None);
}

#[test]
fn a_list_in_a_variable_may_be_a_toml_array_or_have_commas() {
    for text in [r#"["a.lan", "b.lan:9000"]"#, "a.lan,b.lan:9000", " a.lan , b.lan:9000 "] {
        let settings = with_variable("BOTS__DEFAULT__MEDIA_HOSTS", text).unwrap();
        let hosts: Vec<String> = settings.bots["default"].media_hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["a.lan", "b.lan:9000"], "{text}");
    }
    let error = with_variable("BOTS__DEFAULT__MEDIA_HOSTS", "").unwrap_err();
    starts(&error, "KORE_ARCHIVER__BOTS__DEFAULT__MEDIA_HOSTS: bots.default.media_hosts is empty, expected a list");
}

#[test]
fn a_secret_that_cannot_be_had_is_found_at_start() {
    let read = |file: &str, variables: &[(&str, &str)]| {
        from_text(file, &variables.iter().copied().collect()).map_err(|error| error.to_string())
    };
    let error = read(MINIMAL, &[]).unwrap_err();
    let expected = "config.toml: bots.default.client_secret_file is missing: the client secret belongs in a file that client_secret_file names, in the systemd credential client-secret.default, or in KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET";
    assert_eq!(error, expected);
    let named = MINIMAL.replace("bot_id", "client_secret_file = \"/nowhere/secret\"\nbot_id");
    let error = read(&named, &[]).unwrap_err();
    starts(
        &error,
        "config.toml: bots.default.client_secret_file is set, but the client secret /nowhere/secret cannot be read: No such file",
    );
    let error = read(&named, &[("KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET_FILE", "/dev/null")]).unwrap_err();
    starts(
        &error,
        "KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET_FILE: bots.default.client_secret_file is set, but the client secret /dev/null cannot be read: it is empty",
    );
    let error = read(MINIMAL, &[("KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET", "\n")]).unwrap_err();
    assert_eq!(error, "KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET: bots.default.client_secret is empty");

    let unread = super::read::from_text_without_secrets(MINIMAL, &Environment::default()).unwrap();
    assert!(
        matches!(unread.bots["default"].client_secret, ClientSecret::Absent),
        "the queue's commands need no secret"
    );
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let error = read(Some(Path::new("/nowhere/config.toml")), &Environment::default()).unwrap_err().to_string();
    starts(&error, "/nowhere/config.toml: the settings file cannot be read: ");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, MINIMAL).unwrap();
    assert!(read(Some(&path), &[SECRET].into_iter().collect()).is_ok());
    let error = read(Some(folder.path()), &Environment::default()).unwrap_err().to_string();
    assert!(error.contains("the settings file cannot be read"), "{error}");
}

#[test]
fn what_is_allowed_and_doubtful_is_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "s").unwrap();
    let file = MINIMAL.replace("bot_id", &format!("client_secret_file = {path:?}\nallow_insecure_http = true\nbot_id"));
    let file = file.replace("region", "endpoint_url = \"http://store.lan\"\nregion");
    let settings = from_text(&file, &Environment::default()).unwrap();
    let warnings = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        settings.warnings()
    };
    assert_eq!(warnings(0o640).len(), 2);
    let all = warnings(0o644);
    starts(&all[0], "bots.default.client_secret_file: others than owner and group may use");
    starts(&all[1], "bots.default.allow_insecure_http: ");
    starts(&all[2], "bucket.endpoint_url: it is not https");
}

/// TOML values, with the canary in every text.
fn any_value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(toml::Value::Integer),
        any::<f64>().prop_map(toml::Value::Float),
        any::<bool>().prop_map(toml::Value::Boolean),
        "[ -~]{0,5}canary[ -~\\n]{0,5}".prop_map(toml::Value::String),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(toml::Value::Array),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..3)
                .prop_map(|map| toml::Value::Table(map.into_iter().collect())),
        ]
    })
}

/// Every key that there is, as section and name.
fn every_key() -> Vec<(String, String)> {
    let printed = with(MINIMAL, &[]).unwrap().to_toml();
    let mut section = "";
    let mut keys = Vec::new();
    for line in printed.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.push((section.to_owned(), key.trim_start_matches("# ").to_owned()));
        }
    }
    keys
}

/// Settings, or one printable sentence that tells no secret.
fn judge(text: &str) {
    let environment = [SECRET].into_iter().collect();
    if let Err(error) = from_text(text, &environment) {
        let message = error.to_string();
        assert!(!message.contains("canary-secret") && !message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn fuzz_settings_that_are_kept() {
    for text in crate::corpus::kept_text("settings") {
        judge(&text);
    }
}

proptest! {
    #[test]
    fn fuzz_settings(text in crate::corpus::bent_text("settings")) {
        judge(&text);
    }

    #[test]
    fn no_document_makes_the_reader_panic(text in "(?s).*", variable in "(?s).*") {
        let environment = [("KORE_ARCHIVER__POLL__ERROR", &variable)].into_iter().collect();
        if let Err(error) = from_text(&text, &environment) {
            prop_assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }

    #[test]
    fn no_value_under_any_key_makes_the_reader_panic(
        (section, key) in prop::sample::select(every_key()),
        value in any_value(),
        variable in "(?s).*",
    ) {
        let document = format!("[{section}]\n{key} = {value}");
        let variables = [(format!("KORE_ARCHIVER__{}__{key}", section.replace('.', "__")), variable)];
        for environment in [Environment::default(), variables.into_iter().collect()] {
            if let Err(error) = from_text(&document, &environment) {
                prop_assert!(!error.to_string().contains(char::is_control), "{error}");
            }
        }
    }

    #[test]
    fn a_secret_under_any_key_of_a_bot_is_not_shown(
        key in prop::sample::select(vec![
            "host", "bot_id", "client_id", "client_secret", "client_secret_file", "requests_per_minute", "account",
            "media_hosts", "allow_insecure_http", "secret",
        ]),
        value in any_value(),
        broken in 0usize..4,
    ) {
        let mut line = format!("{key} = {value}");
        // And with the end of the line missing, which often is a syntax error.
        line.truncate(line.floor_char_boundary(line.len() - broken.min(line.len())));
        // `account` may be any word, `client_secret_file` any path: what is accepted is no message.
        let _ = with_line("bots.default", &line);
    }
}
