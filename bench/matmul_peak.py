"""What a device reaches at best: the speed of a large bf16 matrix product on random data, median of several.

    matmul_peak.py [--device cuda:0] [--size 8192]

Prints one JSON object with FLOP/s and the versions of what measured them.
"""

import argparse
import json
import platform
import statistics
import time

import torch
import transformers


def seconds_of_product(a, b, out):
    if a.device.type != "cuda":
        start = time.perf_counter()
        torch.matmul(a, b, out=out)
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.matmul(a, b, out=out)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--size", type=int, default=8192)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise SystemExit(f"PyTorch {torch.__version__} finds no CUDA device")
        if (device.index or 0) >= torch.cuda.device_count():
            raise SystemExit(f"PyTorch finds {torch.cuda.device_count()} CUDA devices: there is no {options.device}")
        torch.cuda.set_device(device)
    size = options.size
    # Random data: on zeros a device draws less power and is faster than it ever is at work.
    a, b = (torch.randn(size, size, device=device, dtype=torch.float32).bfloat16() for _ in range(2))
    out = torch.empty_like(a)
    rounds = 30 if device.type == "cuda" else 5
    seconds = [seconds_of_product(a, b, out) for _ in range(rounds + 3)][3:]  # the first ones choose a kernel
    print(
        json.dumps(
            {
                "size": size,
                "rounds": rounds,
                "flops_per_second": 2 * size**3 / statistics.median(seconds),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "cuda": torch.version.cuda,
                "transformers": transformers.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
