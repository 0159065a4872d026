"""The training step: loop, learner, optimizers, schedules. Independent of run folders."""
