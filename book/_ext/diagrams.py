"""``{information-flow} PROFILE``, ``{lstm-unit}`` and ``{record-lengths}``: schematic figures as inline SVG.

They take their colours from the page (custom.css), so that light and dark readers see the same; they show no
data. The flow is drawn from the profile, hence cannot drift from what a run does.
"""

from __future__ import annotations

import textwrap
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from smapnb.profile import Profile, load

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
LINE = 15  # height of a line of text
HEAD = (
    '<defs><marker id="{id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0 L8 4 L0 8 z" class="d-head"/></marker></defs>'
)


class Drawing:
    """A few shapes in one coordinate system; `name` must be unique on a page."""

    def __init__(self, name: str, width: int, height: int, description: str) -> None:
        self.name, self.width, self.height, self.description = name, width, height, description
        self.parts = [HEAD.format(id=f"{name}-head")]

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> None:
        """Write one line; ``a^b`` sets ``b`` as a raised index."""
        base, _, index = words.partition("^")
        raised = f'<tspan dy="-5" class="d-index">{escape(index)}</tspan>' if index else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="d-text {kind}">{escape(base)}{raised}</text>'
        )

    def box(self, x: float, y: float, w: float, h: float, lines: list[str], kind: str = "") -> None:
        """Draw a rounded box with centred lines, the first one bold."""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="7" class="d-box {kind}"/>')
        top = y + h / 2 - LINE * (len(lines) - 1) / 2 + 4
        for k, line in enumerate(lines):
            self.text(x + w / 2, top + k * LINE, line, "d-bold" if k == 0 else "d-small")

    def node(self, x: float, y: float, symbol: str, kind: str = "", radius: float = 15) -> None:
        """Draw a circle with a symbol: an operation."""
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="{radius}" class="d-box {kind}"/>')
        self.text(x, y + 5, symbol)

    def arrow(self, *points: tuple[float, float], kind: str = "", head: bool = True) -> None:
        """Draw a line through `points`, with an arrow head at its end."""
        path = " L".join(f"{x} {y}" for x, y in points)
        marker = f' marker-end="url(#{self.name}-head)"' if head else ""
        self.parts.append(f'<path d="M{path}" class="d-line {kind}"{marker}/>')

    def svg(self) -> str:
        """Give the whole figure as HTML; it scrolls sideways where the screen is narrower than its text
        needs.
        """
        label = escape(self.description, quote=True)
        narrow = ' class="d-narrow"' if self.width < 600 else ""
        return (
            f'<div class="diagram" tabindex="0"><svg{narrow} viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{label}" xmlns="http://www.w3.org/2000/svg">{"".join(self.parts)}</svg></div>'
        )


def wrap(names: list[str], width: int) -> list[str]:
    """Lay variable names over lines."""
    return textwrap.wrap(", ".join(n.replace("_", " ") for n in names), width)


