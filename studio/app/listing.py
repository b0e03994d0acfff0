"""`launch.py --list`: every plugin, with a line about it and where it comes from."""

from __future__ import annotations

import shutil
import textwrap

from studio.plugins import discovery as plugins
from studio.plugins.places import custom_folders
from studio.plugins.registry import KINDS


def print_listing(*, verbose: bool = False) -> None:
    """Print every plugin by kind, and what does not load.

    Args:
        verbose: import the custom plugins, to find every failure, and show their tracebacks.
    """
    if verbose:
        plugins.load_all()
    rows = plugins.listing()
    width = max((len(row.name) for row in rows), default=0) + 2
    columns = max(shutil.get_terminal_size((100, 20)).columns, 60)
    for kind in KINDS:
        chosen = [row for row in rows if row.kind == kind]
        if not chosen:
            continue
        print(f"{kind}:")
        for row in chosen:
            text = f"{row.summary or '(no description)'}  [{row.origin}]"
            lines = textwrap.wrap(text, columns - width - 2) or [""]
            print(f"  {row.name:<{width}}{lines[0]}")
            for line in lines[1:]:
                print(" " * (width + 2) + line)
            if row.error:
                print(" " * (width + 2) + f"DOES NOT WORK: {row.error}")
    found = plugins.catalogue()
    if found.failures:
        print("failing:")
        for origin, reason in found.failures.items():
            print(f"  {origin}: {reason}")
            if verbose and found.tracebacks.get(origin):
                print(textwrap.indent(found.tracebacks[origin].rstrip(), "    "))
    folders = ", ".join(str(folder) for folder in custom_folders())
    print(f"custom plugins are read from: {folders or 'custom/ (not there)'}")
