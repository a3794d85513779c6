//! Every rule about jobs, queues and sessions, as a value that is driven from outside.
//!
//! [`State::handle`] takes one input and the time, and appends what is to be done to [`Effects`];
//! [`State::next_deadline`] says when it wants to be called without one. It knows sessions and
//! workers by their ids only: no sockets, no files, no clock, no tokio.
//!
//! | file | rules about |
//! |---|---|
//! | `submit` | submitting, and joining a job that is there already |
//! | `delayed` | jobs whose time has not come |
//! | `dispatch` | what a session performs, and the job it is given |
//! | `sleepers` | who sleeps, and who is woken |
//! | `holds` | grabs that are answered a moment later |
//! | `reports` | what workers report, and how a job ends |
//! | `deaths`, `losses` | jobs whose worker was lost |
//! | `dead`, `sweep` | dead letters, and orders about many jobs |
//! | `expiry` | jobs that waited too long |
//! | `schedules` | recurring jobs |
//! | `rules` | what the file says of functions, pauses, functions that leave |
//! | `crews` | worker processes, draining, a pool's max |
//! | `commits`, `handles` | what must be durable before it is told |
//! | `answers` | the order of a session's answers |
//! | `admin`, `job_lists`, `overview` | text commands, and what is shown |
//! | `habits` | what can be set to gearmand's way |
//! | `loading` | what waits until all stored jobs are read |
//! | `tape` | jobs that end, for whoever records them |
//! | `contents` | which jobs' payloads are in memory |
//! | `functions`, `jobs`, `numbered`, `sameness`, `sessions`, `timers` | the tables themselves |

mod admin;
mod answers;
mod commits;
mod contents;
mod crews;
mod dead;
mod deaths;
mod delayed;
mod demand;
mod dispatch;
mod effects;
mod expiry;
mod functions;
mod habits;
mod handles;
mod holds;
mod input;
mod job_lists;
mod jobs;

mod loading;
mod losses;
mod numbered;
mod overview;
mod reports;
mod rules;
mod sameness;
mod schedules;
mod sessions;
mod sleepers;
mod submit;
mod sweep;
mod tape;
#[cfg(test)]
pub(super) mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use jiff::tz::TimeZone;

use self::commits::Commits;
use self::contents::Contents;
use self::crews::Crews;
use self::dead::Dead;
use self::deaths::Deaths;
use self::delayed::Delayed;
use self::functions::{Functions, Sleeper};
use self::handles::Handles;
use self::holds::Holds;
use self::jobs::{Job, Jobs, Moment, Record};
use self::loading::{Loading, Postponed};
use self::reports::not_found;
use self::sameness::Hashing;
use self::schedules::Schedules;
use self::sessions::{Identity, Session};
use self::timers::{Timer, Timers};
use super::Peer;
use super::record::{Content, JobRecord};
use crate::config::{BrokerRules, StoreKind};
use crate::model::{JobId, SessionId};
use crate::protocol::{CLIENT_ID_LEN_MAX, ErrorCode, Request, Response, WorkReport};

pub use effects::{Effects, Outgoing};
pub use habits::{Charges, Exceptions, Habits};
pub use input::Input;
pub use job_lists::Piece;
pub use overview::Payload;
pub use sweep::{Exported, Sweep, SweepAction, Swept};

/// Functions of a session that are forgotten with it in some microseconds.
const QUICK_ABILITIES_MAX: usize = 256;

/// What the rules are told once, at the start.
#[derive(Clone, Debug)]
pub struct StateSettings {
    /// What handles begin with, `H:host`; the number follows after a colon.
    pub handle_prefix: String,
    /// What they began with when the store was made; such handles are known too.
    pub handle_prefix_before: String,
    /// The first number to give out: one above what the store had reserved.
    pub next: JobId,
    /// The last number that the store has durably reserved; below `next` when there is none, and
    /// then submissions are refused until the first commit.
    pub reserved: JobId,
    /// Our process id, for `getpid`.
    pub pid: u32,
    /// Our version, for `version`.
    pub version: String,
    /// Whether there is a store that keeps jobs.
    pub store: StoreKind,
    /// Deaths of workers with one job in hand at which the job is given up, unless the file says
    /// otherwise for its function.
    pub attempts_max: u32,
    /// Where gearmand's way can be chosen.
    pub habits: Habits,
    /// What the file says of functions.
    pub rules: Arc<BrokerRules>,
    /// Where we are, for times of the day.
    pub zone: TimeZone,
    /// Bytes of unique and payload of stored jobs above which they are left to the disk.
    pub held_bytes_max: usize,
    /// A secret of this run, so that nobody can choose uniques that collide.
    pub hash_key: [u8; 16],
    /// The moment of the start, on the clock that every `now` is read from.
    pub started: Instant,
    /// The same moment on the wall clock, which may be set later; records carry its times.
    pub started_at: SystemTime,
}

