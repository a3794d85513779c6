//! The order in which pools stop: each after those that come after it, as far as these stop too.

use tokio::sync::watch;

use crate::config::PoolSettings;
use crate::model::PoolName;
use crate::pool::{Book, Intents, Page, Pick};

/// One pool on its way to be stopped, among others.
#[derive(Debug)]
pub(super) struct Step {
    pool: PoolName,
    /// Those that have to stop before.
    before: Vec<(PoolName, watch::Receiver<Option<bool>>)>,
    /// Whether it has stopped, for those that it comes after.
    stopped: watch::Sender<Option<bool>>,
    /// Where it is remembered that it is to stop; `None`: only some of its workers are, or it is
    /// remembered already.
    intents: Option<Page<Intents>>,
}

/// The steps of pools that are to stop together, in their order. What is asked for is remembered
/// before anything is waited for.
pub(super) fn steps(pools: &[(&PoolSettings, &Pick)], intents: &Book<Intents>) -> Vec<Step> {
    let new_wish = |settings: &PoolSettings, pick: &Pick| {
        let page = matches!(pick, Pick::Pool).then(|| intents.page(&settings.name));
        page.filter(|page| !page.read().stopped)
    };
    let step = |(settings, pick): &(&PoolSettings, &Pick)| Step {
        pool: settings.name.clone(),
        before: Vec::new(),
        stopped: watch::Sender::new(None),
        intents: new_wish(settings, pick),
    };
    let mut steps: Vec<_> = pools.iter().map(step).collect();
    let ends: Vec<_> = steps.iter().map(|step| step.stopped.subscribe()).collect();
    for step in &mut steps {
        let follows = |settings: &PoolSettings| settings.order.after.contains(&step.pool);
        let followers = pools.iter().zip(&ends).filter(|((settings, _), _)| follows(settings));
        let followers = followers.map(|((settings, _), end)| (settings.name.clone(), end.clone()));
        step.before = followers.collect();
        if !step.before.is_empty()
            && let Some(intents) = &step.intents
        {
            intents.change(|intents| intents.stopped = true);
        }
    }
    steps
}

impl Step {
    /// Waits until it is its turn.
    ///
    /// # Errors
    /// When it is not to stop any more, and why.
    pub(super) async fn turn(&mut self) -> Result<(), String> {
        let pool = &self.pool;
        for (name, end) in &mut self.before {
            let stopped = end.wait_for(Option::is_some).await.is_ok_and(|end| *end == Some(true));
            if !stopped {
                if let Some(intents) = &self.intents {
                    intents.change(|intents| intents.stopped = false);
                }
                return Err(format!("{pool} goes on: {name}, which needs it, has not stopped"));
            }
        }
        let is_wanted_again = |intents: &Page<Intents>| !intents.read().stopped;
        if !self.before.is_empty() && self.intents.as_ref().is_some_and(is_wanted_again) {
            return Err(format!("{pool} was started again meanwhile"));
        }
        Ok(())
    }

    /// Tells those that wait for it.
    pub(super) fn over(&self, stopped: bool) {
        self.stopped.send_replace(Some(stopped));
    }
}
