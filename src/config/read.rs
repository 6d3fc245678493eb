//! The sections of CONTRACT section 7, in its order, each key beside its default.

use std::collections::BTreeMap;
use std::path::Path;

use super::environment::Environment;
use super::error::SettingsError;
use super::layers::{self, Table};
use super::reading::{
    absolute_path, account, any_duration, bucket_name, count, duration, endpoint, flag, kore_id, listen, log_level,
    media_hosts, number, one_of, optional, path, plain, platform, prefix, role_arn, share, size, tag_value, tags,
    template, throughput,
};
use super::secret::{self, Secrets};
use super::section::Section;
use super::{
    BotSettings, BucketSettings, CHECKSUMS, ChecksumChoice, ClientSecret, FORMATS, HttpSettings, LogSettings,
    PollSettings, QueueSettings, SCHEDULES, Settings, Sse, TransferSettings,
};
use crate::backoff::{Backoff, BackoffError};
use crate::key::{KeyTemplate, ObjectKey};

/// Where the settings are when nobody says otherwise (CONTRACT section 1).
pub const DEFAULT_PATH: &str = "/etc/kore-archiver/config.toml";

/// What stands in messages in place of a file.
pub const NO_FILE: &str = "the environment (no settings file was read)";

/// S3's limits for a part of a multipart upload, and for an object.
const PART: std::ops::RangeInclusive<u64> = 5 << 20..=5 << 30;
const LARGEST_OBJECT: u64 = 5 << 40;

/// The region that is signed for when an S3-compatible store has none of its own.
const REGION_OF_NO_REGION: &str = "us-east-1";

/// Whether a bot without a client secret is a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Secrets,
    Nothing,
}

/// Reads the settings for a daemon: `path`, or [`DEFAULT_PATH`] if it exists, then the environment; the later wins.
/// Every client secret has been read once, so a missing or empty one is found now and not at the first poll.
///
/// # Errors
/// The first fault: the place, the key and what is expected.
pub fn read(path: Option<&Path>, environment: &Environment) -> Result<Settings, SettingsError> {
    from(path, environment, Need::Secrets)
}

/// Reads the settings for whoever only works with the queue: a member of its group enqueues and asks for the status
/// without being allowed to read a client secret, or having systemd's credentials at hand.
///
/// # Errors
/// As [`read`], apart from client secrets that are missing.
pub fn read_without_secrets(path: Option<&Path>, environment: &Environment) -> Result<Settings, SettingsError> {
    from(path, environment, Need::Nothing)
}

/// The settings file that is read: `path`, or [`DEFAULT_PATH`] if it exists.
#[must_use]
pub fn file_of(path: Option<&Path>) -> Option<&Path> {
    let default = Path::new(DEFAULT_PATH);
    // A default file that cannot even be looked for is a fault to be shown, not a missing file.
    path.or_else(|| (!matches!(default.try_exists(), Ok(false))).then_some(default))
}

fn from(path: Option<&Path>, environment: &Environment, need: Need) -> Result<Settings, SettingsError> {
    match file_of(path) {
        Some(path) => settings(layers::of_file(path)?, &path.display().to_string(), environment, need),
        None => settings(Table::new(), NO_FILE, environment, need),
    }
}

/// [`read_without_secrets`] of a text, for tests that need no file.
#[cfg(test)]
pub(super) fn from_text_without_secrets(text: &str, environment: &Environment) -> Result<Settings, SettingsError> {
    settings(layers::of_text("config.toml", text)?, "config.toml", environment, Need::Nothing)
}

/// [`read`] of a text.
#[cfg(test)]
pub(super) fn from_text(text: &str, environment: &Environment) -> Result<Settings, SettingsError> {
    settings(layers::of_text("config.toml", text)?, "config.toml", environment, Need::Secrets)
}

fn settings(tables: Table, file: &str, environment: &Environment, need: Need) -> Result<Settings, SettingsError> {
    let mut root = Section::root(layers::overlaid(tables, environment)?, file.to_owned());
    for needed in ["bots", "bucket"] {
        if let Some(fault) = root.misspelt(needed).filter(|_| !root.has(needed)) {
            return Err(fault);
        }
    }
    let settings = Settings {
        queue: queue(root.section("queue")?)?,
        bots: bots(root.section("bots")?, Secrets::of(environment)?, need)?,
        bucket: bucket(root.section("bucket")?, environment)?,
        poll: poll(root.section("poll")?)?,
        transfer: transfer(root.section("transfer")?)?,
        http: http(root.section("http")?)?,
        log: log(root.section("log")?)?,
    };
    root.finish()?;
    Ok(settings)
}

