//! `[supervisord]` and the gearmand that the file ran: `[supervisor]`, `[broker]`, `[defaults]`.

use super::program::Program;
use super::{Scene, values};
use crate::import::draft::{Block, Draft, inline, list, quoted};
use crate::import::ini::{Entry, Section};
use crate::import::{ImportError, Place};

/// Keys without an equal: their default, and why.
const WITHOUT_EQUAL: [(&str, &str, &str); 7] = [
    ("logfile", "", "the daemon's own log goes to stderr, and so to the journal"),
    ("logfile_maxbytes", "50MB", "the daemon's own log goes to stderr, and so to the journal"),
    ("logfile_backups", "10", "the daemon's own log goes to stderr, and so to the journal"),
    ("pidfile", "", "gear-supervisor pid tells it"),
    ("nodaemon", "true", "it always runs in the foreground, under the service manager"),
    ("minfds", "1024", "the limit of open files is raised as far as it may be"),
    ("minprocs", "200", "set it where the daemon is started"),
];
/// Keys that become something, or mean nothing here.
const TAKEN: [&str; 9] = [
    "umask",
    "user",
    "directory",
    "environment",
    "childlogdir",
    "identifier",
    "loglevel",
    "strip_ansi",
    "nocleanup",
];

/// `environment` of the daemon, as our file holds it.
pub(super) fn environment(
    own: &Section,
    names: &super::Names,
) -> Result<Vec<(String, String)>, ImportError> {
    let Some(entry) = own.get("environment") else { return Ok(Vec::new()) };
    names
        .text(&entry.value)
        .and_then(|text| values::pairs(&text))
        .map_err(|problem| entry.place.wrong(problem))
}

/// Writes what holds for all pools.
pub(super) fn write(
    draft: &mut Draft,
    own: Option<&Section>,
    scene: &Scene<'_>,
    environment: &[(String, String)],
    gearmands: &[Program<'_>],
) -> Result<(), ImportError> {
    let mut supervisor = Block::new("supervisor");
    let mut defaults = Block::new("defaults");
    let text = |entry: &Entry| {
        scene.names.text(&entry.value).map_err(|problem| entry.place.wrong(problem))
    };
    let get = |key: &str| own.and_then(|own| own.get(key));
    match get("user") {
        Some(entry) => defaults.set_text("user", &text(entry)?),
        None => defaults.set_text("user", "${USER}"),
    }
    defaults.set_text("directory", &scene.folder.to_string_lossy());
    if !environment.is_empty() {
        let pair = |(name, value): &(String, String)| (name.clone(), quoted(value));
        defaults.set("env", inline(&environment.iter().map(pair).collect::<Vec<_>>()));
    }
    let stays = get("nodaemon").is_some_and(|entry| values::flag(&entry.value) == Ok(true));
    match get("umask") {
        Some(entry) if stays => {
            defaults.without_equal(entry, "with nodaemon supervisord does not look at it");
        }
        Some(entry) => defaults.set_text("umask", &text(entry)?),
        None => {}
    }
    defaults.set_text("restart", "unexpected");
    defaults.set("stop", list(["TERM 10s", "KILL"]));
    if let Some(entry) = get("identifier").filter(|entry| entry.value != "supervisor") {
        supervisor.set_text("name", &text(entry)?);
    }
    if let Some(entry) = get("childlogdir") {
        let folder = scene.folder.join(text(entry)?);
        supervisor.set_text("log_dir", &folder.to_string_lossy());
    }
    if let Some(entry) = get("strip_ansi").filter(|_| scene.strips_ansi) {
        let how = "lines of logs have their time and worker before them instead";
        defaults.note(&entry.place, format!("only raw output keeps colours: {how}"));
    }
    if let Some(entry) = get("loglevel") {
        level(&mut supervisor, entry)?;
    }
    for entry in own.map(|own| own.entries.as_slice()).unwrap_or_default() {
        let key = entry.key.as_str();
        match WITHOUT_EQUAL.iter().find(|(known, _, _)| *known == key) {
            Some((_, default, why)) if entry.value != *default => {
                supervisor.without_equal(entry, why);
            }
            None if !TAKEN.contains(&key) && key != "silent" => {
                supervisor.without_equal(entry, "supervisord does not know it either");
            }
            Some(_) | None => {}
        }
    }
    if !supervisor.is_empty() {
        draft.add(supervisor);
    }
    broker(draft, scene, gearmands)?;
    draft.add(defaults);
    Ok(())
}

fn level(supervisor: &mut Block, entry: &Entry) -> Result<(), ImportError> {
    let level = match entry.value.to_ascii_lowercase().as_str() {
        "info" => return Ok(()),
        "critical" | "crit" | "error" | "erro" => "error",
        "warn" => "warn",
        "debug" | "debg" => "debug",
        "trace" | "trac" | "blather" | "blat" => "trace",
        other => return Err(entry.place.wrong(format!("'{other}' is no level of supervisord"))),
    };
    supervisor.set_text("log_level", level);
    Ok(())
}

/// The gearmand that the file ran is what we are.
fn broker(
    draft: &mut Draft,
    scene: &Scene<'_>,
    gearmands: &[Program<'_>],
) -> Result<(), ImportError> {
    let mut block = Block::new("broker");
    let mut listen = Vec::new();
    for gearmand in gearmands {
        let words = gearmand.words()?;
        let port = option(&words, "-p", "--port").unwrap_or("4730");
        let place = gearmand.place();
        let name = gearmand.name();
        block.note(place, format!("[program:{name}] is this server itself now, and is left out"));
        listen.push(format!("127.0.0.1:{port}"));
        tell_of_options(&mut block, place, &words);
    }
    if !gearmands.is_empty() {
        listen.dedup();
        block.set("listen", list(listen.iter().map(String::as_str)));
        draft.add(block);
    } else if let Some((_, section)) = scene.ini.of_kind("program").next() {
        draft.note(
            &section.place,
            "no program is gearmand: this server takes its place, so stop the one that runs \
             elsewhere, or write [broker] servers = [\"HOST:PORT\"]",
        );
    }
    Ok(())
}

fn tell_of_options(block: &mut Block, place: &Place, words: &[String]) {
    match option(words, "-L", "--listen") {
        Some("127.0.0.1" | "localhost" | "::1") => {}
        Some(_) | None => block.note(
            place,
            "gearmand took connections from other hosts; if any come, add their address to listen \
             and their network to allow",
        ),
    }
    if let Some(kind) = option(words, "-q", "--queue-type") {
        let how = "gear-supervisor queue import takes in what still waits there";
        block.note(place, format!("gearmand kept its jobs by {kind}: {how}"));
    }
}

/// `-p N`, `-pN`, `--port N` or `--port=N`.
fn option<'w>(words: &'w [String], short: &str, long: &str) -> Option<&'w str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == short || word == long {
            return words.next().map(String::as_str);
        }
        if let Some(value) = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
        if let Some(value) = word.strip_prefix(short) {
            return Some(value.trim_start_matches('='));
        }
    }
    None
}
