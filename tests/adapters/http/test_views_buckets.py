"""`GET /v1/usage` in pages."""

from sidecar.domain.status import MOST_BUCKETS, BucketView
from sidecar.serializers import buckets_members
from tests.support.http_fakes import HOUR


def view(number: int) -> BucketView:
    """Return a bucket of a tag set of its own."""
    return BucketView("requests", HOUR, 1, (("Team", f"{number:06}"),), 1, key=f"3600.1.1.{number}")


def test_few_buckets_have_no_next() -> None:
    """Where everything fits into one answer it is as it always was."""
    members = buckets_members([view(number) for number in range(MOST_BUCKETS)])
    assert ["buckets"] == list(members)


def test_page_says_where_to_go_on() -> None:
    """One bucket more than a page is the first of the next one, whose `after` is the last key of this one."""
    found = [view(number) for number in range(MOST_BUCKETS + 1)]
    members = buckets_members(found[::-1])
    buckets = members["buckets"]
    assert isinstance(buckets, list)
    assert MOST_BUCKETS == len(buckets)
    assert f"3600.1.1.{MOST_BUCKETS - 1}" == members["next"]
