//! One look at the files of a program: which there are, and what tells each from another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::links::Way;
use crate::config::deploys::FilePattern;
use crate::config::sources::IncludePattern;

/// Files and folders of one program that are looked at; a pattern that means more was not meant so.
const ENTRIES_MAX: usize = 100_000;

/// The files of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFiles {
    /// Where relative names start.
    pub directory: PathBuf,
    /// Program and arguments; words that name a file are among the files.
    pub command: Vec<String>,
    /// Where the program is looked for: PATH.
    pub path: String,
    /// More files.
    pub patterns: Vec<FilePattern>,
    /// Files that patterns mean and that are left out all the same.
    pub except: Vec<PathBuf>,
}

/// What a look saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Every file.
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    /// Where the beginnings of patterns lead to: a symlink that is swapped is a change, even to
    /// files that are links to the same.
    ends: BTreeMap<PathBuf, Option<PathBuf>>,
    /// Folders in which files of these names, and new folders, matter.
    pub(super) folders: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Paths that lead to them.
    pub(super) ways: BTreeSet<PathBuf>,
    /// Whether the program itself is there.
    pub(super) is_whole: bool,
    /// More than is looked at.
    pub(super) is_cut: bool,
}

/// Tells a file from another one that came to be at its path.
///
/// Not by its content: `touch` is how people ask for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    /// When anything of it changed; not compared, since a new link or owner is no new program.
    changed: (i64, i64),
}

impl Look {
    /// Whether the files are others than they were.
    pub(super) fn differs(&self, before: &Self) -> bool {
        let same = |(path, stamp): (&PathBuf, &Stamp)| {
            before.files.get(path).is_some_and(|other| other.is_same(stamp))
        };
        let all_same = self.files.len() == before.files.len() && self.files.iter().all(same);
        !all_same || self.ends != before.ends
    }

    /// The files that differ.
    pub(super) fn changed(&self, before: &Self) -> Vec<PathBuf> {
        let differs = |path: &&PathBuf| match (self.files.get(*path), before.files.get(*path)) {
            (Some(one), Some(other)) => !one.is_same(other),
            (one, other) => one.is_some() != other.is_some(),
        };
        let all: BTreeSet<_> = self.files.keys().chain(before.files.keys()).collect();
        all.into_iter().filter(differs).cloned().collect()
    }

    /// The files that changed after a moment, in seconds and nanoseconds since 1970.
    pub(super) fn changed_after(&self, moment: (i64, i64)) -> Vec<PathBuf> {
        let later = self.files.iter().filter(|(_, stamp)| stamp.changed > moment);
        later.map(|(path, _)| path.clone()).collect()
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.file, self.len, self.modified) == (other.file, other.len, other.modified)
    }
}

impl ProgramFiles {
    /// Looks at all of them. Blocks.
    pub(super) fn look(&self) -> Look {
        let mut look = Look::default();
        for (at, word) in self.command.iter().enumerate() {
            let path = match at {
                0 => self.program(word),
                _ => Some(self.directory.join(word)),
            };
            let Some(path) = path else { continue };
            let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
            if is_file || at == 0 {
                look.begin(&path);
                look.add_file(&path);
            }
            look.is_whole |= is_file && at == 0;
        }
        for pattern in &self.patterns {
            let is_fixed = |part: &&String| !IncludePattern::is_in(part);
            let fixed = pattern.parts.iter().take_while(is_fixed).count();
            let (beginning, rest) = pattern.parts.split_at(fixed);
            let root = if pattern.is_absolute { Path::new("/") } else { &self.directory };
            let base = root.join(beginning.iter().collect::<PathBuf>());
            look.begin(&base);
            match fs::metadata(&base) {
                Ok(metadata) if metadata.is_dir() && rest.is_empty() => {
                    look.walk(&base, &["**".to_owned()]);
                }
                Ok(metadata) if metadata.is_dir() => look.walk(&base, rest),
                Ok(_) if rest.is_empty() => look.add_file(&base),
                Ok(_) | Err(_) => {}
            }
        }
        look.files.retain(|file, _| !self.except.contains(file));
        look
    }

