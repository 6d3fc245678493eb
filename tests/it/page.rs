//! The page at `/`, as a browser gets it from a daemon that has things to tell; and an address that is somebody else's.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::kore::{Answer, Quirk, SourceFile, Timeline};
use crate::support::media;
use crate::support::rows::{eventually, ready};
use crate::support::world::{Daemon, World, free_port, id, until};

/// Looks until the page says all of this.
async fn page_with(daemon: &Daemon, parts: &[&str]) -> String {
    let mut last = String::new();
    eventually(&format!("{parts:?} on the page"), async || {
        let (code, page) = daemon.get("/").await;
        assert_eq!(code, 200);
        last = page;
        parts.iter().all(|part| last.contains(part))
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_counts_pauses_transfers_and_failures_and_escapes_what_kore_says() {
    let mut world = World::new().await;
    world.set("poll.max_failures", "1").set("poll.fail_after", "\"0s\"");
    let voice = media::speech(1, Duration::from_mins(1));
    let slow = SourceFile::new("a<b>.wav", media::wav(media::WavShape::Plain, &voice)).always(Quirk::Throttle(100_000));
    world.kore.session(&id(1), Timeline::new().finally(Answer::success([slow])));
    world.kore.session(&id(2), Timeline::new().finally(Answer::error(404, "<script>alert(1)</script>")));
    world.insert(&[&id(1), &id(2)]).await;
    let daemon = world.daemon().await;
    let page = page_with(&daemon, &["a&lt;b&gt;.wav", "not_found", "working"]).await;
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("Kore.ai may also have deleted it"), "what to do: {page}");
    assert!(page.contains(" of 60&#8239;000") || page.contains(" of 60000"), "{page}");

    world.kore.publish_scope(false);
    world.insert(&[&id(3)]).await;
    let page = page_with(&daemon, &["bot:default", "unauthorized", "Something is paused"]).await;
    assert!(page.contains("Published"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_told_to_load_and_run_nothing() {
    let world = World::new().await;
    world.create_queue();
    let daemon = world.daemon().await;
    let url = format!("http://{}/", daemon.address);
    let client = reqwest::Client::builder().no_proxy().build().expect("a plain client");
    let response = client.get(url).send().await.expect("the daemon answers");
    let header = |name: &str| response.headers()[name].to_str().expect("it is text").to_owned();
    assert!(header("content-security-policy").starts_with("default-src 'none'; style-src 'unsafe-inline'"));
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!((header("x-content-type-options"), header("cache-control")), ("nosniff".into(), "no-store".into()));
    let page = response.text().await.expect("it is text");
    assert!(page.contains("Working. Nothing is paused."), "{page}");
    for unwanted in ["<script", "src=", "@import", "url("] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
}

/// Clients that say nothing, or never finish, are sent away within seconds, or at once where more come than are let in.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_keep_nobody_out() {
    let world = World::new().await;
    let daemon = world.daemon().await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = TcpStream::connect(&daemon.address).await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        clients.push(client);
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    assert!(descriptors < 100, "{descriptors} descriptors are open");
    assert_eq!(daemon.get("/healthz").await, (200, "ok\n".to_owned()));
    // That was not one by one after their patience: who came shortly before is there still.
    let end = async |silent: &mut TcpStream, wait| {
        tokio::time::timeout(Duration::from_millis(wait), silent.read_to_end(&mut Vec::new())).await
    };
    assert!(end(&mut clients[180], 50).await.is_err(), "it was sent away");
    for place in [0, 180] {
        assert!(end(&mut clients[place], 30_000).await.is_ok(), "it is still connected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_else_has_ends_it_with_its_name_and_costs_no_row_anything_p6() {
    let mut world = World::new().await;
    world.kore.session(&id(1), ready(1));
    world.insert(&[&id(1)]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world.set("http.listen", &format!("\"{address}\""));
    let log = std::fs::File::create(world.path("log")).unwrap();
    let mut child = world.command(&["run"]).stderr(log).spawn().unwrap();
    let ended = until(|| child.try_wait().unwrap()).await;
    let _ = child.kill();
    assert_eq!(ended.and_then(|ended| ended.code()), Some(1), "{}", world.log());
    let said = world.log();
    assert!(said.contains("http.listen") && said.contains(&address), "{said}");
    assert_eq!(world.column(&id(1), "state").await.as_deref(), Some("pending"));
    assert_eq!((world.number(&id(1), "polls").await, world.kore.polls().len()), (0, 0));

    world.set("http.listen", &format!("\"127.0.0.1:{}\"", free_port()));
    let daemon = world.daemon().await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    assert_eq!(daemon.stop().await, 0);
}
