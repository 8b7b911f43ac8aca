"""The door to other programs, tried with real children."""

from __future__ import annotations

import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from postroj import process
from postroj.errors import CommandError, CommandTimeout, HostError
from postroj.process import Feed, Tail
from postroj.streams import await_input, write_all
from tests.support.terminal import converse

MANY = 1500
"""A descriptor beyond those that select(2) takes."""
PYTHON = sys.executable
SIZE = 100_000_000
PRODUCE = f"import sys; [sys.stdout.buffer.write(b'x' * 1_000_000) for _ in range({SIZE} // 10**6)]"


def sh(script: str, *args: str) -> list[str]:
    return ["sh", "-c", script, "sh", *args]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie, whose parent has not reaped it yet, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still alive"
        time.sleep(0.01)


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def relay(
    argv: list[str], feed: Feed | None = None, *, timeout: float | None = None
) -> tuple[int, bytes, bytes]:
    out, err = Tail(), Tail()
    with process.spawn(argv, stdio=process.STDIO, env=process.environment()) as child:
        status = process.relay(child, stdin=feed or Feed(), stdout=out, stderr=err, timeout=timeout)
    return status, bytes(out), bytes(err)


class TestRun:
    def test_streams_are_separate_and_binary(self) -> None:
        done = process.run(sh(r"printf 'a\377\000b'; printf e >&2"))
        assert (done.stdout, done.stderr, done.status) == (b"a\xff\x00b", b"e", 0)

    def test_text_and_output(self) -> None:
        done = process.run(sh("echo said; printf half; echo complained >&2"))
        assert done.text == "said\nhalf"
        assert done.output == "said\nhalf\ncomplained"

    def test_other_status_is_an_error_with_evidence(self) -> None:
        with pytest.raises(CommandError) as caught:
            process.run(sh("echo why >&2; exit 7"))
        assert caught.value.message == "'sh' ended with status 7"
        assert caught.value.status == 7
        assert caught.value.evidence == "why"

    def test_expected_status_is_an_answer(self) -> None:
        assert process.run(sh("exit 7"), ok=(0, 7)).status == 7

    def test_killed_by_a_signal_is_128_and_its_number(self) -> None:
        assert process.run(sh("kill -TERM $$"), ok=(143,)).status == 143

    def test_missing_program(self) -> None:
        with pytest.raises(HostError, match="'no-such-tool' is not installed") as caught:
            process.run(["no-such-tool"])
        assert "postroj doctor" in caught.value.hint

    def test_child_without_input_sees_its_end(self) -> None:
        assert process.run(["cat"], timeout=10).stdout == b""

    def test_input_reaches_the_child(self) -> None:
        data = os.urandom(3_000_000)
        done = process.run(["sha256sum"], stdin=data, timeout=60)
        assert done.text.split()[0] == hashlib.sha256(data).hexdigest()

    def test_input_that_nobody_reads(self) -> None:
        assert process.run(["true"], stdin=b"x" * 1_000_000, timeout=60).status == 0

    def test_child_closes_its_input_and_goes_on(self) -> None:
        script = "exec 0<&-; sleep 0.2; echo done"
        assert process.run(sh(script), stdin=b"x" * 1_000_000, timeout=60).text == "done"

    def test_environment_is_built(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "1")
        monkeypatch.setenv("https_proxy", "http://proxy.invalid")
        env = process.run(["env"]).text.splitlines()
        assert "https_proxy=http://proxy.invalid" in env
        assert "LC_ALL=C.UTF-8" in env
        assert not any(line.startswith("SECRET=") for line in env)

    def test_environment_can_be_given_whole(self) -> None:
        assert process.run(["/usr/bin/env"], env={"ONLY": "this"}).text == "ONLY=this"

    def test_child_cannot_open_the_terminal_of_its_caller(self) -> None:
        probe = (
            "from postroj import process; print(process.run(['sh', '-c', ': <>/dev/tty'], ok=[2]))"
        )
        screen, status = converse([PYTHON, "-c", probe], [])
        assert (status, b"/dev/tty: No such device or address" in screen) == (0, True), screen

    def test_child_with_terminal_asks_there_and_its_output_is_not_shown(self) -> None:
        script = "printf 'Password: ' >/dev/tty; read -r answer </dev/tty; echo got $answer"
        probe = (
            "from postroj import process\n"
            f"done = process.run(['sh', '-c', {script!r}], with_terminal=True)\n"
            "assert done.text == 'got secret'\n"
        )
        screen, status = converse([PYTHON, "-c", probe], [(b"Password: ", b"secret\n")])
        assert (status, b"got" in screen) == (0, False), screen

    def test_sigpipe_is_as_the_child_expects(self) -> None:
        assert process.run(sh("trap - PIPE; kill -PIPE $$"), ok=(141,)).status == 141

    def test_only_the_tail_is_kept(self) -> None:
        script = "import sys; sys.stdout.write('x' * 5_000_000 + 'END')"
        done = process.run([PYTHON, "-c", script], timeout=60)
        assert len(done.stdout) == process.LIMIT + process.HEAD + len("\n...\n")
        assert done.stdout.endswith(b"END")


