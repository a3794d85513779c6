//! A file and everything it names → [`Settings`], or every mistake in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::daemon;
use super::error::ConfigErrors;
use super::expand::Variables;
use super::files::Files;
use super::last_good::Copy;
use super::order;
use super::pool::Reader;
use super::run::Run;
use super::scaling;
use super::settings::{OnBadFile, PoolSettings, Settings, SupervisorSettings};
use super::source::Source;
use super::sources::Sources;
use super::surroundings::Surroundings;
use super::table::{Report, Scope, Site, Table};
use super::value::Value;
use super::wrong::Wrong;
use crate::model::PoolName;

/// Holds every key that a file may have; what it says is of no matter.
const EVERY_TABLE: &str = "pool.NAME = { count = {}, backoff = {}, ready = {}, liveness = {}, max_age = {}, cgroup = {}, canary = {}, log = {} }\n\
     function.PATTERN = {}";

/// Reads a file, its includes and its env files, and checks them as a whole.
///
/// # Errors
/// Every mistake at once, in the order of their places.
pub fn load(file: &Path, surroundings: &Surroundings) -> Result<Settings, ConfigErrors> {
    let files = Files::new(surroundings);
    match files.open(file, &surroundings.directory.join(file)) {
        Ok(main) => settings(&main, files),
        Err(error) => Err(ConfigErrors { errors: vec![error], sources: files.into_sources() }),
    }
}

/// Checks a text as though it stood in `file`, which need not exist.
///
/// # Errors
/// Every mistake at once, in the order of their places.
pub fn load_text(
    file: &Path,
    text: &str,
    surroundings: &Surroundings,
) -> Result<Settings, ConfigErrors> {
    let main = source_of(file, text, surroundings);
    settings(&main, Files::new(surroundings))
}

/// Checks what was kept of a file and all that belongs to it.
pub(super) fn load_copy(
    file: &Path,
    copy: &Copy,
    surroundings: &Surroundings,
) -> Result<Settings, ConfigErrors> {
    let path = surroundings.directory.join(file);
    let text = copy.text(&path).unwrap_or_default().to_owned();
    let main = Source { name: file.to_owned(), path, text };
    settings(&main, Files::kept(copy, surroundings))
}

/// The control socket that a file names, even while the file is broken.
#[must_use]
pub fn socket_of(file: &Path, surroundings: &Surroundings) -> PathBuf {
    supervisor_of(file, surroundings).settings.socket
}

/// What can be read of `[supervisor]` in a file that may be broken.
#[derive(Debug)]
pub(super) struct BestEffort {
    pub(super) settings: SupervisorSettings,
    /// Whether it asks for no other file in its place.
    pub(super) refuses: bool,
}

pub(super) fn supervisor_of(file: &Path, surroundings: &Surroundings) -> BestEffort {
    let (files, report) = (Files::new(surroundings), Report::default());
    let main = files
        .open(file, &surroundings.directory.join(file))
        .unwrap_or_else(|_| source_of(file, "", surroundings));
    let (entries, _) = DeTable::parse_recoverable(&main.text);
    let variables = variables(&main, entries.get_ref(), &files, &report);
    let scope = Scope { source: &main, variables: &variables, report: &report };
    let table = scope.root(entries.get_ref()).table("supervisor");
    let settings = daemon::supervisor(&table, &main.path, surroundings);
    let is_said = table.get("on_bad_file").is_some();
    let refuses = is_said && settings.on_bad_file == OnBadFile::Refuse;
    BestEffort { settings, refuses }
}

/// Every key that a file may have, as in `pool.NAME.count.min`.
#[must_use]
pub fn known_keys() -> BTreeSet<String> {
    let (surroundings, report) = (Surroundings::default(), Report::default());
    let main = source_of(Path::new("known.toml"), EVERY_TABLE, &surroundings);
    read(&main, &Files::new(&surroundings), &report);
    report.into_keys()
}

fn source_of(file: &Path, text: &str, surroundings: &Surroundings) -> Source {
    let path = surroundings.directory.join(file);
    Source { name: file.to_owned(), path, text: text.to_owned() }
}

fn settings(main: &Source, files: Files<'_>) -> Result<Settings, ConfigErrors> {
    let report = Report::default();
    let settings = read(main, &files, &report);
    let sources = files.into_sources();
    let errors = report.into_errors(&main.name);
    if errors.is_empty() {
        Ok(Settings { sources, ..settings })
    } else {
        Err(ConfigErrors { errors, sources })
    }
}

/// Reads all there is. What is wrong is in the report, and stands in the settings as left out.
fn read(main: &Source, files: &Files<'_>, report: &Report) -> Settings {
    let surroundings = files.surroundings();
    let entries = parse(main, report);
    let variables = variables(main, &entries, files, report);
    let scope = Scope { source: main, variables: &variables, report };
    let root = scope.root(&entries);
    let included = included(&root, main, files, report);
    let parsed: Vec<_> = included.iter().map(|source| parse(source, report)).collect();
    let parts = included.iter().zip(&parsed);
    let parts = parts.map(|(source, entries)| Scope { source, ..scope }.root(entries));
    let parts: Vec<_> = parts.inspect(refuse_other_tables).collect();

    let supervisor_table = root.table("supervisor");
    let supervisor = daemon::supervisor(&supervisor_table, &main.path, surroundings);
    supervisor_table.finish();
    let broker_table = root.table("broker");
    let rules = std::iter::once(&root).chain(&parts).map(|part| part.table("function"));
    let broker = daemon::broker(&broker_table, rules);
    broker_table.finish();
    let host_table = root.table("host");
    let host = scaling::host(&host_table);
    host_table.finish();

    let reader = Reader { surroundings, files, log_dir: &supervisor.log_dir, way: broker.way };
    let defaults = root.table("defaults");
    reader.check_defaults(&defaults);
    let found = BTreeMap::new();
    let mut pools = Pools { reader, defaults: &defaults, names: BTreeSet::new(), found };
    pools.read(&root.table("pool"));
    root.finish();
    for part in &parts {
        pools.read(&part.table("pool"));
    }
    pools.check_order(report);
    let pools = pools.found.into_iter().map(|(name, found)| (name, found.settings)).collect();
    let (file, sources) = (main.path.clone(), Sources::default());
    Settings { file, sources, supervisor, broker, host, pools }
}

