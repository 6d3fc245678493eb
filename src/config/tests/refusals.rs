//! What is refused, key by key, and in which words: the place, the key, and what is expected.

use super::*;

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_key_that_was_meant() {
    refused("poll", "timout = \"1s\"", "`poll.timout` is not a setting; did you mean `poll.timeout`?");
    refused(
        "bots.default",
        "bot-id = 1",
        "`bots.default.bot-id` is not a setting; did you mean `bots.default.bot_id`?",
    );
    refused("http", "colour = \"canary\"", "`http.colour` is not a setting; there are `listen`");
    refused(
        "polling",
        "",
        "`polling` is not a setting; there are `queue`, `bots`, `bucket`, `poll`, `transfer`, `http`, `log`",
    );
    refused("poll", "error.factr = 2", "`poll.error.factr` is not a setting; did you mean `poll.error.factor`?");
    let error = with_variable("POLL__TIMOUT", "canary").unwrap_err();
    assert_eq!(error, "KORE_ARCHIVER__POLL__TIMOUT: `poll.timout` is not a setting; did you mean `poll.timeout`?");
    let error = with_variable("BOTS__CLIENT_SECRET", "canary").unwrap_err();
    starts(
        &error,
        "KORE_ARCHIVER__BOTS__CLIENT_SECRET: bots.client_secret is a text (not shown here), expected a table",
    );
    let error = with_variable("", "canary").unwrap_err();
    starts(&error, "KORE_ARCHIVER__: `` is not a setting; there are `queue`");
}

#[test]
fn a_needed_key_that_is_misspelt_is_named_and_not_called_missing() {
    let misspelt = |right: &str, wrong: &str| with(&MINIMAL.replacen(right, wrong, 1), &[]).unwrap_err();
    for (right, wrong, key) in [
        ("region", "regoin", "bucket.region"),
        ("bot_id", "botid", "bots.default.bot_id"),
        ("host", "hosts", "bots.default.host"),
    ] {
        let section = key.rsplit_once('.').unwrap().0;
        let expected = format!("config.toml: `{section}.{wrong}` is not a setting; did you mean `{key}`?");
        assert_eq!(misspelt(right, wrong), expected);
    }
    let error = misspelt("[bucket]", "[buckets]");
    assert_eq!(error, "config.toml: `buckets` is not a setting; did you mean `bucket`?");
    let error = misspelt("[bots.default]", "[bot.default]");
    assert_eq!(error, "config.toml: `bot` is not a setting; did you mean `bots`?");
    let text = MINIMAL.replacen("bot_id", "client_secret_fiel = \"/s\"\nbot_id", 1);
    let error = from_text(&text, &Environment::default()).unwrap_err().to_string();
    starts(&error, "config.toml: `bots.default.client_secret_fiel` is not a setting; did you mean");
}

#[test]
fn a_bare_number_is_neither_a_duration_nor_a_size() {
    let duration = "expected a duration such as \"100ms\", \"90s\", \"15m\", \"72h\" or \"2d\"";
    refused("poll", "timeout = 30", &format!("poll.timeout is 30, {duration}"));
    refused("poll", "timeout = 1.5", &format!("poll.timeout is 1.5, {duration}"));
    refused("poll", "timeout = \"30\"", &format!("poll.timeout is \"30\", {duration}"));
    refused("poll", "error.max = 7", &format!("poll.error.max is 7, {duration}"));
    refused("poll", "timeout = \"0s\"", "poll.timeout is \"0s\", expected a duration longer than 0");
    let size = "expected a size such as \"8MiB\", \"16KiB\" or \"5GiB\"";
    refused("transfer", "part_size = 8388608", &format!("transfer.part_size is 8388608, {size}"));
    refused("transfer", "memory = \"128M\"", &format!("transfer.memory is \"128M\", {size}"));
    let rate = "expected a size a second, above 0, such as \"16KiB/s\"";
    refused("transfer", "min_throughput = \"16KiB\"", &format!("transfer.min_throughput is \"16KiB\", {rate}"));
    refused("transfer", "min_throughput = \"0B/s\"", &format!("transfer.min_throughput is \"0B/s\", {rate}"));
    let error = with_variable("POLL__TIMEOUT", "30").unwrap_err();
    assert_eq!(error, format!("KORE_ARCHIVER__POLL__TIMEOUT: poll.timeout is \"30\", {duration}"));
}