/// The broker's jobs, queues and sessions.
#[derive(Debug)]
pub struct State {
    settings: StateSettings,
    handles: Handles,
    jobs: Jobs,
    functions: Functions,
    sessions: BTreeMap<SessionId, Session>,
    crews: Crews,
    commits: Commits,
    contents: Contents,
    /// While stored jobs are being read.
    loading: Option<Loading>,
    deaths: Deaths,
    delayed: Delayed,
    dead: Dead,
    schedules: Schedules,
    /// Patterns of paused functions.
    paused: BTreeSet<String>,
    timers: Timers,
    holds: Holds,
    /// Sleepers that perform too many functions to be listed with each.
    generalists: BTreeSet<Sleeper>,
    /// The last rank given out; see [`Session::rank`].
    ranks: u64,
    /// Whether somebody wants to hear of jobs that end.
    is_recorded: bool,
}

impl StateSettings {
    /// What the wall clock says.
    fn wall_clock(&self, now: Instant) -> SystemTime {
        self.wall_of(self.moment(now))
    }

    /// A moment as wall-clock time, by what the clock said when it was looked at last.
    fn wall_of(&self, at: Moment) -> SystemTime {
        let distance = Duration::from_nanos(at.0.unsigned_abs());
        let wall = if at.0 < 0 {
            self.started_at.checked_sub(distance)
        } else {
            self.started_at.checked_add(distance)
        };
        wall.unwrap_or(self.started_at)
    }

    fn moment(&self, at: Instant) -> Moment {
        match at.checked_duration_since(self.started) {
            Some(after) => Moment(nanos(after)),
            None => Moment(-nanos(self.started.saturating_duration_since(at))),
        }
    }

    /// How long ago a moment was.
    fn since(&self, now: Instant, then: Moment) -> Duration {
        let passed = self.moment(now).0.saturating_sub(then.0);
        Duration::from_nanos(u64::try_from(passed).unwrap_or(0))
    }
}

impl State {
    /// An empty broker.
    #[must_use]
    pub fn new(settings: StateSettings) -> Self {
        let started = settings.started;
        let mut state = Self {
            handles: Handles::new(
                [&settings.handle_prefix, &settings.handle_prefix_before],
                settings.next,
                settings.reserved,
            ),
            jobs: Jobs::new(Hashing::new(settings.hash_key)),
            settings,
            functions: Functions::default(),
            sessions: BTreeMap::new(),
            crews: Crews::default(),
            commits: Commits::default(),
            contents: Contents::default(),
            loading: None,
            deaths: Deaths::default(),
            delayed: Delayed::default(),
            dead: Dead::default(),
            schedules: Schedules::default(),
            paused: BTreeSet::new(),
            timers: Timers::default(),
            holds: Holds::default(),
            generalists: BTreeSet::new(),
            ranks: 0,
            is_recorded: false,
        };
        state.look_for_stale(started);
        state
    }

    /// Puts a job that the store kept back into its queue; after the start, in the order in which
    /// they are to run. Its content stays on disk until it is about to be needed, so the record
    /// may lack its payload unless its unique is `-`.
    pub fn restore(&mut self, now: Instant, record: JobRecord, fx: &mut Effects) {
        let id = record.id;
        let (job, content) = self.job_of(now, record);
        self.jobs.insert_stored(id, job, &content);
        self.line_up(now, id, fx);
    }

    /// A job as the store kept it, of no place yet.
    fn job_of(&mut self, now: Instant, record: JobRecord) -> (Job, Content) {
        // A clock that was set back makes a job young, not the start fail.
        let waited = self.settings.wall_clock(now).duration_since(record.enqueued_at);
        let waited = nanos(waited.unwrap_or_default());
        let enqueued = Moment(self.settings.moment(now).0.saturating_sub(waited));
        let function = self.ensure_function(&record.function);
        let mut job = Job::new(function, record.priority, enqueued);
        job.attempts = record.attempts;
        job.record = Record::Kept;
        job.set_special(record.run_at, record.reducer);
        (job, Content { unique: record.unique, payload: record.payload })
    }

