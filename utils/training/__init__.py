"""The training loop and everything around it: callbacks, resuming, optimizers, schedules, tracking, console."""
