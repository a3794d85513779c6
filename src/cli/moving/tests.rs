use super::*;

#[test]
fn an_exported_job_reads_back_as_it_was() {
    let bytes = bytes::Bytes::from_static;
    let job = ExportedJob {
        handle: "H:x:1".to_owned(),
        function: Text::of(b"resize"),
        unique: Text::of(b""),
        priority: "low".to_owned(),
        run_at: None,
        reducer: Some(Text::of(b"sum")),
        payload: Text::of(b"a\xff\0b"),
    };
    let line = serde_json::to_string(&job).unwrap();
    assert!(line.contains(r#""function":"resize""#), "{line}");
    assert!(line.contains(r#""payload":{"base64":"Yf8AYg=="}"#), "{line}");
    let moving = MovingJob::from(&serde_json::from_str::<ExportedJob>(&line).unwrap());
    assert_eq!(moving.submission.payload, bytes(b"a\xff\0b"));
    assert_eq!((moving.submission.priority, moving.reducer), (Priority::Low, Some("sum".into())));
}

#[test]
fn gearmands_file_is_read_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gearmand.sqlite");
    let made = rusqlite::Connection::open(&path).unwrap();
    made.execute_batch(
        "CREATE TABLE gearman_queue (unique_key TEXT, function_name TEXT, priority INTEGER,
            data BLOB, when_to_run INTEGER, PRIMARY KEY (unique_key, function_name));
         INSERT INTO gearman_queue VALUES ('z', 'f', 2, x'6100', 0);
         INSERT INTO gearman_queue VALUES ('a', 'f', 0, 'text', 0);
         INSERT INTO gearman_queue VALUES ('', 'g', 1, NULL, 1764000000);",
    )
    .unwrap();
    drop(made);
    let mut file = File::open(&path, "gearman_queue").unwrap();
    let mut jobs = Vec::new();
    while let Some(more) = file.next_jobs(2).unwrap() {
        jobs.extend(more.into_iter().map(|job| job.submission));
    }
    let job = |unique: &str, function: &str, priority, mode, payload: &'static [u8]| Submission {
        function: function.into(),
        unique: unique.into(),
        priority,
        mode,
        payload: bytes::Bytes::from_static(payload),
    };
    assert_eq!(
        jobs,
        [
            job("z", "f", Priority::Low, SubmitMode::Background, b"a\0"),
            job("a", "f", Priority::High, SubmitMode::Background, b"text"),
            job("", "g", Priority::Normal, SubmitMode::At(1_764_000_000), b""),
        ]
    );
    let error = File::open(&path, "other").err().unwrap();
    assert_eq!(error.exit(), Exit::Failed);
}
