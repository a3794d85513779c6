//! The key that leaves a terminal, and that types itself when it is pressed twice.
//!
//! What is pressed after it within a moment tells which is meant; the operator waits for no more.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A letter or a sign with the control key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct DetachKey(char);

/// A second press within this is for the program.
pub(super) const TWICE_WITHIN: Duration = Duration::from_millis(300);

/// Enter and Escape: nothing could be typed without them.
const NEEDED: [char; 3] = ['j', 'm', '['];

/// What is typed, with an eye on the key.
#[derive(Debug)]
pub(super) struct Watched {
    key: DetachKey,
    /// False when nothing is typed anyway, so that one press says all.
    types: bool,
    is_pressed: bool,
}

/// Where the operator is after what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// At the terminal.
    On,
    /// On the way out, unless the key is pressed again within [`TWICE_WITHIN`].
    Pressed,
    /// Gone.
    Over,
}

impl Watched {
    pub(super) fn new(key: DetachKey, types: bool) -> Self {
        Self { key, types, is_pressed: false }
    }

    /// Takes what is typed; appends to `out` what is for the program. What follows a single press is
    /// for nobody.
    pub(super) fn take(&mut self, mut keys: &[u8], out: &mut Vec<u8>) -> Stay {
        while !keys.is_empty() {
            let Some((before, pressed, rest)) = self.key.find(keys) else {
                if self.is_pressed {
                    return Stay::Over;
                }
                out.extend_from_slice(keys);
                return Stay::On;
            };
            if !self.types {
                return Stay::Over;
            }
            if self.is_pressed {
                if !before.is_empty() {
                    return Stay::Over;
                }
                out.extend_from_slice(pressed);
            }
            out.extend_from_slice(before);
            self.is_pressed = !self.is_pressed;
            keys = rest;
        }
        if self.is_pressed { Stay::Pressed } else { Stay::On }
    }
}

impl DetachKey {
    /// What stands before the key, what the key sent, and what comes after it.
    fn find(self, keys: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
        // A program may have asked the terminal to send such keys in one of the newer ways, as vim
        // does (xterm's modifyOtherKeys, and the protocol of kitty).
        let code = u32::from(self.0);
        let byte = [self.byte()];
        let (xterm, kitty) = (format!("\x1b[27;5;{code}~"), format!("\x1b[{code};5u"));
        let ways = [&byte[..], xterm.as_bytes(), kitty.as_bytes()];
        let place = |way: &[u8]| keys.windows(way.len()).position(|window| window == way);
        let placed = ways.into_iter().filter_map(|way| Some((place(way)?, way.len())));
        let (at, len) = placed.min()?;
        let (before, found) = keys.split_at(at);
        let (pressed, rest) = found.split_at(len);
        Some((before, pressed, rest))
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
            (b"ls\x1d", Some(b"ls")),
            (b"a\x1b[93;5u", Some(b"a")),
            (b"\x1b[27;5;93~", Some(b"")),
            (b"]", None),
            (b"\x1b[93u", None),
        ] {
            let found = key.find(keys).map(|(before, ..)| before);
            assert_eq!(found, before, "{keys:?}");
        }
        assert!("^Q".parse::<DetachKey>().unwrap().find(b"x\x11").is_some());
    }

    #[test]
    fn a_second_press_types_the_key_and_anything_else_leaves() {
        type Pieces = &'static [&'static [u8]];
        let cases: [(Pieces, &[u8], Stay); 8] = [
            (&[b"ls"], b"ls", Stay::On),
            (&[b"ls\x1d"], b"ls", Stay::Pressed),
            (&[b"a\x1d\x1db"], b"a\x1db", Stay::On),
            (&[b"a\x1d", b"\x1d", b"b"], b"a\x1db", Stay::On),
            (&[b"\x1d\x1d\x1d"], b"\x1d", Stay::Pressed),
            (&[b"a\x1d", b"b\x1d"], b"a", Stay::Over),
            (&[b"a\x1db"], b"a", Stay::Over),
            (&[b"\x1b[93;5u", b"\x1b[93;5u"], b"\x1b[93;5u", Stay::On),
        ];
        for (pieces, for_program, expected) in cases {
            let (mut watched, mut out) = (Watched::new("^]".parse().unwrap(), true), Vec::new());
            let stays: Vec<_> = pieces.iter().map(|keys| watched.take(keys, &mut out)).collect();
            assert_eq!((stays.last(), &out[..]), (Some(&expected), for_program), "{pieces:?}");
        }
    }

    #[test]
    fn whoever_only_looks_leaves_with_the_first_press() {
        let (mut watched, mut out) = (Watched::new("^]".parse().unwrap(), false), Vec::new());
        assert_eq!(watched.take(b"q", &mut out), Stay::On);
        assert_eq!(watched.take(b"\x1d", &mut out), Stay::Over);
    }

    #[test]
    fn a_key_that_is_needed_or_none_is_refused() {
        for bad in ["]", "ctrl-", "ctrl-[", "ctrl-m", "^J", "alt-x", "ctrl-ab", "ctrl-1", ""] {
            assert!(bad.parse::<DetachKey>().is_err(), "{bad}");
        }
    }
}
