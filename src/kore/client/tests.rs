//! A poll on the wire: what is sent, what is never followed, what an answer that breaks off means.

use super::super::testing::{Act, Server, limits, send};
use super::*;
use crate::config::ClientSecret;
use crate::session::StatusKind;

const WAITING: &str = r#"{"status":"media_in_progress"}"#;

fn http(code: u16, headers: &str, body: &str) -> Act {
    send(format!("HTTP/1.1 {code} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

fn id() -> SessionId {
    SessionId::parse("65e7133a3242653c58d70001").unwrap()
}

async fn poll(server: &Server) -> Result<Answer, PollError> {
    let client = server.client(ClientSecret::Environment("CANARY".into()), limits());
    let result = client.poll(&id()).await;
    assert!(!format!("{result:?} {client:?}").contains("CANARY"), "{result:?}");
    if let Err(error) = &result {
        assert!(!error.to_string().contains("eyJ"), "{error}");
    }
    result
}

fn auth(request: &str) -> &str {
    request.lines().find_map(|line| line.strip_prefix("auth: ")).expect("every request has a token")
}

#[tokio::test]
async fn a_poll_is_the_documented_request() {
    let server = Server::start(|_, _| vec![http(200, "", WAITING)]).await;
    assert_eq!(poll(&server).await.unwrap().status.kind(), StatusKind::MediaInProgress);
    let request = server.requests().remove(0);
    let line = "GET /api/public/bot/st-1%2F..%2Fx/v2/recordings?sessionId=65e7133a3242653c58d70001 HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert_eq!(auth(&request).split('.').count(), 3);
}

#[tokio::test]
async fn a_refused_token_is_tried_again_once_with_the_secret_as_it_is_then() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let path = file.path().to_owned();
    let server = Server::start(move |request, _| {
        std::fs::write(&path, "new\n").unwrap();
        vec![if request == 0 { http(401, "", "{}") } else { http(200, "", WAITING) }]
    })
    .await;
    let client = server.client(ClientSecret::File(file.path().to_owned()), limits());
    assert!(client.poll(&id()).await.is_ok());
    assert_eq!((client.take_repeats(), client.take_repeats()), (1, 0));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let signed_with = |secret: &str, token: &str| {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap()
    };
    assert!(signed_with("old", auth(&requests[0])));
    assert!(signed_with("new", auth(&requests[1])));
}

#[tokio::test]
async fn two_refused_tokens_are_the_set_up_and_take_two_slots() {
    let body = r#"{"errors":[{"msg":"error verifying the jwt: eyJhbGciOi.x.CANARY","code":"40001"}]}"#;
    let server = Server::start(move |_, _| vec![http(401, "Date: Tue, 05 Mar 2024 12:00:00 GMT\r\n", body)]).await;
    let client = server.client(ClientSecret::Environment("CANARY".into()), limits());
    client.turn().await;
    let error = client.poll(&id()).await.unwrap_err();
    assert!(matches!(error, PollError::Unauthorized { .. }));
    assert!(error.to_string().contains("s ahead of Kore's"), "{error}");
    assert!(!error.to_string().contains("CANARY"), "{error}");
    assert_eq!((server.requests().len(), client.budget.used_in_last_minute()), (2, 2));
    assert_ne!(auth(&server.requests()[0]), auth(&server.requests()[1]));
}

#[tokio::test]
async fn what_was_sent_and_the_secret_it_was_signed_with_come_back_in_no_message() {
    for code in [400, 401, 403, 404, 500] {
        let server = Server::start(move |_, head| {
            let (parts, secret) = (auth(head).replace('.', " and "), "CANARY");
            http_of(code, &serde_json::json!({ "errors": [{ "msg": format!("{parts} of {secret}") }] }))
        })
        .await;
        let message = poll(&server).await.unwrap_err().to_string();
        let sent = auth(&server.requests()[0]).to_owned();
        assert!(sent.split('.').all(|part| !message.contains(part)), "{sent}: {message}");
        assert!(message.contains("[hidden]"), "{message}");
    }
}

fn http_of(code: u16, body: &serde_json::Value) -> Vec<Act> {
    vec![http(code, "", &body.to_string())]
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_and_nothing_is_sent() {
    let server = Server::start(|_, _| vec![]).await;
    let client = server.client(ClientSecret::File("/nonexistent/secret".into()), limits());
    let error = client.poll(&id()).await.unwrap_err();
    assert!(matches!(&error, PollError::Unauthorized { message } if message.contains("/nonexistent/secret")));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_signature_that_an_error_repeats_later_is_hidden() {
    let list = r#"{"status":"success","recording":[{"fileName":"a","fileUrl":"https://a/f?e=1&n=2&s=CANARYSIG2x0"}]}"#;
    let error = r#"{"errors":[{"msg":"bad signature CANARYSIG2x0","code":1}]}"#;
    let server =
        Server::start(move |number, _| vec![if number == 0 { http(200, "", list) } else { http(400, "", error) }])
            .await;
    let client = server.client(ClientSecret::Environment("a secret of the tests".into()), limits());
    assert_eq!(client.poll(&id()).await.unwrap().recordings.len(), 1);
    let error = client.poll(&id()).await.unwrap_err().to_string();
    assert!(error.contains("bad signature") && !error.contains("CANARY"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(|_, _| vec![http(302, "Location: /elsewhere\r\n", WAITING)]).await;
    assert!(matches!(poll(&server).await, Err(PollError::Unreachable { .. })));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_rate_limit_comes_with_its_wait() {
    for (header, wait) in [("30", Some(30)), ("0", Some(1)), ("86400", Some(900)), ("1e99", None), ("-5", None)] {
        let headers = format!("Retry-After: {header}\r\n");
        let server = Server::start(move |_, _| vec![http(429, &headers, "<html>")]).await;
        let Err(PollError::RateLimited { retry_after, .. }) = poll(&server).await else { panic!("{header}") };
        assert_eq!(retry_after.map(|wait| wait.as_secs()), wait, "{header}");
    }
    let server = Server::start(|_, _| vec![send("HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\ncut")]).await;
    assert!(matches!(poll(&server).await, Err(PollError::RateLimited { retry_after: None, .. })));
    let head = "HTTP/1.1 429 X\r\nRetry-After: 30\r\nContent-Length: 100\r\n\r\n";
    for stalls in [Act::Hang, Act::Drip] {
        let acts = vec![send(head), stalls];
        let server = Server::start(move |_, _| acts.clone()).await;
        let Err(PollError::RateLimited { retry_after, .. }) = poll(&server).await else { panic!("it has said enough") };
        assert_eq!(retry_after, Some(Duration::from_secs(30)));
    }
}

#[tokio::test]
async fn an_answer_that_is_slow_endless_or_cut_is_nobodys_fault_here() {
    let head = "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n";
    for acts in [vec![Act::Hang], vec![send(head), Act::Drip], vec![send(head)], vec![], vec![send(head), Act::Reset]] {
        let server = Server::start(move |_, _| acts.clone()).await;
        assert!(matches!(poll(&server).await, Err(PollError::Unreachable { .. })));
    }
}

#[tokio::test]
async fn a_flood_is_cut_at_a_mebibyte_and_a_packed_answer_is_not_unpacked() {
    let flood = format!("HTTP/1.1 200 X\r\n\r\n{{\"status\":\"{}", "x".repeat(LONGEST_BODY));
    let server = Server::start(move |_, _| vec![send(flood.clone()), Act::Hang]).await;
    let error = poll(&server).await.unwrap_err();
    assert!(matches!(&error, PollError::Refused { message } if message.contains("1048576")), "{error}");
    let server = Server::start(|_, _| vec![http(200, "Content-Encoding: gzip\r\n", WAITING)]).await;
    assert!(matches!(poll(&server).await, Err(PollError::Refused { .. })));
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_the_url_is_not_told() {
    let server = Server::start(|_, _| vec![]).await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: gone.local_addr().unwrap(), ..server };
    drop(gone);
    let error = poll(&server).await.unwrap_err();
    assert!(matches!(&error, PollError::Unreachable { message } if !message.contains("sessionId")), "{error}");
}
