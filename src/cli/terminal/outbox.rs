//! What was typed on its way to the daemon: one request at a time, so that its order is kept.

use std::pin::Pin;
use std::time::Duration;

use crate::cli::output;
use crate::control::client::{ClientError, ControlClient};
use crate::terminal::TerminalSize;

/// Bytes above which the keyboard is not read.
const KEYS_LEN_MAX: usize = 64 * 1024;

/// How long leaving may take.
const FAREWELL: Duration = Duration::from_secs(1);

type Delivery = Pin<Box<dyn Future<Output = Result<(), ClientError>>>>;

/// Keys and sizes that are not delivered yet.
pub(super) struct Outbox {
    client: ControlClient,
    /// Whose keyboard we have, and its number; `None`: what is typed is for nobody.
    keyboard: Option<(String, u64)>,
    keys: Vec<u8>,
    size: Option<TerminalSize>,
    under_way: Option<Delivery>,
}

impl Outbox {
    pub(super) fn new(client: ControlClient) -> Self {
        Self { client, keyboard: None, keys: Vec::new(), size: None, under_way: None }
    }

    pub(super) fn take_keyboard(&mut self, worker: &str, id: u64) {
        self.keyboard = Some((worker.to_owned(), id));
    }

    pub(super) fn has_room(&self) -> bool {
        self.keys.len() < KEYS_LEN_MAX
    }

    pub(super) fn type_keys(&mut self, keys: &[u8]) {
        if self.keyboard.is_some() {
            self.keys.extend_from_slice(keys);
        }
    }

    pub(super) fn resize(&mut self, size: TerminalSize) {
        self.size = Some(size);
    }

    /// Delivers what there is; returns when something was refused, and may be dropped at any time.
    ///
    /// # Errors
    /// When there is no daemon any more.
    pub(super) async fn deliver(&mut self) -> Result<(), ClientError> {
        loop {
            match self.deliver_next().await {
                None => std::future::pending().await,
                Some(Ok(())) => {}
                Some(Err(ClientError::Refused(_))) => return Ok(()),
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// Delivers what was typed before the operator left, as far as it can be.
    pub(super) async fn finish(&mut self) {
        let all = async { while let Some(Ok(())) = self.deliver_next().await {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            output::remark("-- what was typed last was not taken --");
        }
    }

    /// Makes one delivery; `None`: there is none to make.
    async fn deliver_next(&mut self) -> Option<Result<(), ClientError>> {
        if self.under_way.is_none() {
            self.under_way = self.next_delivery();
        }
        let delivered = self.under_way.as_mut()?.await;
        self.under_way = None;
        Some(delivered)
    }

    fn next_delivery(&mut self) -> Option<Delivery> {
        let (worker, keyboard) = self.keyboard.clone()?;
        let client = self.client.clone();
        if let Some(size) = self.size.take() {
            return Some(Box::pin(
                async move { client.resize_terminal(&worker, keyboard, size).await },
            ));
        }
        let keys = std::mem::take(&mut self.keys);
        (!keys.is_empty()).then(|| -> Delivery {
            Box::pin(async move { client.type_keys(&worker, keyboard, keys).await })
        })
    }
}