fn queue(mut queue: Section) -> Result<QueueSettings, SettingsError> {
    let settings = QueueSettings { path: queue.read("path", "/var/lib/kore-archiver/queue.db", path)? };
    queue.finish()?;
    Ok(settings)
}

fn bots(
    mut section: Section,
    mut secrets: Secrets<'_>,
    need: Need,
) -> Result<BTreeMap<String, BotSettings>, SettingsError> {
    let mut bots = BTreeMap::new();
    for name in section.names() {
        let mut table = section.section(&name)?;
        if !is_bot_name(&name) {
            let expected = "is no name for a bot, expected 1 to 64 of a-z 0-9 _ - (variables cannot say upper case, nor _ twice or at an end)";
            return Err(section.fault(&name.escape_debug().to_string(), expected));
        }
        let bot = bot(&name, &mut table, &mut secrets, need)?;
        one_budget(&bots, &bot).map_err(|problem| table.fault("requests_per_minute", &problem))?;
        table.finish()?;
        bots.insert(name, bot);
    }
    secrets.finish()?;
    if bots.is_empty() {
        let missing = "is missing: at least one bot, with host, bot_id, client_id and a client secret";
        return Err(section.fault("default", missing));
    }
    Ok(bots)
}

/// Bots of one account share its budget, so they state the same number.
fn one_budget(bots: &BTreeMap<String, BotSettings>, bot: &BotSettings) -> Result<(), String> {
    let (account, number) = (&bot.account, bot.requests_per_minute);
    let differs = |other: &BotSettings| other.account == *account && other.requests_per_minute != number;
    let Some((name, other)) = bots.iter().find(|(_, other)| differs(other)) else {
        return Ok(());
    };
    Err(format!(
        "is {number}, but bots.{name} of the same account \"{account}\" says {}, expected one number for both",
        other.requests_per_minute
    ))
}

fn is_bot_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    let can_be_said = !name.contains("__") && !name.starts_with('_') && !name.ends_with('_');
    (1..=KeyTemplate::LONGEST_BOT).contains(&name.len()) && name.bytes().all(allowed) && can_be_said
}

fn bot(name: &str, bot: &mut Section, secrets: &mut Secrets<'_>, need: Need) -> Result<BotSettings, SettingsError> {
    if bot.has("client_secret") {
        return Err(bot.fault("client_secret", &format!("belongs {}", secret::places(name))));
    }
    let allow_insecure_http = bot.read("allow_insecure_http", "false", flag)?;
    Ok(BotSettings {
        host: bot.require(
            "host",
            "Kore's platform, such as \"https://platform.kore.ai\"",
            platform(allow_insecure_http),
        )?,
        bot_id: bot.require("bot_id", "the bot's id, st-…", kore_id("st-00000000-0000-0000-0000-000000000000"))?,
        client_id: bot.require(
            "client_id",
            "the app's id, cs-…",
            kore_id("cs-00000000-0000-0000-0000-000000000000"),
        )?,
        client_secret: client_secret(name, bot, secrets, need)?,
        requests_per_minute: bot.read("requests_per_minute", "60", count(1..=10_000_000))?,
        account: bot.read("account", "default", account)?,
        media_hosts: bot.read("media_hosts", "*.kore.ai,*.korebots.com", media_hosts)?,
        allow_insecure_http,
    })
}

/// Where the secret is. One that cannot be had is a fault of the settings, found at start.
fn client_secret(
    name: &str,
    bot: &mut Section,
    secrets: &mut Secrets<'_>,
    need: Need,
) -> Result<ClientSecret, SettingsError> {
    let file = bot.read("client_secret_file", "", optional(absolute_path))?;
    let secret = secrets.take(name, file);
    if need == Need::Nothing {
        return Ok(secret);
    }
    match (secret.read(), &secret) {
        (Ok(_), _) => Ok(secret),
        (Err(_), ClientSecret::Absent) => {
            let missing = format!("is missing: the client secret belongs {}", secret::places(name));
            Err(bot.misspelt("client_secret_file").unwrap_or_else(|| bot.fault("client_secret_file", &missing)))
        }
        (Err(cause), _) => Err(bot.fault("client_secret_file", &format!("is set, but {cause}"))),
    }
}

