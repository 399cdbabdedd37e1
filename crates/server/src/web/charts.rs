//! Charts, drawn here as SVG: bars over days, with a title, a description and the same as a table. No script, and no style but classes.

use std::fmt::Write as _;

use askama::Template;

/// Of the picture, in its own units; text is 13 of them high, and so legible where the picture is as narrow as a phone.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 200.0;
/// Where the bars are: room for numbers on the left, and for days below.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 4.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Colours that there are; what comes after is drawn as one, called "others".
pub const COLOURS: usize = 6;

/// What is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// Of its elements, unique on the page.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// The same in a sentence, with the figures that count.
    pub about: String,
    /// Days or weeks, as people write them, oldest first.
    pub points: Vec<String>,
    /// At most [`COLOURS`]; each has a value for each point.
    pub series: Vec<Series>,
    /// One on top of the other, where they are parts of a whole; else beside each other.
    pub stacked: bool,
}

/// A name and its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// For people.
    pub name: String,
    /// One for each point.
    pub values: Vec<i64>,
}

/// A bar, and which colour it has.
struct Bar {
    x: String,
    y: String,
    width: String,
    height: String,
    colour: usize,
}

/// The bars of one point, with what the mouse is told of it.
struct Point {
    x: String,
    width: String,
    told: String,
    bars: Vec<Bar>,
}

/// A line with its number, or a day below.
struct Mark {
    at: String,
    text: String,
    /// How the text lies: `start`, `middle` or `end`.
    anchor: &'static str,
}

#[derive(Template)]
#[template(path = "console/chart.html")]
struct Drawn<'a> {
    chart: &'a Chart,
    points: Vec<Point>,
    lines: Vec<Mark>,
    days: Vec<Mark>,
    empty: bool,
    /// The table: a row for each point where there is something.
    rows: Vec<(&'a str, Vec<String>)>,
}

impl Chart {
    /// The most that a bar shows.
    fn most(&self) -> i64 {
        let at = |point: usize| self.series.iter().map(move |series| series.values.get(point).copied().unwrap_or(0));
        let of = |point: usize| if self.stacked { at(point).sum() } else { at(point).max().unwrap_or(0) };
        (0..self.points.len()).map(of).max().unwrap_or(0)
    }

    /// The picture with its words, as HTML.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn html(&self) -> askama::Result<String> {
        let most = self.most();
        let top = nice(most);
        let rows = self.points.iter().enumerate().filter_map(|(point, name)| {
            let values: Vec<i64> = self.series.iter().map(|series| series.values.get(point).copied().unwrap_or(0)).collect();
            values.iter().any(|value| *value != 0).then(|| (name.as_str(), values.into_iter().map(number).collect()))
        });
        Drawn { chart: self, points: self.bars(top), lines: lines(top), days: self.days(), empty: most == 0, rows: rows.collect() }.render()
    }

    fn step(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.points.len().max(1) as f64
    }

    fn bars(&self, top: i64) -> Vec<Point> {
        let (step, room) = (self.step(), HEIGHT - TOP - BOTTOM);
        let gap = (step * 0.2).min(3.0);
        let beside = if self.stacked { 1.0 } else { self.series.len().max(1) as f64 };
        let width = (step - gap) / beside;
        let draw = |(index, name): (usize, &String)| {
            let left = LEFT + step * index as f64;
            let (mut bars, mut below, mut told) = (vec![], 0, name.clone());
            for (colour, series) in self.series.iter().enumerate() {
                let value = series.values.get(index).copied().unwrap_or(0);
                if value == 0 {
                    continue;
                }
                let _ = write!(told, "\n{}: {}", series.name, number(value));
                let height = room * value as f64 / top as f64;
                let (x, base) = if self.stacked { (left, below) } else { (left + width * colour as f64, 0) };
                let y = HEIGHT - BOTTOM - room * base as f64 / top as f64 - height;
                bars.push(Bar { x: short(x + gap / 2.0), y: short(y), width: short(width), height: short(height), colour });
                below += value;
            }
            Point { x: short(left), width: short(step), told, bars }
        };
        self.points.iter().enumerate().map(draw).collect()
    }

    /// The first, the last, and one or two between.
    fn days(&self) -> Vec<Mark> {
        let last = self.points.len().saturating_sub(1);
        let step = self.step();
        let mark = |index: usize, anchor| {
            let at = match anchor {
                "start" => LEFT,
                "end" => WIDTH - RIGHT,
                _ => LEFT + step * (index as f64 + 0.5),
            };
            Mark { at: short(at), text: self.points[index].clone(), anchor }
        };
        match self.points.len() {
            0 => vec![],
            1 => vec![mark(0, "middle")],
            2..=4 => vec![mark(0, "start"), mark(last, "end")],
            _ => vec![mark(0, "start"), mark(last / 2, "middle"), mark(last, "end")],
        }
    }
}

/// A round number that is not less: 1, 2, 4 or 5 times a power of ten, and at least 4, so that the lines between are whole numbers.
fn nice(most: i64) -> i64 {
    let mut power = 1_i64;
    loop {
        for factor in [1, 2, 4, 8] {
            let number = power.saturating_mul(factor);
            if number >= most.max(4) && number % 4 == 0 {
                return number;
            }
        }
        let Some(next) = power.checked_mul(10) else { return most };
        power = next;
    }
}

