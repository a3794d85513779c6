//! Commands: what an operator wants changed.
//!
//! Each is answered when its effect has happened, or at once with `?wait=false`.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::refusal::Refusal;
use super::{App, Caller, queries};
use crate::control::api::{
    Done, Names, ReloadRequest, RestartRequest, ScaleRequest, SignalRequest,
};
use crate::model::NamePattern;
use crate::supervisor::{Actor, Answer, RestartMode, ScaleTo, SupervisorCommand};

type Outcome = Result<(StatusCode, Json<Done>), Refusal>;

/// A command as it arrived: what is asked, by whom, and whether the answer waits for the effect.
pub(super) struct Order<T> {
    pub(super) what: T,
    pub(super) actor: Actor,
    waiting: Waiting,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Waiting {
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

pub(super) async fn start(State(app): State<App>, order: Order<Names>) -> Outcome {
    let names = app.patterns(&order.what.names).await?;
    let command = |names, answer| SupervisorCommand::Start(names, order.actor, answer);
    app.carry_out(order.waiting, names, command).await
}

pub(super) async fn stop(State(app): State<App>, order: Order<Names>) -> Outcome {
    let names = app.patterns(&order.what.names).await?;
    let command = |names, answer| SupervisorCommand::Stop(names, order.actor, answer);
    app.carry_out(order.waiting, names, command).await
}

pub(super) async fn restart(State(app): State<App>, order: Order<RestartRequest>) -> Outcome {
    let names = app.patterns(&order.what.names).await?;
    let mode = if order.what.now { RestartMode::Now } else { RestartMode::Roll };
    let actor = order.actor;
    let command = move |names, answer| SupervisorCommand::Restart { names, mode, actor, answer };
    app.carry_out(order.waiting, names, command).await
}

pub(super) async fn signal(State(app): State<App>, order: Order<SignalRequest>) -> Outcome {
    let signal = parse_signal(&order.what.signal)?;
    let names = app.patterns(&order.what.names).await?;
    let command =
        move |names, answer| SupervisorCommand::Signal(names, signal, order.actor, answer);
    app.carry_out(order.waiting, names, command).await
}

pub(super) async fn scale(State(app): State<App>, order: Order<ScaleRequest>) -> Outcome {
    let to = match order.what.bounds {
        None => ScaleTo::Auto,
        Some((min, max)) if min <= max => ScaleTo::Bounds { min, max },
        Some((min, max)) => {
            return Err(Refusal::bad_request(format!("min = {min} is above max = {max}")));
        }
    };
    let hold = order.what.hold_seconds.map(Duration::from_secs);
    let names = app.patterns(&order.what.names).await?;
    let actor = order.actor;
    let command = move |names, answer| SupervisorCommand::Scale { names, to, hold, actor, answer };
    app.carry_out(order.waiting, names, command).await
}

pub(super) async fn reload(State(app): State<App>, order: Order<ReloadRequest>) -> Outcome {
    let (allow_empty, actor) = (order.what.allow_empty, order.actor);
    let command = move |_, answer| SupervisorCommand::Reload { allow_empty, actor, answer };
    app.carry_out(order.waiting, Vec::new(), command).await
}

/// Kills the worker that holds the job; the job is charged and tried again, or given up.
pub(super) async fn kill(
    State(app): State<App>,
    Path(handle): Path<String>,
    order: Order<Nothing>,
) -> Outcome {
    let worker = app.holder(&handle).await?;
    let actor = order.actor;
    let command = move |_, answer| SupervisorCommand::KillJob { worker, handle, actor, answer };
    app.carry_out(order.waiting, Vec::new(), command).await
}

pub(super) async fn shutdown(State(app): State<App>, order: Order<Nothing>) -> Outcome {
    let command = |_, answer| SupervisorCommand::Shutdown(order.actor, answer);
    app.carry_out(order.waiting, Vec::new(), command).await
}

/// The body of a command that says everything by its route.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Nothing {}

impl<T: DeserializeOwned + Send> FromRequest<App> for Order<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let Query(waiting) = Query::from_request_parts(&mut parts, app).await?;
        let caller = ConnectInfo::<Caller>::from_request_parts(&mut parts, app).await;
        let body = Bytes::from_request(Request::from_parts(parts, body), app).await?;
        let what = parse(&body)?;
        let actor = match caller {
            Ok(ConnectInfo(caller)) => caller.actor().await,
            Err(_) => "someone".to_owned(),
        };
        Ok(Self { what, actor, waiting })
    }
}

impl App {
    /// What the names of a command mean.
    pub(super) async fn patterns(&self, names: &[String]) -> Result<Vec<NamePattern>, Refusal> {
        if names.is_empty() {
            return Err(Refusal::bad_request("no name is given").hint("'all' means every pool"));
        }
        self.meant(names).await
    }

    /// Sends the command from a task of its own, so that it is carried out whatever the client does.
    async fn carry_out(
        &self,
        waiting: Waiting,
        names: Vec<NamePattern>,
        command: impl FnOnce(Vec<NamePattern>, Answer) -> SupervisorCommand + Send + 'static,
    ) -> Outcome {
        if !waiting.wait {
            // Nobody hears the command's own answer, so what can be known now is checked now.
            queries::require(&self.supervisor.snapshot().await?, &names)?;
        }
        let supervisor = self.supervisor.clone();
        let running = self.tasks.spawn(async move {
            let outcome = supervisor.command(|answer| command(names, answer)).await;
            if let (false, Err(error)) = (waiting.wait, &outcome) {
                warn!(%error, "a command that nobody waited for failed");
            }
            outcome
        });
        if !waiting.wait {
            return Ok((StatusCode::ACCEPTED, Json(Done::default())));
        }
        let ended = running.await.map_err(|error| {
            Refusal::internal(format!("the command broke off, its effect is unknown: {error}"))
        })?;
        Ok((StatusCode::OK, Json(Done { done: ended? })))
    }
}

/// Reads a body whatever its content type, so that `curl -d` works; none at all is `{}`.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("the request's body is not right: {error}")))
}

/// `HUP`, `hup`, `SIGHUP` or `1`.
fn parse_signal(text: &str) -> Result<Signal, Refusal> {
    let upper = text.to_ascii_uppercase();
    let signal = match upper.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok(),
        Err(_) if upper.starts_with("SIG") => upper.parse().ok(),
        Err(_) => format!("SIG{upper}").parse().ok(),
    };
    signal.ok_or_else(|| {
        Refusal::bad_request(format!("'{text}' is no signal"))
            .hint("write a name or a number of kill -l, such as HUP or 1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_as_kill_names_it() {
        for text in ["HUP", "hup", "SIGHUP", "1"] {
            assert_eq!(parse_signal(text).unwrap(), Signal::SIGHUP, "{text}");
        }
        for text in ["", "0", "99", "HANGUP", "SIGSIGHUP"] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }
}
