"""Links that leave the site go, over https, to places that keep their addresses."""

import tomllib
from urllib.parse import urlsplit

import pytest
import visits
from check_site import Page

OWN = tomllib.loads((visits.ROOT / "pyproject.toml").read_text())["project"]["urls"]
# Hosts that keep what they publish: registries of papers and proceedings, documentation.
HOSTS = {
    "arxiv.org",
    "doi.org",
    "jmlr.org",
    "openreview.net",
    "papers.nips.cc",
    "proceedings.mlr.press",
    "proceedings.neurips.cc",
    "docs.python.org",
    "numpy.org",
    "pytorch.org",
    "docs.pytorch.org",
    "torch-fidelity.readthedocs.io",
}
OWNER_AND_NAME = urlsplit(OWN["Repository"]).path
PLACES = (
    OWN["Repository"],
    OWN["Book"],
    f"https://colab.research.google.com/github{OWNER_AND_NAME}/",
)


@pytest.mark.parametrize("name", visits.all_pages())
def test_links_last(name):
    for link in Page(visits.SITE / name).links:
        parts = urlsplit(link)
        if parts.scheme in ("", "mailto"):
            continue
        assert parts.scheme == "https", f"{link} is not https"
        # A place is met whole: "…/ddgan-lite" does not cover "…/ddgan-lite-fork".
        at_home = any(f"{link}/".startswith(f"{place.rstrip('/')}/") for place in PLACES)
        assert at_home or parts.hostname in HOSTS, f"{link}: not a place that is known to last"
