//! GearmanManager's ini: a pool that does all, and one for each function that has more.
//!
//! How many workers know a function (GearmanManager.php, getopt and process_worker_count):
//! `dedicated_count` where it is `dedicated_only`, else the largest of its `count`, the general
//! `count`, 1, and general `count` + `dedicated_count`. Those beyond the ones that do all do it alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::draft::{Block, Draft, escaped, inline, list, number, quoted};
use super::ini::{Entry, Ini, Section};
use super::{ImportError, Translation};

const GENERAL: &str = "GearmanManager";
const PORT: &str = "4730";
/// GearmanManager's own.
const LIFETIME_SECONDS: u32 = 3600;
const SPLAY_SECONDS: u32 = 600;

/// Keys of the general section without an equal, and why.
const WITHOUT_EQUAL: [(&str, &str); 5] = [
    ("worker_initial_spawn_splay", "starts are paced by what the host can bear"),
    ("log_file", "workers' output is in a file for each pool, the daemon's on its stderr"),
    ("pid_file", "gear-supervisor pid tells it"),
    ("daemon", "it runs in the foreground, under the service manager"),
    ("verbose", "what jobs log is always in their pool's log"),
];

/// Keys of the general section that become something.
const TAKEN: [&str; 13] = [
    "auto_update",
    "worker_dir",
    "include",
    "exclude",
    "count",
    "dedicated_count",
    "max_worker_lifetime",
    "worker_restart_splay",
    "max_runs_per_worker",
    "timeout",
    "graceful_shutdown_wait_time",
    "host",
    "user",
];

/// Translates a file; `found` are the functions in the folders, when they could be listed.
pub(super) fn translate(
    file: &Path,
    ini: &Ini,
    folders: &[PathBuf],
    found: Option<&BTreeSet<String>>,
) -> Result<Translation, ImportError> {
    let Some(general) = ini.section(GENERAL) else {
        return Err(ImportError { place: None, problem: "there is no [GearmanManager]".into() });
    };
    let mut draft = Draft::new(format!("# From {}, a file of GearmanManager.\n", file.display()));
    if found.is_none() {
        let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let folders = folders.join(" or ");
        draft.note(
            &general.place,
            format!(
                "{folders} cannot be listed: only functions with a section of their own have pools \
                 of their own, and worker_dir has to be set right"
            ),
        );
    }
    supervisor(&mut draft, general)?;
    broker(&mut draft, general);
    draft.add(defaults(general, folders)?);
    let wanted = Wanted::read(ini, general, found)?;
    pools(&mut draft, ini, &wanted)?;
    Ok(draft.finish())
}

fn supervisor(draft: &mut Draft, general: &Section) -> Result<(), ImportError> {
    if let Some(seconds) = seconds(general, "graceful_shutdown_wait_time")? {
        let mut block = Block::new("supervisor");
        block.set_text("shutdown_grace", &format!("{seconds}s"));
        draft.add(block);
    }
    Ok(())
}

/// A gearmand on this host is what we are; others are used as they are.
fn broker(draft: &mut Draft, general: &Section) {
    let Some(entry) = general.get("host") else { return };
    let hosts: Vec<&str> =
        entry.value.split(',').map(str::trim).filter(|h| !h.is_empty()).collect();
    let port = |host: &str| host.rsplit_once(':').map_or(PORT, |(_, port)| port).to_owned();
    let name = |host: &str| host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    let is_here = |host: &&str| matches!(name(host).as_str(), "localhost" | "127.0.0.1" | "::1");
    let mut block = Block::new("broker");
    if hosts.iter().all(is_here) {
        block.note(&entry.place, "this is the server now: stop gearmand here, it has its port");
        let listen: Vec<_> = hosts.iter().map(|host| format!("127.0.0.1:{}", port(host))).collect();
        block.set("listen", list(listen.iter().map(String::as_str)));
    } else {
        let servers: Vec<_> =
            hosts.iter().map(|host| format!("{}:{}", name(host), port(host))).collect();
        block.set("servers", list(servers.iter().map(String::as_str)));
    }
    draft.add(block);
}

