//! The README, command by command: what it shows is what happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, in its helpers too"
)]
#![allow(clippy::print_stdout, reason = "a test that is skipped says why")]
#![allow(clippy::indexing_slicing, reason = "the lists are a few lines above")]

mod place;
mod readme;
mod shell;

use std::process::{Command, Stdio};

use place::Place;
use readme::{Step, is_shown};
use shell::Shell;

/// An address in the README; the tests never leave this machine.
const FAR_PAGE: &str = "http://example.com/";
const RUN: &str = "cargo run --release -- ";

#[test]
fn the_tour_goes_as_the_readme_says() {
    let place = Place::start(&start_arguments());
    let mut terminal = Shell::start(&mut place.command("bash"));
    for block in readme::blocks("A tour") {
        if can_run(&block) {
            for step in &block {
                take(step, &place, &mut terminal);
            }
        }
    }
    assert!(readme::section("A tour").contains("Ctrl-C in the first terminal stops everything"));
    place.interrupt();
}

#[test]
fn the_set_up_is_what_the_gate_installs_and_then_one_command() {
    let [install, run] = &set_up()[..] else { panic!("not two commands") };
    let packages = install.command.strip_prefix("sudo apt-get install -y ").unwrap();
    let gate = include_str!("../../.ci/run");
    for package in packages.split_whitespace() {
        assert!(gate.contains(package), "{package} is not in .ci/run");
    }
    assert!(run.command.starts_with(RUN), "{}", run.command);
    let [test] = &readme::blocks("Test")[..] else { panic!("not one block") };
    for step in test {
        let script = step.command.split_whitespace().nth(1).unwrap();
        let root = env!("CARGO_MANIFEST_DIR");
        assert!(std::path::Path::new(root).join(script).exists(), "there is no {script}");
    }
}

fn set_up() -> Vec<Step> {
    readme::blocks("Set up").remove(0)
}

fn start_arguments() -> String {
    let run = set_up().pop().unwrap().command;
    run.strip_prefix(RUN).unwrap().to_owned()
}

/// False when the machine lacks what the README says a block needs.
fn can_run(block: &[Step]) -> bool {
    let is_used = |word: &str| block.iter().any(|step| step.command.contains(word));
    let probes: [(&str, &[&str]); 2] = [
        ("gearman -f", &["gearman", "-H"]),
        ("php ", &["php", "-r", "exit(class_exists('GearmanWorker') ? 0 : 1);"]),
    ];
    probes.iter().filter(|(word, _)| is_used(word)).all(|(_, probe)| is_installed(probe))
}

fn is_installed(probe: &[&str]) -> bool {
    let mut command = Command::new(probe[0]);
    let command = command.args(&probe[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        println!("skipped: {probe:?} does not work");
    }
    is_there
}

fn take(step: &Step, place: &Place, terminal: &mut Shell) {
    if step.command.starts_with("kill ") {
        place.until_in_hand();
    }
    let page = step.command.contains(FAR_PAGE).then(place::serve_page);
    let command = match &page {
        Some(page) => step.command.replace(FAR_PAGE, page),
        None => step.command.clone(),
    };
    if command.contains(" attach ") {
        let run = format!("exec target/release/{command}");
        return shell::until_shown(
            place.command("bash").args(["-c", &run]),
            &anywhere(&step.shown),
        );
    }
    let lines = terminal.run(&command);
    for shown in &anywhere(&step.shown) {
        let wanted = anywhere(&step.shown).iter().filter(|other| *other == shown).count();
        let found = lines.iter().filter(|line| is_shown(shown, line)).count();
        assert_eq!(found, wanted, "{command}: lines like {shown} in {lines:#?}");
    }
    for shown in &step.logged {
        place.until_logged(shown);
    }
}

/// The page is elsewhere here.
fn anywhere(shown: &[String]) -> Vec<String> {
    shown.iter().map(|line| line.replace(FAR_PAGE, "http://…/")).collect()
}
