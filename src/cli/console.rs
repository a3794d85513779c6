//! Workers' lines on the terminal of a daemon in the foreground.

use std::io::IsTerminal;

use tokio_util::task::TaskTracker;

use super::lines::LineStyle;
use super::output;
use super::paint::Colours;
use crate::logs::{LogEntry, LogFilter, LogStream, LogsRequest};
use crate::model::{NamePattern, WorkerName};
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
        let style =
            LineStyle { prefix: true, colours: Colours::when(output::stderr_is_terminal()) };
        while let Some(entries) = lines.entries.recv().await {
            for entry in entries {
                output::to_stderr(&rendered(style, &entry));
            }
        }
    });
}

/// Without marks: the daemon's own log tells what they tell.
fn rendered(style: LineStyle, entry: &LogEntry) -> Vec<u8> {
    let output = |worker: &WorkerName, stream, text: &[u8]| match stream {
        LogStream::Mark => Vec::new(),
        LogStream::Stdout | LogStream::Stderr => {
            style.output(&worker.to_string(), stream == LogStream::Stderr, text)
        }
    };
    match entry {
        LogEntry::Line(line) => output(&line.worker, line.stream, &line.text),
        LogEntry::Lines(chunk) => {
            chunk.lines().flat_map(|text| output(&chunk.worker, chunk.stream, text)).collect()
        }
        LogEntry::Missed(lines) => (style.missed(*lines) + "\n").into_bytes(),
    }
}
