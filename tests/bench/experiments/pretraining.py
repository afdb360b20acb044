#!/usr/bin/env python3
"""What a backbone for few labels should start from: docs/pretraining.md.

  pretraining.py pretrain    simclr on the paediatric chest X-rays, from ImageNet
                             weights and from scratch (resumable: repeat it);
                             and random weights, BatchNorm statistics alone taken
                             from a tenth of them
  pretraining.py evaluate    heads and partial fine-tuning on n labels of
                             cxr_multisite (AP or PA) and BreastMNIST
  pretraining.py report      table.md, pretraining.png and .svg of the results

Each initialisation is used with the same training, validation and test images.
Everything is chosen on validation images; test images are looked at once per
fit. Results are kept in --out, so that a stage that was ended goes on. Needs
fedgraft-trainer and pretraining_probe in --bin. Data:
FEDGRAFT_DATA (default ../shared/data beside the repository).
"""

import argparse
import concurrent.futures
import csv
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = pathlib.Path(os.environ.get("FEDGRAFT_DATA", ROOT / "../shared/data"))
IMAGENET = DATA / "backbones/mobilenet_v2.safetensors"
NORMALISATION = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
COUNTS = [10, 20, 50, 100, 0]
SEEDS = [1, 2, 3, 4, 5]

# Name: what stands in the figure, colour, marker.
STARTS = {
    "imagenet": ("ImageNet", "#0072b2", "o"),
    "ssl_imagenet": ("ImageNet, then SimCLR on X-rays", "#d55e00", "s"),
    "ssl_scratch": ("SimCLR on X-rays from scratch", "#009e73", "^"),
    "scratch": ("random weights", "#666666", "x"),
}
TASKS = {
    "cxr_multisite": "chest X-rays, AP or PA",
    "breastmnist": "BreastMNIST, malignant or not",
}
METHODS = {"head": "exact head, frozen backbone",
           "partial": "head and last block"}


def run(command, out):
    """Whether it succeeded; standard output goes to a file."""
    command = list(map(str, command))
    print("+", " ".join(command), flush=True)
    with open(out, "w", encoding="utf-8") as log:
        return subprocess.run(command, stdout=log, check=False).returncode == 0


