//! Which daemon is meant: its control socket.

use std::env;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::args::Target;
use super::exit::{CliError, Exit};
use super::file;

/// Names the socket when no option does.
const VARIABLE: &str = "GEAR_SUPERVISOR_SOCKET";
/// The folder of our sockets and states, wherever it is.
const FOLDER: &str = "gear-supervisor";

/// The socket that is meant: `--socket`, the one that `-c FILE` names, the environment's, or that
/// of the only daemon running.
///
/// What is typed goes before the environment. Whether a daemon answers is for the request to find
/// out, except for the last way, which looks for one that does.
pub(super) fn find(target: &Target) -> Result<PathBuf, CliError> {
    if let Some(socket) = &target.socket {
        return Ok(socket.clone());
    }
    if let Some(config) = &target.config {
        return Ok(file::socket_of(config));
    }
    if let Some(socket) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return Ok(socket.into());
    }
    only_one(living(&candidates(&Places::of_process())))
}

/// Where sockets are by default.
#[derive(Debug)]
struct Places {
    /// Folders that hold `NAME.sock`.
    run: Vec<PathBuf>,
    /// Folders that hold `NAME/control.sock`.
    state: Vec<PathBuf>,
}

impl Places {
    fn of_process() -> Self {
        let folder = |name: &str| {
            let value = env::var_os(name).filter(|value| !value.is_empty())?;
            Some(PathBuf::from(value))
        };
        let home_state = || Some(folder("HOME")?.join(".local/state"));
        let state = folder("XDG_STATE_HOME").or_else(home_state);
        let run = [Some(PathBuf::from("/run")), folder("XDG_RUNTIME_DIR")];
        let state = [Some(PathBuf::from("/var/lib")), state];
        let ours = |place: PathBuf| place.join(FOLDER);
        Self {
            run: run.into_iter().flatten().map(ours).collect(),
            state: state.into_iter().flatten().map(ours).collect(),
        }
    }
}

/// Every socket file in the default places, in the order of their paths.
fn candidates(places: &Places) -> Vec<PathBuf> {
    // A folder that is not there, or not for us, has no daemon that we could reach.
    let entries = |folder: &PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect::<Vec<_>>()
    };
    let is_socket = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sock");
    let in_run = places.run.iter().flat_map(entries).filter(is_socket);
    let in_state = places.state.iter().flat_map(entries).map(|path| path.join("control.sock"));
    let mut found: Vec<_> = in_run.chain(in_state.filter(|path| path.exists())).collect();
    found.sort();
    found.dedup();
    found
}

/// Those where somebody listens, also where only others may ask.
fn living(candidates: &[PathBuf]) -> Vec<PathBuf> {
    let answers = |path: &&PathBuf| match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    candidates.iter().filter(answers).cloned().collect()
}

fn only_one(living: Vec<PathBuf>) -> Result<PathBuf, CliError> {
    let list = |paths: &[PathBuf]| {
        let names = paths.iter().map(|path| format!("\n  --socket {}", path.display()));
        names.collect::<Vec<_>>().concat()
    };
    match <[PathBuf; 1]>::try_from(living) {
        Ok([path]) => Ok(path),
        Err(none) if none.is_empty() => {
            Err(CliError::new(Exit::NoDaemon, "no daemon is running in the usual places")
                .with_hint("start one with gear-supervisor -c FILE, or name its --socket"))
        }
        Err(several) => Err(CliError::new(
            Exit::Usage,
            format!("several daemons are running; name one with -c FILE or:{}", list(&several)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_only_living_daemon_is_found_among_dead_ones() {
        let home = tempfile::tempdir().unwrap();
        let places =
            Places { run: vec![home.path().join("run")], state: vec![home.path().join("state")] };
        for folder in ["run", "state/one", "state/empty"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        let dead = home.path().join("run/dead.sock");
        drop(UnixListener::bind(&dead).unwrap());
        let in_state = home.path().join("state/one/control.sock");
        let one = UnixListener::bind(&in_state).unwrap();
        assert_eq!(candidates(&places), [dead, in_state.clone()]);
        assert_eq!(only_one(living(&candidates(&places))), Ok(in_state));

        let other = UnixListener::bind(home.path().join("run/other.sock")).unwrap();
        let error = only_one(living(&candidates(&places))).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage, "{error:?}");
        drop((one, other));
        let error = only_one(living(&candidates(&places))).unwrap_err();
        assert_eq!(error.exit(), Exit::NoDaemon, "{error:?}");
    }

    #[test]
    fn what_is_typed_goes_first() {
        let socket = Some(PathBuf::from("/typed.sock"));
        let target = Target { socket, config: Some("workers.toml".into()) };
        assert_eq!(find(&target), Ok("/typed.sock".into()));
    }
}
