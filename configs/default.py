"""Complete list of settings with their meaning, unit and range. Other configs change a few.

The settings are the fields of `RunConfig`; each group has the fields of one dataclass (named next
to it), which checks the values. `optional(...)` marks values that may be None.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference


def optional(kind: type, value=None) -> FieldReference:
    """Returns a setting whose value has type `kind` or is None."""
    return FieldReference(value, field_type=kind)


def get_config() -> ConfigDict:
    """Returns all settings: handwritten digits, 8 heterogeneous clients, 40 rounds."""
    config = ConfigDict()
    config.plugins = ()  # own files or modules that register names: ("my_quantizer.py",)
    config.seed = 0  # 0..2^32 - 1, seed of all random numbers of a run
    config.num_rounds = 40  # >= 1
    config.round_schedule = "constant"  # constant | cosine: clients' learning rate over the rounds
    config.cohort_size = optional(int)  # clients picked per round, >= 1; None: all clients

    config.init_from = optional(str)  # run folder or file of weights to start from; None: new ones

    config.data = ConfigDict(
        {  # DataConfig
            "name": "digits",  # digits (included) | folder | npz (own) | a TFDS name, e.g. cifar10
            "split": "train",  # part of the data set, e.g. train, test, train[:512]
            "data_dir": optional(str),  # own folder or .npz file; TFDS: its folder, None: default
            "size": optional(int),  # pixels, side of the squares made of own pictures; None: as is
            "fit": "crop",  # crop (the centre) | pad (black bars), to make those squares
        }
    )
    config.partition = ConfigDict(
        {  # PartitionConfig
            "name": "dirichlet",  # iid | dirichlet | shards | quantity_skew
            "num_clients": 8,  # >= 1
            "alpha": 0.5,  # for dirichlet and quantity_skew, > 0; a small value is very uneven
            "shards_per_client": 2,  # for shards, >= 1
        }
    )
    config.augmentation = ConfigDict(
        {  # AugmentationConfig
            "random_flip": False,  # mirror images with probability 1/2; unsuitable for digits
        }
    )
    config.diffusion = ConfigDict(
        {  # DiffusionConfig
            "name": "linear",  # noise schedule: linear | cosine
            "num_steps": 200,  # T, diffusion steps, >= 1
            "loss": "ddpm",  # ddpm: mean squared error of the predicted noise
        }
    )
    config.model = ConfigDict(
        {  # UNetConfig, or the settings of an own network
            "name": "unet",  # unet, or a network of a plug-in, which has other settings
            "channels": 32,  # channels at full resolution, even and >= 4
            "channel_multipliers": (1, 1),  # >= 1, one per resolution; each next one has half size
            "num_res_blocks": 1,  # residual blocks per resolution, >= 1
            "attention_resolutions": (),  # image heights with attention; the middle always has it
            "dropout": 0.0,  # dropout rate, in [0, 1)
            "num_groups": 32,  # most groups of a group normalization, >= 1
            "num_classes": optional(int),  # classes of the data set; None: trained without labels
        }
    )
    config.guidance = ConfigDict(
        {  # GuidanceConfig, for a model with num_classes
            "label_dropout": 0.1,  # probability of training on an image without label, in [0, 1]
        }
    )
    config.local_work = ConfigDict(
        {  # LocalWork: give exactly one of local_steps and local_epochs
            "batch_size": 32,  # images per local step, >= 1
            "local_steps": optional(int, 20),  # steps of a client per round, >= 1
            "local_epochs": optional(float),  # passes over a client's images per round, > 0
        }
    )
    config.client_optimizer = ConfigDict(
        {  # OptimizerConfig
            "name": "adam",  # sgd | adam | adamw | yogi
            "learning_rate": 2e-3,  # > 0
            "momentum": 0.0,  # for sgd, in [0, 1)
            "weight_decay": 0.0,  # for adamw, >= 0
            "clip_norm": optional(float, 1.0),  # largest norm of the gradient, > 0; None: no limit
        }
    )
    config.server_optimizer = ConfigDict(
        {  # OptimizerConfig, as above; sgd with learning rate 1.0 is federated averaging
            "name": "sgd",
            "learning_rate": 1.0,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "clip_norm": optional(float),
        }
    )
    config.federated = ConfigDict(
        {  # FederatedConfig
            "mode": "update",  # quantize and send "update" (w_k - w) or "model" (w_k, the paper)
            "proximal_weight": 0.0,  # mu of FedProx, >= 0
            "ema_decay": 0.7,  # decay per round of the averaged model used for images, in [0, 1)
            "average": "mean",  # of the updates: mean (weighted) | trimmed_mean | median
            "num_trimmed": 1,  # for trimmed_mean, values left out at each end, >= 1
            "max_update_norm": optional(float),  # a client above it has diverged, > 0; None: none
        }
    )
    config.quantization = ConfigDict(
        {  # QuantizationConfig
            "name": "stochastic",  # stochastic (the paper) | nearest | qsgd | rotated | none
            "per_tensor": False,  # bit widths per tensor; a client's num_bits is their average
            "error_feedback": False,  # add the lost part to the next upload; stores K models
            "entropy_coding": False,  # compress the codes without loss; needs the extra `entropy`
            "downlink_bits": 32,  # bits per parameter of the broadcast: 1..16, or 32 for float32
        }
    )
    config.devices = ConfigDict(
        {  # FleetConfig
            "fleet": "mixed",  # classes of devices: a key of FLEETS
            "min_distance_meters": 50.0,  # least distance from the base station, > 0
            "max_distance_meters": 500.0,  # largest distance from the base station
            "bandwidth_hz": 1e5,  # of each client's sub-channel, > 0; narrow for the small model
            "min_bits": optional(int),  # demanded by each client, 1..16 or 32; None: by its class
            "max_bits": optional(int),  # handled by each client, 1..16 or 32; None: by its class
            "csv": optional(str),  # CSV file of your own devices, see docs/devices.md; None: drawn
        }
    )
    config.channel = ConfigDict(
        {  # ChannelConfig
            "fading": "rayleigh",  # rayleigh (drawn anew in each round) | none
            "shadowing_db": 0.0,  # standard deviation in dB, >= 0; drawn once per client
        }
    )
    config.workload = ConfigDict(
        {  # WorkloadConfig
            "cycles_per_example": optional(float),  # CPU cycles, > 0; None: from the model's FLOPs
            "noise_density_dbm_per_hz": -174.0,  # noise power density in dBm/Hz
        }
    )
    config.allocator = ConfigDict(
        {  # AllocatorConfig
            "method": "on_demand",  # on_demand | demand | fixed_bits:B | full_precision | schedule
            "time_budget_seconds": 20.0,  # T > 0, deadline of a round: computing and uploading
            "error_budget": ConfigDict(
                {  # ErrorBudget: give at most one; if all are None, clients send min_bits
                    "as_fixed_bits": optional(int, 6),  # error of this bit width for all, 1..16
                    "relative": optional(float),  # rho > 0: rho^2 x |last mean update|^2
                    "absolute": optional(float),  # > 0, in squared parameter units
                }
            ),
            "schedule": ConfigDict(
                {  # BitSchedule, for method schedule
                    "bits": (),  # by round, 1..16 or 32; the last one holds on
                    "linear_rounds": optional(int),  # bits = (first, last): a line of >= 2 rounds
                    "by_weight": False,  # more bits for clients with more images (DAdaQuant)
                }
            ),
            "on_infeasible": "drop",  # drop (continue with the other clients) | stop
            "baselines": (  # methods compared with in every round, on the same channels
                "full_precision",
                "full_precision:max_frequency",
                "fixed_bits:8",
                "fixed_bits:8:max_frequency",
                "demand",
            ),
        }
    )
    config.faults = ConfigDict(
        {  # FaultsConfig: probability of each fault, for one client in one round, in [0, 1]
            "dropped_before_upload": 0.0,  # the device stops while it computes
            "diverging": 0.0,  # the training diverges
            "dropped_during_upload": 0.0,  # the device stops while it sends
            "late": 0.0,  # a whole message arrives after the deadline
            "damaged": 0.0,  # a message is changed on the way, and refused by its CRC-32
            "diverging_factor": optional(float),  # of a diverging client's update; None: it is NaN
        }
    )
    config.study = ConfigDict(
        {  # StudyConfig, for `fedjax-diffusion study`; not used by `run`
            "rounds": 32,  # channel draws averaged in each setting, >= 1
            "time_budgets_seconds": (8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 240),  # T, increasing
            "distances_meters": (50, 100, 150, 200, 300, 400, 500, 700, 1000),  # of all clients
            "methods": (  # methods compared with allocator.method, on the same channels
                "on_demand:max_frequency",
                "on_demand:joint_bandwidth",  # the clients share the sum of their bands
                "demand",
                "demand:max_frequency",
                "fixed_bits:1",
                "fixed_bits:4",
                "fixed_bits:8",
                "fixed_bits:8:max_frequency",
                "full_precision",
                "full_precision:max_frequency",
            ),
            "goals_percent": (83.6, 90.0),  # savings, in (0, 100), to look for in all settings
            "image_shape": (8, 8, 1),  # height, width, channels, as a study reads no images
            "num_examples": 1497,  # number of images, spread over the clients by `partition`
            "num_classes": 10,  # classes of equal size, >= 1
        }
    )
    config.compute = ConfigDict(
        {  # ComputeConfig
            "client_map": "auto",  # auto | loop | map | vmap | chunked
            "chunk_size": optional(int),  # clients at once for chunked, >= 1
            "conv": "auto",  # lowering of convolutions: auto | stock | plain | matmul | rows
            "cpu_devices": "auto",  # per process: auto (one per core) or a number >= 1
            "data": "auto",  # auto | resident (on the device) | streamed (by cohort, from the host)
            "dtype": "float32",  # of the network's computation: float32 | bfloat16
            "remat": False,  # recompute activations for the gradient: less memory, slower
            "tune": "auto",  # how to resolve auto: guess (a table) | auto (few trials) | thorough
            "tune_seconds": 30.0,  # time limit for trials of whole rounds if tune is auto, > 0
        }
    )
    config.sampling = ConfigDict(
        {  # SamplingConfig
            "every_rounds": 10,  # rounds between grids of images, >= 1; also after the last round
            "num_samples": 64,  # images in a grid, >= 1
            "sampler": "ddim",  # ddim | ancestral
            "num_steps": optional(int, 50),  # steps of ddim, 1..T; None: all T
            "eta": 0.0,  # noise added by ddim, 0 (none) to 1 (as ancestral)
            "guidance_scale": 1.0,  # with num_classes: 0 ignores labels, 1 plain, > 1 stronger
            "fixed_noise": False,  # every grid from the same noise, and a strip of their first rows
        }
    )
    config.evaluation = ConfigDict(
        {  # EvaluationConfig, for `fedjax-diffusion evaluate`, `compare` and `sweep`
            "num_samples": 5000,  # images drawn from the run's model by the sampler above, >= 20
            "inception_weights": optional(str),  # .pth or .npz for FID; None: fcd, see docs
            "held_out_split": optional(str, "test"),  # real images to compare with; None: none
            "every_rounds": optional(int),  # `run` measures too, after so many rounds; None: not
            "num_samples_along": 500,  # images drawn for each of these measurements, >= 20
        }
    )
    config.compare = ConfigDict(
        {  # CompareConfig, for `fedjax-diffusion compare`; not used by `run`
            "variants": (  # "NAME: key=value, key=value", changes to this config
                "full_precision: allocator.method=full_precision",
                "fixed_bits_8: allocator.method=fixed_bits:8",
                "on_demand: allocator.method=on_demand",
            ),
            "num_seeds": 5,  # runs of each variant, >= 2; all variants use the same seeds
            "tolerance_percent": 2.0,  # > 0, allowed increase of the reference's distance
            "reference": optional(str),  # variant to compare the others with; None: the first
        }
    )
    config.sweep = ConfigDict(
        {  # SweepConfig, for `fedjax-diffusion sweep`; not used by `run`
            "keep": "last",  # checkpoints of a finished point: all | last | none (once evaluated)
            "lanes": "auto",  # points trained side by side in one program: 1..64 | auto
            "reference": optional(str),  # point that the others are held against; None: no point
        }
    )
    config.checkpoint = ConfigDict(
        {  # CheckpointConfig
            "every_rounds": 5,  # rounds between checkpoints, >= 1; also after the last round
            "keep": 2,  # number of checkpoints kept, >= 1
        }
    )
    config.stop_after_diverged_rounds = optional(
        int
    )  # end early after so many lost, >= 1; None: no
    config.tensorboard = False  # write events for TensorBoard; needs the extra `tensorboard`
    return config
