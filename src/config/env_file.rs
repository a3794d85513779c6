//! Files of `KEY=VALUE` lines, as docker, systemd and shells write them.

use super::wrong::{Parsed, Wrong};

/// A mistake, with its line from 1.
pub(super) type WrongLine = (usize, Wrong);

/// The variables of a file, or its mistakes.
///
/// `export` in front, blank lines and `#` comments are taken; `'…'` is literal, `"…"` knows `\n`,
/// `\t`, `\"`, `\\` and `\$`. Nothing is put in for `$VAR`.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, Vec<WrongLine>> {
    let mut variables = Vec::new();
    let mut wrongs = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match assignment(line.trim()) {
            Ok(Some(variable)) => variables.push(variable),
            Ok(None) => {}
            Err(wrong) => wrongs.push((number, wrong)),
        }
    }
    if wrongs.is_empty() { Ok(variables) } else { Err(wrongs) }
}

/// True for what can name a variable; the kernel forbids no more than this.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !name.contains(char::is_whitespace)
}

fn assignment(line: &str) -> Parsed<Option<(String, String)>> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let assigned = line.split_once('=').map(|(name, value)| (name.trim_end(), value.trim_start()));
    let Some((name, text)) = assigned.filter(|(name, _)| is_name(name)) else {
        return Err(Wrong::new("not a variable").hint("write KEY=VALUE"));
    };
    let value = match text.strip_prefix('\'') {
        Some(quoted) => single_quoted(quoted)?,
        None => match text.strip_prefix('"') {
            Some(quoted) => double_quoted(quoted)?,
            None => plain(text).to_owned(),
        },
    };
    Ok(Some((name.to_owned(), without_nul(value)?)))
}

/// The value of a variable, which the kernel ends at a NUL.
pub(super) fn without_nul(value: String) -> Parsed<String> {
    if value.contains('\0') {
        return Err(Wrong::new("a variable cannot hold a NUL").hint("remove it"));
    }
    Ok(value)
}

fn single_quoted(text: &str) -> Parsed<String> {
    let (value, rest) = text.split_once('\'').ok_or_else(unclosed)?;
    nothing_more(rest).map(|()| value.to_owned())
}

fn double_quoted(text: &str) -> Parsed<String> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next().ok_or_else(unclosed)? {
            '"' => break nothing_more(rest.as_str()).map(|()| value),
            '\\' => match rest.next().ok_or_else(unclosed)? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
}

/// A value without quotes ends at its line or at a comment.
fn plain(text: &str) -> &str {
    let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
    let end = if text.starts_with('#') { 0 } else { end };
    text.get(..end).unwrap_or(text).trim_end()
}

fn nothing_more(rest: &str) -> Parsed<()> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        return Ok(());
    }
    Err(Wrong::new(format!("'{rest}' stands behind the closing quote"))
        .hint("put it inside, or write # before a comment"))
}

fn unclosed() -> Wrong {
    Wrong::new("a quote is not closed on its line").hint("close it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_common_make_are_read() {
        for (line, name, value) in [
            ("A=b", "A", "b"),
            ("export A=b c ", "A", "b c"),
            ("  A = b # no", "A", "b"),
            ("A=b#c", "A", "b#c"),
            ("A=", "A", ""),
            ("A= # nothing", "A", ""),
            ("A='b # \"c\" \\n'", "A", "b # \"c\" \\n"),
            ("A=\"b\\n\\\"c\\\" \\$x \\d\" # d", "A", "b\n\"c\" $x \\d"),
            ("a.b-c=x=y", "a.b-c", "x=y"),
            ("A=ä\r", "A", "ä"),
        ] {
            let variable = (name.to_owned(), value.to_owned());
            assert_eq!(parse(line).unwrap(), [variable], "{line}");
        }
        assert_eq!(parse("\n# only\n\n  # comments").unwrap(), []);
    }

    #[test]
    fn every_bad_line_is_named() {
        let text = "A=b\nnonsense\n=x\nB='open\nC=\"x\" y\nD E=f\n";
        let lines: Vec<_> = parse(text).unwrap_err().into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6]);
    }
}
