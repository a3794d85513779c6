use std::collections::HashMap;
use std::fs;

use super::*;
use crate::broker::record::{Death, DeathCause, Fetched, JobUpdate, ScheduleRecord};
use crate::broker::store::ScanPlace;
use crate::broker::store::schema::{APPLICATION_ID, TABLES};

mod damage;

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
