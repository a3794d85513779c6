//! The files in `config`, and what becomes of files that are cut off or garbled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gear_supervisor::config::{
    Continuation, FunctionRule, FunctionRules, Limits, LogSettings, PoolSettings, Settings,
    StoreKind, Surroundings, known_keys, load_text,
};
use proptest::prelude::*;

use crate::{dev, folder, lines, root};

const THREE_POOLS: &str = r#"[pool.wordcount]
command = "wc -w"
protocol = "exec"
count = 2
[pool.mail]
command = "php mail.php"
count = { min = 1, max = 8 }
[pool.slow]
command = "sleep 60"
protocol = "none"
"#;

#[test]
fn the_first_file_runs_for_everybody() {
    for surroundings in [dev(), root()] {
        let settings =
            load_text(Path::new("workers.toml"), &sample("workers.toml"), &surroundings).unwrap();
        let names: Vec<_> = settings.pools.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["slow", "wordcount"]);
        assert!(settings.pools.values().all(|pool| pool.program.account.is_none()));
    }
    let whole = uncommented(&sample("workers.toml"));
    assert_eq!(lines(&whole, &dev()), [""; 0]);
}

#[test]
fn the_full_file_shows_every_key_and_no_other() {
    let text = uncommented(&sample("full.toml")).replace("pool.example", "pool.NAME");
    let text = text.replace("function.\"check_*\"", "function.PATTERN");
    let table: toml::Table = text.parse().unwrap();
    let mut shown = BTreeSet::new();
    keys_of("", &table, &mut shown);
    // The names of variables are the user's own.
    shown.retain(|key| !key.starts_with("pool.NAME.env."));
    // Their names are in the sentence above it.
    shown.retain(|key| !key.starts_with("pool.NAME.rlimit."));
    let mut known = known_keys();
    known.retain(|key| !key.starts_with("defaults."));
    // It stands in [defaults] too, where it is the one key that root must think about.
    assert!(shown.remove("defaults.user"));
    assert!(shown.remove("pool.NAME") && shown.remove("function.PATTERN"));
    // A count that grows is explained at the fixed one.
    // So is start_timeout's other place.
    for key in ["pool.NAME.count.min", "pool.NAME.count.max", "pool.NAME.ready.timeout"] {
        assert!(known.remove(key));
    }
    assert_eq!(shown, known);
}

/// The log of the full file: a file of its own, and examples of limits that are none by default.
fn check_log(whole: &mut LogSettings, plain: &LogSettings, log_dir: &Path) {
    assert_eq!(whole.file(), Some(&*log_dir.join("example.log")));
    whole.target.clone_from(&plain.target);
    assert_eq!(whole.continuation.take(), Some(Continuation::Indented));
    assert!(whole.age_max.take().is_some() && whole.total_max.take().is_some());
}

