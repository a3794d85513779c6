//! Who is at the other end of a connection, as the kernel tells it.

use std::fs;

use nix::unistd::{Uid, User};
use tokio::net::UnixStream;

use crate::supervisor::Actor;

/// A client by its peer credentials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    uid: Option<u32>,
    pid: Option<i32>,
}

impl Caller {
    /// Whoever opened this connection.
    pub(super) fn of(stream: &UnixStream) -> Self {
        match stream.peer_cred() {
            Ok(peer) => Self { uid: Some(peer.uid()), pid: peer.pid() },
            Err(_) => Self { uid: None, pid: None },
        }
    }

    /// The caller for the log: `deploy (uid 1001) by gear-supervisor (pid 4711)`.
    pub(super) async fn actor(self) -> Actor {
        // The user's name may come over a network.
        tokio::task::spawn_blocking(move || self.describe())
            .await
            .unwrap_or_else(|_| "someone".to_owned())
    }

    fn describe(self) -> Actor {
        let user = match self.uid {
            Some(uid) => match User::from_uid(Uid::from_raw(uid)) {
                Ok(Some(user)) => format!("{} (uid {uid})", user.name),
                Ok(None) | Err(_) => format!("uid {uid}"),
            },
            None => "someone".to_owned(),
        };
        // The kernel tells 0 for a process outside of our pid namespace.
        let Some(pid) = self.pid.filter(|pid| *pid > 0) else { return user };
        match program_of(pid) {
            Some(program) => format!("{user} by {program} (pid {pid})"),
            None => format!("{user} by pid {pid}"),
        }
    }
}

/// The name of a process's program, shortened by the kernel to 15 bytes.
pub(super) fn program_of(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_named_by_user_and_program() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let program = program_of(pid).unwrap();
        let root = Caller { uid: Some(0), pid: Some(pid) };
        assert_eq!(root.describe(), format!("root (uid 0) by {program} (pid {pid})"));
        assert_eq!(Caller { uid: Some(4_000_000_000), pid: None }.describe(), "uid 4000000000");
        assert_eq!(Caller { uid: None, pid: Some(0) }.describe(), "someone");
    }
}
