#!/usr/bin/env python3
"""Our networks against torchvision's: same state_dict, logits and gradients.

parity_test.py PARITY_DUMP

For every architecture: a seeded torchvision state (BatchNorm statistics
included) and, where FEDGRAFT_DATA has them, real weights. Our program loads
the state and writes back its own state_dict, which torchvision must load
strictly and which must be equal, and logits that agree to 1e-4. Both then take
one step of SGD in training mode (torchvision's dropout off: we have none), after
which logits, parameters and BatchNorm statistics agree to 1e-4.
Exit code 77 (skipped) without Python's torch and torchvision.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import torch
    import torchvision
except ImportError as error:
    print(f"skipped: {error}; install python3-torch and python3-torchvision")
    sys.exit(77)

TOLERANCE = 1e-4
LEARNING_RATE, MOMENTUM = 0.01, 0.9  # parity_dump's
REAL = {"squeezenet1_1": "squeezenet1_1.safetensors",
        "mobilenet_v2": "mobilenet_v2.safetensors"}
ARCHITECTURES = ["resnet18", "resnet34", "resnet50", "mobilenet_v2",
                 "densenet121", "squeezenet1_1"]
TYPES = {"F32": torch.float32, "I64": torch.int64}


def read_safetensors(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype = TYPES[entry["dtype"]]
        flat = (torch.frombuffer(data[begin:end], dtype=dtype)
                if end > begin else torch.empty(0, dtype=dtype))
        tensors[name] = flat.clone().reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    names = {dtype: name for name, dtype in TYPES.items()}
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        blob = tensor.numpy().tobytes()
        header[name] = {"dtype": names[tensor.dtype],
                        "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def seeded_model(architecture, classes):
    torch.manual_seed(len(architecture))
    model = getattr(torchvision.models, architecture)(num_classes=classes)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        else:
            buffer.fill_(3)
    return model.eval()


def step(model, images, labels):
    """One step in training mode; returns the logits afterwards."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE,
                                momentum=MOMENTUM)
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        return model(images)


def part(result, prefix):
    return {name[len(prefix):]: value for name, value in result.items()
            if name.startswith(prefix)}


def check(program, folder, label, architecture, model):
    generator = torch.Generator().manual_seed(7)
    # An odd size shows differences in padding and ceil_mode.
    images = torch.randn(4, 3, 97, 130, generator=generator)
    labels = torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        expected = model(images)
    paths = [os.path.join(folder, name) for name in ("state", "input", "out")]
    write_safetensors(paths[0], model.state_dict())
    write_safetensors(paths[1], {"input": images, "labels": labels.float()})
    subprocess.run([program, architecture] + paths, check=True)
    result = read_safetensors(paths[2])
    ours = part(result, "state.")
    fresh = getattr(torchvision.models, architecture)(
        num_classes=expected.shape[1])
    fresh.load_state_dict(ours, strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    difference = (result["logits"] - expected).abs().max().item()
    stepped = step(model, images, labels)
    after = (result["stepped_logits"] - stepped).abs().max().item()
    moved = (stepped - expected).abs().max().item()
    ours_after = part(result, "stepped.")
    values = max((ours_after[name].double() - value.double()).abs().max().item()
                 for name, value in model.state_dict().items())
    print(f"{label}: {len(ours)} tensors, largest difference {difference:.2e}"
          f" (logits up to {expected.abs().max().item():.2f}); after a step"
          f" {after:.2e} (which moved them by {moved:.2f}), tensors"
          f" {values:.2e}")
    assert difference <= TOLERANCE, label
    assert after <= TOLERANCE, label
    assert values <= TOLERANCE, label
    assert moved > 10 * TOLERANCE, label


def main():
    program = sys.argv[1]
    source = os.environ.get("FEDGRAFT_SOURCE_DIR", ".")
    data = os.environ.get("FEDGRAFT_DATA",
                          os.path.join(source, "..", "shared", "data"))
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            check(program, folder, f"{architecture} (seeded)", architecture,
                  seeded_model(architecture, 7))
        for architecture, name in REAL.items():
            path = os.path.join(data, "backbones", name)
            if not os.path.exists(path):
                print(f"{architecture}: no {path}, real weights not compared")
                continue
            model = getattr(torchvision.models, architecture)()
            model.load_state_dict(read_safetensors(path), strict=True)
            check(program, folder, f"{architecture} (ImageNet)", architecture,
                  model.eval())


if __name__ == "__main__":
    main()
