//! lines: one long-lived program, spoken to in JSON.

use gear_supervisor::gearman::JobEvent;
use gear_supervisor::protocol::SubmitMode;

use crate::scene::{Lifeline, Server, complete, job, status};

/// A program that answers each request with its payload, which is to hold replies without quotes
/// (`{status:[1,2]}`), and with `%` between two of them.
const SAYS_WHAT_IT_IS_TOLD: &str = r#"
    while read -r line; do
        payload=${line##*payload*:\"}
        payload=${payload%\"*}
        echo "$payload" | tr "%'" '\n"'
    done
"#;

#[tokio::test]
async fn every_kind_of_reply_reaches_the_client() {
    let Some(server) = Server::start() else { return };
    let _adapter = server.work(&["--lines"], SAYS_WHAT_IT_IS_TOLD);
    let story = [
        JobEvent::Data("a".into()),
        status("3", "10"),
        JobEvent::Warning("w".into()),
        complete("r"),
    ];
    let told = "{'data':'a'}%{'status':[3,10]}%{'warning':'w'}%{'result':'r'}";
    assert_eq!(server.run(told).await, story);
    assert_eq!(server.run("{'fail':true}").await, [JobEvent::Fail]);
    assert_eq!(server.run("{'exception':'e'}").await, [JobEvent::Exception("e".into())]);
    assert_eq!(
        server.run("{'result_base64':'/wA='}").await,
        [JobEvent::Complete(b"\xff\0"[..].into())]
    );
}

#[tokio::test]
async fn requests_name_the_job_and_carry_any_bytes() {
    let Some(server) = Server::start() else { return };
    let script = r#"while read -r line; do printf '%s\n' "$line" | sed 's/"/\\"/g; s/.*/{"result":"&"}/'; done"#;
    let _adapter = server.work(&["--lines"], script);
    let check = async |payload: &[u8], wanted: &str| {
        let events = server.run(payload).await;
        let [JobEvent::Complete(request)] = &events[..] else { panic!("{events:?}") };
        let request = String::from_utf8(request.to_vec()).unwrap();
        let rest = request.strip_prefix(r#"{"handle":"H:"#).unwrap();
        let (_, rest) = rest.split_once(r#"","#).unwrap();
        assert_eq!(rest, format!(r#""function":"f","unique":"the unique",{wanted}}}"#));
    };
    check("grüße".as_bytes(), r#""payload":"grüße""#).await;
    check(b"\xff\0", r#""payload_base64":"/wA=""#).await;
}

#[tokio::test]
async fn a_line_that_is_no_reply_fails_the_job_and_the_program_is_started_again() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work(&["--lines"], &format!("echo start >&2; {SAYS_WHAT_IT_IS_TOLD}"));
    assert_eq!(server.run("Traceback").await, [JobEvent::Fail]);
    adapter.expect("failed: the program answered 'Traceback': expected value at line 1 column 1");
    adapter.expect("start");
    assert_eq!(server.run("{'result':'r'}").await, [complete("r")]);
}

#[tokio::test]
async fn a_line_that_nobody_asked_for_is_not_taken_for_the_next_jobs_reply() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work(&["--lines"], SAYS_WHAT_IT_IS_TOLD);
    let told = "{'result':'r'}%{'result':'of another'}";
    assert_eq!(server.run(told).await, [complete("r")]);
    adapter.expect("the program wrote '{\\\"result\\\":\\\"of another\\\"}' without being asked");
    assert_eq!(server.run("{'result':'s'}").await, [complete("s")]);
}

#[tokio::test]
async fn a_program_that_dies_over_a_job_ends_the_adapter_and_the_job_goes_back() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work(&["--lines"], "read -r line; exit 3");
    let mut client = server.client().await;
    let mut stream = client.submit(job("x", SubmitMode::Foreground));
    assert!(matches!(stream.next().await.unwrap(), Some(JobEvent::Created(_))));
    let (status, said) = adapter.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("the program ended (exit 3) with job H:"), "{said}");
    let _successor =
        server.work(&["--lines"], r#"read -r line; echo '{"result":"r"}'; read -r line"#);
    assert_eq!(stream.next().await.unwrap(), Some(complete("r")));
}

#[tokio::test]
async fn a_program_may_end_after_a_job_and_is_started_again() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work(&["--lines"], r#"read -r line; echo '{"result":"r"}'"#);
    for _ in 0..2 {
        assert_eq!(server.run("x").await, [complete("r")]);
        adapter.expect("the program ended (exit 0); it is started again");
    }
}

#[tokio::test]
async fn large_requests_and_replies_pass_through() {
    let Some(server) = Server::start() else { return };
    let script = r#"while read -r line; do printf '{"data":"'; head -c 3000000 /dev/zero | tr '\0' x; echo '"}'; echo '{"result":""}'; done"#;
    let _adapter = server.work(&["--lines"], script);
    let events = server.run(vec![b'y'; 1_000_000]).await;
    assert!(events == [JobEvent::Data(vec![b'x'; 3_000_000].into()), complete("")]);
}

#[tokio::test]
async fn a_program_that_is_told_to_end_may_clean_up() {
    let Some(server) = Server::start() else { return };
    let lifeline = Lifeline::new();
    let script = format!("{} while read -r line; do :; done; echo bye >&2", lifeline.tie());
    let adapter = server.work(&["--lines"], &script);
    let program = lifeline.wait_until_up();
    adapter.signal(nix::sys::signal::Signal::SIGTERM);
    program.wait_until_gone();
    let (status, said) = adapter.end();
    assert_eq!((status.code(), said.as_str()), (Some(0), "bye\n"));
}
