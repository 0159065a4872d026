"""Flags of other tools that users may try. The error message names the corresponding flag of Convoy."""

from __future__ import annotations

from collections.abc import Collection

from convoy.options import KEYS
from convoy.text import gettext as _
from convoy.text import translated

_WORDS = {  # by the recipe's key
    "optim.lr": "learning-rate eta",
    "optim.name": "opt optim optimiser",
    "optim.weight_decay": "wd decay l2",
    "optim.momentum": "momentum",
    "train.batch_size": "b bs batch batchsize",
    "train.epochs": "e epoch n-epochs num-epochs max-epochs",
    "train.loss.label_smoothing": "label-smoothing",
    "train.clip_norm": "clip clip-grad clip-grad-norm grad-clip clip-norm",
    "train.accumulate": "accumulate grad-accum gradient-accumulation-steps",
    "train.ema_decay": "ema ema-decay",
    "schedule.name": "scheduler sched schedule lr-scheduler lr-schedule",
    "schedule.warmup_epochs": "warmup warmup-epochs",
    "stop.patience_epochs": "patience early-stopping early-stop",
    "data.augment": "augmentation augmentations aug transforms",
    "data.augment '[]'": "no-augment no-aug no-augmentation",
    "data.name": "d dataset data-dir data-path",
    "data.size": "size image-size img-size imgsz resize",
    "data.split.validation": "val-split validation-split val-fraction",
    "model.options.drop_rate": "dropout drop-rate drop",
    "model.freeze": "freeze",
    "model.init": "weights checkpoint load",
    "compute.precision": "amp fp16 bf16 half mixed-precision precision",
    "compute.threads": "threads num-threads",
    "compute.deterministic": "deterministic",
    "seed": "random-seed random-state manual-seed",
}
SENTENCES = {
    "pass the network as the first argument, without a flag": "model-name arch architecture net network",
    "--device cuda, cuda:N or mps selects a GPU; cuda is the default if available": "gpu gpus cuda use-gpu use-cuda",
    "--device cpu uses the CPU": "cpu no-cuda no-gpu",
    "the images are in memory, so there are no data loader workers; --compute.threads sets the number of threads": (
        "workers num-workers nw j"
    ),
    "the same command continues an unfinished run; --fresh trains from scratch": "resume continue restart resume-from",
    "--fresh trains from scratch": "force overwrite from-scratch",
    "a run is named by its model, seed and fingerprint; --out chooses the folder of all runs": "name run-name exp-name",
    "--out chooses the folder of all runs": "output output-dir o log-dir logdir save-dir project",
    "progress is always printed, and written to log.txt in the run folder; --json prints only the result": (
        "verbose v verbosity quiet q silent log-interval print-freq"
    ),
}
_KEYS = {word: key for key, words in _WORDS.items() for word in words.split()}
_ADVICE = {word: sentence for sentence, words in SENTENCES.items() for word in words.split()}
_FLAGS = {key: name for name, key in KEYS.items()} | {
    "data.name": "data",
    "model.init": "init",
    "data.augment '[]'": "no-augment",
}


def advice(flag: str, flags: Collection[str]) -> str:
    """Returns what to use instead of an unknown flag in a command with these flags; "" for other flags."""
    word = flag.partition("=")[0].lstrip("-").replace("_", "-").lower()
    key = _KEYS.get(word) or KEYS.get(word.replace("-", "_"), "")
    own = f"--{_FLAGS.get(key, '').replace('_', '-')}"
    if own in flags:
        return _("use {flag}", flag=own)
    if "--set" not in flags:
        return ""
    return _("use {flag}", flag=f"--{key}") if key else translated(_ADVICE[word]) if word in _ADVICE else ""
