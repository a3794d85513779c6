//! `[program:x]`: a pool of its processes, or one for each where they differ.

use nix::sys::signal::Signal;

use super::{Names, Scene, values};
use crate::import::draft::{Block, Draft, inline, list, number, plain_name, quoted};
use crate::import::ini::{Entry, Section};
use crate::import::{ImportError, Place};

/// Keys without an equal: their default, and why.
const WITHOUT_EQUAL: [(&str, &str, &str); 13] = [
    ("priority", "999", "all workers are started at once"),
    ("stopasgroup", "false", "stop goes to the worker, and KILL to its whole group"),
    ("stderr_logfile", "AUTO", "both streams are in the pool's one log"),
    ("stderr_logfile_maxbytes", "50MB", "both streams are in the pool's one log"),
    ("stderr_logfile_backups", "10", "both streams are in the pool's one log"),
    ("stdout_capture_maxbytes", "0", "nothing is cut out of the output"),
    ("stderr_capture_maxbytes", "0", "nothing is cut out of the output"),
    ("stdout_events_enabled", "false", "gear-supervisor attach follows output"),
    ("stderr_events_enabled", "false", "gear-supervisor attach follows output"),
    ("serverurl", "AUTO", "workers are not told of a control socket"),
    ("redirect_stderr", "", ""),
    ("killasgroup", "", ""),
    ("process_name", "", ""),
];
/// Keys that become something.
const TAKEN: [&str; 19] = [
    "command",
    "numprocs",
    "numprocs_start",
    "autostart",
    "autorestart",
    "exitcodes",
    "startsecs",
    "startretries",
    "stopsignal",
    "stopwaitsecs",
    "user",
    "umask",
    "directory",
    "environment",
    "stdout_logfile",
    "stdout_logfile_maxbytes",
    "stdout_logfile_backups",
    "stdout_syslog",
    "stderr_syslog",
];
/// Keys that may make the processes of a program different ones.
const NUMBERED: [&str; 3] = ["command", "directory", "environment"];
const NUMBER: &str = "%(process_num)";
/// What only a shell understands: such a command is a list, where it means nothing.
const SHELL: [char; 6] = ['|', ';', '<', '>', '&', '`'];

/// A program as it stands in the file.
#[derive(Debug)]
pub(super) struct Program<'a> {
    name: &'a str,
    /// Its group, if it has one.
    group: Option<&'a str>,
    section: &'a Section,
    names: Names,
    command: &'a Entry,
}

impl<'a> Program<'a> {
    pub(super) fn read(
        name: &'a str,
        section: &'a Section,
        scene: &Scene<'a>,
    ) -> Result<Self, ImportError> {
        let Some(command) = section.get("command") else {
            return Err(section.place.wrong(format!("[program:{name}] has no command")));
        };
        let mut names = scene.names.clone();
        let is_member = |group: &Section| {
            let programs = group.get("programs").map(|entry| entry.value.as_str());
            programs.unwrap_or_default().split([',', '\n']).any(|member| member.trim() == name)
        };
        let group = scene.ini.of_kind("group").find(|(_, group)| is_member(group));
        let group = group.map(|(group, _)| group);
        names.set("group_name", group.unwrap_or(name));
        names.set("program_name", name);
        let mut program = Self { name, group, section, names, command };
        let numprocs = program.number("numprocs", 1)?.to_string();
        let start = program.number("numprocs_start", 0)?.to_string();
        program.names.set("numprocs", &numprocs);
        program.names.set("process_num", &start);
        Ok(program)
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn place(&self) -> &'a Place {
        &self.section.place
    }

    /// The words of its command, with everything put in.
    pub(super) fn words(&self) -> Result<Vec<String>, ImportError> {
        let wrong = |problem| self.command.place.wrong(problem);
        // A variable that is not set here is of no matter to what is looked for.
        let text = self.names.text(&self.command.value).map_err(wrong)?;
        shell_words::split(&text).map_err(|error| wrong(format!("command: {error}")))
    }

