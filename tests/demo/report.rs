//! What is there at the end: the bucket, the sidecars, and every object against its source.

use std::collections::BTreeMap;

use crate::calls::Calls;
use crate::queue::{Outside, Seen, count, size};
use crate::scene::Scene;
use crate::support::audit::{Checked, audit, newest_sidecar};

/// So many objects are listed one by one.
const MOST_LISTED: usize = 60;

/// Says whether every session is in the bucket, whole.
pub(crate) async fn tell(scene: &Scene, calls: &Calls, outside: &mut Outside) -> anyhow::Result<bool> {
    let rows = outside.look().await?;
    let checked = audit(&scene.queue, &scene.s3, &calls.sources()).await;
    list_bucket(scene);
    show_sidecar(scene, calls);
    show_checks(&checked);
    show_resumed(scene, calls);
    let is_proven = conclude(&rows, &checked);
    scene.leave();
    Ok(is_proven)
}

fn list_bucket(scene: &Scene) {
    let objects = scene.s3.objects();
    println!("\nThe bucket: {}", count(i64::try_from(objects.len()).unwrap_or(i64::MAX), "object"));
    let mut folders: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for (key, object) in objects.iter().take(MOST_LISTED) {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        folders.entry(folder).or_default().push((name, object.bytes));
    }
    for (folder, files) in folders {
        println!("\n  {folder}/");
        for (name, bytes) in files {
            println!("  {bytes:>12}  {name}");
        }
    }
    if objects.len() > MOST_LISTED {
        println!("\n  and {} more", objects.len() - MOST_LISTED);
    }
}

fn show_sidecar(scene: &Scene, calls: &Calls) {
    let sidecars = calls.by_id.keys().filter(|id| newest_sidecar(&scene.s3, id).is_some()).count();
    println!("\nThe sidecars: {} of {}, one a session; this is the first:\n", sidecars, calls.by_id.len());
    if let Some(sidecar) = calls.by_id.keys().find_map(|id| newest_sidecar(&scene.s3, id)) {
        for line in String::from_utf8_lossy(&sidecar).lines() {
            println!("  {line}");
        }
    }
}

fn show_checks(checked: &[Checked]) {
    println!("\nEach recording: SHA-256 of what Kore served, against the object, the table and the sidecar\n");
    for file in checked {
        let (verdict, id) = (if file.fault.is_some() { "DIFFERS" } else { "same" }, file.session.escape_debug());
        println!("  {verdict:7}  {}  {:>10}  {id}/{}", file.sha256, file.bytes, file.file_name.escape_debug());
        if let Some(fault) = &file.fault {
            println!("           {fault}");
        }
        if let Some(why) = &file.suspect {
            println!("           suspect: {why}");
        }
    }
}

/// Downloads that broke off, as the file host saw them.
fn show_resumed(scene: &Scene, calls: &Calls) {
    let served = scene.kore.files_served();
    for (id, file) in calls.by_id.iter().flat_map(|(id, call)| call.files.iter().map(move |file| (id, file))) {
        let ranges: Vec<_> = served.iter().filter(|request| request.path == file.path()).collect();
        if let [first, .., last] = ranges.as_slice()
            && first.bytes < file.body().len()
        {
            let range = last.range.as_deref().unwrap_or("all of it again");
            println!(
                "\n{}/{} was broken off after {} bytes; the daemon then asked for {range}.",
                id,
                file.name(),
                first.bytes
            );
        }
    }
}

fn conclude(rows: &[Seen], checked: &[Checked]) -> bool {
    let of = |state: &str| rows.iter().filter(|row| row.state == state).count();
    let (done, suspect) = (of("done"), of("suspect"));
    let faults = checked.iter().filter(|file| file.fault.is_some()).count();
    let bytes: i64 = rows.iter().map(|row| row.bytes).sum();
    let files = count(i64::try_from(checked.len()).unwrap_or(i64::MAX), "recording");
    println!();
    if suspect > 0 {
        let sessions = count(i64::try_from(suspect).unwrap_or(i64::MAX), "session");
        println!("{sessions} with a file that is no sound recording: kept under suspect/, and never called done.");
    }
    let is_proven = faults == 0 && !rows.is_empty() && done + suspect == rows.len();
    if is_proven {
        println!("{done} of {} sessions done; {files}, {}: every object equals its source.", rows.len(), size(bytes));
    } else {
        println!(
            "NOT PROVEN: {done} of {} sessions are done, {faults} of {files} differ from their source.",
            rows.len()
        );
    }
    is_proven
}
