//! What a service manager hears: the daemon beside a socket that stands for systemd's.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::kore::{Answer, Quirk, SourceFile, Timeline};
use crate::support::media;
use crate::support::world::{Daemon, World, id, until};

/// A manager's end of the socket, and what came through it that nobody has waited for yet.
struct Manager {
    socket: UnixDatagram,
    lines: VecDeque<String>,
}

impl Manager {
    /// Starts the daemon under this manager, which asks to hear from it within that time if it has a watchdog.
    async fn start(world: &World, watchdog: Option<Duration>) -> (Self, Daemon) {
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).expect("the folder is ours");
        socket.set_nonblocking(true).expect("it is a socket");
        let mut variables = vec![("NOTIFY_SOCKET", path.display().to_string())];
        variables.extend(watchdog.map(|patience| ("WATCHDOG_USEC", patience.as_micros().to_string())));
        (Self { socket, lines: VecDeque::new() }, world.daemon_with(&variables).await)
    }

    /// Waits for a line that begins so, and forgets those before it.
    async fn hears(&mut self, beginning: &str) -> String {
        let mut passed = Vec::new();
        let line = until(|| {
            let mut datagram = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut datagram) {
                self.lines.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
            }
            passed.extend(std::iter::from_fn(|| self.lines.pop_front_if(|line| !line.starts_with(beginning))));
            self.lines.pop_front()
        });
        line.await.unwrap_or_else(|| panic!("no {beginning:?} in {passed:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_hears_of_readiness_of_what_is_under_way_of_pauses_and_of_the_end() {
    let world = World::new().await;
    let voice = media::speech(1, Duration::from_mins(1));
    let slow = SourceFile::new("call.wav", media::wav(media::WavShape::Plain, &voice)).always(Quirk::Throttle(200_000));
    world.kore.session(&id(1), Timeline::new().finally(Answer::success([slow])));
    let (mut manager, daemon) = Manager::start(&world, Some(Duration::from_secs(4))).await;
    manager.hears("READY=1").await;
    manager.hears("STATUS=nothing is pending").await;
    manager.hears("WATCHDOG=1").await;
    world.insert(&[&id(1)]).await;
    manager.hears("STATUS=1 pending, 1 being copied").await;
    world.kore.publish_scope(false);
    world.insert(&[&id(2)]).await;
    let line = manager.hears("STATUS=2 pending").await;
    assert!(line.ends_with("; paused: bot:default (unauthorized)"), "{line}");
    daemon.signal("TERM");
    manager.hears("STOPPING=1").await;
    manager.hears("STATUS=stopping: 1 in hand").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_without_a_watchdog_hears_what_goes_on_all_the_same() {
    let world = World::new().await;
    let (mut manager, daemon) = Manager::start(&world, None).await;
    manager.hears("READY=1").await;
    manager.hears("STATUS=nothing is pending").await;
    daemon.signal("TERM");
    manager.hears("STOPPING=1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_one_heap_unless_whoever_starts_it_chose_otherwise_and_stays_the_process_that_was_started() {
    let world = World::new().await;
    for (chosen, heaps) in [(None, "1"), (Some("3"), "3")] {
        let variables: Vec<_> = chosen.map(|heaps| ("MALLOC_ARENA_MAX", String::from(heaps))).into_iter().collect();
        let daemon = world.daemon_with(&variables).await;
        let environment = std::fs::read(format!("/proc/{}/environ", daemon.id())).expect("it runs under that id");
        let has =
            |wanted: &str| environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(wanted.as_bytes()));
        assert!(has(&format!("MALLOC_ARENA_MAX={heaps}")));
        assert_eq!(has("MALLOC_TRIM_THRESHOLD_="), chosen.is_none(), "it keeps what it has");
        assert_eq!(daemon.stop().await, 0);
    }
}
