//! `[defaults]` and `[pool.NAME]`.
//!
//! First every key is read for itself, from the pool or else from the defaults; then what is left
//! out gets its value, and what does not go together is reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::accounts::{self, Person};
use super::command;
use super::deploys::Deploys;
use super::direct;
use super::env_file;
use super::files::Files;
use super::health::ReadyOn;
use super::limits::Limits;
use super::log::LogKey;
use super::min_at;
use super::order::Order;
use super::run::RunKeys;
use super::runner::Runner;
use super::scaling;
use super::settings::{
    Account, Count, PoolProtocol, PoolSettings, Program, ScalingSettings, ServersWay, StopStep,
};
use super::surroundings::Surroundings;
use super::table::Table;
use super::upkeep::Upkeep;
use super::value::Value;
use super::values::{self, one_of};
use super::wrong::{Parsed, Wrong};
use crate::model::PoolName;

/// Longest function name that gearmand takes, in bytes.
const FUNCTION_LEN_MAX: usize = 512;
const COUNT: Count = Count { min: 1, max: 1 };
const TERM_WAIT: Duration = Duration::from_secs(5);

/// What pools are read with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) surroundings: &'a Surroundings,
    pub(super) files: &'a Files<'a>,
    pub(super) log_dir: &'a Path,
    pub(super) way: ServersWay,
}

/// The keys of a pool; `None` for those left out.
#[derive(Debug)]
struct Keys {
    command: Option<Vec<String>>,
    runner: Runner,
    functions: Option<Vec<String>>,
    protocol: Option<PoolProtocol>,
    stream: Option<bool>,
    count: Option<Count>,
    scaling: ScalingSettings,
    user: Option<Person>,
    group: Option<u32>,
    directory: Option<PathBuf>,
    env: BTreeMap<String, String>,
    env_file: Option<PathBuf>,
    clean_env: Option<bool>,
    umask: Option<u32>,
    limits: Limits,
    tty: Option<bool>,
    stop: Option<Vec<StopStep>>,
    upkeep: Upkeep,
    order: Order,
    deploys: Deploys,
    log: Option<LogKey>,
}

impl<'a> Reader<'a> {
    /// Checks `[defaults]` for itself; pools look their keys up in the table.
    pub(super) fn check_defaults(self, table: &Table<'a>) {
        self.keys(table);
        let run = RunKeys::read(table);
        min_at::read(table, run.zone());
        table.finish();
    }

    /// Reads a pool. `None`: it lacks its command, which has been reported.
    pub(super) fn pool(self, name: &PoolName, table: &Table<'a>) -> Option<Arc<PoolSettings>> {
        let keys = self.keys(table);
        let run = RunKeys::read(table);
        let min_at = min_at::read(table, run.zone());
        table.finish();
        keys.runner.check(table);
        if table.get("command").is_none() && table.get("runner").is_none() {
            let wrong = Wrong::new("is missing").hint("write command = \"PROGRAM ARGUMENTS\"");
            table.wrong("command", wrong);
        }
        let kill = StopStep { signal: Signal::SIGKILL, wait: Duration::ZERO };
        let term = StopStep { signal: Signal::SIGTERM, wait: TERM_WAIT };
        let count = keys.count.unwrap_or(COUNT);
        let has_jobs =
            keys.functions.as_ref().is_some_and(|it| !it.is_empty()) || keys.runner.is_set();
        let protocol = keys.protocol.unwrap_or_else(|| run.usual_protocol(has_jobs));
        let usual_stop = match self.way {
            ServersWay::Direct if protocol != PoolProtocol::None => {
                direct::check(table, count, &keys.upkeep);
                direct::stop()
            }
            ServersWay::Direct | ServersWay::Forward => vec![term, kill],
        };
        let stop = keys.stop.clone().unwrap_or(usual_stop);
        let (scaling, upkeep, order) = (keys.scaling, keys.upkeep.clone(), keys.order.clone());
        let deploys = keys.deploys.clone();
        let log = keys.log.clone().unwrap_or_default().of_pool(name, self.log_dir);
        let program = self.program(name, table, keys, protocol)?;
        let run = run.settings(table, program.protocol, &program.functions, count);
        Some(Arc::new(PoolSettings {
            name: name.clone(),
            count,
            min_at: min_at::checked(min_at, table, count),
            scaling,
            stop,
            upkeep: Upkeep { restart: run.restart(table, upkeep.restart), ..upkeep },
            run,
            order,
            deploys,
            log,
            program,
        }))
    }

