//! Workers' lines on the terminal of a daemon in the foreground.

use std::io::IsTerminal;

use tokio_util::task::TaskTracker;

use super::output;
use crate::logs::{LogEntry, LogFilter, LogLine, LogStream, LogsRequest};
use crate::model::NamePattern;
use crate::supervisor::SupervisorHandle;

/// Shows every worker's output; nothing where stdout is no terminal, since files have it all.
pub(super) fn follow(supervisor: &SupervisorHandle, tasks: &TaskTracker) {
    if !std::io::stdout().is_terminal() {
        return;
    }
    let logs = supervisor.logs.clone();
    tasks.spawn(async move {
        let all = vec![NamePattern::new("all")];
        let filter = LogFilter { names: all, lines: 0, since: None, follow: true };
        let subscribed = logs.ask(|reply| LogsRequest::Subscribe { filter, reply }).await;
        let Ok(mut lines) = subscribed else { return };
        while let Some(entries) = lines.entries.recv().await {
            for entry in entries {
                output::to_stderr(&rendered(&entry));
            }
        }
    });
}

fn rendered(entry: &LogEntry) -> Vec<u8> {
    match entry {
        // The daemon's own log tells what the marks tell.
        LogEntry::Line(LogLine { stream: LogStream::Mark, .. }) => Vec::new(),
        LogEntry::Line(LogLine { worker, text, .. }) => {
            let mut line = format!("{worker} | ").into_bytes();
            line.extend_from_slice(text);
            line.push(b'\n');
            line
        }
        LogEntry::Missed(lines) => format!("-- {lines} lines missed --\n").into_bytes(),
    }
}
