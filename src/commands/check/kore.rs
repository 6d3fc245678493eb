//! Kore: host, credentials and scope of each bot, its clock, and the file hosts' names.
//!
//! One request a bot, within the budget of its account: the first comes a whole interval after the start, as the
//! daemon's does, so that a daemon that stopped just before, or starts just after, leaves the gap intact. While a daemon
//! holds the queue the budget is spent by that one, and a request of ours would stand between two of its own. So Kore is
//! not asked then; the pauses that the daemon knows of are told instead. One that had nothing to ask yet knows of none,
//! which proves nothing: the note says how to have Kore asked.
//!
//! Left alone: a daemon that starts while this asks. Both are within their budgets, and together one request beyond.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use crate::clock::{Clock, JUMP, SystemClock};
use crate::config::{BotSettings, Settings};
use crate::kore::budget::Budget;
use crate::kore::client::KoreClient;
use crate::kore::probe::{Probed, Verdict};
use crate::queue::desk::Record;
use crate::queue::{Desk, lock};

/// Tokens are dated, and Kore refuses those of a clock that is minutes off.
pub(super) const MOST_SKEW_SECONDS: u64 = 60;
/// Beside a daemon.
const NOT_ASKED: &str = "not asked: the account's budget is the running daemon's, which has not paused this bot; \
                         stop it to have Kore asked";
/// Beside one whose queue cannot be opened.
const NOT_KNOWN: &str = "not asked: the account's budget is the running daemon's, and what it has paused cannot be read; \
                         stop it to have Kore asked";
/// Under a clock that the daemon does not believe.
const NOBODY_ENDS: &str = "as long as they are so far apart, whichever is wrong, the daemon gives up no row for its age, \
                           as media_unavailable or never_ready";
/// For one name.
const DNS_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn check(report: &mut Report, settings: &Settings, desk: Option<&Desk>) {
    if lock::holder(&settings.queue.path).is_none() {
        ask_for_all(report, settings).await;
    } else {
        let pauses = match desk {
            Some(desk) => desk.pauses().await.ok(),
            None => None,
        };
        what_the_daemon_knows(report, settings, pauses.as_deref());
    }
    for (name, bot) in &settings.bots {
        of_media_hosts(report, name, bot).await;
    }
}

/// `pauses`: nothing if they cannot be read.
fn what_the_daemon_knows(report: &mut Report, settings: &Settings, pauses: Option<&[Record]>) {
    for name in settings.bots.keys() {
        let label = format!("bot:{name}");
        let Some(pauses) = pauses else {
            report.note(&format!("kore {name}"), NOT_KNOWN);
            continue;
        };
        let of_bot = pauses.iter().filter(|pause| pause["what"] == *label);
        // Kore answered, or nobody would know of a file.
        let (of_files, of_bot): (Vec<_>, Vec<_>) = of_bot.partition(|pause| pause["reason"] == "host_refused");
        let mut tell = |what: &str, prefix: &str, pause: &Record| {
            let (detail, advice) = halves(pause["message"].as_str().unwrap_or_default(), "see the message");
            report.fault(&format!("{what} {name}"), &format!("{prefix}: {detail}"), advice);
        };
        for pause in of_files {
            tell("media", "the daemon waits for files", pause);
        }
        for pause in &of_bot {
            tell("kore", "the daemon has paused this bot", pause);
        }
        if of_bot.is_empty() {
            report.note(&format!("kore {name}"), NOT_ASKED);
        }
    }
}

async fn ask_for_all(report: &mut Report, settings: &Settings) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut budgets: BTreeMap<&str, Arc<Budget>> = BTreeMap::new();
    for (name, bot) in &settings.bots {
        let fresh = || Arc::new(Budget::new(bot.requests_per_minute, Arc::clone(&clock)));
        let budget = Arc::clone(budgets.entry(&bot.account).or_insert_with(fresh));
        let client = KoreClient::new(name, bot, settings.poll.timeout, &settings.transfer, budget, Arc::clone(&clock));
        match client {
            Ok(client) => tell(report, name, bot, client.probe().await),
            Err(cause) => report.fault(&format!("kore {name}"), &cause, "correct the bot's settings"),
        }
    }
}

fn tell(report: &mut Report, name: &str, bot: &BotSettings, probed: Probed) {
    let what = format!("kore {name}");
    match probed.verdict {
        Verdict::Accepted(answer) => {
            report.ok(&what, &format!("token and scope are good: asked for a session that cannot exist, got {answer}"));
        }
        Verdict::Refused(message) => {
            let (detail, advice) = halves(&message, "check bot_id, client_id and the client secret");
            report.fault(&what, detail, advice);
        }
        Verdict::WrongBot(message) => report.fault(&what, &message, &format!("correct bots.{name}.bot_id")),
        Verdict::RateLimited(message) => {
            let advice = "wait a minute and try again; if it stays, somebody else uses this account's limit";
            report.fault(&what, &message, advice);
        }
        Verdict::NotKore(message) => {
            let advice = format!("check bots.{name}.host ({}), and the network between here and there", bot.host);
            report.fault(&what, &message, &advice);
        }
    }
    match probed.ahead_seconds {
        Some(ahead) => {
            let what = format!("clock, kore {name}");
            of_clock(report, &what, "Kore's", ahead);
            if ahead.unsigned_abs() > JUMP.as_secs() {
                report.note(&what, NOBODY_ENDS);
            }
        }
        None => report.note(&format!("clock, kore {name}"), "Kore did not say what time it is"),
    }
}

/// Compares this machine's clock with somebody's.
pub(super) fn of_clock(report: &mut Report, what: &str, whose: &str, ahead: i64) {
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let seconds = ahead.unsigned_abs();
    if seconds > MOST_SKEW_SECONDS {
        let detail = format!("this machine's clock is {seconds} s {side} {whose}");
        report.fault(what, &detail, "set it right and keep it so: timedatectl set-ntp true");
    } else {
        report.ok(what, &format!("within {seconds} s of {whose}"));
    }
}

/// Names given in full must resolve; what is under `*.` is known only when Kore names a file.
async fn of_media_hosts(report: &mut Report, name: &str, bot: &BotSettings) {
    let what = format!("media {name}");
    let mut resolved = Vec::new();
    for host in bot.media_hosts.iter().map(ToString::to_string) {
        if host.starts_with("*.") {
            resolved.push(host);
            continue;
        }
        match lookup(&host).await {
            Ok(()) => resolved.push(host),
            Err(cause) => {
                let advice = format!("correct bots.{name}.media_hosts, or this machine's DNS");
                report.fault(&what, &format!("{host} cannot be resolved: {cause}"), &advice);
            }
        }
    }
    if !resolved.is_empty() {
        report.ok(&what, &format!("files may come from {}", resolved.join(", ")));
    }
}

async fn lookup(host: &str) -> Result<(), String> {
    let clock = SystemClock::new();
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(before, port)| port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')));
    let host = if has_port { host.to_owned() } else { format!("{host}:443") };
    tokio::select! {
        found = tokio::net::lookup_host(host) => match found.map(|mut addresses| addresses.next().is_some()) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        () = clock.sleep(DNS_PATIENCE) => Err("no answer in time".to_owned()),
    }
}

/// What happened, and what to do: the vendor's messages have them in this order.
fn halves<'a>(message: &'a str, otherwise: &'a str) -> (&'a str, &'a str) {
    message.rsplit_once("; ").unwrap_or((message, otherwise))
}
