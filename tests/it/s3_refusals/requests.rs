//! Who asks, for what, and when.

use super::*;

async fn put_as(client: &Client, bucket: &str) -> (u16, String) {
    answer(client.put_object().bucket(bucket).key("k").send().await)
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let (s3, _) = fixture().await;
    let (access_key, _) = s3.credentials();
    let client = client_as(&s3, &access_key, "not the secret", s3.region());
    assert_eq!(put_as(&client, s3.bucket()).await, refusal(403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn an_unknown_key_is_refused() {
    let (s3, _) = fixture().await;
    let client = client_as(&s3, "AKIDNOBODY", "secret", s3.region());
    assert_eq!(put_as(&client, s3.bucket()).await, refusal(403, "InvalidAccessKeyId"));
}

#[tokio::test]
async fn a_request_without_a_signature_is_refused() {
    let (s3, _) = fixture().await;
    let response = reqwest::Client::new().put(format!("{}/{}/k", s3.endpoint(), s3.bucket())).send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("<Code>AccessDenied</Code>"));
}

#[tokio::test]
async fn a_request_from_long_ago_is_refused() {
    let (s3, _) = fixture().await;
    let request = reqwest::Client::new()
        .put(format!("{}/{}/k", s3.endpoint(), s3.bucket()))
        .header("x-amz-date", "20200101T000000Z")
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20200101/eu-central-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        );
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("<Code>RequestTimeTooSkewed</Code>"));
}

#[tokio::test]
async fn another_region_is_refused_and_the_right_one_named() {
    let (s3, _) = fixture().await;
    let (access_key, secret_key) = s3.credentials();
    let client = client_as(&s3, &access_key, &secret_key, "us-east-1");
    let error = client.put_object().bucket(s3.bucket()).key("k").send().await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().headers().get("x-amz-bucket-region"), Some(s3.region()));
    assert_eq!(answer::<(), _>(Err(error)), refusal(400, "AuthorizationHeaderMalformed"));
}

#[tokio::test]
async fn a_bucket_that_demands_its_owners_name_refuses_whoever_does_not_say_it() {
    let s3 = FakeS3::start(Options { demands_owner: true, ..Options::default() }).await;
    let client = client(&s3);
    assert_eq!(put_as(&client, s3.bucket()).await, refusal(403, "AccessDenied"));
    let put = client.put_object().bucket(s3.bucket()).key("k").expected_bucket_owner(s3.owner());
    assert_eq!(answer(put.send().await), (200, String::new()));
}

#[tokio::test]
async fn another_bucket_and_another_owner_are_refused() {
    let (s3, client) = fixture().await;
    assert_eq!(put_as(&client, "another-bucket").await, refusal(404, "NoSuchBucket"));
    let put = client.put_object().bucket(s3.bucket()).key("k");
    assert_eq!(answer(put.expected_bucket_owner("999999999999").send().await), refusal(403, "AccessDenied"));
}

#[tokio::test]
async fn what_is_denied_is_refused_until_it_is_allowed() {
    let (s3, client) = fixture().await;
    s3.deny("s3:PutObject");
    assert_eq!(put_as(&client, s3.bucket()).await, refusal(403, "AccessDenied"));
    s3.heal();
    assert_eq!(put_as(&client, s3.bucket()).await, refusal(200, ""));
}

#[tokio::test]
async fn a_missing_key_is_not_found_and_forbidden_to_those_who_may_not_list() {
    let (s3, client) = fixture().await;
    let get = async || answer(client.get_object().bucket(s3.bucket()).key("k").send().await);
    assert_eq!(get().await, refusal(404, "NoSuchKey"));
    s3.deny("s3:ListBucket");
    assert_eq!(get().await, refusal(403, "AccessDenied"));
}

#[tokio::test]
async fn objects_and_uploads_are_listed_page_by_page() {
    let s3 = FakeS3::start(Options { page_size: 2, ..Options::default() }).await;
    let client = client(&s3);
    for number in 0..5 {
        s3.pre_put(&format!("a/{number}"), "x", &[]).await;
    }
    s3.pre_put("b", "x", &[]).await;
    let mut keys = Vec::new();
    let mut pages = client.list_objects_v2().bucket(s3.bucket()).prefix("a/").into_paginator().send();
    while let Some(page) = pages.next().await {
        keys.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(keys, ["a/0", "a/1", "a/2", "a/3", "a/4"]);
    let region = client.head_bucket().bucket(s3.bucket()).send().await.unwrap();
    assert_eq!(region.bucket_region(), Some(s3.region()));
    let location = client.get_bucket_location().bucket(s3.bucket()).send().await.unwrap();
    assert_eq!(location.location_constraint().map(|place| place.as_str().to_owned()).as_deref(), Some(s3.region()));
}

#[tokio::test]
async fn a_range_is_answered_with_that_part_and_one_beyond_the_end_refused() {
    let (s3, client) = fixture().await;
    s3.pre_put("k", "0123456789", &[]).await;
    let get = |range: &str| client.get_object().bucket(s3.bucket()).key("k").range(range).send();
    let part = get("bytes=3-5").await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 3-5/10"));
    assert_eq!(part.body.collect().await.unwrap().into_bytes(), "345");
    assert_eq!(answer(get("bytes=10-").await), refusal(416, "InvalidRange"));
}
