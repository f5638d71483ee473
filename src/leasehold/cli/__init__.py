"""The `leasehold` command: rendering and arguments only. Every rule it obeys stands in `decide` and `policy`.

Importing this package costs next to nothing; commands are loaded when they are used.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit with its documented code."""
    from leasehold.cli.program import run_program

    run_program()