    /// Takes one input and appends what is to be done about it.
    pub fn handle(&mut self, now: Instant, input: Input, fx: &mut Effects) {
        self.reserve_handles(fx);
        if let Some(session) = input.speaker() {
            self.end_hold(session, fx);
        }
        match input {
            Input::Opened { session, peer, worker } => {
                self.opened(session, peer);
                if let Some(worker) = worker {
                    self.attach(now, session, worker, fx);
                }
            }
            Input::Closed { session } => self.closed(now, session, fx),
            Input::Committed(through) => self.committed(now, through, fx),
            Input::Recorded(through) => self.recorded(now, through, fx),
            Input::NotCommitted { through, reason } => {
                self.not_committed(now, through, reason, fx);
            }
            Input::Fetched { job, outcome } => self.fetched_content(now, job, outcome, fx),
            Input::Deadline => self.deadline(now, fx),
            Input::Request { session, .. }
            | Input::Malformed { session, .. }
            | Input::WrongMagic { session }
            | Input::Unreadable { session, .. }
            | Input::Admin { session, .. }
                if !self.listens_to(session) => {}
            Input::Request { session, request } => {
                if let Some(request) = self.postpone(session, Postponed::Request(request)) {
                    self.begin(now, session, request, fx);
                }
            }
            Input::Malformed { session, error } => {
                self.refuse(session, ErrorCode::InvalidPacket, error.to_string(), fx);
            }
            Input::WrongMagic { session } => {
                self.refuse(session, ErrorCode::InvalidMagic, "Request magic expected", fx);
            }
            Input::Unreadable { session, reason } => self.unreadable(now, session, reason, fx),
            Input::Admin { session, command } => {
                if let Some(command) = self.postpone(session, Postponed::Admin(command)) {
                    self.begin(now, session, command, fx);
                }
            }
        }
    }

