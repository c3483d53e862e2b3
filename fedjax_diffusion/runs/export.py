"""Export of a run's weights into a file that other programs read."""

from pathlib import Path

from fedjax_diffusion.experiment.checkpoint_files import read_part
from fedjax_diffusion.experiment.start import AVERAGE
from fedjax_diffusion.experiment.weight_files import read_weights, write_weights
from fedjax_diffusion.experiment.weights import hash_weights
from fedjax_diffusion.host.file_errors import explain_file_errors
from fedjax_diffusion.runs.folder import read_config
from fedjax_diffusion.runs.resumption import find_newest, open_checkpoints

MODELS = {"average": AVERAGE, "global": "params"}
"""Fields of a saved state by the name of the model in them."""


def export(
    workdir: str | Path,
    *,
    output: str | Path | None = None,
    format: str = "npz",
    model: str = "average",
) -> Path:
    """Writes the weights of a run's newest whole checkpoint into a file, and returns its path.

    An array is named by the keys on the way to it, joined by ``/``. Reads no data and builds no
    model.

    Args:
      workdir: a run folder.
      output: the file; its ending is the format. None: ``workdir/weights/round_00040.npz``, by the
        number of completed rounds.
      format: ``"npz"``, ``"safetensors"`` or ``"msgpack"``, if ``output`` is None.
      model: ``"average"``, the averaged model (EMA) from which images are drawn, or ``"global"``,
        the model of the last round.

    Raises:
      ValueError: the folder holds no run with a whole checkpoint, an argument is unknown, a package
        is missing, or the file exists and holds other weights.

    Guarantees:
      ``init_from`` reads the same numbers, bit by bit.
    """
    workdir = Path(workdir)
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    with explain_file_errors(workdir):
        checkpoints = open_checkpoints(workdir, read_config(workdir), dataset=None)
        round, reasons = find_newest(checkpoints)
        if round is None:
            raise ValueError(f"{workdir} has no whole checkpoint: {reasons or 'none yet'}")
        weights = read_part(checkpoints.path(round), MODELS[model])
        path = Path(output or workdir / "weights" / f"round_{round:05d}.{format}")
        if path.exists() and hash_weights(read_weights(path)) != hash_weights(weights):
            raise ValueError(f"{path} exists and holds other weights; choose another --output")
        write_weights(path, weights)
    return path
