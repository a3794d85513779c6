//! The one place that prints: results on stdout, everything else on stderr.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use super::exit::{CliError, Exit};
use super::paint::{Colours, Ink};

/// Bytes that are gathered before they are written to stdout.
const BUFFER_LEN: usize = 64 * 1024;
/// The name that errors begin with.
const PROGRAM: &str = "gear-supervisor";

/// Standard output, locked and buffered.
#[derive(Debug)]
pub(super) struct Screen {
    out: BufWriter<StdoutLock<'static>>,
    colours: Colours,
    is_terminal: bool,
}

impl Screen {
    /// The process's own; colours only when it is a terminal and NO_COLOR is not set.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let out = BufWriter::with_capacity(BUFFER_LEN, stdout.lock());
        Self { out, colours: Colours::when(is_terminal), is_terminal }
    }

    pub(super) fn colours(&self) -> Colours {
        self.colours
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Where many small pieces are written before a [`Screen::flush`].
    pub(super) fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }

    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.out.flush()?)
    }

    /// Text that brings its own line ends, shown at once.
    pub(super) fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// One line, shown at once.
    pub(super) fn line(&mut self, text: &str) -> Result<(), CliError> {
        writeln!(self.out, "{text}")?;
        self.flush()
    }

    /// Bytes as they are, shown at once.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes)?;
        self.flush()
    }

    /// A value as indented JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut self.out, value).map_err(io::Error::from)?;
        self.line("")
    }
}

/// Says on stderr what went wrong and what to do, and gives the exit code.
pub(super) fn report(error: &CliError) -> Exit {
    if let CliError::Told { message, hint, .. } = error {
        let colours = Colours::when(io::stderr().is_terminal());
        let program = colours.paint(PROGRAM, Ink::Red);
        for line in sentences(message, hint.as_deref()) {
            remark(&format!("{program}: {line}"));
        }
    }
    error.exit()
}

/// One mistake and its advice read as one sentence; below a list the advice stands by itself.
fn sentences(message: &str, hint: Option<&str>) -> Vec<String> {
    let mut lines: Vec<String> = message.lines().map(str::to_owned).collect();
    match (lines.as_mut_slice(), hint) {
        ([line], Some(hint)) => *line = format!("{line}; {hint}"),
        (_, Some(hint)) => lines.push(hint.to_owned()),
        (_, None) => {}
    }
    lines
}

/// A remark on stderr that is no error.
pub(super) fn remark(text: &str) {
    to_stderr(format!("{text}\n").as_bytes());
}

/// Bytes on stderr as they are.
pub(super) fn to_stderr(bytes: &[u8]) {
    // When stderr is closed there is nobody left to tell.
    io::stderr().write_all(bytes).ok();
}

/// Whether somebody may be looking at stderr.
pub(super) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Columns and lines of the terminal on stdout.
pub(super) fn terminal_size() -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size()?;
    Some((width.0.into(), height.0.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_ends_a_sentence_or_follows_a_list() {
        assert_eq!(
            sentences("no daemon answers", Some("start it")),
            ["no daemon answers; start it"]
        );
        assert_eq!(sentences("a:1:1: x\na:2:1: y", Some("2 mistakes")).len(), 3);
        assert_eq!(sentences("it failed", None), ["it failed"]);
    }
}
