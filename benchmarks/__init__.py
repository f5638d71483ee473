"""What the guarantees cost: programs that measure, side by side in one run, and print ratios. Run by `make bench`.

Nothing here is part of the package, and no test asserts a time. Absolute numbers belong to one machine and one moment;
only the ratios inside one table may be compared (see `docs/performance.md`).
"""
