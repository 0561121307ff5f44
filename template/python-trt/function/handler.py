"""Recognises a handwritten digit."""

import json
import os
import urllib.error
import urllib.request

PIXELS = 64  # 8x8, row by row, from 0 (paper) to 16 (ink)


class Unavailable(Exception):
    """The model cannot answer now."""


def handle(body, headers):
    """Answers a request with what is sent back as JSON. A ValueError becomes the
    status 400, Unavailable becomes 503, any other exception 500."""
    pixels = read_pixels(body)
    probabilities = infer("digits", "pixels", [1, 1, 8, 8], pixels, headers)["probabilities"]
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


def infer(model, name, shape, values, headers):
    """Runs one of the function's own models on one FP32 tensor, through the
    watchdog of this replica, which knows where it is loaded. Returns the outputs
    by name, each a flat list. Unavailable if another try may succeed. headers are
    those of the request that is answered: by its call id the watchdog knows what
    the model is used for, and tells in the answer what the cache had."""
    url = f"http://127.0.0.1:{os.environ.get('port', '8080')}/v2/models/{model}/infer"
    tensor = {"name": name, "datatype": "FP32", "shape": shape, "data": values}
    sent = {"Content-Type": "application/json", "X-Call-Id": headers.get("X-Call-Id") or ""}
    request = urllib.request.Request(url, json.dumps({"inputs": [tensor]}).encode(), sent)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as e:
        kind = Unavailable if e.code in (429, 503, 504) else RuntimeError
        raise kind(f"model {model}: {e.read().decode(errors='replace').strip()}") from e
    except OSError as e:
        raise Unavailable(f"model {model}: {e}") from e
    return {output["name"]: output["data"] for output in answer["outputs"]}
