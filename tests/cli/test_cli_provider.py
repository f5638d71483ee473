"""`leasehold provider`: where people sign in, and the secrets of our clients there."""

from __future__ import annotations

from pathlib import Path

from terminal import Terminal

PROVIDERS = """
[sign_in.acme]
issuer = "https://login.acme.example"
client_id = "leasehold"
person = "email"
groups = "groups"
roles = { leads = ["lead"] }
secret = true

[sign_in.open]
issuer = "https://open.example"
client_id = "desk"
person = "name"
"""


def test_providers_are_listed_with_whether_their_secret_is_here(terminal: Terminal) -> None:
    assert "names no provider" in terminal.run("provider", "list").stderr
    terminal.policy.write_text(terminal.policy.read_text() + PROVIDERS)
    terminal.run("policy", "accept", typing="widen\ny\n")
    assert terminal.run("provider", "list").stdout.splitlines() == [
        "acme  https://login.acme.example  leasehold  missing",
        "open  https://open.example  desk  none",
    ]
    found = {entry["code"]: entry["what"] for entry in terminal.json("doctor")["findings"]}
    assert found["provider-without-secret"] == "the secret of our client at acme is not here"
    assert "people who sign in at open are named by name" in found["person-claim-is-free"]
    path = Path(terminal.run("provider", "secret", "acme", typing="s3cret\n").stdout.removeprefix("file: ").strip())
    assert path.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in terminal.run("provider", "list").stdout
    assert terminal.json("provider", "list")[0]["secret"] == "here"
    assert "provider-without-secret" not in {entry["code"] for entry in terminal.json("doctor")["findings"]}


def test_a_secret_is_for_a_provider_that_uses_one(terminal: Terminal) -> None:
    terminal.policy.write_text(terminal.policy.read_text() + PROVIDERS)
    terminal.start()
    assert 'did you mean "acme"' in terminal.run("provider", "secret", "acne", typing="x\n", code=1).stderr
    assert "does not say secret = true" in terminal.run("provider", "secret", "open", typing="x\n", code=2).stderr


def test_policy_explain_says_whom_a_provider_lets_in_and_what_groups_mean(terminal: Terminal) -> None:
    terminal.policy.write_text(terminal.policy.read_text() + PROVIDERS)
    lines = terminal.run("policy", "explain").stdout.splitlines()
    assert lines[-3:] == [
        "sign-in acme at https://login.acme.example: people who are known here, as user:<email>",
        "    group leads: lead",
        "sign-in open at https://open.example: people who are known here, as user:<name>",
    ]
