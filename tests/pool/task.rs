//! One pool with real children, a gate that is played, and logs that keep the pipes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gear_supervisor::config::{
    Backoff, Count, Deploys, Limits, LogSettings, Order, PoolProtocol, PoolSettings, Program,
    RunSettings, ScalingSettings, StopStep, Upkeep, WorkerFiles,
};
use gear_supervisor::logs::{LogSource, LogsHandle, LogsRequest, LogsSnapshot};
use gear_supervisor::model::Drain;
use gear_supervisor::model::{Exit, NamePattern, WorkerId};
use gear_supervisor::pool::{
    Book, GateRequest, Pick, Pool, PoolCommand, PoolHandle, PoolIntent, PoolNews, PoolOptions,
    PoolView, RestartMode, Servers, SlotRole, SlotState, SlotView,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::support::{IDS, exists, processes, read_line, run, until_gone, zombies};

/// What the played gate and logs saw; sent through a watch so that a test can wait for it.
#[derive(Default)]
struct Seen {
    /// Workers that hold a job.
    busy: HashSet<WorkerId>,
    draining: HashMap<WorkerId, oneshot::Sender<()>>,
    /// `admit`, `ask`, `drain`, `nudge`, `gone`, `limit 3`
    story: Vec<(Option<WorkerId>, String)>,
    ports: HashMap<WorkerId, u16>,
    outputs: BTreeMap<i32, LogSource>,
    marks: Vec<String>,
}

struct Stage {
    pool: PoolHandle,
    seen: Arc<watch::Sender<Seen>>,
    tracker: TaskTracker,
}

impl Stage {
    fn new(settings: PoolSettings, target: u32) -> Self {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let tracker = TaskTracker::new();
        let (gate, requests) = mpsc::channel(4);
        tracker.spawn(play_gate(requests, Arc::clone(&seen)));
        Self::with_gate(settings, target, (gate, seen, tracker))
    }

    fn with_gate(
        settings: PoolSettings,
        target: u32,
        (gate, seen, tracker): (mpsc::Sender<GateRequest>, Arc<watch::Sender<Seen>>, TaskTracker),
    ) -> Self {
        let (logs, requests) = mpsc::channel(LogsHandle::REQUESTS_MAX);
        tracker.spawn(play_logs(requests, Arc::clone(&seen)));
        let name = settings.name.clone();
        let pool = Pool::start(PoolOptions {
            settings: Arc::new(settings),
            target,
            hurdle: None,
            processes: processes(),
            gate,
            logs: LogsHandle::new(logs, watch::channel(LogsSnapshot::default()).1),
            ids: IDS.clone(),
            tracker: tracker.clone(),
            servers: Servers::Own,
            news: PoolNews::new().0,
            intents: Book::default().page(&name),
            memory: Book::default().page(&name),
        });
        Self { pool, seen, tracker }
    }

    /// Waits until the pool's view is as the test wants it.
    async fn until(&self, wanted: impl Fn(&PoolView) -> bool) -> Arc<PoolView> {
        let mut view = self.pool.watch();
        let view = view.wait_for(|view| wanted(view)).await.unwrap();
        Arc::clone(&view)
    }

    async fn until_running(&self, count: usize) -> Arc<PoolView> {
        self.until(|view| view.slots.len() == count && all(view, SlotState::Running)).await
    }

    /// Registers the worker of each slot with the broker, as it were, and waits for that.
    async fn until_registered(&self, count: usize) -> Arc<PoolView> {
        let view =
            self.until(|view| view.slots.iter().filter(|s| s.pid.is_some()).count() == count);
        for slot in &view.await.slots {
            self.pool.tell(PoolCommand::Registered(slot.worker.unwrap())).await.unwrap();
        }
        self.until_running(count).await
    }

    /// Waits until the gate or the logs saw what the test wants.
    async fn until_seen(&self, wanted: impl Fn(&Seen) -> bool) {
        self.seen.subscribe().wait_for(|seen| wanted(seen)).await.unwrap();
    }

    /// The start of a process's standard output.
    async fn output(&self, pid: i32) -> std::os::fd::OwnedFd {
        self.until_seen(|seen| seen.outputs.contains_key(&pid)).await;
        match &self.seen.borrow().outputs[&pid] {
            LogSource::Pipes { stdout: fd, .. } | LogSource::Terminal(fd) => {
                fd.try_clone().unwrap()
            }
        }
    }

    async fn stop(&self, name: &str) -> Result<(), String> {
        let pick = pick(name);
        self.pool.ask(|reply| PoolCommand::Stop { pick, reply }).await.unwrap()
    }

    /// Closes the pool and checks that nothing is left.
    async fn close(self, grace: Duration) {
        let pids: Vec<i32> = self.pool.view().slots.iter().filter_map(|slot| slot.pid).collect();
        self.pool.ask(|reply| PoolCommand::Close { grace, reply }).await.unwrap();
        drop(self.pool);
        self.tracker.close();
        self.tracker.wait().await;
        assert!(pids.iter().all(|pid| !exists(*pid)), "{pids:?}");
        assert!(zombies().iter().all(|zombie| !pids.contains(zombie)));
    }

    fn story_of(&self, worker: WorkerId) -> Vec<String> {
        let seen = self.seen.borrow();
        let of = seen.story.iter().filter(|(of, _)| *of == Some(worker));
        of.map(|(_, text)| text.clone()).collect()
    }
}

async fn play_gate(mut requests: mpsc::Receiver<GateRequest>, seen: Arc<watch::Sender<Seen>>) {
    while let Some(request) = requests.recv().await {
        seen.send_modify(|seen| {
            let told = seen.take(request);
            seen.story.push(told);
        });
    }
}

impl Seen {
    /// Plays the gate.
    fn take(&mut self, request: GateRequest) -> (Option<WorkerId>, String) {
        match request {
            GateRequest::Admit { worker, listener, .. } => {
                self.ports.insert(worker, listener.local_addr().unwrap().port());
                (Some(worker), "admit".to_owned())
            }
            GateRequest::DrainIfIdle { worker, reply } => {
                let busy = || Drain::Busy("H:x:1".to_owned());
                let is_busy = self.busy.contains(&worker);
                reply.send(if is_busy { busy() } else { Drain::Drained }).unwrap();
                (Some(worker), "ask".to_owned())
            }
            GateRequest::Drain { worker, reply } => {
                if self.busy.contains(&worker) {
                    self.draining.insert(worker, reply);
                } else {
                    reply.send(()).unwrap();
                }
                (Some(worker), "drain".to_owned())
            }
            GateRequest::InHand { reply, .. } => {
                reply.send(Vec::new()).unwrap();
                (None, "in hand".to_owned())
            }
            GateRequest::Tally { reply, .. } => {
                reply.send(Vec::new()).unwrap();
                (None, "tally".to_owned())
            }
            GateRequest::Charge(worker) => (Some(worker), "charge".to_owned()),
            GateRequest::Await(worker) => (Some(worker), "await".to_owned()),
            GateRequest::Nudge(worker) => (Some(worker), "nudge".to_owned()),
            GateRequest::Gone { worker, exit } => (Some(worker), format!("gone: {exit}")),
            GateRequest::Limit { workers_max, .. } => (None, format!("limit {workers_max}")),
        }
    }
}

async fn play_logs(mut requests: mpsc::Receiver<LogsRequest>, seen: Arc<watch::Sender<Seen>>) {
    while let Some(request) = requests.recv().await {
        seen.send_modify(|seen| match request {
            LogsRequest::Attach { pid, source, .. } => {
                seen.outputs.insert(pid, source);
            }
            LogsRequest::Tail { reply, .. } => reply.send(Vec::new()).unwrap(),
            LogsRequest::Mark { worker, text } => seen.marks.push(format!("{worker} {text}")),
            other => panic!("{other:?}"),
        });
    }
}

fn settings(protocol: PoolProtocol, command: &[&str], count: u32) -> PoolSettings {
    let step = |signal, seconds| StopStep { signal, wait: Duration::from_secs(seconds) };
    let (initial, max) = (Duration::from_millis(5), Duration::from_millis(20));
    let backoff = Backoff { initial, max, ..Upkeep::default().backoff };
    PoolSettings {
        name: "p".parse().unwrap(),
        program: Program {
            command: command.iter().map(|&word| word.to_owned()).collect(),
            worker_files: WorkerFiles::default(),
            functions: Vec::new(),
            protocol,
            stream: false,
            account: None,
            login: None,
            directory: PathBuf::from("/"),
            env: BTreeMap::new(),
            clean_env: false,
            umask: None,
            limits: Limits::default(),
            tty: false,
        },
        count: Count { min: count, max: count },
        min_at: Vec::new(),
        scaling: ScalingSettings::default(),
        stop: vec![step(Signal::SIGTERM, 5), step(Signal::SIGKILL, 0)],
        upkeep: Upkeep { backoff, ..Upkeep::default() },
        run: RunSettings::default(),
        order: Order::default(),
        deploys: Deploys { canary: None, watch: None },
        log: LogSettings::default(),
    }
}

fn gearman(script: &str, count: u32) -> PoolSettings {
    settings(PoolProtocol::Gearman, &["sh", "-c", script], count)
}

fn pick(name: &str) -> Pick {
    let pattern = NamePattern::new(name);
    if pattern.is_pool() { Pick::Pool } else { Pick::Slots(pattern) }
}

fn all(view: &PoolView, state: SlotState) -> bool {
    view.slots.iter().all(|slot| slot.state == state)
}

fn workers(view: &PoolView) -> Vec<WorkerId> {
    view.slots.iter().filter_map(|slot| slot.worker).collect()
}

fn current(view: &PoolView, index: u32) -> &SlotView {
    let is = |slot: &&SlotView| slot.name.index == index && slot.role == SlotRole::Current;
    view.slots.iter().find(is).unwrap()
}

#[test]
fn a_worker_finds_its_private_port_and_its_output_is_kept() {
    run(async {
        let stage = Stage::new(gearman("echo $GEARMAN_PORT $GEAR_WORKER; exec sleep 1000", 1), 1);
        let view = stage.until_registered(1).await;
        let (worker, pid) = (view.slots[0].worker.unwrap(), view.slots[0].pid.unwrap());
        let line = read_line(&stage.output(pid).await);
        assert_eq!(line, format!("{} p:1", stage.seen.borrow().ports[&worker]));
        let marks =
            ["p:1 STOPPED → STARTING: it is to run".to_owned(), format!("p:1 started pid {pid}")];
        assert_eq!(stage.seen.borrow().marks[..2], marks);
        assert_eq!(stage.seen.borrow().story[0], (None, "limit 1".to_owned()));
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn a_killed_worker_is_replaced_under_its_name() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 3), 3);
        let before = stage.until_registered(3).await;
        let victim = &before.slots[1];
        kill(Pid::from_raw(victim.pid.unwrap()), Signal::SIGKILL).unwrap();
        let after = stage
            .until(|view| {
                let slot = current(view, 2);
                slot.pid.is_some() && slot.worker != victim.worker
            })
            .await;
        let slot = current(&after, 2);
        assert_eq!((slot.restarts, slot.state), (1, SlotState::Starting));
        let last = slot.last_exit.clone().unwrap();
        assert_eq!(last.exit, Exit::Signal { signal: Signal::SIGKILL, core: false });
        assert!(!last.asked && Some(last.worker) == victim.worker);
        let gone = (Some(last.worker), "gone: killed by KILL".to_owned());
        stage.until_seen(|seen| seen.story.contains(&gone)).await;
        assert_eq!(stage.story_of(last.worker), ["admit", "gone: killed by KILL"]);
        assert_eq!(current(&after, 1).worker, before.slots[0].worker, "others are not touched");
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn two_hundred_workers_come_and_go() {
    run(async {
        let stage = Stage::new(settings(PoolProtocol::None, &["sleep", "1000"], 200), 200);
        let view = stage.until_running(200).await;
        assert_eq!(view.slots[199].name.to_string(), "p:200");
        stage.close(Duration::from_secs(10)).await;
    });
}

#[test]
fn a_pool_that_is_closed_while_it_starts_leaves_nothing() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 50), 50);
        stage.until(|view| view.slots.iter().any(|slot| slot.pid.is_some())).await;
        stage.close(Duration::from_secs(10)).await;
    });
}

