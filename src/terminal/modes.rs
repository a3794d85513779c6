//! What a program asks of its terminal beside the picture: the mouse, marked pastes, the keypad, the
//! shape of the cursor, and questions.
//!
//! The screens of `avt` do not keep it, and a terminal that is attached later has to be told.

use std::collections::BTreeSet;
use std::fmt::Write;

/// The private modes that are remembered: mouse reports of all kinds, focus reports, marked pastes.
const REMEMBERED: [u16; 10] = [9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004];

/// What is on.
#[derive(Debug, Default)]
pub(super) struct Modes {
    on: BTreeSet<u16>,
    keypad: bool,
    /// The parameter of DECSCUSR.
    cursor: u16,
}

/// What a program wants to know of its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What it is: `CSI c`.
    Kind,
    /// Whether it works: `CSI 5 n`.
    Health,
    /// Where the cursor is: `CSI 6 n`.
    Cursor,
}

impl Modes {
    /// Takes a whole control sequence, from its ESC to its last character.
    pub(super) fn hear(&mut self, sequence: &str) -> Option<Question> {
        match sequence {
            "\x1b=" => self.keypad = true,
            // DECKPNM, and DECSTR, which resets this among others.
            "\x1b>" | "\x1b[!p" => self.keypad = false,
            // RIS
            "\x1bc" => *self = Self::default(),
            "\x1b[c" | "\x1b[0c" => return Some(Question::Kind),
            "\x1b[5n" => return Some(Question::Health),
            "\x1b[6n" => return Some(Question::Cursor),
            _ => self.set(sequence),
        }
        None
    }

    fn set(&mut self, sequence: &str) {
        let Some(rest) = sequence.strip_prefix("\x1b[") else { return };
        if let Some(style) = rest.strip_suffix(" q") {
            self.cursor = style.parse().unwrap_or(0);
        }
        let Some(rest) = rest.strip_prefix('?') else { return };
        let (list, is_on) = match (rest.strip_suffix('h'), rest.strip_suffix('l')) {
            (Some(list), _) => (list, true),
            (None, Some(list)) => (list, false),
            (None, None) => return,
        };
        for mode in list.split(';').filter_map(|mode| mode.parse().ok()) {
            if is_on && REMEMBERED.contains(&mode) {
                self.on.insert(mode);
            } else {
                self.on.remove(&mode);
            }
        }
    }

    /// What brings a terminal that was reset to the same.
    pub(super) fn dump(&self) -> String {
        let mut text = String::new();
        for mode in &self.on {
            // Writing to a String cannot fail.
            write!(text, "\x1b[?{mode}h").ok();
        }
        if self.keypad {
            text.push_str("\x1b=");
        }
        if self.cursor > 0 {
            write!(text, "\x1b[{} q", self.cursor).ok();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_switched_on_and_not_off_is_told_later() {
        for (sequences, dump) in [
            (&["\x1b[?1000;1006h", "\x1b[?2004h"][..], "\x1b[?1000h\x1b[?1006h\x1b[?2004h"),
            (&["\x1b[?1000;1006h", "\x1b[?1000l"], "\x1b[?1006h"),
            (&["\x1b[?25;1049;7h", "\x1b[1000h", "\x1b[?h"], ""),
            (&["\x1b=", "\x1b[5 q"], "\x1b=\x1b[5 q"),
            (&["\x1b=", "\x1b[5 q", "\x1b>", "\x1b[ q"], ""),
            (&["\x1b[?2004h", "\x1b=", "\x1bc"], ""),
        ] {
            let mut modes = Modes::default();
            assert!(sequences.iter().all(|sequence| modes.hear(sequence).is_none()));
            assert_eq!(modes.dump(), dump, "{sequences:?}");
        }
    }
}
