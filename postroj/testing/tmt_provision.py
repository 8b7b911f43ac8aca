"""Plugin of tmt: ``provision: {how: postroj}``, a guest that systemd has booted.

``pip install postroj[tmt]`` brings tmt, which finds this module by its entry point ``tmt.plugin``.
docs/howto/tmt.rst shows its use.
"""

from __future__ import annotations

import shlex
from typing import Any

import tmt
import tmt.guest
import tmt.steps.provision
import tmt.utils
from tmt.container import container, field
from tmt.guest import DEFAULT_PUSH_OPTIONS, RebootMode
from tmt.utils import Command, ShellScript
from tmt.utils.environment import Environment
from tmt.utils.wait import Deadline

from postroj.api import COMMAND

RECONNECT = 120
"""Seconds for a rebooted guest to run a command."""


@container
class PostrojGuestData(tmt.guest.GuestData):  # type: ignore[misc]
    """Keys of the plugin."""

    image: str = field(
        default="",
        option=("-i", "--image"),
        metavar="IMAGE",
        help="Image of the guest, as `postroj list-images` names it.",
    )
    options: list[str] = field(
        default_factory=list,
        option="--options",
        metavar="OPTION",
        multiple=True,
        help="Option of `postroj run`, such as '--memory=1G'.",
        normalize=tmt.utils.normalize_string_list,
    )
    guest_name: str = field(default="", internal=True)


@container
class ProvisionPostrojData(PostrojGuestData, tmt.steps.provision.ProvisionStepData):  # type: ignore[misc]
    """Keys of a phase."""


class GuestPostroj(tmt.Guest):  # type: ignore[misc]
    """A guest that `postroj run --detach` keeps running.

    It sees the folder of the plan at the same path, so nothing has to be copied there and back.
    """

    _data_class = PostrojGuestData

    image: str
    options: list[str]
    guest_name: str

    @property
    def is_ready(self) -> bool:
        """Whether the guest runs."""
        if not self.guest_name:
            return False
        try:
            self._postroj("exec", self.guest_name, "--", "true")
        except tmt.utils.RunError:
            return False
        return True

    def start(self) -> None:
        """Boot the guest."""
        if self.is_dry_run:
            return
        if not self.guest_name:
            where = f"{self.plan_workdir}:{self.plan_workdir}"
            image = ("--image", self.image) if self.image else ()
            options = (*image, *self.options)
            done = self._postroj("run", "--detach", "--bind", where, *options)
            self.guest_name = str(done.stdout).strip()
        self.primary_address = self.topology_address = self.guest_name
        self.verbose("name", self.guest_name, "green")
        self.assert_reachable()

    def execute(
        self,
        command: Any,
        cwd: Any = None,
        environment: Any = None,
        friendly_command: str | None = None,
        test_session: bool = False,
        immediately: bool = True,
        tty: bool = False,
        silent: bool = False,
        log: Any = None,
        interactive: bool = False,
        on_process_start: Any = None,
        on_process_end: Any = None,
        sourced_files: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Run a command in the guest; with `interactive` it gets the terminal of tmt, if any."""
        if self.is_dry_run:
            return tmt.utils.CommandOutput(stdout=None, stderr=None)
        exports = self._prepare_command_environment(environment).to_shell_exports()
        script = ShellScript.from_scripts(exports)
        if cwd is not None:
            script += ShellScript(f"cd {shlex.quote(str(cwd))}")
        for file in sourced_files or []:
            script += ShellScript(f"source {shlex.quote(str(file))}")
        script += command.to_script() if isinstance(command, Command) else command
        return self._run(
            Command(*COMMAND, "exec", self.guest_name, "--") + script.to_shell_command(),
            log=log or self._command_verbose_logger,
            friendly_command=friendly_command or str(command),
            silent=silent,
            interactive=interactive,
            on_process_start=on_process_start,
            on_process_end=on_process_end,
            **kwargs,
        )

    def _run_ansible(self, playbook: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse playbooks: ansible has no connection to guests of postroj."""
        message = f"'{playbook}' cannot be played: ansible has no connection to guests of postroj"
        raise tmt.utils.ProvisionError(message)

    def push(
        self,
        source: Any = None,
        destination: Any = None,
        options: Any = None,
        superuser: bool = False,
    ) -> None:
        """Copy a file or folder into the guest; without one, there is nothing to do."""
        if source and destination and not self.is_dry_run:
            contents = "/." if (options or DEFAULT_PUSH_OPTIONS).recursive else ""
            self._postroj("cp", f"{source}{contents}", f"{self.guest_name}:{destination}")

    def pull(self, source: Any = None, destination: Any = None, options: Any = None) -> None:
        """Copy a file or folder from the guest; without one, there is nothing to do."""
        if source and destination and not self.is_dry_run:
            self._postroj("cp", f"{self.guest_name}:{source}", str(destination))

    def reboot(self, mode: Any = RebootMode.SOFT, command: Any = None, waiting: Any = None) -> bool:
        """Shut the guest down and boot it again with its files."""
        if command or mode not in (RebootMode.SOFT, RebootMode.HARD):
            raise tmt.guest.RebootModeNotSupportedError(guest=self, mode=mode)
        if waiting is None:
            waiting = tmt.guest.default_reconnect_waiting()
            waiting.deadline = Deadline.from_seconds(RECONNECT)
        time = ("--time", "0") if mode is RebootMode.HARD else ()
        self._postroj("restart", *time, self.guest_name)
        is_back: bool = self.reconnect(waiting)
        return is_back

    def stop(self) -> None:
        """End the guest, and wait until nothing is left of it."""
        if self.guest_name:
            self._postroj("stop", self.guest_name)
            self.info("guest", "stopped", "green")
            self.guest_name = ""

    def remove(self) -> None:
        """Do nothing: a guest that was stopped has left nothing."""

    def _postroj(self, *words: str) -> Any:
        return self._run(Command(*COMMAND, *words), silent=True)

    def _run(self, command: Command, **kwargs: Any) -> Any:
        return self._run_guest_command(command, environment=Environment.from_environ(), **kwargs)


@tmt.steps.provides_method("postroj")
class ProvisionPostroj(tmt.steps.provision.ProvisionPlugin):  # type: ignore[misc]
    """
    Boot a guest with postroj, under its own systemd.

    .. code-block:: yaml

        provision:
            how: postroj
            image: debian-trixie
            options: --memory=1G

    Images are those of ``postroj list-images``. Options are those of ``postroj run``.
    """

    _data_class = ProvisionPostrojData
    _guest_class = GuestPostroj
    _thread_safe = True
    _guest = None

    def go(self, *, logger: Any = None) -> None:
        """Boot the guest."""
        super().go(logger=logger)
        data = PostrojGuestData.from_plugin(self)
        data.show(verbose=self.verbosity_level, logger=self._logger)
        if data.hardware and data.hardware.constraint:
            self.warn("The 'postroj' provision plugin does not support hardware requirements.")
        self._guest = GuestPostroj(logger=self._logger, data=data, name=self.name, parent=self.step)
        self._guest.start()
        self._guest.setup()
