//! A picture of simulations of one load, as an SVG that a browser shows.
//!
//! A row for each pool under each policy: its workers and how many are busy, the jobs that wait, and
//! how long the oldest has waited. A column has one scale for all rows of a pool, so that policies
//! can be compared by eye; the largest value of a row stands above it.

use std::fmt::Write;

use super::outcome::{Moment, Outcome, PoolOutcome};

const LEFT: f64 = 214.0;
const TOP: f64 = 82.0;
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 84.0;
const GAP_X: f64 = 84.0;
const GAP_Y: f64 = 24.0;
const BOTTOM: f64 = 46.0;
/// Points of a curve at most; more are not seen.
const POINTS_MAX: usize = 800;

/// What a column shows of a pool at a moment.
struct Column {
    heading: &'static str,
    /// The curves, the one behind first: name, colour, whether it is filled, and how it is read.
    curves: &'static [Curve],
}

struct Curve {
    name: &'static str,
    colour: &'static str,
    /// An area, or a line.
    filled: bool,
    read: fn(&(usize, u32, u32, f64)) -> f64,
}

const COLUMNS: [Column; 3] = [
    Column {
        heading: "workers",
        curves: &[
            Curve { name: "busy", colour: "#16a34a", filled: true, read: |pool| f64::from(pool.2) },
            Curve {
                name: "there",
                colour: "#1d4ed8",
                filled: false,
                read: |pool| f64::from(pool.1),
            },
        ],
    },
    Column {
        heading: "jobs that wait",
        curves: &[Curve { name: "", colour: "#b45309", filled: true, read: |pool| real(pool.0) }],
    },
    Column {
        heading: "wait of the oldest, in seconds",
        curves: &[Curve { name: "", colour: "#dc2626", filled: false, read: |pool| pool.3 }],
    },
];

/// One row: who decided, and which pool it is.
struct Row<'a> {
    who: &'a str,
    place: usize,
    pool: &'a PoolOutcome,
    moments: &'a [Moment],
}

/// The picture of runs of one load, each with the name of its policy.
#[must_use]
pub fn plot(title: &str, runs: &[(&str, &Outcome)]) -> String {
    let mut rows: Vec<Row<'_>> =
        runs.iter().flat_map(|(who, outcome)| rows(who, outcome)).collect();
    rows.sort_by_key(|row| row.place);
    let (width, height) = (
        LEFT + real(COLUMNS.len()) * (WIDTH + GAP_X),
        TOP + real(rows.len()) * (HEIGHT + GAP_Y) + BOTTOM,
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"12\" y=\"26\" font-size=\"17\">{}</text>\n",
        escape(title)
    );
    // Writing to a string never fails.
    draw(&mut text, &rows).unwrap_or_default();
    text.push_str("</svg>\n");
    text
}

fn rows<'a>(who: &'a str, outcome: &'a Outcome) -> impl Iterator<Item = Row<'a>> {
    let pools = outcome.pools.iter().enumerate();
    pools.map(move |(place, pool)| Row { who, place, pool, moments: &outcome.moments })
}

fn draw(text: &mut String, rows: &[Row<'_>]) -> std::fmt::Result {
    let many = rows.iter().any(|row| row.place > 0);
    for (nth, column) in COLUMNS.iter().enumerate() {
        heading(text, column, LEFT + real(nth) * (WIDTH + GAP_X))?;
    }
    for (nth, row) in rows.iter().enumerate() {
        let top = TOP + real(nth) * (HEIGHT + GAP_Y);
        label(text, row, many, top)?;
        let is_last = nth + 1 == rows.len();
        for (nth, column) in COLUMNS.iter().enumerate() {
            let left = LEFT + real(nth) * (WIDTH + GAP_X);
            let alike = rows.iter().filter(|other| other.place == row.place);
            let most = round_up(alike.map(|row| row.most(column)).fold(1.0, f64::max));
            frame(text, (left, top), most)?;
            minutes(text, (row.moments.len(), is_last), (left, top))?;
            cell(text, (row, column), (left, top), most)?;
            if nth == 2 {
                objective(text, row.pool.max_wait, (left, top), most)?;
            }
        }
    }
    Ok(())
}

impl Row<'_> {
    fn values(&self, curve: &Curve) -> impl Iterator<Item = f64> {
        self.moments.iter().filter_map(|moment| moment.pools.get(self.place)).map(curve.read)
    }

    fn most(&self, column: &Column) -> f64 {
        column.curves.iter().flat_map(|curve| self.values(curve)).fold(0.0, f64::max)
    }
}