class TestStreamsThatDoNotBlock:
    def test_write_all_waits_until_the_reader_has_room(self) -> None:
        data = os.urandom(3_000_000)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        argv = ["sh", "-c", "sleep 0.2; sha256sum"]
        with subprocess.Popen(argv, stdin=reader, stdout=subprocess.PIPE, text=True) as child:
            os.close(reader)
            try:
                write_all(writer, data)
            finally:
                os.close(writer)
            assert child.communicate()[0].split()[0] == hashlib.sha256(data).hexdigest()

    def test_feed_is_not_at_its_end_when_another_process_has_read_what_was_there(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        feed = Feed(descriptor=reader)
        feed.refill()
        os.write(writer, b"late")
        feed.refill()
        assert bytes(feed.pending) == b"late"
        os.close(reader)
        os.close(writer)


class TestTimeout:
    def test_timeout_kills_the_whole_group(self, tmp_path: Path) -> None:
        script = 'sleep 1000 & echo $! > "$1"; echo started; wait'
        started = time.monotonic()
        with pytest.raises(CommandTimeout) as caught:
            process.run(sh(script, str(tmp_path / "pid")), timeout=0.5)
        assert time.monotonic() - started < 5
        assert caught.value.message == "'sh' did not end within 0.5 s"
        assert caught.value.evidence == "started"
        wait_until_dead(int((tmp_path / "pid").read_text()))

    def test_holds_for_a_child_that_never_stops_talking(self) -> None:
        with pytest.raises(CommandTimeout):
            process.run(["yes"], timeout=0.3)

    def test_holds_for_a_child_that_ignores_sigterm(self) -> None:
        with pytest.raises(CommandTimeout):
            process.run(sh("trap '' TERM; while :; do sleep 0.1; done"), timeout=0.3)


class TestRelay:
    def test_daemon_that_keeps_the_pipes_does_not_delay_the_end(self, tmp_path: Path) -> None:
        script = 'setsid sleep 1000 & echo $! > "$1"; echo started'
        started = time.monotonic()
        done = process.run(sh(script, str(tmp_path / "pid")), timeout=60)
        pid = int((tmp_path / "pid").read_text())
        try:
            assert time.monotonic() - started < 5
            assert done.text == "started"
            assert alive(pid)
        finally:
            os.kill(pid, signal.SIGKILL)

    def test_output_is_read_after_the_end(self) -> None:
        # Less than a pipe holds, so that the child can end before we read anything.
        for _ in range(20):
            assert len(process.run([PYTHON, "-c", "print('x' * 60_000)"]).text) == 60_000

    def test_100_mb_out_are_exact(self) -> None:
        digest = hashlib.sha256()
        argv = [PYTHON, "-c", PRODUCE]
        with process.spawn(argv, stdio=process.STDIO, env=process.environment()) as child:
            assert process.relay(child, stdin=Feed(), stdout=digest.update, stderr=Tail()) == 0
        assert digest.hexdigest() == hashlib.sha256(b"x" * SIZE).hexdigest()

    def test_100_mb_through_a_file_are_exact(self, tmp_path: Path) -> None:
        source = tmp_path / "source"
        block = os.urandom(1_000_000)
        with source.open("wb") as stream:
            for number in range(SIZE // len(block)):
                stream.write(number.to_bytes(4, "big") + block[4:])
        digest = hashlib.sha256()
        with (
            source.open("rb") as stream,
            process.spawn(["cat"], stdio=process.STDIO, env=process.environment()) as child,
        ):
            feed = Feed(descriptor=stream.fileno())
            assert process.relay(child, stdin=feed, stdout=digest.update, stderr=Tail()) == 0
        with source.open("rb") as stream:
            assert digest.hexdigest() == hashlib.file_digest(stream, "sha256").hexdigest()

    def test_feed_from_a_pipe_that_is_slow(self) -> None:
        read_end, write_end = os.pipe()

        def write() -> None:
            for word in (b"one ", b"two ", b"three"):
                time.sleep(0.1)
                os.write(write_end, word)
            os.close(write_end)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert relay(["cat"], Feed(descriptor=read_end), timeout=60)[1] == b"one two three"
        finally:
            writer.join()
            os.close(read_end)

    def test_feed_that_never_ends_does_not_delay_the_end(self) -> None:
        read_end, write_end = os.pipe()
        try:
            assert relay(["true"], Feed(descriptor=read_end), timeout=60)[0] == 0
        finally:
            os.close(read_end)
            os.close(write_end)

    def test_feed_of_bytes_and_then_a_descriptor(self, tmp_path: Path) -> None:
        (tmp_path / "rest").write_bytes(b"and the rest")
        with (tmp_path / "rest").open("rb") as stream:
            feed = Feed(b"first ", stream.fileno())
            assert relay(["cat"], feed, timeout=60)[1] == b"first and the rest"

    def test_feed_from_dev_null(self) -> None:
        with Path(os.devnull).open("rb") as stream:
            assert relay(["cat"], Feed(descriptor=stream.fileno()), timeout=60) == (0, b"", b"")

    def test_sink_that_refuses_more(self) -> None:
        taken = []

        def head(chunk: bytes) -> None:
            taken.append(chunk)
            raise BrokenPipeError

        with process.spawn(["yes"], stdio=process.STDIO, env=process.environment()) as child:
            status = process.relay(child, stdin=Feed(), stdout=head, stderr=Tail(), timeout=60)
        assert status == 128 + signal.SIGPIPE
        assert len(taken) == 1

    def test_sink_that_fails_ends_the_child(self) -> None:
        def fail(chunk: bytes) -> None:
            raise OSError(28, "No space left on device")

        with (
            pytest.raises(OSError, match="No space left"),
            process.spawn(["yes"], stdio=process.STDIO, env=process.environment()) as child,
        ):
            process.relay(child, stdin=Feed(), stdout=fail, stderr=Tail(), timeout=60)
        assert child.returncode == -signal.SIGKILL

    def test_interrupt_ends_the_child(self) -> None:
        def interrupt(chunk: bytes) -> None:
            raise KeyboardInterrupt

        with (
            pytest.raises(KeyboardInterrupt),
            process.spawn(["yes"], stdio=process.STDIO, env=process.environment()) as child,
        ):
            process.relay(child, stdin=Feed(), stdout=interrupt, stderr=Tail(), timeout=60)
        assert child.returncode == -signal.SIGKILL

    def test_no_descriptor_is_left_open(self) -> None:
        process.run(["true"])
        before = open_descriptors()
        process.run(["cat"], stdin=b"x")
        with pytest.raises(CommandTimeout):
            process.run(["sleep", "100"], timeout=0.1)
        assert open_descriptors() == before


class TestTail:
    def test_keeps_the_end(self) -> None:
        tail = Tail(4)
        for chunk in (b"ab", b"cd", b"ef"):
            tail(chunk)
        assert bytes(tail) == b"cdef"

    def test_memory_is_bounded(self) -> None:
        tail = Tail(1000)
        longest = 0
        for _ in range(10_000):
            tail(b"x" * 100)
            longest = max(longest, len(tail.data))
        assert longest <= 2 * 1000
        assert len(bytes(tail)) == 1000

    def test_chunk_longer_than_the_limit(self) -> None:
        tail = Tail(3)
        tail(b"x" * 1000 + b"end")
        assert bytes(tail) == b"end"
        assert len(tail.data) == 3


class TestTools:
    def test_found_beyond_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        assert process.tool("sh").endswith("/sh")

    @pytest.mark.parametrize("path", ["", None])
    def test_never_from_the_current_folder(
        self, path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "trap").write_text("#!/bin/sh\n")
        (tmp_path / "trap").chmod(0o755)
        monkeypatch.chdir(tmp_path)
        if path is None:
            monkeypatch.delenv("PATH")
        else:
            monkeypatch.setenv("PATH", path)
        with pytest.raises(HostError, match="'trap' is not installed"):
            process.tool("trap")

    def test_search_path_keeps_order_and_has_no_doubles(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/own:/usr/bin::/own")
        folders = process.search_path().split(":")
        assert folders[:2] == ["/own", "/usr/bin"]
        assert len(folders) == len(set(folders))
        assert "/usr/sbin" in folders


class TestSpawn:
    def test_own_session_and_group(self) -> None:
        null = subprocess.DEVNULL
        child = process.launch(["sleep", "1000"], stdio=(null, null, null), env={})
        assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid
        process.kill_group(child)
        assert child.returncode == -signal.SIGKILL
        process.kill_group(child)  # twice is harmless

    def test_collecting_stderr_stores_both_ends_of_a_flood_beside_other_streams(self) -> None:
        script = "echo first >&2; yes | head -c 9000000 >&2; echo last >&2; echo said; exit 3"
        stdio = (process.DEVNULL, process.PIPE, process.PIPE)
        with (
            process.spawn(sh(script), stdio=stdio, env=process.environment()) as child,
            process.collecting_stderr(child) as complaints,
        ):
            assert child.stdout
            assert child.stdout.read() == b"said\n"
            assert child.wait() == 3
        assert bytes(complaints).startswith(b"first\ny\n")
        assert bytes(complaints).endswith(b"y\nlast\n")
        assert len(bytes(complaints)) <= process.LIMIT + process.HEAD + len("\n...\n")

    def test_collecting_stderr_waits_for_no_daemon_and_kills_the_child_on_an_error(
        self, tmp_path: Path
    ) -> None:
        script = 'setsid sleep 1000 & echo $! > "$1"; echo why >&2; [ "$2" ] || sleep 1000'
        stdio = (process.DEVNULL, process.DEVNULL, process.PIPE)
        for ends in ("by itself", ""):
            file = tmp_path / f"pid {ends}"
            argv = sh(script, str(file), ends)
            with (
                suppress(KeyboardInterrupt),
                process.spawn(argv, stdio=stdio, env=process.environment()) as child,
                process.collecting_stderr(child) as complaints,
            ):
                if not ends:
                    while not complaints.data:
                        time.sleep(0.01)
                    raise KeyboardInterrupt
                child.wait()
            os.kill(int(file.read_text()), signal.SIGKILL)
            assert child.returncode == (0 if ends else -signal.SIGKILL)
            assert bytes(complaints) == b"why\n"

    def test_collecting_stderr_of_a_child_that_is_reaped_before_the_thread_runs(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Late(threading.Thread):
            def start(self) -> None:
                child.wait()
                super().start()

        monkeypatch.setattr(process, "Thread", Late)
        stdio = (process.DEVNULL, process.DEVNULL, process.PIPE)
        argv = sh("echo why >&2")
        with process.spawn(argv, stdio=stdio, env=process.environment()) as child:
            with process.collecting_stderr(child) as complaints:
                pass
            assert bytes(complaints) == b"why\n"

    def test_spawn_kills_the_child_and_closes_its_pipes_on_the_way_out(self) -> None:
        before = open_descriptors()
        with process.spawn(["cat"], stdio=process.STDIO, env=process.environment()) as child:
            assert child.stdin
            child.stdin.write(b"never flushed")
        assert child.returncode == -signal.SIGKILL
        assert open_descriptors() == before

    def test_spawn_in_an_open_folder_which_the_child_does_not_inherit(self, tmp_path: Path) -> None:
        folder = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
        listed = sh('exec readlink /proc/$$/fd/"$1"', str(folder))
        try:
            assert process.run(["pwd", "-P"], folder=folder).text == str(tmp_path)
            assert process.run(listed, pass_fds=[folder]).text == str(tmp_path)
            assert process.run(listed, folder=folder, ok=[1]).text == ""
        finally:
            os.close(folder)

    @pytest.mark.skipif(
        resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= MANY, reason="too few descriptors"
    )
    def test_await_input_takes_descriptors_that_select_refuses(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], MANY + 1), before[1]))
        ends = os.pipe()
        many = fcntl.fcntl(ends[0], fcntl.F_DUPFD_CLOEXEC, MANY)
        try:
            assert await_input([many], 0) == set()
            os.write(ends[1], b"x")
            assert await_input([many, ends[1]], float("inf")) == {many}
        finally:
            for descriptor in (many, *ends):
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_descriptors_are_passed_on_request(self) -> None:
        with tempfile.TemporaryFile() as stream:
            stream.write(b"through")
            stream.seek(0)
            number = stream.fileno()
            out = Tail()
            with process.spawn(
                ["cat", f"/dev/fd/{number}"],
                stdio=process.STDIO,
                env=process.environment(),
                pass_fds=(number,),
            ) as child:
                assert process.relay(child, stdin=Feed(), stdout=out, stderr=Tail()) == 0
        assert bytes(out) == b"through"


def test_exit_status() -> None:
    assert [process.exit_status(code) for code in (0, 5, -9, -15)] == [0, 5, 137, 143]


def test_is_cut_if_the_output_exceeds_the_limit() -> None:
    argv = ["head", "-c", "2000000", "/dev/zero"]
    assert process.run(argv).is_cut
    done = process.run(argv, limit=2_000_000)
    assert (len(done.stdout), done.is_cut) == (2_000_000, False)
    assert process.run(argv, limit=1_999_999).is_cut


def test_last_lines() -> None:
    assert process.last_lines("1\n2\n3\n\n", 2) == "2\n3"
    assert process.last_lines("") == ""


def test_last_lines_are_cut_where_they_are_too_long() -> None:
    text = "\n".join("x" * 50_000 for _ in range(40))
    assert process.last_lines(text).splitlines() == ["x" * process.LONGEST] * 20


def test_file_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert process.file_tail(log) == ""
    log.write_bytes(b"".join(b"line %d \xff\n" % number for number in range(200_000)))
    assert process.file_tail(log, 2) == "line 199998 \ufffd\nline 199999 \ufffd"


def test_timeout_says_how_long_the_program_was_silent() -> None:
    with pytest.raises(CommandTimeout) as caught:
        process.run(["sh", "-c", "sleep 0.5; echo now; exec sleep 10"], timeout=1)
    assert caught.value.output == "now"
    assert 0 < caught.value.silence < 1
    with pytest.raises(CommandTimeout) as caught:
        process.run(["sleep", "10"], timeout=0.2)
    assert caught.value.silence >= 0.2
