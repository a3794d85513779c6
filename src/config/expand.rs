//! `${VAR}`, `${VAR:-default}` and `$$` in strings.

use std::collections::BTreeMap;

use super::wrong::{Parsed, Wrong};

/// What `${NAME}` stands for.
pub(super) type Variables = BTreeMap<String, String>;

/// Deepest nesting of a default in a default.
const DEPTH_MAX: usize = 8;

/// Puts variables in. A dollar before anything but `{` and `$` stays as it is.
pub(super) fn expand(text: &str, variables: &Variables) -> Parsed<String> {
    expand_to(text, variables, 0)
}

fn expand_to(text: &str, variables: &Variables, depth: usize) -> Parsed<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (inside, after) = split_at_brace(after).ok_or_else(unclosed)?;
            out.push_str(&reference(inside, variables, depth)?);
            after
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// The text up to the brace that closes it, and the text behind.
fn split_at_brace(text: &str) -> Option<(&str, &str)> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text.get(..at).is_some_and(|before| before.ends_with('$')) => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
    }
    None
}

fn reference(inside: &str, variables: &Variables, depth: usize) -> Parsed<String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(Wrong::new(format!("'${{{inside}}}' names no environment variable"))
            .hint("write ${NAME} or ${NAME:-default}, and $$ for a dollar"));
    }
    match (variables.get(name), default) {
        // As in a shell: with `:-` an empty variable counts as unset.
        (Some(value), None) => Ok(value.clone()),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value.clone()),
        (_, Some(_)) if depth == DEPTH_MAX => {
            Err(Wrong::new("more than 8 defaults stand inside each other").hint("write fewer"))
        }
        (_, Some(default)) => expand_to(default, variables, depth + 1),
        (None, None) => Err(Wrong::new(format!("environment variable {name} is not set")).hint(
            format!("set it, or write ${{{name}:-default}}, or $${{{name}}} for the text itself"),
        )),
    }
}

fn unclosed() -> Wrong {
    Wrong::new("'${' has no '}'").hint("close it, or write $${ for the text itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        [("A", "one"), ("EMPTY", ""), ("N_2", "2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn variables_defaults_and_dollars_are_put_in() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${A}/${N_2}", "one/2"),
            ("$A costs $5", "$A costs $5"),
            ("$${A}", "${A}"),
            ("100$", "100$"),
            ("${B:-x y}", "x y"),
            ("${EMPTY}", ""),
            ("${EMPTY:-full}", "full"),
            ("${B:-}", ""),
            ("${B:-${C:-${A}}}!", "one!"),
            ("${B:-{json}", "{json"),
            ("ä${A}ö", "äoneö"),
        ] {
            assert_eq!(expand(text, &variables()).unwrap(), expanded, "{text}");
        }
    }

    #[test]
    fn what_names_nothing_is_an_error() {
        for text in ["${B}", "${", "${A", "${}", "${A-b}", "${2}", "${ A }", "${B:-${C}}"] {
            assert!(expand(text, &variables()).is_err(), "{text}");
        }
        let deep = format!("{}{}", "${B:-".repeat(100_000), "}".repeat(100_000));
        assert!(expand(&deep, &variables()).is_err());
    }
}
