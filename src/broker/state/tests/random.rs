//! Random operations on the real rules, watched by the model.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::consistency::assert_consistent;
use super::model::{Model, Onlooker, Owed};
use super::script::settings;
use crate::broker::Peer;
use crate::broker::record::{Content, Fetched, JobRecord};
use crate::broker::state::sessions::Identity;
use crate::broker::state::{Effects, Input, State, StateSettings, Sweep, SweepAction};
use crate::config::{BrokerRules, FunctionRule, FunctionRules, StoreKind};
use crate::model::Drain;
use crate::model::{Exit, JobId, Priority, SessionId, Unique, WorkerId};
use crate::protocol::{GrabStyle, Request, Schedule, Submission, SubmitMode, WorkReport};

const SEEDS: u64 = 400;
const STEPS: u64 = 400;
const FUNCTIONS: u64 = 4;
const POOLS: u64 = 2;
const JOBS_IN_A_HURRY: u64 = 15;
/// The function whose jobs are not stored.
const IN_MEMORY: u64 = 3;

/// splitmix64: small, seedable, good enough to pick operations.
struct Dice(u64);

struct World {
    state: State,
    model: Model,
    fx: Effects,
    dice: Dice,
    now: Instant,
    /// When the clock, which no crash sets back, said 1970.
    began: Instant,
    /// Sessions and workers so far.
    ids: u64,
    /// Stored jobs that are still to come after a crash.
    to_load: VecDeque<JobRecord>,
}

/// Names the seed when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failing seed is {}", self.0);
        }
    }
}

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, from: impl IntoIterator<Item = T>) -> Option<T> {
        let all: Vec<T> = from.into_iter().collect();
        let sides = all.len() as u64;
        if sides == 0 { None } else { all.get(usize::try_from(self.roll(sides)).unwrap()).copied() }
    }
}

fn rules() -> Arc<BrokerRules> {
    let in_memory = FunctionRule { store: Some(StoreKind::Memory), ..FunctionRule::default() };
    let few = FunctionRule { queued_max: Some(5), ..FunctionRule::default() };
    Arc::new(BrokerRules {
        queued_max: Some(40),
        stale_after: Duration::from_secs(5),
        functions: FunctionRules::new(vec![
            (format!("f{IN_MEMORY}"), in_memory),
            ("f2".to_owned(), few),
        ]),
        ..BrokerRules::default()
    })
}

#[test]
fn no_promise_is_broken_under_random_operations() {
    let mut held = 0;
    for seed in 0..SEEDS {
        let _named = Seed(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
            world.watch();
            held += usize::from(world.state.any_held());
        }
        world.settle();
    }
    assert!(held > 0, "no grab was held, so nothing was tried with it");
}

impl World {
    fn new(seed: u64) -> Self {
        let settings = Self::settings(1);
        Self {
            now: settings.started,
            began: settings.started,
            model: Model::new(settings.started),
            state: State::new(settings),
            fx: Effects::default(),
            dice: Dice(seed),
            ids: 0,
            to_load: VecDeque::new(),
        }
    }

    /// Memory for a few payloads only.
    fn settings(next: u64) -> StateSettings {
        StateSettings { attempts_max: 2, rules: rules(), held_bytes_max: 700, ..settings(next, 0) }
    }

    fn watch(&mut self) {
        self.model.watch(self.now, &mut self.fx);
        assert_consistent(&self.state);
    }

