"""The training step: loop, learner, optimizers, schedules. It knows no run folder."""
