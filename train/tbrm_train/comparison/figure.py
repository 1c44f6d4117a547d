"""Learning curves as an SVG of a few kilobytes: a line and a band per arm, labelled at its end; light and dark.

    <svg viewBox="0 0 760 420"> ... <path class="line" style="stroke: var(--arm1)" d="M 64 300 L 90 280 ..."/> ...

Colours are those of Okabe and Ito (2008), which are safe for colour-blind readers, lightened on dark
pages; each arm also has its own dash pattern.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from tbrm_bench.foreign import for_html
from tbrm_train.comparison.curves import MeanCurve

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 590, 56, 362
LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a", "#8c6d00")
DARK = ("#56b4e9", "#ff8f3f", "#2fd3a3", "#f0a5cf", "#f5c451", "#9ad4f7", "#bdbdbd", "#d9bd4c")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 4", "1 2", "6 2 1 2")
UNITS = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"), (1.0, ""))
LABEL_HEIGHT = 17


def learning_curves_svg(curves: Mapping[str, MeanCurve], *, title: str, score: str, band: str) -> str:
    """Return the figure of the arms' mean curves; arms without a point are left out.

    `score` names the vertical axis, scores in [0, 1] are drawn in percent; `band` is its text in the legend.
    """
    shown = {name: curve for name, curve in curves.items() if curve.mean}
    most = max((max(curve.generated_tokens) for curve in shown.values()), default=1.0) or 1.0
    scale, unit = next(pair for pair in UNITS if most >= pair[0] or pair[0] == 1.0)
    low, high = _range(shown.values())
    across, up = ticks(0, most / scale), ticks(low, high)
    axes = _Axes(most, up[0], up[-1])
    parts = [_head(title, len(shown)), *_grid(axes, [value for value in across if value * scale <= most], up, scale)]
    label = f"generated tokens ({unit})" if unit else "generated tokens"
    parts.append(f'<text class="label" x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">{label}</text>')
    middle = (TOP + BOTTOM) / 2
    parts.append(
        f'<text class="label" x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">'
        f"{for_html(score)}</text>"
    )
    for number, curve in enumerate(shown.values()):
        parts += _curve(axes, curve, number)
    parts += _labels(axes, shown)
    if any(not math.isnan(value) for curve in shown.values() for value in curve.sd):
        parts.append(f'<rect class="key" x="{LEFT}" y="34" width="18" height="10"/>')
        parts.append(f'<text class="tick" x="{LEFT + 24}" y="43">{for_html(band)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def ticks(low: float, high: float, *, wanted: int = 5) -> list[float]:
    """Return about `wanted` round numbers, the first at or below `low` and the last at or above `high`."""
    if not high > low:
        high = low + 1
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


class _Axes:
    """Maps (tokens, percent) to coordinates of the figure."""

    def __init__(self, most: float, low: float, high: float) -> None:
        self.most, self.low, self.high = most, low, high

    def x(self, tokens: float) -> float:
        return LEFT + (RIGHT - LEFT) * tokens / self.most

    def y(self, percent: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (percent - self.low) / (self.high - self.low)


def _range(curves: Iterable[MeanCurve]) -> tuple[float, float]:
    """Return the lowest and highest percentage that is drawn, including the bands."""
    values = [
        100 * (mean + sign * (0.0 if math.isnan(sd) else sd))
        for curve in curves
        for mean, sd in zip(curve.mean, curve.sd, strict=True)
        for sign in (-1, 1)
    ]
    return (max(0.0, min(values)), min(100.0, max(values))) if values else (0.0, 100.0)


def _head(title: str, num_arms: int) -> str:
    def colours(palette: Sequence[str]) -> str:
        return "; ".join(f"--arm{n}: {palette[n % len(palette)]}" for n in range(num_arms))

    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
  aria-labelledby="title">
<title id="title">{for_html(title)}</title>
<style>
svg {{ --page: #ffffff; --ink: #1f2328; --soft: #656d76; --rule: #d8dee4; {colours(LIGHT)};
  background: var(--page); font-family: system-ui, sans-serif; }}
@media (prefers-color-scheme: dark) {{
  svg {{ --page: #0d1117; --ink: #e6edf3; --soft: #9198a1; --rule: #30363d; {colours(DARK)}; }} }}
.title {{ fill: var(--ink); font-size: 15px; font-weight: 600; }}
.label {{ fill: var(--ink); font-size: 13px; }}
.tick {{ fill: var(--soft); font-size: 12px; }}
.rule {{ stroke: var(--rule); stroke-width: 1; }}
.line {{ fill: none; stroke-width: 2.25; stroke-linejoin: round; }}
.band {{ opacity: 0.16; stroke: none; }}
.key {{ fill: var(--soft); opacity: 0.3; }}
</style>
<text class="title" x="{LEFT}" y="22">{for_html(title)}</text>"""


