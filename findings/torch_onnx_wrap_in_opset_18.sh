#!/bin/sh
# torch.onnx writes a circular padding as a Pad in mode "wrap", in opset 18, too, which has no such mode.
#
# Version   torch 2.13.0, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.31.1, OpenVINO 2026.4.1 (x86-64)
# Behaviour `Conv2d(padding_mode="circular")`, exported by torch.export with `opset_version=18`: the file has a Pad in
#           mode "wrap", which came with opset 19. onnx's checker does not look at modes, and onnxruntime runs the file,
#           so nothing tells. OpenVINO reads the mode in neither opset. Traced (dynamo=False), the same net has Slices
#           and Concats, which every runtime reads.
# Output    torch.export: opset 18, mode wrap; onnxruntime as torch, OpenVINO cannot convert Pad-18, nor, raised to
#           opset 19, Pad-19. Traced: Slice and Concat, onnxruntime and OpenVINO as torch
# Expected  A file of its opset, or an error; and that two exporters of one library differ in spelling alone.
# What to do  Replace such a Pad by a Slice from each side and a Concat, axis after axis, or trace the net.
#
# Exits 0 while this is so, 1 when it has changed.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.31.1 \
    openvino==2026.4.1 numpy==2.4.6
PYTHONPATH=$folder python3 - <<'PY'
import io
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import openvino
import torch

warnings.simplefilter("ignore")  # of the older exporter's age
torch.manual_seed(0)
net, images = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular").eval(), torch.randn(1, 3, 8, 8)
expected = net(images).detach().numpy()
core = openvino.Core()


def in_onnxruntime(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.allclose(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0], expected, atol=1e-5)


def in_openvino(model):
    try:
        compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU",
                                      {"INFERENCE_PRECISION_HINT": "f32"})
        return np.allclose(compiled(images.numpy())[0], expected, atol=1e-5)
    except RuntimeError as error:
        return "cannot convert " + next(word for word in str(error).split() if word.startswith("Pad-"))


traced = io.BytesIO()
torch.onnx.export(net, (images,), traced, dynamo=False, opset_version=17)
exported = torch.onnx.export(net, (images,), dynamo=True, opset_version=18, verbose=False).model_proto
raised = onnx.ModelProto()
raised.CopyFrom(exported)
raised.opset_import[0].version = 19
onnx.checker.check_model(exported, full_check=True)
modes = [str(entry.s, "ascii") for node in exported.graph.node for entry in node.attribute if node.op_type == "Pad"]
seen = {}
for name, model in (("torch.export", exported), ("raised to opset 19", raised),
                    ("traced", onnx.load_from_string(traced.getvalue()))):
    seen[name] = in_onnxruntime(model), in_openvino(model)
    print(f"{name}: opset {model.opset_import[0].version}, {sorted({node.op_type for node in model.graph.node})}, "
          f"as torch in onnxruntime: {seen[name][0]}, in OpenVINO: {seen[name][1]}")
print(f"modes: {modes}")
ok = modes == ["wrap"] and all(here for here, _ in seen.values()) and seen["traced"][1] is True
sys.exit(0 if ok and "Pad-18" in str(seen["torch.export"][1]) and "Pad-19" in str(seen["raised to opset 19"][1]) else 1)
PY
