//! What becomes of a file that is damaged, is somebody else's, or is of a later version.

use super::*;

/// What opening a state folder says whose `jobs.db` holds `content`.
fn refusal(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), content).unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    DiskStore::open(&dir, "H:x").unwrap_err().to_string()
}

#[test]
fn a_file_that_is_not_a_whole_store_is_never_taken_for_an_empty_one() {
    let text = refusal(b"this is a text file of somebody else, longer than a header");
    assert!(text.contains("is not a job store of gear-supervisor; move it away"), "{text}");
    assert!(refusal(b"").contains("is not a job store"), "an empty file");
}

/// A state folder with a short job and a long one in it.
fn folder_with_jobs() -> (tempfile::TempDir, [JobRecord; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:first").unwrap();
    let long = JobRecord { payload: vec![b'x'; 9000].into(), ..job(2) };
    store.commit(&[Change::Put(job(1)), Change::Put(long.clone())]).unwrap();
    (folder, [job(1), long])
}

/// Overwrites a part of the store; tells what is in it then.
fn damage(folder: &Path, part: std::ops::Range<usize>) -> Vec<u8> {
    let path = folder.join(FILE);
    let mut file = fs::read(&path).unwrap();
    file[part].fill(0xa5);
    fs::write(&path, &file).unwrap();
    file
}

/// Files in the folder that were of use only while a store was mended.
fn left_over(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| ["mended", "new", "rebuilt"].iter().any(|of| name.contains(of))).collect()
}

#[test]
fn a_store_without_a_readable_first_page_is_set_aside_and_its_jobs_are_read() {
    for damaged in [0..16, 0..100, 60..80, 0..4096, 100..4096, 2048..4096] {
        let (folder, wanted) = folder_with_jobs();
        let file = damage(folder.path(), damaged.clone());
        let dir = StateDir::open(folder.path()).unwrap();
        let mut store = DiskStore::open(&dir, "H:renamed").unwrap();
        let (jobs, meta) = scan(&mut store);
        assert_eq!((&jobs[..], meta.handle_prefix.as_str()), (&wanted[..], "H:first"));
        assert_eq!(fs::read(folder.path().join("jobs.db.damaged-1")).unwrap(), file);
        let rest = left_over(folder.path());
        assert!(rest.is_empty(), "{damaged:?}: {rest:?}");
    }
}

#[test]
fn a_first_page_that_is_damaged_at_run_time_costs_no_job() {
    let (folder, [short, long]) = folder_with_jobs();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:first").unwrap();
    damage(folder.path(), 100..4096);
    store.damage.found.store(true, Ordering::Relaxed);
    store.commit(&[Change::Put(job(3))]).unwrap();
    assert_eq!(scan(&mut store).0, [short, long, job(3)]);
}

/// Has the log taken back to the file, so that all is read from there.
fn empty_log_of(folder: &Path) {
    let other = Connection::open(folder.join(FILE)).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
}

#[test]
fn a_header_that_is_damaged_at_run_time_is_noticed_by_a_read_and_costs_no_job() {
    for damaged in [0..16, 0..100, 0..4096] {
        let (folder, [short, long]) = folder_with_jobs();
        let dir = StateDir::open(folder.path()).unwrap();
        let mut store = DiskStore::open(&dir, "H:first").unwrap();
        let mut reader = store.reader().unwrap();
        store.commit(&[Change::Put(job(3))]).unwrap();
        empty_log_of(folder.path());
        damage(folder.path(), damaged);
        assert_eq!(reader.contents(&[JobId(1)]), [(JobId(1), Fetched::Failed)]);
        store.commit(&[Change::Put(job(4))]).unwrap();
        let read = reader.contents(&[JobId(1)]);
        assert!(matches!(read[..], [(JobId(1), Fetched::Content(_))]), "{read:?}");
        assert_eq!(scan(&mut store).0, [short, long, job(3), job(4)]);
    }
}

