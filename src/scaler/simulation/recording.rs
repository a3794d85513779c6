//! A recorded load: the file that `explain --record` writes and `simulate` plays back.
//!
//! Lines of JSON: a [`Head`], then a [`JobLine`] for each job in the order in which they ended, then
//! an [`EndLine`]. A file without its last line is one whose recorder was killed; it is read all the
//! same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::stage::{Stage, StagePool};
use super::trace::{Trace, TraceJob};
use crate::config::{PoolSettings, Settings};

/// The only form of these files there has been.
pub const VERSION: u32 = 1;
/// Seconds of a job of a function of which none was seen to its end.
const SERVICE: f64 = 1.0;
/// Deaths of workers at which a job is given up, unless the file says otherwise.
const ATTEMPTS_MAX: u32 = 3;

/// The first line: where the load was recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`]
    pub trace: u32,
    /// The daemon's name.
    pub name: String,
    /// When, as an RFC 3339 time.
    pub recorded: String,
    /// Processors.
    pub cores: usize,
    /// Bytes that workers had or could have had.
    pub memory: u64,
    /// The pools that there were.
    pub pools: Vec<PoolLine>,
}

/// What a recording tells of a pool that its settings do not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolLine {
    /// Its name.
    pub name: String,
    /// What it served.
    pub functions: Vec<String>,
    /// Seconds from a start until the worker took jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<f64>,
    /// Resident bytes of a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// One job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobLine {
    /// Its function.
    pub function: String,
    /// Seconds from the beginning of the recording until it came; below zero if it was there.
    pub at: f64,
    /// Seconds that it waited until a worker took it; absent while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<f64>,
    /// Seconds that it took, or had taken when the recording ended; absent when none took it to
    /// its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<f64>,
    /// Whether it was not at its end when the recording ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub open: bool,
    /// Whether it was given up because its workers died.
    #[serde(default, skip_serializing_if = "is_false")]
    pub died: bool,
}

/// The last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndLine {
    /// Seconds that were recorded.
    pub seconds: f64,
    /// Jobs that the recorder was too slow for.
    pub missed: u64,
}

/// A recording as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Where it was made.
    pub head: Head,
    /// Its jobs.
    pub trace: Trace,
    /// For each function, how long its jobs waited then; ascending.
    pub waits: Vec<Vec<f64>>,
    /// Jobs that the recorder was too slow for.
    pub missed: u64,
}

/// Why a text is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It begins otherwise.
    #[error("it is no recording; make one with gear-supervisor explain --record FILE")]
    NoHead(#[source] Option<serde_json::Error>),
    /// It is of a later version of this program.
    #[error("it is of version {0}, and this program reads version {VERSION}")]
    Version(u32),
    /// A line is none of a recording.
    #[error("line {line}: {source}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It has no jobs.
    #[error("no job ended while it was recorded")]
    Empty,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Job(JobLine),
    End(EndLine),
}

impl Recording {
    /// Reads the text of a recording.
    ///
    /// # Errors
    /// With the first line that is wrong.
    pub fn read(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.lines().zip(1..);
        let (first, _) = lines.next().ok_or(RecordingError::NoHead(None))?;
        let head: Head =
            serde_json::from_str(first).map_err(|error| RecordingError::NoHead(Some(error)))?;
        if head.trace != VERSION {
            return Err(RecordingError::Version(head.trace));
        }
        let (mut jobs, mut end) = (Vec::new(), None);
        for (text, line) in lines.filter(|(text, _)| !text.trim().is_empty()) {
            let wrong = |source| RecordingError::Line { line, source };
            match serde_json::from_str(text).map_err(wrong)? {
                Line::Job(job) => jobs.push(job),
                Line::End(last) => end = Some(last),
            }
        }
        if jobs.is_empty() {
            return Err(RecordingError::Empty);
        }
        let last = || jobs.iter().map(|job| job.at + job.wait.unwrap_or(0.0)).fold(0.0, f64::max);
        let seconds = end.map_or_else(last, |end| end.seconds);
        let missed = end.map_or(0, |end| end.missed);
        Ok(Self { head, missed, ..Self::of(&jobs, seconds) })
    }

