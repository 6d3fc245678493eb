//! Secrets are in no log, table, page, metric or object, whatever happens; strangers' text is escaped; files are closed
//! to others.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::kore::{Answer, Cut, Quirk, SourceFile, Target, Timeline};
use crate::support::s3::{Fault, Op, Times};
use crate::support::scene::{PART, key, recording};
use crate::support::world::{World, id};

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_anywhere_after_errors_of_every_kind_at_the_loudest_level() {
    let mut world = World::in_parts().await;
    world.set("poll.timeout", "\"1s\"").set("transfer.stall_window", "\"1s\"").set("bucket.timeout", "\"2s\"");
    let file = |number: u64| SourceFile::new("a.wav", recording(number, 2 * PART + number));
    let fetched = [
        Quirk::Cut { after: PART + 5, how: Cut::Rst },
        Quirk::Stall { after: 1000 },
        Quirk::Silent,
        Quirk::Vanish(Cut::Fin),
        Quirk::Code(403),
        Quirk::Code(500),
        Quirk::Gzip,
        Quirk::Redirect(Target::Itself),
        Quirk::Redirect(Target::To("http://elsewhere.example/a?s=InpqMWpn-secret".into())),
        Quirk::Verbatim("no HTTP\r\n\r\n".into()),
        Quirk::Page { content_type: "audio/wav", text: "<html>no</html>" },
    ];
    for (quirk, number) in fetched.into_iter().zip(0..) {
        world.ready(&id(number), [file(u64::from(number)).next(1, quirk)]).await;
    }
    let asked = [
        Answer::error(401, "invalid token"),
        Answer::rate_limited().retry_after("1"),
        Answer::error(500, "broken"),
        Answer::hang(),
        Answer::vanish(Cut::Rst),
        Answer::page(200, "text/html", "<html>"),
        Answer::redirect("http://elsewhere.example/"),
    ];
    for (answer, number) in asked.into_iter().zip(50..) {
        world.kore.session(&id(number), Timeline::new().polls(1, answer).finally(Answer::success([file(9)])));
        world.insert(&[&id(number)]).await;
    }
    world.ready(&id(90), [file(90).listed_at("https://user:InpqMWpn@elsewhere.example")]).await;
    for op in [Op::HeadObject, Op::PutObject, Op::CreateUpload, Op::UploadPart, Op::CompleteUpload, Op::AbortUpload] {
        for fault in [Fault::DropAfterApply, Fault::SlowDown, Fault::Status(403, "SignatureDoesNotMatch")] {
            world.s3.fail_next(op, Times::Next(1), fault);
        }
    }
    let mut canaries = world.canaries();
    let daemon = world.daemon().await;
    world.kore.set_client_secret("another secret that no log may show");
    crate::support::world::until(|| world.log().contains("unauthorized").then_some(())).await.expect("it is refused");
    std::fs::write(world.path("client-secret"), "another secret that no log may show").unwrap();
    for number in (0..11).chain(50..57) {
        assert_eq!(world.end_of(&id(number)).await, "done/archived", "{number}");
    }
    canaries.extend(world.canaries());
    world.assert_no_leaks(&daemon, &canaries).await;
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kore_and_the_store_repeat_is_kept_nowhere() {
    let world = World::new().await;
    let secret = world.kore.options().client_secret;
    let told = format!("error verifying the jwt with the secret {secret}");
    let signed = "https://files.example/f.wav?e=4102444800&n=1&s=InpqMWpn-signature";
    let name = format!("call.wav?{}", signed.split_once('?').unwrap().1);
    let timeline = Timeline::new().polls(1, Answer::error(400, &told)).polls(1, &*format!("see {signed}"));
    world.kore.session(&id(1), timeline.finally(Answer::success([SourceFile::new(&name, recording(1, 1000))])));
    world.insert(&[&id(1)]).await;
    let refusal = Fault::Says(403, "AccessDenied", format!("the key {} may not", world.s3.credentials().1));
    world.s3.fail_next(Op::PutObject, Times::Next(1), refusal);
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_no_leaks(&daemon, &world.canaries()).await;
    assert_eq!(world.s3.keys(), [key(&id(1), "call.wav"), key(&id(1), "session.json")]);
    for kept in ["with the secret [hidden]", "see https://files.example/f.wav?[hidden]", "the key [hidden] may not"] {
        assert!(world.log().contains(kept), "{kept}: {}", world.log());
    }
    // As it stands in the table, without quotes of its own.
    assert!(world.log().contains("\"kore.status\":\"see https://files.example/f.wav?[hidden]\""), "{}", world.log());
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_leaks_finds_one() {
    let world = World::new().await;
    world.ready(&id(1), [SourceFile::new("a.wav", recording(1, 1000))]).await;
    let daemon = world.daemon().await;
    world.end_of(&id(1)).await;
    let mut canaries = world.canaries();
    world.assert_no_leaks(&daemon, &canaries).await;
    canaries.insert("a.wav".into(), "a name that is everywhere");
    let search = std::panic::AssertUnwindSafe(world.assert_no_leaks(&daemon, &canaries));
    assert!(futures_util::FutureExt::catch_unwind(search).await.is_err());
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_say_reaches_log_and_terminal_escaped() {
    let world = World::new().await;
    let evil = "\u{1b}[2J\r\nevil: \u{202e}line\u{7}";
    world.kore.session(
        &id(1),
        Timeline::new().polls(1, evil).polls(1, Answer::error(400, evil)).finally(Answer::success([SourceFile::new(
            evil,
            recording(1, 1000),
        )
        .next(1, Quirk::Code(451))])),
    );
    world.insert(&[&id(1)]).await;
    let daemon = world.daemon().await;
    world.end_of(&id(1)).await;
    let shown = [world.run(&["show", &id(1)]), world.run(&["status"])].map(|output| output.stdout).concat();
    for (place, text) in [("log", world.log()), ("terminal", String::from_utf8(shown).unwrap())] {
        let odd = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(odd, None, "{place}: {text}");
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{place}");
    }
    assert!(world.log().lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_label_of_a_metric_is_a_strangers_text() {
    let world = World::new().await;
    world.kore.session(
        &id(1),
        Timeline::new()
            .polls(1, "a-status-of-its-own")
            .finally(Answer::success([SourceFile::new("a-name.wav", recording(1, 1000))])),
    );
    world.insert(&[&id(1)]).await;
    world.execute("INSERT INTO sessions (session_id, bot) VALUES ('x', 'a-bot-nobody-knows')").await.unwrap();
    let daemon = world.daemon().await;
    world.end_of(&id(1)).await;
    assert_eq!(world.end_of("x").await, "failed/unknown_bot");
    let page = daemon.get("/metrics").await.1;
    for text in ["a-status-of-its-own", "a-name", "a-bot-nobody-knows", &id(1), "127.0.0.1", &key(&id(1), "")] {
        assert!(!page.contains(text), "{text}: {page}");
    }
    assert!(page.contains("bot=\"unknown\""));
    assert_eq!(daemon.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_and_endpoints_that_the_environment_names_are_asked_nothing_l2() {
    let (tls, known) = World::over_tls().await;
    for (mut world, authority) in [(World::new().await, None), (tls, Some(known))] {
        world.set("transfer.part_size", "\"5MiB\"");
        let [small, large] = [("small.wav", 1000), ("large.wav", PART + 1)]
            .map(|(name, bytes)| SourceFile::new(name, recording(bytes, bytes)));
        world.ready(&id(1), [small.clone(), large.clone()]).await;
        let mut command = world.command(&["run"]);
        command.envs(authority.map(|known| ("SSL_CERT_FILE", known)));
        for protocol in ["HTTP", "HTTPS", "ALL", "NO"] {
            let name = format!("{protocol}_PROXY");
            command.env_remove(&name).env_remove(name.to_lowercase());
        }
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]
        {
            command.env(name, "http://127.0.0.1:1");
        }
        command.stderr(std::fs::File::create(world.path("log")).unwrap());
        let daemon = world.daemon_of(command).await;
        assert_eq!(world.end_of(&id(1)).await, "done/archived");
        for file in [&small, &large] {
            world.assert_holds(&key(&id(1), file.name()), file);
        }
        let mut warnings = world.log_lines("\"warn\"");
        warnings
            .retain(|line| !["unencrypted", "client_secret_file"].iter().any(|of_settings| line.contains(of_settings)));
        assert_eq!(warnings, [] as [&str; 0]);
        assert_eq!(daemon.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_and_its_lock_are_closed_to_others() {
    let mut world = World::new().await;
    let path = world.path("state/queue.db");
    world.set("queue.path", &format!("\"{}\"", path.display()));
    let daemon = world.daemon().await;
    let folder = path.parent().unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(folder), 0o2770);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o7, 0, "{}", path.display());
    }
    assert_eq!(mode(&path), 0o660);
    assert_eq!(daemon.stop().await, 0);
}
