"""Learning curves as a picture."""

from utils.base.files import atomic_write


def plot_curves(history, path):
    """Write the learning curves of `draw_curves` as a PNG."""
    with atomic_write(path) as temporary:
        draw_curves(history).savefig(temporary, dpi=110)


def draw_curves(history):
    """Draw loss, scores and learning rate over epochs; of loss and scores training and validation.

    Args:
        history: {name of a log: list of values, one per epoch}.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    left, right, rate = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    panels = {left: ("loss",), right: ("dice_coef", "iou", "accuracy", "roc_auc"), rate: ("learning_rate",)}
    for axes, names in panels.items():
        for number, name in enumerate(names):
            for prefix, line in (("", "-"), ("val_", "--")):
                values = history.get(prefix + name)
                if values:
                    epochs = range(1, len(values) + 1)
                    label = f"{name} ({'validation' if prefix else 'training'})" if axes is not rate else None
                    marker = "." if len(values) < 30 else ""
                    axes.plot(epochs, values, line, color=f"C{number}", marker=marker, label=label)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    rate.set_ylabel("learning rate")
    left.set_ylabel("loss")
    right.set_ylim(0, 1.02)
    right.set_ylabel("score")
    return figure
