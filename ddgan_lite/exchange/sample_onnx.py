"""Samples of an ONNX model without PyTorch, in NumPy: a file to copy and to change.

python sample_onnx.py model.onnx 16 samples.npy
"""

import json
import sys

import numpy as np

rng = np.random.default_rng()


def sample(path, n, label=None, guidance=1.0, normal=rng.standard_normal):
    """n samples (n, ...), images in [-1, 1]; ``normal(shape)`` draws numbers from N(0, 1)."""
    from onnxruntime import InferenceSession

    model = InferenceSession(path, providers=["CPUExecutionProvider"])
    about = json.loads(model.get_modelmeta().custom_metadata_map["ddgan_lite"])
    c_x0, c_xt, std = (
        np.array(about[f"posterior_{k}"], "f") for k in ("coef_x0", "coef_xt", "std")
    )
    none = about["classes"]  # the label that stands for none
    if label is not None and not 0 <= label < none:
        raise ValueError(f"this model has {none} classes: there is no label {label}.")

    def guess(given, y):
        return model.run(None, {**given, "y": np.full(n, y)} if none else given)[0]

    x = normal((n, *about["shape"])).astype("f")  # x_T
    for t in range(about["num_steps"], 0, -1):
        z = normal((n, about["latent_dim"])).astype("f")
        given = {"x_t": x, "t": np.full(n, t), "z": z}
        x_0 = guess(given, none if label is None else label)
        if guidance != 1:
            free = guess(given, none)
            x_0 = free + np.float32(guidance) * (x_0 - free)
        x = c_x0[t] * x_0 + c_xt[t] * x + std[t] * normal(x.shape).astype("f")
    return x


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    np.save(sys.argv[3], sample(sys.argv[1], int(sys.argv[2])))
