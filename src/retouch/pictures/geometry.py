"""How an edited picture lies over its source: its size, and where the source's features went.

A model gives back its own sizes, and may crop, pad, stretch, zoom or shift what it was given; a
label that is to follow must know. Features (ORB) of both pictures, at a working size, are matched
and an affine map is fitted to what agrees (RANSAC): about 20 ms a pair. A picture without features,
or one whose features are gone, is not measurable, and says so. Needs OpenCV (extras `rehearsal`,
`export`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Gray = np.ndarray[Any, np.dtype[np.uint8]]

SAME_ASPECT = 0.02  # DETAILS, "Scale against aspect"
MOVED = 0.02
_SMALLEST_SIDE, _LARGEST_SIDE = 320, 512  # pixels of the working size
_FEATURES = 800
_AGREE_PIXELS = 3.0  # at the working size
_LEAST_INLIERS = 15
_LEAST_SHARE = 0.2  # of the matches: pictures that have nothing in common agree on 5 %
_LEAST_COVERAGE = 0.05  # of the picture's area: a map fitted to one corner says little of the rest

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Affine:
    """A map of points, in pixels: x' = a x + b y + c, y' = d x + e y + f."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    def of(self, x: float, y: float) -> tuple[float, float]:
        """Where the point goes."""
        return self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f


@dataclass(frozen=True, slots=True)
class Geometry:
    """What was measured of one pair. `affine` maps the source's pixels to the output's, and
    `displacement` is how far it leads away from plain scaling by both sizes, as a share of the
    output's width or height; both are None where nothing could be measured.
    """

    source: Size
    output: Size
    affine: Affine | None = None
    displacement: float | None = None

    @property
    def scale(self) -> tuple[float, float]:
        """The output's width and height as shares of the source's."""
        return self.output[0] / self.source[0], self.output[1] / self.source[1]

    @property
    def is_resized(self) -> bool:
        return self.source != self.output

    @property
    def changes_aspect(self) -> bool:
        """Whether width to height differs by more than 2 %."""
        return changes_aspect(self.source, self.output)

    @property
    def has_moved(self) -> bool:
        """Whether something lies more than 2 % away from where scaling alone would put it."""
        return self.displacement is not None and self.displacement > MOVED


def changes_aspect(source: Size, output: Size) -> bool:
    """Whether width to height differs by more than 2 % between two sizes."""
    fx, fy = output[0] / source[0], output[1] / source[1]
    return max(fx / fy, fy / fx) > 1 + SAME_ASPECT


def size_of(columns: Mapping[str, str]) -> tuple[int, int] | None:
    """A source's width and height in pixels, as it is sent; None for a URL whose size no table
    tells."""
    try:
        return int(columns["width"]), int(columns["height"])
    except (KeyError, ValueError):
        return None


def measure_geometry(source: bytes, output: bytes) -> Geometry | None:
    """How `output` lies over `source` (as it was sent), both whole pictures; None if one cannot
    be decoded. EXIF's orientation is not followed. Raises ImportError without OpenCV.
    """
    before, after = _gray(source), _gray(output)
    if before is None or after is None:
        return None
    size, new_size = _size(before), _size(after)
    # Features match at equal size: both pictures are scaled to the smaller one's side.
    side = min(_LARGEST_SIDE, max(_SMALLEST_SIDE, min(max(size), max(new_size))))
    one, other = _working(before, side), _working(after, side)
    fitted = _fitted(one, size, other, new_size)
    if fitted is None and changes_aspect(size, new_size):
        # A strong stretch changes the features: they are taken before it.
        fitted = _fitted(one, size, _resized(other, _size(one)), new_size)
    if fitted is None:
        return Geometry(size, new_size)
    affine, reach = fitted
    fx, fy = new_size[0] / size[0], new_size[1] / size[1]
    places = [(affine.of(x, y), (x * fx, y * fy)) for x, y in reach]
    displacement = max(
        max(abs(x - wx) / new_size[0], abs(y - wy) / new_size[1]) for (x, y), (wx, wy) in places
    )
    return Geometry(size, new_size, affine, displacement)


