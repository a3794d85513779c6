//! The keys `ready` and `liveness`: what tells that a worker can work, and that it still can.

use std::time::Duration;

use regex::bytes::Regex;

use super::command;
use super::value::Value;
use super::wrong::{Parsed, Wrong};

/// Alive for so long is ready, where nothing else is asked for.
const ALIVE_AFTER: Duration = Duration::from_secs(1);
const START_TIMEOUT: Duration = Duration::from_mins(1);
const PERIOD: Duration = Duration::from_secs(10);
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
const FAILURES: u32 = 3;
const HTTP_PORT: u16 = 80;

/// When a process is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What tells.
    pub on: ReadyOn,
    /// It must have lived so long, too.
    pub after: Duration,
    /// A start that takes longer has failed; means nothing with [`ReadyOn::Alive`].
    pub timeout: Duration,
}

/// What tells that a process is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyOn {
    /// It lives, or it has registered a function.
    Alive,
    /// It has registered a function with the broker.
    Registered,
    /// It says so through `NOTIFY_SOCKET`, as in sd_notify(3).
    Notify,
    /// A line of its output matches this regular expression.
    Line(String),
    /// A check succeeds.
    Check(Check),
}

/// A check from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// GET is answered with a status below 400.
    Http {
        /// `HOST:PORT`
        address: String,
        /// Path and query.
        path: String,
    },
    /// A program, run as the worker is, ends with 0.
    Exec(Vec<String>),
}

/// When a process that was ready is no longer well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// What tells.
    pub on: LivenessOn,
    /// Time between checks; with [`LivenessOn::Notify`] the longest silence.
    pub period: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// So many failures in a row end the process.
    pub failures: u32,
}

/// What tells that a process is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LivenessOn {
    /// It says `WATCHDOG=1` through `NOTIFY_SOCKET` at least once in a period.
    Notify,
    /// A check succeeds.
    Check(Check),
}

impl Default for Ready {
    fn default() -> Self {
        Self { on: ReadyOn::Alive, after: ALIVE_AFTER, timeout: START_TIMEOUT }
    }
}

/// Reads `ready`; `start_timeout` is the key beside it.
pub(super) fn ready(value: &Value<'_>, start_timeout: Option<Duration>) -> Parsed<Ready> {
    let usual = Ready::default();
    if !value.is_table() {
        let on = value.parse(ready_on)?;
        let after = usual_after(&on);
        return Ok(Ready { on, after, timeout: start_timeout.unwrap_or(usual.timeout) });
    }
    let table = value.table()?;
    let on = table.read("on", |on| on.parse(ready_on)).unwrap_or(usual.on);
    let after = table.read("after", Value::duration).unwrap_or_else(|| usual_after(&on));
    let timeout = table.read("timeout", Value::duration);
    table.finish();
    if timeout.is_some() && start_timeout.is_some() {
        let wrong = Wrong::new("timeout is start_timeout, which is set too");
        return Err(wrong.hint("remove one of the two"));
    }
    let timeout = timeout.or(start_timeout).unwrap_or(usual.timeout);
    if on != ReadyOn::Alive && after >= timeout {
        let wrong = Wrong::new("after is not below the timeout: no start would ever be ready");
        return Err(wrong.hint("lower after or raise start_timeout"));
    }
    Ok(Ready { on, after, timeout })
}

/// Reads `liveness`.
pub(super) fn liveness(value: &Value<'_>) -> Parsed<Liveness> {
    let of = |on| Liveness { on, period: PERIOD, timeout: CHECK_TIMEOUT, failures: FAILURES };
    if !value.is_table() {
        return value.parse(liveness_on).map(of);
    }
    let table = value.table()?;
    let on = table.read("on", |on| on.parse(liveness_on));
    let period = table.read("period", Value::duration).unwrap_or(PERIOD);
    let timeout = table.read("timeout", Value::duration).unwrap_or(CHECK_TIMEOUT);
    let failures = table.read("failures", Value::number).unwrap_or(FAILURES);
    let has_on = table.get("on").is_some();
    table.finish();
    if period.is_zero() || timeout.is_zero() || failures == 0 {
        let wrong = Wrong::new("period, timeout and failures must be above nothing");
        return Err(wrong.hint("write as in { period = \"10s\", timeout = \"3s\", failures = 3 }"));
    }
    match on {
        Some(on) => Ok(Liveness { on, period, timeout, failures }),
        // It has been reported at the key itself.
        None if has_on => Ok(of(LivenessOn::Notify)),
        None => {
            Err(Wrong::new("on is missing").hint("write on = \"http:…\", \"exec:…\" or \"notify\""))
        }
    }
}

