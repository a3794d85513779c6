//! Shows a worker's screen on a terminal of another size, of whose keyboard it gets nothing.
//!
//! What the worker prints goes to a screen of its own size first, and the rows that changed are
//! painted: nothing else that a program can ask of a terminal reaches this one. Of a screen that is
//! larger the left columns are shown, and the rows around the cursor.

use std::fmt::{self, Write};

use avt::observer::DirtyRows;
use avt::{Color, Line, Pen, Terminal};

use super::TerminalSize;
use super::decoder::Decoder;
use super::emulator::blank;

/// A screen, and the terminal that it is painted on.
pub struct Painter {
    screen: Terminal,
    decoder: Decoder,
    changed: DirtyRows,
    /// The terminal.
    canvas: TerminalSize,
    /// First row that is shown.
    top: usize,
    rows: Vec<usize>,
}

impl Painter {
    /// Paints on a terminal of this size.
    #[must_use]
    pub fn new(canvas: TerminalSize) -> Self {
        Self {
            screen: blank(TerminalSize::default()),
            decoder: Decoder::default(),
            changed: DirtyRows::new(),
            canvas,
            top: 0,
            rows: Vec::new(),
        }
    }

    /// Begins anew with a screen of this size, and what it shows.
    pub fn begin(&mut self, size: TerminalSize, repaint: &[u8]) {
        self.screen = blank(size);
        self.decoder = Decoder::default();
        self.changed = DirtyRows::new();
        self.rows.clear();
        self.feed(repaint);
    }

    /// Takes what the worker printed.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut text = String::with_capacity(bytes.len());
        self.decoder.decode(bytes, &mut text);
        self.rows.extend(self.screen.feed_with(text.as_str(), &mut self.changed));
    }

    /// The worker's screen has another size.
    pub fn resize(&mut self, size: TerminalSize) {
        let (columns, rows) = (size.columns().into(), size.rows().into());
        self.rows.extend(self.screen.resize_with(columns, rows, &mut self.changed));
    }

    /// The terminal has another size.
    pub fn set_canvas(&mut self, canvas: TerminalSize) {
        self.canvas = canvas;
        self.all_rows();
    }

    /// What has to be written to the terminal to show what has changed.
    pub fn paint(&mut self) -> String {
        let cursor = self.screen.cursor();
        let height = usize::from(self.canvas.rows());
        let top = match cursor.row {
            row if row < self.top => row,
            row => self.top.max((row + 1).saturating_sub(height)),
        };
        let (_, rows) = self.screen.size();
        let top = top.min(rows.saturating_sub(height));
        if top != self.top {
            self.top = top;
            self.all_rows();
        }
        self.rows.sort_unstable();
        self.rows.dedup();
        let mut out = String::from("\x1b[?25l\x1b[?7l");
        for row in self.rows.drain(..) {
            let Some(at) = row.checked_sub(top).filter(|at| *at < height) else { continue };
            // Writing to a String cannot fail, here and below.
            write!(out, "\x1b[{};1H", at + 1).ok();
            let width = usize::from(self.canvas.columns());
            let line = self.screen.screen().line(row);
            let written = line.map_or(0, |line| write_row(&mut out, line, width));
            out.push_str("\x1b[0m");
            // After the last column the cursor still stands on it, and would erase it.
            if written < width {
                out.push_str("\x1b[K");
            }
        }
        let column = cursor.col.min(self.screen.size().0.saturating_sub(1));
        if cursor.visible && column < self.canvas.columns().into() {
            write!(out, "\x1b[{};{}H\x1b[?25h", cursor.row - top + 1, column + 1).ok();
        }
        out
    }

    fn all_rows(&mut self) {
        // Rows that are only on the terminal are cleared too.
        let rows = self.screen.size().1.max(self.canvas.rows().into());
        self.rows.extend(0..rows);
    }
}

impl fmt::Debug for Painter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Painter").field("canvas", &self.canvas).finish_non_exhaustive()
    }
}

