#!/usr/bin/env python
"""Golden file for the tests: what an independent reference (PyTorch) makes of every bfloat16 in each FP8 format.

Run:    python test/golden/make_float8_golden.py
Needs:  torch 2.13.0 (CPU is enough; takes a second). Same version, same file.

Writes, next to this script, float8.json:

formats.<name>.codes     base64 of zlib of 65,536 bytes: the code of each bfloat16, by its bits, after clamping to the
                         largest value. Which code a NaN becomes differs between libraries: compare those as NaN.
formats.<name>.decoded   base64 of zlib of 256 float32, little-endian: the number that each code stands for
"""
import base64, json, zlib
from pathlib import Path

import torch

FORMATS = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e4m3fnuz": torch.float8_e4m3fnuz, "float8_e5m2": torch.float8_e5m2}


def packed(tensor):
    return base64.b64encode(zlib.compress(tensor.numpy().tobytes(), 9)).decode()


inputs = torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16).float()
formats = {}
for name, dtype in FORMATS.items():
    largest = torch.finfo(dtype).max
    codes = inputs.clamp(-largest, largest).to(dtype).view(torch.uint8)
    decoded = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(dtype).float()
    assert torch.equal(decoded[codes.long()].isnan(), inputs.isnan())
    formats[name] = {"codes": packed(codes), "decoded": packed(decoded)}

path = Path(__file__).resolve().parent / "float8.json"
path.write_text(json.dumps({"made_with": {"torch": torch.__version__.split("+")[0]}, "formats": formats}, indent=1) + "\n")
