"""The status page in a browser, without network: Chromium where it is installed."""

from __future__ import annotations

import re
from pathlib import Path

from browser import browse, needs_chromium
from serving.clients import as_binary, httpx, rows
from serving.running import running

PAGE = Path(__file__).resolve().parents[2] / "python" / "serving" / "status.html"


def test_the_page_asks_nobody_else() -> None:
    text = PAGE.read_text()
    assert not re.findall(r"""(?:src|href)\s*=|@import|https?://""", text)
    assert set(re.findall(r"""ask\("([^"]*)""", text)) == {"/v2/repository/index", "/metrics"}


@needs_chromium
def test_the_page_shows_models_and_rows(models: Path, name: str, tmp_path: Path) -> None:
    (models / f"{name}_features" / "2").mkdir()
    (models / f"{name}_features" / "2" / "model.onnx").write_bytes(b"<script>damaged</script>")
    with running(models, ready=False) as server:
        request = as_binary(rows(models, f"{name}_features", 1234))
        assert httpx.post(f"{server.url}/v2/models/{name}_features/versions/1/infer", **request).status_code == 200
        page = browse(server.url, tmp_path, "--virtual-time-budget=4000", "--dump-dom").stdout
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    table = [cells[start : start + 6] for start in range(0, len(cells), 6)]
    assert [row[:4] for row in table] == [
        [name, "1", "READY", "0"],
        [f"{name}_features", "1", "READY", "1,234"],
        [f"{name}_features", "2", "UNAVAILABLE", "1,234"],
    ]
    assert "cannot be used" in table[2][5]
