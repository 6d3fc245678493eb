//! What is to be run, how often, and what came of it.
//!
//! The arguments are those of a test program as far as `cargo test` and its kind use them: names choose (part of one
//! is enough, unless `--exact`), `--list` lists, and flags of the usual harness that mean nothing here are let pass.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::{LocalBoxFuture, join_all};

/// A scenario and how to run it.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Trials of the short form.
    pub short: u32,
    /// Whether it mostly waits, so that it runs beside the others.
    pub is_patient: bool,
    pub run: fn(Plan) -> LocalBoxFuture<'static, Outcome>,
}

/// How a scenario is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub trials: u32,
    pub seed: u64,
    /// How many worlds at once, where a scenario knows how.
    pub lanes: u32,
}

impl Plan {
    /// The trials shared out among the lanes, each share under a seed of its own.
    pub fn shares(self) -> impl Iterator<Item = Self> {
        let lanes = self.lanes.clamp(1, self.trials.max(1));
        (0..lanes).map(move |number| Self {
            trials: self.trials / lanes + u32::from(number < self.trials % lanes),
            seed: self.seed.wrapping_add(number.into()),
            lanes: 1,
        })
    }

    /// What did not strike proves nothing: in that many trials and more, some have seen it.
    pub fn assert_seen(self, what: &str, times: impl Into<u64>, enough_trials: u32) {
        assert!(times.into() > 0 || self.trials < enough_trials, "{what} in none of {} trials", self.trials);
    }
}

/// Runs each on a thread and a runtime of its own; what they come to is in their order.
pub async fn side_by_side<T, L>(lanes: impl IntoIterator<Item = L>) -> Vec<T>
where
    T: Send + 'static,
    L: AsyncFnOnce() -> T + Send + 'static,
{
    let started: Vec<_> = lanes.into_iter().map(|lane| tokio::task::spawn_blocking(move || run_here(lane()))).collect();
    let ended = started.into_iter().map(async |lane| lane.await.expect("a lane's panic has told what it was"));
    join_all(ended).await
}

/// Runs this on a runtime of its own.
fn run_here<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("the machine has threads").block_on(work)
}

/// What came of it; a failure is a panic.
pub enum Outcome {
    /// The figures.
    Held(String),
    /// What is missing here.
    Skipped(String),
}

/// A scenario under way, on a thread and a runtime of its own, so that its panic is its failure alone.
pub struct Running {
    scenario: &'static Scenario,
    watch: Watch,
    thread: JoinHandle<Outcome>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Held,
    Skipped,
    Failed,
}

impl Running {
    pub fn start(scenario: &'static Scenario, choice: &Choice) -> Self {
        let trials = choice.trials.unwrap_or(scenario.short);
        let plan = Plan { trials, seed: choice.seed, lanes: choice.lanes };
        println!("{}: {}, seed {}", scenario.name, scenario.about, plan.seed);
        let run = move || {
            // Made here: it cannot be sent.
            let scenario = (scenario.run)(plan);
            run_here(scenario)
        };
        Self { scenario, watch: Watch::start(), thread: std::thread::spawn(run) }
    }

    /// Waits for it, and prints its figures.
    pub fn end(self) -> End {
        let outcome = self.thread.join();
        let (name, time) = (self.scenario.name, self.watch.read());
        match outcome {
            Ok(Outcome::Held(figures)) => {
                println!("{name}: {figures} ({time})");
                End::Held
            }
            Ok(Outcome::Skipped(why)) => {
                println!("{name}: SKIPPED: {why}");
                End::Skipped
            }
            Err(_) => {
                println!("{name}: FAILED ({time})");
                End::Failed
            }
        }
    }
}

/// What the command line asks for.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Choice {
    names: Vec<String>,
    exact: bool,
    ignored: bool,
    pub list: bool,
    pub must_run: bool,
    pub trials: Option<u32>,
    pub seed: u64,
    pub lanes: u32,
}

impl Choice {
    /// Reads the arguments.
    pub fn of(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut choice = Self { seed: rand::random::<u32>().into(), lanes: 1, ..Self::default() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let text = arguments.next().unwrap_or_default();
                text.parse::<u32>().map_err(|_| format!("{argument} takes a number, not {text:?}"))
            };
            match argument.as_str() {
                "--list" => choice.list = true,
                "--exact" => choice.exact = true,
                "--ignored" => choice.ignored = true,
                "--must-run" => choice.must_run = true,
                "--trials" => choice.trials = Some(number()?),
                "--seed" => choice.seed = number()?.into(),
                "--lanes" => choice.lanes = number()?,
                "--format" | "--test-threads" | "--skip" | "--color" | "-Z" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                name => choice.names.push(name.to_owned()),
            }
        }
        Ok(choice)
    }

    /// Whether this one is meant.
    pub fn wants(&self, name: &str) -> bool {
        let meant = |wanted: &String| if self.exact { wanted == name } else { name.contains(wanted.as_str()) };
        // None of these is an ignored test.
        !self.ignored && (self.names.is_empty() || self.names.iter().any(meant))
    }
}

/// How long something takes, for people.
pub struct Watch(Instant);

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "a test that measures another process uses the machine's clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    pub fn read(&self) -> String {
        format!("{:.1} s", self.elapsed().as_secs_f64())
    }
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "a test waits for another process, whose clock is the machine's")]
pub async fn nap(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Looks until there is something, for so long.
pub async fn within<T>(patience: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let watch = Watch::start();
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if watch.elapsed() > patience {
            return None;
        }
        nap(Duration::from_millis(20)).await;
    }
}
