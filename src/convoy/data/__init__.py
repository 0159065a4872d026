"""Data sets: from a name or a path to checked parts, and from these to batches on a device.

`augment` and `batches` are imported from their own modules: they need torch, for which listing and decoding must not
wait.
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
