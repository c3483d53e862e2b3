"""Check that the images of a sweep were measured by the same features."""

from collections.abc import Sequence

from fedjax_diffusion.sweep.listing import PointName
from fedjax_diffusion.sweep.states import PointState


def list_conflicts(points: Sequence[PointName], states: Sequence[PointState]) -> list[str]:
    """Returns a line for each point whose quality is not comparable with the others'.

    Points of the same data must have been measured by the same features. Earlier versions kept no
    classifier in the sweep's folder, and one that was trained on another machine may be another.
    The first point of each data set is the norm.
    """
    norms: dict[str, tuple[str, str]] = {}
    lines = []
    for point, state in zip(points, states, strict=True):
        if not state.evaluation:
            continue
        quality = state.evaluation["quality"]
        names = ("extractor", "extractor_fingerprint", "measure_version")
        features = "{} {}, version {}".format(*(quality[name] for name in names))
        data = repr(state.evaluation["asked"].get("data"))
        norm, expected = norms.setdefault(data, (point.label, features))
        if features != expected:
            lines.append(
                f"not comparable: {point.label} was measured by {features}, {norm} by {expected}; "
                "remove evaluation.json of both, and repeat the command: the sweep's classifier "
                "measures them again"
            )
    return lines
