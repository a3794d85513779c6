//! The picture of a daemon: a few lines about it, then its pools and workers, then what waits.

use crate::cli::format;
use crate::cli::paint::{Colours, Ink};
use crate::cli::table::{Cell, Column, Table};
use crate::control::api::{
    BrokerStatus, CronStatus, DaemonState, FunctionStatus, JobStatus, PoolStatus, Status,
    WorkerStatus,
};

/// Functions whose jobs wait that are told one by one.
const QUEUES_SHOWN: usize = 20;
/// Troubles that are told one by one.
const TROUBLES_SHOWN: usize = 10;
/// Uptime from which a worker without a connection is odd rather than new, in seconds.
const UNTIED_AFTER: f64 = 2.0;
/// Uptime from which it is odd that a worker has registered nothing, in seconds.
const UNHEARD_AFTER: f64 = 30.0;

/// For whom the picture is made.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) colours: Colours,
    /// The date that times are told without.
    pub(super) today: String,
}

impl View {
    /// The whole picture.
    pub(super) fn render(&self, status: &Status, troubles: &[String]) -> String {
        let mut lines = self.head(status);
        lines.push(String::new());
        let mut text = lines.join("\n");
        text.push('\n');
        text += &self.workers(&status.pools);
        let queues = status.broker.as_ref().map(|broker| self.queues(broker)).unwrap_or_default();
        let sections = [queues, self.last_words(&status.pools), self.troubles(troubles)];
        for section in sections.iter().filter(|section| !section.is_empty()) {
            text.push('\n');
            text += &section.join("\n");
            text.push('\n');
        }
        text
    }

    fn head(&self, status: &Status) -> Vec<String> {
        let mut lines = vec![self.daemon(status), self.file(status)];
        if let Some(rejected) = &status.config.rejected {
            let at = format::clock(&rejected.at, &self.today);
            let what = if status.config.is_copy { "file" } else { "edit" };
            let sentence = format!("the {what} of {at} was not applied:");
            lines.push(self.paint(&sentence, Ink::Red));
            lines.extend(rejected.errors.iter().map(|error| format!("  {error}")));
        }
        lines.extend(status.broker.iter().flat_map(|broker| self.source(broker)));
        lines.extend(self.untied(&status.pools));
        lines.extend(self.unheard(&status.pools));
        lines
    }

    fn daemon(&self, status: &Status) -> String {
        let (state, ink) = match status.state {
            DaemonState::Running => ("running", Ink::Green),
            DaemonState::Stopping => ("stopping", Ink::Yellow),
        };
        let host = &status.host;
        format!(
            "{} is {} for {} · pid {} · version {} · load {:.2} on {} · {} of {} free",
            self.paint(&status.name, Ink::Bold),
            self.paint(state, ink),
            format::duration(status.uptime),
            status.pid,
            status.version,
            host.load1,
            format::counted(host.cores, "core"),
            format::size(host.mem_available),
            format::size(host.mem_total),
        )
    }

    fn file(&self, status: &Status) -> String {
        let config = &status.config;
        let at = format::clock(&config.loaded_at, &self.today);
        if config.is_copy {
            let said = format!("running the last good file, of {at}, in place of {}", config.file);
            return self.paint(&said, Ink::Red);
        }
        let still = if config.rejected.is_some() { "still " } else { "" };
        format!("{still}running the file of {at}: {}", config.file)
    }

