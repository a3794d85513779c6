//! Bytes that come in pieces, as text.

/// Decodes UTF-8; what is none becomes U+FFFD, and a character that was cut waits for its rest.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a character: at most three bytes.
    held: Vec<u8>,
}

impl Decoder {
    /// Appends what `bytes` complete to `text`.
    pub(super) fn decode(&mut self, bytes: &[u8], text: &mut String) {
        let joined;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.held).as_slice(), bytes].concat();
            &joined
        };
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            if chunk.invalid().is_empty() {
                continue;
            }
            if chunks.peek().is_none() && is_cut(chunk.invalid()) {
                self.held = chunk.invalid().to_vec();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
}

/// Whether more bytes could make a character of these.
fn is_cut(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_however_it_is_cut() {
        let whole = "aä€😀\u{1b}[1m".as_bytes();
        let odd = [whole, b"\xff|\xe2\x82|", whole].concat();
        for size in 1..=odd.len() {
            let (mut decoder, mut text) = (Decoder::default(), String::new());
            for piece in odd.chunks(size) {
                decoder.decode(piece, &mut text);
            }
            assert_eq!(text, String::from_utf8_lossy(&odd), "cut by {size}");
        }
    }
}
