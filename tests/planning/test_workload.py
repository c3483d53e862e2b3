"""What a round asks of a device: cycles given or counted, against the closed form of the FLOPs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fedjax_diffusion.edge import make_fleet
from fedjax_diffusion.federated import LocalWork
from fedjax_diffusion.keys import seed_to_key
from fedjax_diffusion.planning.workload import count_training_flops, make_workload
from fedjax_diffusion.quantization import encode_update

PARAMS = {"w": np.ones((5, 7), np.float32), "b": np.zeros(7, np.float32)}
SIZES = np.array([10, 20, 30, 41])
FLEET = make_fleet(
    4,
    seed=0,
    fleet="mixed",
    min_distance_meters=50.0,
    max_distance_meters=300.0,
    bandwidth_hz=1e5,
)
EPOCHS = LocalWork(batch_size=8, local_epochs=2)


def count_nothing():
    raise AssertionError("counted although the cycles are given")


def workload_of(local_work=EPOCHS, count_flops=count_nothing, cycles_per_example=None, **options):
    return make_workload(
        PARAMS,
        FLEET,
        local_work,
        SIZES,
        count_flops,
        cycles_per_example=cycles_per_example,
        **({"noise_density_dbm_per_hz": -174.0} | options),
    )


def dense_loss(params, batch, key):
    del key
    return jnp.mean(jnp.square(batch.images.reshape(1, -1) @ params["w"]))


def conv_loss(params, batch, key):
    del key
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        batch.images, params["w"], (1, 1), "SAME", dimension_numbers=layout
    )
    return jnp.mean(jnp.square(y))


def shapes_of(*shape):
    return {"w": jax.ShapeDtypeStruct(shape, jnp.float32)}


@pytest.mark.parametrize(("side", "outputs"), [(4, 64), (8, 64), (8, 512)])
def test_a_dense_layer_costs_two_matrix_products(side, outputs):
    """Output and weight gradient, 2 FLOPs per weight each; the square and the mean within 3 %."""
    inputs = side * side * 3
    flops = count_training_flops(dense_loss, shapes_of(inputs, outputs), (side, side, 3))
    assert 4 * inputs * outputs < flops < 1.03 * 4 * inputs * outputs


@pytest.mark.parametrize(
    ("height", "width", "inputs", "outputs"), [(8, 8, 16, 32), (8, 8, 16, 64), (16, 12, 32, 64)]
)
def test_a_convolution_costs_two_convolutions(height, width, inputs, outputs):
    """A 3x3 kernel meets (3 H - 2) (3 W - 2) pixels that are no padding; the rest within 3 %."""
    shapes = shapes_of(3, 3, inputs, outputs)
    flops = count_training_flops(conv_loss, shapes, (height, width, inputs))
    exact = 4 * inputs * outputs * (3 * height - 2) * (3 * width - 2)
    assert exact < flops < 1.03 * exact


def test_given_cycles_are_multiplied_by_the_examples_processed():
    workload = workload_of(cycles_per_example=1e6)
    steps = np.ceil(2 * SIZES / 8)
    np.testing.assert_array_equal(workload.compute_cycles, steps * 8 * 1e6)
    fixed = workload_of(LocalWork(batch_size=8, local_steps=5), cycles_per_example=1e6)
    np.testing.assert_array_equal(fixed.compute_cycles, np.full(4, 40e6))


def test_counted_flops_are_divided_by_what_a_device_does_per_cycle():
    assert len(set(FLEET.flops_per_cycle)) > 1
    workload = workload_of(count_flops=lambda: 3e6)
    examples = np.ceil(2 * SIZES / 8) * 8
    np.testing.assert_allclose(workload.compute_cycles, examples * 3e6 / FLEET.flops_per_cycle)


@pytest.mark.parametrize(("num_bits", "bit_width"), [(1, 0), (8, 7), (16, 15), (32, 16)])
def test_the_overhead_is_what_a_message_holds_beside_its_codes(num_bits, bit_width):
    workload = workload_of(cycles_per_example=1.0)
    message = encode_update(seed_to_key(0), PARAMS, num_bits)
    codes = 8 * np.ceil(workload.num_parameters * num_bits / 8)
    assert workload.num_parameters == 42
    assert workload.overhead_bits[bit_width] == 8 * len(message) - codes


def test_noise_is_converted_from_dbm():
    workload = workload_of(cycles_per_example=1.0, noise_density_dbm_per_hz=-174.0)
    np.testing.assert_allclose(workload.noise_density_watts_per_hz, 3.981e-21, rtol=1e-4)


@pytest.mark.parametrize("cycles", [0.0, -1.0, float("nan")])
def test_cycles_must_be_positive(cycles):
    with pytest.raises(
        ValueError, match=r"workload\.cycles_per_example must be a number in \[1, 1e18\] or None"
    ):
        workload_of(cycles_per_example=cycles)
