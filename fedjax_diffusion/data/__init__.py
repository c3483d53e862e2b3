"""Data: named image data sets, their partition over clients, and the batch of one client."""

from fedjax_diffusion.data.clients import (
    ClientData,
    draw_batch,
    images_to_uint8,
    make_client_data,
    uint8_to_images,
)
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
from fedjax_diffusion.data.sources import LOADERS, ImageDataset, load_images

__all__ = [
    "LOADERS",
    "PARTITIONS",
    "ClientData",
    "ImageDataset",
    "Partition",
    "PartitionConfig",
    "describe_partition",
    "draw_batch",
    "images_to_uint8",
    "load_images",
    "make_client_data",
    "partition",
    "partition_dirichlet",
    "partition_iid",
    "partition_quantity_skew",
    "partition_shards",
    "uint8_to_images",
]
