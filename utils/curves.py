"""Learning curves as a picture."""

from utils.files import write_whole


def plot_curves(history, path):
    """Write the learning curves of `draw_curves` as a PNG."""
    with write_whole(path) as temporary:
        draw_curves(history).savefig(temporary, dpi=110)


def draw_curves(history):
    """Draw loss on the left and the scores on the right, training and validation, over epochs.

    Args:
        history: {name of a log: list of values, one per epoch}.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    panels = {left: ("loss",), right: ("dice_coef", "iou", "accuracy", "roc_auc")}
    for axes, names in panels.items():
        for number, name in enumerate(names):
            for prefix, line in (("", "-"), ("val_", "--")):
                values = history.get(prefix + name)
                if values:
                    epochs = range(1, len(values) + 1)
                    label = f"{name} ({'validation' if prefix else 'training'})"
                    marker = "." if len(values) < 30 else ""
                    axes.plot(epochs, values, line, color=f"C{number}", marker=marker, label=label)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    left.set_ylabel("loss")
    right.set_ylim(0, 1.02)
    right.set_ylabel("score")
    return figure
