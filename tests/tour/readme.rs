//! The README as a list of commands with what they are said to show.

use regex::Regex;

const README: &str = include_str!("../../README.md");
/// Begins what the daemon's own terminal shows.
const FIRST_TERMINAL: &str = "first terminal: ";

/// A command, and the lines below it that begin with `#`.
pub(crate) struct Step {
    pub(crate) command: String,
    /// Lines that the command prints.
    pub(crate) shown: Vec<String>,
    /// Lines that the daemon prints.
    pub(crate) logged: Vec<String>,
}

/// The blocks of shell commands below a heading.
pub(crate) fn blocks(heading: &str) -> Vec<Vec<Step>> {
    let section = section(heading);
    let fences = section.split("```sh\n").skip(1);
    let blocks: Vec<_> = fences.map(|rest| steps(rest.split("```").next().unwrap())).collect();
    assert!(!blocks.is_empty(), "the README has no commands below {heading}");
    blocks
}

/// The text below a heading, up to the next one.
pub(crate) fn section(heading: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n## {heading}\n")).expect("no such heading");
    rest.split("\n## ").next().unwrap()
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        let Some(shown) = line.strip_prefix("# ") else {
            let (shown, logged) = (Vec::new(), Vec::new());
            steps.push(Step { command: line.to_owned(), shown, logged });
            continue;
        };
        let step = steps.last_mut().expect("a block begins with a command");
        match shown.strip_prefix(FIRST_TERMINAL) {
            Some(line) => step.logged.push(line.to_owned()),
            None => step.shown.push(shown.to_owned()),
        }
    }
    steps
}

/// Whether a line is the one that the README shows: `…` stands for anything, and how wide a column
/// is does not matter.
pub(crate) fn is_shown(shown: &str, line: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<_> = words(shown).split('…').map(regex::escape).collect();
    let pattern = Regex::new(&format!("^{}$", parts.join(".*"))).unwrap();
    pattern.is_match(&words(line))
}
