//! The shapes of lines in a log file, written and read back.
//!
//! text: `2026-11-24T04:10:00.123+01:00 slow:2 out| text`; `out>` in place of `out|` says that the
//! line goes on in a later record of the same worker and stream, and `out+` that it belongs to the line
//! before it. json: an object a line with `time`, `worker`, `pid`, `stream`, `text` (or `base64` when
//! it is no UTF-8), `"part":true` where the line goes on, and `"continues":true`. raw: the bytes as they came, without marks; it cannot be read back.

use std::borrow::Cow;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::chunk::{Chunk, lines};
use super::handle::{LogLine, LogStream};
use super::stamp::{self, Stamp};
use crate::config::LogFormat;
use crate::model::WorkerName;

/// What all lines of a chunk have in common, as JSON.
#[derive(Debug, Serialize)]
struct JsonHead<'a> {
    time: &'a str,
    worker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    stream: &'a str,
}

/// One line as JSON, read back.
#[derive(Debug, Deserialize)]
struct JsonRecord<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    worker: Cow<'a, str>,
    stream: Cow<'a, str>,
    text: Option<Cow<'a, str>>,
    base64: Option<Cow<'a, str>>,
    #[serde(default)]
    part: bool,
    #[serde(default)]
    continues: bool,
}

/// The head of a line in a file: enough to know whether somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    /// When it was read.
    pub(super) at: SystemTime,
    /// Who wrote it.
    pub(super) worker: WorkerName,
}

/// Appends a chunk in `format` to `out`.
pub(super) fn render(out: &mut Vec<u8>, stamp: &mut Stamp, chunk: &Chunk<'_>, format: LogFormat) {
    match format {
        LogFormat::Raw if chunk.stream == LogStream::Mark => {}
        LogFormat::Raw => out.extend_from_slice(chunk.bytes),
        LogFormat::Text => render_text(out, stamp.render(chunk.at), chunk),
        LogFormat::Json => render_json(out, stamp.render(chunk.at), chunk),
    }
}

/// Reads a line of a file without its end; `None` when it is no record.
pub(super) fn parse(line: &[u8]) -> Option<LogLine> {
    if line.first() == Some(&b'{') { parse_json(line) } else { parse_text(line) }
}

/// Reads the head of a line of a file.
pub(super) fn parse_head(line: &[u8]) -> Option<RecordHead> {
    if line.first() == Some(&b'{') {
        let record: JsonRecord<'_> = serde_json::from_slice(line).ok()?;
        return Some(RecordHead {
            at: stamp::parse(&record.time)?,
            worker: record.worker.parse().ok()?,
        });
    }
    let (time, worker, _) = split_text(line)?;
    Some(RecordHead { at: stamp::parse(time)?, worker: worker.parse().ok()? })
}

fn render_text(out: &mut Vec<u8>, time: &str, chunk: &Chunk<'_>) {
    let prefix = |sign: &str| format!("{time} {} {}{sign} ", chunk.worker, word(chunk.stream));
    let (first, going_on) = (prefix(if chunk.part { ">" } else { "|" }), prefix("+"));
    let mut rest = chunk.bytes;
    while !rest.is_empty() {
        // With its end, so that most of the work, which is to copy, is done in two pieces.
        let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, tail) = rest.split_at(end);
        let continues = !chunk.part && chunk.continues(line.strip_suffix(b"\n").unwrap_or(line));
        out.extend_from_slice(if continues { &going_on } else { &first }.as_bytes());
        out.extend_from_slice(line);
        rest = tail;
    }
    if chunk.bytes.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
}

/// The head of the object, the same for all lines of a chunk, is rendered once.
fn render_json(out: &mut Vec<u8>, time: &str, chunk: &Chunk<'_>) {
    let head = JsonHead {
        time,
        worker: chunk.worker.to_string(),
        pid: chunk.pid,
        stream: chunk.stream.as_str(),
    };
    let mut prefix = Vec::new();
    append_json(&mut prefix, &head);
    prefix.pop();
    for line in lines(chunk.bytes) {
        out.extend_from_slice(&prefix);
        if let Ok(text) = std::str::from_utf8(line) {
            out.extend_from_slice(b",\"text\":");
            append_json(out, &text);
        } else {
            out.extend_from_slice(b",\"base64\":");
            append_json(out, &STANDARD.encode(line));
        }
        out.extend_from_slice(if chunk.part { b",\"part\":true" } else { b"" });
        out.extend_from_slice(if chunk.continues(line) {
            b",\"continues\":true}\n"
        } else {
            b"}\n"
        });
    }
}

/// Memory takes every byte, and neither strings nor heads hold anything that JSON cannot say.
fn append_json(out: &mut Vec<u8>, value: &impl Serialize) {
    let begin = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(begin);
    }
}