def information_flow(profile: Profile) -> str:
    """Draw which data reach which model of `profile` and what is compared with what (after the paper's Fig.
    1).
    """
    twin = profile.synthetic
    weather = "Synthetic weather" if twin else "NLDAS-2 forcing"
    target = "Synthetic SMAP" if twin else "SMAP"
    forcing, statics = wrap(profile.inputs.forcing, 30), wrap(profile.inputs.statics, 30)
    tall = 34 + LINE * len(forcing), 34 + LINE * len(statics)
    y_static = 20 + tall[0] + 26
    y_target = y_static + tall[1] + 26
    height = y_target + 76
    d = Drawing(
        f"flow-{profile.name}",
        760,
        height,
        f"Information flow of the profile {profile.name}: {weather} drives the land model Noah and, together "
        f"with static attributes, the LSTM; {target} is the only target that the LSTM learns from; the "
        "LSTM's hindcast, Noah and their mean are each held against in situ measurements.",
    )
    d.box(10, 20, 220, tall[0], [weather, *forcing], "d-forcing")
    d.box(10, y_static, 220, tall[1], ["Static attributes", *statics])
    d.box(10, y_target, 220, 56, [target, " and ".join(profile.targets) + ", with gaps"], "d-smap")
    noah, lstm = 20 + tall[0] / 2, y_static + tall[1] / 2
    d.box(310, noah - 28, 130, 56, ["Noah", "land model"], "d-noah")
    d.box(310, lstm - 28, 130, 56, ["LSTM", "learned"], "d-lstm")
    d.arrow((230, noah - 8), (308, noah - 8))
    d.arrow((230, noah + 12), (262, noah + 12), (262, lstm - 10), (308, lstm - 10))
    d.arrow((230, lstm + 10), (308, lstm + 10))
    d.arrow((230, y_target + 28), (375, y_target + 28), (375, lstm + 30), kind="d-dashed")
    d.text(384, y_target - 4, "loss, eq. 9: training only", "d-small", "start")
    middle = (noah + lstm) / 2
    d.box(520, middle - 24, 90, 48, ["Comb", "plain mean"])
    d.arrow((440, noah), (565, noah), (565, middle - 26))
    d.arrow((440, lstm), (565, lstm), (565, middle + 26))
    d.box(650, middle - 60, 100, 120, ["In situ", "core sites,", "climate", "reference", "network"], "d-insitu")
    d.arrow((610, middle), (648, middle), kind="d-dashed")
    d.arrow((565, noah), (700, noah), (700, middle - 62), kind="d-dashed")
    d.arrow((565, lstm), (700, lstm), (700, middle + 62), kind="d-dashed")
    d.text(632, lstm + 20, "evaluation", "d-small")
    return d.svg()


def lstm_unit() -> str:
    """Draw the paper's LSTM unit, equations 1 to 8, beside a simple recurrent unit (after the paper's Fig.
    2).
    """
    d = Drawing(
        "lstm",
        760,
        360,
        "Left: a simple recurrent unit, h(t) is the tanh of the weighted input and the weighted h(t-1). "
        "Right: the LSTM unit. The raw input passes a ReLU layer; dropout D acts on it and on h(t-1). They "
        "feed the candidate g (tanh) and the gates i, f and o (sigmoid). The memory s(t) is s(t-1) times f "
        "plus D(g) times i; h(t) is tanh(s) times o, and a linear layer gives y(t).",
    )
    d.text(100, 22, "Simple recurrent unit", "d-bold")
    d.node(100, 190, "tanh", "d-lstm", 24)
    d.text(100, 335, "x^(t)")
    d.arrow((100, 318), (100, 217))
    d.arrow((100, 166), (100, 110))
    d.text(100, 100, "h^(t)")
    d.arrow((22, 190), (74, 190))
    d.text(24, 178, "h^(t−1)", anchor="start")
    d.arrow((200, 20), (200, 345), kind="d-faint", head=False)
    _memory(d)
    _gates(d)
    return d.svg()


def _memory(d: Drawing) -> None:
    """Upper half of the unit: the line of the memory s, and what leaves the unit (equations 6 to 8)."""
    d.text(490, 22, "LSTM unit of the paper", "d-bold")
    d.text(232, 84, "s^(t−1)", anchor="start")
    d.arrow((282, 80), (333, 80))
    d.node(350, 80, "⊙")
    d.arrow((365, 80), (448, 80))
    d.node(465, 80, "+")
    d.arrow((480, 80), (690, 80))
    d.text(698, 84, "s^(t)", anchor="start")
    d.arrow((600, 80), (600, 109))
    d.node(600, 126, "tanh", radius=16)
    d.arrow((600, 142), (600, 161))
    d.node(600, 178, "⊙")
    d.arrow((615, 178), (690, 178))
    d.text(698, 182, "h^(t)", anchor="start")
    d.arrow((652, 178), (652, 232))
    d.box(628, 234, 48, 26, ["W, b"])
    d.arrow((652, 260), (652, 296))
    d.text(652, 314, "y^(t)")


