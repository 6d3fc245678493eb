//! The proof that a done row is done: its sidecar, and under each of its keys the source's very bytes.

use std::collections::{BTreeMap, BTreeSet};

use kore_archiver::receipt::Sha256;
use serde::Deserialize;

use crate::script::File;
use crate::world::{State, World};

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) file_name: String,
    pub(crate) key: String,
    pub(crate) bytes: i64,
    pub(crate) sha256: String,
}

#[derive(Deserialize)]
struct Sidecar {
    session_id: String,
    recordings: Vec<Entry>,
}

/// What the newest sidecar of the session lists of these files, if it lists all of them, and each that it lists is whole
/// in the bucket. It may have more of the session's files, where the list shrank since: then perhaps those of a process
/// that was taken over before its results were written, which the table does not know.
pub(crate) fn of_done(world: &World, id: &str, files: &[usize]) -> Result<Vec<Entry>, String> {
    let state = world.lock();
    if files.is_empty() {
        return Err("Kore listed no file to this attempt".into());
    }
    // A row that was inserted again at another time has another folder.
    let mut why = "it has no sidecar".to_owned();
    for sidecar in newest_sidecars(&state, id) {
        match matches(&state, id, files, &sidecar) {
            Ok(()) => {
                let script = &state.kore[id].script.files;
                let of_these = |entry: &Entry| files.iter().any(|place| is_of(entry, &script[*place]));
                return Ok(sidecar.recordings.into_iter().filter(of_these).collect());
            }
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

/// One a folder.
fn newest_sidecars(state: &State, id: &str) -> Vec<Sidecar> {
    let mut newest: BTreeMap<&str, (u32, &[u8])> = BTreeMap::new();
    for (key, body) in &state.bucket.objects {
        let Some((folder, name)) = key.rsplit_once('/').filter(|(folder, _)| folder.ends_with(id)) else { continue };
        let number = match name.strip_prefix("session").and_then(|rest| rest.strip_suffix(".json")) {
            Some("") => 1,
            Some(rest) => rest.trim_start_matches('-').parse().unwrap_or(0),
            None => 0,
        };
        if number > newest.get(folder).map_or(0, |(number, _)| *number) {
            newest.insert(folder, (number, body));
        }
    }
    newest.values().filter_map(|(_, body)| serde_json::from_slice(body).ok()).collect()
}

fn matches(state: &State, id: &str, files: &[usize], sidecar: &Sidecar) -> Result<(), String> {
    let script = &state.kore[id].script.files;
    if sidecar.session_id != id {
        return Err(format!("its sidecar is of {}", sidecar.session_id));
    }
    let mut listed = BTreeSet::new();
    for entry in &sidecar.recordings {
        let place = script.iter().position(|file| is_of(entry, file));
        let place = place.ok_or_else(|| format!("its sidecar lists {} as none of its files is", entry.file_name))?;
        if state.bucket.objects.get(&entry.key) != Some(&script[place].body) {
            return Err(format!("other bytes, or none, are under {}", entry.key));
        }
        if !listed.insert(place) {
            return Err(format!("its sidecar lists file {place} twice"));
        }
    }
    let missing = files.iter().find(|place| !listed.contains(place));
    missing.map_or(Ok(()), |place| Err(format!("its sidecar does not list file {place}")))
}

fn is_of(entry: &Entry, file: &File) -> bool {
    let (bytes, sha256) = (i64::try_from(file.body.len()).unwrap_or(-1), Sha256::of(&file.body).to_string());
    entry.file_name == file.name && entry.bytes == bytes && entry.sha256 == sha256
}