#[test]
fn sizes_and_counts_have_bounds() {
    refused(
        "transfer",
        "part_size = \"5242879B\"",
        "transfer.part_size is \"5242879B\", expected something from 5MiB to 5GiB",
    );
    refused("transfer", "part_size = \"6GiB\"", "transfer.part_size is \"6GiB\", expected something from 5MiB to 5GiB");
    refused("transfer", "max_bytes = \"6TiB\"", "transfer.max_bytes is \"6TiB\", expected something from 1B to 5TiB");
    refused("transfer", "memory = \"7MiB\"", "transfer.memory does not hold one part, expected at least part_size");
    refused("poll", "concurrency = 0", "poll.concurrency is 0, expected a whole number from 1 to 1024");
    refused("poll", "concurrency = \"16\"", "poll.concurrency is \"16\", expected a whole number from 1 to 1024");
    refused("transfer", "concurrency = 1.5", "transfer.concurrency is 1.5, expected a whole number from 1 to 1024");
    refused("poll", "max_failures = -1", "poll.max_failures is -1, expected a whole number from 1 to 1000000");
    refused("poll", "jitter = 1.01", "poll.jitter is 1.01, expected a number from 0.0 to 1.0");
    refused("poll", "jitter = nan", "poll.jitter is nan, expected a number from 0.0 to 1.0");
    refused(
        "bots.default",
        "requests_per_minute = 0",
        "bots.default.requests_per_minute is a number, expected a whole number from 1 to 10000000",
    );
    let error = with_variable("POLL__CONCURRENCY", "many").unwrap_err();
    starts(&error, "KORE_ARCHIVER__POLL__CONCURRENCY: poll.concurrency is \"many\", expected a whole number");
}

#[test]
fn a_backoff_that_makes_no_sense_is_refused_with_the_reason() {
    refused(
        "poll",
        "error = { initial = \"20m\" }",
        "poll.error makes no sense: `max` must not be shorter than `initial`; `max` is not given, and so 15m by default: \
         give one",
    );
    refused(
        "poll",
        "error = { max = \"5s\" }",
        "poll.error makes no sense: `max` must not be shorter than `initial`; `initial` is not given, and so 10s by \
         default: give one",
    );
    refused(
        "poll",
        "error = { initial = \"20m\", max = \"5s\" }",
        "poll.error makes no sense: `max` must not be shorter than `initial`",
    );
    refused(
        "poll",
        "error = { factor = 0.5 }",
        "poll.error makes no sense: `factor` must be a number from 1.0 to 100.0",
    );
    refused("poll", "error = { factor = \"2\" }", "poll.error.factor is \"2\", expected a number such as 1.5");
    refused("poll", "error = \"10s\"", "poll.error is a text (not shown here), expected a table");
    let error = with_variable("POLL__ERROR", "{ max = \"1s\" }").unwrap_err();
    starts(&error, "KORE_ARCHIVER__POLL__ERROR: poll.error makes no sense");
}

#[test]
fn a_url_that_could_mislead_is_refused_and_never_shown() {
    let expected = "expected a URL without path, user or query, such as \"https://platform.kore.ai\"";
    for url in [
        "https://u:canary@kore.ai",
        "https://kore.ai/api",
        "https://kore.ai?canary",
        "kore.ai",
        "ftp://kore.ai",
        "https://",
        "https://kore.ai\\n",
    ] {
        let text = "bots.default.host is a text (not shown here)";
        refused("bots.default", &format!("host = \"{url}\""), &format!("{text}, {expected}"));
    }
    refused("bots.default", "host = \"\"", &format!("bots.default.host is empty, {expected}"));
    let insecure = "bots.default.host is a text (not shown here), expected an https URL (http only with allow_insecure_http = true)";
    refused("bots.default", "host = \"http://kore.ai\"", insecure);
    let error = with_line("bucket", "endpoint_url = \"https://u:canary@store\"").unwrap_err();
    starts(&error, "config.toml: bucket.endpoint_url is a text (not shown here), expected an https or http URL");
}

