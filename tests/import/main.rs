//! Files of other supervisors become files that are right, and nothing is lost in silence.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod gearman_manager;
mod supervisord;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gear_supervisor::config::{PoolSettings, Settings, Surroundings, load_text};
use gear_supervisor::import::{ImportError, Translation, import};
use tempfile::TempDir;

/// A folder with files of one import.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

fn variables() -> BTreeMap<String, String> {
    let variables = [("HOME", "/home/dev"), ("QUEUES", "3")];
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn translate(file: &Path) -> Result<Translation, ImportError> {
    import(file, &variables())
}

/// The settings that a file becomes; root's, so that every user may be named.
fn settings(translation: &Translation) -> Settings {
    let surroundings = Surroundings {
        uid: 0,
        gid: 0,
        user: Some("root".to_owned()),
        directory: "/".into(),
        variables: variables(),
        ..Surroundings::default()
    };
    let toml = &translation.toml;
    load_text(Path::new("/w/workers.toml"), toml, &surroundings)
        .unwrap_or_else(|errors| panic!("{:#?}\n{toml}", errors.lines()))
}

fn pool<'s>(settings: &'s Settings, name: &str) -> &'s PoolSettings {
    &settings.pools[&name.parse().unwrap()]
}

/// Pools with their counts.
fn counts(settings: &Settings) -> Vec<(String, u32)> {
    settings.pools.iter().map(|(name, pool)| (name.to_string(), pool.count.max)).collect()
}

/// The remarks, each without the folder of its file.
fn remarks(translation: &Translation) -> Vec<String> {
    let remark = |note: &gear_supervisor::import::Note| {
        let file = note.place.file.file_name().unwrap().to_string_lossy().into_owned();
        format!("{file}:{}: {}", note.place.line, note.text)
    };
    translation.notes.iter().map(remark).collect()
}

/// One line for a file that cannot be translated.
fn refusal(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let error = translate(&folder.path().join(files[0].0)).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}
