"""The page of a finished run, as text and in a real browser."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable

import mlflow
import pytest

from pipeline import config as configuration
from pipeline import report
from pipeline.result import Run
from tests.end_to_end import browser
from tests.end_to_end.conftest import ROWS, Workshop

SECTIONS = ("verdict", "data", "training", "slices", "rows", "attention", "settings")


@dataclasses.dataclass(frozen=True)
class Found:
    """An artifact of the first run."""

    uri: str
    mlflow_run_id: str

    def get_string_custom_property(self, _: str) -> str:
        return self.mlflow_run_id


@pytest.fixture(scope="module")
def material(workshop: Workshop, first: Run) -> report.Material:
    def only(component: str, output: str) -> Found:
        made = workshop.home.artifacts("capitals").glob(f"{component}/{output}/*")
        return Found(str(min(made, key=lambda path: int(path.name))), first.result.mlflow_run_id)

    client = mlflow.MlflowClient(workshop.home.tracking("capitals").uri)

    def history(run_id: str, metric: str) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in client.get_metric_history(run_id, metric)]

    return report.Material.of(history, configuration.load(workshop.config), first.result, only)


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A page -> its elements as the browser has them when its scripts have run."""

    def dump(page: str) -> str:
        folder = tmp_path_factory.mktemp("browser")
        (folder / "page.html").write_text(page)
        return browser.elements((folder / "page.html").as_uri(), folder / "profile")

    return dump


def test_the_page_is_in_the_home_and_in_mlflow_and_needs_nothing_else(workshop: Workshop, first: Run) -> None:
    path = workshop.home.reports("capitals") / "report.html"
    assert first.result.report_path == str(path) and path.exists()
    client = mlflow.MlflowClient(workshop.home.tracking("capitals").uri)
    page = pathlib.Path(
        client.download_artifacts(first.result.mlflow_run_id, "report.html", str(workshop.folder))
    ).read_text()
    assert not re.search(r'src=|href="(?!#)|url\(|@import|https?://', page)
    assert first.result.mlflow_run_id in page and first.result.reasons[0] in page


@browser.needed
def test_a_browser_shows_every_part_and_what_is_pointed_at(
    material: report.Material, browse: Callable[[str], str]
) -> None:
    point = (
        '<script>document.querySelector("#attention rect.cell")'
        '.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}))</script></body>'
    )
    page = browse(report.render(material).replace("</body>", point))
    for section in SECTIONS:
        assert f'<section id="{section}">' in page
    assert page.count('<path class="curve') >= 5 and "step 5: " in page  # the training loss has a point each five steps
    assert "attention diagonality" in page and "epoch 14" in page
    assert page.count("<tr><td>1-4</td>") + page.count("<tr><td>5-8</td>") == 2  # lengths, as slices
    assert "duplicate" in page and "pairs.tsv:" in page
    kept = sum(count for name, count in material.result.rows.items() if name != "rejected")
    assert kept == ROWS and f"<b>{material.result.rows['train']}</b> train" in page
    cell = re.search(r'<rect class="cell"[^>]*><title>([^<]+)</title>', page[page.index('id="attention"') :])
    assert cell and f"<output>{cell[1]}</output>" in page


@browser.needed
def test_text_of_the_data_is_text(material: report.Material, browse: Callable[[str], str]) -> None:
    attack = '<script>document.body.id="owned"</script><img src=x onerror="document.body.id=1">'
    row = {"source": attack, "references": [attack], "prediction": attack + " x", "origin": attack}
    sample = dataclasses.replace(
        material.samples[0], source=attack, prediction=attack, source_pieces=[attack], target_pieces=[attack],
        attention=[[1.0]],
    )  # fmt: skip
    finding = dataclasses.replace(material.findings[0], text=attack, file=attack)
    bad = dataclasses.replace(material, predictions=[row], samples=[sample], findings=[finding])
    page = browse(report.render(bad))
    assert "<body>" in page and "owned</script>" not in page and "<img" not in page
    assert page.count("&lt;img src=x") >= 5


def test_a_run_without_attention_and_curves_has_a_page(material: report.Material) -> None:
    page = report.render(dataclasses.replace(material, epochs=[], samples=[], curves={}, predictions=[], findings=[]))
    assert "MLflow has no curves of this training." in page and "Every answer is right." in page
