//! Reading a file, what it includes, and the names of worker files; then the translation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd;
use wildmatch::WildMatch;

use super::ini::{Dialect, Ini};
use super::supervisord::Names;
use super::{ImportError, Place, Translation, gearman_manager, supervisord};

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
    let whole = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder = whole.parent().unwrap_or(Path::new("/"));
    if text.lines().any(|line| line.trim_start().starts_with("[GearmanManager]")) {
        let ini = Ini::parse(file, &text, Dialect::Php)?;
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
    let host = unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut names = Names::new(variables.clone());
    names.set("here", &folder.to_string_lossy());
    names.set("host_node_name", &host.unwrap_or_default());
    for included in included(&ini, folder, &names)? {
        ini.append(Ini::parse(&included, &read(&included)?, Dialect::Python)?);
    }
    supervisord::translate(file, folder, &ini, names)
}

fn read(file: &Path) -> Result<String, ImportError> {
    let wrong = |problem: String| ImportError {
        place: None,
        problem: format!("{} cannot be read: {problem}", file.display()),
    };
    let bytes = fs::read(file).map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
}

/// The files that `[include]` means, in the order of supervisord: by pattern, then by name.
fn included(ini: &Ini, folder: &Path, names: &Names) -> Result<Vec<PathBuf>, ImportError> {
    let Some(section) = ini.section("include") else { return Ok(Vec::new()) };
    let Some(entry) = section.get("files") else {
        return Err(section.place.wrong("[include] has no files; supervisord refuses that"));
    };
    let patterns = names.value(&entry.value).map_err(|problem| entry.place.wrong(problem))?;
    let mut found = Vec::new();
    for pattern in patterns.split_whitespace() {
        found.extend(matching(&folder.join(pattern), &entry.place)?);
    }
    Ok(found)
}

fn matching(path: &Path, place: &Place) -> Result<Vec<PathBuf>, ImportError> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("/"));
    if folder.to_string_lossy().contains(['*', '?', '[']) || name.contains('[') {
        let problem = format!("{}: only * and ? in the name of a file are known", path.display());
        return Err(place.wrong(problem));
    }
    if !name.contains(['*', '?']) {
        return Ok(path.exists().then(|| path.to_owned()).into_iter().collect());
    }
    let pattern = WildMatch::new(&name);
    let fits = |file: &String| !file.starts_with('.') && pattern.matches(file);
    let names: BTreeSet<String> = names_in(folder).into_iter().flatten().filter(fits).collect();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
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
