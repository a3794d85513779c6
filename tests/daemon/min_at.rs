//! Times at which a pool has more workers than its min.

use crate::rig::{Daemon, until};

/// A pool that loses its idle workers at once; some minute of the last hour has come in any case.
const POOL: &str = "[pool.wc]\nuser = \"${USER}\"\ncommand = \"wc -w\"\nprotocol = \"exec\"\n\
                    count = { min = 1, max = 4 }\nidle_ttl = \"0s\"\ntimezone = \"UTC\"\n\
                    min_at = [{ cron = \"* * * * *\", for = \"1h\", min = 2 }]\n";

#[test]
fn a_min_is_raised_at_its_times_and_an_operator_goes_before_it() {
    let daemon = Daemon::with_pools(POOL);
    let runs = |count| daemon_count(&daemon) == count;
    assert_eq!(daemon_count(&daemon), 2, "from the start");
    let status = daemon.status();
    assert_eq!((&status["pools"][0]["min"], &status["pools"][0]["max"]), (&2.into(), &4.into()));
    let told = daemon.says(&["explain", "wc"]);
    assert!(told.contains("min_at keeps at least 2 until 20"), "{told}");
    daemon.edit("min = 2 }", "min = 3 }");
    until("the edit is applied", || runs(3));
    daemon.says(&["scale", "wc", "1"]);
    assert_eq!(daemon_count(&daemon), 1);
    daemon.says(&["scale", "wc", "auto"]);
    until("the times hold again", || runs(3));
    daemon.edit("min = 3 }", "min = 1 }");
    until("the file's min is enough", || runs(1));
    assert_eq!(daemon.status()["pools"][0]["min"], 1);
}

fn daemon_count(daemon: &Daemon) -> usize {
    daemon.running("wc").len()
}
