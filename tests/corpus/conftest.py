"""Counts how the cases of the corpus ended."""

import sys
from collections import Counter
from typing import Any

import pytest

if sys.platform != "linux":  # memory and time are measured and bounded with Linux' means
    collect_ignore_glob = ["test_*.py"]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    report = (yield).get_result()
    if report.when == "call" and item.get_closest_marker("corpus"):
        error = call.excinfo and call.excinfo.value
        verdict = getattr(error, "verdict", report.outcome)
        report.user_properties.append(("verdict", "good" if verdict == "passed" else verdict))


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """The first letter of how a case ended in the place of F."""
    verdict = dict(getattr(report, "user_properties", ())).get("verdict", "good")
    if report.when != "call" or verdict == "good":
        return None
    return report.outcome, verdict[0].upper(), verdict.upper()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    verdicts = Counter(dict(r.user_properties).get("verdict") for r in reports if r.when == "call")
    verdicts.pop(None, None)
    if verdicts:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        terminalreporter.write_line(f"corpus: {counts}")
