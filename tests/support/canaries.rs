//! What must be nowhere: looked for in everything that a daemon leaves behind or shows.

use std::collections::BTreeMap;

use super::world::{Daemon, World};

/// A text that must not be found, and what it is.
pub type Canaries = BTreeMap<String, &'static str>;

impl World {
    /// The secrets of this world as they are now: the client secret, the bucket's keys, and of every token and every
    /// signed URL that was made so far what makes it one.
    pub fn canaries(&self) -> Canaries {
        let mut canaries = Canaries::new();
        canaries.insert(self.kore.options().client_secret, "the client secret");
        canaries.insert(self.s3.credentials().1, "the bucket's secret key");
        // The head of every token, and the parts of every signed query that are in all of them.
        canaries.insert("eyJ".to_owned(), "a token");
        canaries.insert("s=InpqMWpn".to_owned(), "a signed URL");
        canaries.insert("InpqMWpn".to_owned(), "a URL's signature");
        canaries
    }

    /// Looks through the log, the queue with its write-ahead log, the pages, what commands print, and the bucket.
    pub async fn assert_no_leaks(&self, daemon: &Daemon, canaries: &Canaries) {
        let mut places: Vec<(String, Vec<u8>)> = vec![("the log".into(), self.log().into_bytes())];
        for name in ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"] {
            places.extend(std::fs::read(self.path(name)).ok().map(|bytes| (name.to_owned(), bytes)));
        }
        for page in ["/metrics", "/", "/healthz", "/readyz"] {
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
        for (key, object) in self.s3.objects() {
            places.push((format!("the metadata of {key}"), format!("{key} {object:?}").into_bytes()));
            if key.ends_with(".json") {
                places.push((key.clone(), self.s3.body(&key).expect("it is listed").to_vec()));
            }
        }
        for (place, bytes) in &places {
            let text = String::from_utf8_lossy(bytes);
            for (canary, what) in canaries {
                if let Some(at) = text.find(canary.as_str()) {
                    let shown: String = text[..at].chars().rev().take(200).collect();
                    panic!("{what} is in {place}, after {:?}", shown.chars().rev().collect::<String>());
                }
            }
        }
    }
}
