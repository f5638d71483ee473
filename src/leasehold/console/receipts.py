"""The receipt for people: to read, to print, and to keep as one file that holds the signed envelope as well.

What is shown is read out of the envelope and nothing else, so that the page and the evidence cannot differ. The page
does not verify itself: it says how to, with a key that never comes from it.
"""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.console.drawing import draw, draw_page, viewer_of
from leasehold.console.gantt import Timeline, timeline
from leasehold.console.leases import GrantLine, grant_lines
from leasehold.errors import VerificationError
from leasehold.ledger import dsse
from leasehold.ledger.checkpoint import Checkpoint
from leasehold.ledger.evidence import parse_evidence
from leasehold.ledger.reading import GrantTable, SummaryTold, read_summary
from leasehold.ledger.receipt import MAX_RECEIPT_BYTES
from leasehold.model import canonical
from leasehold.model.grant import grants_from_json
from leasehold.token.digest import sha256_digest

__all__ = ["ReceiptPage", "receipt_alone", "receipt_page", "receipt_routes"]


class ReceiptPage(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt as it is drawn. `envelope` is the whole signed document, as text."""

    summary: SummaryTold
    timeline: Timeline
    head: Checkpoint
    entries: int
    envelope: str
    digest: str

    @property
    def file_name(self) -> str:
        """Under which name the envelope is kept, without its ending."""
        return self.summary.run.run

    @property
    def data_url(self) -> str:
        """The envelope as an address that needs no server."""
        return f"data:application/json;base64,{base64.b64encode(self.envelope.encode()).decode()}"


def receipt_page(envelope: bytes) -> ReceiptPage:
    """What a receipt says, unverified.

    Raises:
        VerificationError: it is none of this version.
    """
    payload = dsse.parse(envelope, max_bytes=2 * MAX_RECEIPT_BYTES).payload
    statement = canonical.decode(payload, max_bytes=MAX_RECEIPT_BYTES)
    match statement:
        case {"predicate": dict(predicate)}:
            evidence = parse_evidence(predicate.get("ledger"))
        case _:
            raise VerificationError("this envelope holds no receipt")
    entries = evidence.entries
    return ReceiptPage(
        summary=read_summary(predicate),
        timeline=timeline(entries, max(entry.time_ms for entry in entries)),
        head=evidence.head,
        entries=len(entries),
        envelope=envelope.decode(),
        digest=sha256_digest(payload),
    )


def receipt_alone(page: ReceiptPage) -> str:
    """The receipt as one HTML file that needs nothing else: style and evidence inside, no script."""
    return draw("receipt_alone.html", {"page": page, "style": _style(), "grants": _grants})


@cache
def _style() -> str:
    """The console's style sheet as an address, so that it stands in a page without being part of its markup."""
    text = files("leasehold.console").joinpath("static/console.css").read_bytes()
    return f"data:text/css;base64,{base64.b64encode(text).decode()}"


def _grants(table: GrantTable) -> tuple[GrantLine, ...]:
    return grant_lines(grants_from_json(table))


def receipt(request: Request) -> Response:
    """The receipt of a run as of now."""
    page = receipt_page(viewer_of(request).receipt(request.path_params["run_id"]))
    return draw_page(request, "receipt.html", here="runs", page=page, grants=_grants)


def receipt_file(request: Request) -> Response:
    """The receipt as a file to keep."""
    page = receipt_page(viewer_of(request).receipt(request.path_params["run_id"]))
    return _attached(receipt_alone(page), "text/html; charset=utf-8", f"{page.file_name}.html")


def envelope_file(request: Request) -> Response:
    """The signed envelope, as `leasehold receipt verify` reads it."""
    page = receipt_page(viewer_of(request).receipt(request.path_params["run_id"]))
    return _attached(page.envelope + "\n", "application/json", f"{page.file_name}.intoto.jsonl")


def _attached(text: str, media_type: str, name: str) -> Response:
    return Response(text, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def receipt_routes() -> list[BaseRoute]:
    """The pages of receipts."""
    return [
        Route("/runs/{run_id}/receipt", receipt),
        Route("/runs/{run_id}/receipt.html", receipt_file),
        Route("/runs/{run_id}/receipt.intoto.jsonl", envelope_file),
    ]
