"""Score a finished run and put its weights, with their card, among the results of the book.

    python -m ddgan_lite train mnist --out runs/mnist
    python tools/ship.py judge --root data
    python tools/ship.py judge cifar10_16 --cifar FOLDER
    python tools/ship.py mnist runs/mnist --root data

``gaussians``, ``stacked_digits`` and ``digits`` need no data, and no judge. A file of weights does
as well as a run: it is scored anew. The scores of a file in half precision are its own; those
before the rounding stand beside them on the card, so that the loss can be seen. With ``mnist``
come what chapters 06 to 10 show: the log, grids of samples, and the training images nearest to
samples.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ddgan_lite.baselines import trilemma
from ddgan_lite.data.images import Images, load_images, to_bytes, to_unit
from ddgan_lite.data.toys import Digits
from ddgan_lite.evaluation.judge import CONFIDENT, JUDGES, Judge, moments, train_judge
from ddgan_lite.evaluation.metrics import frechet_distance, read_digits
from ddgan_lite.files import cards, checkpoints, results
from ddgan_lite.method.model import DDGAN
from ddgan_lite.training.logs import read_log
from ddgan_lite.training.presets import PRESETS

JUDGE_STEPS = {"mnist": 2_000, "cifar10_16": 3_900, "cifar10_32": 5_850}
DATA = {  # where --cifar is given
    "cifar10_16": "a JPEG re-encoding of CIFAR-10, 2 x 2 means",
    "cifar10_32": "a JPEG re-encoding of CIFAR-10",
}
# Shipped with the discriminator and the generator in training, from a run's checkpoint.
GO_ON = ("mnist",)
PHOTOGRAPHS = ("cifar10_16", "cifar10_32")
NOUNS = {"mnist": "digits"} | dict.fromkeys(PHOTOGRAPHS, "photographs")  # that have a judge
JUDGED = {"mnist": "the 10,000 held-out digits; recognised: a probability of at least 0.9"}
JUDGED |= dict.fromkeys(
    PHOTOGRAPHS,
    "the 10,000 held-out photographs; recognised: a probability of at least 0.9; fd in "
    "its own 64 features, of 10,000 training photographs from them: the floor of every fd",
)
NUMBER = {"digits": 2_000, "stacked_digits": 26_000}  # of samples that are scored; else 10,000
SEED = 1  # of the samples that are scored; the runs themselves have seed 0
GRIDS = (1_000, 2_000, 4_000, 14_000)  # the steps whose samples are kept
PROTOCOLS = {
    "gaussians": "10,000 samples (seed 1), ddgan_lite.mixture_scores",
    "stacked_digits": "26,000 samples (seed 1), ddgan_lite.baselines.trilemma.score: a support "
    "vector machine names the modes; fd in pixels, from 26,000 training stacks",
    "digits": "2,000 samples (seed 1), 200 of each digit that is asked for; recognised and worst: "
    "the share that a support vector machine reads as asked, of all and of the worst digit; fd in "
    "pixels, from the training digits",
    "mnist": "10,000 samples (seed 1), 1,000 of each digit that is asked for, ddgan_lite.Judge: "
    "probability at least 0.9; shares of the classes in tenths; fd in its 64 features, from the "
    "10,000 held-out digits",
}
PROTOCOLS |= dict.fromkeys(
    PHOTOGRAPHS,
    "10,000 samples (seed 1), 1,000 of each class that is asked for, the judge of these "
    "photographs: probability at least 0.9; shares of the classes in tenths; fd in its 64 "
    "features, from the 10,000 held-out photographs: of as many true ones see the judge's card",
)
# On the page: what the samples show, what the scores say, and what their names mean. An entry of
# MEANING that holds for one file only has its name in front.
SHOWN = {
    "gaussians": "2,000 points of the model in orange, nearly all in the circles of the 25 modes.",
    "stacked_digits": "Twelve colourful stacks in a row, and below each its three digits in grey.",
    "digits": "The digits 0 to 9, each drawn twice when asked for, in eight by eight pixels.",
    "mnist": "Twenty-four handwritten digits of the model, 0 to 9 asked for in turn, not selected; "
    "nearly all can be read at once.",
}
SHOWN |= dict.fromkeys(
    PHOTOGRAPHS,
    "Twenty-four small colour pictures of the model, airplane to truck asked for in turn, not "
    "selected: vehicles can be made out more often than animals.",
)
_READ = (
    "The judge is sure of the class of {recognised:.0%} of its photographs, and takes {asked:.0%} "
    "of them for what was asked for. Their distance from real ones is {fd:.0f}, where other real "
    "ones have less than half of one."
)
_NAMED = (
    "It names the class of {accuracy:.1%} of the held-out photographs, and is sure of "
    "{recognised:.1%} of them."
)
SAID = {
    "gaussians": "{hq3:.1%} of its points lie within three standard deviations of a mode, and "
    "{modes50} of the 25 modes get at least half of what is due to them.",
    "stacked_digits": "It draws {modes:,} of the 1,000 possible stacks.",
    "digits": "Asked for a digit, it draws one that is read as such {recognised:.1%} of the time; "
    "the worst digit {worst:.1%} of the time.",
    "mnist": "The judge is sure of {recognised:.1%} of its digits, and reads {asked:.1%} of "
    "them as what was asked for. The rarest digit comes "
    "{rarest:.2f} times as often as it should, the commonest {commonest:.2f} times.",
    "mnist_judge": "It reads {accuracy:.1%} of the held-out digits right, and is sure of "
    "{recognised:.1%} of them.",
}
SAID |= dict.fromkeys(PHOTOGRAPHS, _READ)
SAID |= {f"{name}_judge": _NAMED for name in PHOTOGRAPHS}
_SCORED = {
    "recognised": "share of photographs that the judge is sure of",
    "kl": "how unevenly the ten classes are drawn, in nats; evenly is 0",
    "rarest": "share of the rarest class, in tenths",
    "commonest": "share of the commonest class, in tenths",
}
_JUDGED = {
    "recognised": "share of held-out photographs that it is sure of",
    "accuracy": "share of held-out photographs whose class it names",
    "fd": "of true photographs from others: what a perfect model would have",
}
MEANING = {
    "hq3": "share of points within three standard deviations of a mode; of true ones, 0.989",
    "modes20": "modes that get at least a fifth of their due, of 25",
    "modes50": "modes that get at least half of their due, of 25",
    "modes": "stacks that are drawn at all, of 1,000",
    "kl": "how unevenly the modes are filled, in nats; evenly is 0",
    "mnist kl": "how unevenly the ten digits are drawn, in nats; evenly is 0",
    "sw2": "sliced Wasserstein distance to true points; lower is better",
    "sd_ratio_median": "width of the median mode; the true one is 1",
    "fd": "Fréchet distance to true images; lower is better",
    "recognised": "share that is read as it should be",
    "mnist recognised": "share of digits that the judge is sure of",
    "asked": "share that the judge reads as the class that was asked for",
    "mnist_judge recognised": "share of held-out digits that it is sure of",
    "worst": "the same, of the worst digit",
    "rarest": "share of the rarest digit, in tenths",
    "commonest": "share of the commonest digit, in tenths",
    "accuracy": "share of held-out digits that it reads right",
}
MEANING |= {f"{name} {key}": said for name in PHOTOGRAPHS for key, said in _SCORED.items()}
MEANING |= {f"{name}_judge {key}": said for name in PHOTOGRAPHS for key, said in _JUDGED.items()}


def drawn(model: DDGAN, name: str) -> Tensor:
    """The samples that are scored; of a model with classes, each as often as the others."""
    n = NUMBER.get(name, 10_000)
    rng = torch.Generator().manual_seed(SEED)
    return model.sample(n, labels="in turn", rng=rng)


def the_judge(name: str) -> Judge:
    """The one that comes with the book."""
    return Judge.load(results.find(f"{name}_judge.safetensors"))


def scores(samples: Tensor, name: str) -> dict[str, float]:
    """By the protocol of ``name``."""
    if name in NOUNS:
        judge, shown = the_judge(name), to_unit(to_bytes(samples))
        found, classes = judge.scores(shown), PRESETS[name].config.classes
        if classes:
            read = judge.look(shown)[1].argmax(1)
            found["asked"] = (read == torch.arange(len(read)) % classes).double().mean().item()
        return found
    if name == "digits":
        right = (read_digits(samples).flatten() == torch.arange(len(samples)) % 10).double()
        right = right.reshape(-1, 10)
        true = Digits("train").images
        found = {"recognised": right.mean().item(), "worst": right.mean(0).min().item()}
        return found | {"fd": frechet_distance(samples.flatten(1), true.flatten(1))}
    return trilemma.score(samples, {"gaussians": "gaussian_grid"}.get(name, name))


def ship(name: str, source: Path, half: bool, about: dict) -> tuple[DDGAN, dict]:
    """Write the weights with their card; the model as it is in the file, and its header."""
    path = checkpoints.locate(source)
    keep, weights = "sampling", path
    if name in GO_ON and source.is_dir():
        keep, weights = "training", checkpoints.history(source / "checkpoints")[-1]
    whole = DDGAN.load(weights, keep=keep)
    known = checkpoints.read(path)[1]["provenance"] | {"preset": name, "protocol": PROTOCOLS[name]}
    found = {"scores_float32": scores(drawn(whole, name), name)} if half else {}
    target = results.folder() / f"{name}.safetensors"
    known |= found | about
    model = DDGAN.load(whole.save(target, half=half, keep=keep))
    known["scores"] = scores(drawn(model, name), name)
    whole.save(target, half=half, keep=keep, **known)
    return model, known


def parts(name: str, root: Path, cifar: Path | None) -> tuple[Images, Images]:
    """The training and the held-out images of a judge: under ``root``, or in class folders."""
    if name == "mnist":
        return tuple(load_images("mnist", root=root, train=part) for part in (True, False))
    size = JUDGES[name][0][2]
    if cifar is None:
        return tuple(load_images("cifar10", size=size, root=root, train=t) for t in (True, False))
    both = (load_images(cifar / part, size=32, flip=True) for part in ("train", "test"))
    return tuple(images.shrunk(size) for images in both)


def ship_judge(name: str, root: Path, cifar: Path | None) -> None:
    """Train a judge on the training images; its scores are those of the held-out ones."""
    images, held_out = parts(name, root, cifar)
    torch.manual_seed(0)
    judge, begin = Judge(name), time.perf_counter()
    for step, loss in enumerate(train_judge(judge, images, steps=JUDGE_STEPS[name]), 1):
        if step % 200 == 0:
            print(step, round(loss, 4), flush=True)
    seconds = time.perf_counter() - begin
    judge.requires_grad_(False).eval()
    for value in judge.parameters():  # the statistics are those of the rounded weights
        value.copy_(value.half())
    features, probabilities = judge.look(every(held_out))
    judge.mean, judge.covariance = (each.float() for each in moments(features))
    confidence, guess = probabilities.max(1)
    floor = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))[:10_000]
    found = {
        "accuracy": (guess == held_out.labels).double().mean().item(),
        "recognised": (confidence >= CONFIDENT).double().mean().item(),
    }
    if name != "mnist":
        found["fd"] = judge.scores(to_unit(images.load(floor)))["fd"]
    judge.save(
        results.folder() / f"{name}_judge.safetensors",
        data=DATA.get(name, name) if cifar else name, preset="none: ddgan_lite.Judge",
        steps=JUDGE_STEPS[name], batch_size=128, seed=0, seconds=seconds, scores=found,
        command=f"python tools/ship.py judge {name}{' --cifar FOLDER' * bool(cifar)}",
        protocol=JUDGED[name], **results.machine(),
    )  # fmt: skip
    print(found)


def every(images: Images) -> Tensor:
    """All of a set, (n, C, H, W) in [-1, 1]."""
    return to_unit(images.load(torch.arange(len(images))))


def nearest(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (n,) and index (n,) of the nearest of ``others`` (m, d) to each of ``points``."""
    found = [torch.cdist(part, others).min(1) for part in points.flatten(1).split(250)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def show(name: str, model: DDGAN, known: dict, run: Path, sets: tuple[Images, Images]) -> None:
    """What the chapters show beside the weights: name.json, name.npz and, of MNIST, the grids."""
    judge = the_judge(name)
    train, held_out = (every(images) for images in sets)
    rng = torch.Generator().manual_seed(SEED)
    rows = torch.randperm(len(train), generator=rng)[:10_000]
    some = train[rows]
    noise = torch.rand(held_out.shape, generator=rng) * 2 - 1
    blurred = 2 * avg_pool2d((held_out + 1) / 2, 9, stride=1, padding=4) - 1
    samples = drawn(model, name)
    judged = {
        "samples": samples,
        f"training {NOUNS[name]}": some,
        f"held-out {NOUNS[name]}": held_out,
    }
    if name == "mnist":
        other = held_out[torch.randperm(len(held_out), generator=rng)]
        judged["two digits laid over each other"] = torch.maximum(held_out, other)
    judged |= {f"blurred {NOUNS[name]}": blurred, "noise": noise}
    labels = sets[0].labels[rows] if model.classes else None
    for t in range(1, model.diffusion.num_steps):  # only the last t steps are the model's
        x_t = model.diffusion.q_sample(some, t, rng)
        *_, judged[f"from true x_{t}"] = model.denoise_steps(x_t, t, labels=labels, rng=rng)
    pixels, by_pixels = nearest(samples[:2_000], train.flatten(1))
    held, _ = nearest(held_out[:2_000], train.flatten(1))
    features = judge.look(samples[:2_000])[0], judge.look(train)[0]
    _, by_features = nearest(*features)
    close = pixels.argsort()  # the first are the most suspicious
    kept = {
        "samples": samples[:2_000], "nearest in pixels": train[by_pixels],
        "nearest in features": train[by_features],
    }  # fmt: skip
    order = {"closest": close[:12], "random": torch.arange(12)}
    arrays = {
        f"{which}, {what}": to_bytes(images[rows]).numpy()
        for which, rows in order.items()
        for what, images in kept.items()
    }
    np.savez_compressed(
        results.folder() / f"{name}.npz",
        distance_samples=pixels.numpy().astype(np.float16),
        distance_held_out=held.numpy().astype(np.float16),
        **arrays,
    )
    found = {what: judge.scores(to_unit(to_bytes(images))) for what, images in judged.items()}
    about = {"card": known, "judged": found, "log": read_log(run)}
    results.store(name, f"python tools/ship.py {name} {run}", about)
    for step in GRIDS if name == "mnist" else ():
        picture = Image.open(run / "samples" / f"step_{step:08d}.png").convert("L")
        picture.save(results.folder() / f"mnist-step-{step}.png", optimize=True)


def entry(path: Path) -> str:
    """The card of a file, as the page shows it: with samples, and its scores in words."""
    name, found = path.stem, checkpoints.read(path)[1]["provenance"]["scores"]
    title, _, rest = cards.card(path).partition("\n")
    rest = rest.replace("| | |", "| what | answer |")  # a web page must not have empty headings
    for score in found:
        meaning = MEANING.get(f"{name} {score}") or MEANING[score]
        rest = rest.replace(f"\n| {score} |", f"\n| {score}: {meaning} |")
    picture = (
        f"```{{image}} _static/pictures/sample-{name}.webp\n"
        f":class: sample{'' if name == 'gaussians' else ' photo'}\n"
        f":alt: {SHOWN[name]}\n```\n\n"
        if name in SHOWN
        else ""
    )
    said = SAID[name].format(**found).replace("%", "\N{NO-BREAK SPACE}%")
    return f"#{title}\n\n{picture}**{said}**\n{rest}\n"


def page() -> str:
    """Every card, as book/weights.md includes it."""
    return "\n".join(map(entry, cards.shipped()))


def main() -> None:
    """Ship one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*PROTOCOLS, "judge"])
    parser.add_argument("run", nargs="?", help="a run's folder, a file of weights; or whose judge")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where MNIST lies (data)")
    parser.add_argument(
        "--cifar", type=Path, help="train/ and test/ of class folders, instead of a download"
    )
    parser.add_argument("--half", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--about", action="append", default=[], metavar="KEY=VALUE", help="add to the card"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.name == "judge":
        ship_judge(args.run or "mnist", args.root, args.cifar)
    else:
        about = dict(each.split("=", 1) for each in args.about)
        model, known = ship(args.name, Path(args.run), args.half, about)
        if args.name in NOUNS:
            sets = parts(args.name, args.root, args.cifar)
            show(args.name, model, known, Path(args.run), sets)
    stem = f"{args.run or 'mnist'}_judge" if args.name == "judge" else args.name
    target = results.folder() / f"{stem}.safetensors"
    print(cards.card(target))
    (results.folder() / "cards.md").write_text(page())
    print("\nleft open:", cards.missing(target) or "nothing")


if __name__ == "__main__":
    main()
