//! A small language for tests of the rules: one step a line.
//!
//! ```text
//! c bg f u hello     session `c` (opened by its first step, from another host) submits
//! commit             everything handed to the store is durable; `refuse REASON`: it failed
//! c < created 1      what `c` was sent since it was last looked at, in order, `|` between
//! store < put 1      the changes since last looked at; `news <` events, `drained <`, `closed <`
//! l local            opens `l` from this host; `w of 3`: through worker 3's private listener
//! restore 4 f u      a stored job comes; `loading`, `loaded` around them; `reads <` what is read
//! read u hello       that is what the reads found; or `read lost`, `failed`, `later`
//! wait 50            time passes, in milliseconds, and what is due happens
//! ```
//! `.` stands for an empty text. At the end no session may have been sent more than was expected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use jiff::tz::TimeZone;

use crate::broker::record::{Change, ChangeSeq, Content, Fetched, JobRecord, JobUpdate};
use crate::broker::state::{
    Effects, Habits, Input, Outgoing, State, StateSettings, Sweep, SweepAction,
};
use crate::broker::{BrokerEvent, Peer};
use crate::config::StoreKind;
use crate::model::Drain;
use crate::model::{Exit, JobId, Priority, SessionId, Unique, WorkerId};
use crate::protocol::{
    AdminCommand, GrabStyle, Kind, Request, Response, Schedule, Submission, SubmitMode, WorkReport,
};

/// Runs a script with the default settings.
pub(super) fn check(script: &str) {
    Script::new().run(script);
}

pub(in crate::broker) fn settings(next: u64, reserved: u64) -> StateSettings {
    StateSettings {
        handle_prefix: "H:x".to_owned(),
        handle_prefix_before: "H:x".to_owned(),
        next: JobId(next),
        reserved: JobId(reserved),
        pid: 42,
        version: "0.1".to_owned(),
        store: StoreKind::Disk,
        attempts_max: 3,
        habits: Habits::default(),
        rules: Arc::default(),
        zone: TimeZone::UTC,
        held_bytes_max: 1 << 20,
        hash_key: [7; 16],
        started: Instant::now(),
        started_at: SystemTime::UNIX_EPOCH,
    }
}

