//! A copy of what a newcomer has, on a port of its own, and the daemon in the first terminal.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::readme::is_shown;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gear-supervisor");
/// Nothing that is waited for takes longer on the slowest machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// The folder of a clone, and its daemon; killed when the test is over.
pub(crate) struct Place {
    folder: TempDir,
    port: u16,
    daemon: Child,
}

impl Place {
    /// Starts the daemon as `arguments` say, in a copy of the files that a clone has.
    pub(crate) fn start(arguments: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (path, source) = (folder.path(), Path::new(env!("CARGO_MANIFEST_DIR")));
        for name in ["config", "examples"] {
            copy(&source.join(name), &path.join(name));
        }
        // At the end, so that every line keeps its number.
        let own = format!(
            "\n[supervisor]\nstate_dir = \"{0}/state\"\nlog_dir = \"{0}/log\"\n\
             socket = \"{0}/s.sock\"\n[broker]\nlisten = [\"127.0.0.1:{port}\"]\n",
            path.display()
        );
        let file = path.join("config/workers.toml");
        fs::write(&file, fs::read_to_string(&file).unwrap() + &own).unwrap();
        fs::create_dir_all(path.join("target")).unwrap();
        symlink(Path::new(PROGRAM).parent().unwrap(), path.join("target/release")).unwrap();
        stand_in(&path.join("bin/gearman"), port);
        let log = fs::File::create(path.join("first-terminal")).unwrap();
        let daemon = Command::new(PROGRAM)
            .args(arguments.split_whitespace())
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let place = Self { folder, port, daemon };
        place.until("the daemon serves", || place.says("wait all --timeout 60s").is_some());
        place
    }

    /// A program in the second terminal: in the same folder, with what leads to this daemon.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = self.folder.path();
        let search = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command
            .current_dir(path)
            .env("PATH", format!("{}:{search}", path.join("bin").display()))
            .env("GEAR_SUPERVISOR_SOCKET", path.join("s.sock"))
            .env("GEARMAN_SERVERS", format!("127.0.0.1:{}", self.port));
        command
    }

    fn says(&self, arguments: &str) -> Option<String> {
        let output = self.command(PROGRAM).args(arguments.split_whitespace()).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Waits until a worker has a job in its hands.
    pub(crate) fn until_in_hand(&self) {
        self.until("a worker has the job", || {
            self.says("status slow").is_some_and(|status| status.contains(" slow H:"))
        });
    }

    /// Waits until the daemon has said a line.
    pub(crate) fn until_logged(&self, shown: &str) {
        let seen = || self.log().lines().any(|line| is_shown(shown, line));
        self.until(&format!("the first terminal shows {shown}"), seen);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("first-terminal")
    }

    fn until(&self, what: &str, mut seen: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !seen() {
            assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Ctrl-C in the first terminal.
    pub(crate) fn interrupt(mut self) {
        kill(Pid::from_raw(self.daemon.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        assert!(self.daemon.wait().unwrap().success(), "{}", self.log());
        self.until_logged("… stopped");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Killed, it would leave its workers behind; the second signal ends their jobs.
        if self.daemon.try_wait().unwrap().is_none() {
            let pid = Pid::from_raw(self.daemon.id().try_into().unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
            kill(pid, Signal::SIGQUIT).unwrap();
            self.daemon.wait().unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Debian's `gearman`, told which port is 4730 here.
fn stand_in(path: &Path, port: u16) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let script = format!(
        "#!/bin/sh\nunset GEARMAN_SERVERS\nPATH=${{PATH#*:}} exec gearman -p {port} \"$@\"\n"
    );
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A page on this machine in place of one on the internet: its address.
pub(crate) fn serve_page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            // The request is the same whatever it says.
            let _len = client.read(&mut [0; 4096]).unwrap();
            let page = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            client.write_all(page.as_bytes()).unwrap();
        }
    });
    address
}
