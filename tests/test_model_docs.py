"""The examples run, the figure is what its script draws, the page names things that exist."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from model_helpers import model_for, picture, processor

import model
from model import attention, kinds
from model.examples import zero_shot

HERE = Path(model.__file__).parent
PAGE = (HERE / "README.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("checkpoint")
    own = processor()
    model_for(own).save_pretrained(place)
    own.save_pretrained(place)
    picture().save(place / "park.png")
    return place


def test_script(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["zero_shot", str(folder), str(folder / "park.png"), "Why?"])
    zero_shot.main()
    assert capsys.readouterr().out.strip()
    monkeypatch.setattr(sys, "argv", ["zero_shot"])
    with pytest.raises(SystemExit, match="CHECKPOINT PICTURE"):
        zero_shot.main()


def test_notebook(folder, monkeypatch, capsys):
    monkeypatch.setenv("AKI_CHECKPOINT", str(folder))
    monkeypatch.setenv("AKI_PICTURE", str(folder / "park.png"))
    notebook = json.loads((HERE / "examples" / "zero_shot.ipynb").read_text())
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec("".join(cell["source"]), names)
    assert "<image>\nDescribe the scene of this image.<|end|>" in capsys.readouterr().out
    assert names["record"]["passed"]
    assert names["causal_answer"]  # another one or, of weights that are noise, the same


def test_readme_example(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "park.jpg").write_bytes((folder / "park.png").read_bytes())
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1)
    exec(code.replace("Sony/AKI-4B-phi-3.5-mini", str(folder)), {})
    assert capsys.readouterr().out.strip()


def test_page_names_what_exists():
    for name in re.findall(r"`attention\.(?!py`)(\w+)", PAGE):
        assert hasattr(attention, name), name
    for name in re.findall(r"`kinds\.(?!py`)(\w+)", PAGE):
        assert hasattr(kinds, name), name
    listed = PAGE[PAGE.index("## Reading order") :]
    files = set(re.findall(r"`(\w+\.py)`", listed))
    folders = (HERE, HERE / "published")
    there = {file.name for folder in folders for file in folder.glob("*.py")} - {"__init__.py", "registration.py"}
    assert files == there
    formula = "causal(query, key) | ((key.place <= query.last_visible) & (query.modality != key.modality))"
    assert formula.replace("|", "\\|") in PAGE
    assert formula in (HERE / "kinds.py").read_text()


def test_figure_is_what_its_script_draws(tmp_path):
    from model.figures.architecture import draw

    file = tmp_path / "architecture.svg"
    draw().savefig(file, metadata={"Date": None})
    texts = [
        re.findall(r"<text[^>]*>(.*?)</text>", each.read_text())
        for each in (file, HERE / "figures" / "architecture.svg")
    ]
    assert texts[0] == texts[1]
    assert "modality-mutual (Eq. 5)" in " ".join(texts[0])
