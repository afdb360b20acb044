#!/usr/bin/env python3
"""Checkpoints of Python's torch through `fedgraft-trainer import`.

import_test.py FEDGRAFT_TRAINER

Every architecture in the forms in which people save it; the file that comes out
must hold torchvision's tensors, bit by bit where nothing is converted. A
checkpoint that runs code when Python loads it must be refused and run nothing.
Exit code 77 (skipped) without Python's torch and torchvision.
"""
import os
import subprocess
import sys
import tempfile

try:
    import torch
    import torchvision
except ImportError as error:
    print(f"skipped: {error}; install python3-torch and python3-torchvision")
    sys.exit(77)

sys.dont_write_bytecode = True  # not beside the sources
from parity_test import read_safetensors, write_safetensors

TRAINER = sys.argv[1]
FOLDER = tempfile.TemporaryDirectory()


def path(name):
    return os.path.join(FOLDER.name, name)


def run_import(architecture, source, *options):
    out = path("out.safetensors")
    if os.path.exists(out):
        os.remove(out)
    result = subprocess.run(
        [TRAINER, "import", "--architecture", architecture, "--in", source,
         "--out", out, *options], capture_output=True, text=True)
    text = result.stdout + result.stderr
    if result.returncode != 0:
        assert not os.path.exists(out), "a failed import left a file"
        return None, text
    return read_safetensors(out), text


def known_architectures():
    _, text = run_import("none", save("empty.pth", {"a": torch.zeros(1)}))
    return [name.strip() for name in text.split("known are")[1].split(",")]


def save(name, value, **options):
    torch.save(value, path(name), **options)
    return path(name)


def model_of(architecture, **options):
    torch.manual_seed(1)
    model = getattr(torchvision.models, architecture)(**options)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        else:
            buffer.fill_(3)
    return model.eval()


def expect_equal(found, expected):
    assert found is not None
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def first_convolution(model):
    return next(item for item in model.named_modules()
                if isinstance(item[1], torch.nn.Conv2d))


def check_forms(architecture):
    model = model_of(architecture, num_classes=5)
    state = model.state_dict()
    forms = {
        "plain": save("a.pth", state),
        "zip of protocol 4": save("b.pth", state, pickle_protocol=4),
        "before zip": save("c.pth", state,
                           _use_new_zipfile_serialization=False),
        "training state": save("d.pth", {"epoch": 3, "lr": 0.1,
                                         "state_dict": state}),
        "model": save("e.pth", {"model": dict(state), "best": None}),
        "parameters": save("f.pth", dict(model.named_parameters())
                           | dict(model.named_buffers())),
        "safetensors": path("g.safetensors"),
    }
    write_safetensors(forms["safetensors"], state)
    for form, source in forms.items():
        found, text = run_import(architecture, source)
        assert found is not None, (architecture, form, text)
        expect_equal(found, state)
    print(f"{architecture}: {', '.join(forms)}")


def check_views(architecture):
    """Transposed in memory, parts of one storage, and channels last."""
    state = model_of(architecture).state_dict()
    whole = torch.cat([value.flatten() for value in state.values()
                       if value.is_floating_point()])
    shared, at = {}, 0
    for name, value in state.items():
        if value.is_floating_point():
            shared[name] = whole[at:at + value.numel()].view(value.shape)
            at += value.numel()
        else:
            shared[name] = value
    expect_equal(run_import(architecture, save("s.pth", shared))[0], state)
    odd = {}
    for name, value in state.items():
        if value.dim() == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        elif value.dim() == 2:
            value = value.t().contiguous().t()
        odd[name] = value
    assert any(not value.is_contiguous() for value in odd.values())
    expect_equal(run_import(architecture, save("n.pth", odd))[0], state)


def check_types(architecture):
    state = model_of(architecture).state_dict()
    for dtype in [torch.float16, torch.bfloat16, torch.float64]:
        cast = {name: value.to(dtype) if value.is_floating_point() else value
                for name, value in state.items()}
        expected = {name: value.float() if value.is_floating_point() else value
                    for name, value in cast.items()}
        expect_equal(run_import(architecture, save("h.pth", cast))[0],
                     expected)


