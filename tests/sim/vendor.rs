//! Kore, as far as the journey sees it: a timeline a session, files behind signed URLs, and every mood of FAULTS V and D.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use kore_archiver::session::{SessionId, Status};
use kore_archiver::source::{Answer, Download, FetchError, FileHost, PollError, SignedUrl, SourceFile, Vendor};

use crate::fault::Fault;
use crate::script::File;
use crate::world::{State, World};

#[derive(Debug)]
pub(crate) struct SimVendor(pub(crate) World);

type Chunks = Vec<Result<Bytes, FetchError>>;

#[async_trait]
impl Vendor for SimVendor {
    async fn turn(&self) {
        self.0.stage.call("turn").await;
    }

    async fn poll(&self, session: &SessionId) -> Result<Answer, PollError> {
        self.0.stage.call("poll").await;
        let answer = self.answer(session.as_str());
        self.0.answer("poll: answer").await;
        answer
    }
}

#[async_trait]
impl FileHost for SimVendor {
    async fn open(&self, url: &SignedUrl) -> Result<Download, FetchError> {
        self.0.stage.call("open").await;
        if url.path().is_empty() {
            self.0.violation("a file without a path was asked for".into());
        }
        self.refuse_file(url)?;
        let (length, chunks, end_is_marked) = self.body(url);
        let stage = self.0.stage.clone();
        let slow = self.0.lock().rng.chance(300);
        let body = stream::unfold(chunks.into_iter(), move |mut chunks| {
            let stage = stage.clone();
            async move {
                let next = chunks.next()?;
                if slow {
                    stage.call("body").await;
                }
                Some((next, chunks))
            }
        });
        Ok(Download { length, body: Box::pin(body), end_is_marked })
    }
}

impl SimVendor {
    fn answer(&self, id: &str) -> Result<Answer, PollError> {
        self.outage()?;
        self.own_error(id)?;
        let word = self.word(id);
        let actor = self.0.stage.actor();
        let empty = word == "success" && self.0.strikes(Fault::EmptyList);
        let short = word == "success" && self.0.strikes(Fault::ShortList);
        let mut state = self.0.lock();
        let State { rng, kore, lists, .. } = &mut *state;
        let Some(told) = kore.get_mut(id) else {
            return Err(PollError::NotFound { message: "no such session".into() });
        };
        let mut recordings = Vec::new();
        if word == "success" && !empty {
            let all = told.script.files.len();
            let shown = if short { 1 + rng.index(all) } else { all };
            told.urls += 1;
            told.successes += 1;
            recordings = told.script.files[..shown].iter().map(|file| listed(file, told.urls)).collect();
            // A list that is asked for again may be shorter: what the first one had is archived all the same.
            let seen = lists.entry(actor).or_default();
            seen.extend(seen.len()..shown);
        }
        Ok(Answer { status: Status::new(word), recordings, fault: None })
    }

