//! What a new file changes: pure, and the one path of start and reload.
//!
//! A start is the difference from [`Settings::without_pools`]. The supervisor carries the changes
//! out; nothing here knows what runs.

use std::fmt;
use std::sync::Arc;

use super::settings::{ListenAddress, PoolSettings, Program, Settings};
use crate::model::PoolName;

/// The difference of two files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Pools that are new.
    pub added: Vec<Arc<PoolSettings>>,
    /// Pools that are no more.
    pub removed: Vec<PoolName>,
    /// Pools that differ.
    pub changed: Vec<PoolChange>,
    /// Addresses to listen on from now on.
    pub listen_added: Vec<ListenAddress>,
    /// Addresses to listen on no more.
    pub listen_removed: Vec<ListenAddress>,
    /// Keys of the daemon that take effect at once, as in `supervisor.shutdown_grace`.
    pub live: Vec<&'static str>,
    /// Keys of the daemon that take effect when it starts next.
    pub at_restart: Vec<&'static str>,
}

/// What differs in a pool that stays.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolChange {
    /// The pool as it was.
    pub old: Arc<PoolSettings>,
    /// The pool as it is to be.
    pub new: Arc<PoolSettings>,
    /// Keys of what runs; not empty: its workers have to be replaced.
    pub program: Vec<&'static str>,
    /// Other keys; they take effect without touching a worker. `count` is not among them.
    pub live: Vec<&'static str>,
}

impl Settings {
    /// The same daemon without any pool: what runs before the start.
    #[must_use]
    pub fn without_pools(&self) -> Self {
        let mut settings = self.clone();
        settings.pools.clear();
        settings
    }
}

/// Compares two files.
#[must_use]
pub fn diff(old: &Settings, new: &Settings) -> Changes {
    let added = new.pools.iter().filter(|(name, _)| !old.pools.contains_key(*name));
    let removed = old.pools.keys().filter(|name| !new.pools.contains_key(*name));
    let kept = old.pools.iter().filter_map(|(name, old)| Some((old, new.pools.get(name)?)));
    Changes {
        added: added.map(|(_, pool)| Arc::clone(pool)).collect(),
        removed: removed.cloned().collect(),
        changed: kept.filter_map(|(old, new)| PoolChange::between(old, new)).collect(),
        listen_added: without(&new.broker.listen, &old.broker.listen),
        listen_removed: without(&old.broker.listen, &new.broker.listen),
        live: live_keys(old, new),
        at_restart: restart_keys(old, new),
    }
}

impl Changes {
    /// True when the new file says what the old one said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One sentence for each change.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let added = self.added.iter().map(|pool| format!("{} added: {}", pool.name, pool.count));
        let removed = self.removed.iter().map(|name| format!("{name} removed"));
        let changed = self.changed.iter().map(ToString::to_string);
        added.chain(removed).chain(changed).chain(self.of_daemon()).collect()
    }

    /// One sentence for each change of the daemon itself.
    #[must_use]
    pub fn of_daemon(&self) -> Vec<String> {
        let listening = self.listen_added.iter().map(|at| format!("listening on {at} too"));
        let closed = self.listen_removed.iter().map(|at| format!("listening on {at} no more"));
        let live = self.live.iter().map(|key| format!("{key} changed"));
        let waiting = self
            .at_restart
            .iter()
            .map(|key| format!("{key} changed: takes effect when the daemon is started again"));
        listening.chain(closed).chain(live).chain(waiting).collect()
    }
}

impl PoolChange {
    fn between(old: &Arc<PoolSettings>, new: &Arc<PoolSettings>) -> Option<Self> {
        let mut live = named([
            ("max_wait", old.scaling.max_wait != new.scaling.max_wait),
            ("mode", old.scaling.mode != new.scaling.mode),
            ("weight", old.scaling.weight != new.scaling.weight),
            ("scale_priority", old.scaling.priority != new.scaling.priority),
            ("reserve", old.scaling.reserve != new.scaling.reserve),
            ("spare", old.scaling.spare != new.scaling.spare),
            ("idle_ttl", old.scaling.idle_ttl != new.scaling.idle_ttl),
            ("zero_after", old.scaling.zero_after != new.scaling.zero_after),
            ("min_at", old.min_at != new.min_at),
            ("startup", old.scaling.startup != new.scaling.startup),
            ("stop", old.stop != new.stop),
            ("log", old.log != new.log),
        ]);
        live.extend(old.upkeep.differing(&new.upkeep));
        live.extend(old.run.differing(&new.run));
        live.extend(old.order.differing(&new.order));
        live.extend(old.deploys.differing(&new.deploys));
        let program = program_keys(&old.program, &new.program);
        let (old, new) = (Arc::clone(old), Arc::clone(new));
        (old != new).then_some(Self { old, new, program, live })
    }

