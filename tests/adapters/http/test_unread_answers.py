"""Which connections go when clients leave too much unread."""

from dataclasses import dataclass

from sidecar.adapters.http.unread_answers import UnreadAnswers


@dataclass(eq=False)
class Connection:
    """A client that does not read."""

    requested_at: float
    unread: int = 40
    is_cut: bool = False

    def cut(self) -> None:
        """Note the end."""
        self.is_cut = True


def test_first_to_ask_go() -> None:
    """Those that asked first are cut, as many as it takes; each counts with what it has left now."""
    answers = UnreadAnswers(100)
    second, first, third = Connection(2), Connection(1), Connection(3)
    for one in (second, first):
        answers.add(one)
    first.unread = 10
    answers.add(third)
    assert [False] * 3 == [one.is_cut for one in (first, second, third)]
    answers.add(last := Connection(4))
    assert [True, True, False, False] == [one.is_cut for one in (first, second, third, last)]


def test_one_may_have_more() -> None:
    """A client alone has its time, whatever the size of its answer; one that has read does not count."""
    answers = UnreadAnswers(100)
    reading, large = Connection(1), Connection(2, 5000)
    answers.add(reading)
    answers.discard(reading)
    answers.add(large)
    assert (False, False) == (reading.is_cut, large.is_cut)
