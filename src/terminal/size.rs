//! How large a terminal is.

use std::fmt;

/// What a terminal is before anybody looks at it, as everywhere.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;
/// More than any screen has; each cell costs memory.
const COLUMNS_MAX: u16 = 1000;
const ROWS_MAX: u16 = 500;

/// Columns and rows, neither of them zero, and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    columns: u16,
    rows: u16,
}

impl TerminalSize {
    /// The nearest size that is possible.
    #[must_use]
    pub fn new(columns: u16, rows: u16) -> Self {
        Self { columns: columns.clamp(1, COLUMNS_MAX), rows: rows.clamp(1, ROWS_MAX) }
    }

    /// From 1 to 1000.
    #[must_use]
    pub fn columns(self) -> u16 {
        self.columns
    }

    /// From 1 to 500.
    #[must_use]
    pub fn rows(self) -> u16 {
        self.rows
    }
}

/// 80 columns and 24 rows.
impl Default for TerminalSize {
    fn default() -> Self {
        Self { columns: COLUMNS, rows: ROWS }
    }
}

/// `80x24`
impl fmt::Display for TerminalSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.columns, self.rows)
    }
}
