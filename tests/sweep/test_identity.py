"""Equal settings hash equally, in every version; names of folders are readable and safe."""

import copy
import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedjax_diffusion.experiment.config import fill_missing, to_run_config, with_overrides
from fedjax_diffusion.sweep.identity import (
    NEUTRAL,
    folder_name_to_hash,
    hash_config,
    hash_settings,
    is_in_identity,
    make_folder_name,
    make_label,
    read_settings,
    shorten,
)
from tests.characters import TEXT

TABLE = json.loads((Path(__file__).parent / "identities.json").read_text())
OLD_CONFIG = Path(__file__).parents[1] / "old_folders" / "run" / "config.json"
BASE = to_run_config(fill_missing(TABLE["base"]))
SETTINGS = dict(read_settings(BASE))


def changed(**overrides):
    return with_overrides(BASE, {key.replace("__", "."): v for key, v in overrides.items()})


def test_hashes_stay_what_they_were():
    """A new key needs a line in NEUTRAL, a renamed one in OLD_NAMES: sweeps would play again."""
    found = [hash_config(with_overrides(BASE, row["overrides"])) for row in TABLE["runs"]]
    assert found == [row["hash"] for row in TABLE["runs"]]


def test_the_table_has_20_identities():
    assert len({row["hash"] for row in TABLE["runs"]}) == len(TABLE["runs"]) == 20


def test_the_hash_is_that_of_sorted_typed_json():
    text = '{"a":1,"b.c":[1.0,null],"partition.scheme":"iid"}'
    hashed = {"partition.name": "iid", "b.c": [1.0, None], "a": 1, "compute.conv": "rows"}
    assert hash_settings(hashed) == hashlib.sha256(text.encode()).hexdigest()


def test_a_config_of_an_older_version_hashes_the_same():
    old = json.loads(OLD_CONFIG.read_text())
    assert "scheme" in old["partition"], "it has the names of an earlier version"
    new = copy.deepcopy(old)
    new["partition"]["name"] = new["partition"].pop("scheme")
    new["quantization"]["name"] = new["quantization"].pop("scheme")
    new["allocator"]["baselines"] = new["allocator"].pop("opponents")
    if "schemes" in new["compare"]:
        new["compare"]["variants"] = new["compare"].pop("schemes")
    hashes = {hash_config(to_run_config(fill_missing(each))) for each in (old, new)}
    assert len(hashes) == 1


def test_a_key_that_is_renamed_again_keeps_its_first_name():
    before = hash_settings({"partition.name": "iid"})
    assert before == hash_settings(
        {"split.kind": "iid"}, first_names={"split.kind": "partition.scheme"}
    )


def test_a_key_that_was_added_later_is_left_out_at_its_neutral_value():
    neutral = NEUTRAL | {"model.gate": 1.0}
    assert hash_settings({**SETTINGS, "model.gate": 1.0}, neutral) == hash_config(BASE)
    assert hash_settings({**SETTINGS, "model.gate": 0.5}, neutral) != hash_config(BASE)
    assert SETTINGS.keys() >= NEUTRAL.keys()


def test_a_run_read_from_its_folder_has_its_identity():
    for config in (BASE, changed(model__channel_multipliers=(1, 2), seed=5)):
        read = to_run_config(fill_missing(json.loads(json.dumps(config.to_dict()))))
        assert hash_config(read) == hash_config(config)


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        ("client_optimizer.learning_rate", 1, 1.0),
        ("federated.proximal_weight", 0.0, -0.0),
        ("model.channel_multipliers", (1, 2), [1, 2]),
    ],
)
def test_equal_values_of_another_kind_are_equal(key, one, other):
    assert hash_config(with_overrides(BASE, {key: one})) == hash_config(
        with_overrides(BASE, {key: other})
    )


