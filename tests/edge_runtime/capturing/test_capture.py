"""`tfganomaly capture`: the same part of each frame as a watch judges, saved lossless; what is left out is said."""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli import main
from edge_runtime import atomic_files
from edge_runtime.capturing import session as session_module
from edge_runtime.capturing.console import CaptureConsole
from edge_runtime.capturing.options import CaptureOptions
from edge_runtime.capturing.result import CaptureResult
from edge_runtime.capturing.session import CaptureSession
from edge_runtime.errors import OutputError, SourceError
from edge_runtime.image_reading import read_image
from edge_runtime.sources.folder import FolderSource
from edge_runtime.sources.opening import open_source
from edge_runtime.sources.source import Frame, Source
from edge_runtime.sources.view import View
from tests.edge_runtime.sources.test_cameras import MjpegServer, write_video
from tests.edge_runtime.watching.fakes import ListSource, in_background, wait_for

ROOT = Path(__file__).resolve().parents[3]
RANDOM = np.random.default_rng(0)
BLACK = np.zeros((30, 40), np.uint8)


def grey() -> np.ndarray:
    return RANDOM.integers(40, 200, (30, 40), np.uint8)


def capture(source: str | Source, folder: Path, **options: object) -> tuple[CaptureResult, str]:
    """Return what was done and what standard error would show."""
    shown = io.StringIO()
    done = CaptureSession(source, folder, CaptureOptions(**options), CaptureConsole(shown)).run()  # type: ignore[arg-type]
    return done, shown.getvalue()


def photographs(folder: Path) -> list[Path]:
    paths = sorted(folder.iterdir())
    assert all(re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z_\d{6}(_[^/]+)?\.png", path.name) for path in paths)
    return paths


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["capture", *map(str, arguments)])


