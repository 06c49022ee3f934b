"""Small data sets in Parquet, as pyarrow writes them: test/golden/parquet/.

pip install pyarrow && python test/golden/make_parquet_golden.py
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "parquet"
FOLDER.mkdir(exist_ok=True)

TEXTS = [f"Row {i}: naïve 😀 text" for i in range(5)] + ["", None]
for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
    # Integers, dates and bytes beside the text, several row groups and dictionaries.
    table = pa.table(
        {
            "id": pa.array(range(len(TEXTS)), pa.int64()),
            "text": TEXTS,
            "bytes": pa.array([b"\xff"] * len(TEXTS), pa.binary()),
        }
    )
    pq.write_table(table, FOLDER / f"{codec}.parquet", compression=codec, row_group_size=3)

call = pa.struct([("name", pa.string()), ("arguments", pa.string())])
message = pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(pa.struct([("function", call)])))])
rows = [
    [{"role": "user", "content": "Rain?", "tool_calls": None}, {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weather", "arguments": "{}"}}]}],
    [{"role": "user", "content": "Hi", "tool_calls": None}, {"role": "assistant", "content": "Hello", "tool_calls": []}],
]
table = pa.table(
    {
        "n": [1, 2],
        "messages": pa.array(rows, pa.list_(message)),
        "tools": ['[{"type": "function"}]', None],
        "at": pa.array([0, 1], pa.timestamp("ms")),
    }
)
pq.write_table(table, FOLDER / "messages.parquet", compression="snappy")
