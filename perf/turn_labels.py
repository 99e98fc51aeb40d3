"""Turn labels of a share of the pairs in a file of Pick-a-Pic's columns, such as `selfportrait pairs export` writes.

    python perf/turn_labels.py pairs.parquet turned.parquet [--share 0.4] [--seed 0]

Pairs whose whole says the opposite of their parts, as many as one likes: what instance-level weights are for.
"""

import argparse
import random

import pyarrow as pa
import pyarrow.parquet as pq

LABELS = ("label_0", "label_1")


def main() -> None:
    """Read, turn and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table, chance = pq.read_table(arguments.source), random.Random(arguments.seed)
    turned = [chance.random() < arguments.share for _ in range(table.num_rows)]
    for name in LABELS:
        place = table.schema.get_field_index(name)
        values = [1 - value if turn else value for value, turn in zip(table[name].to_pylist(), turned, strict=True)]
        table = table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    pq.write_table(table, arguments.target, row_group_size=64)
    print(f"turned {sum(turned)} of {table.num_rows} pairs in {arguments.target}")


if __name__ == "__main__":
    main()
