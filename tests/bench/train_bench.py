#!/usr/bin/python3
"""Local training against the usual Python loops on the same LibTorch.

train_bench.py <train_bench binary> [threads [rounds]]

Our runs and Python's take turns, so that both see the same machine; medians are
compared. Every Python loop runs in a process of its own, as ours does.
"""
import statistics
import subprocess
import sys
import tempfile
import time

CLASSES = 2
SIZE = 128
PROBE_IMAGES = 256
BATCH = 32


def loop(step, batches):
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    return time.perf_counter() - start


def optimizer(parameters):
    import torch
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9,
                           weight_decay=1e-4)


def shuffled(images):
    import torch
    return torch.randperm(images).split(BATCH)


def python_task(task, repetitions, images, threads):
    """Prints seconds per repetition, as train_bench does."""
    import torch
    import torchvision
    from torch.nn.functional import cross_entropy
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    labels = torch.arange(images) % CLASSES
    if task == "full_step":
        model = torchvision.models.resnet18(num_classes=CLASSES).train()
        inputs = torch.randn(images, 3, SIZE, SIZE)
        sgd = optimizer(model.parameters())
    elif task == "head_on_features":
        model = torch.nn.Linear(1280, CLASSES)
        inputs = torch.randn(images, 1280)
        sgd = optimizer(model.parameters())
    else:  # the usual loop: frozen by requires_grad, all layers run
        model = torchvision.models.mobilenet_v2(num_classes=CLASSES).eval()
        inputs = torch.randn(images, 3, SIZE, SIZE)
        trained = (["classifier."] if task == "probe_backbone" else
                   ["classifier.", "features.18."])
        for name, parameter in model.named_parameters():
            parameter.requires_grad = any(map(name.startswith, trained))
        sgd = optimizer([p for p in model.parameters() if p.requires_grad])

    def step(batch):
        sgd.zero_grad()
        loss = cross_entropy(model(inputs[batch]), labels[batch])
        loss.item()
        loss.backward()
        sgd.step()

    for i in range(repetitions + 1):
        seconds = loop(step, [torch.arange(images)] if task == "full_step" else
                       shuffled(images))
        if i > 0:
            print(f"{seconds:.9f}", flush=True)


def seconds(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) for line in out.stdout.split()]


def main():
    if len(sys.argv) == 6:  # a process for one Python loop
        return python_task(sys.argv[1], *map(int, sys.argv[2:5]))
    program = sys.argv[1]
    threads = sys.argv[2] if len(sys.argv) > 2 else "2"
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    samples = {}
    # task of ours, task in Python, repetitions, images
    tasks = [("full_step", "full_step", 5, 16),
             ("probe_backbone", "probe_backbone", 1, PROBE_IMAGES),
             ("probe_warm", "head_on_features", 100, PROBE_IMAGES),
             ("partial_backbone", "partial_backbone", 1, PROBE_IMAGES),
             ("partial_warm", None, 3, PROBE_IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for ours, theirs, repetitions, images in tasks:
                sizes = [str(repetitions), str(images), threads]
                samples.setdefault(ours, []).extend(
                    seconds([program, ours, *sizes, folder]))
                if theirs is not None:
                    samples.setdefault("python " + theirs, []).extend(
                        seconds([sys.executable, __file__, theirs, *sizes,
                                 "python"]))
    median = {name: statistics.median(values)
              for name, values in samples.items()}
    for name, value in median.items():
        print(f"{name:28} {value * 1000:10.3f} ms  (median of "
              f"{len(samples[name])})")

    def ratio(text, above, below, target):
        print(f"{text:62} {median[above] / median[below]:9.2f}  {target}")

    ratio("full step, ours / Python", "full_step", "python full_step",
          "<= 1.0")
    ratio("probe epoch, ours through the backbone / warm", "probe_backbone",
          "probe_warm", ">= 30")
    ratio("probe epoch, Python through the backbone / ours warm",
          "python probe_backbone", "probe_warm", ">= 30")
    ratio("probe epoch, ours warm / Python on precomputed features",
          "probe_warm", "python head_on_features", "<= 1.0")
    ratio("last block, ours through the backbone / warm", "partial_backbone",
          "partial_warm", ">= 3")
    ratio("last block, Python through the backbone / ours warm",
          "python partial_backbone", "partial_warm", ">= 3")


if __name__ == "__main__":
    main()
