#!/usr/bin/env python3
"""Secure aggregation on BreastMNIST: what it changes, and what dead sites do.

Five sites (real daemons, t = 4) train the exact head, and the last two blocks of
MobileNetV2 by FedAdam: without masks, with them, with a site that is killed in
every step in turn and started again, and with a site that is killed in one step
and stays away. Each model is compared with that of the run without masks over
the same sites. Prints a table; needs a build (deploy/build.sh).

  masked.py [--out DIR] [--method head|partial]

Data: FEDGRAFT_DATA (default ../shared/data beside the repository). Programs:
FEDGRAFT_BUILD_DIR/bin (default build/release/bin).
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = pathlib.Path(os.environ.get("FEDGRAFT_DATA", ROOT / "../shared/data"))
BIN = pathlib.Path(
    os.environ.get("FEDGRAFT_BUILD_DIR", ROOT / "build/release")) / "bin"
BACKBONE = (DATA / "backbones/mobilenet_v2.safetensors").resolve()
IMAGES = (DATA / "medmnist/breastmnist.npz").resolve()

SITES = 5
VICTIM = 2
STEPS = ["advertise", "share", "mask", "agree", "unmask"]
METHODS = {
    "head": ("exact head", "solve", """
rounds: 0
strategy: {kind: linear_probe}
solver: {kind: newton, lambdas: [300, 100, 30]}
"""),
    "partial": ("partial, FedAdam", "train", """
rounds: 8
strategy: {kind: partial, unfreeze: ["features.17.*", "features.18.*"]}
local: {epochs: 1, optimizer: {kind: sgd, learning_rate: 0.003, momentum: 0.9}}
rule: {kind: fed_adam, server_learning_rate: 0.003}
"""),
}


def command(name, *arguments):
    done = subprocess.run([str(BIN / f"fedgraft-{name}"), *map(str, arguments)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{name} {arguments}: {done.stderr}")
    return done.stdout


def wait_for(condition, what, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds} s for {what}")
        time.sleep(0.001)


def tensors(path):
    content = path.read_bytes()
    size, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + size])
    header.pop("__metadata__", None)
    kinds = {"F32": numpy.float32, "I64": numpy.int64}
    return {name: numpy.frombuffer(
        content[8 + size:][slice(*entry["data_offsets"])], kinds[entry["dtype"]])
        for name, entry in header.items()}


def difference(a, b):
    return max(float(numpy.max(numpy.abs(a[name] - b[name]), initial=0))
               for name in a)


class Federation:
    """Certificates and pinned rosters; one run after the other."""

    def __init__(self, out):
        self.out = out
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        command("aggregator", "pki", "init", "--dir", out / "pki",
                "--federation", "masked", "--name", "localhost")
        for i in range(SITES):
            identity = self.site(i) / "identity"
            self.site(i).mkdir()
            command("client", "enroll", "--identity", identity,
                    "--federation", "masked", "--site", f"hospital-{i}")
            command("aggregator", "pki", "approve", "--dir", out / "pki",
                    "--site", f"hospital-{i}", "--csr", identity / "site.csr",
                    "--out", out / "site.crt")
            command("client", "enroll", "--identity", identity,
                    "--certificate", out / "site.crt",
                    "--ca", out / "pki/ca.pem")
        roster = out / "pki/roster.json"
        for i in range(SITES):
            show = subprocess.run(
                [BIN / "fedgraft-client", "enroll", "--identity",
                 self.site(i) / "identity", "--roster", roster],
                capture_output=True, text=True)
            words = (show.stdout + show.stderr).split()
            digest = next(word.strip(".,'\"") for word in words
                          if len(word.strip(".,'\"")) == 64)
            command("client", "enroll", "--identity",
                    self.site(i) / "identity", "--roster", roster,
                    "--confirm", digest)
        key = out / "key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        (out / "aggregator.yaml").write_text(
            "federation: masked\nlisten: 127.0.0.1:0\n"
            "admin_listen: 127.0.0.1:0\nstate_dir: aggregator\npki_dir: pki\n"
            "wrapping_key_file: key\n")

    def site(self, i):
        return self.out / f"hospital-{i}"

    def start_site(self, i):
        self.processes[i] = self.start(
            "client", "run", "--config", self.site(i) / "client.yaml",
            log=self.site(i) / "log")

    def start(self, name, *arguments, log):
        with open(log, "ab") as sink:
            return subprocess.Popen(
                [str(BIN / f"fedgraft-{name}"), *map(str, arguments)],
                stdout=sink, stderr=sink)

    def audit(self, i):
        path = self.site(i) / "state/audit.log"
        lines = path.read_text().splitlines() if path.exists() else []
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                pass  # being written
        return entries

    def has_said(self, kind, rounds, step):
        if step == "mask":  # its upload begins
            return any(e["event"] == "update" and e["detail"] == kind and
                       int(e["round"]) == rounds for e in self.audit(VICTIM))
        return any(e["event"] == "secure_step" and int(e["round"]) == rounds and
                   e["detail"].startswith(f"{kind}, {step},")
                   for e in self.audit(VICTIM))

    def trainers(self, i):
        parent = self.processes[i].pid
        tasks = pathlib.Path(f"/proc/{parent}/task")
        return [int(pid) for task in tasks.iterdir()
                for pid in (task / "children").read_text().split()]

    def kill_victim(self):
        trainers = self.trainers(VICTIM)
        self.processes[VICTIM].kill()
        self.processes[VICTIM].wait()
        for pid in trainers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill_for_good(self, kind, rounds, step):
        if step in ("share", "mask"):  # so that its update is not there first
            wait_for(lambda: self.has_said(kind, rounds, "advertise"), step)
            for pid in self.trainers(VICTIM):
                os.kill(pid, signal.SIGSTOP)
        if step == "mask":
            log = self.out / "aggregator.log"
            wait_for(lambda: f"round {rounds}: secure aggregation, attempt 1: "
                             "mask" in log.read_text(), step)
        else:
            wait_for(lambda: self.has_said(kind, rounds, step), step)
        self.kill_victim()

    def kill_and_restart(self, kind):
        for rounds, step in enumerate(STEPS, start=1):
            wait_for(lambda: self.has_said(kind, rounds, step), step)
            self.kill_victim()
            self.start_site(VICTIM)

    def run(self, method, masked, absent=False, kill=None):
        """The report, the model and the victim's last round of `kind`."""
        _, kind, text = METHODS[method]
        shutil.rmtree(self.out / "aggregator", ignore_errors=True)
        (self.out / "aggregator.log").unlink(missing_ok=True)
        patient = kill == "restart" or not kill
        (self.out / "plan.yaml").write_text(f"""
version: 1
name: masked
seed: 1
sites: {{quorum: {SITES - 1}, expected: {SITES}}}
deadlines: {{round: 30m, progress: {"5m" if patient else "8s"}, enrol: {"10s" if absent else "5m"}}}
task: {{classes: [malignant, benign]}}
backbone: {{architecture: mobilenet_v2, sha256: {hashlib.sha256(BACKBONE.read_bytes()).hexdigest()}}}
preprocessing: {{size: 128, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
evaluation: {{every: 0, final_split: test}}
privacy: {{secure_aggregation: {{mode: "{"on" if masked else "off"}"}}}}
""" + text)
        aggregator = self.start(
            "aggregator", "serve", "--config", self.out / "aggregator.yaml",
            log=self.out / "aggregator.log")
        listening = self.out / "aggregator/listening"
        wait_for(lambda: listening.exists() and listening.read_text(),
                 "the aggregator")
        address = listening.read_text().split()[1]
        self.processes = {}
        for i in range(SITES):
            state = self.site(i) / "state"
            # Activations are kept; they are the same in all runs.
            for path in state.iterdir() if state.exists() else []:
                if not path.name.startswith("features"):
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
            (self.site(i) / "client.yaml").write_text(
                f"aggregator: {address}\nidentity_dir: identity\n"
                "state_dir: state\ncompute: {threads: 1}\n"
                "policy: {cohort_min: 3, secure_aggregation: optional}\n"
                f"data: {{kind: npz, path: {IMAGES}, shard_index: {i}, "
                f"shard_count: {SITES}}}\n")
            if not (absent and i == VICTIM):
                self.start_site(i)
        config = ["--config", self.out / "aggregator.yaml"]
        begin = time.monotonic()
        command("aggregator", "run", "start", *config, "--backbone", BACKBONE,
                self.out / "plan.yaml")
        if kill == "restart":
            self.kill_and_restart(kind)
        elif kill:
            step, rounds = kill
            self.kill_for_good(kind, rounds, step)
        command("aggregator", "watch", *config, "--until-finished")
        seconds = time.monotonic() - begin
        report = json.loads(command("aggregator", "report", *config, "--json"))
        model = self.out / "final.safetensors"
        command("aggregator", "export", *config, "--backbone", BACKBONE,
                "--out", model)
        rounds = [int(e["round"]) for e in self.audit(VICTIM)
                  if e["event"] == "update" and e["detail"] == kind]
        for process in [*self.processes.values(), aggregator]:
            process.kill()
            process.wait()
        return {"report": report, "model": tensors(model), "seconds": seconds,
                "last": max(rounds, default=0)}


