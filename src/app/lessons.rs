//! What the adaptive schedule learned: recalled at start, kept now and then, told how tight the budgets are.

use std::sync::Arc;
use std::time::Duration;

use crate::journey::{Journeys, Learned};
use crate::kore::budget::Budget;
use crate::queue::Desk;

/// What the adaptive schedule knew when it was last written down.
pub(super) async fn recall(desk: &Desk) -> Arc<Learned> {
    let learned = Arc::new(Learned::default());
    match desk.models().await {
        Ok(models) => {
            for (bot, _) in models.iter().filter(|(bot, state)| !learned.recall(bot, state)) {
                tracing::warn!(bot, "what was learned of this bot's sessions cannot be read; learning it afresh");
            }
        }
        Err(error) => tracing::warn!(%error, "what was learned of sessions cannot be read; learning it afresh"),
    }
    learned
}

/// How often the use of the budgets is looked at, and how many of these looks pass until models are written down.
const BUDGET_LOOK: Duration = Duration::from_secs(10);
const LOOKS_A_WRITE: u32 = 6;
/// A backlog is counted up to so many minutes of the budget: more says no more.
const LONGEST_BACKLOG: f64 = 5.0;
/// And no more rows than that are counted: what a look may cost.
const MOST_COUNTED: i64 = 10_000;

/// Tells the adaptive schedule how tight each budget is, and writes down what it learned.
pub(super) async fn keep(journeys: Journeys, accounts: Vec<Account>) {
    loop {
        for _ in 0..LOOKS_A_WRITE {
            journeys.clock.sleep(BUDGET_LOOK).await;
            for account in &accounts {
                account.look(&journeys).await;
            }
        }
        write(&journeys);
    }
}

/// The bots of one account, and their requests.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) bots: Vec<String>,
    pub(super) budget: Arc<Budget>,
}

impl Account {
    async fn look(&self, journeys: &Journeys) {
        let minutes_each = self.budget.spacing().as_secs_f64() / 60.0;
        let used = f64::from(self.budget.used_in_last_minute()) * minutes_each;
        let mut due = 0;
        for bot in &self.bots {
            due += journeys.desk.due_of(bot, journeys.clock.now(), MOST_COUNTED).await.unwrap_or(0);
        }
        let due = f64::from(i32::try_from(due).unwrap_or(i32::MAX));
        let backlog = (due * minutes_each).min(LONGEST_BACKLOG);
        for bot in &self.bots {
            journeys.learned.note_pressure(bot, journeys.clock.elapsed(), used, backlog);
        }
    }
}

/// Hands what is new to the writer.
pub(super) fn write(journeys: &Journeys) {
    for write in journeys.learned.unwritten(journeys.clock.now()) {
        drop(journeys.writer.submit(write));
    }
}
