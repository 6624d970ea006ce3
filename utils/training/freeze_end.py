"""MODEL.FREEZE_EPOCHS: all layers are trained from some epoch on."""

from typing import Any, ClassVar

from omegaconf import DictConfig

from models.freeze import unfreeze_layers
from utils.base.terminal import say
from utils.training.optimizers import make_optimizer
from utils.training.state import StatefulCallback
from utils.training.trainer import Trainer


class FreezeEnd(StatefulCallback):
    """Before epoch MODEL.FREEZE_EPOCHS, let the frozen layers be trained, with a new optimizer.

    That is what a second run that starts with the weights of the first would do. An optimizer that went on would
    take first steps several times too long: Adam corrects its young averages by the steps of the whole run.

    Place it before the callback that sets the learning rate.

    Args:
        cfg: checked config; MODEL.FREEZE and FREEZE_EPOCHS are read.
        trainer: of the network that `models.build_model` froze.
        verbose: whether to say so.

    Attributes:
        over: whether it has happened.
    """

    state_key = "FreezeEnd"
    remembered: ClassVar = {"over": bool}

    def __init__(self, cfg: DictConfig, trainer: Trainer, verbose: bool) -> None:
        super().__init__()
        self.cfg, self.trainer = cfg, trainer
        self.verbose = verbose and cfg.VERBOSE > 0
        self.over = False

    def state(self) -> dict[str, Any]:
        return {"over": self.over}

    def restore(self, state: dict[str, Any]) -> None:
        if state["over"]:
            self.unfreeze()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.over or epoch < self.cfg.MODEL.FREEZE_EPOCHS:
            return
        self.unfreeze()
        if self.verbose:
            say(f"MODEL.FREEZE ends after epoch {epoch}: all layers are trained now, the step is compiled anew")

    def unfreeze(self) -> None:
        """Let all layers be trained. The optimizer starts anew, averages of the weights and loss scale included."""
        trainer = self.trainer
        with trainer.distribute_strategy.scope():
            unfreeze_layers(trainer.network, self.cfg.MODEL.FREEZE)
            trainer.compile(make_optimizer(self.cfg, trainer.network), jit_compile=self.cfg.OPTIMIZATION.XLA)
        self.over = True