def run_all(jobs, options):
    """Calls several at a time, a thread each: batches are too small to share."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        if not all([job.result() for job in [pool.submit(j) for j in jobs]]):
            sys.exit("a command failed")


def backbone(options, start):
    if start == "imagenet":
        return IMAGENET
    return options.out / f"{start}.safetensors"


def pretrain(options):
    source = options.out / "source.yaml"
    source.write_text("kind: npz\npath: "
                      f"{DATA}/cxr_source_guangzhou/cxr_guangzhou_64.npz\n")
    tenth = options.out / "tenth.yaml"
    tenth.write_text(source.read_text() + "shard_count: 10\n")
    settings = {
        "ssl_imagenet": [source, options.epochs, "0.0003", "--init", IMAGENET],
        "ssl_scratch": [source, options.epochs, "0.001"],
        # Steps of nothing: what is left is the mending of BatchNorm.
        "scratch": [tenth, 1, "1e-12"]}
    jobs = []
    for start, (data, epochs, rate, *init) in settings.items():
        out = backbone(options, start)
        if pathlib.Path(f"{out}.json").exists():
            continue
        command = [
            options.bin / "fedgraft-trainer", "pretrain", "--method", "simclr",
            "--architecture", "mobilenet_v2", "--data", data, "--out", out,
            "--image-size", options.image_size, *NORMALISATION, "--epochs",
            epochs, "--batch-size", 64, "--learning-rate", rate, "--threads", 1,
            *init]
        jobs.append(lambda c=command, o=out: run(c, f"{o}.log"))
    run_all(jobs, options)


def task_data(task, seed):
    """YAML and classes; X-rays are split anew for each seed, by patient."""
    if task == "breastmnist":
        return f"kind: npz\npath: {DATA}/medmnist/breastmnist.npz\n"
    return ("kind: folder\n"
            f"path: {DATA}/cxr_multisite/labels.csv\n"
            "label_column: projection\npatient_column: patient_id\n"
            f"val_fraction: 0.2\ntest_fraction: 0.3\nsplit_seed: {seed}\n")


def evaluate(options):
    jobs = []
    for start in STARTS:
        for task in TASKS:
            # One split, all seeds in one call; or a split for each seed.
            groups = [SEEDS] if task == "breastmnist" else [[s] for s in SEEDS]
            for seeds in groups:
                out = options.out / f"result-{task}-{start}-{seeds[0]}.csv"
                if out.exists():
                    continue
                data = options.out / f"{task}-{seeds[0]}.yaml"
                data.write_text(task_data(task, seeds[0]))
                classes = ("AP,PA" if task == "cxr_multisite"
                           else "malignant,benign")
                command = [
                    options.bin / "pretraining_probe", "--data", data,
                    "--backbone", backbone(options, start), "--classes",
                    classes, "--image-size", options.image_size,
                    *NORMALISATION, "--counts", ",".join(map(str, COUNTS)),
                    "--seeds", ",".join(map(str, seeds)), "--partial-epochs",
                    options.partial_epochs, "--threads", 1]
                jobs.append(lambda c=command, o=out: (
                    run(c, o.with_suffix(".part"))
                    and o.with_suffix(".part").rename(o) is not None))
    run_all(jobs, options)


def results(options):
    """{(task, start, method, n): {seed: test AUC}}"""
    found = {}
    for task in TASKS:
        for start in STARTS:
            for path in sorted(options.out.glob(f"result-{task}-{start}-*.csv")):
                with open(path, encoding="utf-8") as lines:
                    for row in csv.reader(lines):
                        method, n, seed = row[0], int(row[1]), int(row[2])
                        found.setdefault((task, start, method, n), {})[
                            seed] = float(row[5])
    return found


def mean_sd(values):
    values = list(values)
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.mean(values), spread


def table(found):
    lines = []
    for task, task_name in TASKS.items():
        for method, method_name in METHODS.items():
            if (task, "imagenet", method, 0) not in found:
                continue
            lines += ["", f"**{task_name}; {method_name}**", "",
                      "| labels | " + " | ".join(
                          name for name, _, _ in STARTS.values()) +
                      " | SimCLR from ImageNet less ImageNet, paired |",
                      "| --- " * (len(STARTS) + 2) + "|"]
            for n in COUNTS:
                cells = ["%.3f ± %.3f" % mean_sd(
                    found[task, start, method, n].values()) for start in STARTS]
                plain = found[task, "imagenet", method, n]
                ours = found[task, "ssl_imagenet", method, n]
                cells.append("%+.3f ± %.3f" % mean_sd(
                    ours[seed] - plain[seed] for seed in plain))
                lines.append(f"| {n or 'all'} | " + " | ".join(cells) + " |")
    return "\n".join(lines[1:]) + "\n"


def curves(found):
    """Panels of {start: [(mean, sd) by count]}, by title."""
    panels = {}
    for method, method_name in METHODS.items():
        for task, task_name in TASKS.items():
            if (task, "imagenet", method, 0) not in found:
                continue
            panels[f"{task_name}\n{method_name}"] = {
                start: [mean_sd(found[task, start, method, n].values())
                        for n in COUNTS] for start in STARTS}
    return panels


def plot_matplotlib(panels, out):
    import matplotlib
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fedgraft"
    from matplotlib import pyplot
    columns = 2
    rows = (len(panels) + 1) // columns
    figure, axes = pyplot.subplots(rows, columns, sharey="col", squeeze=False,
                                   figsize=(9, 0.9 + 3.2 * rows))
    for axis, (title, lines) in zip(axes.flat, panels.items()):
        for index, (start, points) in enumerate(lines.items()):
            name, colour, marker = STARTS[start]
            x = [i + 0.06 * (index - 1.5) for i in range(len(COUNTS))]
            axis.errorbar(x, [p[0] for p in points], [p[1] for p in points],
                          color=colour, marker=marker, label=name, capsize=2,
                          linewidth=1.5, elinewidth=0.8, markersize=5)
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(len(COUNTS)), [n or "all" for n in COUNTS])
        axis.set_xlabel("labelled training images")
        axis.set_ylabel("test AUC, mean ± sd")
        axis.grid(alpha=0.3)
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncol=2, frameon=False)
    figure.tight_layout(rect=(0, 0.9 / (0.9 + 3.2 * rows) * 0.7, 1, 1))
    figure.savefig(out / "pretraining.png", dpi=110)
    figure.savefig(out / "pretraining.svg", metadata={"Date": None})


def plot_svg(panels, out):
    """The same without matplotlib."""
    width, height, left, top = 440, 270, 55, 45
    shapes = []
    for index, (title, lines) in enumerate(panels.items()):
        x0, y0 = index % 2 * width + left, index // 2 * height + top
        w, h = width - left - 15, height - top - 45
        values = [v for points in lines.values() for m, s in points
                  for v in (m - s, m + s)]
        low, high = min(values) - 0.02, max(values) + 0.02
        px = lambda i: x0 + w * (i + 0.5) / len(COUNTS)
        py = lambda v: y0 + h * (high - v) / (high - low)
        text = lambda x, y, s, anchor="middle": shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{s}</text>')
        shapes.append(f'<rect x="{x0}" y="{y0}" width="{w}" height="{h}" '
                      'fill="none" stroke="#999"/>')
        text(x0 + w / 2, y0 - 10, title.replace("\n", "; "))
        for i, n in enumerate(COUNTS):
            text(px(i), y0 + h + 16, n or "all")
        tick = round(low + 0.05, 1)
        while tick < high:
            text(x0 - 6, py(tick) + 4, f"{tick:.1f}", "end")
            shapes.append(f'<path d="M{x0} {py(tick):.1f}h{w}" '
                          'stroke="#ddd"/>')
            tick += 0.1
        for start, points in lines.items():
            colour = STARTS[start][1]
            path = "L".join(f"{px(i):.1f} {py(p[0]):.1f}"
                            for i, p in enumerate(points))
            bars = "".join(f"M{px(i):.1f} {py(m - s):.1f}V{py(m + s):.1f}"
                           for i, (m, s) in enumerate(points))
            shapes.append(f'<path d="M{path}" fill="none" stroke="{colour}" '
                          f'stroke-width="2"/><path d="{bars}" '
                          f'stroke="{colour}"/>')
    rows = (len(panels) + 1) // 2
    for index, (name, colour, _) in enumerate(STARTS.values()):
        x, y = left + index % 2 * width, rows * height + 15 + index // 2 * 18
        shapes.append(f'<rect x="{x}" y="{y - 9}" width="20" height="4" '
                      f'fill="{colour}"/><text x="{x + 26}" y="{y}">{name}'
                      '</text>')
    (out / "pretraining.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width}" '
        f'height="{rows * height + 45}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(shapes) + "</svg>\n", encoding="utf-8")


def report(options):
    found = results(options)
    text = table(found)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    try:
        plot_matplotlib(curves(found), options.out)
    except ImportError:
        plot_svg(curves(found), options.out)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("stage", choices=["pretrain", "evaluate", "report"])
    parser.add_argument("--bin", type=pathlib.Path,
                        default=ROOT / "build/release/bin")
    parser.add_argument("--out", type=pathlib.Path,
                        default=ROOT / "demo-out/pretraining")
    parser.add_argument("--image-size", type=int, default=65,
                        help="32 k + 1 suits these weights")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--partial-epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    {"pretrain": pretrain, "evaluate": evaluate,
     "report": report}[options.stage](options)


if __name__ == "__main__":
    main()