    /// When [`Input::Deadline`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.holds.next()).min()
    }

    /// How many answers a session is owed; one that sends on without end is to be read no further
    /// until there are fewer.
    #[must_use]
    pub fn answers_owed(&self, session: SessionId) -> usize {
        let postponed = self.loading.as_ref().map_or(0, |loading| loading.len_of(session));
        postponed + self.sessions.get(&session).map_or(0, |session| session.answers.len())
    }

    fn opened(&mut self, session: SessionId, peer: Peer) {
        self.ranks += 1;
        let mut opened = Session::new(peer, self.ranks);
        opened.wants_exceptions = self.settings.habits.exceptions == Exceptions::Always;
        self.sessions.insert(session, opened);
    }

    /// Whether it takes long to forget a session, since it performs many functions. If so it is
    /// given nothing any more; it is to be forgotten when others have had their turn.
    pub fn leaves_slowly(&mut self, now: Instant, id: SessionId, fx: &mut Effects) -> bool {
        let is_quick = |session: &Session| session.abilities.len() <= QUICK_ABILITIES_MAX;
        if self.sessions.get(&id).is_none_or(is_quick) {
            return false;
        }
        let woken_for = self.awake(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.is_closing = true;
        }
        if let Some(function) = woken_for {
            self.call(now, function, fx);
        }
        true
    }

    fn closed(&mut self, now: Instant, id: SessionId, fx: &mut Effects) {
        let woken_for = self.awake(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.is_closing = true;
        if let Some(loading) = &mut self.loading {
            loading.forget(id);
        }
        // As a client first: a job that it waited for and ran itself is then wanted by nobody.
        for job in std::mem::take(&mut session.waits_for) {
            if let Some(job) = self.jobs.get_mut(job) {
                job.clients_mut().remove(&id);
            }
            self.drop_if_unwanted(job, fx);
        }
        self.lose(now, id, fx);
        self.timers.clear(Timer::Ask(id));
        let Some(session) = self.sessions.remove(&id) else { return };
        for key in session.abilities.keys() {
            if let Some(function) = self.functions.get_mut(*key) {
                function.performers.remove(&id);
            }
        }
        if let Some(worker) = session.worker {
            self.detach(id, worker);
        }
        if let Some(function) = woken_for {
            self.call(now, function, fx);
        }
    }

    fn deadline(&mut self, now: Instant, fx: &mut Effects) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Wake(function) => self.wake_again(now, function, fx),
                Timer::Timeout(job) => self.timed_out(now, job, fx),
                Timer::Ask(session) => self.tie(now, session, None, fx),
                Timer::Verdict(worker, job) => self.acquit(now, worker, job, fx),
                Timer::Due => self.due(now, fx),
                Timer::Expire(function) => self.expire(now, function, fx),
                Timer::Recur => self.recur(now, fx),
                Timer::Stale => self.leave_stale(now),
                Timer::Redo => self.redo(now, fx),
            }
        }
        self.end_holds(now, fx);
    }

    fn request(&mut self, now: Instant, id: SessionId, request: Request, fx: &mut Effects) {
        match request {
            Request::CanDo { function, timeout } => self.can_do(now, id, (&function, timeout), fx),
            Request::CantDo(function) => self.cant_do(now, id, &function, fx),
            Request::ResetAbilities => self.reset_abilities(now, id, fx),
            Request::PreSleep => self.pre_sleep(now, id, fx),
            Request::Grab(style) => self.grab(now, id, style, fx),
            Request::Submit(job) => self.submit(now, id, (job, None), fx),
            Request::SubmitReduce { job, reducer } => {
                self.submit(now, id, (job, Some(reducer)), fx);
            }
            Request::Work { handle, report } => match self.in_hand(id, &handle) {
                Some(job) => self.report(now, job, &report, fx),
                None if report == WorkReport::Fail && self.has_raised(id, &handle) => {}
                None => self.refuse(id, ErrorCode::JobNotFound, not_found(&report), fx),
            },
            Request::Schedule(schedule) => self.schedule(now, id, schedule, fx),
            Request::GetStatus(handle) => self.answer(id, self.status_of(handle), fx),
            Request::GetStatusUnique(unique) => self.answer(id, self.status_of_unique(unique), fx),
            Request::Echo(data) => self.answer(id, Response::Echo(data), fx),
            Request::Option(name) => self.option(id, name, fx),
            Request::SetClientId(name) => self.set_client_id(id, &name),
            Request::Unexpected(_) => {
                self.refuse(id, ErrorCode::InvalidCommand, "Command not expected", fx);
            }
        }
    }

    fn option(&mut self, id: SessionId, name: Bytes, fx: &mut Effects) {
        if !name.eq_ignore_ascii_case(b"exceptions") {
            let text = "Server does not recognize given option";
            return self.refuse(id, ErrorCode::UnknownOption, text, fx);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.wants_exceptions = true;
        }
        self.answer(id, Response::Option(name), fx);
    }

    fn set_client_id(&mut self, id: SessionId, name: &[u8]) {
        // It becomes a column of `workers`, where blanks and line ends have a meaning.
        let kept = name.iter().take(CLIENT_ID_LEN_MAX);
        let name: Vec<u8> = kept.map(|b| if *b <= b' ' { b'_' } else { *b }).collect();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.client_id = Some(name.into()).filter(|name: &Bytes| !name.is_empty());
        }
    }

    /// Nothing more can be read from the session: it is closed once it has what it is owed.
    fn unreadable(
        &mut self,
        now: Instant,
        id: SessionId,
        reason: Option<String>,
        fx: &mut Effects,
    ) {
        let woken_for = self.awake(id);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.is_closing = true;
        session.identity = Identity::Known;
        self.timers.clear(Timer::Ask(id));
        // Its grabs that wait are answered; being about to close it gets no job.
        self.release(now, id, fx);
        if let Some(reason) = reason {
            self.refuse(id, ErrorCode::InvalidPacket, reason, fx);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.answers.push_close(id, fx);
        }
        if let Some(function) = woken_for {
            self.call(now, function, fx);
        }
    }

    /// Whether what the session sends still counts.
    fn listens_to(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|session| !session.is_closing)
    }

    fn answer(&mut self, id: SessionId, answer: Response, fx: &mut Effects) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.answers.push(id, Outgoing::Packet(answer), fx);
        }
    }

    fn refuse(&mut self, id: SessionId, code: ErrorCode, text: impl Into<Bytes>, fx: &mut Effects) {
        self.answer(id, Response::error(code, text), fx);
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
