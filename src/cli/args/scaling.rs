//! What can be asked about the counts of workers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// A pool
    #[arg(required_unless_present = "record")]
    pub(in crate::cli) name: Option<String>,
    /// Go on with every change of its count until Ctrl-C
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    /// Record when jobs come and how long they take into a file, for simulate
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "json", "follow"])]
    pub(in crate::cli) record: Option<PathBuf>,
    /// Record for this long only
    #[arg(long = "for", value_parser = humantime::parse_duration, value_name = "TIME")]
    #[arg(requires = "record")]
    pub(in crate::cli) limit: Option<Duration>,
    /// Print the API's JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArgs {
    /// What explain --record has written
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) trace: PathBuf,
    /// Chooses by how much starts of workers vary
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(in crate::cli) seed: u64,
    /// Draw queues, workers and waits into this file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) svg: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
