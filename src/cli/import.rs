//! `import`: another supervisor's file as one of ours.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::args::TranslateArgs;
use super::exit::{CliError, Exit};
use super::file;
use super::format::counted;
use super::output::{self, Screen};
use crate::import::{self, Translation};

/// What messages call the result when it goes to stdout.
const UNNAMED: &str = "workers.toml";

/// Translates the file, writes the result, and tells on stderr what to look at.
pub(super) fn run(args: &TranslateArgs, screen: &mut Screen) -> Result<Exit, CliError> {
    let variables = file::variables();
    let translation = import::import(&args.file, &variables)
        .map_err(|error| CliError::new(Exit::BadFile, error.to_string()))?;
    match &args.output {
        Some(path) => write(path, &translation.toml)?,
        None => screen.text(&translation.toml)?,
    }
    for note in &translation.notes {
        output::remark(&format!("{}: {}", note.place, note.text));
    }
    output::remark(&summary(&args.file, &translation));
    let path = args.output.as_deref().unwrap_or(Path::new(UNNAMED));
    match file::check(path, &translation.toml) {
        Ok(()) => Ok(Exit::Done),
        Err(mistakes) => {
            for mistake in mistakes {
                output::remark(&mistake);
            }
            output::remark("the result is not accepted as it is; mend these in it");
            Ok(Exit::BadFile)
        }
    }
}

/// Writes a file that must not be there yet.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let mut options = fs::File::options();
    let wrong = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "remove it, or choose another name",
            _ => "choose another name",
        };
        CliError::failed(format!("{} cannot be written: {error}", path.display())).with_hint(hint)
    };
    let mut file = options.write(true).create_new(true).open(path).map_err(wrong)?;
    file.write_all(text.as_bytes()).map_err(wrong)
}

/// `supervisord.conf: 3 pools with 8 workers; 2 things to look at, which are comments in it`
fn summary(file: &Path, translation: &Translation) -> String {
    let pools = counted(translation.pools, "pool");
    let workers = counted(usize::try_from(translation.workers).unwrap_or(usize::MAX), "worker");
    let notes = match translation.notes.len() {
        0 => "everything has an equal".to_owned(),
        1 => "1 thing to look at, which is a comment in it".to_owned(),
        many => format!("{many} things to look at, which are comments in it"),
    };
    format!("{}: {pools} with {workers}; {notes}", file.display())
}
