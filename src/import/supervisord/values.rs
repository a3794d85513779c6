//! Values as supervisord reads them (datatypes.py), and as our file writes them.

/// A word for yes or no.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// A number of bytes; KB, MB and GB are powers of 1024.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match upper.get(digits.len()..) {
        Some("") => Some(1),
        Some("KB") => Some(1 << 10),
        Some("MB") => Some(1 << 20),
        Some("GB") => Some(1 << 30),
        Some(_) | None => None,
    };
    let number: Option<u64> = digits.trim().parse().ok();
    let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("'{text}' is not a size"))
}

/// A number of bytes with the largest unit that leaves it whole.
pub(super) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &&(u32, &str)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(fits) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// `A="x",B=y`; of two with one name the last counts.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let wrong = || format!("'{rest}' is not KEY=\"VALUE\"");
        let (name, after) = rest.split_once('=').ok_or_else(wrong)?;
        let name = name.trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "\"',".contains(c)) {
            return Err(wrong());
        }
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = if let Some(quote) = quote {
            let inside = after.get(1..).unwrap_or_default();
            let (value, after) = inside.split_once(quote).ok_or_else(wrong)?;
            (value, after.trim_start())
        } else {
            let end = after.find([',', '\n']).unwrap_or(after.len());
            let (value, after) = after.split_at(end);
            (value.trim(), after)
        };
        found.retain(|(other, _): &(String, String)| other != name);
        found.push((name.to_owned(), value.to_owned()));
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_pairs_with_and_without_quotes() {
        let found = pairs("A=0,A=\"x, y=z\",B=1 ,\nC='q',D=/a:b,").unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, [("A", "x, y=z"), ("B", "1"), ("C", "q"), ("D", "/a:b")]);
        for wrong in ["A", "A=\"x", "A=1,B", "A=\"x\"\",B=2"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, written) in [("50MB", "50MiB"), ("1kb", "1KiB"), ("1500", "1500B")] {
            assert_eq!(size(bytes(text).unwrap()), written);
        }
        assert!(bytes("5XB").is_err() && bytes("MB").is_err());
    }
}
