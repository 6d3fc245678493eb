//! The recordings API: refuses what Kore refuses, in the order of a gateway, a router and an application.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Options;
use super::answer::Answer;
use super::clock::FakeClock;
use super::host::Service;
use super::records::{Poll, Records};
use super::reply::Reply;
use super::timeline::{Progress, Timeline};
use super::token::{Issuer, Refusal, jti_of};
use super::url::Signer;
use super::wire::Request;

/// The limit of the account: so many requests in any window, else this answer.
#[derive(Clone, Debug)]
pub struct RateLimit {
    pub requests: usize,
    /// A minute at Kore; shorter where a test is in a hurry.
    pub window: Duration,
    pub answer: Answer,
}

pub(super) struct Api {
    pub(super) clock: Arc<FakeClock>,
    pub(super) signer: Arc<Signer>,
    pub(super) records: Arc<Records>,
    state: Mutex<State>,
}

struct State {
    options: Options,
    scope_published: bool,
    sessions: HashMap<String, Progress>,
    seen_jtis: HashSet<String>,
    /// When requests were let through by the limit, the oldest first.
    admitted: VecDeque<Duration>,
}

impl Api {
    pub(super) fn new(options: Options, clock: Arc<FakeClock>, signer: Arc<Signer>, records: Arc<Records>) -> Self {
        let state = State {
            options,
            scope_published: true,
            sessions: HashMap::new(),
            seen_jtis: HashSet::new(),
            admitted: VecDeque::new(),
        };
        Self { clock, signer, records, state: Mutex::new(state) }
    }

    pub(super) fn script(&self, session: &str, timeline: Timeline) {
        let progress = Progress::new(timeline, self.clock.elapsed());
        self.state().sessions.insert(session.to_owned(), progress);
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.state().options);
    }

    pub(super) fn options(&self) -> Options {
        self.state().options.clone()
    }

    pub(super) fn publish_scope(&self, published: bool) {
        self.state().scope_published = published;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, request: &Request) -> Answer {
        let mut state = self.state();
        if let Some(answer) = state.over_the_limit(self.clock.elapsed()) {
            return answer;
        }
        match state.admit(request, self.clock.unix_seconds()) {
            Ok(session) => match state.sessions.get_mut(&session) {
                Some(progress) => progress.poll(self.clock.elapsed()),
                None => state.options.unknown_session.clone(),
            },
            Err(Refusal { code, msg }) => Answer::error(code, &msg),
        }
    }
}

impl Service for Api {
    fn answer(&self, request: &Request, outage: Option<&Answer>) -> Reply {
        let at = self.clock.elapsed();
        let answer = outage.cloned().unwrap_or_else(|| self.decide(request));
        let reply = answer.reply(&self.signer, request);
        self.records.poll(Poll {
            at,
            session: request.query_value("sessionId").unwrap_or_default(),
            jti: request.header("auth").and_then(jti_of).unwrap_or_default(),
            code: reply.code_on_record(),
        });
        reply
    }
}

impl State {
    /// The answer to a request that the account's limit does not let through; such requests do not count.
    fn over_the_limit(&mut self, now: Duration) -> Option<Answer> {
        let limit = self.options.rate_limit.as_ref()?;
        while self.admitted.front().is_some_and(|first| now.saturating_sub(*first) >= limit.window) {
            self.admitted.pop_front();
        }
        if self.admitted.len() >= limit.requests {
            return Some(limit.answer.clone());
        }
        self.admitted.push_back(now);
        None
    }

    /// The session that is asked for, by someone who may.
    fn admit(&mut self, request: &Request, now: i64) -> Result<String, Refusal> {
        let bot = bot_of(request).ok_or_else(|| Refusal::new(404, "Not Found"))?;
        let token = request.header("auth").ok_or_else(Refusal::credentials)?;
        let (options, seen) = (&self.options, &mut self.seen_jtis);
        Issuer { client_id: &options.client_id, client_secret: &options.client_secret }.verify(token, now, seen)?;
        if !bot.starts_with("st-") {
            return Err(Refusal::new(400, "Invalid StreamId"));
        }
        if bot != options.bot_id {
            return Err(Refusal::credentials());
        }
        if !self.scope_published {
            return Err(Refusal::new(401, "Permission denied. Scope is incorrect!"));
        }
        let invalid = || Refusal::new(412, "Validation errors/ Invalid arguments");
        let json = request.header("content-type").is_some_and(|text| text.starts_with("application/json"));
        let session = request.query_value("sessionId").filter(|session| !session.is_empty());
        session.filter(|_| json).ok_or_else(invalid)
    }
}

/// The bot in `GET /api/public/bot/{bot}/v2/recordings`, or `None` for any other method or path.
fn bot_of(request: &Request) -> Option<&str> {
    let bot = request.path().strip_prefix("/api/public/bot/")?.strip_suffix("/v2/recordings")?;
    (request.method == "GET" && !bot.contains('/')).then_some(bot)
}
