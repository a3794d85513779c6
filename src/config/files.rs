//! Reading the files behind the settings, and remembering each.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::env_file;
use super::error::{ConfigError, Place};
use super::expand::Variables;
use super::last_good::Copy;
use super::source::{self, Source};
use super::sources::{IncludePattern, Sources};
use super::surroundings::Surroundings;
use super::table::Report;
use super::trust;
use super::value::Value;
use super::wrong::{Parsed, Wrong};

/// Reads files for one set of settings.
#[derive(Debug)]
pub(super) struct Files<'a> {
    surroundings: &'a Surroundings,
    sources: RefCell<Sources>,
    /// What is read in place of the disk.
    copy: Option<&'a Copy>,
}

impl<'a> Files<'a> {
    pub(super) fn new(surroundings: &'a Surroundings) -> Self {
        Self { surroundings, sources: RefCell::default(), copy: None }
    }

    /// Reads what was kept of them.
    pub(super) fn kept(copy: &'a Copy, surroundings: &'a Surroundings) -> Self {
        Self { copy: Some(copy), ..Self::new(surroundings) }
    }

    pub(super) fn surroundings(&self) -> &'a Surroundings {
        self.surroundings
    }

    pub(super) fn into_sources(self) -> Sources {
        self.sources.into_inner()
    }

    /// Reads a file of settings; `name` is what messages call it.
    pub(super) fn open(&self, name: &Path, path: &Path) -> Result<Source, ConfigError> {
        match self.text(path, None) {
            Ok(text) => Ok(Source { name: name.to_owned(), path: path.to_owned(), text }),
            Err(Unreadable::Encoding(place)) => Err(not_utf8(name, place)),
            Err(Unreadable::File(wrong)) => Err(ConfigError {
                file: name.to_owned(),
                place: None,
                key: String::new(),
                problem: wrong.problem,
                hint: wrong.hint,
            }),
        }
    }

    /// Reads a file of `KEY=VALUE` lines that a key names. Its mistakes are reported there.
    pub(super) fn variables(
        &self,
        path: &Path,
        user: Option<u32>,
        report: &Report,
    ) -> Parsed<Variables> {
        let text = match self.text(path, user) {
            Ok(text) => text,
            Err(Unreadable::File(wrong)) => {
                let problem = format!("{}: {}", path.display(), wrong.problem);
                return Err(Wrong { problem, ..wrong });
            }
            Err(Unreadable::Encoding(place)) => {
                report.add(not_utf8(path, place));
                return Ok(Variables::new());
            }
        };
        env_file::parse(&text).map(Variables::from_iter).or_else(|wrongs| {
            for (line, Wrong { problem, hint, .. }) in wrongs {
                let (file, key) = (path.to_owned(), String::new());
                let place = Some(Place { line, column: 1 });
                report.add(ConfigError { file, place, key, problem, hint });
            }
            Ok(Variables::new())
        })
    }

    /// The paths that an `include` means, in order and without `main` itself.
    pub(super) fn included(&self, include: &Value<'_>, main: &Source) -> Parsed<Vec<PathBuf>> {
        let found = include.each(|text| self.matching(&main.folder().join(text)))?;
        let mut seen = BTreeSet::from([main.path.clone()]);
        Ok(found.into_iter().flatten().filter(|path| seen.insert(path.clone())).collect())
    }

    fn matching(&self, path: &Path) -> Parsed<Vec<PathBuf>> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if IncludePattern::is_in(&folder.to_string_lossy()) {
            return Err(Wrong::new("only the name of a file can be a pattern, not its folder")
                .hint("write one include for each folder"));
        }
        if !IncludePattern::is_in(name) {
            return Ok(vec![path.to_owned()]);
        }
        let pattern = IncludePattern { folder: folder.to_owned(), name: name.to_owned() };
        let found = self.copy.map_or_else(
            || pattern.expand(),
            |copy| copy.paths().filter(|path| pattern.means(path)).map(Path::to_owned).collect(),
        );
        self.sources.borrow_mut().add_pattern(pattern);
        Ok(found)
    }

    fn text(&self, path: &Path, user: Option<u32>) -> Result<String, Unreadable> {
        if let Some(copy) = self.copy {
            let gone = || Wrong::new("it was not kept");
            return copy.text(path).map(str::to_owned).ok_or_else(|| gone().into());
        }
        let bytes = self.sources.borrow_mut().read(path).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
                io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            };
            Wrong::new(format!("cannot be read: {reason}"))
        })?;
        if self.surroundings.is_root() {
            trust::check(path, user)?;
        }
        source::decode(bytes).map_err(Unreadable::Encoding)
    }
}

#[derive(Debug)]
enum Unreadable {
    File(Wrong),
    Encoding(Place),
}

impl From<Wrong> for Unreadable {
    fn from(wrong: Wrong) -> Self {
        Self::File(wrong)
    }
}

fn not_utf8(file: &Path, place: Place) -> ConfigError {
    ConfigError {
        file: file.to_owned(),
        place: Some(place),
        key: String::new(),
        problem: "a byte that is not UTF-8 text".to_owned(),
        hint: Some("save the file as UTF-8".to_owned()),
    }
}
