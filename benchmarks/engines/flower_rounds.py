"""Flower's simulation: FedAvg over Ray actors of one core each, which train PyTorch clients.

    python -m benchmarks.engines.flower_rounds MODEL NUM_CLIENTS NUM_STEPS NUM_PARAMETERS

An actor keeps its model between clients; a round is Flower's: send, train, return, average.
Evaluation is off. Nothing is quantized.
"""

import functools
import logging
import os
import sys

import torch

from benchmarks.engines.models import EXAMPLES_PER_CLIENT, serve
from benchmarks.engines.torch_client import make_client


@functools.cache
def actors_client(*case):
    """Returns the client of this actor, which is made at its first training."""
    torch.set_num_threads(1)
    return make_client(*case)


def make_client_app(case):
    """Returns the app in which a client trains from the received weights."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(message, context):
        # By its module's name: else an actor would get a copy of the function and of its cache.
        from benchmarks.engines.flower_rounds import actors_client

        weights, train = actors_client(*case)
        client = int(context.node_config["partition-id"])
        loss = train(client, message.content["arrays"].to_torch_state_dict())
        metrics = MetricRecord({"num-examples": EXAMPLES_PER_CLIENT, "loss": float(loss)})
        content = RecordDict({"arrays": ArrayRecord(weights()), "metrics": metrics})
        return Message(content=content, reply_to=message)

    return app


def make_server_app(case):
    """Returns the app that runs a round for each request of the benchmark."""
    from flwr.app import ArrayRecord
    from flwr.serverapp import ServerApp
    from flwr.serverapp.strategy import FedAvg

    app = ServerApp()

    @app.main()
    def main(grid, context):
        weights, _ = make_client(*case)
        start = ArrayRecord(weights())

        def run() -> float:
            num_clients = case[1]
            strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=num_clients)
            result = strategy.start(grid=grid, initial_arrays=start, num_rounds=1)
            return float(result.train_metrics_clientapp[1]["loss"])

        serve(run)

    return app


def main(name: str, num_clients: str, num_steps: str, num_parameters: str) -> None:
    """Times rounds of ``num_steps`` local steps."""
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from flwr.simulation import run_simulation

    logging.getLogger("flwr").setLevel(logging.ERROR)
    case = (name, int(num_clients), int(num_steps), int(num_parameters))
    run_simulation(
        server_app=make_server_app(case),
        client_app=make_client_app(case),
        num_supernodes=int(num_clients),
        backend_config={
            "client_resources": {"num_cpus": 1},
            "init_args": {"num_cpus": 2, "log_to_driver": False, "logging_level": "ERROR"},
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
