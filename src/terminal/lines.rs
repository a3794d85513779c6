//! Lines for the log out of what a program does to its terminal.
//!
//! What is typed over, as a bar of progress does after a carriage return, is in the log as it
//! stands when the line ends. Moves to other rows end a line. The alternate screen has no lines.

use avt::parser::{EdScope, ElScope, Function};
use avt::{Observation, Observer, Operation, ScreenKind};

/// Columns between tab stops.
const TAB: usize = 8;
/// A longer line comes in parts.
const LINE_LEN_MAX: usize = 16 * 1024;

/// Lines that have ended, and the one that has not.
#[derive(Debug, Default)]
pub(super) struct Lines {
    ended: String,
    line: Vec<char>,
    column: usize,
}

impl Lines {
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn has_unended(&self) -> bool {
        !self.line.is_empty()
    }

    /// Passes the unended line on as it is.
    pub(super) fn cut(&mut self) {
        self.ended.extend(self.line.drain(..));
        self.column = 0;
    }

    fn end(&mut self) {
        let text = self.line.iter().rposition(|ch| *ch != ' ').map_or(0, |last| last + 1);
        self.ended.extend(self.line.drain(..).take(text));
        self.ended.push('\n');
        self.column = 0;
    }

    /// The cursor leaves the row: what stands there is a line.
    fn leave(&mut self) {
        if self.line.iter().any(|ch| *ch != ' ') {
            self.end();
        }
        self.line.clear();
        self.column = 0;
    }

    fn print(&mut self, ch: char) {
        self.reach();
        match self.line.get_mut(self.column) {
            Some(old) => *old = ch,
            None => self.line.push(ch),
        }
        self.column += 1;
        if self.line.len() >= LINE_LEN_MAX {
            self.cut();
        }
    }

    /// Fills the line up to the cursor.
    fn reach(&mut self) {
        if self.line.len() < self.column {
            self.line.resize(self.column, ' ');
        }
    }

    fn go(&mut self, column: usize) {
        self.column = column.min(LINE_LEN_MAX - 1);
    }

    fn erase(&mut self, from: usize, to: usize) {
        let to = to.min(self.line.len());
        if let Some(erased) = self.line.get_mut(from..to) {
            erased.fill(' ');
        }
    }

    fn tab(&mut self) {
        if self.column == self.line.len() {
            return self.print('\t');
        }
        self.go((self.column / TAB + 1) * TAB);
    }

    fn delete(&mut self, count: usize) {
        let to = (self.column + count).min(self.line.len());
        if self.column < to {
            self.line.drain(self.column..to);
        }
    }

    fn insert(&mut self, count: usize) {
        if self.column < self.line.len() {
            let blanks = std::iter::repeat_n(' ', count.min(LINE_LEN_MAX));
            self.line.splice(self.column..self.column, blanks);
        }
    }

    fn hear(&mut self, function: &Function) {
        match function {
            Function::Print(ch) => self.print(*ch),
            Function::Lf | Function::Nel => self.end(),
            Function::Cr => self.go(0),
            Function::Bs => self.go(self.column.saturating_sub(1)),
            Function::Ht => self.tab(),
            Function::Cuf(n) => self.go(self.column + one_at_least(*n)),
            Function::Cub(n) => self.go(self.column.saturating_sub(one_at_least(*n))),
            Function::Cha(n) => self.go(one_at_least(*n) - 1),
            Function::Dch(n) => self.delete(one_at_least(*n)),
            Function::Ich(n) => self.insert(one_at_least(*n)),
            Function::Ech(n) => self.erase(self.column, self.column + one_at_least(*n)),
            Function::El(ElScope::ToRight) | Function::Ed(EdScope::Below) => {
                self.line.truncate(self.column);
            }
            Function::El(ElScope::ToLeft) => self.erase(0, self.column + 1),
            Function::El(ElScope::All) => self.line.clear(),
            Function::Rep(n) => {
                if let Some(last) = self.column.checked_sub(1).and_then(|at| self.line.get(at)) {
                    let last = *last;
                    (0..*n).for_each(|_| self.print(last));
                }
            }
            Function::Ed(EdScope::All)
            | Function::Cup(..)
            | Function::Vpa(_)
            | Function::Vpr(_)
            | Function::Cuu(_)
            | Function::Cud(_)
            | Function::Cnl(_)
            | Function::Cpl(_)
            | Function::Ri
            | Function::Ris => self.leave(),
            // Colours, modes, margins and whatever else changes no text. Not ours to list: it grows.
            _ => {}
        }
    }
}

impl Observer for Lines {
    type Output = ();

    fn before(&mut self, seen: &mut Observation<'_>, operation: &Operation) {
        let Operation::Function(function) = operation else { return };
        match seen.terminal().active_screen_kind() {
            ScreenKind::Primary => self.hear(function),
            ScreenKind::Alternate => {}
        }
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

/// Zero means one in control sequences.
fn one_at_least(count: u16) -> usize {
    usize::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::{Emulator, TerminalSize};
    use super::*;

    fn lines(printed: &str) -> String {
        let mut emulator = Emulator::new(TerminalSize::new(20, 5));
        emulator.feed(printed.as_bytes());
        emulator.cut_line();
        emulator.take_lines()
    }

    #[test]
    fn the_log_has_the_text_as_it_stands_when_its_line_ends() {
        for (printed, logged) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("\x1b[1;31mred\x1b[0m text \r\n", "red text\n"),
            ("10%\r20%\r100%\r\n", "100%\n"),
            ("working…\r\x1b[Kdone\r\n", "done\n"),
            ("lss\x08\x1b[K -l\r\n", "ls -l\n"),
            ("abc\x08\x08\x1b[@X\r\n", "aXbc\n"),
            ("abcd\r\x1b[2P\r\n", "cd\n"),
            ("name\tvalue\r\n", "name\tvalue\n"),
            ("x\x1b[5Cy\r\n", "x     y\n"),
            ("password: ", "password: "),
            (
                "a line that is longer than the screen\r\n",
                "a line that is longer than the screen\n",
            ),
            ("one\x1b[2;1Htwo\x1b[2J\x1b[Hthree\n", "one\ntwo\nthree\n"),
            ("$ vi\r\n\x1b[?1049h\x1b[Hpainted\r\nmore\x1b[?1049l$ \r\n", "$ vi\n$\n"),
            ("\x1b]0;title\x07hi\r\n", "hi\n"),
            ("=\x1b[9b\r\n", "==========\n"),
        ] {
            assert_eq!(lines(printed), logged, "{printed:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_comes_in_parts() {
        let long = "x".repeat(3 * LINE_LEN_MAX + 5);
        assert_eq!(lines(&long), long);
        assert!(lines("\x1b[9999C\x1b[9999C\x1b[9999Cx").len() <= LINE_LEN_MAX);
    }
}
