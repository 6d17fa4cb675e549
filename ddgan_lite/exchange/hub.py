"""A model on the Hugging Face hub: its one file, and its card as the page that people read."""

import os
import re
from importlib.metadata import metadata

from ddgan_lite.files import checkpoints
from ddgan_lite.files.cards import card

FILE = "model.safetensors"  # what DDGAN.load("owner/name") asks for
USE = """## Use

```python
# pip install git+{repository}@v{version}
from ddgan_lite import DDGAN

samples = DDGAN.load("{name}").sample(16)
```

The file is a safetensors file: numbers and text, nothing that runs.
"""


def readme(source: str | os.PathLike, name: str) -> str:
    """The page of a model on the hub: what the hub wants to know, the card, how to load it.

    Args:
        source: as for :meth:`ddgan_lite.method.model.DDGAN.load`; a run must be finished.
        name: ``owner/name``.

    Raises:
        FileNotFoundError, CheckpointError: as :func:`ddgan_lite.files.cards.card`.
        ValueError: if the name is none.

    Example:
        >>> from ddgan_lite import results
        >>> page = readme(results.find("digits.safetensors"), "you/digits")
        >>> page.splitlines()[1], page.splitlines()[6]
        ('library_name: ddgan_lite', '# digits')
    """
    from huggingface_hub import ModelCardData  # imported when needed: it takes a while

    if not re.fullmatch(checkpoints.HUB_NAME, name):
        raise ValueError(f"a model on the hub is called owner/name, not {name!r}.")
    about = ModelCardData(library_name="ddgan_lite", tags=["denoising-diffusion-gan"]).to_yaml()
    _, table = card(source).split("\n", 1)
    ours = metadata("ddgan-lite")
    links = dict(link.split(", ") for link in ours.get_all("Project-URL"))
    use = USE.format(name=name, repository=links["Repository"], version=ours["Version"])
    return f"---\n{about.strip()}\n---\n\n# {name.split('/')[1]}\n{table}\n\n{use}"


def push(source: str | os.PathLike, name: str, *, private: bool = False) -> str:
    """Put a model on the Hugging Face hub, as one commit; returns the address of its page.

    The repository is made if there is none. In one that exists the two files ``model.safetensors``
    and ``README.md`` are replaced; what stood there before stays in its history. Who you are the
    hub knows from ``hf auth login`` or the variable HF_TOKEN.

    Args:
        source, name: as for :func:`readme`.
        private: of a repository that is made now, whether only you see it.

    Raises:
        FileNotFoundError, CheckpointError, ValueError: as :func:`readme`.
        OSError: if the hub does not take it.

    Example:
        >>> address = push("runs/mine", "you/ddgan-photos")  # doctest: +SKIP
        >>> push("runs/mine", "mine")
        Traceback (most recent call last):
            ...
        ValueError: a model on the hub is called owner/name, not 'mine'.
    """
    page, path = readme(source, name), checkpoints.locate(source)
    from huggingface_hub import CommitOperationAdd, HfApi

    files = {FILE: path, "README.md": page.encode()}
    try:
        hub = HfApi(library_name="ddgan_lite")
        address = hub.create_repo(name, private=private, exist_ok=True)
        added = [CommitOperationAdd(where, what) for where, what in files.items()]
        hub.create_commit(name, added, commit_message="A model of ddgan_lite, and its card")
    except Exception as error:  # offline, not logged in, not yours: the hub has a dozen classes
        raise OSError(
            f"the Hugging Face hub does not take {name} ({type(error).__name__}: "
            f"{' '.join(str(error).split())}). Log in with `hf auth login`, or set HF_TOKEN, and "
            "check the name and the network."
        ) from error
    return str(address)