def _gray(data: bytes) -> Gray | None:
    """The picture in grey, as it is stored."""
    import cv2  # noqa: PLC0415  an extra: not there for everybody
    import numpy as np  # noqa: PLC0415

    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _size(image: Gray) -> Size:
    return image.shape[1], image.shape[0]


def _working(image: Gray, side: int) -> Gray:
    """The picture with `side` as its longer side, its contrast stretched."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    scale = side / max(image.shape)
    width, height = (max(1, round(number * scale)) for number in _size(image))
    return np.asarray(cv2.equalizeHist(_resized(image, (width, height))), np.uint8)


def _resized(image: Gray, size: Size) -> Gray:
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    if _size(image) == size:
        return image
    is_smaller = size[0] < image.shape[1]
    method = cv2.INTER_AREA if is_smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _fitted(
    one: Gray, size: Size, other: Gray, new_size: Size
) -> tuple[Affine, tuple[tuple[float, float], ...]] | None:
    """The map from source to output pixels, and the corners of the area it was fitted to."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    detector = cv2.ORB_create(_FEATURES, fastThreshold=7)  # type: ignore[attr-defined]
    here, descriptors = detector.detectAndCompute(one, None)
    there, others = detector.detectAndCompute(other, None)
    if descriptors is None or others is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(descriptors, others)
    if len(matches) < _LEAST_INLIERS:
        return None
    begin = np.array([here[match.queryIdx].pt for match in matches], np.float32)
    end = np.array([there[match.trainIdx].pt for match in matches], np.float32)
    cv2.setRNGSeed(0)  # the same pair, the same map
    matrix, agrees = cv2.estimateAffine2D(
        begin, end, method=cv2.RANSAC, ransacReprojThreshold=_AGREE_PIXELS,
        maxIters=2000, confidence=0.999,
    )  # fmt: skip
    if matrix is None:
        return None
    inliers = begin[agrees.ravel() == 1]
    if len(inliers) < max(_LEAST_INLIERS, _LEAST_SHARE * len(matches)):
        return None
    (left, top), (right, bottom) = inliers.min(axis=0), inliers.max(axis=0)
    if (right - left) * (bottom - top) < _LEAST_COVERAGE * one.shape[0] * one.shape[1]:
        return None
    affine = _in_pixels(matrix.astype(float).tolist(), one.shape, size, other.shape, new_size)
    if not _is_plausible(affine, size, new_size):
        return None
    sx, sy = size[0] / one.shape[1], size[1] / one.shape[0]
    reach = tuple((x * sx, y * sy) for x in (float(left), float(right)) for y in (top, bottom))
    return affine, tuple((float(x), float(y)) for x, y in reach)


def _in_pixels(
    matrix: list[list[float]],
    one: tuple[int, ...],
    size: Size,
    other: tuple[int, ...],
    new_size: Size,
) -> Affine:
    """A map between pictures at working size as one between their own pixels.

    Features lie in the middle of pixels, labels are measured from the picture's edge: half a
    pixel is added on both sides.
    """
    (a, b, c), (d, e, f) = matrix
    c, f = c + 0.5 - (a + b) / 2, f + 0.5 - (d + e) / 2
    sx, sy = one[1] / size[0], one[0] / size[1]
    tx, ty = new_size[0] / other[1], new_size[1] / other[0]
    return Affine(a * sx * tx, b * sy * tx, c * tx, d * sx * ty, e * sy * ty, f * ty)


def _is_plausible(affine: Affine, size: Size, new_size: Size) -> bool:
    """Whether the map keeps sides and handedness and is no wild zoom: chance fits are neither."""
    fx, fy = new_size[0] / size[0], new_size[1] / size[1]
    along = affine.a / fx, affine.e / fy
    across = affine.b / fx, affine.d / fy
    return all(0.3 < each < 3.5 for each in along) and all(abs(each) < 0.5 for each in across)
