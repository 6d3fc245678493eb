//! One attempt at a row, or one sweep, polled by hand.
//!
//! Each actor has a flag that its wakers raise. Who is polled next, and after what, is the run's to say.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use kore_archiver::queue::{Claimed, Desk, Write, Writer};

pub(crate) type Work = Pin<Box<dyn Future<Output = Option<Write>> + Send>>;

pub(crate) struct Actor {
    work: Work,
    flag: Arc<Flag>,
    /// `None`: a sweep.
    pub(crate) claimed: Option<Arc<Claimed>>,
    /// The row's life in which it was claimed.
    pub(crate) life: u64,
    /// The row's own errors until then.
    pub(crate) own_before: u32,
    /// Of which process it is.
    pub(crate) writer: Writer,
    pub(crate) desk: Arc<Desk>,
    /// That process has been replaced, and does not know.
    pub(crate) is_zombie: bool,
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actor").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Flag {
    is_up: AtomicBool,
    run: Arc<AtomicWaker>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.is_up.store(true, Ordering::SeqCst);
        self.run.wake();
    }
}

impl Actor {
    /// Its first poll is due.
    pub(crate) fn new(work: Work, run: &Arc<AtomicWaker>, writer: &Writer, desk: &Arc<Desk>) -> Self {
        let flag = Arc::new(Flag { is_up: AtomicBool::new(true), run: Arc::clone(run) });
        let (writer, desk) = (writer.clone(), Arc::clone(desk));
        Self { work, flag, claimed: None, life: 0, own_before: 0, writer, desk, is_zombie: false }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flag.is_up.load(Ordering::SeqCst)
    }

    pub(crate) fn poll(&mut self) -> Poll<Option<Write>> {
        self.flag.is_up.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.flag));
        self.work.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Until one of its wakers is used: by SQLite, which answers from a thread of its own.
    pub(crate) async fn woken(&self) {
        std::future::poll_fn(|context| {
            self.flag.run.register(context.waker());
            if self.is_woken() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
