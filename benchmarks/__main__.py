"""`python -m benchmarks [names] [--quick]`: run the benchmarks and print their tables on stdout, progress on stderr."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import admit, delegation, http, leases, ledger, postgres, scale, verify
from benchmarks.report import Table, machine_facts, render

PROGRAMS: dict[str, Callable[..., Table]] = {
    "verify": verify.run,
    "admit": admit.run,
    "postgres": postgres.run,
    "leases": leases.run,
    "ledger": ledger.run,
    "delegation": delegation.run,
    "scale": scale.run,
    "http": http.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was named, or all of them, in scratch folders that are removed afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What the guarantees cost, as ratios.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which of {', '.join(PROGRAMS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--folder", type=Path, help="where the scratch databases are made: the disk that is measured")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.names) - PROGRAMS.keys()):
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    logging.getLogger("leasehold").setLevel(logging.ERROR)
    print(f"{machine_facts()}{' (quick: the numbers mean nothing)' if given.quick else ''}\n")
    for name in given.names or PROGRAMS:
        with tempfile.TemporaryDirectory(prefix="leasehold-bench-", dir=given.folder) as folder:
            print(render(PROGRAMS[name](Path(folder), quick=given.quick)), flush=True)


if __name__ == "__main__":
    main()
