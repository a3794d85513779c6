//! Text in columns.

use unicode_width::UnicodeWidthStr;

use super::paint::{Colours, Ink};

/// Blanks between two columns.
const GAP: &str = "  ";

/// A table under construction.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// A column's heading and the side that its cells lean to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Words.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// One piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    ink: Ink,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<Cell>),
    /// A line of its own that no column is measured by.
    Line(String),
}

impl Table {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a line across all columns; it may be painted already.
    pub(super) fn line(&mut self, text: impl Into<String>) {
        self.rows.push(Row::Line(text.into()));
    }

    /// The table as lines; without blanks at their ends.
    pub(super) fn render(&self, colours: Colours) -> String {
        let headings: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(column.heading(), Ink::Dim)).collect();
        let widths = self.widths(&headings);
        let mut text = self.render_cells(&headings, &widths, colours);
        for row in &self.rows {
            match row {
                Row::Cells(cells) => text += &self.render_cells(cells, &widths, colours),
                Row::Line(line) => {
                    text += line;
                    text.push('\n');
                }
            }
        }
        text
    }

    fn widths(&self, headings: &[Cell]) -> Vec<usize> {
        let mut widths: Vec<usize> = headings.iter().map(Cell::width).collect();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }

    fn render_cells(&self, cells: &[Cell], widths: &[usize], colours: Colours) -> String {
        let mut line = String::new();
        // Blanks are owed until something follows them.
        let mut owed = String::new();
        for ((column, cell), width) in self.columns.iter().zip(cells).zip(widths) {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            if let Column::Right(_) = column {
                owed += &padding;
            }
            if !cell.text.is_empty() {
                line += &owed;
                line += &colours.paint(&cell.text, cell.ink);
                owed.clear();
            }
            if let Column::Left(_) = column {
                owed += &padding;
            }
            owed += GAP;
        }
        line.push('\n');
        line
    }
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Left(heading) | Self::Right(heading) => heading,
        }
    }
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink }
    }

    /// Text as it is.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Ink::Plain)
    }

    /// What may be missing.
    pub(super) fn maybe(text: Option<impl Into<String>>) -> Self {
        text.map_or_else(Self::default, Self::plain)
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_with_text() {
        let mut table =
            Table::new(&[Column::Left("NAME"), Column::Right("N"), Column::Left("WHY")]);
        table.line("a line that is wider than any column");
        table.row(vec![Cell::plain("schön"), Cell::plain("7"), Cell::default()]);
        table.row(vec![Cell::plain("b"), Cell::plain("1,234"), Cell::plain("since")]);
        let want = "\
NAME       N  WHY
a line that is wider than any column
schön      7
b      1,234  since
";
        assert_eq!(table.render(Colours::Off), want);
    }

    #[test]
    fn wide_characters_and_marks_do_not_move_columns() {
        let mut table = Table::new(&[Column::Left("NAME"), Column::Right("N")]);
        table.row(vec![Cell::plain("画像変換"), Cell::plain("7")]);
        table.row(vec![Cell::plain("e\u{301}te\u{301}"), Cell::plain("8")]);
        assert_eq!(
            table.render(Colours::Off),
            "\
NAME      N
画像変換  7
e\u{301}te\u{301}       8
"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new(&[Column::Left("A"), Column::Left("B")]);
        table.row(vec![Cell::new("x", Ink::Red), Cell::plain("y")]);
        let painted = table.render(Colours::On);
        let bare = painted.replace("\x1b[2m", "").replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!(bare, table.render(Colours::Off));
    }
}
