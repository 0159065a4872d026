"""Downloads from a local server that is slow, closes the connection or sends wrong data."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from convoy.data import DataError, fetch
from convoy.data.named import Download, RemoteFile

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes: more than a chunk
PAGE = b"\n<!-- moved -->\n<!DOCTYPE html><html><body>Please log in</body></html>"


class Server:
    """Answers each path with its behaviour and records (path, first requested byte)."""

    def __init__(self) -> None:
        self.behaviours: dict[str, Callable[[BaseHTTPRequestHandler, int], None]] = {}
        self.requests: list[tuple[str, int]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                start = int(requested[1]) if requested else 0
                server.requests.append((self.path, start))
                with contextlib.suppress(ConnectionError):
                    server.behaviours[self.path](self, start)

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path: str, behaviour: Callable[[BaseHTTPRequestHandler, int], None]) -> str:
        self.behaviours[path] = behaviour
        return f"http://127.0.0.1:{self._http.server_port}{path}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def answer(request: BaseHTTPRequestHandler, content: bytes, start: int, *, length: int | None = None) -> None:
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)


def complete(request: BaseHTTPRequestHandler, start: int) -> None:
    if start >= len(CONTENT):
        request.send_error(416)
    else:
        answer(request, CONTENT[start:], start)


def ignores_range(request: BaseHTTPRequestHandler, start: int) -> None:
    answer(request, CONTENT, 0)


def interrupts(after: int, *, times: int) -> Callable[[BaseHTTPRequestHandler, int], None]:
    """Announces the full length but closes the connection after some bytes, the first few times."""
    remaining = [times]

    def behaviour(request: BaseHTTPRequestHandler, start: int) -> None:
        remaining[0] -= 1
        rest = CONTENT[start:]
        answer(request, rest[:after] if remaining[0] >= 0 else rest, start, length=len(rest))

    return behaviour


def announces_less(request: BaseHTTPRequestHandler, start: int) -> None:
    answer(request, CONTENT[start:], start, length=len(CONTENT) - start - (0 if start else 1000))


def announces_more(request: BaseHTTPRequestHandler, start: int) -> None:
    if start:
        request.send_error(416)
    else:
        answer(request, CONTENT, 0, length=len(CONTENT) + 1000)


def sends(content: bytes) -> Callable[[BaseHTTPRequestHandler, int], None]:
    return lambda request, start: answer(request, content, 0)


def fails_with(status: int) -> Callable[[BaseHTTPRequestHandler, int], None]:
    return lambda request, start: request.send_error(status)


def never_answers(request: BaseHTTPRequestHandler, start: int) -> None:
    time.sleep(1)


def sends_slowly(request: BaseHTTPRequestHandler, start: int) -> None:
    request.send_response(200)
    request.end_headers()
    for value in CONTENT[:40]:
        request.wfile.write(bytes([value]))
        time.sleep(0.02)


def redirects_to(url: str) -> Callable[[BaseHTTPRequestHandler, int], None]:
    def behaviour(request: BaseHTTPRequestHandler, start: int) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.end_headers()

    return behaviour


def sends_another_range(request: BaseHTTPRequestHandler, start: int) -> None:
    request.send_response(206)
    request.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
    request.end_headers()
    request.wfile.write(CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("CONVOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.0)
    server = Server()
    yield server
    server.close()


def one_file(*urls: str, content: bytes = CONTENT, knows_size: bool = True) -> Download:
    digest = hashlib.sha256(content).hexdigest()
    return Download("some", (RemoteFile("some.bin", digest, len(content) if knows_size else None, urls),))


def fetched(download: Download) -> bytes:
    return (fetch.fetch("some", download) / "some.bin").read_bytes()


def leave_partial(download: Download, content: bytes) -> None:
    folder = fetch.folder_of(download)
    folder.mkdir(parents=True)
    (folder / ".some.bin.part").write_bytes(content)


def starts(server: Server) -> list[int]:
    return [start for _, start in server.requests]


@pytest.mark.parametrize("knows_size", [True, False])
def test_a_complete_file_is_not_downloaded_again(server: Server, knows_size: bool) -> None:
    download = one_file(server.url("/f", complete), knows_size=knows_size)

    assert fetched(download) == fetched(download) == CONTENT
    assert starts(server) == [0]
    assert fetch.missing(download) == []


@pytest.mark.parametrize("knows_size", [True, False])
def test_an_interrupted_download_is_resumed(server: Server, knows_size: bool) -> None:
    download = one_file(server.url("/f", interrupts(200_000, times=2)), knows_size=knows_size)

    assert fetched(download) == CONTENT
    assert starts(server) == [0, 200_000, 400_000]


def test_the_partial_file_of_an_earlier_attempt_is_resumed(server: Server) -> None:
    download = one_file(server.url("/f", complete))
    leave_partial(download, CONTENT[:300_000])

    assert fetched(download) == CONTENT
    assert starts(server) == [300_000]


def test_the_next_mirror_resumes_the_partial_file(server: Server) -> None:
    download = one_file(server.url("/bad", interrupts(50_000, times=99)), server.url("/good", complete))

    assert fetched(download) == CONTENT
    assert server.requests == [("/bad", 0), ("/bad", 50_000), ("/bad", 100_000), ("/good", 150_000)]


def test_a_server_without_ranges_sends_the_complete_file(server: Server) -> None:
    download = one_file(server.url("/f", ignores_range))
    leave_partial(download, b"x" * 300_000)

    assert fetched(download) == CONTENT


def test_a_resumed_file_with_a_wrong_hash_is_downloaded_again(server: Server) -> None:
    download = one_file(server.url("/f", complete))
    leave_partial(download, b"x" * 300_000)

    assert fetched(download) == CONTENT
    assert starts(server) == [300_000, 0]


@pytest.mark.parametrize("size_bytes", [len(CONTENT), len(CONTENT) + 7])
def test_a_wrong_file_that_is_too_long_to_resume_is_downloaded_again(server: Server, size_bytes: int) -> None:
    download = one_file(server.url("/f", complete), knows_size=False)
    leave_partial(download, b"x" * size_bytes)

    assert fetched(download) == CONTENT
    assert starts(server) == [size_bytes, 0]


def test_a_shorter_wrong_file_is_downloaded_twice_before_the_next_mirror_is_tried(server: Server) -> None:
    def short(request: BaseHTTPRequestHandler, start: int) -> None:
        if start:
            request.send_error(416)
        else:
            answer(request, b"x" * 600, 0)

    download = one_file(server.url("/bad", short), server.url("/good", complete))

    assert fetched(download) == CONTENT
    assert server.requests == [("/bad", 0), ("/bad", 600), ("/bad", 0), ("/bad", 600), ("/good", 0)]


def test_a_content_length_that_is_too_small_does_not_truncate_the_file(server: Server) -> None:
    download = one_file(server.url("/f", announces_less))

    assert fetched(download) == CONTENT
    assert starts(server) == [0, 511_000]


@pytest.mark.parametrize("knows_size", [True, False])
def test_a_content_length_that_is_too_large_is_ignored(server: Server, knows_size: bool) -> None:
    assert fetched(one_file(server.url("/f", announces_more), knows_size=knows_size)) == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fails_with(404), "HTTP 404 Not Found"),
        (fails_with(503), "HTTP 503 Service Unavailable"),
        (sends(PAGE), "answered with an HTML page instead of the file"),
        (sends(CONTENT + b"x"), "sent more than the 512,000 bytes of the file"),
        (sends(CONTENT[:-1] + b"x"), r"sent a different file of 512,000 bytes \(expected SHA-256 [0-9a-f]{12}\.\.\.\)"),
        (sends(b"short"), "ended after 5 of 512,000 bytes"),
        (never_answers, r"no answer in 0\.3 s"),
        (sends_slowly, r"too slow: \d+ bytes in 0 s"),
        (redirects_to("http://[::no"), "Invalid IPv6 URL"),
        (interrupts(1, times=99), "ended after 3 of 512,000 bytes"),
    ],
    ids=["404", "503", "HTML", "too long", "other", "short", "no answer", "slow", "redirect", "always interrupts"],
)
def test_the_next_mirror_is_tried_and_the_error_states_the_reasons(
    server: Server,
    behaviour: Callable[[BaseHTTPRequestHandler, int], None],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = server.url("/bad", behaviour)
    if behaviour in (never_answers, sends_slowly):  # a short limit can fail other tests on a busy machine
        monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 0.3)

    with pytest.raises(
        DataError,
        match=f"^some: cannot download some.bin: {bad}: {reason}; .*`convoy data add some",
    ):
        fetched(one_file(bad))

    assert fetched(one_file(bad, server.url("/good", complete))) == CONTENT


def test_a_server_that_sends_another_range_is_an_error(server: Server) -> None:
    bad = server.url("/bad", sends_another_range)
    leave_partial(one_file(bad), CONTENT[:1000])
    with pytest.raises(DataError, match="expected bytes from 1,000, got Content-Range 'bytes 0-511999/512000'"):
        fetched(one_file(bad))


def test_a_login_page_does_not_delete_the_partial_file(server: Server) -> None:
    download = one_file(server.url("/page", sends(PAGE)), server.url("/good", complete))
    leave_partial(download, CONTENT[:300_000])

    assert fetched(download) == CONTENT
    assert server.requests == [("/page", 300_000), ("/good", 300_000)]


def test_error_states_every_mirror_and_its_answer(server: Server) -> None:
    urls = [server.url("/a", fails_with(404)), "http://127.0.0.1:1/b", "http://no-such-host.invalid/c"]
    answers = rf"{urls[0]}: HTTP 404 Not Found; {urls[1]}: Connection refused; {urls[2]}: \S.*; .*convoy data add some"
    with pytest.raises(DataError, match=answers) as error:
        fetched(one_file(*urls))
    assert "\n" not in str(error.value)


def test_a_failed_download_leaves_no_file(server: Server) -> None:
    download = one_file(server.url("/f", sends(CONTENT[:-1] + b"x")))
    with pytest.raises(DataError):
        fetched(download)
    assert [file.name for file in fetch.missing(download)] == ["some.bin"]
    assert {path.name for path in fetch.folder_of(download).iterdir()} <= {".lock"}


def test_a_truncated_file_is_downloaded_again(server: Server) -> None:
    download = one_file(server.url("/f", complete))
    fetched(download)
    (fetch.folder_of(download) / "some.bin").write_bytes(CONTENT[:1000])
    assert fetched(download) == CONTENT


def test_error_names_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(DataError, match=r"cache/downloads/some: cannot be written: Not a directory"):
        fetched(one_file(server.url("/f", complete)))


def fetch_in_process(download: Download) -> bool:
    return fetched(download) == CONTENT


def test_two_processes_download_once(server: Server) -> None:
    def slowly(request: BaseHTTPRequestHandler, start: int) -> None:
        time.sleep(0.2)
        complete(request, start)

    download = one_file(server.url("/f", slowly))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(fetch_in_process, [download] * 3, chunksize=1) == [True] * 3

    assert starts(server) == [0]


def test_a_manually_downloaded_file_is_identified_by_its_hash(server: Server, tmp_path: Path) -> None:
    (tmp_path / "from the browser (1)").write_bytes(CONTENT)
    download = one_file("http://127.0.0.1:1/f")

    fetch.add("some", download, [tmp_path / "from the browser (1)"])

    assert fetched(download) == CONTENT


@pytest.mark.parametrize(
    ("content", "kind"), [(PAGE, "an HTML page"), (CONTENT[:-1], "a file with SHA-256 [0-9a-f]{64}")]
)
def test_another_file_is_not_added(server: Server, tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "some.bin").write_bytes(content)
    download = one_file("http://127.0.0.1:1/f")

    with pytest.raises(DataError, match=rf"some\.bin: .*some\.bin \(.*; got {kind}"):
        fetch.add("some", download, [tmp_path / "some.bin"])

    assert {path.name for path in fetch.folder_of(download).iterdir()} <= {".lock"}


def test_error_names_a_file_to_add_that_does_not_exist(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^\S+nothing\.bin: does not exist"):
        fetch.add("some", one_file("http://127.0.0.1:1/f"), [tmp_path / "nothing.bin"])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_is_partly_copied_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def copy(_source: Path, target: Path) -> None:
        target.write_bytes(CONTENT[:10])
        raise error

    monkeypatch.setattr(fetch.shutil, "copyfile", copy)
    (tmp_path / "some.bin").write_bytes(CONTENT)
    download = one_file("http://127.0.0.1:1/f")
    with pytest.raises((DataError, KeyboardInterrupt)):
        fetch.add("some", download, [tmp_path / "some.bin"])
    assert {path.name for path in fetch.folder_of(download).iterdir()} <= {".lock"}