    /// Tells these files, as they are now, from others; the same in every run, and without inodes,
    /// which a container made anew has others of. Blocks.
    pub fn fingerprint(&self) -> u64 {
        let Look { files, ends, .. } = self.look();
        let mut hasher = DefaultHasher::new();
        ends.hash(&mut hasher);
        for (path, Stamp { len, modified, .. }) in &files {
            (path, len, modified).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn program(&self, word: &str) -> Option<PathBuf> {
        if word.contains('/') {
            return Some(self.directory.join(word));
        }
        let folders = self.path.split(':').filter(|folder| !folder.is_empty());
        folders.map(|folder| Path::new(folder).join(word)).find(|path| path.is_file())
    }
}

impl Look {
    fn begin(&mut self, path: &Path) {
        self.ends.insert(path.to_owned(), Way::to(path).end);
        self.ways.insert(path.to_owned());
    }

    fn add_file(&mut self, path: &Path) {
        if self.is_full() {
            return;
        }
        if let Ok(metadata) = fs::metadata(path)
            && metadata.is_file()
        {
            self.files.insert(path.to_owned(), Stamp::of(&metadata));
        }
    }

    fn is_full(&mut self) -> bool {
        self.is_cut |= self.files.len() + self.folders.len() >= ENTRIES_MAX;
        self.is_cut
    }

    /// Takes what matches these parts of a pattern in a folder and below.
    fn walk(&mut self, folder: &Path, parts: &[String]) {
        let Some((part, rest)) = parts.split_first() else { return };
        if self.is_full() {
            return;
        }
        let is_deep = part == "**";
        let name = if is_deep { rest.first().map_or("*", String::as_str) } else { part };
        self.folders.entry(folder.to_owned()).or_default().insert(name.to_owned());
        if is_deep && !rest.is_empty() {
            self.walk(folder, rest);
        }
        let name = IncludePattern { folder: folder.to_owned(), name: part.clone() };
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, file_name) = (entry.path(), entry.file_name());
            let Some(file_name) = file_name.to_str() else { continue };
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let is_folder = path.is_dir();
            let is_hidden = file_name.starts_with('.');
            if is_deep {
                // A link may lead back up; .git and its like change without a new program.
                if is_folder && !is_link && !is_hidden {
                    self.walk(&path, parts);
                } else if !is_folder && !is_hidden && rest.is_empty() {
                    self.add_file(&path);
                }
            } else if name.matches(file_name) && is_folder {
                self.walk(&path, rest);
            } else if name.matches(file_name) && rest.is_empty() {
                self.add_file(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, pattern: &str) -> Vec<String> {
        let parts = pattern.split('/').map(str::to_owned).collect();
        let program = ProgramFiles {
            directory: folder.to_owned(),
            command: Vec::new(),
            path: String::new(),
            patterns: vec![FilePattern { is_absolute: false, parts }],
            except: vec![folder.join("src/left.php")],
        };
        let seen = program.look();
        let name = |path: &PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
        seen.files.keys().map(name).collect()
    }

    #[test]
    fn a_pattern_means_files_at_any_depth_but_no_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "a.php",
            "src/b.php",
            "src/left.php",
            "src/c.txt",
            "src/deep/er/d.php",
            "src/.git/e.php",
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("..", folder.path().join("src/up")).unwrap();
        for (pattern, expected) in [
            ("*.php", &["a.php"][..]),
            ("src/*.php", &["src/b.php"]),
            ("src/**/*.php", &["src/b.php", "src/deep/er/d.php"]),
            ("src/**", &["src/b.php", "src/c.txt", "src/deep/er/d.php"]),
            ("src", &["src/b.php", "src/c.txt", "src/deep/er/d.php"]),
            ("**/er/*", &["src/deep/er/d.php"]),
            ("s?c/c.txt", &["src/c.txt"]),
            ("missing/**", &[]),
        ] {
            assert_eq!(files(folder.path(), pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn the_words_of_the_command_that_are_files_count_through_their_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for release in ["one", "two"] {
            fs::create_dir(at(release)).unwrap();
            fs::write(at(release).join("w.php"), "same").unwrap();
        }
        std::os::unix::fs::symlink("one", at("current")).unwrap();
        let program = ProgramFiles {
            directory: folder.path().to_owned(),
            command: ["sh", "current/w.php", "-c", "no file"].map(str::to_owned).to_vec(),
            path: "/nowhere:/bin".to_owned(),
            patterns: Vec::new(),
            except: Vec::new(),
        };
        let before = program.look();
        let named: Vec<_> = before.files.keys().cloned().collect();
        assert_eq!(named, ["/bin/sh".into(), at("current/w.php")]);
        let print = program.fingerprint();
        assert!(before.is_whole && !program.look().differs(&before));
        assert_eq!(program.fingerprint(), print);
        // Copied with its times, as into a container made anew.
        let file = at("one/w.php");
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::rename(&file, at("former")).unwrap();
        fs::copy(at("former"), &file).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        assert!(program.look().differs(&before));
        assert_eq!(program.fingerprint(), print);
        fs::remove_file(&file).unwrap();
        fs::rename(at("former"), &file).unwrap();
        fs::remove_file(at("current")).unwrap();
        std::os::unix::fs::symlink("two", at("current")).unwrap();
        let after = program.look();
        assert!(after.differs(&before));
        assert_eq!(after.changed(&before), [at("current/w.php")]);
        assert_ne!(program.fingerprint(), print);
    }
}