    /// Nobody's fault, or the set-up's.
    fn outage(&self) -> Result<(), PollError> {
        let message = || "the simulated Kore is down".to_owned();
        if self.0.strikes(Fault::ServerError) {
            return Err(PollError::Unreachable { message: message() });
        }
        if self.0.strikes(Fault::RateLimit) {
            let seconds = self.0.lock().rng.below(40);
            let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds));
            return Err(PollError::RateLimited { retry_after, message: message() });
        }
        if self.0.strikes(Fault::Unauthorized) {
            return Err(PollError::Unauthorized { message: message() });
        }
        Ok(())
    }

    fn own_error(&self, id: &str) -> Result<(), PollError> {
        let not_found = self.0.strikes(Fault::NotFound);
        let garbage = !not_found && self.0.strikes(Fault::Garbage);
        if not_found || garbage {
            self.0.lock().kore.entry(id.to_owned()).and_modify(|told| told.own += 1);
        }
        match (not_found, garbage) {
            (true, _) => Err(PollError::NotFound { message: "404".into() }),
            (_, true) => Err(PollError::Refused { message: "an answer that cannot be read".into() }),
            (false, false) => Ok(()),
        }
    }

    /// What the status is this time.
    fn word(&self, id: &str) -> &'static str {
        let other = [
            (Fault::Regress, "media_in_progress"),
            (Fault::UnknownStatus, "media_on_holiday"),
            (Fault::Denied, "media_unavailable"),
            (Fault::KoreRetrying, "partial_download_failed"),
        ];
        let word = other.into_iter().find(|(fault, _)| self.0.strikes(*fault)).map(|(_, word)| word);
        let mut state = self.0.lock();
        let healed = state.healed;
        let Some(told) = state.kore.get_mut(id) else { return "media_in_progress" };
        let word = word.unwrap_or_else(|| {
            let said = if healed { usize::MAX } else { told.said };
            told.said += 1;
            told.script.before.get(said).copied().unwrap_or(told.script.fate)
        });
        if matches!(word, "media_unavailable" | "failed" | "media_generation_failed") {
            told.denials += 1;
        }
        word
    }

    fn refuse_file(&self, url: &SignedUrl) -> Result<(), FetchError> {
        let message = format!("the simulated host refuses {url}");
        if self.0.strikes(Fault::HostDown) {
            let retry_after = self.0.lock().rng.chance(500).then(|| Duration::from_secs(20));
            return Err(FetchError::Unreachable { retry_after, message });
        }
        if self.0.strikes(Fault::Expired) {
            self.blame(url, |told| told.own += 1);
            return Err(FetchError::Expired { code: Some(403), message });
        }
        if self.0.strikes(Fault::HostRefused) {
            self.blame(url, |told| told.hosts_refused += 1);
            return Err(FetchError::HostRefused { message });
        }
        if self.0.strikes(Fault::WrongLength) {
            self.blame(url, |told| told.own += 1);
            return Err(FetchError::Refused { message });
        }
        Ok(())
    }

    fn blame(&self, url: &SignedUrl, change: impl FnOnce(&mut crate::world::Told)) {
        let mut state = self.0.lock();
        let of = |told: &&mut crate::world::Told| told.script.files.iter().any(|file| file.path == url.path());
        if let Some(told) = state.kore.values_mut().find(of) {
            change(told);
        }
    }

    /// The promised length, what comes, and whether its end is marked.
    fn body(&self, url: &SignedUrl) -> (Option<u64>, Chunks, bool) {
        let whole = self.file(url);
        if self.0.strikes(Fault::OddPage) {
            self.blame(url, |told| told.odd += 1);
            let page = Bytes::from_static(b"<!DOCTYPE html><html><body>Service is being maintained</body></html>");
            return (Some(page.len() as u64), vec![Ok(page)], true);
        }
        if self.0.strikes(Fault::EmptyBody) {
            self.blame(url, |told| told.odd += 1);
            return (Some(0), Vec::new(), true);
        }
        let cut = self.0.strikes(Fault::Cut);
        let unmarked_cut = !cut && self.0.strikes(Fault::UnmarkedCut);
        let unmarked = unmarked_cut || (!cut && self.0.strikes(Fault::UnmarkedEnd));
        if unmarked_cut {
            self.blame(url, |told| told.unmarked_cuts += 1);
        }
        let length = (!unmarked).then_some(whole.len() as u64);
        let mut rest = whole.clone();
        if cut || unmarked_cut {
            let at = self.0.lock().rng.index(whole.len());
            rest.truncate(at);
        }
        let mut chunks = self.in_chunks(rest);
        if cut {
            chunks.push(Err(FetchError::Unreachable { retry_after: None, message: "cut".into() }));
        }
        (length, chunks, !unmarked)
    }

    fn file(&self, url: &SignedUrl) -> Bytes {
        let state = self.0.lock();
        let all = state.kore.values().flat_map(|told| &told.script.files);
        all.clone().find(|file| file.path == url.path()).map(|file| file.body.clone()).unwrap_or_default()
    }

    fn in_chunks(&self, mut rest: Bytes) -> Chunks {
        let mut state = self.0.lock();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let most = state.rng.index(500) + 1;
            chunks.push(Ok(rest.split_to(most.min(rest.len()))));
        }
        chunks
    }
}

fn listed(file: &File, turn: u64) -> SourceFile {
    let url = SignedUrl::parse(&file.url(turn)).expect("the script makes URLs");
    SourceFile { name: file.name.clone(), url }
}
