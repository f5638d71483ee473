"""Where the pages of the console stand. Called by templates and handlers; addresses are quoted here, nowhere else."""

from __future__ import annotations

from urllib.parse import quote, urlencode

__all__ = ["link"]


def link(path: str, *parts: str, **conditions: str | int) -> str:
    """A path below the console's root, with parts of it and conditions quoted; empty conditions are left out.

    `link("runs", run_id)`, `link("ledger", agent="release-bot")`.
    """
    place = "/".join(["", path, *(quote(part, safe=":") for part in parts)]).replace("//", "/")
    query = urlencode([(name.rstrip("_"), value) for name, value in conditions.items() if value not in ("", None)])
    return f"{place}?{query}" if query else place
