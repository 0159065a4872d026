"""Machine settings of a run: device, threads, memory, autosave. Independent of the training step and run folders."""
