//! The long text listings, sent piece by piece as their reader takes them.

use tokio::sync::oneshot;

use super::commands::answer;
use super::core::{Core, now};
use super::deliver::touch;
use super::session::Owed;
use super::shell::Shell;
use crate::broker::state::Piece;
use crate::broker::store::Descriptions;
use crate::model::SessionId;
use crate::protocol::AdminReply;

/// Sends the next piece of a session's listing.
pub(super) async fn go_on(shell: &Shell, session: SessionId) {
    let Some(mut piece) = shell.core.borrow_mut().state.next_piece(session) else {
        return shell.core.borrow_mut().end_job_list(session);
    };
    if !piece.on_disk.is_empty() && needs_uniques(&piece.rows) {
        let described = shell.core.borrow().describe(&piece);
        // What cannot be read is told without its unique.
        fill(&mut piece, &described.await.unwrap_or_default());
    }
    shell.core.borrow_mut().send_piece(session, &piece);
}

impl Core {
    /// Asks the disk for the uniques that a piece lacks.
    fn describe(&self, piece: &Piece) -> oneshot::Receiver<Descriptions> {
        let (reply, found) = oneshot::channel();
        if let Some(reads) = &self.reads {
            let jobs = piece.on_disk.iter().map(|(_, job)| *job).collect();
            reads.describe(jobs, move |found| answer(reply, found));
        }
        found
    }

    fn send_piece(&mut self, id: SessionId, piece: &Piece) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.output.extend_from_slice(&if piece.is_last {
            piece.rows.render()
        } else {
            piece.rows.render_rows()
        });
        touch(&mut self.touched, session, id);
        if piece.is_last {
            self.end_job_list(id);
        }
        self.deliver(now());
    }

    fn end_job_list(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.owed = Owed::Nothing;
        }
        self.state.end_job_list(now(), id, &mut self.fx);
        self.deliver(now());
    }
}

fn needs_uniques(rows: &AdminReply) -> bool {
    matches!(rows, AdminReply::UniqueJobs(_) | AdminReply::Jobs(_))
}

fn fill(piece: &mut Piece, found: &Descriptions) {
    for (row, job) in &piece.on_disk {
        let Some((unique, _)) = found.get(job) else { continue };
        let place = match &mut piece.rows {
            AdminReply::UniqueJobs(rows) => rows.get_mut(*row),
            AdminReply::Jobs(rows) => rows.get_mut(*row).map(|row| &mut row.unique),
            _ => None,
        };
        if let Some(place) = place {
            place.clone_from(unique);
        }
    }
}
