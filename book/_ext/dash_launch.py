"""Launch buttons only for a book that says where it lives: the theme fails at an empty address."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config


def drop_launch_buttons(app: Sphinx, config: Config) -> None:
    """Take the launch buttons out of the theme's options unless an address is configured."""
    options = config.html_theme_options
    if not options.get("repository_url"):
        options.pop("launch_buttons", None)


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at the options as soon as they are read."""
    app.connect("config-inited", drop_launch_buttons)
    return {"version": "1", "parallel_read_safe": True}
