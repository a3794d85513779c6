//! A log file on a real disk, and what others do to it meanwhile.

use super::super::older::older_files;
use super::*;

fn settings(size_max: u64, keep: u32) -> LogSettings {
    LogSettings { size_max, keep, ..LogSettings::default() }
}

fn log_in(dir: &tempfile::TempDir, settings: &LogSettings) -> (PathBuf, LogFile) {
    let path = dir.path().join("sub/x.log");
    (path.clone(), LogFile::new(path, settings))
}

fn append(file: &mut LogFile, bytes: &[u8], now: Instant) {
    file.append(Batch::new(bytes, None), now);
}

fn older(path: &Path) -> Vec<Vec<u8>> {
    older_files(path).map(|older| fs::read(older.path).unwrap()).collect()
}

#[test]
fn rotated_files_hold_every_byte_in_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut file) = log_in(&dir, &settings(100, 9));
    let mut all = Vec::new();
    for turn in 0..20 {
        let text = format!("line {turn}\n").repeat(turn);
        let lines = text.get(..text.len().min(300)).unwrap_or_default();
        let whole = lines.rfind('\n').map_or("", |end| &lines[..=end]);
        append(&mut file, whole.as_bytes(), Instant::now());
        all.extend_from_slice(whole.as_bytes());
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
    let mut found = older(&path);
    assert_eq!(found.len(), 9);
    found.reverse();
    found.push(fs::read(&path).unwrap());
    for bytes in &found {
        assert!(bytes.len() <= 100 && bytes.ends_with(b"\n"));
    }
    assert!(all.ends_with(&found.concat()));
}

#[test]
fn an_old_file_is_rotated_by_the_next_output_between_two_lines() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_hours(1);
    let settings = LogSettings { age_max: Some(hour), ..LogSettings::default() };
    let (path, mut file) = log_in(&dir, &settings);
    let now = Instant::now();
    append(&mut file, b"a\n", now);
    append(&mut file, b"b", now + hour / 2);
    append(&mut file, b"ut\n", now + hour);
    assert_eq!(older(&path), [b""; 0]);
    append(&mut file, b"c\n", now + hour);
    assert_eq!(older(&path), [b"a\nbut\n"]);
    // The age is the file's, not the daemon's.
    let mut again = LogFile::new(path.clone(), &settings);
    append(&mut again, b"d\n", now + hour / 2);
    assert_eq!(fs::read(&path).unwrap(), b"c\nd\n");
}

#[test]
fn output_goes_on_under_the_name_after_the_file_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut file) = log_in(&dir, &settings(100, 1));
    let now = Instant::now();
    append(&mut file, b"a\n", now);
    fs::remove_file(&path).unwrap();
    append(&mut file, b"b\n", now + LOOK_PAUSE);
    assert_eq!(fs::read(&path).unwrap(), b"b\n");
    fs::rename(&path, dir.path().join("moved")).unwrap();
    file.reopen();
    append(&mut file, b"c\n", now + LOOK_PAUSE);
    assert_eq!(fs::read(&path).unwrap(), b"c\n");
}

#[test]
fn a_file_that_was_cut_short_by_logrotate_is_written_on_and_not_rotated_early() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut file) = log_in(&dir, &settings(100, 3));
    let now = Instant::now();
    let line = [&[b'x'; 59][..], b"\n"].concat();
    append(&mut file, &line, now);
    fs::copy(&path, dir.path().join("copy")).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    append(&mut file, &line, now);
    assert_eq!(fs::read(&path).unwrap(), line, "no hole, and all that came after");
    assert_eq!(older(&path), [b""; 0]);
    append(&mut file, &line, now);
    assert_eq!(older(&path), [&line[..]], "from then on it fills as usual");
}

#[test]
fn a_full_disk_loses_lines_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut file) = log_in(&dir, &settings(100, 1));
    fs::create_dir(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    append(&mut file, b"lost\n", Instant::now());
    assert!(file.is_failing());
    fs::remove_file(&path).unwrap();
    file.reopen();
    append(&mut file, b"kept\n", Instant::now());
    assert!(!file.is_failing());
    assert_eq!(fs::read(&path).unwrap(), b"kept\n");
}

#[test]
fn a_record_that_was_lost_in_part_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut file) = log_in(&dir, &settings(100, 1));
    append(&mut file, b"a half rec", Instant::now());
    file.open.as_mut().unwrap().torn = true;
    append(&mut file, b"whole\n", Instant::now());
    assert_eq!(fs::read(&path).unwrap(), b"a half rec\nwhole\n");
}
