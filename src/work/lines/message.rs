//! The JSON lines between an adapter and its program.
//!
//! ```text
//! in   {"handle":"H:h:7","function":"resize","unique":"a","payload":"…"}   or "payload_base64"
//! out  {"data":"…"}  {"status":[3,10]}  {"warning":"…"}                    any number, then one of
//!      {"result":"…"}  {"result_base64":"…"}  {"fail":true}  {"exception":"…"}
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::gearman::Assignment;

/// Bytes of a wrong line that are shown.
const SHOWN_LEN_MAX: usize = 120;

/// A reply of the program; the names are the keys.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Data(String),
    Status(u32, u32),
    Warning(String),
    Result(String),
    ResultBase64(Base64),
    Fail(True),
    Exception(String),
}

/// Bytes that are written in base64.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Base64(pub(super) Vec<u8>);

/// The only thing that `fail` can be.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "bool")]
pub(super) struct True;

#[derive(Serialize)]
struct Request<'a> {
    handle: &'a str,
    function: &'a str,
    unique: &'a str,
    #[serde(flatten)]
    payload: Payload<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload<'a> {
    Payload(&'a str),
    PayloadBase64(String),
}

/// A job as a line with its end.
///
/// # Errors
/// Never in practice: there is no value here that JSON lacks.
pub(super) fn request(job: &Assignment) -> Result<Vec<u8>, serde_json::Error> {
    let payload = match std::str::from_utf8(&job.payload) {
        Ok(text) => Payload::Payload(text),
        Err(_) => Payload::PayloadBase64(BASE64.encode(&job.payload)),
    };
    let mut line = serde_json::to_vec(&Request {
        handle: &String::from_utf8_lossy(&job.handle),
        function: &job.function.to_string(),
        unique: &job.unique.to_string(),
        payload,
    })?;
    line.push(b'\n');
    Ok(line)
}

/// Reads a reply.
///
/// # Errors
/// Tells what stands there instead.
pub(super) fn reply(line: &[u8]) -> Result<Reply, String> {
    serde_json::from_slice(line)
        .map_err(|error| format!("the program answered '{}': {error}", shown(line)))
}

/// The begin of a line, for people.
pub(super) fn shown(line: &[u8]) -> String {
    let line = line.trim_ascii_end();
    match line.get(..SHOWN_LEN_MAX) {
        Some(begin) => format!("{}…", String::from_utf8_lossy(begin).escape_debug()),
        None => String::from_utf8_lossy(line).escape_debug().to_string(),
    }
}

impl TryFrom<String> for Base64 {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64.decode(text).map(Self)
    }
}

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("\"fail\" can only be true") }
    }
}
