//! The files that were applied last, kept so that a start with a broken one can do with them.
//!
//! What is kept is what was read: the file, its includes and env files, and the variables of the
//! environment that they name. It holds secrets where they do, so only the daemon's user may read
//! it; a daemon of root takes no copy that others may write.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::replace::replace_file;
use super::settings::{OnBadFile, Settings};
use super::surroundings::Surroundings;
use super::trust;
use super::{load, sources};

/// The copy's name in the state folder.
const NAME: &str = "last-good.json";

/// Files as they were when they were applied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Copy {
    /// The file that was named on the command line.
    main: PathBuf,
    /// When it was applied, in seconds since 1970.
    applied_at: u64,
    files: BTreeMap<PathBuf, String>,
    /// Variables of the environment that the files name.
    variables: BTreeMap<String, String>,
}

/// Settings of an earlier file that stand in for a broken one.
#[derive(Debug)]
pub struct LastGood {
    /// The settings.
    pub settings: Settings,
    /// When they were applied.
    pub applied_at: SystemTime,
}

impl Copy {
    pub(super) fn text(&self, path: &Path) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }
}

/// Keeps the files behind these settings in the state folder, or drops what was kept there if the
/// settings do not ask for it.
///
/// # Errors
/// When the copy cannot be written.
pub fn keep_last_good(
    settings: &Settings,
    surroundings: &Surroundings,
    state_dir: &Path,
) -> io::Result<()> {
    let path = state_dir.join(NAME);
    if settings.supervisor.on_bad_file == OnBadFile::Refuse {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    // Another edit came between: it is kept when it is applied.
    let Some(files) = contents(settings) else { return Ok(()) };
    let variables = surroundings.expansions();
    let named: BTreeSet<&str> = files.values().flat_map(|text| names(text)).collect();
    let variables = variables.into_iter().filter(|(name, _)| named.contains(name.as_str()));
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let copy = Copy {
        main: settings.file.clone(),
        applied_at: since.as_secs(),
        variables: variables.collect(),
        files,
    };
    replace_file(&path, &serde_json::to_vec(&copy)?)
}

/// What was kept of the file that was applied last, where it asks to stand in for one that is
/// broken now, and the broken one does not say otherwise.
#[must_use]
pub fn last_good(file: &Path, surroundings: &Surroundings) -> Option<LastGood> {
    let broken = load::supervisor_of(file, surroundings);
    if broken.refuses {
        return None;
    }
    let path = broken.settings.state_dir.join(NAME);
    let copy: Copy = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    let is_trusted = !surroundings.is_root() || trust::check(&path, None).is_ok();
    if copy.main != surroundings.directory.join(file) || !is_trusted {
        return None;
    }
    let mut then = surroundings.clone();
    then.variables.extend(copy.variables.clone());
    let applied_at = SystemTime::UNIX_EPOCH + Duration::from_secs(copy.applied_at);
    let settings = load::load_copy(file, &copy, &then).ok()?;
    let is_wanted = settings.supervisor.on_bad_file == OnBadFile::LastGood;
    is_wanted.then_some(LastGood { settings, applied_at })
}

/// The files as they were read; `None` when one is another by now.
fn contents(settings: &Settings) -> Option<BTreeMap<PathBuf, String>> {
    let present = settings.sources.files().filter(|path| settings.sources.has(path));
    let text = |path: &Path| {
        let bytes = sources::read_bounded(path).ok()?;
        let is_same = settings.sources.is_of(path, &bytes);
        is_same.then_some((path.to_owned(), String::from_utf8(bytes).ok()?))
    };
    present.map(text).collect()
}

/// What stands in `${…}` up to a `:` or `}`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split([':', '}']).next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{load, load_text};

    fn surroundings(folder: &Path, word: Option<&str>) -> Surroundings {
        let word = word.map(|word| ("WORD".to_owned(), word.to_owned()));
        let home = ("HOME".to_owned(), folder.display().to_string());
        Surroundings {
            uid: 1000,
            directory: folder.to_owned(),
            variables: word.into_iter().chain([home]).collect(),
            ..Surroundings::default()
        }
    }

    #[test]
    fn a_broken_file_is_replaced_by_what_was_kept_with_all_that_belongs_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let text = "include = [\"*.inc\"]\n[supervisor]\nstate_dir = \".\"\n\
                    on_bad_file = \"last-good\"\n[pool.a]\ncommand = \"wc ${WORD}\"\n\
                    env_file = \"a.env\"\n";
        fs::write(at("w.toml"), text).unwrap();
        fs::write(at("b.inc"), "[pool.b]\ncommand = \"wc\"\n").unwrap();
        fs::write(at("a.env"), "SECRET=\"1\"\n").unwrap();
        let then = surroundings(folder.path(), Some("-w"));
        let file = Path::new("w.toml");
        let settings = load(file, &then).unwrap();
        keep_last_good(&settings, &then, folder.path()).unwrap();
        fs::remove_file(at("b.inc")).unwrap();
        fs::remove_file(at("a.env")).unwrap();
        let now = surroundings(folder.path(), None);
        for (broken, is_replaced) in [
            (text, true),
            ("[supervisor]\nstate_dir = \".\"\n[pool.a]\nwizardry = 1\n", true),
            ("[supervisor]\nstate_dir = \".\"\n[pool", true),
            ("[supervisor]\nstate_dir = \".\"\non_bad_file = \"refuse\"\n[pool", false),
            ("[supervisor]\nstate_dir = \"elsewhere\"\n[pool", false),
        ] {
            fs::write(at("w.toml"), broken).unwrap();
            load(file, &now).unwrap_err();
            let good = last_good(file, &now);
            assert_eq!(good.is_some(), is_replaced, "{broken}");
            let Some(good) = good else { continue };
            assert_eq!(good.settings.pools, settings.pools);
        }
        let refuses = text.replace("last-good", "refuse").replace("${WORD}", "");
        fs::write(at("a.env"), "").unwrap();
        let settings = load_text(file, &refuses, &now).unwrap();
        keep_last_good(&settings, &now, folder.path()).unwrap();
        assert!(!at(NAME).exists(), "it is not asked for any more");
    }
}
