//! Where file URLs may lead: `bots.NAME.media_hosts` (CONTRACT section 7; FAULTS D15 to D17).
//!
//! A file URL is a stranger's text, and so is every redirect: without this policy an answer could send the daemon to a
//! metadata service or to a neighbour's administration page. [`MediaHosts::allows`] judges a parsed URL before
//! anything connects. What it grants is a [`Reach`]: a name under `*.` may be resolved to public addresses only
//! ([`is_public`], asked by the resolver for the very addresses that are connected to, so that DNS cannot change its
//! answer in between); an entry given in full may be private, for the operator named it.
//!
//! The `url` crate has already made one spelling of the many that a host can have: upper case, percent and IDN forms,
//! IPv4 as `0x7f.1` or `2130706433`. So there is one comparison here, of normalised hosts. Pure; nothing resolves.

mod public;

use std::fmt;

use url::{Host, Url};

pub use public::is_public;

/// One entry of `media_hosts`: `*.kore.ai`, `media.acme.lan`, `127.0.0.1:9000`, `[::1]:9000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaHost {
    pattern: Pattern,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// This host, and no other.
    Full(Host<String>),
    /// Every name that ends with this, which starts with a dot.
    Under(String),
}

impl MediaHost {
    /// # Errors
    /// A sentence that says what an entry looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).ok_or_else(|| {
            let shown: String = text.chars().take(LONGEST_SHOWN).flat_map(char::escape_debug).collect();
            format!("`{shown}` is no media host: write `*.kore.ai`, `media.acme.lan`, `10.0.0.7:9000` or `[::1]:9000`")
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (under, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (host, port) = split_port(rest)?;
        let pattern = match normal(Host::parse(host).ok()?)? {
            Host::Domain(name) if under => Pattern::Under(format!(".{name}")),
            _ if under => return None,
            host => Pattern::Full(host),
        };
        Some(Self { pattern, port })
    }

    /// Without a port of its own, an entry means the scheme's: 443, and 80 where plain http is allowed at all.
    fn covers(&self, host: &Host<String>, port: u16, scheme_port: u16) -> bool {
        port == self.port.unwrap_or(scheme_port)
            && match (&self.pattern, host) {
                (Pattern::Full(full), host) => full == host,
                // No name is the suffix alone: it would begin with an empty label.
                (Pattern::Under(suffix), Host::Domain(name)) => name.ends_with(suffix),
                (Pattern::Under(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
            }
    }
}

impl fmt::Display for MediaHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Full(host) => write!(f, "{host}")?,
            Pattern::Under(suffix) => write!(f, "*{suffix}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `host:port` or `host`; IPv6 stands in brackets.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"/?#@\\*%".contains(c);
    if !text.chars().all(plain) {
        return None;
    }
    let end = text.rfind([':', ']']).filter(|end| text[*end..].starts_with(':'));
    let Some(colon) = end else { return Some((text, None)) };
    let digits = &text[colon + 1..];
    let port = digits.parse::<u16>().ok().filter(|port| *port > 0 && digits.bytes().all(|b| b.is_ascii_digit()));
    port.map(|port| (&text[..colon], Some(port)))
}

/// The host without the final dot that makes a name absolute; `None` where a label is empty.
fn normal(host: Host<String>) -> Option<Host<String>> {
    let Host::Domain(name) = host else { return Some(host) };
    let name = name.strip_suffix('.').unwrap_or(&name);
    (!name.split('.').any(str::is_empty)).then(|| Host::Domain(name.to_owned()))
}

/// What a URL that is allowed may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public addresses only: the name is covered by a `*.` entry.
    Public,
    /// Any address: the host is given in full.
    Any,
}

/// Why a URL is not followed. The messages name host and setting, never the rest of the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostRefusal {
    /// Neither https, nor http where that is allowed.
    #[error("a file URL at {0} is neither https nor, where `allow_insecure_http` is set, http")]
    Insecure(String),
    /// `https://user:password@host/`: nothing of ours looks like that, and much that deceives does.
    #[error("a file URL at {0} carries a user name, which is never followed")]
    Userinfo(String),
    /// Not in the list.
    #[error("the file host {0} is not in `media_hosts`; add it there if recordings may come from it")]
    Unlisted(String),
}

/// The list of one bot.
#[derive(Clone, Debug)]
pub struct MediaHosts {
    entries: Vec<MediaHost>,
    allow_insecure_http: bool,
}

