"""
The report: one HTML file with the sums of a recording, and the pictures that stand alone, as SVG.

`contents` says what the file carries, `packing` turns it into bytes, `html` makes the file, `fitting` keeps
it small. `bundle` finds the page's program, which scripts/build_report.sh makes of `web/`; `svg` and
`markdown` need none.
"""
