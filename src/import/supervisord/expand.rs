//! `%(name)s` in values, as Python's `%` puts it in.

use std::collections::BTreeMap;

use crate::import::draft::escaped;

/// More is no number of a process.
const WIDTH_MAX: usize = 20;

/// What names stand for.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    known: BTreeMap<String, String>,
    /// `[supervisord] environment`, as our file holds it.
    own: BTreeMap<String, String>,
    /// That of the process.
    environment: BTreeMap<String, String>,
}

/// What becomes of `%(ENV_X)s`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Environment {
    /// `${X}`: it is put in when our file is read, by whoever runs it then.
    Later,
    /// Its value.
    Now,
}

impl Names {
    pub(crate) fn new(environment: BTreeMap<String, String>) -> Self {
        Self { known: BTreeMap::new(), own: BTreeMap::new(), environment }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.known.insert(name.to_owned(), value.to_owned());
    }

    /// Sets a variable that the file itself says.
    pub(super) fn set_environment(&mut self, name: &str, value: &str) {
        self.own.insert(name.to_owned(), value.to_owned());
    }

    /// Whether a variable is neither in the file nor set where it is translated.
    pub(super) fn lacks(&self, variable: &str) -> bool {
        !self.own.contains_key(variable) && !self.environment.contains_key(variable)
    }

    /// The text as our file is to hold it, variables of the environment by name.
    pub(super) fn text(&self, text: &str) -> Result<String, String> {
        self.expand(text, Environment::Later)
    }

    /// The text with everything put in.
    pub(crate) fn value(&self, text: &str) -> Result<String, String> {
        self.expand(text, Environment::Now)
    }

    fn expand(&self, text: &str, environment: Environment) -> Result<String, String> {
        let literal = |part: &str| match environment {
            Environment::Later => escaped(part),
            Environment::Now => part.to_owned(),
        };
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(&literal(before));
            if let Some(after) = after.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let wrong = || format!("'%{after}' is no expansion; write %% for a percent sign");
            let (name, after) = after
                .strip_prefix('(')
                .and_then(|after| after.split_once(')'))
                .ok_or_else(wrong)?;
            let end = after.find(['s', 'd']).ok_or_else(wrong)?;
            let (format, after) = after.split_at(end);
            out.push_str(&pad(&self.stands_for(name, environment)?, format));
            rest = after.get(1..).unwrap_or_default();
        }
        out.push_str(&literal(rest));
        Ok(out)
    }

    fn stands_for(&self, name: &str, environment: Environment) -> Result<String, String> {
        if let Some(value) = self.known.get(name) {
            return Ok(match environment {
                Environment::Later => escaped(value),
                Environment::Now => value.clone(),
            });
        }
        let Some(variable) = name.strip_prefix("ENV_") else {
            let known: Vec<_> = self.known.keys().map(String::as_str).collect();
            return Err(format!("%({name}) is not known; there are {}, ENV_X", known.join(", ")));
        };
        if let Some(value) = self.own.get(variable) {
            return Ok(value.clone());
        }
        match (environment, self.environment.get(variable)) {
            (Environment::Later, _) => Ok(format!("${{{variable}}}")),
            (Environment::Now, Some(value)) => Ok(value.clone()),
            (Environment::Now, None) => {
                Err(format!("%(ENV_{variable})s: the variable is not set here; set it"))
            }
        }
    }
}

/// `02` of `%(process_num)02d`
fn pad(value: &str, format: &str) -> String {
    let width: usize = format.trim_start_matches(['-', '+', '0']).parse().unwrap_or(0);
    let width = width.min(WIDTH_MAX);
    if format.starts_with('-') {
        format!("{value:<width$}")
    } else if format.starts_with('0') {
        format!("{value:0>width$}")
    } else {
        format!("{value:>width$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_in_as_python_does() {
        let environment = [("HOME".to_owned(), "/root".to_owned())].into();
        let mut names = Names::new(environment);
        names.set("process_num", "7");
        names.set("program_name", "a$$");
        names.set_environment("APP", "x");
        for (text, later, now) in [
            ("%(process_num)d-%(process_num)02d|%(process_num)3s", "7-07|  7", "7-07|  7"),
            ("%(ENV_HOME)s/%(ENV_APP)s 5%%", "${HOME}/x 5%", "/root/x 5%"),
            ("%(program_name)s ${A}", "a$$$$ $${A}", "a$$ ${A}"),
        ] {
            assert_eq!(names.text(text).unwrap(), later, "{text}");
            assert_eq!(names.value(text).unwrap(), now, "{text}");
        }
        for wrong in ["%(nothing)s", "50%", "%(process_num)x", "%s"] {
            assert!(names.text(wrong).is_err(), "{wrong}");
        }
        assert!(names.value("%(ENV_NONE)s").is_err());
    }
}