pub(super) struct Script {
    pub(super) state: State,
    pub(super) now: Instant,
    fx: Effects,
    sessions: BTreeMap<String, SessionId>,
    sent: BTreeMap<SessionId, Vec<String>>,
    store: Vec<String>,
    news: Vec<String>,
    drained: Vec<String>,
    closed: Vec<String>,
    pub(super) fetches: Vec<JobId>,
    /// Pieces of listings so far.
    pub(super) pieces: usize,
    last_change: ChangeSeq,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::with(settings(1, 1_000_000))
    }

    pub(super) fn with(settings: StateSettings) -> Self {
        Self {
            now: settings.started,
            state: State::new(settings),
            fx: Effects::default(),
            sessions: BTreeMap::new(),
            sent: BTreeMap::new(),
            store: Vec::new(),
            news: Vec::new(),
            drained: Vec::new(),
            closed: Vec::new(),
            fetches: Vec::new(),
            pieces: 0,
            last_change: ChangeSeq(0),
        }
    }

    pub(super) fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.split_once(" < ") {
                Some((who, wanted)) => self.expect(line, who, wanted),
                None => self.step(line),
            }
        }
        for (name, id) in &self.sessions {
            let sent = self.sent.get(id).cloned().unwrap_or_default();
            assert_eq!(sent, [""; 0], "{name} was sent more than expected\nin {script}");
        }
    }

    fn expect(&mut self, line: &str, who: &str, wanted: &str) {
        let found = match who {
            "store" => std::mem::take(&mut self.store),
            "reads" => self.fetches.iter().map(JobId::to_string).collect(),
            "news" => std::mem::take(&mut self.news),
            "drained" => std::mem::take(&mut self.drained),
            "closed" => std::mem::take(&mut self.closed),
            name => std::mem::take(self.sent.entry(self.sessions[name]).or_default()),
        };
        let wanted: Vec<&str> =
            wanted.split('|').map(str::trim).filter(|text| *text != "nothing").collect();
        assert_eq!(found, wanted, "at: {line}");
    }

    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let worker = || WorkerId(words[1].parse().unwrap());
        match words[0] {
            "commit" => self.handle(Input::Committed(self.last_change)),
            "refuse" => {
                let reason = words[1..].join(" ");
                self.handle(Input::NotCommitted { through: self.last_change, reason });
            }
            "wait" => self.wait(Duration::from_millis(words[1].parse().unwrap())),
            "admit" => self.state.admit(self.now, worker(), words[2].parse().unwrap()),
            "gone" => self.state.gone(self.now, worker(), Exit::Code(1), &mut self.fx),
            "drain" => self.state.drain(self.now, worker(), &mut self.fx),
            "nudge" => self.state.nudge(worker(), &mut self.fx),
            "limit" => {
                let (pool, max) = (words[1].parse().unwrap(), words[2].parse().unwrap());
                self.state.limit(self.now, pool, max, &mut self.fx);
            }
            "idle?" => {
                let found = match self.state.drain_if_idle(self.now, worker()) {
                    Drain::Drained => "drained".to_owned(),
                    Drain::Busy(handle) => handle.replace("H:x:", ""),
                };
                assert_eq!(found, words[2], "{line}");
            }
            "tie" => {
                let session = self.sessions[words[1]];
                let worker = words[2].parse().ok().map(WorkerId);
                self.state.tie(self.now, session, worker, &mut self.fx);
            }
            "read" => self.read(&words),
            "loading" => self.state.begin_loading(),
            "loaded" => self.state.loaded(self.now, &mut self.fx),
            "restore" => self.restore(&words),
            "cancel" => {
                let handle = format!("H:x:{}", words[1]);
                let found = self.state.cancel(self.now, &handle, &mut self.fx);
                assert_eq!(found.to_string(), words[2], "{line}");
            }
            "pause" => self.state.pause(words[1], &mut self.fx),
            "resume" => {
                let ended = self.state.resume(self.now, words[1], &mut self.fx).join(" ");
                assert_eq!(ended, words[2..].join(" "), "{line}");
            }
            "retry" => self.sweep(SweepAction::Retry, &words),
            "purge" => self.sweep(SweepAction::Purge, &words),
            "withdraw" => self.sweep(SweepAction::Cancel, &words),
            "annotate" => {
                let handle = format!("H:x:{}", words[1]);
                self.state.annotate(&handle, words[2..].join(" "), &mut self.fx);
            }
            name => self.session_step(name, &words[1..], line),
        }
        self.collect();
    }

    /// Takes a listing as a shell does whose connections take all at once.
    fn go_on_listing(&mut self) {
        while let Some(session) = self.fx.job_lists.pop() {
            let mut text = String::new();
            while let Some(piece) = self.state.next_piece(session) {
                self.pieces += 1;
                if piece.is_last {
                    text += &show(&Outgoing::Text(piece.rows));
                    self.sent.entry(session).or_default().push(std::mem::take(&mut text));
                    self.state.end_job_list(self.now, session, &mut self.fx);
                    break;
                }
                text += &flat(piece.rows.render_rows());
            }
        }
    }

    fn read(&mut self, words: &[&str]) {
        for job in std::mem::take(&mut self.fetches) {
            let outcome = match words[1] {
                "lost" => Fetched::Lost,
                "failed" => Fetched::Failed,
                "later" => Fetched::Later,
                unique => Fetched::Content(Content {
                    unique: Unique(text(unique)),
                    payload: text(words[2]),
                }),
            };
            self.handle(Input::Fetched { job, outcome });
        }
    }

    fn restore(&mut self, words: &[&str]) {
        let record = JobRecord {
            id: JobId(words[1].parse().unwrap()),
            function: words[2].into(),
            unique: Unique(text(words[3])),
            priority: Priority::Normal,
            attempts: 0,
            enqueued_at: SystemTime::UNIX_EPOCH,
            run_at: None,
            reducer: None,
            payload: Bytes::new(),
        };
        self.state.restore(self.now, record, &mut self.fx);
    }

    fn session_step(&mut self, name: &str, words: &[&str], line: &str) {
        let id = match words {
            ["local"] => return self.open(name, Peer::Unix { pid: None }, None),
            ["of", worker] => {
                let worker = WorkerId(worker.parse().unwrap());
                return self.open(name, Peer::Unix { pid: None }, Some(worker));
            }
            _ => self.session(name),
        };
        let input = match words {
            ["close"] => Input::Closed { session: id },
            ["magic"] => Input::WrongMagic { session: id },
            ["garbage"] => Input::Unreadable { session: id, reason: None },
            ["toolong"] => Input::Unreadable { session: id, reason: Some("too long".to_owned()) },
            ["admin", ..] => {
                let text = line.split_once(" admin ").unwrap().1;
                Input::Admin { session: id, command: AdminCommand::parse(text.as_bytes()) }
            }
            _ => Input::Request { session: id, request: request(words, line) },
        };
        self.handle(input);
    }

    /// `withdraw PATTERN SECONDS HANDLES…`: what is older than that, and the handles that it is.
    fn sweep(&mut self, action: SweepAction, words: &[&str]) {
        let sweep = Sweep {
            action,
            handle: None,
            functions: Some(words[1].to_owned()),
            older_than: Some(Duration::from_secs(words[2].parse().unwrap())),
            dry_run: false,
        };
        let swept = self.state.sweep(self.now, &sweep, JobId(0), &mut self.fx);
        let wanted: Vec<_> = words[3..].iter().map(|n| format!("H:x:{n}")).collect();
        assert_eq!(swept.handles, wanted, "{words:?}");
    }

    fn session(&mut self, name: &str) -> SessionId {
        if !self.sessions.contains_key(name) {
            let (peer, local) = ("10.0.0.9:1".parse().unwrap(), "10.0.0.1:4730".parse().unwrap());
            self.open(name, Peer::Tcp { peer, local }, None);
        }
        self.sessions[name]
    }

    fn open(&mut self, name: &str, peer: Peer, worker: Option<WorkerId>) {
        let session = SessionId(self.sessions.len() as u64 + 1);
        self.sessions.insert(name.to_owned(), session);
        self.handle(Input::Opened { session, peer, worker });
    }

    fn handle(&mut self, input: Input) {
        self.state.handle(self.now, input, &mut self.fx);
        self.collect();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.state.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.handle(Input::Deadline);
        }
        self.now = until;
    }

    fn collect(&mut self) {
        self.go_on_listing();
        for (session, outgoing) in self.fx.sends.drain(..) {
            self.sent.entry(session).or_default().push(show(&outgoing));
        }
        for (seq, change) in self.fx.changes.drain(..) {
            assert_eq!(seq.0, self.last_change.0 + 1, "changes are numbered without gaps");
            self.last_change = seq;
            self.store.push(show_change(&change));
        }
        self.fetches.append(&mut self.fx.fetches);
        let names = |id: &SessionId| {
            self.sessions.iter().find(|(_, other)| *other == id).unwrap().0.clone()
        };
        self.closed.extend(self.fx.closes.drain(..).map(|id| names(&id)));
        self.drained.extend(self.fx.drained.drain(..).map(|worker| worker.to_string()));
        self.news.extend(self.fx.events.drain(..).map(|event| match event {
            BrokerEvent::Starved(function) => format!("starved {function}"),
            BrokerEvent::Registered(worker) => format!("registered {worker}"),
            BrokerEvent::JobEnded { worker, .. } => format!("ended {worker}"),
            BrokerEvent::Performer { session, .. } => format!("who {}", names(&session)),
            BrokerEvent::Store(Some(error)) => format!("store failed {error}"),
            BrokerEvent::Store(None) => "store works".to_owned(),
            BrokerEvent::Lost(loss) => format!("lost {}", loss.handle.replace("H:x:", "")),
            BrokerEvent::GivenUp { loss, death } => {
                let worker = death.map_or("time".to_owned(), |(worker, _)| worker.to_string());
                format!("given up {} by {worker}", loss.handle.replace("H:x:", ""))
            }
        }));
    }
}