#[test]
fn a_mending_that_was_refused_is_not_tried_at_each_commit() {
    let (folder, [short, long]) = folder_with_jobs();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:first").unwrap();
    let whole = fs::read(folder.path().join(FILE)).unwrap();
    damage(folder.path(), 0..8192);
    store.damage.found.store(true, Ordering::Relaxed);
    let mut refusal = || store.commit(&[Change::Put(job(3))]).unwrap_err().to_string();
    let first = refusal();
    assert!(first.contains("its tables cannot be found"), "{first}");
    fs::write(folder.path().join(FILE), whole).unwrap();
    assert_eq!(refusal(), first, "it was not looked at again");
    store.refused.as_mut().unwrap().1 = Instant::now();
    store.commit(&[Change::Put(job(3))]).unwrap();
    assert_eq!(scan(&mut store).0, [short, long, job(3)]);
}

#[test]
fn a_store_whose_tables_cannot_be_found_is_not_replaced_by_an_empty_one() {
    let (folder, _) = folder_with_jobs();
    let file = damage(folder.path(), 100..8192);
    let dir = StateDir::open(folder.path()).unwrap();
    let error = DiskStore::open(&dir, "H:first").unwrap_err().to_string();
    assert!(error.contains("its tables cannot be found; restore a copy, or move"), "{error}");
    assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), file);
    let rest = left_over(folder.path());
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    drop(DiskStore::open(&dir, "H:x").unwrap());
    let other = Connection::open(folder.path().join(FILE)).unwrap();
    other.execute("UPDATE meta SET value = 99 WHERE key = 'format'", ()).unwrap();
    let error = DiskStore::open(&dir, "H:x").unwrap_err().to_string();
    assert!(error.contains("has format 99, and this version reads up to 3"), "{error}");
}

#[test]
fn what_a_mending_left_that_was_cut_short_is_removed_by_the_next_start() {
    let (folder, wanted) = folder_with_jobs();
    for name in ["mended", "mended-wal", "mended-shm", "new", "new-journal"] {
        fs::write(folder.path().join(format!("{FILE}.{name}")), "half").unwrap();
    }
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:first").unwrap();
    assert_eq!(scan(&mut store).0, wanted);
    let rest = left_over(folder.path());
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn a_disk_too_full_to_mend_a_store_is_told_with_the_room_and_keeps_no_copy() {
    let (folder, _) = folder_with_jobs();
    let path = folder.path().join(FILE);
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    for error in [
        StoreError::Full { path: path.clone() },
        StoreError::Open { path: path.clone(), source: full },
    ] {
        fs::write(folder.path().join("jobs.db.mended"), "half").unwrap();
        let error = salvage::tidied(&path, Err::<(), _>(error)).unwrap_err().to_string();
        assert!(error.contains("mending it needs up to 1 MB more on its disk"), "{error}");
        assert!(left_over(folder.path()).is_empty());
    }
}

#[test]
fn a_store_of_a_later_version_is_left_alone_without_its_header_too() {
    for damaged in [0..100, 0..4096, 100..4096] {
        let (folder, _) = folder_with_jobs();
        let other = Connection::open(folder.path().join(FILE)).unwrap();
        other.execute("UPDATE meta SET value = 99 WHERE key = 'format'", ()).unwrap();
        drop(other);
        let file = damage(folder.path(), damaged);
        let dir = StateDir::open(folder.path()).unwrap();
        let error = DiskStore::open(&dir, "H:x").unwrap_err().to_string();
        assert!(error.contains("has format 99, and this version reads up to 3"), "{error}");
        assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), file);
        assert!(left_over(folder.path()).is_empty());
    }
}

