//! How an adapter ends, and what it leaves behind: nothing.

use gear_supervisor::gearman::{Client, JobEvent, JobStream};
use gear_supervisor::protocol::SubmitMode;
use nix::sys::signal::Signal;

use crate::scene::{Adapter, Lifeline, Server, Tied, complete, job};

/// An adapter whose program is in the middle of a job.
struct Busy {
    adapter: Adapter,
    lifeline: Lifeline,
    program: Tied,
}

impl Busy {
    async fn start(server: &Server, stream: &mut JobStream<'_>) -> Self {
        let lifeline = Lifeline::new();
        let script = format!("{} {} echo done", lifeline.tie(), lifeline.wait_for_release());
        let adapter = server.work(&[], &script);
        assert!(matches!(stream.next().await.unwrap(), Some(JobEvent::Created(_))));
        let program = lifeline.wait_until_up();
        Self { adapter, lifeline, program }
    }
}

fn submit(client: &mut Client) -> JobStream<'_> {
    client.submit(job("x", SubmitMode::Foreground))
}

#[tokio::test]
async fn an_idle_adapter_ends_at_once() {
    let Some(server) = Server::start() else { return };
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        for options in [&[][..], &["--lines"]] {
            let adapter = server.work(options, "cat");
            adapter.signal(signal);
            let (status, said) = adapter.end();
            assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{signal}, {options:?}");
        }
    }
}

#[tokio::test]
async fn an_adapter_without_a_server_ends_at_once_too() {
    let Some(server) = Server::start() else { return };
    let adapter = server.work(&[], "cat");
    server.kill();
    adapter.expect("lost 127.0.0.1");
    adapter.signal(Signal::SIGTERM);
    assert_eq!(adapter.end().0.code(), Some(0));
}

#[tokio::test]
async fn the_job_in_hand_is_finished_first() {
    let Some(server) = Server::start() else { return };
    let mut client = server.client().await;
    let mut stream = submit(&mut client);
    let busy = Busy::start(&server, &mut stream).await;
    busy.adapter.signal(Signal::SIGTERM);
    busy.adapter.expect("(f) in hand, finishing (again = end now)");
    busy.lifeline.release();
    assert_eq!(stream.next().await.unwrap(), Some(complete("done\n")));
    assert_eq!(busy.adapter.end().0.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_program_and_adapter_and_the_job_goes_back() {
    let Some(server) = Server::start() else { return };
    let mut client = server.client().await;
    let mut stream = submit(&mut client);
    let busy = Busy::start(&server, &mut stream).await;
    busy.adapter.signal(Signal::SIGTERM);
    busy.adapter.expect("in hand, finishing");
    busy.adapter.signal(Signal::SIGTERM);
    let (status, said) = busy.adapter.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("ended by a second signal; job H:"), "{said}");
    busy.program.wait_until_gone();
    let _successor = server.work(&[], "echo by another");
    assert_eq!(stream.next().await.unwrap(), Some(complete("by another\n")));
}

#[tokio::test]
async fn ctrl_c_that_also_hits_the_program_does_not_fail_the_job() {
    let Some(server) = Server::start() else { return };
    let mut client = server.client().await;
    let mut stream = submit(&mut client);
    let busy = Busy::start(&server, &mut stream).await;
    busy.adapter.signal_group(Signal::SIGINT);
    let (status, said) = busy.adapter.end();
    assert_eq!(status.code(), Some(0));
    assert!(said.contains("is given back for another try"), "{said}");
    let _successor = server.work(&[], "echo by another");
    assert_eq!(stream.next().await.unwrap(), Some(complete("by another\n")));
}

#[tokio::test]
async fn a_program_dies_with_its_adapter() {
    let Some(server) = Server::start() else { return };
    let mut client = server.client().await;
    let mut stream = submit(&mut client);
    let busy = Busy::start(&server, &mut stream).await;
    busy.adapter.signal(Signal::SIGKILL);
    busy.program.wait_until_gone();
}

#[tokio::test]
async fn a_lines_program_dies_with_its_adapter() {
    let Some(server) = Server::start() else { return };
    let lifeline = Lifeline::new();
    let adapter = server.work(&["--lines"], &format!("{} exec sleep 1000", lifeline.tie()));
    let program = lifeline.wait_until_up();
    adapter.signal(Signal::SIGKILL);
    program.wait_until_gone();
}