fn text(word: &str) -> Bytes {
    if word == "." { Bytes::new() } else { Bytes::copy_from_slice(word.as_bytes()) }
}

fn request(words: &[&str], line: &str) -> Request {
    let handle = |n: &&str| Bytes::from(format!("H:x:{n}"));
    let work = |n: &&str, report| Request::Work { handle: handle(n), report };
    match words {
        ["can", function] => Request::CanDo { function: (*function).into(), timeout: None },
        ["can", function, millis] => {
            let timeout = Some(Duration::from_millis(millis.parse().unwrap()));
            Request::CanDo { function: (*function).into(), timeout }
        }
        ["cant", function] => Request::CantDo((*function).into()),
        ["reset"] => Request::ResetAbilities,
        ["sleep"] => Request::PreSleep,
        ["grab"] => Request::Grab(GrabStyle::Plain),
        ["grabu"] => Request::Grab(GrabStyle::Unique),
        ["graball"] => Request::Grab(GrabStyle::All),
        ["complete", n, data] => work(n, WorkReport::Complete(text(data))),
        ["fail", n] => work(n, WorkReport::Fail),
        ["exception", n, data] => work(n, WorkReport::Exception(text(data))),
        ["data", n, data] => work(n, WorkReport::Data(text(data))),
        ["warning", n, data] => work(n, WorkReport::Warning(text(data))),
        ["status", n, numerator, denominator] => {
            let (numerator, denominator) = (text(numerator), text(denominator));
            work(n, WorkReport::Status { numerator, denominator })
        }
        ["get", n] => Request::GetStatus(handle(n)),
        ["getu", unique] => Request::GetStatusUnique((*unique).into()),
        ["echo", data] => Request::Echo(text(data)),
        ["option", name] => Request::Option(text(name)),
        ["id", name] => Request::SetClientId(text(name)),
        ["odd"] => Request::Unexpected(Kind::AllYours),
        _ => submission(words, line),
    }
}

