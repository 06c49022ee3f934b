#!/usr/bin/env python
"""Golden file for the tests: the number that each of the 65,536 bit patterns of IEEE 754 binary16 stands for.

Run:    python test/golden/make_float16_golden.py
Needs:  numpy 2 (takes a second). The result is the same with every version: the format is a standard.

Writes, next to this script, float16.json:

decoded   base64 of zlib of 65,536 float32 by their bits as float16: first the lowest byte of each, then the next three in
          the same way (which is a tenth of the size)
"""
import base64, json, zlib
from pathlib import Path

import numpy

decoded = numpy.arange(65536, dtype=numpy.uint16).view(numpy.float16).astype("<f4")
assert decoded[0x3C00] == 1 and decoded[0x7BFF] == 65504 and decoded[1] == 2.0**-24
planes = numpy.ascontiguousarray(decoded.view(numpy.uint8).reshape(-1, 4).T)
packed = base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()

path = Path(__file__).resolve().parent / "float16.json"
path.write_text(json.dumps({"made_with": {"numpy": numpy.__version__}, "decoded": packed}, indent=1) + "\n")
