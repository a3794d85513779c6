use std::sync::Arc;

use tokio::sync::mpsc;

use super::*;
use crate::broker::server::{Broker, BrokerOptions, SocketOptions};
use crate::broker::state::Habits;
use crate::broker::store::StateDir;
use crate::config::{ListenAddress, StoreKind};

#[test]
fn every_mode_tells_what_it_did_and_what_it_cost() {
    let folder = tempfile::tempdir().unwrap();
    let (events, _kept) = mpsc::channel(16);
    let options = BrokerOptions {
        listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 0).into())],
        packet_len_max: 1 << 20,
        store: StoreKind::Memory,
        memory_budget: 1 << 20,
        state_dir: Arc::new(StateDir::open(folder.path()).unwrap()),
        attempts_max: 3,
        habits: Habits::default(),
        handle_prefix: None,
        rules: Arc::default(),
        sockets: SocketOptions::default(),
        events,
    };
    let (handle, thread) = Broker::start(options).unwrap();
    let server: ServerAddress = thread.addresses().first().unwrap().to_string().parse().unwrap();
    let kinds = [(Uniques::Own, Writes::Single), (Uniques::None, Writes::Shared)];
    for (at, (mode, jobs, timed)) in [
        (Mode::Submit, 100, [true, false, false]),
        (Mode::Drain, 100, [false, true, false]),
        (Mode::Flow, 100, [true, true, false]),
        (Mode::Roundtrip, 100, [false, true, true]),
        (Mode::Idle, 3, [true, false, false]),
        (Mode::Mixed, 100, [true, true, true]),
    ]
    .into_iter()
    .flat_map(|case| [case, case])
    .enumerate()
    {
        let (uniques, writes) = kinds[at % kinds.len()];
        let report = run(&BenchOptions {
            server: server.clone(),
            mode,
            connections: 2,
            in_flight: 4,
            workers: 3,
            functions: 2,
            payload_len: 10,
            uniques,
            writes,
            amount: Amount::Count(100),
            server_pid: (mode != Mode::Idle).then(std::process::id),
        });
        let report = report.unwrap_or_else(|error| panic!("{mode:?}: {error}"));
        assert!(report.jobs == jobs || mode == Mode::Mixed && report.jobs > jobs, "{report:?}");
        let found = [report.submit, report.grab, report.roundtrip].map(|latency| latency.is_some());
        assert!(found == timed || mode == Mode::Idle, "{mode:?}: {report:?}");
        assert_eq!(report.server.is_some(), mode != Mode::Idle);
        assert!(report.to_string().starts_with(&report.mode), "{report}");
    }
    drop(handle);
    thread.join().unwrap();
}
