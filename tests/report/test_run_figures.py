"""Figures that need the folders of runs: clients, devices, labels, images; and files of figures."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from fedjax_diffusion.data import load_images
from fedjax_diffusion.host.progress import Progress
from fedjax_diffusion.report.figures import list_figures, save_figures
from fedjax_diffusion.report.figures.labels import count_labels
from fedjax_diffusion.report.figures.samples import choose_samples
from fedjax_diffusion.report.figures.shares import sum_devices
from fedjax_diffusion.runs.records import CONFIG, METRICS
from tests.report.made_up import METHODS, hash_of, make_tables
from tests.runs.test_figure import make_record, write_run
from tests.tiny import tiny_config


def test_samples_are_the_last_within_equal_joules(tmp_path):
    folders = {}
    for method in METHODS:
        folders[hash_of(method, 0)] = tmp_path / method
        (tmp_path / method / "samples").mkdir(parents=True)
        for rounds in (1, 3, 6):
            path = tmp_path / method / "samples" / f"round_{rounds:05d}.png"
            Image.new("L", (8, 8), 10 * rounds).save(path)
    tables = make_tables(num_seeds=2, folders=folders)
    samples, budget, seed = choose_samples(tables)
    assert (budget, seed) == (32.0, 0)  # one round of full precision
    assert [(s.setting, s.rounds, s.joules) for s in samples] == [
        *(("fixed_bits:2", 6, 12.0), ("fixed_bits:8", 3, 24.0)),
        *(("on_demand", 6, 30.0), ("full_precision", 1, 32.0)),
    ]
    figure = next(figure for figure in list_figures(tables) if figure.name == "samples")
    assert (figure.title, "The joules differ" in figure.caption) == ("Images of each setting", True)
    titles = [axes.get_title() for axes in figure.draw().axes]
    assert titles[1] == "fixed_bits:8\nround 3, 24 J"


CONFIG_OF_A_RUN = {
    "seed": 3,
    "partition": {"num_clients": 5},
    "devices": {
        "fleet": "mixed",
        "min_distance_meters": 50.0,
        "max_distance_meters": 500.0,
        "bandwidth_hz": 1e6,
        "min_bits": None,
        "max_bits": None,
    },
}


def test_a_run_has_its_clients_bits_and_the_energy_of_its_devices(tmp_path):
    spent = {"client_compute_joules": [1.0, 2.0], "client_transmit_joules": [0.5, 0.0]}
    records = [make_record(r, cohort=[r, 4], **spent) for r in range(3)]
    write_run(tmp_path, records)
    (tmp_path / CONFIG).write_text(json.dumps(CONFIG_OF_A_RUN))
    tables = make_tables(["on_demand"], 1)
    own = dataclasses.replace(
        tables, kind="run", axes=(), folders={hash_of("on_demand", 0): tmp_path}
    )
    figures = {figure.name: figure for figure in list_figures(own)}
    assert {"training", "client_bits", "device_energy", "loss_progress"} <= set(figures)
    (image,) = figures["client_bits"].draw().axes[0].images
    bits = np.ma.filled(image.get_array(), 0)
    assert bits[[0, 1, 2], [0, 1, 2]].tolist() == [4, 4, 4]
    assert bits.sum() == 12
    sums = sum_devices(tmp_path)
    assert sum(compute for compute, _ in sums.values()) == 9.0
    assert sum(transmit for _, transmit in sums.values()) == 1.5
    assert [name.split()[0] for name in sums] == ["sensor", "phone", "laptop"]
    (tmp_path / METRICS).unlink()
    assert not {"training", "client_bits", "device_energy"} & {f.name for f in list_figures(own)}


def test_labels_are_counted_by_client(tmp_path):
    (tmp_path / CONFIG).write_text(tiny_config().to_json())
    counts = count_labels(tmp_path)
    dataset = load_images("digits", "train")
    assert counts.shape == (3, 10)
    assert counts.sum(axis=0).tolist() == np.bincount(dataset.labels).tolist()


class Kept(Progress):
    """A progress display that keeps its lines."""

    def __init__(self):
        self.lines = []

    def tell(self, text):
        self.lines.append(text)


def test_all_figures_are_written_and_one_that_fails_is_named(tmp_path):
    picture = tmp_path / "run" / "samples" / "round_00006.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"no picture")
    folders = {hash_of(method, 0): tmp_path / "run" for method in METHODS}
    tables = make_tables(list(METHODS)[2:], 1, folders=folders)
    named = {figure.name: figure for figure in list_figures(tables)}
    samples = named.pop("samples")
    first, *_, last = named.values()
    figures = [first, samples, last]
    kept = Kept()
    paths = save_figures(figures, tmp_path / "figures", ("pdf", "svg"), kept)
    names = [f"{figure.name}{suffix}" for figure in (first, last) for suffix in (".pdf", ".svg")]
    assert sorted(path.name for path in paths) == sorted(names)
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        path.name for path in paths
    )
    assert [line.split(":")[0] for line in kept.lines] == ["samples is left out"]
    with pytest.raises(ValueError, match="formats: must be some of png, pdf, svg; got 'jpg'"):
        save_figures(figures, tmp_path, ("jpg",))
