//! What our terminal is to show: the worker's bytes as they are, or its screen painted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::DetachKey;
use crate::cli::exit::CliError;
use crate::control::api::TerminalRecord;
use crate::terminal::{Painter, RESET, TerminalSize};

/// What is shown, and what is not written yet.
#[derive(Debug)]
pub(super) struct Picture {
    how: How,
    size: TerminalSize,
    detach: DetachKey,
    is_gone: bool,
    out: Vec<u8>,
}

#[derive(Debug)]
enum How {
    /// The worker's terminal has the size of ours.
    Bytes,
    Painted(Box<Painter>),
}

impl Picture {
    pub(super) fn new(is_writer: bool, size: TerminalSize, detach: DetachKey) -> Self {
        let how = if is_writer { How::Bytes } else { How::Painted(Box::new(Painter::new(size))) };
        // What stands on our screen goes up, and is there when we leave.
        let out = if is_writer { scroll_away(size) } else { Vec::new() };
        Self { how, size, detach, is_gone: false, out }
    }

    /// What has to be written now.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if let (How::Painted(painter), false) = (&mut self.how, self.is_gone) {
            self.out.extend_from_slice(painter.paint().as_bytes());
        }
        std::mem::take(&mut self.out)
    }

    /// Our terminal has another size.
    pub(super) fn resize(&mut self, size: TerminalSize) {
        self.size = size;
        match &mut self.how {
            How::Bytes => {}
            How::Painted(painter) => painter.set_canvas(size),
        }
    }

    pub(super) fn show(&mut self, record: TerminalRecord) -> Result<(), CliError> {
        match record {
            TerminalRecord::Screen { columns, rows, repaint } => {
                let repaint = decode(&repaint)?;
                self.begin(TerminalSize::new(columns, rows), &repaint);
            }
            TerminalRecord::Output { bytes } => {
                let bytes = decode(&bytes)?;
                match &mut self.how {
                    How::Bytes => self.out.extend_from_slice(&bytes),
                    How::Painted(painter) => painter.feed(&bytes),
                }
            }
            TerminalRecord::Resized { columns, rows } => match &mut self.how {
                How::Bytes => {}
                How::Painted(painter) => painter.resize(TerminalSize::new(columns, rows)),
            },
            TerminalRecord::Gone => {
                // What it printed last is shown, and stays.
                let last = self.take();
                self.out = last;
                self.is_gone = true;
                self.remark(&format!("no process is there; {} leaves", self.detach));
            }
            TerminalRecord::Mark { text } => {
                if self.is_gone {
                    self.remark(&text);
                }
            }
            TerminalRecord::Attached { .. } | TerminalRecord::KeyboardTaken { .. } => {}
        }
        Ok(())
    }

    fn begin(&mut self, size: TerminalSize, repaint: &[u8]) {
        let was_gone = std::mem::take(&mut self.is_gone);
        match &mut self.how {
            How::Bytes => {
                if was_gone {
                    self.out.extend_from_slice(&scroll_away(self.size));
                }
                self.out.extend_from_slice(repaint);
            }
            How::Painted(painter) => painter.begin(size, repaint),
        }
    }

    /// A line about the worker, below what it printed or in the last row.
    fn remark(&mut self, text: &str) {
        let remark = match &self.how {
            How::Bytes => format!("{RESET}\r\n-- {text} --\r\n"),
            How::Painted(_) => {
                format!("\x1b[{};1H\x1b[0;7m-- {text} --\x1b[0m\x1b[K", self.size.rows())
            }
        };
        self.out.extend_from_slice(remark.as_bytes());
    }
}

/// Moves everything on the screen up and out of it.
fn scroll_away(size: TerminalSize) -> Vec<u8> {
    let rows = usize::from(size.rows());
    format!("{RESET}\x1b[{rows};1H{}", "\r\n".repeat(rows)).into_bytes()
}

fn decode(base64: &str) -> Result<Vec<u8>, CliError> {
    STANDARD
        .decode(base64)
        .map_err(|error| CliError::failed(format!("the daemon sent a broken screen: {error}")))
}
