//! Jobs that come, as they were recorded or invented.

/// Which jobs come when, and how long they take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Names of the functions; jobs name them by their places here.
    pub functions: Vec<String>,
    /// Jobs in the order in which they come.
    pub jobs: Vec<TraceJob>,
    /// Seconds that are simulated.
    pub seconds: f64,
}

/// One job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceJob {
    /// Seconds from the start.
    pub at: f64,
    /// Place of its function.
    pub function: usize,
    /// Seconds that it takes.
    pub service: f64,
    /// Whether it kills its worker.
    pub poison: bool,
}

impl Trace {
    /// A trace without jobs.
    #[must_use]
    pub fn new(functions: &[&str], seconds: f64) -> Self {
        let functions = functions.iter().map(|name| (*name).to_owned()).collect();
        Self { functions, jobs: Vec::new(), seconds }
    }

    /// Adds a job; [`Trace::sort`] is to follow.
    pub fn push(&mut self, at: f64, function: usize, service: f64) {
        self.jobs.push(TraceJob { at, function, service, poison: false });
    }

    /// Puts the jobs into the order in which they come.
    pub fn sort(&mut self) {
        self.jobs.sort_by(|one, other| one.at.total_cmp(&other.at));
    }

    /// Seconds of work in all jobs.
    #[must_use]
    pub fn work(&self) -> f64 {
        self.jobs.iter().filter(|job| !job.poison).map(|job| job.service).sum()
    }
}
