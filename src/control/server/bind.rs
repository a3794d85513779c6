//! The socket's file: made so that nobody else can reach it for a moment, removed at the end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket,
    sockopt::PeerCredentials,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, chown};
use tokio::net::UnixListener;
use tracing::{info, warn};

use super::caller::program_of;

/// Connections that the kernel keeps until they are accepted; further ones are refused.
const BACKLOG_MAX: i32 = 128;

/// A listening control socket and its file.
#[derive(Debug)]
pub(super) struct BoundSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket that is ours, known by its inode.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Why the control socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A living process answers there.
    #[error(
        "the control socket {} is held by {holder}; stop that one (gear-supervisor shutdown), or \
         give this one another name in [supervisor]", path.display()
    )]
    Held {
        /// The socket.
        path: PathBuf,
        /// `gear-supervisor (pid 812)`
        holder: String,
    },
    /// Something else has that path.
    #[error(
        "cannot make the control socket {}: a file that is no socket is there; move it away, or \
         set another socket in [supervisor]", path.display()
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The kernel's addresses of unix sockets are short.
    #[error(
        "cannot make the control socket {}: the path is longer than the 107 bytes that a unix \
         socket may have; set a shorter socket in [supervisor]", path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot make the control socket {}: {step}", path.display())]
    System {
        /// What was tried.
        step: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl BoundSocket {
    pub(super) fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<Self, BindError> {
        let failed = |step| {
            move |source: io::Error| BindError::System { step, path: path.to_owned(), source }
        };
        create_folder(path).map_err(failed("its folder cannot be created"))?;
        clear_stale(path)?;
        let listener = listen_at(path)?;
        if let Some(group) = group {
            chown(path, None, Some(Gid::from_raw(group)))
                .map_err(|errno| failed("its group cannot be set")(errno.into()))?;
        }
        // The group goes first: with the final mode it would open the socket to the old group.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(failed("its mode cannot be set"))?;
        let metadata = fs::symlink_metadata(path).map_err(failed("it vanished"))?;
        let file = SocketFile { path: path.to_owned(), inode: (metadata.dev(), metadata.ino()) };
        let listener = UnixListener::from_std(listener).map_err(failed("it cannot be polled"))?;
        Ok(Self { listener, file })
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl SocketFile {
    /// Removes the file, unless another daemon has put its own there.
    pub(super) fn remove(self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "the control socket's file stays behind");
        }
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    // Root's folder is shared by all daemons and by groups that socket_group lets in.
    let mode = if Uid::effective().is_root() { 0o755 } else { 0o700 };
    DirBuilder::new().recursive(true).mode(mode).create(folder)
}

/// Removes the file of a daemon that died; a living one is an error.
fn clear_stale(path: &Path) -> Result<(), BindError> {
    let failed = |step| move |source| BindError::System { step, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("its path cannot be looked up")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let holder = holder_of(&stream);
            Err(BindError::Held { path: path.to_owned(), holder })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            info!(path = %path.display(), "removing the control socket of a daemon that died");
            fs::remove_file(path).map_err(failed("the file of a dead daemon cannot be removed"))
        }
        Err(error) => Err(failed("what answers there cannot be told")(error)),
    }
}

/// The process that listens at the other end.
fn holder_of(stream: &UnixStream) -> String {
    match getsockopt(stream, PeerCredentials) {
        Ok(peer) => {
            let program = program_of(peer.pid()).unwrap_or_else(|| "a process".to_owned());
            format!("{program} (pid {})", peer.pid())
        }
        Err(_) => "another process".to_owned(),
    }
}

fn listen_at(path: &Path) -> Result<StdUnixListener, BindError> {
    let failed = |errno: Errno| BindError::System {
        step: "it cannot be bound",
        path: path.to_owned(),
        source: errno.into(),
    };
    let address = UnixAddr::new(path).map_err(|errno| match errno {
        Errno::ENAMETOOLONG => BindError::TooLong { path: path.to_owned() },
        other => failed(other),
    })?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
    // unix_bind() makes the file with the socket's own mode less the umask, so with this it is
    // private from its first moment on; changing the umask would race with processes being started.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
    bind(fd.as_raw_fd(), &address).map_err(failed)?;
    let backlog = Backlog::new(BACKLOG_MAX).map_err(failed)?;
    listen(&fd, backlog).map_err(failed)?;
    Ok(StdUnixListener::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_file_has_the_mode_that_was_asked_for_and_its_folder_is_made() {
        let home = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o660, 0o666] {
            let path = home.path().join(format!("run/{mode:o}.sock"));
            let bound = BoundSocket::bind(&path, mode, Some(Gid::effective().as_raw())).unwrap();
            assert_eq!(mode_of(&path), mode);
            bound.into_parts().1.remove();
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_a_living_ones_holder_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        drop(StdUnixListener::bind(&path).unwrap());
        let living = BoundSocket::bind(&path, 0o600, None).unwrap();
        let refused = BoundSocket::bind(&path, 0o600, None).unwrap_err().to_string();
        let pid = format!("(pid {})", std::process::id());
        assert!(refused.contains("is held by") && refused.contains(&pid), "{refused}");
        drop(living);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        fs::write(&path, "precious").unwrap();
        let refused = BoundSocket::bind(&path, 0o600, None).unwrap_err();
        assert!(matches!(refused, BindError::NotASocket { .. }), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_path_that_no_socket_can_have_is_refused_with_the_reason() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x".repeat(120));
        let refused = BoundSocket::bind(&path, 0o600, None).unwrap_err();
        assert!(matches!(refused, BindError::TooLong { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("control.sock");
        let (_listener, file) = BoundSocket::bind(&path, 0o600, None).unwrap().into_parts();
        // A new inode made before the old one is free, so that the numbers differ.
        let other = home.path().join("other.sock");
        let _successor = StdUnixListener::bind(&other).unwrap();
        fs::rename(&other, &path).unwrap();
        file.remove();
        assert!(path.exists());
    }
}