fn lines(top: i64) -> Vec<Mark> {
    let room = HEIGHT - TOP - BOTTOM;
    let line = |part: i64| Mark { at: short(HEIGHT - BOTTOM - room * part as f64 / 4.0), text: abbreviated(top / 4 * part), anchor: "end" };
    (0..=4).map(line).collect()
}

/// A coordinate: one decimal is finer than anybody sees.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// `1,234,567`
pub fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,200`, `12k`, `3.5M`: what fits beside an axis.
fn abbreviated(value: i64) -> String {
    let scaled = |unit: f64, name: &str| format!("{}{name}", short(value as f64 / unit));
    match value {
        ..10_000 => number(value),
        10_000..1_000_000 => scaled(1e3, "k"),
        1_000_000..1_000_000_000 => scaled(1e6, "M"),
        _ => scaled(1e9, "bn"),
    }
}

/// Makes series of labelled amounts: the greatest have a colour of their own, the rest are "others". `names` says what a label is called.
pub fn greatest(amounts: &[(usize, String, i64)], points: usize, names: impl Fn(&str) -> String) -> Vec<Series> {
    let mut totals = std::collections::BTreeMap::<&str, i64>::new();
    for (_, label, amount) in amounts {
        *totals.entry(label).or_insert(0) += amount;
    }
    let mut labels: Vec<(&str, i64)> = totals.into_iter().collect();
    labels.sort_by_key(|(label, total)| (std::cmp::Reverse(*total), *label));
    let own = if labels.len() > COLOURS { COLOURS - 1 } else { labels.len() };
    let mut series: Vec<Series> = labels[..own].iter().map(|(label, _)| Series { name: names(label), values: vec![0; points] }).collect();
    if labels.len() > own {
        series.push(Series { name: "others".to_owned(), values: vec![0; points] });
    }
    for (point, label, amount) in amounts {
        let place = labels.iter().position(|(known, _)| known == label).unwrap_or(own).min(own);
        if let Some(value) = series.get_mut(place).and_then(|series| series.values.get_mut(*point)) {
            *value += amount;
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[&[i64]], stacked: bool) -> Chart {
        let series = values.iter().enumerate().map(|(index, values)| Series { name: format!("series {index}"), values: values.to_vec() });
        let points = (0..values[0].len()).map(|day| format!("{} Nov", day + 1)).collect();
        Chart { id: "c".to_owned(), title: "Claims".to_owned(), about: "About.".to_owned(), points, series: series.collect(), stacked }
    }

    /// Heights of the bars of a chart, in the order that they are drawn in.
    fn heights(html: &str) -> Vec<f64> {
        let drawn = html.split("</svg>").next().unwrap();
        drawn
            .split("<rect class=\"s")
            .skip(1)
            .map(|rect| rect.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect()
    }

    #[test]
    fn bars_are_as_high_as_their_values() {
        let html = chart(&[&[4, 2, 0], &[1, 0, 0]], false).html().unwrap();
        let room = HEIGHT - TOP - BOTTOM;
        assert_eq!(heights(&html), [room, room / 4.0, room / 2.0], "nothing is drawn of nothing");
        let html = chart(&[&[4, 2, 0], &[4, 0, 0]], true).html().unwrap();
        assert_eq!(heights(&html), [room / 2.0, room / 2.0, room / 4.0], "parts of a whole lie on each other");
    }

    #[test]
    fn it_says_in_words_what_it_shows_and_holds_no_style() {
        let mut drawn = chart(&[&[1_234_567, 0], &[0, 0]], false);
        drawn.series[0].name = "<script>".to_owned();
        let html = drawn.html().unwrap();
        for part in [
            "role=\"img\"",
            "aria-labelledby=\"c-title c-about\"",
            "<title id=\"c-title\">",
            "<desc id=\"c-about\">",
            "1,234,567",
            "<table",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("style") && !html.contains("<script>"), "{html}");
        assert!(!html.contains("2 Nov</th>"), "days of nothing are no rows");
        let empty = chart(&[&[0, 0]], false).html().unwrap();
        assert!(empty.contains("Nothing") && !empty.contains("<svg"), "{empty}");
    }

    #[test]
    fn axes_have_whole_numbers() {
        for (most, top) in [(0, 4), (3, 4), (5, 8), (9, 20), (21, 40), (99, 100), (101, 200), (1_000_000, 1_000_000), (i64::MAX, i64::MAX)]
        {
            assert_eq!(nice(most), top, "{most}");
        }
        assert_eq!([9_999, 12_000, 1_500_000, 2_000_000_000].map(abbreviated), ["9,999", "12k", "1.5M", "2bn"]);
        assert_eq!([-1_000, 0, 100, 1_000].map(number), ["−1,000", "0", "100", "1,000"]);
    }

    #[test]
    fn what_there_is_little_of_is_drawn_together() {
        let amounts: Vec<(usize, String, i64)> = (0..9).map(|label| (0, label.to_string(), 10 + label)).collect();
        let series = greatest(&amounts, 1, |label| format!("code {label}"));
        assert_eq!(series.len(), COLOURS);
        assert_eq!((series[0].name.as_str(), series[0].values[0]), ("code 8", 18));
        assert_eq!((series[5].name.as_str(), series[5].values[0]), ("others", 10 + 11 + 12 + 13));
        assert_eq!(greatest(&amounts[..6], 1, str::to_owned).len(), 6, "six need no others");
    }
}
