"""Files and environment: what is read, what is refused, and what a crash leaves behind."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold import config
from leasehold.config import Anchor
from leasehold.errors import ConfigError
from leasehold.model.instant import Instant
from leasehold.token.keys import DocumentType, SigningKey


def key(number: int) -> SigningKey:
    return SigningKey.generate(bytes([number]) * 32)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process can grow: the kernel itself refuses the write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def state(tmp_path: Path) -> config.StateFiles:
    return config.open_state(tmp_path / "state")


# ---- policy ----


def test_a_policy_is_one_file_or_the_toml_files_of_a_folder_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text("b = 'é'", encoding="utf-8")
    (tmp_path / "a.toml").write_text("a = 1")
    (tmp_path / "notes.txt").write_text("no policy")
    one = config.read_sources(tmp_path / "b.toml")
    assert [(source.path, source.text) for source in one] == [(str(tmp_path / "b.toml"), "b = 'é'")]
    assert [Path(source.path).name for source in config.read_sources(tmp_path)] == ["a.toml", "b.toml"]


@pytest.mark.parametrize("name", ["leasehold.toml", "folder"])
def test_where_there_is_no_policy_the_error_says_how_to_write_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="leasehold init") as caught:
        config.read_sources(tmp_path / name)
    assert caught.value.path == str(tmp_path / name)


@pytest.mark.case(16)
def test_a_policy_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.toml"
    path.write_bytes(b'version = 1\nauthority = "caf\xe9"\n')
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        config.read_sources(path)
    assert (caught.value.path, caught.value.line) == (str(path), 2)


@pytest.mark.case(17)
def test_a_policy_that_is_too_large_or_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.toml"
    path.write_bytes(b"#" * (config.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger"):
        config.read_sources(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        config.read_sources(path / "below")


# ---- state ----


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LEASEHOLD_STATE": "/s", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/s"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/leasehold/acme-desk"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/leasehold/acme-desk"),
        ({"LEASEHOLD_STATE": "", "HOME": "/h"}, "/h/.local/state/leasehold/acme-desk"),
    ],
)
def test_state_belongs_where_the_environment_says(environ: dict[str, str], expected: str) -> None:
    assert config.state_directory("acme-desk", environ) == Path(expected)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEASEHOLD_STATE", str(tmp_path))
    assert config.state_directory("any") == tmp_path


@pytest.mark.case(24)
@pytest.mark.parametrize("authority", ["..", "a/b", "../b", "", "a\0b", ".hidden", "a\n"])
def test_an_authority_that_cannot_name_a_folder_is_refused(authority: str) -> None:
    with pytest.raises(ConfigError):
        config.state_directory(authority, {"HOME": "/h"})


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "relative"}])
def test_without_a_home_the_error_names_the_variables(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="LEASEHOLD_STATE, XDG_STATE_HOME nor HOME"):
        config.state_directory("acme", environ)


@pytest.mark.requirement("L2")
def test_the_state_directory_is_made_for_this_account_alone(tmp_path: Path) -> None:
    directory = tmp_path / "some" / "state"
    files = config.open_state(directory)
    assert mode_of(directory) == 0o700
    assert config.open_state(directory) == files
    inside = [files.database, files.anchor, files.digest_key, files.person_key("user:ana")]
    inside += [files.key_ring(document_type) for document_type in DocumentType]
    assert len(set(inside)) == len(inside)
    assert all(directory in path.parents for path in inside)


@pytest.mark.case(24)
def test_a_persons_name_cannot_lead_out_of_the_folder(state: config.StateFiles) -> None:
    for person in ("../x", "a/../../x", "/etc/passwd", "a/b"):
        assert state.person_key(person).parent == state.directory / "people"
    assert state.person_key("a/b") != state.person_key("a%2Fb")


def test_a_state_directory_open_to_others_is_refused_with_the_remedy(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=f"chmod 700 {tmp_path}"):
        config.open_state(tmp_path)


def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="state directory"):
            config.open_state(path)


def test_weak_modes_are_found(state: config.StateFiles) -> None:
    config.ensure_secret(state.digest_key, bytes(32))
    assert config.weak_modes(state) == ()
    state.digest_key.chmod(0o640)
    state.directory.chmod(0o701)
    (state.directory / "link").symlink_to("digest.key")
    assert config.weak_modes(state) == (state.directory, state.digest_key)
    with pytest.raises(ConfigError, match="listed"):
        config.weak_modes(config.StateFiles(state.directory / "none"))


# ---- private files ----


@pytest.mark.requirement("L2")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_key_file_open_to_others_is_refused_with_the_remedy(state: config.StateFiles, mode: int) -> None:
    path = state.key_ring(DocumentType.LEASE)
    config.ensure_key_ring(path, DocumentType.LEASE, key(1))
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}") as caught:
        config.read_key_ring(path, DocumentType.LEASE)
    assert caught.value.path == str(path)


def test_a_key_file_that_is_a_link_a_pipe_or_a_folder_is_refused(state: config.StateFiles) -> None:
    path = state.key_ring(DocumentType.LEASE)
    config.ensure_key_ring(path, DocumentType.LEASE, key(1))
    link, pipe = state.directory / "link", state.directory / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    for wrong, why in ((link, "symbolic link"), (pipe, "regular"), (state.directory, "regular"), (path / "x", "read")):
        with pytest.raises(ConfigError, match=why):
            config.read_private(wrong)
    with pytest.raises(ConfigError, match="No such file"):
        config.read_private(state.directory / "none")


def test_a_link_where_a_key_ring_belongs_is_not_followed_to_make_one(state: config.StateFiles) -> None:
    path, elsewhere = state.key_ring(DocumentType.LEASE), state.directory / "elsewhere"
    path.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="symbolic link"):
        config.ensure_key_ring(path, DocumentType.LEASE, key(1))
    assert not elsewhere.exists()


def test_a_file_of_another_account_is_refused(state: config.StateFiles) -> None:
    path = Path("/etc/passwd")
    if os.geteuid() == 0:
        path = state.directory / "theirs"
        path.touch(0o600)
        os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="another account"):
        config.read_private(path)


def test_a_private_file_has_a_size_limit(state: config.StateFiles) -> None:
    path = state.directory / "big"
    config.replace_private(path, b"x" * (config.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger"):
        config.read_private(path)


def test_private_files_are_made_with_mode_600_whatever_the_umask(state: config.StateFiles) -> None:
    before = os.umask(0)
    try:
        assert config.create_private(state.directory / "new", b"1")
        config.replace_private(state.directory / "new", b"2")
        config.advance_anchor(state.anchor, Anchor(epoch=1, size=0, checkpoint=""))
    finally:
        os.umask(before)
    assert config.weak_modes(state) == ()
    assert config.read_private(state.directory / "new") == b"2"


def test_what_cannot_be_looked_at_is_never_taken_for_absent(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "file").touch()
    assert [config.is_there(tmp_path / name) for name in ("link", "file", "other", "file/below")] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(ConfigError, match="cannot be looked at: File name too long"):
        config.is_there(tmp_path / ("long" * 100))


def test_creating_never_replaces(state: config.StateFiles) -> None:
    path = state.directory / "file"
    assert config.create_private(path, b"first")
    assert not config.create_private(path, b"second")
    assert config.read_private(path) == b"first"
    assert [file.name for file in state.directory.iterdir() if file.is_file()] == ["file"]


@pytest.mark.case(92, 93)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(state: config.StateFiles) -> None:
    path = state.directory / "file"
    config.replace_private(path, b"old")
    for write in (config.replace_private, config.create_private):
        with pytest.raises(ConfigError, match="cannot be written: File too large"), no_room():
            write(path, b"new")
    assert config.read_private(path) == b"old"
    assert [file.name for file in state.directory.iterdir() if file.is_file()] == ["file"]


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    path = tmp_path / "none" / "file"
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        config.replace_private(path, b"")
    with pytest.raises(ConfigError, match="cannot be locked: No such file"):
        config.advance_anchor(path, Anchor(epoch=1, size=0, checkpoint=""))


# ---- keys ----


def test_a_key_ring_is_made_once_and_read_ever_after(state: config.StateFiles) -> None:
    path = state.key_ring(DocumentType.LEASE)
    made = config.ensure_key_ring(path, DocumentType.LEASE, key(1))
    assert made.newest.kid == key(1).kid
    assert config.ensure_key_ring(path, DocumentType.LEASE, key(2)).newest.kid == key(1).kid
    assert config.read_key_ring(path, DocumentType.LEASE).newest.kid == key(1).kid
    assert mode_of(path) == 0o600


def test_of_many_makers_of_one_key_ring_one_wins_and_all_see_it(state: config.StateFiles) -> None:
    path = state.key_ring(DocumentType.RECEIPT)
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda n: config.ensure_key_ring(path, DocumentType.RECEIPT, key(n)), range(1, 17)))
    assert len({ring.newest.kid for ring in rings}) == 1


@pytest.mark.case(9)
def test_a_ring_for_one_document_is_refused_as_that_of_another(state: config.StateFiles) -> None:
    path = state.key_ring(DocumentType.RECEIPT)
    config.ensure_key_ring(path, DocumentType.RECEIPT, key(1))
    with pytest.raises(ConfigError, match="another document") as caught:
        config.read_key_ring(path, DocumentType.LEASE)
    assert caught.value.path == str(path)


@pytest.mark.case(12)
def test_rotation_writes_the_new_key_last_and_retires_the_old(state: config.StateFiles) -> None:
    path = state.key_ring(DocumentType.LEASE)
    config.ensure_key_ring(path, DocumentType.LEASE, key(1))
    config.rotate_key_ring(path, DocumentType.LEASE, key(2), now=Instant(5000))
    ring = config.read_key_ring(path, DocumentType.LEASE)
    assert [(each.kid, each.retired_at) for each in ring.keys] == [(key(1).kid, 5), (key(2).kid, None)]
    with pytest.raises(ConfigError, match="twice"):
        config.rotate_key_ring(path, DocumentType.LEASE, key(2), now=Instant(6000))
    assert mode_of(path) == 0o600


@pytest.mark.parametrize("text", [b"", b"{}", b"{", b'{"document":"lease","keys":[]}', b"\xff"])
def test_a_damaged_key_file_is_refused_by_name(state: config.StateFiles, text: bytes) -> None:
    path = state.key_ring(DocumentType.LEASE)
    config.create_private(path, text)
    with pytest.raises(ConfigError) as caught:
        config.read_key_ring(path, DocumentType.LEASE)
    assert caught.value.path == str(path)


def test_a_secret_is_made_once_and_read_ever_after(state: config.StateFiles) -> None:
    first, second = bytes(range(32)), bytes(32)
    assert config.ensure_secret(state.digest_key, first) == first
    assert config.ensure_secret(state.digest_key, second) == first
    assert mode_of(state.digest_key) == 0o600


@pytest.mark.parametrize("text", [b"", b"00", b"zz" * 32, b"\xff" * 64, b"00" * 33])
def test_a_damaged_secret_is_refused_and_not_replaced(state: config.StateFiles, text: bytes) -> None:
    config.create_private(state.digest_key, text)
    with pytest.raises(ConfigError, match="32 bytes"):
        config.ensure_secret(state.digest_key, bytes(32))
    assert config.read_private(state.digest_key) == text


# ---- the anchor ----


@pytest.mark.invariant("I8")
def test_the_anchor_is_replaced_only_by_a_larger_one(state: config.StateFiles) -> None:
    assert config.read_anchor(state.anchor) is None
    steps = [
        (1, 0, True),
        (1, 0, False),
        (1, 5, True),
        (1, 4, False),
        (1, 5, False),
        (2, 0, True),  # a restore begins a new epoch with a shorter ledger
        (1, 9, False),
        (2, 1, True),
    ]
    for epoch, size, replaced in steps:
        anchor = Anchor(epoch=epoch, size=size, checkpoint=f"origin\n{size}\n\n— signed\n")
        assert config.advance_anchor(state.anchor, anchor) is replaced
        assert (config.read_anchor(state.anchor) == anchor) is (replaced or (epoch, size) == (1, 5) or size == 0)
    assert config.read_anchor(state.anchor) == Anchor(epoch=2, size=1, checkpoint="origin\n1\n\n— signed\n")


@pytest.mark.invariant("I8")
def test_of_many_writers_the_largest_anchor_stands_and_every_reader_sees_a_whole_one(state: config.StateFiles) -> None:
    def write(size: int) -> int:
        config.advance_anchor(state.anchor, Anchor(epoch=1, size=size, checkpoint="c" * size))
        anchor = config.read_anchor(state.anchor)
        assert anchor is not None
        assert anchor.checkpoint == "c" * anchor.size
        return anchor.size

    sizes = [number * 7919 % 61 for number in range(61)]
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(write, sizes))
    assert all(after >= own for after, own in zip(seen, sizes, strict=True))
    assert config.read_anchor(state.anchor) == Anchor(epoch=1, size=60, checkpoint="c" * 60)


@pytest.mark.case(92, 93)
@pytest.mark.invariant("I8")
def test_an_anchor_that_cannot_be_written_stays_as_it_was(state: config.StateFiles) -> None:
    old = Anchor(epoch=1, size=1, checkpoint="old")
    config.advance_anchor(state.anchor, old)
    with pytest.raises(ConfigError, match="cannot be written"), no_room():
        config.advance_anchor(state.anchor, Anchor(epoch=1, size=2, checkpoint="new"))
    assert config.read_anchor(state.anchor) == old
    assert config.advance_anchor(state.anchor, Anchor(epoch=1, size=3, checkpoint="newer"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"epoch":1,"size":1}',
        b'{"checkpoint":"","epoch":0,"size":1}',
        b'{"checkpoint":"","epoch":1,"size":-1}',
        b'{"checkpoint":"","epoch":1,"size":1.0}',
        b'{"checkpoint":"","epoch":1,"epoch":1,"size":1}',
        b'{"checkpoint":"","epoch":1,"more":1,"size":1}',
    ],
)
def test_a_damaged_anchor_is_an_error_and_never_taken_for_none(state: config.StateFiles, text: bytes) -> None:
    config.create_private(state.anchor, text)
    with pytest.raises(ConfigError, match="damaged"):
        config.read_anchor(state.anchor)
    with pytest.raises(ConfigError, match="damaged"):
        config.advance_anchor(state.anchor, Anchor(epoch=9, size=9, checkpoint=""))
    assert config.read_private(state.anchor) == text


def test_an_anchor_open_to_others_or_behind_a_link_is_refused(state: config.StateFiles) -> None:
    config.advance_anchor(state.anchor, Anchor(epoch=1, size=1, checkpoint=""))
    state.anchor.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        config.read_anchor(state.anchor)
    state.anchor.unlink()
    state.anchor.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="symbolic link"):
        config.read_anchor(state.anchor)
