//! Looking at a worker's terminal, and typing into it.

use hyper::Method;

use super::wire::{Call, escape};
use super::{ClientError, ControlClient, RecordReader};
use crate::control::api::{Done, SizeRequest, TerminalRecord};
use crate::terminal::TerminalSize;

/// A terminal that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalQuery {
    /// A worker, or something that means one.
    pub name: String,
    /// To type, too.
    pub keyboard: Option<KeyboardQuery>,
}

/// How the keyboard is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyboardQuery {
    /// Also from somebody who has it.
    pub steal: bool,
    /// The size of our terminal.
    pub size: TerminalSize,
}

impl ControlClient {
    /// What happens on a worker's terminal, its screen first.
    ///
    /// # Errors
    /// When nobody answers, no such worker has a terminal, or somebody else has the keyboard.
    pub async fn terminal(
        &self,
        query: &TerminalQuery,
    ) -> Result<RecordReader<TerminalRecord>, ClientError> {
        let keyboard = query.keyboard.map(|KeyboardQuery { steal, size }| {
            let (columns, rows) = (size.columns(), size.rows());
            format!("?keyboard=true&steal={steal}&columns={columns}&rows={rows}")
        });
        let name = escape(&query.name);
        let route = format!("/v1/terminal/{name}{}", keyboard.unwrap_or_default());
        let body = self.open(Call::new(Method::GET, route)).await?;
        Ok(RecordReader::new(self.path.clone(), body))
    }

    /// Types into the terminal whose keyboard was given to us.
    ///
    /// # Errors
    /// When nobody answers, the keyboard is no longer ours, or the worker does not read.
    pub async fn type_keys(
        &self,
        worker: &str,
        keyboard: u64,
        keys: Vec<u8>,
    ) -> Result<(), ClientError> {
        let route = format!("/v1/terminal/{}/keys?keyboard={keyboard}", escape(worker));
        let _: Done = self.ask(Call::bytes(route, keys)).await?;
        Ok(())
    }

    /// Has the terminal follow the size of ours.
    ///
    /// # Errors
    /// When nobody answers, or the keyboard is no longer ours.
    pub async fn resize_terminal(
        &self,
        worker: &str,
        keyboard: u64,
        size: TerminalSize,
    ) -> Result<(), ClientError> {
        let request = SizeRequest { keyboard, columns: size.columns(), rows: size.rows() };
        let call = Call::json(&request).map_err(|source| self.unreadable(source))?;
        let _: Done = self.ask(call.to(format!("/v1/terminal/{}/size", escape(worker)))).await?;
        Ok(())
    }
}
