#!/usr/bin/env python3
"""Federated transfer learning on real images, as tables.

  transfer.py hospitals   adult chest X-rays, one site per hospital: local-only,
                          FedAvg probe, exact head, exact head with the sites'
                          own intercepts, LP-FT; 95 % intervals of the AUC
  transfer.py breast      BreastMNIST, 3 sites: FedAvg probe, exact head,
                          partial, LP-FT; mean and sd over seeds
  transfer.py pneumonia   the same on PneumoniaMNIST

Runs deploy/demo.sh with real daemons for each cell, on the test split, with
everything chosen on the validation split before. Data: FEDGRAFT_DATA (default
../shared/data beside the repository). Options: --seeds N (default 5), --out DIR.
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
LAMBDAS = "[3000, 1000, 300, 100, 30, 10, 3, 1]"

METHODS = {
    "FedAvg probe": ["--strategy", "linear_probe"],
    "exact head": ["--solver", "newton", "--lambdas", LAMBDAS],
    "exact head + site intercept": [
        "--solver", "newton", "--lambdas", LAMBDAS, "--site-intercept"],
    "partial": ["--strategy", "partial", "--patience", "6"],
    "LP-FT": ["--strategy", "partial", "--patience", "6", "--solver", "newton",
              "--lambdas", LAMBDAS],
}


def run(data, options, seed, out):
    """One federation; its result.json."""
    command = [
        str(ROOT / "deploy/demo.sh"), "--data", str(data), "--backbone",
        f"mobilenet_v2={DATA}/backbones/mobilenet_v2.safetensors",
        "--image-size", "128", "--seed", str(seed), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr}")
    return json.loads((out / "result.json").read_text())


def interval(values, prefix=""):
    get = lambda name: values.get(prefix + name)
    if get("auc") is None:
        return "–"
    if get("auc_low") is None:
        return f"{get('auc'):.3f}"
    return f"{get('auc'):.3f} ({get('auc_low'):.3f}–{get('auc_high'):.3f})"


def hospitals(out):
    columns = {}
    for name in ["FedAvg probe", "exact head", "exact head + site intercept",
                 "LP-FT"]:
        result = run(DATA / "cxr_multisite", METHODS[name], 1, out)
        if not columns:
            columns["local-only probe"] = {
                s["site"]: interval(s["scalars"], "local_")
                for s in result["sites"]}
            sizes = {s["site"]: s["scalars"].get("n") for s in result["sites"]}
        columns[name] = {s["site"]: interval(s["scalars"])
                         for s in result["sites"]}
        columns[name]["pooled"] = interval(result["pooled"])
        sizes["pooled"] = result["pooled"]["n"]
    print("| site | n | " + " | ".join(columns) + " |")
    print("| --- " * (len(columns) + 2) + "|")
    for site, n in sizes.items():
        cells = [values.get(site, "–") for values in columns.values()]
        print(f"| {site} | {n or 0:.0f} | " + " | ".join(cells) + " |")


def seeds(data, classes, count, out):
    print("| method | test AUC, mean ± sd | of the seeds |")
    print("| --- | --- | --- |")
    for name in ["FedAvg probe", "exact head", "partial", "LP-FT"]:
        aucs = []
        # The exact head has no randomness but the split into sites, which is
        # the same for every seed.
        for seed in range(1, 1 + (1 if name == "exact head" else count)):
            result = run(data, METHODS[name] + ["--sites", "3", "--classes",
                                                classes], seed, out)
            aucs.append(result["pooled"]["auc"])
        spread = statistics.stdev(aucs) if len(aucs) > 1 else 0
        print(f"| {name} | {statistics.mean(aucs):.4f} ± {spread:.4f} | "
              + " ".join(f"{auc:.3f}" for auc in aucs) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("table", choices=["hospitals", "breast", "pneumonia"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path,
                        default=ROOT / "demo-out/experiments")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.table == "hospitals":
        hospitals(options.out)
    else:
        classes = {"breast": "[malignant, benign]",
                   "pneumonia": "[normal, pneumonia]"}[options.table]
        seeds(DATA / f"medmnist/{options.table}mnist.npz", classes,
              options.seeds, options.out)


if __name__ == "__main__":
    main()
