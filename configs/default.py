"""The one full list of settings, each with its meaning and unit. Other configs change a few.

The settings are the fields of `RunConfig`, every group those of one dataclass (named beside it),
which checks the values. `optional(...)` marks what may be None.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference


def optional(kind: type, value=None) -> FieldReference:
    """A value of type `kind`, or None."""
    return FieldReference(value, field_type=kind)


def get_config() -> ConfigDict:
    """Returns all settings: handwritten digits, 8 heterogeneous clients, 40 rounds."""
    config = ConfigDict()
    config.seed = 0  # everything random in a run follows from it
    config.num_rounds = 40
    config.round_schedule = "constant"  # constant | cosine: the clients' learning rate by round
    config.cohort_size = optional(int)  # clients picked per round; None: all of them

    config.data = ConfigDict(
        {  # DataConfig
            "name": "digits",  # "digits" is embedded; other names are TFDS data sets, "cifar10"
            "split": "train",
            "data_dir": optional(str),  # folder of prepared TFDS data sets; None: TFDS's default
        }
    )
    config.partition = ConfigDict(
        {  # PartitionConfig
            "name": "dirichlet",  # iid | dirichlet | shards | quantity_skew
            "num_clients": 8,
            "alpha": 0.5,  # of dirichlet and quantity_skew, > 0: small is skewed
            "shards_per_client": 2,  # of shards
        }
    )
    config.augmentation = ConfigDict(
        {  # AugmentationConfig
            "random_flip": False,  # mirror half of the images (not for digits: they have a hand)
        }
    )
    config.diffusion = ConfigDict(
        {  # DiffusionConfig
            "name": "linear",  # linear | cosine
            "num_steps": 200,  # T, diffusion steps
        }
    )
    config.model = ConfigDict(
        {  # UNetConfig, or another model of MODELS
            "channels": 32,  # at full resolution
            "channel_multipliers": (1, 1),  # one entry per resolution, each halves the image
            "num_res_blocks": 1,  # per resolution
            "attention_resolutions": (),  # image heights with attention; the middle always has it
            "dropout": 0.0,
            "num_groups": 32,  # at most, of each group normalization
            "num_classes": optional(int),  # those of the data set: trained with labels; None: not
        }
    )
    config.guidance = ConfigDict(
        {  # GuidanceConfig, of a model with num_classes
            "label_dropout": 0.1,  # probability that an image is trained on without its label
        }
    )
    config.local_work = ConfigDict(
        {  # LocalWork: one of local_steps and local_epochs
            "batch_size": 32,
            "local_steps": optional(int, 20),
            "local_epochs": optional(float),
        }
    )
    config.client_optimizer = ConfigDict(
        {  # OptimizerConfig
            "name": "adam",  # sgd | adam | adamw | yogi
            "learning_rate": 2e-3,
            "momentum": 0.0,  # of sgd
            "weight_decay": 0.0,  # of adamw
            "clip_norm": optional(float, 1.0),  # of the whole gradient
        }
    )
    config.server_optimizer = ConfigDict(
        {  # OptimizerConfig; sgd at 1.0 is federated averaging
            "name": "sgd",
            "learning_rate": 1.0,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "clip_norm": optional(float),
        }
    )
    config.federated = ConfigDict(
        {  # FederatedConfig
            "mode": "update",  # what is quantized: "update" (w_k - w) or "model" (w_k, the paper)
            "proximal_weight": 0.0,  # mu of FedProx
            "ema_decay": 0.7,  # per round, of the model that samples come from
        }
    )
    config.quantization = ConfigDict(
        {  # QuantizationConfig
            "name": "stochastic",  # stochastic (the paper) | nearest | qsgd | rotated | none
            "per_tensor": False,  # a client's bits are an average that its tensors share out
            "error_feedback": False,  # send next time what was lost; K x model size of memory
            "entropy_coding": False,  # compress the codes without loss; the extra `entropy`
            "downlink_bits": 32,  # of the broadcast: 1..16, or 32 for float32
        }
    )
    config.devices = ConfigDict(
        {  # FleetConfig
            "fleet": "mixed",  # classes of devices: see FLEETS
            "min_distance_meters": 50.0,
            "max_distance_meters": 500.0,
            "bandwidth_hz": 1e5,  # of each client's sub-channel; narrow, as the model is small
            "min_bits": optional(int),  # demanded by everybody; None: each class's own
            "max_bits": optional(int),  # handled by everybody; None: each class's own
        }
    )
    config.channel = ConfigDict(
        {  # ChannelConfig
            "fading": "rayleigh",  # rayleigh (redrawn each round) | none
            "shadowing_db": 0.0,  # standard deviation, drawn once per client
        }
    )
    config.workload = ConfigDict(
        {  # WorkloadConfig
            "cycles_per_example": optional(float),  # CPU cycles; None: counted FLOPs of the model
            "noise_density_dbm_per_hz": -174.0,
        }
    )
    config.allocator = ConfigDict(
        {  # AllocatorConfig
            "method": "on_demand",  # on_demand | demand | fixed_bits:B | full_precision
            "time_budget_seconds": 20.0,  # T: deadline of a round, computing and uploading
            "error_budget": ConfigDict(
                {  # ErrorBudget: at most one of them; none: everybody sends what it demands
                    "as_fixed_bits": optional(
                        int, 6
                    ),  # what this many bits for everybody would give
                    "relative": optional(
                        float
                    ),  # rho: rho^2 x squared norm of the last mean update
                    "absolute": optional(float),  # squared parameter units
                }
            ),
            "on_infeasible": "drop",  # drop (go on with the others) | stop
            "baselines": (  # compared with in every round, on the same channel
                "full_precision",
                "full_precision:max_frequency",
                "fixed_bits:8",
                "fixed_bits:8:max_frequency",
                "demand",
            ),
        }
    )
    config.study = ConfigDict(
        {  # StudyConfig: what `fedjax-diffusion study` varies; `run` does not read it
            "rounds": 32,  # channel draws that each setting averages over
            "time_budgets_seconds": (8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 240),  # T
            "distances_meters": (50, 100, 150, 200, 300, 400, 500, 700, 1000),  # of all clients
            "methods": (  # compared with allocator.method, on the same channels
                "on_demand:max_frequency",
                "on_demand:joint_bandwidth",  # the clients share their bands
                "demand",
                "demand:max_frequency",
                "fixed_bits:1",
                "fixed_bits:4",
                "fixed_bits:8",
                "fixed_bits:8:max_frequency",
                "full_precision",
                "full_precision:max_frequency",
            ),
            "goals_percent": (83.6, 90.0),  # savings of which it says where they are reached
            "image_shape": (8, 8, 1),  # height, width, channels: a study reads no images
            "num_examples": 1497,  # spread over the clients by `partition`
            "num_classes": 10,
        }
    )
    config.compute = ConfigDict(
        {  # ComputeConfig
            "client_map": "auto",  # auto | loop | map | vmap | chunked
            "chunk_size": optional(int),  # of chunked
            "conv": "auto",  # auto | stock | plain | matmul | rows
            "cpu_devices": "auto",  # auto (one per core) or a number, of each process
            "data": "auto",  # resident (on the device) | streamed (each cohort's, from the host)
            "dtype": "float32",  # of the network's computation: float32 | bfloat16
            "remat": False,  # compute activations again in the backward pass: less memory, slower
            "tune": "auto",  # what decides "auto": guess (a table) | auto (few trials) | thorough
            "tune_seconds": 30.0,  # whole rounds tried by tune = "auto" take no longer
        }
    )
    config.sampling = ConfigDict(
        {  # SamplingConfig
            "every_rounds": 10,  # draw pictures while training; the last round always does
            "num_samples": 64,
            "sampler": "ddim",  # ddim | ancestral
            "num_steps": optional(int, 50),  # of ddim; None: all T
            "eta": 0.0,  # of ddim: noise added on the way, 0 (none) to 1 (as ancestral)
            "guidance_scale": 1.0,  # of a model with num_classes: 0 no labels, 1 plain, > 1 more so
        }
    )
    config.evaluation = ConfigDict(
        {  # EvaluationConfig, of `fedjax-diffusion evaluate` and `compare`
            "num_samples": 5000,  # images drawn from the run's model, by the sampler above
            "inception_weights": optional(str),  # a .pth or .npz: FID; None: fcd, see docs
            "held_out_split": optional(str, "test"),  # real images whose distance is the floor
        }
    )
    config.compare = ConfigDict(
        {  # CompareConfig: what `fedjax-diffusion compare` plays; `run` does not read it
            "variants": (  # NAME: what it changes in this config
                "full_precision: allocator.method=full_precision",
                "fixed_bits_8: allocator.method=fixed_bits:8",
                "on_demand: allocator.method=on_demand",
            ),
            "num_seeds": 5,  # runs of each variant, with the same clients, channels and batches
            "tolerance_percent": 2.0,  # of the reference's distance: within it, quality is kept
            "reference": optional(str),  # the variant that others are held against; None: the first
        }
    )
    config.checkpoint = ConfigDict(
        {  # CheckpointConfig
            "every_rounds": 5,
            "keep": 2,
        }
    )
    return config
