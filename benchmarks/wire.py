"""The cost of a message: quantize, pack and check 35.7 M parameters, and 1,000 small models.

The tensors of the CIFAR-10 U-Net (35,746,307 parameters) are filled with normal numbers. Each step
is compared with a copy of as many float32 in the same process, the lower limit of the cost. Packing
of existing codes (nothing to do at 8 and 16 bits, where they are bytes and words) is compared with
``np.packbits`` of a matrix of bits and with a loop over few of the entries. Then each of 1,000
clients with the digits U-Net makes one message. At 2, 4 and 8 bits both are also entropy coded; the
numbers are normal, so the savings are those of bell-shaped updates, not of a training run.

    python benchmarks/wire.py
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fedjax_diffusion import UNetConfig, load_config, make_denoiser
from fedjax_diffusion.bits import BIT_WIDTHS
from fedjax_diffusion.experiment.compute import describe_machine
from fedjax_diffusion.quantization import (
    decode_update,
    encode_update,
    payload_bytes,
    stochastic_quantize,
)
from fedjax_diffusion.quantization.wire.packing import code_dtype, pack_codes, unpack_codes

NUM_CLIENTS = 1000
NUM_LOOP_ENTRIES = 100_000
CODED_BIT_WIDTHS = (2, 4, 8)
IMAGE_SHAPES = {"cifar10": (32, 32, 3), "digits": (8, 8, 1)}


def make_tree(name: str, seed: int):
    """Returns the parameters of a config's U-Net, filled with normal numbers."""
    denoiser = make_denoiser(
        UNetConfig(**load_config(f"configs/{name}.py").model), IMAGE_SHAPES[name]
    )
    shapes = jax.eval_shape(denoiser.init, jax.random.key(0))
    rng = np.random.default_rng(seed)
    draw = lambda x: jnp.asarray(rng.standard_normal(x.shape, np.float32))  # noqa: E731
    return jax.tree.map(draw, shapes)


def pack_with_bit_matrix(codes: np.ndarray, bit_width: int) -> np.ndarray:
    """Packs uint32 [n] codes: one row of bits per code, then ``np.packbits``."""
    bits = (codes[:, None] >> np.arange(bit_width, dtype=np.uint32)) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little")


def pack_with_loop(codes: list[int], bit_width: int) -> bytearray:
    """Packs codes one by one."""
    packed, waiting, num_waiting = bytearray(), 0, 0
    for code in codes:
        waiting |= code << num_waiting
        num_waiting += bit_width
        while num_waiting >= 8:
            packed.append(waiting & 255)
            waiting >>= 8
            num_waiting -= 8
    return packed


def time_in_turn(
    runs: dict[str, Callable[[], object]], num_entries: int, repeats: int
) -> dict[str, float]:
    """Returns the smallest nanoseconds per entry of each run, as other work only adds time."""
    seconds = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            result = jax.block_until_ready(run())
            if repeat:  # the first call compiles
                seconds[name].append(time.perf_counter() - start)
            del result
    return {name: 1e9 * min(s) / num_entries for name, s in seconds.items()}


def time_messages(bit_width: int, tree, repeats: int) -> dict[str, float]:
    """Returns nanoseconds per entry of each step with a whole message."""
    key, num_entries = jax.random.key(bit_width), sum(x.size for x in jax.tree.leaves(tree))
    entries = np.ones(num_entries, np.float32)
    message = encode_update(key, tree, bit_width)
    like = jax.eval_shape(lambda: tree)
    assert len(message) == payload_bytes(like, bit_width)
    quantize = jax.jit(stochastic_quantize)
    runs = {
        "copy": entries.copy,
        "quantize without a message": lambda: quantize(key, tree, bit_width),
        "encode": lambda: encode_update(key, tree, bit_width),
        "decode": lambda: decode_update(message, like),
    }
    return time_in_turn(runs, num_entries, repeats)


