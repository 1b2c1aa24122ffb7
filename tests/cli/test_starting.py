"""What is imported when: the package in no time, the models as soon as timm is there, everything else when it is used."""

import inspect
import json
import pkgutil
import subprocess
import sys
import time
from itertools import pairwise

import pytest
import torch

import sll_zoo
from sll_zoo.certificates.attacking import METHODS
from sll_zoo.cli.parsers import IMAGES, command_line
from sll_zoo.data import DATA_MODULES
from sll_zoo.zoo.weights.packing import BITS
from tests.marks import slow_but

# Packages that `import sll_zoo` may load besides the standard library, and those that it may add to timm's own.
LOADED = {"sll_zoo", "lazy_loader", "wrapt"}
ADDED = LOADED | {"jaxtyping", "jinja2", "markupsafe", "msgspec", "packaging", "xxhash"}
# Each takes an interpreter that imports timm.
IMPORTS = [
    "import sll_zoo; import timm",
    "import timm; import sll_zoo; import importlib; importlib.reload(sll_zoo); importlib.reload(timm)",
    "import sll_zoo.cli.main, importlib.util as iu; iu.find_spec('timm'); from timm.models import create_model; import timm",
    "from timm import create_model; import sll_zoo.zoo.entries; import timm",
    "from sll_zoo import create_model; import timm",
    "import sll_zoo, threading as t; w = t.Thread(target=__import__, args=['timm']); w.start(); import timm; w.join()",
    "import threading as t; w = t.Thread(target=__import__, args=['timm']); w.start(); import sll_zoo; import timm; w.join()",
]


def run(script):
    """Return what a script prints, line by line, in a process that has imported nothing."""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def loaded(*lines):
    """Return the top-level packages that each line of a script adds, but for those of the standard library."""
    tell = "print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    told = [set(json.loads(said)) for said in run("\n".join(["import json, sys", tell, *(f"{line}\n{tell}" for line in lines)]))]
    return [after - before - sys.stdlib_module_names for before, after in pairwise(told)]


def test_the_import_loads_next_to_nothing():
    (added,) = loaded("import sll_zoo")
    assert added <= LOADED


def test_with_timm_it_adds_little():
    use = "sll_zoo.create_model('sll_nano.digits', pretrained=True); sll_zoo.certify"
    _, added, used = loaded("import timm", "import sll_zoo", use)
    assert added | used <= ADDED


@pytest.mark.parametrize("imports", slow_but(IMPORTS[:1], IMPORTS))
def test_timm_knows_the_models_whatever_is_imported_first(imports):
    script = f"{imports}; print(len(timm.list_models('sll_*')), type(timm.create_model('sll_nano.digits')).__name__)"
    assert run(script) == [f"{len(sll_zoo.list_models('sll_*'))} LipNet"]


@pytest.mark.slow
def test_timm_stays_as_it_is_without_the_package():
    assert run("import timm; print(timm.list_models('sll_*'))") == ["[]"]


def test_timm_is_not_imported_by_the_package():
    assert run("import sll_zoo, sys; print('timm' in sys.modules)") == ["False"]


def test_a_network_travels_in_a_pickle(tmp_path):
    torch.save(sll_zoo.create_model("sll_nano"), tmp_path / "x.pt")
    load = f"import torch; print(torch.load('{tmp_path}/x.pt', weights_only=False)(torch.rand(2, 1, 8, 8)).shape)"
    assert run(load) == ["torch.Size([2, 10])"]


def test_every_public_name_is_there_and_listed():
    scope = {}
    exec("from sll_zoo import *", scope)  # noqa: S102 - what a user would write
    assert set(sll_zoo.__all__) == scope.keys() - {"__builtins__"}
    assert set(sll_zoo.__all__) <= set(dir(sll_zoo))
    assert all(getattr(sll_zoo, name) is not None for name in dir(sll_zoo))
    assert all(hasattr(sll_zoo.data, name) for name in sll_zoo.data.__all__)
    assert isinstance(sll_zoo.__version__, str)
    with pytest.raises(AttributeError, match="nothing"):
        sll_zoo.nothing  # noqa: B018 - asked for its error


def test_help_comes_at_once_and_without_torch():
    script = (
        "import sys\nfrom sll_zoo.cli.main import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        "print(sorted({{'torch', 'timm', 'lightning', 'jsonargparse', 'numpy'}} & sys.modules.keys()))"
    )
    start = time.perf_counter()
    for command in ([], ["certify"], ["classify"], ["attack"], ["quantize"], ["export"], ["list"], ["publish"]):
        assert run(script.format(arguments=[*command, "--help"]))[-1] == "[]"
    assert run(script.format(arguments=["dmeo"]))[-1] == "[]"
    assert (time.perf_counter() - start) / 9 < 1.5  # 0.2 s on an idle machine; torch alone takes 2


def test_what_does_not_train_does_not_import_lightning():
    modules = ("measure", "zoo", "deploy")
    script = f"import sys, {', '.join(f'sll_zoo.cli.{name}' for name in modules)}; print('lightning' in sys.modules)"
    assert run(script) == ["False"]


def test_a_training_knows_the_data_sets_by_their_names():
    options = ["fit", "--model.name=sll_nano", "--data=Digits", "--print_config"]
    printed = run(f"from sll_zoo.cli.main import main; main({options})")
    assert "  class_path: sll_zoo.data.Digits" in printed


def commands():
    """Return the parser of each command by its name."""
    (action,) = (action for action in command_line()._actions if action.dest == "==SUPPRESS==")
    return action.choices


def test_every_command_names_a_function_and_has_its_arguments():
    parsers = commands()
    assert [name for name, parser in parsers.items() if not parser.get_default("run")] == ["fit", "validate", "test", "predict"]
    for name, parser in parsers.items():
        if run := parser.get_default("run"):
            assert run.endswith(f":run_{name}")
            parsed = {action.dest for action in parser._actions} | parser._defaults.keys()
            function = pkgutil.resolve_name(f"sll_zoo.cli.{run}")
            assert set(inspect.signature(function).parameters) == parsed - {"help", "run"}


def test_the_choices_of_the_help_are_those_that_there_are():
    choices = {(name, action.dest): action.choices for name, parser in commands().items() for action in parser._actions}
    assert choices["quantize", "bits"] == BITS
    assert choices["attack", "method"] == METHODS
    assert f"of {', '.join(DATA_MODULES)};" in IMAGES
