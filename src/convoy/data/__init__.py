"""Data sets: loading by name or path, splits, and batches on a device.

`augment` and `batches` are not exported here, because they import torch.
"""

from convoy.data.catalogue import DATA_SETS
from convoy.data.image_folder import read_images
from convoy.data.imageset import DataError, DataSet, ImageSet, SealedTest
from convoy.data.prepare import PreparedData, PreparedDataCache, prepare
from convoy.data.sources import add, availability, get, load, missing_files, pack_tensors
from convoy.data.splits import Split, make_split

__all__ = [
    "DATA_SETS",
    "DataError",
    "DataSet",
    "ImageSet",
    "PreparedData",
    "PreparedDataCache",
    "SealedTest",
    "Split",
    "add",
    "availability",
    "get",
    "load",
    "make_split",
    "missing_files",
    "pack_tensors",
    "prepare",
    "read_images",
]
