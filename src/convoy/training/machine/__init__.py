"""The machine: device, threads, memory, autosave. It knows no step and no run folder."""
