//! The units in `config`: what they promise systemd is what the program does.

use std::fs;
use std::path::Path;
use std::process::Command;

use gear_supervisor::cli::Exit;
use gear_supervisor::config::{Settings, Surroundings, load_text};

use crate::rig::PROGRAM;

/// Each unit, and the name of the daemon that it runs.
const UNITS: [(&str, &str); 2] =
    [("gear-supervisor.service", "workers"), ("gear-supervisor@.service", "%i")];

#[test]
fn both_units_run_a_file_whose_socket_the_commands_find() {
    for (unit, name) in UNITS {
        let text = unit_text(unit);
        let run = format!("/usr/local/bin/gear-supervisor -c /etc/gear-supervisor/{name}.toml");
        assert_eq!(values(&text, "ExecStart"), [run]);
        let folder = |key, above: &str| format!("{above}/{}", values(&text, key)[0]);
        let variables = [
            ("STATE_DIRECTORY", folder("StateDirectory", "/var/lib")),
            ("RUNTIME_DIRECTORY", folder("RuntimeDirectory", "/run")),
            ("LOGS_DIRECTORY", folder("LogsDirectory", "/var/log")),
        ];
        // The commands run without these variables.
        assert_eq!(settings(&variables).supervisor, settings(&[]).supervisor, "{unit}");
        assert_eq!(values(&text, "RuntimeDirectoryPreserve"), ["yes"], "others use it too");
    }
}

#[test]
fn both_units_allow_for_the_grace_and_know_the_exit_codes() {
    let grace = settings(&[]).supervisor.shutdown_grace;
    for (unit, _) in UNITS {
        let text = unit_text(unit);
        let seconds: u64 = values(&text, "TimeoutStopSec")[0].parse().unwrap();
        assert!(seconds > grace.as_secs(), "{unit}: {seconds} s");
        let for_a_person = [Exit::Usage, Exit::BadFile].map(|exit| (exit as u8).to_string());
        assert_eq!(values(&text, "RestartPreventExitStatus"), [for_a_person.join(" ")]);
        for (key, value) in [
            ("Type", "notify-reload"),
            ("Restart", "on-failure"),
            ("KillMode", "mixed"),
            ("Delegate", "yes"),
            ("OOMPolicy", "continue"),
        ] {
            assert_eq!(values(&text, key).last(), Some(&value), "{unit}: {key}");
        }
        assert!(
            !values(&text, "LimitNOFILE").is_empty() && !values(&text, "WatchdogSec").is_empty()
        );
    }
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    if let Err(error) = Command::new("systemd-analyze").arg("--version").output() {
        println!("skipped: systemd-analyze: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (unit, _) in UNITS {
        let text = unit_text(unit).replace("/usr/local/bin/gear-supervisor", PROGRAM);
        fs::write(folder.path().join(unit), text).unwrap();
        let file = folder.path().join(unit.replace('@', "@one"));
        let output = Command::new("systemd-analyze").arg("verify").arg(file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // Systemd before 253 ignores the better of two types; the unit says so. What it has to
        // say about the host's own units is not our affair.
        let ours =
            |line: &&str| line.contains("gear-supervisor") && !line.contains("notify-reload");
        let faults: Vec<_> = said.lines().filter(ours).collect();
        assert!(faults.is_empty() && output.status.success(), "{unit}: {said}");
    }
}

fn unit_text(unit: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(unit)).unwrap()
}

fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// A file that says nothing of folders, as root reads it.
fn settings(variables: &[(&str, String)]) -> Settings {
    let surroundings = Surroundings {
        user: Some("root".to_owned()),
        directory: "/etc/gear-supervisor".into(),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        ..Surroundings::default()
    };
    load_text(Path::new("workers.toml"), "", &surroundings).unwrap()
}
