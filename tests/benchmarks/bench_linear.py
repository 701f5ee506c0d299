"""Products of 8 and 4 bits beside torch's, on one thread, with every weight read from memory."""

from __future__ import annotations


def main(rounds: int = 200) -> None:
    """Print a line for each shape, number of rows and way."""
    import torch

    from llmkit.linear.benchmark import compare, read_bandwidth
    from llmkit.linear.registry import find

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        limit = read_bandwidth()
        print(f"\nproducts, bfloat16, one thread; memory is read at {limit / 1e9:.1f} GB/s")
        for one in compare([find("cpu")], rounds=rounds):
            if one.seconds is None or one.bandwidth is None:
                print(f"  {one.way}: {one.note}")
                continue
            size = f"{one.inputs}x{one.outputs}, {one.rows} rows"
            print(
                f"  {size:<22}{one.way:<26}{one.seconds * 1e6:>9.0f} us  x{one.times:<6.2f}"
                f"{one.bandwidth / 1e9:>6.1f} GB/s, {one.bandwidth / limit:>4.0%} of the limit",
                flush=True,
            )
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    main()
