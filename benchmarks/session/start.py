"""The start of a run: the default command and CIFAR-10's, with a cold and with a warm cache.

python -m benchmarks.session.start --output=FOLDER [--tiny] [--data_dir=TFDS_FOLDER]
"""

import shutil
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.session.child import end_on_request
from benchmarks.session.record import Part, Setting
from benchmarks.session.runs import Run, play, to_overrides

TINY = {
    "num_rounds": 2,
    "partition.num_clients": 3,
    "diffusion.num_steps": 10,
    "model.channels": 4,
    "model.channel_multipliers": "(1,)",
    "local_work.batch_size": 4,
    "local_work.local_steps": 2,
    "workload.cycles_per_example": 1e8,
    "allocator.baselines": ("full_precision", "fixed_bits:8:max_frequency"),
    "sampling.num_samples": 4,
    "sampling.num_steps": 2,
    "compute.cpu_devices": 1,
}
"""Settings of the default run in a rehearsal."""
SHORT = {
    "num_rounds": 2,
    "local_work.local_steps": 5,
    "compute.dtype": "bfloat16",
    "sampling.num_samples": 4,
    "sampling.num_steps": 2,
}
"""Settings of the CIFAR-10 run, of which only the start is measured."""
TINY_CIFAR10 = {
    **TINY,
    "cohort_size": "None",
    "model.num_res_blocks": 1,
    "model.attention_resolutions": "()",
}
LIMITS = {"default": (150.0, 60.0), "cifar10": (240.0, 120.0)}
"""Seconds of a run with a cold and with a warm cache."""


def list_arguments(name: str, setting: Setting) -> tuple[str, list[str]]:
    """Returns the module and the arguments of a run."""
    if name == "default":
        return "fedjax_diffusion", to_overrides(TINY) if setting.is_tiny else []
    changed = SHORT | (TINY_CIFAR10 if setting.is_tiny else {})
    module, data = "fedjax_diffusion", {"data.data_dir": setting.data_dir}
    if setting.data_dir is None:
        module, data = "benchmarks.session.noise_run", {"data.name": "noise"}
    return module, ["--config=cifar10", *to_overrides(changed | data)]


def find_cache(setting: Setting, name: str) -> Path:
    """Returns the cache folder of a run, the same in a continued session."""
    number = zlib.crc32(str(setting.output.resolve()).encode())
    return Path(tempfile.gettempdir()) / f"accelerator-session-{number:08x}" / name


def main(argv: Sequence[str] | None = None) -> None:
    """Runs each command twice."""
    part = Part.open("start", argv)
    for name, limits in LIMITS.items():
        module, arguments = list_arguments(name, part.setting)
        cache = find_cache(part.setting, name)
        cold, warm = f"{name}, cold", f"{name}, warm"
        if not part.has(warm) and not cache.exists():
            part.cases.pop(cold, None)  # the warm run needs the cold run's cache
        if not part.has(cold):
            shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        is_short = part.setting.is_tiny and name != "default"
        for case, limit in zip((cold, warm)[: 1 if is_short else 2], limits, strict=False):
            run = Run(arguments, cache, limit, module)
            part.measure(case, lambda case=case, run=run: play(part, case, run))
    shutil.rmtree(find_cache(part.setting, ""), ignore_errors=True)
    part.complete()


if __name__ == "__main__":
    end_on_request()
    main()
