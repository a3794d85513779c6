//! How the rest of the program looks at a worker's terminal and types into it.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::model::WorkerName;
use crate::terminal::TerminalSize;

/// One request about a worker's terminal.
#[derive(Debug)]
pub enum TerminalRequest {
    /// Show it from now on, the screen first.
    View {
        /// Whose.
        worker: WorkerName,
        /// To type, not only to look.
        keyboard: Option<KeyboardWish>,
        /// The answer.
        reply: oneshot::Sender<Result<TerminalView, KeyboardError>>,
    },
    /// Type into it.
    Type {
        /// Whose.
        worker: WorkerName,
        /// Who types; `None` for a line that anybody sends.
        by: Option<KeyboardId>,
        /// What.
        keys: Bytes,
        /// Told when its program has them to read.
        reply: oneshot::Sender<Result<(), KeyboardError>>,
    },
    /// Change its size.
    Resize {
        /// Whose.
        worker: WorkerName,
        /// Who.
        by: KeyboardId,
        /// To what.
        size: TerminalSize,
        /// The answer.
        reply: oneshot::Sender<Result<(), KeyboardError>>,
    },
}

/// Names whoever has the keyboard of a terminal; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyboardId(pub u64);

/// Who wants to type, and on what.
#[derive(Clone, Debug)]
pub struct KeyboardWish {
    /// For others, and for the log.
    pub who: String,
    /// Take it from whoever has it.
    pub steal: bool,
    /// The size of their terminal, which the worker's follows.
    pub size: TerminalSize,
}

/// Somebody's view of a terminal; ends with the pool or the daemon. Dropping it gives the keyboard
/// back.
#[derive(Debug)]
pub struct TerminalView {
    /// Bounded; to whom it is full the screen is shown anew when there is room.
    pub news: mpsc::Receiver<Vec<TerminalNews>>,
    /// The keyboard, if it was wished for.
    pub keyboard: Option<KeyboardId>,
}

/// What happens on a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalNews {
    /// The whole screen: what came before need not be known.
    Screen {
        /// Its size.
        size: TerminalSize,
        /// What makes a terminal show it.
        repaint: Bytes,
    },
    /// The program printed this.
    Output(Bytes),
    /// It has another size.
    Resized(TerminalSize),
    /// No program is there; a successor's screen may follow.
    Gone,
    /// A mark of the supervisor: started, exited.
    Mark(String),
    /// Somebody else took the keyboard.
    KeyboardTaken {
        /// Who.
        by: String,
    },
}

/// Why nothing can be typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyboardError {
    /// Somebody else types.
    #[error("the keyboard of {worker} is with {holder}")]
    Held {
        /// Whose terminal.
        worker: WorkerName,
        /// Who has it.
        holder: String,
    },
    /// It was taken away or given back.
    #[error("the keyboard of {worker} is no longer with this client")]
    Lost {
        /// Whose terminal.
        worker: WorkerName,
    },
    /// No program is there, or it has no terminal.
    #[error("no process of {worker} has a terminal just now")]
    NoProcess {
        /// Whose terminal.
        worker: WorkerName,
    },
    /// The program does not read, and what waits for it is enough.
    #[error("{worker} does not read what was typed before")]
    Full {
        /// Whose terminal.
        worker: WorkerName,
    },
}