def _gates(d: Drawing) -> None:
    """Lower half: input layer, dropout, candidate and gates (equations 1 to 5)."""
    gates = ((350, "f", "σ"), (440, "i", "σ"), (510, "g", "tanh"), (570, "o", "σ"))
    for x, name, function in gates:
        d.node(x, 240, function, "d-lstm", 17)
        d.text(x - 24, 236, name, "d-bold")
        d.arrow((x, 292), (x, 259))
    d.arrow((350, 223), (350, 97))
    d.arrow((440, 223), (440, 160), (449, 160))
    d.node(465, 160, "⊙")
    d.arrow((465, 145), (465, 97))
    d.arrow((510, 223), (510, 203))
    d.node(510, 188, "D", "d-drop", 13)
    d.arrow((510, 175), (510, 160), (482, 160))
    d.arrow((570, 223), (570, 204), (594, 193))
    d.arrow((275, 292), (570, 292), head=False)
    d.text(232, 297, "h^(t−1)", anchor="start")
    d.node(300, 292, "D", "d-drop", 13)
    d.text(232, 336, "x₀^(t)", anchor="start")
    d.arrow((270, 332), (298, 332))
    d.box(300, 318, 60, 28, ["ReLU"])
    d.arrow((360, 332), (381, 332))
    d.node(396, 332, "D", "d-drop", 13)
    d.arrow((396, 319), (396, 294))
    d.text(425, 337, "D: constant dropout mask, ⊙: product", "d-small", "start")


# Spans of the records. NLDAS-2: starts 1979; climate reference network: first soil probes 2009; SMAP: first
# data 31 March 2015; hindcast: the authors' scripts run April 2000 to March 2018 (book page "The paper in ten
# minutes").
RECORDS = (
    ("Weather", 1979.0, 2020.0, "d-forcing", "NLDAS-2, every day"),
    ("Hindcast", 2000.25, 2018.25, "d-lstm", "every day"),
    ("In situ", 2009.6, 2020.0, "d-insitu", "judge"),
    ("SMAP", 2015.25, 2020.0, "d-smap", "teacher"),
)


def record_lengths() -> str:
    """Draw how long each record is: the reason for the whole undertaking."""
    d = Drawing(
        "records",
        480,
        190,
        "Lengths of the records: NLDAS-2 weather from 1979, in situ soil-moisture networks from about 2009, "
        "SMAP only from 2015; the LSTM learns from SMAP and gives a series from 2000 on.",
    )
    left, right, first, last = 74, 462, 1979, 2020

    def place(year: float) -> float:
        return round(left + (right - left) * (year - first) / (last - first), 1)

    for year in range(1980, last + 1, 10):
        d.arrow((place(year), 8), (place(year), 168), kind="d-faint", head=False)
        d.text(place(year), 185, str(year), "d-small")
    for k, (name, start, end, kind, note) in enumerate(RECORDS):
        y = 12 + k * 39
        d.text(left - 8, y + 18, name, "d-bold", "end")
        d.parts.append(
            f'<rect x="{place(start)}" y="{y}" width="{place(end) - place(start):.1f}" height="28" rx="5" '
            f'class="d-box {kind}"/>'
        )
        d.text((place(start) + place(end)) / 2, y + 18, note, "d-small")
    return d.svg()


class Diagram(Directive):
    """Place one of the drawings; the content of the directive is its caption."""

    has_content = True
    optional_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Docutils entry point."""
        if self.name == "information-flow":
            drawing = information_flow(load(self.arguments[0], folder=PROFILES))
        else:
            drawing = {"lstm-unit": lstm_unit, "record-lengths": record_lengths}[self.name]()
        figure = nodes.container(classes=["diagram-figure"])
        figure += nodes.raw("", drawing, format="html")
        caption = nodes.container(classes=["diagram-caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        figure += caption
        return [figure]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx entry point."""
    for name in ("information-flow", "lstm-unit", "record-lengths"):
        app.add_directive(name, Diagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