fn bucket(mut bucket: Section, environment: &Environment) -> Result<BucketSettings, SettingsError> {
    let name = bucket.require("name", "the bucket that recordings go to", bucket_name)?;
    let endpoint_url = bucket.read("endpoint_url", "", optional(endpoint))?;
    let settings = BucketSettings {
        name,
        region: region(&mut bucket, endpoint_url.is_some())?,
        endpoint_url,
        force_path_style: bucket.read("force_path_style", "false", flag)?,
        key_template: bucket.read(
            "key_template",
            "{bot}/year={yyyy}/month={mm}/day={dd}/{session_id}/{file_name}",
            template,
        )?,
        suspect_prefix: bucket.read("suspect_prefix", "suspect/", prefix)?,
        expected_owner: bucket.read(
            "expected_owner",
            "",
            optional(plain("an account id of 12 digits, or \"\"", 12..=12, |c| c.is_ascii_digit())),
        )?,
        storage_class: bucket.read(
            "storage_class",
            "",
            optional(plain("a class such as \"STANDARD_IA\", or \"\"", 1..=64, |c| {
                c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
            })),
        )?,
        sse: sse(&mut bucket)?,
        tags: read_tags(&mut bucket)?,
        assume_role_arn: bucket.read("assume_role_arn", "", optional(role_arn))?,
        role_endpoint: environment.get("AWS_ENDPOINT_URL_STS").filter(|url| !url.is_empty()).map(ToOwned::to_owned),
        timeout: bucket.read("timeout", "60s", duration)?,
        checksum: bucket.read("checksum", "auto", one_of(&CHECKSUMS))?,
    };
    if settings.force_path_style && settings.name.starts_with("arn:") {
        return Err(bucket.fault("force_path_style", "is true, expected false with the ARN of an access point"));
    }
    // What is in an archive cannot be read back.
    if settings.archives() && settings.checksum == ChecksumChoice::ReadBack {
        return Err(bucket.fault("checksum", "is \"read_back\", expected another with a storage_class of an archive"));
    }
    let longest = settings.key_template.longest_key() + settings.suspect_prefix.len();
    if longest > ObjectKey::LONGEST {
        let problem = format!("may make a key of {longest} bytes, suspect_prefix and all, expected at most 1,024");
        return Err(bucket.fault("key_template", &problem));
    }
    bucket.finish()?;
    Ok(settings)
}

/// AWS must be told the region; a store with an endpoint of its own only needs one to sign for.
fn region(bucket: &mut Section, has_endpoint: bool) -> Result<String, SettingsError> {
    let region = plain("a region such as \"eu-central-1\"", 1..=64, |c| c.is_ascii_alphanumeric() || c == '-');
    if has_endpoint {
        return Ok(bucket.read("region", "", optional(region))?.unwrap_or_else(|| REGION_OF_NO_REGION.to_owned()));
    }
    bucket.require("region", "the bucket's region, such as \"eu-central-1\"", region)
}

fn sse(bucket: &mut Section) -> Result<Sse, SettingsError> {
    let choices = [("", Sse::Default), ("AES256", Sse::Aes256), ("aws:kms", Sse::Kms(None))];
    let choices: Vec<(&str, &Sse)> = choices.iter().map(|(word, sse)| (*word, sse)).collect();
    let sse = bucket.read("sse", "", one_of(&choices))?;
    let is_printable = |c: char| c.is_ascii_graphic();
    let key =
        bucket.read("kms_key_id", "", optional(plain("a key id, alias or ARN, or \"\"", 1..=2048, is_printable)))?;
    match (sse, key) {
        (Sse::Kms(_), key) => Ok(Sse::Kms(key)),
        (sse, None) => Ok(sse.clone()),
        (Sse::Default | Sse::Aes256, Some(_)) => {
            Err(bucket.fault("kms_key_id", "is set, expected sse = \"aws:kms\" with it"))
        }
    }
}

