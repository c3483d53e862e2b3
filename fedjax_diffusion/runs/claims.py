"""Claims: one process at a time works on a run, and a dead one is replaced.

A claim on NAME is a file ``NAME.N`` that its owner alone could create (``O_EXCL``). The owner is
the highest N. The file's time is the owner's heartbeat. A claim is free to others when it is
released (``NAME.N.released`` exists) or stale. To take it over is to create ``NAME.N+1``.

Nothing is renamed, emptied or deleted, so a number never comes back. The argument is this:

- Two processes that judge N free, at any two times, both try to create N+1: one succeeds, the other
  looks at N+1 and judges again. A slow one cannot hit a later claim: its number exists by then.
- An owner that was taken for dead sees N+1 before it writes, and leaves. Its release marks N, and
  nobody asks about N any more.
- A release by deletion would let N be created twice, and a slow thief of the first N would steal
  the second. Therefore it is a file of its own.
- A process that was killed before it wrote its name holds an empty claim, and only age ends it.

Ages are differences of two times of the file server: the claim's, and that of a file touched now.
No local clock is asked. Between looking for N+1 and writing, an owner may be overtaken: it must
look again before everything that it would not like to be written twice. On NFS, looking may lag by
its attribute cache (a minute at most), which the ten minutes are long against.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fedjax_diffusion.host import shared_files
from fedjax_diffusion.host.process_life import describe_process, is_surely_dead

HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 600.0
FOLDER = "claims"
"""Of a run folder and of a sweep."""
_RELEASED = ".released"
_RUN = "run"
"""Name of the claim in a run folder."""


class Owner(NamedTuple):
    """The newest claim on a name.

    Attributes:
      number: N, >= 1.
      state: ``"live"``, ``"stale"`` or ``"released"``.
      about: worker, host, pid, process_start, pid_namespace, boot_id, since; empty if its process
        was killed before it wrote them.
    """

    number: int
    state: str
    about: Mapping[str, Any]


class ClaimedError(ValueError):
    """Another process works on it. Attribute ``owner`` says which one."""

    def __init__(self, what: str, owner: Owner, stale_seconds: float = STALE_SECONDS):
        about = {name: owner.about.get(name, "unknown") for name in ("pid", "host", "since")}
        super().__init__(
            f"{what}: process {about['pid']} on host {about['host']} works on it since "
            f"{about['since']}; wait for its end. Of a process that was killed the claim ends "
            f"{stale_seconds / 60:g} minutes after its last sign of life at the latest"
        )
        self.owner = owner


class LostClaimError(RuntimeError):
    """Another process took the run over, as this one gave no sign of life for too long."""


class Claim:
    """A claim that this process holds; a thread keeps its heartbeat. A context: it is released."""

    def __init__(self, path: Path, content: bytes, heartbeat_seconds: float):
        """Starts the heartbeat of a claim that ``take`` has created."""
        name, _, number = path.name.rpartition(".")
        self._path, self._content = path, content
        self._next = path.with_name(f"{name}.{int(number) + 1}")
        self._is_over = threading.Event()
        arguments = (path, heartbeat_seconds, self._is_over)
        threading.Thread(target=_beat, args=arguments, name="claim", daemon=True).start()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_) -> None:
        self.release()

    def is_owner(self) -> bool:
        """Returns whether nobody has taken it over; asked before results are written."""
        if self._is_over.is_set() or self._next.exists():  # numbers have no gaps
            return False
        try:
            return self._path.read_bytes() == self._content  # the folder may have been emptied
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Lets others take it over at once; repeated calls do nothing."""
        self._is_over.set()
        _mark_released(self._path)


class FolderClaim:
    """A run folder's claim, held by the first of the processes that play the run."""

    def __init__(self, claim: Claim | None, agree: Callable[[int], int]):
        """Keeps the claim, None in all processes but the first."""
        self._claim, self._agree = claim, agree

    def __enter__(self) -> "FolderClaim":
        return self

    def __exit__(self, *_) -> None:
        if self._claim is not None:
            self._claim.release()

    def is_owner(self) -> bool:
        """Returns whether nobody has taken the folder over; all processes ask, and agree."""
        return bool(self._agree(int(self._claim is not None and self._claim.is_owner())))

    def check(self) -> None:
        """Raises LostClaimError unless this run still owns the folder; asked like ``is_owner``."""
        if not self.is_owner():
            raise LostClaimError("another process took this run over; it goes on there")


