use std::collections::HashMap;
use std::fs;

use super::*;
use crate::broker::record::{Death, DeathCause, Fetched, JobUpdate, ScheduleRecord};
use crate::broker::store::ScanPlace;
use crate::broker::store::schema::{APPLICATION_ID, TABLES};

fn job(id: u64) -> JobRecord {
    JobRecord {
        id: JobId(id),
        function: "resize".into(),
        unique: "u\0!".into(),
        priority: Priority::Low,
        attempts: 2,
        enqueued_at: time_of(1_764_000_000_123_456),
        run_at: Some(time_of(1_764_000_001_000_000)),
        reducer: Some(Bytes::from_static(b"sum\xff")),
        payload: Bytes::from_static(b"a\0b"),
    }
}

fn update(id: u64, death: Option<Death>) -> JobUpdate {
    JobUpdate { id: JobId(id), attempts: 3, enqueued_at: time_of(5), death }
}

fn scan(store: &mut DiskStore) -> (Vec<JobRecord>, Meta) {
    let mut reader = store.reader().unwrap();
    let mut place = Some(ScanPlace::start(JobId(1000)));
    let mut jobs = Vec::new();
    while let Some(from) = place {
        let (mut piece, next) = reader.scan(from, 2).unwrap();
        jobs.append(&mut piece);
        place = next;
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    for (job, (id, fetched)) in jobs.iter_mut().zip(reader.contents(&ids)) {
        let Fetched::Content(content) = fetched else { panic!("{id}: {fetched:?}") };
        assert_eq!(content.unique, job.unique);
        job.payload = content.payload;
    }
    (jobs, store.meta().unwrap())
}

/// What opening a state folder says whose `jobs.db` holds `content`.
fn refusal(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), content).unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    DiskStore::open(&dir, "H:x").unwrap_err().to_string()
}

#[test]
fn records_come_back_as_they_were_and_the_first_prefix_stays() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:first").unwrap();
    let changes = [
        Change::ReserveHandles { through: JobId(1000) },
        Change::Put(job(7)),
        Change::Put(job(3)),
        Change::Put(job(9)),
        Change::Delete(JobId(9)),
        Change::Update(update(3, None)),
    ];
    store.commit(&changes).unwrap();
    drop(store);
    let mut store = DiskStore::open(&dir, "H:renamed").unwrap();
    let (jobs, meta) = scan(&mut store);
    assert_eq!(jobs, [JobRecord { attempts: 3, enqueued_at: time_of(5), ..job(3) }, job(7)]);
    let reserved = JobId(1000);
    assert_eq!(meta, Meta { handle_prefix: "H:first".to_owned(), reserved });
}

#[test]
fn dead_letters_schedules_and_pauses_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let death = |cause| Death {
        at: time_of(7),
        cause,
        worker: "slow:2".to_owned(),
        exit: "exit 3".to_owned(),
        output: "boom\n".to_owned(),
    };
    let schedule = |id, times: &str| ScheduleRecord {
        id: JobId(id),
        function: "report".into(),
        unique: "u".into(),
        made_at: time_of(6),
        times: times.to_owned(),
        payload: Bytes::from_static(b"p"),
    };
    let raised = death(DeathCause::Raised);
    let changes = [
        Change::Put(job(1)),
        Change::Put(job(2)),
        Change::Put(job(3)),
        Change::Update(update(1, Some(death(DeathCause::Died)))),
        Change::Update(update(1, Some(raised.clone()))),
        Change::Update(update(2, Some(death(DeathCause::Failed)))),
        Change::Update(update(2, None)),
        Change::Update(update(3, Some(death(DeathCause::TimedOut)))),
        Change::Purge(JobId(3)),
        Change::PutSchedule(schedule(8, "0 3 * * *")),
        Change::PutSchedule(schedule(8, "0 4 * * *")),
        Change::PutSchedule(schedule(9, "* * * * *")),
        Change::DeleteSchedule(JobId(9)),
        Change::Pause("a*".to_owned()),
        Change::Pause("a*".to_owned()),
        Change::Pause("b".to_owned()),
        Change::Resume("b".to_owned()),
    ];
    store.commit(&changes).unwrap();
    drop(store);
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let wanted = Extras {
        deaths: [(JobId(1), raised)].into(),
        schedules: vec![schedule(8, "0 4 * * *")],
        paused: vec!["a*".to_owned()],
    };
    assert_eq!(store.extras().unwrap(), wanted);
    let (jobs, _) = scan(&mut store);
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [JobId(1), JobId(2)]);
}

