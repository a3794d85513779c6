//! Real files, edited the way people and programs do it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::config::sources::IncludePattern;

/// What must happen at all happens before this.
const DEADLINE: Duration = Duration::from_secs(10);
/// What must not happen would have happened before this.
const NEVER: Duration = Duration::from_millis(600);

const OLD: &str = "count = 2\n";
const NEW: &str = "count = 4\n";

/// A way of saving a file.
type Save = fn(&Path);

/// A folder with a watched file.
struct Fixture {
    folder: TempDir,
    file: PathBuf,
    patterns: Vec<IncludePattern>,
    watcher: Watcher,
    changed: mpsc::Receiver<()>,
    tasks: TaskTracker,
}

impl Fixture {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        Self::with_patterns(prepare, |_| Vec::new())
    }

    fn with_patterns(
        prepare: impl FnOnce(&Path),
        patterns: impl FnOnce(&Path) -> Vec<IncludePattern>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let (file, patterns) = (folder.path().join("workers.toml"), patterns(folder.path()));
        let (sender, changed) = mpsc::channel(1);
        let tasks = TaskTracker::new();
        let sources = sources(&file, &patterns);
        let watcher = Watcher::start(sources, sender, &tasks).unwrap();
        Self { folder, file, patterns, watcher, changed, tasks }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn is_told(&mut self) {
        timeout(DEADLINE, self.changed.recv()).await.expect("nothing was told").unwrap();
    }

    async fn is_not_told(&mut self) {
        assert!(timeout(NEVER, self.changed.recv()).await.is_err(), "a change was told");
    }

    /// What the owner does when told.
    fn load(&self) -> String {
        self.watcher.watch(sources(&self.file, &self.patterns));
        fs::read_to_string(&self.file).unwrap_or_default()
    }
}

fn sources(file: &Path, patterns: &[IncludePattern]) -> Sources {
    let mut sources = Sources::default();
    // A file that is missing is remembered as that.
    sources.read(file).unwrap_or_default();
    for pattern in patterns {
        sources.add_pattern(pattern.clone());
        for file in pattern.expand() {
            sources.read(&file).unwrap();
        }
    }
    sources
}

fn plain_file(folder: &Path) {
    fs::write(folder.join("workers.toml"), OLD).unwrap();
}

/// As a Kubernetes volume does it.
fn volume(folder: &Path) {
    for (name, text) in [("..1", OLD), ("..2", NEW)] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("workers.toml"), text).unwrap();
    }
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/workers.toml", folder.join("workers.toml")).unwrap();
}

fn run(program: &str, arguments: &[&str], file: &Path) {
    assert!(Command::new(program).args(arguments).arg(file).status().unwrap().success());
}

#[tokio::test]
async fn every_way_of_saving_is_seen() {
    let ways: [(&str, Save); 6] = [
        ("write", |file| fs::write(file, NEW).unwrap()),
        ("sed -i", |file| run("sed", &["-i", "s/2/4/"], file)),
        ("cp", |file| {
            fs::write(file.with_extension("new"), NEW).unwrap();
            run("cp", &[file.with_extension("new").to_str().unwrap()], file);
        }),
        ("rename", |file| {
            fs::write(file.with_extension("new"), NEW).unwrap();
            fs::rename(file.with_extension("new"), file).unwrap();
        }),
        ("vim", |file| {
            fs::rename(file, file.with_extension("toml~")).unwrap();
            fs::write(file, NEW).unwrap();
            fs::remove_file(file.with_extension("toml~")).unwrap();
        }),
        ("link", |file| {
            fs::write(file.with_extension("new"), NEW).unwrap();
            fs::remove_file(file).unwrap();
            symlink("workers.new", file).unwrap();
        }),
    ];
    for (name, save) in ways {
        let mut fixture = Fixture::new(plain_file);
        save(&fixture.file);
        fixture.is_told().await;
        assert_eq!(fixture.load(), NEW, "{name}");
    }
}