fn defaults(general: &Section, folders: &[PathBuf]) -> Result<Block, ImportError> {
    let mut block = Block::new("defaults");
    let user = general.get("user").map(|entry| escaped(&entry.value));
    block.set_text("user", user.as_deref().unwrap_or("${USER}"));
    block.set_text("runner", "gearman-manager");
    let folders: Vec<_> = folders.iter().map(|folder| escaped(&folder.to_string_lossy())).collect();
    block.set("worker_dir", list(folders.iter().map(String::as_str)));
    if let Some(entry) = general.get("prefix").filter(|entry| !entry.value.is_empty()) {
        block.set_text("worker_prefix", &escaped(&entry.value));
        if entry.value == "Net_Gearman_Job_" {
            block.without_equal(entry, "workers of PEAR's Net_Gearman take other arguments");
        }
    }
    let is_on = |entry: &&Entry| !matches!(entry.value.as_str(), "" | "0");
    if general.get("auto_update").is_some_and(|entry| is_on(&entry)) {
        block.set("watch", "true");
    }
    let age = seconds(general, "max_worker_lifetime")?;
    let splay = of(general, "worker_restart_splay")?.unwrap_or(SPLAY_SECONDS);
    let age =
        if general.get("max_worker_lifetime").is_some() { age } else { Some(LIFETIME_SECONDS) };
    if let Some(age) = age {
        let pairs =
            [("age", quoted(&format!("{age}s"))), ("variance", quoted(&format!("{splay}s")))];
        block.set("max_age", inline(&pairs));
    }
    if let Some(jobs) = seconds(general, "max_runs_per_worker")? {
        block.set("max_jobs", jobs.to_string());
    }
    if let Some(timeout) = seconds(general, "timeout")? {
        block.set_text("job_timeout", &format!("{timeout}s"));
    }
    for entry in &general.entries {
        let known = WITHOUT_EQUAL.iter().find(|(key, _)| *key == entry.key);
        match known {
            Some((_, why)) if is_on(&entry) => {
                block.without_equal(entry, why);
            }
            None if entry.key != "prefix" && !TAKEN.contains(&&*entry.key) => {
                block.without_equal(entry, "GearmanManager does not know it either");
            }
            Some(_) | None => {}
        }
    }
    Ok(block)
}

/// Which functions there are, and how many workers do all of them.
struct Wanted {
    do_all: u32,
    dedicated: u32,
    /// Not empty: only these.
    include: Vec<String>,
    exclude: Vec<String>,
    functions: BTreeSet<String>,
}

impl Wanted {
    fn read(
        ini: &Ini,
        general: &Section,
        found: Option<&BTreeSet<String>>,
    ) -> Result<Self, ImportError> {
        let names = |key: &str| -> Vec<String> {
            let value = general.get(key).map(|entry| entry.value.as_str()).unwrap_or_default();
            let names = value.split(',').map(str::trim);
            names.filter(|name| !matches!(*name, "" | "*")).map(str::to_owned).collect()
        };
        let (include, exclude) = (names("include"), names("exclude"));
        let sections = || ini.sections.iter().filter(|section| section.name != GENERAL);
        let mut functions = match found {
            Some(found) => found.clone(),
            None => sections().map(|s| s.name.clone()).chain(include.iter().cloned()).collect(),
        };
        functions.retain(|name| include.is_empty() || include.contains(name));
        functions.retain(|name| !exclude.contains(name));
        Ok(Self {
            do_all: of(general, "count")?.unwrap_or(0),
            dedicated: of(general, "dedicated_count")?.unwrap_or(0),
            include,
            exclude,
            functions,
        })
    }
}