#[test]
fn the_bucket_is_checked_key_by_key() {
    refused("bucket", "name = \"\"", "bucket.name is \"\", expected a bucket's name: 3 to 255 of A-Z a-z 0-9 . _ -");
    refused(
        "bucket",
        "name = \"a/b\"",
        "bucket.name is \"a/b\", expected a bucket's name: 3 to 255 of A-Z a-z 0-9 . _ -",
    );
    refused(
        "bucket",
        "region = \"eu central\"",
        "bucket.region is \"eu central\", expected a region such as \"eu-central-1\"",
    );
    refused("bucket", "kms_key_id = \"k\"", "bucket.kms_key_id is set, expected sse = \"aws:kms\" with it");
    refused("bucket", "sse = \"kms\"", "bucket.sse is \"kms\", expected one of \"\", \"AES256\", \"aws:kms\"");
    refused(
        "bucket",
        "name = \"arn:aws:s3:eu-central-1:123456789012:accesspoint/calls\"\nforce_path_style = true",
        "bucket.force_path_style is true, expected false with the ARN of an access point",
    );
    refused(
        "bucket",
        "storage_class = \"DEEP_ARCHIVE\"\nchecksum = \"read_back\"",
        "bucket.checksum is \"read_back\", expected another with a storage_class of an archive",
    );
    let words = "expected one of \"auto\", \"crc64nvme\", \"crc32\", \"read_back\"";
    refused("bucket", "checksum = \"md5\"", &format!("bucket.checksum is \"md5\", {words}"));
    refused("bucket", "checksum = true", &format!("bucket.checksum is true, {words}"));
    refused("bucket", "force_path_style = \"yes\"", "bucket.force_path_style is \"yes\", expected true or false");
    refused(
        "bucket",
        "expected_owner = \"acme\"",
        "bucket.expected_owner is \"acme\", expected an account id of 12 digits, or \"\"",
    );
    let role = "bucket.assume_role_arn is \"arn:aws:iam::1:user/x\", expected a role such as \"arn:aws:iam::123456789012:role/NAME\"";
    refused("bucket", "assume_role_arn = \"arn:aws:iam::1:user/x\"", role);
    let error = with_line("bucket", "key_template = \"{bot}/{file_name}\"").unwrap_err();
    assert!(error.ends_with("it must contain {session_id}"), "{error}");
    for prefix in ["", "/suspect/", "a//b", "../", "a\\u0000"] {
        let error = with_line("bucket", &format!("suspect_prefix = \"{prefix}\"")).unwrap_err();
        assert!(
            error.ends_with("expected 1 to 256 characters such as \"suspect/\", not starting with \"/\""),
            "{error}"
        );
    }
}

#[test]
fn tags_stay_within_what_an_object_can_bear() {
    let eleven: Vec<String> = (0..11).map(|n| format!("t{n} = \"x\"")).collect();
    let line = format!("tags = {{ {} }}", eleven.join(", "));
    refused("bucket", &line, "bucket.tags has more than the 10 tags that an object can bear");
    let value = "expected a text of at most 256 letters, digits, blanks and + - = . _ : / @";
    refused("bucket", "tags = { team = 7 }", &format!("bucket.tags.team is 7, {value}"));
    let error = with_line("bucket", &format!("tags = {{ team = \"{}\" }}", "x".repeat(257))).unwrap_err();
    assert!(error.ends_with(&format!("and more, {value}")), "{error}");
    for key in ["", "aws:x", "a\\nb", &"k".repeat(129)] {
        let error = with_line("bucket", &format!("tags = {{ \"{key}\" = \"x\" }}")).unwrap_err();
        starts(&error, "config.toml: bucket.tags has the key \"");
        assert!(error.ends_with("blanks and + - = . _ : / @, not beginning with aws:"), "{error}");
    }
}

#[test]
fn what_is_required_is_asked_for_by_name() {
    let without = |key: &str| MINIMAL.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
    let cases = [
        ("name", "bucket.name is missing: the bucket that recordings go to"),
        ("region", "bucket.region is missing: the bucket's region, such as \"eu-central-1\""),
        ("host", "bots.default.host is missing: Kore's platform, such as \"https://platform.kore.ai\""),
        ("bot_id", "bots.default.bot_id is missing: the bot's id, st-…"),
        ("client_id", "bots.default.client_id is missing: the app's id, cs-…"),
    ];
    for (key, message) in cases {
        assert_eq!(with(&without(key), &[]).unwrap_err(), format!("config.toml: {message}"));
    }
    let bots = from_text("[bucket]\nname = \"abc\"\nregion = \"r\"", &Environment::default()).unwrap_err().to_string();
    let expected =
        "config.toml: bots.default is missing: at least one bot, with host, bot_id, client_id and a client secret";
    assert_eq!(bots, expected);
    let store = with(&without("region").replace("[bucket]", "[bucket]\nendpoint_url = \"https://store.lan\""), &[]);
    assert_eq!(store.unwrap().bucket.region, "us-east-1", "a store with an endpoint of its own needs no region");
}

#[test]
fn a_template_whose_keys_would_be_too_long_is_refused_before_a_row_pays_for_it() {
    let template =
        |ids| with_line("bucket", &format!("key_template = \"{}{{file_name}}\"", "{session_id}/".repeat(ids)));
    assert!(template(6).is_ok());
    // Seven ids of 128 and their slashes, a name of 128, room for a conflict and `suspect/`.
    assert_eq!(
        template(7).unwrap_err(),
        "config.toml: bucket.key_template may make a key of 1057 bytes, suspect_prefix and all, expected at most 1,024"
    );
}

