//! Three hosts at one server, each in a network namespace of its own.

use std::fs;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::raw;
use crate::rig::{Daemon, PROGRAM, command_of, until};

/// More than one host needs for the load, in all.
const RATIO_MAX: f64 = 1.3;
/// Jobs a second, each of half a second.
const RATE: u32 = 10;
/// Workers that one host has for such a load sooner or later: 5 busy ones, and 1.4 times their root.
const NEED: u32 = 9;
/// Seconds that a job may wait: the default of `max_wait`.
const MAX_WAIT: u64 = 5;

/// A namespace with the server, and one for each host, joined by a bridge; gone at the end.
struct Network {
    mark: String,
    hosts: u32,
}

impl Network {
    /// `None`, with the reason told, where namespaces cannot be made.
    fn new(hosts: u32) -> Option<Self> {
        let network = Self { mark: format!("gs{}", std::process::id()), hosts };
        match network.join() {
            Ok(()) => Some(network),
            Err(why) => {
                println!("skipped: no network namespaces can be made here: {why}");
                None
            }
        }
    }

    fn join(&self) -> Result<(), String> {
        let hub = self.name(0);
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link set lo up"))?;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} addr add {}/24 dev bridge", address(0)))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        for host in 1..=self.hosts {
            let name = self.name(host);
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {hub} link add host{host} type veth peer name eth0 netns {name}"))?;
            ip(&format!("-n {hub} link set host{host} master bridge up"))?;
            ip(&format!("-n {name} addr add {}/24 dev eth0", address(host)))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        Ok(())
    }

    fn name(&self, host: u32) -> String {
        format!("{}-{host}", self.mark)
    }

    /// A daemon of one of the hosts, by this name; 0 is the server's.
    fn daemon(&self, host: u32, file: &str) -> Daemon {
        let namespace = format!("--net=/run/netns/{}", self.name(host));
        let started = |folder: &Path| {
            let path = folder.join("workers.toml");
            let text = fs::read_to_string(&path).unwrap();
            // Hosts of one name are told apart all the same.
            let mut text = text.replacen("[supervisor]\n", "[supervisor]\nname = \"same\"\n", 1);
            if host == 0 {
                let socket = folder.join("g.sock");
                let listen = format!("listen = [\"unix:{}\", \"{}:", socket.display(), address(0));
                text = text.replacen("listen = [\"127.0.0.1:", &listen, 1);
            }
            fs::write(&path, text).unwrap();
            let plain = command_of(Path::new(PROGRAM), folder);
            let log = fs::File::options().append(true).open(folder.join("out")).unwrap();
            let mut command = Command::new("nsenter");
            command.arg(&namespace).arg(plain.get_program()).args(plain.get_args());
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            command
        };
        let daemon = Daemon::begin_with(tempfile::tempdir().unwrap(), file, started);
        until("the daemon answers", || daemon.ask(&["status"]).status.code() != Some(5));
        daemon
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 0..=self.hosts {
            if let Err(why) = ip(&format!("netns del {}", self.name(host))) {
                println!("{} is left behind: {why}", self.name(host));
            }
        }
    }
}

/// An address in a network that is for documentation (RFC 5737).
fn address(host: u32) -> String {
    format!("192.0.2.{}", host + 1)
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {errors}")) }
}

fn host_file(server: &str) -> String {
    format!(
        "servers = [\"{server}\"]\n[host]\nmax_load = 1000\nmax_psi_cpu = 100\n\
         max_psi_memory = 100\nreserve_memory = \"0%\"\n[defaults]\nuser = \"${{USER}}\"\n\
         [pool.work]\ncommand = \"sleep 0.5\"\nprotocol = \"exec\"\n\
         count = {{ min = 0, max = 60 }}\n"
    )
}

/// Workers that a host has: they run, or are about to.
fn workers(daemon: &Daemon) -> usize {
    let status = daemon.status();
    let workers = status["pools"][0]["workers"].as_array().cloned().unwrap_or_default();
    let has = |state: &serde_json::Value| state == "RUNNING" || state == "STARTING";
    workers.iter().filter(|worker| has(&worker["state"])).count()
}

