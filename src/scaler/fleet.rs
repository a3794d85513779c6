//! Hosts that share Gearman servers without a leader.
//!
//! Every host publishes what it has in the client id of a connection to the servers, sees what the
//! others publish, computes the same need of all hosts from what the servers tell, and takes its own
//! share of it: by capacity, which does not change with load, never by the counts there are, since
//! hosts that follow each other's counts chase each other. Ties go by a hash of pool and host, so
//! that the first worker of a pool is started by one host and pools spread over the hosts. A host
//! that falls short says so, and after a while the others take what it lacks. Each publishes a beat
//! too: a server may list the connection of a host that has lost its power for hours.
//!
//! Hosts that publish nothing are strangers: what they have is not ours to do, and as nobody knows
//! whether they grow too, growth beside them is thinned, and waits to be seen before it goes on.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;

use super::published::public_name;
use super::sample::{Look, PoolSample};
use crate::model::{FunctionName, PoolName};

/// How long a peer falls short before others take over what it lacks.
pub(super) const SHORT_FOR: Duration = Duration::from_secs(3);
/// How old what is known of others may be.
const STALE: Duration = Duration::from_secs(1);
/// What is known of the other hosts at the same servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Our own name among them.
    pub host: String,
    /// How much we bear in relation to them: processors.
    pub capacity: u32,
    /// Hosts that publish what they have, by their names.
    pub peers: BTreeMap<String, Peer>,
    /// Hosts that do not, by what they perform.
    pub strangers: BTreeMap<FunctionName, Strangers>,
}

/// A host that publishes what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its processors.
    pub capacity: u32,
    /// A number that changes as long as it lives.
    pub beat: u64,
    /// Its pools, by the names by which hosts speak of them.
    pub pools: BTreeMap<PoolName, PeerPool>,
}

/// One pool of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerPool {
    /// Workers that are not ready.
    pub starting: u32,
    /// Workers without a job.
    pub idle: u32,
    /// Workers with one.
    pub running: u32,
    /// Workers on their way out.
    pub leaving: u32,
    /// Whether the host cannot give the pool its share.
    pub limited: bool,
}

/// Hosts that perform a function and publish nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    /// How many.
    pub hosts: u32,
    /// Their connections that perform it.
    pub performers: u32,
}

/// What of the fleet is remembered between looks.
#[derive(Clone, Debug, Default)]
pub(super) struct FleetState {
    /// Since when a peer says that it falls short.
    short: BTreeMap<(String, PoolName), Instant>,
}

/// One pool on all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    own: Claimant,
    peers: Vec<Claimant>,
    strangers: Strangers,
    /// Chance for the thinning of growth, from 0 to 1, another one at every look.
    chance: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Claimant {
    capacity: u32,
    rank: u64,
    /// It takes no more than this.
    most: u32,
}

impl PeerPool {
    fn have(&self) -> u32 {
        self.starting.saturating_add(self.idle).saturating_add(self.running)
    }
}

impl FleetState {
    /// Takes in what peers say at `now`.
    pub(super) fn observe(&mut self, now: Instant, fleet: Option<&Fleet>) {
        let peers = fleet.into_iter().flat_map(|fleet| &fleet.peers);
        let short = peers.flat_map(|(host, peer)| {
            let pools = peer.pools.iter().filter(|(_, pool)| pool.limited);
            pools.map(|(name, _)| (host.clone(), name.clone()))
        });
        let before = std::mem::take(&mut self.short);
        self.short = short
            .map(|who| {
                let since = before.get(&who).copied().unwrap_or(now);
                (who, since)
            })
            .collect();
    }

    /// The pool on all hosts that have it.
    pub(super) fn whole(
        &self,
        now: Instant,
        look: &Look,
        (name, sample): (&PoolName, &PoolSample),
    ) -> Option<Whole> {
        let fleet = look.fleet.as_ref()?;
        let claimant = |host: &str, capacity, most| {
            let rank = rank(name, host);
            Claimant { capacity, rank, most }
        };
        let peers = fleet.peers.iter().filter_map(|(host, peer)| {
            let pool = peer.pools.get(&*public_name(name))?;
            let since = self.short.get(&(host.clone(), public_name(name).into_owned()));
            let is_short = since.is_some_and(|at| now.saturating_duration_since(*at) >= SHORT_FOR);
            let most = if is_short { pool.have() } else { u32::MAX };
            Some(claimant(host, peer.capacity, most))
        });
        let strangers = sample.functions.iter().filter_map(|name| fleet.strangers.get(name));
        let strangers = strangers.fold(Strangers::default(), |all, one| Strangers {
            hosts: all.hosts.max(one.hosts),
            performers: all.performers.max(one.performers),
        });
        let turn = u64::try_from(sample.busy.as_nanos()).unwrap_or(0);
        let chance = part(rank(name, &fleet.host) ^ turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let own = claimant(&fleet.host, fleet.capacity, u32::MAX);
        Some(Whole { own, peers: peers.collect(), strangers, chance })
    }
}

impl Whole {
    /// Hosts that have the pool or perform what it serves.
    pub(super) fn hosts(&self) -> u32 {
        let peers = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        peers.saturating_add(self.strangers.hosts).saturating_add(1)
    }

