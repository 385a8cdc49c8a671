"""ELPV: 2,624 electroluminescence images of solar cells, real inspection data out of the PyPI package `elpv-dataset`.

300 x 300 grey PNG files, cut out of 44 photovoltaic modules (18 monocrystalline, 26 polycrystalline), each
with the probability of a defect as experts saw it. 0 is good here and 1 defective; 1/3 and 2/3, where they
were not sure, are left out: 1,508 good and 715 defective cells remain.

Cells lie in the package module by module and row by row, and neighbours resemble each other: their brightness
profiles correlate by 0.84, those of cells 300 places apart by 0.67. So the 20 % good cells of the test part, and then
the validation part, are contiguous runs of about one row of a module, spread over the whole order. Whole modules would
be stricter, but the defective cells of all modules are in the test part: good cells of modules never seen would be
compared with defective ones of modules well known. Measured with a linear autoencoder (60 principal components), the
AUROC then is 0.53 to 0.71 depending on the seed, which says more about the modules than about the defects; with runs
it is 0.66 to 0.70. Mean darkness alone gives 0.74 to 0.77.

Licence of the images: CC BY-NC-SA 4.0, not for commercial use. To cite:

- Buerhop-Lutz, Deitsch, Maier, Gallwitz, Berger, Doll, Hauch, Camus, Brabec: A benchmark for visual
  identification of defective solar cells in electroluminescence imagery. EU PVSEC 2018.
  doi:10.4229/35thEUPVSEC20182018-5CV.3.15
- Deitsch, Christlein, Berger, Buerhop-Lutz, Maier, Gallwitz, Riess: Automatic classification of defective
  photovoltaic module cells in electroluminescence images. Solar Energy 185, 2019.
  doi:10.1016/j.solener.2019.02.067
- Deitsch, Buerhop-Lutz, Sovetkin, Steland, Maier, Gallwitz, Riess: Segmentation of photovoltaic module cells
  in uncalibrated electroluminescence images. Machine Vision and Applications 32, 2021.
  doi:10.1007/s00138-021-01191-9
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tfganomaly.data.hold_out import hold_out_runs
from tfganomaly.data.items import GOOD, ImageItem, InspectionDataset
from tfganomaly.errors import DataError
from tfganomaly.extras import require_extra

TEST_SHARE = 0.2
CELLS_IN_A_RUN = 10
"""About one row of a module."""


@dataclass(frozen=True)
class SolarCell:
    """One line of the package's labels.

    Attributes:
        path: The PNG file.
        defect_probability: 0, 1/3, 2/3 or 1.
        module_type: "mono" or "poly", the kind of crystal.
    """

    path: Path
    defect_probability: float
    module_type: str


def open_elpv(*, validation_fraction: float | None = None, seed: int = 0) -> InspectionDataset:
    """Open the solar cells. Images are found, not decoded.

    Args:
        validation_fraction: Share of the good cells outside the test part to hold back, 0 < fraction < 1; None:
            a tenth, and more of few images (`hold_out.held_back_count`).
        seed: Places the runs of the test and of the validation part.

    Returns:
        The data set; defect types are "defective-mono" and "defective-poly".

    Raises:
        MissingExtraError: The package `elpv-dataset` is not installed.
        DataError: Its files are missing or not understood.
    """
    require_extra("demo", "elpv_dataset")
    folder = _package_folder() / "data"
    cells = read_labels(folder / "labels.csv")
    good = [_item(cell, folder) for cell in cells if cell.defect_probability == 0.0]
    defective = [_item(cell, folder) for cell in cells if cell.defect_probability == 1.0]
    rest, test_good = hold_out_runs(good, TEST_SHARE, seed, run_length=CELLS_IN_A_RUN)
    train, validation = hold_out_runs(rest, validation_fraction, seed, run_length=CELLS_IN_A_RUN)
    return InspectionDataset(
        name="elpv",
        source="elpv",
        train=tuple(train),
        validation=tuple(validation),
        test=(*test_good, *sorted(defective, key=lambda item: item.defect)),
    )


def read_labels(path: Path) -> list[SolarCell]:
    """Read the package's `labels.csv`: path, probability and module type, separated by blanks.

    Args:
        path: The file; images are relative to its folder.

    Returns:
        All cells in the order of the file.

    Raises:
        DataError: The file is missing or a line is not understood, or an image is missing.
    """
    advice = "Install it again: pip install --force-reinstall elpv-dataset"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The labels '{path}' of elpv-dataset cannot be read: {error}. {advice}") from error
    cells = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            name, probability, module_type = line.split()
            cell = SolarCell(path.parent / name, float(probability), module_type)
        except ValueError as error:
            raise DataError(
                f"Line {number} of '{path}' is '{line[:80]}'; expected an image's path, a probability and a module "
                f"type. {advice}"
            ) from error
        if not cell.path.is_file():
            raise DataError(f"The image '{cell.path}' of elpv-dataset is missing. {advice}")
        cells.append(cell)
    if not cells:
        raise DataError(f"The labels '{path}' of elpv-dataset are empty. {advice}")
    return cells


def _item(cell: SolarCell, folder: Path) -> ImageItem:
    is_anomalous = cell.defect_probability == 1.0
    return ImageItem(
        name=cell.path.relative_to(folder).as_posix(),
        source=cell.path,
        is_anomalous=is_anomalous,
        defect=f"defective-{cell.module_type}" if is_anomalous else GOOD,
    )


def _package_folder() -> Path:
    specification = importlib.util.find_spec("elpv_dataset")
    places = list(specification.submodule_search_locations or []) if specification else []
    if not places:
        raise DataError("The module 'elpv_dataset' is not the package of that name on PyPI. Install elpv-dataset.")
    return Path(places[0])
