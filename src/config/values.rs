//! Texts that stand for something: numbers, durations, sizes, addresses, commands, signals.
//!
//! Each function takes the text after its variables were put in, and knows nothing of files.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use nix::sys::signal::Signal;
use tracing_subscriber::EnvFilter;

use super::settings::{Count, ListenAddress, StopStep};
use super::table::meant;
use super::wrong::{Parsed, Wrong};
use crate::model::{InvalidNetwork, Network, PoolName};

/// Where Gearman servers listen (IANA).
const GEARMAN_PORT: u16 = 4730;
/// Longest duration: a deadline reckoned from it must not overflow a clock.
const DURATION_MAX: Duration = Duration::from_hours(10 * 365 * 24);
/// Longest path of a unix socket, in bytes (`sun_path` in unix(7), less its NUL).
const SOCKET_PATH_LEN_MAX: usize = 107;
/// Longest prefix of a handle: a colon and 20 digits follow, and libgearman has room for 63.
const HANDLE_PREFIX_LEN_MAX: usize = 42;
/// Most workers of one pool: above it a number is a typing mistake.
const COUNT_MAX: u32 = 65_535;
/// What the daemon's log can be limited to.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

pub(super) fn number(text: &str) -> Parsed<u32> {
    text.trim().parse().ok().ok_or_else(|| no_number(text))
}

pub(super) fn no_number(text: &str) -> Wrong {
    Wrong::new(format!("{text} is not a whole number from 0 to {}", u32::MAX))
        .hint("write one, as in 4")
}

pub(super) fn flag(text: &str) -> Parsed<bool> {
    one_of(text, &[("true", true), ("false", false)])
}

/// One of some words.
pub(super) fn one_of<T: Copy>(text: &str, choices: &[(&'static str, T)]) -> Parsed<T> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        Wrong::new(format!("'{text}' is not known here"))
            .hint(meant(text, choices.iter().map(|(word, _)| *word)))
    })
}

pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let hint = "write numbers with units, as in \"250ms\", \"5s\" or \"2m 30s\"";
    let duration = humantime::parse_duration(text)
        .ok()
        .ok_or_else(|| Wrong::new(format!("'{text}' is not a duration")).hint(hint))?;
    if duration > DURATION_MAX {
        return Err(Wrong::new(format!("'{text}' is above 10 years")).hint("write less"));
    }
    Ok(duration)
}

pub(super) fn size(text: &str) -> Parsed<u64> {
    ByteSize::from_str(text).ok().map(|size| size.as_u64()).ok_or_else(|| {
        Wrong::new(format!("'{text}' is not a size"))
            .hint("write a number with its unit, as in \"64MiB\" or \"10KiB\"")
    })
}

/// Permission bits as chmod(1) takes them.
pub(super) fn mode(text: &str) -> Parsed<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| {
        Wrong::new(format!("'{text}' is not an octal mode up to 0777"))
            .hint("write digits 0 to 7, as in \"0640\"")
    })
}

/// `COUNT` or `MIN..MAX`.
pub(super) fn count(text: &str) -> Parsed<Count> {
    let (min, max) = match text.split_once("..") {
        Some((min, max)) => (number(min)?, number(max)?),
        None => (number(text)?, number(text)?),
    };
    count_of(min, max)
}

pub(super) fn count_of(min: u32, max: u32) -> Parsed<Count> {
    if max > COUNT_MAX {
        return Err(Wrong::new(format!("{max} workers are above the limit of {COUNT_MAX}"))
            .hint("write less"));
    }
    if min > max {
        return Err(
            Wrong::new(format!("min = {min} is above max = {max}")).hint("raise max or lower min")
        );
    }
    Ok(Count { min, max })
}

/// The daemon's name; it becomes part of file names, as a pool's does.
pub(super) fn daemon_name(text: &str) -> Parsed<String> {
    match PoolName::from_str(text) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(Wrong::new(format!("'{text}' cannot be a name")).hint(
            "write name = \"…\" of letters, digits, '_', '-' and '.', at most 64, beginning with \
             a letter, a digit or '_'",
        )),
    }
}

/// A level, or a filter of tracing such as `info,gear_supervisor::broker=debug`.
pub(super) fn log_level(text: &str) -> Parsed<String> {
    // To tracing a lone word is a target whose every line is wanted, so `inof` would be taken.
    for word in text.split(',').map(str::trim).filter(|word| !word.contains('=')) {
        if !LEVELS.contains(&word) {
            return Err(Wrong::new(format!("'{word}' is not a level"))
                .hint(meant(word, LEVELS.into_iter())));
        }
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::new(format!("'{text}' is not a log filter: {error}"))
            .hint("write a level, or as in \"info,gear_supervisor::pool=debug\"")),
    }
}

