"""Packages that single options need, and versions that this program was tested with."""

import logging
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

from ..errors import install_command

TESTED = {
    "diffusers": ("0.35", "0.42"),
    "transformers": ("4.50", "5.24"),
    "peft": ("0.15", "0.21"),
}
"""Their private structure is used: attention processors, adapters, module names."""

_PACKAGES = {"prodigyplus": "prodigy-plus-schedule-free"}
"""By their modules, where both have other names."""

_IRRELEVANT = {"bitsandbytes.backends.cpu.ops": "gemm_4bit_forward"}
"""Loggers, and words of their lines that read like errors and are none: a faster kernel that nothing here uses."""


def drop_irrelevant_lines() -> None:
    """Keeps lines of other libraries out of this process' log that read like errors and are none."""
    for name, words in _IRRELEVANT.items():
        logging.getLogger(name).addFilter(lambda record, words=words: words not in record.msg)  # type: ignore[misc]


def why_not_usable(error: Exception, device_type: str) -> str:
    """What to say of an option whose package failed when it was tried on a device."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.partition(".")[0]
        package = _PACKAGES.get(module, module)
        return f"needs the package {package}: run `{install_command(package)}`"
    return f"can't be used on {device_type} here ({error})"


def untested_versions() -> list[str]:
    """One line for each package that is older or newer than those this program was tested with."""
    found = []
    for package, (oldest, newest) in TESTED.items():
        try:
            here = Version(version(package))
        except PackageNotFoundError:
            continue  # importing it says so
        if not _within(here, oldest, newest):
            bounds = f'"{package}>={oldest},<={newest}.99"'
            found.append(
                f"{package} {here} is installed; this pack was tested with {oldest} to {newest}. If something "
                f"fails that worked before, run `{install_command(bounds)}`"
            )
    return found


def _within(here: Version, oldest: str, newest: str) -> bool:
    return Version(oldest) <= here and here.release[:2] <= Version(newest).release[:2]
