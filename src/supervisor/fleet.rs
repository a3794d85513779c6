//! Other hosts at the servers outside: what we publish to them, and what they publish to us.
//!
//! Each server has a task that keeps a connection to it, under a client id that tells what we have,
//! and lists the others' every second. A server that does not answer is tried again; what it told
//! last counts for a few seconds more. A host is one run of one daemon: containers may share a name.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::task::Supervisor;
use crate::gearman::{ListedConnection, Listing, ServerAddress};
use crate::model::{FunctionName, PoolName};
use crate::protocol::CLIENT_ID_LEN_MAX;
use crate::scaler::{
    Fleet, FunctionSample, HOST_LEN_MAX, Peer, PeerPool, Plan, PoolSample, Strangers, publish,
    published,
};

/// Between two listings of a server.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// How long a listing counts.
const COUNTS_FOR: Duration = Duration::from_secs(5);

/// A host whose beat has not changed for so long is gone, though a server still lists it.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// How long the beat of a host is known that no server lists: servers may be away for a while.
const BEAT_KEPT_FOR: Duration = Duration::from_mins(1);

/// What a server listed when.
type Heard = Option<(Instant, Arc<[ListedConnection]>)>;

/// What is heard of the other hosts.
#[derive(Debug)]
pub(super) struct FleetWatch {
    host: String,
    capacity: u32,
    servers: Vec<watch::Receiver<Heard>>,
    ids: watch::Sender<Arc<[String]>>,
    stop: CancellationToken,
    beats: Beats,
}

/// The beat of each host.
#[derive(Debug, Default)]
struct Beats(BTreeMap<String, Beat>);

#[derive(Debug)]
struct Beat {
    number: u64,
    /// When it changed.
    since: Instant,
    /// When a server listed it last.
    listed: Instant,
}

impl FleetWatch {
    /// Begins to listen at the servers, under this name.
    pub(super) fn start(
        servers: &[ServerAddress],
        (host, capacity): (String, u32),
        tasks: &TaskTracker,
    ) -> Self {
        let nothing = publish(&host, &Peer { capacity, ..Peer::default() }, CLIENT_ID_LEN_MAX);
        let (ids, published) = watch::channel(Arc::from(nothing));
        let stop = CancellationToken::new();
        let start = |server: &ServerAddress| {
            let (heard, view) = watch::channel(None);
            let task = Ear { server: server.clone(), ids: published.clone(), heard };
            let stop = stop.clone();
            tasks.spawn(async move { stop.run_until_cancelled(task.run()).await });
            view
        };
        let servers = servers.iter().map(start).collect();
        Self { host, capacity, servers, ids, stop, beats: Beats::default() }
    }

    /// The other hosts as far as they are known.
    pub(super) fn fleet(&mut self, now: Instant) -> Fleet {
        let mut fleet =
            Fleet { host: self.host.clone(), capacity: self.capacity, ..Fleet::default() };
        for server in &self.servers {
            let heard = server.borrow();
            let is_new = |(at, _): &&(Instant, _)| now.saturating_duration_since(*at) < COUNTS_FOR;
            if let Some((_, connections)) = heard.as_ref().filter(is_new) {
                gather(&mut fleet, connections);
            }
        }
        self.beats.bury(now, &mut fleet);
        fleet
    }

    /// Tells the others what we have, and where we fall short.
    pub(super) fn publish<'a>(
        &self,
        beat: u64,
        plan: &Plan,
        pools: impl Iterator<Item = (&'a PoolName, &'a PoolSample)>,
    ) {
        let pools = pools.filter_map(|(name, sample)| {
            let decision = plan.decisions.get(name)?;
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let (idle, running) = (count(sample.idle), count(sample.running));
            let starting = decision.target.saturating_sub(idle.saturating_add(running));
            let limited = decision.target < decision.wanted && decision.limit.is_some();
            let leaving = count(sample.leaving);
            Some((name.clone(), PeerPool { starting, idle, running, leaving, limited }))
        });
        let own = Peer { capacity: self.capacity, beat, pools: pools.collect() };
        let ids: Arc<[String]> = publish(&self.host, &own, CLIENT_ID_LEN_MAX).into();
        self.ids.send_if_modified(|before| {
            let changes = *before != ids;
            *before = ids;
            changes
        });
    }
}