/// The path of a unix socket, which the kernel wants short.
pub(super) fn socket_path(path: PathBuf) -> Parsed<PathBuf> {
    let len = path.as_os_str().len();
    if len > SOCKET_PATH_LEN_MAX {
        return Err(Wrong::new(format!(
            "a socket's path has at most {SOCKET_PATH_LEN_MAX} bytes, '{}' has {len}",
            path.display()
        ))
        .hint("choose a shorter one"));
    }
    Ok(path)
}

/// `IP:PORT` or `unix:PATH`.
pub(super) fn listen(text: &str, folder: &Path) -> Parsed<ListenAddress> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(Wrong::new("'unix:' without a path").hint("write \"unix:/run/NAME.sock\""));
        }
        return socket_path(folder.join(path)).map(ListenAddress::Unix);
    }
    if let Ok(address) = SocketAddr::from_str(text) {
        return Ok(ListenAddress::Tcp(address));
    }
    let hint = if text.parse::<u16>().is_ok() {
        format!("write \"127.0.0.1:{text}\"")
    } else if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        format!("write \"{}\"", SocketAddr::new(ip, GEARMAN_PORT))
    } else if text.starts_with('/') {
        format!("write \"unix:{text}\"")
    } else {
        match text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
            Some(("*" | "", port)) => format!("write \"0.0.0.0:{port}\" for every address"),
            Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
            Some((_, port)) => {
                format!("write the address instead of the name, as in \"127.0.0.1:{port}\"")
            }
            None => "write IP:PORT, \"[::1]:4730\" or \"unix:/path\"".to_owned(),
        }
    };
    Err(Wrong::new(format!("'{text}' is not an address to listen on")).hint(hint))
}

/// `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Parsed<Network> {
    text.parse().map_err(|error: InvalidNetwork| match error.to_string().split_once("; ") {
        Some((problem, hint)) => Wrong::new(problem).hint(hint),
        None => Wrong::new(error.to_string()),
    })
}

/// What handles begin with. Perl's client divides at `//`, and blanks divide words in text commands.
pub(super) fn handle_prefix(text: &str) -> Parsed<String> {
    let fits = !text.is_empty()
        && text.len() <= HANDLE_PREFIX_LEN_MAX
        && text.chars().all(|c| c.is_ascii_graphic())
        && !text.contains("//");
    if fits {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("'{text}' cannot begin a handle")).hint(format!(
        "write 1 to {HANDLE_PREFIX_LEN_MAX} ASCII characters without blanks or '//', as in \"H:web-1\""
    )))
}

/// `HOST` or `HOST:PORT` of a Gearman server; always with its port afterwards.
pub(super) fn server(text: &str) -> Parsed<String> {
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, GEARMAN_PORT).to_string());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (text, Some(GEARMAN_PORT)),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_is_plain = !host.is_empty()
        && !host.contains(|c: char| c.is_whitespace() || c == '/')
        && (bracketed || !host.contains(':'));
    match port.filter(|port| *port > 0 && host_is_plain) {
        Some(port) => Ok(format!("{host}:{port}")),
        None => Err(Wrong::new(format!("'{text}' is not a Gearman server"))
            .hint("write HOST:PORT, as in \"queue.example.org:4730\"")),
    }
}

/// The steps of stopping: `TERM 5s`, …, `KILL`.
pub(super) fn stop_steps(steps: Vec<StopStep>) -> Parsed<Vec<StopStep>> {
    match steps.as_slice() {
        [before @ .., last]
            if last.signal == Signal::SIGKILL
                && before.iter().all(|step| step.signal != Signal::SIGKILL) =>
        {
            if let Some(step) = before.iter().find(|step| step.wait.is_zero()) {
                let name = signal_name(step.signal);
                return Err(Wrong::new(format!("{name} leaves no time before the next step"))
                    .hint(format!("write as in \"{name} 5s\"")));
            }
            Ok(steps)
        }
        _ => Err(Wrong::new("the last step, and only it, must be KILL")
            .hint("end the list with \"KILL\", or a worker that ignores a signal never goes")),
    }
}

/// `SIGNAL` or `SIGNAL DURATION`.
pub(super) fn stop_step(text: &str) -> Parsed<StopStep> {
    let (name, wait) = text.split_once(' ').unwrap_or((text, ""));
    let wait = if wait.is_empty() { Duration::ZERO } else { duration(wait.trim())? };
    Ok(StopStep { signal: signal(name)?, wait })
}

