"""The pipeline for diffusers: the samples are the model's, the files the library's."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch

from ddgan_lite.files.checkpoints import read
from ddgan_lite.method.ema import EMA
from ddgan_lite.networks import ConvConfig, PyramidConfig

pytest.importorskip("diffusers")
from ddgan_lite.exchange.pipeline import DDGANPipeline

GREY = PyramidConfig(shape=(1, 16, 16), width=8, hidden=32, style=16, classes=5)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def in_unit(x):
    return (x / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize(
    ("config", "how"),
    [
        (tiny.UNET, {}),
        (ConvConfig(width=4, hidden=8), {}),
        (GREY, {"labels": 3}),
        (GREY, {"labels": [4, 0, 1, 5, 2], "guidance": 2.5}),
    ],
)
def test_the_images_are_the_samples_of_the_model(config, how):
    model = tiny.model(config)
    names = {"labels": "class_labels", "guidance": "guidance_scale"}
    asked = {names[key]: value for key, value in how.items()}
    pipe = DDGANPipeline(model)
    expected = in_unit(model.sample(5, rng=seeded(7), **how))
    (found,) = pipe(5, seeded(7), output_type="pt", return_dict=False, **asked)
    assert torch.equal(found, expected) and expected.std() > 0.01
    same = pipe(batch_size=5, generator=seeded(7), output_type="np", **asked).images
    assert np.array_equal(same, expected.permute(0, 2, 3, 1).numpy())
    images = pipe(5, seeded(7), num_inference_steps=config.num_steps, **asked).images
    for image, wanted in zip(images, same, strict=True):
        assert image.mode == {1: "L", 3: "RGB"}[config.shape[0]]
        assert np.array_equal(np.asarray(image), (wanted.squeeze() * 255).round().astype("uint8"))


def test_a_generator_for_each_image_makes_it_independent_of_the_others():
    pipe = DDGANPipeline(tiny.model(GREY))
    how = {"output_type": "pt", "return_dict": False}
    (three,) = pipe(3, [seeded(s) for s in (1, 2, 3)], class_labels=[0, 1, 2], **how)
    for k in range(3):
        alone = in_unit(pipe.model.sample(1, labels=k, rng=seeded(k + 1)))
        torch.testing.assert_close(three[k : k + 1], alone)


def test_what_is_saved_comes_back_with_its_card(tmp_path):
    model = tiny.model(tiny.UNET)
    model.averaged = EMA(model.generator, 0.5)
    file = model.save(tmp_path / "a" / "model.safetensors", data="noise", seed=3)
    DDGANPipeline.from_pretrained(file).save_pretrained(tmp_path / "b")
    again = DDGANPipeline.from_pretrained(tmp_path / "b")
    assert read(tmp_path / "b" / "model.safetensors")[1] == read(file)[1]
    (found,) = again(4, seeded(1), output_type="pt", return_dict=False)
    assert torch.equal(found, in_unit(model.sample(4, rng=seeded(1))))


def test_it_is_a_pipeline_of_diffusers():
    from diffusers import DiffusionPipeline

    pipe = DDGANPipeline(tiny.model(tiny.UNET))
    assert isinstance(pipe, DiffusionPipeline) and list(pipe.components) == ["model"]
    assert pipe.to("cpu") is pipe and pipe.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"num_inference_steps": 50}, "takes 4 steps and no other number"),
        ({"output_type": "latent"}, 'must be "pil", "np" or "pt", got \'latent\''),
        ({"class_labels": 6}, r"labels must be one of 0\.\.4 or 2 of them"),
        ({"guidance_scale": 2.0}, "needs labels"),
        ({"generator": [torch.Generator()]}, "1 generators do not make 2 images"),
        ({"batch_size": 0}, "n must be at least 1"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        DDGANPipeline(tiny.model(GREY))(**{"batch_size": 2, **call})


@pytest.mark.parametrize("config", [tiny.MLP, dataclasses.replace(GREY, shape=(2, 16, 16))])
def test_other_samples_than_images_are_refused(config):
    with pytest.raises(ValueError, match="draws grey or colour images"):
        DDGANPipeline(tiny.model(config))
