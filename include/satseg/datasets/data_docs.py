"""Data Docs that need no network: Great Expectations' pages without the CDNs they load styles and scripts from.

The pages are plain HTML once Great Expectations has written them; only the list on their front page is drawn by a
script. So every foreign link and script goes, one style sheet takes their place, and the front page is written here.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_FOREIGN = re.compile(
    r'<script\b[^>]*\bsrc="https?://[^>]*>\s*</script>'
    r'|<link\b[^>]*\bhref="https?://[^>]*>'
    r'|<img\b[^>]*\bsrc="https?://[^>]*>'
    r"|<footer\b.*?</footer>",
    re.DOTALL,
)
_FOREIGN_BACKGROUND = re.compile(r"background: url\('https?://[^']*'\)[^;]*;")
_CSS = """\
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2733; margin: 0 2rem 3rem; max-width: 78rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } a { color: #0b5cad; }
table { border-collapse: collapse; margin: .4rem 0 1rem; } td, th { padding: .3rem .8rem .3rem 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid #e3e8ee; }
ul, ol { padding-left: 1.1rem; } .breadcrumb { display: flex; gap: .6rem; list-style: none; padding: 0; }
.badge { background: #e8edf3; border-radius: .3rem; padding: 0 .35rem; font-weight: 600; }
.ge-section { border-top: 1px solid #cfd7e0; padding-top: .6rem; margin-top: 1rem; }
.fa-check-circle::before { content: "\\2713"; color: #18794e; font-weight: 700; }
.fa-times::before, .fa-exclamation-triangle::before { content: "\\2717"; color: #b42318; font-weight: 700; }
.text-danger, .error { color: #b42318; } .warning { color: #8a5a00; } .good { color: #18794e; }
.collapse { display: block; } .navbar { height: auto !important; } .code-snippet { background: #f3f5f8; }
a[data-toggle="collapse"], .card.mb-3, .cooltip .top { display: none; }
"""
_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="static/satseg.css"></head>
<body><h1>{title}</h1><p>The last ingest that brought something new, checked by Great Expectations.</p>
<h2>Tables</h2><table><tr><th>result</th><th>rules</th></tr>{runs}</table>
{findings}</body></html>
"""


def make_offline(
    docs: Path,
    project: str,
    kept: dict[str, bool],
    reasons: Mapping[str, Sequence[str]],
    warnings: Mapping[str, Sequence[str]],
) -> None:
    """Rewrite the pages below `docs` so that they load nothing from elsewhere.

    Args:
        docs: folder that Great Expectations has written.
        project: name for the front page.
        kept: table to whether all of its rules were kept.
        reasons: scene to why it is quarantined.
        warnings: scene to what is worth knowing.
    """
    shutil.rmtree(docs / "static", ignore_errors=True)  # 4 MB of fonts and advertisement
    (docs / "static").mkdir()
    (docs / "static" / "satseg.css").write_text(_CSS, encoding="utf-8")
    for page in docs.rglob("*.html"):
        up = "../" * (len(page.relative_to(docs).parts) - 1)
        page.write_text(_offline(page.read_text(encoding="utf-8"), up), encoding="utf-8")
    title = f"Data Docs of {escape(project)}"
    findings = _findings("Quarantined", "error", reasons) + _findings("Warnings", "warning", warnings)
    text = _PAGE.format(
        title=title, runs=_runs(docs, kept), findings=findings or '<p class="good">Nothing was found.</p>'
    )
    (docs / "index.html").write_text(text, encoding="utf-8")


def _offline(html: str, up: str) -> str:
    clean = _FOREIGN_BACKGROUND.sub("", _FOREIGN.sub("", html))
    # its scripts work on jQuery, which is gone
    clean = re.sub(r"<script\b(?![^>]*\bsrc=).*?</script>", "", clean, flags=re.DOTALL)
    return clean.replace("</head>", f'<link rel="stylesheet" href="{up}static/satseg.css">\n</head>', 1)


def _runs(docs: Path, kept: dict[str, bool]) -> str:
    rows = []
    for page in sorted((docs / "validations").rglob("*.html")):
        table = page.relative_to(docs / "validations").parts[0]
        state, word = ("good", "all rules kept") if kept[table] else ("warning", "something found")
        rows.append(
            f'<tr><td><a href="{page.relative_to(docs)}">{table}</a>: <span class="{state}">{word}</span></td>'
            f'<td><a href="expectations/{table}.html">{table}</a></td></tr>'
        )
    return "".join(rows)


def _findings(title: str, style: str, said: Mapping[str, Sequence[str]]) -> str:
    if not said:
        return ""
    rows = "".join(
        f'<tr><td>{escape(scene)}</td><td class="{style}">{"<br>".join(escape(line) for line in lines)}</td></tr>'
        for scene, lines in sorted(said.items())
    )
    return f"<h2>{title}</h2><table><tr><th>scene</th><th>why</th></tr>{rows}</table>"