fn read_tags(bucket: &mut Section) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut section = bucket.section("tags")?;
    let mut found = BTreeMap::new();
    for key in section.names() {
        let value = section.require(&key, "", tag_value)?;
        found.insert(key, value);
    }
    tags(found).map_err(|problem| bucket.fault("tags", &problem))
}

fn poll(mut poll: Section) -> Result<PollSettings, SettingsError> {
    let settings = PollSettings {
        schedule: poll.read("schedule", "adaptive", one_of(&SCHEDULES))?,
        adaptive_max: poll.read("adaptive_max", "30m", duration)?,
        adaptive_max_old: poll.read("adaptive_max_old", "12h", duration)?,
        concurrency: poll.read("concurrency", "16", count(1..=1024))?,
        call_in_progress: backoff(&mut poll, "call_in_progress", ["60s", "1.5", "5m"])?,
        media_in_progress: backoff(&mut poll, "media_in_progress", ["30s", "1.5", "5m"])?,
        kore_retrying: backoff(&mut poll, "kore_retrying", ["15m", "1.0", "15m"])?,
        error: backoff(&mut poll, "error", ["10s", "2.0", "15m"])?,
        jitter: poll.read("jitter", "0.2", share)?,
        timeout: poll.read("timeout", "30s", duration)?,
        unavailable_grace: poll.read("unavailable_grace", "48h", any_duration)?,
        give_up_after: poll.read("give_up_after", "96h", duration)?,
        max_failures: poll.read("max_failures", "20", count(1..=1_000_000))?,
        fail_after: poll.read("fail_after", "24h", any_duration)?,
    };
    poll.finish()?;
    Ok(settings)
}

/// One line of `[poll]`; what it leaves out is as in the line's default.
fn backoff(poll: &mut Section, name: &str, default: [&str; 3]) -> Result<Backoff, SettingsError> {
    let mut line = poll.section(name)?;
    let unset = ["initial", "max"].map(|name| !line.has(name));
    let initial = line.read("initial", default[0], duration)?;
    let factor = line.read("factor", default[1], number)?;
    let max = line.read("max", default[2], duration)?;
    line.finish()?;
    Backoff::new(initial, factor, max).map_err(|error| {
        let hint = if error == BackoffError::MaxUnderInitial { left_out(unset, default) } else { String::new() };
        poll.fault(name, &format!("makes no sense: {error}{hint}"))
    })
}

/// Which of the two was not given, and so is what nobody wrote down.
fn left_out(unset: [bool; 2], default: [&str; 3]) -> String {
    match unset {
        [false, true] => format!("; `max` is not given, and so {} by default: give one", default[2]),
        [true, false] => format!("; `initial` is not given, and so {} by default: give one", default[0]),
        _ => String::new(),
    }
}

fn transfer(mut transfer: Section) -> Result<TransferSettings, SettingsError> {
    let settings = TransferSettings {
        concurrency: transfer.read("concurrency", "8", count(1..=1024))?,
        memory: transfer.read("memory", "128MiB", size(*PART.start()..=1 << 40))?,
        part_size: transfer.read("part_size", "8MiB", size(PART))?,
        max_bytes: transfer.read("max_bytes", "5GiB", size(1..=LARGEST_OBJECT))?,
        min_throughput: transfer.read("min_throughput", "16KiB/s", throughput)?,
        stall_window: transfer.read("stall_window", "60s", duration)?,
        drain_timeout: transfer.read("drain_timeout", "60s", any_duration)?,
    };
    if settings.memory < settings.part_size {
        return Err(transfer.fault("memory", "does not hold one part, expected at least part_size"));
    }
    transfer.finish()?;
    Ok(settings)
}

fn http(mut http: Section) -> Result<HttpSettings, SettingsError> {
    let settings = HttpSettings { listen: http.read("listen", "127.0.0.1:9464", optional(listen))? };
    http.finish()?;
    Ok(settings)
}

fn log(mut log: Section) -> Result<LogSettings, SettingsError> {
    let settings = LogSettings {
        level: log.read("level", "info", log_level)?,
        format: log.read("format", "auto", one_of(&FORMATS))?,
    };
    log.finish()?;
    Ok(settings)
}
