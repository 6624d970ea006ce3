"""Pictures as URLs that hold them, so that a page is one file."""

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def embed(figure: "Figure") -> str:
    """A matplotlib figure as the URL of an SVG picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return data_url(buffer.getvalue(), "image/svg+xml")


def data_url(data: bytes, media_type: str) -> str:
    """Bytes as a URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
