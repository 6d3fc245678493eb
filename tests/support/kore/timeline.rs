//! A session's life as polls see it: one answer after another, by count of polls or by the clock.

use std::time::Duration;

use super::SourceFile;
use super::answer::Answer;

/// Answers in order; the last one stays. Polls that were refused do not move it on.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    steps: Vec<(Span, Answer)>,
}

#[derive(Clone, Copy, Debug)]
enum Span {
    Polls(u32),
    /// Until so long after the session was scripted.
    Until(Duration),
    Forever,
}

impl Timeline {
    pub fn new() -> Self {
        Self::default()
    }

    /// `success` with these files from the first poll on.
    pub fn ready(files: impl IntoIterator<Item = SourceFile>) -> Self {
        Self::new().finally(Answer::success(files))
    }

    /// A call that ends after `talk`, and whose media takes `making` longer.
    pub fn call(talk: Duration, making: Duration, files: impl IntoIterator<Item = SourceFile>) -> Self {
        Self::new()
            .until(talk, "call_in_progress")
            .until(talk + making, "media_in_progress")
            .finally(Answer::success(files))
    }

    /// The next `count` polls get this.
    #[must_use]
    pub fn polls(self, count: u32, answer: impl Into<Answer>) -> Self {
        self.step(Span::Polls(count), answer.into())
    }

    /// Polls get this until so long after the session was scripted.
    #[must_use]
    pub fn until(self, elapsed: Duration, answer: impl Into<Answer>) -> Self {
        self.step(Span::Until(elapsed), answer.into())
    }

    /// Every further poll gets this.
    #[must_use]
    pub fn finally(self, answer: impl Into<Answer>) -> Self {
        self.step(Span::Forever, answer.into())
    }

    fn step(mut self, span: Span, answer: Answer) -> Self {
        self.steps.push((span, answer));
        self
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.steps.iter().flat_map(|(_, answer)| answer.files())
    }
}

/// A timeline under way.
#[derive(Debug)]
pub(super) struct Progress {
    timeline: Timeline,
    scripted_at: Duration,
    step: usize,
    polls_in_step: u32,
}

impl Progress {
    /// # Panics
    /// If the timeline has no step.
    pub(super) fn new(timeline: Timeline, now: Duration) -> Self {
        assert!(!timeline.steps.is_empty(), "a timeline says at least one thing");
        Self { timeline, scripted_at: now, step: 0, polls_in_step: 0 }
    }

    /// The answer to one more poll.
    pub(super) fn poll(&mut self, now: Duration) -> Answer {
        let last = self.timeline.steps.len() - 1;
        while self.step < last && self.is_over(self.timeline.steps[self.step].0, now) {
            self.step += 1;
            self.polls_in_step = 0;
        }
        self.polls_in_step += 1;
        self.timeline.steps[self.step].1.clone()
    }

    fn is_over(&self, span: Span, now: Duration) -> bool {
        match span {
            Span::Polls(count) => self.polls_in_step >= count,
            Span::Until(elapsed) => now.saturating_sub(self.scripted_at) >= elapsed,
            Span::Forever => false,
        }
    }
}
