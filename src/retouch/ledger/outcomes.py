"""Where every Job of a ledger stands, by Key: what has ended is kept as a row of bytes.

A row says what decides over a Job's next run without its Records, and where these stand (see
`lines`). So does that of a Job that was sent for the first time. One that is open otherwise, or
whose Records stand nowhere, is kept whole, as is the odd one that does not fit. Jobs are numbered
as their Keys are first met, which is the order of every iteration.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import TypeVar

from retouch.dialects.base import Billed
from retouch.ledger.charges import Charge
from retouch.ledger.keys import Keys
from retouch.ledger.lines import NOWHERE, POSITION_BYTES, Lines, Position
from retouch.ledger.outcome import OnlyPicture, Outcome, State, Verdict, verdict_of
from retouch.ledger.records import AnyRecord, Done, Reused, Started

ON_FILE: tuple[State, ...] = ("done", "reused", "failed", "resolved", "sent")
_CODES: dict[str, int] = {state: code for code, state in enumerate(ON_FILE, 1)}
_WHOLE = 0  # the code of a Job that is kept whole
_DONE, _FAILED, _SENT = (_CODES[state] for state in ("done", "failed", "sent"))
_BILLED: tuple[Billed | None, ...] = (None, "no", "yes", "unknown")
_BEGIN, _END = f"<{POSITION_BYTES}s{POSITION_BYTES}sQ", "qIHBBBB"
_PLACES = struct.Struct("<I")
_ROW = struct.Struct(_BEGIN + _END)
_BEGIN_OF_ROW = struct.Struct(_BEGIN)
_END_OF_ROW = struct.Struct("<" + _END)  # what is known once a Job has ended
_ONLY = struct.Struct("<qI4xB")  # of that: its one picture
_ENDS_AT = _BEGIN_OF_ROW.size
_FLAGS, _ROW_BYTES = _ROW.size - 1, _ROW.size + _PLACES.size
_SENT_ROW = struct.Struct(f"{_BEGIN}{_FLAGS - _ENDS_AT}xB{_PLACES.size}x")
_EMPTY_ROW = bytes(_ROW_BYTES)
_DELIVERY = struct.Struct(f"<{POSITION_BYTES}sI?")
_NOWHERE = bytes(POSITION_BYTES)
_IS_FINAL, _IS_CHARGED, _HAS_TASK, _REPLACES, _BILLED_SHIFT = 1, 2, 4, 8, 4
_SUFFIX_CAP = 6  # characters: what follows a dot and is longer is no suffix
_HASH_BITS = (1 << 64) - 1
_NUMBER_BITS = 28  # of a number beside a short hash: 268 million Jobs

D = TypeVar("D")


class Outcomes(Mapping[str, Outcome]):
    """Every Job that a Record is about; `put` says where one stands now."""

    def __init__(self, lines: Lines, charges: Mapping[tuple[str, int], Charge]) -> None:
        self._lines = lines
        self._charges = charges  # those that are open
        self._keys = Keys()
        self._whole: dict[str, Outcome] = {}
        self._sent: dict[str, tuple[int, Started]] = {}  # those that a row tells to be, by Key
        self._states = bytearray()
        self._rows = bytearray()
        self._models = _Names()
        self._suffixes = _Names()
        self._deliveries = bytearray()
        self._unplaced: dict[int, AnyRecord] = {}  # deliveries that stand nowhere, by their number
        self._sorted: array[int] | None = None

    # --- a Mapping -------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[str]:
        return map(self._keys.key, range(len(self._states)))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._keys.find(key) >= 0

    def __getitem__(self, key: str) -> Outcome:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str, default: D | None = None, /) -> Outcome | D | None:  # type: ignore[override]  # the overloads say the same
        """Where a Job stands; what is changed in it is kept only by `put`."""
        whole = self._whole.get(key)
        if whole is not None:
            return whole
        number = self._keys.find(key)
        return default if number < 0 else self._on_file(number)

    def is_done(self, digest: bytes) -> bool:
        """Whether a Job surely is done, by its Key's 32 bytes: quicker than to ask where it
        stands."""
        number = self._keys.find_digest(digest)
        return number >= 0 and self._states[number] == _DONE

    def items(self) -> ItemsView[str, Outcome]:
        return _Items(self)

    def values(self) -> ValuesView[Outcome]:
        return _Values(self)

    def only_picture(self, digest: bytes) -> OnlyPicture | None:
        """The one picture of a Job that is done, by its Key's 32 bytes; None where it is not done,
        or has more, or its row does not tell."""
        number = self._keys.find_digest(digest)
        if number < 0 or self._states[number] != _DONE:
            return None
        stem_hash, size, suffix = _ONLY.unpack_from(self._rows, number * _ROW_BYTES + _ENDS_AT)
        return OnlyPicture(stem_hash, self._suffixes.name(suffix), size) if suffix else None

    # --- many of them ----------------------------------------------------------------------

    def numbered(self, numbers: Iterator[int]) -> Iterator[tuple[str, Outcome]]:
        """Jobs by their numbers."""
        for number in numbers:
            key = self._keys.key(number)
            yield key, self._whole.get(key) or self._on_file(number)

    def undecided(self) -> Iterator[tuple[str, Outcome]]:
        """All but the Jobs that surely are over: what is open, and what failed."""
        return self.numbered(iter(self._merged(self._whole.values(), _FAILED, _SENT)))

    def whole(self) -> Iterable[Outcome]:
        """The Jobs that are kept whole: those with a Task that is out are among them."""
        return self._whole.values()

    def of_state(self, state: State) -> Iterator[tuple[str, Outcome]]:
        """The Jobs in one state."""
        whole = [each for each in self._whole.values() if each.state == state]
        codes = [_CODES[state]] if state in _CODES else []
        return self.numbered(iter(self._merged(whole, *codes)))

    def counts(self) -> Counter[str]:
        """How many Jobs are in each state."""
        counted = Counter[str](outcome.state for outcome in self._whole.values())
        for state, code in _CODES.items():
            counted[state] += self._states.count(code)
        return +counted

    def latest_done(self, model: str, count: int) -> list[Outcome]:
        """The last `count` finished Jobs of a model, the latest last."""
        found: list[Outcome] = []
        index = self._models.numbers.get(model)
        for number in range(len(self._states) - 1, -1, -1):
            code = self._states[number]
            if code == _DONE:
                if _ROW.unpack_from(self._rows, number * _ROW_BYTES)[5] == index:
                    found.append(self._on_file(number))
            elif code == _WHOLE:
                outcome = self._whole[self._keys.key(number)]
                if isinstance(outcome.decided, Done) and outcome.decided.model == model:
                    found.append(outcome)
            if len(found) == count:
                break
        return found[::-1]

    def models_done(self) -> set[str]:
        """The models that finished Jobs are of, and perhaps others that ended."""
        whole = {each.decided.model for each in self._whole.values() if type(each.decided) is Done}
        return whole.union(self._models.numbers)

    def replaced(self) -> set[str]:
        """The Keys of Jobs whose rejected pictures others take the place of."""
        found = [each.began for each in self._whole.values()]
        for number in range(len(self._states)):
            row = number * _ROW_BYTES
            if self._states[number] and self._rows[row + _FLAGS] & _REPLACES:
                found.append(self._on_file(number).began)
        terms = (each.terms for each in found if each is not None)
        return {each.replaces for each in terms if each is not None and each.replaces}

    def asking(self, model: str, prompt: str, source: str) -> Iterator[Started]:
        """What began the Jobs that had the same words, as those stood when first asked."""
        if self._sorted is None:
            self._sorted = array("Q", sorted(self._by_words()))
        short = _short((model, prompt, source))
        at = bisect_left(self._sorted, short)
        while at < len(self._sorted) and _shortened(self._sorted[at]) == short:
            number = self._sorted[at] & ((1 << _NUMBER_BITS) - 1)
            began = next(self.numbered(iter((number,))))[1].began
            if began and (began.model, began.prompt, began.source) == (model, prompt, source):
                yield began
            at += 1

    def _by_words(self) -> Iterator[int]:
        for outcome in self._whole.values():
            began = outcome.began
            if began is not None:
                yield _short((began.model, began.prompt, began.source)) | outcome.number
        for number in range(len(self._states)):
            if self._states[number]:
                row = _ROW.unpack_from(self._rows, number * _ROW_BYTES)
                if row[1] != _NOWHERE:
                    yield _shortened(row[2]) | number

    def _merged(self, whole: Iterable[Outcome], *codes: int) -> list[int]:
        """The numbers of whole Jobs, and of those on file with a code, in order."""
        numbers = [each.number for each in whole]
        for code in codes:
            at = self._states.find(code)
            while at >= 0:
                numbers.append(at)
                at = self._states.find(code, at + 1)
        return sorted(numbers)

    # --- one of them -----------------------------------------------------------------------

    def put(self, key: str, outcome: Outcome, number: int = -1) -> None:
        """Say where a Job stands now; its `number` where it is known, -1 for a new one."""
        if number < 0:
            number = self._add(key)
        elif self._sent:
            self._sent.pop(key, None)
        outcome.number = number
        if outcome.charge is None and outcome.decided_at:
            code = _CODES.get(outcome.state)
            if code is not None and self._file(number, outcome):
                self._whole.pop(key, None)
                self._states[number] = code
                return
        self._whole[key] = outcome
        self._states[number] = _WHOLE

    def expect(self, count: int) -> None:
        """Make room for so many Jobs, before there are any."""
        self._keys.expect(count)

    def begin(self, record: Started, where: Position) -> bool:
        """Note a Job's first Attempt, whose Charge is open; False where it is not the Job's first
        Record, or stands nowhere, and `put` is to say it."""
        if not where or record.attempt != 1:
            return False
        key = record.key
        number = self._keys.add(key)
        if number < 0:
            return False
        terms = record.terms
        flags = bool(terms is not None and terms.replaces) * _REPLACES
        words = hash((record.model, record.prompt, record.source)) & _HASH_BITS
        self._states.append(_SENT)
        self._rows += _SENT_ROW.pack(where, where, words, flags)
        self._sent[key] = number, record
        return True

    def finish(self, record: Done, where: Position) -> bool:
        """Note that a Job's first Attempt brought pictures, and its Charge is settled; False where
        its row does not tell that it was sent, and `put` is to say it."""
        sent = self._sent.get(record.key)
        if sent is None or record.attempt != 1 or record.task is not None or not where:
            return False
        number = sent[0]
        row = number * _ROW_BYTES
        replaces = self._rows[row + _FLAGS] & _REPLACES
        if not self._end(row, record, 1, _IS_CHARGED | replaces):
            return False
        self._rows[row : row + POSITION_BYTES] = where
        self._states[number] = _DONE
        del self._sent[record.key]
        return True

    def deliver(self, number: int, record: AnyRecord, where: Position) -> None:
        """Note one more place that a Job's pictures were delivered to."""
        place = number * _ROW_BYTES + _ROW.size
        (before,) = _PLACES.unpack_from(self._rows, place)
        index = len(self._deliveries) // _DELIVERY.size
        self._deliveries += _DELIVERY.pack(where or _NOWHERE, before, isinstance(record, Done))
        if not where:
            self._unplaced[index] = record
        _PLACES.pack_into(self._rows, place, index + 1)

    def undeliver(self, number: int) -> None:
        """Forget them: they are superseded."""
        if self._deliveries:
            _PLACES.pack_into(self._rows, number * _ROW_BYTES + _ROW.size, 0)

    def deliveries(self, number: int) -> list[Done | Reused]:
        """What was delivered of a Job, the latest last; none where it lies at one place alone."""
        found: list[Done | Reused] = []
        if not self._deliveries:
            return found
        for index, where, _ in self._chain(number):
            record = self._lines.read(where) if where else self._unplaced[index]
            if isinstance(record, Done | Reused):
                found.append(record)
        return found[::-1]

    def is_delivered(self, number: int) -> bool:
        """Whether a Job's pictures are recorded at other places than its own."""
        (after,) = _PLACES.unpack_from(self._rows, number * _ROW_BYTES + _ROW.size)
        return bool(after)

    def places_counted(self) -> Counter[str]:
        """The places of Jobs that were delivered, by how each came to be."""
        counted: Counter[str] = Counter()
        for _, outcome in self.of_state("reused"):
            of = ["done" if is_done else "reused" for *_, is_done in self._chain(outcome.number)]
            counted.update(of)
            counted["reused"] -= bool(of)
        return counted

    def number(self, key: str) -> int:
        """A Job's number; -1: no Record is about it."""
        return self._keys.find(key)

    def _chain(self, number: int) -> Iterator[tuple[int, Position, bool]]:
        """A Job's deliveries, the latest first: their numbers, where they stand, whether each is
        what was done."""
        (after,) = _PLACES.unpack_from(self._rows, number * _ROW_BYTES + _ROW.size)
        while after:
            index = after - 1
            where, after, is_done = _DELIVERY.unpack_from(self._deliveries, index * _DELIVERY.size)
            yield index, NOWHERE if where == _NOWHERE else where, is_done

    def _just_sent(self, number: int) -> Outcome:
        """The Outcome of a Job whose first Attempt was begun and no more."""
        key = self._keys.key(number)
        began = self._sent[key][1]
        outcome = Outcome("sent", 1, began, began, None, self._charges.get((key, 1)))
        row = number * _ROW_BYTES
        outcome.decided_at = outcome.began_at = bytes(self._rows[row : row + POSITION_BYTES])
        outcome.number = number
        return outcome

    # --- rows ------------------------------------------------------------------------------

    def _file(self, number: int, outcome: Outcome) -> bool:
        """Write the row of a Job that has ended; whether it fits."""
        decided, began, task = outcome.decided, outcome.began, outcome.task
        if began is not None and not outcome.began_at:
            return False
        if task is not None and getattr(decided, "task", None) != task:
            return False
        verdict = verdict_of(decided)
        flags = verdict.is_final * _IS_FINAL | verdict.is_charged * _IS_CHARGED
        flags |= _BILLED.index(verdict.billed) << _BILLED_SHIFT | (task is not None) * _HAS_TASK
        words = 0
        if began is not None:
            words = hash((began.model, began.prompt, began.source)) & _HASH_BITS
            if began.terms is not None and began.terms.replaces:
                flags |= _REPLACES
        row = number * _ROW_BYTES
        if not self._end(row, decided, outcome.attempt, flags):
            return False
        _BEGIN_OF_ROW.pack_into(
            self._rows, row, outcome.decided_at, outcome.began_at or _NOWHERE, words
        )
        return True

    def _end(self, row: int, decided: AnyRecord, attempt: int, flags: int) -> bool:
        """Write what is known of a Job that has ended; whether it fits."""
        stem_hash = suffix = size = model = pictures = 0
        if type(decided) is Done or type(decided) is Reused:  # a union is made anew each time
            files = decided.files
            pictures = len(files)
            if pictures == 1:
                [file] = files
                stem, _, ending = file.path.rpartition(".")
                if stem and len(ending) < _SUFFIX_CAP and file.bytes < 1 << 32:
                    suffix = self._suffixes.number(ending)
                    stem_hash, size = hash(stem), file.bytes
            if type(decided) is Done:
                model = self._models.number(decided.model)
        if attempt > 0xFF or pictures > 0xFF or suffix > 0xFF or model > 0xFFFF:
            return False
        _END_OF_ROW.pack_into(
            self._rows, row + _ENDS_AT,
            stem_hash, size, model, attempt, pictures, suffix, flags,
        )  # fmt: skip
        return True

    def _on_file(self, number: int) -> Outcome:
        """The Outcome that a row tells of."""
        if self._states[number] == _SENT:
            return self._just_sent(number)
        (
            decided_at, began_at, _, stem_hash, size, _, attempt, pictures, suffix, flags,
        ) = _ROW.unpack_from(self._rows, number * _ROW_BYTES)  # fmt: skip
        outcome = Outcome.on_file(
            ON_FILE[self._states[number] - 1],
            attempt,
            self._lines,
            (decided_at, NOWHERE if began_at == _NOWHERE else began_at),
            Verdict(
                bool(flags & _IS_FINAL), _BILLED[flags >> _BILLED_SHIFT],
                bool(flags & _IS_CHARGED), pictures,
            ),
            has_task=bool(flags & _HAS_TASK),
        )  # fmt: skip
        outcome.number = number
        if suffix:
            outcome.only_picture = OnlyPicture(stem_hash, self._suffixes.name(suffix), size)
        return outcome

    def _add(self, key: str) -> int:
        """Number a Job whose Key is not known."""
        self._states.append(_WHOLE)
        self._rows += _EMPTY_ROW
        return self._keys.add(key)


class _Items(ItemsView[str, Outcome]):
    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__(outcomes)
        self._outcomes = outcomes

    def __iter__(self) -> Iterator[tuple[str, Outcome]]:
        return self._outcomes.numbered(iter(range(len(self._outcomes))))


class _Values(ValuesView[Outcome]):
    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__(outcomes)
        self._outcomes = outcomes

    def __iter__(self) -> Iterator[Outcome]:
        return (outcome for _, outcome in _Items(self._outcomes))


class _Names:
    """Few names by numbers from 1."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._names: list[str] = []

    def number(self, name: str) -> int:
        """A name's number, a new one where it is new."""
        number = self.numbers.get(name)
        if number is None:
            self._names.append(name)
            number = self.numbers[name] = len(self._names)
        return number

    def name(self, number: int) -> str:
        """The name of a number."""
        return self._names[number - 1]


def _short(words: tuple[str, str, str]) -> int:
    return _shortened(hash(words) & _HASH_BITS)


def _shortened(digest: int) -> int:
    """A hash with room for a number below it."""
    return digest >> _NUMBER_BITS << _NUMBER_BITS