impl Beats {
    /// Takes out those who no longer live.
    fn bury(&mut self, now: Instant, fleet: &mut Fleet) {
        self.0.retain(|_, beat| now.saturating_duration_since(beat.listed) < BEAT_KEPT_FOR);
        fleet.peers.retain(|host, peer| {
            let new = Beat { number: peer.beat, since: now, listed: now };
            let beat = self.0.entry(host.clone()).or_insert(new);
            beat.listed = now;
            if beat.number != peer.beat {
                (beat.number, beat.since) = (peer.beat, now);
            }
            now.saturating_duration_since(beat.since) < SILENT_FOR
        });
    }
}

/// Takes out jobs that others seem to have where there are no others: a server may list a job that
/// has just ended.
pub(super) fn leave_out_lone(
    functions: &mut BTreeMap<FunctionName, FunctionSample>,
    fleet: &Fleet,
) {
    for (name, sample) in functions {
        if fleet.peers.is_empty() && !fleet.strangers.contains_key(name) {
            sample.elsewhere = 0;
        }
    }
}

impl Drop for FleetWatch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Adds what one server lists. A worker of a stranger is at each of the servers, so theirs count
/// where there are most.
fn gather(fleet: &mut Fleet, connections: &[ListedConnection]) {
    let mut known = BTreeSet::new();
    for connection in connections {
        let Some((host, part)) = published(&connection.client_id) else { continue };
        known.insert(connection.address.as_str());
        if host != fleet.host {
            let peer = fleet.peers.entry(host).or_default();
            (peer.capacity, peer.beat) = (part.capacity, peer.beat.max(part.beat));
            peer.pools.extend(part.pools);
        }
    }
    let mut strangers: BTreeMap<FunctionName, (BTreeSet<&str>, u32)> = BTreeMap::new();
    for connection in connections.iter().filter(|one| !known.contains(one.address.as_str())) {
        for function in &connection.functions {
            let name = FunctionName::from(function.as_str());
            let (hosts, performers) = strangers.entry(name).or_default();
            hosts.insert(&connection.address);
            *performers += 1;
        }
    }
    for (name, (hosts, performers)) in strangers {
        let most = fleet.strangers.entry(name).or_default();
        let hosts = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        *most =
            Strangers { hosts: most.hosts.max(hosts), performers: most.performers.max(performers) };
    }
}

/// The connection to one server.
#[derive(Debug)]
struct Ear {
    server: ServerAddress,
    ids: watch::Receiver<Arc<[String]>>,
    heard: watch::Sender<Heard>,
}

impl Ear {
    async fn run(mut self) {
        loop {
            if let Err(error) = self.listen().await {
                debug!(server = %self.server, %error, "other hosts are not heard of");
            }
            tokio::time::sleep(LIST_EVERY).await;
        }
    }

    async fn listen(&mut self) -> io::Result<()> {
        let mut first = Listing::open(&self.server).await?;
        // What does not fit an id stands in those of further connections.
        let mut others: Vec<Listing> = Vec::new();
        self.ids.mark_changed();
        loop {
            if self.ids.has_changed().unwrap_or(false) {
                let ids = Arc::clone(&self.ids.borrow_and_update());
                others.truncate(ids.len().saturating_sub(1));
                for (nth, id) in ids.iter().enumerate() {
                    match nth.checked_sub(1) {
                        None => first.set_client_id(id).await?,
                        Some(nth) if nth < others.len() => {
                            if let Some(other) = others.get_mut(nth) {
                                other.set_client_id(id).await?;
                            }
                        }
                        Some(_) => {
                            let mut other = Listing::open(&self.server).await?;
                            other.set_client_id(id).await?;
                            others.push(other);
                        }
                    }
                }
            }
            let connections = first.connections().await?;
            self.heard.send_replace(Some((Instant::now(), connections.into())));
            tokio::time::sleep(LIST_EVERY).await;
        }
    }
}

impl Supervisor {
    /// Listens to other hosts, if the jobs are at servers that others may use.
    pub(super) fn watch_fleet(&mut self) {
        let servers = self.settings.broker.servers.iter();
        let servers: Vec<ServerAddress> =
            servers.filter_map(|server| server.parse().ok()).collect();
        if !servers.is_empty() {
            let name = host_name(&self.settings.supervisor.name);
            let cores = u32::try_from(self.host.sample().cores).unwrap_or(u32::MAX);
            let watch = FleetWatch::start(&servers, (name, cores), &self.rooms.tasks);
            self.fleet = Some(watch);
        }
    }
}

/// The name of this host among the others, for people, and a number of this run's own: containers
/// may have one name, one machine and one pid.
fn host_name(daemon: &str) -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    named(&host.to_string_lossy(), daemon, RandomState::new().build_hasher().finish())
}

