"""Fixtures of several files: small data sets, finished runs, and pages of them."""

from __future__ import annotations

import os
import shutil
import threading

import pytest
from synthetic import small

from mintad.data.mini import MiniParameters, make_mini
from mintad.runs.directory import Run
from mintad.runs.train import train_run


@pytest.fixture(scope="session")
def products(tmp_path_factory):
    wanted = MiniParameters(categories=("mesh", "capsule"), n_train=10, n_test_good=3, n_test_defect=1, size=64)
    return make_mini(tmp_path_factory.mktemp("products") / "set", wanted)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Features go to a folder of the tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("MINTAD_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def finished(products, cache, tmp_path_factory):
    """A finished run of `small`, with PaDiM; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return train_run(small(products), out, baseline_names=("padim",), progress=False)


def written_page(folder, *, masked):
    """The results page of made-up scores, the results behind it, and its file."""
    from page_builders import make_scores, write  # here, because other tests need not wait for the page

    return *write(folder / "page.html", make_scores(folder / "images", masked=masked)), folder / "page.html"


@pytest.fixture(scope="session")
def masked_page(tmp_path_factory):
    return written_page(tmp_path_factory.mktemp("masked"), masked=True)


@pytest.fixture(scope="session")
def unmasked_page(tmp_path_factory):
    return written_page(tmp_path_factory.mktemp("unmasked"), masked=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site of a made-up series; made once, because a kernel takes seconds to start."""
    from site_builders import repository
    from sweep_builders import quick_imports

    from mintad.course.site.build import build  # here, because other tests need not wait for nbconvert

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", quick_imports(folder / "quick"))
        build(repository(folder), folder / "site")
    return folder / "site"


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to be changed."""
    return Run(shutil.copytree(finished.path, tmp_path / "copy"))


@pytest.fixture
def three_seeds(tmp_path):
    """MINT-AD and UniAD on all of MVTec AD, three seeds, with a baseline; written without training."""
    from report_builders import mvtec, write_run  # here, because other tests need not wait for the report

    for seed, shift in enumerate((-0.01, 0.0, 0.01)):
        baselines = {"padim": mvtec(0.8)}
        write_run(tmp_path / f"mint-{seed}", mvtec(0.95 + shift), train__seed=seed, baselines=baselines)
        write_run(tmp_path / f"uniad-{seed}", mvtec(0.9 + shift, 0.001), train__seed=seed, model__variant="uniad")
    return tmp_path


@pytest.fixture
def make_pipe():
    """A named pipe, into which a thread writes whenever it is opened, so that whoever reads it does not hang."""
    pipes, stop = [], threading.Event()

    def feed(path):
        while not stop.is_set():
            try:
                path.write_bytes(b"no image")
            except OSError:  # closed by the other side
                continue

    def make(path):
        os.mkfifo(path)
        thread = threading.Thread(target=feed, args=(path,), daemon=True)
        thread.start()
        pipes.append((path, thread))
        return path

    yield make
    stop.set()
    for path, thread in pipes:
        while thread.is_alive():
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            thread.join(0.01)
