"""The README's command for one's own catalogue, on the parameters that ship."""

from pathlib import Path

import pytest

from tasks.base.params import load_params
from tasks.base.workspace import Workspace
from tasks.data.manifest import read_manifest
from tests.support.catalogue_folder import small_catalogue, write_table
from tests.support.documented_commands import commands, run
from tests.support.project_clone import clone

pytestmark = pytest.mark.slow


def test_the_readmes_command_reads_the_catalogue_that_it_names(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_table(shop, small_catalogue(shop))
    root = clone(tmp_path / "clone", tiny=False)
    command = commands("../README.md", "Your own catalogue")[0]
    assert command[:3] == ["dvc", "exp", "run"]
    named = [word.replace("/path/to/catalogue", str(shop)) for word in command]
    # DVC writes params.yaml anew and reads it back before any stage runs; no further than the rows.
    run(root, [*named, "validate"])
    params = load_params(root / "params.yaml")
    assert (params.catalogue.source, params.catalogue.path) == ("folder", shop)
    shipped = load_params(Path(__file__).parents[2] / "params.yaml")
    assert params.model_copy(update={"catalogue": shipped.catalogue}) == shipped
    assert len(read_manifest(Workspace(root).manifest)) == 8
