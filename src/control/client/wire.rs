//! HTTP/1.1 over the unix socket.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{ClientError, ControlClient};
use crate::control::api::{Failure, FailureCode};

/// A request before it is sent.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    route: String,
    body: Vec<u8>,
}

impl Call {
    pub(super) fn new(method: Method, route: impl Into<String>) -> Self {
        Self { method, route: route.into(), body: Vec::new() }
    }

    /// A POST with this body; its route is to be named.
    pub(super) fn json(body: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(body)?;
        Ok(Self { method: Method::POST, route: String::new(), body })
    }

    /// A POST of bytes as they are.
    pub(super) fn bytes(route: String, body: Vec<u8>) -> Self {
        Self { method: Method::POST, route, body }
    }

    pub(super) fn to(mut self, route: String) -> Self {
        self.route = route;
        self
    }
}

impl ControlClient {
    /// Sends the request and reads the whole answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let body = self.bytes(call).await?;
        serde_json::from_slice(&body).map_err(|source| self.unreadable(source))
    }

    /// Sends the request and reads the whole answer as it is.
    pub(super) async fn bytes(&self, call: Call) -> Result<Bytes, ClientError> {
        let body = self.open(call).await?;
        Ok(body.collect().await.map_err(|source| self.broken_off(source))?.to_bytes())
    }

    /// Sends the request and gives the answer's body, once it is known to be no refusal.
    pub(super) async fn open(&self, call: Call) -> Result<Incoming, ClientError> {
        let response = self.send(call).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = response.into_body().collect().await;
        let body = body.map_err(|source| self.broken_off(source))?.to_bytes();
        // What answers without a failure of ours is an HTTP library that never reached a handler.
        let failure = serde_json::from_slice(&body).unwrap_or_else(|_| Failure {
            code: FailureCode::BadRequest,
            message: format!("{status}: {}", String::from_utf8_lossy(&body)),
            hint: None,
        });
        Err(ClientError::Refused(failure))
    }

    async fn send(&self, call: Call) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| ClientError::connecting(self.path.clone(), source))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.broken_off(source))?;
        self.tasks.spawn(async move {
            // A failure here reaches whoever waits for the answer or reads its body.
            connection.await.ok();
        });
        let mut request = Request::new(Full::new(Bytes::from(call.body)));
        *request.method_mut() = call.method;
        *request.uri_mut() = call.route.parse().map_err(|source| {
            ClientError::Refused(Failure {
                code: FailureCode::BadRequest,
                message: format!("{} cannot be asked for: {source}", call.route),
                hint: None,
            })
        })?;
        let json = hyper::header::HeaderValue::from_static("application/json");
        let host = hyper::header::HeaderValue::from_static("localhost");
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(CONTENT_TYPE, json);
        sender.send_request(request).await.map_err(|source| self.broken_off(source))
    }

    pub(super) fn broken_off(&self, source: hyper::Error) -> ClientError {
        ClientError::BrokenOff { path: self.path.clone(), source }
    }

    pub(super) fn unreadable(&self, source: serde_json::Error) -> ClientError {
        ClientError::Unreadable { path: self.path.clone(), source }
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
            escaped.extend(digits.into_iter().flatten().map(|digit| digit.to_ascii_uppercase()));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_kinds_pass_through_a_route() {
        for (plain, escaped) in [
            ("slow", "slow"),
            ("H:host:3", "H%3Ahost%3A3"),
            ("a*/b?c=d&e", "a%2A%2Fb%3Fc%3Dd%26e"),
            ("grüße", "gr%C3%BC%C3%9Fe"),
        ] {
            assert_eq!(escape(plain), escaped);
        }
    }
}