fn submission(words: &[&str], line: &str) -> Request {
    match words {
        ["sched", function, unique, payload, times @ ..] if times.len() == 5 => {
            Request::Schedule(Schedule {
                function: (*function).into(),
                unique: Unique(text(unique)),
                times: Box::new(std::array::from_fn(|at| text(times[at]))),
                payload: text(payload),
            })
        }
        ["at", time, function, unique, payload] => Request::Submit(Submission {
            function: (*function).into(),
            unique: Unique(text(unique)),
            priority: Priority::Normal,
            mode: SubmitMode::At(time.parse().unwrap()),
            payload: text(payload),
        }),
        [how @ ("reduce" | "bgreduce"), function, unique, reducer, payload] => {
            let mode = match *how {
                "reduce" => SubmitMode::Foreground,
                _ => SubmitMode::Background,
            };
            Request::SubmitReduce {
                job: Submission {
                    function: (*function).into(),
                    unique: Unique(text(unique)),
                    priority: Priority::Normal,
                    mode,
                    payload: text(payload),
                },
                reducer: text(reducer),
            }
        }
        [how, function, unique, payload] => Request::Submit(Submission {
            function: (*function).into(),
            unique: Unique(text(unique)),
            priority: match how.rsplit_once('-') {
                Some((_, "high")) => Priority::High,
                Some((_, "low")) => Priority::Low,
                _ => Priority::Normal,
            },
            mode: match how.split('-').next() {
                Some("bg") => SubmitMode::Background,
                Some("fg") => SubmitMode::Foreground,
                _ => panic!("no such step: {line}"),
            },
            payload: text(payload),
        }),
        _ => panic!("no such step: {line}"),
    }
}