    /// The name of the pool.
    #[must_use]
    pub fn name(&self) -> &PoolName {
        &self.new.name
    }

    /// Whether another number of workers is asked for.
    #[must_use]
    pub fn changes_count(&self) -> bool {
        self.old.count != self.new.count
    }
}

/// `wordcount 2→4`, `mail: command, env changed`, `mail 1..4→8: log changed`.
impl fmt::Display for PoolChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        if self.changes_count() {
            write!(f, " {}→{}", self.old.count, self.new.count)?;
        }
        let keys: Vec<_> = self.program.iter().chain(&self.live).copied().collect();
        if keys.is_empty() { Ok(()) } else { write!(f, ": {} changed", keys.join(", ")) }
    }
}

fn program_keys(old: &Program, new: &Program) -> Vec<&'static str> {
    let mut keys = named([
        ("command", old.command != new.command),
        ("functions", old.functions != new.functions),
        ("protocol", old.protocol != new.protocol),
        ("stream", old.stream != new.stream),
        ("user", old.account != new.account || old.login != new.login),
        ("directory", old.directory != new.directory),
        ("env", old.env != new.env),
        ("clean_env", old.clean_env != new.clean_env),
        ("umask", old.umask != new.umask),
        ("tty", old.tty != new.tty),
    ]);
    keys.extend(named(old.limits.differing(&new.limits)));
    keys
}

fn live_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (was, is) = (&old.supervisor, &new.supervisor);
    let (rules_were, rules) = (&old.broker.rules, &new.broker.rules);
    named([
        ("supervisor.shutdown_grace", was.shutdown_grace != is.shutdown_grace),
        ("supervisor.reload_on_edit", was.reload_on_edit != is.reload_on_edit),
        ("supervisor.on_bad_file", was.on_bad_file != is.on_bad_file),
        ("host.max_workers", old.host.workers_max != new.host.workers_max),
        ("host.reserve_memory", old.host.memory_reserve != new.host.memory_reserve),
        ("host.max_load", differ(old.host.load_max, new.host.load_max)),
        ("host.max_psi_memory", differ(old.host.memory_pressure_max, new.host.memory_pressure_max)),
        ("host.max_psi_cpu", differ(old.host.cpu_pressure_max, new.host.cpu_pressure_max)),
        ("broker.allow", rules_were.allow != rules.allow),
        ("broker.max_queued", rules_were.queued_max != rules.queued_max),
        ("broker.stale_after", rules_were.stale_after != rules.stale_after),
        ("broker.hold_grab", rules_were.hold_grab != rules.hold_grab),
        ("function", rules_were.functions != rules.functions),
    ])
}

/// Numbers that were read from texts are equal when the texts were.
fn differ(one: f64, other: f64) -> bool {
    one.to_bits() != other.to_bits()
}

/// `log_dir` is not among them: pools whose log moves say so themselves.
fn restart_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (was, is) = (&old.supervisor, &new.supervisor);
    named([
        ("supervisor.name", was.name != is.name),
        ("supervisor.state_dir", was.state_dir != is.state_dir),
        ("supervisor.socket", was.socket != is.socket),
        ("supervisor.socket_mode", was.socket_mode != is.socket_mode),
        ("supervisor.socket_group", was.socket_group != is.socket_group),
        ("supervisor.log_level", was.log_level != is.log_level),
        ("supervisor.log_format", was.log_format != is.log_format),
        ("broker.servers", old.broker.servers != new.broker.servers),
        ("broker.direct", old.broker.way != new.broker.way),
        ("broker.store", old.broker.store != new.broker.store),
        ("broker.handle_prefix", old.broker.handle_prefix != new.broker.handle_prefix),
        ("broker.memory_budget", old.broker.memory_budget != new.broker.memory_budget),
        ("broker.max_packet", old.broker.packet_len_max != new.broker.packet_len_max),
    ])
}

fn named<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

