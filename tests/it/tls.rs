//! https to Kore, to its file hosts and to the bucket: certificates are verified.

use std::time::Duration;

use crate::support::kore::{Cut, Framing, Quirk, SourceFile};
use crate::support::media;
use crate::support::scene::{key, recording};
use crate::support::tls::Parting;
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

/// A host that ends a body by hanging up says no goodbye to TLS either; a file that is cut looks the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_without_a_goodbye_ends_a_file_of_no_length_which_must_prove_itself_d3() {
    let (world, known) = World::over_tls_parting(Parting::Silent).await;
    let speech = media::wav(media::WavShape::Plain, &media::speech(1, Duration::from_secs(10)));
    let middle = speech.len() as u64 / 2;
    let file = |name| SourceFile::new(name, speech.clone());
    let until_close = Quirk::Framed(Framing::UntilClose);
    let whole = file("whole.wav").always(until_close.clone());
    let cut = Quirk::Cut { after: middle, how: Cut::Fin };
    let of_no_length = file("cut.wav").next(1, until_close).next(1, cut.clone());
    // The length says better.
    let of_length = file("resumed.wav").next(1, cut);
    for (number, file) in [(1, &whole), (2, &of_no_length), (3, &of_length)] {
        world.ready(&id(number), [file.clone()]).await;
    }
    let daemon = world.daemon_with(&[(CERTIFICATES, known)]).await;
    for (number, file, downloads) in [(1, &whole, 1), (2, &of_no_length, 2), (3, &of_length, 2)] {
        assert_eq!(world.end_of(&id(number)).await, "done/archived", "{}", file.name());
        world.assert_holds(&key(&id(number), file.name()), file);
        assert_eq!(file.requests(), downloads, "{}", file.name());
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