    /// Workers that ought to have a connection to the broker and have none that is known.
    fn untied(&self, pools: &[PoolStatus]) -> Option<String> {
        let is_untied = |worker: &&WorkerStatus| {
            worker.tied == Some(false)
                && !is_unheard(worker)
                && worker.uptime.is_some_and(|uptime| uptime > UNTIED_AFTER)
        };
        let workers = pools.iter().flat_map(|pool| &pool.workers).filter(is_untied);
        let names: Vec<_> = workers.map(|worker| worker.name.as_str()).collect();
        let (verb, their) = if names.len() == 1 { ("is", "its") } else { ("are", "their") };
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            let why = format!("{names} {verb} untied: {their} connections are not known");
            self.paint(&why, Ink::Yellow)
        })
    }

    /// Workers that have registered nothing: `image:1 up 30 s, registered nothing here`.
    fn unheard(&self, pools: &[PoolStatus]) -> Vec<String> {
        let workers = pools.iter().flat_map(|pool| &pool.workers).filter(|w| is_unheard(w));
        let told = workers.map(|worker| {
            let up = format::duration(worker.uptime.unwrap_or_default());
            let sentence = format!("{} up {up}, registered nothing here", worker.name);
            self.paint(&sentence, Ink::Yellow)
        });
        told.collect()
    }

    /// Where jobs come from.
    fn source(&self, broker: &BrokerStatus) -> Vec<String> {
        if broker.servers.is_empty() {
            return vec![broker_line(broker)];
        }
        let told = broker.servers.iter().map(|server| {
            let since = format::duration(server.since);
            match &server.trouble {
                _ if server.up => format!("{} up for {since}", server.address),
                Some(trouble) => {
                    let sentence = format!("{} down for {since}: {trouble}", server.address);
                    self.paint(&sentence, Ink::Red)
                }
                None => format!("{} being tried", server.address),
            }
        });
        let mut lines = vec![format!("jobs from {}", told.collect::<Vec<_>>().join(" · "))];
        if broker.direct {
            let lost = "jobs in hand unknown: workers connect by themselves (direct = true), so \
                        none is waited for, and a worker that is stopped may lose its job";
            lines.push(self.paint(lost, Ink::Yellow));
        }
        lines
    }

    fn workers(&self, pools: &[PoolStatus]) -> String {
        let mut table = Table::new(&[
            Column::Left("NAME"),
            Column::Left("STATE"),
            Column::Right("PID"),
            Column::Right("UPTIME"),
            Column::Right("DONE"),
            Column::Left("JOB"),
            Column::Right("CPU"),
            Column::Right("RSS"),
            Column::Right("RESTARTS"),
            Column::Left("LAST EXIT"),
        ]);
        for pool in pools {
            table.line(self.pool(pool));
            for worker in &pool.workers {
                table.row(worker_cells(worker));
            }
        }
        table.render(self.colours)
    }

    /// `slow · 1 of 2 running · gearman · count = 2 in the file`
    fn pool(&self, pool: &PoolStatus) -> String {
        let mut parts = vec![self.paint(&pool.name, Ink::Bold)];
        parts.push(format!("{} of {} running", pool.running, pool.target));
        if pool.wanted != pool.target {
            let limit = pool.limit.iter().map(|limit| format!(", limited by {limit}"));
            parts.push(format!("{} wanted{}", pool.wanted, limit.collect::<String>()));
        }
        parts.push(match pool.functions.as_slice() {
            [] => pool.protocol.clone(),
            functions => format!("{} {}", pool.protocol, functions.join(", ")),
        });
        if !pool.reason.is_empty() {
            parts.push(pool.reason.clone());
        }
        parts.extend(pool.cron.as_ref().map(|cron| self.cron(cron)));
        parts.extend(pool.log_loss.as_ref().map(|loss| {
            let (size, at) = (format::size(loss.bytes), format::clock(&loss.at, &self.today));
            self.paint(&format!("{size} of its log lost, the last at {at}"), Ink::Red)
        }));
        parts.join(" · ")
    }

    /// `*/5 * * * *, next at 14:05:00, last at 14:00:01: exit 0`
    fn cron(&self, cron: &CronStatus) -> String {
        let at = |time: &String| format::clock(time, &self.today);
        let next = cron.next.as_ref().map_or("never".to_owned(), |next| format!("at {}", at(next)));
        let told = format!("{}, next {next}", cron.times);
        match cron.last_at.as_ref().zip(cron.last.as_ref()) {
            Some((time, last)) => format!("{told}, last at {}: {last}", at(time)),
            None => told,
        }
    }

    /// A line for each function that has jobs waiting, the most first.
    fn queues(&self, broker: &BrokerStatus) -> Vec<String> {
        let waiting = |function: &FunctionStatus| function.queued.iter().sum::<usize>();
        let mut queues: Vec<_> =
            broker.functions.iter().filter(|f| waiting(f) > 0 || f.paused).collect();
        queues.sort_by_key(|function| std::cmp::Reverse(waiting(function)));
        let more = queues.len().saturating_sub(QUEUES_SHOWN);
        let shown = queues.into_iter().take(QUEUES_SHOWN);
        let mut lines: Vec<_> =
            shown.map(|function| self.queue(function, waiting(function))).collect();
        if more > 0 {
            lines.push(format!("jobs wait for {} too", format::counted(more, "more function")));
        }
        lines
    }

    fn queue(&self, function: &FunctionStatus, waiting: usize) -> String {
        let verb = if waiting == 1 { "waits" } else { "wait" };
        let name = self.paint(&function.name, Ink::Bold);
        let [high, _, low] = function.queued;
        let shares: Vec<_> = [(high, "high"), (low, "low")]
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{} {name}", format::number(*count as u64)))
            .collect();
        let shares =
            if shares.is_empty() { String::new() } else { format!(" ({})", shares.join(", ")) };
        let mut parts =
            vec![format!("{} {verb} for {name}{shares}", format::counted(waiting, "job"))];
        let oldest = function.oldest.map(format::duration);
        parts.extend(oldest.map(|oldest| format!("the oldest for {oldest}")));
        parts.push(format!("{} running", format::number(function.running as u64)));
        if function.paused {
            parts.push(self.paint("paused", Ink::Yellow));
        }
        if function.performers == 0 {
            parts.push(self.paint("no worker performs it", Ink::Yellow));
        }
        parts.join(" · ")
    }

    /// The last lines of processes that failed.
    fn last_words(&self, pools: &[PoolStatus]) -> Vec<String> {
        let workers = pools.iter().flat_map(|pool| &pool.workers);
        let failed = workers.filter(|worker| !worker.outgoing && !worker.last_lines.is_empty());
        let told = failed.flat_map(|worker| {
            let exit = worker.last_exit.as_deref().unwrap_or_default();
            let head = format!("{}: {exit}; its last lines:", self.paint(&worker.name, Ink::Bold));
            let lines = worker.last_lines.iter().map(|line| format!("  {line}"));
            std::iter::once(head).chain(lines)
        });
        told.collect()
    }

    fn troubles(&self, troubles: &[String]) -> Vec<String> {
        let more = troubles.len().saturating_sub(TROUBLES_SHOWN);
        let shown = troubles.iter().take(TROUBLES_SHOWN);
        let mut lines: Vec<_> = shown
            .map(|trouble| format!("{} {trouble}", self.paint("not as wanted:", Ink::Red)))
            .collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    fn paint(&self, text: &str, ink: Ink) -> String {
        self.colours.paint(text, ink).into_owned()
    }
}

