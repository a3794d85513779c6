//! The thread that owns the logs: starts it, and carries requests out.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::thread::JoinHandle;

use jiff::tz::TimeZone;
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::board::Board;
use super::compress;
use super::follower::BATCHES_MAX;
use super::handle::{LogFilter, LogSource, LogStream, LogsHandle, LogsRequest, Subscription};
use super::hub::Hub;
use super::outlet::Sockets;
use super::pipe::{PipeId, SharedWatch};
use super::pump;
use super::sink::Sink;
use super::terminals::{
    BATCHES_MAX as VIEWS_MAX, KeyboardId, TerminalRequest, TerminalView, Viewer,
};
use crate::model::WorkerName;

/// Workers' output.
#[derive(Debug)]
pub struct Logs;

/// The running thread.
#[derive(Debug)]
pub struct LogsThread {
    thread: JoinHandle<()>,
}

/// The logs could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the thread for workers' output could not be started")]
pub struct LogsStartError(#[from] io::Error);

/// The owner of everything on the thread.
#[derive(Debug)]
struct LogsTask {
    hub: Rc<RefCell<Hub>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Logs {
    /// Starts the thread. It ends after [`LogsRequest::Shutdown`], or when the last handle goes.
    ///
    /// # Errors
    /// When the system has no room for a thread or its event queue.
    pub fn start() -> Result<(LogsHandle, LogsThread), LogsStartError> {
        Self::start_with(Sockets::default())
    }

    /// The same with the system's logs at other places.
    pub(super) fn start_with(sockets: Sockets) -> Result<(LogsHandle, LogsThread), LogsStartError> {
        let (sender, requests) = mpsc::channel(LogsHandle::REQUESTS_MAX);
        let (board, published) = Board::new();
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("logs-history")
            .build()?;
        let thread = std::thread::Builder::new()
            .name("logs".into())
            .spawn(move || run(runtime, Sink::new(TimeZone::system(), sockets, board), requests))?;
        Ok((LogsHandle::new(sender, published), LogsThread { thread }))
    }
}

impl LogsThread {
    /// Waits for the end of the thread; true when it ended as it should.
    #[must_use]
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}

fn run(runtime: Runtime, sink: Sink, mut requests: mpsc::Receiver<LogsRequest>) {
    LocalSet::new().block_on(&runtime, async {
        let task = LogsTask {
            hub: Rc::new(RefCell::new(Hub::new(sink))),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        task.start_compression();
        let mut closed = None;
        while let Some(request) = requests.recv().await {
            if let ControlFlow::Break(reply) = task.handle(request) {
                closed = Some(reply);
                break;
            }
        }
        task.close().await;
        if let Some(reply) = closed {
            answer(reply, ());
        }
    });
    // A subscriber that does not read may hold up the reading of its past for ever.
    runtime.shutdown_background();
}

impl LogsTask {
    /// Carries a request out; breaks with whoever is to be told of the end.
    fn handle(&self, request: LogsRequest) -> ControlFlow<oneshot::Sender<()>> {
        let mut hub = self.hub.borrow_mut();
        match request {
            LogsRequest::Configure { pool, settings } => hub.configure(&pool, &settings),
            LogsRequest::Forget(pool) => hub.forget(&pool),
            LogsRequest::Attach { worker, pid, source, line } => {
                let line = line.map(|line| Rc::new(RefCell::new(Some(line))));
                self.attach(&mut hub, (&worker, pid), source, line.as_ref());
            }
            LogsRequest::Mark { worker, text } => hub.mark(&worker, &text),
            LogsRequest::Tail { worker, lines, reply } => answer(reply, hub.tail(&worker, lines)),
            LogsRequest::Subscribe { filter, reply } => {
                answer(reply, self.subscribe(&mut hub, filter));
            }
            LogsRequest::Terminal(request) => self.terminal(&mut hub, request),
            LogsRequest::Reopen => hub.sink.reopen(),
            LogsRequest::Shutdown(reply) => return ControlFlow::Break(reply),
        }
        ControlFlow::Continue(())
    }

    fn start_compression(&self) {
        let wake = self.hub.borrow().sink.files.compression();
        self.tasks.spawn_local(compress::run(Rc::clone(&self.hub), wake, self.closing.clone()));
    }

    fn attach(
        &self,
        hub: &mut Hub,
        (worker, pid): (&WorkerName, i32),
        source: LogSource,
        line: Option<&SharedWatch>,
    ) {
        let (stdout, stderr) = match source {
            LogSource::Pipes { stdout, stderr } => (stdout, stderr),
            LogSource::Terminal(fd) => return self.attach_terminal(hub, (worker, pid), fd, line),
        };
        for (stream, fd) in [(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)] {
            match pipe::Receiver::from_owned_fd(fd).map(Rc::new) {
                Ok(fd) => {
                    let id =
                        hub.attach((worker.clone(), pid), stream, Rc::clone(&fd), line.cloned());
                    self.pump(id, fd);
                }
                Err(error) => {
                    warn!(%worker, stream = stream.as_str(), %error, "output cannot be read");
                }
            }
        }
    }

    fn attach_terminal(
        &self,
        hub: &mut Hub,
        (worker, pid): (&WorkerName, i32),
        fd: OwnedFd,
        line: Option<&SharedWatch>,
    ) {
        // Unchecked: it is no pipe, and is waited for like one.
        let keys = fd.try_clone().and_then(pipe::Sender::from_owned_fd_unchecked);
        match (pipe::Receiver::from_owned_fd_unchecked(fd), keys) {
            (Ok(fd), Ok(keys)) => {
                let fd = Rc::new(fd);
                let ends = (Rc::clone(&fd), keys);
                let (id, keyboard) =
                    hub.attach_terminal((worker.clone(), pid), ends, line.cloned());
                self.tasks.spawn_local(self.closing.clone().run_until_cancelled_owned(keyboard));
                self.pump(id, fd);
            }
            (Err(error), _) | (_, Err(error)) => {
                warn!(%worker, %error, "a terminal cannot be read");
            }
        }
    }

    fn pump(&self, id: PipeId, fd: Rc<pipe::Receiver>) {
        let pump = pump::run(Rc::clone(&self.hub), id, fd);
        self.tasks.spawn_local(self.closing.clone().run_until_cancelled_owned(pump));
    }

    fn terminal(&self, hub: &mut Hub, request: TerminalRequest) {
        match request {
            TerminalRequest::View { worker, keyboard, reply } => {
                let viewed = hub.view(&worker, keyboard.as_ref());
                let types = keyboard.is_some();
                answer(reply, viewed.map(|(id, viewer)| self.show(worker, id, viewer, types)));
            }
            TerminalRequest::Type { worker, by, keys, reply } => {
                hub.terminals.type_into(&worker, by, keys, reply);
            }
            TerminalRequest::Resize { worker, by, size, reply } => {
                answer(reply, hub.resize(&worker, by, size));
            }
        }
    }

    fn show(&self, worker: WorkerName, id: u64, viewer: Rc<Viewer>, types: bool) -> TerminalView {
        let (sender, news) = mpsc::channel(VIEWS_MAX);
        let (hub, closing) = (Rc::clone(&self.hub), self.closing.clone());
        self.tasks.spawn_local(async move {
            viewer.run(|| hub.borrow().screen(&worker), sender, closing).await;
            hub.borrow_mut().leave(&worker, id);
        });
        TerminalView { news, keyboard: types.then_some(KeyboardId(id)) }
    }

    fn subscribe(&self, hub: &mut Hub, filter: LogFilter) -> Subscription {
        let (sender, entries) = mpsc::channel(BATCHES_MAX);
        let history = hub.sink.history(&filter);
        let closing = self.closing.clone();
        if filter.follow {
            let (id, follower) = hub.sink.follow(filter);
            let hub = Rc::clone(&self.hub);
            self.tasks.spawn_local(async move {
                follower.run(history, sender, closing).await;
                hub.borrow_mut().sink.unfollow(id);
            });
        } else if let Some(history) = history {
            self.tasks.spawn_local(async move {
                closing.run_until_cancelled(history.send(sender)).await;
            });
        }
        Subscription { entries }
    }

    /// Writes what is there and lets everybody who waits know.
    async fn close(&self) {
        self.hub.borrow_mut().close();
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let outlets_closed = self.hub.borrow_mut().sink.outlets.close();
        outlets_closed.await;
    }
}

/// An asker that left needs no answer.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}
