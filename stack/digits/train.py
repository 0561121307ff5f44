"""Trains the digits model and writes what the rest of the project uses of it.

    python3 -m venv .build/digits-venv
    .build/digits-venv/bin/pip install -r stack/digits/requirements.txt
    .build/digits-venv/bin/python stack/digits/train.py

The data are scikit-learn's digits: 1797 real scans of handwritten digits, 8x8
pixels of 0 (paper) to 16 (ink). A fifth of them, drawn per class with a fixed
seed, is held out: the network never sees it.

Written, next to this script:

    model.onnx     input "pixels" FP32 [1,1,8,8] of 0 to 16,
                   output "probabilities" FP32 [1,10]
    heldout.csv    one held-out scan a line: 64 pixels row by row, then the digit

and model.onnx once more as the example model of the templates.

The network is a small CNN in plain numpy: two 3x3 convolutions, a 2x2 maximum,
two dense layers. Equal seeds give equal results on one machine; another BLAS may
round differently.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SEED = 20
EPOCHS = 40
BATCH = 32
RATE = 2e-3
HELD_OUT = 0.2
CHANNELS = (8, 16)
HIDDEN = 32


def split(labels, rng):
    """Indices of (training, held out), the same share of every class."""
    train, held = [], []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        cut = round(len(members) * HELD_OUT)
        held.extend(members[:cut])
        train.extend(members[cut:])
    return np.array(train), np.sort(np.array(held))


def initial(rng):
    """He-initialised parameters, by their names in the ONNX graph."""

    def he(*shape):
        fan_in = np.prod(shape[1:])
        return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)

    c1, c2 = CHANNELS
    return {
        "conv1.w": he(c1, 1, 3, 3), "conv1.b": np.zeros(c1, np.float32),
        "conv2.w": he(c2, c1, 3, 3), "conv2.b": np.zeros(c2, np.float32),
        "dense1.w": he(HIDDEN, c2 * 16), "dense1.b": np.zeros(HIDDEN, np.float32),
        "dense2.w": he(10, HIDDEN), "dense2.b": np.zeros(10, np.float32),
    }


def patches(x):
    """The 3x3 surroundings of every pixel: [N,C,H,W] -> [N,H,W,C*9]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    n, c, h, w = x.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c * 9)


def convolve(x, w, b):
    cols = patches(x)
    out = cols @ w.reshape(len(w), -1).T + b
    return out.transpose(0, 3, 1, 2), cols


def convolve_back(grad, cols, w, need_input):
    """Gradients of w, b and, if needed, of the input."""
    flat = grad.transpose(0, 2, 3, 1)
    dw = np.tensordot(flat, cols, axes=([0, 1, 2], [0, 1, 2])).reshape(w.shape)
    dx = None
    if need_input:
        # The transposed convolution: flipped kernels, channels swapped.
        turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        dx, _ = convolve(grad, np.ascontiguousarray(turned), 0)
    return dw, flat.sum(axis=(0, 1, 2)), dx


