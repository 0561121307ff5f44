"""Recognises a handwritten digit."""

import json

from watchdog import Tensor, infer

PIXELS = 64  # 8x8, row by row, from 0 (paper) to 16 (ink)


def handle(body, headers):
    """Answers a request with what is sent back as JSON. A ValueError becomes the
    status 400, watchdog.Unavailable becomes 503, any other exception 500."""
    pixels = Tensor("FP32", [1, 1, 8, 8], read_pixels(body))
    outputs = infer("digits", {"pixels": pixels}, headers)
    probabilities = outputs["probabilities"].array().tolist()
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return {"class": best, "probabilities": probabilities}


def read_pixels(body):
    """The body's 64 numbers: JSON, an array or an object with it as "pixels"."""
    try:
        pixels = json.loads(body)
        if isinstance(pixels, dict):
            pixels = pixels["pixels"]
        pixels = [float(p) for p in pixels]
    except (ValueError, KeyError, TypeError):
        pixels = []
    if len(pixels) != PIXELS or not all(0 <= p <= 16 for p in pixels):
        raise ValueError("expected is JSON with 64 pixels, row by row, from 0 (paper) to 16 (ink)")
    return pixels
