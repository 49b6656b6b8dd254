"""What `--data` reads: labelled images in every layout that is one file. How `readers.py` reads damaged ones."""

import io
import json
import tarfile

import numpy as np

COUNT, CLASSES = 9, ("ant", "bee", "cat")


def write_originals(folder):
    """A sound file of each layout, all of the same small images."""
    import pyarrow
    from PIL import Image
    from pyarrow import parquet

    pixels = np.random.default_rng(3).integers(0, 256, (COUNT, 3, 8, 8), dtype=np.uint8)
    labels = np.arange(COUNT) % 3
    files = []
    (folder / "own").mkdir()
    with tarfile.open(folder / "own" / "test.tar", "w") as archive:
        for number, image in enumerate(pixels):
            content = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(content, "png")
            files.append(content.getvalue())
            (folder / "own" / f"{number}.png").write_bytes(files[-1])
            for name, data in ((f"{number}.png", files[-1]), (f"{number}.cls", str(number % 3).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    rows = [{"path": f"{number}.png", "label": CLASSES[number % 3], "split": ("train", "test")[number % 2]}
            for number in range(COUNT)]
    (folder / "own" / "table.csv").write_text("path,label,split\n" + "\n".join(",".join(row.values()) for row in rows))
    (folder / "own" / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.savez(folder / "own" / "arrays.npz", pixels=pixels, labels=labels, names=np.array(CLASSES),
             split=np.array([row["split"] for row in rows]))
    told = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    table = pyarrow.table({"image": [{"bytes": file, "path": None} for file in files], "label": labels.tolist()})
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(told)}),
                        folder / "own" / "test.parquet", row_group_size=4)
    (folder / "own" / "t10k-images-idx3-ubyte").write_bytes(
        bytes((0, 0, 8, 3)) + np.array((COUNT, 8, 8), ">u4").tobytes() + pixels[:, 0].tobytes())
    (folder / "own" / "t10k-labels-idx1-ubyte").write_bytes(
        bytes((0, 0, 8, 1)) + np.array([COUNT], ">u4").tobytes() + labels.astype(np.uint8).tobytes())


def read_data(path, originals):
    """Every split, decoded, with its hashes."""
    from edge_se.data.dataset import open_dataset
    from edge_se.data.preprocessing import assumed

    data = open_dataset(path.with_name(path.name.replace("labels-idx1", "images-idx3")))
    for name in data.splits:
        images = data.split(name, assumed((8, 8)))
        for batch in images.batches(4):
            assert batch.shape[1:] == (3, 8, 8)
        assert len(images.hashes) == len(images) == len(images.labels) and images.sha256
    return json.dumps([data.classes, data.splits])