    fn of(jobs: &[JobLine], seconds: f64) -> Self {
        let means = means(jobs);
        let places: BTreeMap<&str, usize> = means.keys().copied().zip(0..).collect();
        let mut trace = Trace::new(&means.keys().copied().collect::<Vec<_>>(), seconds);
        let mut waits = vec![Vec::new(); means.len()];
        for job in jobs {
            let name = job.function.as_str();
            let (Some(function), Some(mean)) = (places.get(name).copied(), means.get(name)) else {
                continue;
            };
            // How much longer an open job takes than it had is not known; a mean is the least wrong.
            let left = if job.open { *mean } else { 0.0 };
            let service = job.service.map_or(*mean, |service| service + left);
            // What ran at the beginning has a part of its work behind it.
            let behind = job.wait.map_or(0.0, |wait| (-(job.at + wait)).max(0.0));
            trace.jobs.push(TraceJob {
                at: job.at.max(0.0),
                function,
                service: (service - behind).max(0.0),
                poison: job.died,
            });
            let seen = job.wait.filter(|_| job.at >= 0.0 && !job.died);
            waits.get_mut(function).map(|waits| seen.map(|wait| waits.push(wait)));
        }
        trace.sort();
        for waits in &mut waits {
            waits.sort_by(f64::total_cmp);
        }
        Self { trace, waits, ..Self::default() }
    }

    /// The pools of a file on the host of the recording, as far as the file says nothing else.
    #[must_use]
    pub fn stage(&self, settings: &Settings) -> Stage {
        let pools = settings.pools.values().map(|pool| self.pool(pool)).collect();
        let memory = (self.head.memory > 0).then_some(self.head.memory);
        Stage {
            host: settings.host,
            cores: self.head.cores.max(1),
            memory,
            attempts_max: ATTEMPTS_MAX,
            ..Stage::of(pools)
        }
    }

    fn pool(&self, settings: &PoolSettings) -> StagePool {
        let name = settings.name.to_string();
        let then = self.head.pools.iter().find(|pool| pool.name == name);
        let named = &settings.program.functions;
        let served = if named.is_empty() { then.map(|pool| &pool.functions) } else { Some(named) };
        let place = |name| self.trace.functions.iter().position(|function| function == name);
        let mut pool = StagePool::new(&name, settings.count.min, settings.count.max);
        pool.functions = served.into_iter().flatten().filter_map(place).collect();
        pool.scaling = settings.scaling;
        let hint = settings.scaling.startup.map(|startup| startup.as_secs_f64());
        if let Some(startup) = hint.or(then.and_then(|pool| pool.startup)) {
            pool.startup = startup;
        }
        if let Some(size) = then.and_then(|pool| pool.size) {
            pool.size = size;
        }
        pool
    }
}

/// Seconds of a job of each function, by those that were seen to their end.
fn means(jobs: &[JobLine]) -> BTreeMap<&str, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for job in jobs {
        let (seconds, count) = sums.entry(&job.function).or_default();
        if let Some(service) = job.service.filter(|_| !job.open) {
            *seconds += service;
            *count += 1.0;
        }
    }
    let mean = |(seconds, count)| if count > 0.0 { seconds / count } else { SERVICE };
    sums.into_iter().map(|(name, sum)| (name, mean(sum))).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"trace":1,"name":"w","recorded":"","cores":2,"memory":0,"pools":[]}"#;

    #[test]
    fn what_ran_before_or_still_runs_counts_with_what_is_known_of_it() {
        let text = format!(
            "{HEAD}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            r#"{"function":"b","at":1.0,"wait":0.5,"service":2.0}"#,
            r#"{"function":"a","at":-3.0,"wait":1.0,"service":6.0}"#,
            r#"{"function":"b","at":8.0,"wait":0.0,"service":1.0,"open":true}"#,
            r#"{"function":"b","at":9.0,"open":true}"#,
            r#"{"function":"b","at":3.0,"wait":0.1,"died":true}"#,
            r#"{"seconds":10.0,"missed":4}"#,
        );
        let recording = Recording::read(&text).unwrap();
        assert_eq!((recording.trace.seconds, recording.missed), (10.0, 4));
        assert_eq!(recording.trace.functions, ["a", "b"]);
        let job = |at, function, service| TraceJob { at, function, service, poison: false };
        let want = [
            job(0.0, 0, 4.0),
            job(1.0, 1, 2.0),
            TraceJob { poison: true, ..job(3.0, 1, 2.0) },
            job(8.0, 1, 3.0),
            job(9.0, 1, 2.0),
        ];
        assert_eq!(recording.trace.jobs, want);
        assert_eq!(recording.waits, [vec![], vec![0.0, 0.5]]);
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused_with_its_line() {
        let check = |text: &str, want: &str| {
            let error = Recording::read(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        };
        check("", "explain --record");
        check("hello", "explain --record");
        check(&HEAD.replace("\"trace\":1", "\"trace\":2"), "version 2");
        check(HEAD, "no job ended");
        check(&format!("{HEAD}\n{{\"function\":\"a\",\"at\":1}}\n{{}}"), "line 3");
    }
}
