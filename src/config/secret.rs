//! Where a bot's client secret is, and the only function that reads it.
//!
//! The first of these counts: the variable `KORE_ARCHIVER__BOTS__NAME__CLIENT_SECRET`, the file that
//! `client_secret_file` names, the systemd credential `client-secret.NAME`. The variable goes straight into a
//! [`SecretString`]; it never is a value among other settings, whose faults are shown to people.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::environment::{Environment, PREFIX};
use super::error::SettingsError;
use super::layers::{text_of, two_names};

/// A client secret is some 44 characters; what is longer than this is another file.
const LONGEST: u64 = 4096;

/// Where a client secret is; a file is read when the secret is needed, so that its rotation needs no restart.
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// `client_secret_file`, or a systemd credential.
    File(PathBuf),
    /// `KORE_ARCHIVER__BOTS__NAME__CLIENT_SECRET`
    Environment(SecretString),
    /// Nowhere. Only [`super::read_without_secrets`] leaves it at that.
    Absent,
}

impl ClientSecret {
    /// The secret as it is now; trailing line ends are not part of it.
    ///
    /// # Errors
    /// A sentence naming the file and the cause.
    pub fn read(&self) -> Result<SecretString, String> {
        match self {
            Self::File(path) => {
                read_file(path).map_err(|cause| format!("the client secret {} cannot be read: {cause}", path.display()))
            }
            Self::Environment(secret) => Ok(secret.clone()),
            Self::Absent => Err("no client secret is set".to_owned()),
        }
    }

    /// Whether every user of the machine may read, change or run the file.
    pub(super) fn is_open_to_others(&self) -> bool {
        let Self::File(path) = self else {
            return false;
        };
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
    }
}

fn read_file(path: &Path) -> Result<SecretString, String> {
    // A pipe would be waited for, perhaps for ever. A device, such as /dev/null, says at once what it holds.
    let kind = std::fs::metadata(path).map_err(|error| error.to_string())?.file_type();
    if !kind.is_file() && !kind.is_char_device() {
        return Err("it is no regular file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    match fault_of(secret) {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(SecretString::from(secret)),
    }
}

/// What makes a text no secret: Kore would refuse every token, and never say why.
fn fault_of(secret: &str) -> Option<&'static str> {
    if secret.trim().is_empty() {
        return Some("it is empty");
    }
    if secret.starts_with('\u{feff}') || secret.chars().any(char::is_control) {
        return Some("it holds more than one line, or what cannot be seen: save the secret alone, as plain text");
    }
    None
}

/// Whether these levels of a variable's name lead to a client secret.
pub(super) fn is_secret_key(levels: &[&str]) -> bool {
    matches!(levels, ["bots", _, "client_secret"])
}

/// Where the secret of `bot` belongs.
pub(super) fn places(bot: &str) -> String {
    format!(
        "in a file that client_secret_file names, in the systemd credential client-secret.{bot}, or in {}",
        variable(bot)
    )
}

/// The variable that holds the secret of `bot`.
fn variable(bot: &str) -> String {
    format!("{PREFIX}BOTS__{}__CLIENT_SECRET", bot.to_uppercase())
}

/// The secrets in the environment, by the name of the bot.
pub(super) struct Secrets<'a> {
    by_bot: BTreeMap<String, (&'a str, SecretString)>,
    credentials: Option<PathBuf>,
}

impl<'a> Secrets<'a> {
    /// # Errors
    /// Names a variable that is empty, or no text, or is there in two spellings.
    pub(super) fn of(environment: &'a Environment) -> Result<Self, SettingsError> {
        let mut by_bot = BTreeMap::new();
        for (name, rest, value) in environment.overrides() {
            let key = rest.to_lowercase();
            if let ["bots", bot, "client_secret"] = key.split("__").collect::<Vec<_>>()[..] {
                let secret = text_of(name, value)?.trim_end_matches(['\r', '\n']);
                if let Some(fault) = fault_of(secret) {
                    let fault = fault.trim_start_matches("it ");
                    return Err(SettingsError::new(name, format!("bots.{bot}.client_secret {fault}")));
                }
                if let Some((other, _)) = by_bot.insert(bot.to_owned(), (name, SecretString::from(secret))) {
                    return Err(two_names(name, other));
                }
            }
        }
        Ok(Self { by_bot, credentials: environment.get("CREDENTIALS_DIRECTORY").map(PathBuf::from) })
    }

