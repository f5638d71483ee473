"""How the templates are written: nothing marks a text as safe, nothing styles or runs from within the markup."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from leasehold.console.drawing import draw, environment

CONSOLE = files("leasehold.console")
TEMPLATES = {name: CONSOLE.joinpath(f"templates/{name}").read_text("utf-8") for name in environment().list_templates()}
SCRIPT = CONSOLE.joinpath("static/console.js").read_text("utf-8")


@pytest.mark.case(83, 113)
@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_no_template_marks_text_as_safe_or_carries_style_or_script(name: str) -> None:
    text = TEMPLATES[name]
    for pattern in (
        r"\|\s*safe",
        r"autoescape",
        r"Markup",
        r"\son[a-z]+\s*=",
        r"\sstyle\s*=",
        r"<style",
        r"javascript:",
    ):
        assert not re.search(pattern, text, re.IGNORECASE), pattern
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert not re.search(r"=\{\{", text), "an attribute without quotes"


@pytest.mark.parametrize("name", ["drawing.py", "told.py", "links.py"])
def test_no_python_file_makes_markup(name: str) -> None:
    assert "Markup(" not in CONSOLE.joinpath(name).read_text("utf-8")


def test_script_makes_markup_in_one_place_only() -> None:
    assert SCRIPT.count("createPolicy(") == 1
    assert SCRIPT.count("createHTML(") == 1
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "srcdoc",
        "import(",
    ):
        assert word not in SCRIPT


def test_every_text_is_made_plain_before_it_is_escaped() -> None:
    drawn = environment().from_string("{{ text }}").render(text="<b>\u202e&\u0000")
    assert drawn == "&lt;b&gt;&lt;U+202E&gt;&amp;&lt;U+0000&gt;"


def test_name_that_a_template_does_not_get_is_an_error() -> None:
    with pytest.raises(Exception, match="undefined"):
        draw("inbox.html", {})


def test_style_sheet_and_script_fetch_nothing_from_elsewhere() -> None:
    style = CONSOLE.joinpath("static/console.css").read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in style
    assert "http" not in SCRIPT