fn usual_after(on: &ReadyOn) -> Duration {
    if *on == ReadyOn::Alive { ALIVE_AFTER } else { Duration::ZERO }
}

fn ready_on(text: &str) -> Parsed<ReadyOn> {
    match text {
        "alive" => Ok(ReadyOn::Alive),
        "registered" => Ok(ReadyOn::Registered),
        "notify" => Ok(ReadyOn::Notify),
        _ => match text.strip_prefix("log:") {
            Some(pattern) => line(pattern),
            None => check(text)?.map(ReadyOn::Check).ok_or_else(|| {
                Wrong::new(format!("'{text}' is not known here")).hint(
                    "write alive, registered, notify, log:REGEX, http://HOST:PORT/PATH or \
                     exec:COMMAND",
                )
            }),
        },
    }
}

fn liveness_on(text: &str) -> Parsed<LivenessOn> {
    if text == "notify" {
        return Ok(LivenessOn::Notify);
    }
    check(text)?.map(LivenessOn::Check).ok_or_else(|| {
        Wrong::new(format!("'{text}' is not known here"))
            .hint("write notify, http://HOST:PORT/PATH or exec:COMMAND")
    })
}

fn line(pattern: &str) -> Parsed<ReadyOn> {
    match Regex::new(pattern) {
        Ok(_) => Ok(ReadyOn::Line(pattern.to_owned())),
        Err(error) => {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default().trim().to_owned();
            Err(Wrong::new(format!("'{pattern}' is no regular expression: {last}"))
                .hint("a backslash is written twice in double quotes, once in single ones"))
        }
    }
}

/// `http:URL` or `exec:COMMAND`; `None` for anything else.
fn check(text: &str) -> Parsed<Option<Check>> {
    if let Some(text) = text.strip_prefix("exec:") {
        return command::split(text).map(|argv| Some(Check::Exec(argv)));
    }
    let Some(rest) = text.strip_prefix("http:") else { return Ok(None) };
    let rest = rest.strip_prefix("http:").unwrap_or(rest);
    let wrong = || {
        Wrong::new(format!("'{text}' is not an address"))
            .hint("write as in \"http://127.0.0.1:8080/health\"")
    };
    let rest = rest.strip_prefix("//").ok_or_else(wrong)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let has_port = host.rsplit_once(':').is_some_and(|(name, _)| !name.ends_with(':'));
    if host.is_empty() || rest.contains([' ', '\r', '\n']) {
        return Err(wrong());
    }
    let address = if has_port { host.to_owned() } else { format!("{host}:{HTTP_PORT}") };
    let path = if path.is_empty() { "/" } else { path }.to_owned();
    Ok(Some(Check::Http { address, path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_readiness_is_one_text() {
        let http = |address: &str, path: &str| {
            ReadyOn::Check(Check::Http { address: address.to_owned(), path: path.to_owned() })
        };
        for (text, on) in [
            ("alive", Some(ReadyOn::Alive)),
            ("log:ready to (work|serve)", Some(ReadyOn::Line("ready to (work|serve)".to_owned()))),
            ("log:(", None),
            ("http://127.0.0.1:80/x?y=1", Some(http("127.0.0.1:80", "/x?y=1"))),
            ("http:http://h", Some(http("h:80", "/"))),
            ("http:h", None),
            ("https://h", None),
            (
                "exec:curl -f x",
                Some(ReadyOn::Check(Check::Exec(["curl", "-f", "x"].map(str::to_owned).to_vec()))),
            ),
            ("exec:a | b", None),
            ("regsitered", None),
        ] {
            assert_eq!(ready_on(text).ok(), on, "{text}");
        }
    }
}
