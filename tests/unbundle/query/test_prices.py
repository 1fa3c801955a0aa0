from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.base.workspace import Workspace
from tests.support.tiny_model_bundle import BLANK, scene
from unbundle import Part, Parts, ProductSearch, UserError
from unbundle.index.columns import Column
from unbundle.index.gallery_collection import Hit
from unbundle.query.prices import compare, has_prices

CENTS = st.integers(0, 10**7)


def hit(price: float | None, name: str = "jar") -> Hit:
    return Hit(f"{name}-1", name, 0.9, "", "", {"price": price})


@pytest.fixture(scope="module")
def search(served: Workspace) -> Iterator[ProductSearch]:
    with ProductSearch(served.bundles, str(served.milvus), threads=1) as opened:
        yield opened


def test_a_bundle_is_dearer_or_cheaper_than_its_parts(search: ProductSearch) -> None:
    answer = search(scene([3, 1, 5]), bundle_price=30.5)
    parts = answer.parts
    assert parts is not None
    bought = {(part.product, part.price) for part in parts.items}
    assert bought == {("product-1", 11.0), ("product-3", 13.0), ("product-5", 15.0)}
    assert [part.id for part in parts.items] == [seen.hits[0].id for seen in answer.instances]
    assert [part.instance for part in parts.items] == [0, 1, 2]
    assert (parts.unknown, parts.total, parts.bundle_price, parts.saving) == ((), 39, 30.5, 8.5)
    dear = search(scene([3]), bundle_price=20).parts
    assert dear is not None
    assert dear.saving == -7


def test_two_of_a_product_are_two_parts(search: ProductSearch) -> None:
    parts = search(scene([3, 3])).parts
    assert parts is not None
    assert ([part.price for part in parts.items], parts.total) == ([13, 13], 26)
    assert (parts.bundle_price, parts.saving) == (None, None)


def test_a_part_that_is_not_in_the_catalogue_is_named_and_not_guessed(
    search: ProductSearch,
) -> None:
    answer = search(scene([3, 77]), bundle_price=10)
    strange = [seen.in_catalogue for seen in answer.instances].index(False)
    assert answer.parts is not None
    assert answer.parts.unknown == (strange,)
    assert [part.price for part in answer.parts.items] == [13]
    assert (answer.parts.total, answer.parts.saving) == (13, None)
    nothing = search(scene([3]), filters={"brand": "unknown"}, bundle_price=1).parts
    assert nothing == Parts((), (0,), 0, 1, None)


def test_a_title_alone_has_no_parts(search: ProductSearch) -> None:
    assert search(caption="red cream 3", bundle_price=10).parts is None


def test_a_photo_without_boxes_is_one_part_or_unknown(search: ProductSearch) -> None:
    parts = search(BLANK).parts
    assert parts is not None
    assert len(parts.items) + len(parts.unknown) == 1


@pytest.mark.parametrize("price", [-0.01, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(search: ProductSearch, price: float) -> None:
    with pytest.raises(UserError, match=r"bundle price .*: expected a number of 0 or more"):
        search(scene([3]), bundle_price=price)


def test_only_a_column_of_numbers_has_prices() -> None:
    assert has_prices([Column("price", "price", numeric=True)])
    assert not has_prices([Column("price", "price", numeric=False)])
    assert not has_prices([Column("weight", "weight", numeric=True)])


@given(st.lists(st.none() | CENTS, min_size=1, max_size=8), st.none() | CENTS)
def test_money_adds_up_to_the_cent(cents: list[int | None], bundle: int | None) -> None:
    # Unknown is a product that is not there, and one whose price is not.
    none = [None, hit(None)]
    best = [
        none[index % 2] if price is None else hit(price / 100) for index, price in enumerate(cents)
    ]
    parts = compare(best, None if bundle is None else bundle / 100)
    known = [price for price in cents if price is not None]
    assert parts.items == tuple(
        Part(index, "jar-1", "jar", price / 100)
        for index, price in enumerate(cents)
        if price is not None
    )
    assert parts.unknown == tuple(index for index, price in enumerate(cents) if price is None)
    assert parts.total == sum(known) / 100
    complete = bundle is not None and len(known) == len(cents)
    assert parts.saving == ((sum(known) - (bundle or 0)) / 100 if complete else None)
