"""The table of export formats. Imports nothing heavy: the config takes its choices from here."""

from dataclasses import dataclass

from omegaconf import DictConfig

from utils.base.errors import UserError


@dataclass(frozen=True)
class ExportFormat:
    """A row of FORMATS.

    Attributes:
        file_name: of the exported file or folder.
        write: "module:function", a function (`ExportJob`, path) that writes it.
        run: "module:function", a function (path) -> (images -> outputs) that runs it.
        quantizes: values of EXPORT.QUANTIZE that it can do.
        preprocesses: whether EXPORT.PREPROCESS=True is possible.
        any_size: whether EXPORT.SIZE=dynamic is possible.
    """

    file_name: str
    write: str
    run: str
    quantizes: tuple[str, ...] = ()
    preprocesses: bool = True
    any_size: bool = True


# EXPORT.FORMAT -> its row
FORMATS = {
    "onnx": ExportFormat("model.onnx", "utils.export.exporters:write_onnx", "utils.export.exporters:run_onnx"),
    "tflite": ExportFormat(
        "model.tflite",
        "utils.export.exporters:write_tflite",
        "utils.export.exporters:run_tflite",
        quantizes=("float16", "int8"),
    ),
    "saved_model": ExportFormat(
        "saved_model", "utils.export.exporters:write_saved_model", "utils.export.exporters:run_saved_model"
    ),
    "keras": ExportFormat(
        "model.keras", "utils.export.exporters:write_keras", "utils.export.exporters:run_keras", preprocesses=False
    ),
}


def check_export(cfg: DictConfig) -> ExportFormat:
    """Return the row of EXPORT.FORMAT.

    Args:
        cfg: restored config.

    Raises:
        UserError: EXPORT asks for what the format or the model cannot do; names the formats that can.
    """
    settings, row = cfg.EXPORT, FORMATS[cfg.EXPORT.FORMAT]
    if settings.QUANTIZE is not None and settings.QUANTIZE not in row.quantizes:
        able = [name for name, other in FORMATS.items() if settings.QUANTIZE in other.quantizes]
        raise UserError(f"EXPORT.QUANTIZE={settings.QUANTIZE} needs EXPORT.FORMAT={' or '.join(able)}.")
    if settings.PREPROCESS and not row.preprocesses:
        able = [name for name, other in FORMATS.items() if other.preprocesses]
        raise UserError(f"EXPORT.PREPROCESS=True needs EXPORT.FORMAT={' or '.join(able)}.")
    if settings.SIZE == "dynamic" and not row.any_size:
        able = [name for name, other in FORMATS.items() if other.any_size]
        raise UserError(f"EXPORT.SIZE=dynamic needs EXPORT.FORMAT={' or '.join(able)}.")
    if settings.SIZE == "fixed" and cfg.INPUT.HEIGHT is None:
        raise UserError("EXPORT.SIZE=fixed needs a size: set INPUT.HEIGHT and INPUT.WIDTH, or EXPORT.SIZE=dynamic.")
    if settings.SIZE == "dynamic" and cfg.MODEL.PADDING == "valid":
        raise UserError("EXPORT.SIZE=dynamic cannot be combined with MODEL.PADDING=valid: use EXPORT.SIZE=fixed.")
    return row