def _grid(axes: _Axes, across: Sequence[float], up: Sequence[float], scale: float) -> list[str]:
    parts = []
    for value in up:
        y = round(axes.y(value), 1)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in across:
        x = round(axes.x(value * scale), 1)
        parts.append(f'<line class="rule" x1="{x}" x2="{x}" y1="{BOTTOM}" y2="{BOTTOM + 4}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{BOTTOM + 19}" text-anchor="middle">{value:g}</text>')
    return parts


def _curve(axes: _Axes, curve: MeanCurve, number: int) -> list[str]:
    xs = [axes.x(tokens) for tokens in curve.generated_tokens]
    parts = []
    if not any(map(math.isnan, curve.sd)):
        above = [(x, axes.y(100 * (m + s))) for x, m, s in zip(xs, curve.mean, curve.sd, strict=True)]
        below = [(x, axes.y(100 * (m - s))) for x, m, s in zip(xs, curve.mean, curve.sd, strict=True)]
        outline = _path([*above, *reversed(below)])
        parts.append(f'<path class="band" style="fill: var(--arm{number})" d="{outline} Z"/>')
    line = [(x, axes.y(100 * mean)) for x, mean in zip(xs, curve.mean, strict=True)]
    dash = DASHES[number % len(DASHES)]
    parts.append(
        f'<path class="line" style="stroke: var(--arm{number}); stroke-dasharray: {dash or "none"}" d="{_path(line)}"/>'
    )
    if len(line) == 1:
        parts.append(f'<circle cx="{line[0][0]:.1f}" cy="{line[0][1]:.1f}" r="3" style="fill: var(--arm{number})"/>')
    return parts


def _labels(axes: _Axes, curves: Mapping[str, MeanCurve]) -> list[str]:
    """Return the arms' names beside their last points, moved apart if they would overlap."""
    ends = sorted(
        (axes.y(100 * curve.mean[-1]), number, name, curve) for number, (name, curve) in enumerate(curves.items())
    )
    parts, free = [], -math.inf
    top = BOTTOM - LABEL_HEIGHT * (len(ends) - 1)
    for index, (wanted, number, name, curve) in enumerate(ends):
        y = min(max(wanted, free), top + LABEL_HEIGHT * index)
        free = y + LABEL_HEIGHT
        text = f"{name if len(name) <= 12 else name[:11] + '…'} {100 * curve.mean[-1]:.1f}"
        parts.append(
            f'<text x="{RIGHT + 10}" y="{y + 4:.1f}" style="fill: var(--arm{number}); font-size: 13px; '
            f'font-weight: 600">{for_html(text)}</text>'
        )
        parts.append(
            f'<line x1="{axes.x(curve.generated_tokens[-1]):.1f}" y1="{wanted:.1f}" x2="{RIGHT + 7}" y2="{y:.1f}" '
            f'style="stroke: var(--arm{number}); stroke-width: 0.75; opacity: 0.6"/>'
        )
    return parts


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M " + " L ".join(f"{x:.1f} {y:.1f}" for x, y in points)
