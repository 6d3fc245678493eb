//! The fake vendor refuses what the real one refuses (KORE.md): a fake that accepts everything proves nothing.
//!
//! Tokens are signed here with `jsonwebtoken` while the fake checks them by hand, so that the two do not agree by
//! sharing a mistake.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use kore_archiver::clock::{Clock, SystemClock};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::kore::{Answer, Body, FakeKore, Options, Outage, RateLimit, SourceFile, Timeline};
use crate::support::rows::eventually;

pub(crate) const SESSION: &str = "65e7133a3242653c58d70001";

#[tokio::test]
async fn a_good_request_gets_the_listing() {
    let kore = kore().await;
    let file = SourceFile::new("call-merged.wav", "the recording");
    kore.session(SESSION, Timeline::ready([file.clone()]));
    let answer: Value = serde_json::from_str(&good(&kore).send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["recording"][0]["fileName"], "call-merged.wav");
    let url = answer["recording"][0]["fileUrl"].as_str().unwrap();
    assert_eq!(client().get(url).send().await.unwrap().text().await.unwrap(), "the recording");
}

#[tokio::test]
async fn a_request_without_a_token_is_refused() {
    let kore = kore().await;
    assert_refused(request(&kore, None), 401, "Invalid SDK credentials").await;
}

#[tokio::test]
async fn what_is_no_jwt_is_refused() {
    let kore = kore().await;
    assert_refused(request(&kore, Some("abc")), 401, "Invalid JWT token").await;
    assert_refused(request(&kore, Some("a.b.c")), 401, "Invalid JWT token").await;
    assert_refused(request(&kore, Some(&token(&kore, &json!({ "exp": "soon" })))), 401, "Invalid JWT token").await;
}

#[tokio::test]
async fn bearer_in_front_of_the_token_is_refused() {
    let kore = kore().await;
    let bearer = format!("Bearer {}", token(&kore, &json!({})));
    assert_refused(request(&kore, Some(&bearer)), 401, "Invalid JWT token").await;
}

