"""Work that the executors' tests run in workers. Each leaves a mark in a folder, so that a test sees what ran."""

import os
import signal
import time
from pathlib import Path

from edge_se.core.errors import EdgeSeError


def square(number):
    return {"square": number * number, "process": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"],
            "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None}


def wrong(number):
    raise EdgeSeError(f"{number} will not do", where="study_work", fix="give another")


def broken(number):
    return {"square": number / 0}


def killed(number, marks, times):
    """Is killed as by the kernel, the first `times` times."""
    marks = Path(marks)
    tried = len(list(marks.glob(f"{number}-*")))
    (marks / f"{number}-{tried}").touch()
    if tried < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"square": number * number}


def patient(number, marks):
    """Runs until it is interrupted, and leaves a mark then, as training leaves a checkpoint."""
    marks = Path(marks)
    try:
        (marks / f"started-{number}-{os.getpid()}").touch()  # from here on an interrupt may come
        for _ in range(600):
            time.sleep(0.1)
    except KeyboardInterrupt:
        (marks / f"saved-{number}").touch()
        raise
    return {"square": number * number}


def toy(split, count, seed):
    """Images of ten classes that differ in colour, as a split of CIFAR-10."""
    import numpy as np

    from edge_se.data.splits import ImageSet

    random, colours = np.random.default_rng(seed), np.random.default_rng(9).integers(0, 256, (10, 3, 1, 1))
    labels = random.integers(0, 10, count).astype(np.uint8)
    pixels = np.clip(colours[labels] + random.integers(-60, 61, (count, 3, 32, 32)), 0, 255).astype(np.uint8)
    return ImageSet(name=f"toy-{split}", split=split, pixels=pixels, labels=labels, mixed=True)


def with_toys():
    """This process has tiny nets and few, made-up images instead of the zoo's and CIFAR-10."""
    from edge_se.data import calibration, cifar10, splits
    from edge_se.nets import zoo
    from edge_se.nets.spec import ModelSpec

    for attention in ("none", "se"):
        name = f"tiny_{attention}"
        zoo.MODELS[name] = ModelSpec(name=name, attention=attention, widths=(16, 16, 32, 32), blocks=(1, 1, 1, 1),
                                     reduction=4)
    sets = {"train": toy("train", 256, 1), "validation": toy("validation", 100, 2), "test": toy("test", 50, 3)}
    splits.load = lambda split, cifar: sets[split]
    cifar10.require = cifar10.find = lambda data=None: cifar10.Cifar10(root=Path("nowhere"), binary=True)
    calibration.load = lambda *_, **__: toy("calibration", 32, 4)


def cell_of_toys(**arguments):
    """The work of a cell with toys. A folder that holds a file `kill` has its worker killed after the second epoch."""
    from edge_se.studies import cell
    from edge_se.training import loop

    with_toys()
    folder, save = Path(arguments["folder"]), loop.save_checkpoint

    def save_and_die(path, checkpoint):
        save(path, checkpoint)
        if checkpoint.epoch == 2 and (folder / "kill").exists():
            (folder / "kill").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    loop.save_checkpoint = save_and_die
    return cell.run(**arguments)
