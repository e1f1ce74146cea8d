"""The tree of exceptions: who derives from whom, what each carries, and that it survives a process boundary."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from offloop import errors

ALL_CLASSES = [getattr(errors, name) for name in errors.__all__]

TREE = {
    errors.FetchError: {
        errors.FetchTimeoutError,
        errors.HTTPStatusError,
        errors.InvalidURLError,
        errors.DNSError,
        errors.ConnectError,
        errors.TLSError,
        errors.TooManyRedirectsError,
        errors.IncompleteBodyError,
        errors.ContentDecodingError,
        errors.BodyTooLargeError,
        errors.BlockedAddressError,
    },
    errors.ImageError: {errors.ImageLimitError, errors.UnsupportedFormatError, errors.DecoderCrashError},
    errors.JobError: {errors.JournalError, errors.SinkError},
    errors.OffloopError: {
        errors.FetchError,
        errors.HashMismatchError,
        errors.ImageError,
        errors.OperationTimeoutError,
        errors.JobError,
        errors.PoolSaturatedError,
        errors.PoolClosedError,
        errors.OpError,
    },
}


class PickyError(Exception):
    """Pickles, but cannot be loaded again: its constructor wants what its args do not hold."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")


class ErrorWithItsOwnConstructor(errors.FetchError):
    def __init__(self, url: str, attempts: int) -> None:
        super().__init__(f"gave up on {url}", url=url)
        self.attempts = attempts


RAISE_IN_ANOTHER_PROCESS = """
from offloop import errors
try:
    raise ConnectionRefusedError(111, "Connection refused")
except OSError as cause:
    raise errors.ConnectError("nobody listens", url="http://h:1/", phase="connect", errno=111) from cause
"""


@pytest.mark.parametrize("parent", TREE, ids=lambda cls: cls.__name__)
def test_each_class_has_exactly_the_children_the_documentation_draws(parent: type) -> None:
    public = {cls for cls in parent.__subclasses__() if cls.__module__ == errors.__name__}
    assert public == TREE[parent]


def test_every_class_of_the_module_is_exported() -> None:
    defined = {name for name, cls in vars(errors).items() if inspect.isclass(cls) and cls.__module__ == errors.__name__}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("cls", ALL_CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_says_when_it_is_raised_and_what_to_do(cls: type[errors.OffloopError]) -> None:
    doc = inspect.cleandoc(vars(cls)["__doc__"])
    assert doc.startswith("Raised when ")
    assert len(doc.split("\n\n", 1)[1]) > 20  # the second paragraph is the advice


def test_codes_are_distinct_so_that_a_log_line_names_one_class() -> None:
    codes = [cls.default_code for cls in ALL_CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.FetchTimeoutError, TimeoutError),
        (errors.OperationTimeoutError, TimeoutError),
        (errors.InvalidURLError, ValueError),
    ],
)
def test_classes_with_a_builtin_counterpart_are_caught_by_it(
    cls: type[errors.OffloopError], builtin: type[Exception]
) -> None:
    with pytest.raises(builtin, match="what happened"):
        raise cls("what happened")


@pytest.mark.parametrize("cls", ALL_CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_takes_a_message_alone_and_prints_it_unchanged(cls: type[errors.OffloopError]) -> None:
    error = cls("Fetch failed for http://h/: it rains")
    assert str(error) == "Fetch failed for http://h/: it rains"
    assert (error.url, error.path, error.phase, error.status, error.errno) == (None,) * 5
    assert error.code == cls.default_code
    assert error.retryable is cls.default_retryable


@pytest.mark.parametrize("cls", ALL_CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_class_pickles_with_all_it_carries(cls: type[errors.OffloopError], protocol: int) -> None:
    error = cls("m", url="http://h/", path="/p", phase="body", retryable=True, status=503, errno=104, code="Special")
    error.add_note("seen twice")
    error.__cause__ = OSError(104, "Connection reset by peer")

    again = pickle.loads(pickle.dumps(error, protocol))

    assert type(again) is cls
    assert str(again) == "m"
    for name in ("url", "path", "phase", "retryable", "status", "errno", "code", "__notes__"):
        assert getattr(again, name) == getattr(error, name), name
    assert isinstance(again.__cause__, ConnectionResetError)
    assert again.__suppress_context__


def test_a_cause_that_cannot_be_pickled_becomes_a_note() -> None:
    error = errors.FetchError("m")
    error.__cause__ = PickyError(1, 2)
    again = pickle.loads(pickle.dumps(error))
    assert again.__cause__ is None
    assert again.__notes__ == ["caused by PickyError: 1 and 2 (this cause could not be pickled)"]
    assert not hasattr(error, "__notes__")  # pickling does not change what is pickled


def test_a_subclass_with_its_own_constructor_pickles() -> None:
    again = pickle.loads(pickle.dumps(ErrorWithItsOwnConstructor("http://h/", 3)))
    assert (again.attempts, again.url, str(again)) == (3, "http://h/", "gave up on http://h/")


def test_a_copy_keeps_the_attributes() -> None:
    assert copy.copy(errors.SinkError("full", path="/out")).path == "/out"


def test_an_error_raised_in_a_worker_process_arrives_whole() -> None:
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as executor,
        pytest.raises(errors.ConnectError, match="nobody listens") as caught,
    ):
        executor.submit(exec, RAISE_IN_ANOTHER_PROCESS).result()
    assert (caught.value.url, caught.value.phase, caught.value.errno) == ("http://h:1/", "connect", 111)


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (410, False), (429, True), (503, True), (501, False)])
def test_a_status_is_retryable_when_it_says_later_rather_than_no(status: int, retryable: bool) -> None:
    error = errors.HTTPStatusError("m", status=status)
    assert (error.status, error.retryable) == (status, retryable)


def test_the_caller_may_overrule_what_is_retryable() -> None:
    assert errors.ConnectError("m", retryable=False).retryable is False
    assert errors.HTTPStatusError("m", status=503, retryable=False).retryable is False
