"""Folders that TFDS has prepared: found by name, described, read, and refused in one line.

``DATA_DIR/NAME[/CONFIG]/VERSION`` holds ``dataset_info.json``, ``features.json`` and the shards of
each split, ArrayRecord or TFRecord files. Reading needs no TensorFlow.
"""

import contextlib
import dataclasses
import fnmatch
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import absl.logging

from fedjax_diffusion.data.tfrecord import read_tfrecords

_NAME = re.compile(r"(?P<path>\w+(/[\w.+-]+)?)(:(?P<version>[\d.*]+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_CHUNK = 256
"""Records that are read from an ArrayRecord file at a time."""


class Shard(NamedTuple):
    """One file of a split."""

    path: Path
    num_examples: int


class Piece(NamedTuple):
    """Examples ``start`` to ``stop - 1`` of a split."""

    split: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, eq=False)
class TfdsFolder:
    """One version of a prepared data set.

    Attributes:
      name: as TFDS knows it: ``"cifar10"``, ``"cifar10:3.0.2"``, ``"emnist/digits"``.
      data_dir: the folder that was searched.
      path: the version's folder.
      version: such as ``"3.0.2"``.
      file_format: ``"array_record"`` or ``"tfrecord"``.
      features: of one example, by name, sorted; nested ones as ``"attributes/Smiling"``.
      shards: of each split, in order.
    """

    name: str
    data_dir: Path
    path: Path
    version: str
    file_format: str
    features: dict[str, Any]
    shards: dict[str, tuple[Shard, ...]]
    _splits: Any

    def num_examples(self, split: str) -> int:
        """Returns how many examples a whole split has."""
        return sum(shard.num_examples for shard in self.shards[split])

    def find_pieces(self, split: str) -> list[Piece]:
        """Returns what ``split`` selects, in order: TFDS's own reading of ``"train[:10%]+test"``.

        Raises:
          ValueError: there is no such split or slice, or it is empty.
        """
        starts = {}
        for whole, shards in self.shards.items():
            offset = 0
            for shard in shards:
                starts[str(shard.path)] = (whole, offset)
                offset += shard.num_examples
        try:
            with _quiet_absl():
                instructions = self._splits[split].file_instructions
        except Exception as error:  # TFDS: ValueError, KeyError, AssertionError
            reason = _one_line(error)
            raise ValueError(f"split {split!r} of {self}: {reason}") from None
        pieces: list[Piece] = []
        for instruction in instructions:
            whole, offset = starts[str(instruction.filename)]
            start = offset + instruction.skip
            piece = Piece(whole, start, start + instruction.take)
            if pieces and pieces[-1][:3:2] == (whole, start):
                piece = pieces.pop()._replace(stop=piece.stop)
            pieces.append(piece)
        if not pieces or any(piece.stop <= piece.start for piece in pieces):
            raise ValueError(f"split {split!r} of {self} selects no examples")
        return pieces

    def source_files(self, split: str) -> list[Path]:
        """Returns all files that a split's examples depend on.

        Raises:
          ValueError: a shard is not there.
        """
        for shard in self.shards[split]:
            if not shard.path.is_file():
                raise self.refusal(split, f"its file {shard.path.name} is missing")
        names = ("dataset_info.json", "features.json")
        metadata = [path for name in names if (path := self.path / name).is_file()]
        return [
            *metadata,
            *sorted(self.path.glob("*.labels.txt")),
            *(shard.path for shard in self.shards[split]),
        ]

    def read(self, piece: Piece) -> Iterator[bytes]:
        """Yields the serialized examples of a piece.

        Raises:
          ValueError: a file is missing, cannot be read, is damaged, or holds fewer or more examples
            than the folder says.
        """
        self.source_files(piece.split)
        offset = 0
        for shard in self.shards[piece.split]:
            start = max(0, piece.start - offset)
            stop = min(piece.stop - offset, shard.num_examples)
            offset += shard.num_examples
            if start >= stop:
                continue
            try:
                yield from _READERS[self.file_format](shard.path, shard.num_examples, start, stop)
            except ImportError as error:
                raise ValueError(f"{self} cannot be read: pip install array_record") from error
            except OSError as error:
                reason = f"its file {shard.path.name} cannot be read ({error.strerror or error})"
                raise self.refusal(piece.split, reason) from error
            except ValueError as error:
                reason = f"its file {shard.path.name} is damaged: {error}"
                raise self.refusal(piece.split, reason) from error

    def refusal(self, split: str, reason: str) -> ValueError:
        """Returns the error that names the folder, the split, and what to do."""
        return ValueError(
            f"split {split!r} of {self}: {reason}; prepare it again where TensorFlow is installed, "
            f"with `{build_command(self.name, self.data_dir)} --overwrite`"
        )

    def __str__(self) -> str:
        return f"{self.name!r} in {str(self.path)!r}"