    fn keys(self, table: &Table<'a>) -> Keys {
        Keys {
            command: table.read("command", command),
            runner: Runner::read(table),
            functions: table.read("functions", functions),
            protocol: table.read("protocol", protocol),
            stream: table.read("stream", Value::flag),
            count: table.read("count", count),
            scaling: scaling::pool(table),
            user: table
                .read("user", |v| v.scalar().and_then(|u| accounts::user(&u, self.surroundings))),
            group: table.read("group", |v| v.scalar().and_then(|group| accounts::group(&group))),
            directory: table.read("directory", Value::path),
            env: table.layers("env").iter().flat_map(env).collect(),
            env_file: table.read("env_file", Value::path),
            clean_env: table.read("clean_env", Value::flag),
            umask: table.read("umask", Value::mode),
            limits: Limits::read(table, &self.surroundings.powers),
            tty: table.read("tty", Value::flag),
            stop: table.read("stop", |v| v.each(values::stop_step).and_then(values::stop_steps)),
            upkeep: Upkeep::read(table),
            order: Order::read(table),
            deploys: Deploys::read(table),
            log: table.read("log", LogKey::read),
        }
    }

    fn program(
        self,
        name: &PoolName,
        table: &Table<'a>,
        keys: Keys,
        protocol: PoolProtocol,
    ) -> Option<Program> {
        let functions = keys.functions.unwrap_or_default();
        if keys.stream == Some(true) && protocol != PoolProtocol::Exec {
            let wrong = Wrong::new("only protocol = \"exec\" has a stream");
            table.wrong_at("stream", wrong.hint("remove it"));
        }
        let adapted = matches!(protocol, PoolProtocol::Exec | PoolProtocol::Lines);
        if adapted && keys.tty == Some(true) {
            let wrong =
                Wrong::new("the jobs of exec and lines are on the streams of their program");
            table.wrong_at("tty", wrong.hint("write tty = false, or another protocol"));
        }
        if protocol == PoolProtocol::None {
            check_plain(table, &functions, &keys.upkeep);
        }
        if protocol != PoolProtocol::Gearman && keys.runner.is_set() {
            let wrong = Wrong::new("a runner speaks Gearman itself");
            table.wrong_at("protocol", wrong.hint("remove one of the two"));
        }
        let account = self.account(table, keys.user.as_ref(), keys.group);
        let mut env = self.env_file(table, keys.env_file.as_deref(), account.as_ref());
        env.extend(keys.env);
        Some(Program {
            worker_files: keys.runner.files(&functions),
            command: keys.runner.command(keys.command, &functions)?,
            functions: if functions.is_empty() && adapted {
                vec![name.to_string()]
            } else {
                functions
            },
            protocol,
            stream: keys.stream.unwrap_or(false),
            account,
            login: keys.user.as_ref().and_then(|user| accounts::login(user, self.surroundings)),
            directory: keys.directory.unwrap_or_else(|| table.folder().to_owned()),
            env,
            clean_env: keys.clean_env.unwrap_or(false),
            umask: keys.umask,
            limits: keys.limits,
            tty: keys.tty.unwrap_or(false),
        })
    }

