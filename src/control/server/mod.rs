//! The daemon's end of the control socket.
//!
//! A handler parses, calls one handle and converts; rules live behind the handles. A command runs
//! on the owner's task tracker, so a client that goes away does not undo it. Whoever may open the
//! socket's file may do everything here, and nothing here can set a command or a user.

mod bind;
mod caller;
mod commands;
mod connections;
mod convert;
mod door;
mod events;
mod logs;
mod queries;
mod queue;
mod refusal;
mod terminal;
#[cfg(test)]
mod tests;
mod trace;

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub use bind::BindError;
use bind::BoundSocket;
use caller::Caller;
use door::{CONNECTIONS_MAX, Door};
use refusal::Refusal;

use crate::supervisor::SupervisorHandle;

/// Longest request body, in bytes; requests are names and numbers.
const BODY_LEN_MAX: usize = 256 * 1024;
/// How long answers under way may take once the server is to stop.
const FAREWELL: Duration = Duration::from_secs(2);

/// A bound control socket that is not yet answered.
#[derive(Debug)]
pub struct ControlServer {
    socket: BoundSocket,
}

/// What every handler may use.
#[derive(Clone, Debug)]
struct App {
    supervisor: SupervisorHandle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ControlServer {
    /// Binds the socket file at `path`, reachable by nobody but those whom `mode` and `group` name.
    ///
    /// The folder is created when it is missing, and the file of a daemon that died is replaced.
    /// Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When a living process answers there, or the file cannot be made.
    pub fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<Self, BindError> {
        Ok(Self { socket: BoundSocket::bind(path, mode, group)? })
    }

    /// Answers until `stop` is cancelled and the answers under way are sent; then the file is
    /// removed. Commands go on `tasks`.
    pub async fn run(
        self,
        supervisor: SupervisorHandle,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) {
        let (listener, file) = self.socket.into_parts();
        let door = Door::new(listener, CONNECTIONS_MAX, tasks.clone());
        let router = router(App { supervisor, stop: stop.clone(), tasks });
        let serving = connections::serve(door, router, stop.clone());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = serving => {}
            () = overdue => warn!("a control request did not end in time"),
        }
        file.remove();
    }
}

fn router(app: App) -> Router {
    Router::new()
        .route("/v1/status", get(queries::status))
        .route("/v1/start", post(commands::start))
        .route("/v1/stop", post(commands::stop))
        .route("/v1/restart", post(commands::restart))
        .route("/v1/signal", post(commands::signal))
        .route("/v1/scale", post(commands::scale))
        .route("/v1/reload", post(commands::reload))
        .route("/v1/plan", get(queries::plan))
        .route("/v1/shutdown", post(commands::shutdown))
        .route("/v1/logs", get(logs::stream))
        .route("/v1/terminal/{worker}", get(terminal::view))
        .route("/v1/terminal/{worker}/keys", post(terminal::keys))
        .route("/v1/terminal/{worker}/size", post(terminal::size))
        .route("/v1/send", post(terminal::send))
        .route("/v1/events", get(events::stream))
        .route("/v1/jobs", get(queries::jobs))
        .route("/v1/jobs/{handle}", get(queries::job).delete(queries::cancel))
        .route("/v1/jobs/{handle}/cancel", post(queries::cancel))
        .route("/v1/jobs/{handle}/payload", get(queue::payload))
        .route("/v1/pause", post(queue::pause))
        .route("/v1/resume", post(queue::resume))
        .route("/v1/queue/export", get(queue::export))
        .route("/v1/queue/{action}", post(queue::sweep))
        .route("/v1/jobs/{handle}/kill", post(commands::kill))
        .route("/v1/trace", get(trace::stream))
        .route("/v1/explain/{name}", get(queries::explain))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_route)
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(app)
}

async fn unknown_route(method: Method, uri: Uri) -> Refusal {
    Refusal::unknown_route(&method, &uri)
}
