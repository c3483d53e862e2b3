"""Small scenarios to study: the fleet of ``tests.planning.plans``; nothing is trained."""

from fedjax_diffusion.experiment.scenario import Scenario
from fedjax_diffusion.planning.allocator_config import AllocatorConfig
from fedjax_diffusion.study import StudyConfig
from tests.planning.plans import FADING, FLEET, KEY, SIX_BITS, SIZES, WORKLOAD

REFERENCE_BASELINES = ("full_precision", "full_precision:max_frequency")
METHODS = (
    *REFERENCE_BASELINES,
    "fixed_bits:1",
    "fixed_bits:8",
    "fixed_bits:8:max_frequency",
    "demand",
)


def count_nothing():
    raise AssertionError("a study of given cycles counts nothing")


def scenario_of(method="on_demand", seconds=20.0, budget=SIX_BITS, baselines=METHODS, **fields):
    """Returns a scenario of six fading clients; ``fields`` replace its own."""
    on_infeasible = fields.pop("on_infeasible", "drop")
    scenario = Scenario(
        run_key=KEY,
        num_examples=SIZES,
        devices=FLEET,
        workload=WORKLOAD,
        allocator=AllocatorConfig(method, seconds, budget, on_infeasible, baselines),
        draw_channel=FADING,
        mode="update",
        cohort_size=None,
        count_flops=count_nothing,
    )
    return scenario._replace(**fields)


def study_of(**fields):
    """Returns a small study; ``fields`` replace its own."""
    usual = {
        "rounds": 3,
        "time_budgets_seconds": (6.0, 12.0, 24.0),
        "distances_meters": (50.0, 150.0, 300.0),
        "methods": METHODS,
        "goals_percent": (50.0, 99.0),
        "image_shape": (8, 8, 1),
        "num_examples": 100,
        "num_classes": 10,
    }
    return StudyConfig(**usual | fields)
