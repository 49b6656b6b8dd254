"""Seeded damage to files: blind (bytes) and with knowledge of the format, which reaches what lies behind a parser."""

import copy
import io
import json
import math
import struct

import numpy as np
import onnx

DEEP = 200_000  # brackets in each other: more than any recursive parser takes
VALUES = (None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, 2**31, 2**63, -(2**70), "", "x", "0", "..", "../x", "a\0b",
          "\ud800", "é" * 300, [], {}, [[]], [None], {"": None}, [1, "a", {}], ["x", "y"], math.nan, math.inf)
TOML_VALUES = ("true", "0", "-1", "1e400", "nan", "inf", '""', "'x'", "[]", "{}", "[[1]]", "99999999999999999999",
               "1979-05-27", "'''", '"\\ud800"', "{a = {b = 1}}", "")


def bytes_of(random, content):
    """A few bytes flipped, cut off, inserted, taken out, repeated or blanked."""
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        place, length = random.randrange(len(damaged) + 1), random.choice((1, 2, 4, 16, 300))
        action = random.choice(("flip", "flip", "cut", "insert", "remove", "repeat", "blank"))
        if action == "flip" and place < len(damaged):
            damaged[place] ^= 1 << random.randrange(8)
        elif action == "cut":
            del damaged[place:]
        elif action == "insert":
            damaged[place:place] = random.randbytes(length)
        elif action == "remove":
            del damaged[place : place + length]
        elif action == "repeat":
            damaged[place:place] = damaged[place : place + length] * random.choice((1, 3, 50))
        else:
            blank = bytes([random.choice((0, 255, 48))])
            damaged[place : place + length] = blank * len(damaged[place : place + length])
    return bytes(damaged)


def document(random, whole):
    """A JSON document with one to three values replaced, left out, renamed, repeated or wrapped."""
    whole = copy.deepcopy(whole)
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(whole))
        if not places:
            return _value(random)
        holder, key = random.choice(places)
        action = random.choice(("replace", "replace", "replace", "remove", "rename", "repeat", "wrap", "steal"))
        if action == "replace":
            holder[key] = _value(random)
        elif action == "remove":
            del holder[key]
        elif action == "rename" and isinstance(holder, dict):
            holder[f"{key}_"] = holder.pop(key)
        elif action == "repeat" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif action == "steal":
            other, place = random.choice(places)
            holder[key] = copy.deepcopy(other.get(place) if isinstance(other, dict) else
                                        other[place] if place < len(other) else None)
        else:
            holder[key] = random.choice(([holder[key]], {"x": holder[key]}))
    return _value(random) if random.random() < 0.02 else whole


def _value(random):
    return copy.deepcopy(random.choice(VALUES))  # what is shared would end up inside itself


