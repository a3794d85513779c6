//! What happens when it is time: runs begin, jobs are submitted, and mins are raised and lowered.

use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::alarm::Alarm;
use super::entry::Entry;
use super::floor::Floor;
use super::handle::{Occasion, Outlook};
use super::source::JobSource;
use super::task::Supervisor;
use crate::config::{BrokerSettings, ListenAddress, PoolSettings, TimedAction, Timetable};
use crate::gearman::{Client, ServerAddress};
use crate::model::{PoolName, Priority};
use crate::pool::{LastTime, PoolCommand};
use crate::protocol::{Submission, SubmitMode};

/// The clock is looked at so often though nothing is due: it may have been set.
const LOOK_PERIOD: Duration = Duration::from_secs(30);
/// How long a job may take to be acknowledged.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// What became of a job that was to be submitted.
#[derive(Debug)]
pub(super) struct Submitted {
    pool: PoolName,
    /// The job's handle, or why there is none.
    outcome: Result<String, String>,
}

/// A pool's timetable under way.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    alarm: Alarm,
    /// What came of the last time.
    last: Option<Occasion>,
    /// The handle of the last job.
    handle: String,
}

impl Timing {
    fn new(timetable: &Timetable) -> Self {
        let alarm = Alarm::new(&timetable.times, &timetable.zone, Timestamp::now());
        Self { alarm, last: None, handle: String::new() }
    }

    /// Of these settings, if they have a timetable.
    pub(super) fn of(settings: &PoolSettings) -> Option<Self> {
        settings.run.timetable.as_ref().map(Self::new)
    }

    pub(super) fn outlook(&self) -> Outlook {
        let next = self.alarm.next().and_then(|next| SystemTime::try_from(next).ok());
        Outlook { next, last: self.last.clone() }
    }

    /// What came of the last time before the daemon started.
    pub(super) fn recall(&mut self, last: LastTime) {
        self.last = Some(Occasion { at: last.time(), said: last.said });
        self.handle = last.handle;
    }

    fn heard(&mut self, outcome: Result<String, String>) -> String {
        let said = match outcome {
            Ok(handle) if handle == self.handle => {
                format!("skipped: job {handle} of the time before has not ended")
            }
            Ok(handle) => {
                let said = format!("submitted job {handle}");
                self.handle = handle;
                said
            }
            Err(why) => format!("no job was submitted: {why}"),
        };
        self.last = Some(Occasion { at: SystemTime::now(), said: said.clone() });
        said
    }
}

impl Supervisor {
    /// When the clock is to be looked at.
    pub(super) fn timing_due(&self) -> Option<Instant> {
        let next = self.pools.values().filter_map(Entry::next_time).min()?;
        let left = next.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
        let left = Duration::try_from(left).unwrap_or(LOOK_PERIOD);
        Some(Instant::now() + left.min(LOOK_PERIOD))
    }

    /// Does what is due.
    pub(super) fn keep_time(&mut self) {
        let now = Timestamp::now();
        for (name, entry) in &mut self.pools {
            let timetable = entry.settings.run.timetable.as_ref();
            let Some((timing, timetable)) = entry.timing.as_mut().zip(timetable) else { continue };
            let due = timing.alarm.ring(&timetable.times, &timetable.zone, now);
            if due.is_none() {
                continue;
            }
            match &timetable.action {
                TimedAction::Start => {
                    debug!(pool = %name, "it is time for a run");
                    entry.handle.post(PoolCommand::Due, &self.rooms.tasks);
                }
                TimedAction::Submit { function, payload } => {
                    let servers = servers(&self.settings.broker);
                    let job = submission(name, function, payload);
                    let (pool, submitted) = (name.clone(), self.rooms.submitted.clone());
                    self.rooms.tasks.spawn(async move {
                        let outcome = submit(&servers, job).await;
                        tell(&submitted, Submitted { pool, outcome }).await;
                    });
                }
            }
        }
    }

    /// Raises or lowers the mins that `min_at` is about.
    pub(super) async fn keep_floors(&mut self) {
        let now = Timestamp::now();
        let is_scaled = !matches!(self.rooms.source, JobSource::Direct(_));
        for (name, entry) in self.pools.iter_mut().filter(|(_, it)| !it.settings.min_at.is_empty())
        {
            let (before, bounds) = (entry.floor.min(), entry.bounds());
            entry.floor = Floor::at(&entry.settings.min_at, now);
            if entry.floor.min() == before {
                continue;
            }
            let min = entry.settings.count.min;
            let said = match entry.floor.raised {
                Some(raised) => format!("min_at: at least {} workers from now on", raised.min),
                None => format!("min_at: at least {min} workers again"),
            };
            info!(pool = %name, "{said}");
            if entry.bounds() != bounds {
                entry.change(said, None);
                if !is_scaled {
                    // Nobody else lowers it.
                    entry.target = entry.bounds().min;
                }
                entry.follow_bounds(&self.rooms.gate).await;
            }
        }
    }

