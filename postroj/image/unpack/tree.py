"""Merge layers: compute which member of which layer remains, under which names.

The rules are those of the OCI image specification (layer.md), and of containerd where that is
silent:

- A later entry replaces an earlier one; a directory takes the attributes of the later entry.
- `.wh.NAME` deletes NAME of the layers below, `.wh..wh..opq` everything they have in the directory.
- A symlink in the path of a member is followed, inside of the tree. A member that is a directory
  replaces a symlink, and hides the files behind it.
- A hard link shares the file that its target is at that moment, even if the target is replaced
  later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from postroj.errors import ImageError
from postroj.image.unpack.pack import BLOCK, MOST_UNPACKED
from postroj.image.unpack.tarstream import DIRECTORY, LINK, SYMLINK, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroj.image.unpack.tarstream import Member

WHITEOUT = b".wh."
BOOKKEEPING = b".wh..wh."
"""Prefix of AUFS's internal files."""
OPAQUE = b".wh..wh..opq"

MOST_LAYERS = 500
"""Docker allows 127."""
MOST_MEMBERS = 2_000_000
"""Members and folders; the largest images have some hundred thousand."""
MOST_NAMES = 256 << 20
"""Bytes of all names."""
MOST_FOLLOWED = 16_000_000
"""Path components of followed symlinks, in total."""
LONGEST_PATH, LONGEST_PART = 4096, 255
"""Bytes, the limits of Linux."""
DEEPEST = 256
"""Nesting of folders."""
MOST_LINKS = 40
"""Symlinks in one path, the limit of Linux."""

IMPLIED = -1
"""Number of a directory that no member describes."""


class Moved(NamedTuple):
    """A member whose final name differs from its header, such as a hard link."""

    number: int
    layer: int
    """The layer that put it there."""


@dataclass(slots=True)
class Directory:
    """A directory of the tree."""

    number: int
    layer: int
    cleared: int
    """Last layer that hid the content of lower layers."""
    elsewhere: bool = False
    """Whether the final name differs from the header."""
    children: dict[bytes, Node] = field(default_factory=dict)


Node = int | Moved | Directory
"""What a name refers to; a plain number is a member with the name in its header."""


@dataclass(frozen=True, kw_only=True)
class CopyPlan:
    """Which members are copied, numbered consecutively through all layers."""

    copied: bytearray
    """1 for each member that is copied under its own name."""
    names: dict[int, list[bytes]]
    """Additional or replacing names of members."""
    unchanged: bool
    """Whether everything is copied unchanged."""


