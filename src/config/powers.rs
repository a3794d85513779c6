//! What a daemon can grant its workers: its rights, its own limits, the processors that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use rustix::process::getpriority_process;
use rustix::thread::{CapabilitySet, capabilities};

use super::limits::cpu_list;
use super::rlimit::RlimitKind;
use crate::host::{ControlGroup, NotDelegated};

/// A priority of CPU time that anybody may have.
const NICE_USUAL: i32 = 0;

/// What a daemon can grant. The default can grant everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// The lowest `nice`; `None`: any.
    pub nice_min: Option<i32>,
    /// The lowest `oom_score_adj`; `None`: any, or not known.
    pub oom_score_adj_min: Option<i32>,
    /// Whether realtime I/O is out of reach.
    pub lacks_realtime_io: bool,
    /// Limits that no worker's may exceed; a kind that is not here has no such limit.
    pub rlimits_max: BTreeMap<RlimitKind, u64>,
    /// Processors that are there; `None`: not known.
    pub cpus: Option<BTreeSet<usize>>,
    /// What groups of workers can be limited in.
    pub cgroup: CgroupSight,
}

/// What is known of the control group that the daemon may divide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CgroupSight {
    /// Nothing.
    #[default]
    Unknown,
    /// It has these controllers.
    Controllers(Vec<String>),
    /// There is none, for this reason.
    Missing(String),
}

impl Powers {
    /// Those of the daemon that somebody at a shell is going to start: it will have its own control
    /// group, and only what the whole host lacks is known to be missing there.
    #[must_use]
    pub fn of_shell() -> Self {
        Self { cgroup: ControlGroup::of_host().into(), ..Self::of_process() }
    }

    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let rights = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let has_nice = rights.contains(CapabilitySet::SYS_NICE);
        let has_resource = rights.contains(CapabilitySet::SYS_RESOURCE);
        let has_admin = rights.contains(CapabilitySet::SYS_ADMIN);
        Self {
            nice_min: if has_nice { None } else { Some(nice_min()) },
            oom_score_adj_min: if has_resource { None } else { oom_score_adj_min() },
            lacks_realtime_io: !has_nice && !has_admin,
            rlimits_max: rlimits_max(has_resource),
            cpus: fs::read_to_string("/sys/devices/system/cpu/online")
                .ok()
                .and_then(|list| cpu_list(list.trim()).ok()),
            cgroup: ControlGroup::of_process().into(),
        }
    }
}

impl From<Result<ControlGroup, NotDelegated>> for CgroupSight {
    fn from(found: Result<ControlGroup, NotDelegated>) -> Self {
        match found {
            Ok(group) => Self::Controllers(group.controllers),
            Err(error) => Self::Missing(error.to_string()),
        }
    }
}

/// Without CAP_SYS_NICE: what one has, or what RLIMIT_NICE lets one have (getrlimit(2)).
fn nice_min() -> i32 {
    let own = getpriority_process(None).unwrap_or(NICE_USUAL);
    let (soft, _) = getrlimit(Resource::RLIMIT_NICE).unwrap_or_default();
    let by_limit = 20 - i32::try_from(soft.min(40)).unwrap_or_default();
    own.min(by_limit)
}

/// Without CAP_SYS_RESOURCE one may go down to what somebody with it has set last. That cannot be
/// read, but nobody sets less than 0 without meaning it, so a value of 0 or more tells that it is
/// no less than 0; below 0 it is at most what one has.
fn oom_score_adj_min() -> Option<i32> {
    let text = fs::read_to_string("/proc/self/oom_score_adj").ok()?;
    text.trim().parse::<i32>().ok().map(|own| own.min(0))
}

fn rlimits_max(has_resource: bool) -> BTreeMap<RlimitKind, u64> {
    let mut most = BTreeMap::new();
    if !has_resource {
        let hard = |kind: RlimitKind| Some((kind, getrlimit(kind.resource()).ok()?.1));
        let bounded = |(_, hard): &(RlimitKind, u64)| *hard != RLIM_INFINITY;
        most.extend(RlimitKind::ALL.into_iter().filter_map(hard).filter(bounded));
    }
    // The kernel lets nobody have more files than this.
    let files = fs::read_to_string("/proc/sys/fs/nr_open").ok();
    if let Some(files) = files.and_then(|text| text.trim().parse::<u64>().ok()) {
        most.entry(RlimitKind::Nofile).and_modify(|most| *most = files.min(*most)).or_insert(files);
    }
    most
}
