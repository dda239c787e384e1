"""The twelve products: six textures and six objects, each with its own variation and, in some, two sub-classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from mintad.data.mini.canvas import Layers, Rng, box, frame, inside, mix, noise, plain, vary


def _texture(image: np.ndarray, hole: tuple[float, ...]) -> Layers:
    background = np.broadcast_to(np.asarray(hole, dtype=np.float32), image.shape)
    return Layers(image.astype(np.float32), background, np.ones(image.shape[:2], dtype=np.float32))


def _object(background: np.ndarray, image: np.ndarray, body: np.ndarray, shadow: float = 0.35) -> Layers:
    offset = max(1, len(body) // 40)
    cast = ndimage.gaussian_filter(np.roll(body, (offset, offset), (0, 1)), len(body) / 50)
    background = background * (1 - shadow * cast[..., None])
    return Layers(mix(background, image, body), background.astype(np.float32), body)


def weave(size: int, rng: Rng) -> Layers:
    """Draw a texture of woven cloth; the two dyes (sub-class), the threads and the angle vary."""
    x, y = frame(size, rng, turn=0.12, shift=0.5, zoom=0.05)
    warp = vary(((0.30, 0.38, 0.52), (0.52, 0.34, 0.30))[rng.integers(2)], rng)
    weft = vary((0.78, 0.74, 0.64), rng)
    over = (np.floor(x * 36 / np.pi) + np.floor(y * 36 / np.pi)) % 2 > 0
    round_x, round_y = np.abs(np.sin(x * 36)) ** 0.5, np.abs(np.sin(y * 36)) ** 0.5
    image = np.where(over[..., None], warp * round_x[..., None], weft * round_y[..., None])
    image = ndimage.gaussian_filter(image, (size / 400, size / 400, 0))
    return _texture(image * (1 + 0.06 * noise(size, 40, rng))[..., None], (0.06, 0.05, 0.05))


def brick(size: int, rng: Rng) -> Layers:
    """Draw a texture of running-bond tiles with mortar; the colour of each tile and the offset vary."""
    x, y = frame(size, rng, turn=0.04, shift=0.5, zoom=0.05)
    rows = y * 4.5
    row = np.floor(rows).astype(int)
    columns = x * 2.4 + 0.5 * (row % 2)
    column = np.floor(columns).astype(int)
    tone = rng.uniform(-0.07, 0.07, (64, 64))[row % 64, column % 64]
    face = vary((0.62, 0.36, 0.27), rng) + tone[..., None] + 0.05 * noise(size, 60, rng)[..., None]
    edge = np.minimum(np.minimum(rows % 1, 1 - rows % 1) / 4.5, np.minimum(columns % 1, 1 - columns % 1) / 2.4)
    mortar = plain(size, (0.74, 0.72, 0.68), 0.03, rng)
    return _texture(mix(mortar, face, inside(0.022 - edge)), (0.12, 0.10, 0.09))


def wood(size: int, rng: Rng) -> Layers:
    """Draw a texture of long wavy grain; the grain and the stain, light or dark (sub-class), vary."""
    _, y = frame(size, rng, turn=0.05, shift=1.0, zoom=0.1)
    dark = rng.integers(2) == 1
    bend = 0.10 * noise(size, 3, rng, stretch=1.5) + 0.03 * noise(size, 8, rng, stretch=3)
    rings = 0.5 + 0.5 * np.sin((y + bend) * 42 + 4 * noise(size, 4, rng, stretch=2))
    fibre = noise(size, size / 2, rng, stretch=14)
    early, late = ((0.45, 0.30, 0.18), (0.33, 0.20, 0.11)) if dark else ((0.80, 0.62, 0.42), (0.66, 0.47, 0.29))
    image = mix(np.broadcast_to(vary(early, rng), (size, size, 3)), vary(late, rng), rings * 0.8)
    return _texture(image + 0.035 * fibre[..., None], (0.10, 0.07, 0.05))


def mesh(size: int, rng: Rng) -> Layers:
    """Draw a texture of sheet metal with rows of round holes; their size, phase and angle vary."""
    x, y = frame(size, rng, turn=0.15, shift=0.3, zoom=0.04)
    pitch = 0.235
    row = np.floor(y / pitch)
    dx, dy = (x / pitch + 0.5 * (row % 2)) % 1 - 0.5, (y / pitch) % 1 - 0.5
    distance = np.hypot(dx, dy) * pitch - 0.072 * rng.uniform(0.95, 1.05)
    steel = plain(size, vary((0.60, 0.62, 0.64), rng, 0.02), 0.02, rng)
    steel = steel + 0.03 * noise(size, size / 2, rng, stretch=20)[..., None]
    rim = 0.12 * (inside(distance - 0.02) - inside(distance))
    return _texture(mix(steel + rim[..., None], (0.07, 0.07, 0.08), inside(distance)), (0.07, 0.07, 0.08))


def leather(size: int, rng: Rng) -> Layers:
    """Draw a texture of wrinkled cells; tone and cell size vary."""
    x, y = frame(size, rng, shift=1.0)
    cells = rng.uniform(13, 16)
    gx, gy = (axis * cells + 0.35 * noise(size, 22, rng) * 2 for axis in (x, y))
    jitter = np.random.default_rng(rng.integers(2**32)).uniform(-0.35, 0.35, (64, 64, 2))
    nearest, second = np.full((size, size), 9.0), np.full((size, size), 9.0)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            cell_x, cell_y = np.floor(gx).astype(int) + column, np.floor(gy).astype(int) + row
            offset = jitter[cell_y % 64, cell_x % 64]
            gap = np.hypot(gx - cell_x - 0.5 - offset[..., 0], gy - cell_y - 0.5 - offset[..., 1])
            second = np.minimum(second, np.maximum(nearest, gap))
            nearest = np.minimum(nearest, gap)
    crease = np.clip((second - nearest) * 4, 0, 1)
    hide = vary((0.44, 0.25, 0.15), rng, 0.04) * (0.62 + 0.38 * crease[..., None])
    return _texture(hide + 0.03 * noise(size, 70, rng)[..., None], (0.72, 0.62, 0.50))


def terrazzo(size: int, rng: Rng) -> Layers:
    """Draw a texture of chips of four colours in cement; every chip varies."""
    image = plain(size, vary((0.80, 0.79, 0.76), rng, 0.02), 0.025, rng)
    x, y = frame(size, rng, turn=0.0, shift=0.0, zoom=0.0)
    colours = ((0.35, 0.33, 0.32), (0.62, 0.44, 0.34), (0.55, 0.60, 0.58), (0.90, 0.88, 0.84))
    for _ in range(95):
        angle, cx, cy = rng.uniform(0, np.pi), *rng.uniform(-1.05, 1.05, 2)
        width, height = rng.uniform(0.025, 0.085, 2)
        u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
        v = -np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)
        chip = np.maximum(np.abs(u) - width, np.maximum(np.abs(v) - height, np.abs(u) * 0.8 + np.abs(v) - width))
        image = mix(image, vary(colours[rng.integers(4)], rng), inside(chip))
    return _texture(image, (0.25, 0.24, 0.23))


def gear(size: int, rng: Rng) -> Layers:
    """Draw a steel wheel with teeth and a bore; the angle and the teeth, 12 or 14 (sub-class), vary."""
    x, y = frame(size, rng)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    teeth = (12, 14)[rng.integers(2)]
    outline = 0.66 + 0.07 * np.clip(2.2 * np.cos(angle * teeth), -1, 1)
    body = inside(np.maximum(radius - outline, 0.17 - radius))
    steel = vary((0.58, 0.60, 0.63), rng, 0.02)
    brushed = 0.05 * np.sin(radius * 160) + 0.10 * np.cos(2 * angle)
    face = steel + brushed[..., None] + 0.02 * noise(size, size / 3, rng)[..., None]
    face = face - 0.22 * inside(np.abs(radius - 0.42) - 0.055)[..., None]
    for k in range(6):
        hole_x, hole_y = 0.42 * np.cos(k * np.pi / 3), 0.42 * np.sin(k * np.pi / 3)
        face = mix(face, (0.16, 0.16, 0.17), inside(np.hypot(x - hole_x, y - hole_y) - 0.04))
    return _object(plain(size, vary((0.16, 0.22, 0.24), rng, 0.015), 0.012, rng), face, body)


def capsule(size: int, rng: Rng) -> Layers:
    """Draw a two-coloured pill; the angle and the pair of colours (sub-class) vary."""
    x, y = frame(size, rng, zoom=0.05)
    distance = box(x, y, 0.68, 0.27, 0.27)
    left, right = (((0.80, 0.18, 0.16), (0.92, 0.88, 0.80)), ((0.15, 0.42, 0.30), (0.94, 0.78, 0.24)))[rng.integers(2)]
    face = np.where((x < 0.04)[..., None], vary(left, rng), vary(right, rng))
    face = face * (0.55 + 0.5 * np.sqrt(np.clip(1 - (y / 0.29) ** 2, 0, 1))[..., None])
    face = face + 0.35 * np.exp(-(((y + 0.12) / 0.03) ** 2))[..., None] * inside(np.abs(x) - 0.5, 0.1)[..., None]
    face = face - 0.18 * inside(np.abs(x - 0.04) - 0.012)[..., None]
    return _object(plain(size, vary((0.62, 0.66, 0.72), rng, 0.02), 0.015, rng), face, inside(distance))


def bolt(size: int, rng: Rng) -> Layers:
    """Draw a bolt from the side, with head, shank and thread; the angle and the phase of the thread vary."""
    x, y = frame(size, rng, zoom=0.05)
    head = box(x + 0.58, y, 0.15, 0.30, 0.05)
    half = 0.135 + np.where(x > -0.12, 0.022 * np.sin(x * 75 + rng.uniform(0, 6)), 0.0)
    shank = np.maximum(np.maximum(np.abs(y) - half, -0.5 - x), np.maximum(x - 0.74, x + np.abs(y) - 0.80))
    shade = np.sqrt(np.clip(1 - (y / np.where(x < -0.43, 0.34, 0.17)) ** 2, 0, 1))
    face = vary((0.66, 0.60, 0.46), rng, 0.02) * (0.45 + 0.62 * shade[..., None])
    thread = np.where(x > -0.12, 0.15 * np.sin(x * 75 + y * 4), 0.0)
    facets = np.where(x < -0.43, 0.12 * (np.abs(y) < 0.12), 0.0)
    table = plain(size, vary((0.86, 0.87, 0.88), rng, 0.02), 0.012, rng)
    return _object(table, face + (thread + facets)[..., None], inside(np.minimum(head, shank)))


def cookie(size: int, rng: Rng) -> Layers:
    """Draw a brown disc with dark chips, whose places vary."""
    x, y = frame(size, rng)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    outline = 0.66 + 0.015 * np.sin(angle * 5 + rng.uniform(0, 6)) + 0.01 * np.sin(angle * 11 + rng.uniform(0, 6))
    crumb = 0.07 * noise(size, 26, rng) + 0.04 * noise(size, 70, rng)
    face = vary((0.74, 0.54, 0.31), rng) * (1.08 - 0.35 * (radius / 0.66) ** 4)[..., None] + crumb[..., None]
    placed: list[tuple[float, float]] = []
    while len(placed) < 11:
        r, a = 0.56 * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        spot = (r * np.cos(a), r * np.sin(a))
        if all(np.hypot(spot[0] - p, spot[1] - q) > 0.19 for p, q in placed):
            placed.append(spot)
    for cx, cy in placed:
        gap = np.hypot(x - cx, (y - cy) * rng.uniform(0.8, 1.25)) - rng.uniform(0.055, 0.08)
        face = mix(face, vary((0.22, 0.12, 0.07), rng, 0.02), inside(gap, 0.02))
    return _object(plain(size, vary((0.90, 0.89, 0.86), rng, 0.015), 0.012, rng), face, inside(radius - outline))


def button(size: int, rng: Rng) -> Layers:
    """Draw a disc with a rim and four holes; the angle and the colour, red or blue (sub-class), vary."""
    x, y = frame(size, rng)
    radius = np.hypot(x, y)
    dye = vary(((0.68, 0.14, 0.20), (0.16, 0.28, 0.60))[rng.integers(2)], rng)
    face = dye + 0.05 * noise(size, 5, rng)[..., None] + 0.10 * (x - y)[..., None]
    rim = inside(np.abs(radius - 0.57) - 0.035, 0.03) - 0.7 * inside(np.abs(radius - 0.48) - 0.02, 0.03)
    face = face + 0.16 * rim[..., None]
    for cx, cy in ((0.15, 0.15), (-0.15, 0.15), (0.15, -0.15), (-0.15, -0.15)):
        gap = np.hypot(x - cx, y - cy)
        face = face + 0.12 * inside(gap - 0.10)[..., None]
        face = mix(face, (0.10, 0.10, 0.11), inside(gap - 0.07))
    cloth = plain(size, vary((0.76, 0.73, 0.66), rng, 0.02), 0.0, rng)
    cloth = cloth + 0.03 * np.sin(np.arange(size) * 1.4)[None, :, None]
    return _object(cloth, face, inside(radius - 0.64))


def board(size: int, rng: Rng) -> Layers:
    """Draw a green circuit board with parts; tone and angle (within 6 degrees) vary."""
    x, y = frame(size, rng, turn=0.1, shift=0.05, zoom=0.03)
    face = plain(size, vary((0.08, 0.36, 0.20), rng, 0.02), 0.012, rng)
    for k in range(9):
        track = np.abs(y + 0.58 - 0.145 * k + 0.05 * np.tanh((x - 0.1 * (k % 3)) * 12)) - 0.012
        face = mix(face, (0.20, 0.52, 0.32), inside(np.maximum(track, np.abs(x) - 0.68)))
    for cx, cy, width, height in ((-0.30, -0.22, 0.22, 0.17), (0.34, 0.26, 0.16, 0.24)):
        pins = np.maximum(np.abs(np.sin((x - cx) * 44)) - 0.55, box(x - cx, y - cy, width, height + 0.05))
        face = mix(face, (0.80, 0.80, 0.78), inside(pins, 0.03))
        face = mix(face, (0.10, 0.10, 0.11), inside(box(x - cx, y - cy, width, height, 0.02)))
        face = mix(face, (0.34, 0.34, 0.35), inside(np.hypot(x - cx + width - 0.05, y - cy + height - 0.05) - 0.022))
    for cx, cy in ((0.30, -0.45), (0.48, -0.45), (-0.52, 0.30), (-0.36, 0.30), (-0.20, 0.30)):
        face = mix(face, (0.84, 0.84, 0.82), inside(box(x - cx, y - cy, 0.035, 0.085)))
        face = mix(face, (0.62, 0.48, 0.26), inside(box(x - cx, y - cy, 0.037, 0.05)))
    for cx in (-0.66, 0.66):
        for cy in (-0.62, 0.62):
            face = mix(face, (0.78, 0.70, 0.42), inside(np.hypot(x - cx, y - cy) - 0.055))
            face = mix(face, (0.10, 0.10, 0.10), inside(np.hypot(x - cx, y - cy) - 0.030))
    table = plain(size, vary((0.70, 0.71, 0.73), rng, 0.015), 0.012, rng)
    return _object(table, face, inside(box(x, y, 0.76, 0.72, 0.03)))


_TEXTURES = (weave, brick, wood, mesh, leather, terrazzo)
_OBJECTS = (gear, capsule, bolt, cookie, button, board)
PRODUCTS: dict[str, Callable[[int, Rng], Layers]] = {draw.__name__: draw for draw in (*_TEXTURES, *_OBJECTS)}
TEXTURES = frozenset(draw.__name__ for draw in _TEXTURES)
_PAIRS = ((weave, leather), (brick, terrazzo), (wood, mesh), (gear, button), (capsule, cookie), (bolt, board))


def swap_partner(category: str) -> str:
    """Return the product whose normal surface is this one's "swap" defect."""
    pair = next(pair for pair in _PAIRS if PRODUCTS[category] in pair)
    return pair[pair[0] is PRODUCTS[category]].__name__
