"""Titles as shops write them: Chinese, English or both, noisy, and silent about some products."""

from collections.abc import Sequence

import numpy as np

from tasks.demo.products import DemoProduct

NOISE_ZH = (
    "包邮", "正品", "官方", "旗舰店", "现货", "新品上市", "限时特价", "买一送一", "学生党",
    "网红爆款", "专柜同款", "明星推荐", "送女友", "顺丰速发", "假一赔十", "满减", "热卖",
)  # fmt: skip
NOISE_EN = (
    "hot sale", "free shipping", "official store", "100% authentic", "new arrival",
    "gift for her", "limited offer", "best seller", "in stock", "flash deal",
)  # fmt: skip
CLAIMS_ZH = {
    "botanic": ("补水保湿", "温和不刺激", "敏感肌可用", "清爽不油腻", "滋润修护", "提亮肤色"),
    "lips": ("持久显色", "不沾杯", "显白", "哑光雾面", "滋润不拔干"),
    "skin": ("遮瑕持久", "控油定妆", "轻薄服帖", "不卡粉"),
    "cheeks": ("自然裸妆", "显气色", "细腻不飞粉"),
    "scents": ("持久淡香", "清新自然", "小众香氛"),
}
SETS_ZH = ("套装", "礼盒", "组合装", "全套", "护肤美妆套装")
SETS_EN = ("set", "gift set", "bundle", "value pack", "kit")

SILENT = 0.04
"""Share of single products' titles, and of bundles', that name no product."""


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _some(rng: np.random.Generator, words: Sequence[str], most: int) -> list[str]:
    count = int(rng.integers(most + 1))
    return [words[int(index)] for index in rng.permutation(len(words))[:count]]


def _chinese(item: DemoProduct, rng: np.random.Generator, *, shade: float, size: float) -> str:
    """The product's name in Chinese, with its shade and size at the given probabilities."""
    brand = item.brand.zh if rng.random() < 0.6 else f"{item.brand.name}{item.brand.zh}"
    name = f"{brand} {item.line.zh}{_pick(rng, item.category.zh)}"
    parts = [name]
    if rng.random() < size:
        parts.append(item.size)
    if rng.random() < shade:
        parts.append(item.tint.zh)
    return " ".join(parts)


def _english(item: DemoProduct, rng: np.random.Generator, *, shade: float, size: float) -> str:
    """The same in English."""
    parts = [item.brand.name.title(), item.line.name, item.category.name]
    if rng.random() < size:
        parts.append(item.size)
    if rng.random() < shade:
        parts.append(item.tint.name)
    return " ".join(parts)


def single_title(item: DemoProduct, rng: np.random.Generator) -> str:
    """The title of one product's photo; nearly always names it, often its shade and size."""
    claims = CLAIMS_ZH[item.category.tints]
    if rng.random() < SILENT:
        return " ".join(["新款美妆护肤", _pick(rng, claims), *_some(rng, NOISE_ZH, 3)])
    language = rng.random()
    if language < 0.25:
        words = [_english(item, rng, shade=0.75, size=0.6), *_some(rng, NOISE_EN, 2)]
    else:
        words = [_chinese(item, rng, shade=0.75, size=0.6), *_some(rng, claims, 1)]
        words = [*_some(rng, NOISE_ZH, 1), *words, *_some(rng, NOISE_ZH, 2)]
        if language > 0.9:
            words.append(_pick(rng, NOISE_EN))
    return " ".join(words)


def bundle_title(items: Sequence[DemoProduct], rng: np.random.Generator) -> str:
    """The title of several products' photo; at least one of them is not named.

    Products of one family share a name; a bundle of one family is named without shades.
    """
    families = {item.family: item for item in items}
    one = len(families) == 1
    most = 1 if one else len(families) - 1
    count = 0 if rng.random() < SILENT else int(rng.integers(1, most + 1))
    known = list(families.values())
    named = [known[int(index)] for index in rng.permutation(len(known))[:count]]
    shade = 0.0 if one else 0.5
    if rng.random() < 0.25:
        names = [_english(item, rng, shade=shade, size=0.3) for item in named]
        parts = [f"{len(items)} pcs {_pick(rng, SETS_EN)}", " + ".join(names)]
        return " ".join([*filter(None, parts), *_some(rng, NOISE_EN, 2)])
    names = [_chinese(item, rng, shade=shade, size=0.3) for item in named]
    parts = [*_some(rng, NOISE_ZH, 1), "+".join(names), _pick(rng, SETS_ZH)]
    if rng.random() < 0.5:
        parts.append(f"{len(items)}件")
    return " ".join([*filter(None, parts), *_some(rng, NOISE_ZH, 2)])
