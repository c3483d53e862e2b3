"""Descriptions of commands whose arguments need more than a line each."""

ALLOCATE = """\
Choose bits, compute time and transmit power of every client in one round, such that
all clients meet the deadline, the error stays within its budget, and computing and
sending use the least energy.

FILE.json holds these fields; a field marked * may be a list with one number per client:

  * compute_cycles               CPU cycles of local training
  * effective_capacitance        J s^2 / cycle^3, usually 1e-28
  * max_frequency_hz             highest CPU frequency
  * channel_gain                 linear power gain between client and base station
  * bandwidth_hz                 bandwidth of the client's sub-channel
  * max_power_watts              highest transmit power
  * min_bits, max_bits           least and most bits per parameter: 1..16 or 32
  * error_weight                 squared aggregation weight times V_k, see docs/allocator.md
  * is_present                   optional; false for a client that does not participate
    num_parameters               number of parameters of the model
    overhead_bits                bits of a message besides the codes (or 17, one per bit width)
    noise_density_watts_per_hz   noise power density, 4e-21 for thermal noise
    error_budget                 bound on the squared error; null for no bound
    time_budget_seconds          deadline for computing and sending together

Example:

  {"compute_cycles": [1e9, 2e9, 3e9, 4e9, 5e9], "effective_capacitance": 1e-28,
   "max_frequency_hz": 2e9, "channel_gain": [1e-11, 3e-12, 1e-12, 3e-13, 1e-13],
   "bandwidth_hz": 1e6, "max_power_watts": 0.2, "min_bits": 2, "max_bits": 16,
   "error_weight": 1.0, "num_parameters": 267000, "overhead_bits": 512,
   "noise_density_watts_per_hz": 4e-21, "error_budget": 2e-3, "time_budget_seconds": 6}

Exit codes: 0 solved; 2 bad input; 3 some client is infeasible (stderr gives the reason and
the least change that helps); 1 the solution failed the check that follows every solution.
"""

SWEEP = """\
Play many runs of one config. The points come from get_hyper(h) in the config file, or from axes:

  fedjax-diffusion sweep --config=digits --sweep.seed=0..7 --sweep.quantization.name=qsgd,nearest

Each point is an ordinary run folder in WORKDIR/points. The same command goes on after an
interruption, plays only what is new if values were added, and does nothing if all is finished.
WORKDIR/index.csv has a row for each point.

Exit codes: 0 done; 1 some points failed, which stops no other point; 2 bad input; 130 and 143
stopped by a signal: after the first one everything is saved, a second one ends at once.
"""

EXAMPLES = {
    "run": "run --config=digits --config.num_rounds=60 --workdir=runs/longer",
    "sample": "sample --workdir=runs/digits --num_samples=16 --output=images.png",
    "evaluate": "evaluate --workdir=runs/digits --num_samples=2000",
    "sweep": "sweep --config=digits --sweep.seed=0..4 --sweep.allocator.method=demand,fixed_bits:4",
    "compare": "compare --config=paper_digits --config.compare.num_seeds=8",
    "data": "data --name=digits --config.partition.name=shards",
    "study": "study --config=digits --config.study.distances_meters=100,200,400",
    "report": "report --workdir=runs/digits --figures=figures --format=pdf",
    "allocate": "allocate --problem=problem.json --method=fixed_bits:8 --output=answer.csv",
    "config": "config digits --config.allocator.method=demand --diff=cifar10",
    "export": "export --workdir=runs/digits --format=safetensors",
    "verify": "verify --problem=problem.json --allocation=answer.json",
}
"""One command line of each command, behind the name of the program."""
