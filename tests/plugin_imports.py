"""What of satseg the plugin reads with."""

import re

from airflow_home import ROOT


def modules_of_the_plugin() -> list[str]:
    """Return the modules of satseg that the plugin imports anywhere, and those they are known to come to later."""
    sources = [path.read_text() for path in (ROOT / "plugins").rglob("*.py")]
    wanted = {name for text in sources for name in re.findall(r"^\s*from (satseg\.[\w.]+) import", text, re.MULTILINE)}
    wanted |= {"satseg.registry.overview", "satseg.lineage.chain", "satseg.datasets.listing", "satseg.drift.nights"}
    return sorted(wanted)
