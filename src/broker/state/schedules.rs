//! Recurring jobs (SUBMIT_JOB_SCHED).
//!
//! gearmand does not have them. A schedule has a handle, is kept over restarts, and is ended by
//! cancelling that handle. Each run is a background job with the schedule's unique, or with its
//! handle for want of one; so a run that is not over when the next one is due is that next one
//! too. Times at which no broker ran are not made up for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;

use super::State;
use super::commits::Redo;
use super::delayed::LOOK_AFTER;
use super::effects::{Effects, Outgoing};
use super::functions::FunctionKey;
use super::timers::Timer;
use crate::broker::JobView;
use crate::broker::record::{Change, ScheduleRecord};
use crate::model::{CronTimes, InvalidCron, JobId, Priority, SessionId, Unique};
use crate::protocol::{
    ErrorCode, JobStatus, Response, Schedule as Wanted, Submission, SubmitMode, UNIQUE_LEN_MAX,
};

/// One recurring job.
#[derive(Debug)]
struct Schedule {
    function: FunctionKey,
    unique: Unique,
    times: CronTimes,
    payload: Bytes,
    made_at: SystemTime,
    next: SystemTime,
    /// Whether the store has it.
    kept: bool,
}

/// All recurring jobs.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_id: BTreeMap<JobId, Schedule>,
    due: BTreeSet<(SystemTime, JobId)>,
}

impl State {
    /// SUBMIT_JOB_SCHED. With a unique that the function has already it replaces that schedule, so
    /// that a program may submit its schedules each time it starts.
    pub(super) fn schedule(
        &mut self,
        now: Instant,
        session: SessionId,
        wanted: Wanted,
        fx: &mut Effects,
    ) {
        if wanted.unique.0.len() > UNIQUE_LEN_MAX + 1 {
            let text = "Unique value too large";
            return self.refuse(session, ErrorCode::ArgumentTooLarge, text, fx);
        }
        let wall = self.settings.wall_clock(now);
        let (times, next) = match times_of(&wanted).map(|times| (self.next_of(&times, wall), times))
        {
            Ok((Some(next), times)) => (times, next),
            Ok((None, times)) => {
                let text = format!("no time is ever '{times}'");
                return self.refuse(session, ErrorCode::InvalidPacket, text, fx);
            }
            Err(error) => {
                return self.refuse(session, ErrorCode::InvalidPacket, error.to_string(), fx);
            }
        };
        let function = self.ensure_function(&wanted.function);
        if self.is_too_long(function, wanted.payload.len()) {
            let text = "Payload value too large";
            return self.refuse(session, ErrorCode::ArgumentTooLarge, text, fx);
        }
        let same = self.same_schedule(function, &wanted.unique);
        let Some(id) = same.or_else(|| self.handles.take()) else {
            let text = "no job handle is reserved, the store is late; try again";
            return self.refuse(session, ErrorCode::QueueError, text, fx);
        };
        let Wanted { unique, payload, .. } = wanted;
        let kept = same.is_some();
        let made_at = wall;
        self.plan(id, Schedule { function, unique, times, payload, made_at, next, kept });
        self.look_at_schedules(now);
        if self.is_in_memory(function) {
            let created = Outgoing::Packet(Response::JobCreated(self.handles.bytes(id)));
            if let Some(client) = self.sessions.get_mut(&session) {
                client.answers.push_about(session, None, created, fx);
            }
        } else if let Some(record) = self.schedule_record(id) {
            self.commits.redo.remove(&Redo::Schedule(id));
            let seq = self.commits.push(Change::PutSchedule(record), fx);
            self.answer_after(session, id, seq);
        }
    }