/// Text in one line.
fn flat(text: Vec<u8>) -> String {
    let text = String::from_utf8(text).unwrap();
    text.replace("H:x:", "").replace('\t', " ").replace('\n', " / ")
}

fn show(outgoing: &Outgoing) -> String {
    let word = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace("H:x:", "");
        if text.is_empty() { ".".to_owned() } else { text }
    };
    match outgoing {
        Outgoing::Text(reply) => {
            let text = flat(reply.render());
            text.trim_end_matches([' ', '/', '\r']).to_owned()
        }
        Outgoing::Packet(response) => match response {
            Response::JobCreated(handle) => format!("created {}", word(handle)),
            Response::NoJob => "no job".to_owned(),
            Response::Noop => "noop".to_owned(),
            Response::JobAssign { handle, function, unique, reducer, payload } => {
                let unique = unique.as_ref().map_or(String::new(), |u| format!(" {}", word(&u.0)));
                let reducer = reducer.as_ref().map_or(String::new(), |r| format!(" [{}]", word(r)));
                format!("assign {} {function}{unique}{reducer} {}", word(handle), word(payload))
            }
            Response::Status { handle, status } => format!(
                "status {} {}{} {}/{}",
                word(handle),
                u8::from(status.known),
                u8::from(status.running),
                word(&status.numerator),
                word(&status.denominator)
            ),
            Response::StatusUnique { unique, status, clients } => format!(
                "status {unique} {}{} clients {clients}",
                u8::from(status.known),
                u8::from(status.running)
            ),
            Response::Work { handle, report } => show_report(&word(handle), report, word),
            Response::Echo(data) => format!("echo {}", word(data)),
            Response::Option(name) => format!("option {}", word(name)),
            Response::Error { code, text } => format!("error {} {}", word(code), word(text)),
        },
    }
}

fn show_report(handle: &str, report: &WorkReport, word: impl Fn(&[u8]) -> String) -> String {
    match report {
        WorkReport::Data(data) => format!("data {handle} {}", word(data)),
        WorkReport::Warning(data) => format!("warning {handle} {}", word(data)),
        WorkReport::Status { numerator, denominator } => {
            format!("progress {handle} {}/{}", word(numerator), word(denominator))
        }
        WorkReport::Complete(data) => format!("complete {handle} {}", word(data)),
        WorkReport::Fail => format!("fail {handle}"),
        WorkReport::Exception(data) => format!("exception {handle} {}", word(data)),
    }
}

fn show_change(change: &Change) -> String {
    match change {
        Change::Put(record) => format!("put {}", record.id),
        Change::Update(JobUpdate { id, attempts, death: None, .. }) => {
            format!("attempts {id} {attempts}")
        }
        Change::Update(JobUpdate { id, death: Some(death), .. }) => {
            format!("bury {id} {:?} {}", death.cause, death.exit).trim_end().to_owned()
        }
        Change::Purge(id) => format!("purge {id}"),
        Change::PutSchedule(schedule) => format!("schedule {} {}", schedule.id, schedule.times),
        Change::DeleteSchedule(id) => format!("unschedule {id}"),
        Change::Pause(pattern) => format!("pause {pattern}"),
        Change::Resume(pattern) => format!("resume {pattern}"),
        Change::Delete(id) => format!("delete {id}"),
        Change::ReserveHandles { through } => format!("reserve {through}"),
    }
}
