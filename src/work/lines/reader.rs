//! A program's stdout, line by line.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::work::child::left_in;

/// Bytes read at a time: what a pipe holds.
const READ_LEN: usize = 64 << 10;

/// Cuts a program's stdout into lines.
#[derive(Debug)]
pub(super) struct LineReader {
    /// `None` once everything was read.
    pipe: Option<Receiver>,
    buffer: BytesMut,
    line_len_max: usize,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineRead {
    /// A line without its end.
    Line(Bytes),
    /// More than a line may have, and no end.
    TooLong,
    /// Nothing more comes.
    End,
}

impl LineReader {
    pub(super) fn new(pipe: Receiver, line_len_max: usize) -> Self {
        Self { pipe: Some(pipe), buffer: BytesMut::new(), line_len_max, searched: 0 }
    }

    /// The next line. May be dropped at any time.
    pub(super) async fn next(&mut self) -> io::Result<LineRead> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(LineRead::Line(line));
            }
            if self.buffer.len() > self.line_len_max {
                return Ok(LineRead::TooLong);
            }
            let Some(pipe) = &mut self.pipe else { return Ok(LineRead::End) };
            self.buffer.reserve(READ_LEN);
            if pipe.read_buf(&mut self.buffer).await? == 0 {
                self.pipe = None;
            }
        }
    }

    /// Takes what is left when nothing more can come.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(pipe) = self.pipe.take() {
            self.buffer.unsplit(left_in(pipe)?);
        }
        Ok(())
    }

    fn cut(&mut self) -> Option<Bytes> {
        let unsearched = self.buffer.get(self.searched..)?;
        let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at);
        self.buffer.advance(1);
        self.searched = 0;
        Some(line.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(text: &'static str) -> LineRead {
        LineRead::Line(text.into())
    }

    fn pair(line_len_max: usize) -> (io::PipeWriter, LineReader) {
        let (reader, writer) = io::pipe().unwrap();
        (writer, LineReader::new(Receiver::from_owned_fd(reader.into()).unwrap(), line_len_max))
    }

    #[tokio::test]
    async fn lines_may_come_in_pieces_and_several_at_once() {
        let (mut writer, mut reader) = pair(100);
        writer.write_all(b"one\n\ntw").unwrap();
        assert_eq!(reader.next().await.unwrap(), line("one"));
        assert_eq!(reader.next().await.unwrap(), line(""));
        tokio::select! {
            biased;
            read = reader.next() => panic!("{read:?}"),
            () = std::future::ready(()) => {}
        }
        writer.write_all(b"o\nhalf").unwrap();
        drop(writer);
        assert_eq!(reader.next().await.unwrap(), line("two"));
        assert_eq!(reader.next().await.unwrap(), LineRead::End);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_given_up() {
        let (mut writer, mut reader) = pair(100);
        writer.write_all(&[b'x'; 101]).unwrap();
        assert_eq!(reader.next().await.unwrap(), LineRead::TooLong);
    }

    #[tokio::test]
    async fn what_is_left_is_read_although_the_pipe_stays_open() {
        let (mut writer, mut reader) = pair(100);
        writer.write_all(b"last\n").unwrap();
        reader.finish().unwrap();
        assert_eq!(reader.next().await.unwrap(), line("last"));
        assert_eq!(reader.next().await.unwrap(), LineRead::End);
        drop(writer);
    }
}