def test_a_folders_images_are_cut_and_turned_as_a_watch_does(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    Image.fromarray(grey()).save(source / "part1.png")
    Image.fromarray(RANDOM.integers(40, 200, (30, 40, 3), np.uint8)).save(source / "part2.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.rot90(grey())).save(source / "part10.jpg", exif=turned, quality=95)
    result = invoke(source, tmp_path / "new" / "cut", "--roi", "5,3,20,10", "--rotate", "90")
    assert result.exit_code == 0, result.output
    view = View((5, 3, 20, 10), 90)
    saved = photographs(tmp_path / "new" / "cut")
    for path, name in zip(saved, ("part1.png", "part2.png", "part10.jpg"), strict=True):
        np.testing.assert_array_equal(pixels(path), np.asarray(view.of(read_image(source / name))))
        np.testing.assert_array_equal(np.asarray(read_image(path)), pixels(path))  # it is not turned once more
    assert [Image.open(path).mode for path in saved] == ["L", "RGB", "L"]
    assert [path.stem.partition("_")[2] for path in saved] == ["000001_part1", "000002_part2", "000003_part10"]
    assert result.stdout == (
        f"the source has ended: 3 photographs in {tmp_path / 'new' / 'cut'}/, of 2 different sizes or colours\n"
    )


@pytest.mark.parametrize("every", ["2", "200ms"])  # of the video, which has ten frames in a second
def test_a_videos_frames_are_saved_without_loss_at_the_rate_asked_for(tmp_path: Path, every: str) -> None:
    video = str(write_video(tmp_path / "line.avi", [50, 100, 150, 200, 250]))
    done, _ = capture(video, tmp_path / "good", every=every, roi="0,0,32,48")
    source = open_source(video)
    source.start()
    frames = [np.asarray(frame.decode()) for frame in iter(lambda: source.next_frame(0.1), None)]
    source.close()
    saved = photographs(tmp_path / "good")
    assert len(saved) == 3
    for path, frame in zip(saved, frames[::2], strict=True):
        np.testing.assert_array_equal(pixels(path), frame[:, :32])
    assert done.text() == f"3 photographs in {tmp_path / 'good'}/, 32 x 48 RGB"


def test_it_ends_when_there_are_as_many_as_were_asked_for(tmp_path: Path) -> None:
    source = ListSource([grey() for _ in range(9)], ends=False)
    done, shown = capture(source, tmp_path, count=4)
    assert len(photographs(tmp_path)) == 4
    assert (done.reason, done.text()) == ("all taken", f"4 photographs in {tmp_path}/, 40 x 30 grey")
    assert source.closed
    first = photographs(tmp_path)[0]
    assert shown == f"1 of 4 taken; last {first.name}\n"  # in a log the next line comes ten seconds later


def test_a_file_with_the_longest_name_is_saved_under_its_beginning(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    Image.fromarray(grey()).save(source / f"part 7 {'ö' * 120}.png")
    capture(str(source), tmp_path / "good")
    assert photographs(tmp_path / "good")[0].name.endswith(f"_000001_part 7 {'ö' * 43}.png")


def test_no_file_is_ever_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 7, 31, 12, 0, 0, 203_999, timezone.utc)
    monkeypatch.setattr(session_module, "utc_now", lambda: moment)
    frames = [grey() for _ in range(5)]
    capture(ListSource(frames[:3]), tmp_path)
    capture(ListSource(frames[3:]), tmp_path)
    assert [path.name for path in photographs(tmp_path)] == [
        f"20260731T120000.203Z_{number:06d}.png" for number in range(1, 6)
    ]
    for path, frame in zip(photographs(tmp_path), frames, strict=True):
        np.testing.assert_array_equal(pixels(path), frame)


def test_blind_frames_are_left_out_counted_and_said(tmp_path: Path) -> None:
    done, shown = capture(ListSource([grey(), *[BLACK] * 4, grey()]), tmp_path)
    assert len(photographs(tmp_path)) == 2
    assert all(pixels(path).any() for path in photographs(tmp_path))
    assert done.text() == f"2 photographs in {tmp_path}/, 40 x 30 grey, 4 blind frames left out"
    assert shown.count("The frames are black") == 1
    assert "The camera sees again." in shown


def test_a_frozen_picture_is_not_saved_for_ever(tmp_path: Path) -> None:
    done, shown = capture(ListSource([grey()] * 50), tmp_path)
    assert (done.photographs, done.blind) == (29, 21)
    assert "The picture is frozen: 30 or more frames in a row are equal." in shown


def test_backlit_parts_are_saved_when_the_frame_checks_are_off(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    backlit = np.full((30, 40), 255, np.uint8)
    for number in range(5):
        backlit[10, 10 + number] = 20
        Image.fromarray(backlit).save(source / f"part{number}.png")
    result = invoke(source, tmp_path / "good")
    assert result.exit_code == 2
    assert "5 blind frames left out. Check what is in it. --no-frame-checks saves blind frames." in result.stderr
    result = invoke(source, tmp_path / "good", "--no-frame-checks")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"5 photographs in {tmp_path / 'good'}/, 40 x 30 grey\n")
    assert len(photographs(tmp_path / "good")) == 5


def test_how_many_equal_frames_are_frozen_is_an_option(tmp_path: Path) -> None:
    done, _ = capture(ListSource([grey()] * 50), tmp_path, frozen_frames=40)
    assert (done.photographs, done.blind) == (39, 11)


def test_frames_that_are_no_pictures_are_left_out_counted_and_said(tmp_path: Path) -> None:
    done, shown = capture(ListSource([Frame("broken.png", b"no image"), Frame("odd.png", b""), grey()]), tmp_path)
    assert done.text() == f"1 photograph in {tmp_path}/, 40 x 30 grey, 2 unreadable frames left out"
    assert "left out: Image 'broken.png' is not an image" in shown
    assert "left out: Image 'odd.png' is empty" in shown


def test_what_is_wrong_with_every_frame_of_a_camera_is_said_once(tmp_path: Path) -> None:
    shown = io.StringIO()
    source = ListSource([grey() for _ in range(20)])
    session = CaptureSession(source, tmp_path, CaptureOptions(roi="30,0,20,20"), CaptureConsole(shown))
    with pytest.raises(SourceError, match="'list' has ended without a photograph, 20 unreadable frames left out"):
        session.run()
    assert shown.getvalue().count("--roi 30,0,20,20 does not lie in it") == 1
    assert source.closed


@pytest.mark.parametrize("target", [".", "cut", "cut/deep", ".."])
def test_a_folder_never_eats_its_own_photographs(tmp_path: Path, target: str) -> None:
    source = tmp_path / "line" / "photos"
    source.mkdir(parents=True)
    Image.fromarray(grey()).save(source / "part.png")
    result = invoke(source, source / target)
    assert result.exit_code == 2
    assert "one folder, or one lies in the other" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in source.iterdir()] == ["part.png"]


def test_beside_its_source_a_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(grey()).save(tmp_path / "photos" / "part.png")
    capture(FolderSource(tmp_path / "photos"), tmp_path / "photos2", count=1)
    assert len(photographs(tmp_path / "photos2")) == 1


@pytest.mark.parametrize("target", ["file", "file/good"])
def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("")
    source = ListSource([grey()])
    with pytest.raises(OutputError, match=r"is a file"):
        capture(source, tmp_path / target)
    assert source.closed


def test_on_a_full_disk_what_was_saved_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()

    def fill_up(path: Path) -> None:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic_files, "flush_to_disk", fill_up)
    with pytest.raises(OutputError, match=r"the disk is full\..* Until then: 2 photographs in .*, 40 x 30 grey\.$"):
        capture(ListSource([grey() for _ in range(5)]), tmp_path)
    assert [pixels(path).shape for path in photographs(tmp_path)] == [(30, 40)] * 2


