import os
import subprocess

import pytest

from satseg.datasets.checksums import ChecksumMemory, sha256_of
from satseg.datasets.repository import GitRepository
from satseg.errors import ConfigurationError, TemporaryError


@pytest.fixture
def repository(tmp_path) -> GitRepository:
    root = tmp_path / "data"
    root.mkdir()
    found = GitRepository(root)
    found.initialise()
    return found


def commit(repository: GitRepository, version: int, **files: str) -> str:
    folder = repository.root / "p" / "items"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.json").write_text(text)
    found = repository.commit(["p"], f"version {version}")
    repository.tag(f"p/v{version}", f"version {version}")
    return found


def test_versions_are_sorted_by_number(repository):
    commits = [commit(repository, number, a=str(number)) for number in (1, 2, 10)]
    tags = repository.tags("p")
    assert [tag.name for tag in tags] == ["v1", "v2", "v10"]
    assert [tag.commit for tag in tags] == commits
    assert tags[0].message == "version 1"
    assert repository.tags("other") == []


def test_old_files_are_read_without_a_checkout(repository):
    old = commit(repository, 1, a="one", b="zwei – ü")
    commit(repository, 2, a="two")
    files = repository.files(old, "p/items")
    assert list(files) == ["p/items/a.json", "p/items/b.json"]
    assert [blob.decode() for blob in repository.blobs(list(files.values()))] == ["one", "zwei – ü"]
    assert repository.blobs([]) == []


def test_git_needs_no_identity_and_obeys_no_variables_of_a_hook(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody else")
    commit(repository, 1, a="one")
    assert repository.run("log", "--format=%an <%ae>").decode().strip() == "satseg <satseg@localhost>"


def test_a_repository_inside_another_leaves_that_one_alone(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "init", "-q", tmp_path], check=True, env=environment)
    (tmp_path / "workspace" / "data").mkdir(parents=True)
    inner = GitRepository(tmp_path / "workspace" / "data")
    assert not inner.exists
    inner.initialise()
    commit(inner, 1, a="one")
    assert GitRepository(tmp_path).head() is None
    assert inner.tags("p")[0].name == "v1"


def test_reset_takes_back_what_a_killed_process_left(repository):
    base = commit(repository, 1, a="one")
    commit(repository, 2, a="two", b="new")
    (repository.root / "p" / "loose.txt").write_text("untracked")
    (repository.root / ".git" / "index.lock").touch()
    repository.reset(base)
    assert (repository.root / "p/items/a.json").read_text() == "one"
    assert not (repository.root / "p/items/b.json").exists()
    assert not (repository.root / "p/loose.txt").exists()


def test_a_failing_git_says_what_it_said(repository):
    with pytest.raises(TemporaryError, match=r"git cat-file -t failed in .*nonsense"):
        repository.run("cat-file", "-t", "nonsense")


def test_a_missing_git_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="'git' is not installed"):
        GitRepository(tmp_path).run("status")


def test_checksums_are_remembered_until_the_file_changes(tmp_path, monkeypatch):
    path, memory_file = tmp_path / "a.bin", tmp_path / "memory.json"
    path.write_bytes(b"one")
    memory = ChecksumMemory(memory_file)
    assert memory.of(path) == sha256_of(path)
    assert memory.of(tmp_path / "missing") is None
    memory.save()
    calls = []
    monkeypatch.setattr("satseg.datasets.checksums.sha256_of", lambda p: calls.append(p) or "computed")
    again = ChecksumMemory(memory_file)
    assert again.of(path) != "computed"
    path.write_bytes(b"three")
    assert again.of(path) == "computed"
    assert calls == [path]


def test_a_broken_memory_is_forgotten(tmp_path):
    (tmp_path / "memory.json").write_text("{ broken")
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    assert ChecksumMemory(tmp_path / "memory.json").of(path) == sha256_of(path)
