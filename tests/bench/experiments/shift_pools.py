#!/usr/bin/env python3
"""Pools of features for the experiments on shift, by shift_pools.

  shift_pools.py --bin build/release/bin --data $FEDGRAFT_DATA --out pools

pools/phantom: one pool for each setting of the phantom's dials, no image in
two of them. pools/sites: adult chest radiographs of several hospitals and
countries, one image a patient. pools/scanners: one hospital's images by type
of scanner; the larger type in three parts, of whole patients. Features are
those of an ImageNet backbone.
"""

import argparse
import csv
import pathlib
import subprocess

DIALS = {
    "covariate": "blur_sigma: 0.9, photons: 1600, gamma: 1.05",
    "label": "prevalence: 0.8",
    "concept": "reader_radius_min: 4",
}
STRONG = "blur_sigma: 1.1, photons: 1200, gamma: 1.15"
SETTINGS = ["none", "covariate", "label", "concept", "covariate+label",
            "covariate+concept", "label+concept", "covariate+label+concept"]


class Maker:
    def __init__(self, options):
        self.options = options

    def __call__(self, name, config, classes, size):
        out = self.options.out / f"{name}.npy"
        if out.exists():
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        path = out.with_suffix(".yaml")
        path.write_text(config)
        subprocess.run(
            [self.options.bin / "shift_pools", "--backbone",
             self.options.data / "backbones/mobilenet_v2.safetensors",
             "--data", path, "--classes", classes, "--image-size", str(size),
             "--out", out], check=True)
        print(name, flush=True)


def phantom(make):
    def pool(name, seed, dials, images=3000):
        keys = ", ".join([f"seed: {seed}", f"train: {images}, val: 1, test: 1",
                          "lesion_contrast: 0.5", *dials])
        make(f"phantom/{name}", f"kind: phantom\nphantom: {{{keys}}}\n",
             "negative,positive", 97)

    for i, name in enumerate(SETTINGS):
        pool(name, make.options.seed + i,
             [] if name == "none" else [DIALS[k] for k in name.split("+")],
             6000 if name == "none" else 3000)
    pool("covariate_strong", make.options.seed + 19, [STRONG])


def one_a_patient(rows):
    seen = set()
    return [row for row in rows
            if not (row["patient_id"] in seen or seen.add(row["patient_id"]))]


def radiographs(make):
    folder = make.options.data / "cxr_multisite"
    with open(folder / "labels.csv") as file:
        rows = list(csv.DictReader(file))

    def pool(name, chosen):
        manifest = (make.options.out / f"{name}.csv").resolve()
        manifest.parent.mkdir(parents=True, exist_ok=True)
        with open(manifest, "w", newline="") as file:
            writer = csv.DictWriter(
                file, ["path", "patient_id", "projection", "split"])
            writer.writeheader()
            for i, row in enumerate(chosen):
                writer.writerow({
                    "path": row["path"], "patient_id": row["patient_id"],
                    "projection": row["projection"], "split": "train"})
        make(name, f"kind: folder\npath: {manifest}\n"
             f"root: {folder.resolve()}\nlabel_column: projection\n"
             "patient_column: patient_id\nsplit_column: split\n",
             "PA,AP", 225)

    def of(*sites):
        return [row for row in rows if row["site"] in sites]

    pool("sites/hannover", one_a_patient(of("hannover_de")))
    pool("sites/spain_italy", one_a_patient(of("spain", "italy")))
    pool("sites/uk_australia", one_a_patient(of("united_kingdom", "australia")))
    pool("sites/other", one_a_patient(of("other")))

    hannover = of("hannover_de")
    pool("scanners/dx", [r for r in hannover if r["modality"] == "DX"])
    cr = [row for row in hannover if row["modality"] == "CR"]
    patients = sorted({row["patient_id"] for row in cr})
    for part in range(3):
        mine = set(patients[part::3])
        pool(f"scanners/cr_{part + 1}",
             [row for row in cr if row["patient_id"] in mine])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bin", "data", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=11,
                        help="of the first phantom pool; others count on")
    make = Maker(parser.parse_args())
    phantom(make)
    radiographs(make)


if __name__ == "__main__":
    main()
