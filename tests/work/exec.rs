//! exec: a process per job.

use std::process::{Command, Stdio};

use gear_supervisor::gearman::JobEvent;
use gear_supervisor::protocol::SubmitMode;

use crate::scene::{Lifeline, Server, complete, job, status};

#[tokio::test]
async fn stdout_is_the_result_and_the_environment_names_the_job() {
    let Some(server) = Server::start() else { return };
    let script = r#"echo "$(cat) $GEAR_FUNCTION $GEAR_UNIQUE ${GEAR_HANDLE%%:*}""#;
    let _adapter = server.work(&[], script);
    assert_eq!(server.run("hello").await, [complete("hello f the unique H\n")]);
}

#[tokio::test]
async fn a_program_that_does_not_exit_with_0_has_failed() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work(&[], "echo lost; eval $(cat)");
    for (ending, told) in
        [("exit 3", "(f) failed: exit 3"), ("kill -SEGV $$", "(f) failed: killed by SEGV")]
    {
        assert_eq!(server.run(ending).await, [JobEvent::Fail], "{ending}");
        adapter.expect(told);
    }
    assert_eq!(server.run("true").await, [complete("lost\n")]);
}

#[tokio::test]
async fn exit_75_gives_the_job_back_for_another_try() {
    let Some(server) = Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let script = format!("mkdir {}/tried && exit 75; echo done", dir.path().display());
    let adapter = server.work(&[], &script);
    assert_eq!(server.run("x").await, [complete("done\n")]);
    adapter.expect("(f) is given back for another try");
}

#[tokio::test]
async fn lines_on_fd_3_are_progress() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work(&[], "echo half >&3; echo 3/10 >&3; cat; printf 10/10 >&3");
    let events = server.run("x").await;
    let (last, progress) = events.split_last().unwrap();
    assert_eq!(*last, complete("x"));
    assert!(progress.ends_with(&[status("10", "10")]), "{progress:?}");
    adapter.expect("'half' on fd 3 is no progress; write N/M");
}

#[tokio::test]
async fn with_stream_the_result_comes_in_parts_while_the_program_runs() {
    let Some(server) = Server::start() else { return };
    let lifeline = Lifeline::new();
    let script = format!("echo first; {} echo second", lifeline.wait_for_release());
    let _adapter = server.work(&["--stream"], &script);
    let mut client = server.client().await;
    let mut stream = client.submit(job("x", SubmitMode::Foreground));
    let mut next = async || stream.next().await.unwrap().unwrap();
    assert!(matches!(next().await, JobEvent::Created(_)));
    assert_eq!(next().await, JobEvent::Data("first\n".into()));
    lifeline.release();
    assert_eq!(next().await, JobEvent::Data("second\n".into()));
    assert_eq!(next().await, complete(""));
}

#[tokio::test]
async fn large_payloads_and_results_pass_through() {
    let Some(server) = Server::start() else { return };
    let _adapter = server.work(&[], "cat");
    let payload: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    let events = server.run(payload.clone()).await;
    assert!(events == [JobEvent::Complete(payload.into())], "{} events", events.len());
}

#[tokio::test]
async fn a_program_need_not_read_its_payload() {
    let Some(server) = Server::start() else { return };
    let _adapter = server.work(&[], "exec <&-; echo done");
    assert_eq!(server.run(vec![b'x'; 5_000_000]).await, [complete("done\n")]);
}

#[tokio::test]
async fn an_endless_result_fails_and_ends_the_program() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work_command(&[], &["cat", "/dev/zero"]);
    assert_eq!(server.run("x").await, [JobEvent::Fail]);
    adapter.expect("its result is above");
}

#[tokio::test]
async fn what_strays_of_a_program_does_not_hold_its_job() {
    let Some(server) = Server::start() else { return };
    let _adapter = server.work(&[], "sleep 1000 & echo done");
    assert_eq!(server.run("x").await, [complete("done\n")]);
}

#[tokio::test]
async fn a_program_inherits_nothing_of_its_adapter_but_fd_3() {
    let Some(server) = Server::start() else { return };
    let count = |listing: &[u8]| {
        let listing = String::from_utf8_lossy(listing);
        let talks =
            |line: &&str| ["pipe:", "socket:", "anon_inode:"].iter().any(|k| line.contains(k));
        listing.lines().filter(talks).count()
    };
    let program = ["ls", "-l", "/proc/self/fd"];
    // Whoever runs the tests may leave something open to every process.
    let mut plain = Command::new(program[0]);
    let plain = plain.args(&program[1..]).stdin(Stdio::piped()).output().unwrap();
    let adapter = server.work_command(&[], &program);
    adapter.expect("serving f at");
    let events = server.run("x").await;
    let [JobEvent::Complete(listing)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(count(listing), count(&plain.stdout) + 1, "{}", String::from_utf8_lossy(listing));
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_the_adapter_before_it_takes_a_job() {
    let Some(server) = Server::start() else { return };
    for (program, why) in [
        ("no-such-program", "cannot run no-such-program: No such file or directory (os error 2)"),
        ("/etc/passwd", "cannot run /etc/passwd: Permission denied (os error 13)"),
        ("/etc", "cannot run /etc: Permission denied (os error 13)"),
    ] {
        let (status, said) = server.work_command(&[], &[program]).end();
        assert_eq!((status.code(), said), (Some(1), format!("gear-supervisor: work: {why}\n")));
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_any_more_does_not_fail_the_job() {
    let Some(server) = Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    std::fs::copy("/bin/cat", &program).unwrap();
    let adapter = server.work_command(&[], &[&program]);
    adapter.expect("serving f at");
    std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    let mut client = server.client().await;
    let handle = client.submit_background(job("x", SubmitMode::Background)).await.unwrap();
    let (status, said) = adapter.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("program: No such file or directory"), "{said}");
    assert!(client.status(handle).await.unwrap().known);
}
