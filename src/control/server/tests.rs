//! Server and client over a real socket, with a supervisor, a broker and logs that are fakes.

mod scene;

use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::broker::{self, BrokerHandle};
use crate::control::api::{
    DaemonState, Failure, FailureCode, Intent, LogRecord, Names, ReloadRequest, RestartRequest,
    ScaleRequest, SignalRequest,
};
use crate::control::client::{ClientError, Command, ControlClient, LogQuery, Wait};
use crate::logs::{
    LogEntry, LogLine, LogStream, LogsHandle, LogsRequest, LogsSnapshot, Subscription,
};
use crate::model::NamePattern;
use crate::pool::PoolNews;
use crate::supervisor::{Answer, CommandError, CountNews, ScaleTo, SupervisorCommand};

/// A server on a socket of its own, its client, and the ends that the fakes hold.
struct Stage {
    client: ControlClient,
    commands: mpsc::Receiver<SupervisorCommand>,
    jobs: mpsc::Receiver<broker::Command>,
    logs: mpsc::Receiver<LogsRequest>,
    stop: CancellationToken,
    server: JoinHandle<()>,
    _home: tempfile::TempDir,
}

#[tokio::test]
async fn status_tells_what_pools_broker_and_host_know() {
    let mut stage = Stage::set();
    let client = stage.client.clone();
    let (status, ()) = tokio::join!(client.status(), stage.answer_snapshot());
    let status = status.unwrap();
    assert_eq!((status.name.as_str(), status.state), ("workers", DaemonState::Running));
    assert_eq!(status.config.rejected.unwrap().errors, ["workers.toml:9:1: pool.x.cout: unknown"]);
    let [slow] = &status.pools[..] else { panic!("not one pool") };
    assert_eq!((slow.intent, slow.running, slow.target, slow.hold), (Intent::Up, 1, 2, None));
    assert_eq!(slow.functions, ["slow"], "learned from what its workers registered");
    assert_eq!(slow.reason, "count = 2 in the file");
    let [one, two] = &slow.workers[..] else { panic!("not two workers") };
    assert_eq!(
        one.last_exit.as_deref(),
        Some("killed by KILL; job H:x:3 moved to slow:2, attempt 2 of 3")
    );
    assert_eq!((one.tied, one.pid, one.restarts), (None, None, 1));
    assert_eq!((two.tied, two.done, two.rss), (Some(true), 5, Some(84_000_000)));
    assert_eq!(two.jobs[0].handle, "H:x:3");
    assert_eq!(two.jobs[0].worker.as_deref(), Some("slow:2"));
}

