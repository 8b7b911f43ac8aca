"""Signatures that the real gpg made are judged by the real gpgv."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from postroj.errors import ImageError, VerificationError
from postroj.image.trust import keyring, verify
from postroj.image.trust.checksums import Checksum
from tests.support.pgp import LONG_AGO, Gpg, gpg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEXT = b'{"a": 1}\n- a line with a dash\n'


class Signers(NamedTuple):
    """Keys in all conditions; `file` holds them all but `stranger`."""

    gpg: Gpg
    good: str
    second: str
    expired: str
    revoked: str
    stranger: str
    file: Path


@pytest.fixture(scope="module")
def by(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signers]:
    with gpg() as tool:
        good, second = tool.key("good"), tool.key("second", LONG_AGO)
        stranger = tool.key("stranger")
        expired = tool.key("expired", LONG_AGO, expire="30d")
        revoked = tool.key("revoked")
        file = tmp_path_factory.mktemp("keys") / "all.gpg"
        file.write_bytes(tool.export(good, second, expired, revoked))
        yield Signers(tool, good, second, expired, revoked, stranger, file)


def refusal(data: bytes, signature: bytes | None, key: object, **options: bool) -> str:
    """Return why bytes are refused."""
    with pytest.raises(VerificationError) as caught:
        verify.check_signature(data, signature, str(key), name="'it'", **options)
    assert caught.value.hint
    return caught.value.message.removeprefix("'it' ")


class TestGood:
    @pytest.mark.parametrize("armour", [False, True])
    def test_detached_signature_is_accepted(
        self, armour: bool, by: Signers, tmp_path: Path
    ) -> None:
        key = tmp_path / "key"
        key.write_bytes(by.gpg.export(by.good, armour=armour))
        signed = verify.check_signature(TEXT, by.gpg.detach(TEXT, by.good), str(key))
        assert signed[:3] == (TEXT, (by.good,), False)

    def test_inline_signature_is_accepted(self, by: Signers) -> None:
        signed = verify.check_signature(by.gpg.clearsign(TEXT, by.good), None, str(by.file))
        assert signed[:3] == (TEXT, (by.good,), False)

    def test_inline_signature_covers_only_the_signed_text(self, by: Signers) -> None:
        message = b"\n" + by.gpg.clearsign(TEXT, by.good) + b"and more\n"
        assert verify.check_signature(message, None, str(by.file)).text == TEXT

    def test_two_signatures_by_known_keys(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.good, "--local-user", by.second)
        assert set(verify.check_signature(TEXT, signature, str(by.file)).fingerprints) == {
            by.good,
            by.second,
        }

    def test_two_signatures_one_by_an_unknown_key(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.good, "--local-user", by.stranger)
        assert verify.check_signature(TEXT, signature, str(by.file)).fingerprints == (by.good,)

    def test_expired_signature_is_accepted_if_allowed(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.expired, LONG_AGO)
        signed = verify.check_signature(TEXT, signature, str(by.file), allow_expired=True)
        assert signed == (TEXT, (by.expired,), True, 1577836800)

    def test_detached_signature_verifies_while_bytes_arrive(self, by: Signers) -> None:
        archive = random.Random(2).randbytes(3_000_000)
        with verify.DetachedSignature(by.gpg.detach(archive, by.good), str(by.file)) as gpgv:
            for start in range(0, len(archive), 70_000):
                gpgv.write(archive[start : start + 70_000])
        assert gpgv.fingerprints == (by.good,)


class TestRefused:
    def test_signature_on_other_bytes_is_refused(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.good)
        assert refusal(TEXT + b"x", signature, by.file) == "is not what its publisher signed"
        message = by.gpg.clearsign(TEXT, by.good).replace(b'"a"', b'"b"')
        assert refusal(message, None, by.file) == "is not what its publisher signed"

    def test_one_bad_signature_of_two_is_refused(self, by: Signers) -> None:
        two = by.gpg.run("--dearmor", stdin=by.gpg.detach(TEXT, by.good))
        two += by.gpg.run("--dearmor", stdin=by.gpg.detach(TEXT + b"x", by.second))
        assert refusal(TEXT, two, by.file) == "is not what its publisher signed"

    def test_signature_by_an_unknown_key_is_refused(self, by: Signers) -> None:
        said = "is signed by an unknown key"
        assert refusal(TEXT, by.gpg.detach(TEXT, by.stranger), by.file) == said
        assert refusal(by.gpg.clearsign(TEXT, by.stranger), None, by.file) == said

    def test_signature_by_an_expired_key_is_refused(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.expired, LONG_AGO)
        assert refusal(TEXT, signature, by.file) == "is signed by a key that has expired"

    def test_expired_signature_is_refused(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.second, LONG_AGO, "--default-sig-expire=30d")
        assert refusal(TEXT, signature, by.file) == "has a signature that has expired"
        signed = verify.check_signature(TEXT, signature, str(by.file), allow_expired=True)
        assert signed == (TEXT, (by.second,), True, 1577836800)

    def test_signature_by_a_revoked_key_is_refused(self, by: Signers, tmp_path: Path) -> None:
        signature = by.gpg.detach(TEXT, by.revoked)
        by.gpg.revoke(by.revoked)
        key = tmp_path / "revoked.gpg"
        key.write_bytes(by.gpg.export(by.revoked))
        for allow_expired in (False, True):
            said = refusal(TEXT, signature, key, allow_expired=allow_expired)
            assert said == "is signed by a key that was revoked"

    def test_signature_with_a_weak_hash_is_refused(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.good, "--digest-algo=SHA1")
        said = refusal(TEXT, signature, by.file)
        assert said == "is signed with SHA-1, which is too weak"

    def test_text_without_a_signature_is_refused(self, by: Signers) -> None:
        assert refusal(TEXT, None, by.file) == "is not signed"
        packed = by.gpg.run("--local-user", by.good, "--sign", stdin=TEXT)
        assert refusal(packed, None, by.file) == "is not signed"

    @pytest.mark.parametrize("signature", [b"", b"\0" * 100, b"<html>", b"-----BEGIN PGP"])
    def test_bytes_that_are_not_a_signature_are_refused(
        self, signature: bytes, by: Signers
    ) -> None:
        said = refusal(TEXT, signature, by.file)
        assert said == "has no signature that gpgv understands"

    def test_signature_with_its_own_text_is_refused(self, by: Signers) -> None:
        said = "has no signature that gpgv understands"
        assert refusal(b"evil", by.gpg.clearsign(TEXT, by.good), by.file) == said
        packed = by.gpg.run("--local-user", by.good, "--sign", stdin=TEXT)
        assert refusal(b"evil", packed, by.file) == said

    def test_two_signed_messages_in_one_file_are_refused(self, by: Signers) -> None:
        two = by.gpg.clearsign(TEXT, by.good) + by.gpg.clearsign(b"evil\n", by.stranger)
        assert refusal(two, None, by.file) == "has no signature that gpgv understands"

    def test_detached_signature_refuses_another_archive(self, by: Signers) -> None:
        signature = by.gpg.detach(TEXT, by.good)

        def arrive() -> None:
            with verify.DetachedSignature(signature, str(by.file)) as gpgv:
                gpgv.write(b"x" * 3_000_000)

        with pytest.raises(VerificationError, match="is not what its publisher signed"):
            arrive()

    def test_detached_signature_refuses_an_incomplete_archive(self, by: Signers) -> None:
        def arrive() -> None:
            with verify.DetachedSignature(by.gpg.detach(TEXT, by.good), str(by.file)) as gpgv:
                gpgv.write(TEXT)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            arrive()


def test_check_digest_names_what_was_expected_and_received() -> None:
    wanted = Checksum("x.tar", "sha256", "a" * 64)
    verify.check_digest("'x.tar'", wanted, "a" * 64)
    with pytest.raises(VerificationError, match=r"'x\.tar' does not have the expected") as caught:
        verify.check_digest("'x.tar'", wanted, "b" * 64)
    assert caught.value.evidence.splitlines() == [
        f"expected SHA-256 {'a' * 64}",
        f"received SHA-256 {'b' * 64}",
    ]


class TestStatus:
    """The exit status of gpgv counts, whatever it has written."""

    GOOD = "GOODSIG 1 x\\nVALIDSIG {} 0 0 0 4 0 1 10 00 {}\\n"

    @pytest.fixture
    def said(self, by: Signers, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], str]:
        """Return a function that has a gpgv end with a status, and returns why it is refused."""

        def check(status: int, more: str = "") -> str:
            words = self.GOOD.format(by.good, by.good) + more
            script = (
                f'fd=${{1#--status-fd=}}; printf "{words}" >"/proc/self/fd/$fd"; cat >/dev/null; '
            )

            def confined(argv: list[str]) -> list[str]:
                return ["sh", "-c", f"{script} exit {status}", *argv]

            monkeypatch.setattr(verify, "confined", confined)
            try:
                verify.check_signature(TEXT, b"signature", str(by.file), name="'it'")
            except VerificationError as error:
                return error.message
            return ""

        return check

    def test_good_signature_with_status_0_is_accepted(self, said: Callable[..., str]) -> None:
        assert said(0) == ""

    @pytest.mark.parametrize("status", [1, 2, 127, 137])
    def test_good_signature_with_another_status_is_refused(
        self, status: int, said: Callable[..., str]
    ) -> None:
        assert said(status) == "'it' has no signature that gpgv understands"

    @pytest.mark.parametrize(("status", "ok"), [(1, True), (2, True), (127, False), (137, False)])
    def test_another_signature_by_an_unknown_key_excuses_only_a_failed_gpgv(
        self, status: int, ok: bool, said: Callable[..., str]
    ) -> None:
        assert said(status, "ERRSIG 2 1 10 00 0 9\\n") == (
            "" if ok else "'it' is signed by an unknown key"
        )


class TestKeyFile:
    def test_key_file_that_is_missing(self) -> None:
        with pytest.raises(ImageError, match=r"the key 'no-such\.asc' cannot be read"):
            keyring.read("no-such.asc")

    def test_key_file_with_several_armoured_keys(self, by: Signers, tmp_path: Path) -> None:
        path = tmp_path / "keys.asc"
        blocks = [by.gpg.export(key, armour=True) for key in (by.good, by.second)]
        path.write_bytes(b"Comment of ours\n\n".join(blocks).replace(b"\n\n", b"\nVersion: 1\n\n"))
        assert keyring.read(str(path)) == by.gpg.export(by.good, by.second)

    @pytest.mark.parametrize("broken", [b"", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAA*A\n"])
    def test_key_file_that_is_damaged(self, broken: bytes, tmp_path: Path) -> None:
        path = tmp_path / "key.asc"
        path.write_bytes(b"-----BEGIN" + broken)
        with pytest.raises(ImageError, match="is damaged"):
            keyring.read(str(path))
