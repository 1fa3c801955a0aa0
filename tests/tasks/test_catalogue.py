from pathlib import Path
from typing import Any

import pytest

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.catalogue import catalogue
from tasks.data.catalogue_table import read_rows
from tasks.data.product1m import annotation_file
from tests.support.catalogue_folder import small_catalogue, write_photo, write_table
from unbundle.base.errors import UserError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "checkout")


def from_source(params: Params, **update: Any) -> Params:
    return params.model_copy(update={"catalogue": params.catalogue.model_copy(update=update)})


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_is_copied_with_the_images_that_rows_name(
    tmp_path: Path, workspace: Workspace, tiny_params: Params
) -> None:
    shop = tmp_path / "shop"
    write_table(shop, [row | {"brand": "玉兰"} for row in small_catalogue(shop)])
    (shop / "notes.txt").write_text("not named by a row", encoding="utf-8")
    before = files(shop)
    catalogue(workspace, from_source(tiny_params, source="folder", path=shop))
    assert files(workspace.catalogue) == {k: v for k, v in before.items() if k != "notes.txt"}
    assert read_rows(workspace.catalogue / "catalogue.csv")["brand"].unique() == ["玉兰"]


@pytest.mark.parametrize(
    "image", ["../secret.png", "{root}/secret.png", "link.png", "away/secret.png"]
)
def test_nothing_outside_the_folder_is_copied(
    tmp_path: Path, workspace: Workspace, tiny_params: Params, image: str
) -> None:
    shop = tmp_path / "shop"
    rows = small_catalogue(shop)
    write_photo(tmp_path / "secret.png", 99)
    (shop / "link.png").symlink_to(tmp_path / "secret.png")
    (shop / "away").symlink_to(tmp_path)
    write_table(shop, [*rows, {"id": "s", "image": image.format(root=tmp_path), "split": "train"}])
    catalogue(workspace, from_source(tiny_params, source="folder", path=shop))
    secret = (tmp_path / "secret.png").read_bytes()
    assert secret not in files(workspace.root).values()
    # The row stays: validation gives it its reason.
    assert len(read_rows(workspace.catalogue / "catalogue.csv")) == len(rows) + 1


def test_a_missing_image_is_left_to_validation(
    tmp_path: Path, workspace: Workspace, tiny_params: Params
) -> None:
    rows = small_catalogue(tmp_path / "shop")
    write_table(tmp_path / "shop", rows)
    (tmp_path / "shop" / rows[0]["image"]).unlink()
    catalogue(workspace, from_source(tiny_params, source="folder", path=tmp_path / "shop"))
    assert len(files(workspace.catalogue)) == len(rows)


def test_a_broken_table_leaves_the_old_catalogue(
    tmp_path: Path, workspace: Workspace, tiny_params: Params
) -> None:
    write_table(tmp_path / "shop", small_catalogue(tmp_path / "shop"))
    params = from_source(tiny_params, source="folder", path=tmp_path / "shop")
    catalogue(workspace, params)
    before = files(workspace.root)
    (tmp_path / "shop/catalogue.csv").write_text("id,image\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"shop/catalogue\.csv:1: column 'caption' is missing"):
        catalogue(workspace, params)
    assert files(workspace.root) == before


def test_a_missing_folder_is_named(workspace: Workspace, tiny_params: Params) -> None:
    params = from_source(tiny_params, source="folder", path=Path("/nowhere"))
    with pytest.raises(
        UserError, match=r"/nowhere/catalogue\.csv: no such file; correct catalogue\.path"
    ):
        catalogue(workspace, params)
    assert files(workspace.root) == {}


def test_real_annotations_become_a_catalogue(
    datasets: Path, tmp_path: Path, workspace: Workspace, tiny_params: Params
) -> None:
    folder = datasets / "product1m-annotations"
    (tmp_path / "photos").mkdir()
    catalogue(
        workspace,
        from_source(tiny_params, source="product1m", path=folder, images=tmp_path / "photos"),
    )
    rows = read_rows(workspace.catalogue / "catalogue.csv")
    assert rows["split"].value_counts().to_dict() == {"test": 6547, "dev": 2673}
    assert rows["kind"].value_counts().to_dict() == {"multi": 8997, "single": 223}
    first = annotation_file(folder, "dev").read_bytes().decode().split("\r\n")[0].split("#####")
    assert rows.iloc[0][["id", "caption", "url", "labels"]].tolist() == [*first[:3], first[4]]


def test_unreachable_images_are_one_clear_error(
    tmp_path: Path, workspace: Workspace, tiny_params: Params
) -> None:
    path = annotation_file(tmp_path, "dev")
    path.write_bytes("1#####霜#####http://127.0.0.1:9/1.jpg#####no address#####甲\r\n".encode())
    download = tiny_params.catalogue.download.model_copy(update={"retries": 0})
    params = from_source(
        tiny_params, source="product1m", path=tmp_path, images=None, download=download
    )
    with pytest.raises(UserError, match="no image could be fetched") as caught:
        catalogue(workspace, params)
    assert "catalogue.images" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not workspace.catalogue.exists()


def test_the_demo_is_rendered(workspace: Workspace, tiny_params: Params) -> None:
    few = {
        "products": 8,
        "train_single": 4,
        "train_multi": 2,
        "gallery_per_product": 1,
        "queries": 2,
    }
    demo = tiny_params.catalogue.demo.model_copy(update=few)
    catalogue(workspace, from_source(tiny_params, source="demo", demo=demo))
    rows = read_rows(workspace.catalogue / "catalogue.csv")
    assert {*rows["split"]} == {"train", "gallery", "dev", "test"}
    assert all((workspace.catalogue / image).is_file() for image in rows["image"])
