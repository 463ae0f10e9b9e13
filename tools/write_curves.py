"""Draws the growth curves of docs/performance.md from the tables that stand there.

python tools/write_curves.py [--check]
"""

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tools.generated import write_or_check  # noqa: E402

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "pictures" / "growth.svg"
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 330, 230, 52, 34, 36
COLOURS = ("#2878b8", "#c07820")
STYLE = (
    "text{font:11px sans-serif;fill:#777}.t{font-size:12px;font-weight:600}"
    "line{stroke:#8884}polyline{fill:none;stroke-width:2}"
)


@dataclass(frozen=True)
class Chart:
    """Columns of a table over its first one, both by powers of ten.

    Attributes:
        head: how the table's first line begins.
        columns: numbers of the columns and their names.
    """

    title: str
    head: str
    columns: Sequence[tuple[int, str]]


CHARTS = (
    Chart("Seconds a step, by tokens", "| tokens |", ((1, "as it is"), (4, "with checkpointing"))),
    Chart("ms a step, by steps of a run", "| step |", ((1, "ms"),)),
    Chart("Opening a data set, by clips", "| clips |", ((1, "seconds of CPU"), (3, "ms a batch"))),
)


def rows_of(page: str, head: str) -> list[list[float]]:
    """The numbers of the table that begins so; units and commas are dropped."""
    (table,) = re.findall(rf"^{re.escape(head)}.*\n\|[-| ]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    cells = [line.strip("| \n").split("|") for line in table.splitlines()]
    return [[float(cell.replace(",", "").split()[0]) for cell in row] for row in cells]


def drawn(chart: Chart, page: str, left: int) -> str:
    """One chart as SVG, so far from the left."""
    rows = rows_of(page, chart.head)
    lines = [
        [(row[0], row[column]) for row in rows if row[column] > 0] for column, _ in chart.columns
    ]
    first, last = math.log10(rows[0][0]), math.log10(rows[-1][0])
    values = [math.log10(y) for line in lines for _, y in line]
    low, high = math.floor(min(values)), max(math.ceil(max(values)), math.floor(min(values)) + 1)
    right, bottom = left + WIDTH - 12, HEIGHT - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - first) / (last - first)
        up = (math.log10(y) - low) / (high - low)
        return left + LEFT + (right - left - LEFT) * across, bottom - (bottom - TOP) * up

    parts = [f'<text class="t" x="{left + LEFT}" y="16">{chart.title}</text>']
    for power in range(low, high + 1):
        y = at(rows[0][0], 10.0**power)[1]
        parts.append(f'<line x1="{left + LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{left + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
        )
    for x, anchor in ((rows[0][0], "start"), (rows[-1][0], "end")):
        place = at(x, 10.0**low)[0]
        parts.append(
            f'<text x="{place:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{x:,.0f}</text>'
        )
    for number, (line, (_, name)) in enumerate(zip(lines, chart.columns, strict=True)):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*pair) for pair in line))
        colour = COLOURS[number]
        parts.append(f'<polyline points="{points}" style="stroke:{colour}"/>')
        parts.append(
            f'<text x="{left + LEFT + 120 * number}" y="{bottom + 31}" style="fill:{colour}">{name}</text>'
        )
    return "\n".join(parts)


def picture(page: str) -> str:
    """All charts beside one another."""
    width = WIDTH * len(CHARTS)
    parts = [drawn(chart, page, WIDTH * number) for number, chart in enumerate(CHARTS)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}">',
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def contents() -> dict[Path, str]:
    return {PICTURE: picture(PAGE.read_text(encoding="utf-8"))}


if __name__ == "__main__":
    write_or_check(__doc__, contents)
