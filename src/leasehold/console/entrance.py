"""The pages around the console: the sign-in form, a person's own page, what went wrong. Drawn for `leasehold.http`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from leasehold.console.drawing import draw, draw_page
from leasehold.http.account import AccountView
from leasehold.http.problems import Problem, request_id_of
from leasehold.http.sign_in import SignInForm

__all__ = ["account_page", "problem_page", "sign_in_page"]


def sign_in_page(request: Request, form: SignInForm) -> Response:  # noqa: ARG001 - every page takes both
    """The form by which people sign in."""
    return HTMLResponse(draw("sign_in.html", {"form": form}), status_code=form.status)


def account_page(request: Request, view: AccountView) -> Response:
    """By what a person signs in."""
    return draw_page(request, "account.html", here="account", status=view.status, view=view)


def problem_page(request: Request, problem: Problem) -> Response:
    """What went wrong and what to do next."""
    values = {"problem": problem, "number": request_id_of(request)}
    return HTMLResponse(draw("problem.html", values), status_code=problem.status, headers=dict(problem.headers))