/// The column's name, and what its colours mean.
fn heading(text: &mut String, column: &Column, left: f64) -> std::fmt::Result {
    let y = TOP - 20.0;
    write!(text, "<text x=\"{left}\" y=\"{y}\" font-weight=\"bold\">{}", column.heading)?;
    for Curve { name, colour, .. } in column.curves.iter().filter(|curve| !curve.name.is_empty()) {
        write!(text, "<tspan dx=\"12\" font-weight=\"normal\" fill=\"{colour}\">■ {name}</tspan>")?;
    }
    writeln!(text, "</text>")
}

/// Who decided, and what came of it.
fn label(text: &mut String, row: &Row<'_>, many: bool, top: f64) -> std::fmt::Result {
    let pool = row.pool;
    let name = if many { format!("{}: {}", row.who, pool.name) } else { row.who.to_owned() };
    let lines = [
        format!("wait p50 {:.2}, p99 {:.2} s", pool.wait(0.5), pool.wait(0.99)),
        format!("{:.1} % above {} s", pool.misses(), pool.max_wait),
        format!("cost {:.2}, {} starts", pool.cost(), pool.starts),
    ];
    let y = top + 12.0;
    writeln!(text, "<text x=\"12\" y=\"{y}\" font-weight=\"bold\">{}</text>", escape(&name))?;
    for (nth, line) in lines.iter().enumerate() {
        let y = top + 30.0 + 16.0 * real(nth);
        writeln!(text, "<text x=\"12\" y=\"{y}\" fill=\"#525252\">{line}</text>")?;
    }
    Ok(())
}

/// The scale of a cell: nothing, half and all of it.
fn frame(text: &mut String, (left, top): (f64, f64), most: f64) -> std::fmt::Result {
    writeln!(
        text,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fafafa\" \
         stroke=\"#d4d4d4\"/>"
    )?;
    for part in [0.0, 0.5, 1.0] {
        let y = top + HEIGHT * (1.0 - part);
        let decimals = usize::from((most * part).fract() > 0.0);
        writeln!(
            text,
            "<line x1=\"{left}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"#e5e5e5\"/><text \
             x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#737373\">{:.decimals$}</text>",
            left + WIDTH,
            left - 5.0,
            y + 4.0,
            most * part,
        )?;
    }
    Ok(())
}