    /// A job was submitted, or not.
    pub(super) fn note_submitted(&mut self, Submitted { pool, outcome }: Submitted) {
        let Some(entry) = self.pools.get_mut(&pool) else { return };
        let Some(timing) = &mut entry.timing else { return };
        let is_bad = outcome.is_err();
        let said = timing.heard(outcome);
        let last = LastTime::now(said.clone(), timing.handle.clone());
        entry.memory.change(|memory| memory.last = Some(last));
        if is_bad {
            warn!(%pool, "{said}");
        } else {
            info!(%pool, "{said}");
        }
    }
}

impl Entry {
    fn next_time(&self) -> Option<Timestamp> {
        let alarm = self.timing.as_ref().and_then(|timing| timing.alarm.next());
        [alarm, self.floor.next].into_iter().flatten().min()
    }
}

async fn tell(submitted: &mpsc::Sender<Submitted>, news: Submitted) {
    if submitted.send(news).await.is_err() {
        debug!("a job was submitted while the supervisor ended");
    }
}

/// A job that is the same one as long as it has not ended.
fn submission(pool: &PoolName, function: &str, payload: &str) -> Submission {
    Submission {
        function: function.into(),
        unique: format!("cron:{pool}").as_str().into(),
        priority: Priority::Normal,
        mode: SubmitMode::Background,
        payload: bytes::Bytes::copy_from_slice(payload.as_bytes()),
    }
}

async fn submit(servers: &[ServerAddress], job: Submission) -> Result<String, String> {
    let submitting = async {
        let mut client = Client::connect(servers).await.map_err(|error| error.to_string())?;
        client.submit_background(job).await.map_err(|error| error.to_string())
    };
    match tokio::time::timeout(SUBMIT_TIMEOUT, submitting).await {
        Ok(handle) => handle.map(|handle| String::from_utf8_lossy(&handle).into_owned()),
        Err(_) => Err("it was not acknowledged in time".to_owned()),
    }
}

/// Where jobs are submitted: our own listeners, or the servers outside.
fn servers(broker: &BrokerSettings) -> Vec<ServerAddress> {
    if !broker.servers.is_empty() {
        return broker.servers.iter().filter_map(|server| server.parse().ok()).collect();
    }
    let own = broker.listen.iter().filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(ServerAddress::Unix(path.clone())),
        ListenAddress::Tcp(address) if address.port() == 0 => None,
        ListenAddress::Tcp(address) => {
            // A listener on all addresses is also on loopback.
            let host = match (address.ip().is_unspecified(), address.is_ipv4()) {
                (true, true) => "127.0.0.1".to_owned(),
                (true, false) => "::1".to_owned(),
                (false, _) => address.ip().to_string(),
            };
            Some(ServerAddress::Tcp { host, port: address.port() })
        }
    });
    own.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, load_text};

    #[test]
    fn a_job_that_is_still_there_is_not_submitted_again() {
        let text =
            "[pool.p]\ncommand = \"x\"\nuser = \"root\"\nprotocol = \"exec\"\ncron = \"0 3 * * *\"";
        let variables = [("HOME".to_owned(), "/root".to_owned())].into();
        let surroundings =
            Surroundings { directory: "/".into(), variables, ..Surroundings::default() };
        let settings = load_text("p.toml".as_ref(), text, &surroundings).unwrap();
        let mut timing = Timing::of(settings.pools.values().next().unwrap()).unwrap();
        for (outcome, said) in [
            (Ok("H:x:1"), "submitted job H:x:1"),
            (Ok("H:x:1"), "skipped: job H:x:1 of the time before has not ended"),
            (Err("no"), "no job was submitted: no"),
            (Ok("H:x:2"), "submitted job H:x:2"),
        ] {
            assert_eq!(timing.heard(outcome.map(str::to_owned).map_err(str::to_owned)), said);
            assert_eq!(timing.outlook().last.unwrap().said, said);
        }
    }

    #[test]
    fn jobs_go_where_the_broker_listens() {
        let text = "broker.listen = [\"0.0.0.0:1\", \"127.0.0.1:0\", \"unix:/g\"]\n\
                    broker.allow = [\"10.0.0.0/8\"]";
        let variables = [("HOME".to_owned(), "/root".to_owned())].into();
        let somebody =
            Surroundings { directory: "/".into(), uid: 1, variables, ..Surroundings::default() };
        let settings = load_text("p.toml".as_ref(), text, &somebody).unwrap();
        let servers: Vec<_> = servers(&settings.broker).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.1:1", "unix:/g"]);
    }
}
