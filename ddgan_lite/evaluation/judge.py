"""Small networks that tell classes of images apart, and what they make of samples."""

import itertools
import os
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from ddgan_lite.data.images import Images, to_unit
from ddgan_lite.evaluation.metrics import check_samples, frechet_between, kl_to_uniform
from ddgan_lite.files import checkpoints, results

CONFIDENT = 0.9  # the probability from which on an image counts as recognised
# Of each judge the shape of its images, the channels of its stages, and the convolutions of each
# stage; where there are two, batch normalisation follows each.
JUDGES = {
    "mnist": ((1, 32, 32), (32, 64, 64), 1),
    "cifar10_16": ((3, 16, 16), (48, 96, 192), 2),
    "cifar10_32": ((3, 32, 32), (32, 64, 128), 2),
}


class Judge(nn.Module):
    """Images (n, C, H, W) in [-1, 1] -> 64 features -> the logits of ten classes.

    Like every classifier it calls everything one of its classes, noise included: read its verdict
    together with what it says of images that are none (chapter 06).

    Args:
        name: of the images that it judges, one of JUDGES.

    Attributes:
        shape: (C, H, W) of the images.
        mean, covariance: of the features of the 10,000 held-out images, (64,) and (64, 64).

    Raises:
        ValueError: if no judge has this name.

    Example:
        >>> logits = Judge()(torch.zeros(5, 1, 32, 32))
        >>> logits.shape
        torch.Size([5, 10])
    """

    def __init__(self, name: str = "mnist"):
        super().__init__()
        if name not in JUDGES:
            raise ValueError(f"unknown judge {name!r}: known are {', '.join(JUDGES)}.")
        self.name = name
        self.shape, stages, convolutions = JUDGES[name]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((self.shape[0], *stages)):
            for channels in (before, after)[:convolutions]:
                layers.append(nn.Conv2d(channels, after, 3, padding=1, bias=convolutions == 1))
                layers += [nn.BatchNorm2d(after)] * (convolutions > 1) + [nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        flat = stages[-1] * (self.shape[2] >> len(stages)) ** 2
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 64), nn.ReLU())
        self.logits = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("covariance", torch.eye(64))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(self.features(images))

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The features (n, 64) of images (n, C, H, W), and the probabilities (n, 10).

        Raises:
            ValueError: if the images are not finite or of another shape.

        Example:
            >>> features, probabilities = Judge().look(torch.zeros(5, 1, 32, 32))
            >>> features.shape, probabilities.sum(1).round(decimals=4).unique()
            (torch.Size([5, 64]), tensor([1.]))
        """
        check_samples(images, self.shape)
        features = torch.cat([self.features(part) for part in images.split(500)])
        return features, self.logits(features).softmax(1)

    def scores(self, images: Tensor) -> dict[str, float]:
        """What the judge makes of images (n, C, H, W) in [-1, 1], at least 65 of them.

        Returns:
            ``recognised``: the share to which it gives a class with a probability of at least 0.9;
            ``rarest``, ``commonest``: the shares of these classes, in units of a tenth; ``kl``:
            KL(shares || uniform) in nats; ``fd``: squared Fréchet distance from the held-out
            images in the features.

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
        confidence, classes = probabilities.max(1)
        counts = torch.bincount(classes, minlength=10)
        shares = 10 * counts / len(classes)
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
        header = {"kind": "judge", "judge": self.name, "provenance": provenance}
        return checkpoints.write(path, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> "Judge":
        """A judge out of its file; left out, the one of digits that comes with the book.

        Raises:
            FileNotFoundError: if there is no such file.
            CheckpointError: if it is no judge.

        Example:
            >>> judge = Judge.load()
            >>> judge(torch.zeros(1, 1, 32, 32)).shape
            torch.Size([1, 10])
        """
        path = results.find("mnist_judge.safetensors") if path is None else path
        tensors, header = checkpoints.read(path)
        try:
            judge = cls(header.get("judge", "mnist"))
        except (TypeError, ValueError) as error:
            raise checkpoints.CheckpointError(f"{path} is no judge: {error}") from error
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


def train_judge(judge: Judge, images: Images, *, steps: int, seed: int = 0) -> Iterator[float]:
    """Teach ``judge`` labelled images, moved by up to two pixels; yields the loss of each step.

    Images that are mirrored in training (``images.flip``) are here too, and continue over their
    edge as in a mirror, where digits have black around them.

    Example:
        >>> tiny = Images(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), name="dark")
        >>> tiny.labels = torch.tensor([7, 7, 7, 7])
        >>> first, *_, last = train_judge(Judge(), tiny, steps=5)
        >>> last < first
        True
    """
    rng, size = torch.Generator().manual_seed(seed), judge.shape[2]
    decay = 0.05 if images.flip else 0.0
    optimiser = torch.optim.AdamW(judge.parameters(), weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        batch = torch.randint(len(images), (128,), generator=rng)
        down, right = torch.randint(5, (2,), generator=rng).tolist()
        x = to_unit(images.load(batch))
        if images.flip:
            x = x.flip(3) if torch.rand((), generator=rng) < 0.5 else x
            x = pad(x, (2, 2, 2, 2), mode="reflect")
        else:
            x = pad(x, (2, 2, 2, 2), value=-1)
        x = x[..., down : down + size, right : right + size]
        loss = cross_entropy(judge(x), images.labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        yield loss.item()
