//! Between the daemon and whoever reads its log: a bounded queue with a thread of its own.
//!
//! A reader that stands still (a full pipe, a stopped terminal, a journal that hangs) blocks whoever writes to it, and
//! that must be nobody who works. So a line is handed over, in order, and written when the reader takes it. While the
//! queue is full, lines are dropped; where they are missing it is said how many. A reader that reads loses none.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Minutes of a busy daemon's log, and little beside `transfer.memory`.
pub(super) const MOST_BYTES: usize = 8 << 20;

/// Takes lines and never waits.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    shared: Arc<Shared>,
    most: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Piece>,
    bytes: usize,
    /// Lines that came since the queue was full.
    dropped: u64,
    is_writing: bool,
}

#[derive(Debug)]
enum Piece {
    Line(Vec<u8>),
    Dropped(u64),
}

impl Outlet {
    /// Starts the thread, which ends with the process. `gap` spells that so many lines are missing.
    pub(super) fn start(
        most: usize,
        write: impl Fn(&[u8]) + Send + 'static,
        gap: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let ours = Arc::clone(&shared);
        let pass_on = move || {
            loop {
                match ours.next() {
                    Piece::Line(line) => write(&line),
                    Piece::Dropped(lines) => write(&gap(lines)),
                }
            }
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(pass_on)?;
        Ok(Self { shared, most })
    }

    /// Hands a line over, or drops it.
    pub(super) fn say(&self, line: &[u8]) {
        self.shared.state().take_in(line, self.most);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, or that time has passed.
    pub(super) fn flush(&self, patience: Duration) {
        let state = self.shared.state();
        drop(self.shared.changed.wait_timeout_while(state, patience, |state| !state.is_at_rest()));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written next, after what was taken before.
    fn next(&self) -> Piece {
        let mut state = self.state();
        state.is_writing = false;
        loop {
            if let Some(piece) = state.take_out() {
                state.is_writing = true;
                return piece;
            }
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// After a line was dropped there must be room for more than one: a gap that is told costs a line itself.
    fn take_in(&mut self, line: &[u8], most: usize) {
        let most = if self.dropped > 0 { most / 2 } else { most };
        if self.bytes + line.len() > most {
            self.dropped += 1;
            return;
        }
        if self.dropped > 0 {
            self.waiting.push_back(Piece::Dropped(std::mem::take(&mut self.dropped)));
        }
        self.bytes += line.len();
        self.waiting.push_back(Piece::Line(line.to_vec()));
    }

    fn take_out(&mut self) -> Option<Piece> {
        let piece = self.waiting.pop_front();
        if let Some(Piece::Line(line)) = &piece {
            self.bytes -= line.len();
        }
        piece.or_else(|| (self.dropped > 0).then(|| Piece::Dropped(std::mem::take(&mut self.dropped))))
    }

    fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && self.dropped == 0 && !self.is_writing
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};

    use super::*;

    const LONG_ENOUGH: Duration = Duration::from_secs(20);

    fn line(number: usize) -> Vec<u8> {
        format!("{number:07}\n").into_bytes()
    }

    /// An outlet onto a pipe, and the pipe's other end.
    fn onto_a_pipe(most: usize) -> (Outlet, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let write = move |line: &[u8]| (&writer).write_all(line).unwrap();
        (Outlet::start(most, write, |lines| format!("gap of {lines}\n").into_bytes()).unwrap(), reader)
    }

    /// Reads until all numbers up to `end` are accounted for, each in its place or in a gap; says how many came.
    fn read(reader: &mut io::PipeReader, from: usize, end: usize) -> usize {
        let (mut text, mut next, mut came) = (BufReader::new(reader).lines(), from, 0);
        while next < end {
            let said = text.next().unwrap().unwrap();
            if let Some(gap) = said.strip_prefix("gap of ") {
                next += gap.parse::<usize>().unwrap();
            } else {
                assert_eq!(said, format!("{next:07}"));
                (next, came) = (next + 1, came + 1);
            }
        }
        assert_eq!(next, end);
        came
    }

    #[test]
    fn a_reader_that_reads_loses_nothing_and_gets_it_in_order() {
        let (outlet, mut reader) = onto_a_pipe(MOST_BYTES);
        let reading = std::thread::spawn(move || read(&mut reader, 0, 100_000));
        (0..100_000).for_each(|number| outlet.say(&line(number)));
        outlet.flush(LONG_ENOUGH);
        assert_eq!(reading.join().unwrap(), 100_000);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_stands_still_and_it_is_said_how_much_is_missing() {
        // The pipe takes 64 KiB, and the queue as much again.
        let (outlet, mut reader) = onto_a_pipe(64 * 1024);
        let say = |from, end| (from..end).for_each(|number| outlet.say(&line(number)));
        say(0, 30_000);
        outlet.flush(Duration::from_millis(50));
        assert!(!outlet.shared.state().is_at_rest());
        let came = read(&mut reader, 0, 30_000);
        assert!((8192..29_000).contains(&came), "{came}");
        outlet.flush(LONG_ENOUGH);
        assert!(outlet.shared.state().is_at_rest());
        say(30_000, 30_010);
        assert_eq!(read(&mut reader, 30_000, 30_010), 10);
    }
}