class Tree:
    """The merged layers so far."""

    def __init__(self) -> None:
        self.layer = -1
        self.begin = 0
        """Number of the current layer's first member."""
        self.count = 0
        """Number of members so far."""
        self.root = Directory(IMPLIED, 0, 0)
        self.links: dict[int, bytes] = {}
        """Targets of symlinks."""
        self.unchanged = True
        self._nodes = self._named = self._followed = self._unpacked = 0

    def begin_layer(self) -> None:
        """Start the next layer."""
        self.layer += 1
        self.begin = self.count
        if self.layer >= MOST_LAYERS:
            raise _limit_exceeded(MOST_LAYERS, "layers")

    def add(self, member: Member) -> None:
        """Add a member of the current layer.

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
        literal = not member.ambiguous and _is_literal(member, parts)
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
            raise _limit_exceeded(MOST_MEMBERS, "files")
        if self._named > MOST_NAMES:
            raise _limit_exceeded(MOST_NAMES, "bytes of names")
        if self._unpacked > MOST_UNPACKED:
            raise _limit_exceeded(MOST_UNPACKED, "bytes of data")

    def _add_root(self, member: Member, number: int, *, literal: bool) -> None:
        if member.kind != DIRECTORY:
            message = "a layer has a root that is not a directory"
            raise ImageError(message)
        self._update(self.root, number, elsewhere=not literal)

    def _put(
        self, parent: Directory, name: bytes, member: Member, number: int, *, elsewhere: bool
    ) -> None:
        """Put a member into a directory, replacing an entry of the same name."""
        old = parent.children.get(name)
        if member.kind == DIRECTORY and isinstance(old, Directory):
            self._update(old, number, elsewhere=elsewhere)
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

    def _update(self, directory: Directory, number: int, *, elsewhere: bool) -> None:
        """Give an existing directory the attributes of a member."""
        if elsewhere or directory.number != IMPLIED:
            self.unchanged = False
        directory.number, directory.layer, directory.elsewhere = number, self.layer, elsewhere

    def _target(self, member: Member) -> int:
        """Return the number of the member that a hard link refers to."""
        parts = split(member.link)
        parent, direct = self._find(parts[:-1])
        node = parent.children.get(parts[-1]) if parent and parts else None
        if node is None or isinstance(node, Directory):
            message = "a layer has a hard link that leads nowhere"
            raise ImageError(
                message, evidence=f"{printable(member.name)} -> {printable(member.link)}"
            )
        if not (direct and member.link.removeprefix(b"./") == b"/".join(parts)):
            self.unchanged = False
        return node.number if isinstance(node, Moved) else node

    def _whiteout(self, parts: list[bytes]) -> None:
        """Apply a whiteout, which hides files of lower layers."""
        *above, name = parts
        if any(part.startswith(BOOKKEEPING) for part in parts) and parts[-1:] != [OPAQUE]:
            return
        victim = name.removeprefix(WHITEOUT)
        if victim in (b"", b".", b"..") or any(part.startswith(WHITEOUT) for part in above):
            message = "a layer has a whiteout that is malformed"
            raise ImageError(message, evidence=printable(b"/".join(parts)))
        directory, _ = self._find(above)
        if directory is None:
            return
        if name == OPAQUE:
            self._clear(directory)
        else:
            self._hide(directory, victim)

    def _hide(self, parent: Directory, name: bytes) -> None:
        """Remove the lower layers' entry of a name."""
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
        """Remove the lower layers' entries of a directory."""
        if directory.cleared < self.layer:
            directory.cleared = self.layer
            for name in list(directory.children):
                self._hide(directory, name)

    def _is_lower(self, node: Node) -> bool:
        return node < self.begin if isinstance(node, int) else node.layer < self.layer

    def _descend(self, parts: Sequence[bytes]) -> tuple[Directory, bool]:
        """Return a directory, created if missing, and whether its path had no symlinks."""
        found, direct = self._walk(parts, create=True)
        assert found
        return found, direct

    def _find(self, parts: Sequence[bytes]) -> tuple[Directory | None, bool]:
        """Return a directory, None if missing, and whether its path had no symlinks."""
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
                raise _limit_exceeded(DEEPEST, "folders in each other")
        return way[-1], not links

    def _link(self, node: int | Moved) -> bytes | None:
        """Return the target of a symlink; None for other nodes."""
        return self.links.get(node.number if isinstance(node, Moved) else node)

    def _follow(
        self,
        way: list[Directory],
        waiting: list[bytes],
        link: bytes,
        links: int,
        parts: Sequence[bytes],
    ) -> None:
        """Continue at the target of a symlink, relative to its directory."""
        ahead = link.split(b"/")
        self._followed += len(ahead)
        if links > MOST_LINKS or self._followed > MOST_FOLLOWED:
            message = "a layer has a loop of symlinks"
            raise ImageError(message, evidence=printable(b"/".join(parts)))
        if link.startswith(b"/"):
            del way[1:]
        waiting.extend(reversed(ahead))

    def _make(self, parent: Directory, name: bytes) -> Directory:
        """Create a directory that no member describes yet."""
        self._nodes += 1
        if name in parent.children:
            self.unchanged = False
        made = Directory(IMPLIED, self.layer, self.layer)
        parent.children[name] = made
        return made

    def plan(self) -> CopyPlan:
        """Return what is to be copied."""
        copied, names = bytearray(self.count), dict[int, list[bytes]]()
        for path, node in self._all():
            if isinstance(node, int):
                copied[node] = 1
            elif isinstance(node, Moved) or node.elsewhere:
                names.setdefault(node.number, []).append(path)
            elif node.number != IMPLIED:
                copied[node.number] = 1
        return CopyPlan(copied=copied, names=names, unchanged=self.unchanged and self.layer == 0)

    def _all(self) -> Iterator[tuple[bytes, Node]]:
        """Yield all paths and their nodes."""
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
    """Split a path into its components below the root.

    :raises ImageError: if it leads out of the root, or Linux does not allow it.
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        message = "a layer has members outside of its root"
        raise ImageError(message, evidence=printable(name))
    if len(name) > LONGEST_PATH or b"\0" in name or max(map(len, parts), default=0) > LONGEST_PART:
        message = "a layer has a name that Linux does not allow"
        raise ImageError(message, evidence=printable(name))
    return parts


def _is_literal(member: Member, parts: list[bytes]) -> bool:
    """Whether every tool reads the same name from a member's header."""
    if not parts:
        return member.name in (b".", b"./", b"/")
    name = member.name.removeprefix(b"./")
    if member.kind == DIRECTORY:
        name = name.removesuffix(b"/")
    return name == b"/".join(parts)


def _limit_exceeded(limit: int, what: str) -> ImageError:
    return ImageError(f"the image has more than {limit:,} {what}")
