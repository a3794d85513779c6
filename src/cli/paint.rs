//! Colours, for terminals only.

use std::borrow::Cow;
use std::env;

/// Whether text may carry escape sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    /// It may.
    On,
    /// It goes to a file, a pipe, or somebody who set NO_COLOR.
    Off,
}

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ink {
    /// As the terminal likes.
    #[default]
    Plain,
    /// Heavy.
    Bold,
    /// Faint.
    Dim,
    /// Wrong.
    Red,
    /// Right.
    Green,
    /// Under way, or to be looked at.
    Yellow,
    /// The colour of the worker with this number.
    Worker(u32),
}

/// Colours of workers, told apart on dark and on light ground; red is kept for stderr.
const WORKER_COLOURS: [&str; 6] = ["36", "32", "33", "35", "34", "96"];

impl Colours {
    /// On when `is_terminal`, unless NO_COLOR is set to something (no-color.org).
    pub(super) fn when(is_terminal: bool) -> Self {
        let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !is_refused { Self::On } else { Self::Off }
    }

    /// The text in this ink.
    pub(super) fn paint(self, text: &str, ink: Ink) -> Cow<'_, str> {
        match self.begin(ink) {
            "" => Cow::Borrowed(text),
            code => Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m")),
        }
    }

    /// The parameter of the escape sequence that begins an ink; empty when there is none.
    pub(super) fn begin(self, ink: Ink) -> &'static str {
        if self == Self::Off {
            return "";
        }
        match ink {
            Ink::Plain => "",
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Red => "31",
            Ink::Green => "32",
            Ink::Yellow => "33",
            Ink::Worker(number) => {
                WORKER_COLOURS.get(number as usize % WORKER_COLOURS.len()).unwrap_or(&"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_left_alone_where_colours_are_off() {
        assert_eq!(Colours::Off.paint("x", Ink::Red), "x");
        assert_eq!(Colours::On.paint("x", Ink::Plain), "x");
        assert_eq!(Colours::On.paint("x", Ink::Red), "\x1b[31mx\x1b[0m");
        assert_eq!(Colours::On.begin(Ink::Worker(1)), Colours::On.begin(Ink::Worker(7)));
    }
}
