//! The queue: is it there, whole, writable, and open to its group and to nobody else.
//!
//! Modes are judged as CONTRACT section 2 has them (folder 2770, files 0660), because who may insert and who may read
//! depends on nothing else. SQLite gives `-wal` and `-shm` the modes of the file; they are looked at all the same, for
//! one wrong `chmod` or a copy made as root is enough to lock a whole group out.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::report::Report;
use crate::queue::{Desk, QueueError, STATELESS};

/// The group that the package makes (CONTRACT section 1).
const GROUP: &str = "kore-archiver";
/// Less room than this lets no batch of results and no write-ahead log grow.
const LEAST_ROOM: u64 = 256 << 20;

/// The queue, if it can be used.
pub(super) async fn check(report: &mut Report, path: &Path) -> Result<Desk, QueueError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder_facts = fs::metadata(folder).ok();
    if let Some(facts) = &folder_facts {
        of_folder(report, folder, facts);
        of_disk(report, folder);
    }
    // Before it is opened: that may make two of them.
    if path.exists() {
        of_files(report, path, folder_facts.as_ref());
    }
    let looked = match Desk::open(path).await {
        Ok(desk) => of_contents(report, desk).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &looked {
        let advice = match error {
            QueueError::Busy(_) => "end that program's transaction (`fuser -v` on the queue names it), and try again",
            _ if path.exists() => "see the message; nothing was changed",
            _ => "start the daemon, or enqueue a first session: both create it",
        };
        report.fault("queue", &error.to_string(), advice);
    }
    looked
}

fn of_folder(report: &mut Report, folder: &Path, facts: &Metadata) {
    let (what, shown) = ("queue folder", folder.display());
    let mode = facts.mode() & 0o7777;
    let wrong = if mode & 0o007 != 0 {
        "others than its user and group may look into it"
    } else if mode & 0o070 != 0o070 {
        "its group cannot work in it, and so cannot insert"
    } else if mode & 0o2000 == 0 {
        "files that are made in it do not get its group (setgid is missing)"
    } else {
        of_group(report, what, folder, facts);
        return;
    };
    report.fault(what, &format!("{shown} is {mode:04o}: {wrong}"), &format!("chmod 2770 {shown}"));
}

fn of_group(report: &mut Report, what: &str, folder: &Path, facts: &Metadata) {
    let shown = folder.display();
    let group = group_name(facts.gid());
    if group.as_deref() != Some(GROUP) && group_exists(GROUP) {
        let group = group.unwrap_or_else(|| facts.gid().to_string());
        let detail = format!("{shown} belongs to the group {group}, so members of {GROUP} cannot insert");
        return report.fault(what, &detail, &format!("chgrp -R {GROUP} {shown}"));
    }
    let group = group.unwrap_or_else(|| facts.gid().to_string());
    report.ok(what, &format!("{shown} is 2770, of the group {group}"));
}

fn of_disk(report: &mut Report, folder: &Path) {
    let what = "queue disk";
    let room = match rustix::fs::statvfs(folder) {
        Ok(facts) => facts.f_bavail.saturating_mul(facts.f_frsize),
        Err(error) => return report.note(what, &format!("its free space cannot be seen: {error}")),
    };
    let shown = shown(room);
    if room < LEAST_ROOM {
        let detail = format!("{shown} are free at {}", folder.display());
        report.fault(what, &detail, "make room: a full disk pauses the queue");
    } else {
        report.ok(what, &format!("{shown} are free"));
    }
}

/// As people say it: `512MiB`, `76.5GiB`.
fn shown(bytes: u64) -> String {
    let (unit, name) = if bytes < 1 << 30 {
        return format!("{}MiB", bytes >> 20);
    } else if bytes < 1 << 40 {
        (1 << 30, "GiB")
    } else {
        (1 << 40, "TiB")
    };
    let tenths = u128::from(bytes) * 10 / unit;
    format!("{}.{}{name}", tenths / 10, tenths % 10)
}

/// The database and the two files that SQLite keeps beside it.
fn of_files(report: &mut Report, path: &Path, folder: Option<&Metadata>) {
    let mut is_well = true;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let file = PathBuf::from(name);
        if let Ok(facts) = fs::metadata(&file)
            && let Some((detail, advice)) = wrong_with(&file, &facts, folder)
        {
            is_well = false;
            report.fault("queue file", &detail, &advice);
        }
    }
    if is_well {
        report.ok("queue file", &format!("{} and what belongs to it: 0660, of the folder's group", path.display()));
    }
}

fn wrong_with(file: &Path, facts: &Metadata, folder: Option<&Metadata>) -> Option<(String, String)> {
    let (mode, shown) = (facts.mode() & 0o777, file.display());
    if mode & 0o060 != 0o060 {
        return Some((format!("{shown} is {mode:04o}: its group cannot insert"), format!("chmod 0660 {shown}")));
    }
    if mode & 0o007 != 0 {
        return Some((format!("{shown} is {mode:04o}: everybody may use it"), format!("chmod 0660 {shown}")));
    }
    let group = folder?.gid();
    if facts.gid() == group {
        return None;
    }
    let name = group_name(group).unwrap_or_else(|| group.to_string());
    Some((format!("{shown} has another group than its folder"), format!("chgrp {name} {shown}")))
}

/// Reads it whole and takes its write lock for a moment.
async fn of_contents(report: &mut Report, desk: Desk) -> Result<Desk, QueueError> {
    match desk.prove().await {
        Ok(version) => report.ok("queue", &format!("it is whole, and can be written to (SQLite {version})")),
        Err(QueueError::Busy(_)) => {
            report.note("queue", "it is whole; another program is writing, so this could not be tried now");
        }
        Err(error) => return Err(error),
    }
    let stateless = desk.count_stateless().await?;
    if stateless > 0 {
        let detail = format!("rows in no state that there is, on which nobody works: {stateless}");
        let advice = format!("UPDATE sessions SET state = 'pending' WHERE {STATELESS}");
        report.fault("queue rows", &detail, &advice);
    }
    if let Some(holder) = desk.daemon() {
        report.note("daemon", &format!("one works on this queue: {holder}"));
    }
    Ok(desk)
}

/// Without the C library's name service: local groups are what a package makes.
fn groups() -> String {
    fs::read_to_string("/etc/group").unwrap_or_default()
}

fn group_name(id: u32) -> Option<String> {
    let id = id.to_string();
    groups().lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

fn group_exists(name: &str) -> bool {
    groups().lines().any(|line| line.split(':').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_told_as_people_say_it() {
        let told = [0, LEAST_ROOM, 78_372 << 20, 1 << 30, (1 << 40) - 1, 5 << 39, u64::MAX].map(shown);
        assert_eq!(told, ["0MiB", "256MiB", "76.5GiB", "1.0GiB", "1023.9GiB", "2.5TiB", "16777215.9TiB"]);
    }
}
