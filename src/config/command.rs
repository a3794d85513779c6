//! A command as a string: split like a shell would, run without one.

use super::wrong::{Parsed, Wrong};

/// Splits a command into the program and its arguments.
pub(super) fn split(text: &str) -> Parsed<Vec<String>> {
    if let Some(operator) = shell_operator(text) {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        return Err(Wrong::new(format!("'{operator}' needs a shell, and none is used"))
            .hint(format!("quote it, or write [\"sh\", \"-c\", \"{quoted}\"]")));
    }
    let words = shell_words::split(text)
        .ok()
        .ok_or_else(|| Wrong::new("a quote is not closed").hint("close it, or write a list"))?;
    checked(words)
}

/// Takes a command that is a list already.
pub(super) fn checked(words: Vec<String>) -> Parsed<Vec<String>> {
    let program = words.first().map(String::as_str).unwrap_or_default();
    if program.is_empty() {
        return Err(Wrong::new("the command is empty").hint("write a program to run"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Wrong::new("a command cannot hold a NUL").hint("remove it"));
    }
    match program.split_once('=') {
        Some((name, _)) if !name.contains('/') => {
            Err(Wrong::new(format!("the command begins with a variable, '{program}'"))
                .hint(format!("write env = {{ {name} = \"…\" }} beside it")))
        }
        _ => Ok(words),
    }
}

/// The first thing outside quotes that only a shell understands.
///
/// A single `&` or `$` inside a word is let through: addresses and patterns are full of them.
fn shell_operator(text: &str) -> Option<&'static str> {
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('"') | None, '\\') => {
                rest.next();
            }
            (None, '\'' | '"') => quote = Some(c),
            (None, '|') => return Some("|"),
            (None, ';') => return Some(";"),
            (None, '<') => return Some("<"),
            (None, '>') => return Some(">"),
            (None, '`') => return Some("`"),
            (None, '$') if rest.as_str().starts_with('(') => return Some("$("),
            (None, '&') if rest.as_str().starts_with('&') => return Some("&&"),
            (None, '&') if rest.as_str().chars().next().is_none_or(char::is_whitespace) => {
                return Some("&");
            }
            (Some(_) | None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_like_a_shell_would() {
        for (text, words) in [
            ("wc -w", &["wc", "-w"][..]),
            ("  php  'my worker.php' \"a b\"c d\\ e ", &["php", "my worker.php", "a bc", "d e"]),
            ("sh -c 'a | b; c > d && e'", &["sh", "-c", "a | b; c > d && e"]),
            ("curl http://x/?a=1&b=2", &["curl", "http://x/?a=1&b=2"]),
            ("grep ^a$ {servers} {x,y}", &["grep", "^a$", "{servers}", "{x,y}"]),
            ("echo \\; \"\\\" | \"", &["echo", ";", "\" | "]),
            ("./a=b", &["./a=b"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_refused() {
        for (text, operator) in [
            ("a | b", "|"),
            ("a>b", ">"),
            ("a 2>&1", ">"),
            ("a && b", "&&"),
            ("a; b", ";"),
            ("a &", "&"),
            ("echo $(date)", "$("),
            ("echo `date`", "`"),
        ] {
            let wrong = split(text).unwrap_err();
            assert_eq!(wrong.problem, format!("'{operator}' needs a shell, and none is used"));
            let hint = format!("quote it, or write [\"sh\", \"-c\", \"{text}\"]");
            assert_eq!(wrong.hint.as_deref(), Some(hint.as_str()));
        }
        for empty in ["", "  ", "''", "A=b c", "'open"] {
            assert!(split(empty).is_err(), "{empty}");
        }
    }
}
