"""The networks that are timed: two written with onnx.helper, and the demo's two from examples/. Random weights from a fixed seed, free batch N."""
import os
import subprocess
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


def _model(name, nodes, shape, inits):
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(v, k) for k, v in inits.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _weights(seed, **shapes):
    r = np.random.default_rng(seed)
    return {k: (r.standard_normal(s) / np.sqrt(np.prod(s[1:]) if len(s) > 1 else s[0])).astype("f4")
            for k, s in shapes.items()}


def _dense(x, k, y, relu=True):
    out = f"{y}_z" if relu else y
    nodes = [helper.make_node("Gemm", [x, f"w{k}", f"b{k}"], [out], transB=1, name=f"fc{k}")]
    return nodes + ([helper.make_node("Relu", [out], [y], name=f"relu{k}")] if relu else [])


def _conv(x, k, y):
    return [helper.make_node("Conv", [x, f"w{k}", f"b{k}"], [f"{y}_z"], kernel_shape=[5, 5], pads=[2] * 4, name=f"conv{k}"),
            helper.make_node("Relu", [f"{y}_z"], [f"{y}_a"], name=f"relu{k}"),
            helper.make_node("MaxPool", [f"{y}_a"], [y], kernel_shape=[2, 2], strides=[2, 2], name=f"pool{k}")]


def mlp():
    return _model("mlp", _dense("x", 1, "h") + _dense("h", 2, "y", relu=False), [784],
                  _weights(1, w1=(256, 784), b1=(256,), w2=(10, 256), b2=(10,)))


def lenet():
    nodes = _conv("x", 1, "p1") + _conv("p1", 2, "p2") + [helper.make_node("Flatten", ["p2"], ["f"], name="flatten")]
    return _model("lenet", nodes + _dense("f", 3, "h") + _dense("h", 4, "y", relu=False), [1, 28, 28],
                  _weights(2, w1=(16, 1, 5, 5), b1=(16,), w2=(32, 16, 5, 5), b2=(32,), w3=(128, 1568), b3=(128,),
                           w4=(10, 128), b4=(10,)))


NETS = {"mlp": mlp, "lenet": lenet}
DEMO = {"demo-mlp": "mlp", "demo-cnn": "cnn"}    # files in examples/, for inference only


def export(name, folder):
    path = os.path.join(folder, f"{name}.onnx")
    if not os.path.exists(path):
        save(NETS[name](), path)
    return path


def export_demo(name, folder, pai):
    """The text model as a binary one; what it leaves to the trainer is drawn here."""
    from onnx import load
    path = os.path.join(folder, f"{name}.onnx")
    text = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", f"{DEMO[name]}.onnxtxt")
    subprocess.run([pai, "convert", text, "-o", path], check=True, capture_output=True)
    model = load(path)
    for k, v in _weights(3, **{i.name: tuple(i.dims) for i in model.graph.initializer}).items():
        next(i for i in model.graph.initializer if i.name == k).CopyFrom(numpy_helper.from_array(v, k))
    save(model, path)
    return path


def torch_net(name):
    """The same network in PyTorch, with the same weights."""
    import torch
    from torch import nn
    if name == "mlp":
        m = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    else:
        m = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5, padding=2),
                          nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10))
    with torch.no_grad():
        for p, i in zip(m.parameters(), NETS[name]().graph.initializer):
            p.copy_(torch.from_numpy(numpy_helper.to_array(i).copy()))
    return m


if __name__ == "__main__":
    import sys
    for n in NETS:
        print(export(n, sys.argv[1] if len(sys.argv) > 1 else "."))
