"""The documents say what the code does: public names, life-cycle diagrams, README examples and its length."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec
import pytest

import leasehold
import lifecycle_diagrams
import threats_page
from leasehold.cli.program import program
from leasehold.model.notice import ChannelKind, NoticeEvent
from leasehold.policy.cases import run_tests
from leasehold.policy.document import (
    ActionRule,
    Breaker,
    Defaults,
    Delegation,
    Freeze,
    Hours,
    Policy,
    PolicyTest,
    Rate,
    RolePowers,
    RouteTerms,
)
from leasehold.policy.load import Source, load_policy

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
PROSE = [page for page in PAGES if page != "docs/cli.md"]


def test_the_reference_lists_exactly_the_public_names() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(leasehold.__all__)


@pytest.mark.parametrize("name", leasehold.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(leasehold, name).__doc__


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        leasehold.no_such_name  # noqa: B018 - asking for it is the test
    assert set(leasehold.__all__) == set(dir(leasehold))


def test_the_life_cycle_diagrams_are_drawn_from_the_tables() -> None:
    assert (ROOT / "docs/lifecycles.md").read_text() == lifecycle_diagrams.page()


def test_the_page_of_threat_cases_is_drawn_from_the_list() -> None:
    assert (ROOT / "docs/threats.md").read_text() == threats_page.page()


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 140


@pytest.mark.parametrize("page", PAGES)
def test_an_example_that_a_page_shows_stands_in_the_file_that_is_run(page: str) -> None:
    for path, text in re.findall(r"<!-- (examples/\S+) -->\n```\w+\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        assert text in (ROOT / path).read_text(), path


def test_the_pages_that_teach_show_examples() -> None:
    shown = {page: len(re.findall("<!-- examples/", (ROOT / page).read_text())) for page in PAGES}
    expected = {"README.md": 1, "docs/approvals.md": 2, "docs/http-services.md": 1, "docs/tools.md": 4}
    assert {page: number for page, number in shown.items() if page in expected} == expected


def test_the_page_of_the_policy_names_every_key_and_shows_policies_that_load() -> None:
    page = (ROOT / "docs/policy.md").read_text()
    shown = re.findall(r"<!-- policy -->\n```toml\n(.*?)```", page, re.DOTALL)
    text = "\n".join(
        ['version = 1\nauthority = "acme"\n[people]\n"user:ben" = ["owner"]\n"user:eva" = ["owner"]', *shown]
    )
    assert load_policy([Source("policy.md", text)]).routes["crm/cleanup"].delegation.children == 2
    prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", prose))))
    keys = {
        *_keys_of(Policy, ActionRule, Defaults, Delegation, Breaker, Rate, RolePowers, PolicyTest, Hours, Freeze),
        *_keys_of(RouteTerms),
    }
    assert keys - named - {"name", "agent"} == set()


def _keys_of(*types: type[msgspec.Struct]) -> set[str]:
    """The keys of the policy file that the fields of its parts are read from."""
    written = {
        "accept": "policy",
        "from_minute": "from",
        "to_minute": "to",
        "from_seconds": "from",
        "until_seconds": "until",
        "destructive_sign_in_seconds": "destructive_sign_in_within",
    }
    fields = {field for each in types for field in each.__struct_fields__}
    return {written.get(field, field.removesuffix("_seconds")) for field in fields}


@pytest.mark.requirement("P7")
def test_the_policy_in_the_readme_loads_and_passes_its_own_tests() -> None:
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    policy = load_policy([Source("README.md", shown[1])])
    assert run_tests(policy) == []


def test_the_break_glass_in_the_page_on_approvals_loads_under_the_policy_of_the_readme() -> None:
    shown = re.search(r"<!-- policy -->\n```toml\n(.*?)```", (ROOT / "docs/approvals.md").read_text(), re.DOTALL)
    policy = re.search(r"```toml\n(version = 1.*?)```", README, re.DOTALL)
    assert shown
    assert policy
    text = policy[1].replace("[actions]", '"user:eva" = ["support-lead"]\n\n[actions]', 1) + "\n" + shown[1]
    found = load_policy([Source("leasehold.toml", text)])
    assert "support/close" in found.break_glass


def test_the_channels_in_the_page_on_notices_load_and_its_table_lists_every_event() -> None:
    page = (ROOT / "docs/notices.md").read_text()
    shown = re.search(r"<!-- policy -->\n```toml\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    policy = load_policy([Source("notices.md", f'version = 1\nauthority = "acme-desk"\n{shown[1]}')])
    assert sorted(rule.kind for rule in policy.notices.values()) == sorted(ChannelKind)
    listed = re.findall(r"`([a-z_.]+)`", "".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)))
    assert sorted(listed) == sorted(NoticeEvent)


def test_the_policies_in_the_page_on_people_load() -> None:
    shown = re.findall(r"<!-- policy -->\n```toml\n(.*?)```", (ROOT / "docs/people.md").read_text(), re.DOTALL)
    assert shown
    policy = load_policy([Source("people.md", 'version = 1\nauthority = "acme-desk"\n' + "\n".join(shown))])
    assert (len(policy.issuers), len(policy.sign_in)) == (2, 1)


@pytest.mark.parametrize(
    ("citation", "page", "entry"),
    [
        (r"DESIGN (§\d+(?: and §\d+)*)", "design", r"^## (\d+)\."),
        (r"[Tt]hreat cases? (\d+(?:(?:, |-| and | to )\d+)*)", "threats", r"^\| (\d+) \|"),
        (r"[Cc]onventions? (\d+(?:(?:, |-| and | to )\d+)*)", "conventions", r"^(\d+)\. "),
        (r"[Dd]ecisions? (\d{4}(?:(?:, | and )\d{4})*)", "decisions/README", r"^\| \[(\d{4})\]"),
        (r"[Ii]nvariants? ([IL]\d+(?:(?:, |-| and | to )[IL]\d+)*)", "design", r"^\| ([IL]\d+) \|"),
    ],
    ids=["sections", "cases", "conventions", "decisions", "invariants"],
)
def test_every_number_that_the_source_cites_stands_in_its_page(citation: str, page: str, entry: str) -> None:
    written = set(re.findall(entry, (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE))
    cited = {
        (path.name, number)
        for path in sorted((ROOT / "src").glob("**/*.py"))
        for listed in re.findall(citation, " ".join(path.read_text().split()))
        for number in re.findall(r"[IL]?\d+", listed)
    }
    assert cited
    assert {(name, number) for name, number in cited if number not in written} == set()


def test_the_index_of_decisions_lists_each_by_its_title() -> None:
    folder = ROOT / "docs/decisions"
    found = [(path, path.read_text().splitlines()[0]) for path in sorted(folder.glob("0*.md"))]
    rows = [
        f"| [{path.name[:4]}]({path.name}) | {title.removeprefix(f'# {path.name[:4]} ')} |" for path, title in found
    ]
    assert re.findall(r"^\| \[.*", (folder / "README.md").read_text(), re.MULTILINE) == rows


def test_the_source_cites_the_design_by_section() -> None:
    for path in sorted((ROOT / "src").glob("**/*.py")):
        assert re.findall(r"DESIGN(?! §\d)", " ".join(path.read_text().split())) == [], path.name


def test_the_design_and_the_conventions_are_short_enough_to_be_read() -> None:
    assert len((ROOT / "docs/design.md").read_text().splitlines()) <= 250
    assert len((ROOT / "docs/conventions.md").read_text().splitlines()) <= 60


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]:
        for path, _, heading in (target.partition("#") for target in re.findall(r"\]\(([^):]+)\)", page.read_text())):
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name} links to {target}"
            assert not heading or heading in _headings(target), f"{page.name} links to {target.name}#{heading}"


def _headings(page: Path) -> set[str]:
    """The names that a code host gives to the headings of a page."""
    return {
        re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    }


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/([\w/-]+\.md)", README))
    assert {page.removeprefix("docs/") for page in PAGES[1:]} - linked == set()


@pytest.mark.parametrize("page", PROSE)
def test_a_command_that_a_page_names_is_there_with_its_options(page: str) -> None:
    text = (ROOT / page).read_text()
    blocks = "".join(re.findall(r"```(?:console|text|sh)\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    written = re.findall(r"(?:^|[;&|(]|\$) *(leasehold .*)", blocks, re.MULTILINE)
    for line in [*written, *re.findall(r"`(leasehold (?![a-z ]+ v1`)[^`\n]+)`", text)]:
        _check_command(line)


def _check_command(line: str) -> None:
    command: click.Command = program
    words = [word.strip(',;()"') for word in re.split(r" #| [|&;] |\"?\$\(", line)[0].split()[1:]]
    while isinstance(command, click.Group) and words and re.fullmatch("[a-z-]+", words[0]):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, line
        command, words = found, words[1:]
    assert not isinstance(command, click.Group) or not [word for word in words if word.startswith("--")], line
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    if "--" in words or command.name == "use":  # what a command that is run is given is its own
        return
    assert {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)} <= known, line
