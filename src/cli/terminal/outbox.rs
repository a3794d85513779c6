//! What was typed on its way to the daemon: one request at a time, so that its order is kept.

use std::pin::Pin;

use crate::control::client::{ClientError, ControlClient};
use crate::terminal::TerminalSize;

/// Bytes above which the keyboard is not read.
const KEYS_LEN_MAX: usize = 64 * 1024;

type Delivery = Pin<Box<dyn Future<Output = Result<(), ClientError>>>>;

/// Keys and sizes that are not delivered yet.
pub(super) struct Outbox {
    client: ControlClient,
    worker: String,
    /// `None`: we only look, and what is typed is for nobody.
    keyboard: Option<u64>,
    keys: Vec<u8>,
    size: Option<TerminalSize>,
    under_way: Option<Delivery>,
}

impl Outbox {
    pub(super) fn new(client: ControlClient, worker: String) -> Self {
        Self { client, worker, keyboard: None, keys: Vec::new(), size: None, under_way: None }
    }

    pub(super) fn take_keyboard(&mut self, id: u64) {
        self.keyboard = Some(id);
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
            if self.under_way.is_none() {
                self.under_way = self.next_delivery();
            }
            let Some(delivery) = &mut self.under_way else { return std::future::pending().await };
            let delivered = delivery.await;
            self.under_way = None;
            match delivered {
                Ok(()) => {}
                Err(ClientError::Refused(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn next_delivery(&mut self) -> Option<Delivery> {
        let keyboard = self.keyboard?;
        let (client, worker) = (self.client.clone(), self.worker.clone());
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
