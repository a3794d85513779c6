//! `status`: once, each second, or as JSON.

mod render;
#[cfg(test)]
pub(super) mod scene;
mod select;
mod verdict;

use std::time::Duration;

use jiff::ZonedDateTime;

use super::args::StatusArgs;
use super::exit::{CliError, Exit};
use super::interrupt::Interrupt;
use super::output::{self, Screen};
use crate::control::client::{ClientError, ControlClient};
use render::View;
pub(super) use select::{select, spelled_out};

/// Between two pictures of `--watch`.
const INTERVAL: Duration = Duration::from_secs(1);
/// Moves the cursor to the corner, and clears what is below it.
const HOME: &str = "\x1b[H\x1b[J";

/// Shows the daemon; `NotAsWanted` when something of it is not.
pub(super) async fn run(
    client: &ControlClient,
    screen: &mut Screen,
    args: &StatusArgs,
) -> Result<Exit, CliError> {
    if args.watch {
        let mut interrupt = Interrupt::listen()?;
        return tokio::select! {
            ended = watch(client, screen, &args.names) => ended,
            () = interrupt.wait() => {
                // The shell's prompt goes below the picture.
                screen.line("")?;
                Ok(Exit::Done)
            }
        };
    }
    let mut status = select(&client.status().await?, &args.names)?;
    let troubles = verdict::troubles(&status, &args.names);
    if args.json {
        screen.json(&status)?;
    } else {
        if args.names.is_empty() {
            // What is not asked for by name is told in short.
            for worker in status.pools.iter_mut().flat_map(|pool| &mut pool.workers) {
                worker.last_lines.clear();
            }
        }
        let view = View { colours: screen.colours(), today: today() };
        screen.text(&view.render(&status, &troubles))?;
    }
    Ok(if troubles.is_empty() { Exit::Done } else { Exit::NotAsWanted })
}

async fn watch(
    client: &ControlClient,
    screen: &mut Screen,
    names: &[String],
) -> Result<Exit, CliError> {
    loop {
        let picture = match client.status().await {
            Ok(status) => {
                let status = select(&status, names)?;
                let view = View { colours: screen.colours(), today: today() };
                view.render(&status, &verdict::troubles(&status, names))
            }
            // It may come back, and whoever watches wants to see that.
            Err(error @ (ClientError::NoDaemon { .. } | ClientError::BrokenOff { .. })) => {
                format!("{error}\n")
            }
            Err(error) => return Err(error.into()),
        };
        let text = match output::terminal_size() {
            Some((width, height)) => clip(&picture, width, height),
            None => picture,
        };
        screen.text(&format!("{HOME}{text}"))?;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Cuts a picture to the terminal, so that it stays in its place; escape sequences take no room.
fn clip(picture: &str, width: usize, height: usize) -> String {
    let lines = picture.lines().take(height.saturating_sub(1));
    lines.map(|line| clip_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn clip_line(line: &str, width: usize) -> String {
    let (mut seen, mut in_escape) = (0, false);
    let kept = line.chars().filter(|&c| {
        if c == '\x1b' {
            in_escape = true;
            return true;
        }
        if in_escape {
            in_escape = c != 'm';
            return true;
        }
        seen += 1;
        seen <= width
    });
    kept.collect()
}

/// The date that times are told without.
pub(super) fn today() -> String {
    ZonedDateTime::now().date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_cut_to_the_terminal_with_its_colours_kept_whole() {
        let picture = "\x1b[31mred and long\x1b[0m\nshort\nthird";
        assert_eq!(clip(picture, 3, 3), "\x1b[31mred\x1b[0m\nsho");
    }
}