/// A worker that ought to have registered something by now, and has not.
fn is_unheard(worker: &WorkerStatus) -> bool {
    worker.registered == Some(false) && worker.uptime.is_some_and(|up| up >= UNHEARD_AFTER)
}

fn broker_line(broker: &BrokerStatus) -> String {
    let listen = match broker.listen.as_slice() {
        [] => "nothing".to_owned(),
        addresses => addresses.join(", "),
    };
    let connections = format::counted(broker.connections, "connection");
    let mut parts = vec![format!("broker on {listen}"), connections];
    if broker.untied_performers > 0 {
        let others = format::counted(broker.untied_performers, "performer");
        parts.push(format!("{others} from elsewhere"));
    }
    parts.join(" · ")
}

fn worker_cells(worker: &WorkerStatus) -> Vec<Cell> {
    let cpu = worker.cpu_percent.map(|percent| format!("{percent:.0}%"));
    vec![
        Cell::plain(format!("  {}", worker.name)),
        state(worker),
        Cell::maybe(worker.pid.map(|pid| pid.to_string())),
        Cell::maybe(worker.uptime.map(format::duration)),
        Cell::plain(format::number(worker.done)),
        doing(worker),
        Cell::maybe(cpu),
        Cell::maybe(worker.rss.map(format::size)),
        Cell::plain(format::number(worker.restarts)),
        last_exit(worker),
    ]
}

fn state(worker: &WorkerStatus) -> Cell {
    let ink = match worker.state.as_str() {
        "RUNNING" if !worker.outgoing => Ink::Green,
        "BACKOFF" | "FATAL" => Ink::Red,
        "STOPPED" | "EXITED" => Ink::Dim,
        _ => Ink::Yellow,
    };
    let mark = match (worker.outgoing, worker.outdated) {
        (true, _) => " (outgoing)",
        (false, true) => " (outdated)",
        (false, false) => "",
    };
    Cell::new(format!("{}{mark}", worker.state), ink)
}

/// The job in hand, or what else keeps the worker.
fn doing(worker: &WorkerStatus) -> Cell {
    let Some((job, others)) = worker.jobs.split_first() else {
        return Cell::new(rest(worker), Ink::Dim);
    };
    let more = if others.is_empty() { String::new() } else { format!(" +{}", others.len()) };
    // A job that is waited for: `draining: slow H:x:3 4.0 s`.
    let leaves = worker.state == "STOPPING" && !worker.detail.is_empty();
    let why = if leaves { format!("{}: ", worker.detail) } else { String::new() };
    let keyboard = keyboard(worker).map_or_else(String::new, |keyboard| format!("; {keyboard}"));
    Cell::plain(format!("{why}{}{more}{keyboard}", job_cell(job)))
}

/// `waits for its time`, `keyboard: dev (uid 1000)`
fn rest(worker: &WorkerStatus) -> String {
    let detail = Some(worker.detail.clone()).filter(|detail| !detail.is_empty());
    detail.into_iter().chain(keyboard(worker)).collect::<Vec<_>>().join("; ")
}

fn keyboard(worker: &WorkerStatus) -> Option<String> {
    worker.keyboard.as_ref().map(|who| format!("keyboard: {who}"))
}

/// `slow H:x:3 4.0 s 30%`
fn job_cell(job: &JobStatus) -> String {
    let running = job.running.map(|running| format!(" {}", format::duration(running)));
    let progress = job.progress.map(|(done, all)| format!(" {}", format::percent(done, all)));
    let (running, progress) = (running.unwrap_or_default(), progress.unwrap_or_default());
    format!("{} {}{running}{progress}", job.function, job.handle)
}

fn last_exit(worker: &WorkerStatus) -> Cell {
    let Some(exit) = &worker.last_exit else { return Cell::default() };
    let age = worker.last_exit_age.map(|age| format!(" ({} ago)", format::duration(age)));
    Cell::plain(format!("{exit}{}", age.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
