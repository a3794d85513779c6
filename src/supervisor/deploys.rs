//! Files of the programs that pools run: a change rolls the pool.

use std::time::Instant;

use tracing::info;

use super::reload::Effect;
use super::task::Supervisor;
use crate::config::{PoolSettings, ProgramChanged, ProgramFiles};
use crate::model::PoolName;
use crate::pool::{PoolCommand, PoolIntent};

/// Files that are told by name.
const FILES_TOLD: usize = 3;

impl Supervisor {
    /// The files of a pool's program have changed, and it is quiet.
    pub(super) fn deployed(&mut self, changed: ProgramChanged) {
        let ProgramChanged { pool, files } = changed;
        let Some(entry) = self.pools.get_mut(&pool) else { return };
        let what = told(&files);
        if entry.handle.view().intent == PoolIntent::Stopped {
            return info!("{pool}: {what} changed; it is stopped");
        }
        info!("{pool}: {what} changed: its workers are replaced");
        // It may serve other functions now; those that run tell theirs again.
        entry.learned.forget(Instant::now());
        let handle = entry.handle.clone();
        let done = async move {
            match handle.ask(|reply| PoolCommand::Renew { reply }).await {
                Ok(Ok(())) => Ok(format!("{pool}: its workers are replaced")),
                Ok(Err(why)) => Err(format!("{pool}: {what} changed: {why}")),
                Err(gone) => Err(format!("{pool}: {gone}")),
            }
        };
        self.say_when_done(vec![Effect::new(done)], None);
    }

    /// Watches what the settings of a pool name.
    pub(super) async fn watch_program(&self, settings: &PoolSettings) {
        let Some(programs) = &self.rooms.programs else { return };
        let files = settings.deploys.watch.is_some().then(|| program_files(settings));
        programs.watch(settings.name.clone(), files).await;
    }

    pub(super) async fn unwatch_program(&self, pool: &PoolName) {
        if let Some(programs) = &self.rooms.programs {
            programs.watch(pool.clone(), None).await;
        }
    }
}

/// The files of a pool's program: those that its command names, and those that `watch` means.
pub(super) fn program_files(settings: &PoolSettings) -> ProgramFiles {
    let PoolSettings { program, deploys, .. } = settings;
    let path = program.env.get("PATH").cloned();
    let patterns = deploys.watch.iter().flatten().chain(&program.worker_files.patterns);
    ProgramFiles {
        directory: program.directory.clone(),
        command: program.command.clone(),
        path: path.unwrap_or_else(|| std::env::var("PATH").unwrap_or_default()),
        patterns: patterns.cloned().collect(),
        except: program.worker_files.except.clone(),
    }
}

/// `3 files (src/a.php, src/b.php and 1 more)`
fn told(files: &[std::path::PathBuf]) -> String {
    let shown = files.iter().take(FILES_TOLD).map(|file| file.display().to_string());
    let shown = shown.collect::<Vec<_>>().join(", ");
    match (files.len(), files.len().saturating_sub(FILES_TOLD)) {
        (0, _) => "the way to its files".to_owned(),
        (1, _) => shown,
        (all, 0) => format!("{all} files ({shown})"),
        (all, more) => format!("{all} files ({shown} and {more} more)"),
    }
}
