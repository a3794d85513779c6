//! Pools that belong together: labels.

use crate::rig::{Daemon, until};
use crate::upkeep::plain;

#[test]
fn a_label_stands_for_its_pools_in_every_command() {
    let pools = plain("crop", "exec sleep 1000", "labels = [\"media\"]")
        + &plain("resize", "exec sleep 1000", "labels = [\"media\", \"big\"]\ncount = 2")
        + &plain("mail", "echo hello; exec sleep 1000", "labels = \"text\"");
    let daemon = Daemon::with_pools(&pools);
    let all = || ["crop", "resize", "mail"].map(|pool| daemon.running(pool));
    let [crop, resize, mail] = all();
    daemon.says(&["restart", "@media"]);
    let [crop_after, resize_after, mail_after] = all();
    assert!(crop_after != crop && resize_after != resize && mail_after == mail);
    daemon.says(&["stop", "@big", "@text:1"]);
    assert_eq!(all().map(|pool| pool.len()), [1, 0, 0]);
    daemon.says(&["start", "@big", "@text"]);
    daemon.says(&["scale", "@media", "3"]);
    assert_eq!(all().map(|pool| pool.len()), [3, 3, 1]);
    daemon.says(&["wait", "@media"]);
    let said = daemon.says(&["signal", "USR1", "@text"]);
    assert_eq!(said, "mail: 1 processes signalled\n");
    assert!(daemon.says(&["logs", "@text"]).contains("hello"));
    let status = daemon.says(&["status", "@big"]);
    assert!(status.contains("resize") && !status.contains("crop"), "{status}");
    assert!(daemon.says(&["explain", "@big"]).starts_with("resize"));
    assert_eq!(daemon.status()["pools"][2]["labels"], serde_json::json!(["media", "big"]));
    for command in [&["restart", "@meida"][..], &["status", "@meida"], &["logs", "@meida"]] {
        let output = daemon.ask(command);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(error.contains("did you mean '@media'?"), "{error}");
    }
    daemon.edit("\"big\"", "\"huge\"");
    until("the edit is applied", || daemon.ask(&["status", "@huge"]).status.success());
}
