"""What benchmarks/ingest.py measures with, and the whole of it on scenes a thousand times smaller."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import rasterio

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ingest as benchmark


@pytest.mark.parametrize("case", benchmark.CASES, ids=lambda case: case.dtype)
def test_the_scene_is_textured_everywhere_and_never_repeats(case, tmp_path):
    benchmark.make_scene(case, 3000, tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (dataset.count, dataset.dtypes[0], dataset.width) == (len(case.bands), case.dtype, 3000)
        pixels = dataset.read()
    blocks = pixels[:, :2560, :2560].reshape(len(case.bands), 20, 128, 20, 128).transpose(0, 1, 3, 2, 4)
    assert blocks.std(axis=(3, 4)).min() > case.noise
    assert len({block.tobytes() for block in blocks.reshape(-1, 128, 128)}) == 400 * len(case.bands)
    # as an image from the air, it shrinks without loss, but not much
    assert 0.3 < (tmp_path / "a.tif").stat().st_size / pixels.nbytes < 0.95


def test_memory_is_that_of_the_whole_tree():
    grow = "import numpy, time; kept = numpy.ones(60 * 2**20, numpy.uint8); print('ready', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grow!r}])"
    running = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    try:
        assert running.stdout.readline() == b"ready\n"
        alone = psutil.Process(running.pid).memory_info().rss
        assert benchmark.resident_bytes(psutil.Process(running.pid)) > alone + 60 * 2**20
    finally:
        for process in (*psutil.Process(running.pid).children(), running):
            process.kill()
        running.wait()


def test_a_command_that_fails_ends_the_benchmark_with_its_last_words(tmp_path, capsys):
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    with pytest.raises(SystemExit, match="ended with exit code 1"):
        benchmark.run_watched(command, {}, tmp_path / "log")
    assert "no such thing" in capsys.readouterr().err


def timing(seconds: list[float], peak_mib: float) -> benchmark.Timing:
    return benchmark.Timing(seconds, seconds, peak_mib)


def test_bars_are_judged():
    table = benchmark.Table(*"abcdefghi")
    case, gdal = benchmark.CASES[0], timing([60.0, 60.0, 600.0], 400)
    assert benchmark.judge(case, 1000, (gdal, timing([99.0, 101.0, 999.0], 511)), table)
    assert not benchmark.judge(case, 1000, (gdal, timing([99.0, 101.0, 1001.0], 511)), table)
    assert not benchmark.judge(case, 1000, (gdal, timing([99.0, 99.0, 999.0], 513)), table)


@pytest.mark.slow
@pytest.mark.full
def test_the_whole_benchmark_runs_and_memory_stays_below_its_bar(tmp_path, monkeypatch):
    seen = []
    judge = benchmark.judge
    monkeypatch.setattr(benchmark, "judge", lambda *given: seen.append(given) or judge(*given))
    code = benchmark.main(["--gpix", "0.008", "--case", "uint16", "--folder", str(tmp_path)])
    (_, side, (gdal, ingest), _) = seen[0]
    assert side == 2829
    assert 100 < ingest.peak_mib <= benchmark.MOST_MIB
    # imports outweigh so small a scene, so nothing is said about the throughput
    assert code == (0 if gdal.median_s / ingest.median_s >= benchmark.LEAST_RATIO else 1)
    assert list(tmp_path.iterdir()) == []
