"""A command waits for what it uses: modules are counted here, seconds in `make bench startup`."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from retouch.cli import COMMANDS

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "manifests" / "quickstart.yaml")
NETWORK = {"anyio", "asyncio", "h11", "httpcore", "httpx", "ssl", "trio"}
REHEARSAL = {"cv2", "numpy", "starlette", "uvicorn"}
PICTURES = {"PIL", "retouch.pictures", "retouch.plan", "sqlite3"}
SCREENS = {"jinja2", "rich", "tqdm"}
DATASETS = {"obstore", "pandas", "pyarrow", "ray"}

RUN_AND_LIST = """
import atexit, json, sys
atexit.register(lambda: print("\\n" + json.dumps(sorted(sys.modules))))
from retouch.cli import main
sys.exit(main(sys.argv[1:]))
"""


def imported(folder: Path, code: str, *words: str) -> set[str]:
    """The names of all modules that a process had imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def ran(folder: Path, *words: str) -> set[str]:
    return imported(folder, RUN_AND_LIST, *words)


@pytest.mark.parametrize("words", [("--version",), ("--help",), (), ("nonsense",)])
def test_what_asks_for_no_command_imports_nothing_that_python_does_not_bring(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    bare = imported(tmp_path, "import json, sys; print(json.dumps(list(sys.modules)))")
    tops = {name.partition(".")[0] for name in ran(tmp_path, *words) - bare}
    assert tops - sys.stdlib_module_names - {"retouch"} == set()
    assert tops & NETWORK == set()


def test_status_imports_no_event_loop_no_pictures_and_no_screens(tmp_path: Path) -> None:
    modules = ran(tmp_path, "status", QUICKSTART)
    assert "retouch.ledger.reading" in modules
    unused = NETWORK | REHEARSAL | PICTURES | SCREENS | DATASETS | {"retouch.engine"}
    assert modules & unused == set()


def test_plan_imports_no_event_loop_and_no_bar_that_nobody_sees(tmp_path: Path) -> None:
    modules = ran(tmp_path, "plan", QUICKSTART)
    assert {"PIL", "rich"} <= modules
    assert modules & (NETWORK | REHEARSAL | DATASETS | {"jinja2", "tqdm"}) == set()


def test_plan_imports_one_dialect_no_replies_and_no_data_sets(tmp_path: Path) -> None:
    """What its manifest does not use is not there: other dialects, formats, patterns of errors."""
    modules = ran(tmp_path, "plan", QUICKSTART)
    assert "retouch.dialects.qiniu.requests" in modules
    unused = {f"retouch.plan.sets.{name}" for name in ("coco", "yolo", "webdataset")}
    unused |= {"retouch.dialects.openai", "retouch.dialects.qiniu.replies", "retouch.engine.naming"}
    assert modules & unused == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there_once_it_is_asked_for(name: str) -> None:
    command = import_module(f"retouch.cli.{name}")
    assert callable(command.add_arguments)
    assert callable(command.run)
