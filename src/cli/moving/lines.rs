//! Jobs as lines of JSON.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::MovingJob;
use crate::cli::exit::CliError;
use crate::control::api::ExportedJob;

/// Reads such a file.
pub(super) struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    line: usize,
}

/// Writes one.
pub(super) struct Writer {
    out: BufWriter<Box<dyn Write>>,
    /// The file, to be made durable.
    file: Option<File>,
    count: usize,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let file = File::open(path).map_err(|error| {
            CliError::failed(format!("cannot read {}: {error}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), lines: BufReader::new(file), line: 0 })
    }

    /// The next jobs; none at the end.
    pub(super) fn next_jobs(&mut self, limit: usize) -> Result<Vec<MovingJob>, CliError> {
        let mut jobs = Vec::new();
        while jobs.len() < limit {
            let mut text = Vec::new();
            self.line += 1;
            let wrong = |error: &dyn std::fmt::Display| {
                let (path, line) = (self.path.display(), self.line);
                CliError::failed(format!("{path}:{line}: no job stands here: {error}"))
            };
            if self.lines.read_until(b'\n', &mut text).map_err(|error| wrong(&error))? == 0 {
                break;
            }
            if !text.trim_ascii().is_empty() {
                let job: ExportedJob =
                    serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
                jobs.push(MovingJob::from(&job));
            }
        }
        Ok(jobs)
    }
}

impl Writer {
    /// A new file, or stdout for `-` and for nothing.
    pub(super) fn create(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let out: Box<dyn Write> = Box::new(std::io::stdout());
            return Ok(Self { out: BufWriter::new(out), file: None, count: 0 });
        };
        let wrong = |error| CliError::failed(format!("cannot write {}: {error}", path.display()));
        let file = File::create_new(path).map_err(wrong)?;
        let out: Box<dyn Write> = Box::new(file.try_clone().map_err(wrong)?);
        Ok(Self { out: BufWriter::new(out), file: Some(file), count: 0 })
    }

    pub(super) fn write(&mut self, jobs: &[ExportedJob]) -> Result<(), CliError> {
        for job in jobs {
            serde_json::to_writer(&mut self.out, job).map_err(std::io::Error::from)?;
            self.out.write_all(b"\n")?;
            self.count += 1;
        }
        Ok(())
    }

    /// Makes it durable, and tells how many jobs it has.
    pub(super) fn finish(mut self) -> Result<usize, CliError> {
        self.out.flush()?;
        if let Some(file) = self.file {
            file.sync_all()?;
        }
        Ok(self.count)
    }
}