/// The row as far as it fits, and how many columns it took; a wide character is not cut.
fn write_row(out: &mut String, line: &Line, width: usize) -> usize {
    let mut pen = None;
    let mut column = 0;
    for cell in line.cells() {
        let cell_width = usize::from(cell.width());
        if cell_width == 0 {
            continue;
        }
        if column + cell_width > width {
            break;
        }
        column += cell_width;
        if pen != Some(cell.pen()) {
            write_pen(out, cell.pen());
            pen = Some(cell.pen());
        }
        out.push(cell.char());
    }
    column
}

fn write_pen(out: &mut String, pen: &Pen) {
    out.push_str("\x1b[0");
    let attributes = [
        (pen.is_bold(), ";1"),
        (pen.is_faint(), ";2"),
        (pen.is_italic(), ";3"),
        (pen.is_underline(), ";4"),
        (pen.is_blink(), ";5"),
        (pen.is_inverse(), ";7"),
        (pen.is_strikethrough(), ";9"),
    ];
    out.extend(attributes.into_iter().filter(|(is_on, _)| *is_on).map(|(_, code)| code));
    for (colour, base) in [(pen.foreground(), 30), (pen.background(), 40)] {
        let written = match colour {
            None => Ok(()),
            Some(Color::Indexed(n)) if n < 8 => write!(out, ";{}", base + u16::from(n)),
            Some(Color::Indexed(n)) if n < 16 => write!(out, ";{}", base + 52 + u16::from(n)),
            Some(Color::Indexed(n)) => write!(out, ";{};5;{n}", base + 8),
            Some(Color::RGB(rgb)) => {
                write!(out, ";{};2;{};{};{}", base + 8, rgb.r, rgb.g, rgb.b)
            }
        };
        written.ok();
    }
    out.push('m');
}

#[cfg(test)]
mod tests {
    use super::super::Emulator;
    use super::*;

    /// Paints a session on a terminal of another size, and reads what stands there.
    fn painted(session: &[&str], worker: (u16, u16), canvas: (u16, u16)) -> Vec<String> {
        let worker = TerminalSize::new(worker.0, worker.1);
        let canvas = TerminalSize::new(canvas.0, canvas.1);
        let mut painter = Painter::new(canvas);
        painter.begin(worker, &Emulator::new(worker).repaint());
        let mut terminal = blank(canvas);
        for piece in session {
            painter.feed(piece.as_bytes());
            terminal.feed(painter.paint().as_str());
        }
        terminal.screen().visible_lines().map(|line| line.text().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_larger_terminal_shows_the_screen_in_its_corner() {
        let session = ["one\r\n", "two\r\n", "three\r\n", "wraps at ten"];
        assert_eq!(painted(&session, (10, 3), (20, 5)), ["three", "wraps at t", "en", "", ""]);
    }

    #[test]
    fn a_smaller_terminal_shows_what_is_around_the_cursor() {
        let session = ["1 is long\r\n2\r\n3\r\n4"];
        assert_eq!(painted(&session, (12, 6), (4, 2)), ["3", "4"]);
        assert_eq!(
            painted(&["1 is long\r\n2\r\n3\r\n4", "\x1b[H"], (12, 6), (4, 2)),
            ["1 is", "2"]
        );
        assert_eq!(painted(&["a日本"], (12, 1), (4, 1)), ["a日"]);
    }

    #[test]
    fn only_the_picture_reaches_the_terminal() {
        let mut painter = Painter::new(TerminalSize::default());
        painter.feed(b"\x1b[?1000h\x1b]52;c;aGk=\x07\x1b]0;title\x07\x1b[c\x1b[31mred");
        let shown = painter.paint();
        assert!(shown.contains("\x1b[0;31mred"), "{shown:?}");
        for odd in ["1000", "52;c", "title", "\x1b[c"] {
            assert!(!shown.contains(odd), "{shown:?}");
        }
        painter.feed(b"!");
        assert!(painter.paint().matches(";1H").count() == 1, "one row is painted anew");
    }
}
