//! The first answer, redirects and hosts, on real sockets; what happens to a body that breaks off is in `resume`.

use futures_util::TryStreamExt;

use super::*;
use crate::kore::testing::{Act, Server, all_of, canary, fetch, limits, send};
use crate::source::FileHost;

#[tokio::test]
async fn the_query_is_sent_byte_for_byte_and_nothing_of_ours_goes_along() {
    let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
    let client = server.client(canary(), limits());
    let url = server.file("/a/../f%2e.wav?e=4102444800&n=1&s=InpqM$W%24==,(a)");
    assert_eq!(all_of(&client, &url).await.unwrap(), b"ok");
    let request = server.requests().remove(0);
    assert!(request.contains("?e=4102444800&n=1&s=InpqM$W%24==,(a) HTTP/1.1"), "{request}");
    let request = request.to_ascii_lowercase();
    assert!(request.contains("accept-encoding: identity"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", server.address)), "{request}");
    assert!(request.contains("connection: close\r\n") && request.contains("user-agent: kore-archiver/"), "{request}");
    assert!(!request.contains("auth:") && !request.contains("referer") && !request.contains("cookie"), "{request}");
}

#[tokio::test]
async fn chunks_without_an_end_are_a_cut_and_a_closed_connection_is_an_unmarked_end() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n";
    assert!(matches!(fetch(move |_, _| vec![send(chunked)]).await, Err(FetchError::Unreachable { .. })));
    assert_eq!(fetch(move |_, _| vec![send(chunked), send("0\r\n\r\n")]).await.unwrap(), b"0123");
    let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\n\r\n0123")]).await;
    let client = server.client(canary(), limits());
    let download = client.open(&server.file("/f")).await.unwrap();
    assert_eq!((download.length, download.end_is_marked), (None, false));
}

/// How many bytes of a file came before its end or error.
async fn given(body: &'static str, stays: bool) -> (usize, Result<(), FetchError>) {
    let acts = move || [Some(send(format!("HTTP/1.1 200 OK\r\n{body}"))), stays.then_some(Act::Hang)];
    let server = Server::start(move |_, _| acts().into_iter().flatten().collect()).await;
    let mut download = server.client(canary(), limits()).open(&server.file("/f?s=CANARY")).await.unwrap();
    let mut given = 0;
    loop {
        match download.body.try_next().await {
            Ok(Some(bytes)) => given += bytes.len(),
            Ok(None) => return (given, Ok(())),
            Err(error) => return (given, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_body_that_is_longer_than_promised_is_refused_before_its_last_byte_is_given_out() {
    for stays in [false, true] {
        for surplus in [
            "Content-Length: 4\r\n\r\n01234",
            "Content-Length: 4\r\nConnection: close\r\n\r\n01234",
            "Content-Length: 4\r\nConnection: keep-alive\r\n\r\n01234",
            "Content-Length: 4\r\n\r\n0123HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n4",
            "Content-Length: 0\r\n\r\n0",
        ] {
            let (given, end) = given(surplus, stays).await;
            let words = end.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert!(matches!(end, Err(FetchError::Refused { .. })), "{surplus}: {end:?}");
            assert!(given == 0 && words.contains("sent more") && !words.contains("CANARY"), "{given}: {words}");
        }
        let (_, chunked) = given("Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n0\r\n\r\n4", stays).await;
        assert!(matches!(chunked, Err(FetchError::Refused { .. })), "{chunked:?}");
        for whole in ["Content-Length: 4\r\n\r\n0123", "Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n0\r\n\r\n"] {
            assert!(matches!(given(whole, stays).await, (4, Ok(()))), "{whole}");
        }
    }
}

#[tokio::test]
async fn a_head_that_promises_no_file_is_refused() {
    for head in [
        "204 No\r\n\r\n",
        "206 P\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/1\r\n\r\nx",
        "302 F\r\nContent-Length: 0\r\n\r\n",
        "304 N\r\n\r\n",
        "418 T\r\nContent-Length: 0\r\n\r\n",
        "200 OK\r\nContent-Length: 1\r\nContent-Encoding: gzip\r\n\r\nx",
        "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "200 OK\r\nContent-Length: x\r\n\r\n",
    ] {
        let result = fetch(move |_, _| vec![send(format!("HTTP/1.1 {head}"))]).await;
        assert!(matches!(result, Err(FetchError::Refused { .. })), "{head}: {result:?}");
    }
    assert!(matches!(fetch(|_, _| vec![send("SSH-2.0-x\r\n")]).await, Err(FetchError::Refused { .. })));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_or_while_it_comes() {
    for length in ["1048577", "18446744073709551613", "18446744073709551615"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let result = fetch(move |_, _| vec![send(head.clone())]).await;
        assert!(matches!(result, Err(FetchError::TooLarge { .. })), "{length}: {result:?}");
    }
    let flood = fetch(|_, _| vec![send("HTTP/1.1 200 OK\r\n\r\n"), send("x".repeat((1 << 20) + 1))]).await;
    assert!(matches!(flood, Err(FetchError::TooLarge { .. })), "{flood:?}");
}

#[tokio::test]
async fn redirects_are_followed_three_times_and_only_where_files_may_be() {
    let hops = |most: usize| {
        fetch(move |request, _| match request {
            n if n < most => {
                vec![send(format!("HTTP/1.1 302 F\r\nLocation: /{n}?s=CANARY\r\nContent-Length: 0\r\n\r\n"))]
            }
            _ => vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
        })
    };
    assert_eq!(hops(3).await.unwrap(), b"ok");
    assert!(matches!(hops(4).await, Err(FetchError::Refused { .. })));
    for bad in ["http://127.0.0.1:1/", "https://evil.example/?s=CANARY", "http://u@127.0.0.1/", "ftp://127.0.0.1/"] {
        let head = format!("HTTP/1.1 307 T\r\nLocation: {bad}\r\nContent-Length: 0\r\n\r\n");
        let result = fetch(move |_, _| vec![send(head.clone())]).await;
        assert!(matches!(result, Err(FetchError::HostRefused { .. })), "{bad}: {result:?}");
    }
}

#[tokio::test]
async fn an_expired_url_is_not_asked_for_and_a_silent_host_is_given_up() {
    let server = Server::start(|_, _| vec![Act::Hang]).await;
    let client = server.client(canary(), limits());
    let expired = client.open(&server.file("/f?e=1709706278&s=CANARY")).await.unwrap_err();
    assert!(matches!(expired, FetchError::Expired { code: None, .. }), "{expired}");
    assert!(server.requests().is_empty());
    let silent = client.open(&server.file("/f?s=CANARY")).await.unwrap_err();
    assert!(silent.to_string().contains("no headers within 30s"), "{silent}");
    assert!(!format!("{expired:?} {silent:?} {client:?}").contains("CANARY"));
}

#[tokio::test]
async fn a_url_whose_e_is_over_is_asked_for_again_and_then_tried_all_the_same() {
    let server = Server::start(|_, _| vec![send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]).await;
    let client = server.client(canary(), limits());
    let over = server.file("/f.wav?e=1709706278&n=1&s=x");
    assert!(matches!(client.open(&over).await, Err(FetchError::Expired { code: None, .. })));
    assert_eq!(all_of(&client, &over.to_be_tried()).await.unwrap(), b"ok");
    assert_eq!(server.requests().len(), 1);
}