/// Cut to what fits beside any pool: the number is enough for machines.
fn named(host: &str, daemon: &str, number: u64) -> String {
    let number = format!("/{number:016x}");
    // Some have a meaning where it is published.
    let plain = |c: char| if c.is_ascii_graphic() && !";=,".contains(c) { c } else { '_' };
    let name = format!("{host}/{daemon}");
    let name = name.chars().map(plain).take(HOST_LEN_MAX - number.len());
    name.chain(number.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_daemons_of_one_name_on_one_host_are_two() {
        assert_ne!(host_name("workers"), host_name("workers"));
        assert_eq!(named("web1", "a b;c", 7), "web1/a_b_c/0000000000000007");
        assert_eq!(named(&"h".repeat(63), "w", 7), format!("{}/{:016x}", "h".repeat(16), 7));
    }

    #[test]
    fn jobs_that_a_late_listing_still_has_are_others_only_where_there_are_others() {
        let kept = |fleet: &Fleet| {
            let sample = FunctionSample { elsewhere: 3, ..FunctionSample::default() };
            let mut functions = BTreeMap::from([(FunctionName::from("f"), sample)]);
            leave_out_lone(&mut functions, fleet);
            functions[&FunctionName::from("f")].elsewhere
        };
        let mut fleet = Fleet::default();
        assert_eq!(kept(&fleet), 0);
        fleet.strangers.insert("g".into(), Strangers { hosts: 1, performers: 1 });
        assert_eq!(kept(&fleet), 0, "they do something else");
        fleet.strangers.insert("f".into(), Strangers { hosts: 1, performers: 1 });
        assert_eq!(kept(&fleet), 3);
        let peers = BTreeMap::from([("b/w".to_owned(), Peer::default())]);
        assert_eq!(kept(&Fleet { peers, ..Fleet::default() }), 3);
    }

    #[test]
    fn a_host_whose_beat_has_stopped_no_longer_counts() {
        let start = Instant::now();
        let mut beats = Beats::default();
        let mut listed = |second: u64, beat: Option<u64>| {
            let peer = beat.map(|beat| ("b/w".to_owned(), Peer { beat, ..Peer::default() }));
            let mut fleet = Fleet { peers: peer.into_iter().collect(), ..Fleet::default() };
            beats.bury(start + Duration::from_secs(second), &mut fleet);
            !fleet.peers.is_empty()
        };
        assert!(listed(0, Some(1)) && listed(6, Some(2)) && listed(15, Some(2)));
        assert!(!listed(16, Some(2)));
        assert!(listed(17, Some(3)), "it was only slow");
        assert!(!listed(30, Some(3)));
        assert!(!listed(35, None), "no server is heard");
        assert!(!listed(60, Some(3)), "it is as dead as before");
        assert!(!listed(121, None));
        assert!(listed(122, Some(3)), "it is forgotten");
    }

    #[test]
    fn peers_strangers_and_ourselves_are_told_apart() {
        let row = |address: &str, client_id: &str, functions: &[&str]| ListedConnection {
            address: address.to_owned(),
            client_id: client_id.to_owned(),
            functions: functions.iter().map(|name| (*name).to_owned()).collect(),
        };
        let rows = [
            row("10.0.0.1", "gs1;host=a/w;cap=2;pool=f:0/1/2/0", &[]),
            row("10.0.0.1", "f:1", &["f"]),
            row("10.0.0.2", "gs1;host=b/w;cap=4;pool=f:1/0/3/0!", &[]),
            row("10.0.0.2", "gs1;host=b/w;cap=4;pool=g:0/0/1/0", &[]),
            row("10.0.0.3", "-", &["f", "g"]),
            row("10.0.0.3", "-", &["f"]),
            row("10.0.0.4", "-", &["f"]),
            row("10.0.0.5", "-", &[]),
        ];
        let mut fleet = Fleet { host: "a/w".to_owned(), capacity: 2, ..Fleet::default() };
        gather(&mut fleet, &rows);
        gather(&mut fleet, &rows[4..]);
        assert_eq!(fleet.peers.keys().collect::<Vec<_>>(), ["b/w"]);
        let peer = &fleet.peers["b/w"];
        assert_eq!((peer.capacity, peer.pools.len()), (4, 2));
        let of = |name: &str| fleet.strangers[&FunctionName::from(name)];
        assert_eq!(of("f"), Strangers { hosts: 2, performers: 3 });
        assert_eq!(of("g"), Strangers { hosts: 1, performers: 1 });
    }
}
