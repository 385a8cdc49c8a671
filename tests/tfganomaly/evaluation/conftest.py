from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from edge_runtime.calibrating.calibrate import calibrate, measure_map_range
from edge_runtime.preprocessing import Preprocessing, scale_pixels
from edge_runtime.scoring import ModelOutputs, ScoreRule
from tfganomaly.data.items import ImageItem, InspectionDataset
from tfganomaly.evaluation.scorer import score_items

SIZE = 32


class BlurScorer:
    """A scorer without a network: its reconstruction is the blurred image, so small details are anomalous."""

    description = "run runs/blur (a blurred image as reconstruction)"
    data_source = "parts"
    data_seed = 0

    def __init__(self, channels=1, resize_rule="stretch", size=SIZE, with_reconstruction=True):
        self.preprocessing = Preprocessing(size, size, channels, resize_rule)
        self.with_reconstruction = with_reconstruction
        if with_reconstruction:
            self.score_rule = ScoreRule({"reconstruction_l1": 1.0})
        else:
            self.score_rule = ScoreRule({"latent_l2": 1.0}, map_source="latent")
        self.calibration = None
        self.threshold = None
        self.largest_batch = 0

    def model_outputs(self, pixels):
        self.largest_batch = max(self.largest_batch, len(pixels))
        inputs = scale_pixels(pixels)
        blurred = []
        for one in pixels:
            image = Image.fromarray(one[:, :, 0] if one.shape[2] == 1 else one)
            blurred.append(np.asarray(image.filter(ImageFilter.GaussianBlur(3))).reshape(one.shape))
        reconstruction = scale_pixels(np.stack(blurred))
        return ModelOutputs(
            latent=inputs.mean(axis=(1, 2), keepdims=True),
            reconstructed_latent=reconstruction[:, ::4, ::4].mean(axis=(1, 2), keepdims=True) * 0.5,
            reconstruction=reconstruction if self.with_reconstruction else None,
        )

    def calibrated_on(self, items, false_alarm_rate=0.1):
        good = score_items(self, items)
        self.calibration = calibrate(good.scores, measure_map_range(good.maps, false_alarm_rate), false_alarm_rate)
        self.threshold = self.calibration.threshold
        return self


def draw_part(seed, defect=None, size=(48, 36), brightness=100):
    """A noisy grey part, with a bright dot ("dot") or a dark line ("line"); and the defect's mask."""
    generator = np.random.default_rng(seed)
    width, height = size
    pixels = brightness + generator.normal(scale=4, size=(height, width))
    mask = np.zeros((height, width), bool)
    row, column = generator.integers(8, height - 12), generator.integers(8, width - 12)
    if defect == "dot":
        mask[row : row + 4, column : column + 4] = True
        pixels[mask] += 110
    elif defect == "line":
        mask[row : row + 2, 4 : width - 4] = True
        pixels[mask] -= 70
    return np.clip(pixels, 0, 255).astype(np.uint8), mask


def make_parts(folder, num_good=12, defects=(("dot", 8), ("line", 6)), with_masks=True, size=(48, 36)):
    """Writes parts as PNG files and returns the data set."""
    folder = Path(folder)

    def write(name, pixels):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    def good(part, count, first_seed):
        return tuple(
            ImageItem(name, write(name, draw_part(first_seed + index, size=size)[0]))
            for index in range(count)
            for name in [f"{part}/good/{index:03}.png"]
        )

    test = list(good("test", num_good, 1000))
    for kind, count in defects:
        for index in range(count):
            pixels, mask = draw_part(2000 + index, kind, size)
            name = f"test/{kind}/{index:03}.png"
            mask_path = (
                write(f"ground_truth/{kind}/{index:03}_mask.png", mask.astype(np.uint8) * 255) if with_masks else None
            )
            test.append(ImageItem(name, write(name, pixels), True, kind, mask_path))
    return InspectionDataset("parts", str(folder), (), good("validation", 20, 3000), tuple(test))


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """Twelve good test images, eight with a dot and six with a line, with masks; 48 x 36 grey PNG files."""
    return make_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="session")
def scorer(parts):
    return BlurScorer().calibrated_on(parts.validation)


@pytest.fixture(scope="session")
def make_scorer():
    return BlurScorer


@pytest.fixture(scope="session")
def make_dataset():
    return make_parts
