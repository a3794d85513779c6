//! The terminal of one worker: its screen, kept whether or not anybody looks.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use avt::parser::{Function, State};
use avt::{Parser, Terminal};

use super::TerminalSize;
use super::decoder::Decoder;
use super::lines::Lines;
use super::modes::{Modes, Question};

/// Brings a real terminal back to what a shell expects: the primary screen, no margins, a plain pen,
/// and none of the mouse, paste and keyboard modes that a program may have set.
pub const RESET: &str = "\x1b[?1047l\x1b[!p\x1b[?7h\x1b[?6l\x1b[r\x1b(B\x0f\
    \x1b[?9;1000;1002;1003;1004;1005;1006;1015;1016;2004l\x1b>\x1b[0 q\x1b[?25h\
    \x1b[>4m\x1b[=0u\x1b[0m";

/// Functions that are carried out at once.
const BATCH_MAX: usize = 1024;
/// Longest control sequence that is repeated to a terminal that is attached in the middle of it.
const PENDING_LEN_MAX: usize = 4096;
/// Answers that are kept until somebody takes them; a program that asks more reads none.
const ANSWERS_LEN_MAX: usize = 1024;

/// A terminal without a picture tube.
pub struct Emulator {
    terminal: Terminal,
    parser: Parser,
    decoder: Decoder,
    /// The control sequence that is under way.
    pending: String,
    modes: Modes,
    lines: Lines,
    answers: Vec<u8>,
    size: TerminalSize,
}

impl Emulator {
    /// An empty screen.
    #[must_use]
    pub fn new(size: TerminalSize) -> Self {
        Self {
            terminal: blank(size),
            parser: Parser::new(),
            decoder: Decoder::default(),
            pending: String::new(),
            modes: Modes::default(),
            lines: Lines::default(),
            answers: Vec::new(),
            size,
        }
    }

    /// Takes what the program printed.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.guarded(|emulator| emulator.take(bytes));
    }

    /// A mistake in the screens must not end whoever keeps those of all workers: one that broke is
    /// replaced by an empty one.
    fn guarded(&mut self, change: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| change(self))).is_err() {
            *self = Self::new(self.size);
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut text = String::with_capacity(bytes.len());
        self.decoder.decode(bytes, &mut text);
        let mut functions = Vec::new();
        for ch in text.chars() {
            functions.extend(self.parser.feed(ch));
            if let Some(question) = self.follow(ch) {
                self.execute(&mut functions);
                self.answer(question);
            } else if functions.len() >= BATCH_MAX {
                self.execute(&mut functions);
            }
        }
        self.execute(&mut functions);
    }

    /// Keeps the control sequence that is under way, and looks at it when it is whole.
    fn follow(&mut self, ch: char) -> Option<Question> {
        let is_over = self.parser.state == State::Ground;
        if is_over && self.pending.is_empty() {
            return None;
        }
        if ch == '\x1b' {
            self.pending.clear();
        }
        // A line feed and its like inside of a sequence have been carried out; they come once.
        let is_carried_out = ch != '\x1b' && ch.is_ascii_control() && !is_over;
        if !is_carried_out && self.pending.len() < PENDING_LEN_MAX {
            self.pending.push(ch);
        }
        if !is_over {
            return None;
        }
        let question = self.modes.hear(&self.pending);
        self.pending.clear();
        question
    }

    fn execute(&mut self, functions: &mut Vec<Function>) {
        if !functions.is_empty() {
            self.terminal.execute_with(functions.drain(..), &mut self.lines);
        }
    }

    fn answer(&mut self, question: Question) {
        let answer = match question {
            // A VT100 with the advanced video option, as screen and tmux say.
            Question::Kind => "\x1b[?1;2c".to_owned(),
            Question::Health => "\x1b[0n".to_owned(),
            Question::Cursor => {
                let cursor = self.terminal.cursor();
                let column = cursor.col.min(usize::from(self.size.columns()) - 1);
                format!("\x1b[{};{}R", cursor.row + 1, column + 1)
            }
        };
        if self.answers.len() + answer.len() <= ANSWERS_LEN_MAX {
            self.answers.extend_from_slice(answer.as_bytes());
        }
    }

    /// Takes what a terminal would have answered to the program's questions.
    pub fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }

    /// Takes the lines that have ended, without control sequences, each with its end. What is
    /// painted on the alternate screen, as editors and pagers do, is in no line.
    pub fn take_lines(&mut self) -> String {
        self.lines.take()
    }

    /// Ends the line that is under way, so that it can be taken; it has no line end.
    pub fn cut_line(&mut self) {
        self.lines.cut();
    }

    /// Whether a line has begun and not ended.
    #[must_use]
    pub fn has_unended_line(&self) -> bool {
        self.lines.has_unended()
    }

    /// Changes the size; lines are wrapped anew.
    pub fn resize(&mut self, size: TerminalSize) {
        self.size = size;
        let (columns, rows) = (size.columns().into(), size.rows().into());
        self.guarded(|emulator| emulator.terminal.resize(columns, rows));
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> TerminalSize {
        self.size
    }

    /// What makes a real terminal of this size show the same, and go on from there.
    #[must_use]
    pub fn repaint(&self) -> Vec<u8> {
        let screen = spell_out(&self.terminal.dump());
        let (modes, pending) = (self.modes.dump(), &self.pending);
        format!("{RESET}\x1b[H\x1b[2J{screen}{modes}{pending}").into_bytes()
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Writes what `avt` tells in ways that not every terminal understands: a repeated character as
/// often as it stands there, and colours with the separator that all know.
fn spell_out(dump: &str) -> String {
    let mut out = String::with_capacity(dump.len());
    let mut parts = dump.split("\x1b[");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|ch: char| ch.is_ascii_alphabetic()).unwrap_or(part.len());
        let (parameters, rest) = part.split_at(end);
        let repeated = (rest.strip_prefix('b'), parameters.parse(), out.chars().last());
        if let (Some(rest), Ok(times), Some(last)) = repeated {
            out.extend(std::iter::repeat_n(last, times));
            out.push_str(rest);
        } else {
            out.push_str("\x1b[");
            out.push_str(&parameters.replace(':', ";"));
            out.push_str(rest);
        }
    }
    out
}