    /// Who it runs as. A user that is wrong has been reported, and is not also missing.
    fn account(
        self,
        table: &Table<'a>,
        user: Option<&Person>,
        group: Option<u32>,
    ) -> Option<Account> {
        if user.is_none() && table.get("user").is_some() {
            return None;
        }
        let lacks_user = user.is_none() && self.surroundings.is_root();
        let key = if lacks_user || group.is_none() { "user" } else { "group" };
        accounts::account(user, group, self.surroundings).unwrap_or_else(|wrong| {
            table.wrong_at(key, wrong);
            None
        })
    }

    fn env_file(
        self,
        table: &Table<'a>,
        path: Option<&Path>,
        account: Option<&Account>,
    ) -> BTreeMap<String, String> {
        let Some(path) = path else { return BTreeMap::new() };
        let user = account.map(|account| account.uid);
        self.files.variables(path, user, table.scope().report).unwrap_or_else(|wrong| {
            table.wrong_at("env_file", wrong);
            BTreeMap::new()
        })
    }
}

/// Refuses what is about jobs in the table of a plain program, in words of that table.
fn check_plain(table: &Table<'_>, functions: &[String], upkeep: &Upkeep) {
    let is_named = table.get("protocol").is_some();
    let (plain, other) = if is_named {
        ("protocol = \"none\"", "remove one of the two")
    } else {
        ("a program that runs to its end", "remove it")
    };
    if !functions.is_empty() {
        let wrong = Wrong::new(format!("{plain} serves no functions"));
        table.wrong_at("functions", wrong.hint(other));
    }
    if upkeep.ready.on == ReadyOn::Registered {
        let wrong = Wrong::new(format!("{plain} registers nothing"));
        table.wrong_at("ready", wrong.hint("wait for something else"));
    }
    Upkeep::check_jobless(table, plain);
}

fn command(value: &Value<'_>) -> Parsed<Vec<String>> {
    if value.is_array() {
        return command::checked(value.each(|word| Ok(word.to_owned()))?);
    }
    value.parse(command::split)
}

fn functions(value: &Value<'_>) -> Parsed<Vec<String>> {
    let mut seen = Vec::new();
    value.each(|name| {
        if name.is_empty() || name.len() > FUNCTION_LEN_MAX || name.contains(['\0', '\n']) {
            let wrong = Wrong::new(format!("'{name}' cannot name a function"));
            return Err(wrong.hint("write 1 to 512 bytes without a line end"));
        }
        if seen.iter().any(|other| other == name) {
            return Err(Wrong::new(format!("{name} is listed twice")).hint("remove one"));
        }
        seen.push(name.to_owned());
        Ok(name.to_owned())
    })
}

fn protocol(value: &Value<'_>) -> Parsed<PoolProtocol> {
    let choices = [
        ("gearman", PoolProtocol::Gearman),
        ("exec", PoolProtocol::Exec),
        ("lines", PoolProtocol::Lines),
        ("none", PoolProtocol::None),
    ];
    value.parse(|text| one_of(text, &choices))
}

fn count(value: &Value<'_>) -> Parsed<Count> {
    if value.is_text() {
        return value.parse(values::count);
    }
    if !value.is_table() {
        return value.number().and_then(|count| values::count_of(count, count));
    }
    let table = value.table()?;
    let (min, max) = (table.read("min", Value::number), table.read("max", Value::number));
    let has_max = table.get("max").is_some();
    table.finish();
    match (min, max) {
        (min, Some(max)) => values::count_of(min.unwrap_or_else(|| max.min(1)), max),
        // It has been reported at the key itself.
        (_, None) if has_max => Ok(COUNT),
        (_, None) => Err(Wrong::new("max is missing").hint("write { min = 1, max = 8 }")),
    }
}

fn env(table: &Table<'_>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (name, span, value) in table.entries() {
        if !env_file::is_name(name) {
            let wrong = Wrong::new("not the name of a variable").hint("write one without spaces");
            table.wrong_entry(name, span, wrong);
        }
        let text = value.read(|value| value.scalar().and_then(env_file::without_nul));
        variables.extend(text.map(|text| (name.to_owned(), text)));
    }
    variables
}
