"""checkov finds nothing in any rendering but what was looked at and decided otherwise."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.chart.derived import CHART
from tests.chart.rendering import VALUES, from_file, texts

CHECKOV = CHART.parent.parent / "build/checkov/bin/checkov"

# What is not done, and why. A check that no longer fails leaves this list: a test sees to it.
DECIDED = {
    ("CKV_K8S_21", ""): "the namespace is Helm's to give, and not written into manifests",
    ("CKV_K8S_11", ""): "a limit of CPU throttles in slices of 100 ms: it is latency, and the request already shares",
    ("CKV_K8S_15", ""): "an image is named by version or digest, which never changes: to pull it always adds a risk",
    ("CKV_K8S_43", ""): "image.digest is there, and release notes name it; a tag must do for a first try",
    ("CKV_K8S_35", "Deployment"): "secrets.existingSecret is optional, and holds no password of a customer",
    ("CKV_K8S_8", "Pod"): "the pod of `helm test` ends by itself: it has no liveness",
    ("CKV_K8S_9", "Pod"): "nor readiness",
    ("CKV2_K8S_6", "Pod"): "it only connects to the gateway, whose own policy lets it",
}


def findings(folder: Path) -> set[tuple[str, str, str]]:
    """Check, kind and file of each finding in all renderings."""
    for path in VALUES:
        (folder / path.stem).mkdir()
        for name, text in texts(from_file(path)).items():
            if name != "NOTES.txt":
                (folder / path.stem / name.replace("/", "-")).write_text(text, "utf-8")
    arguments = ["--directory", folder, "--framework", "kubernetes", "--skip-download", "--output", "json"]
    run = subprocess.run([CHECKOV, *arguments], capture_output=True, text=True, timeout=100)
    report = json.loads(run.stdout)
    assert report["summary"]["passed"] > 50 * len(VALUES), report["summary"]  # it did read the manifests
    assert report["summary"]["parsing_errors"] == 0
    failed = report["results"]["failed_checks"]
    return {(f["check_id"], f["resource"].partition(".")[0], f["file_path"]) for f in failed}


@pytest.mark.skipif(not CHECKOV.exists(), reason="no checkov: tests/chart/install.sh installs it")
def test_checkov_finds_only_what_was_decided(tmp_path):
    seen = set()
    for check, kind, file in findings(tmp_path):
        decided = next((key for key in ((check, ""), (check, kind)) if key in DECIDED), None)
        assert decided, f"{check} in the {kind} of {file}"
        seen.add(decided)
    assert seen == set(DECIDED)
