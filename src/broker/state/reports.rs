//! What workers report of their jobs, and how a job ends.
//!
//! Only the session that was given a job may report on it. That stays so when the session no
//! longer performs the function: a worker that wants to go sends CANT_DO first and finishes.

use std::time::Instant;

use bytes::Bytes;

use super::State;
use super::effects::{Effects, Outgoing};
use super::jobs::{Clients, Job, Place, Record};
use super::timers::Timer;
use crate::broker::BrokerEvent;
use crate::broker::record::{Death, DeathCause};
use crate::model::{JobId, SessionId};
use crate::protocol::{Response, WorkReport};

/// Longest denominator that counts; gearmand ignores reports with a longer one.
const DENOMINATOR_LEN_MAX: usize = 10;

impl State {
    /// The job that a handle names, if this session holds it.
    pub(super) fn in_hand(&self, session: SessionId, handle: &[u8]) -> Option<JobId> {
        let id = self.handles.parse(handle)?;
        self.sessions.get(&session)?.in_hand.contains(&id).then_some(id)
    }

    /// Whether the session has just ended this job with an exception. Perl workers send WORK_FAIL
    /// after it, and die of the error that gearmand answers.
    pub(super) fn has_raised(&self, session: SessionId, handle: &[u8]) -> bool {
        let raised = self.sessions.get(&session).and_then(|session| session.raised);
        raised.is_some() && raised == self.handles.parse(handle)
    }

    /// News of a job from the session that holds it.
    pub(super) fn report(
        &mut self,
        now: Instant,
        id: JobId,
        report: &WorkReport,
        fx: &mut Effects,
    ) {
        match report {
            WorkReport::Data(_) | WorkReport::Warning(_) => self.tell_clients(id, report, fx),
            WorkReport::Status { numerator, denominator } => {
                if denominator.len() > DENOMINATOR_LEN_MAX {
                    return;
                }
                if let Some(job) = self.jobs.get_mut(id) {
                    job.set_progress(Some((number(numerator), number(denominator))));
                }
                self.tell_clients(id, report, fx);
            }
            WorkReport::Complete(_) | WorkReport::Fail | WorkReport::Exception(_) => {
                self.finish(now, id, report, fx);
            }
        }
    }

    /// The worker is done with the job, well or not.
    fn finish(&mut self, now: Instant, id: JobId, report: &WorkReport, fx: &mut Effects) {
        let key = self.jobs.get(id).map(|job| job.function);
        self.note_end(now, id, fx);
        let place = match self.failure(now, id, report) {
            Some(death) => self.bury(id, death, report, fx),
            None => self.end(id, fx).map(|job| {
                self.tell(id, &job, report, fx);
                job.place
            }),
        };
        let Some(Place::Running { session, .. }) = place else { return };
        if let Some(function) = key.and_then(|key| self.functions.get_mut(key)) {
            function.busy.stop(now);
        }
        let Some(holder) = self.sessions.get_mut(&session) else { return };
        holder.raised = matches!(report, WorkReport::Exception(_)).then_some(id);
        holder.completed = key.filter(|_| matches!(report, WorkReport::Complete(_)));
        if let Some(worker) = holder.worker
            && let Some(process) = self.crews.workers.get_mut(&worker)
        {
            process.done += 1;
            if std::mem::take(&mut process.awaited) {
                let well = matches!(report, WorkReport::Complete(_));
                fx.events.push(BrokerEvent::JobEnded { worker, well });
            }
        }
        self.let_go(now, session, id, fx);
    }

    /// What makes a background job a dead letter; a client that waits hears of it by itself.
    fn failure(&self, now: Instant, id: JobId, report: &WorkReport) -> Option<Death> {
        let job = self.jobs.get(id).filter(|job| job.record != Record::None)?;
        let (cause, output) = match report {
            WorkReport::Fail => (DeathCause::Failed, String::new()),
            WorkReport::Exception(text) => {
                (DeathCause::Raised, String::from_utf8_lossy(text).into_owned())
            }
            WorkReport::Complete(_)
            | WorkReport::Data(_)
            | WorkReport::Warning(_)
            | WorkReport::Status { .. } => return None,
        };
        let at = self.settings.wall_clock(now);
        Some(Death { at, cause, worker: self.holder_name(job), exit: String::new(), output })
    }

