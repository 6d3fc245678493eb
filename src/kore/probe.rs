//! One question about a session that cannot exist: what becomes of it proves host, bot, secret and scope.
//!
//! Kore judges token and scope before it looks for the session (documented: 401 for both), so that whatever else it says
//! means that they are right. What an unknown session gets is not documented; any answer in Kore's own form will do. A
//! page in its place is somebody else's server. Exactly one request is made, and nothing is repeated.

use super::client::KoreClient;
use crate::session::SessionId;
use crate::source::{PollError, Vendor as _};

/// The first second of 1970: no call was recorded then.
const NOBODYS_SESSION: &str = "000000000000000000000000";

/// What the question proved.
#[derive(Debug)]
pub struct Probed {
    /// What Kore did with it, or what stands in the way.
    pub verdict: Verdict,
    /// How many seconds this machine's clock is ahead of Kore's, if Kore said what time it is.
    pub ahead_seconds: Option<i64>,
}

/// What an answer says of the set-up.
#[derive(Debug)]
pub enum Verdict {
    /// Host, bot, secret and scope are right. How Kore answered.
    Accepted(String),
    /// Kore refuses the token: what it said, and what to do.
    Refused(String),
    /// It does not know the bot.
    WrongBot(String),
    /// The rate limit spoke; nothing is proven.
    RateLimited(String),
    /// What answers is not Kore, or nothing answers.
    NotKore(String),
}

impl KoreClient {
    /// Asks once, when it is the account's turn.
    ///
    /// # Panics
    /// Never: the session id is a constant.
    pub async fn probe(&self) -> Probed {
        let session = SessionId::parse(NOBODYS_SESSION).expect("24 digits are a session id");
        self.turn().await;
        let reply = match self.ask(&session).await {
            Ok(reply) => reply,
            Err(PollError::Unauthorized { message }) => {
                return Probed { verdict: Verdict::Refused(message), ahead_seconds: None };
            }
            Err(error) => return Probed { verdict: Verdict::NotKore(error.to_string()), ahead_seconds: None },
        };
        let (ahead_seconds, code, is_kores) = (reply.ahead_seconds, reply.code, reply.is_kores());
        let verdict = match reply.read(&session) {
            Ok(answer) => Verdict::Accepted(format!("HTTP {code}, status {:?}", answer.status.as_str())),
            Err(PollError::Unauthorized { message }) => Verdict::Refused(message),
            Err(PollError::RateLimited { message, .. }) => Verdict::RateLimited(message),
            Err(PollError::Unreachable { message }) => Verdict::NotKore(message),
            Err(PollError::NotFound { message } | PollError::Refused { message }) => {
                if !is_kores || !(400..500).contains(&code) {
                    Verdict::NotKore(message)
                } else if message.to_ascii_lowercase().contains("streamid") {
                    Verdict::WrongBot(message)
                } else {
                    Verdict::Accepted(message)
                }
            }
        };
        Probed { verdict, ahead_seconds }
    }
}
