#!/usr/bin/env python3
"""Tables and plots of what the experiments on shift printed.

  shift_plots.py size.txt power.txt triage.txt phantom.txt remedies.txt

Tables go to standard output, plots to docs/: power over the dials
(shift-power.png) and what triage says (shift-triage.png). Files whose name
starts with "phantom" are of phantom images.
"""

import collections
import pathlib
import sys

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

DOCS = pathlib.Path(__file__).resolve().parents[3] / "docs"
BAND = (0.03, 0.07)
KINDS = ["none", "covariate", "label", "concept", "covariate+label",
         "covariate+concept", "label+concept", "covariate+label+concept"]
# What each dial's plot shows.
SHOWN = {
    "covariate": ["covariate_mmd", "covariate_adjusted", "label_score",
                  "concept_score"],
    "label": ["label_score", "label_em", "covariate_adjusted",
              "concept_score"],
    "concept": ["concept_score", "concept_conditional", "covariate_adjusted",
                "label_em"],
}
AXES = {"covariate": "features moved, deviations",
        "label": "log odds of one class",
        "concept": "slopes turned by this share"}
COLOURS = ["#1b6ca8", "#c2410c", "#15803d", "#7e22ce"]


def read(paths):
    rows = collections.defaultdict(list)
    for path in map(pathlib.Path, paths):
        for line in path.read_text().splitlines():
            name, *fields = line.split()
            # A header has no number.
            if any(f[0].isdigit() for f in fields):
                images = path.name.startswith("phantom")
                rows["images " + name if images else name].append(fields)
    return rows


def size_table(rows):
    cells = collections.defaultdict(dict)
    for n, sites, test, tests, share, *_ in rows:
        cells[test][n, sites] = float(share)
    count = len(next(iter(cells.values())))
    print(f"\nShare rejected at 5 % in {count} cells of {rows[0][3]} tests\n")
    print("| test | least | mean | most | outside [.03, .07] |")
    print("| --- | --- | --- | --- | --- |")
    for test, share in cells.items():
        values = list(share.values())
        out = [f"{n} records, {k} sites: {v:.3f}" for (n, k), v in share.items()
               if not BAND[0] <= v <= BAND[1]]
        print(f"| `{test}` | {min(values):.3f} | {sum(values) / count:.3f} | "
              f"{max(values):.3f} | {'; '.join(out) or 'none'} |")


def triage_table(rows):
    for n in dict.fromkeys(row[0] for row in rows):
        share = {(t, m): float(s) for size, t, m, s in rows if size == n}
        print(f"\nn = {n}: what is, how often it is named, what else is said\n")
        for truth in dict.fromkeys(t for t, _ in share):
            right = "covariate" if truth == "covariate_strong" else truth
            others = [f"{m} {s:.3f}" for (t, m), s in share.items()
                      if t == truth and m != right]
            print(f"| {truth} | {share.get((truth, right), 0):.3f} | "
                  f"{', '.join(others)} |")


def triage_plot(matrices):
    figure, axes = plt.subplots(1, len(matrices), sharey=True, squeeze=False,
                                figsize=(4.3 * len(matrices) + 1.6, 6.2))
    for axis, (title, share) in zip(axes[0], matrices):
        values = [[share.get((t, m), 0) for m in KINDS] for t in KINDS]
        axis.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                if value >= 0.005:
                    axis.text(j, i, f"{value:.2f}", ha="center", va="center",
                              fontsize=8,
                              color="white" if value > 0.5 else "black")
        axis.set_xticks(range(len(KINDS)), KINDS, rotation=45, ha="right",
                        fontsize=8)
        axis.set_yticks(range(len(KINDS)), KINDS, fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("what is said")
    axes[0][0].set_ylabel("what is")
    save(figure, "shift-triage.png")


def power_plot(rows, size):
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), sharey=True)
    for axis, (dial, tests) in zip(axes, SHOWN.items()):
        for colour, test in zip(COLOURS, tests):
            points = sorted((float(x), float(y)) for d, x, n, t, y in rows
                            if d == dial and n == size and t == test)
            if points:
                axis.plot([0] + [x for x, _ in points],
                          [0.05] + [y for _, y in points], "o-", ms=3,
                          color=colour, label=test)
        axis.axhline(0.05, color="grey", lw=0.8, ls=":")
        axis.set_title(f"{dial} dial, {size} records a site", fontsize=10)
        axis.set_xlabel(AXES[dial])
        axis.set_ylim(-0.02, 1.02)
        axis.legend(fontsize=8, loc="upper center", ncol=2, frameon=False,
                    bbox_to_anchor=(0.5, -0.2))
    axes[0].set_ylabel("share rejected at 5 %")
    save(figure, "shift-power.png")


def save(figure, name):
    figure.tight_layout()
    figure.savefig(DOCS / name, dpi=80)
    plt.close(figure)


def remedy_table(rows):
    values = {(s, n): rest for s, n, *rest in rows}
    settings = list(dict.fromkeys(s for s, _ in values))
    print("\n| | " + " | ".join(settings) + " |")
    print("| --- |" + " --- |" * len(settings))
    for name in dict.fromkeys(n for _, n in values):
        cells = []
        for setting in settings:
            loss, auc, loss_back, auc_back = values[setting, name]
            cells.append(f"{loss} ({loss_back}), {auc} ({auc_back})")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main():
    rows = read(sys.argv[1:])
    if rows["size"]:
        size_table(rows["size"])
    matrices = []
    for key, title in (("triage", "simulation"), ("images triage", "images")):
        if not rows[key]:
            continue
        triage_table(rows[key])
        for n in dict.fromkeys(row[0] for row in rows[key]):
            matrices.append((f"{title}, {n} records a site", {
                (t, m): float(s) for size, t, m, s in rows[key] if size == n}))
    if matrices:
        triage_plot(matrices)
    if rows["power"]:
        power_plot(rows["power"], "200")
    if rows["remedy"]:
        remedy_table(rows["remedy"])


if __name__ == "__main__":
    main()
