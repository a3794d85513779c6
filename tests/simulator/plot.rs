//! A plot of one scenario: for each policy what waits, how many workers there are and are busy, and
//! how long the oldest job has waited.

use std::fmt::Write;

use gear_supervisor::scaler::simulation::{Moment, Outcome};

use super::scenarios::Scenario;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 70.0;
const LEFT: f64 = 150.0;
const GAP: f64 = 26.0;

/// One line of a strip: its name, its colour, and how it is read.
type Line = (&'static str, &'static str, fn(&Moment) -> f64);

const WORKERS: Line = ("workers", "#2563eb", |moment| sum(moment, |pool| f64::from(pool.1)));
const BUSY: Line = ("busy", "#16a34a", |moment| sum(moment, |pool| f64::from(pool.2)));
const QUEUED: Line =
    ("waiting", "#b45309", |moment| sum(moment, |pool| f64::from(u32::try_from(pool.0).unwrap())));
const OLDEST: Line = ("oldest wait, s", "#dc2626", |moment| {
    moment.pools.iter().map(|pool| pool.3).fold(0.0, f64::max)
});
/// Each strip has lines of one scale.
const STRIPS: [&[Line]; 3] = [&[WORKERS, BUSY], &[QUEUED], &[OLDEST]];

/// The plot as a picture that a browser shows.
pub(crate) fn svg(scenario: &Scenario, runs: &[(&str, Outcome)]) -> String {
    let strips = f64::from(u32::try_from(STRIPS.len() * runs.len()).unwrap());
    let height = 40.0 + strips * (HEIGHT + GAP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"10\" y=\"22\" font-size=\"16\">{}: {}</text>\n",
        LEFT + WIDTH + 30.0,
        scenario.name,
        scenario.about
    );
    let mut top = 40.0;
    for (name, outcome) in runs {
        writeln!(text, "<text x=\"10\" y=\"{}\" font-weight=\"bold\">{name}</text>", top + 12.0)
            .unwrap();
        for lines in STRIPS {
            strip(&mut text, outcome, lines, top);
            top += HEIGHT + GAP;
        }
    }
    text.push_str("</svg>\n");
    text
}

fn strip(text: &mut String, outcome: &Outcome, lines: &[Line], top: f64) {
    let values = |read: fn(&Moment) -> f64| outcome.moments.iter().map(read);
    let most = lines.iter().flat_map(|line| values(line.2)).fold(1.0, f64::max);
    let seconds = f64::from(u32::try_from(outcome.moments.len()).unwrap()).max(1.0);
    writeln!(
        text,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" \
         stroke=\"#d4d4d4\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most:.0}</text>",
        LEFT - 4.0,
        top + 10.0
    )
    .unwrap();
    for (nth, (name, colour, read)) in (0_u32..).zip(lines) {
        let points = values(*read).zip(0_u32..).map(|(value, second)| {
            let x = LEFT + f64::from(second) / seconds * WIDTH;
            format!("{x:.1},{:.1}", top + HEIGHT * (1.0 - value / most))
        });
        writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/><text x=\"{}\" y=\"{}\" \
             text-anchor=\"end\" fill=\"{colour}\">{name}</text>",
            points.collect::<Vec<_>>().join(" "),
            LEFT - 4.0,
            top + 30.0 + 15.0 * f64::from(nth)
        )
        .unwrap();
    }
}

fn sum(moment: &Moment, read: impl Fn(&(usize, u32, u32, f64)) -> f64) -> f64 {
    moment.pools.iter().map(read).sum()
}
