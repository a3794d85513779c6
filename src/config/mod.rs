//! The file → checked [`Settings`], every mistake with its place; and the difference of two.

mod settings;

pub use settings::*;