def open_folder(name: str, data_dir: Path) -> TfdsFolder:
    """Returns the folder of a data set, of its newest version if none is named.

    Args:
      name: ``NAME[/CONFIG][:VERSION]``; a version may have stars, ``"cifar10:3.*.*"``.
      data_dir: where TFDS keeps its data sets.

    Raises:
      ValueError: nothing is there, not this version, or its description cannot be read. One line
        that names the folder and the command which prepares it.
    """
    path = _find_version(name, data_dir)
    command = build_command(name, data_dir)
    advice = f"prepare it again where TensorFlow is installed, with `{command} --overwrite`"
    for file in ("dataset_info.json", "features.json"):
        if not (path / file).is_file():
            raise ValueError(f"data set {name!r} in {str(path)!r} has no {file}: {advice}")
    from tensorflow_datasets.core.read_only_builder import builder_from_directory

    try:
        with _quiet_absl():
            # The files alone decide, whatever version of the code TFDS ships.
            info: Any = builder_from_directory(path).info
            shards = {
                split: tuple(map(_shard, splits.filepaths, splits.shard_lengths))
                for split, splits in info.splits.items()
            }
            features = dict(sorted(_flatten(info.features)))  # protobuf has no order
    except Exception as error:  # as many kinds as there are ways to damage JSON
        reason = _one_line(error)
        raise ValueError(
            f"data set {name!r} in {str(path)!r} cannot be read ({reason}): {advice}"
        ) from error
    file_format = info.file_format.value
    if file_format not in _READERS:
        raise ValueError(
            f"data set {name!r} in {str(path)!r} must be of format {' or '.join(_READERS)}, it is "
            f"{file_format!r}: prepare it where TensorFlow is installed, with `{command}`"
        )
    version = str(info.version)
    return TfdsFolder(name, data_dir, path, version, file_format, features, shards, info.splits)


def build_command(name: str, data_dir: Path) -> str:
    """Returns the command that prepares a data set."""
    return f"tfds build {name} --data_dir={data_dir} --file_format=array_record"


def _find_version(name: str, data_dir: Path) -> Path:
    """Returns the folder of the version that is asked for, or of the newest."""
    asked = _NAME.fullmatch(name)
    if asked is None:
        raise ValueError(f"data set {name!r} must be named NAME[/CONFIG][:VERSION]")
    advice = (
        f"prepare it where TensorFlow is installed, with `{build_command(name, data_dir)}`, or "
        f"give the data_dir that holds it"
    )
    if not data_dir.is_dir():
        raise ValueError(f"data_dir {str(data_dir)!r}, for data set {name!r}, is missing: {advice}")
    folder = data_dir / asked["path"]
    versions = _versions(folder)
    if not versions:
        configs = [path.name for path in _folders(folder) if _versions(path)]
        if configs:
            raise ValueError(
                f"data set {name!r} in {str(data_dir)!r} has configs, name one: "
                + ", ".join(f"{asked['path']}/{config}" for config in configs)
            )
        raise ValueError(
            f"data set {name!r} is neither embedded (digits) nor prepared in {str(data_dir)!r}: "
            f"{advice}"
        )
    chosen = [v for v in versions if fnmatch.fnmatchcase(v, asked["version"] or "*")]
    if not chosen:
        raise ValueError(
            f"data set {name!r} in {str(data_dir)!r} has the versions {', '.join(versions)}, not "
            f"{asked['version']}: ask for one of them, or {advice}"
        )
    return folder / chosen[-1]


def _versions(folder: Path) -> list[str]:
    """Returns the names of the versions in a folder, the newest last."""
    names = [path.name for path in _folders(folder) if _VERSION.fullmatch(path.name)]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _shard(path: Any, num_examples: int) -> Shard:
    return Shard(Path(path), num_examples)


def _flatten(features: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the features below a dictionary of features, by their names within an example."""
    from tensorflow_datasets.core.features.features_dict import FeaturesDict

    for name, feature in features.items():
        if isinstance(feature, FeaturesDict):
            yield from _flatten(feature, f"{prefix}{name}/")
        else:
            yield prefix + name, feature


def _read_array_records(
    path: Path, num_records: int, start: int, stop: int
) -> Generator[bytes, None, None]:
    """Like ``read_tfrecords``; every chunk has a checksum, which the format's reader compares."""
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader: Any = ArrayRecordReader(str(path))
        found = reader.num_records()
        if found != num_records:
            reader.read([0])  # says what is wrong with the file, if anything is
            raise ValueError(f"it holds {found} records instead of {num_records}")
        for first in range(start, stop, _CHUNK):
            yield from reader.read([*range(first, min(first + _CHUNK, stop))])
    except (RuntimeError, IndexError) as error:
        raise ValueError(_one_line(error)) from error


_READERS: dict[str, Any] = {"array_record": _read_array_records, "tfrecord": read_tfrecords}


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Keeps TFDS's advice (install OpenCV, ...) off stderr."""
    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        yield
    finally:
        absl.logging.set_verbosity(verbosity)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
