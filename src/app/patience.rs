//! What Kore asked for in the run before: its patience does not begin anew because this daemon did.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::journey::Journeys;
use crate::pause::What;
use crate::queue::{QueueError, Write};

/// The one reason that is another's wish; all others are found out again, so that a restart tries what was mended.
const REASON: &str = "rate_limited";
/// No wish is longer; a table that says more was written by another clock.
const LONGEST: Duration = Duration::from_mins(15);

/// Pauses again what is to be paused still.
pub(super) async fn keep(journeys: &Journeys) -> Result<(), QueueError> {
    let now = journeys.clock.now();
    for record in journeys.desk.pauses().await? {
        let text = |column: &str| record.get(column).and_then(|value| value.as_str()).unwrap_or_default();
        let until = Timestamp::parse(text("until")).ok().filter(|until| *until > now && text("reason") == REASON);
        let Some(until) = until else { continue };
        let bot = journeys.bots.keys().map(|name| What::Bot(name.clone())).find(|bot| bot.label() == text("what"));
        match bot {
            Some(bot) => {
                let wait = until.since(now).min(LONGEST);
                journeys.tell(journeys.pauses.pause(&bot, REASON, text("message"), Some(wait)));
            }
            None => drop(journeys.writer.submit(Write::Resumed { what: text("what").to_owned() })),
        }
    }
    Ok(())
}
