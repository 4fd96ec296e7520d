"""What a person calls a Charge or a Job: a key or its beginning, a source, a place, a glob of
either, or a file of them; and what is not clear is refused before anything is done."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retouch.engine import naming
from retouch.engine.naming import charges_of, fits, keys_of, words_of
from retouch.engine.outputs import SUFFIXES
from retouch.errors import InputRefused
from retouch.job import Job, Source
from retouch.ledger.charges import Charge
from tests.support.ledgers import started
from tests.support.workbench import GEMINI, KLING, TestLane, lane

ALIKE = ("abcdef1" + "0" * 57, "abcdef2" + "0" * 57)
AMONG = [Charge(started(number, key=key)) for number, key in enumerate(ALIKE, 1)]
LANES = (lane(GEMINI, 4, n=2), lane(KLING, 3))
JOBS = tuple(job for each in LANES for job in each.all_jobs)
NO_JOB_HINT = (
    "write a job's key or its first 12 digits, a source, an output path, a glob of either, or "
    "@FILE of them"
)


def keys(*jobs: Job) -> frozenset[str]:
    return frozenset(job.key for job in jobs)


def named(*words: str) -> frozenset[str]:
    return keys_of(words, LANES, "--redo")


def refused(*words: str, lanes: tuple[TestLane, ...] = LANES) -> InputRefused:
    with pytest.raises(InputRefused) as error:
        keys_of(words, lanes, "--redo")
    return error.value


@pytest.mark.parametrize("word", ["abcdef", "abcdef1", ALIKE[1]])
def test_the_beginning_of_a_key_means_one_job_or_none(word: str) -> None:
    """What two keys begin with settles neither."""
    if word == "abcdef":
        with pytest.raises(InputRefused, match="abcdef: several keys begin so"):
            charges_of([word], AMONG, lambda: ())
    else:
        [chosen] = charges_of([word], AMONG, lambda: ())
        assert chosen.key.startswith(word)


def test_a_job_is_named_in_every_way() -> None:
    """Each word alone, for each Job: its key whole or its first 12 digits, each of its pictures'
    places, with any suffix or none."""
    for job in JOBS:
        places = [job.output_path(index) for index in range(job.images_wanted)]
        words = [job.key, job.key[:12], job.key[:13], job.key[:63], *places]
        words += [place + suffix for place in places for suffix in SUFFIXES.values()]
        assert [named(word) for word in words] == [keys(job)] * len(words)


def test_a_source_names_the_jobs_of_every_model() -> None:
    assert named("1.png") == keys(LANES[0].all_jobs[1], LANES[1].all_jobs[1])
    assert named("3.png") == keys(LANES[0].all_jobs[3])


def test_a_glob_names_what_it_matches() -> None:
    """Sources, places and pictures; `*` goes over folders, case counts."""
    assert named("*") == keys(*JOBS)
    assert named("[12].png") == keys(*(each.all_jobs[at] for each in LANES for at in (1, 2)))
    assert named("?.png") == keys(*JOBS)
    assert named(f"images/{KLING}/*") == keys(*LANES[1].all_jobs)
    assert named(f"images/{GEMINI}/white/2-*") == keys(LANES[0].all_jobs[2])
    assert named(f"images/{GEMINI}/white/2-1*") == keys(LANES[0].all_jobs[2])
    assert named(f"images/{GEMINI}/*/2-[1].webp") == keys(LANES[0].all_jobs[2])
    assert named("*/0-0.gif") == keys(LANES[0].all_jobs[0], LANES[1].all_jobs[0])
    assert "names no job of the plan" in refused("*.PNG").message
    assert "names no job of the plan" in refused("*/0-0.tiff").message
    assert "names no job of the plan" in refused("[0]").message


def test_several_words_name_all_that_each_names() -> None:
    """None of them: nothing."""
    one, other = LANES[0].all_jobs[0], LANES[1].all_jobs[2]
    assert named(one.key, f"images/{KLING}/white/2-0.png", one.key) == keys(one, other)
    assert named() == frozenset()
    assert keys_of((), iter(()), "--redo") == frozenset()


def called(*names: str) -> TestLane:
    """A lane of Jobs whose sources are so named."""
    jobs = tuple(
        replace(job, source=Source(name, job.source.picture), output=f"images/{name}-{{index}}")
        for name, job in zip(names, lane(GEMINI, len(names)).all_jobs, strict=True)
    )
    return TestLane(LANES[0].model, LANES[0].capabilities, jobs)


def test_a_name_that_looks_like_a_glob_means_itself() -> None:
    """`photo[1].jpg` is not `photo1.jpg`, which would be paid for again; where none is called so,
    it is a glob."""
    both = called("photo[1].jpg", "photo1.jpg", "photo2.jpg")
    assert keys_of(["photo[1].jpg"], [both], "--redo") == keys(both.all_jobs[0])
    assert keys_of(["photo[12].jpg"], [both], "--redo") == keys(*both.all_jobs[1:])
    assert keys_of(["images/photo[1].jpg-0.png"], [both], "") == keys(both.all_jobs[0])
    among = [
        Charge(started(number, key=job.key, source=job.source.name))
        for number, job in enumerate(both.all_jobs)
    ]
    assert charges_of(["photo[1].jpg"], among, lambda: ()) == among[:1]
    assert charges_of(["photo[1]*"], among, lambda: ()) == among[1:2]
    assert charges_of(["images/photo[1].jpg-0"], among, lambda: [both]) == among[:1]


def test_one_place_named_with_two_suffixes_is_one_job() -> None:
    job = LANES[0].all_jobs[0]
    place = job.output_path(0)
    assert named(f"{place}.png", f"{place}.jpg", place) == keys(job)


def test_what_names_nothing_is_refused_with_every_word() -> None:
    """Three are shown, the others counted; no control character reaches a terminal."""
    found = refused("cats/\x1b[2J.png")
    assert found.message == "--redo cats/^[[2J.png: names no job of the plan"
    assert found.hint == NO_JOB_HINT
    assert refused("a", "1.png", "b", "c").message == "--redo a, b, c: names no job of the plan"
    assert refused("a", "b", "c", "d").message == (
        "--redo a, b, c and 1 more: names no job of the plan"
    )
    assert refused("a", "b", "c", "d", "e").message.endswith(
        "c and 2 more: names no job of the plan"
    )
    shown = refused("x" * 500).message
    assert shown == f"--redo {'x' * 79}…: names no job of the plan"
    for word in ("../1.png", "/1.png", "1.png/", "", JOBS[0].key[:11], JOBS[0].key.upper()):
        assert "names no job of the plan" in refused(word).message
    assert "names no job" in refused("1.png", lanes=()).message


def test_digits_that_several_keys_begin_with_are_refused() -> None:
    """As many as it takes tell them apart."""

    def keyed(key: str, number: int) -> Job:
        return LANES[1].all_jobs[number].keyed(key)

    begin = "0123456789abc"
    jobs = tuple(
        replace(job, repeat=5).keyed(f"{begin}{number}{'f' * 50}")
        for number, job in enumerate(LANES[1].all_jobs)
    )
    given = TestLane(LANES[1].model, LANES[1].capabilities, jobs)
    found = refused("0.png", begin, lanes=(given,))
    assert found.message == f"--redo {begin}: several keys begin so; write more digits"
    assert keys_of([f"{begin}2"], [given], "--redo") == {jobs[2].key}


def test_words_are_read_from_files(tmp_path: Path) -> None:
    """One a line: a byte order mark, CRLF, blanks and empty lines are none of them; each once."""
    listed = tmp_path / "list"
    listed.write_bytes("\ufeff1.png\r\n\r\n  b c.png  \n1.png\n图.png".encode())
    assert words_of(["z", f"@{listed}", "a", "z"]) == ("z", "1.png", "b c.png", "图.png", "a")
    assert words_of([]) == ()
    listed.write_bytes(b"")
    assert words_of([f"@{listed}"]) == ()
    assert keys_of([f"@{listed}"], LANES, "--redo") == frozenset()
    listed.write_text(f"3.png\n{JOBS[0].key}\n")
    assert named(f"@{listed}") == keys(JOBS[0], LANES[0].all_jobs[3])


def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; one that is too large too, for what is beyond would not be done."""
    listed = tmp_path / "list"

    def said() -> str:
        with pytest.raises(InputRefused) as error:
            words_of(["first", f"@{listed}"])
        return error.value.message.removeprefix(f"@{listed}: ")

    assert said() == "cannot be read: No such file or directory"
    listed.write_bytes(b"\xff")
    assert said() == "cannot be read: not UTF-8"
    with pytest.raises(InputRefused, match="Is a directory"):
        words_of([f"@{tmp_path}"])
    monkeypatch.setattr(naming, "LIST_CAP_BYTES", 10)
    listed.write_text("x" * 10)
    assert words_of([f"@{listed}"]) == ("x" * 10,)
    listed.write_text("1.png\n2.png")
    assert said() == "is larger than 10 bytes"
    with pytest.raises(InputRefused) as error:
        words_of(["@" + "n" * 300])
    assert error.value.message.startswith(f"@{'n' * 118}…: cannot be read: ")


