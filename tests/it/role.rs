//! `bucket.assume_role_arn`: the bucket is asked with the role's keys, and who gives them is said by nobody by accident.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::support::kore::SourceFile;
use crate::support::s3;
use crate::support::scene::{key, recording};
use crate::support::world::{World, id};

const ROLE: &str = "arn:aws:iam::123456789012:role/archiver";

/// Gives the bucket's keys to whoever asks for the role: what was asked, and where.
async fn token_service() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let keys = s3::Options::default();
    let answer = format!(
        r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>of-the-role</SessionToken>
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"#,
        keys.access_key, keys.secret_key
    );
    let asked = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::clone(&asked));
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
            let service = service_fn(move |request: Request<Incoming>| {
                let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
                async move {
                    let signed = request.headers()["authorization"].to_str().unwrap_or_default().to_owned();
                    let body = request.into_body().collect().await?.to_bytes();
                    heard.lock().unwrap().push(format!("{} {signed}", String::from_utf8_lossy(&body)));
                    Ok::<_, hyper::Error>(Response::new(String::clone(&answer)))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_assumed_where_the_environment_says_so_for_roles_and_nowhere_else() {
    let mut world = World::new().await;
    world.set("bucket.assume_role_arn", &format!("\"{ROLE}\""));
    let file = SourceFile::new("a.wav", recording(1, 3000));
    world.ready(&id(1), [file.clone()]).await;
    let (address, asked) = token_service().await;
    let of_roles = format!("http://{address}");
    let daemon = world
        .daemon_with(&[
            ("AWS_ACCESS_KEY_ID", "AKIDOFTHEMACHINE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "no key of the bucket's".to_owned()),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1".to_owned()),
            ("AWS_ENDPOINT_URL_STS", of_roles),
        ])
        .await;
    assert_eq!(world.end_of(&id(1)).await, "done/archived");
    world.assert_holds(&key(&id(1), file.name()), &file);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("Action=AssumeRole&") && asked[0].contains("role%2Farchiver"), "{asked:?}");
    assert!(asked[0].contains("Credential=AKIDOFTHEMACHINE/"), "{asked:?}");
    assert_eq!(daemon.stop().await, 0);
}
