//! `rlimit = { nofile = 65536, core = "unlimited", cpu = "1h:2h" }`: limits as setrlimit(2) has
//! them, under the names that limits.conf(5) and prlimit(1) give them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource};
use serde::{Deserialize, Serialize};

use super::powers::Powers;
use super::table::meant;
use super::value::Value;
use super::values;
use super::wrong::{Parsed, Wrong};

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the RLIMIT of its name in setrlimit(2)")]
pub enum RlimitKind {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// A limit in the unit of its kind; [`RLIM_INFINITY`] for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// What holds.
    pub soft: u64,
    /// Up to where the process may raise it itself.
    pub hard: u64,
}

impl RlimitKind {
    /// Every kind, in the order of their names.
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.both().0
    }

    /// As the kernel knows it.
    #[must_use]
    pub fn resource(self) -> Resource {
        self.both().1
    }

    fn both(self) -> (&'static str, Resource) {
        match self {
            Self::As => ("as", Resource::RLIMIT_AS),
            Self::Core => ("core", Resource::RLIMIT_CORE),
            Self::Cpu => ("cpu", Resource::RLIMIT_CPU),
            Self::Data => ("data", Resource::RLIMIT_DATA),
            Self::Fsize => ("fsize", Resource::RLIMIT_FSIZE),
            Self::Locks => ("locks", Resource::RLIMIT_LOCKS),
            Self::Memlock => ("memlock", Resource::RLIMIT_MEMLOCK),
            Self::Msgqueue => ("msgqueue", Resource::RLIMIT_MSGQUEUE),
            Self::Nice => ("nice", Resource::RLIMIT_NICE),
            Self::Nofile => ("nofile", Resource::RLIMIT_NOFILE),
            Self::Nproc => ("nproc", Resource::RLIMIT_NPROC),
            Self::Rss => ("rss", Resource::RLIMIT_RSS),
            Self::Rtprio => ("rtprio", Resource::RLIMIT_RTPRIO),
            Self::Rttime => ("rttime", Resource::RLIMIT_RTTIME),
            Self::Sigpending => ("sigpending", Resource::RLIMIT_SIGPENDING),
            Self::Stack => ("stack", Resource::RLIMIT_STACK),
        }
    }

    /// A number, or what people call such a number.
    fn bound(self, text: &str) -> Parsed<u64> {
        if matches!(text, "unlimited" | "infinity") {
            return Ok(RLIM_INFINITY);
        }
        if let Ok(number) = text.replace('_', "").parse() {
            return Ok(number);
        }
        let whole = |amount: u128| u64::try_from(amount).unwrap_or(RLIM_INFINITY);
        let (read, example) = match self {
            Self::Cpu => (values::duration(text).ok().map(|time| time.as_secs()), "\"10m\""),
            Self::Rttime => {
                let micros = |time: Duration| whole(time.as_micros());
                (values::duration(text).ok().map(micros), "\"200ms\"")
            }
            Self::As
            | Self::Core
            | Self::Data
            | Self::Fsize
            | Self::Memlock
            | Self::Msgqueue
            | Self::Rss
            | Self::Stack => (values::size(text).ok(), "\"64MiB\""),
            Self::Locks
            | Self::Nice
            | Self::Nofile
            | Self::Nproc
            | Self::Rtprio
            | Self::Sigpending => (None, "1024"),
        };
        read.ok_or_else(|| {
            Wrong::new(format!("'{text}' is not a limit of {}", self.name())).hint(format!(
                "write as in {example}, \"unlimited\", or two of them as in \"SOFT:HARD\""
            ))
        })
    }
}

/// `1024`, `1024:4096`, `unlimited`.
impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bound: u64| match bound {
            RLIM_INFINITY => "unlimited".to_owned(),
            bound => bound.to_string(),
        };
        f.write_str(&text(self.soft))?;
        if self.soft == self.hard { Ok(()) } else { write!(f, ":{}", text(self.hard)) }
    }
}

/// Reads the table of limits; each that cannot be taken is reported at its own place.
pub(super) fn rlimits(value: &Value<'_>, powers: &Powers) -> Parsed<BTreeMap<RlimitKind, Rlimit>> {
    let mut limits = BTreeMap::new();
    let table = value.table()?;
    for (name, span, entry) in table.entries() {
        let Some(kind) = RlimitKind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let names = RlimitKind::ALL.iter().map(|kind| kind.name());
            table.wrong_entry(name, span, Wrong::new("unknown key").hint(meant(name, names)));
            continue;
        };
        let limit = entry.read(|value| one(kind, &value.scalar()?, powers));
        limits.extend(limit.map(|limit| (kind, limit)));
    }
    Ok(limits)
}

fn one(kind: RlimitKind, text: &str, powers: &Powers) -> Parsed<Rlimit> {
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let limit = Rlimit { soft: kind.bound(soft.trim())?, hard: kind.bound(hard.trim())? };
    if limit.soft > limit.hard {
        return Err(Wrong::new(format!("{soft} is above {hard}")).hint("write \"SOFT:HARD\""));
    }
    match powers.rlimits_max.get(&kind) {
        Some(most) if limit.hard > *most => {
            let hard = Rlimit { soft: limit.hard, hard: limit.hard };
            let wrong = Wrong::new(format!("{hard} is above {most}, the daemon's own limit"));
            Err(wrong.hint("write no more, or raise the daemon's (systemd: Limit…= of its unit)"))
        }
        Some(_) | None => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_what_people_call_it() {
        let read = |kind, text| one(kind, text, &Powers::default()).ok().map(|l| (l.soft, l.hard));
        for (kind, text, expected) in [
            (RlimitKind::Nofile, "65_536", Some((65_536, 65_536))),
            (RlimitKind::Nofile, "1024:4096", Some((1024, 4096))),
            (RlimitKind::Nofile, "4096:1024", None),
            (RlimitKind::Nofile, "64KiB", None),
            (RlimitKind::Core, "unlimited", Some((RLIM_INFINITY, RLIM_INFINITY))),
            (RlimitKind::Core, "0:unlimited", Some((0, RLIM_INFINITY))),
            (RlimitKind::Stack, "8MiB : 16MiB", Some((8 << 20, 16 << 20))),
            (RlimitKind::Cpu, "10m", Some((600, 600))),
            (RlimitKind::Rttime, "200ms", Some((200_000, 200_000))),
            (RlimitKind::Cpu, "-1", None),
        ] {
            assert_eq!(read(kind, text), expected, "{kind:?} {text}");
        }
    }

    #[test]
    fn no_limit_is_above_what_the_daemon_may_have() {
        let rlimits_max = [(RlimitKind::Nofile, 4096)].into();
        let powers = Powers { rlimits_max, ..Powers::default() };
        assert!(one(RlimitKind::Nofile, "1024:4096", &powers).is_ok());
        for text in ["unlimited", "4097", "1:4097"] {
            assert!(one(RlimitKind::Nofile, text, &powers).is_err(), "{text}");
        }
        assert!(one(RlimitKind::Nproc, "unlimited", &powers).is_ok());
    }
}
