"""What the documentation shows runs as it stands: every file of examples/, and the blocks of README and guide."""

from __future__ import annotations

import builtins
import difflib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from offloop.cli.group import group

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "README.md").read_text()

# What each example must have said, beyond ending well.
WORDS = {
    "fetch_and_hash.py": [r"/status/404: HTTPStatusError, give up: Fetch failed for ", r"/image\.png: [0-9a-f]{64}"],
    "first_failure_cancels.py": [
        r"failed: Fetch failed for http://.*/status/404: HTTP status 404",
        r"the origin saw 4 of 4 slow requests abandoned",
    ],
    "hash_a_folder.py": [r"(?m)^[0-9a-f]{64}  .*a\.txt$"],
    "resize_service.py": [r"(?m)^[0-9a-f]{64}  http://.*/image\.png\?99\n[0-9a-f]{64}  99\.jpg$"],
    "resize_service_before.py": [r"(?m)^[0-9a-f]{64}  http://.*/image\.png\?99\n[0-9a-f]{64}  99\.jpg$"],
    "hash_payloads.py": [r"1000 payloads, [0-9.]+ GB/s; the first: [0-9a-f]{64}"],
}


GUIDE = sorted(path for path in (ROOT / "docs" / "guide").glob("*.md") if path.name != "README.md")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


GUIDE_BLOCKS = {
    f"{path.stem}-{number}": block
    for path in GUIDE
    for number, block in enumerate(blocks("python", path.read_text()), 1)
}


def run(*arguments: str | Path, cwd: Path) -> str:
    """Runs Python, which must end well and silently; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}{done.stderr}"
    return done.stdout


# What one needs beyond offloop.
NEEDS = {"resize_service_before.py": ("aiohttp", "PIL")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_and_says_what_it_should(path: Path, tmp_path: Path) -> None:
    for module in NEEDS.get(path.name, ()):
        pytest.importorskip(module)
    (tmp_path / "a.txt").write_text("a")
    printed = run(path, cwd=tmp_path)
    assert path.name in WORDS, f"say here what {path.name} prints"
    for words in WORDS[path.name]:
        assert re.search(words, printed), f"expected {words!r} in:\n{printed}"


def test_every_example_is_in_the_list_of_examples() -> None:
    listed = re.findall(r"^\| `(\w+\.py)` \|", (ROOT / "examples" / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.name for path in EXAMPLES] == sorted(WORDS)


def test_the_page_of_errors_names_every_class_and_no_other() -> None:
    from offloop import errors

    page = (ROOT / "docs" / "errors.md").read_text()
    named = {name for name in re.findall(r"`(\w+Error)`", page) if not hasattr(builtins, name)}
    assert named == set(errors.__all__)


def test_the_lines_that_change_from_before_to_after_are_those_of_the_files() -> None:
    before, after = (
        (ROOT / "examples" / name).read_text() for name in ("resize_service_before.py", "resize_service.py")
    )
    changed = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    (shown,) = blocks("diff", (ROOT / "examples" / "README.md").read_text())
    assert shown.splitlines() == [line for line in changed if not line.startswith("@@")]


def test_the_readme_has_examples() -> None:
    assert len(blocks("python")) >= 2


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_a_python_block_of_the_readme_runs(number: int, tmp_path: Path) -> None:
    run("-c", blocks("python")[number], cwd=tmp_path)


@pytest.mark.parametrize("name", GUIDE_BLOCKS)
def test_a_python_block_of_the_guide_runs(name: str, tmp_path: Path) -> None:
    run("-c", GUIDE_BLOCKS[name], cwd=tmp_path)


def test_every_page_of_the_guide_is_listed_and_has_something_that_runs() -> None:
    contents = (ROOT / "docs" / "guide" / "README.md").read_text()
    assert sorted(re.findall(r"\]\(([\w-]+\.md)\)", contents)) == [path.name for path in GUIDE]
    assert {name.rpartition("-")[0] for name in GUIDE_BLOCKS} == {path.stem for path in GUIDE}


# Command lines of offloop that the pages show. What they do is tested elsewhere, that they are understood here.
SHOWN = sorted(
    {
        line.partition(" # ")[0].strip()
        for page in (ROOT / "README.md", *GUIDE)
        for block in blocks("sh", page.read_text())
        for line in block.splitlines()
        if line.startswith("offloop ")
    }
)


def understood(command: click.Command, name: str, arguments: list[str], parent: click.Context | None) -> None:
    """Reads the arguments as the program does, and runs nothing."""
    context = click.Context(command, parent=parent, info_name=name)
    inner = command.get_command(context, arguments[0]) if isinstance(command, click.Group) and arguments else None
    if inner is not None:
        understood(inner, arguments[0], arguments[1:], context)
    else:
        assert not isinstance(command, click.Group) or arguments[0].startswith("-"), f"no command {arguments[0]}"
        command.make_context(name, list(arguments), parent=parent).close()


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_line_of_the_pages_is_understood(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
    understood(group, "offloop", words[1:], None)


LINKED = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_only_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


# A snippet is lines of a function, below its includes: `bytes` is the reader's.
PROGRAM = """\
{includes}

void snippet(offloop::ByteSpan bytes) {{
{statements}
  (void)r;
}}
"""


@pytest.mark.skipif(shutil.which("g++") is None or not (ROOT / "include").is_dir(), reason="needs g++ and the headers")
@pytest.mark.parametrize("number", range(len(blocks("cpp"))))
def test_a_cpp_block_of_the_readme_compiles(number: int, tmp_path: Path) -> None:
    lines = blocks("cpp")[number].splitlines()
    includes = [line for line in lines if line.startswith("#include")]
    assert includes
    source = tmp_path / "snippet.cpp"
    statements = [line for line in lines if line not in includes]
    source.write_text(PROGRAM.format(includes="\n".join(includes), statements="\n".join(statements)))
    command = ["g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Werror", "-I", ROOT / "include", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_readme_exist() -> None:
    used = set(re.findall(r"^offloop (\w+)", "\n".join(blocks("sh")), re.MULTILINE))
    assert {"hash", "fetch", "doctor"} <= used
    listed = subprocess.run(
        [sys.executable, "-m", "offloop", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for name in used:
        assert re.search(rf"(?m)^\s+{name}\b", listed)
    targets = set(re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE))
    assert targets
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"(?m)^{target}:", makefile), f"the README tells of make {target}"
