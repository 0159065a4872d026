"""Seeds of torch's generators."""

import torch


def seed_generators(seed: int) -> None:
    """Seeds the default generators of the CPU and of the accelerators, like torch.manual_seed.

    Without an accelerator, torch.manual_seed formats and stores a stack trace in each call, which takes about 1 ms.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