fn signal(name: &str) -> Parsed<Signal> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.trim_start_matches("SIG");
    Signal::from_str(&format!("SIG{plain}")).ok().ok_or_else(|| {
        Wrong::new(format!("'{name}' is not a signal"))
            .hint(meant(plain, ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL"].into_iter()))
    })
}

fn signal_name(signal: Signal) -> &'static str {
    signal.as_str().trim_start_matches("SIG")
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a reader over texts; `None` stands for an error.
    fn check<T: PartialEq + std::fmt::Debug>(
        read: impl Fn(&str) -> Parsed<T>,
        cases: impl IntoIterator<Item = (&'static str, Option<T>)>,
    ) {
        for (text, expected) in cases {
            assert_eq!(read(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_and_sizes_have_units() {
        let millis = |n| Some(Duration::from_millis(n));
        let durations =
            [("5s", 5_000), ("250ms", 250), ("2m 30s", 150_000), ("1h", 3_600_000), ("0s", 0)];
        check(duration, durations.map(|(text, n)| (text, millis(n))));
        check(duration, ["5", "", "s", "5 parsecs", "-1s", "900years"].map(|text| (text, None)));

        let sizes = [("64MiB", 64 << 20), ("10kB", 10_000), ("1.5 KiB", 1536), ("7", 7), ("0B", 0)];
        check(size, sizes.map(|(text, n)| (text, Some(n))));
        check(size, ["", "MiB", "-1B", "ten"].map(|text| (text, None)));
    }

    #[test]
    fn numbers_modes_and_counts_are_bounded() {
        check(number, [("0", Some(0)), (" 7 ", Some(7)), ("-1", None), ("1e3", None), ("", None)]);
        check(mode, [("0600", Some(0o600)), ("22", Some(0o22)), ("8", None), ("1777", None)]);
        let of = |min, max| Some(Count { min, max });
        check(count, [("4", of(4, 4)), ("0", of(0, 0)), ("1..8", of(1, 8)), ("8..1", None)]);
        check(count, [("1..", None), ("70000", None), ("", None)]);
    }

    #[test]
    fn an_address_is_an_ip_with_a_port_or_a_unix_path() {
        for (text, address) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:4730", "[::1]:4730"),
            ("unix:/run/g.sock", "unix:/run/g.sock"),
            ("unix:g.sock", "unix:/etc/g.sock"),
        ] {
            assert_eq!(listen(text, Path::new("/etc")).unwrap().to_string(), address);
        }
        for (text, write) in [
            ("4730", "write \"127.0.0.1:4730\""),
            ("10.0.0.1", "write \"10.0.0.1:4730\""),
            ("::1", "write \"[::1]:4730\""),
            ("*:4730", "write \"0.0.0.0:4730\" for every address"),
            ("localhost:1", "write \"127.0.0.1:1\""),
            ("queue:7", "write the address instead of the name, as in \"127.0.0.1:7\""),
            ("/run/g.sock", "write \"unix:/run/g.sock\""),
            ("unix:", "write \"unix:/run/NAME.sock\""),
            ("127.0.0.1:99999", "write IP:PORT, \"[::1]:4730\" or \"unix:/path\""),
        ] {
            let wrong = listen(text, Path::new("/etc")).unwrap_err();
            assert_eq!(wrong.hint.as_deref(), Some(write), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(listen(&long, Path::new("/")).is_err());
        assert!(listen(long.trim_end_matches('x'), Path::new("/")).is_ok());
    }

    #[test]
    fn a_server_gets_its_port() {
        let servers = [
            ("queue", "queue:4730"),
            ("queue:1", "queue:1"),
            ("::1", "[::1]:4730"),
            ("[fe80::1]:4731", "[fe80::1]:4731"),
        ];
        check(server, servers.map(|(text, server)| (text, Some(server.to_owned()))));
        check(server, ["", ":1", "a b", "a:0", "a:b", "a:70000", "http://a"].map(|t| (t, None)));
    }

    #[test]
    fn stopping_ends_with_kill() {
        let read = |text: &str| {
            text.split(", ").map(stop_step).collect::<Parsed<Vec<_>>>().and_then(stop_steps)
        };
        let steps = read("SIGTERM 5s, int 1s 500ms, KILL").unwrap();
        let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL];
        assert_eq!(steps.iter().map(|step| step.signal).collect::<Vec<_>>(), signals);
        assert_eq!(steps.first().unwrap().wait, Duration::from_secs(5));
        assert!(read("KILL").is_ok());
        for wrong in ["TERM 5s", "TERM, KILL", "KILL 1s, TERM", "KILL, KILL", "TREM 5s, KILL", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read("TREM 5s").unwrap_err().hint.as_deref(), Some("did you mean TERM?"));
    }

    #[test]
    fn a_log_level_is_a_level_or_a_filter() {
        for good in ["info", "warn,gear_supervisor::pool=debug", "off"] {
            assert!(log_level(good).is_ok(), "{good}");
        }
        assert_eq!(log_level("inof").unwrap_err().hint.as_deref(), Some("did you mean info?"));
        assert!(log_level("gear_supervisor=loud").is_err());
        assert!(log_level("").is_err());
    }
}
