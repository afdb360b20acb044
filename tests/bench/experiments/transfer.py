#!/usr/bin/env python3
"""Federated transfer learning on real images, as tables.

  transfer.py hospitals   adult chest X-rays, one site per hospital: local-only,
                          FedAvg probe, exact head, exact head with the sites'
                          own intercepts, LP-FT; 95 % intervals of the AUC
  transfer.py breast      BreastMNIST, 3 sites: FedAvg probe, exact head,
                          partial, LP-FT, full; mean and sd over seeds
  transfer.py pneumonia   the same on PneumoniaMNIST
  transfer.py encodings   BreastMNIST, 3 sites, FedAvg probe: bits of a value and
                          rounding of updates against AUC, size and error

Runs deploy/demo.sh with real daemons for each cell, on the test split. What was
left to choose was chosen by --tune, which sees only the validation split. Each
cell's result is kept in --out and not run again. Data: FEDGRAFT_DATA (default
../shared/data beside the repository).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = pathlib.Path(os.environ.get("FEDGRAFT_DATA", ROOT / "../shared/data"))
PROBE = ["--strategy", "linear_probe"]
NEWTON = ["--solver", "newton", "--lambdas",
          "[3000, 1000, 300, 100, 30, 10, 3, 1]"]
PARTIAL = ["--strategy", "partial", "--patience", "5", "--rounds", "12"]

HOSPITALS = {
    "FedAvg probe": PROBE,
    "exact head": PROBE + NEWTON,
    "exact head + site intercept": PROBE + NEWTON + ["--site-intercept"],
    "LP-FT": PARTIAL + NEWTON,
}

# What --tune compares on the validation split, and what it found best.
TOP5 = ('["features.14.*", "features.15.*", "features.16.*", '
        '"features.17.*", "features.18.*"]')
VIEWS = "{horizontal_flip: true, rotate_degrees: 10, translate: 0.06, views: 4}"
GRID = {
    "breast": {
        "LP-FT, lr 0.0003": NEWTON + ["--learning-rate", "0.0003"],
        "LP-FT, lr 0.001": NEWTON + ["--learning-rate", "0.001"],
        "LP-FT, lr 0.0003, views": NEWTON + [
            "--learning-rate", "0.0003", "--augmentation", VIEWS],
        "pooled BN, lr 0.003, views": [
            "--batch-norm", "pooled", "--augmentation", VIEWS],
        "pooled BN, 5 blocks, lr 0.003, views": [
            "--batch-norm", "pooled", "--unfreeze", TOP5,
            "--augmentation", VIEWS],
        "pooled BN, 5 blocks, lr 0.01, views": [
            "--batch-norm", "pooled", "--unfreeze", TOP5, "--learning-rate",
            "0.01", "--augmentation", VIEWS],
        "LP-FT, pooled BN, 5 blocks, lr 0.001, views": NEWTON + [
            "--batch-norm", "pooled", "--unfreeze", TOP5, "--learning-rate",
            "0.001", "--augmentation", VIEWS],
        "LP-FT, pooled BN, 5 blocks, lr 0.003, views, AUC": NEWTON + [
            "--batch-norm", "pooled", "--unfreeze", TOP5, "--learning-rate",
            "0.003", "--augmentation", VIEWS, "--stop-metric", "auc",
            "--patience", "12"],
        "pooled BN, 5 blocks, lr 0.01, views, AUC": [
            "--batch-norm", "pooled", "--unfreeze", TOP5, "--learning-rate",
            "0.01", "--augmentation", VIEWS, "--stop-metric", "auc",
            "--patience", "20", "--rounds", "20"],
        "lr 0.003, backbone at a tenth, AUC": [
            "--layer-rates", "{kind: backbone, factor: 0.1}", "--stop-metric",
            "auc", "--patience", "20", "--rounds", "20"],
        "lr 0.001, 5 blocks, AUC": [
            "--learning-rate", "0.001", "--unfreeze", TOP5, "--stop-metric",
            "auc", "--patience", "20", "--rounds", "20"],
        "LP-FT, pooled BN, lr 0.001, views": NEWTON + [
            "--batch-norm", "pooled", "--learning-rate", "0.001",
            "--augmentation", VIEWS],
        "LP-FT, adamw 0.0001, views": NEWTON + [
            "--optimizer", "adamw", "--learning-rate", "0.0001",
            "--augmentation", VIEWS],
    },
    "pneumonia": {
        "LP-FT, lr 0.0003": NEWTON + [
            "--epochs", "1", "--learning-rate", "0.0003"],
        "pooled BN, lr 0.003": ["--epochs", "1", "--batch-norm", "pooled"],
        "pooled BN, 5 blocks, lr 0.003": [
            "--epochs", "1", "--batch-norm", "pooled", "--unfreeze", TOP5],
        "lr 0.001, 5 blocks, AUC": [
            "--epochs", "1", "--learning-rate", "0.001", "--unfreeze", TOP5,
            "--stop-metric", "auc"],
    },
}
TUNED = {
    "breast": {"partial": "lr 0.001, 5 blocks, AUC",
               "LP-FT": "LP-FT, lr 0.0003"},
    "pneumonia": {"partial": "pooled BN, 5 blocks, lr 0.003",
                  "LP-FT": "LP-FT, lr 0.0003"},
}

CLASSES = {"breast": "[malignant, benign]", "pneumonia": "[normal, pneumonia]"}


def run(key, data, options, seed, out):
    """One federation; its result.json."""
    kept = out / f"{key.replace(' ', '-')}-{seed}.json"
    if not kept.exists():
        command = [
            str(ROOT / "deploy/demo.sh"), "--data", str(data), "--backbone",
            f"mobilenet_v2={DATA}/backbones/mobilenet_v2.safetensors",
            "--image-size", "128", "--seed", str(seed), "--keep-features",
            "--out", str(out / "run"), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr}")
        kept.write_bytes((out / "run/result.json").read_bytes())
    return json.loads(kept.read_text())


def interval(values, prefix=""):
    get = lambda name: values.get(prefix + name)
    if get("auc") is None:
        return "–"
    if get("auc_low") is None:
        return f"{get('auc'):.3f}"
    return f"{get('auc'):.3f} ({get('auc_low'):.3f}–{get('auc_high'):.3f})"


def mean_of_sites(result, prefix=""):
    """The sites' AUCs, weighted by their numbers of test images."""
    pairs = [(s["scalars"]["n"], s["scalars"][prefix + "auc"])
             for s in result["sites"] if prefix + "auc" in s["scalars"]]
    return f"{sum(n * a for n, a in pairs) / sum(n for n, _ in pairs):.3f}"


