"""All submissions, several at a time: skip what is finished, judge the rest, write grades and pages."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import mintad
from mintad.course.grade.feedback import Grades, write_grades
from mintad.course.grade.isolation import NotPossible
from mintad.course.grade.submissions import Submission, notebooks_in, read_submissions
from mintad.course.grade.verdict import FULL, NONE
from mintad.course.points import FILE as POINTS_FILE
from mintad.course.points import Points, load_points
from mintad.course.students import foreign_number, read_students
from mintad.data.workers import end_with_parent
from mintad.disk import write
from mintad.errors import ConfigError, DataError, MintadError
from mintad.lock import exclusive_lock

log = logging.getLogger(__name__)
WORK = ".grading"  # folder in OUT: settings, and a file for each finished submission
ATTEMPTS = 2  # for a submission during which the judge's own process was ended


@dataclasses.dataclass(frozen=True)
class Job:
    """A submission as its judge needs it."""

    student: str
    folder: str
    tasks: tuple[tuple[str, str, str, str], ...]  # notebook, the student's file, exercise, check
    seed: int
    number: int  # of the student; 0 for everybody without a students' file
    seconds: float
    memory: float
    isolated: bool
    key: str  # of all of this: a result with the same key need not be made again


def grade(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    points: str | Path | None = None,
    students: str | Path | None = None,
    workers: int = 2,
    seconds: float = 10,
    memory: float = 2,
    seed: int | None = None,
    unsafe: bool = False,
) -> Grades:
    """Grade submissions; write OUT/grades.csv and OUT/feedback/STUDENT.html.

    Finished submissions are skipped unless their bytes, their tasks, the seed or the limits have changed.

    Args:
        folders: one for each student; the folder's name is the student's.
        out: folder.
        points: points file; by default points.yaml beside the submissions. Without one, the notebooks that anybody has
            handed in count for everybody, and a warning names them.
        students: CSV of the release. The hidden cases then are each student's own, and a notebook that was released
            for another number is named in the messages.
        workers: submissions at a time.
        seconds: of processor time for one exercise.
        memory: GB for the code of one submission.
        seed: of the hidden cases; by default that of the last time in this folder, else drawn at random.
        unsafe: grade also where submissions cannot be isolated; then they run with the grader's own permissions.

    Raises:
        ConfigError: the points file or a limit is wrong.
        DataError: a folder of a submission is missing, or its student is not in the students' file.
        MintadError: another process grades into the same folder, or submissions cannot be isolated here.
    """
    if os.name != "posix":
        raise MintadError("grading needs Linux or macOS, because it limits the processes of submissions")
    if seconds < 1 or memory <= 0:
        raise ConfigError(f"the limits must be at least 1 s and more than 0 GB, not {seconds:g} s and {memory:g} GB")
    numbers = read_students(students) if students else {}
    submissions, work = read_submissions(folders), Path(out) / WORK
    beside = submissions[0].folder.parent / POINTS_FILE
    points = points or (beside if beside.exists() else None)
    table = load_points(points)
    for submission in submissions if numbers else ():
        if submission.student not in numbers:
            raise DataError(f"there is no student '{submission.student}'", path=students, fix="add a row")
    work.mkdir(parents=True, exist_ok=True)
    busy = MintadError("another process is grading into this folder", path=out, fix="wait for it to end")
    with exclusive_lock(work / "lock", busy):
        seed = _seed(work / "settings.json", seed)
        submissions, files, notes = _find_notebooks(submissions, table, numbers)
        if points is None:
            table = _handed_in(table, files)
        isolated = _isolated(unsafe)
        limits = {"seed": seed, "seconds": seconds, "memory": memory, "isolated": isolated}
        able = [submission for submission in submissions if not submission.problem]
        jobs = [_job(s, table, files[s.student], limits | {"number": numbers.get(s.student, 0)}) for s in able]
        results = {job.student: done for job in jobs if (done := _finished(work, job))}
        waiting = [job for job in jobs if job.student not in results]
        log.info("%d submissions, %d of them graded before", len(submissions), len(results))
        for job, result in _run(waiting, workers):
            results[job.student] = result
            write(_file(work, job.student), json.dumps(result, indent=1))
            solved = sum(verdict["state"] == FULL for verdict in result["verdicts"])
            log.info("%s: %d of %d solved, %.0f s", job.student, solved, len(job.tasks), result["seconds"])
        problems = {submission.student: submission.problem for submission in submissions if submission.problem}
        return write_grades(Path(out), table, results, problems, notes)


def _find_notebooks(
    submissions: Sequence[Submission], table: Points, numbers: dict[str, int]
) -> tuple[list[Submission], dict[str, dict[str, str]], dict[tuple[str, str], str]]:
    """Return the submissions, those that cannot be read with their problem, each student's notebooks, and notes."""
    looked, files, notes = [], {}, {}
    for submission in submissions:
        try:
            if not submission.problem:
                files[submission.student] = found = notebooks_in(submission.folder, table.notebooks)
                notes |= _foreign(submission, found, numbers.get(submission.student))
        except Exception as error:  # whatever one hands in, the others are graded
            submission = dataclasses.replace(submission, problem=_unreadable(submission, error))
        looked.append(submission)
    return looked, files, notes


