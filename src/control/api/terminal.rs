//! A worker's terminal.

use serde::{Deserialize, Serialize};

/// `GET /v1/terminal/WORKER?keyboard=…&steal=…&columns=…&rows=…`: one of these per line. The screen
/// comes early, and again when the reader was too slow for what was printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum TerminalRecord {
    /// This is the first.
    Attached {
        /// Whose terminal it is: `POOL:N`.
        worker: String,
        /// To be sent with what is typed, when that was asked for.
        keyboard: Option<u64>,
    },
    /// The whole screen, whatever came before.
    Screen {
        /// Its width.
        columns: u16,
        /// Its height.
        rows: u16,
        /// What makes a terminal of that size show it, in base64.
        repaint: String,
    },
    /// The program printed something.
    Output {
        /// It, in base64.
        bytes: String,
    },
    /// The terminal has another size.
    Resized {
        /// Its width.
        columns: u16,
        /// Its height.
        rows: u16,
    },
    /// No program is there; the screen of a successor may follow.
    Gone,
    /// A mark of the supervisor: started, exited.
    Mark {
        /// What it says.
        text: String,
    },
    /// Somebody else took the keyboard.
    KeyboardTaken {
        /// Who.
        by: String,
    },
}

/// `POST /v1/terminal/WORKER/size`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeRequest {
    /// The keyboard.
    pub keyboard: u64,
    /// From 1 to 1000.
    pub columns: u16,
    /// From 1 to 500.
    pub rows: u16,
}

/// `POST /v1/send`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequest {
    /// Whom.
    pub names: Vec<String>,
    /// What, without the line end.
    pub line: String,
}