    /// A schedule that the store kept; at start.
    ///
    /// # Errors
    /// When its times cannot be read.
    pub fn restore_schedule(
        &mut self,
        now: Instant,
        record: ScheduleRecord,
    ) -> Result<(), InvalidCron> {
        let times: CronTimes = record.times.parse()?;
        let wall = self.settings.wall_clock(now);
        if let Some(next) = self.next_of(&times, wall) {
            let function = self.ensure_function(&record.function);
            let ScheduleRecord { id, unique, made_at, payload, .. } = record;
            let kept = true;
            self.plan(id, Schedule { function, unique, times, payload, made_at, next, kept });
            self.look_at_schedules(now);
        }
        Ok(())
    }

    /// Ends a schedule; false when the number is none's.
    pub(super) fn end_schedule(&mut self, id: JobId, fx: &mut Effects) -> bool {
        let Some(schedule) = self.forget_schedule(id) else { return false };
        if !self.is_in_memory(schedule.function) {
            self.commits.redo.remove(&Redo::Schedule(id));
            self.commits.push(Change::DeleteSchedule(id), fx);
        }
        true
    }

    /// A schedule could not be stored: a new one is forgotten, a replaced one stays as it is now.
    /// False when the number is none's.
    pub(super) fn drop_schedule(&mut self, id: JobId) -> bool {
        let Some(schedule) = self.schedules.by_id.get(&id) else { return false };
        if !schedule.kept {
            self.forget_schedule(id);
        }
        // What reached the disk is not known.
        self.commits.redo.insert(Redo::Schedule(id));
        true
    }

    /// A schedule has become durable.
    pub(super) fn schedule_stored(&mut self, id: JobId) {
        if let Some(schedule) = self.schedules.by_id.get_mut(&id) {
            schedule.kept = true;
        }
    }

    /// Writes a schedule, or its end, again.
    pub(super) fn write_schedule(&mut self, id: JobId, fx: &mut Effects) {
        let change = match self.schedule_record(id) {
            Some(record) => Change::PutSchedule(record),
            None => Change::DeleteSchedule(id),
        };
        self.commits.push(change, fx);
    }

    /// Makes the runs that are due. While stored jobs are still to come it is not known which runs
    /// are not over; [`State::loaded`] calls this again.
    pub(super) fn recur(&mut self, now: Instant, fx: &mut Effects) {
        if self.is_loading() {
            return;
        }
        let wall = self.settings.wall_clock(now);
        while let Some((_, id)) = self.schedules.due.first().copied().filter(|(at, _)| *at <= wall)
        {
            self.schedules.due.pop_first();
            let Some(schedule) = self.schedules.by_id.get(&id) else { continue };
            let next = self.next_of(&schedule.times, wall);
            self.run_schedule(now, id, fx);
            if let (Some(next), Some(schedule)) = (next, self.schedules.by_id.get_mut(&id)) {
                schedule.next = next;
                self.schedules.due.insert((next, id));
            }
        }
        self.look_at_schedules(now);
    }

    /// Recurring jobs, by handle.
    pub(super) fn schedule_ids(&self) -> impl Iterator<Item = JobId> {
        self.schedules.by_id.keys().copied()
    }

    pub(super) fn schedule_unique(&self, id: JobId) -> Option<&Unique> {
        self.schedules.by_id.get(&id).map(|schedule| &schedule.unique)
    }

    pub(super) fn schedule_payload(&self, id: JobId) -> Option<Bytes> {
        self.schedules.by_id.get(&id).map(|schedule| schedule.payload.clone())
    }

    /// What GET_STATUS tells of a schedule: that it is known.
    pub(super) fn schedule_status(&self, id: JobId) -> Option<JobStatus> {
        self.schedules
            .by_id
            .contains_key(&id)
            .then(|| JobStatus { known: true, ..JobStatus::default() })
    }

