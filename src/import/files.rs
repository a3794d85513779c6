//! Reading a file, what it includes, and the names of worker files; then the translation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{self, Component, Path, PathBuf};

use nix::unistd;
use regex::Regex;

use super::ini::{Dialect, Ini};
use super::supervisord::Names;
use super::{ImportError, Note, Place, Translation, gearman_manager, supervisord};

/// The folder of the file that it stands in.
const HERE: &str = "%(here)s";

/// Reads and translates a file of supervisord or GearmanManager; `variables` is the environment.
///
/// # Errors
/// When a file cannot be read, or when its own program would refuse it.
pub fn import(
    file: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<Translation, ImportError> {
    let text = read(file)?;
    if file.extension().is_some_and(|end| end == "php") || text.starts_with("<?php") {
        let problem = format!(
            "{} is a PHP program; write its settings as an ini file with [GearmanManager]",
            file.display()
        );
        return Err(ImportError { place: None, problem });
    }
    let host = unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let host = host.unwrap_or_default();
    if text.lines().any(|line| line.trim_start().starts_with("[GearmanManager]")) {
        let mut ini = Ini::parse(file, &text, Dialect::Php)?;
        ini.settle_hosts(&host);
        let whole = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let folder = whole.parent().unwrap_or(Path::new("/"));
        let folders = worker_folders(&ini, folder);
        let found = worker_names(&folders);
        return gearman_manager::translate(file, &ini, &folders, found.as_ref());
    }
    let mut ini = Ini::parse(file, &text, Dialect::Python)?;
    let is_supervisord = |name: &str| name == "supervisord" || name.contains(':');
    if !ini.sections.iter().any(|section| is_supervisord(&section.name)) {
        let problem = format!(
            "{} has neither [supervisord] and programs nor [GearmanManager]",
            file.display()
        );
        return Err(ImportError { place: None, problem });
    }
    // Where it is named, though it be a link: supervisord does not follow it.
    let folder = here(file);
    let mut names = Names::new(variables.clone());
    names.set("here", &folder.to_string_lossy());
    names.set("host_node_name", &host);
    let (included, unmatched) = included(&ini, &folder, &names)?;
    for included in included {
        let mut more = Ini::parse(&included, &read(&included)?, Dialect::Python)?;
        // What is relative in it begins beside it, and not beside the file that includes it.
        more.replace(HERE, &here(&included).to_string_lossy());
        ini.append(more);
    }
    supervisord::translate(file, &folder, &ini, names, unmatched)
}

/// The folder that a file is in by its name, as supervisord reckons it.
fn here(file: &Path) -> PathBuf {
    let whole = path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut folder = PathBuf::new();
    for component in whole.parent().unwrap_or(Path::new("/")).components() {
        match component {
            // By the text alone, though a link may lead elsewhere.
            Component::ParentDir => drop(folder.pop()),
            _ => folder.push(component),
        }
    }
    folder
}

fn read(file: &Path) -> Result<String, ImportError> {
    let wrong = |problem: String| ImportError {
        place: None,
        problem: format!("{} cannot be read: {problem}", file.display()),
    };
    let bytes = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
}

/// The files that `[include]` means, in the order of supervisord: by pattern, then by name; and
/// notes of patterns that mean none.
fn included(
    ini: &Ini,
    folder: &Path,
    names: &Names,
) -> Result<(Vec<PathBuf>, Vec<Note>), ImportError> {
    let Some(section) = ini.section("include") else { return Ok((Vec::new(), Vec::new())) };
    let Some(entry) = section.get("files") else {
        return Err(section.place.wrong("[include] has no files; supervisord refuses that"));
    };
    let patterns = names.value(&entry.value).map_err(|problem| entry.place.wrong(problem))?;
    let (mut found, mut unmatched) = (Vec::new(), Vec::new());
    for pattern in patterns.split_whitespace() {
        let files = matching(&folder.join(pattern), &entry.place)?;
        if files.is_empty() {
            let text = format!("no file matches {pattern} of [include]");
            unmatched.push(Note { place: entry.place.clone(), text });
        }
        found.extend(files);
    }
    Ok((found, unmatched))
}

/// The files that a pattern means, as Python's glob() does: in the names of folders too.
fn matching(path: &Path, place: &Place) -> Result<Vec<PathBuf>, ImportError> {
    let mut found = vec![PathBuf::new()];
    for component in path.components() {
        let name = component.as_os_str().to_string_lossy();
        found = match component {
            _ if name.contains(['*', '?', '[']) => {
                let pattern = pattern(&name).map_err(|problem| place.wrong(problem))?;
                let in_folder = |folder: &PathBuf| {
                    let names = names_in(folder).into_iter().flatten();
                    let fits = |file: &String| {
                        file.starts_with('.') <= name.starts_with('.') && pattern.is_match(file)
                    };
                    names.filter(fits).map(|file| folder.join(file)).collect::<Vec<_>>()
                };
                found.iter().flat_map(in_folder).collect()
            }
            _ => found.iter().map(|folder| folder.join(component)).collect(),
        };
    }
    found.retain(|path| path.is_file());
    found.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    Ok(found)
}

/// A name with `*`, `?`, `[abc]` and `[!abc]`.
fn pattern(name: &str) -> Result<Regex, String> {
    let mut text = String::from("(?s)^");
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match (c, rest.split_at_checked(1).and_then(|(_, tail)| tail.find(']'))) {
            ('*', _) => text.push_str(".*"),
            ('?', _) => text.push('.'),
            ('[', Some(end)) => {
                let (set, after) = rest.split_at(end + 1);
                let (not, set) = set.strip_prefix('!').map_or(("", set), |set| ("^", set));
                let set = set.replace('\\', "\\\\").replace(['[', '^', '&', '~'], "");
                text.extend(["[", not, &set, "]"]);
                rest = after.strip_prefix(']').unwrap_or(after);
            }
            _ => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    text.push('$');
    Regex::new(&text).map_err(|error| format!("'{name}' is no pattern: {error}"))
}

/// Where GearmanManager finds its workers: it looks from where it is started, which is often beside
/// the file or one above it.
fn worker_folders(ini: &Ini, folder: &Path) -> Vec<PathBuf> {
    let entry = ini.section("GearmanManager").and_then(|section| section.get("worker_dir"));
    let named = entry.map_or("./workers", |entry| &entry.value);
    let bases = [Some(folder), folder.parent()];
    let place = |name: &str| {
        let at = |base: &Path| base.join(name.trim_start_matches("./"));
        let mut known = bases.iter().flatten().map(|base| at(base));
        known.find(|path| path.is_dir()).unwrap_or_else(|| at(folder))
    };
    named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(place).collect()
}

/// The functions of the worker files; `None` when a folder cannot be read.
fn worker_names(folders: &[PathBuf]) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for folder in folders {
        let names = names_in(folder)?;
        found.extend(names.iter().filter_map(|name| name.strip_suffix(".php")).map(str::to_owned));
    }
    Some(found)
}

fn names_in(folder: &Path) -> Option<Vec<String>> {
    let entries = fs::read_dir(folder).ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}
