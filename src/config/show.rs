//! The settings in force, printed: TOML that reads back as the same settings, or JSON. Secrets are hidden.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::text::{write_duration, write_size};
use super::{
    BotSettings, BucketSettings, CHECKSUMS, ClientSecret, FORMATS, PollSettings, SCHEDULES, Settings, Sse,
    TransferSettings,
};
use crate::backoff::Backoff;

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden, from the environment)";

/// A section's keys, in the order of CONTRACT section 7.
type Keys = Vec<(&'static str, Value)>;

impl Settings {
    /// A settings file that says the same as these settings, in the order of CONTRACT section 7. A client secret from
    /// the environment is a comment in it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (section, keys) in self.sections() {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            for (key, value) in keys {
                // A text with nothing to read back is no setting, only a word to the reader.
                let comment = if key == "client_secret" { "# " } else { "" };
                let _ = writeln!(text, "{comment}{key} = {value}");
            }
        }
        text
    }

    /// The same as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut document = serde_json::json!({});
        for (section, keys) in self.sections() {
            let mut place = &mut document;
            for level in section.split('.') {
                place = &mut place[level];
            }
            for (key, value) in keys {
                place[key] = serde_json::to_value(value).unwrap_or_default();
            }
        }
        document
    }

    fn sections(&self) -> Vec<(String, Keys)> {
        let queue = vec![("path", text(self.queue.path.display().to_string()))];
        let listen = self.http.listen.map(|address| address.to_string());
        let log = vec![("level", text(&self.log.level)), ("format", word(&FORMATS, &self.log.format))];
        let bots = self.bots.iter().map(|(name, settings)| (format!("bots.{name}"), bot(settings)));
        let mut sections = vec![("queue".to_owned(), queue)];
        sections.extend(bots);
        sections.push(("bucket".to_owned(), bucket(&self.bucket)));
        sections.push(("poll".to_owned(), poll(&self.poll)));
        sections.push(("transfer".to_owned(), transfer(&self.transfer)));
        sections.push(("http".to_owned(), vec![("listen", text(listen.unwrap_or_default()))]));
        sections.push(("log".to_owned(), log));
        sections
    }
}

fn bot(bot: &BotSettings) -> Keys {
    let secret = match &bot.client_secret {
        ClientSecret::File(path) => ("client_secret_file", text(path.display().to_string())),
        ClientSecret::Environment(_) => ("client_secret", text(HIDDEN)),
        ClientSecret::Absent => ("client_secret_file", text("")),
    };
    vec![
        ("host", text(bot.host.as_str().trim_end_matches('/'))),
        ("bot_id", text(&bot.bot_id)),
        ("client_id", text(&bot.client_id)),
        secret,
        ("requests_per_minute", Value::Integer(bot.requests_per_minute.into())),
        ("account", text(&bot.account)),
        ("media_hosts", Value::Array(bot.media_hosts.iter().map(|host| text(host.to_string())).collect())),
        ("allow_insecure_http", Value::Boolean(bot.allow_insecure_http)),
    ]
}

fn bucket(bucket: &BucketSettings) -> Keys {
    let (sse, key) = match &bucket.sse {
        Sse::Default => ("", None),
        Sse::Aes256 => ("AES256", None),
        Sse::Kms(key) => ("aws:kms", key.as_ref()),
    };
    let tags = bucket.tags.iter().map(|(key, value)| (key.clone(), text(value.as_str())));
    vec![
        ("name", text(&bucket.name)),
        ("region", text(&bucket.region)),
        ("endpoint_url", maybe(bucket.endpoint_url.as_ref())),
        ("force_path_style", Value::Boolean(bucket.force_path_style)),
        ("key_template", text(bucket.key_template.as_str())),
        ("suspect_prefix", text(&bucket.suspect_prefix)),
        ("expected_owner", maybe(bucket.expected_owner.as_ref())),
        ("storage_class", maybe(bucket.storage_class.as_ref())),
        ("sse", text(sse)),
        ("kms_key_id", maybe(key)),
        ("tags", Value::Table(tags.collect())),
        ("assume_role_arn", maybe(bucket.assume_role_arn.as_ref())),
        ("timeout", text(write_duration(bucket.timeout))),
        ("checksum", word(&CHECKSUMS, &bucket.checksum)),
    ]
}

fn poll(poll: &PollSettings) -> Keys {
    vec![
        ("schedule", word(&SCHEDULES, &poll.schedule)),
        ("adaptive_max", text(write_duration(poll.adaptive_max))),
        ("adaptive_max_old", text(write_duration(poll.adaptive_max_old))),
        ("concurrency", number(poll.concurrency)),
        ("call_in_progress", backoff(&poll.call_in_progress)),
        ("media_in_progress", backoff(&poll.media_in_progress)),
        ("kore_retrying", backoff(&poll.kore_retrying)),
        ("error", backoff(&poll.error)),
        ("jitter", Value::Float(poll.jitter)),
        ("timeout", text(write_duration(poll.timeout))),
        ("unavailable_grace", text(write_duration(poll.unavailable_grace))),
        ("give_up_after", text(write_duration(poll.give_up_after))),
        ("max_failures", Value::Integer(poll.max_failures.into())),
        ("fail_after", text(write_duration(poll.fail_after))),
    ]
}

fn transfer(transfer: &TransferSettings) -> Keys {
    vec![
        ("concurrency", number(transfer.concurrency)),
        ("memory", text(write_size(transfer.memory))),
        ("part_size", text(write_size(transfer.part_size))),
        ("max_bytes", text(write_size(transfer.max_bytes))),
        ("min_throughput", text(format!("{}/s", write_size(transfer.min_throughput)))),
        ("stall_window", text(write_duration(transfer.stall_window))),
        ("drain_timeout", text(write_duration(transfer.drain_timeout))),
    ]
}

fn backoff(backoff: &Backoff) -> Value {
    let initial = ("initial".to_owned(), text(write_duration(backoff.initial())));
    let factor = ("factor".to_owned(), Value::Float(backoff.factor()));
    let max = ("max".to_owned(), text(write_duration(backoff.max())));
    Value::Table(Table::from_iter([initial, factor, max]))
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// `""` says none.
fn maybe<T: ToString>(value: Option<&T>) -> Value {
    Value::String(value.map(ToString::to_string).unwrap_or_default())
}

fn number(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// How a choice is spelled.
fn word<T: PartialEq>(choices: &[(&'static str, T)], choice: &T) -> Value {
    let spelled = choices.iter().find(|(_, value)| value == choice);
    text(spelled.map_or("", |(word, _)| *word))
}
