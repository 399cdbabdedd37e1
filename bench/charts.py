#!/usr/bin/env python3
"""Draws the figures of docs/performance.md, so that charts say what its tables say.

    bench/charts.py            writes docs/charts/*.svg
    bench/charts.py --check    fails where they are not what the tables say

What has a goal is drawn by how far it is from it, in factors: right of the line is better than the goal. The other charts are the tables' own
figures. Bars of factors and of bytes are on a logarithmic scale, and say so.
"""
import math
import pathlib
import re
import sys
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs/performance.md"
CHARTS = ROOT / "docs/charts"

WIDTH, LEFT, RIGHT, LINE, BAR = 920, 330, 120, 24, 14
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #1f2933; } .title { font-size: 15px; font-weight: 600; } .quiet { fill: #6b7785; } .small { font-size: 11px; fill: #6b7785; }
.met { fill: #2f7d5b; } .missed { fill: #c2571a; } .a { fill: #7b8794; } .b { fill: #b4bcc6; } .ours { fill: #2b6cb0; }
line { stroke: #cbd2d9; } .goal { stroke: #1f2933; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) { text { fill: #e4e7eb; } .quiet, .small { fill: #9aa5b1; } line { stroke: #3e4c59; } .goal { stroke: #e4e7eb; }
.met { fill: #4fb286; } .missed { fill: #e8853d; } .a { fill: #7b8794; } .b { fill: #52606d; } .ours { fill: #63a4e8; } }
</style>"""


def tables(report):
    """(section, header, rows) of every table."""
    for part in report.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        for block in re.split(r"\n\s*\n", body):
            lines = [line for line in block.strip().splitlines() if line.startswith("|")]
            if len(lines) > 2:
                cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
                yield title, cells[0], cells[2:]


def plain(text):
    return text.replace("`", "").replace("**", "")


def short(text, length=48):
    return text if len(text) <= length else text[: length - 1].rstrip(" ,") + "…"


def goals(report):
    """(section, work, against what, goal and figure, factor by which the goal is passed) of every row with a goal and a figure of its unit."""
    for section, head, rows in tables(report):
        if head[-2:] != ["goal", "measured"]:
            continue
        work = ""
        for row in rows:
            work = row[0] or work
            against, goal, measured = row[1], row[-2], row[-1]
            if less := re.match(r"([\d.]+)× less", goal):
                wanted = [("≥", float(less[1]), "×")]
            else:
                wanted = [(sign, float(figure), unit) for sign, figure, unit in re.findall(r"([≤≥]) ([\d.]+) ?(×|ms)", goal)]
            seen = {unit: [float(figure) for figure in re.findall(rf"(?<![+\d.])([\d.]+) ?{unit}", measured)] for unit in ("×", "ms")}
            # A goal of several parts has as many figures; it is as far as its worst part.
            factors = [figure / limit if sign == "≥" else limit / figure for (sign, limit, unit), figure in zip(wanted, seen[wanted[0][2]] if wanted else []) if figure]
            if factors:
                yield section, plain(work), plain(against), f"{goal}: {measured.split(';')[0]}", min(factors)


class Drawing:
    def __init__(self, title, subtitle):
        self.parts, self.y = [], 22
        self.text(12, title, "title")
        self.y += 18
        self.text(12, subtitle, "quiet")
        self.y += LINE

    def text(self, x, words, style="", anchor="start", y=None):
        self.parts.append(f'<text x="{x:g}" y="{self.y if y is None else y:g}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>')

    def bar(self, x, width, style, height=BAR, y=None):
        self.parts.append(f'<rect x="{x:.1f}" y="{(self.y if y is None else y) - height + 2:.1f}" width="{max(width, 1):.1f}" height="{height}" rx="2" class="{style}"/>')

    def line(self, x, top, bottom, style=""):
        self.parts.insert(0, f'<line x1="{x:.1f}" y1="{top:g}" x2="{x:.1f}" y2="{bottom:g}" class="{style}"/>')

    def done(self):
        height = self.y + 6
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" role="img">\n{STYLE}\n' + "\n".join(self.parts) + "\n</svg>\n"


def scale(low, high, right=RIGHT):
    """Where a figure lies on a logarithmic scale."""
    low, high = math.log10(low), math.log10(high)
    return lambda figure: LEFT + (WIDTH - LEFT - right) * (min(max(math.log10(figure), low), high) - low) / (high - low)


def draw_goals(report):
    at = scale(0.05, 20, 210)
    drawing = Drawing("How far from the goal", "A factor beyond the goal to the right of the line, short of it to the left; logarithmic")
    top, before = drawing.y - 6, None
    for section, work, against, figure, factor in goals(report):
        if section != before:
            drawing.y += 8
            drawing.text(12, section, "title")
            drawing.y += LINE
            before = section
        drawing.text(LEFT - 10, short(work), "", "end")
        drawing.text(LEFT - 10, short(f"against {against}" if against else "", 54), "small", "end", drawing.y + 13)
        start, end = sorted((at(1), at(factor)))
        drawing.bar(start, end - start, "met" if factor >= 1 else "missed", y=drawing.y + 5)
        drawing.text(max(end, at(1)) + 6, f"{factor:.2f}", y=drawing.y + 5)
        drawing.text(WIDTH - 8, short(figure, 46), "small", "end", drawing.y + 5)
        drawing.y += 36
    for mark in (0.1, 0.25, 0.5, 1, 2, 4, 10):
        drawing.line(at(mark), top, drawing.y - 12, "goal" if mark == 1 else "")
        drawing.text(at(mark), f"{mark:g}×" if mark != 1 else "goal", "quiet", "middle", drawing.y + 2)
    drawing.y += 10
    return drawing.done()


def numbers(cells):
    return [float(cell.replace(",", "")) if re.fullmatch(r"[\d.,]+", cell) else None for cell in cells]


def bars(title, subtitle, rows, names, styles, unit):
    """A group of bars for each row, one for each name, of figures above 0; logarithmic."""
    figures = [figure for _, row in rows for figure in row if figure]
    at = scale(min(figures) / 2, max(figures) * 1.3)
    drawing = Drawing(title, subtitle)
    x = 12
    for name, style in zip(names, styles):
        drawing.bar(x, 12, style, 12)
        drawing.text(x + 17, name)
        x += 34 + 7 * len(name)
    drawing.y += LINE
    for label, row in rows:
        drawing.text(LEFT - 10, label, "", "end", drawing.y + 7 * (len(row) - 1))
        for figure, style in zip(row, styles):
            if figure:
                drawing.bar(LEFT, at(figure) - LEFT, style, 10)
                drawing.text(at(figure) + 6, f"{figure:,.0f}{unit}" if figure >= 100 else f"{figure:g}{unit}")
            else:
                drawing.text(LEFT + 6, "not measured", "quiet")
            drawing.y += 14
        drawing.y += 8
    return drawing.done()


def find(report, section, *columns):
    for title, head, rows in tables(report):
        if title == section and set(columns) <= set(head):
            yield [(row[0], [row[head.index(column)] for column in columns]) for row in rows]


def charts(report):
    tools = ("zstd -19 --patch-from", "bsdiff", "HDiffPatch", "ours")
    pairs = next(find(report, "Updates", *tools))
    yield "goals.svg", draw_goals(report)
    rows = [(name, numbers(cells)) for name, cells in pairs]
    yield "updates.svg", bars("What an update fetches", "KB by pair of versions, without a full download; logarithmic", rows, tools, ("b", "b", "a", "ours"), " KB")
    works = ("publish", "press", "copy", "verify", "play", "server")
    sizes = next(find(report, "Peak memory in MB", *works))
    turned = [(work, [float(cells[number]) for _, cells in sizes]) for number, work in enumerate(works)]
    yield "memory.svg", bars("Peak memory", "MB, by size of the title; 24 is what the measuring script holds", turned, [size for size, _ in sizes], ("b", "ours"), " MB")
    pages = [rows for rows in find(report, "Pages of the console", "p95")]
    slow = {name: [float(cells[0])] for name, cells in pages[0]}
    for name, cells in pages[1]:
        slow[name].append(float(cells[0]))
    slowest = sorted(slow.items(), key=lambda page: -max(page[1]))[:14]
    yield "console.svg", bars("The slowest pages of the console", "p95 in ms, one at a time, a million media, people and orders; goal 100 ms; logarithmic", slowest, ("SQLite", "PostgreSQL"), ("ours", "a"), " ms")


def main():
    wrong = []
    CHARTS.mkdir(exist_ok=True)
    for name, drawn in charts(REPORT.read_text()):
        path = CHARTS / name
        if "--check" not in sys.argv:
            path.write_text(drawn)
        elif not path.exists() or path.read_text() != drawn:
            wrong.append(name)
    if wrong:
        sys.exit(f"error: {', '.join(wrong)}: not what docs/performance.md says\nhint: bench/charts.py")


if __name__ == "__main__":
    main()
