"""The commands of ``mintad notebooks`` and ``mintad course``; what is slow to import is imported by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from mintad.config import preset
from mintad.errors import MintadError

console = Console()
notebooks_app = typer.Typer(no_args_is_help=True, help="Prepare and publish the notebook series.")
course_app = typer.Typer(no_args_is_help=True, help="Hand out the notebooks to a class, and grade what comes back.")

StudentsOption = Annotated[
    Path | None, typer.Option("--students", metavar="FILE.csv", help="Column student, and number if you like.")
]
PointsOption = Annotated[Path | None, typer.Option("--points", help="Points file, instead of the defaults.")]


@notebooks_app.command("train")
def notebooks_train_command(
    names: Annotated[list[str] | None, typer.Argument(help="Shared models to train; default all.")] = None,
    preset_name: Annotated[str, typer.Option("--preset", help="Preset of the notebooks.")] = "lesson",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Trainings at a time; they share the cores.")] = 2,
) -> None:
    """Train the models that several notebooks share. Finished ones are skipped; exit code 1 if a training fails."""
    preset(preset_name)  # a misspelt name is refused before the slow import
    from mintad.course.shared_models import train_shared_models

    if train_shared_models(names or (), preset_name=preset_name, jobs=jobs):
        raise typer.Exit(1)


@notebooks_app.command("pages")
def notebooks_pages_command(
    source: Annotated[Path, typer.Argument(help="Folder of the notebooks.")],
    target: Annotated[Path, typer.Argument(help="Folder for the pages.")],
    names: Annotated[list[str] | None, typer.Argument(help="Beginnings of names, e.g. 07; default all.")] = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that one cell may take.")] = 1800,
    repository: Annotated[
        str,
        typer.Option(metavar="OWNER/NAME", envvar="GITHUB_REPOSITORY", help="On GitHub: pages then link to Binder."),
    ] = "",
) -> None:
    """Execute the notebooks and write them as a site of HTML pages that needs no network and no kernel."""
    try:
        from mintad.course.site.build import build
    except ImportError as error:
        raise MintadError(f"pages need further packages ({error}): pip install 'mintad[pages]'") from error

    build(source, target, names=names or (), timeout=timeout, repository=repository)


@course_app.command("release")
def course_release_command(
    out: Annotated[Path, typer.Argument(help="Folder for notebooks/, points.yaml and nbgrader_config.py.")],
    names: Annotated[list[str] | None, typer.Argument(help="Beginnings of names, e.g. 03; default all.")] = None,
    source: Annotated[Path | None, typer.Option("--source", help="Folder of the notebooks with solutions.")] = None,
    points: PointsOption = None,
    students: StudentsOption = None,
) -> None:
    """Write the notebooks for students: without solutions and answers, with checks and nbgrader's metadata.

    \b
    OUT/notebooks            hand this out
    OUT/points.yaml          edit it: points and rubric; a file that is there is kept
    OUT/nbgrader_config.py   in OUT, "nbgrader generate_assignment notebooks" works
    OUT/students/NAME        with --students: notebooks on pictures of their own

    What a release cannot hide: students can import mintad, and with it the
    reference functions behind the checks. mintad course grade runs without
    them, and decides by hidden cases.
    """
    from mintad.course.release import STUDENTS, STUDENTS_FILE, release

    written = release(out, names or (), source=source, points=points, students=students)
    for path in written.notebooks:
        console.print(str(path), soft_wrap=True, markup=False)
    if students:
        told = f"one folder per student: {out / STUDENTS}; for the grader: --students {out / STUDENTS_FILE}"
        console.print(told, soft_wrap=True, markup=False)
    console.print(f"points and rubric: {written.points}", soft_wrap=True, markup=False)


@course_app.command("key")
def course_key_command(
    out: Annotated[Path, typer.Argument(metavar="FILE.md", help="Markdown file to write; not for students.")],
    names: Annotated[list[str] | None, typer.Argument(help="Beginnings of names, e.g. 03; default all.")] = None,
    source: Annotated[Path | None, typer.Option("--source", help="Folder of the notebooks with solutions.")] = None,
    points: PointsOption = None,
) -> None:
    """Write the answer key: points, rubric and solution of every exercise, and the answers to the questions."""
    from mintad.course.key import write_key

    console.print(str(write_key(out, names or (), source=source, points=points)), soft_wrap=True, markup=False)


@course_app.command("grade")
def course_grade_command(
    submissions: Annotated[list[Path], typer.Argument(help="Folders, one for each student; the name is the student.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for grades.csv and the students' pages.")],
    points: PointsOption = None,
    students: StudentsOption = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Submissions at a time.")] = 2,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds of processor time for one exercise.")] = 10,
    memory: Annotated[float, typer.Option("--memory", help="GB for the code of one submission.")] = 2,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of the hidden cases; default: random.")] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Grade even where submissions cannot be isolated.")] = False,
) -> None:
    """Grade submissions: a CSV of all points, and a page for each student. Finished ones are skipped.

    Of a notebook only the exercises' functions and what they need are run, each
    submission in a process of its own, with limits of time and memory, without
    network, in a copy of its folder, the rest read-only or out of sight. Where
    the system does not allow this, --unsafe is needed.
    """
    from mintad.course.grade.engine import grade

    limits = {"workers": workers, "seconds": timeout, "memory": memory, "unsafe": unsafe}
    grades = grade(submissions, out, points=points, students=students, seed=seed, **limits)
    shown = Table("student", Column("points", justify="right"), Column("out of", justify="right"))
    for student, (got, most) in grades.totals.items():
        shown.add_row(Text(student), f"{got:g}", f"{most:g}")
    console.print(shown)
    pages = grades.table.parent / "feedback"
    console.print(f"all results: {grades.table}; pages: {pages}", soft_wrap=True, markup=False)


@course_app.command("pack")
def course_pack_command(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File to write, for example models.zip.")],
    preset_name: Annotated[str, typer.Option("--preset", help="Preset that the models were trained with.")] = "lesson",
) -> None:
    """Write the shared models of `mintad notebooks train` into one archive, for a class to unpack."""
    preset(preset_name)
    from mintad.course.pack import pack

    packed = pack(archive, preset_name=preset_name)
    size = f"{len(packed.models)} models, {packed.bytes / 1e6:.0f} MB"
    console.print(f"{packed.archive}: {size}", soft_wrap=True, markup=False)
    console.print(f"mintad course unpack {packed.archive.name} --sha256 {packed.sha256}", soft_wrap=True, markup=False)


@course_app.command("unpack")
def course_unpack_command(
    archive: Annotated[str, typer.Argument(metavar="ARCHIVE-OR-URL", help="What `mintad course pack` has written.")],
    sha256: Annotated[str, typer.Option("--sha256", help="Digest that the archive must have.")] = "",
) -> None:
    """Verify an archive of shared models and put them where notebooks look. Finished, sound models are kept."""
    from mintad.course.unpack import unpack

    done = unpack(archive, sha256=sha256)
    for name in done.placed:
        replaced = f", in place of one that could not be used: {done.replaced[name]}" if name in done.replaced else ""
        console.print(f"{name}: unpacked{replaced}", soft_wrap=True, markup=False)
    for name in done.kept:
        console.print(f"{name}: was there, kept", markup=False)
    console.print(f"notebooks find them in {done.folder}", soft_wrap=True, markup=False)


@course_app.command("board")
def course_board_command(
    folder: Annotated[Path | None, typer.Argument(help="Folder of the board; default that of notebook 10.")] = None,
) -> None:
    """Print the class's variants, best first, and what keeps each from a fair comparison."""
    from mintad.course.board import read_board, standings

    table = standings(read_board(folder or "")).round(3)
    console.print(table.to_string(index=False, na_rep=""), soft_wrap=True, markup=False, highlight=False)
