"""Data sets: loading by name or path, splitting, and batches on a device.

`augment` and `batches` must be imported from their own modules, because they import torch.
"""

from convoy.data.catalogue import DATA_SETS
from convoy.data.image_folder import read_images
from convoy.data.imageset import DataError, DataSet, ImageSet, SealedTest
from convoy.data.prepare import Prepared, prepare
from convoy.data.sources import add, get, load, missing_files, pack_tensors, whereabouts
from convoy.data.splits import Split, make_split

__all__ = [
    "DATA_SETS",
    "DataError",
    "DataSet",
    "ImageSet",
    "Prepared",
    "SealedTest",
    "Split",
    "add",
    "get",
    "load",
    "make_split",
    "missing_files",
    "pack_tensors",
    "prepare",
    "read_images",
    "whereabouts",
]