#[test]
fn a_store_of_the_first_format_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    drop(DiskStore::open(&dir, "H:x").unwrap());
    let other = Connection::open(folder.path().join(FILE)).unwrap();
    other
        .execute_batch(
            "DROP TABLE dead; DROP TABLE schedules; DROP TABLE paused;
             ALTER TABLE jobs DROP COLUMN payload;
             ALTER TABLE jobs DROP COLUMN run_at; ALTER TABLE jobs DROP COLUMN reducer;
             INSERT INTO jobs VALUES (4, x'66', x'', 1, 0, 9);
             INSERT INTO payloads VALUES (4, x'70');
             UPDATE meta SET value = 1 WHERE key = 'format'",
        )
        .unwrap();
    drop(other);
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    assert_eq!(store.extras().unwrap(), Extras::default());
    let (jobs, _) = scan(&mut store);
    assert_eq!(jobs.iter().map(|job| (job.id, job.run_at)).collect::<Vec<_>>(), [(JobId(4), None)]);
}

#[test]
fn a_commit_that_fails_leaves_nothing_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    store.commit(&[Change::Put(job(1))]).unwrap();
    let twice = [Change::Put(job(2)), Change::Put(job(2))];
    store.commit(&twice).unwrap_err();
    store.commit(&[Change::Put(job(3))]).unwrap();
    let (jobs, _) = scan(&mut store);
    assert_eq!(jobs, [job(1), job(3)]);
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
fn jobs_of_any_length_come_back_and_only_those_that_are_over_go() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let jobs = [0, 1, 256, 257, 9000, 100].map(|len| JobRecord {
        payload: vec![b'x'; len].into(),
        unique: "-".into(),
        ..job(len as u64 + 1)
    });
    store.commit(&jobs.clone().map(Change::Put)).unwrap();
    let over = [2, 257, 101, 9001].map(|id| Change::Delete(JobId(id)));
    store.commit(&over).unwrap();
    let [empty, _, _, long, ..] = jobs;
    assert_eq!(scan(&mut store).0, [empty, long]);
}

#[test]
fn a_job_without_its_payload_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let long = JobRecord { payload: vec![b'x'; 5000].into(), ..job(6) };
    store.commit(&[Change::Put(job(5)), Change::Put(long)]).unwrap();
    let other = Connection::open(folder.path().join(FILE)).unwrap();
    other.execute("DELETE FROM payloads", ()).unwrap();
    let mut reader = store.reader().unwrap();
    let [short, long] = &reader.contents(&[JobId(5), JobId(6)])[..] else { panic!() };
    assert!(matches!(short.1, Fetched::Content(_)), "{short:?} is in its job's row");
    assert_eq!(*long, (JobId(6), Fetched::Lost));
    other.execute("UPDATE jobs SET payload = NULL", ()).unwrap();
    assert_eq!(reader.contents(&[JobId(5)]), [(JobId(5), Fetched::Lost)]);
}

#[test]
fn a_scan_brings_urgent_jobs_first_and_payloads_only_where_they_are_the_unique() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let jobs = [
        (1, Priority::Low, "a"),
        (2, Priority::Normal, "-"),
        (3, Priority::Normal, "b"),
        (4, Priority::High, "c"),
        (5, Priority::Normal, "too late"),
    ];
    let puts = jobs.map(|(id, priority, unique)| {
        Change::Put(JobRecord { priority, unique: unique.into(), ..job(id) })
    });
    store.commit(&puts).unwrap();
    let mut reader = store.reader().unwrap();
    let mut place = Some(ScanPlace::start(JobId(4)));
    let mut found = Vec::new();
    while let Some(from) = place {
        let (piece, next) = reader.scan(from, 1).unwrap();
        found.extend(piece.iter().map(|job| (job.id.0, job.payload.len())));
        place = next;
    }
    assert_eq!(found, [(4, 0), (2, 3), (3, 0), (1, 0)]);
    let wanted = HashMap::from([(JobId(3), ("b".into(), 3))]);
    assert_eq!(reader.describe(&[JobId(3), JobId(9)]), wanted);
}

#[test]
fn a_start_reads_dead_letters_without_a_look_at_every_job() {
    let folder = tempfile::tempdir().unwrap();
    let dir = StateDir::open(folder.path()).unwrap();
    let mut store = DiskStore::open(&dir, "H:x").unwrap();
    let connection = store.connection().unwrap();
    let plan = format!("EXPLAIN QUERY PLAN {}", extras::DEATHS);
    let mut statement = connection.prepare(&plan).unwrap();
    let steps = statement.query_map((), |row| row.get::<_, String>("detail")).unwrap();
    let steps: Vec<_> = steps.map(Result::unwrap).collect();
    assert_eq!(steps, ["SCAN dead", "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)"]);
}
