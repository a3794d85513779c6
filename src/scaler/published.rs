//! What a host publishes to the others, as text in the client ids of its connections.
//!
//! `gs1;host=NAME;cap=PROCESSORS;beat=N;pool=NAME:STARTING/IDLE/RUNNING/LEAVING;pool=…`, in as many ids
//! as it takes. Servers keep the beginning of an id, so names and numbers are bounded: one pool fits
//! whatever they are. Readers pass over keys that they do not know.

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::fleet::{Peer, PeerPool};
use crate::model::PoolName;

/// What ids begin with.
const MAGIC: &str = "gs1";
/// Longest name of a host, in bytes. With the next three constants one pool fits into an id of 127
/// bytes, which is what servers keep, whatever its numbers are.
pub const HOST_LEN_MAX: usize = 33;
/// Longest name of a pool that is published whole, in bytes, and what is left of a longer one before
/// its hash.
const POOL_LEN_MAX: usize = 32;
const POOL_LEN_CUT: usize = 15;
/// Greatest number that is published of processors and workers.
const COUNT_MAX: u32 = 99_999;
/// Beats begin again after so many: it matters only that they change.
const BEATS: u64 = 1_000_000;

/// What a host publishes, as ids of at most so many bytes: as many as are needed.
#[must_use]
pub fn publish(host: &str, own: &Peer, len_max: usize) -> Vec<String> {
    let (capacity, beat) = (own.capacity.min(COUNT_MAX), own.beat % BEATS);
    let head = format!("{MAGIC};host={host};cap={capacity};beat={beat}");
    let mut ids = vec![head.clone()];
    for (name, pool) in &own.pools {
        let PeerPool { starting, idle, running, leaving, limited } = pool;
        let [starting, idle, running, leaving] =
            [starting, idle, running, leaving].map(|count| COUNT_MAX.min(*count));
        let (name, mark) = (public_name(name), if *limited { "!" } else { "" });
        let text = format!(";pool={name}:{starting}/{idle}/{running}/{leaving}{mark}");
        if ids.last().is_some_and(|id| id != &head && id.len() + text.len() > len_max) {
            ids.push(head.clone());
        }
        if let Some(id) = ids.last_mut() {
            id.push_str(&text);
        }
    }
    ids
}

/// The name by which hosts speak of a pool: a long one is cut, and its hash tells it from others.
pub(super) fn public_name(name: &PoolName) -> Cow<'_, PoolName> {
    let text = name.as_str();
    let Some(cut) = text.get(..POOL_LEN_CUT).filter(|_| text.len() > POOL_LEN_MAX) else {
        return Cow::Borrowed(name);
    };
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    let short = format!("{cut}-{:016x}", hasher.finish()).parse();
    short.map_or(Cow::Borrowed(name), Cow::Owned)
}

/// Reads a published id: the host, and what of it stands there. `None`: it is another's.
#[must_use]
pub fn published(id: &str) -> Option<(String, Peer)> {
    let mut parts = id.split(';');
    if parts.next() != Some(MAGIC) {
        return None;
    }
    let (mut host, mut peer) = (None, Peer::default());
    for part in parts {
        match part.split_once('=')? {
            ("host", name) => host = Some(name.to_owned()),
            ("cap", capacity) => peer.capacity = capacity.parse().ok()?,
            ("beat", beat) => peer.beat = beat.parse().ok()?,
            ("pool", pool) => {
                // One that is cut short at the end is passed over.
                let Some((name, pool)) = published_pool(pool) else { continue };
                peer.pools.insert(name, pool);
            }
            // What later versions add.
            (_, _) => {}
        }
    }
    Some((host?, peer))
}

fn published_pool(text: &str) -> Option<(PoolName, PeerPool)> {
    let (name, counts) = text.split_once(':')?;
    let limited = counts.ends_with('!');
    let mut counts = counts.trim_end_matches('!').split('/').map(str::parse::<u32>);
    let mut next = || counts.next()?.ok();
    let (starting, idle, running, leaving) = (next()?, next()?, next()?, next()?);
    Some((name.parse().ok()?, PeerPool { starting, idle, running, leaving, limited }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::fleet::{Fleet, FleetState, SHORT_FOR};
    use super::super::sample::{Look, PoolSample};
    use super::*;
    use crate::config::{Count, ScalingSettings};

    #[test]
    fn what_is_published_is_read_again_however_it_is_cut() {
        let pool =
            |n: u32, limited| PeerPool { starting: n, idle: 2, running: 30, leaving: 1, limited };
        let names = (0_u32..20).map(|n| (format!("pool{n}").parse().unwrap(), pool(n, n % 2 == 0)));
        let own = Peer { capacity: 8, beat: 7, pools: names.collect() };
        let ids = publish("web1/workers", &own, 120);
        assert!(ids.len() > 3 && ids.iter().all(|id| id.len() <= 120), "{ids:?}");
        let mut seen = Peer { capacity: 8, beat: 7, ..Peer::default() };
        for id in &ids {
            let (host, part) = published(id).unwrap();
            assert_eq!((host.as_str(), part.capacity, part.beat), ("web1/workers", 8, 7));
            seen.pools.extend(part.pools);
        }
        assert_eq!(seen, own);
        assert!(published("gs1;host=a;cap=2;pool=x:1/2").unwrap().1.pools.is_empty());
        for other in ["-", "worker_7", "gs2;host=a", "gs1;cap=1", "gs1;host=a;cap=x"] {
            assert_eq!(published(other), None, "{other}");
        }
    }

    #[test]
    fn one_pool_fits_into_an_id_and_is_known_whatever_its_name_and_its_numbers() {
        let name = |end: char| format!("{}{end}", "p".repeat(63)).parse::<PoolName>().unwrap();
        let most = u32::MAX;
        let pool =
            PeerPool { starting: most, idle: most, running: most, leaving: most, limited: true };
        let own = Peer {
            capacity: most,
            beat: u64::MAX,
            pools: ['a', 'b'].map(|end| (name(end), pool)).into(),
        };
        let ids = publish(&"h".repeat(HOST_LEN_MAX), &own, 127);
        assert!(ids.len() == 2 && ids.iter().all(|id| id.len() <= 127), "{ids:?}");
        let mut fleet = Fleet::default();
        for id in &ids {
            let (host, part) = published(id).unwrap();
            let peer = fleet.peers.entry(host).or_default();
            peer.capacity = part.capacity;
            peer.pools.extend(part.pools);
        }
        let mut state = FleetState::default();
        let start = Instant::now();
        state.observe(start, Some(&fleet));
        let look = Look { fleet: Some(fleet), ..Look::default() };
        let count = Count { min: 0, max: 9 };
        let sample = PoolSample::new(count, ScalingSettings::default(), Arc::default());
        let whole = |end| state.whole(start + SHORT_FOR, &look, (&name(end), &sample)).unwrap();
        // It has three times the greatest number, and takes no more, since it says so.
        let need = 4 * COUNT_MAX;
        assert_eq!((whole('a').hosts(), whole('a').share(need)), (2, COUNT_MAX));
        assert_eq!((whole('b').hosts(), whole('b').share(need)), (2, COUNT_MAX));
        assert_eq!(state.whole(start, &look, (&name('c'), &sample)).unwrap().hosts(), 1);
    }
}