def _places(value):
    """(list or object, position) of everything below `value`."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def json_file(random, content):
    """Half blind, half by structure; now and then deeper than a parser can follow."""
    if random.random() < 0.01:
        return random.choice((b"[", b'{"a":')) * DEEP
    if random.random() < 0.5:
        return bytes_of(random, content)
    return json.dumps(document(random, json.loads(content))).encode()


def toml_file(random, content):
    """Half blind, half with another value behind a key, a key twice or misspelled, a table missing."""
    if random.random() < 0.01:
        return b"a = " + random.choice((b"[", b"{b = ")) * DEEP
    if random.random() < 0.5:
        return bytes_of(random, content)
    lines = content.decode().splitlines()
    for _ in range(random.choice((1, 1, 2))):
        number = random.randrange(len(lines))
        key, equals, _ = lines[number].partition("=")
        action = random.choice(("value", "value", "remove", "repeat", "rename", "swap"))
        if action == "value" and equals:
            lines[number] = f"{key}= {random.choice(TOML_VALUES)}"
        elif action == "rename":
            lines[number] = "x" + lines[number]
        elif action == "repeat":
            lines.insert(number, lines[number])
        elif action == "swap":
            other = random.randrange(len(lines))
            lines[number], lines[other] = lines[other], lines[number]
        elif len(lines) > 1:
            del lines[number]
    return "\n".join(lines).encode()


def safetensors_file(random, content):
    """Half blind, half with another header before the same bytes."""
    if random.random() < 0.5:
        return bytes_of(random, content)
    length = struct.unpack("<Q", content[:8])[0]
    header = json.dumps(document(random, json.loads(content[8 : 8 + length]))).encode()
    told = len(header) if random.random() < 0.9 else random.choice((0, 1, 2**32, 2**63, len(header) + 1))
    return struct.pack("<Q", told) + header + content[8 + length :]


def npz_file(random, content):
    """Half blind, half with arrays of another type or shape, or another text inside."""
    if random.random() < 0.5:
        return bytes_of(random, content)
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = random.choice(sorted(arrays))
    array = arrays[name]
    action = random.choice(("text", "type", "shape", "remove", "values"))
    if array.dtype.kind == "U" and array.ndim == 0 and action != "remove":
        arrays[name] = np.array(json.dumps(document(random, json.loads(str(array)))))
    elif action == "remove":
        del arrays[name]
    elif array.dtype.kind == "U" and action != "shape":
        arrays[name] = random.choice((array.astype("S2"), array[::-1], np.full_like(array, "x"), np.zeros(array.shape)))
    elif action == "shape":
        flat = array.ravel()
        arrays[name] = random.choice((array[:1], array[:0], flat, array[None], array[..., :1], flat[0]))
    elif action == "values" and array.size:
        arrays[name] = array = array.copy()
        odd = (-1, 0, 1, 2**31, math.nan, math.inf) if array.dtype.kind == "f" else (0, 1, 127)
        array.flat[random.randrange(array.size)] = random.choice(odd)
    else:
        arrays[name] = random.choice((array.astype(complex), array.astype(bool), array.astype("U4"),
                                      array.astype("S2"), array.astype(np.float32), array.astype(np.int64),
                                      np.zeros(3, "i4,f4"), np.array("2020-01-01", "M8[D]")))
    changed = io.BytesIO()
    np.savez(changed, **arrays)
    return changed.getvalue()


def onnx_file(random, content):
    """Half blind, half with nodes, names, attributes, shapes and weights changed in the graph."""
    if random.random() < 0.5:
        return bytes_of(random, content)
    model = onnx.load_from_string(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        _damage(random, model)
    try:
        return model.SerializeToString()
    except ValueError:  # what protobuf itself does not write is blind damage's part
        return bytes_of(random, content)


def _damage(random, model):
    graph = model.graph
    node = random.choice(graph.node)
    action = random.choice(("remove", "rename input", "rename output", "operator", "attribute", "no attribute", "shape",
                            "weights", "type", "opset", "metadata", "input", "repeat", "external"))
    if action == "remove" and len(graph.node) > 1:
        graph.node.remove(node)
    elif action == "rename input" and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(("", "x", *random.choice(graph.node).output))
    elif action == "rename output" and node.output:
        node.output[0] = random.choice(("", "x", random.choice(graph.node).output[0]))
    elif action == "operator":
        node.op_type = random.choice(("Relu", "Conv", "Gemm", "Add", "Nothing", "", "Reshape", "Loop", "Squeeze",
                                      "Flatten", "GlobalAveragePool", "QuantizeLinear", "BatchNormalization"))
    elif action == "attribute" and node.attribute:
        attribute = random.choice(node.attribute)
        attribute.i, attribute.f = random.choice((-1, 0, 2**40)), random.choice((math.nan, 0.0, -1.0))
        if attribute.ints:
            attribute.ints[random.randrange(len(attribute.ints))] = random.choice((-1, 0, 7, 2**40, -(2**62)))
    elif action == "no attribute" and node.attribute:
        del node.attribute[random.randrange(len(node.attribute))]
    elif action == "external":
        weights = random.choice(graph.initializer)
        weights.data_location = onnx.TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=random.choice(("no.bin", "../x", "/etc/hostname", "", "a\tb")))
    else:
        _damage_values(random, model, action)


def _damage_values(random, model, action):
    graph = model.graph
    weights = random.choice(graph.initializer)
    value = random.choice((*graph.input, *graph.output))
    dims = value.type.tensor_type.shape.dim
    if action == "shape":
        changed = random.choice((weights.dims, None))
        if changed:
            changed[random.randrange(len(changed))] = random.choice((0, -1, 1, 5, 2**40))
        elif dims:
            random.choice(dims).dim_value = random.choice((0, -1, 1, 7, 2**40))
    elif action == "weights":
        weights.raw_data = random.choice((b"", weights.raw_data[:-1], weights.raw_data * 2, b"\xff" * 64))
    elif action == "type":
        weights.data_type = random.choice((0, 3, 7, 10, 99))
        value.type.tensor_type.elem_type = random.choice((0, 1, 1, 7))
    elif action == "opset":
        model.opset_import[0].version = random.choice((0, -1, 1, 12, 13, 99, 2**40))
    elif action == "metadata" and model.metadata_props:
        random.choice(model.metadata_props).value = random.choice(("", "null", "[]", "{}", "[1, 2]", '["a", "b", "c"]',
                                                                    "1e999", "[" * 100_000, "[0, 0, 0]", "-1", '"x"'))
    elif action == "input":
        random.choice((graph.input, graph.output)).add().CopyFrom(value)
    elif action == "repeat":
        graph.node.add().CopyFrom(random.choice(graph.node))
