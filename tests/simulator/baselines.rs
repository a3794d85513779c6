//! What others do, re-written from their sources: each rule names its line.

use std::collections::VecDeque;

use gear_supervisor::scaler::simulation::{CrewView, Policy, QueueView, Shrink, World};

/// Counts that never change.
pub(crate) struct Fixed {
    pub(crate) name: &'static str,
    pub(crate) counts: Vec<u32>,
}

impl Policy for Fixed {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn period(&self) -> f64 {
        1e9
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        for (pool, count) in self.counts.iter().enumerate() {
            world.set_target(pool, *count, Shrink::Idle);
        }
        None
    }
}

/// Every pool at its max, or the same part of it that fits `[host] max_workers` and memory.
pub(crate) fn fixed_max(world: &World) -> Fixed {
    let stage = world.stage();
    let most: u32 = stage.pools.iter().map(|pool| pool.count.max).sum();
    let places = stage.host.workers_max.unwrap_or(most).min(most);
    let counts = stage.pools.iter().map(|pool| (pool.count.max * places / most).max(1));
    Fixed { name: "fixed max", counts: counts.collect() }
}

/// Every pool at its mean load and a quarter more.
pub(crate) fn fixed_mean(world: &World) -> Fixed {
    let trace = world.trace();
    let counts = world.stage().pools.iter().map(|pool| {
        let served = trace.jobs.iter().filter(|job| pool.functions.contains(&job.function));
        let erlangs = served.map(|job| job.service).sum::<f64>() / trace.seconds;
        (1..pool.count.max).find(|count| f64::from(*count) >= 1.25 * erlangs)
    });
    Fixed { name: "fixed mean", counts: counts.map(|count| count.unwrap_or(1)).collect() }
}

/// All queues and workers of one pool.
struct Seen {
    queue: QueueView,
    crew: CrewView,
    have: u32,
    min: u32,
    max: u32,
}