    /// Our part of what all hosts need: place by place to the host with the most capacity for each
    /// worker (Webster's divisors), as everybody reckons it.
    pub(super) fn share(&self, need: u32) -> u32 {
        let need = need.saturating_sub(self.strangers.performers);
        let mut shares = vec![0_u32; self.peers.len()];
        let mut own = 0;
        for _ in 0..need {
            let quotient = |claimant: &Claimant, have: u32| {
                let left = have < claimant.most;
                let capacity = f64::from(claimant.capacity.max(1));
                left.then_some((capacity / (f64::from(have) + 0.5), claimant.rank))
            };
            let ours = quotient(&self.own, own);
            let theirs = self.peers.iter().zip(&mut shares).filter_map(|(claimant, share)| {
                quotient(claimant, *share).map(|quotient| (quotient, share))
            });
            let best = theirs
                .max_by(|(one, _), (other, _)| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            match (ours, best) {
                (Some(ours), Some((theirs, share)))
                    if theirs.0.total_cmp(&ours.0).then(theirs.1.cmp(&ours.1)).is_gt() =>
                {
                    *share += 1;
                }
                (Some(_), _) => own += 1,
                (None, Some((_, share))) => *share += 1,
                (None, None) => break,
            }
        }
        own
    }

    /// How far a pool that has `level` may grow beside strangers: each worker that is missing is
    /// one of ours with the chance of one in all hosts, and none before the last ones can be seen.
    pub(super) fn thinned(
        &self,
        up: u32,
        level: u32,
        (rose, startup): (Option<Duration>, Duration),
    ) -> u32 {
        if self.strangers.hosts == 0 || up <= level {
            return up;
        }
        if rose.is_some_and(|ago| ago < STALE + startup) {
            return level;
        }
        let part = f64::from(up - level) / f64::from(self.strangers.hosts + 1);
        let more = (1..=up - level).filter(|n| f64::from(*n) <= part + self.chance).count();
        level + u32::try_from(more).unwrap_or(0)
    }
}

/// The pool's order of hosts, the same for all who reckon it (rendezvous hashing).
fn rank(pool: &PoolName, host: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(pool.as_str().as_bytes());
    hasher.write_u8(0);
    hasher.write(host.as_bytes());
    hasher.finish()
}

/// A hash as a number from 0 to 1.
fn part(hash: u64) -> f64 {
    let [_, _, _, _, high @ ..] = hash.to_be_bytes();
    f64::from(u32::from_be_bytes(high)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(own: (&str, u32), peers: &[(&str, u32, u32)]) -> Whole {
        let pool: PoolName = "work".parse().unwrap();
        let claimant = |host: &str, capacity, most| {
            let rank = rank(&pool, host);
            Claimant { capacity, rank, most }
        };
        Whole {
            own: claimant(own.0, own.1, u32::MAX),
            peers: peers.iter().map(|(host, cap, most)| claimant(host, *cap, *most)).collect(),
            ..Whole::default()
        }
    }

    #[test]
    fn the_shares_of_all_hosts_are_the_need_and_in_the_ratio_of_their_capacities() {
        let hosts = [("a", 4), ("b", 8), ("c", 4)];
        for need in 0..100 {
            let shares = hosts.map(|own| {
                let peers = hosts.iter().filter(|host| **host != own);
                let peers: Vec<_> = peers.map(|(host, cap)| (*host, *cap, u32::MAX)).collect();
                whole(own, &peers).share(need)
            });
            assert_eq!(shares.iter().sum::<u32>(), need, "{shares:?}");
            assert!(shares[1].abs_diff(need / 2) <= 1, "{need}: {shares:?}");
        }
    }

    #[test]
    fn what_a_peer_lacks_falls_to_the_others() {
        assert_eq!(whole(("a", 4), &[("b", 4, 2)]).share(10), 8);
        assert_eq!(whole(("a", 4), &[("b", 4, u32::MAX)]).share(10), 5);
    }

    #[test]
    fn growth_beside_strangers_is_thinned_and_waits_to_be_seen() {
        let mut beside = whole(("a", 4), &[]);
        beside.strangers = Strangers { hosts: 3, performers: 6 };
        beside.chance = 0.5;
        assert_eq!(beside.share(14), 8);
        let startup = Duration::from_secs(2);
        assert_eq!(beside.thinned(8, 0, (None, startup)), 2);
        assert_eq!(beside.thinned(8, 2, (Some(Duration::from_secs(1)), startup)), 2);
        assert_eq!(beside.thinned(8, 2, (Some(Duration::from_secs(4)), startup)), 4);
    }
}
