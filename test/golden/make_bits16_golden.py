#!/usr/bin/env python
"""Golden codes of the 16-bit formats of a KV cache: what PyTorch makes of float32 numbers, and of every code.

Run:    python test/golden/make_bits16_golden.py
Needs:  torch 2.13.0 (CPU). The same version gives the same file.

Writes bits16.json next to this script. Per format:

codes       of the float32 numbers whose bits `numbers` below makes, rounded to nearest even: uint16, deflated, base64
decoded     SHA-256 of the 65,536 numbers that codes stand for, as float32 (little endian), every NaN as 0x7FC00000
"""
import base64
import hashlib
import json
import zlib
from pathlib import Path

import torch

COUNT = 4096
FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def numbers():
    """Signs and mantissas all over, exponents around those of float16; two of four halfway between two codes."""
    bits = []
    for index in range(COUNT):
        random = (index * 2654435761) % 2**32
        mantissa = random & 0x7FFFFF
        if index % 4 == 1:
            mantissa = mantissa & 0x7FE000 | 0x1000
        if index % 4 == 3:
            mantissa = mantissa & 0x7F0000 | 0x8000
        exponent = 98 + (random >> 23) % 50
        bits.append((random & 0x80000000) | exponent << 23 | mantissa)
    return torch.tensor(bits, dtype=torch.int64).to(torch.uint32).view(torch.float32)


def golden(dtype):
    codes = numbers().to(dtype).view(torch.uint16).numpy().astype("<u2").tobytes()
    decoded = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(dtype).float()
    decoded[decoded.isnan()] = float("nan")
    canonical = decoded.view(torch.int32)
    canonical[decoded.isnan()] = 0x7FC00000
    return {"codes": base64.b64encode(zlib.compress(codes, 9)).decode(),
            "decoded": hashlib.sha256(canonical.numpy().astype("<i4").tobytes()).hexdigest()}


if __name__ == "__main__":
    formats = {name: golden(dtype) for name, dtype in FORMATS.items()}
    path = Path(__file__).resolve().parent / "bits16.json"
    path.write_text(json.dumps({"formats": formats}, indent=1) + "\n")
