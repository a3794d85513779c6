//! The keys `runner`, `worker_dir`, `worker_exclude` and `worker_prefix`: GearmanManager's way,
//! where a worker is a folder of files and a PHP program that we bring serves them.

use std::path::{Path, PathBuf};

use super::deploys::{FilePattern, WorkerFiles};
use super::table::Table;
use super::value::Value;
use super::values::one_of;
use super::wrong::{Parsed, Wrong};

/// Serves a folder of worker files; for `php -r`, so that no file of ours has to be on the host.
const GEARMAN_MANAGER: &str = include_str!("gearman_manager.php");
/// What runs it unless `command` says otherwise.
const PHP: &str = "php";

/// The keys of this file.
#[derive(Debug)]
pub(super) struct Runner {
    kind: Option<Kind>,
    folders: Vec<PathBuf>,
    exclude: Vec<String>,
    prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    GearmanManager,
}

impl Runner {
    /// Reads the keys of a pool, or of the defaults.
    pub(super) fn read(table: &Table<'_>) -> Self {
        Self {
            kind: table.read("runner", kind),
            folders: table.read("worker_dir", Value::paths).unwrap_or_default(),
            exclude: table.read("worker_exclude", |value| value.each(function)).unwrap_or_default(),
            prefix: table.read("worker_prefix", Value::text),
        }
    }

    /// Whether the pool's command is ours.
    pub(super) fn is_set(&self) -> bool {
        self.kind.is_some()
    }

    /// Reports keys that do not go together.
    pub(super) fn check(&self, table: &Table<'_>) {
        let Some(Kind::GearmanManager) = self.kind else {
            for key in ["worker_dir", "worker_exclude", "worker_prefix"] {
                if table.get(key).is_some() && table.get("runner").is_none() {
                    let wrong = Wrong::new("only a runner looks at it");
                    table.wrong_at(key, wrong.hint("write runner = \"gearman-manager\" beside it"));
                }
            }
            return;
        };
        if table.get("worker_dir").is_none() {
            let wrong = Wrong::new("is missing");
            table.wrong("worker_dir", wrong.hint("write the folder of the workers' files"));
        }
    }

    /// The whole command; `php` is the pool's own `command`, when it has one.
    pub(super) fn command(
        &self,
        php: Option<Vec<String>>,
        functions: &[String],
    ) -> Option<Vec<String>> {
        let Some(Kind::GearmanManager) = self.kind else { return php };
        let mut words = php.unwrap_or_else(|| vec![PHP.to_owned()]);
        words.extend(["-r", GEARMAN_MANAGER, "--", "--servers={servers}"].map(str::to_owned));
        words.extend(self.folders.iter().map(|folder| format!("--dir={}", folder.display())));
        words.extend(functions.iter().map(|function| format!("--only={function}")));
        words.extend(self.exclude.iter().map(|function| format!("--not={function}")));
        words.extend(self.prefix.iter().map(|prefix| format!("--prefix={prefix}")));
        Some(words)
    }

    /// The files that hold these functions, or all in its folders but those that are excluded.
    pub(super) fn files(&self, functions: &[String]) -> WorkerFiles {
        let Some(Kind::GearmanManager) = self.kind else { return WorkerFiles::default() };
        let named = |names: &[String]| -> Vec<PathBuf> {
            let of = |folder: &PathBuf| names.iter().map(|name| file_of(folder, name)).collect();
            self.folders.iter().flat_map(|folder| -> Vec<_> { of(folder) }).collect()
        };
        let files = if functions.is_empty() { named(&["*".to_owned()]) } else { named(functions) };
        WorkerFiles {
            patterns: files.iter().map(|file| FilePattern::of(file)).collect(),
            except: named(&self.exclude),
        }
    }
}

fn file_of(folder: &Path, function: &str) -> PathBuf {
    folder.join(format!("{function}.php"))
}

fn kind(value: &Value<'_>) -> Parsed<Kind> {
    value.parse(|text| one_of(text, &[("gearman-manager", Kind::GearmanManager)]))
}

fn function(name: &str) -> Parsed<String> {
    match name {
        "" => Err(Wrong::new("an empty name").hint("write that of a function")),
        _ => Ok(name.to_owned()),
    }
}
