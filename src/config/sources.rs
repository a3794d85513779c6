//! The files behind some settings, as they were when they were read.
//!
//! Comparing them with the disk tells whether an edit is still to be applied; who looks when is
//! left to `watch`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use wildmatch::WildMatch;

/// Largest file that is read, in bytes; a longer one was named by mistake.
const FILE_LEN_MAX: u64 = 4 << 20;

/// Every file that was read, and the folders in which another one may appear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: BTreeMap<PathBuf, Content>,
    patterns: Vec<IncludePattern>,
}

/// What a file held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Missing,
    Hash(u64),
}

/// An `include` with `*` or `?` in its file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncludePattern {
    /// Where it looks; absolute.
    pub folder: PathBuf,
    /// What the file names there must look like.
    pub name: String,
}

impl Sources {
    /// Every file, missing ones among them; absolute paths.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// Every include that matches by pattern.
    #[must_use]
    pub fn patterns(&self) -> &[IncludePattern] {
        &self.patterns
    }

    /// The same set, as it is on disk now.
    #[must_use]
    pub fn read_again(&self) -> Self {
        let matches = self.patterns.iter().flat_map(IncludePattern::expand);
        let known = self.files.keys().cloned();
        let files = known.chain(matches).map(|path| {
            let content = self.content_now(&path);
            (path, content)
        });
        Self { files: files.collect(), patterns: self.patterns.clone() }
    }

    /// Whether the file was there.
    pub(super) fn has(&self, path: &Path) -> bool {
        matches!(self.files.get(path), Some(Content::Hash(_)))
    }

    /// Whether the file held these bytes.
    pub(super) fn is_of(&self, path: &Path, bytes: &[u8]) -> bool {
        self.files.get(path) == Some(&Content::of(bytes))
    }

    /// Reads a file and remembers what was in it.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let read = read_bounded(path);
        let content = read.as_ref().map_or(Content::Missing, |bytes| Content::of(bytes));
        self.files.insert(path.to_owned(), content);
        read
    }

    pub(super) fn add_pattern(&mut self, pattern: IncludePattern) {
        self.patterns.push(pattern);
    }

    fn content_now(&self, path: &Path) -> Content {
        let before = self.files.get(path).copied();
        match fs::metadata(path) {
            // A pipe or a device gives its bytes once; reading it again would wait for ever.
            Ok(metadata) if !metadata.is_file() => before.unwrap_or(Content::Missing),
            Ok(_) => read_bounded(path).map_or(Content::Missing, |bytes| Content::of(&bytes)),
            Err(_) => Content::Missing,
        }
    }
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self::Hash(hasher.finish())
    }
}

impl IncludePattern {
    /// Whether a path is a pattern rather than the name of one file.
    #[must_use]
    pub fn is_in(name: &str) -> bool {
        name.contains(['*', '?'])
    }

    /// True for file names it means; hidden files must be asked for by a leading dot.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        (self.name.starts_with('.') || !name.starts_with('.'))
            && WildMatch::new(&self.name).matches(name)
    }

    /// True for the paths that it means.
    #[must_use]
    pub fn means(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        path.parent() == Some(&self.folder) && name.is_some_and(|name| self.matches(name))
    }

    /// The files that match now, in the order of their names.
    #[must_use]
    pub fn expand(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let matching = entries.filter(|e| e.file_name().to_str().is_some_and(|n| self.matches(n)));
        let mut files: Vec<_> =
            matching.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        files
    }
}

pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_content_is_a_difference() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let mut sources = Sources::default();
        assert!(sources.read(&file).is_err());
        assert_eq!(sources.read_again(), sources);

        fs::write(&file, "one").unwrap();
        assert_ne!(sources.read_again(), sources);
        sources.read(&file).unwrap();
        fs::write(&file, "one").unwrap();
        assert_eq!(sources.read_again(), sources);
        fs::write(&file, "two").unwrap();
        assert_ne!(sources.read_again(), sources);
    }

    #[test]
    fn a_pattern_finds_files_that_appear_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut sources = Sources::default();
        sources.add_pattern(IncludePattern {
            folder: folder.path().join("conf.d"),
            name: "*.toml".to_owned(),
        });
        assert_eq!(sources.read_again(), sources);
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        for ignored in ["a.toml~", ".b.toml", "README"] {
            fs::write(folder.path().join("conf.d").join(ignored), "").unwrap();
        }
        assert_eq!(sources.read_again(), sources);
        fs::write(folder.path().join("conf.d/b.toml"), "").unwrap();
        assert_ne!(sources.read_again(), sources);
    }

    #[test]
    fn an_endless_file_is_refused() {
        assert!(Sources::default().read(Path::new("/dev/zero")).is_err());
        assert_eq!(Sources::default().read(Path::new("/dev/null")).unwrap(), b"");
    }
}