#[test]
fn a_bots_name_is_one_that_variables_and_keys_can_bear() {
    for name in ["Sales", "a.b", "", "é", "a b", "a__b", "_a", "a_"] {
        let error = with_line(&format!("bots.\"{name}\""), "").unwrap_err();
        let expected = "is no name for a bot, expected 1 to 64 of a-z 0-9 _ - (variables cannot say upper case, nor _ twice or at an end)";
        assert_eq!(error, format!("config.toml: bots.{} {expected}", name.escape_debug()));
    }
    let error = with_variable("BOTS__SALES__CLIENT_SECRET", "canary").unwrap_err();
    assert_eq!(error, "KORE_ARCHIVER__BOTS__SALES__CLIENT_SECRET: there is no bot `sales` in the settings");
}

#[test]
fn bots_of_one_account_state_one_budget() {
    let second = "host = \"https://kore.ai\"\nbot_id = \"st-2\"\nclient_id = \"cs-2\"\nrequests_per_minute = 30\n";
    let file = format!("{MINIMAL}[bots.sales]\n{second}");
    let secret = [("KORE_ARCHIVER__BOTS__SALES__CLIENT_SECRET", "canary")];
    let expected = "config.toml: bots.sales.requests_per_minute is 30, but bots.default of the same account \"default\" says 60, expected one number for both";
    assert_eq!(with(&file, &secret).unwrap_err(), expected);
    assert_eq!(with(&format!("{file}account = \"other\""), &secret).unwrap().bots.len(), 2);
}

#[test]
fn a_client_secret_in_the_file_is_refused_unseen() {
    let expected = "bots.default.client_secret belongs in a file that client_secret_file names, in the systemd credential client-secret.default, or in KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET";
    refused("bots.default", "client_secret = \"canary\"", expected);
    refused("bots.default", "client_secret = { x = \"canary\" }", expected);
    let error = with_variable("BOTS__DEFAULT__CLIENT_SECRET__X", "canary").unwrap_err();
    assert_eq!(error, format!("KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET__X: {expected}"));
    let path =
        "bots.default.client_secret_file is a text (not shown here), expected an absolute path, beginning with \"/\"";
    refused("bots.default", "client_secret_file = \"canary\"", path);
}

#[test]
fn a_client_secret_in_two_variables_is_refused_rather_than_chosen() {
    let error = with_variable("bots__default__client_secret", "canary").unwrap_err();
    assert_eq!(error, format!("KORE_ARCHIVER__bots__default__client_secret: {} sets the same key", SECRET.0));
}

#[test]
fn the_rest_of_the_words_and_addresses_are_checked() {
    let address = "expected an IP address and a port such as \"127.0.0.1:9464\", or \"\" for none";
    refused("http", "listen = \":9464\"", &format!("http.listen is \":9464\", {address}"));
    refused("http", "listen = \"localhost:9464\"", &format!("http.listen is \"localhost:9464\", {address}"));
    let level = "expected one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"";
    for text in ["loud", "", "INFO", "info,", "=info", "[span]=info", "a=loud"] {
        refused("log", &format!("level = \"{text}\""), &format!("log.level is \"{text}\", {level}"));
    }
    refused(
        "log",
        "format = \"xml\"",
        "log.format is \"xml\", expected one of \"auto\", \"text\", \"json\", \"journald\"",
    );
    refused("poll", "schedule = \"\"", "poll.schedule is \"\", expected one of \"adaptive\", \"backoff\"");
    refused("queue", "path = \"\"", "queue.path is \"\", expected a path");
    let id = "bots.default.bot_id is a text (not shown here), expected an id such as \"st-00000000-0000-0000-0000-000000000000\"";
    refused("bots.default", "bot_id = \"../x\"", id);
    refused("bots.default", "bot_id = \"..\"", id);
}

#[test]
fn a_table_where_a_value_belongs_and_the_reverse_are_refused() {
    refused(
        "poll",
        "timeout = { canary = \"1\" }",
        "poll.timeout is a table, expected a duration such as \"100ms\", \"90s\", \"15m\", \"72h\" or \"2d\"",
    );
    refused("bucket", "tags = \"canary\"", "bucket.tags is a text (not shown here), expected a table");
    let error = with("bots = \"canary\"", &[]).unwrap_err();
    assert_eq!(error, "config.toml: bots is a text (not shown here), expected a table");
    let error = with("[[bots]]\nhost = \"canary\"", &[]).unwrap_err();
    assert_eq!(error, "config.toml: bots is a list, expected a table");
}
