//! What stands on the way from `/` to a file: folders, and symlinks that can be swapped.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Symlinks that the kernel follows on one path (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The way to a file, as it is now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Every folder that is passed.
    pub(super) folders: Vec<PathBuf>,
    /// Names in some of these folders: each symlink, and the file itself or the first part of its
    /// path that is missing.
    pub(super) names: Vec<(PathBuf, OsString)>,
    /// The path without symlinks; `None` when a part of it is missing.
    pub(super) end: Option<PathBuf>,
}

impl Way {
    /// Follows an absolute path.
    pub(super) fn to(path: &Path) -> Self {
        let mut way = Self::default();
        let mut here = PathBuf::from("/");
        let mut ahead = parts(path);
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                here.pop();
                continue;
            }
            if way.folders.last() != Some(&here) {
                way.folders.push(here.clone());
            }
            let next = here.join(&part);
            let link = fs::read_link(&next);
            if link.is_ok() || ahead.is_empty() || fs::symlink_metadata(&next).is_err() {
                way.names.push((here.clone(), part));
            }
            match link {
                Ok(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return way;
                    }
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    let mut aside = parts(&target);
                    aside.append(&mut ahead);
                    ahead = aside;
                }
                Err(_) if fs::symlink_metadata(&next).is_err() => return way,
                Err(_) => here = next,
            }
        }
        way.end = Some(here);
        way
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component| match component {
        Component::Normal(part) => Some(part),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).map(OsStr::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_symlink_on_the_way_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir_all(root.join("data-1")).unwrap();
        fs::write(root.join("data-1/workers.toml"), "").unwrap();
        symlink("data-1", root.join("..data")).unwrap();
        symlink("..data/workers.toml", root.join("workers.toml")).unwrap();
        symlink(&root, root.join("data-1/up")).unwrap();

        let way = Way::to(&root.join("data-1/up/workers.toml"));
        let names: Vec<_> = way.names.iter().map(|(at, name)| at.join(name)).collect();
        let expected = ["data-1/up", "workers.toml", "..data", "data-1/workers.toml"];
        assert_eq!(names, expected.map(|name| root.join(name)));
        assert_eq!(way.end, Some(root.join("data-1/workers.toml")));
    }

    #[test]
    fn the_way_ends_at_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let way = Way::to(&root.join("conf.d/deep/a.toml"));
        assert_eq!(way.names, [(root.clone(), OsString::from("conf.d"))]);
        assert_eq!(way.end, None);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(Way::to(&root.join("loop")).end, None);
    }
}
