#!/bin/sh
# torch.onnx leaves out the divisor of an AvgPool2d that has one of its own: the file's answers are others, unannounced.
#
# Version   torch 2.13.0, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.31.1 (x86-64)
# Behaviour `AvgPool2d(2, divisor_override=3)`, exported by torch.export or by tracing, is an AveragePool alone, which
#           divides by 4. There is no factor behind it, no warning and no error. (PyTorch 2.0 refused to trace it.)
# Output    of an image of ones: torch 1.3333, both files 1.0
# Expected  An AveragePool and a multiplication by 4/3, or that it is refused.
# What to do  Write `AvgPool2d(2)` and a multiplication by 4/3 into the net. Compare a file's answers with the net's
#           on a few images, whatever made it.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.31.1 \
    numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import io
import sys
import warnings

import onnx
import onnxruntime
import torch

warnings.simplefilter("ignore")  # of the older exporter's age
net, images = torch.nn.AvgPool2d(2, divisor_override=3).eval(), torch.ones(1, 1, 4, 4)
traced = io.BytesIO()
torch.onnx.export(net, (images,), traced, dynamo=False)
exported = torch.onnx.export(net, (images,), dynamo=True, verbose=False).model_proto
seen = {"torch": float(net(images).mean())}
for name, model in (("by tracing", onnx.load_from_string(traced.getvalue())), ("by torch.export", exported)):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    seen[name] = float(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0].mean())
    print(f"{name}: {[node.op_type for node in model.graph.node]}")
print(seen)
sys.exit(0 if abs(seen["torch"] - 4 / 3) < 1e-5 and seen["by tracing"] == seen["by torch.export"] == 1.0 else 1)
PY