/// Submits jobs at random (Poisson), the same ones each time, until it is told to end.
fn offer(socket: &Path, ends: &Receiver<()>) {
    const SUBMIT_JOB_BG: u32 = 18;
    let mut stream = UnixStream::connect(socket).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut due = Instant::now();
    // A linear congruential generator (Knuth's MMIX), of which the high bits are used.
    let mut state = 7_u64;
    loop {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let chance = (f64::from((state >> 33) as u32) + 1.0) / f64::from(1_u32 << 31);
        due += Duration::from_secs_f64(-chance.ln() / f64::from(RATE));
        match ends.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        raw::write(&mut stream, SUBMIT_JOB_BG, b"work\0\0x");
        raw::receive(&mut answers);
    }
}

/// The mean of all hosts' workers under the load, and the most of them at any time.
fn under_load(network: &Network, hosts: u32) -> (f64, usize) {
    let server = network.daemon(0, "allow = [\"192.0.2.0/24\"]\n");
    let file = host_file(&format!("{}:{}", address(0), server.port));
    let daemons: Vec<_> = (1..=hosts).map(|host| network.daemon(host, &file)).collect();
    until("the hosts know each other", || {
        let told = |daemon: &Daemon| daemon.says(&["explain", "work", "--json"]);
        let hosts = |text: String| -> Option<u64> {
            serde_json::from_str::<serde_json::Value>(&text).ok()?["numbers"]["hosts"].as_u64()
        };
        daemons.iter().all(|daemon| hosts(told(daemon)) == Some(hosts_of(daemons.len())))
    });
    let (end, ends) = channel();
    let socket = server.folder.path().join("g.sock");
    let load = thread::spawn(move || offer(&socket, &ends));
    let seconds = if is_long() { 300 } else { 15 };
    let begun = Instant::now();
    let (mut sum, mut count, mut most) = (0, 0_u32, 0);
    let (_tick, ticks) = channel::<()>();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let all: Vec<_> = daemons.iter().map(workers).collect();
        let now = all.iter().sum();
        most = most.max(now);
        // The mean is that of the steady load, after the start.
        if begun.elapsed() > Duration::from_secs(seconds / 3) {
            sum += now;
            count += 1;
        }
        println!("{:5.1} s: {all:?}", begun.elapsed().as_secs_f64());
        assert!(matches!(
            ticks.recv_timeout(Duration::from_millis(500)),
            Err(RecvTimeoutError::Timeout)
        ));
    }
    end.send(()).unwrap();
    load.join().unwrap();
    let queued = server.status()["broker"]["functions"][0]["queued"].clone();
    let waiting: u64 =
        queued.as_array().unwrap().iter().filter_map(serde_json::Value::as_u64).sum();
    assert!(waiting <= MAX_WAIT * u64::from(RATE), "{waiting} jobs wait at the end");
    let sum = u32::try_from(sum).unwrap();
    (f64::from(sum) / f64::from(count), most)
}

fn is_long() -> bool {
    std::env::var_os("GEAR_LONG").is_some()
}

fn hosts_of(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

#[test]
fn three_hosts_at_one_server_have_hardly_more_workers_than_one_needs() {
    let Some(network) = Network::new(3) else { return };
    let (mean, most) = under_load(&network, 1);
    println!("one host: {mean:.1} workers, {most} at most");
    let (mean_of_three, most_of_three) = under_load(&network, 3);
    println!("three hosts: {mean_of_three:.1} workers, {most_of_three} at most");
    assert!(mean > 4.0, "the load was not served: {mean}");
    let need = f64::from(NEED);
    assert!(mean_of_three <= RATIO_MAX * mean.max(need), "{mean_of_three} beside {mean}");
    let bound = RATIO_MAX * f64::from(u32::try_from(most).unwrap()).max(need);
    assert!(f64::from(u32::try_from(most_of_three).unwrap()) <= bound, "{most_of_three}, {bound}");
}