fn see(world: &mut World, pool: usize) -> Seen {
    let stage = world.stage().pools[pool].clone();
    let mut queue = QueueView::default();
    for function in &stage.functions {
        let one = world.queue(*function);
        queue.queued += one.queued;
        queue.running += one.running;
        queue.ended += one.ended;
        queue.oldest = queue.oldest.max(one.oldest);
        queue.busy_seconds += one.busy_seconds;
    }
    let crew = world.crew(pool, 0.0, 0.0);
    let have = u32::try_from(crew.running + crew.idle + crew.starting).unwrap();
    Seen { queue, crew, have, min: stage.count.min, max: stage.count.max }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

/// Laravel Horizon, `balance = auto`, `strategy = time` (laravel/horizon d9c39ce, files of `src`).
#[derive(Default)]
pub(crate) struct Horizon;

impl Policy for Horizon {
    fn name(&self) -> String {
        "Horizon".to_owned()
    }

    /// Supervisor.php:341-351, and balanceCooldown = 3 of SupervisorOptions.php:96; its loop comes
    /// around every second (Supervisor.php:258).
    fn period(&self) -> f64 {
        3.0
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        let pools = world.stage().pools.len();
        let all: Vec<_> = (0..pools).map(|pool| see(world, pool)).collect();
        let max_processes = world.stage().host.workers_max.unwrap_or_else(|| all[0].max);
        // AutoScaler.php:81 and 85: time = readyNow x runtimeForQueue.
        let clear: Vec<f64> = (all.iter())
            .map(|seen| {
                let ended = f64::from(u32::try_from(seen.queue.ended).unwrap()).max(1.0);
                f64::from(count(seen.queue.queued)) * seen.queue.busy_seconds / ended
            })
            .collect();
        let sum: f64 = clear.iter().sum();
        let mut total: u32 = all.iter().map(|seen| seen.have).sum();
        for (pool, seen) in all.iter().enumerate() {
            // AutoScaler.php:103-127: the share of the time in all of it (105-106), of
            // maxProcesses (115), or without times max where anything waits and else min (120-121).
            let want = if sum > 0.0 {
                let share = clear[pool] / sum * f64::from(max_processes);
                (0..=max_processes).find(|n| f64::from(*n) >= share).unwrap()
            } else if seen.queue.queued > 0 {
                max_processes
            } else {
                seen.min
            };
            // AutoScaler.php:139-172, by balanceMaxShift = 1 of SupervisorOptions.php:103: up by
            // what is left of maxProcesses (147-148), not into the others' minimum (154); down to
            // what is desired and the minimum (160-167).
            let have = seen.have;
            let target = if want > have {
                let shift = max_processes.saturating_sub(total).min(1);
                (have + shift).min(max_processes - (count(pools) - 1) * seen.min).min(want)
            } else {
                have.saturating_sub(1).max(seen.min).max(want)
            };
            let target = if want == have { have } else { target };
            total = total + target - have;
            // ProcessPool.php:105-129: the oldest are cut off the list and terminated; 268-277:
            // killed after `timeout` = 60 of SupervisorOptions.php:204.
            world.set_target(pool, target, Shrink::Oldest(60.0));
        }
        None
    }
}

/// Gearman::Driver (nightsailer/gearman-driver d6a4638, lib/Gearman/Driver.pm:864-916; the numbers
/// of `status` are summed over the servers by Driver/Observer.pm:88-120).
#[derive(Default)]
pub(crate) struct Driver;

impl Policy for Driver {
    fn name(&self) -> String {
        "Gearman::Driver".to_owned()
    }

    /// `interval` = 5: Driver.pm:219-225.
    fn period(&self) -> f64 {
        5.0
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        for pool in 0..world.stage().pools.len() {
            let seen = see(world, pool);
            let (busy, have) = (count(seen.crew.running), seen.have);
            // Driver.pm:877-883: all are busy, so what waits is started up to max. The queue of
            // `status` counts running jobs too.
            let queue = count(seen.queue.queued + seen.queue.running);
            if have <= busy && queue > 0 {
                let more = queue.saturating_sub(busy).min(seen.max.saturating_sub(have));
                world.set_target(pool, have + more, Shrink::Oldest(0.0));
            } else if have > seen.min && queue == 0 && seen.queue.ended > 0 {
                // Driver.pm:886-892: an empty queue ends all above min, the first pids first; at
                // once, as max_idle_time = 0 (251-257).
                world.set_target(pool, seen.min, Shrink::Oldest(0.0));
            }
        }
        None
    }
}

/// KEDA (kedacore/keda 8b4f083) with a list of 5 jobs for each worker, and the HPA (kubernetes
/// v1.23.0, files of pkg/controller/podautoscaler; the horizontal.go of today has the same rules),
/// with their defaults.
#[derive(Default)]
pub(crate) struct Keda {
    pools: Vec<KedaPool>,
    looks: u32,
}

#[derive(Default)]
struct KedaPool {
    /// What was recommended when.
    recommended: VecDeque<(f64, u32)>,
    /// When a poll last found the queue not empty.
    active: Option<f64>,
}

impl Policy for Keda {
    fn name(&self) -> String {
        "KEDA + HPA".to_owned()
    }

    /// The HPA's sync period: config/v1alpha1/defaults.go:38.
    fn period(&self) -> f64 {
        15.0
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        let now = world.now();
        // KEDA's own loop: defaultPollingInterval = 30 (apis/keda/v1alpha1/withtriggers_types.go:51
        // and 107), slept out by pkg/scaling/scale_handler.go:277-290.
        let polls = self.looks.is_multiple_of(2);
        self.looks += 1;
        for pool in 0..world.stage().pools.len() {
            let seen = see(world, pool);
            if self.pools.len() <= pool {
                self.pools.push(KedaPool::default());
            }
            let state = &mut self.pools[pool];
            // The list's length, as Redis tells it: what runs has left it (pkg/scalers/
            // redis_scaler.go:133). The HPA asks for it itself and does not wait for a poll
            // (apis/keda/v1alpha1/scaledobject_webhook.go:385).
            let queue = count(seen.queue.queued);
            let mut target = if seen.have > 0 { state.scaled(now, queue, &seen) } else { 0 };
            if polls {
                target = state.switched(now, queue, (&seen, target));
            }
            // terminationGracePeriodSeconds = 30, the default of a pod.
            world.set_target(pool, target, Shrink::Oldest(30.0));
        }
        None
    }
}

impl KedaPool {
    /// From one worker up: the HPA.
    fn scaled(&mut self, now: f64, queue: u32, seen: &Seen) -> u32 {
        // replica_calculator.go:388-393: the count there is where the metric is within the
        // tolerance (0.1: config/v1alpha1/defaults.go:56), else the metric over its target.
        let ratio = f64::from(queue) / (5.0 * f64::from(seen.have));
        let desired = if (1.0 - ratio).abs() > 0.1 { queue.div_ceil(5) } else { seen.have };
        // horizontal.go:713-732: the most that was recommended within 5 minutes
        // (config/v1alpha1/defaults.go:44).
        self.recommended.retain(|(at, _)| now - at <= 300.0);
        self.recommended.push_back((now, desired));
        let stabilized = self.recommended.iter().map(|(_, count)| *count).max().unwrap();
        // horizontal.go:980-1014, with scaleUpLimit of 1016-1017 and 55-56: at most the larger of
        // twice the count and 4. KEDA's HPA has a minimum of one.
        let limit = (2 * seen.have).max(4);
        stabilized.clamp(seen.min.max(1), seen.max.min(limit).max(1))
    }

    /// Between none and one: KEDA.
    fn switched(&mut self, now: f64, queue: u32, (seen, target): (&Seen, u32)) -> u32 {
        // redis_scaler.go:276: active with more than activationListLength = 0 in the list.
        if queue > 0 {
            // pkg/scaling/executor/scale_scaledobjects.go:71-80.
            self.active = Some(now);
            return target.max(1);
        }
        // scale_scaledobjects.go:98-101 and 212-217: to none when nothing has been active for
        // defaultCooldownPeriod = 300 (scale_executor.go:37). It has not been active before.
        let over = self.active.is_none_or(|at| now - at > 300.0);
        if seen.min == 0 && over { 0 } else { target }
    }
}

/// php-fpm, `pm = dynamic` (PHP 8.2.32, sapi/fpm/fpm/fpm_process_ctl.c, the function
/// `fpm_pctl_perform_idle_server_maintenance`).
#[derive(Default)]
pub(crate) struct PhpFpm {
    rates: Vec<u32>,
}

impl Policy for PhpFpm {
    fn name(&self) -> String {
        "php-fpm dynamic".to_owned()
    }

    /// FPM_IDLE_SERVER_MAINTENANCE_HEARTBEAT = 1000 ms: fpm_process_ctl.h:9.
    fn period(&self) -> f64 {
        1.0
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        for pool in 0..world.stage().pools.len() {
            let seen = see(world, pool);
            if self.rates.len() <= pool {
                self.rates.push(1);
            }
            let rate = &mut self.rates[pool];
            // A tenth and three tenths of pm.max_children as spare servers.
            let (spare_min, spare_max) = ((seen.max / 10).max(1), (seen.max * 3 / 10).max(2));
            // 361-374, fpm_request.c:291: a child that waits for a request is idle.
            let idle = count(seen.crew.idle);
            let target = if idle > spare_max {
                // 400-404: one idle child is told to quit, the oldest (362-369).
                *rate = 1;
                seen.have.saturating_sub(1).max(seen.min)
            } else if idle < spare_min {
                // 407-415 and 422-434: as many as the rate and pm.max_children allow; at the latter
                // the rate is one again.
                let more = (*rate).min(spare_min - idle).min(seen.max.saturating_sub(seen.have));
                // 449-451: it doubles up to pm.max_spawn_rate = 32 (fpm_conf.c:635).
                *rate = match (more, *rate) {
                    (0, _) => 1,
                    (_, slow) if slow < 32 => slow * 2,
                    (_, fast) => fast,
                };
                seen.have + more
            } else {
                // 454.
                *rate = 1;
                seen.have
            };
            world.set_target(pool, target, Shrink::Idle);
        }
        None
    }
}

/// Knows the future as far as a start takes: what no scaler without a prophet can beat.
pub(crate) struct Clairvoyant {
    /// For each pool, the jobs that would run in each quarter of a second if none waited.
    needs: Vec<Vec<u32>>,
}

impl Clairvoyant {
    const STEP: f64 = 0.25;

    pub(crate) fn new(world: &World) -> Self {
        let trace = world.trace();
        let slots = steps(trace.seconds) + 1;
        let needs = world.stage().pools.iter().map(|pool| {
            let mut changes = vec![0_i64; slots + 1];
            let served = |function: usize| pool.functions.contains(&function);
            for job in trace.jobs.iter().filter(|job| served(job.function)) {
                changes[steps(job.at).min(slots)] += 1;
                changes[(steps(job.at + job.service) + 1).min(slots)] -= 1;
            }
            let mut running = 0;
            let sum = |change: &i64| {
                running += change;
                u32::try_from(running).unwrap()
            };
            changes.iter().map(sum).collect()
        });
        Self { needs: needs.collect() }
    }
}

fn steps(seconds: f64) -> usize {
    let mut step = 0;
    while (f64::from(step) + 1.0) * Clairvoyant::STEP <= seconds {
        step += 1;
    }
    usize::try_from(step).unwrap()
}

impl Policy for Clairvoyant {
    fn name(&self) -> String {
        "clairvoyant".to_owned()
    }

    fn period(&self) -> f64 {
        Self::STEP
    }

    fn look(&mut self, world: &mut World) -> Option<f64> {
        let now = steps(world.now());
        for pool in 0..world.stage().pools.len() {
            let (startup, max) = {
                let stage = &world.stage().pools[pool];
                (stage.startup * (1.0 + stage.startup_spread), stage.count.max)
            };
            let ahead = now..now + steps(startup) + 2;
            let seen = see(world, pool);
            let need = ahead.filter_map(|step| self.needs[pool].get(step)).max().copied();
            let backlog = count(seen.crew.running + seen.queue.queued);
            let target = need.unwrap_or(0).max(backlog.min(max)).min(max);
            world.set_target(pool, target, Shrink::Idle);
        }
        None
    }
}
