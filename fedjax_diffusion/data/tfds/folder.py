"""Folders that TFDS has prepared: search by name, description, reading, and errors in one line.

``DATA_DIR/NAME[/CONFIG]/VERSION`` holds ``dataset_info.json``, ``features.json`` and the shards of
each split, ArrayRecord or TFRecord files. Reading needs no TensorFlow.
"""

import contextlib
import dataclasses
import fnmatch
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import absl.logging

from fedjax_diffusion.data.image_cache import hash_files
from fedjax_diffusion.data.tfds.array_records import read_array_records
from fedjax_diffusion.data.tfds.description import check_description
from fedjax_diffusion.data.tfds.tfrecord import read_tfrecords

_NAME = re.compile(r"(?P<path>\w+(/[\w.+-]+)?)(:(?P<version>[\d.*]+))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


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
      name: its name in TFDS: ``"cifar10"``, ``"cifar10:3.0.2"``, ``"emnist/digits"``.
      data_dir: the folder of all data sets.
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
        """Returns the number of examples of a whole split."""
        return sum(shard.num_examples for shard in self.shards[split])

    def find_pieces(self, split: str) -> list[Piece]:
        """Returns the pieces of a split such as ``"train[:10%]+test"``, in order, found by TFDS.

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
            raise ValueError(f"split {split!r} of {self}: {one_line(error)}") from None
        pieces: list[Piece] = []
        for instruction in instructions:
            whole, offset = starts[str(instruction.filename)]
            start = offset + instruction.skip
            piece = Piece(whole, start, start + instruction.take)
            if pieces and (pieces[-1].split, pieces[-1].stop) == (piece.split, piece.start):
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

    def hash_source(self, split: str) -> str:
        """Returns the SHA-256 of the contents of all files that a split's examples depend on.

        Raises:
          ValueError: a shard is not there, or a file cannot be read.
        """
        try:
            return hash_files(self.source_files(split))
        except OSError as error:
            raise unreadable(self.name, self.data_dir, split, error) from error

    def read(self, piece: Piece) -> Iterator[bytes]:
        """Yields the serialized examples of a piece.

        Raises:
          ValueError: a file is missing, cannot be read, is damaged, or holds fewer or more examples
            than the folder's description states.
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
                raise unreadable(self.name, self.data_dir, piece.split, error) from error
            except ValueError as error:
                reason = f"its file {shard.path.name} is damaged: {one_line(error)}"
                raise self.refusal(piece.split, reason) from error

    def refusal(self, split: str, reason: str) -> ValueError:
        """Returns the error that names the folder, the split, the reason and the remedy."""
        return ValueError(
            f"split {split!r} of {self}: {reason}; prepare it again where TensorFlow is installed, "
            f"with `{build_command(self.name, self.data_dir)} --overwrite`"
        )

    def __str__(self) -> str:
        return f"{self.name!r} in {str(self.path)!r}"


def open_folder(name: str, data_dir: Path) -> TfdsFolder:
    """Returns the folder of a data set; the newest version if the name has none.

    Args:
      name: ``NAME[/CONFIG][:VERSION]``; a version may have stars, ``"cifar10:3.*.*"``.
      data_dir: the folder of all TFDS data sets.

    Raises:
      ValueError: the data set or the version is missing, or its description is damaged. One line
        that names the folder and the command that prepares it.
      OSError: the system does not permit reading it.
    """
    path = _find_version(name, data_dir)
    command = build_command(name, data_dir)
    advice = f"prepare it again where TensorFlow is installed, with `{command} --overwrite`"
    for file in ("dataset_info.json", "features.json"):
        if not (path / file).is_file():
            raise ValueError(f"data set {name!r} in {str(path)!r} has no {file}: {advice}")
        with (path / file).open("rb"):  # TFDS has one error for damaged files and denied access
            pass
    from tensorflow_datasets.core.read_only_builder import builder_from_directory

    try:
        check_description(path)
        with _quiet_absl():
            # Only the files count, not the version of the data set's code in TFDS.
            info: Any = builder_from_directory(path).info
            shards = {
                split: tuple(
                    Shard(Path(file), num_examples)
                    for file, num_examples in zip(part.filepaths, part.shard_lengths, strict=True)
                )
                for split, part in info.splits.items()
            }
            features = dict(sorted(_flatten(info.features)))  # protobuf has no order
    except Exception as error:  # damaged JSON raises many kinds of errors
        raise ValueError(
            f"data set {name!r} in {str(path)!r} cannot be read ({one_line(error)}): {advice}"
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
    """Returns the shell command that prepares a data set."""
    folder = shlex.quote(str(data_dir))
    return f"tfds build {shlex.quote(name)} --data_dir={folder} --file_format=array_record"


def unreadable(name: str, data_dir: Path, split: str, error: OSError) -> ValueError:
    """Returns the error of files that exist but that the system does not permit to read.

    It does not advise to prepare the data again: the files may be intact.
    """
    return ValueError(
        f"split {split!r} of {name!r} in {str(data_dir)!r} cannot be read ({one_line(error)}): "
        f"permit reading and try again, or give the data_dir of a copy"
    )


def _find_version(name: str, data_dir: Path) -> Path:
    """Returns the folder of the requested version, or of the newest."""
    asked = _NAME.fullmatch(name)
    if asked is None:
        raise ValueError(f"data set {name!r} must be named NAME[/CONFIG][:VERSION]")
    advice = (
        f"prepare it where TensorFlow is installed, with `{build_command(name, data_dir)}`, or "
        f"give the data_dir that holds it; own pictures: data.name=folder (or npz) and "
        f"data.data_dir=FOLDER (or FILE.npz)"
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


def _flatten(features: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the features in a dictionary of features with their names within an example."""
    from tensorflow_datasets.core.features.features_dict import FeaturesDict

    for name, feature in features.items():
        if isinstance(feature, FeaturesDict):
            yield from _flatten(feature, f"{prefix}{name}/")
        else:
            yield prefix + name, feature


_READERS: dict[str, Any] = {"array_record": read_array_records, "tfrecord": read_tfrecords}


@contextlib.contextmanager
def _quiet_absl() -> Iterator[None]:
    """Keeps TFDS's advice (install OpenCV, ...) off stderr."""
    verbosity = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        yield
    finally:
        absl.logging.set_verbosity(verbosity)


def one_line(error: Exception) -> str:
    """Returns the text of an error in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]
