//! A snapshot of the environment: nothing else reads variables.
//!
//! It is taken once, at start, and passed on, so that tests bring their own and nothing changes under a running daemon.
//! It holds no more than what this program reads: the credentials of other programs stay where they are.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// What every override begins with (CONTRACT section 1).
pub(super) const PREFIX: &str = "KORE_ARCHIVER__";

/// What else is read: where roles are assumed, where systemd keeps credentials, whether stderr is the journal, how many heaps there are, whether
/// colour is unwelcome, whether a service manager listens, whether the daemon has started itself anew.
const ALSO_READ: [&str; 7] = [
    "AWS_ENDPOINT_URL_STS",
    "CREDENTIALS_DIRECTORY",
    "JOURNAL_STREAM",
    "MALLOC_ARENA_MAX",
    "NO_COLOR",
    "NOTIFY_SOCKET",
    "_KORE_ARCHIVER_STARTED_ANEW",
];

/// Environment variables by name. Its Debug shows names alone: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variables of this process that the daemon knows.
    #[must_use]
    pub fn of_process() -> Self {
        let text_names = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        text_names.collect()
    }

    /// The value of a variable; `None` if it is not set or not UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|value| value.to_str())
    }

    /// Whether `NO_COLOR` is set and not empty (no-color.org).
    #[must_use]
    pub fn forbids_colour(&self) -> bool {
        self.0.get("NO_COLOR").is_some_and(|value| !value.is_empty())
    }

    /// The variables that override settings, with what follows the prefix, in the order of their names.
    pub(super) fn overrides(&self) -> impl Iterator<Item = (&str, &str, &OsStr)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), name.strip_prefix(PREFIX)?, value.as_os_str())))
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let ours = |name: &str| name.starts_with(PREFIX) || ALSO_READ.contains(&name);
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(variables.filter(|(name, _)| ours(name)).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")?;
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_program_reads_is_kept_and_debug_shows_no_value() {
        let environment = Environment::from_iter([
            ("KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET", "canary"),
            ("AWS_SECRET_ACCESS_KEY", "canary"),
            // What Kubernetes sets for a service of that name is no override of ours.
            ("KORE_ARCHIVER_PORT", "tcp://10.0.0.1:9464"),
            ("NO_COLOR", "1"),
            ("_KORE_ARCHIVER_STARTED_ANEW", "1"),
        ]);
        let shown = format!("{environment:?}");
        let expected =
            r#"Environment{"KORE_ARCHIVER__BOTS__DEFAULT__CLIENT_SECRET", "NO_COLOR", "_KORE_ARCHIVER_STARTED_ANEW"}"#;
        assert_eq!(shown, expected);
        assert_eq!(environment.get("NO_COLOR"), Some("1"));
        assert!(environment.forbids_colour());
        assert!(!Environment::from_iter([("NO_COLOR", "")]).forbids_colour());
        assert_eq!(environment.get("AWS_SECRET_ACCESS_KEY"), None);
        assert_eq!(environment.overrides().count(), 1);
    }
}
