"""The weights that a run starts from: those of another run or of a file, known by their SHA-256."""

from pathlib import Path

from fedjax_diffusion.experiment.checkpoint_files import DamagedError, read_part
from fedjax_diffusion.experiment.checkpoints import CHECKPOINTS, Checkpoints
from fedjax_diffusion.experiment.weight_files import read_weights
from fedjax_diffusion.experiment.weights import Weights, hash_weights, to_params
from fedjax_diffusion.host.weight_source import find_hash, find_path, join_hash
from fedjax_diffusion.types import Params

AVERAGE = "ema_params"
"""Field of a state: the averaged model, from which images are drawn."""


def identify(source: str) -> str:
    """Returns a path with the SHA-256 of its weights behind it; the path may have it already.

    Args:
      source: of a run folder, or of a file that ``weight_files`` reads.

    Raises:
      ValueError: there are no weights.
    """
    if find_hash(source) is not None:
        return source
    return join_hash(source, hash_weights(_read(source)))


def read_start(source: str, like: Params) -> Params:
    """Returns the weights of a source as the parameters of a model, on the host.

    Args:
      source: with its hash.
      like: parameters of the model, or their shapes and dtypes.

    Raises:
      ValueError: they cannot be read, are others than the hash says, or do not fit the model.
    """
    path, weights = find_path(source), _read(find_path(source))
    if (found := hash_weights(weights)) != find_hash(source):
        raise ValueError(
            f"init_from: {path} holds other weights than when the run was set up (SHA-256 {found}, "
            f"not {find_hash(source)}); restore it, or choose another --workdir"
        )
    try:
        return to_params(weights, like)
    except ValueError as error:
        raise ValueError(f"init_from: {path}: {error}") from error


def _read(path: str) -> Weights:
    """Returns the weights of a run folder's newest whole checkpoint, or of a file."""
    folder = Path(path).expanduser()
    try:
        if not folder.exists():
            raise ValueError(f"{path}: No such file or run folder")
        if not folder.is_dir():
            return read_weights(folder)
        checkpoints = Checkpoints(folder / CHECKPOINTS, keep=1)
        for round in checkpoints.rounds():
            try:
                checkpoints.verify(round)
                return read_part(checkpoints.path(round), AVERAGE)
            except DamagedError:
                continue
        raise ValueError(f"{path} holds no run with a whole checkpoint")
    except ValueError as error:
        raise ValueError(f"init_from: {error}") from error