#[tokio::test]
async fn a_token_under_another_secret_is_refused() {
    let kore = kore().await;
    let old = token(&kore, &json!({}));
    kore.set_client_secret("rotated");
    assert_refused(request(&kore, Some(&old)), 401, "Invalid SDK credentials").await;
    assert_eq!(good(&kore).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_token_of_an_unknown_app_or_without_a_subject_is_refused() {
    let kore = kore().await;
    for change in [json!({ "appId": "cs-another" }), json!({ "appId": null }), json!({ "sub": "" })] {
        assert_refused(request(&kore, Some(&token(&kore, &change))), 401, "Invalid SDK credentials").await;
    }
}

#[tokio::test]
async fn a_token_under_another_algorithm_is_refused() {
    let kore = kore().await;
    let key = EncodingKey::from_secret(kore.options().client_secret.as_bytes());
    let header = Header::new(jsonwebtoken::Algorithm::HS512);
    let token = encode(&header, &claims(&kore, &json!({})), &key).unwrap();
    assert_refused(request(&kore, Some(&token)), 401, "Invalid SDK credentials").await;
}

#[tokio::test]
async fn a_wrong_bot_and_a_bad_one_are_refused_differently() {
    let kore = kore().await;
    let ask = |bot: &str| path_request(&kore, &format!("/api/public/bot/{bot}/v2/recordings?sessionId={SESSION}"));
    assert_refused(ask("st-another"), 401, "Invalid SDK credentials").await;
    assert_refused(ask("nonsense"), 400, "Invalid StreamId").await;
}

#[tokio::test]
async fn a_scope_that_is_not_published_is_refused_until_it_is() {
    let kore = kore().await;
    kore.publish_scope(false);
    assert_refused(good(&kore), 401, "Permission denied. Scope is incorrect!").await;
    kore.publish_scope(true);
    assert_eq!(good(&kore).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_jti_is_good_for_one_request() {
    let kore = kore().await;
    let token = token(&kore, &json!({}));
    assert_eq!(request(&kore, Some(&token)).send().await.unwrap().status(), 200);
    assert_refused(request(&kore, Some(&token)), 401, "error verifying the jwt: jti is already used").await;
}

#[tokio::test]
async fn a_token_without_jti_or_exp_is_refused() {
    let kore = kore().await;
    let without = |name: &str| token(&kore, &json!({ name: null }));
    assert_refused(request(&kore, Some(&without("jti"))), 401, "error verifying the jwt: jti is required").await;
    assert_refused(request(&kore, Some(&without("exp"))), 401, "error verifying the jwt: exp is required").await;
}

#[tokio::test]
async fn a_token_that_lives_too_long_is_over_or_not_yet_valid_is_refused() {
    let kore = kore().await;
    let far = token(&kore, &json!({ "exp": now() + 3700 }));
    assert_refused(request(&kore, Some(&far)), 401, "error verifying the jwt: exp is more than an hour away").await;
    let over = token(&kore, &json!({ "exp": now() - 1 }));
    assert_refused(request(&kore, Some(&over)), 401, "error verifying the jwt: jwt expired").await;
    let early = token(&kore, &json!({ "iat": now() + 100 }));
    assert_refused(request(&kore, Some(&early)), 401, "error verifying the jwt: iat is in the future").await;
}

#[tokio::test]
async fn a_token_for_another_audience_or_from_another_issuer_is_refused() {
    let kore = kore().await;
    let elsewhere = token(&kore, &json!({ "aud": "https://elsewhere.example" }));
    assert_refused(request(&kore, Some(&elsewhere)), 401, "error verifying the jwt: jwt audience invalid").await;
    let foreign = token(&kore, &json!({ "iss": "cs-another" }));
    assert_refused(request(&kore, Some(&foreign)), 401, "error verifying the jwt: jwt issuer invalid").await;
}

#[tokio::test]
async fn a_clock_ten_minutes_off_is_noticed() {
    let kore = kore().await;
    kore.set_clock_offset(-600);
    assert_refused(good(&kore), 401, "error verifying the jwt: iat is in the future").await;
    kore.set_clock_offset(0);
    assert_eq!(good(&kore).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_without_session_or_content_type_is_refused() {
    let kore = kore().await;
    let path = format!("/api/public/bot/{}/v2/recordings", kore.options().bot_id);
    let msg = "Validation errors/ Invalid arguments";
    assert_refused(path_request(&kore, &path), 412, msg).await;
    assert_refused(path_request(&kore, &format!("{path}?sessionId=")), 412, msg).await;
    let untyped = client().get(format!("{}{path}?sessionId={SESSION}", kore.api_url()));
    assert_refused(untyped.header("auth", token(&kore, &json!({}))), 412, msg).await;
}

#[tokio::test]
async fn another_method_or_path_is_not_found() {
    let kore = kore().await;
    let good_path = format!("/api/public/bot/{}/v2/recordings?sessionId={SESSION}", kore.options().bot_id);
    let post = client().post(format!("{}{good_path}", kore.api_url())).header("auth", token(&kore, &json!({})));
    assert_refused(post, 404, "Not Found").await;
    assert_refused(path_request(&kore, &good_path.replace("v2", "v1")), 404, "Not Found").await;
    assert_refused(path_request(&kore, "/"), 404, "Not Found").await;
}

#[tokio::test]
async fn an_unknown_session_gets_what_was_chosen() {
    let kore = FakeKore::start(Options::default()).await;
    assert_refused(good(&kore), 404, "Session not found").await;
    kore.unknown_sessions_get("media_unavailable".into());
    assert_eq!(good(&kore).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_until_the_window_has_moved_on() {
    let kore = kore().await;
    let window = Duration::from_millis(400);
    let answer = Answer::forbidden_for_rate().retry_after("1");
    kore.set_rate_limit(Some(RateLimit { requests: 2, window, answer }));
    for expected in [200, 200, 403, 403] {
        assert_eq!(good(&kore).send().await.unwrap().status(), expected);
    }
    SystemClock::new().sleep(window).await;
    assert_eq!(good(&kore).send().await.unwrap().status(), 200);
    assert_eq!(kore.max_in_window(window), 4, "refused requests are seen, too");
}

#[tokio::test]
async fn a_storm_of_429_is_recorded_and_passes() {
    let kore = kore().await;
    kore.api_outage(Outage::Says(Answer::rate_limited().retry_after("30")));
    let answer = good(&kore).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"30".parse().unwrap()));
    kore.api_outage(None);
    assert_eq!(good(&kore).send().await.unwrap().status(), 200);
    assert_eq!(kore.polls().iter().map(|poll| poll.code).collect::<Vec<_>>(), [429, 200]);
}

#[tokio::test]
async fn connections_are_refused_during_an_outage_and_taken_after_it() {
    let kore = kore().await;
    kore.api_outage(Outage::Refused);
    // The listener closes, and opens, a moment after the call.
    let ask = || good(&kore).timeout(Duration::from_secs(1)).send();
    eventually("nobody listens", async || ask().await.is_err_and(|error| error.is_connect())).await;
    kore.api_outage(None);
    eventually("somebody does again", async || ask().await.is_ok()).await;
}

#[tokio::test]
async fn a_black_hole_takes_requests_and_says_nothing() {
    let kore = kore().await;
    kore.api_outage(Outage::BlackHole);
    let error = good(&kore).timeout(Duration::from_millis(200)).send().await.unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(kore.polls_of(SESSION).len(), 1);
}

#[tokio::test]
async fn the_file_host_refuses_and_remembers_what_it_must_never_see() {
    let kore = kore().await;
    let file = served(&kore);
    for name in ["auth", "authorization", "referer", "cookie"] {
        let answer = client().get(kore.signed_url(&file)).header(name, "x").send().await.unwrap();
        assert_eq!(answer.status(), 400, "{name}");
    }
    assert_eq!(kore.violations().len(), 4);
    assert_eq!(file.requests(), 0);
}

#[tokio::test]
async fn a_url_whose_query_was_touched_is_refused() {
    let kore = kore().await;
    let url = kore.signed_url(&served(&kore));
    assert!(url.contains('$') && url.ends_with("%3D%3D"), "{url}");
    for touched in
        [url.replace('$', "%24"), url.replace("%3D", "%3d"), url.replace("?e=", "?e=1"), url.replace("&n=", "&n=1")]
    {
        assert_eq!(client().get(&touched).send().await.unwrap().status(), 403, "{touched}");
    }
    assert_eq!(client().get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_url_that_expired_is_refused_and_a_fresh_one_is_not() {
    let kore = kore().await;
    let file = served(&kore).expires_in(60);
    let old = kore.signed_url(&file);
    kore.set_clock_offset(60);
    assert_eq!(client().get(&old).send().await.unwrap().status(), 403);
    assert_eq!(client().get(kore.signed_url(&file)).send().await.unwrap().status(), 200);
}

async fn kore() -> FakeKore {
    let kore = FakeKore::start(Options::default()).await;
    kore.session(SESSION, Timeline::new().finally("call_in_progress"));
    kore
}

fn served(kore: &FakeKore) -> SourceFile {
    let file = SourceFile::new("a.wav", Body::noise(1, 1000));
    kore.serve(&file);
    file
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

fn now() -> i64 {
    SystemClock::new().now().as_millis() / 1000
}

/// The claims that KORE.md lists, with some of them changed; `null` leaves one out.
fn claims(kore: &FakeKore, changes: &Value) -> Value {
    let client_id = kore.options().client_id;
    let mut claims = json!({
        "sub": "archiver", "appId": client_id, "iss": client_id, "aud": "https://idproxy.kore.ai/authorize",
        "iat": now() - 60, "exp": now() + 3000, "jti": format!("{:x}", rand::random::<u128>()),
    });
    let claims_map = claims.as_object_mut().unwrap();
    claims_map.extend(changes.as_object().unwrap().clone());
    claims_map.retain(|_, value| !value.is_null());
    claims
}

fn token(kore: &FakeKore, changes: &Value) -> String {
    let key = EncodingKey::from_secret(kore.options().client_secret.as_bytes());
    encode(&Header::default(), &claims(kore, changes), &key).unwrap()
}

fn request(kore: &FakeKore, auth: Option<&str>) -> RequestBuilder {
    let url = format!("{}/api/public/bot/{}/v2/recordings?sessionId={SESSION}", kore.api_url(), kore.options().bot_id);
    let request = client().get(url).header("Content-Type", "application/json");
    auth.into_iter().fold(request, |request, auth| request.header("auth", auth))
}

pub(crate) fn good(kore: &FakeKore) -> RequestBuilder {
    request(kore, Some(&token(kore, &json!({}))))
}

fn path_request(kore: &FakeKore, path: &str) -> RequestBuilder {
    let request = client().get(format!("{}{path}", kore.api_url())).header("Content-Type", "application/json");
    request.header("auth", token(kore, &json!({})))
}

async fn assert_refused(request: RequestBuilder, code: u16, msg: &str) {
    let response: Response = request.send().await.unwrap();
    assert_eq!(response.status(), code);
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["errors"][0]["msg"], msg);
    assert!(body["errors"][0]["code"].is_number());
}
