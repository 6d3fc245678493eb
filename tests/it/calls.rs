//! Every external call, every fault, once, three times and until it is mended (FAULTS S1-S6, V3-V7, D1-D13).
//!
//! A row of the table is a fault at a call. The daemon works on a small and a large recording while it strikes. What
//! strikes for a number of times passes by itself; what strikes for ever is mended after a while. Then both sessions
//! are done, each object equals its source and was written once, no upload is left, and nobody was charged for what
//! was somebody else's.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::kore::{Answer, Cut, Framing, Outage, Quirk, Ranges, SourceFile, Timeline};
use crate::support::s3::{Fault, Lie, Op, Times};
use crate::support::scene::{PART, key, recording};
use crate::support::world::{World, id, until};

const SMALL: u32 = 1;
const LARGE: u32 = 2;
/// How long "for ever" lasts: several steps of `poll.error`.
const EVER: Duration = Duration::from_millis(1500);
/// As many worlds at once as do not starve each other.
const AT_ONCE: usize = 8;

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Often {
    Once,
    Thrice,
    ForEver,
}

const OFTEN: [Often; 3] = [Often::Once, Often::Thrice, Often::ForEver];

impl Often {
    fn times(self) -> Times {
        match self {
            Self::Once => Times::Next(1),
            Self::Thrice => Times::Next(3),
            Self::ForEver => Times::Forever,
        }
    }

    fn requests(self) -> u32 {
        match self {
            Self::Once => 1,
            Self::Thrice => 3,
            Self::ForEver => u32::MAX,
        }
    }
}

/// A world with its two files, and whatever keeps a fault on.
struct Case {
    name: String,
    world: World,
    files: [SourceFile; 2],
    /// Whether the fault is the row's own, and may be charged.
    charged: bool,
}

impl Case {
    async fn new(name: String, files: [SourceFile; 2]) -> Self {
        let mut world = World::in_parts().await;
        world.set("log.level", "\"info\"").set("poll.timeout", "\"1s\"").set("bucket.timeout", "\"1s\"");
        for (number, file) in [SMALL, LARGE].into_iter().zip(&files) {
            world.kore.session(&id(number), Timeline::ready([file.clone()]));
        }
        Self { name, world, files, charged: false }
    }