    pub(super) fn schedule_view(&self, now: Instant, id: JobId) -> Option<JobView> {
        let schedule = self.schedules.by_id.get(&id)?;
        let wall = self.settings.wall_clock(now);
        Some(JobView {
            handle: self.handles.text(id),
            function: self.functions.get(schedule.function)?.name.clone(),
            unique: schedule.unique.clone(),
            priority: Priority::Normal,
            background: true,
            age: wall.duration_since(schedule.made_at).unwrap_or_default(),
            running: None,
            worker: None,
            attempt: 1,
            clients: 0,
            due: Some(schedule.next.duration_since(wall).unwrap_or_default()),
            death: None,
            times: Some(schedule.times.to_string()),
            progress: None,
            payload_len: schedule.payload.len(),
            on_disk: None,
        })
    }

    /// One run; none while the one before is not over, and none when the queue is full.
    fn run_schedule(&mut self, now: Instant, id: JobId, fx: &mut Effects) {
        let Some(schedule) = self.schedules.by_id.get(&id) else { return };
        let Some(function) = self.functions.get(schedule.function) else { return };
        let unique = match &schedule.unique {
            unique if unique.0.is_empty() => Unique(self.handles.bytes(id)),
            unique => unique.clone(),
        };
        let run = Submission {
            function: function.name.clone(),
            unique,
            priority: Priority::Normal,
            mode: SubmitMode::Background,
            payload: schedule.payload.clone(),
        };
        let key = schedule.function;
        let same = self.jobs.sameness(&run.unique, &run.payload);
        let goes_on = same.is_some_and(|same| self.jobs.same(key, same).is_some());
        if !goes_on
            && !self.is_full(key, Priority::Normal)
            && let Some(job) = self.create(now, key, (run, None), same)
        {
            self.store_job(now, job, fx);
        }
    }

    fn same_schedule(&self, function: FunctionKey, unique: &Unique) -> Option<JobId> {
        let ids = &self.functions.get(function)?.schedules;
        let is_same =
            |id: &&JobId| self.schedules.by_id.get(id).is_some_and(|other| other.unique == *unique);
        if unique.0.is_empty() { None } else { ids.iter().find(is_same).copied() }
    }

    fn plan(&mut self, id: JobId, schedule: Schedule) {
        self.forget_schedule(id);
        if let Some(function) = self.functions.get_mut(schedule.function) {
            function.schedules.insert(id);
        }
        self.schedules.due.insert((schedule.next, id));
        self.schedules.by_id.insert(id, schedule);
    }

    fn forget_schedule(&mut self, id: JobId) -> Option<Schedule> {
        let schedule = self.schedules.by_id.remove(&id)?;
        self.schedules.due.remove(&(schedule.next, id));
        if let Some(function) = self.functions.get_mut(schedule.function) {
            function.schedules.remove(&id);
        }
        Some(schedule)
    }

    fn schedule_record(&self, id: JobId) -> Option<ScheduleRecord> {
        let schedule = self.schedules.by_id.get(&id)?;
        Some(ScheduleRecord {
            id,
            function: self.functions.get(schedule.function)?.name.clone(),
            unique: schedule.unique.clone(),
            made_at: schedule.made_at,
            times: schedule.times.to_string(),
            payload: schedule.payload.clone(),
        })
    }

    fn next_of(&self, times: &CronTimes, after: SystemTime) -> Option<SystemTime> {
        let after = Timestamp::try_from(after).ok()?;
        let next = times.next_after(after, &self.settings.zone)?;
        let since = u64::try_from(next.as_second()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(since))
    }

    fn look_at_schedules(&mut self, now: Instant) {
        match self.schedules.due.first() {
            None => self.timers.clear(Timer::Recur),
            Some((at, _)) => {
                let wait = at.duration_since(self.settings.wall_clock(now)).unwrap_or_default();
                self.timers.set(Timer::Recur, now + wait.min(LOOK_AFTER));
            }
        }
    }
}

/// The five fields; an empty one is every time.
fn times_of(wanted: &Wanted) -> Result<CronTimes, InvalidCron> {
    let fields = wanted.times.each_ref().map(|field| match String::from_utf8_lossy(field) {
        text if text.trim().is_empty() => "*".to_owned(),
        text => text.into_owned(),
    });
    fields.join(" ").parse()
}