def forward(p, x):
    """Logits of x (0 to 1), and what the backward pass needs."""
    z1, cols1 = convolve(x, p["conv1.w"], p["conv1.b"])
    a1 = np.maximum(z1, 0)
    z2, cols2 = convolve(a1, p["conv2.w"], p["conv2.b"])
    a2 = np.maximum(z2, 0)
    n, c, h, w = a2.shape
    cells = a2.reshape(n, c, h // 2, 2, w // 2, 2)
    pooled = cells.max(axis=(3, 5))
    flat = pooled.reshape(n, -1)
    z3 = flat @ p["dense1.w"].T + p["dense1.b"]
    a3 = np.maximum(z3, 0)
    logits = a3 @ p["dense2.w"].T + p["dense2.b"]
    return logits, (cols1, z1, cols2, z2, cells, pooled, flat, z3, a3)


def gradients(p, x, y):
    """Gradients of the mean cross entropy, by parameter."""
    logits, (cols1, z1, cols2, z2, cells, pooled, flat, z3, a3) = forward(p, x)
    g = np.exp(logits - logits.max(axis=1, keepdims=True))
    g /= g.sum(axis=1, keepdims=True)
    g[np.arange(len(y)), y] -= 1
    g /= len(y)

    out = {"dense2.w": g.T @ a3, "dense2.b": g.sum(axis=0)}
    g = (g @ p["dense2.w"]) * (z3 > 0)
    out["dense1.w"], out["dense1.b"] = g.T @ flat, g.sum(axis=0)
    g = (g @ p["dense1.w"]).reshape(pooled.shape)
    winners = cells == pooled[:, :, :, None, :, None]
    g = (winners * g[:, :, :, None, :, None]).reshape(z2.shape) * (z2 > 0)
    out["conv2.w"], out["conv2.b"], g = convolve_back(g, cols2, p["conv2.w"], True)
    g = g * (z1 > 0)
    out["conv1.w"], out["conv1.b"], _ = convolve_back(g, cols1, p["conv1.w"], False)
    return out


def shifted(x, rng):
    """Every scan moved by up to one pixel each way."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.empty_like(x)
    for i, (dy, dx) in enumerate(rng.integers(0, 3, (len(x), 2))):
        out[i] = padded[i, :, dy:dy + 8, dx:dx + 8]
    return out


def train(p, x, y, rng):
    """Adam, with a rate that falls to zero along half a cosine."""
    m = {k: np.zeros_like(v) for k, v in p.items()}
    v = {k: np.zeros_like(v) for k, v in p.items()}
    steps = EPOCHS * -(-len(x) // BATCH)
    step = 0
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            pick = order[start:start + BATCH]
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            for k, g in gradients(p, shifted(x[pick], rng), y[pick]).items():
                m[k] = 0.9 * m[k] + 0.1 * g
                v[k] = 0.999 * v[k] + 0.001 * g * g
                unbiased = np.sqrt(v[k] / (1 - 0.999**step)) + 1e-8
                p[k] = (p[k] - rate * m[k] / (1 - 0.9**step) / unbiased).astype(np.float32)
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}: training accuracy {accuracy(p, x, y):.4f}")


def accuracy(p, x, y):
    return float((forward(p, x)[0].argmax(axis=1) == y).mean())


def to_onnx(p):
    """The network as ONNX. The division of the pixels by 16 is in conv1.w."""
    weights = dict(p)
    weights["conv1.w"] = (p["conv1.w"] / 16).astype(np.float32)
    node = helper.make_node
    nodes = [
        node("Conv", ["pixels", "conv1.w", "conv1.b"], ["z1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["z1"], ["a1"]),
        node("Conv", ["a1", "conv2.w", "conv2.b"], ["z2"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["z2"], ["a2"]),
        node("MaxPool", ["a2"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "dense1.w", "dense1.b"], ["z3"], transB=1),
        node("Relu", ["z3"], ["a3"]),
        node("Gemm", ["a3", "dense2.w", "dense2.b"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(
        graph, producer_name="faas-gpu", ir_version=8,
        opset_imports=[helper.make_opsetid("", 13)],
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main():
    here = pathlib.Path(__file__).parent
    rng = np.random.default_rng(SEED)
    digits = load_digits()
    pixels = digits.images.astype(np.float32)
    x, y = (pixels / 16)[:, None], digits.target
    training, held = split(y, rng)

    p = initial(rng)
    train(p, x[training], y[training], rng)
    print(f"held out: {len(held)} scans, accuracy {accuracy(p, x[held], y[held]):.4f}")

    model = to_onnx(p)
    (here / "model.onnx").write_bytes(model)
    for function in here.parents[1].glob("template/*/function"):
        (function / "example/digits/1/model.onnx").write_bytes(model)
    lines = [",".join(str(int(v)) for v in pixels[i].ravel()) + f",{y[i]}\n" for i in held]
    (here / "heldout.csv").write_text("".join(lines))


if __name__ == "__main__":
    main()
