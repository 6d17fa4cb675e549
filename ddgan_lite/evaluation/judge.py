"""A small network that has learned to read MNIST, and the scores it gives to generated digits."""

import itertools
import os
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from ddgan_lite.data.images import Images, to_unit
from ddgan_lite.evaluation.metrics import check_samples, frechet_between, kl_to_uniform
from ddgan_lite.files import checkpoints, results

SHAPE = (1, 32, 32)
CONFIDENT = 0.9  # the probability from which on a digit counts as recognised


class Judge(nn.Module):
    """Grey digits (n, 1, 32, 32) in [-1, 1] -> 64 features -> the logits of ten classes.

    Like every classifier it calls everything a digit, noise included: read its verdict together
    with what it says of images that are none (chapter 06).

    Attributes:
        mean, covariance: of the features of the 10,000 held-out digits, (64,) and (64, 64).

    Example:
        >>> logits = Judge()(torch.zeros(5, 1, 32, 32))
        >>> logits.shape
        torch.Size([5, 10])
    """

    def __init__(self):
        super().__init__()
        stages = [1, 32, 64, 64]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(stages):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 64), nn.ReLU())
        self.logits = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("covariance", torch.eye(64))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features (n, 64) of images (n, 1, 32, 32), and the probabilities (n, 10).

        Raises:
            ValueError: if the images are not finite or of another shape.

        Example:
            >>> features, probabilities = Judge().look(torch.zeros(5, 1, 32, 32))
            >>> features.shape, probabilities.sum(1).round(decimals=4).unique()
            (torch.Size([5, 64]), tensor([1.]))
        """
        check_samples(images, SHAPE)
        features = torch.cat([self.features(part) for part in images.split(500)])
        return features, self.logits(features).softmax(1)

    def scores(self, images: Tensor) -> dict[str, float]:
        """What the judge makes of images (n, 1, 32, 32) in [-1, 1], at least 65 of them.

        Returns:
            ``recognised``: the share to which it gives a class with a probability of at least 0.9;
            ``rarest``, ``commonest``: the shares of these classes, in units of a tenth; ``kl``:
            KL(shares || uniform) in nats; ``fd``: squared Fréchet distance from the held-out digits
            in the features.

        Raises:
            ValueError: as :meth:`look`; or if there are too few images for a covariance.

        Example:
            >>> scores = Judge().scores(torch.zeros(100, 1, 32, 32))  # all alike: one class
            >>> scores["rarest"], scores["commonest"]
            (0.0, 10.0)
        """
        if len(images) <= len(self.mean):
            raise ValueError(f"scores need more than {len(self.mean)} images, got {len(images)}.")
        features, probabilities = self.look(images)
        confidence, digits = probabilities.max(1)
        counts = torch.bincount(digits, minlength=10)
        shares = 10 * counts / len(digits)
        return {
            "recognised": (confidence >= CONFIDENT).double().mean().item(),
            "rarest": shares.min().item(),
            "commonest": shares.max().item(),
            "kl": kl_to_uniform(counts),
            "fd": frechet_between(*moments(features), self.mean, self.covariance),
        }

    def save(self, path: str | os.PathLike, **provenance: object) -> os.PathLike:
        """Write the judge in half precision, ``provenance`` with it; its statistics stay whole.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> with TemporaryDirectory() as folder:
            ...     Judge.load(Judge().save(f"{folder}/judge.safetensors", seed=0)).training
            False
        """
        statistics = {name for name, _ in self.named_buffers()}
        tensors = {
            name: value if name in statistics else value.half()
            for name, value in self.state_dict().items()
        }
        return checkpoints.write(path, tensors, {"kind": "judge", "provenance": provenance})

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> "Judge":
        """A judge out of its file; left out, the one that comes with the book.

        Raises:
            FileNotFoundError: if there is no such file.
            CheckpointError: if it is no judge.

        Example:
            >>> judge = Judge.load()
            >>> judge(torch.zeros(1, 1, 32, 32)).shape
            torch.Size([1, 10])
        """
        path = results.find("mnist_judge.safetensors") if path is None else path
        tensors, _ = checkpoints.read(path)
        judge = cls()
        checkpoints.check_names(path, tensors, judge.state_dict())
        judge.load_state_dict(tensors)
        return judge.requires_grad_(False).eval()


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of features (n, d).

    Example:
        >>> mean, covariance = moments(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
        >>> mean.tolist(), covariance.tolist()
        ([1.0, 1.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    return features.double().mean(0), torch.cov(features.double().T)


def train_judge(judge: Judge, digits: Images, *, steps: int, seed: int = 0) -> Iterator[float]:
    """Teach ``judge`` labelled digits, moved by up to two pixels; yields the loss of each step.

    Example:
        >>> tiny = Images(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), name="dark")
        >>> tiny.labels = torch.tensor([7, 7, 7, 7])
        >>> first, *_, last = train_judge(Judge(), tiny, steps=5)
        >>> last < first
        True
    """
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(judge.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(digits), (128,), generator=rng)
        down, right = torch.randint(5, (2,), generator=rng).tolist()
        images = pad(to_unit(digits.load(batch)), (2, 2, 2, 2), value=-1)
        images = images[..., down : down + 32, right : right + 32]
        loss = cross_entropy(judge(images), digits.labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        yield loss.item()