    /// Works until both rows are done; `mend` is called once "for ever" is over.
    async fn play(self, often: Often, mend: impl FnOnce(&World)) {
        let Self { name, world, files, charged } = self;
        assert!(world.run(&["enqueue", &id(SMALL), &id(LARGE)]).status.success(), "{name}");
        let log = std::fs::File::create(world.path("log")).unwrap();
        let mut child = world.command(&["run", "--until-empty"]).stderr(log).spawn().unwrap();
        if often == Often::ForEver {
            pause(EVER).await;
            let sql = "SELECT * FROM sessions WHERE state NOT IN ('pending', 'done')";
            assert_eq!(world.rows(sql).await, [], "{name}: ended by it");
            mend(&world);
        }
        let ended = until(|| child.try_wait().unwrap()).await;
        let _ = child.kill();
        let ended = ended.unwrap_or_else(|| panic!("{name}: still pending\n{}", world.log()));
        assert_eq!(ended.code(), Some(0), "{name}: {}", world.log());
        for (number, file) in [SMALL, LARGE].into_iter().zip(&files) {
            world.assert_holds(&key(&id(number), file.name()), file);
            assert_eq!(world.column(&id(number), "state").await.as_deref(), Some("done"), "{name}");
            let failures = world.column(&id(number), "failures").await;
            assert!(charged || failures.as_deref() == Some("0"), "{name}: charged {failures:?}\n{}", world.log());
        }
        assert_eq!(world.s3.keys().len(), 4, "{name}: {:?}", world.s3.keys());
        // What could not be aborted while the bucket was away is swept by the next start.
        if !world.s3.open_uploads().is_empty() {
            let daemon = world.daemon().await;
            until(|| world.s3.open_uploads().is_empty().then_some(())).await;
            daemon.stop().await;
        }
        world.assert_clean();
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a fault lasts is on the machine's clock")]
async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

fn files() -> [SourceFile; 2] {
    [SourceFile::new("small.wav", recording(1, 3000)), SourceFile::new("large.wav", recording(2, 2 * PART + 77))]
}

/// Plays cases side by side, some at a time.
async fn all<F: Future<Output = ()>>(cases: Vec<F>) {
    let mut cases = cases.into_iter();
    loop {
        let some: Vec<F> = cases.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            return;
        }
        join_all(some).await;
    }
}

/// S3's calls, and what each of them can meet.
fn bucket_faults() -> Vec<(Op, Fault)> {
    let calls = [
        Op::CreateUpload,
        Op::UploadPart,
        Op::CompleteUpload,
        Op::PutObject,
        Op::HeadObject,
        Op::AbortUpload,
        Op::ListUploads,
    ];
    let each = [
        Fault::SlowDown,
        Fault::Status(500, "InternalError"),
        Fault::Status(403, "AccessDenied"),
        Fault::DropBeforeApply,
        Fault::DropAfterApply,
        Fault::Hang(Duration::from_secs(3)),
    ];
    let mut table: Vec<(Op, Fault)> =
        calls.iter().flat_map(|op| each.iter().map(|fault| (*op, fault.clone()))).collect();
    table.extend([
        (Op::CompleteUpload, Fault::ErrorIn200),
        (Op::PutObject, Fault::FlipBit),
        (Op::UploadPart, Fault::FlipBit),
        (Op::HeadObject, Fault::LieOnHead(Lie::Bytes(1))),
        (Op::HeadObject, Fault::LieOnHead(Lie::WrongChecksum)),
        (Op::HeadObject, Fault::LieOnHead(Lie::NoChecksum)),
    ]);
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_of_the_bucket_fails_once_thrice_or_for_ever_heals_without_a_trace() {
    let mut cases = Vec::new();
    for (op, fault) in bucket_faults() {
        for often in OFTEN {
            let fault = fault.clone();
            cases.push(async move {
                let mut files = files();
                // An abort needs something to be aborted: a download that breaks off for good, once.
                if matches!(op, Op::AbortUpload | Op::ListUploads) {
                    let [small, large] = files;
                    files = [small, large.next(4, Quirk::Cut { after: PART + 5, how: Cut::Rst })];
                }
                let case = Case::new(format!("{op:?} {fault:?} {often:?}"), files).await;
                case.world.s3.fail_next(op, often.times(), fault);
                case.play(often, |world| world.s3.heal()).await;
            });
        }
    }
    all(cases).await;
}

/// What can befall a poll, and whether it is the row's own fault.
fn poll_faults() -> Vec<(&'static str, Answer, bool)> {
    vec![
        ("500", Answer::error(500, "Internal Server Error"), false),
        ("503", Answer::error(503, "Service Unavailable"), false),
        ("429", Answer::rate_limited().retry_after("1"), false),
        ("403 of the limit", Answer::forbidden_for_rate().retry_after("1"), false),
        ("401", Answer::error(401, "Permission denied. Scope is incorrect!"), false),
        ("403", Answer::error(403, "Forbidden"), false),
        ("reset", Answer::vanish(Cut::Rst), false),
        ("closed", Answer::vanish(Cut::Fin), false),
        ("silent", Answer::hang(), false),
        ("404", Answer::error(404, "Session not found"), true),
        ("412", Answer::error(412, "Validation errors"), true),
        ("200 with errors", Answer::error(200, "Something"), true),
        ("HTML", Answer::page(200, "text/html", "<html>maintenance</html>"), true),
        ("cut JSON", Answer::page(200, "application/json", "{\"status\":\"succ"), true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_kore_answers_once_thrice_or_for_ever_heals_without_a_trace() {
    let mut cases = Vec::new();
    for (name, answer, charged) in poll_faults() {
        for often in OFTEN {
            let answer = answer.clone();
            cases.push(async move {
                let mut case = Case::new(format!("poll {name} {often:?}"), files()).await;
                case.charged = charged;
                if often == Often::ForEver {
                    case.world.kore.api_outage(Outage::Says(answer));
                } else {
                    for (number, file) in [SMALL, LARGE].into_iter().zip(&case.files) {
                        let timeline = Timeline::new().polls(often.requests(), answer.clone());
                        case.world.kore.session(&id(number), timeline.finally(Answer::success([file.clone()])));
                    }
                }
                case.play(often, |world| world.kore.api_outage(None)).await;
            });
        }
    }
    all(cases).await;
}

/// What can befall a download, and whether it is the row's own fault. Those that are about ranges break the download
/// off first.
fn file_faults() -> Vec<(&'static str, Vec<Quirk>, bool)> {
    let cut = |how| Quirk::Cut { after: 2000, how };
    vec![
        ("500", vec![Quirk::Code(500)], false),
        ("503", vec![Quirk::Code(503)], false),
        ("404", vec![Quirk::Code(404)], true),
        ("403", vec![Quirk::Code(403)], true),
        ("no head", vec![Quirk::Silent], false),
        ("reset before the head", vec![Quirk::Vanish(Cut::Rst)], false),
        ("closed before the head", vec![Quirk::Vanish(Cut::Fin)], false),
        ("cut by FIN", vec![cut(Cut::Fin)], true),
        ("cut by RST", vec![cut(Cut::Rst)], true),
        ("cut chunked", vec![Quirk::Framed(Framing::Chunked), cut(Cut::Fin)], true),
        ("stalled", vec![Quirk::Stall { after: 2000 }], true),
        ("gzip", vec![Quirk::Gzip], true),
        ("a page", vec![Quirk::Page { content_type: "text/html", text: "<html>" }], true),
        ("204", vec![Quirk::NoContent], true),
        ("range ignored", vec![cut(Cut::Rst), Quirk::Ranges(Ranges::Ignored)], true),
        ("range shifted", vec![cut(Cut::Rst), Quirk::Ranges(Ranges::Shifted)], true),
        ("range misnamed", vec![cut(Cut::Rst), Quirk::Ranges(Ranges::Misnamed)], true),
        ("range unsatisfiable", vec![cut(Cut::Rst), Quirk::Ranges(Ranges::Unsatisfiable)], true),
        ("range unasked", vec![Quirk::Ranges(Ranges::Unasked)], true),
        ("another validator", vec![cut(Cut::Rst), Quirk::NoETag], true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_download_meets_once_or_thrice_heals_without_a_trace() {
    let mut cases = Vec::new();
    for (name, quirks, charged) in file_faults() {
        for often in [Often::Once, Often::Thrice] {
            // Text three times is what a suspect file is; that is told elsewhere.
            if name == "a page" && often == Often::Thrice {
                continue;
            }
            let quirks = quirks.clone();
            cases.push(async move {
                let bend = |file: SourceFile| {
                    quirks.iter().fold(file, |file, quirk| file.next(often.requests(), quirk.clone()))
                };
                let [small, large] = files();
                let mut case = Case::new(format!("file {name} {often:?}"), [bend(small), bend(large)]).await;
                case.charged = charged;
                case.play(often, |_| {}).await;
            });
        }
    }
    all(cases).await;
}