    /// Takes a job out of everything, its record included; a job in a worker's hands is to be
    /// taken out of them by the caller.
    pub(super) fn end(&mut self, id: JobId, fx: &mut Effects) -> Option<Job> {
        let job = self.take_out(id)?;
        if job.is_stored() {
            self.delete_record(id, fx);
        }
        Some(job)
    }

    /// The same, but for its record.
    pub(super) fn take_out(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(id)?;
        if job.place == Place::Queued {
            self.functions.dequeue(job.function, job.priority, id);
        }
        if job.place == Place::Delayed {
            self.undelay(id, &job);
        }
        if let Some(function) = self.functions.get_mut(job.function) {
            function.held.remove(id);
            function.running -= usize::from(matches!(job.place, Place::Running { .. }));
            // A job that could not be stored was never told to anybody.
            function.ended += u64::from(job.place != Place::Storing);
            if function.ready_len() == 0 {
                self.timers.clear(Timer::Wake(job.function));
            }
        }
        for client in job.clients().keys() {
            if let Some(session) = self.sessions.get_mut(client) {
                session.waits_for.remove(&id);
            }
        }
        self.timers.clear(Timer::Timeout(id));
        self.deaths.losses.job_ended(id);
        Some(job)
    }

    /// Drops a job that waits although nobody wants its result.
    pub(super) fn drop_if_unwanted(&mut self, id: JobId, fx: &mut Effects) {
        let unwanted = self.jobs.get(id).is_some_and(|job| {
            job.is_unwanted() && matches!(job.place, Place::Queued | Place::Limbo(_))
        });
        if unwanted {
            self.end(id, fx);
        }
    }

    fn tell_clients(&mut self, id: JobId, report: &WorkReport, fx: &mut Effects) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| !job.clients().is_empty()) else {
            return;
        };
        let clients = std::mem::take(job.clients_mut());
        self.forward(id, &clients, report, fx);
        if let Some(job) = self.jobs.get_mut(id) {
            *job.clients_mut() = clients;
        }
    }

    /// Tells the clients of a job that has ended.
    pub(super) fn tell(&mut self, id: JobId, job: &Job, report: &WorkReport, fx: &mut Effects) {
        self.forward(id, job.clients(), report, fx);
    }

    /// Sends news to each client, once for each submission that it answers.
    fn forward(&mut self, id: JobId, clients: &Clients, report: &WorkReport, fx: &mut Effects) {
        let handle = self.handles.bytes(id);
        for (client, times) in clients {
            let Some(session) = self.sessions.get_mut(client) else { continue };
            let report = match report {
                WorkReport::Exception(_) if !session.wants_exceptions => WorkReport::Fail,
                report => report.clone(),
            };
            let packet = Response::Work { handle: handle.clone(), report };
            for _ in 0..*times {
                session.answers.news(*client, id, Outgoing::Packet(packet.clone()), fx);
            }
        }
    }
}

/// gearmand's words for a report on a job that the session does not hold.
pub(super) fn not_found(report: &WorkReport) -> &'static str {
    match report {
        WorkReport::Data(_) | WorkReport::Warning(_) => "Job does not exist on server",
        WorkReport::Status { .. } | WorkReport::Complete(_) | WorkReport::Fail => {
            "Job given in work result not found"
        }
        WorkReport::Exception(_) => "An exception was received for a job that does not exist",
    }
}

/// The digits that a text begins with, as a number; zero when there are none.
fn number(text: &Bytes) -> u32 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u32, |number, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_like_a_number_at_the_start_of_a_text() {
        let cases = [("7", 7), ("12abc", 12), ("abc", 0), ("", 0), ("99999999999", u32::MAX)];
        for (text, wanted) in cases {
            assert_eq!(number(&Bytes::from(text)), wanted, "{text}");
        }
    }
}
