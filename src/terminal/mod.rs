//! A worker's terminal as a value: what its program prints goes in; the screen, the lines for the
//! log, and what a real terminal needs to show the same come out.
//!
//! ```text
//! bytes → Emulator → screen (repainted for whoever attaches)
//!                  → lines without control sequences (for the log)
//!                  → answers (to a program that asks its terminal something)
//! ```
//! The screens themselves are the `avt` crate's. Whose terminal it is, where the bytes come from and
//! who looks at it is not known here.

mod decoder;
mod emulator;
mod lines;
mod modes;
mod painter;
mod size;

pub use emulator::{Emulator, RESET};
pub use painter::Painter;
pub use size::TerminalSize;
