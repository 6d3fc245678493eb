//! Every external call, every fault, once, three times and until it is mended (FAULTS S1-S6, V3-V7, D1-D13).
//!
//! A row of the table is a fault at a call. The daemon works on a small and a large recording while it strikes. What
//! strikes for a number of times passes by itself; what strikes for ever is mended after a while. Then both sessions
//! are done, each object equals its source and was written once, no upload is left, and nobody was charged for what
//! was somebody else's.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::kore::{Answer, Cut, Framing, Outage, Quirk, Ranges, SourceFile, Timeline};
use crate::support::rows::rest;
use crate::support::s3::{Fault, Lie, Op, Times};
use crate::support::scene::{key, small_and_large};
use crate::support::world::{World, id, until};

const SMALL: u32 = 1;
const LARGE: u32 = 2;
/// How long "for ever" lasts: several steps of `poll.error`.
const EVER_MILLIS: u64 = 1500;
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

    /// How many requests must have met it by the end.
    fn at_least(self) -> usize {
        if self == Self::Thrice { 3 } else { 1 }
    }

    /// The first requests for the file are bent like this.
    fn bend(self, file: SourceFile, quirk: &Quirk) -> SourceFile {
        match self {
            Self::Once => file.next(1, quirk.clone()),
            Self::Thrice => file.next(3, quirk.clone()),
            Self::ForEver => file.always(quirk.clone()),
        }
    }

    /// The requests after the first one are bent like this, as many as there can be that go on with one of those.
    fn bend_resumed(self, file: SourceFile, quirk: &Quirk) -> SourceFile {
        match self {
            Self::Once => file.nth(1, quirk.clone()),
            Self::Thrice => (1..=3).fold(file, |file, number| file.nth(number, quirk.clone())),
            Self::ForEver => file.after(1, quirk.clone()),
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
    /// Whether nothing can be done while it lasts.
    stops_all: bool,
}

impl Case {
    async fn new(name: String, files: [SourceFile; 2]) -> Self {
        let mut world = World::in_parts().await;
        world.set("log.level", "\"info\"").set("poll.timeout", "\"1s\"").set("bucket.timeout", "\"1s\"");
        for (number, file) in [SMALL, LARGE].into_iter().zip(&files) {
            world.kore.session(&id(number), Timeline::ready([file.clone()]));
        }
        Self { name, world, files, charged: false, stops_all: false }
    }

    /// Works until both rows are done, and no upload is left; `mend` is called once "for ever" is over, which begins when
    /// the fault `is_met`.
    async fn play(&self, often: Often, is_met: impl Fn() -> bool, mend: impl FnOnce()) {
        let Self { name, world, files, charged, stops_all } = self;
        assert!(world.run(&["enqueue", &id(SMALL), &id(LARGE)]).status.success(), "{name}");
        let log = std::fs::File::create(world.path("log")).unwrap();
        let mut child = world.command(&["run", "--until-empty"]).stderr(log).spawn().unwrap();
        if often == Often::ForEver {
            let met = until(|| is_met().then_some(())).await;
            assert!(met.is_some(), "{name}: not met\n{}", world.log());
            rest(EVER_MILLIS).await;
            let going_on = if *stops_all { "('pending')" } else { "('pending', 'done')" };
            let sql = format!("SELECT * FROM sessions WHERE state NOT IN {going_on}");
            assert_eq!(world.rows(&sql).await, [], "{name}: ended by it");
            mend();
        }
        let ended = until(|| child.try_wait().unwrap()).await;
        let _ = child.kill();
        let ended = ended.unwrap_or_else(|| panic!("{name}: still pending\n{}", world.log()));
        assert_eq!(ended.code(), Some(0), "{name}: {}", world.log());
        for (number, file) in [SMALL, LARGE].into_iter().zip(files) {
            world.assert_holds(&key(&id(number), file.name()), file);
            assert_eq!(world.column(&id(number), "state").await.as_deref(), Some("done"), "{name}");
            let failures = world.column(&id(number), "failures").await;
            assert!(*charged || failures.as_deref() == Some("0"), "{name}: charged {failures:?}\n{}", world.log());
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

    /// How many requests of this kind met what was armed.
    fn struck(&self, op: Op) -> usize {
        self.world.s3.calls().iter().filter(|call| call.op == op && call.faulted).count()
    }
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
            let is_found = (op, &fault) == (Op::CompleteUpload, &Fault::DropAfterApply);
            cases.push(async move {
                let case = Case::new(format!("{op:?} {fault:?} {often:?}"), small_and_large()).await;
                if matches!(op, Op::AbortUpload | Op::ListUploads) {
                    // An upload that was created without an answer is looked for, and aborted.
                    case.world.s3.fail_next(Op::CreateUpload, Times::Next(1), Fault::DropAfterApply);
                }
                case.world.s3.fail_next(op, often.times(), fault);
                case.play(often, || case.struck(op) > 0, || case.world.s3.heal()).await;
                // The one completion is found by a look once it was applied, and not sent again.
                let at_least = if is_found { 1 } else { often.at_least() };
                // One that hangs is noted when the fake has given it up.
                let met = until(|| (case.struck(op) >= at_least).then_some(())).await;
                assert!(met.is_some(), "{}: met by {} requests", case.name, case.struck(op));
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
                let mut case = Case::new(format!("poll {name} {often:?}"), small_and_large()).await;
                (case.charged, case.stops_all) = (charged, true);
                if often == Often::ForEver {
                    case.world.kore.api_outage(Outage::Says(answer));
                } else {
                    for (number, file) in [SMALL, LARGE].into_iter().zip(&case.files) {
                        let polls = u32::try_from(often.at_least()).unwrap();
                        let timeline = Timeline::new().polls(polls, answer.clone());
                        case.world.kore.session(&id(number), timeline.finally(Answer::success([file.clone()])));
                    }
                }
                let is_met = || !case.world.kore.polls().is_empty();
                case.play(often, is_met, || case.world.kore.api_outage(None)).await;
                // The last one was answered well. In an outage one row may be asked about for both.
                let mut polls = [SMALL, LARGE].map(|number| case.world.kore.polls_of(&id(number)).len());
                polls.sort_unstable();
                let [fewest, most] = polls;
                let enough = if often == Often::ForEver { most } else { fewest };
                assert!(enough > often.at_least(), "{}: polled {polls:?} times", case.name);
            });
        }
    }
    all(cases).await;
}

/// What can befall a download.
struct FileFault {
    name: &'static str,
    /// Bends a request for the file.
    at_first: Vec<Quirk>,
    /// Bends the requests that go on with such a one.
    resumed: Option<Vec<Quirk>>,
    /// Whether it is the row's own fault.
    charged: bool,
}

const CUT: Quirk = Quirk::Cut { after: 500, how: Cut::Rst };

fn file_faults() -> Vec<FileFault> {
    let plain = |name, quirk, charged| FileFault { name, at_first: vec![quirk], resumed: None, charged };
    let resumed =
        |name, quirks: &[Quirk]| FileFault { name, at_first: vec![CUT], resumed: Some(quirks.to_vec()), charged: true };
    let chunked = vec![Quirk::Framed(Framing::Chunked), Quirk::Cut { after: 500, how: Cut::Fin }];
    vec![
        plain("500", Quirk::Code(500), false),
        plain("503", Quirk::Code(503), false),
        plain("404", Quirk::Code(404), true),
        plain("403", Quirk::Code(403), true),
        plain("no head", Quirk::Silent, false),
        plain("reset before the head", Quirk::Vanish(Cut::Rst), false),
        plain("closed before the head", Quirk::Vanish(Cut::Fin), false),
        plain("cut by FIN", Quirk::Cut { after: 500, how: Cut::Fin }, true),
        plain("cut by RST", CUT, true),
        FileFault { name: "cut chunked", at_first: chunked, resumed: None, charged: true },
        plain("stalled", Quirk::Stall { after: 500 }, true),
        plain("gzip", Quirk::Gzip, true),
        plain("a page", Quirk::Page { content_type: "text/html", text: "<html>" }, true),
        plain("204", Quirk::NoContent, true),
        plain("range unasked", Quirk::Ranges(Ranges::Unasked), true),
        FileFault { name: "no validator", at_first: vec![CUT, Quirk::NoETag], resumed: None, charged: true },
        resumed("range ignored", &[Quirk::Ranges(Ranges::Ignored)]),
        resumed("range shifted", &[Quirk::Ranges(Ranges::Shifted)]),
        resumed("range misnamed", &[Quirk::Ranges(Ranges::Misnamed)]),
        resumed("range unsatisfiable", &[Quirk::Ranges(Ranges::Unsatisfiable)]),
        resumed("another validator", &[Quirk::Ranges(Ranges::Blindly), Quirk::ETag("\"other\"")]),
        resumed("range cut", &[CUT]),
        resumed("range 500", &[Quirk::Code(500)]),
        resumed("range reset", &[Quirk::Vanish(Cut::Rst)]),
        resumed("range silent", &[Quirk::Silent]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_download_meets_once_thrice_or_for_ever_heals_without_a_trace() {
    let mut cases = Vec::new();
    for FileFault { name, at_first, resumed, charged } in file_faults() {
        for often in OFTEN {
            // Text three times is what a suspect file is; that is told elsewhere.
            if name == "a page" && often != Often::Once {
                continue;
            }
            let (at_first, resumed) = (at_first.clone(), resumed.clone());
            cases.push(async move {
                let bend = |file: SourceFile| {
                    let file = at_first.iter().fold(file, |file, quirk| often.bend(file, quirk));
                    resumed.iter().flatten().fold(file, |file, quirk| often.bend_resumed(file, quirk))
                };
                let mut case = Case::new(format!("file {name} {often:?}"), small_and_large().map(bend)).await;
                (case.charged, case.stops_all) = (charged, true);
                let are_met = || case.files.iter().all(|file| file.requests() > 0);
                case.play(often, are_met, || case.files.iter().for_each(SourceFile::heal)).await;
                for file in &case.files {
                    // By the number of a request it is known how it was bent; the last one was served well.
                    let requests = file.requests() as usize;
                    assert!(requests > often.at_least(), "{}: fetched {requests} times", case.name);
                    assert!(resumed.is_none() || case.goes_on(file, often), "{}: not gone on with", case.name);
                }
            });
        }
    }
    all(cases).await;
}

impl Case {
    /// Whether a request that asked for the rest of the file was among those that were bent.
    fn goes_on(&self, file: &SourceFile, often: Often) -> bool {
        let served = self.world.kore.files_served();
        let mut requests = served.iter().filter(|served| served.path == file.path());
        let first = requests.position(|served| served.range.is_some());
        first.is_some_and(|number| (1..=often.at_least()).contains(&number))
    }
}