def hospitals(out):
    columns, sizes = {}, {}
    for name, options in HOSPITALS.items():
        result = run(name, DATA / "cxr_multisite", options, 1, out)
        if name in ("FedAvg probe", "exact head", "LP-FT"):
            alone = "local-only " + name.removeprefix("FedAvg ")
            columns[alone] = {s["site"]: interval(s["scalars"], "local_")
                              for s in result["sites"]}
            columns[alone]["mean of sites"] = mean_of_sites(result, "local_")
        columns[name] = {s["site"]: interval(s["scalars"])
                         for s in result["sites"]}
        columns[name]["mean of sites"] = mean_of_sites(result)
        columns[name]["all images"] = interval(result["pooled"])
        sizes = {s["site"]: s["scalars"].get("n", 0) for s in result["sites"]}
        sizes["mean of sites"] = sizes["all images"] = result["pooled"]["n"]
    print("| site | n | " + " | ".join(columns) + " |")
    print("| --- " * (len(columns) + 2) + "|")
    for site, n in sizes.items():
        cells = [values.get(site, "–") for values in columns.values()]
        print(f"| {site} | {n:.0f} | " + " | ".join(cells) + " |")


def seeds(table, count, out, tune):
    cells = {"exact head": PROBE + NEWTON, "FedAvg probe": PROBE}
    cells |= {name: PARTIAL + GRID[table][best]
              for name, best in TUNED[table].items()}
    split = "test"
    if tune:
        split = "val"
        cells = {f"tune {name}": PARTIAL + options
                 for name, options in GRID[table].items()}
    print(f"| method | {split} AUC, mean ± sd | {split} loss | of the seeds |")
    print("| --- | --- | --- | --- |")
    for name, options in cells.items():
        # The exact head has no randomness but the split into sites, which is
        # the same for every seed.
        results = [
            run(name, DATA / f"medmnist/{table}mnist.npz",
                options + ["--sites", "3", "--classes", CLASSES[table],
                           "--final-split", split, "--no-compare"], seed, out)
            for seed in range(1, 1 + (1 if name == "exact head" else count))]
        aucs = [result["pooled"]["auc"] for result in results]
        losses = [result["pooled"]["loss"] for result in results]
        spread = statistics.stdev(aucs) if len(aucs) > 1 else 0
        print(f"| {name} | {statistics.mean(aucs):.4f} ± {spread:.4f} | "
              f"{statistics.mean(losses):.4f} | "
              + " ".join(f"{auc:.3f}" for auc in aucs) + " |", flush=True)


def encodings(count, out):
    print("| bits | rounding | update, bytes | RMS error | AUC on test, mean ± sd |")
    print("| --- | --- | --- | --- | --- |")
    # The range that a head's weighted updates need, so that a narrow word's
    # step is no coarser than it has to be.
    common = PROBE + ["--sites", "3", "--classes", CLASSES["breast"],
                      "--range", "0.5", "--no-compare"]
    for bits in [32, 24, 20, 16, 12, 8]:
        for rounding in ["nearest", "stochastic"]:
            aucs, sizes, errors = [], [], []
            for seed in range(1, 1 + count):
                result = run(
                    f"{bits} {rounding}", DATA / "medmnist/breastmnist.npz",
                    common + ["--word-bits", str(bits), "--rounding", rounding],
                    seed, out)
                aucs.append(result["pooled"]["auc"])
                for site in result["sites"]:
                    sizes.append(site["scalars"]["update_bytes"])
                    errors.append(site["scalars"]["update_error_rms"])
            spread = statistics.stdev(aucs) if len(aucs) > 1 else 0
            print(f"| {bits} | {rounding} | {statistics.mean(sizes):.0f} | "
                  f"{statistics.mean(errors):.1e} | "
                  f"{statistics.mean(aucs):.4f} ± {spread:.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "table", choices=["hospitals", "breast", "pneumonia", "encodings"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tune", action="store_true",
                        help="compare settings on the validation split")
    parser.add_argument("--out", type=pathlib.Path,
                        default=ROOT / "demo-out/experiments",
                        help="results and the files of the last run")
    options = parser.parse_args()
    out = options.out / options.table
    out.mkdir(parents=True, exist_ok=True)
    if options.table == "hospitals":
        hospitals(out)
    elif options.table == "encodings":
        encodings(options.seeds, out)
    else:
        seeds(options.table, options.seeds, out, options.tune)


if __name__ == "__main__":
    main()