def judge_submission(job: Job) -> dict[str, Any]:
    """Judge all exercises of a submission, in a process that may judge others afterwards; return what is recorded."""
    from mintad.course.grade.judge import judge
    from mintad.course.grade.process import opened
    from mintad.course.grade.remote import Sandbox

    began, used, verdicts = time.perf_counter(), time.process_time(), []
    sandbox = Sandbox(Path(job.folder), seconds=job.seconds, memory=job.memory, isolated=job.isolated)
    with opened(sandbox):
        for notebook, file, exercise, check in job.tasks:
            verdict = judge(sandbox, file, exercise, check, seed=job.seed, number=job.number)
            verdicts.append({"notebook": notebook, "exercise": exercise, **dataclasses.asdict(verdict)})
    seconds, processor = time.perf_counter() - began, time.process_time() - used + sandbox.processor
    times = {"seconds": round(seconds, 2), "processor": round(processor, 2)}
    return {"key": job.key, "verdicts": verdicts, "isolated": job.isolated, **times}


def _job(submission: Submission, points: Points, files: dict[str, str], limits: dict[str, Any]) -> Job:
    tasks = tuple(
        (notebook, files[notebook], exercise, item.check)
        for notebook, items in points.notebooks.items()
        if notebook in files
        for exercise, item in items.items()
    )
    content = [submission.digest, tasks, limits, mintad.__version__]
    key = hashlib.sha256(json.dumps(content).encode(errors="surrogateescape")).hexdigest()
    return Job(submission.student, str(submission.folder), tasks, key=key, **limits)


def _run(jobs: list[Job], workers: int) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Judge the jobs, `workers` at a time, and yield each when it has ended.

    If the operating system ends a judge's process, those that may have been in it are tried again, and then given up.
    """
    attempts: Counter[str] = Counter()
    while jobs:
        left = {job.student: job for job in jobs}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
            futures = {pool.submit(judge_submission, job): job for job in jobs}
            try:
                for future in as_completed(futures):
                    job = futures[future]
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        raise
                    except (OSError, MintadError, NotPossible) as error:
                        log.warning("%s: %s", job.student, error)
                        result = _given_up(job, f"the submission could not be started: {error}")
                    except Exception as error:
                        log.exception("%s: an error of the grader", job.student)
                        result = _given_up(job, f"the grader could not judge it ({type(error).__name__}: {error})")
                    del left[job.student]
                    yield job, result
            except BrokenProcessPool:
                log.warning("a process of the grader was ended from outside; the submissions in it are graded again")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        jobs = []
        for n, job in enumerate(left.values()):
            attempts[job.student] += n < workers  # it was among those being judged
            if attempts[job.student] < ATTEMPTS:
                jobs.append(job)
                continue
            yield job, _given_up(job, "the grader's process was ended twice while it judged this submission")


def _given_up(job: Job, message: str) -> dict[str, Any]:
    """Return a result without points, which the next call tries again."""
    tasks = [(notebook, exercise) for notebook, _, exercise, _ in job.tasks]
    verdicts = [{"notebook": n, "exercise": e, "state": NONE, "message": message} for n, e in tasks]
    return {"key": "", "verdicts": verdicts, "seconds": 0.0, "isolated": job.isolated}


def _handed_in(points: Points, files: dict[str, dict[str, str]]) -> Points:
    """Return the points of the notebooks that anybody has handed in, and say which these are."""
    times = Counter(notebook for chosen in files.values() for notebook in chosen)
    counted = ", ".join(f"{name} (of {times[name]} students)" for name in points.notebooks if times[name])
    log.warning("without --points, what anybody has handed in counts for everybody: %s", counted or "nothing")
    return dataclasses.replace(points, notebooks={n: items for n, items in points.notebooks.items() if times[n]})


def _foreign(submission: Submission, files: dict[str, str], number: int | None) -> dict[tuple[str, str], str]:
    """Return what is to be said on the notebooks that were released for another number than the student's."""
    notes = {}
    for notebook, file in files.items() if number is not None else ():
        other = foreign_number(submission.folder / file, number)
        if other is not None:
            notes[submission.student, notebook] = f"this notebook was released for number {other}, not for {number}"
    return notes


def _unreadable(submission: Submission, error: Exception) -> str:
    log.warning("%s: %s: %s", submission.student, type(error).__name__, error)
    return f"the submission cannot be read ({type(error).__name__})"


def _isolated(unsafe: bool) -> bool:
    from mintad.course.grade.process import possible

    problem = possible()
    if problem and not unsafe:
        raise MintadError(
            f"submissions cannot be isolated, because this system does not allow namespaces ({problem})",
            fix="grade on Linux with user namespaces; with --unsafe, submissions run with your rights",
        )
    if problem:
        log.warning(
            "WARNING: submissions are NOT isolated (%s). They run with your rights. Limits of time and memory hold. "
            "Python refuses sockets, processes and writing outside a submission's copy, but malicious code gets round "
            "that, for example with _posixsubprocess.fork_exec; it can also read your files. Grade in a container, or "
            "as a user who owns nothing.",
            problem,
        )
    if os.getuid() == 0:
        log.warning(
            "WARNING: you grade as root, so to the kernel submissions are root, too. They are kept from your files, "
            "but a fault of the kernel would cost more. Grade as an ordinary user."
        )
    return not problem


def _seed(file: Path, seed: int | None) -> int:
    """Return the seed that is given, or that of the last time, or a new one; record it."""
    try:
        recorded = int(json.loads(file.read_text(encoding="utf-8"))["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        recorded = secrets.randbelow(2**31)
    chosen = recorded if seed is None else seed
    write(file, json.dumps({"seed": chosen}))
    return chosen


def _finished(work: Path, job: Job) -> dict[str, Any] | None:
    try:
        result = json.loads(_file(work, job.student).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if result.get("key") == job.key else None


def _file(work: Path, student: str) -> Path:
    return work / f"student-{student}.json"
