"""Named image data sets, their partition over clients, and the batches of a client."""

from fedjax_diffusion.data.clients import (
    AugmentationConfig,
    ClientData,
    count_slots,
    draw_batch,
    images_to_uint8,
    make_client_data,
    uint8_to_images,
)
from fedjax_diffusion.data.dataset import ImageDataset
from fedjax_diffusion.data.partition import (
    PARTITIONS,
    Partition,
    PartitionConfig,
    describe_partition,
    partition,
    partition_dirichlet,
    partition_iid,
    partition_quantity_skew,
    partition_shards,
)
from fedjax_diffusion.data.registration import register_dataset, register_partitioner
from fedjax_diffusion.data.sources import LOADERS, DataConfig, load_images
from fedjax_diffusion.data.stream import CohortData, LoadCohort, StreamedClients, make_load_resident

__all__ = [
    "LOADERS",
    "PARTITIONS",
    "AugmentationConfig",
    "ClientData",
    "CohortData",
    "DataConfig",
    "ImageDataset",
    "LoadCohort",
    "Partition",
    "PartitionConfig",
    "StreamedClients",
    "count_slots",
    "describe_partition",
    "draw_batch",
    "images_to_uint8",
    "load_images",
    "make_client_data",
    "make_load_resident",
    "partition",
    "partition_dirichlet",
    "partition_iid",
    "partition_quantity_skew",
    "partition_shards",
    "register_dataset",
    "register_partitioner",
    "uint8_to_images",
]
