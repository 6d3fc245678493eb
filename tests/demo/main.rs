//! `cargo run --example demo`: the daemon at work, with nothing to install and no account anywhere.
//!
//! A fake Kore.ai and a strict S3 server listen on the loopback; the daemon between them is the real one, built from
//! a settings file as in production. Calls are enqueued by inserting rows, the way any other program would. What can
//! be seen is read from the queue and the bucket, and at the end every object is compared with its source.
//!
//! `scene` sets the stage, `calls` makes the recordings, `watch` follows the queue, `report` proves the result.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod queue;
mod report;
mod scene;
mod watch;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use kore_archiver::app::App;
use kore_archiver::archive::s3::S3Store;
use kore_archiver::clock::SystemClock;
use kore_archiver::config::{self, Environment};
use kore_archiver::shutdown::Shutdown;
use kore_archiver::telemetry;

use calls::Calls;
use queue::Outside;
use scene::Scene;

/// Archives made-up calls, or your own recordings, from a fake Kore.ai into a local S3 server.
#[derive(Debug, Parser)]
#[command(name = "demo", bin_name = "cargo run --example demo --", max_term_width = 100)]
struct Arguments {
    /// Serve the files of this folder as the recordings: each a session, the files of a subfolder one together
    #[arg(long, value_name = "DIR", conflicts_with = "sessions")]
    recordings: Option<PathBuf>,
    /// Make up so many calls
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=500))]
    sessions: u32,
    /// Stay up when they are done, so that you can insert rows and watch /metrics
    #[arg(long)]
    stay: bool,
    /// Keep queue, bucket and log in this folder, which must be empty or new [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(demo(&Arguments::parse())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether everything arrived whole.
async fn demo(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut calls = match &arguments.recordings {
        Some(folder) => Calls::from_folder(folder)?,
        None => Calls::made_up(arguments.sessions),
    };
    let scene = Scene::set(arguments.folder.as_deref()).await?;
    scene.introduce();

    // From here to `run` it is what the `run` command does, with the bucket's keys handed in.
    let settings = config::read(Some(&scene.config), &Environment::default())?;
    telemetry::init_file(&settings.log, scene.log_file()?)?;
    let (access_key, secret_key) = scene.s3.credentials();
    let store = S3Store::connect_as(&settings.bucket, Arc::new(SystemClock::new()), &access_key, &secret_key).await;
    let shutdown = Shutdown::on_signals(0, SystemClock::new())?;
    let built = App::build_on(Arc::new(store), &settings, shutdown.clone(), false).await?;
    let app = built.context("stopped before the queue was open")?;
    let mut daemon = pin!(app.run());

    let mut outside = Outside::connect(&scene.queue).await.context("the queue cannot be opened from outside")?;
    let work = async {
        calls.begin(&scene.kore);
        outside.insert(&calls).await?;
        watch::until_all_done(&mut outside, &mut calls, &scene.kore).await?;
        if arguments.stay {
            scene.invite();
            watch::for_ever(&mut outside, &mut calls, &scene.kore).await?;
        }
        anyhow::Ok(())
    };
    let is_interrupted = tokio::select! {
        ended = &mut daemon => { ended?; true }
        worked = work => { worked?; false }
    };
    if !is_interrupted {
        shutdown.soft.cancel();
        daemon.await?;
    }
    let is_proven = report::tell(&scene, &calls, &mut outside).await?;
    Ok(is_proven && (arguments.stay || !is_interrupted))
}
