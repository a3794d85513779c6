//! Users and groups by name or number → who a pool's workers run as, and are told to be.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use nix::unistd::{self, Gid, Group, Uid, User};

use super::settings::{Account, Login};
use super::surroundings::Surroundings;
use super::wrong::{Parsed, Wrong};

/// A user that a pool names.
#[derive(Clone, Debug)]
pub(super) enum Person {
    /// Whoever runs the daemon; nothing has to change for it.
    Myself,
    /// Somebody else; only root can become them.
    Other(User),
}

/// Looks a user up; a daemon that is not root can name only itself.
pub(super) fn user(text: &str, surroundings: &Surroundings) -> Parsed<Person> {
    let mine = surroundings.uid.to_string();
    if text == mine || surroundings.user.as_deref() == Some(text) {
        return Ok(Person::Myself);
    }
    let found = match text.parse() {
        Ok(id) => User::from_uid(Uid::from_raw(id)),
        Err(_) => User::from_name(text),
    };
    match found {
        Ok(Some(user)) if user.uid.as_raw() == surroundings.uid => Ok(Person::Myself),
        Ok(Some(user)) if surroundings.is_root() => Ok(Person::Other(user)),
        Ok(Some(_)) => {
            let me = surroundings.user.as_deref().unwrap_or(&mine);
            Err(Wrong::new(format!("a daemon of {me} cannot start workers as {text}"))
                .hint("start it as root, or remove user"))
        }
        Ok(None) => Err(Wrong::new(format!("no user is called '{text}'"))
            .hint("create it, or name one that exists")),
        Err(error) => Err(Wrong::new(format!("user '{text}' cannot be looked up: {error}"))),
    }
}

/// Looks a group's id up.
pub(super) fn group(text: &str) -> Parsed<u32> {
    let found = match text.parse() {
        Ok(id) => return Ok(id),
        Err(_) => Group::from_name(text),
    };
    match found {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(Wrong::new(format!("no group is called '{text}'"))
            .hint("create it, or name one that exists")),
        Err(error) => Err(Wrong::new(format!("group '{text}' cannot be looked up: {error}"))),
    }
}

/// Who the workers run as; `None`: as the daemon does.
pub(super) fn account(
    user: Option<&Person>,
    group: Option<u32>,
    surroundings: &Surroundings,
) -> Parsed<Option<Account>> {
    let other_group = group.filter(|group| *group != surroundings.gid);
    match (user, other_group) {
        (None, _) if surroundings.is_root() => Err(Wrong::new("its workers would run as root")
            .hint("add user = \"NAME\", or user = \"root\" if they must, here or in [defaults]")),
        (None | Some(Person::Myself), None) => Ok(None),
        (_, Some(_)) if !surroundings.is_root() => {
            Err(Wrong::new("only a daemon of root can start workers with another group")
                .hint("start it as root, or remove group"))
        }
        (None | Some(Person::Myself), Some(group)) => match User::from_uid(Uid::from_raw(0)) {
            Ok(Some(root)) => of(&root, Some(group)).map(Some),
            Ok(None) | Err(_) => Err(Wrong::new("user 0 has no name").hint("remove group")),
        },
        (Some(Person::Other(user)), _) => of(user, group).map(Some),
    }
}

/// What the account of `user` says; `None` when no user is named, or has no account.
pub(super) fn login(user: &Person, surroundings: &Surroundings) -> Option<Login> {
    let user = match user {
        Person::Other(user) => user.clone(),
        Person::Myself => User::from_uid(Uid::from_raw(surroundings.uid)).ok().flatten()?,
    };
    let or = |path: PathBuf, default: &str| {
        if path.as_os_str().is_empty() { PathBuf::from(default) } else { path }
    };
    let shell = if is_placeholder(&user.shell) { PathBuf::new() } else { user.shell };
    Some(Login { user: user.name, home: or(user.dir, "/"), shell: or(shell, "/bin/sh") })
}

/// Accounts of services have a shell that refuses to run anything; whoever runs $SHELL wants one.
fn is_placeholder(shell: &Path) -> bool {
    shell.file_name().is_none_or(|name| name == "nologin" || name == "false")
}

fn of(user: &User, group: Option<u32>) -> Parsed<Account> {
    let gid = group.unwrap_or(user.gid.as_raw());
    let unlisted = |error| Wrong::new(format!("groups of {} cannot be listed: {error}", user.name));
    let name = CString::new(user.name.as_str()).unwrap_or_default();
    let groups = unistd::getgrouplist(&name, Gid::from_raw(gid)).map_err(unlisted)?;
    Ok(Account {
        uid: user.uid.as_raw(),
        gid,
        groups: groups.into_iter().map(Gid::as_raw).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_by(uid: u32, name: &str) -> Surroundings {
        Surroundings { uid, gid: uid, user: Some(name.to_owned()), ..Surroundings::default() }
    }

    fn resolve(
        user_name: Option<&str>,
        group: Option<u32>,
        surroundings: &Surroundings,
    ) -> Parsed<Option<Account>> {
        let person = user_name.map(|name| user(name, surroundings)).transpose()?;
        account(person.as_ref(), group, surroundings)
    }

    #[test]
    fn root_runs_nothing_as_root_unless_told() {
        let root = run_by(0, "root");
        assert!(resolve(None, None, &root).is_err());
        assert!(resolve(None, Some(1), &root).is_err());
        assert_eq!(resolve(Some("root"), None, &root), Ok(None));
        assert_eq!(resolve(Some("0"), None, &root), Ok(None));

        let daemon = resolve(Some("daemon"), None, &root).unwrap().unwrap();
        assert_eq!(daemon.uid, 1);
        assert!(daemon.groups.contains(&daemon.gid), "{daemon:?}");

        let grouped = resolve(Some("root"), Some(1), &root).unwrap().unwrap();
        assert_eq!((grouped.uid, grouped.gid), (0, 1));
    }

    #[test]
    fn the_account_says_who_one_is_but_a_shell_that_is_none_is_not_told() {
        let root = run_by(0, "root");
        let login = |name: &str| login(&user(name, &root).unwrap(), &root).unwrap();
        let Login { user: name, home, shell } = login("daemon");
        let expected = ("daemon", Path::new("/usr/sbin"), Path::new("/bin/sh"));
        assert_eq!((name.as_str(), home.as_path(), shell.as_path()), expected);
        let root = User::from_uid(Uid::from_raw(0)).unwrap().unwrap();
        assert_eq!(login("root"), Login { user: root.name, home: root.dir, shell: root.shell });
    }

    #[test]
    fn others_run_workers_only_as_themselves() {
        let dev = run_by(12_345, "dev");
        for (user, group) in
            [(None, None), (Some("dev"), None), (Some("12345"), None), (None, Some(12_345))]
        {
            assert_eq!(resolve(user, group, &dev), Ok(None));
        }
        for (user, group) in [(Some("root"), None), (Some("nosuchuser"), None), (None, Some(1))] {
            assert!(resolve(user, group, &dev).is_err(), "{user:?} {group:?}");
        }
    }
}
