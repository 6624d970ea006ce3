"""Hook of mkdocs: what becomes of links that leave `docs/`, such as those to `configs/`.

On a code host they work as they are. The website shows their path, or links to the repository if it knows it:
`REPO_URL=https://example.org/me/unet make docs`.
"""

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def replace(match: re.Match) -> str:
        text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("docs/"):
            return match.group(0)
        if not config.repo_url:
            return text if text.startswith("`") else f"{text} (`{path}`)"
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/HEAD/{path}{anchor or ''})"

    return LINK.sub(replace, markdown)