def test_a_whole_number_in_a_frozen_config_is_a_float():
    settings = BASE.to_dict()
    settings["client_optimizer"]["learning_rate"] = 1
    config = type(BASE).from_dict(settings)
    assert hash_config(config) == hash_config(changed(client_optimizer__learning_rate=1.0))


def test_settings_in_the_identity_and_outside():
    inside = ("seed", "cohort_size", "sampling.eta", "data.split", "compute.dtype", "studying")
    outside = ("compute.conv", "compute", "compute.dtype.x", "data.data_dir", "sweep.keep")
    outside += ("evaluation.num_samples", "study.rounds", "checkpoint.keep", "compare.num_seeds")
    assert [key for key in (*inside, *outside) if is_in_identity(key)] == [*inside]


def test_every_setting_in_the_identity_changes_it_and_no_other():
    for key, value in SETTINGS.items():
        other = {**SETTINGS, key: [value]}
        assert (hash_settings(other) != hash_config(BASE)) == is_in_identity(key), key


LABELS = [
    ({}, "base"),
    ({"seed": 3}, "seed-3"),
    ({"allocator.method": "fixed_bits:1", "seed": 0}, "method-fixed-bits-1+seed-0"),
    ({"client_optimizer.learning_rate": 1e-5}, "client-optimizer.learning-rate-1e-05"),
    ({"partition.name": "iid"}, "partition.name-iid"),
    ({"model.channel_multipliers": [1, 2]}, "channel-multipliers-1-2"),
    ({"model.attention_resolutions": []}, "attention-resolutions-none"),
    (
        {"cohort_size": None, "augmentation.random_flip": True},
        "cohort-size-None+random-flip-True",
    ),
    ({"workload.noise_density_dbm_per_hz": -174.0}, "noise-density-dbm-per-hz--174.0"),
    ({"data.split": "train[:50%]/é\n", "seed": 1}, "split-train-50+seed-1"),
]


def test_labels_read_well():
    found = [make_label(overrides, SETTINGS) for overrides, _ in LABELS]
    assert found == [label for _, label in LABELS]


VALUES = st.one_of(TEXT, st.floats(), st.integers(), st.none(), st.lists(TEXT))
OVERRIDES = st.dictionaries(st.sampled_from(sorted(SETTINGS)), VALUES)


def check_folder(overrides):
    label = make_label(overrides, SETTINGS)
    assert re.fullmatch(r"[A-Za-z0-9.+-]{1,60}", label)
    assert label[0].isalpha()
    assert folder_name_to_hash(make_folder_name(label, hash_config(BASE))) == hash_config(BASE)[:12]


@given(OVERRIDES)
@settings(deadline=None, max_examples=40)
def test_a_folder_is_safe_and_names_its_hash(overrides):
    check_folder(overrides)


@pytest.mark.slow
@given(OVERRIDES)
@settings(deadline=None, max_examples=500)
def test_the_folder_of_many_settings_is_safe_and_names_its_hash(overrides):
    check_folder(overrides)


def test_endings_of_keys_are_clear_and_short():
    for key in SETTINGS:
        ending = shorten(key, SETTINGS)
        matching = [k for k in SETTINGS if f".{k}".endswith(f".{ending}")]
        assert matching == [key]


def test_weights_to_start_from_count_by_their_hash_alone():
    """None is left out: the table above has hashes of a version that did not know the setting."""
    start = f"@sha256:{'0' * 63}1"
    row = {"init_from": f"weights.npz{start}"}
    hash = hash_config(with_overrides(BASE, row))
    assert hash == "107b614cebc4f4228cf6fedc5d78cc59176bc8d14381537fa9c32ca4b1558255"
    assert hash == hash_config(with_overrides(BASE, {"init_from": f"elsewhere/w.msgpack{start}"}))
    assert hash != hash_config(with_overrides(BASE, {"init_from": f"weights.npz{start[:-1]}2"}))
    assert make_label(row, SETTINGS) == "init-from-weights.npz-00000000"
