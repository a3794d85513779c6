//! Why a value cannot be taken, before its place is known.

use std::ops::Range;

/// A value that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What is wrong.
    pub(super) problem: String,
    /// What to write instead.
    pub(super) hint: Option<String>,
    /// Which bytes of the file, when it is a part of the value.
    pub(super) span: Option<Range<usize>>,
}

/// What reading a value gives.
pub(super) type Parsed<T> = Result<T, Wrong>;

impl Wrong {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: None, span: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn at(mut self, span: Range<usize>) -> Self {
        self.span.get_or_insert(span);
        self
    }
}
