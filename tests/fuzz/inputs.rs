//! What must hold of arbitrary bytes, whoever made them: a file of the corpus, a test, a fuzzer.
#![allow(dead_code, reason = "each target uses one of these")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use gear_supervisor::broker::record::{Change, JobRecord};
use gear_supervisor::broker::store::{DiskStore, ScanPlace, StateDir, Store};
use gear_supervisor::model::{JobId, Priority};
use gear_supervisor::protocol::{AdminCommand, Decoder, Frame, Incoming, Request, Response};

const PACKET_LEN_MAX: usize = 1 << 16;
const READ_MAX: usize = 7;

/// Bytes of a connection mean the same however they are cut, and what was read is written as it was.
pub(crate) fn decoder(bytes: &[u8]) {
    let decoder = Decoder::new(PACKET_LEN_MAX);
    let mut whole = BytesMut::from(bytes);
    let mut cut = BytesMut::new();
    let mut parts = bytes.chunks(READ_MAX);
    loop {
        let expected = decoder.next(&mut whole);
        let mut got = decoder.next(&mut cut);
        while let Ok(None) = got {
            let Some(part) = parts.next() else { break };
            cut.extend_from_slice(part);
            got = decoder.next(&mut cut);
        }
        assert_eq!(format!("{expected:?}"), format!("{got:?}"));
        match expected {
            Ok(Some(Incoming::Frame(frame))) => typed(frame),
            Ok(Some(Incoming::Line(line))) => drop(AdminCommand::parse(&line)),
            Ok(None) | Err(_) => return,
        }
    }
}

fn typed(frame: Frame) {
    if let Ok(request) = Request::decode(frame.clone())
        && !matches!(request, Request::Unexpected(_))
    {
        let mut out = BytesMut::new();
        request.encode(&mut out);
        let Ok(Some(Incoming::Frame(again))) = Decoder::new(usize::MAX).next(&mut out) else {
            panic!("{request:?} is written as no packet");
        };
        let again = Request::decode(again).expect("what was read once");
        assert_eq!(format!("{again:?}"), format!("{request:?}"));
    }
    if let Ok(Some(response)) = Response::decode(frame) {
        response.encode(&mut BytesMut::new());
    }
}

/// Every line is understood or refused with one line.
pub(crate) fn text(bytes: &[u8]) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Err(refusal) = AdminCommand::parse(line) {
        let said = refusal.to_string();
        assert!(!said.contains('\n'), "{said:?}");
    }
}

/// What is committed is read back as it was, by the next start too.
pub(crate) fn records(bytes: &[u8]) {
    let folder = tempfile::tempdir_in(memory()).expect("a folder");
    let dir = StateDir::open(folder.path()).expect("a state folder");
    let mut model = Model::default();
    let mut input = Input(bytes);
    let mut store = DiskStore::open(&dir, "H:fuzz").expect("a store");
    while !input.0.is_empty() {
        let mut changes = Vec::new();
        for _ in 0..=input.byte() % 4 {
            let change = change(&mut input, &model);
            model.apply(&change);
            changes.push(change);
        }
        store.commit(&changes).expect("a commit");
        if input.byte() < 32 {
            drop(store);
            store = DiskStore::open(&dir, "H:fuzz").expect("the store again");
        }
    }
    check(&store, &model.jobs);
}

/// Where a commit costs no disk.
fn memory() -> std::path::PathBuf {
    let shared = std::path::PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}

fn check(store: &DiskStore, model: &BTreeMap<JobId, JobRecord>) {
    let mut reader = store.reader().expect("a store on disk has a reader");
    let mut found = BTreeMap::new();
    let mut place = Some(ScanPlace::start(JobId(u64::MAX >> 1)));
    while let Some(at) = place {
        let (records, next) = reader.scan(at, 3).expect("a scan");
        found.extend(records.into_iter().map(|record| (record.id, record)));
        place = next;
    }
    assert!(found.keys().eq(model.keys()), "{:?} {:?}", found.keys(), model.keys());
    let ids: Vec<_> = model.keys().copied().collect();
    let described = reader.describe(&ids);
    for (id, record) in model {
        let read = &found[id];
        assert_eq!((&read.function, read.priority), (&record.function, record.priority));
        assert_eq!((read.attempts, read.run_at), (record.attempts, record.run_at));
        assert_eq!(read.reducer, record.reducer);
        assert_eq!(described[id], (record.unique.clone(), record.payload.len()));
    }
}

/// What the store is to hold.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<JobId, JobRecord>,
    /// The last number that a job had: none is used twice, and none ends before it was stored.
    last: u64,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(record) => {
                self.last = record.id.0;
                self.jobs.insert(record.id, record.clone());
            }
            Change::Delete(id) => drop(self.jobs.remove(id)),
            _ => {}
        }
    }
}

fn change(input: &mut Input<'_>, model: &Model) -> Change {
    match input.byte() % 6 {
        0 => Change::Delete(JobId(model.last.saturating_sub(u64::from(input.byte())))),
        1 => Change::Pause(String::from_utf8_lossy(&input.bytes()).into_owned()),
        2 => Change::ReserveHandles { through: JobId(1 << 20) },
        _ => Change::Put(job(input, model)),
    }
}

fn job(input: &mut Input<'_>, model: &Model) -> JobRecord {
    let second = |n: u8| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(n) << 24);
    JobRecord {
        id: JobId(model.last + 1 + u64::from(input.byte() % 4)),
        function: gear_supervisor::model::FunctionName(input.bytes()),
        unique: gear_supervisor::model::Unique(input.bytes()),
        priority: Priority::ALL[usize::from(input.byte() % 3)],
        attempts: u32::from(input.byte()),
        enqueued_at: second(input.byte()),
        run_at: Some(input.byte()).filter(|n| n % 2 == 1).map(second),
        reducer: Some(input.bytes()).filter(|name| !name.is_empty()),
        payload: input.bytes(),
    }
}

/// Takes values off the front of bytes; zeros when there are none left.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self) -> Bytes {
        let len = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        Bytes::copy_from_slice(taken)
    }
}
