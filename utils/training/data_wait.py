"""How much of its time training waits for data."""

import time

TOO_MUCH = 0.1  # share of the time above which a faster loader pays


class Waiting:
    """Measure an iteration: `for batch in waiting(batches): ...`

    The first batch is not counted: reading ahead begins with it.

    Attributes:
        waited, worked: float, seconds spent for the next batch and between batches, of the last iteration.
    """

    def __init__(self, clock=time.perf_counter):
        self.clock = clock
        self.waited = self.worked = 0.0

    def __call__(self, batches):
        self.waited = self.worked = 0.0
        batches = iter(batches)
        try:
            batch = next(batches, None)
            while batch is not None:
                handed = self.clock()
                yield batch
                returned = self.clock()
                batch = next(batches, None)
                self.worked += returned - handed
                self.waited += self.clock() - returned
        finally:
            if hasattr(batches, "close"):  # loaders stop their threads
                batches.close()

    @property
    def share(self):
        """Share of the time that was waiting, 0 to 1."""
        total = self.waited + self.worked
        return self.waited / total if total else 0.0

    def advice(self, cfg):
        """One line on what to change, or None where the data comes fast enough."""
        if self.share <= TOO_MUCH:
            return None
        line = f"{self.share:.0%} of the time of a step is waiting for data: "
        if cfg.DATASET.SERVICE is None:
            line += f"raise DATALOADER_WORKERS (now {cfg.DATALOADER_WORKERS})"
        else:
            line += f"add hosts to DATASET.SERVICE (now {len(cfg.DATASET.SERVICE)})"
        if cfg.DATASET.CACHE is None and cfg.DATA_GENERATOR_TYPE != "DALI_GENERATOR":
            line += ", keep decoded images with DATASET.CACHE=memory"
        if cfg.AUGMENTATION.ENGINE == "tensorflow":
            line += ", on a CPU set AUGMENTATION.ENGINE=albumentations"
        if cfg.PREPROCESS_DATA.RESIZE.VALUE:
            line += ", store the images at the size of INPUT"
        if cfg.AUGMENTATION.ELASTIC.PROBABILITY > 0:
            line += ", lower AUGMENTATION.ELASTIC.PROBABILITY (the slowest knob)"
        return line + "."
