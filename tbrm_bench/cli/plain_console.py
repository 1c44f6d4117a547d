"""A rich console that reads no markup: each str, in a cell, a title or alone, is shown literally (see `foreign`)."""

from typing import Any

from rich.console import Console
from rich.text import Text

from tbrm_bench.foreign import for_terminal


class PlainConsole(Console):
    """Styles come from Text and from columns, never from within a str."""

    def render_str(self, text: str, *, style: Any = "", justify: Any = None, overflow: Any = None, **_: Any) -> Text:
        """Return the text that rich shows for a str."""
        shown = for_terminal(text, ascii_only=self.options.ascii_only)
        return Text(shown, style=style, justify=justify, overflow=overflow)