    pub(super) fn is_gearmand(&self) -> bool {
        let words = self.words().unwrap_or_default();
        let mut names = words.iter().map(|word| word.rsplit('/').next().unwrap_or_default());
        names.next() == Some("gearmand")
    }

    /// The pools that run its processes.
    pub(super) fn pools(
        &self,
        draft: &mut Draft,
        scene: &mut Scene<'a>,
    ) -> Result<Vec<Block>, ImportError> {
        let count = self.number("numprocs", 1)?;
        let is_numbered =
            |key: &str| self.section.get(key).is_some_and(|entry| entry.value.contains(NUMBER));
        if !NUMBERED.into_iter().any(is_numbered) || count == 1 {
            let name = draft.pool_name(self.name);
            let mut block = self.block(&name, count, scene)?;
            self.remarks(&mut block, count);
            return Ok(vec![block]);
        }
        let start = self.number("numprocs_start", 0)?;
        let mut blocks = Vec::new();
        for process in start..start.saturating_add(count) {
            let mut one = Self { names: self.names.clone(), ..*self };
            one.names.set("process_num", &process.to_string());
            let wanted = match self.section.get("process_name") {
                Some(entry) => one.value(entry)?,
                None => format!("{}_{process}", self.name),
            };
            let wanted =
                if wanted.contains(self.name) { wanted } else { format!("{}_{wanted}", self.name) };
            let name = draft.pool_name(&wanted);
            let mut block = one.block(&name, 1, scene)?;
            if blocks.is_empty() {
                let text = format!("the {count} processes differ, so each is a pool of its own");
                block.note(&self.section.place, text);
                one.remarks(&mut block, 1);
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    fn block(&self, name: &str, count: u32, scene: &mut Scene<'a>) -> Result<Block, ImportError> {
        let autostart = self.flag("autostart", true)?;
        let mut block = Block::pool(name, if autostart { count } else { 0 });
        if let Some(entry) = self.section.get("autostart").filter(|_| !autostart) {
            let how = format!("gear-supervisor scale {name} {count} starts it");
            block.note(&entry.place, format!("autostart = {}: {how}", entry.value));
        }
        self.command(&mut block)?;
        self.protocol(&mut block, scene);
        let program = (name != self.name && self.group != Some(self.name)).then_some(self.name);
        let labels: Vec<_> = self.group.into_iter().chain(program).map(plain_name).collect();
        if !labels.is_empty() {
            block.set("labels", list(labels.iter().map(String::as_str)));
        }
        self.identity(&mut block, scene)?;
        self.restarts(&mut block)?;
        self.stop(&mut block)?;
        self.log(&mut block, count, scene)?;
        Ok(block)
    }

    fn command(&self, block: &mut Block) -> Result<(), ImportError> {
        let text = self.text(self.command)?;
        let needs_list = text.contains(SHELL) || text.contains("$(") || text.contains('\n');
        if needs_list {
            let words = self.words()?;
            block.set("command", list(words.iter().map(String::as_str)));
        } else {
            block.set_text("command", &text);
        }
        Ok(())
    }

    /// Whether it is a worker: its file says nothing of that.
    fn protocol(&self, block: &mut Block, scene: &Scene<'_>) {
        let said = format!("{} {}", self.name, self.command.value).to_ascii_lowercase();
        if !scene.has_gearmand && !said.contains("worker") && !said.contains("gearman") {
            block.set_text("protocol", "none");
        }
    }

    fn identity(&self, block: &mut Block, scene: &Scene<'_>) -> Result<(), ImportError> {
        for key in ["user", "umask"] {
            if let Some(entry) = self.section.get(key) {
                block.set_text(key, &self.text(entry)?);
            }
        }
        if let Some(entry) = self.section.get("directory") {
            let directory = self.text(entry)?;
            let is_variable = directory.starts_with("${");
            let whole = scene.folder.join(&directory).to_string_lossy().into_owned();
            block.set_text("directory", if is_variable { &directory } else { &whole });
        }
        if let Some(entry) = self.section.get("environment") {
            let text = self.text(entry)?;
            let pairs = values::pairs(&text).map_err(|problem| entry.place.wrong(problem))?;
            let pair = |(name, value): (String, String)| (name, quoted(&value));
            let pairs: Vec<_> = pairs.into_iter().map(pair).collect();
            if !pairs.is_empty() {
                block.set("env", inline(&pairs));
            }
        }
        Ok(())
    }

    fn restarts(&self, block: &mut Block) -> Result<(), ImportError> {
        if let Some(entry) = self.section.get("autorestart") {
            match self.value(entry)?.to_ascii_lowercase().as_str() {
                "unexpected" => {}
                other => {
                    let always =
                        values::flag(other).map_err(|problem| entry.place.wrong(problem))?;
                    block.set_text("restart", if always { "always" } else { "never" });
                }
            }
        }
        if let Some(entry) = self.section.get("exitcodes") {
            let text = self.value(entry)?;
            let codes = text.split(',').map(str::trim).filter(|code| !code.is_empty());
            let codes = codes.map(|code| number(entry, code).map(|code| code.to_string()));
            let codes = codes.collect::<Result<Vec<_>, _>>()?;
            block.set("exit_codes", format!("[{}]", codes.join(", ")));
        }
        let seconds = self.number("startsecs", 1)?;
        if seconds != 1 {
            block.set("ready", inline(&[("after", quoted(&format!("{seconds}s")))]));
        }
        if self.section.get("startretries").is_some() {
            let deaths = self.number("startretries", 3)?.saturating_add(1);
            block.set("backoff", inline(&[("limit", deaths.to_string())]));
        }
        Ok(())
    }

    fn stop(&self, block: &mut Block) -> Result<(), ImportError> {
        let seconds = self.number("stopwaitsecs", 10)?;
        let said = self.section.get("stopsignal").map(|entry| self.value(entry)).transpose()?;
        let said = said.unwrap_or_else(|| "TERM".to_owned()).to_ascii_uppercase();
        let by_number = said.parse().ok().and_then(|number: i32| Signal::try_from(number).ok());
        let signal = by_number.map_or(said, |signal| signal.as_str().to_owned());
        let signal = signal.trim_start_matches("SIG");
        if (signal, seconds) != ("TERM", 10) {
            block.set("stop", list([&*format!("{signal} {seconds}s"), "KILL"]));
        }
        if self.section.get("killasgroup").is_some() && !self.flag("killasgroup", false)? {
            block.set_text("strays", "leave");
        }
        Ok(())
    }

    fn log(&self, block: &mut Block, count: u32, scene: &mut Scene<'a>) -> Result<(), ImportError> {
        let syslog = self.syslog()?;
        let Some(entry) = self.section.get("stdout_logfile") else {
            set_syslog(block, syslog);
            return Ok(());
        };
        let is_shared = count > 1 && entry.value.contains(NUMBER);
        let text = if is_shared {
            block.note(&entry.place, "the processes of a pool have one log; its lines are in turn");
            let mut names = self.names.clone();
            names.set("process_num", "all");
            names.text(&entry.value).map_err(|problem| entry.place.wrong(problem))?
        } else {
            self.text(entry)?
        };
        match text.to_ascii_lowercase().as_str() {
            "auto" | "none" | "off" | "/dev/null" if syslog.is_some() => set_syslog(block, syslog),
            "auto" => {}
            "none" | "off" | "/dev/null" => block.set("log", "false"),
            "syslog" => block.set("log", quoted("syslog")),
            "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => {
                let target = [("target", quoted("inherit")), ("format", quoted("raw"))];
                let kept = if scene.strips_ansi { 1 } else { 2 };
                block.set("log", inline(target.get(..kept).unwrap_or_default()));
            }
            device if device.starts_with("/dev/") || device.starts_with("/proc/") => {
                block.without_equal(entry, "the log is a file of the pool; attach shows it");
            }
            _ if scene.logs.contains(&scene.folder.join(&text)) => {
                block.without_equal(entry, "each pool has a log of its own");
            }
            _ => {
                if let Some(syslog) = syslog {
                    block.without_equal(syslog, "a pool has one log, and its file is that");
                }
                let file =
                    if text.starts_with("${") { text.into() } else { scene.folder.join(text) };
                scene.logs.insert(file.clone());
                let table = self.log_table(&file.to_string_lossy(), scene.strips_ansi)?;
                block.set("log", table);
            }
        }
        Ok(())
    }

    /// The key by which output goes to syslog.
    fn syslog(&self) -> Result<Option<&'a Entry>, ImportError> {
        for key in ["stdout_syslog", "stderr_syslog"] {
            if self.flag(key, false)? {
                return Ok(self.section.get(key));
            }
        }
        Ok(None)
    }

    fn log_table(&self, file: &str, strips_ansi: bool) -> Result<String, ImportError> {
        let bytes = match self.section.get("stdout_logfile_maxbytes") {
            Some(entry) => {
                let text = self.value(entry)?;
                values::bytes(&text).map_err(|problem| entry.place.wrong(problem))?
            }
            None => 50 << 20,
        };
        let size = if bytes == 0 { "false".to_owned() } else { quoted(&values::size(bytes)) };
        let shape = if strips_ansi { ("ansi", "false".into()) } else { ("format", quoted("raw")) };
        Ok(inline(&[
            ("file", quoted(file)),
            ("max_size", size),
            ("keep", self.number("stdout_logfile_backups", 10)?.to_string()),
            shape,
        ]))
    }

    /// What has no equal.
    fn remarks(&self, block: &mut Block, count: u32) {
        for entry in &self.section.entries {
            match WITHOUT_EQUAL.iter().find(|(key, _, _)| *key == entry.key) {
                Some((_, _, "")) => {}
                // The same in other words: no, off and 0 are false.
                Some((_, default, _)) if entry.value.eq_ignore_ascii_case(default) => {}
                Some((_, "false", _)) if values::flag(&entry.value) == Ok(false) => {}
                Some((_, _, why)) => block.without_equal(entry, why),
                None if !TAKEN.contains(&&*entry.key) => {
                    block.without_equal(entry, "supervisord does not know it either");
                }
                None => {}
            }
            for variable in variables(&entry.value) {
                if self.names.lacks(variable) {
                    block.note(&entry.place, format!("${{{variable}}} has to be set"));
                }
            }
        }
        if count > 1 && self.section.get("process_name").is_some() {
            let names = format!("its processes are {0}:1 to {0}:{count} in commands", self.name);
            block.note(&self.section.place, names);
        }
    }

    fn text(&self, entry: &Entry) -> Result<String, ImportError> {
        self.names.text(&entry.value).map_err(|problem| entry.place.wrong(problem))
    }

    fn value(&self, entry: &Entry) -> Result<String, ImportError> {
        self.names.value(&entry.value).map_err(|problem| entry.place.wrong(problem))
    }

    fn number(&self, key: &str, default: u32) -> Result<u32, ImportError> {
        let Some(entry) = self.section.get(key) else { return Ok(default) };
        number(entry, &self.value(entry)?)
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, ImportError> {
        let Some(entry) = self.section.get(key) else { return Ok(default) };
        values::flag(&self.value(entry)?).map_err(|problem| entry.place.wrong(problem))
    }
}

/// Both streams go where one of them did.
fn set_syslog(block: &mut Block, entry: Option<&Entry>) {
    let Some(entry) = entry else { return };
    if entry.key == "stderr_syslog" {
        block.note(&entry.place, "both streams go to syslog: a pool has one log");
    }
    block.set_text("log", "syslog");
}

/// Variables of the environment that a value names.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split("%(ENV_").skip(1).filter_map(|rest| rest.split(')').next())
}