/// Those of `all` that are not among `others`; each as often as it is too many, since port 0 may
/// stand in a list more than once.
fn without(all: &[ListenAddress], others: &[ListenAddress]) -> Vec<ListenAddress> {
    let mut others: Vec<_> = others.iter().collect();
    let mut missing = |address: &&ListenAddress| match others.iter().position(|o| o == address) {
        Some(at) => {
            others.swap_remove(at);
            false
        }
        None => true,
    };
    all.iter().filter(|address| missing(address)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Surroundings, load_text};

    const OLD: &str = r#"
        [pool.wordcount]
        command = "wc -w"
        protocol = "exec"
        count = 2
        [pool.mail]
        command = "php mail.php"
        count = { min = 1, max = 4 }
    "#;

    #[test]
    fn a_start_is_the_difference_from_no_pools() {
        let new = settings(OLD);
        let changes = diff(&new.without_pools(), &new);
        assert_eq!(changes.sentences(), ["mail added: 1..4", "wordcount added: 2"]);
        assert!(diff(&new, &new).is_empty());
        assert!(diff(&new, &settings(&format!("# a comment\n{OLD}"))).is_empty());
    }

    #[test]
    fn every_change_is_told_in_a_sentence() {
        for (from, to, sentences) in [
            ("count = 2", "count = 4", &["wordcount 2→4"][..]),
            ("wc -w", "wc -l", &["wordcount: command changed"]),
            ("max = 4 }", "max = 1 }\nlog = false", &["mail 1..4→1: log changed"]),
            ("max = 4 }", "max = 4 }\ntty = true", &["mail: tty changed"]),
            ("pool.mail", "pool.post", &["post added: 1..4", "mail removed"]),
            (
                "count = 2",
                "count = 2\nmax_wait = \"1s\"\nweight = 3",
                &["wordcount: max_wait, weight changed"],
            ),
            ("\n", "\nhost.max_load = 3\n", &["host.max_load changed"]),
            (
                "count = 2",
                "count = 2\nenv.A = \"b\"\numask = \"022\"",
                &["wordcount: env, umask changed"],
            ),
            (
                "\n",
                "\nsupervisor.shutdown_grace = \"1s\"\n",
                &["supervisor.shutdown_grace changed"],
            ),
            ("\n", "\nbroker.max_queued = 9\n", &["broker.max_queued changed"]),
            ("\n", "\nbroker.hold_grab = false\n", &["broker.hold_grab changed"]),
            ("\n", "\nfunction.\"a*\".expire = \"5m\"\n", &["function changed"]),
            (
                "\n",
                "\nbroker.store = \"memory\"\n",
                &["broker.store changed: takes effect when the daemon is started again"],
            ),
            (
                "\n",
                "\nbroker.listen = [\"127.0.0.1:1\"]\n",
                &["listening on 127.0.0.1:1 too", "listening on 127.0.0.1:4730 no more"],
            ),
        ] {
            let changes = diff(&settings(OLD), &settings(&OLD.replacen(from, to, 1)));
            assert_eq!(changes.sentences(), sentences, "{to}");
        }
    }

    #[test]
    fn only_another_program_replaces_workers() {
        let change = |to: &str| {
            let new = settings(&OLD.replacen("count = 2", to, 1));
            let mut changes = diff(&settings(OLD), &new);
            changes.changed.pop().unwrap()
        };
        let count = change("count = 3");
        assert!(count.changes_count() && count.program.is_empty() && count.live.is_empty());
        let stop = change("count = 2\nstop = [\"KILL\"]");
        assert!(!stop.changes_count() && stop.program.is_empty());
        assert_eq!(stop.live, ["stop"]);
        assert_eq!(change("count = 2\nstream = true").program, ["stream"]);
        for line in [
            "clean_env = true",
            "nice = 5",
            "ionice = \"idle\"",
            "oom_score_adj = 100",
            "rlimit = { core = 0 }",
            "no_new_privileges = true",
            "cpu_affinity = [0]",
            "cgroup = {}",
        ] {
            let key = line.split(' ').next().unwrap();
            assert_eq!(change(&format!("count = 2\n{line}")).program, [key]);
        }
    }

    #[test]
    fn a_move_of_all_logs_is_a_change_of_each_pool() {
        let moved = settings(&format!("supervisor.log_dir = \"elsewhere\"\n{OLD}"));
        let sentences = diff(&settings(OLD), &moved).sentences();
        assert_eq!(sentences, ["mail: log changed", "wordcount: log changed"]);
    }

    fn settings(text: &str) -> Settings {
        let surroundings = Surroundings {
            uid: 1000,
            gid: 1000,
            directory: "/etc".into(),
            variables: [("HOME".to_owned(), "/home/dev".to_owned())].into(),
            ..Surroundings::default()
        };
        load_text(Path::new("workers.toml"), text, &surroundings).unwrap()
    }
}