/// One row's curves in one column.
fn cell(
    text: &mut String,
    (row, column): (&Row<'_>, &Column),
    (left, top): (f64, f64),
    most: f64,
) -> std::fmt::Result {
    let bottom = top + HEIGHT;
    for curve in column.curves {
        let values: Vec<f64> = row.values(curve).collect();
        let step = WIDTH / real(values.len().max(1));
        let point = |(nth, value): (usize, f64)| {
            format!("{:.1},{:.1}", left + real(nth) * step, bottom - HEIGHT * value / most)
        };
        let points = thinned(&values).into_iter().map(point).collect::<Vec<_>>().join(" ");
        let Curve { colour, .. } = curve;
        if curve.filled {
            writeln!(
                text,
                "<polygon points=\"{left},{bottom} {points} {:.1},{bottom}\" fill=\"{colour}\" \
                 fill-opacity=\"0.35\" stroke=\"{colour}\" stroke-width=\"0.6\"/>",
                left + WIDTH
            )?;
        } else {
            writeln!(
                text,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" \
                 stroke-width=\"1.4\"/>"
            )?;
        }
    }
    let decimals = usize::from(row.most(column).fract() > 0.0);
    writeln!(
        text,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#404040\">at most {:.decimals$}</text>",
        left + WIDTH,
        top - 4.0,
        row.most(column),
    )
}

/// The objective, if it is on the scale.
fn objective(
    text: &mut String,
    max_wait: f64,
    (left, top): (f64, f64),
    most: f64,
) -> std::fmt::Result {
    if max_wait > most {
        return Ok(());
    }
    let y = top + HEIGHT * (1.0 - max_wait / most);
    writeln!(
        text,
        "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{x}\" y2=\"{y:.1}\" stroke=\"#404040\" \
         stroke-dasharray=\"4 3\"/><text x=\"{}\" y=\"{:.1}\" font-size=\"10\" \
         fill=\"#404040\">max_wait</text>",
        left + WIDTH + 2.0,
        y + 3.0,
        x = left + WIDTH,
    )
}

/// Lines at the minutes, or seconds, in whole steps; below the last row their numbers too.
fn minutes(
    text: &mut String,
    (seconds, with_numbers): (usize, bool),
    (left, top): (f64, f64),
) -> std::fmt::Result {
    let (unit, word) = if seconds > 180 { (60.0, "minutes") } else { (1.0, "seconds") };
    let all = real(seconds.max(1)) / unit;
    let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 360.0, 1440.0]
        .into_iter()
        .find(|step| all / step <= 8.0)
        .unwrap_or(all);
    let bottom = top + HEIGHT;
    let mut at = 0.0;
    while at <= all {
        let x = left + at / all * WIDTH;
        writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#e5e5e5\"/>"
        )?;
        if with_numbers {
            writeln!(
                text,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#737373\">{at:.0}</text>",
                bottom + 16.0
            )?;
        }
        at += step;
    }
    if with_numbers {
        let (x, y) = (left + WIDTH / 2.0, bottom + 33.0);
        writeln!(text, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{word}</text>")?;
    }
    Ok(())
}

/// The next number that reads well on a scale.
fn round_up(most: f64) -> f64 {
    let mut power = 1.0;
    while power * 10.0 < most {
        power *= 10.0;
    }
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= most).unwrap_or(most)
}

/// The largest of each stretch, so that no peak is lost.
fn thinned(values: &[f64]) -> Vec<(usize, f64)> {
    let stretch = values.len().div_ceil(POINTS_MAX).max(1);
    let chunks = values.chunks(stretch).enumerate();
    chunks.map(|(nth, chunk)| (nth * stretch, chunk.iter().copied().fold(0.0, f64::max))).collect()
}

fn real(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_pool_and_policy_shows_its_peak() {
        let pool = |name: &str| PoolOutcome {
            name: name.to_owned(),
            max_wait: 5.0,
            waits: vec![0.0, 9.0],
            ..PoolOutcome::default()
        };
        let moments = (0_u32..2000).map(|second| {
            let oldest = if second == 1234 { 9.5 } else { 0.0 };
            Moment { pools: vec![(3, 2, 1, oldest), (0, 1, 0, 0.0)] }
        });
        let outcome = Outcome {
            pools: vec![pool("a"), pool("b<c")],
            moments: moments.collect(),
            ..Outcome::default()
        };
        let text = plot("two & two", &[("ours", &outcome), ("theirs", &outcome)]);
        for wanted in
            ["two &amp; two", "ours: a<", "theirs: b&lt;c<", ">at most 9.5<", "50.0 % above"]
        {
            assert!(text.contains(wanted), "no {wanted} in {text}");
        }
        assert_eq!(text.matches("<rect").count(), 1 + 4 * 3);
        assert!(text.contains(">max_wait<") && text.contains(">minutes<"), "{text}");
        assert!(
            [(0.4, 1.0), (1.4, 1.5), (21.0, 30.0), (950.0, 1000.0)]
                .into_iter()
                .all(|(most, top): (f64, f64)| (round_up(most) - top).abs() < 1e-9)
        );
    }
}
