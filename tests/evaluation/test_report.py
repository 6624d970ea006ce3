"""The report of 2,000 images in headless Chromium: it opens, sorts, filters, enlarges, and trusts no file name."""

import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_generators.files.pairing import Pair
from data_generators.files.volume_slices import VolumeSlice
from utils.base.palette import ERROR_COLORS, VOID
from utils.checkpoints import weights_path
from utils.config import load_config
from utils.config.class_names import has_background, mask_class_names
from utils.evaluation.case_scores import find_regions
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.gallery import LARGEST_SIDE, Gallery, encode
from utils.evaluation.output import write_results
from utils.evaluation.report import commands, region_labels
from utils.evaluation.report_curves import curves_context
from utils.evaluation.split_data import SplitData
from utils.evaluation.split_result import SplitResult
from utils.inference.comparison import TINT, draw_errors
from utils.inference.mask_meaning import MaskMeaning

EVIL = "image_<img src=x onerror=document.title='run'>_0.png"
IMAGES, SHOWN = 1000, 60  # of each split; pictures in the gallery


def count(masks, probabilities):
    """Confusion matrices by counting, for two classes."""
    truth, predicted = masks[..., 0], probabilities.argmax(-1)
    return np.array(
        [[[np.sum((t == i) & (p == j)) for j in (0, 1)] for i in (0, 1)] for t, p in zip(truth, predicted, strict=True)]
    )


