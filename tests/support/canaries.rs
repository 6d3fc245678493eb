//! What must be nowhere: looked for in everything that a daemon leaves behind or shows.
//!
//! Every world looks by itself, whatever its test is about: commands' output when they end, the pages before a daemon is
//! stopped, and all that is left when the world goes. [`World::assert_no_leaks`] looks at all of it in between.
//! When it goes, its bucket and its vendor tell as well what must never have happened: [`World::assert_nothing_done_amiss`].

use std::collections::BTreeMap;
use std::path::Path;

use super::world::{Daemon, World};

/// A text that must not be found, and what it is.
pub type Canaries = BTreeMap<String, &'static str>;
/// Something that may be read by people who must not read them.
type Place = (String, Vec<u8>);

/// The pages that a daemon serves.
pub const PAGES: [&str; 4] = ["/metrics", "/", "/healthz", "/readyz"];
/// Where the secrets are kept and the settings name them.
const KEEPERS: [&str; 2] = ["client-secret", "config.toml"];

impl World {
    /// The secrets of this world as they are now: the client secret, the bucket's keys, and of every token and every
    /// signed URL that was made so far what makes it one.
    pub fn canaries(&self) -> Canaries {
        let mut canaries = Canaries::new();
        canaries.insert(self.kore.options().client_secret, "the client secret");
        canaries.insert(self.s3.credentials().1, "the bucket's secret key");
        // The head of every token, whichever of its members comes first, and what is in every signed query.
        canaries.insert("eyJ0eXAiOi".to_owned(), "a token");
        canaries.insert("eyJhbGciOi".to_owned(), "a token");
        canaries.insert("s=InpqMWpn".to_owned(), "a signed URL");
        canaries.insert("InpqMWpn".to_owned(), "a URL's signature");
        canaries
    }

    /// Looks through the log, the queue with its write-ahead log, the pages, what commands print, and the bucket.
    pub async fn assert_no_leaks(&self, daemon: &Daemon, canaries: &Canaries) {
        let mut places = self.leavings();
        for page in PAGES {
            places.push((page.to_owned(), daemon.get(page).await.1.into_bytes()));
        }
        let mut commands = vec![vec!["status"], vec!["status", "--json"], vec!["config"]];
        let ids: Vec<_> = self.rows("SELECT session_id FROM sessions").await;
        let ids: Vec<String> = ids.into_iter().filter_map(|mut row| row.remove("session_id")?).collect();
        commands.extend(ids.iter().flat_map(|id| [vec!["show", id], vec!["show", id, "--json"]]));
        for command in commands {
            let output = self.run(&command);
            places.push((command.join(" "), [output.stdout, output.stderr].concat()));
        }
        assert_without(&places, canaries);
    }

    /// The log, the queue with its write-ahead log, whatever else is in the folder, and the bucket.
    fn leavings(&self) -> Vec<Place> {
        let mut places = Vec::new();
        files_below(self.folder.path(), &mut places);
        for (key, object) in self.s3.objects() {
            places.push((format!("the metadata of {key}"), format!("{key} {object:?}").into_bytes()));
            if key.rsplit('.').next() == Some("json") {
                places.extend(self.s3.body(&key).map(|body| (key, body.to_vec())));
            }
        }
        places
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that fails already says enough.
        if !std::thread::panicking() {
            assert_without(&self.leavings(), &self.canaries());
            self.assert_nothing_done_amiss();
        }
    }
}

fn files_below(folder: &Path, places: &mut Vec<Place>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files_below(&path, places);
        } else if entry.file_type().is_ok_and(|kind| kind.is_file()) && !KEEPERS.contains(&name.as_str()) {
            places.extend(std::fs::read(&path).ok().map(|bytes| (name, bytes)));
        }
    }
}

/// Fails if one of the texts is in one of the places.
pub fn assert_without(places: &[Place], canaries: &Canaries) {
    for (place, bytes) in places {
        let text = String::from_utf8_lossy(bytes);
        for (canary, what) in canaries {
            if let Some(at) = text.find(canary.as_str()) {
                let shown: String = text[..at].chars().rev().take(200).collect();
                panic!("{what} is in {place}, after {:?}", shown.chars().rev().collect::<String>());
            }
        }
    }
}