# --- Charges -------------------------------------------------------------------------------------

CHARGES = [
    Charge(started(number, key=job.key, source=job.source.name, attempt=attempt))
    for number, (job, attempt) in enumerate(
        [(JOBS[0], 1), (JOBS[0], 2), (JOBS[1], 1), (JOBS[5], 1), (JOBS[6], 3)]
    )
]


def chosen(*words: str, lanes: tuple[TestLane, ...] = LANES) -> list[int]:
    """Which of CHARGES, by their place."""
    return [CHARGES.index(each) for each in charges_of(words, CHARGES, lambda: lanes)]


def test_a_charge_is_named_by_its_job() -> None:
    """All of a Job's Attempts; by six digits of its key, its source, a place, a glob of either."""
    assert chosen(JOBS[0].key) == chosen(JOBS[0].key[:6]) == [0, 1]
    assert chosen("0.png") == [0, 1]
    assert chosen("1.png") == [2, 3]
    assert chosen("[12].png") == [2, 3, 4]
    assert chosen(JOBS[5].output_path(0)) == chosen(f"{JOBS[5].output_path(0)}.png") == [3]
    assert chosen(JOBS[0].output_path(1)) == [0, 1]
    assert chosen(f"images/{KLING}/*") == [3, 4]
    assert chosen(f"images/{KLING}/*2-0.webp") == [4]
    assert chosen() == []