#[test]
fn dead_letters_of_an_upgraded_store_never_come_back_as_waiting_jobs() {
    for (damaged, mends) in [(0..100, true), (0..4096, false), (100..4096, false)] {
        let folder = tempfile::tempdir().unwrap();
        let first = Connection::open(folder.path().join(FILE)).unwrap();
        first.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        first.execute_batch(TABLES).unwrap();
        let rows =
            "INSERT INTO meta VALUES ('format', 1), ('handle_prefix', 'H:x'), ('reserved', 9);
            WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 900)
            INSERT INTO jobs SELECT id, x'66', x'', 1, 0, 9 FROM n;
            INSERT INTO payloads SELECT id, x'70' FROM jobs";
        first.execute_batch(rows).unwrap();
        drop(first);
        let dir = StateDir::open(folder.path()).unwrap();
        let mut store = DiskStore::open(&dir, "H:x").unwrap();
        let [worker, exit, output] = ["w", "exit 3", "boom"].map(str::to_owned);
        let death = Death { at: time_of(7), cause: DeathCause::Raised, worker, exit, output };
        store.commit(&[Change::Update(update(1, Some(death.clone())))]).unwrap();
        drop(store);
        let file = damage(folder.path(), damaged);
        match DiskStore::open(&dir, "H:x") {
            Ok(mut store) => {
                assert!(mends);
                assert_eq!(store.extras().unwrap().deaths, [(JobId(1), death)].into());
            }
            Err(error) => {
                assert!(!mends, "{error}");
                assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), file);
            }
        }
    }
}

#[test]
fn pauses_of_an_upgraded_store_are_not_lost_where_its_index_was_made_before_its_tables() {
    let folder = tempfile::tempdir().unwrap();
    let first = Connection::open(folder.path().join(FILE)).unwrap();
    first.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    first.execute_batch(TABLES).unwrap();
    // Two pages before the index, free again when the tables are made.
    let rows = "INSERT INTO meta VALUES ('format', 1), ('handle_prefix', 'H:x'), ('reserved', 9);
        INSERT INTO payloads VALUES (1, zeroblob(9000));
        CREATE INDEX jobs_not_normal ON jobs (priority, id) WHERE priority <> 1;
        DELETE FROM payloads";
    first.execute_batch(rows).unwrap();
    drop(first);
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    store.commit(&[Change::Pause("f*".to_owned())]).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_not_normal'";
    let root: i64 = store.connection().unwrap().query_row(root, (), |row| row.get(0)).unwrap();
    assert_eq!(root, 7, "a new store has its table of pauses there");
    drop(store);
    damage(folder.path(), 0..4096);
    let error = DiskStore::open(&dir, "H:x").unwrap_err().to_string();
    assert!(error.contains("is not a job store"), "{error}");
}

#[test]
fn a_table_that_is_out_of_order_is_damaged_and_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let normal = |id| JobRecord { priority: Priority::Normal, ..job(id) };
    let puts = (1..=400).map(|id| Change::Put(normal(id)));
    store.commit(&puts.collect::<Vec<_>>()).unwrap();
    let leaves =
        "SELECT pageno FROM dbstat WHERE name = 'jobs' AND pagetype = 'leaf' ORDER BY path";
    let mut statement = store.connection().unwrap().prepare(leaves).unwrap();
    let leaves = statement.query_map((), |row| row.get::<_, u32>(0)).unwrap();
    let [first, _, third, ..] = leaves.map(|page| page.unwrap() as usize).collect::<Vec<_>>()[..]
    else {
        panic!()
    };
    drop(statement);
    empty_log_of(folder.path());
    // The third page of the table is the first once more.
    let mut file = fs::read(folder.path().join(FILE)).unwrap();
    file.copy_within((first - 1) * 4096..first * 4096, (third - 1) * 4096);
    fs::write(folder.path().join(FILE), &file).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let mut reader = store.reader().unwrap();
    let (urgent, next) = reader.scan(ScanPlace::start(JobId(1000)), 1000).unwrap();
    assert!(urgent.is_empty());
    let error = reader.scan(next.unwrap(), 1000).unwrap_err().to_string();
    assert!(error.contains("job 1 comes after job"), "{error}");
    store.commit(&[Change::Put(normal(500))]).unwrap();
    let ids: Vec<u64> = scan(&mut store).0.iter().map(|job| job.id.0).collect();
    assert!(ids.starts_with(&[1, 2, 3]) && ids.ends_with(&[399, 400, 500]), "{ids:?}");
    assert!(ids.is_sorted() && ids.len() > 300, "{ids:?}");
}