fn parse_json(line: &[u8]) -> Option<LogLine> {
    let record: JsonRecord<'_> = serde_json::from_slice(line).ok()?;
    let text = match (record.text, record.base64) {
        (Some(text), _) => Bytes::from(text.into_owned()),
        (None, Some(base64)) => STANDARD.decode(base64.as_bytes()).ok()?.into(),
        (None, None) => return None,
    };
    let streams = [LogStream::Stdout, LogStream::Stderr, LogStream::Mark];
    Some(LogLine {
        at: stamp::parse(&record.time)?,
        worker: record.worker.parse().ok()?,
        stream: streams.into_iter().find(|stream| stream.as_str() == record.stream)?,
        text,
        part: record.part,
        continues: record.continues,
    })
}

fn parse_text(line: &[u8]) -> Option<LogLine> {
    let (time, worker, rest) = split_text(line)?;
    let end = memchr(b' ', rest)?;
    let (label, text) = rest.split_at_checked(end)?;
    let (sign, stream) = label.split_last().filter(|(sign, _)| b"|>+".contains(sign))?;
    let streams = [LogStream::Stdout, LogStream::Stderr, LogStream::Mark];
    Some(LogLine {
        at: stamp::parse(time)?,
        worker: worker.parse().ok()?,
        stream: streams.into_iter().find(|known| word(*known).as_bytes() == stream)?,
        text: Bytes::copy_from_slice(text.get(1..)?),
        part: *sign == b'>',
        continues: *sign == b'+',
    })
}

/// Time, worker and the rest.
fn split_text(line: &[u8]) -> Option<(&str, &str, &[u8])> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let worker = std::str::from_utf8(parts.next()?).ok()?;
    Some((time, worker, parts.next()?))
}

/// The stream's word in text.
fn word(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "out",
        LogStream::Stderr => "err",
        LogStream::Mark => "mark",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;

    use super::super::records::RecordRule;
    use super::*;

    fn rendered(format: LogFormat, stream: LogStream, bytes: &[u8], part: bool) -> Vec<u8> {
        let worker = "slow:2".parse().unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_489_800_123);
        let chunk = Chunk { at, worker: &worker, pid: Some(812), stream, bytes, part, rule: None };
        let mut out = Vec::new();
        render(&mut out, &mut Stamp::new(TimeZone::UTC), &chunk, format);
        out
    }

    #[test]
    fn records_look_as_documented() {
        let cases = [
            (LogFormat::Text, "2026-11-24T03:10:00.123+00:00 slow:2 err| hi\n"),
            (
                LogFormat::Json,
                "{\"time\":\"2026-11-24T03:10:00.123+00:00\",\"worker\":\"slow:2\",\"pid\":812,\
                 \"stream\":\"stderr\",\"text\":\"hi\"}\n",
            ),
            (LogFormat::Raw, "hi\n"),
        ];
        for (format, expected) in cases {
            let out = rendered(format, LogStream::Stderr, b"hi\n", false);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        assert_eq!(rendered(LogFormat::Raw, LogStream::Mark, b"started\n", false), b"");
    }

    #[test]
    fn every_line_reads_back_byte_for_byte() {
        let texts: [&[u8]; 6] =
            [b"", b" spaced | out> ", b"\x1b[1m", b"\xff\xfe\0", b"{\"a\":1}", b"a\r"];
        for format in [LogFormat::Text, LogFormat::Json] {
            for stream in [LogStream::Stdout, LogStream::Stderr, LogStream::Mark] {
                for (text, part) in texts.iter().flat_map(|t| [(t, false), (t, true)]) {
                    let bytes = if part && !text.is_empty() {
                        text.to_vec()
                    } else {
                        [*text, b"\n"].concat()
                    };
                    let out = rendered(format, stream, &bytes, part);
                    let record = out.strip_suffix(b"\n").unwrap();
                    let line = parse(record).unwrap();
                    assert_eq!((&line.text[..], line.stream, line.part), (*text, stream, part));
                    let head = parse_head(record).unwrap();
                    assert_eq!((head.at, head.worker), (line.at, line.worker));
                }
            }
        }
    }

    #[test]
    fn lines_that_belong_to_the_one_before_say_so() {
        let worker = "slow:2".parse().unwrap();
        let chunk = Chunk {
            at: SystemTime::UNIX_EPOCH,
            worker: &worker,
            pid: None,
            stream: LogStream::Stderr,
            bytes: b"Error\n  at x\n",
            part: false,
            rule: Some(&RecordRule::Indented),
        };
        for format in [LogFormat::Text, LogFormat::Json] {
            let mut out = Vec::new();
            render(&mut out, &mut Stamp::new(TimeZone::UTC), &chunk, format);
            let found: Vec<_> = lines(&out).map(|line| parse(line).unwrap().continues).collect();
            assert_eq!(found, [false, true], "{}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        for bad in ["", "x", "{", "2026-11-24T03:10:00.123+00:00 slow:2", "now slow:2 out| x", "{}"]
        {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