#[tokio::test]
async fn a_swap_of_a_symlink_on_the_path_is_seen() {
    let mut fixture = Fixture::new(volume);
    symlink("..2", fixture.path("..new")).unwrap();
    fs::rename(fixture.path("..new"), fixture.path("..data")).unwrap();
    fixture.is_told().await;
    assert_eq!(fixture.load(), NEW);
    // The folder behind the new link is watched from then on.
    fs::write(fixture.path("..2/workers.toml"), OLD).unwrap();
    fixture.is_told().await;
    assert_eq!(fixture.load(), OLD);
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_followed() {
    let deep = |folder: &Path| {
        fs::create_dir_all(folder.join("app/conf")).unwrap();
        fs::write(folder.join("app/conf/workers.toml"), OLD).unwrap();
        symlink("app/conf/workers.toml", folder.join("workers.toml")).unwrap();
    };
    let mut fixture = Fixture::new(deep);
    fs::rename(fixture.path("app"), fixture.path("app.old")).unwrap();
    fixture.is_told().await;
    assert_eq!(fixture.load(), "");
    fs::create_dir_all(fixture.path("app/conf")).unwrap();
    fs::write(fixture.path("app/conf/workers.toml"), NEW).unwrap();
    fixture.is_told().await;
    assert_eq!(fixture.load(), NEW);
}

#[tokio::test]
async fn a_new_file_that_an_include_matches_is_seen() {
    let pattern = |folder: &Path| {
        vec![IncludePattern { folder: folder.join("conf.d"), name: "*.toml".to_owned() }]
    };
    let mut fixture = Fixture::with_patterns(plain_file, pattern);
    fs::create_dir(fixture.path("conf.d")).unwrap();
    fs::write(fixture.path("conf.d/a.toml"), NEW).unwrap();
    fixture.is_told().await;
    fixture.load();
    fs::write(fixture.path("conf.d/a.toml~"), NEW).unwrap();
    fixture.is_not_told().await;
    fs::remove_file(fixture.path("conf.d/a.toml")).unwrap();
    fixture.is_told().await;
}

#[tokio::test]
async fn saving_without_a_change_and_reading_are_nothing() {
    let mut fixture = Fixture::new(plain_file);
    fs::write(&fixture.file, OLD).unwrap();
    fs::read(&fixture.file).unwrap();
    fs::write(fixture.path("other"), NEW).unwrap();
    fixture.is_not_told().await;
}

#[tokio::test]
async fn opening_and_reading_wakes_nobody() {
    let folder = tempfile::tempdir().unwrap();
    plain_file(folder.path());
    let file = folder.path().join("workers.toml");
    let mut folders = Folders::open().unwrap();
    folders.arm(&sources(&file, &[])).unwrap();
    fs::read(&file).unwrap();
    fs::read_dir(folder.path()).unwrap();
    fs::write(folder.path().join("other"), NEW).unwrap();
    assert!(timeout(NEVER, folders.next()).await.is_err(), "something happened");
    fs::write(&file, NEW).unwrap();
    assert!(timeout(DEADLINE, folders.next()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_change_is_told_once() {
    let mut fixture = Fixture::new(plain_file);
    fs::write(&fixture.file, NEW).unwrap();
    fixture.is_told().await;
    // The owner has not loaded it yet, and it is saved again as it is.
    fs::write(&fixture.file, NEW).unwrap();
    fixture.is_not_told().await;
}

#[tokio::test]
async fn a_half_written_file_is_not_told() {
    let mut fixture = Fixture::new(plain_file);
    let mut file = File::create(&fixture.file).unwrap();
    file.write_all(b"count").unwrap();
    fixture.is_not_told().await;
    file.write_all(b" = 4\n").unwrap();
    drop(file);
    fixture.is_told().await;
    assert_eq!(fixture.load(), NEW);
}

#[tokio::test]
async fn a_new_file_is_not_told_before_it_is_filled() {
    let pattern =
        |folder: &Path| vec![IncludePattern { folder: folder.into(), name: "*.toml".to_owned() }];
    let mut fixture = Fixture::with_patterns(plain_file, pattern);
    let mut file = File::create(fixture.path("more.toml")).unwrap();
    fixture.is_not_told().await;
    file.write_all(NEW.as_bytes()).unwrap();
    drop(file);
    fixture.is_told().await;
}

#[tokio::test]
async fn many_edits_end_in_the_last() {
    let mut fixture = Fixture::new(plain_file);
    let file = fixture.file.clone();
    let editor = std::thread::spawn(move || {
        for count in 1..=10 {
            let new = file.with_extension("new");
            fs::write(&new, format!("count = {count}\n")).unwrap();
            fs::rename(new, &file).unwrap();
            std::thread::park_timeout(Duration::from_millis(90));
        }
    });
    loop {
        fixture.is_told().await;
        if fixture.load() == "count = 10\n" {
            break;
        }
    }
    editor.join().unwrap();
}

#[tokio::test]
async fn an_edit_between_loading_and_watching_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    plain_file(folder.path());
    let file = folder.path().join("workers.toml");
    let loaded = sources(&file, &[]);
    fs::write(&file, NEW).unwrap();
    let (sender, mut changed) = mpsc::channel(1);
    let _watcher = Watcher::start(loaded, sender, &TaskTracker::new()).unwrap();
    timeout(DEADLINE, changed.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_watcher_ends_its_task() {
    let Fixture { watcher, tasks, .. } = Fixture::new(plain_file);
    drop(watcher);
    tasks.close();
    timeout(DEADLINE, tasks.wait()).await.unwrap();
}