    /// Where the secret of `bot` is; `file` is its `client_secret_file`.
    pub(super) fn take(&mut self, bot: &str, file: Option<PathBuf>) -> ClientSecret {
        let credential = self.credentials.as_ref().map(|folder| folder.join(format!("client-secret.{bot}")));
        match (self.by_bot.remove(bot), file, credential.filter(|path| path.exists())) {
            (Some((_, secret)), _, _) => ClientSecret::Environment(secret),
            (None, Some(file), _) => ClientSecret::File(file),
            (None, None, Some(credential)) => ClientSecret::File(credential),
            (None, None, None) => ClientSecret::Absent,
        }
    }

    /// # Errors
    /// Names a variable with the secret of a bot that the settings do not have.
    pub(super) fn finish(self) -> Result<(), SettingsError> {
        match self.by_bot.first_key_value() {
            None => Ok(()),
            Some((bot, (name, _))) => {
                Err(SettingsError::new(*name, format!("there is no bot `{}` in the settings", bot.escape_debug())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn file(text: &str) -> (tempfile::TempDir, ClientSecret) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, text).unwrap();
        (folder, ClientSecret::File(path))
    }

    #[test]
    fn the_file_is_read_again_each_time_and_line_ends_are_not_part_of_the_secret() {
        let (folder, secret) = file("first\r\n");
        assert_eq!(secret.read().unwrap().expose_secret(), "first");
        std::fs::write(folder.path().join("secret"), " rotated \n").unwrap();
        assert_eq!(secret.read().unwrap().expose_secret(), " rotated ");
    }

    #[test]
    fn a_file_that_holds_no_secret_is_named_with_the_cause() {
        let odd = "it holds more than one line, or what cannot be seen: save the secret alone, as plain text";
        let long = "x".repeat(4097);
        let cases = [
            ("\n", "it is empty"),
            (" \t\n", "it is empty"),
            ("first\nsecond\n", odd),
            ("\u{feff}secret", odd),
            (&long, "it is longer than 4096 bytes"),
        ];
        for (text, cause) in cases {
            let (_folder, secret) = file(text);
            let error = secret.read().unwrap_err();
            assert!(error.ends_with(&format!("/secret cannot be read: {cause}")), "{error}");
        }
        let folder = ClientSecret::File(std::env::temp_dir()).read().unwrap_err();
        assert!(folder.ends_with("it is no regular file"), "{folder}");
        let (folder, secret) = file("gone");
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(secret.read().unwrap_err().contains("No such file"));
    }

    #[test]
    fn the_longest_secret_is_read_whole() {
        let (_folder, secret) = file(&"x".repeat(4096));
        assert_eq!(secret.read().unwrap().expose_secret().len(), 4096);
    }

    #[test]
    fn a_file_is_open_where_any_right_is_everybodys() {
        let (folder, secret) = file("secret");
        let open = |mode| {
            std::fs::set_permissions(folder.path().join("secret"), std::fs::Permissions::from_mode(mode)).unwrap();
            secret.is_open_to_others()
        };
        assert_eq!([0o600, 0o640, 0o770, 0o604, 0o602, 0o601].map(open), [false, false, false, true, true, true]);
        assert!(!ClientSecret::Absent.is_open_to_others());
    }

    #[test]
    fn the_variable_comes_before_the_file_and_the_file_before_the_credential() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("client-secret.sales"), "credential").unwrap();
        let credentials = ("CREDENTIALS_DIRECTORY".to_owned(), folder.path().display().to_string());
        let named = Some(PathBuf::from("/named"));

        let both = [(variable("sales"), "variable".to_owned()), credentials.clone()].into_iter().collect();
        let secret = Secrets::of(&both).unwrap().take("sales", named.clone());
        assert_eq!(secret.read().unwrap().expose_secret(), "variable");

        let without = [credentials].into_iter().collect();
        let mut secrets = Secrets::of(&without).unwrap();
        assert!(matches!(secrets.take("sales", named), ClientSecret::File(path) if path == Path::new("/named")));
        assert_eq!(secrets.take("sales", None).read().unwrap().expose_secret(), "credential");
        assert!(matches!(secrets.take("other", None), ClientSecret::Absent));
    }

    #[test]
    fn a_variable_for_a_bot_that_is_not_there_is_refused_by_its_name() {
        let stray = [(variable("sales"), "secret".to_owned())].into_iter().collect();
        let mut secrets = Secrets::of(&stray).unwrap();
        secrets.take("support", None);
        let error = secrets.finish().unwrap_err().to_string();
        assert!(error.contains(&variable("sales")) && error.contains("no bot `sales`"), "{error}");
    }
}
