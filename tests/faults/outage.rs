//! Kore is out for two hours while ten thousand rows wait, at a hundredth of the time: 6,000 requests a minute in place
//! of 60, `poll.error` from 100 ms to 9 s in place of 10 s to 15 min (FAULTS V3, V16).
//!
//! A third of the time Kore answers 500, a third it resets connections, a third it says 503. Meanwhile nothing may end
//! and be charged, requests stay within the budget, and those that ask again for a row that was asked for already are
//! at most a tenth. Afterwards everything finishes. With fewer rows the outage is shorter in proportion.

use std::collections::BTreeSet;
use std::time::Duration;

use super::plan::{Outcome, Plan, nap};
use super::scene::{Kind, Scene};
use crate::support::kore::{Answer, Outage};

/// Of the full form: two hours, a hundredth.
const LENGTH: Duration = Duration::from_secs(72);
const ROWS: u32 = 10_000;
/// 60 a minute, a hundred times as fast.
const A_SECOND: usize = 100;
/// How much later than it was sent the fake may see a request on a busy machine: what was held up arrives in a bunch.
const BUNCHED: Duration = Duration::from_millis(500);

pub async fn run(plan: Plan) -> Outcome {
    let mut scene = Scene::new().await;
    scene
        .world
        .set("bots.default.requests_per_minute", &(60 * A_SECOND).to_string())
        .set("poll.error", "{ initial = \"100ms\", factor = 2.0, max = \"9s\" }")
        .set("log.level", "\"error\"");
    scene.world.kore.api_outage(Outage::Says(Answer::error(500, "Internal Server Error")));
    scene.insert(&vec![Kind::Small; plan.trials as usize]).await;
    let daemon = scene.start();
    let third = LENGTH * plan.trials / ROWS / 3;
    nap(third).await;
    scene.world.kore.api_outage(Outage::Reset);
    nap(third).await;
    scene.world.kore.api_outage(Outage::Says(Answer::error(503, "Service Unavailable")));
    nap(third).await;
    let during = scene.world.kore.polls();
    let rows: BTreeSet<&str> = during.iter().map(|poll| poll.session.as_str()).collect();
    let (requests, again) = (during.len(), during.len() - rows.len());
    assert!(requests > 0, "nothing was asked\n{}", scene.log_end());
    assert!(again * 10 <= requests, "{again} of {requests} requests were for a row that was asked for already");
    assert_eq!(scene.left().await, plan.trials as usize, "something ended");
    scene.world.kore.api_outage(None);
    // Half of the rows are asked about twice; copying needs its time too.
    scene.until_done(Duration::from_millis(u64::from(plan.trials) * 200) + Duration::from_mins(1)).await;
    assert_eq!(daemon.stop(Duration::from_secs(30)).await, 0);
    scene.prove().await;
    let busiest = busiest_second(&scene);
    Outcome::Held(format!(
        "{} trials (rows): {requests} requests in the outage, {again} of them again for one row; at most {busiest} requests \
         in any second of a budget of {A_SECOND}; nothing ended or charged, all done after",
        plan.trials
    ))
}

/// The most requests in any second; longer windows are held to the budget as well.
fn busiest_second(scene: &Scene) -> usize {
    let mut moments: Vec<Duration> = scene.world.kore.polls().iter().map(|poll| poll.at).collect();
    moments.sort_unstable();
    let most = |window: Duration| {
        let mut first = 0;
        let counts = moments.iter().enumerate().map(|(last, at)| {
            while *at - moments[first] >= window {
                first += 1;
            }
            last + 1 - first
        });
        counts.max().unwrap_or(0)
    };
    for seconds in [1, 2, 5, 10, 60] {
        let window = Duration::from_secs(seconds);
        let budget = (window + BUNCHED).as_secs_f64() * A_SECOND.to_string().parse::<f64>().expect("it is a number");
        let count = most(window);
        assert!(count.to_string().parse::<f64>().is_ok_and(|count| count <= budget), "{count} in {seconds} s");
    }
    most(Duration::from_secs(1))
}
