//! Our terminal while another one is shown on it; put back when this is dropped.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::terminal::{RESET, TerminalSize};

/// Another screen for whoever only looks, so that theirs is as it was when they leave.
const OTHER_SCREEN: &str = "\x1b[?1049h\x1b[H\x1b[2J";
const OWN_SCREEN: &str = "\x1b[?1049l";

/// What has to be put back.
#[derive(Debug)]
pub(super) struct Stage {
    /// `None`: standard input is no terminal.
    before: Option<Termios>,
    is_writer: bool,
}

impl Stage {
    /// A writer's keys all come to us. Those of a reader do not show, and Ctrl-C is still Ctrl-C.
    pub(super) fn enter(is_writer: bool) -> io::Result<Self> {
        let before = tcgetattr(io::stdin()).ok();
        let stage = Self { before, is_writer };
        if let Some(mut modes) = stage.before.clone() {
            if is_writer {
                modes.make_raw();
            } else {
                modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            }
            tcsetattr(io::stdin(), OptionalActions::Drain, &modes)?;
        }
        if !is_writer {
            write(OTHER_SCREEN);
        }
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.is_writer {
            let last = size().rows();
            write(&format!("{RESET}\x1b[{last};1H\r\n"));
        } else {
            write(&format!("{RESET}{OWN_SCREEN}"));
        }
        if let Some(before) = &self.before {
            // A terminal that has gone needs nothing; keys that nobody read are not for the shell.
            tcsetattr(io::stdin(), OptionalActions::Flush, before).ok();
        }
    }
}

/// The size of the terminal on standard output.
pub(super) fn size() -> TerminalSize {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            TerminalSize::new(size.ws_col, size.ws_row)
        }
        Ok(_) | Err(_) => TerminalSize::default(),
    }
}

/// Past the buffer of standard output, which is empty: in a panic nobody else writes any more.
fn write(text: &str) {
    let mut rest = text.as_bytes();
    while let Ok(len @ 1..) = nix::unistd::write(io::stdout(), rest) {
        rest = rest.get(len..).unwrap_or_default();
    }
}
