"""Where the subject is, and where the sky: regions found in the picture itself.

The subject comes from U²-Netp through cv2.dnn (320 x 320, on the bench). It can be
wrong (IoU median 0.84, worst 0.10 on 14 cut-outs), so a client's mask always wins.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from importlib import resources
from threading import Lock

import cv2
import numpy as np

from ..bench import BENCH
from .arrays import Floats, Pixels, Plane, as_floats, as_pixels, luma, resize_plane, soften

WEIGHTS = "u2netp.onnx"
WEIGHTS_SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
_SIDE = 320
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # ImageNet's, which the net was taught with
_SPREAD = np.array([0.229, 0.224, 0.225], np.float32)
_KEPT = 64

cv2.setNumThreads(1)  # the service's own workers are the parallelism
_lock = Lock()
_known: OrderedDict[str, Plane] = OrderedDict()


class WeightsChanged(RuntimeError):
    """The packaged weights are not the ones this version was tested with."""


def subject_of(pixels: Pixels, digest: str) -> Plane:
    """How surely each pixel belongs to the subject, 0-1; `digest` names the picture."""
    height, width = pixels.shape[:2]
    return _refined(pixels, resize_plane(_saliency(pixels, digest), (width, height)))


def sky_of(pixels: Pixels, subject: Plane) -> Plane:
    """Where the sky is, 0-1: smooth, not subject, joined to the top; else the upper background."""
    height, width = pixels.shape[:2]
    slope = _slope(soften(luma(pixels), 1.5))
    smooth = ((slope < 28) & (subject < 0.5)).astype(np.uint8)
    _, labels = cv2.connectedComponents(smooth, connectivity=4)
    on_top = np.unique(np.asarray(labels)[0])
    joined = as_floats(np.isin(np.asarray(labels), on_top[on_top > 0]))
    ramp = as_floats(np.clip((0.75 - np.linspace(0, 1, height)) * 6, 0, 1))[:, None]
    if joined.mean() < 0.04:
        joined = as_floats(np.repeat(ramp, width, axis=1))
    closed = cv2.morphologyEx(as_floats(joined), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    fine = _to_edges(pixels, soften(as_floats(closed), 1.0), 6)
    return as_floats(np.clip(fine * 1.1 - 0.05, 0, 1) * (1 - subject))


def _slope(grey: Floats) -> Floats:
    across = as_floats(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    down = as_floats(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return as_floats(np.hypot(across, down))


def _saliency(pixels: Pixels, digest: str) -> Plane:
    with _lock:
        known = _known.get(digest)
        if known is not None:
            _known.move_to_end(digest)
            return known
    found = _run_net(pixels)
    with _lock:
        _known[digest] = found
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found


def _run_net(pixels: Pixels) -> Plane:
    small = as_floats(cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)) / 255
    blob = ((small - _MEAN) / _SPREAD).transpose(2, 0, 1)[None]
    with BENCH.net(_load_net) as net:
        net.setInput(np.ascontiguousarray(blob, np.float32))
        plane = as_floats(net.forward(net.getUnconnectedOutLayersNames()[0])[0, 0].copy())
    low, high = float(plane.min()), float(plane.max())
    return as_floats((plane - low) / max(high - low, 1e-6))


def _load_net() -> cv2.dnn.Net:
    data = resources.files("retouch_rehearsal").joinpath("weights", WEIGHTS).read_bytes()
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise WeightsChanged(f"{WEIGHTS}: SHA-256 is not {WEIGHTS_SHA256}; install again")
    return cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))


def _refined(pixels: Pixels, coarse: Plane) -> Plane:
    """The region drawn to the picture's own edges (a guided filter), then made firmer."""
    fine = _to_edges(pixels, coarse, max(4, max(pixels.shape[:2]) // 90))
    return as_floats(np.clip((fine - 0.3) / 0.55, 0, 1))


def _to_edges(pixels: Pixels, plane: Plane, radius: int) -> Plane:
    guide: Floats = as_floats(pixels) / np.float32(255)
    return as_floats(cv2.ximgproc.guidedFilter(guide, plane, radius, 1e-4))


def is_found(subject: Plane) -> bool:
    """Whether there is a subject at all."""
    return 0.01 < float(subject.mean()) < 0.97


def as_alpha(subject: Plane) -> Pixels:
    """A region as an alpha channel, 0-255."""
    return as_pixels(subject * 255)