def test_a_network_camera_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="the camera extra is not installed")
    camera = MjpegServer()
    shown = io.StringIO()
    url = f"http://user:secret@127.0.0.1:{camera.port}/stream.mjpg"
    session = CaptureSession(url, tmp_path / "good", CaptureOptions(every="100ms", count=12), CaptureConsole(shown))
    thread = in_background(session.run)
    wait_for(lambda: (tmp_path / "good").exists() and len(photographs_so_far(tmp_path / "good")) > 2)
    camera.close()
    wait_for(lambda: "is opened again" in shown.getvalue() or "is tried again" in shown.getvalue())
    camera = MjpegServer(camera.port)
    thread.join(60)
    camera.close()
    assert len(photographs(tmp_path / "good")) == 12
    assert "works again" in shown.getvalue()
    assert "secret" not in shown.getvalue()


def photographs_so_far(folder: Path) -> list[Path]:
    return list(folder.glob("[0-9]*.png"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_a_summary_where_there_is_neither_tensorflow_nor_an_interpreter(
    tmp_path: Path, number: signal.Signals
) -> None:
    pytest.importorskip("cv2", reason="the camera extra is not installed")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'sklearn', 'rich', 'ai_edge_litert')))\n"
        "from tfganomaly.__main__ import main; main()"
    )
    camera = MjpegServer()
    source, folder = f"http://127.0.0.1:{camera.port}/stream.mjpg", tmp_path / "good"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "capture", source, folder], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(lambda: len(photographs_so_far(folder)) > 2, 60)
        process.send_signal(number)
        printed, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        camera.close()
    taken = len(photographs(folder))
    assert process.returncode == 0, errors
    assert printed.startswith(f"stopped by {number.name}: {taken} photographs in {folder}/, 64 x 48 RGB")
    assert re.match(r"1 taken; last \S+\.png\n", errors), errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such/folder", "good"], "'no/such/folder' does not exist"),
        (["none", "good"], "Folder 'none' does not exist"),
        (["camera:0", "good", "--every", "often"], "--every is 'often'"),
        (["camera:0", "good", "--roi", "1,2,3"], "--roi is '1,2,3'"),
        (["camera:0", "good", "--count", "-1"], "--count is -1"),
        (["empty", "good"], "Folder 'empty' is empty. Files with .bmp, "),
        (["data", "good"], "'data' is a whole data set, with images such as 'test/crack/a.png': its defects would be"),
        (["data/test", "good"], "'data/test' has 'good' and beside it 'crack'"),
        (["ground_truth/crack", "good"], "where masks are and no photographs"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("data/test/crack", "data/test/good", "ground_truth/crack"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(grey()).save(tmp_path / name / "a.png")
    result = invoke(*arguments)
    assert not (tmp_path / "good").exists()
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_is_written_anew_and_messages_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    console = CaptureConsole(terminal)
    console.progress("10 taken, long ago")
    console.progress("11 taken")
    console.say("the lamp\x1b[2J is off")
    console.progress("12 taken; last 20260731T120000.png")
    console.end_progress()
    assert terminal.getvalue() == (
        "\r10 taken, long ago\r11 taken          \nthe lamp\\x1b[2J is off\n\r12 taken; last 2026\n"
    )


def test_in_a_log_progress_is_a_line_every_ten_seconds() -> None:
    log = io.StringIO()
    seconds = iter([0.0, 5.0, 9.9, 10.0, 12.0])
    console = CaptureConsole(log, lambda: next(seconds))
    for number in range(5):
        console.progress(f"{number} taken")
    assert log.getvalue() == "0 taken\n3 taken\n"
    CaptureConsole(None).say("nobody hears it")