def evaluated(cfg, split, gallery, first):
    """A split of volumes of 10 slices. In image n n % 17 of 16 rows are true and the upper half is predicted, except
    that in every 20th image nothing is predicted: all four states occur."""
    places = [VolumeSlice(str(n // 10), n % 10) for n in range(IMAGES)]
    names = [f"image_{place.volume}_{place.slice}.png" for place in places]
    names[0] = EVIL
    pairs = [Pair(Path(name), None) for name in names]
    evaluator = Evaluator(cfg, SplitData(split, IMAGES, first, pairs, places), count, gallery)
    for start in range(0, IMAGES, 50):
        masks, predicted = np.zeros((2, 50, 16, 16), np.uint8)
        for index, number in enumerate(range(start, start + 50)):
            masks[index, : number % 17] = 1
            predicted[index, :8] = number % 20 > 0
        pictures = np.random.default_rng(start).random((50, 16, 16, 3), np.float32)
        evaluator.add(pictures, masks[..., None], np.eye(2, dtype=np.float32)[predicted])
    result = SplitResult(split, IMAGES, first, seconds=2.0)
    result.add_metrics(0.5, [])
    result.add_cases(evaluator)
    return result


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    cfg = load_config([f"WORK_DIR={folder}", "VERBOSE=0", "INPUT.HEIGHT=32", "INPUT.WIDTH=32"])
    weights_path(cfg).parent.mkdir()
    weights_path(cfg).write_bytes(b"weights")
    log = folder / "checkpoint/training_logs_unet3plus.csv"
    log.write_text("epoch,loss,val_loss,dice_coef,val_dice_coef,run\n0,2,3,0.1,0.2,a\n1,1,2,0.3,0.4,a\n")
    cfg.RUN = "a"
    gallery = Gallery(SHOWN, MaskMeaning.from_config(cfg, mask_class_names(cfg)))
    results = [evaluated(cfg, "val", gallery, 0), evaluated(cfg, "test", gallery, IMAGES)]
    return write_results(cfg, [cfg], results, gallery), results, gallery


def test_the_report_needs_nothing_else(written):
    folder, _, _ = written
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json",
        "per_image.csv",
        "per_volume.csv",
        "report.html",
    }
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page
    assert page.count("data:image/webp;base64,") == 4 * SHOWN and page.count("data:image/svg+xml;base64,") == 8
    assert "<td>dice_class1</td>" in page and "<td>constant: " in page  # as in evaluation.json
    assert re.search(r"<div><b>0\.\d{3}</b>dice<small>constant 0\.\d{3}</small></div>", page)
    assert "<img src=x" not in page and 'name="viewport"' in page
    assert (
        "2 classes" in page
        and "WEIGHTS_FILE_NAME: model_unet3plus" in page
        and f"<code>python evaluate.py WORK_DIR={folder.parents[1]} " in page
    )
    assert len(page) < 4_000_000


def test_the_command_of_all_folds_can_be_typed_again():
    cfg = load_config(["+experiment=isbi_unet", "DATASET.FOLDS=folds", "DATASET.FOLD=all", "MODEL.FILTERS=[4,8]"])
    typed = "python evaluate.py +experiment=isbi_unet DATASET.FOLDS=folds DATASET.FOLD=all 'MODEL.FILTERS=[4,8]'"
    assert commands(cfg, [cfg, cfg]) == {"evaluate.py": typed}


def test_all_folds_together_have_a_folder_of_their_own(tmp_path):
    """A single run may have the same name: its evaluation stays as it is."""
    settings = [f"WORK_DIR={tmp_path}", "MODEL.WEIGHTS_FILE_NAME=liver"]
    single = load_config(settings)
    weights_path(single).parent.mkdir()
    weights_path(single).write_bytes(b"weights")
    result = SplitResult("val", 3, 0, seconds=1.0)
    both = load_config([*settings, "DATASET.FOLDS=folds", "DATASET.FOLD=all"])
    folders = [write_results(cfg, [single], [result], Gallery(0, MaskMeaning(["a", "b"]))) for cfg in (single, both)]
    assert [folder.name for folder in folders] == ["liver.evaluation", "liver.folds.evaluation"]
    assert "DATASET.FOLD=all" not in (folders[0] / "evaluation.json").read_text()


def test_the_gallery_holds_the_worst(written):
    _, results, gallery = written
    dices = []
    for result in results:
        for case in result.evaluator.images:
            _, false, missed, common = case.confusion.ravel()
            dices.append(2 * common / (2 * common + false + missed) if common + false + missed else 2)
    worst = sorted(range(len(dices)), key=lambda number: (dices[number], number))[:SHOWN]
    assert [order for order, _ in gallery.pictures()] == worst
    image, *masks, errors = map(decoded, gallery.pictures()[0][1])
    assert image.shape == (16, 16, 3) and all(mask.shape == (256, 256, 4) for mask in masks)
    assert errors.shape == (16, 16, 4)


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_large_pictures_shrink_and_many_classes_are_tinted():
    image, mask = np.zeros((300, 1200, 3), np.uint8), np.zeros((300, 1200), np.uint8)
    mask[100:200, 300:900] = 5
    for classes, drawn in ((2, [0, 255]), (6, [0, round(0.45 * 255), 255])):
        gallery = Gallery(1, MaskMeaning([f"class{index}" for index in range(classes)]))
        gallery.offer(0, 0.5, image, mask, 0 * mask)
        gallery.offer(1, 0.6, image, mask, mask)
        ((order, layers),) = gallery.pictures()
        image, truth, predicted, errors = map(decoded, layers)
        assert order == 0 and image.shape == (LARGEST_SIDE // 4, LARGEST_SIDE, 3)
        assert np.unique(truth[..., 3]).tolist() == drawn and not predicted[..., 3].any()
        assert np.unique(errors[..., 3]).tolist() == [0, round(TINT * 255)]
    none = Gallery(0, MaskMeaning(["background", "cell"]))
    none.offer(0, 0.5, image, mask, mask)
    assert none.pictures() == []


def test_errors_have_the_colours_that_they_have_in_pictures_of_predictions():
    """The layer on the pale image, as the page mixes them, is what `draw_errors` draws; void counts as no error."""
    meaning = MaskMeaning(["background", "cell", "edge"], ignore_label=255)
    truth, predicted = np.zeros((2, 2, 5), np.uint8)
    truth[:], predicted[:] = (0, 1, 0, 2, 255), (0, 0, 1, 1, 1)
    image = np.full((2, 5, 3), 128, np.uint8)
    layers = Gallery(1, meaning).draw(encode(image, 82), truth, predicted)
    errors = cv2.cvtColor(decoded(layers.errors), cv2.COLOR_BGRA2RGBA)
    assert [tuple(pixel[:3]) for pixel in errors[0, 1:]] == [*ERROR_COLORS.values(), VOID] and not errors[0, 0].any()
    opacity, pale = errors[..., 3:] / 255, image // 2 + 64
    mixed = opacity * errors[..., :3] + (1 - opacity) * pale
    assert np.abs(mixed - draw_errors(image, truth, predicted, meaning)).max() <= 2
    assert tuple(decoded(layers.truth)[0, -1][:3]) == VOID and not decoded(layers.predicted)[..., 3].all()


@pytest.fixture
def page(browser, written):
    """The report, freshly opened."""
    browser.get((written[0] / "report.html").as_uri())
    return browser


def find(page, selector):
    return page.find_elements("css selector", selector)


def shown_rows(page):
    """Texts of the cells of every row of the table."""
    return page.execute_script(
        "return [...document.querySelectorAll('#table tbody tr')].map(tr => [...tr.cells].map(td => td.textContent))"
    )


def shown_figures(page):
    return [int(figure.get_attribute("data-id")) for figure in find(page, "#gallery figure") if figure.is_displayed()]


def type_in(page, name, value):
    """Set a control as a user does: the page hears `input` and, of a list, `change`."""
    page.execute_script(
        "const control = document.getElementById(arguments[0]); control.value = arguments[1];"
        "control.dispatchEvent(new Event('input', {bubbles: true}));"
        "control.dispatchEvent(new Event('change', {bubbles: true}));",
        name,
        value,
    )


def test_it_opens_quickly_without_an_error_or_a_script_from_a_name(browser, written):
    begin = time.perf_counter()
    browser.get((written[0] / "report.html").as_uri())
    assert time.perf_counter() - begin < 10
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert browser.title == "Evaluation of model_unet3plus.weights.h5"
    lazy = find(browser, "#gallery img[loading=lazy]")
    assert len(lazy) == 4 * SHOWN and len(shown_rows(browser)) == 200


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_cut_off(browser, written, width):
    """On a phone nothing scrolls sideways but tables in their own boxes."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get((written[0] / "report.html").as_uri())
    try:
        browser.execute_script("document.querySelectorAll('details').forEach(details => details.open = true)")
        too_wide = browser.execute_script(
            "const right = document.documentElement.clientWidth;"
            "return [...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll *, dialog, pre *') &&"
            " one.getBoundingClientRect().right > right + 1).map(one => one.outerHTML.slice(0, 80))"
        )
        scrolling = browser.execute_script(
            "return [...document.querySelectorAll('section .scroll')].filter(box => box.scrollWidth > box.clientWidth"
            " + 1).map(box => [box.firstElementChild.className, box.classList.contains('cut')])"
        )
        assert all(cut for _, cut in scrolling) and "stack" not in str(scrolling)
        charts = [img.size["width"] for img in find(browser, "#curves img") if img.is_displayed()]
        assert len(charts) == (2 if width == 400 else 1) and min(charts) > 0.85 * width - 200 * (width > 400)
        assert too_wide == [] and browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_first_picture_is_on_the_first_screen_of_a_phone(browser, written):
    """Filters are folded there, and open where there is room."""
    for width, opened in ((400, False), (1280, True)):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        browser.get((written[0] / "report.html").as_uri())
        assert browser.find_element("id", "low").is_displayed() == opened
        if not opened:
            assert find(browser, "#gallery figure")[0].location["y"] < 900
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_where_the_reader_has_dark_pages(browser, written):
    """Text and whatever it stands on have a contrast of 4.5 at least, as WCAG asks, in both schemes."""
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        browser.get((written[0] / "report.html").as_uri())
        for selector in ("body", "section h2", "section .soft", "#order", "#classes th", "#large", "summary"):
            ink, paper = (luminance(color) for color in browser.execute_script(COLORS_OF, selector))
            assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5, (scheme, selector)
            assert (paper < 0.1) == (scheme == "dark"), (scheme, selector)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


# Colour of an element, and that of the first element around it that has a background.
COLORS_OF = """
let one = document.querySelector(arguments[0]);
const ink = getComputedStyle(one).color, bare = "rgba(0, 0, 0, 0)";
while (getComputedStyle(one).backgroundColor === bare) one = one.parentElement;
return [ink, getComputedStyle(one).backgroundColor];
"""


def luminance(color):
    """Relative luminance of `rgb(r, g, b)`, 0 to 1 (WCAG 2)."""
    shares = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_headline_pictures_and_tables_in_this_order(page):
    titles = [heading.text for heading in find(page, "h2")]
    assert titles[:4] == ["Scores", "Worst images", "Classes", "Confusion matrix"]
    cells = [cell.text for cell in find(page, "#classes table:first-of-type tr:nth-child(1) td")][:7]
    assert cells[0] == "class1" and cells[6] == f"{IMAGES // 10}"
    assert all(re.match(r"0\.\d{3}\n\[0\.\d{3}, 0\.\d{3}\]$", cell) for cell in cells[1:6]), cells
    right, wrong = (
        {cell.value_of_css_property("background-color").split(", ")[0] for cell in find(page, f".confusion .{kind}")}
        for kind in ("right", "wrong")
    )
    assert len(right) == len(wrong) == 1 and right != wrong


def test_next_previous_toggles_and_zoom(page):
    from selenium.webdriver.common.keys import Keys

    dialog, names = page.find_element("id", "large"), [figure.text for figure in find(page, "#gallery figure")]

    def layers():
        return [img.is_displayed() for img in dialog.find_elements("css selector", "img")]

    find(page, "#gallery figure button")[0].click()
    assert not page.find_element("id", "previous").is_enabled() and f"1 of {SHOWN}" in dialog.text
    first = dialog.find_element("id", "about").text
    page.find_element("id", "next").click()
    assert f"2 of {SHOWN}" in dialog.text and dialog.find_element("id", "about").text.split(" ")[0] in names[1]
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert dialog.find_element("id", "about").text == first

    assert layers() == [True, True, True, False]
    page.find_element("id", "truth").click()
    assert layers() == [True, False, True, False]
    page.switch_to.active_element.send_keys("p")
    assert layers() == [True, False, False, False]
    for shown in (True, False):
        page.find_element("id", "plain").click()
        assert layers() == [True, shown, shown, False]
    page.switch_to.active_element.send_keys("e")
    assert layers() == [True, False, False, True] and "missed\nexcess" in dialog.text
    page.find_element("id", "predicted").click()
    assert layers() == [True, False, True, False] and "missed" not in dialog.text
    page.find_element("id", "plain").click()

    picture = dialog.find_element("css selector", "img")
    width = picture.size["width"]
    page.find_element("id", "in").click()
    assert picture.size["width"] == pytest.approx(2 * width, abs=1)
    assert picture.value_of_css_property("image-rendering") == "pixelated"


def test_sorting(page):
    dices = [row[4] for row in shown_rows(page)]
    assert dices == sorted(dices) and dices[0] == "0.000"
    type_in(page, "order", "-dice")
    dices = [row[4] for row in shown_rows(page)]
    assert dices == sorted(dices, reverse=True) and dices[0] == "1.000"
    (header,) = find(page, "#table th button[data-key=name]")
    page.execute_script("arguments[0].click()", header)
    names = [row[0] for row in shown_rows(page)]
    assert names[:4] == [EVIL, EVIL, "image_0_1.png", "image_0_1.png"]
    assert names.index("image_2_0.png") < names.index("image_9_9.png")  # by number, not by digit
    page.execute_script("arguments[0].click()", header)
    assert shown_rows(page)[0][0] == "image_99_9.png"


def test_filtering(page):
    type_in(page, "words", "image_12_")
    assert {row[0] for row in shown_rows(page)} == {f"image_12_{index}.png" for index in range(10)}
    assert "20 of 2000 images" in page.find_element("id", "count").text
    type_in(page, "split", "test")
    assert len(shown_rows(page)) == 10
    type_in(page, "words", "")
    type_in(page, "low", "0.5")
    type_in(page, "high", "0.8")
    dices = [float(row[4]) for row in shown_rows(page)]
    assert dices and all(0.5 <= dice <= 0.8 for dice in dices)
    assert shown_figures(page) == []  # the worst are below
    type_in(page, "low", "0")
    type_in(page, "high", "1")
    type_in(page, "class", "1")
    type_in(page, "state", "false_positive")
    rows = shown_rows(page)
    assert len(rows) == sum(n % 17 == 0 and n % 20 > 0 for n in range(IMAGES)) and all(
        "absent in the truth" in row[5] for row in rows
    )
    type_in(page, "state", "absent")
    rows = shown_rows(page)
    assert len(rows) == sum(n % 340 == 0 for n in range(IMAGES)) and rows[0][4] == "\u2013"


def test_more_rows_and_a_larger_picture(page):
    page.execute_script("document.getElementById('more').click()")
    assert len(shown_rows(page)) == 400
    first = shown_figures(page)[0]
    (button,) = find(page, f"figure[data-id='{first}'] button")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    dialog = page.find_element("id", "large")
    picture = dialog.find_element("css selector", "img")
    assert dialog.is_displayed() and "Dice: mean of classes 0.000" in dialog.text
    assert page.execute_script("return arguments[0].naturalWidth", picture) == 16  # as it is, and enlarged by the page
    assert picture.size["width"] > button.size["width"]
    dialog.find_element("id", "close").click()
    assert not dialog.is_displayed()


@pytest.mark.parametrize(
    ("name", "run", "why"),
    [
        ("one", "a", None),
        ("one", "b", "training_logs_one.csv has no rows of the run that trained these weights."),
        ("old", None, "These weights are of an earlier version, which did not note the run"),
        ("three", "a", "The log of the training, training_logs_three.csv, is not there."),
    ],
)
def test_a_report_shows_the_curves_of_its_own_run_only_or_says_why_not(tmp_path, name, run, why):
    (tmp_path / "checkpoint").mkdir()
    for log, column in (("one", ",run\n0,0.5,0.6,a"), ("two", ",run\n0,0.5,0.6,b"), ("old", "\n0,0.5,0.6")):
        (tmp_path / "checkpoint" / f"training_logs_{log}.csv").write_text(f"epoch,loss,val_loss{column}\n")
    cfg = load_config([f"WORK_DIR={tmp_path}", "MODEL.TYPE=unet", f"MODEL.WEIGHTS_FILE_NAME={name}"])
    cfg.RUN = run
    context = curves_context(cfg, folds=1)
    assert (context["curves"] is None) == (why is not None)
    assert context["why"] is None if why is None else context["why"].startswith(why)
    assert curves_context(cfg, folds=2)["why"]


def test_the_curves_name_the_run_its_best_epoch_and_the_classes(tmp_path, monkeypatch):
    (tmp_path / "checkpoint").mkdir()
    columns = ("loss", "val_loss", "dice", "val_dice_class1", "val_dice_class2")
    rows = [",".join(["epoch", *columns, "run"]), *(f"{epoch},1,1,0.5,0.5,0.5,a" for epoch in range(3))]
    (tmp_path / "checkpoint/training_logs_liver.csv").write_text("\n".join(rows))
    (tmp_path / "checkpoint/liver.run.json").write_text('{"run": "a", "best": {"epoch": 2}}')
    names = ["background", "liver", "tumour"]
    cfg = load_config([f"WORK_DIR={tmp_path}", "MODEL.WEIGHTS_FILE_NAME=liver", "OUTPUT.CLASSES=3"])
    cfg.RUN, cfg.OUTPUT.CLASS_NAMES = "a", names
    drawn = []
    monkeypatch.setattr("utils.evaluation.report_curves.embed", lambda figure: drawn.append(figure) or "")
    context = curves_context(cfg, folds=1)
    assert context["curves_title"] == "liver: 3 epochs, the best of them 2"
    titles = [[axes.get_title() for axes in figure.axes] for figure in drawn]
    assert titles == [
        ["loss"],
        ["score"],
        ["dice of each class (validation)"],
        [title for part in titles[:3] for title in part],
    ]
    labels = [text.get_text() for text in drawn[2].axes[0].get_legend().get_texts()]
    assert labels == ["liver 0.500", "tumour 0.500"]
    assert all("best: 2" in [text.get_text() for text in axes.texts] for figure in drawn for axes in figure.axes)
    cfg.RUN = "b"
    assert context["curves_title"] not in curves_context(cfg, folds=1)["curves_title"]


@pytest.mark.parametrize(
    ("overrides", "first"),
    [
        ([], "background"),
        (["OUTPUT.BACKGROUND=False"], "class0"),
        (["OUTPUT.CLASS_NAMES=[sky,road,tree]"], "sky"),
    ],
)
def test_a_class_has_one_name(overrides, first):
    cfg = load_config(["OUTPUT.CLASSES=3", *overrides])
    labels = region_labels(cfg, find_regions(3, has_background(cfg)))
    names = mask_class_names(cfg)
    assert names[0] == first and [labels["class1"], labels["class2"]] == names[1:]
    assert labels.get("class0", first) == first