def time_packing(bit_width: int, num_entries: int, repeats: int) -> dict[str, float]:
    """Returns nanoseconds per entry of packing existing codes."""
    rng = np.random.default_rng(bit_width)
    shape = (num_entries // 128, 128)
    codes = rng.integers(0, 2**bit_width, shape).astype(code_dtype(bit_width))
    on_device, words = jnp.asarray(codes), pack_codes(jnp.asarray(codes), bit_width)
    flat = codes.ravel().astype(np.uint32)
    assert np.asarray(words).tobytes() == pack_with_bit_matrix(flat, bit_width).tobytes()
    runs = {
        "pack": lambda: pack_codes(on_device, bit_width),
        "unpack": lambda: unpack_codes(words, bit_width),
        "pack, bit matrix": lambda: pack_with_bit_matrix(flat, bit_width),
    }
    few = flat[:NUM_LOOP_ENTRIES].tolist()
    loop = time_in_turn({"pack, loop": lambda: pack_with_loop(few, bit_width)}, len(few), 3)
    return time_in_turn(runs, flat.size, repeats) | loop


def time_coded_messages(bit_width: int, tree, repeats: int) -> dict[str, float]:
    """Returns nanoseconds per entry, and bytes, of an entropy coded message."""
    key, num_entries = jax.random.key(bit_width), sum(x.size for x in jax.tree.leaves(tree))
    message = encode_update(key, tree, bit_width, entropy_coding=True)
    like = jax.eval_shape(lambda: tree)
    runs = {
        "encode": lambda: encode_update(key, tree, bit_width, entropy_coding=True),
        "decode": lambda: decode_update(message, like),
    }
    return time_in_turn(runs, num_entries, repeats) | {
        "bytes": len(message),
        "plain bytes": payload_bytes(like, bit_width),
    }


def time_coded_clients(bit_width: int) -> dict[str, float]:
    """Returns nanoseconds per entry, and bytes, of 1,000 entropy coded messages."""
    trees = [make_tree("digits", seed) for seed in range(8)]
    like = jax.eval_shape(lambda: trees[0])
    keys = [jax.random.key(client) for client in range(NUM_CLIENTS)]
    messages: list[bytes] = []

    def encode() -> None:
        messages[:] = [
            encode_update(key, trees[client % len(trees)], bit_width, entropy_coding=True)
            for client, key in enumerate(keys)
        ]

    def decode() -> None:
        for message in messages:
            jax.block_until_ready(decode_update(message, like))

    num_entries = NUM_CLIENTS * sum(x.size for x in jax.tree.leaves(like))
    return time_in_turn({"encode": encode, "decode": decode}, num_entries, 1) | {
        "bytes": sum(map(len, messages)),
        "plain bytes": NUM_CLIENTS * payload_bytes(like, bit_width),
    }


def time_many_clients() -> dict[str, float]:
    """Returns the seconds of 1,000 messages, with a bit width per client and per tensor."""
    trees = [make_tree("digits", seed) for seed in range(8)]
    like, rng = jax.eval_shape(lambda: trees[0]), np.random.default_rng(0)
    keys = [jax.random.key(client) for client in range(NUM_CLIENTS)]
    per_client = [BIT_WIDTHS[client % len(BIT_WIDTHS)] for client in range(NUM_CLIENTS)]
    per_tensor = [
        jax.tree.map(lambda x: int(rng.choice(BIT_WIDTHS)), like) for _ in range(NUM_CLIENTS)
    ]
    seconds: dict[str, float] = {}
    for name, bit_widths in {
        "a bit width per client": per_client,
        "a bit width per tensor": per_tensor,
    }.items():
        for bit_width in bit_widths[: len(BIT_WIDTHS)]:  # compile
            decode_update(encode_update(keys[0], trees[0], bit_width), like)
        start = time.perf_counter()
        messages = [
            encode_update(keys[client], trees[client % len(trees)], bit_widths[client])
            for client in range(NUM_CLIENTS)
        ]
        seconds[f"encode, {name}"] = time.perf_counter() - start
        start = time.perf_counter()
        for message in messages:
            jax.block_until_ready(decode_update(message, like))
        seconds[f"decode, {name}"] = time.perf_counter() - start
    return seconds


def main() -> None:
    """Times everything and writes the JSON beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--bit widths", type=int, nargs="+", default=[2, 4, 6, 8, 16])
    arguments = parser.parse_args()
    tree = make_tree("cifar10", 0)
    num_entries = sum(x.size for x in jax.tree.leaves(tree))
    result = {"machine": describe_machine(), "parameters": num_entries, "bit_widths": {}}
    for bit_width in arguments.bit_widths:
        row = time_messages(bit_width, tree, arguments.repeats)
        row |= time_packing(bit_width, num_entries, arguments.repeats)
        result["bit_widths"][str(bit_width)] = {
            "bytes": payload_bytes(tree, bit_width),
            "nanoseconds_per_entry": row,
            "ratio_to_copy": {way: row[way] / row["copy"] for way in ("encode", "decode")},
        }
        print(f"{bit_width:2d} bits  " + "  ".join(f"{way} {ns:.2f}" for way, ns in row.items()))
    result["seconds_of_1000_clients"] = time_many_clients()
    for name, seconds in result["seconds_of_1000_clients"].items():
        print(f"{NUM_CLIENTS} clients  {name}: {seconds:.2f}")
    result["entropy coded"] = {}
    for bit_width in CODED_BIT_WIDTHS:
        rows = {
            "one message": time_coded_messages(bit_width, tree, 1 + arguments.repeats // 5),
            f"{NUM_CLIENTS} digits messages": time_coded_clients(bit_width),
        }
        result["entropy coded"][str(bit_width)] = rows
        for name, row in rows.items():
            print(f"{bit_width:2d} bits  {name}, entropy coded: {row}")
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result | {"date": time.strftime("%Y-%m-%d")}, indent=2) + "\n")


if __name__ == "__main__":
    main()
