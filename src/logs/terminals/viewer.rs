//! One who looks at a terminal, through a queue that never makes the worker wait.
//!
//! When the queue is full what was printed is dropped: the screen is painted anew as soon as there is
//! room again, which shows the same in the end.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::request::TerminalNews;

/// Batches between us and a viewer; when they are all full, the queue grows.
pub(in crate::logs) const BATCHES_MAX: usize = 4;
/// Bytes of output in the queue.
const QUEUE_LEN_MAX: usize = 256 * 1024;
/// What a piece costs besides its bytes.
const PIECE_LEN: usize = 2 * size_of::<TerminalNews>();
/// News other than output that are kept; of more the oldest are dropped.
const NEWS_MAX: usize = 64;

/// What a viewer has not taken yet.
#[derive(Debug, Default)]
pub(in crate::logs) struct Viewer {
    queue: RefCell<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    news: VecDeque<TerminalNews>,
    len: usize,
    /// The screen has to be painted anew.
    is_stale: bool,
}

impl Viewer {
    /// Adds news at the end.
    pub(super) fn push(&self, news: TerminalNews) {
        self.queue.borrow_mut().push(news);
        self.filled.notify_one();
    }

    /// Has the screen painted next.
    pub(super) fn repaint(&self) {
        self.queue.borrow_mut().stale();
        self.filled.notify_one();
    }

    /// Sends news until the viewer leaves or the logs close; `screen` gives the whole screen.
    pub(in crate::logs) async fn run(
        &self,
        screen: impl Fn() -> Option<TerminalNews>,
        sender: mpsc::Sender<Vec<TerminalNews>>,
        closing: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = self.filled.notified() => {}
                () = sender.closed() => return,
                () = closing.cancelled() => return,
            }
            let Some(room) = closing.run_until_cancelled(sender.reserve()).await else { return };
            let Ok(room) = room else { return };
            let (mut news, is_stale) = self.queue.borrow_mut().take();
            if is_stale {
                let Some(screen) = screen() else { return };
                news.push(screen);
            }
            room.send(news);
        }
    }
}

impl Queue {
    fn push(&mut self, news: TerminalNews) {
        match &news {
            // It will be on the screen that is painted.
            TerminalNews::Output(_) | TerminalNews::Resized(_) if self.is_stale => return,
            TerminalNews::Output(bytes) => {
                self.len += bytes.len() + PIECE_LEN;
                if self.len > QUEUE_LEN_MAX {
                    return self.stale();
                }
            }
            TerminalNews::Screen { .. }
            | TerminalNews::Resized(_)
            | TerminalNews::Gone
            | TerminalNews::Mark(_)
            | TerminalNews::KeyboardTaken { .. } => {
                if self.news.len() >= NEWS_MAX + self.len / PIECE_LEN {
                    self.stale();
                    self.news.truncate(NEWS_MAX - 1);
                }
            }
        }
        self.news.push_back(news);
    }

    fn stale(&mut self) {
        self.is_stale = true;
        self.len = 0;
        self.news.retain(|news| match news {
            TerminalNews::Output(_) | TerminalNews::Resized(_) | TerminalNews::Screen { .. } => {
                false
            }
            TerminalNews::Gone | TerminalNews::Mark(_) | TerminalNews::KeyboardTaken { .. } => true,
        });
    }

    fn take(&mut self) -> (Vec<TerminalNews>, bool) {
        self.len = 0;
        (self.news.drain(..).collect(), std::mem::take(&mut self.is_stale))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn output(len: usize) -> TerminalNews {
        TerminalNews::Output(Bytes::from(vec![b'x'; len]))
    }

    #[test]
    fn a_viewer_that_is_too_slow_gets_the_screen_in_place_of_what_was_printed() {
        let mut queue = Queue::default();
        queue.push(output(10));
        queue.push(TerminalNews::Gone);
        for _ in 0..100_000 {
            queue.push(output(100));
        }
        assert!(queue.news.len() < 10 && queue.len <= QUEUE_LEN_MAX);
        assert_eq!(queue.take(), (vec![TerminalNews::Gone], true));
        queue.push(output(1));
        assert_eq!(queue.take(), (vec![output(1)], false));
    }

    #[test]
    fn news_of_all_kinds_are_bounded() {
        let mut queue = Queue::default();
        for n in 0..10_000 {
            queue.push(TerminalNews::Mark(n.to_string()));
            queue.push(output(1));
        }
        assert!(queue.news.len() <= NEWS_MAX, "{}", queue.news.len());
        assert!(queue.take().1);
    }
}
