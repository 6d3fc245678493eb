//! https to Kore, to its file hosts and to the bucket: certificates are verified.

use crate::support::kore::{Framing, Quirk, SourceFile};
use crate::support::scene::{key, recording};
use crate::support::world::{World, id, until};

const CERTIFICATES: &str = "SSL_CERT_FILE";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_archived_over_tls_by_an_authority_that_the_system_trusts() {
    let (world, known) = World::over_tls().await;
    let file = SourceFile::new("a.wav", recording(1, 300_000));
    // What comes beyond a body is seen under TLS as well.
    let longer = SourceFile::new("b.wav", recording(2, 300_000)).next(1, Quirk::Framed(Framing::LengthOff(-1000)));
    for (number, file) in [(1, &file), (2, &longer)] {
        world.ready(&id(number), [file.clone()]).await;
    }
    let daemon = world.daemon_with(&[(CERTIFICATES, known)]).await;
    for (number, file, failures) in [(1, &file, "0"), (2, &longer, "1")] {
        assert_eq!(world.end_of(&id(number)).await, "done/archived");
        world.assert_holds(&key(&id(number), file.name()), file);
        assert_eq!(world.column(&id(number), "failures").await.as_deref(), Some(failures), "{}", file.name());
    }
    world.assert_clean();
    assert_eq!(daemon.stop().await, 0);
}

/// What stands at Kore's address without its certificate is told nothing, and costs the row nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_nobody_knows_is_refused() {
    let (world, _) = World::over_tls().await;
    world.ready(&id(1), [SourceFile::new("a.wav", recording(1, 3000))]).await;
    let daemon = world.daemon().await;
    until(|| world.log().contains("attempt failed").then_some(())).await.expect("it is tried");
    assert!(world.log().contains("certificate"), "{}", world.log());
    assert_eq!(world.column(&id(1), "failures").await.as_deref(), Some("0"));
    assert!(world.kore.polls().is_empty(), "nobody got through");
    assert_eq!(daemon.stop().await, 0);
}
