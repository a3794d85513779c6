//! The key that leaves a terminal.

use std::fmt;
use std::str::FromStr;

/// A letter or a sign with the control key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct DetachKey(char);

/// Enter and Escape: nothing could be typed without them.
const NEEDED: [char; 3] = ['j', 'm', '['];

impl DetachKey {
    /// What stands before the key, and whether it is there.
    pub(super) fn find(self, keys: &[u8]) -> (&[u8], bool) {
        // A program may have asked the terminal to send such keys in one of the newer ways, as vim
        // does (xterm's modifyOtherKeys, and the protocol of kitty).
        let code = u32::from(self.0);
        let byte = [self.byte()];
        let (xterm, kitty) = (format!("\x1b[27;5;{code}~"), format!("\x1b[{code};5u"));
        let ways = [&byte[..], xterm.as_bytes(), kitty.as_bytes()];
        let place = |way: &[u8]| keys.windows(way.len()).position(|window| window == way);
        match ways.into_iter().filter_map(place).min() {
            Some(at) => (keys.get(..at).unwrap_or_default(), true),
            None => (keys, false),
        }
    }

    fn byte(self) -> u8 {
        u8::try_from(self.0.to_ascii_uppercase()).unwrap_or_default() & 0x1f
    }
}

/// `ctrl-]` or `^]`
impl FromStr for DetachKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let key = lower.strip_prefix("ctrl-").or_else(|| lower.strip_prefix('^'));
        let mut chars = key.unwrap_or_default().chars();
        match (chars.next(), chars.next()) {
            (Some(ch), None) if NEEDED.contains(&ch) => {
                Err(format!("{text} is Enter or Escape; write another one"))
            }
            (Some(ch @ ('a'..='z' | ']' | '\\' | '^' | '_' | '@')), None) => Ok(Self(ch)),
            _ => Err("write a letter or one of ]\\^_@ as in ctrl-]".to_owned()),
        }
    }
}

/// `Ctrl-]`
impl fmt::Display for DetachKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctrl-{}", self.0.to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_in_each_way_that_terminals_send_it() {
        let key: DetachKey = "ctrl-]".parse().unwrap();
        assert_eq!(key.to_string(), "Ctrl-]");
        for (keys, before) in [
            (&b"\x1d"[..], Some(&b""[..])),
            (b"ls\x1dx", Some(b"ls")),
            (b"a\x1b[93;5u", Some(b"a")),
            (b"\x1b[27;5;93~", Some(b"")),
            (b"]", None),
            (b"\x1b[93u", None),
        ] {
            let found = key.find(keys);
            assert_eq!(found, (before.unwrap_or(keys), before.is_some()), "{keys:?}");
        }
        assert_eq!("^Q".parse::<DetachKey>().unwrap().find(b"x\x11"), (&b"x"[..], true));
    }

    #[test]
    fn a_key_that_is_needed_or_none_is_refused() {
        for bad in ["]", "ctrl-", "ctrl-[", "ctrl-m", "^J", "alt-x", "ctrl-ab", "ctrl-1", ""] {
            assert!(bad.parse::<DetachKey>().is_err(), "{bad}");
        }
    }
}
