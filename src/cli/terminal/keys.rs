//! The keyboard, read on a thread of its own: a terminal that is read without waiting would have to
//! be made so for everybody who has it open, the shell too.

use std::io;

use tokio::sync::mpsc;

/// Pieces that wait at most; then the thread, and so the terminal, waits.
const PIECES_MAX: usize = 4;
/// Bytes that are read at once.
const PIECE_LEN: usize = 4096;

/// What is typed.
#[derive(Debug)]
pub(super) struct Keys {
    pieces: mpsc::Receiver<Vec<u8>>,
}

impl Keys {
    /// Reads standard input from now on. The thread ends with the process.
    pub(super) fn listen() -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let read = move || {
            let mut piece = [0; PIECE_LEN];
            loop {
                let len = match nix::unistd::read(io::stdin(), &mut piece) {
                    Ok(len) => len,
                    Err(nix::errno::Errno::EINTR) => continue,
                    Err(_) => 0,
                };
                let read = piece.get(..len).unwrap_or_default().to_vec();
                if sender.blocking_send(read).is_err() || len == 0 {
                    return;
                }
            }
        };
        if io::IsTerminal::is_terminal(&io::stdin()) {
            // Without a thread nothing can be typed, and signals still lead out.
            std::thread::Builder::new().name("keyboard".into()).spawn(read).ok();
        }
        Self { pieces }
    }

    /// What was typed next; empty when the terminal has gone. Waits for ever without a keyboard.
    pub(super) async fn next(&mut self) -> Vec<u8> {
        match self.pieces.recv().await {
            Some(keys) => keys,
            None => std::future::pending().await,
        }
    }
}
