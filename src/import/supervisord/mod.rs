//! supervisord's file: programs become pools, its own gearmand becomes the broker.
//!
//! Keys, defaults and expansions are those of supervisor 4.2 (options.py).

mod daemon;
mod expand;
mod program;
mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::draft::{Draft, plain_name};
use super::ini::Ini;
use super::{ImportError, Note, Translation};
pub(super) use expand::Names;
use program::Program;

/// Sections of other programs and doors, and why they have no equal.
const DOORS: [(&str, &str); 5] = [
    ("unix_http_server", "[supervisor] socket is the one of our commands"),
    ("inet_http_server", "commands go through [supervisor] socket"),
    ("supervisorctl", "gear-supervisor status, start, stop and so on need no settings"),
    ("rpcinterface:", "extensions in Python are not loaded"),
    ("ctlplugin:", "extensions in Python are not loaded"),
];

/// What the programs of a file share.
struct Scene<'a> {
    ini: &'a Ini,
    names: Names,
    /// Where relative names start.
    folder: PathBuf,
    /// Whether the file ran a gearmand, so that its programs are likely to be workers.
    has_gearmand: bool,
    /// Logs that a pool has already.
    logs: BTreeSet<PathBuf>,
    /// Whether logs are to hold no colours.
    strips_ansi: bool,
}

/// Translates a file with its includes; `folder` is where it lies, `notes` what is known of the whole.
pub(super) fn translate(
    file: &Path,
    folder: &Path,
    ini: &Ini,
    mut names: Names,
    notes: Vec<Note>,
) -> Result<Translation, ImportError> {
    let mut draft = Draft::new(format!("# From {}, a file of supervisord.\n", file.display()));
    for Note { place, text } in notes {
        draft.note(&place, text);
    }
    let own = ini.section("supervisord");
    let environment = own.map_or(Ok(Vec::new()), |own| daemon::environment(own, &names))?;
    for (name, value) in &environment {
        names.set_environment(name, value);
    }
    let directory = own.and_then(|own| own.get("directory"));
    let base = match directory {
        Some(entry) => {
            folder.join(names.value(&entry.value).map_err(|problem| entry.place.wrong(problem))?)
        }
        // A service of the host is started at the root.
        None if folder.starts_with("/etc") => PathBuf::from("/"),
        None => folder.to_owned(),
    };
    let strips_ansi = match own.and_then(|own| own.get("strip_ansi")) {
        Some(entry) => values::flag(&entry.value).map_err(|problem| entry.place.wrong(problem))?,
        None => false,
    };
    let logs = BTreeSet::new();
    let mut scene = Scene { ini, names, folder: base, has_gearmand: false, logs, strips_ansi };
    let mut programs = Vec::new();
    let mut gearmands = Vec::new();
    for (name, section) in ini.of_kind("program") {
        let program = Program::read(name, section, &scene)?;
        if program.is_gearmand() { &mut gearmands } else { &mut programs }.push(program);
    }
    scene.has_gearmand = !gearmands.is_empty();
    daemon::write(&mut draft, own, &scene, &environment, &gearmands)?;
    sections(&mut draft, ini);
    for program in programs {
        for block in program.pools(&mut draft, &mut scene)? {
            draft.add(block);
        }
    }
    Ok(draft.finish())
}

/// What is told of the sections that become nothing.
fn sections(draft: &mut Draft, ini: &Ini) {
    for section in &ini.sections {
        let name = section.name.as_str();
        let door = DOORS
            .iter()
            .find(|(door, _)| name == *door || (door.ends_with(':') && name.starts_with(door)));
        let text = if let Some((_, why)) = door {
            format!("[{name}] has no equal: {why}")
        } else if name.starts_with("eventlistener:") {
            format!(
                "[{name}] has no equal and is left out: pools with their logs, restarts and limits \
                 need no listener"
            )
        } else if name.starts_with("fcgi-program:") {
            format!("[{name}] has no equal and is left out: no socket is handed to workers")
        } else if let Some(name) = name.strip_prefix("group:") {
            group(name)
        } else {
            let is_known =
                matches!(name, "supervisord" | "include") || name.starts_with("program:");
            if is_known {
                continue;
            }
            format!("[{name}] is unknown to supervisord, too")
        };
        draft.note(&section.place, text);
    }
}

fn group(group: &str) -> String {
    let label = plain_name(group);
    format!(
        "[group:{group}] is a label of its pools: where supervisorctl takes {group}:*, \
         gear-supervisor takes @{label}"
    )
}