impl MediaHosts {
    /// The policy of a bot's `media_hosts` and `allow_insecure_http`.
    #[must_use]
    pub fn new(entries: Vec<MediaHost>, allow_insecure_http: bool) -> Self {
        Self { entries, allow_insecure_http }
    }

    /// Whether a file may be fetched from `url`, and from which addresses.
    ///
    /// # Errors
    /// [`HostRefusal`] names the host and the setting.
    pub fn allows(&self, url: &Url) -> Result<Reach, HostRefusal> {
        let shown = shown_host(url);
        let scheme_port = match url.scheme() {
            "https" => 443,
            "http" if self.allow_insecure_http => 80,
            _ => return Err(HostRefusal::Insecure(shown)),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HostRefusal::Userinfo(shown));
        }
        let host = url.host().and_then(|host| normal(host.to_owned()));
        let Some(host) = host else { return Err(HostRefusal::Unlisted(shown)) };
        let port = url.port().unwrap_or(scheme_port);
        let covering = self.entries.iter().filter(|entry| entry.covers(&host, port, scheme_port));
        let reach = |entry: &MediaHost| match entry.pattern {
            Pattern::Full(_) => Reach::Any,
            Pattern::Under(_) => Reach::Public,
        };
        covering.map(reach).max_by_key(|reach| *reach == Reach::Any).ok_or(HostRefusal::Unlisted(shown))
    }
}

/// The longest host that a message repeats; DNS allows 253, and people need less.
const LONGEST_SHOWN: usize = 120;