/// Reads the syntax; an empty table stands for a file with too little to go on.
fn parse<'a>(source: &'a Source, report: &Report) -> DeTable<'a> {
    let (table, wrongs) = source.parse();
    let scope = Scope { source, variables: &Variables::new(), report };
    for wrong in wrongs {
        scope.report("", 0..0, wrong);
    }
    table.unwrap_or_default()
}

/// What `${NAME}` stands for: the environment, and over it the daemon's `env_file`, which unlike
/// the environment of a running process can be edited.
fn variables(
    main: &Source,
    entries: &DeTable<'_>,
    files: &Files<'_>,
    report: &Report,
) -> Variables {
    let mut variables = files.surroundings().expansions();
    let scope = Scope { source: main, variables: &variables, report };
    let path_and_more = |value: &Value<'_>| files.variables(&value.path()?, None, report);
    let added = scope.root(entries).table("supervisor").read("env_file", path_and_more);
    variables.extend(added.unwrap_or_default());
    variables
}

/// The files that `include` means and that can be read.
fn included(root: &Table<'_>, main: &Source, files: &Files<'_>, report: &Report) -> Vec<Source> {
    let paths = root.read("include", |value| files.included(value, main)).unwrap_or_default();
    let opened = paths.iter().map(|path| files.open(&relative_to(main, path), path));
    opened.filter_map(|source| source.map_err(|error| report.add(error)).ok()).collect()
}

/// An included file holds what belongs to one application, and nothing of the whole daemon.
fn refuse_other_tables(part: &Table<'_>) {
    for (key, span, _) in part.entries().filter(|(key, ..)| !matches!(*key, "pool" | "function")) {
        let wrong =
            Wrong::new("an included file holds nothing but [pool.NAME] and [function.NAME]");
        part.wrong_entry(key, span, wrong.hint("move it to the file that includes this one"));
    }
}

/// An included file as messages call it: beside the name that was given for the main file.
fn relative_to(main: &Source, path: &Path) -> PathBuf {
    let inside = path.strip_prefix(main.folder());
    inside.map_or_else(|_| path.to_owned(), |inside| main.name.with_file_name(inside))
}

/// The pools that were found.
struct Pools<'a> {
    reader: Reader<'a>,
    defaults: &'a Table<'a>,
    /// Also of those that have mistakes.
    names: BTreeSet<PoolName>,
    found: BTreeMap<PoolName, Found>,
}

struct Found {
    settings: Arc<PoolSettings>,
    /// `file:line`.
    place: String,
    /// Of its `after`.
    after: Site,
}

impl Pools<'_> {
    fn read(&mut self, pools: &Table<'_>) {
        for (key, span, value) in pools.entries() {
            let scope = pools.scope();
            let name = match key.parse::<PoolName>() {
                Ok(name) => name,
                Err(error) => {
                    pools.wrong_entry(key, span, Wrong::new(error.to_string()));
                    continue;
                }
            };
            if let Some(first) = self.found.get(&name) {
                let wrong = Wrong::new(format!("this pool stands in {} too", first.place));
                let wrong = wrong.hint("rename or remove one of the two");
                pools.wrong_entry(key, span.clone(), wrong);
            }
            self.names.insert(name.clone());
            let Some(table) = value.read(Value::table) else { continue };
            let table = table.at(span.clone()).or(self.defaults);
            let Some(settings) = self.reader.pool(&name, &table) else { continue };
            self.check_log(&settings, &table);
            let line = scope.source.place(span.start).line;
            let place = format!("{}:{line}", scope.source.name.display());
            let after = table.site("after");
            self.found.entry(name).or_insert(Found { settings, place, after });
        }
    }

    /// Pools that are waited for exist, and none waits for itself.
    fn check_order(&self, report: &Report) {
        let found = self.found.iter();
        let orders = found.map(|(name, found)| (name, found.settings.order.after.as_slice()));
        let on_call = |name: &PoolName| {
            let found = self.found.get(name);
            found.is_some_and(|found| found.settings.run.run == Run::OnCall)
        };
        for (pool, wrong) in order::wrongs(&orders.collect(), &self.names, on_call) {
            if let Some(found) = self.found.get(&pool) {
                report.add(found.after.wrong(wrong));
            }
        }
    }

    /// Two pools cannot rotate one file.
    fn check_log(&self, settings: &PoolSettings, table: &Table<'_>) {
        let Some(file) = settings.log.file() else { return };
        let same = |found: &&Found| {
            let other = &found.settings;
            other.log.file() == Some(file) && other.name != settings.name
        };
        if let Some(other) = self.found.values().find(same) {
            let other = &other.settings.name;
            let wrong = Wrong::new(format!("pool {other} writes to {} already", file.display()));
            table.wrong_at("log", wrong.hint("give each pool its own file"));
        }
    }
}