def check_prefix(architecture):
    model = torch.nn.DataParallel(model_of(architecture))
    source = save("p.pth", model.state_dict())
    found, text = run_import(architecture, source)
    assert found is None and "--strip-prefix module." in text, text
    found, text = run_import(architecture, source, "--strip-prefix", "module.")
    expect_equal(found, model.module.state_dict())


def check_grey(architecture):
    """One input channel: the same logits on grey images."""
    grey = model_of(architecture)
    name, convolution = first_convolution(grey)
    one = torch.nn.Conv2d(
        1, convolution.out_channels, convolution.kernel_size,
        convolution.stride, convolution.padding,
        bias=convolution.bias is not None)
    parent, _, last = name.rpartition(".")
    setattr(grey.get_submodule(parent), last, one)
    # Statistics of real activations, so that a signal gets through.
    for module in grey.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        grey.train()(torch.randn(8, 1, 96, 96))
    grey.eval()
    source = save("i.pth", grey.state_dict())
    found, text = run_import(architecture, source)
    assert found is None and "--input-channels 1" in text, text
    found, text = run_import(architecture, source, "--input-channels", "1")
    assert found is not None and "1 channel to 3" in text, text
    model = model_of(architecture)
    model.load_state_dict(found)
    image = torch.randn(2, 1, 96, 96)
    with torch.no_grad():
        expected, logits = grey(image), model(image.repeat(1, 3, 1, 1))
    # In terms of what tells the two images apart: a network whose outputs are
    # constant would prove nothing.
    signal = (expected[0] - expected[1]).abs().max()
    error = ((logits - expected).abs().max() / signal).item()
    assert error < 1e-3, (architecture, error)
    print(f"{architecture}: grey logits differ by {error:.1e} of the signal")


def check_head():
    model = model_of("resnet18", num_classes=3)
    state = model.state_dict()
    renamed = {name.replace("fc.", "last_linear."): value
               for name, value in state.items()}
    source = save("r.pth", renamed)
    found, text = run_import("resnet18", source)
    assert found is None and "--head-prefix last_linear" in text, text
    found, _ = run_import("resnet18", source, "--head-prefix", "last_linear")
    expect_equal(found, state)
    model.fc = torch.nn.Sequential(torch.nn.Linear(512, 8), torch.nn.ReLU(),
                                   torch.nn.Linear(8, 3))
    found, text = run_import("resnet18", save("t.pth", model.state_dict()))
    assert not any(name.startswith("fc.") for name in found)
    assert "dropped 4" in text, text


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def check_code():
    marker = path("marker")
    state = model_of("resnet18").state_dict()
    for options in [{}, {"pickle_protocol": 4},
                    {"_use_new_zipfile_serialization": False}]:
        source = save("x.pth", {"state_dict": state, "x": Attack(marker)},
                      **options)
        found, text = run_import("resnet18", source)
        assert found is None and "posix.system" in text, text
        assert not os.path.exists(marker), "the checkpoint ran code"
    # The test can fail: Python does run it.
    torch.load(source, weights_only=False)
    assert os.path.exists(marker)
    found, text = run_import("resnet18",
                             save("w.pth", torch.nn.Linear(2, 2)))
    assert found is None and "torch.nn.modules.linear.Linear" in text, text
    script = path("script.pt")
    torch.jit.script(torch.nn.Linear(2, 2)).save(script)
    found, text = run_import("resnet18", script)
    assert found is None and "TorchScript" in text, text


def main():
    architectures = known_architectures()
    assert "resnet18" in architectures
    for architecture in architectures:
        check_forms(architecture)
        check_views(architecture)
        check_types(architecture)
        check_prefix(architecture)
        check_grey(architecture)
    check_head()
    check_code()
    print("passed")


if __name__ == "__main__":
    main()
