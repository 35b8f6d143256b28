"""One HTML file, which needs no other: the page's program, its style, and the packed contents."""

import base64
import hashlib
import html
from typing import Final

from gadgetops.report.page.bundle import Bundle

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="gadgetops">
<title>{title}</title>
<!--
{licences}
-->
<style>{style}</style>
</head>
<body>
<main id="report"><h1>{title}</h1><p>{sentence}</p>
<noscript><p>The charts need JavaScript. Nothing is loaded from anywhere.</p></noscript></main>
<script type="text/plain" id="contents">{contents}</script>
<script>{script}</script>
</body>
</html>
"""


def page(title: str, sentence: str, contents: bytes, bundle: Bundle) -> str:
    """
    Return the file.

    Names of the recording are in *title* and *contents* alone: the one is escaped, the other is base64.

    Args:
        title: What was recorded.
        sentence: The verdict; what a browser without JavaScript shows.
        contents: As `packing` writes them.
        bundle: The page's program.
    """
    return _PAGE.format(
        script_hash=_hash(bundle.script),
        style_hash=_hash(bundle.style),
        title=_escaped(title),
        sentence=_escaped(sentence),
        # A comment ends at two hyphens and a bracket.
        licences=html.escape(bundle.licences).replace("--", "- -"),
        style=bundle.style,
        contents=base64.b64encode(contents).decode("ascii"),
        script=bundle.script,
    )


def _escaped(text: str) -> str:
    return html.escape("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
