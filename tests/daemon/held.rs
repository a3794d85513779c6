//! Somebody has what the daemon needs: it says who, and what to do.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::rig::{Daemon, PROGRAM};

const POOL: &str = "[pool.p]\nuser = \"${USER}\"\ncommand = \"sleep 9\"\nprotocol = \"none\"\n";

#[test]
fn a_held_port_is_told_with_its_holder_and_the_ways_out() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (state, socket) = (folder.path().join("state"), folder.path().join("s.sock"));
    let ended = run(folder.path(), &state, &socket, &address.to_string());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{said}");
    let pid = std::process::id();
    let told = format!("gear-supervisor: {address} is held by ");
    assert!(said.contains(&told) && said.contains(&format!(" (pid {pid}); ")), "{said}");
    for way in ["stop that one", "another [broker] listen", "name it in [broker] servers"] {
        assert!(said.contains(way), "{way} in {said}");
    }
}

#[test]
fn a_held_state_folder_is_told_with_its_holder_and_the_ways_out() {
    let daemon = Daemon::with_pools(POOL);
    let folder = tempfile::tempdir().unwrap();
    let state = daemon.folder.path().join("state");
    let ended = run(folder.path(), &state, &folder.path().join("s.sock"), "127.0.0.1:0");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{said}");
    let pid = daemon.child.id();
    let told = format!("{} is in use by gear-supervisor (pid {pid}); ", state.display());
    assert!(said.contains(&told), "{said}");
    assert!(said.contains("stop that process, or set another [supervisor] state_dir"), "{said}");
    // Nothing of the first one was touched.
    daemon.until_up();
}

/// Runs a daemon that cannot start.
fn run(folder: &Path, state: &Path, socket: &Path, listen: &str) -> Output {
    let file = folder.join("workers.toml");
    let text = format!(
        "[supervisor]\nstate_dir = \"{}\"\nsocket = \"{}\"\nlog_dir = \"{}\"\n\
         [broker]\nlisten = [\"{listen}\"]\n{POOL}",
        state.display(),
        socket.display(),
        folder.join("log").display(),
    );
    std::fs::write(&file, text).unwrap();
    std::process::Command::new(PROGRAM).arg("-c").arg(file).output().unwrap()
}
