//! Arguments with a shape of their own.

use std::str::FromStr;

use jiff::Timestamp;

/// `4` or `1..4`: at least and at most so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Bounds {
    pub(in crate::cli) min: u32,
    pub(in crate::cli) max: u32,
}

/// What a pool is scaled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Scale {
    /// Held at these bounds.
    Held(Bounds),
    /// As the file says.
    Auto,
}

impl FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |text: &str| text.parse().or(Err(format!("'{text}' is no number; write 4 or 1..4")));
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (min, max) = (number(min)?, number(max)?);
        if min > max {
            return Err(format!("{min} is above {max}; write {max}..{min}"));
        }
        Ok(Self { min, max })
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Held) }
    }
}

/// `10m` or an RFC 3339 time, as the API wants it: seconds, or the time.
pub(super) fn since(text: &str) -> Result<String, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(age.as_secs_f64().to_string());
    }
    match text.parse::<Timestamp>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("write an age such as 10m, or a time such as 2026-11-24T14:00:00Z".into()),
    }
}
