//! How a worker's line looks to somebody who watches.
//!
//! The bytes of the line are passed on as they are. Marks of the supervisor and lines that were
//! missed are told apart from output by the caller: [`Line::Remark`] is not for stdout.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::format;
use super::paint::{Colours, Ink};
use crate::control::api::LogRecord;
use crate::model::WorkerName;

/// What to do with a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line of output, with its line end.
    Output(Vec<u8>),
    /// Something about the output.
    Remark(String),
}

/// Renders records.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineStyle {
    /// Whether each line says whose it is.
    pub(super) prefix: bool,
    /// Whether it is coloured.
    pub(super) colours: Colours,
}

impl LineStyle {
    /// Prefixes unless one worker is named.
    pub(super) fn for_names(names: &[String], colours: Colours) -> Self {
        let is_one = matches!(names, [name] if name.parse::<WorkerName>().is_ok());
        Self { prefix: !is_one, colours }
    }

    /// A record of the API.
    pub(super) fn render(self, record: &LogRecord) -> Line {
        match record {
            LogRecord::Missed { missed } => Line::Remark(self.missed(*missed)),
            LogRecord::Line { worker, stream, .. } if stream == "mark" => {
                let text = String::from_utf8_lossy(&text_of(record)).into_owned();
                Line::Remark(format!("{}{}", self.owner(worker), self.dim(&format!("-- {text}"))))
            }
            LogRecord::Line { worker, stream, .. } => {
                Line::Output(self.output(worker, stream == "stderr", &text_of(record)))
            }
        }
    }

    /// A line of output, with its line end.
    pub(super) fn output(self, worker: &str, is_stderr: bool, text: &[u8]) -> Vec<u8> {
        let mut line = self.owner(worker).into_bytes();
        // Its own colours end with it, so that they do not run into the next line.
        let code = if is_stderr { self.colours.begin(Ink::Red) } else { "" };
        if code.is_empty() {
            line.extend_from_slice(text);
        } else {
            line.extend_from_slice(format!("\x1b[{code}m").as_bytes());
            line.extend_from_slice(text);
            line.extend_from_slice(b"\x1b[0m");
        }
        line.push(b'\n');
        line
    }

    /// Lines that nobody has read in time.
    pub(super) fn missed(self, lines: u64) -> String {
        let noun = if lines == 1 { "line" } else { "lines" };
        self.dim(&format!("-- {} {noun} missed --", format::number(lines)))
    }

    fn owner(self, worker: &str) -> String {
        if !self.prefix {
            return String::new();
        }
        let number = worker.rsplit_once(':').and_then(|(_, number)| number.parse().ok());
        let ink = number.map_or(Ink::Plain, Ink::Worker);
        format!("{} ", self.colours.paint(&format!("{worker} |"), ink))
    }

    fn dim(self, text: &str) -> String {
        self.colours.paint(text, Ink::Dim).into_owned()
    }
}

/// The bytes that the worker wrote.
pub(super) fn text_of(record: &LogRecord) -> Vec<u8> {
    match record {
        LogRecord::Line { text: Some(text), .. } => text.as_bytes().to_vec(),
        // A daemon that sends broken base64 is of no version of ours; show what it said.
        LogRecord::Line { base64: Some(base64), .. } => {
            STANDARD.decode(base64).unwrap_or_else(|_| base64.as_bytes().to_vec())
        }
        LogRecord::Line { .. } | LogRecord::Missed { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: &str, bytes: &[u8]) -> LogRecord {
        let utf8 = str::from_utf8(bytes).ok();
        LogRecord::Line {
            time: "2026-11-24T14:02:11.250+01:00".to_owned(),
            worker: "slow:2".to_owned(),
            stream: stream.to_owned(),
            text: utf8.map(str::to_owned),
            base64: utf8.is_none().then(|| STANDARD.encode(bytes)),
            part: false,
        }
    }

    fn output(names: &[&str], colours: Colours, record: &LogRecord) -> Line {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        LineStyle::for_names(&names, colours).render(record)
    }

    #[test]
    fn one_workers_lines_come_as_they_were_written() {
        for bytes in [&b"Fetching http://x"[..], b"", b"\xff\xfe\x00", b"tab\there\r"] {
            for stream in ["stdout", "stderr"] {
                let want = [bytes, b"\n"].concat();
                let got = output(&["slow:2"], Colours::Off, &record(stream, bytes));
                assert_eq!(got, Line::Output(want));
            }
        }
    }

    #[test]
    fn lines_of_several_workers_say_whose_they_are() {
        for names in [&["slow"][..], &["*:2"], &["slow:1", "slow:2"], &["all"]] {
            let got = output(names, Colours::Off, &record("stdout", b"x"));
            assert_eq!(got, Line::Output(b"slow:2 | x\n".to_vec()), "{names:?}");
        }
    }

    #[test]
    fn on_a_terminal_workers_and_stderr_have_colours() {
        let got = output(&["slow"], Colours::On, &record("stderr", b"x"));
        let want = "\x1b[33mslow:2 |\x1b[0m \x1b[31mx\x1b[0m\n";
        assert_eq!(got, Line::Output(want.as_bytes().to_vec()));
    }

    #[test]
    fn marks_and_missed_lines_are_remarks() {
        let missed = output(&["slow:2"], Colours::Off, &LogRecord::Missed { missed: 1234 });
        assert_eq!(missed, Line::Remark("-- 1,234 lines missed --".to_owned()));
        let mark = output(&["slow"], Colours::Off, &record("mark", b"exited: exit 3"));
        assert_eq!(mark, Line::Remark("slow:2 | -- exited: exit 3".to_owned()));
    }
}
