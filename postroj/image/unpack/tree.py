"""What the layers of an image amount to: which member of which layer is found under which name.

The rules are those of the OCI image specification (layer.md), and where it is silent those of
containerd:

- What comes later replaces what was there; a directory takes the attributes of the later one.
- `.wh.NAME` deletes NAME of the layers below, `.wh..wh..opq` all that they have in its directory.
- A symlink on the way to a member is followed, inside of the tree. A member that is a directory
  itself takes the place of a symlink, and hides what that led to.
- A hard link shares the file that its target was at that moment, also if that is replaced later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from postroj.errors import ImageError
from postroj.image.unpack.pack import BLOCK, MOST_UNPACKED
from postroj.image.unpack.tarstream import DIRECTORY, LINK, SYMLINK, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.image.unpack.tarstream import Member

WHITEOUT = b".wh."
BOOKKEEPING = b".wh..wh."
"""Begins what AUFS keeps for itself."""
OPAQUE = b".wh..wh..opq"

MOST_LAYERS = 500
"""Docker has 127 at most."""
MOST_MEMBERS = 2_000_000
"""Members and folders; the largest images have some hundred thousand."""
MOST_NAMES = 256 << 20
"""Bytes of all their names."""
MOST_FOLLOWED = 16_000_000
"""Parts of symlinks that are followed, all in all."""
LONGEST_PATH, LONGEST_PART = 4096, 255
"""Bytes, as Linux has it."""
DEEPEST = 256
"""Folders in each other."""
MOST_LINKS = 40
"""Symlinks on the way to one member, as Linux has it."""

IMPLIED = -1
"""The number of a directory that no member stands for."""


class Moved(NamedTuple):
    """A member that is found at another place than its header says: a hard link, for example."""

    number: int
    layer: int
    """The one that put it there."""


@dataclass(slots=True)
class Directory:
    """A directory of the tree."""

    number: int
    layer: int
    cleared: int
    """The last layer that hid what layers below it had here."""
    elsewhere: bool = False
    """Whether it is at another place than its header says."""
    children: dict[bytes, Node] = field(default_factory=dict)


Node = int | Moved | Directory
"""What a name stands for; a number is a member that is where its header says."""


@dataclass(frozen=True, kw_only=True)
class CopyPlan:
    """Which members are copied; they are numbered in their order through all layers."""

    kept: bytearray
    """1 for each that is copied as it is."""
    names: dict[int, list[bytes]]
    """Of each that has names beside or instead of that in its header."""
    unchanged: bool
    """Whether all members of all layers are to be copied, unchanged."""


class Tree:
    """What the layers so far amount to."""

    def __init__(self) -> None:
        self.layer = -1
        self.begin = 0
        """Number of the first member of the layer."""
        self.count = 0
        """Members so far."""
        self.root = Directory(IMPLIED, 0, 0)
        self.links: dict[int, bytes] = {}
        """Where symlinks lead."""
        self.unchanged = True
        self._nodes = self._named = self._followed = self._unpacked = 0

    def begin_layer(self) -> None:
        """Go on with the next layer."""
        self.layer += 1
        self.begin = self.count
        if self.layer >= MOST_LAYERS:
            raise _too_much(MOST_LAYERS, "layers")

    def add(self, member: Member) -> None:
        """Take a member.

        :raises ImageError: if it cannot be part of an image.
        """
        number = self.count
        self.count += 1
        self._measure(member)
        parts = split(member.name)
        if any(part.startswith(WHITEOUT) for part in parts):
            self.unchanged = False
            self._whiteout(parts)
            return
        literal = not member.odd and _is_literal(member, parts)
        if not parts:
            self._add_root(member, number, literal=literal)
            return
        parent, direct = self._descend(parts[:-1])
        self._put(parent, parts[-1], member, number, elsewhere=not (direct and literal))

    def _measure(self, member: Member) -> None:
        self._nodes += 1
        self._named += len(member.name) + len(member.link)
        self._unpacked += BLOCK + member.unpacked
        if self._nodes > MOST_MEMBERS:
            raise _too_much(MOST_MEMBERS, "files")
        if self._named > MOST_NAMES:
            raise _too_much(MOST_NAMES, "bytes of names")
        if self._unpacked > MOST_UNPACKED:
            raise _too_much(MOST_UNPACKED, "bytes of data")

    def _add_root(self, member: Member, number: int, *, literal: bool) -> None:
        if member.kind != DIRECTORY:
            message = "a layer has a root that is no directory"
            raise ImageError(message)
        self._restate(self.root, number, elsewhere=not literal)

    def _put(
        self, parent: Directory, name: bytes, member: Member, number: int, *, elsewhere: bool
    ) -> None:
        """Put a member into a directory, in the place of what has its name there."""
        old = parent.children.get(name)
        if member.kind == DIRECTORY and isinstance(old, Directory):
            self._restate(old, number, elsewhere=elsewhere)
            return
        new: Node
        if member.kind == DIRECTORY:
            new = Directory(number, self.layer, self.layer, elsewhere)
        elif member.kind == LINK:
            new = Moved(self._target(member), self.layer)
        else:
            new = Moved(number, self.layer) if elsewhere else number
        if member.kind == SYMLINK:
            self.links[number] = member.link
        if old is not None or elsewhere:
            self.unchanged = False
        parent.children[name] = new

    def _restate(self, directory: Directory, number: int, *, elsewhere: bool) -> None:
        """Let a directory that is there take the attributes of a member."""
        if elsewhere or directory.number != IMPLIED:
            self.unchanged = False
        directory.number, directory.layer, directory.elsewhere = number, self.layer, elsewhere

    def _target(self, member: Member) -> int:
        """Return the number of the member which a hard link shares."""
        parts = split(member.link)
        parent, direct = self._find(parts[:-1])
        node = parent.children.get(parts[-1]) if parent and parts else None
        if node is None or isinstance(node, Directory):
            message = "a layer has a hard link that leads nowhere"
            raise ImageError(message, evidence=f"{show(member.name)} -> {show(member.link)}")
        if not (direct and member.link.removeprefix(b"./") == b"/".join(parts)):
            self.unchanged = False
        return node.number if isinstance(node, Moved) else node

    def _whiteout(self, parts: list[bytes]) -> None:
        """Hide what layers below have."""
        *above, name = parts
        if any(part.startswith(BOOKKEEPING) for part in parts) and parts[-1:] != [OPAQUE]:
            return
        victim = name.removeprefix(WHITEOUT)
        if victim in (b"", b".", b"..") or any(part.startswith(WHITEOUT) for part in above):
            message = "a layer has a whiteout that is malformed"
            raise ImageError(message, evidence=show(b"/".join(parts)))
        directory, _ = self._find(above)
        if directory is None:
            return
        if name == OPAQUE:
            self._clear(directory)
        else:
            self._hide(directory, victim)

    def _hide(self, parent: Directory, name: bytes) -> None:
        """Take away what layers below have of a name."""
        node = parent.children.get(name)
        if isinstance(node, Directory):
            self._clear(node)
            if not self._is_lower(node):
                return
            if node.children:
                node.number, node.layer, node.elsewhere = IMPLIED, self.layer, False
                return
        if node is not None and self._is_lower(node):
            del parent.children[name]

    def _clear(self, directory: Directory) -> None:
        """Take away what layers below have in a directory."""
        if directory.cleared < self.layer:
            directory.cleared = self.layer
            for name in list(directory.children):
                self._hide(directory, name)

    def _is_lower(self, node: Node) -> bool:
        return node < self.begin if isinstance(node, int) else node.layer < self.layer

    def _descend(self, parts: Sequence[bytes]) -> tuple[Directory, bool]:
        """Return a directory, made where there is none; whether no symlink was on the way."""
        found, direct = self._walk(parts, create=True)
        assert found
        return found, direct

    def _find(self, parts: Sequence[bytes]) -> tuple[Directory | None, bool]:
        """Return a directory, if there is one; whether no symlink was on the way."""
        return self._walk(parts, create=False)

    def _walk(self, parts: Sequence[bytes], *, create: bool) -> tuple[Directory | None, bool]:
        way, waiting, links = [self.root], list(reversed(parts)), 0
        while waiting:
            part = waiting.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del way[max(1, len(way) - 1) :]
                continue
            node = way[-1].children.get(part)
            if not isinstance(node, Directory):
                link = None if node is None else self._link(node)
                if link is not None:
                    links += 1
                    self._follow(way, waiting, link, links, parts)
                    continue
                if not create:
                    return None, not links
                node = self._make(way[-1], part)
            way.append(node)
            if len(way) > DEEPEST:
                raise _too_much(DEEPEST, "folders in each other")
        return way[-1], not links

    def _link(self, node: int | Moved) -> bytes | None:
        """Return where a symlink leads, None if it is none."""
        return self.links.get(node.number if isinstance(node, Moved) else node)

    def _follow(
        self,
        way: list[Directory],
        waiting: list[bytes],
        link: bytes,
        links: int,
        parts: Sequence[bytes],
    ) -> None:
        """Go where a symlink leads, from the directory in which it lies."""
        ahead = link.split(b"/")
        self._followed += len(ahead)
        if links > MOST_LINKS or self._followed > MOST_FOLLOWED:
            message = "a layer has symlinks that lead round in circles"
            raise ImageError(message, evidence=show(b"/".join(parts)))
        if link.startswith(b"/"):
            del way[1:]
        waiting.extend(reversed(ahead))

    def _make(self, parent: Directory, name: bytes) -> Directory:
        """Make a directory that no member stands for, as yet."""
        self._nodes += 1
        if name in parent.children:
            self.unchanged = False
        made = Directory(IMPLIED, self.layer, self.layer)
        parent.children[name] = made
        return made

    def plan(self) -> CopyPlan:
        """Say what is to be copied."""
        kept, names = bytearray(self.count), dict[int, list[bytes]]()
        for path, node in self._all():
            if isinstance(node, int):
                kept[node] = 1
            elif isinstance(node, Moved) or node.elsewhere:
                names.setdefault(node.number, []).append(path)
            elif node.number != IMPLIED:
                kept[node.number] = 1
        return CopyPlan(kept=kept, names=names, unchanged=self.unchanged and self.layer == 0)

    def _all(self) -> Iterator[tuple[bytes, Node]]:
        """Yield every path and what it stands for."""
        waiting: list[tuple[bytes, Directory]] = [(b"", self.root)]
        yield b"./", self.root
        while waiting:
            prefix, directory = waiting.pop()
            for name, node in directory.children.items():
                path = prefix + name
                yield path, node
                if isinstance(node, Directory):
                    waiting.append((path + b"/", node))


def split(name: bytes) -> list[bytes]:
    """Return the parts of a path below the root.

    :raises ImageError: if it leads out, or is none that Linux could have.
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        message = "a layer has members whose names lead out of it"
        raise ImageError(message, evidence=show(name))
    if len(name) > LONGEST_PATH or b"\0" in name or max(map(len, parts), default=0) > LONGEST_PART:
        message = "a layer has a name that no file can have"
        raise ImageError(message, evidence=show(name))
    return parts


def _is_literal(member: Member, parts: list[bytes]) -> bool:
    """Whether every tool finds the same name in a member's header."""
    if not parts:
        return member.name in (b".", b"./", b"/")
    name = member.name.removeprefix(b"./")
    if member.kind == DIRECTORY:
        name = name.removesuffix(b"/")
    return name == b"/".join(parts)


def _too_much(limit: int, what: str) -> ImageError:
    return ImageError(f"the image has more than {limit:,} {what}")