#[tokio::test]
async fn every_command_reaches_the_supervisor_as_it_was_meant() {
    let mut stage = Stage::set();
    let names = || Names { names: vec!["slow".to_owned(), "a:1".to_owned()] };
    let scale = |bounds| ScaleRequest { names: names().names, bounds, hold_seconds: Some(60) };
    let restart = |now| Command::Restart(RestartRequest { names: names().names, now });
    let kill = SignalRequest { names: names().names, signal: "usr1".to_owned() };
    for (command, want) in [
        (Command::Start(names()), "start slow a:1"),
        (Command::Stop(names()), "stop slow a:1"),
        (restart(false), "restart Roll slow a:1"),
        (restart(true), "restart Now slow a:1"),
        (Command::Signal(kill), "signal SIGUSR1 slow a:1"),
        (Command::Scale(scale(Some((1, 4)))), "scale Bounds { min: 1, max: 4 } 60s slow a:1"),
        (Command::Scale(scale(None)), "scale Auto 60s slow a:1"),
        (Command::Reload(ReloadRequest { allow_empty: true }), "reload true"),
        (Command::Shutdown, "shutdown"),
    ] {
        let client = stage.client.clone();
        let (done, answer) = tokio::join!(client.command(&command, Wait::ForEffect), async {
            let (text, actor, answer) = describe(stage.commands.recv().await.unwrap());
            assert!(actor.contains("(pid "), "{actor}");
            answer.send(Ok(vec![text.clone()])).unwrap();
            text
        });
        assert_eq!(answer, want);
        assert_eq!(done.unwrap().done, [want]);
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_has_a_fitting_status() {
    let mut stage = Stage::set();
    let near = CommandError::NoSuchName { name: "slw".to_owned(), hint: Some("slow".to_owned()) };
    for (error, code, status) in [
        (near, FailureCode::NoSuchName, 404),
        (CommandError::Failed("slow:1 is FATAL".to_owned()), FailureCode::Failed, 409),
        (CommandError::BadFile(vec!["a:1:1: b".to_owned()]), FailureCode::BadFile, 422),
        (CommandError::Gone(crate::supervisor::SupervisorGone), FailureCode::Stopping, 503),
    ] {
        let path = stage.client.path().to_owned();
        let (answer, ()) = tokio::join!(raw(&path, "POST /v1/reload", ""), async {
            let (_, _, answer) = describe(stage.commands.recv().await.unwrap());
            answer.send(Err(error)).unwrap();
        });
        let failure: Failure = serde_json::from_str(&answer.1).unwrap();
        assert_eq!((answer.0, failure.code), (status, code));
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_before_anybody_is_asked() {
    let stage = Stage::set();
    let path = stage.client.path();
    for (request, body, status, word) in [
        ("POST /v1/stop", "", 400, "names"),
        ("POST /v1/stop", r#"{"names":[]}"#, 400, "no name is given"),
        ("POST /v1/signal", r#"{"names":["a"],"signal":"HANGUP"}"#, 400, "is no signal"),
        ("POST /v1/scale", r#"{"names":["a"],"bounds":[3,2]}"#, 400, "above max"),
        ("POST /v1/stop?wait=perhaps", r#"{"names":["a"]}"#, 400, "wait"),
        ("GET /v1/logs?lines=x", "", 400, "lines=x"),
        ("GET /v1/jobs?limit=-1", "", 400, "limit"),
        ("GET /v1/stop", "", 404, "has no GET /v1/stop"),
        ("GET /", "", 404, "has no GET /"),
    ] {
        let (got, answer) = raw(path, request, body).await;
        let failure: Failure = serde_json::from_str(&answer).unwrap();
        assert_eq!((got, failure.code), (status, FailureCode::BadRequest), "{request}");
        assert!(failure.message.contains(word), "{request}: {}", failure.message);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_undo_its_command() {
    let mut stage = Stage::set();
    let mut stream = UnixStream::connect(stage.client.path()).await.unwrap();
    stream.write_all(request("POST /v1/stop", r#"{"names":["all"]}"#).as_bytes()).await.unwrap();
    let (_, _, answer) = describe(stage.commands.recv().await.unwrap());
    drop(stream);
    // The server sees the end of the first connection before it answers on a later one.
    let client = stage.client.clone();
    let (status, ()) = tokio::join!(client.status(), stage.answer_snapshot());
    status.unwrap();
    assert!(!answer.is_closed(), "somebody still waits for the effect");
}

#[tokio::test]
async fn a_command_without_waiting_is_answered_at_once_but_for_wrong_names() {
    let mut stage = Stage::set();
    for (name, is_known) in [("slow", true), ("slow:1", true), ("slwo", false)] {
        let client = stage.client.clone();
        let command = Command::Stop(Names { names: vec![name.to_owned()] });
        let (done, ()) = tokio::join!(client.command(&command, Wait::No), stage.answer_snapshot());
        match done {
            Ok(_) => {
                assert!(is_known);
                // Never answered, and yet the client has its word.
                let (text, _, _answer) = describe(stage.commands.recv().await.unwrap());
                assert_eq!(text, format!("stop {name}"));
            }
            Err(ClientError::Refused(failure)) => {
                assert!(!is_known);
                assert_eq!(failure.hint.as_deref(), Some("did you mean 'slow'?"));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn logs_stream_lines_of_any_bytes_and_tell_what_was_missed() {
    let mut stage = Stage::set();
    let query = LogQuery { names: vec!["slow:2".to_owned()], lines: 7, since: None, follow: true };
    let client = stage.client.clone();
    let (reader, sender) = tokio::join!(client.logs(&query), async {
        stage.answer_snapshot().await;
        let Some(LogsRequest::Subscribe { filter, reply }) = stage.logs.recv().await else {
            panic!("no subscription")
        };
        assert_eq!((filter.lines, filter.follow), (7, true));
        assert_eq!(filter.names, [NamePattern::new("slow:2")]);
        let (sender, entries) = mpsc::channel(4);
        reply.send(Subscription { entries }).unwrap();
        sender
    });
    let mut reader = reader.unwrap();
    let line = |text: &'static [u8]| {
        LogEntry::Line(LogLine {
            at: std::time::SystemTime::now(),
            worker: "slow:2".parse().unwrap(),
            stream: LogStream::Stdout,
            text: Bytes::from_static(text),
            part: false,
            continues: false,
        })
    };
    let batch = vec![line(b"plain"), LogEntry::Missed(12), line(b"\xff\n\x00")];
    sender.send(batch).await.unwrap();
    let records = reader.next_batch().await.unwrap().unwrap();
    let [
        LogRecord::Line { text: Some(text), .. },
        LogRecord::Missed { missed: 12 },
        LogRecord::Line { text: None, base64: Some(base64), .. },
    ] = &records[..]
    else {
        panic!("{records:?}")
    };
    assert_eq!((text.as_str(), base64.as_str()), ("plain", "/woA"));
    // A follower does not hold up the end of the daemon.
    stage.stop.cancel();
    assert!(reader.next_batch().await.unwrap().is_none());
    stage.server.await.unwrap();
    assert!(!client.path().exists(), "the socket's file is removed");
}

#[tokio::test]
async fn jobs_are_found_and_cancelled_by_their_handles() {
    let mut stage = Stage::set();
    let client = stage.client.clone();
    let (jobs, ()) =
        tokio::join!(client.jobs(Some("a b"), 5, crate::control::client::JobsOf::Dead), async {
            let Some(broker::Command::Jobs { query, reply }) = stage.jobs.recv().await else {
                panic!("no list")
            };
            assert_eq!((query.function, query.limit), (Some("a b".into()), 5));
            assert_eq!(query.of, broker::JobsOf::Dead);
            reply.send(vec![scene::job()]).unwrap();
            stage.answer_snapshot().await;
        });
    assert_eq!(jobs.unwrap()[0].worker.as_deref(), Some("slow:2"));
    let (cancelled, ()) = tokio::join!(client.cancel("H:x:3"), async {
        match stage.jobs.recv().await {
            Some(broker::Command::Cancel { handle, reply }) => {
                assert_eq!(handle, "H:x:3");
                reply.send(false).unwrap();
            }
            other => panic!("{other:?}"),
        }
        stage.answer_job(Some(scene::job())).await;
        stage.answer_snapshot().await;
    });
    let ClientError::Refused(failure) = cancelled.unwrap_err() else { panic!("not refused") };
    assert_eq!(failure.message, "job H:x:3 is in the hands of slow:2");
    let (missing, ()) = tokio::join!(client.job("H:x:9"), stage.answer_job(None));
    let ClientError::Refused(failure) = missing.unwrap_err() else { panic!("not refused") };
    assert_eq!(failure.code, FailureCode::NoSuchName);
}

#[tokio::test]
async fn explain_gives_the_decisions_of_one_pool() {
    let mut stage = Stage::set();
    let client = stage.client.clone();
    let (told, ()) = tokio::join!(client.explain("slow:1"), stage.answer_snapshot());
    let told = told.unwrap();
    assert_eq!((told.pool.as_str(), told.now.as_str()), ("slow", "count = 2 in the file"));
    assert_eq!(told.history[0].reason, "1→2: 3 jobs wait");
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_told_from_one_that_refuses() {
    let home = tempfile::tempdir().unwrap();
    let client = ControlClient::new(home.path().join("none.sock"), TaskTracker::new());
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
}

impl Stage {
    fn set() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let server = ControlServer::bind(&path, 0o600, None).unwrap();
        let (command_sender, commands) = mpsc::channel(SupervisorHandle::COMMANDS_MAX);
        let (job_sender, jobs) = mpsc::channel(BrokerHandle::COMMANDS_MAX);
        let (log_sender, logs) = mpsc::channel(LogsHandle::REQUESTS_MAX);
        let broker = BrokerHandle::new(job_sender);
        let supervisor = SupervisorHandle::new(
            command_sender,
            Some(broker),
            LogsHandle::new(log_sender, watch::channel(LogsSnapshot::default()).1),
            PoolNews::new().0,
            CountNews::default(),
        );
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let server = tasks.spawn(server.run(supervisor, stop.clone(), tasks.clone()));
        let client = ControlClient::new(path, tasks);
        Self { client, commands, jobs, logs, stop, server, _home: home }
    }

    async fn answer_snapshot(&mut self) {
        match self.commands.recv().await {
            Some(SupervisorCommand::Snapshot(reply)) => reply.send(scene::snapshot()).unwrap(),
            other => panic!("no question for a snapshot: {other:?}"),
        }
    }

    async fn answer_job(&mut self, job: Option<broker::JobView>) {
        match self.jobs.recv().await {
            Some(broker::Command::Job { reply, .. }) => reply.send(job).unwrap(),
            other => panic!("no question for a job: {other:?}"),
        }
    }
}

/// A command as text, who gave it, and where its answer goes.
fn describe(command: SupervisorCommand) -> (String, String, Answer) {
    let list = |names: &[NamePattern]| {
        names.iter().fold(String::new(), |text, name| text + " " + &name.to_string())
    };
    match command {
        SupervisorCommand::Start(names, actor, answer) => {
            (format!("start{}", list(&names)), actor, answer)
        }
        SupervisorCommand::Stop(names, actor, answer) => {
            (format!("stop{}", list(&names)), actor, answer)
        }
        SupervisorCommand::Restart { names, mode, actor, answer } => {
            (format!("restart {mode:?}{}", list(&names)), actor, answer)
        }
        SupervisorCommand::Signal(names, signal, actor, answer) => {
            (format!("signal {}{}", Signal::as_str(signal), list(&names)), actor, answer)
        }
        SupervisorCommand::Scale { names, to, hold, actor, answer } => {
            let to: ScaleTo = to;
            let hold = hold.unwrap_or(Duration::ZERO);
            (format!("scale {to:?} {hold:?}{}", list(&names)), actor, answer)
        }
        SupervisorCommand::Reload { allow_empty, actor, answer } => {
            (format!("reload {allow_empty}"), actor, answer)
        }
        SupervisorCommand::KillJob { worker, handle, actor, answer } => {
            (format!("kill {handle} of {worker}"), actor, answer)
        }
        SupervisorCommand::Shutdown(actor, answer) => ("shutdown".to_owned(), actor, answer),
        SupervisorCommand::Plan { .. } | SupervisorCommand::Snapshot(_) => {
            panic!("a question where a command was due")
        }
    }
}

fn request(line: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Sends a request as curl would, and gives the answer's status and body.
async fn raw(path: &Path, line: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request(line, body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
