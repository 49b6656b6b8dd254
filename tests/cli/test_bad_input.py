"""Bad input gets one message and exit 2, and nothing is left behind."""

import pytest

from edge_se.cli import main

BAD_INPUT = {
    "no command": ([], "Usage"),
    "unknown command": (["exprot"], "No such command"),
    "export: no model": (["export"], "--model"),
    "export: unknown model": (["export", "--model", "se_resnet81"], "did you mean 'se_resnet18'?"),
    "export: missing file": (["export", "--model", "nowhere.onnx"], "nowhere.onnx"),
    "export: not ONNX": (["export", "--model", "{garbage}.onnx"], "not readable as ONNX"),
    "export: missing weights": (["export", "--model", "resnet18", "--weights", "nowhere.safetensors"], "nowhere"),
    "export: broken weights": (["export", "--model", "resnet18", "--weights", "{garbage}.safetensors"],
                               "copy or download the file again"),
    "export: weights with a file": (["export", "--model", "{tiny}", "--weights", "x.safetensors"], "--weights"),
    "export: unknown target": (["export", "--model", "{tiny}", "--int8", "--target", "tensort"],
                               "did you mean 'tensorrt'?"),
    "export: unknown placement": (["export", "--model", "{tiny}", "--int8", "--placement", "se_float"],
                                  "did you mean 'se-float'?"),
    "export: unknown method": (["export", "--model", "{tiny}", "--int8", "--method", "maxmin"], "--method"),
    "export: unknown calibration": (["export", "--model", "{tiny}", "--int8", "--calibration", "cifar10-calib"],
                                    "did you mean"),
    "export: missing calibration": (["export", "--model", "{tiny}", "--int8", "--calibration", "no.npz"], "no.npz"),
    "export: broken calibration": (["export", "--model", "{tiny}", "--int8", "--calibration", "{garbage}.npz"],
                                   "pixels"),
    "export: no data there": (["export", "--model", "{tiny}", "--int8", "--data", "{folder}"],
                             "holds no folder for each class"),
    "export: out is a file": (["export", "--model", "{tiny}", "--out", "{garbage}.npz"], "not a folder"),
    "export: a target twice": (["export", "--model", "{tiny}", "--int8", "--target", "cpu", "--target=arm"],
                               "--target: is given twice; give it once, with commas between values"),
    "train: a seed twice": (["train", "--model", "mini", "--seed", "1", "--seed", "2"],
                            "--seed: is given twice; give it once"),
    "gate: a build without the option's name": (["gate", "build/net"],
                                                "build/net: belongs to no option; give it as --model build/net"),
    "export: a net without it": (["export", "slim_se", "--int8"], "slim_se: belongs to no option; give it as --model"),
    "export: a flag without dashes": (["export", "--model", "slim_se", "int8"],
                                      "int8: belongs to no option; is --int8 meant? see edge-se export -h"),
    "export: a second value": (["export", "--model", "slim_se", "mini"],
                               "mini: belongs to no option; see edge-se export -h"),
    "verify: a second value": (["verify", "a", "b"], "b: belongs to no option; see edge-se verify -h"),
    "gate: a build twice": (["gate", "--model", "{build}", "--model", "{build}"], "--model: is given twice"),
    "export: no target": (["export", "--model", "{tiny}", "--int8", "--target", ""], "--target: '' names nothing"),
    "export: target without INT8": (["export", "--model", "{tiny}", "--target", "cpu"], "add --int8"),
    "export: placement without INT8": (["export", "--model", "{tiny}", "--placement", "all"], "add --int8"),
    "export: method without INT8": (["export", "--model", "{tiny}", "--method", "mse"], "add --int8"),
    "export: negative drop": (["export", "--model", "{tiny}", "--max-drop", "-1"], "--max-drop: -1 is no loss"),
    "export: no drop": (["export", "--model", "{tiny}", "--max-drop", "nan"], "--max-drop"),
    "export: time of no search": (["export", "--model", "{tiny}", "--int8", "--search-seconds", "5"],
                                  "--search-seconds: bounds a search"),
    "export: a device without INT8": (["export", "--model", "{tiny}", "--effort", "extensive", "--device", "loopback"],
                                      "--device: says where placements are timed"),
    "export: a host of no device": (["export", "--model", "{tiny}", "--host", "orin"], "--host: names a Jetson"),
    "export: a Python of no device": (["export", "--model", "{tiny}", "--python", "py"], "--python: is for a device"),
    "export: no time": (["export", "--model", "{tiny}", "--search-seconds", "0"], "--search-seconds"),
    "export: size of a file": (["export", "--model", "{tiny}", "--input-size", "64"], "fixes its size at 32x32"),
    "export: no size": (["export", "--model", "{tiny}", "--input-size", "48x"], "'48x' is no size of images"),
    "export: size of nothing": (["export", "--model", "{tiny}", "--input-size", "4"], "write N or HEIGHTxWIDTH"),
    "export: size of the zoo": (["export", "--model", "se_resnet18", "--input-size", "64"], "leave --input-size out"),
    "export: mean of the zoo": (["export", "--model", "se_resnet18", "--mean", "0,0,0"], "leave --mean out"),
    "export: labels of the zoo": (["export", "--model", "se_resnet18", "--labels", "cifar10"], "leave --labels out"),
    "export: missing labels": (["export", "--model", "{tiny}", "--labels", "no.txt"], "--labels no.txt"),
    "export: other labels": (["export", "--model", "{tiny}", "--labels", "{garbage}.toml"], "labels of its own"),
    "export: mean to 255": (["export", "--model", "{tiny}", "--mean", "123.7,116.3,103.5"],
                            "--mean: 123.7,116.3,103.5 is of pixels from 0 to 255"),
    "export: std of zero": (["export", "--model", "{tiny}", "--std", "0.2,0,0.2"], "--std: 0.2,0,0.2 cannot be"),
    "bench: unknown device": (["bench", "--device", "gpu"], "--device"),
    "bench: jetson, measured": (["bench", "--device", "jetson", "--model", "{build}", "--measured-only"],
                                "--host USER@HOST"),
    "bench: cuda without a GPU": (["bench", "--device", "cuda", "--model", "{build}"], "no CUDA device"),
    "gate: a plan with JUnit": (["gate", "--plan", "--junit", "x.xml"], "leave --junit or --plan out"),
    "gate: a plan with a summary": (["gate", "--plan", "--summary", "x.md"], "leave --summary or --plan out"),
    "gate: a plan of a baseline": (["gate", "--plan", "--update-baseline"], "leave --update-baseline or --plan out"),
    "gate: a plan on a cluster": (["gate", "--plan", "--cluster"], "leave --cluster or --plan out"),
    "gate: workers of a plan": (["gate", "--plan", "--workers", "2"], "leave --workers or --plan out"),
    "gate: images of a plan": (["gate", "--plan", "--data", "{folder}"], "leave --data or --plan out"),
    "gate: a board that is none": (["gate", "--model", "{build}", "--device", "loopback", "--device", "jetsn"],
                                   "did you mean 'jetson'?"),
    "gate: a host of two boards": (["gate", "--model", "{build}", "--device", "jetson", "--device", "loopback",
                                    "--host", "orin"], "--host: names a Jetson, and the device is 'loopback'"),
    "gate: a Python of this machine": (["gate", "--model", "{build}", "--device", "loopback", "--device", "cpu",
                                "--python", "py"], "--python: is for a device with an agent"),
    "gate: workers of no cluster": (["gate", "--model", "{build}", "--workers", "2"], "give --cluster, too"),
    "robustness: address of no cluster": (["robustness", "--model", "{build}", "--address", "x:1"],
                                          "give --cluster, too"),
    "bench: host of no jetson": (["bench", "--model", "{build}", "--host", "orin"], "--device jetson"),
    "bench: host that is an option": (["bench", "--device", "jetson", "--host", "-oProxyCommand=x"], "no host name"),
    "bench: host nowhere": (["bench", "--device", "ssh://nowhere.invalid", "--model", "{build}"],
                            "the name is unknown"),
    "bench: password": (["bench", "--device", "ssh://me:secret@orin", "--model", "{build}"], "ssh-copy-id"),
    "bench: python of no agent": (["bench", "--model", "{build}", "--python", "/usr/bin/python3"], "--device cpu"),
    "bench: no onnxruntime-web": (["bench", "--device", "web", "--model", "{build}"], "npm install onnxruntime-web"),
    "bench: no runtime there": (["bench", "--device", "web", "--web-runtime", "{folder}", "--model", "{build}"],
                                "--web-runtime: "),
    "bench: a page of no page": (["bench", "--serve", "--model", "{build}"], "--serve: is of a page"),
    "bench: an address that nobody sees": (["bench", "--device", "web", "--serve", "--quiet", "--model", "{build}"],
                                           "would hide the address"),
    "bench: batch sizes": (["bench", "--model", "{build}", "--batch", "1,zwei"], "write 1,8,32"),
    "bench: against nothing": (["bench", "--model", "{build}", "--against", "nothing.json"], "bench --out"),
    "explain: no file": (["explain", "--layers", "no.json", "--profile", "no.json"], "no.json"),
    "explain: no profile": (["explain", "--layers", "{garbage}.json", "--profile", "{garbage}.json"], "garbage.json"),
    "bench: unknown board": (["bench", "--model", "{build}", "--estimate", "orin-nano"], "orin-nano-8gb"),
    "bench: broken board": (["bench", "--model", "{build}", "--estimate", "{garbage}.toml"], "not readable as TOML"),
    "bench: an estimate beside a run": (["bench", "--model", "{build}", "--estimate", "nano", "--against", "x.json"],
                                        "leave --against or --estimate out"),
    "bench: accuracy of an estimate": (["bench", "--model", "{build}", "--estimate", "nano", "--no-accuracy"],
                                       "is for measurements, and an estimate has none"),
    "bench: a page of an estimate": (["bench", "--model", "{build}", "--estimate", "nano", "--serve"],
                                     "leave --serve or --estimate out"),
    "bench: negative launch": (["bench", "--model", "{build}", "--estimate", "nano", "--launch-us", "-1"], "negative"),
    "bench: no build": (["bench", "--model", "nothing"], "export"),
    "bench: empty folder": (["bench", "--model", "{folder}"], "manifest.json"),
    "bench: unknown precision": (["bench", "--model", "{build}", "--precision", "int4"],
                                 "--precision: unknown precision 'int4'"),
    "bench: no precision": (["bench", "--model", "{build}", "--precision", ","], "--precision: ',' names nothing"),
    "bench: unknown backend": (["bench", "--model", "{build}", "--backend", "onnxruntim"], "did you mean"),
    "bench: bad batch": (["bench", "--model", "{build}", "--batch", "0"], "--batch"),
    "bench: bad duration": (["bench", "--model", "{build}", "--min-duration", "-1"], "--min-duration"),
    "gate: no build": (["gate", "--model", "nothing"], "export"),
    "gate: no data": (["gate", "--model", "{build}"], "data fetch"),
    "gate: two margins": (["gate", "--model", "{build}", "--max-drop", "1", "--preset", "mlperf99"], "one margin"),
    "lint: missing file": (["lint", "nowhere.onnx"], "nowhere.onnx: cannot be read"),
    "lint: not ONNX": (["lint", "{garbage}.onnx"], "not readable as ONNX"),
    "lint: images of no run": (["lint", "{build}/int8.cpu.onnx", "--static", "--data", "{folder}"],
                               "leave --static or --data out"),
    "lint: preprocessing of no run": (["lint", "{build}/int8.cpu.onnx", "--static", "--preprocessing", "imagenet"],
                                      "leave --static or --preprocessing out"),
    "lint: another preprocessing": (["lint", "{build}/int8.cpu.onnx", "--preprocessing", "imagenet"],
                                    "--preprocessing: the file's metadata says"),
    "lint: a folder": (["lint", "{folder}"], "give an .onnx file"),
    "lint: broken images of no run": (["lint", "{build}/int8.cpu.onnx", "--static", "--skip-broken"],
                                      "leave --static or --skip-broken out"),
    "report: builds with commas": (["report", "one,two"], "separate them by spaces"),
    "export: a file without its ending": (["export", "--model", "{garbage}"], "did you mean garbage.onnx?"),
    "verify: no build": (["verify", "nothing"], "export"),
    "train: unknown model": (["train", "--model", "resnet81"], "did you mean 'resnet18'?"),
    "train: missing recipe": (["train", "--model", "resnet18", "--recipe", "no.toml"], "no.toml"),
    "train: broken recipe": (["train", "--model", "resnet18", "--recipe", "{garbage}.toml"], "TOML"),
    "train: no data": (["train", "--model", "resnet18", "--device", "cpu"], "data fetch"),
    "models: unknown": (["models", "show", "resnet81"], "did you mean 'resnet18'?"),
    "data: nothing to verify": (["data", "verify"], "data fetch"),
    "data: too few images": (["data", "synthesize", "--model", "se_resnet18", "--images", "3"], "images"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_gets_one_message_and_exit_2(arguments, says, build, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("EDGE_SE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for suffix in (".onnx", ".safetensors", ".npz", ".toml"):
        (tmp_path / f"garbage{suffix}").write_bytes(b"\x00garbage = [")
    (tmp_path / "empty").mkdir()
    before = sorted(path for path in tmp_path.rglob("*"))
    places = {"{garbage}": "garbage", "{tiny}": "tiny.onnx", "{folder}": "empty", "{build}": str(build)}
    filled = []
    for argument in arguments:
        for name, value in places.items():
            argument = argument.replace(name, value)
        filled.append(argument)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(filled)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert says in output.out + output.err
    assert "Traceback" not in output.err
    assert output.err.count("error:") <= 1 or "Usage" in output.err
    if not says.startswith("Usage"):
        assert output.out == ""
    left = {path for path in tmp_path.rglob("*") if "cache" not in path.parts} - set(before)
    assert not left, f"left behind: {left}"