#[test]
fn stopping_drains_then_signals_then_nudges() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 2), 2);
        let view = stage.until_registered(2).await;
        let worker = view.slots[0].worker.unwrap();
        stage.stop("p:1").await.unwrap();
        assert_eq!(current(&stage.pool.view(), 1).state, SlotState::Stopped);
        assert_eq!(current(&stage.pool.view(), 2).state, SlotState::Running);
        stage.stop("p").await.unwrap();
        assert_eq!(stage.pool.view().intent, PoolIntent::Stopped);
        let expected = ["admit", "drain", "nudge", "gone: killed by TERM"];
        stage.until_seen(|seen| seen.story.contains(&(Some(worker), expected[3].to_owned()))).await;
        assert_eq!(stage.story_of(worker), expected);
        let pick = Pick::Pool;
        let started = stage.pool.ask(|reply| PoolCommand::Start { pick, reply });
        assert_eq!(started.await.unwrap(), Ok(()));
        assert_eq!(stage.until_running(2).await.intent, PoolIntent::Up);
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn a_busy_worker_above_the_target_goes_when_its_job_ends() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 2), 2);
        let view = stage.until_registered(2).await;
        let [first, second] = workers(&view)[..] else { panic!("{view:?}") };
        stage.seen.send_modify(|seen| {
            seen.busy.extend([first, second]);
        });
        let shrink = PoolCommand::SetTarget { target: 1, drain_busy: false };
        stage.pool.tell(shrink).await.unwrap();
        let asked = |seen: &Seen, worker| seen.story.contains(&(Some(worker), "ask".to_owned()));
        stage.until_seen(|seen| asked(seen, first) && asked(seen, second)).await;
        stage.seen.send_modify(|seen| {
            seen.busy.clear();
        });
        stage.pool.tell(PoolCommand::JobEnded { worker: first, well: true }).await.unwrap();
        let view = stage.until(|view| view.slots.len() == 1).await;
        assert_eq!(view.slots[0].worker, Some(second));
        let expected = ["admit", "ask", "ask", "nudge", "gone: killed by TERM"];
        stage.until_seen(|seen| seen.story.contains(&(Some(first), expected[4].to_owned()))).await;
        assert_eq!(stage.story_of(first), expected);
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn a_roll_of_one_worker_overlaps_and_the_old_one_finishes_its_job() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 1), 1);
        let old = stage.until_registered(1).await.slots[0].worker.unwrap();
        stage.seen.send_modify(|seen| {
            seen.busy.insert(old);
        });
        let (reply, mut done) = oneshot::channel();
        let settings = Arc::new(gearman("exec sleep 1001", 1));
        let configure = PoolCommand::Configure { settings, target: 1, reply };
        stage.pool.tell(configure).await.unwrap();
        let ready = |view: &PoolView| view.slots.len() == 2 && view.slots[0].pid.is_some();
        let view = stage.until(ready).await;
        assert_eq!((view.slots[1].worker, view.slots[1].outdated), (Some(old), true));
        let new = view.slots[0].worker.unwrap();
        stage.pool.tell(PoolCommand::Registered(new)).await.unwrap();
        let leaves = |view: &PoolView| {
            view.slots.last().is_some_and(|slot| slot.state == SlotState::Stopping)
        };
        stage.until(leaves).await;
        assert!(done.try_recv().is_err(), "the old one has a job in hand");
        stage.until_seen(|seen| seen.draining.contains_key(&old)).await;
        let mut reply = None;
        stage.seen.send_modify(|seen| reply = seen.draining.remove(&old));
        reply.unwrap().send(()).unwrap();
        done.await.unwrap().unwrap();
        assert_eq!(workers(&stage.pool.view()), [new]);
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn a_plain_program_never_has_two_processes() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        let script = format!(
            "mkdir {0} || exit 1; trap 'rmdir {0}; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done",
            lock.display()
        );
        let stage = Stage::new(settings(PoolProtocol::None, &["sh", "-c", &script], 1), 1);
        stage.until_running(1).await;
        let pick = Pick::Pool;
        let restarted = stage
            .pool
            .ask(|reply| PoolCommand::Restart { pick, mode: RestartMode::Roll, reply })
            .await
            .unwrap();
        assert_eq!(restarted, Ok(()), "the second would have failed beside the first");
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn what_cannot_be_started_is_told_and_tried_again() {
    run(async {
        let stage = Stage::new(settings(PoolProtocol::Gearman, &["no-such-thing"], 2), 2);
        let waits = |slot: &SlotView| matches!(slot.state, SlotState::Backoff | SlotState::Fatal);
        stage.until(|view| view.slots.len() == 2 && view.slots.iter().all(waits)).await;
        let pick = Pick::Pool;
        let started = stage.pool.ask(|reply| PoolCommand::Start { pick, reply }).await.unwrap();
        let reason = started.unwrap_err();
        assert!(reason.contains("cannot start 'no-such-thing': not found in PATH"), "{reason}");
        let view = stage.until(|view| view.slots.iter().any(|slot| slot.restarts > 3)).await;
        assert!(view.slots[0].detail.contains("not found"), "{}", view.slots[0].detail);
        let (reply, done) = oneshot::channel();
        let settings = Arc::new(settings(PoolProtocol::Gearman, &["sleep", "1000"], 2));
        stage.pool.tell(PoolCommand::Configure { settings, target: 2, reply }).await.unwrap();
        stage.until_registered(2).await;
        done.await.unwrap().unwrap();
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn without_a_gate_every_worker_counts_as_idle() {
    run(async {
        let (gate, _) = mpsc::channel(1);
        let parts = (gate, Arc::new(watch::Sender::new(Seen::default())), TaskTracker::new());
        let stage = Stage::with_gate(gearman("exec sleep 1000", 2), 2, parts);
        stage.until_registered(2).await;
        let shrink = PoolCommand::SetTarget { target: 1, drain_busy: false };
        stage.pool.tell(shrink).await.unwrap();
        stage.until_running(1).await;
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn a_stubborn_worker_is_killed_after_the_grace_and_its_children_too() {
    run(async {
        let script = "trap '' TERM; sleep 1000 & echo $!; wait; wait; exec sleep 1000";
        let stage = Stage::new(gearman(script, 1), 1);
        let view = stage.until_registered(1).await;
        let pid = view.slots[0].pid.unwrap();
        let child: i32 = read_line(&stage.output(pid).await).parse().unwrap();
        stage.close(Duration::from_millis(50)).await;
        until_gone(child).await;
    });
}

#[test]
fn hurry_ends_a_drain() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 1), 1);
        let worker = stage.until_registered(1).await.slots[0].worker.unwrap();
        stage.seen.send_modify(|seen| {
            seen.busy.insert(worker);
        });
        let (reply, done) = oneshot::channel();
        let close = PoolCommand::Close { grace: Duration::from_secs(1000), reply };
        stage.pool.tell(close).await.unwrap();
        stage.until(|view| all(view, SlotState::Stopping)).await;
        stage.pool.tell(PoolCommand::Hurry).await.unwrap();
        done.await.unwrap();
    });
}

#[test]
fn a_pool_whose_handles_are_gone_kills_its_workers() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 2), 2);
        let view = stage.until_registered(2).await;
        let Stage { pool, tracker, .. } = stage;
        drop(pool);
        tracker.close();
        tracker.wait().await;
        assert!(view.slots.iter().all(|slot| !exists(slot.pid.unwrap())));
    });
}

