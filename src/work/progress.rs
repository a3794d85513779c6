//! Reading progress, `n/m` a line, from fd 3.

/// Longest line that can be progress; the rest of a longer one is passed over.
const LINE_LEN_MAX: usize = 64;

/// Cuts what comes through fd 3 into lines.
#[derive(Debug, Default)]
pub(super) struct ProgressReader {
    line: Vec<u8>,
}

/// The last progress of some bytes, and the last line that was none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// How much of how much is done. Only the last: a program may write faster than a client wants
    /// to hear.
    pub(super) progress: Option<(u32, u32)>,
    pub(super) garbage: Option<String>,
}

impl ProgressReader {
    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Read {
        let mut read = Read::default();
        for byte in bytes {
            if *byte == b'\n' {
                read.take(&self.line);
                self.line.clear();
            } else if self.line.len() < LINE_LEN_MAX {
                self.line.push(*byte);
            }
        }
        read
    }

    /// The end: a last line may lack its newline.
    pub(super) fn finish(&mut self) -> Read {
        self.feed(b"\n")
    }
}

impl Read {
    fn take(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        match parse(line) {
            Some(progress) => self.progress = Some(progress),
            None if line.is_empty() => {}
            None => self.garbage = Some(line.escape_ascii().to_string()),
        }
    }
}

fn parse(line: &[u8]) -> Option<(u32, u32)> {
    let (done, all) = std::str::from_utf8(line).ok()?.split_once('/')?;
    Some((done.trim().parse().ok()?, all.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_pieces_and_only_the_last_counts() {
        let mut reader = ProgressReader::default();
        assert_eq!(reader.feed(b"1/1"), Read::default());
        assert_eq!(reader.feed(b"0\n2/10\n 3 / 10 \r\n4/1").progress, Some((3, 10)));
        assert_eq!(reader.finish().progress, Some((4, 1)));
        assert_eq!(reader.finish(), Read::default());
    }

    #[test]
    fn what_is_no_progress_is_told() {
        let mut reader = ProgressReader::default();
        for bad in ["half", "1/2/3", "-1/2", "1/", "99999999999/1", "50%"] {
            let read = reader.feed(format!("{bad}\n").as_bytes());
            assert_eq!(read, Read { progress: None, garbage: Some(bad.to_owned()) });
        }
        let endless = reader.feed(&vec![b'x'; 100_000]);
        assert_eq!(endless, Read::default());
        assert_eq!(reader.finish().garbage, Some("x".repeat(LINE_LEN_MAX)));
    }
}
