"""`python -m convoy`, for example under torchrun: `torchrun --nproc-per-node 2 -m convoy train lenet`."""

from convoy.cli import main

if __name__ == "__main__":
    main()