#[test]
fn a_signal_reaches_the_picked_workers() {
    run(async {
        let script = "trap 'echo got' HUP; echo up; while :; do sleep 1000 & wait $!; done";
        let stage = Stage::new(gearman(script, 2), 2);
        let view = stage.until_registered(2).await;
        let pid = view.slots[0].pid.unwrap();
        let output = stage.output(pid).await;
        assert_eq!(read_line(&output), "up");
        let (pick, signal) = (pick("p:1"), Signal::SIGHUP);
        let count = stage.pool.ask(|reply| PoolCommand::Signal { pick, signal, reply });
        assert_eq!(count.await.unwrap(), 1);
        assert_eq!(read_line(&output), "got");
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn a_shorter_job_timeout_counts_from_the_edit() {
    run(async {
        let timed = |timeout| {
            let mut settings = gearman("exec sleep 1000", 1);
            settings.upkeep.job_timeout = Some(timeout);
            settings
        };
        let stage = Stage::new(timed(Duration::from_hours(1)), 1);
        stage.until_registered(1).await;
        let looks = |seen: &Seen| seen.story.iter().filter(|(_, text)| text == "in hand").count();
        stage.until_seen(|seen| looks(seen) == 1).await;
        let settings = Arc::new(timed(Duration::from_mins(1)));
        let configure = |reply| PoolCommand::Configure { settings, target: 1, reply };
        stage.pool.ask(configure).await.unwrap().unwrap();
        stage.until_seen(|seen| looks(seen) == 2).await;
        stage.close(Duration::from_secs(5)).await;
    });
}

#[test]
fn a_registration_reaches_a_pool_that_was_too_busy_to_take_it() {
    run(async {
        let stage = Stage::new(gearman("exec sleep 1000", 1), 1);
        let view = stage.until_registered(1).await;
        let (commands, mut inbox) = mpsc::channel(1);
        let pool = PoolHandle::new(commands, stage.pool.watch());
        let [worker] = workers(&view)[..] else { panic!("{view:?}") };
        pool.hint(PoolCommand::JobEnded { worker, well: true });
        pool.hint(PoolCommand::JobEnded { worker, well: true });
        pool.post(PoolCommand::Registered(worker), &stage.tracker);
        assert!(matches!(inbox.recv().await, Some(PoolCommand::JobEnded { .. })));
        assert!(matches!(inbox.recv().await, Some(PoolCommand::Registered(_))));
        stage.close(Duration::from_secs(5)).await;
    });
}