def test_each_charge_is_chosen_once_in_the_words_order() -> None:
    assert chosen("2.png", JOBS[0].key, "0.png", "?.png") == [4, 0, 1, 2, 3]


def test_the_plan_is_made_only_where_no_charge_is_known_by_a_word() -> None:
    """And once for all words."""
    made = 0

    def lanes() -> Iterator[TestLane]:
        nonlocal made
        made += 1
        return iter(LANES)

    assert len(charges_of(["0.png", JOBS[1].key[:7]], CHARGES, lanes)) == 3
    assert made == 0
    places = [JOBS[5].output_path(0), JOBS[6].output_path(0)]
    assert len(charges_of(places, CHARGES, lanes)) == 2
    assert made == 1


@pytest.mark.parametrize("word", ["2.jpg", "nothing*", JOBS[2].output_path(0), "3.png", "cafe1"])
def test_a_word_that_means_no_charge_is_refused(word: str) -> None:
    """Also where the plan has such a Job: nothing of it is open."""
    with pytest.raises(InputRefused) as error:
        chosen("0.png", word)
    assert error.value.message == f"{word}: names no job that is meant here"
    assert error.value.hint == (
        "without words they are listed; a job is named by its key or the beginning of it, its "
        "source, an output path, a glob of either, or @FILE of them"
    )
    with pytest.raises(InputRefused) as error:
        chosen("x" * 100)
    assert error.value.message == f"{'x' * 79}…: names no job that is meant here"


def test_charges_are_named_in_files_too(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("2.png\n0.png\n")
    assert chosen(f"@{tmp_path}/list") == [4, 0, 1]


def test_a_charge_whose_source_is_not_known_is_named_by_its_key() -> None:
    """`*` is every source, and none is not one."""
    nameless = Charge(started(9, source=""))
    assert charges_of(["*"], [nameless, *CHARGES], lambda: ()) == CHARGES
    assert charges_of([nameless.key[:8]], [nameless, *CHARGES], lambda: ()) == [nameless]


def test_fitting_is_being_the_same_or_matched() -> None:
    """Over random words: only what has a sign of a glob is one."""
    assert fits("a[1].png", "a[1].png")
    assert fits("a1.png", "a[1].png")
    assert fits("cats/1.png", "*.png")
    assert fits("ab", "a?")
    assert not fits("ab", "A?")
    assert not fits("ab", "a")
    chance = random.Random(1)
    for _ in range(200):
        word = "".join(chance.choices("ab.+(){}^$|\\", k=4))
        assert fits(word, word)
        assert not fits(f"{word}x", word)