/// An empty screen of `avt`.
pub(super) fn blank(size: TerminalSize) -> Terminal {
    let terminal = Terminal::new(size.columns().into(), size.rows().into());
    terminal.unwrap_or_else(|_| unreachable!("a TerminalSize is never zero"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn screen(bytes: &[u8], size: TerminalSize) -> Vec<String> {
        let mut emulator = Emulator::new(size);
        emulator.feed(bytes);
        rows(&emulator)
    }

    fn rows(emulator: &Emulator) -> Vec<String> {
        emulator.terminal.screen().visible_lines().map(avt::Line::text).collect()
    }

    #[test]
    fn a_terminal_that_comes_later_shows_the_same_and_goes_on_the_same() {
        let size = TerminalSize::new(20, 5);
        let session =
            "$ ls\r\n\x1b[1mbold\x1b[0m x\r\n\x1b[?1049h\x1b[2;4r\x1b[H\x1b[7mtitle\x1b[0m\
            \x1b[3;3Hgrü\x1b(0qqq\x1b(B\x1b[?25l\x1b[?2004h\x1b[?1049l$ \x1b[31mred\x1b[1"
                .as_bytes();
        for cut in 0..session.len() {
            let (before, after) = session.split_at(cut);
            let mut first = Emulator::new(size);
            first.feed(before);
            let mut later = Emulator::new(size);
            // Somebody else's screen is cleared first.
            later.feed(b"\x1b[?1049hold\x1b[2;3r\x1b[?6h\x1b(0\x1b[?1000h\x1b[4mzzz");
            later.feed(&first.repaint());
            assert_eq!(rows(&later), rows(&first), "{cut}");
            // The bytes of a character that is cut are held by us, and come whole.
            let text = String::from_utf8_lossy(before).chars().count();
            if std::str::from_utf8(before).is_ok() && text > 0 {
                first.feed(after);
                later.feed(after);
                assert_eq!(later.repaint(), first.repaint(), "{cut}");
            }
        }
    }

    #[test]
    fn a_line_feed_inside_of_a_sequence_is_not_repeated_to_who_comes_later() {
        let mut first = Emulator::new(TerminalSize::new(4, 2));
        first.feed(b"ab\r\n\x1b[1\n");
        let mut later = Emulator::new(first.size());
        later.feed(&first.repaint());
        assert_eq!(rows(&later), rows(&first));
        first.feed(b";1Hcd");
        later.feed(b";1Hcd");
        assert_eq!((&rows(&later), rows(&first)[0].as_str()), (&rows(&first), "cd  "));
    }

    #[test]
    fn line_drawing_and_wide_characters_are_on_the_screen() {
        let rows = screen("\x1b(0lqk\x1b(B|日本".as_bytes(), TerminalSize::new(10, 2));
        assert_eq!(rows[0].trim_end(), "┌─┐|日本");
    }

    #[test]
    fn a_program_that_asks_its_terminal_is_answered_where_it_stands() {
        let mut emulator = Emulator::new(TerminalSize::default());
        emulator.feed(b"\x1b[3;7Hab\x1b[6n\x1b[H\x1b[c\x1b[5n\x1b[6n");
        assert_eq!(emulator.take_answers(), b"\x1b[3;9R\x1b[?1;2c\x1b[0n\x1b[1;1R");
        emulator.feed(&b"\x1b[6n".repeat(10_000));
        assert!(emulator.take_answers().len() <= ANSWERS_LEN_MAX);
    }

    #[test]
    fn a_repaint_is_understood_by_simple_terminals() {
        let mut emulator = Emulator::new(TerminalSize::new(40, 3));
        emulator.feed(b"\x1b[38;5;200mxxxxxxxxxxxxxxx\x1b[48;2;1;2;3my:\x1b[0m\r\n============");
        let repaint = String::from_utf8(emulator.repaint()).unwrap();
        assert!(repaint.contains("38;5;200") && repaint.contains("48;2;1;2;3my:"), "{repaint:?}");
        let is_digit = |ch: char| ch.is_ascii_digit();
        let repeats = repaint.split("\x1b[").any(|part| {
            part.trim_start_matches(is_digit).starts_with('b') && part.starts_with(is_digit)
        });
        assert!(!repeats && repaint.contains("============"), "{repaint:?}");
    }

    #[test]
    fn a_smaller_screen_keeps_what_is_near_the_cursor() {
        let mut emulator = Emulator::new(TerminalSize::new(10, 4));
        emulator.feed(b"1\r\n2\r\n3\r\n4");
        emulator.resize(TerminalSize::new(10, 2));
        assert_eq!(
            rows(&emulator).iter().map(|row| row.trim_end()).collect::<Vec<_>>(),
            ["3", "4"]
        );
    }

    #[test]
    fn a_screen_that_broke_is_empty_and_goes_on() {
        let mut emulator = Emulator::new(TerminalSize::default());
        emulator.feed(b"before");
        emulator.guarded(|_| panic!("as if the screens had a mistake"));
        emulator.feed(b"after");
        assert_eq!(rows(&emulator)[0].trim_end(), "after");
    }

    proptest! {
        #[test]
        fn nothing_that_is_printed_breaks_a_terminal(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    "\x1b\\[[?>!]?[0-9;]{0,9}[@-~]".prop_map(String::into_bytes),
                    "[a-zäß日 \r\n\t\x08]{0,30}".prop_map(String::into_bytes),
                ],
                0..40,
            ),
            sizes in prop::collection::vec((0_u16..30, 0_u16..12), 1..6),
        ) {
            let mut emulator = Emulator::new(TerminalSize::new(7, 3));
            for (n, piece) in pieces.iter().enumerate() {
                emulator.feed(piece);
                let (columns, rows) = sizes[n % sizes.len()];
                emulator.resize(TerminalSize::new(columns, rows));
                let mut later = Emulator::new(emulator.size());
                later.feed(&emulator.repaint());
                prop_assert_eq!(self::rows(&later), self::rows(&emulator));
            }
        }
    }
}