def compare(federation, method):
    name = METHODS[method][0]
    plain = federation.run(method, masked=False)
    others = federation.run(method, masked=False, absent=True)

    def row(what, run, reference, sites):
        auc, expected = (r["report"]["pooled"]["auc"] for r in (run, reference))
        print(f"| {name} | {what} | {sites} | "
              f"{difference(run['model'], reference['model']):.3g} | "
              f"{auc:.4f} | {abs(auc - expected):.4f} | {run['seconds']:.1f} |",
              flush=True)

    row("without masks", plain, plain, SITES)
    row("without masks, one site absent", others, others, SITES - 1)
    row("masks", federation.run(method, masked=True), plain, SITES)
    row("masks, a site killed and started again in each step",
        federation.run(method, masked=True, kill="restart"), plain, SITES)
    for step in STEPS:
        late = step in ("agree", "unmask")
        run = federation.run(method, masked=True,
                             kill=(step, plain["last"] if late else 1))
        row(f"masks, a site killed in {step} of the "
            f"{'last' if late else 'first'} sum", run,
            plain if late else others, SITES if late else SITES - 1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path,
                        default=ROOT / "demo-out/masked")
    parser.add_argument("--method", choices=list(METHODS))
    options = parser.parse_args()
    federation = Federation(options.out)
    print("| method | run | sites in the sum | largest difference of a "
          "parameter | test AUC | difference | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for method in [options.method] if options.method else METHODS:
        compare(federation, method)


if __name__ == "__main__":
    main()
