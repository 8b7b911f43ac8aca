"""Two programs with a pipe between them, tried with real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.errors import CommandError, CommandTimeout, HostError
from postroj.image.sources.pipeline import pipeline
from tests.unit.test_process import sh, wait_until_dead


class TestPipeline:
    def test_bytes_go_through_and_lines_are_reported(self, tmp_path: Path) -> None:
        lines: list[str] = []
        pipeline(
            sh("echo one >&2; echo content; echo two >&2"),
            sh('cat > "$1"', str(tmp_path / "target")),
            on_line=lines.append,
        )
        assert (tmp_path / "target").read_text() == "content\n"
        assert lines == ["one", "two"]

    def test_environment_is_extended(self, tmp_path: Path) -> None:
        target = str(tmp_path / "target")
        pipeline(sh('echo "$WORD"'), sh('cat > "$1"', target), on_line=print, env={"WORD": "hello"})
        assert Path(target).read_text() == "hello\n"

    def test_producer_fails(self) -> None:
        with pytest.raises(CommandError) as caught:
            pipeline(sh("echo broken >&2; exit 3"), sh("cat >&2"), on_line=lambda line: None)
        assert caught.value.message == "'sh' ended with status 3"
        assert "broken" in caught.value.evidence

    def test_producer_that_takes_too_long_is_killed(self) -> None:
        with pytest.raises(CommandTimeout) as caught:
            pipeline(
                sh("echo still there >&2; exec sleep 1000"), ["cat"], on_line=print, timeout=0.2
            )
        assert caught.value.message == "'sh' did not end within 0.2 s"
        assert caught.value.output == "still there"

    def test_consumer_fails_and_is_named(self) -> None:
        with pytest.raises(CommandError) as caught:
            pipeline(["yes"], ["head", "--no-such-option"], on_line=lambda line: None)
        assert caught.value.argv[0] == "head"
        assert caught.value.message == "'head' ended with status 1"
        assert "no-such-option" in caught.value.evidence

    def test_both_fail_and_both_are_named(self) -> None:
        with pytest.raises(CommandError) as caught:
            pipeline(sh("exit 3"), ["grep", "x"], on_line=lambda line: None)
        assert caught.value.message == "'sh' ended with status 3 and 'grep' ended with status 1"
        assert caught.value.status == 3

    def test_consumer_that_is_missing_ends_the_producer(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        with pytest.raises(HostError, match="no-such-tool"):
            pipeline(
                sh('echo $$ > "$1"; exec sleep 1000', str(pid)), ["no-such-tool"], on_line=print
            )
        if pid.exists() and pid.read_text():
            wait_until_dead(int(pid.read_text()))

    def test_exception_of_on_line_ends_both(self, tmp_path: Path) -> None:
        def interrupt(line: str) -> None:
            raise KeyboardInterrupt

        pids = tmp_path / "pids"
        script = 'echo $$ >> "$1"; echo line >&2; exec sleep 1000'
        with pytest.raises(KeyboardInterrupt):
            pipeline(sh(script, str(pids)), ["sleep", "1000"], on_line=interrupt)
        wait_until_dead(int(pids.read_text()))