/// Host and port as messages name them. The `url` crate leaves only printable ASCII in a host.
pub(crate) fn shown_host(url: &Url) -> String {
    let host: String = url.host_str().unwrap_or("(none)").chars().take(LONGEST_SHOWN).collect();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hosts(entries: &[&str], insecure: bool) -> MediaHosts {
        MediaHosts::new(entries.iter().map(|entry| MediaHost::parse(entry).unwrap()).collect(), insecure)
    }

    fn reach(policy: &MediaHosts, url: &str) -> Result<Reach, HostRefusal> {
        policy.allows(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_pattern_covers_names_below_it_and_no_look_alikes() {
        let policy = hosts(&["*.kore.ai"], false);
        for good in
            ["https://smartassist.kore.ai/f", "https://a.b.KORE.ai:443/", "https://a.kore.ai./", "https://a.kore%2Eai/"]
        {
            assert_eq!(reach(&policy, good), Ok(Reach::Public), "{good}");
        }
        for bad in [
            "https://kore.ai/",
            "https://evilkore.ai/",
            "https://a.kore.ai.evil.example/",
            "https://a.kore.ai:8443/",
            "https://a.xn--kre-6na.ai/",
            "https://a.k\u{43e}re.ai/",
            "https://a..kore.ai/",
            "https://a.kore.ai../",
            "https://.kore.ai/",
            "https://169.254.169.254/",
            "https://[::1]/",
        ] {
            assert!(matches!(reach(&policy, bad), Err(HostRefusal::Unlisted(_))), "{bad}");
        }
    }

    #[test]
    fn plain_http_needs_the_switch_and_means_port_80() {
        let entries = ["*.kore.ai", "media.acme.lan:8080"];
        assert!(matches!(reach(&hosts(&entries, false), "http://a.kore.ai/"), Err(HostRefusal::Insecure(_))));
        assert_eq!(reach(&hosts(&entries, true), "http://a.kore.ai/"), Ok(Reach::Public));
        assert_eq!(reach(&hosts(&entries, true), "http://media.acme.lan:8080/"), Ok(Reach::Any));
        assert!(reach(&hosts(&entries, true), "http://a.kore.ai:443/").is_err());
        assert!(reach(&hosts(&entries, true), "ftp://a.kore.ai/").is_err());
    }

    #[test]
    fn only_an_entry_in_full_names_an_address_however_it_is_spelled() {
        let policy = hosts(&["127.0.0.1:9000", "[::1]:9000", "10.0.0.7"], false);
        for good in [
            "https://127.0.0.1:9000/",
            "https://0x7f.1:9000/",
            "https://2130706433:9000/",
            "https://[0:0::1]:9000/",
            "https://10.0.0.7/",
        ] {
            assert_eq!(reach(&policy, good), Ok(Reach::Any), "{good}");
        }
        for bad in ["https://127.0.0.1/", "https://[::ffff:127.0.0.1]:9000/", "https://127.0.0.2:9000/"] {
            assert!(reach(&policy, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_name_is_refused_and_a_full_entry_wins_over_a_pattern() {
        let policy = hosts(&["*.acme.lan", "media.acme.lan"], false);
        assert!(matches!(reach(&policy, "https://a@media.acme.lan/"), Err(HostRefusal::Userinfo(_))));
        assert!(matches!(reach(&policy, "https://:b@media.acme.lan/"), Err(HostRefusal::Userinfo(_))));
        assert_eq!(reach(&policy, "https://media.acme.lan/"), Ok(Reach::Any));
        assert_eq!(reach(&policy, "https://other.acme.lan/"), Ok(Reach::Public));
    }

    #[test]
    fn a_refusal_names_host_and_port_and_no_more_than_people_read() {
        let url = format!("https://{}.example:8443/f?s=CANARY", "a".repeat(130));
        let told = reach(&hosts(&["*.kore.ai"], false), &url).unwrap_err().to_string();
        assert!(told.starts_with(&format!("the file host {}:8443 is not in", "a".repeat(120))), "{told}");
        assert_eq!(shown_host(&Url::parse("https://media.acme.lan:443/f").unwrap()), "media.acme.lan");
    }

    #[test]
    fn entries_that_mean_nothing_are_refused() {
        for bad in [
            "",
            "*",
            "*.",
            "*.*.kore.ai",
            "a.*",
            "https://a.b",
            "a.b/c",
            "a b",
            "u@a.b",
            "a.b:",
            "a.b:0",
            "a.b:65536",
            "a.b:+80",
            "*.127.0.0.1",
            "*.[::1]",
            "::1",
            "[::1",
            "a..b",
            "a.b\n",
            "1.2.3.4.5",
        ] {
            assert!(MediaHost::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(MediaHost::parse("*.Kore.AI.").unwrap().to_string(), "*.kore.ai");
        assert_eq!(MediaHost::parse("[::1]:9000").unwrap().to_string(), "[::1]:9000");
    }

    /// An oracle that shares nothing with the policy but the parser: https, no user, and a listed host on its port.
    fn is_harmless(url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let listed = match url.port().unwrap_or(443) {
            443 => host == "media.acme.lan" || host.strip_suffix(".kore.ai").is_some_and(|rest| !rest.is_empty()),
            9000 => host == "10.0.0.7",
            _ => false,
        };
        listed && url.scheme() == "https" && url.username().is_empty() && url.password().is_none()
    }

    fn judge(text: &str) {
        let policy = hosts(&["*.kore.ai", "media.acme.lan", "10.0.0.7:9000"], false);
        let Ok(url) = Url::parse(text) else { return };
        match policy.allows(&url) {
            Ok(_) => assert!(is_harmless(&url), "{text:?} is followed"),
            Err(refusal) => {
                // The host is what people have to read, whatever it is.
                let message = refusal.to_string().replace(url.host_str().unwrap_or_default(), "");
                assert!(!message.contains("s=CANARY") && !message.chars().any(char::is_control), "{message:?}");
            }
        }
    }

    #[test]
    fn fuzz_urls_that_are_kept() {
        let urls = crate::corpus::kept_text("urls");
        for url in &urls {
            judge(url.trim_end());
        }
        let policy = hosts(&["*.kore.ai", "media.acme.lan", "10.0.0.7:9000"], false);
        let followed =
            urls.iter().filter(|url| Url::parse(url.trim_end()).is_ok_and(|url| policy.allows(&url).is_ok()));
        assert_eq!(followed.count(), 3, "one of each entry of the policy, and none of the others");
    }

    proptest! {
        #[test]
        fn fuzz_urls(text in crate::corpus::bent_text("urls")) {
            judge(&text);
        }

        #[test]
        fn any_text_is_an_entry_or_a_printable_error(text: String) {
            match MediaHost::parse(&text) {
                Ok(entry) => prop_assert_eq!(MediaHost::parse(&entry.to_string()), Ok(entry)),
                Err(message) => prop_assert!(!message.chars().any(char::is_control)),
            }
        }

        #[test]
        fn a_pattern_never_covers_an_address_or_a_stranger(host in "[a-z0-9.:\\[\\]-]{1,30}") {
            let policy = hosts(&["*.kore.ai"], false);
            if let Ok(url) = Url::parse(&format!("https://{host}/")) && policy.allows(&url).is_ok() {
                prop_assert!(url.host_str().unwrap().trim_end_matches('.').ends_with(".kore.ai"));
            }
        }
    }
}