def take(
    folder: str | Path,
    name: str,
    *,
    what: str | None = None,
    worker: str | None = None,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    stale_seconds: float = STALE_SECONDS,
) -> Claim:
    """Returns a new claim on a name: of its first owner, or in the place of one that is gone.

    Args:
      folder: of the claims, made if needed.
      name: of the run, as a file may be called.
      what: how an error calls the run; None: by the claim's path.
      worker: how the owner calls itself; None: by host and pid.
      heartbeat_seconds: between signs of life.
      stale_seconds: without a sign of life after which a claim is free, many heartbeats.

    Raises:
      ClaimedError: another process holds it, or this one; names the owner.
      OSError: the folder cannot be written to.

    Guarantees:
      Of several processes at once one gets it. A run that was finished meanwhile may be claimed:
      look for its result once more afterwards.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shared_files.is_reliable(folder)  # says so if not; one process at a time may go on
    now = shared_files.read_server_clock(folder)
    number = _list_newest(folder).get(name, 0)
    while True:
        if number:
            owner = _judge(folder / f"{name}.{number}", now, stale_seconds)
            if owner.state == "live":
                raise ClaimedError(what or str(folder / name), owner, stale_seconds)
        number += 1
        path = folder / f"{name}.{number}"
        with contextlib.suppress(FileExistsError):  # another was faster: judge its claim
            return Claim(path, _write_claim(path, worker, now), heartbeat_seconds)


def claim_folder(
    workdir: str | Path,
    *,
    worker: str | None = None,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    stale_seconds: float = STALE_SECONDS,
) -> FolderClaim:
    """Returns the claim on a run folder; of several processes of one run the first one takes it.

    Args:
      workdir: the run folder, made if needed. The claims are in its folder ``claims``.
      worker: as in ``take``, like the following ones.
      heartbeat_seconds: as in ``take``.
      stale_seconds: as in ``take``.

    Raises:
      ValueError: another process works in the folder; in all processes of the run.
      OSError: the folder cannot be written to.
    """
    from fedjax_diffusion.host.processes import agree, is_primary  # imports JAX

    claim, refusal = None, None
    if is_primary():
        try:
            claim = take(
                Path(workdir) / FOLDER,
                _RUN,
                what=str(workdir),
                worker=worker,
                heartbeat_seconds=heartbeat_seconds,
                stale_seconds=stale_seconds,
            )
        except (ValueError, OSError) as error:  # the others wait for an answer
            refusal = error
    if not agree(int(refusal is None)):
        raise refusal or ValueError(f"{workdir}: the run's first process got no claim on it")
    return FolderClaim(claim, agree)


def check_free(workdir: str | Path) -> None:
    """Raises ClaimedError if another process works in a run folder; takes no claim."""
    owner = read_owners(Path(workdir) / FOLDER).get(_RUN)
    if owner is not None and owner.state == "live":
        raise ClaimedError(str(workdir), owner)


def read_owners(folder: Path, stale_seconds: float = STALE_SECONDS) -> dict[str, Owner]:
    """Returns the newest claim on each name in a folder of claims; writes a moment's file there.

    Where that cannot be written, no claim is found stale by its age.
    """
    if not folder.exists():
        return {}
    try:
        now = shared_files.read_server_clock(folder)
    except OSError:
        now = 0.0
    newest = _list_newest(folder).items()
    return {name: _judge(folder / f"{name}.{n}", now, stale_seconds) for name, n in newest}


def _write_claim(path: Path, worker: str | None, now: float) -> bytes:
    """Creates a claim and returns its content, made ready before: no claim is empty for long.

    Where there is no room for it, the claim is released.
    """
    process = describe_process()
    since = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    name = worker or f"{process['host']}-{process['pid']}"
    content = json.dumps({"worker": name, **process, "since": since}).encode()
    descriptor = shared_files.create(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        shared_files.touch(path)
    except OSError:
        _mark_released(path)
        raise
    return content


def _mark_released(path: Path) -> None:
    with contextlib.suppress(OSError):  # then the end of the process, or age, releases it
        os.close(shared_files.create(path.with_name(path.name + _RELEASED)))


def _beat(path: Path, seconds: float, is_over: threading.Event) -> None:
    while not is_over.wait(seconds):
        with contextlib.suppress(OSError):  # the server may come back
            shared_files.touch(path)


def _list_newest(folder: Path) -> dict[str, int]:
    """Returns the highest number of each name that was ever claimed."""
    newest: dict[str, int] = {}
    for entry in folder.iterdir():
        name, _, number = entry.name.rpartition(".")
        if name and number.isdecimal():
            newest[name] = max(newest.get(name, 0), int(number))
    return newest


def _judge(path: Path, now: float, stale_seconds: float) -> Owner:
    """Returns the state of a claim; ``now`` was read before, so that a doubt is in its favour."""
    about, beat = {}, now  # a claim that cannot be read, as it comes or goes, is live
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        beat = os.fstat(file.fileno()).st_mtime  # opened: a network's cache is asked again
        with contextlib.suppress(ValueError, TypeError):
            about = dict(json.loads(file.read()))
    if path.with_name(path.name + _RELEASED).exists():
        state = "released"
    else:
        is_stale = now - beat > stale_seconds or is_surely_dead(about)
        state = "stale" if is_stale else "live"
    return Owner(int(path.name.rpartition(".")[2]), state, about)
