#!/usr/bin/env python3
"""Tables and plots of what shift_calibration printed.

  shift_calibration size > size.txt; shift_calibration power > power.txt; ...
  shift_plots.py size.txt power.txt triage.txt   tables on standard output, and
                                                 docs/shift.svg

Nothing but the standard library: the plots are written as SVG.
"""

import collections
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
BAND = (0.03, 0.07)
WIDTH, HEIGHT, MARGIN = 300, 190, 44
COLOURS = ["#1b6ca8", "#c2410c", "#15803d", "#7e22ce"]
# What each dial's plot shows.
SHOWN = {
    "covariate": ["covariate_mmd", "covariate_adjusted", "label_score",
                  "concept_score"],
    "label": ["label_score", "label_counts", "covariate_adjusted",
              "concept_score"],
    "concept": ["concept_score", "concept_conditional", "covariate_mmd",
                "label_profiled"],
}
AXES = {"covariate": "features moved, deviations",
        "label": "log odds of one class",
        "concept": "slopes turned by this share"}


def read(paths):
    rows = collections.defaultdict(list)
    for path in paths:
        for line in pathlib.Path(path).read_text().splitlines():
            fields = line.split()
            # A header has no number.
            if fields and any(f[0].isdigit() for f in fields[1:]):
                rows[fields[0]].append(fields[1:])
    return rows


def size_table(rows):
    cells, values, count = [], {}, 0
    for n, sites, test, tests, share, *_ in rows:
        if (n, sites) not in cells:
            cells.append((n, sites))
        values[test, n, sites] = float(share)
        count = int(tests)
    print(f"\nSize at 5 %, {count} tests a cell: records a site / sites\n")
    print("| test | " + " | ".join(f"{n} / {k}" for n, k in cells) + " |")
    print("| --- |" + " --- |" * len(cells))
    for test in dict.fromkeys(t for t, _, _ in values):
        row = []
        for cell in cells:
            share = values[(test, *cell)]
            mark = "" if BAND[0] <= share <= BAND[1] else " *"
            row.append(f"{share:.3f}{mark}")
        print(f"| {test} | " + " | ".join(row) + " |")


def triage_table(rows):
    names = ["none", "covariate", "label", "covariate+label", "concept",
             "covariate+concept", "label+concept", "covariate+label+concept"]
    for n in dict.fromkeys(row[0] for row in rows):
        share = {(t, m): float(s) for size, t, m, s in rows if size == n}
        print(f"\nWhat is (row), what is said (column), n = {n}\n")
        print("| | " + " | ".join(names) + " |")
        print("| --- |" + " --- |" * len(names))
        for truth in names:
            cells = [f"{share[truth, m]:.2f}" if (truth, m) in share else ""
                     for m in names]
            print(f"| {truth} | " + " | ".join(cells) + " |")


def power_plot(rows, dial, size, left):
    """One panel: share rejected over the dial, a line per test."""
    points = collections.defaultdict(list)
    for name, setting, n, test, share in rows:
        if name == dial and n == size:
            points[test].append((float(setting), float(share)))
    most = max(x for line in points.values() for x, _ in line)
    inner = WIDTH - 2 * MARGIN + 20
    at = lambda x, y: (left + MARGIN + inner * x / most,
                       20 + (HEIGHT - 60) * (1 - y))
    out = [f'<text x="{left + MARGIN}" y="12" class="title">{dial} shift, '
           f'n = {size}</text>']
    for y in (0, 0.05, 0.5, 1):
        (x0, y0), (x1, _) = at(0, y), at(most, y)
        dash = ' stroke-dasharray="3 3"' if y == 0.05 else ""
        out.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" '
                   f'y2="{y0:.1f}" class="grid"{dash}/>')
        if y != 0.05:
            out.append(f'<text x="{x0 - 6:.1f}" y="{y0 + 4:.1f}" '
                       f'text-anchor="end">{y}</text>')
    for x in (0, most / 2, most):
        px, py = at(x, 0)
        out.append(f'<text x="{px:.1f}" y="{py + 14:.1f}" '
                   f'text-anchor="middle">{x:g}</text>')
    px, py = at(most / 2, 0)
    out.append(f'<text x="{px:.1f}" y="{py + 28:.1f}" text-anchor="middle">'
               f'{AXES[dial]}</text>')
    for i, test in enumerate(SHOWN[dial]):
        line = [(0, 0.05)] + sorted(points[test])
        path = " ".join("%.1f,%.1f" % at(x, y) for x, y in line)
        out.append(f'<polyline points="{path}" stroke="{COLOURS[i]}" '
                   f'fill="none" stroke-width="2"/>')
        out.append(f'<text x="{left + MARGIN}" y="{HEIGHT + 12 + 13 * i}" '
                   f'fill="{COLOURS[i]}">{test}</text>')
    return out


def power_svg(rows, size="200"):
    body = []
    for i, dial in enumerate(SHOWN):
        body += power_plot(rows, dial, size, i * WIDTH)
    height = HEIGHT + 20 + 13 * len(COLOURS)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * WIDTH} '
        f'{height}" role="img" aria-label="Share of sites in which each test '
        f'rejects at 5 %, over each dial">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        "<style>text{font:11px sans-serif}.title{font-weight:bold}"
        ".grid{stroke:#cccccc}</style>", *body, "</svg>\n"])


def main():
    rows = read(sys.argv[1:])
    if rows["size"]:
        size_table(rows["size"])
    if rows["triage"]:
        triage_table(rows["triage"])
    if rows["power"]:
        (ROOT / "docs/shift.svg").write_text(power_svg(rows["power"]))


if __name__ == "__main__":
    main()