    fn handle(&mut self, input: Input) {
        self.state.handle(self.now, input, &mut self.fx);
        self.model.watch(self.now, &mut self.fx);
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..6 => self.open(),
            6..9 => self.close(),
            9..11 => self.admit(),
            11..16 => self.work_force(),
            16..46 => self.perform(),
            46..66 => self.submit(),
            66..79 => self.report(),
            79..84 => self.commit(),
            84..86 => self.read(),
            86 => self.load(3),
            87 => self.hurry(),
            88..97 => {
                let millis = *[1, 10, 30, 60, 260, 1000, 61_000].get(self.dice_index(7)).unwrap();
                self.wait(Duration::from_millis(millis));
            }
            97 => self.cancel(),
            98 => self.operate(),
            _ => {
                if self.dice.roll(8) == 0 {
                    self.crash();
                }
            }
        }
    }

    fn dice_index(&mut self, sides: u64) -> usize {
        usize::try_from(self.dice.roll(sides)).unwrap()
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn any_session(&mut self) -> Option<SessionId> {
        self.dice.pick(self.model.sessions.keys().copied())
    }

    fn any_worker(&mut self) -> Option<WorkerId> {
        self.dice.pick(self.model.workers.keys().copied())
    }

    fn open(&mut self) {
        let session = SessionId(self.next_id());
        let (peer, local) = ("10.0.0.9:1".parse().unwrap(), "10.0.0.1:4730".parse().unwrap());
        let (peer, worker) = match self.dice.roll(4) {
            0 => (Peer::Tcp { peer, local }, None),
            1 => (Peer::Unix { pid: None }, None),
            _ => (Peer::Unix { pid: None }, self.any_worker()),
        };
        self.model.sessions.insert(session, Onlooker { worker, ..Onlooker::default() });
        self.handle(Input::Opened { session, peer, worker });
    }

    fn close(&mut self) {
        if let Some(session) = self.any_session() {
            // The model forgets the session only after, to see that it is sent nothing more.
            self.state.handle(self.now, Input::Closed { session }, &mut self.fx);
            self.model.close(session);
        }
    }

    fn admit(&mut self) {
        let (worker, pool) = (WorkerId(self.next_id()), self.dice.roll(POOLS));
        self.model.workers.insert(worker, pool);
        self.state.admit(self.now, worker, format!("p{pool}:1").parse().unwrap());
    }

    /// Something happens to a worker process, or to its pool.
    fn work_force(&mut self) {
        let Some(worker) = self.any_worker() else { return };
        match self.dice.roll(6) {
            0 => {
                self.model.gone(worker);
                self.state.gone(self.now, worker, Exit::Code(1), &mut self.fx);
            }
            1 => {
                self.model.barred.insert(worker);
                self.state.drain(self.now, worker, &mut self.fx);
            }
            2 => {
                if self.state.drain_if_idle(self.now, worker) == Drain::Drained {
                    self.model.barred.insert(worker);
                }
            }
            3 | 4 => {
                let (pool, max) = (self.dice.roll(POOLS), self.dice_index(3));
                self.model.limits.insert(pool, max);
                let pool = format!("p{pool}").parse().unwrap();
                self.state.limit(self.now, pool, max, &mut self.fx);
            }
            _ => {
                let unknown = self.model.sessions.iter().filter(|(_, s)| s.unknown_until.is_some());
                let unknown: Vec<SessionId> = unknown.map(|(id, _)| *id).collect();
                let Some(session) = self.dice.pick(unknown) else { return };
                let worker = Some(worker).filter(|_| self.dice.roll(2) == 0);
                let onlooker = self.model.sessions.get_mut(&session).unwrap();
                (onlooker.worker, onlooker.unknown_until) = (worker, None);
                self.state.tie(self.now, session, worker, &mut self.fx);
            }
        }
    }

    fn perform(&mut self) {
        let Some(session) = self.any_session() else { return };
        let function = format!("f{}", self.dice.roll(FUNCTIONS)).as_str().into();
        let echo = self.dice.roll(1000).to_string();
        let onlooker = self.model.sessions.get_mut(&session).unwrap();
        let request = match self.dice.roll(10) {
            0..3 => {
                let known = onlooker.worker.is_some() || onlooker.timeout.is_some();
                let local = matches!(self.state.sessions[&session].peer, Peer::Unix { .. });
                let asked = &self.state.sessions[&session];
                // Tied while what it registered waited for stored jobs, it is known already.
                let is_open = asked.registrations == 0 && asked.identity == Identity::Unasked;
                if !known && local && is_open {
                    onlooker.unknown_until = Some(self.now + Duration::from_millis(20));
                }
                Request::CanDo { function, timeout: onlooker.timeout }
            }
            3 => Request::CantDo(function),
            4 => Request::PreSleep,
            5 => {
                onlooker.owed.push_back(Owed::Echo(echo.clone().into()));
                Request::Echo(echo.into())
            }
            _ => {
                onlooker.owed.push_back(Owed::Job);
                Request::Grab(GrabStyle::Unique)
            }
        };
        self.handle(Input::Request { session, request });
    }

    fn submit(&mut self) {
        let Some(session) = self.any_session() else { return };
        let mode = match self.dice.roll(5) {
            0 | 1 => SubmitMode::Foreground,
            2 | 3 => SubmitMode::Background,
            _ => {
                let clock = self.now.saturating_duration_since(self.began).as_secs();
                SubmitMode::At(clock + self.dice.roll(4))
            }
        };
        let unique = *["", "", "-", "a", "b", "c"].get(self.dice_index(6)).unwrap();
        let number = self.dice.roll(FUNCTIONS);
        let submission = Submission {
            function: format!("f{number}").as_str().into(),
            unique: Unique::from(unique),
            priority: Priority::ALL[self.dice_index(3)],
            mode,
            payload: self.dice.roll(3).to_string().into(),
        };
        let background = mode != SubmitMode::Foreground;
        let onlooker = self.model.sessions.get_mut(&session).unwrap();
        let in_memory = number == IN_MEMORY;
        onlooker.owed.push_back(Owed::Created { background, in_memory });
        self.handle(Input::Request { session, request: Request::Submit(submission) });
    }

    fn report(&mut self) {
        let running = self.model.running.iter().map(|(job, (session, _))| (*job, *session));
        let running: Vec<_> = running.collect();
        let Some((job, session)) = self.dice.pick(running) else { return };
        let report = match self.dice.roll(6) {
            0 => WorkReport::Data("x".into()),
            1 => WorkReport::Fail,
            2 => WorkReport::Exception("x".into()),
            _ => WorkReport::Complete("x".into()),
        };
        self.finish(session, job, report);
    }

    fn finish(&mut self, session: SessionId, job: JobId, report: WorkReport) {
        if !matches!(report, WorkReport::Data(_)) {
            self.model.end(job);
        }
        let handle = format!("H:x:{job}").into();
        self.handle(Input::Request { session, request: Request::Work { handle, report } });
    }

    /// Somebody of another host who performs everything.
    fn good_worker(&mut self) -> SessionId {
        let session = SessionId(self.next_id());
        let (peer, local) = ("10.0.0.9:1".parse().unwrap(), "10.0.0.1:4730".parse().unwrap());
        self.model.sessions.insert(session, Onlooker::default());
        self.handle(Input::Opened { session, peer: Peer::Tcp { peer, local }, worker: None });
        for n in 0..FUNCTIONS {
            let function = format!("f{n}").as_str().into();
            let request = Request::CanDo { function, timeout: None };
            self.handle(Input::Request { session, request });
        }
        session
    }

    fn grab(&mut self, session: SessionId) {
        self.model.sessions.get_mut(&session).unwrap().owed.push_back(Owed::Job);
        let request = Request::Grab(GrabStyle::Plain);
        self.handle(Input::Request { session, request });
    }

    /// Jobs come fast, and a good worker does all that there are, so that its last grab is held.
    fn hurry(&mut self) {
        let session = self.good_worker();
        for n in 0..JOBS_IN_A_HURRY * FUNCTIONS {
            let created = Owed::Created { background: false, in_memory: false };
            self.model.sessions.get_mut(&session).unwrap().owed.push_back(created);
            let request = Request::Submit(Submission {
                function: format!("f{}", n % FUNCTIONS).as_str().into(),
                unique: "".into(),
                priority: Priority::Normal,
                mode: SubmitMode::Foreground,
                payload: "x".into(),
            });
            self.handle(Input::Request { session, request });
            self.grab(session);
            let of_it = |(job, (holder, _)): (&JobId, &(SessionId, _))| {
                (*holder == session).then_some(*job)
            };
            let jobs: Vec<JobId> = self.model.running.iter().filter_map(of_it).collect();
            for job in jobs {
                self.finish(session, job, WorkReport::Complete("x".into()));
            }
        }
        self.grab(session);
    }

    fn cancel(&mut self) {
        let jobs = self.state.jobs(self.now, None, 100);
        let waiting: Vec<usize> = (0..jobs.len()).filter(|n| jobs[*n].running.is_none()).collect();
        if let Some(n) = self.dice.pick(waiting) {
            let handle = &jobs[n].handle;
            assert!(self.state.cancel(self.now, handle, &mut self.fx));
            self.model.end(JobId(handle.strip_prefix("H:x:").unwrap().parse().unwrap()));
        }
    }

    /// Something that only operators do, and schedules, which are as seldom.
    fn operate(&mut self) {
        let function = format!("f{}", self.dice.roll(FUNCTIONS));
        match self.dice.roll(6) {
            0 => {
                self.model.paused.insert(function.clone());
                self.state.pause(&function, &mut self.fx);
            }
            1 => self.resume(&function),
            2 => self.sweep(SweepAction::Retry, Some(function)),
            3 => self.sweep(SweepAction::Purge, Some(function)),
            4 => self.sweep(SweepAction::Cancel, Some(function)),
            _ => {
                let Some(session) = self.any_session() else { return };
                let onlooker = self.model.sessions.get_mut(&session).unwrap();
                onlooker.owed.push_back(Owed::Scheduled);
                let schedule = Schedule {
                    function: "f1".into(),
                    unique: Unique::from(*["", "s"].get(self.dice_index(2)).unwrap()),
                    times: Box::new(["*", "*", "*", "*", "*"].map(Bytes::from)),
                    payload: "x".into(),
                };
                self.handle(Input::Request { session, request: Request::Schedule(schedule) });
            }
        }
    }

    fn resume(&mut self, pattern: &str) {
        // Before the jobs go on, which they do at once.
        let meant = wildmatch::WildMatch::new(pattern);
        self.model.paused.retain(|paused| !meant.matches(paused));
        self.state.resume(self.now, pattern, &mut self.fx);
    }

    fn sweep(&mut self, action: SweepAction, functions: Option<String>) {
        let sweep = Sweep { action, handle: None, functions, older_than: None, dry_run: true };
        let meant = self.state.sweep(self.now, &sweep, JobId(0), &mut self.fx);
        let sweep = Sweep { dry_run: false, ..sweep };
        let swept = self.state.sweep(self.now, &sweep, JobId(0), &mut self.fx);
        assert_eq!(meant, swept, "a dry run tells what will be done");
        for handle in swept.handles {
            let id = JobId(handle.strip_prefix("H:x:").unwrap().parse().unwrap());
            match action {
                SweepAction::Retry => self.model.revive(id),
                SweepAction::Purge | SweepAction::Cancel => self.model.end(id),
            }
        }
    }

    fn commit(&mut self) {
        let (count, works) = (self.dice_index(8), self.dice.roll(5) > 0);
        self.commit_some(count, works);
    }

    fn commit_some(&mut self, count: usize, works: bool) {
        if let Some(through) = self.model.commit(count, works) {
            let reason = "disk full".to_owned();
            self.handle(if works {
                Input::Committed(through)
            } else {
                Input::NotCommitted { through, reason }
            });
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.state.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            // What is due now is no longer as it was, whatever comes of it.
            self.model.passed(self.now);
            self.handle(Input::Deadline);
        }
        self.now = until;
        self.model.passed(until);
    }

    fn crash(&mut self) {
        self.model.crash();
        let next = self.model.reserved + 1;
        self.state = State::new(StateSettings { started: self.began, ..Self::settings(next) });
        for pattern in &self.model.stored_pauses {
            self.state.restore_pause(pattern.clone());
        }
        for schedule in self.model.schedules.values() {
            self.state.restore_schedule(self.now, schedule.clone()).unwrap();
        }
        self.state.begin_loading();
        self.to_load = self.model.durable.values().cloned().collect();
        self.to_load.make_contiguous().sort_by_key(|record| (record.priority, record.id));
    }

    /// Some stored jobs come after a crash.
    fn load(&mut self, count: usize) {
        for mut record in self.to_load.drain(..count.min(self.to_load.len())) {
            if record.unique.0 != "-" {
                record.payload.clear();
            }
            if let Some(death) = self.model.dead.get(&record.id).cloned() {
                self.state.restore_dead(self.now, record, death, &mut self.fx);
            } else {
                self.state.restore(self.now, record, &mut self.fx);
            }
        }
        if self.to_load.is_empty() && self.state.is_loading() {
            self.state.loaded(self.now, &mut self.fx);
        }
        self.model.watch(self.now, &mut self.fx);
    }

    /// One read of a content ends, well or not.
    fn read(&mut self) {
        let Some(job) = self.dice.pick(self.model.asked.iter().copied()) else { return };
        self.model.asked.retain(|asked| *asked != job);
        let outcome = match self.dice.roll(8) {
            0 => Fetched::Later,
            1 => Fetched::Failed,
            _ => self.model.durable.get(&job).map_or(Fetched::Lost, |record| {
                let JobRecord { unique, payload, .. } = record.clone();
                Fetched::Content(Content { unique, payload })
            }),
        };
        self.handle(Input::Fetched { job, outcome });
    }

    fn read_all(&mut self) {
        while !self.model.asked.is_empty() {
            self.read();
        }
    }

    /// The store works, and everything that was to happen later happens.
    fn rest(&mut self) {
        self.load(usize::MAX);
        for _ in 0..2 {
            self.commit_some(usize::MAX, true);
            self.read_all();
            self.wait(Duration::from_secs(2));
        }
        self.commit_some(usize::MAX, true);
    }

    /// Lets one good worker finish everything, and looks whether anything was lost.
    fn settle(&mut self) {
        // Requests that waited for stored jobs may make schedules.
        self.load(usize::MAX);
        for job in self.state.jobs(self.now, None, usize::MAX) {
            if job.times.is_some() {
                assert!(self.state.cancel(self.now, &job.handle, &mut self.fx));
                self.model.end(JobId(job.handle.strip_prefix("H:x:").unwrap().parse().unwrap()));
            }
        }
        self.resume("*");
        self.rest();
        while let Some((_, (session, _))) = self.model.running.first_key_value() {
            let session = *session;
            self.state.handle(self.now, Input::Closed { session }, &mut self.fx);
            self.model.close(session);
            self.watch();
            self.rest();
        }
        self.sweep(SweepAction::Retry, None);
        self.watch();
        let session = self.good_worker();
        loop {
            self.grab(session);
            self.read_all();
            let is_answered = self.model.sessions[&session].owed.is_empty();
            if (is_answered || self.state.is_held(session))
                && self.model.running.is_empty()
                && !self.state.jobs(self.now, None, 1).is_empty()
            {
                // The disk did not read just now.
                self.wait(Duration::from_secs(2));
                continue;
            }
            let Some((job, _)) = self.model.running.first_key_value() else { break };
            self.finish(session, *job, WorkReport::Complete("x".into()));
            self.watch();
        }
        self.rest();
        assert_eq!(self.state.jobs(self.now, None, 1), []);
        self.model.assert_settled();
    }
}
