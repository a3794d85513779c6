//! Refusals: a [`Failure`] with the HTTP status that fits.

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::broker::BrokerGone;
use crate::control::api::{Failure, FailureCode};
use crate::logs::LogsGone;
use crate::supervisor::{CommandError, SupervisorGone};

/// What a handler answers instead of what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    failure: Failure,
}

impl Refusal {
    fn new(status: StatusCode, code: FailureCode, message: impl Into<String>) -> Self {
        Self { status, failure: Failure { code, message: message.into(), hint: None } }
    }

    /// The request is not understood.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, FailureCode::BadRequest, message)
    }

    /// Nothing has that name.
    pub(super) fn no_such_name(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, FailureCode::NoSuchName, message)
    }

    /// It did not come about.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, FailureCode::Failed, message)
    }

    /// We broke.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, FailureCode::Failed, message)
    }

    /// No route is there.
    pub(super) fn unknown_route(method: &Method, uri: &Uri) -> Self {
        let message = format!("this daemon has no {method} {}", uri.path());
        Self::new(StatusCode::NOT_FOUND, FailureCode::BadRequest, message).hint(format!(
            "it is version {}; the command line may be another one",
            env!("CARGO_PKG_VERSION")
        ))
    }

    /// Adds what to do.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    fn stopping(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, FailureCode::Stopping, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.failure)).into_response()
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NoSuchName { name, hint } => {
                let refusal = Self::no_such_name(format!("no pool or worker is called '{name}'"));
                match hint {
                    Some(hint) => refusal.hint(format!("did you mean '{hint}'?")),
                    None => refusal,
                }
            }
            CommandError::Failed(message) => Self::failed(message),
            CommandError::BadFile(errors) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, FailureCode::BadFile, errors.join("\n"))
            }
            CommandError::Gone(gone) => gone.into(),
        }
    }
}

impl From<SupervisorGone> for Refusal {
    fn from(gone: SupervisorGone) -> Self {
        Self::stopping(gone.to_string())
    }
}

impl From<BrokerGone> for Refusal {
    fn from(gone: BrokerGone) -> Self {
        Self::stopping(gone.to_string())
    }
}

impl From<LogsGone> for Refusal {
    fn from(gone: LogsGone) -> Self {
        Self::stopping(gone.to_string())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}
