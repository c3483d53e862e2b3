"""The description of a prepared data set, looked at before TFDS imports what it names."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FEATURES = "tensorflow_datasets.core.features"
_ALLOWED = {
    f"{_FEATURES}.{name}"
    for name in (
        "audio_feature.Audio",
        "bounding_boxes.BBoxFeature",
        "class_label_feature.ClassLabel",
        "dataset_feature.Dataset",
        "feature.Tensor",
        "features_dict.FeaturesDict",
        "image_feature.Image",
        "labeled_image.LabeledImage",
        "scalar.Scalar",
        "sequence_feature.Sequence",
        "tensor_feature.Tensor",
        "text_feature.Text",
        "translation_feature.Translation",
        "translation_feature.TranslationVariableLanguages",
        "video_feature.Video",
    )
}
_CLASS_NAMES = ("pythonClassName", "python_class_name", "type")
"""Keys of the name of a class: TFDS imports its module. The last one is of earlier versions."""
_MAX_BYTES = 1 << 26


def check_description(folder: Path) -> None:
    """Raises ValueError unless the files that describe a data set are harmless.

    They must be regular files of at most 64 MiB, and every class that ``features.json`` names must
    be a feature of TFDS.

    Args:
      folder: of one version of a data set.
    """
    files = [folder / name for name in ("dataset_info.json", "features.json")]
    for path in (*files, *sorted(folder.glob("*.labels.txt"))):
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path.name} is not a regular file of at most {_MAX_BYTES} bytes")
    for name in _find_classes(json.loads(files[-1].read_bytes())):
        if name not in _ALLOWED:
            raise ValueError(f"features.json names the class {name!r:.100}, no feature of TFDS")


def _find_classes(content: Any) -> Iterator[str]:
    """Yields the names of classes anywhere in a JSON value."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from (value[k] for k in _CLASS_NAMES if isinstance(value.get(k), str))
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