fn pools(draft: &mut Draft, ini: &Ini, wanted: &Wanted) -> Result<(), ImportError> {
    let mut dedicated = Vec::new();
    let mut exclude = wanted.exclude.clone();
    for function in &wanted.functions {
        let section = ini.section(function);
        let pool = Dedicated::read(section, wanted)?;
        if pool.only {
            exclude.push(function.clone());
        }
        dedicated.push((function, section, pool));
    }
    if wanted.do_all > 0 {
        let name = draft.pool_name("do-all");
        let mut block = Block::pool(&name, wanted.do_all);
        let include = wanted.include.iter().filter(|name| !exclude.contains(name));
        if !wanted.include.is_empty() {
            block.set("functions", list(include.map(String::as_str)));
        } else if !exclude.is_empty() {
            block.set("worker_exclude", list(exclude.iter().map(String::as_str)));
        }
        draft.add(block);
    }
    for (function, section, pool) in dedicated.into_iter().filter(|(_, _, pool)| pool.count > 0) {
        let name = draft.pool_name(function);
        let mut block = Block::pool(&name, pool.count);
        block.set("functions", list([function.as_str()]));
        if let Some(section) = section {
            settle(&mut block, section, wanted, pool.only)?;
        }
        draft.add(block);
    }
    let unknown =
        |section: &&Section| section.name != GENERAL && !wanted.functions.contains(&section.name);
    for section in ini.sections.iter().filter(unknown) {
        let why = match section.name.split_once(':') {
            Some((host, _)) => format!("is for the host {host}, and left out on this one"),
            None => "is no function of the folders".to_owned(),
        };
        draft.note(&section.place, format!("[{}] {why}", section.name));
    }
    Ok(())
}

/// The workers that do one function alone.
struct Dedicated {
    count: u32,
    only: bool,
}

impl Dedicated {
    fn read(section: Option<&Section>, wanted: &Wanted) -> Result<Self, ImportError> {
        let number = |key| section.map_or(Ok(None), |section| of(section, key));
        let own = number("dedicated_count")?;
        if number("dedicated_only")?.unwrap_or(0) > 0 {
            let count = own.unwrap_or(wanted.dedicated);
            return match section.and_then(|section| section.get("dedicated_only")) {
                Some(entry) if count == 0 => {
                    Err(entry.place.wrong("dedicated_only needs a dedicated_count"))
                }
                Some(_) | None => Ok(Self { count, only: true }),
            };
        }
        let alone = own.unwrap_or(wanted.dedicated);
        let least = number("count")?.unwrap_or(0).max(1);
        let total = least.max(wanted.do_all.saturating_add(alone));
        Ok(Self { count: total - wanted.do_all, only: false })
    }
}

/// The other keys of a function.
fn settle(
    block: &mut Block,
    section: &Section,
    wanted: &Wanted,
    only: bool,
) -> Result<(), ImportError> {
    if let (Some(entry), Some(timeout)) = (section.get("timeout"), seconds(section, "timeout")?) {
        block.set_text("job_timeout", &format!("{timeout}s"));
        if wanted.do_all > 0 && !only {
            block.note(&entry.place, "in the workers of do-all the general timeout holds");
        }
    }
    for entry in &section.entries {
        match entry.key.as_str() {
            "count" | "dedicated_count" | "dedicated_only" | "timeout" => {}
            "priority" => block.without_equal(entry, "a worker takes its functions in turn"),
            _ => block.without_equal(entry, "GearmanManager does not know it either"),
        }
    }
    Ok(())
}

/// A number that is not 0, which is to GearmanManager as if it were left out.
fn seconds(section: &Section, key: &str) -> Result<Option<u32>, ImportError> {
    Ok(of(section, key)?.filter(|number| *number > 0))
}

fn of(section: &Section, key: &str) -> Result<Option<u32>, ImportError> {
    let read = |entry: &Entry| match entry.value.as_str() {
        "" => Ok(0),
        value => number(entry, value),
    };
    section.get(key).map(read).transpose()
}
