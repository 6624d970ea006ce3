"""Training: the loop (`trainer`, `train_step`, `replicas`), callbacks, the state of a run and resuming from it,
optimizers, schedules, tracking, and what is printed."""
