//! `attach` and `logs`: workers' output, recent and to come.

use std::io::Write;

use regex::bytes::Regex;

use super::args::{AttachArgs, LogsArgs};
use super::exit::{CliError, Exit};
use super::interrupt::Interrupt;
use super::lines::{Line, LineStyle, text_of};
use super::output::{self, Screen};
use super::terminal;
use crate::control::api::LogRecord;
use crate::control::client::{ControlClient, LogQuery, LogReader};

/// Recent lines that `logs` shows.
const LINES_SHOWN: usize = 100;
/// All that are kept, in files too.
const LINES_ALL: usize = usize::MAX;

/// What is shown of a stream.
#[derive(Debug)]
struct Show {
    style: LineStyle,
    grep: Option<Regex>,
    json: bool,
}

/// Recent lines, then new ones until Ctrl-C, or one worker's terminal; without `-i` the worker does
/// not notice.
pub(super) async fn attach(
    client: &ControlClient,
    screen: &mut Screen,
    args: AttachArgs,
) -> Result<Exit, CliError> {
    if terminal::is_wanted(&args, screen)
        && let Some(exit) = terminal::attach(client, screen, &args).await?
    {
        return Ok(exit);
    }
    let style = LineStyle::for_names(&args.names, screen.colours());
    let query = LogQuery { names: args.names, lines: args.lines, since: None, follow: true };
    let show = Show { style, grep: None, json: args.json };
    run(client, screen, &query, &show).await
}

/// Recent lines, and new ones with `-f`.
pub(super) async fn logs(
    client: &ControlClient,
    screen: &mut Screen,
    args: LogsArgs,
) -> Result<Exit, CliError> {
    let style = LineStyle::for_names(&args.names, screen.colours());
    let is_search = args.since.is_some() || args.grep.is_some();
    let lines = args.lines.unwrap_or(if is_search { LINES_ALL } else { LINES_SHOWN });
    let query = LogQuery { names: args.names, lines, since: args.since, follow: args.follow };
    let show = Show { style, grep: args.grep, json: args.json };
    run(client, screen, &query, &show).await
}

async fn run(
    client: &ControlClient,
    screen: &mut Screen,
    query: &LogQuery,
    show: &Show,
) -> Result<Exit, CliError> {
    let mut interrupt = Interrupt::listen()?;
    let mut reader = client.logs(query).await?;
    tokio::select! {
        ended = copy(&mut reader, screen, show) => ended?,
        () = interrupt.wait() => {
            screen.flush()?;
            return Ok(Exit::Done);
        }
    }
    if query.follow {
        output::remark("-- the daemon has ended --");
    }
    Ok(Exit::Done)
}

async fn copy(reader: &mut LogReader, screen: &mut Screen, show: &Show) -> Result<(), CliError> {
    while let Some(batch) = reader.next_batch().await? {
        for record in &batch {
            show.record(record, screen)?;
        }
        screen.flush()?;
    }
    Ok(())
}

impl Show {
    fn record(&self, record: &LogRecord, screen: &mut Screen) -> Result<(), CliError> {
        if !self.is_wanted(record) {
            return Ok(());
        }
        if self.json {
            let line = serde_json::to_vec(record).map_err(std::io::Error::from)?;
            screen.writer().write_all(&line)?;
            screen.writer().write_all(b"\n")?;
            return Ok(());
        }
        match self.style.render(record) {
            Line::Output(line) => screen.writer().write_all(&line)?,
            Line::Remark(remark) => {
                // What came before it goes first, since the two streams may be one terminal.
                screen.flush()?;
                output::remark(&remark);
            }
        }
        Ok(())
    }

    /// Lines that were missed are told even to those who look for something: it may have been there.
    fn is_wanted(&self, record: &LogRecord) -> bool {
        match (&self.grep, record) {
            (Some(grep), LogRecord::Line { .. }) => grep.is_match(&text_of(record)),
            (_, _) => true,
        }
    }
}