#[test]
fn the_full_file_shows_the_defaults() {
    let folder = folder(&[("full.env", ""), ("example.env", ""), ("conf.d/none", "")]);
    let read = |text: &str| {
        let surroundings = Surroundings { directory: folder.path().into(), ..dev() };
        load_text(Path::new("full.toml"), text, &surroundings).unwrap()
    };
    let group = format!("#group = \"{}\"", dev().gid);
    let text = sample("full.toml").replace("#group = \"${GROUP:-0}\"", &group);
    let (plain, whole) = (read(&text), read(&uncommented(&text)));

    let mut supervisor = whole.supervisor.clone();
    assert!(supervisor.socket_group.take().is_some());
    // These are shown as root has them.
    let shown = read_as_root("[supervisor]\nname = \"full\"").supervisor;
    for (shown, default) in [
        (&mut supervisor.state_dir, (&shown.state_dir, &plain.supervisor.state_dir)),
        (&mut supervisor.socket, (&shown.socket, &plain.supervisor.socket)),
        (&mut supervisor.log_dir, (&shown.log_dir, &plain.supervisor.log_dir)),
    ] {
        assert_eq!(shown, default.0);
        shown.clone_from(default.1);
    }
    assert_eq!(supervisor, plain.supervisor);
    let (mut broker, mut rules) = (whole.broker.clone(), (*whole.broker.rules).clone());
    assert!(broker.handle_prefix.take().is_some() && rules.queued_max.take().is_some());
    let rule = rules.functions.of(&"check_disk".into());
    let FunctionRule { store, expire_after, queued_max, payload_len_max, attempts_max } = rule;
    assert!(store == Some(StoreKind::Memory) && expire_after.is_some() && queued_max.is_some());
    assert!(payload_len_max.is_some() && attempts_max == Some(3));
    assert_eq!(rules.functions.of(&"mail".into()), FunctionRule::default());
    rules.functions = FunctionRules::default();
    broker.rules = rules.into();
    assert_eq!(broker, plain.broker);
    let mut host = whole.host;
    // These are examples: their defaults are none, and a rule.
    assert!(host.workers_max.take().is_some() && host.memory_reserve.take().is_some());
    assert_eq!(host, plain.host);

    let [mut whole, plain] = [&whole, &plain]
        .map(|settings| PoolSettings::clone(&settings.pools[&"example".parse().unwrap()]));
    check_log(&mut whole.log, &plain.log, &shown.log_dir);
    assert_eq!(whole.program.umask.take(), Some(0o22));
    check_limits(&std::mem::take(&mut whole.program.limits));
    assert_eq!(whole.scaling.startup.take(), Some(std::time::Duration::from_secs(1)));
    assert!(!whole.program.env.is_empty() && !whole.program.functions.is_empty());
    // Without these nothing is asked, bounded or replaced.
    let recycling = std::mem::take(&mut whole.upkeep.recycling);
    assert!(recycling.needs_looks() && recycling.age_max.is_some());
    assert_eq!(whole.upkeep.surge.take(), Some(1));
    assert!(whole.deploys.watch.take().is_some());
    assert!(whole.upkeep.liveness.take().is_some() && whole.upkeep.job_timeout.take().is_some());
    take_times_and_labels(&mut whole);
    whole.program.env.clear();
    whole.program.functions.clear();
    // What a runner makes of the command stands behind it.
    assert!(whole.program.command.contains(&"--not=sum".to_owned()));
    whole.program.command.truncate(plain.program.command.len());
    let files = std::mem::take(&mut whole.program.worker_files);
    assert!(!files.patterns.is_empty() && files.except[0].ends_with("workers/sum.php"));
    whole.program.directory = whole.program.directory.components().collect();
    assert_eq!(whole, plain);
}

fn take_times_and_labels(whole: &mut PoolSettings) {
    let timetable = whole.run.timetable.take().unwrap();
    assert_eq!(timetable.zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(std::mem::take(&mut whole.order.labels), ["media"]);
}

/// They are all shown; by default there are none.
fn check_limits(limits: &Limits) {
    assert!(limits.nice.is_some() && limits.io_priority.is_some() && limits.cpus.is_some());
    assert!(limits.oom_score_adj.is_some() && limits.rlimits.len() > 1);
    assert!(limits.cgroup.as_ref().is_some_and(|cgroup| cgroup.controllers().count() == 3));
}

#[test]
fn every_prefix_of_a_file_is_good_or_has_places() {
    for text in [THREE_POOLS, &sample("full.toml"), &uncommented(&sample("full.toml"))] {
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            check_places(&text[..end]);
        }
    }
}

proptest! {
    // A failure prints the smallest edits; there is no folder for files of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_a_file_brings_the_reader_down(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_usize), 1..8),
    ) {
        for text in [THREE_POOLS.to_owned(), uncommented(&sample("full.toml"))] {
            let mut bytes = text.into_bytes();
            for (at, byte, cut) in &edits {
                let at = at.index(bytes.len());
                let end = (at + cut).min(bytes.len());
                // Bytes that mean something in TOML come more often than others.
                let byte = b"[]{}=\"'\n.#$,\\"[usize::from(*byte) % 13];
                bytes.splice(at..end, [byte]);
            }
            check_places(&String::from_utf8_lossy(&bytes));
        }
    }
}

fn check_places(text: &str) {
    if let Err(errors) = load_text(Path::new("workers.toml"), text, &dev()) {
        assert!(!errors.errors.is_empty());
        let line_count = text.split('\n').count();
        for error in errors.errors.iter().filter(|error| error.file == Path::new("workers.toml")) {
            let place = error.place.unwrap();
            assert!((1..=line_count).contains(&place.line) && place.column >= 1, "{error}");
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}

fn read_as_root(text: &str) -> Settings {
    load_text(Path::new("x.toml"), text, &root()).unwrap()
}

fn sample(name: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

/// The sample with its keys in force: lines that begin with `#` and no space.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#').filter(|key| !key.starts_with(' ')) {
        Some(key) => format!("{key}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn keys_of(path: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if let Some(table) = value.as_table() {
            keys_of(&path, table, keys);
        }
        keys.insert(path);
    }
}
