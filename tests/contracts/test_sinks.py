"""The contract of framencc.sinks.base, run over every sink."""

import threading

import numpy as np
import pytest
from sink_readback import KINDS, Kind, names, read_back, some_maps, write_maps

from framencc.errors import SinkError, SpecError


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def assert_holds(kind, path, maps, first=0):
    got = read_back(kind, path, range(first, first + len(maps)))
    if kind.exact:
        assert got.dtype == kind.dtype
        np.testing.assert_array_equal(got, maps)
    else:
        assert got.shape == maps.shape


def test_commit_makes_exactly_the_maps_visible(kind, tmp_path):
    maps = some_maps(5, kind.dtype)
    with kind.open(tmp_path) as sink:
        write_maps(sink, maps)
        assert sink.n_written == 5
        visible = [name for name in names(tmp_path) if "/." not in name]
        assert visible == ["new"]
        path = sink.commit()
    assert path == tmp_path / kind.output
    assert_holds(kind, path, maps)
    expected = [path.name % index for index in range(5)] if kind.numbered else [path.name]
    assert sorted(names(tmp_path / "new")) == sorted(expected)


def test_abort_leaves_nothing_not_even_folders(kind, tmp_path):
    sink = kind.open(tmp_path)
    write_maps(sink, some_maps(3, kind.dtype))
    assert names(tmp_path)
    sink.abort()
    sink.abort()
    assert names(tmp_path) == []


def test_abort_before_the_first_map_leaves_nothing(kind, tmp_path):
    with kind.open(tmp_path):
        pass
    assert names(tmp_path) == []


def test_abort_keeps_a_folder_that_others_use(kind, tmp_path):
    sink = kind.open(tmp_path)
    (tmp_path / "new" / "notes.txt").write_text("mine")
    sink.abort()
    assert names(tmp_path) == ["new", "new/notes.txt"]


def test_leaving_the_block_without_commit_aborts(kind, tmp_path):
    def fail_halfway():
        with kind.open(tmp_path) as sink:
            write_maps(sink, some_maps(2, kind.dtype))
            raise RuntimeError("the run failed")

    with pytest.raises(RuntimeError, match="the run failed"):
        fail_halfway()
    assert names(tmp_path) == []


def test_commit_twice_and_abort_after_commit_change_nothing(kind, tmp_path):
    maps = some_maps(3, kind.dtype)
    sink = kind.open(tmp_path)
    write_maps(sink, maps)
    path = sink.commit()
    before = names(tmp_path)
    assert sink.commit() == path
    sink.abort()
    assert sink.commit() == path
    assert names(tmp_path) == before
    assert_holds(kind, path, maps)


def test_a_wrong_map_is_refused_and_the_sink_still_works(kind, tmp_path):
    maps = some_maps(3, kind.dtype)
    with kind.open(tmp_path) as sink:
        write_maps(sink, maps[:1])
        for wrong in (maps[1, :-1], maps[1].T, maps[1][..., None], maps[1].astype(np.float64)):
            with pytest.raises(ValueError, match="was given to a sink of"):
                sink.write(wrong, 1, 1.0)
        with pytest.raises(ValueError, match="map 0 was given after map 0"):
            sink.write(maps[1], 0, 1.0)
        assert sink.n_written == 1
        write_maps(sink, maps[1:], first=1)
        path = sink.commit()
    assert_holds(kind, path, maps)


def test_views_and_read_only_maps_are_written_as_they_look(kind, tmp_path):
    maps = some_maps(3, kind.dtype)
    wide = np.repeat(maps, 2, axis=2)
    wide.flags.writeable = False
    with kind.open(tmp_path) as sink:
        write_maps(sink, wide[:, :, ::2])
        path = sink.commit()
    assert_holds(kind, path, maps)


def test_a_map_may_change_after_the_call(kind, tmp_path):
    maps = some_maps(4, kind.dtype)
    buffer = np.empty_like(maps[0])
    with kind.open(tmp_path) as sink:
        for index, data in enumerate(maps):
            buffer[...] = data
            sink.write(buffer, index, index / 25)
            buffer[...] = 0
        path = sink.commit()
    assert_holds(kind, path, maps)


def test_an_existing_target_is_refused(kind, tmp_path):
    make_old(kind, tmp_path)
    before = names(tmp_path)
    with pytest.raises(SpecError, match=r"^output '.*' exists; give --overwrite to replace it$"):
        kind.open(tmp_path)
    assert names(tmp_path) == before


def test_an_existing_target_is_untouched_until_commit(kind, tmp_path):
    old = make_old(kind, tmp_path)
    maps = some_maps(3, kind.dtype, seed=1)
    with kind.open(tmp_path, overwrite=True) as sink:
        write_maps(sink, maps)
    assert_holds(kind, tmp_path / kind.output, old)
    with kind.open(tmp_path, overwrite=True) as sink:
        write_maps(sink, maps)
        assert_holds(kind, tmp_path / kind.output, old)
        path = sink.commit()
    assert_holds(kind, path, maps)
    assert len(names(tmp_path / "new")) == (3 if kind.numbered else 1)


def test_a_target_that_appears_meanwhile_is_not_replaced(kind, tmp_path):
    sink = kind.open(tmp_path)
    write_maps(sink, some_maps(3, kind.dtype, seed=1))
    appeared = tmp_path / (kind.output % 1 if kind.numbered else kind.output)
    appeared.write_text("somebody else's")
    with pytest.raises(SinkError, match="appeared during the run"):
        sink.commit()
    sink.abort()
    assert names(tmp_path / "new") == [appeared.name]
    assert appeared.read_text() == "somebody else's"


def test_a_commit_that_fails_at_the_name_leaves_what_has_it_and_nothing_hidden(kind, tmp_path):
    sink = kind.open(tmp_path, overwrite=True)
    write_maps(sink, some_maps(3, kind.dtype))
    folder = tmp_path / (kind.output % 1 if kind.numbered else kind.output)
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(SinkError, match="cannot be written"):
        sink.commit()
    with pytest.raises(SinkError, match="was failed"):
        sink.commit()
    sink.abort()
    assert (folder / "inside").is_dir()
    assert [name for name in names(tmp_path) if "/." in name] == []


def test_nothing_written_is_nothing_to_commit(kind, tmp_path):
    with kind.open(tmp_path) as sink, pytest.raises(SinkError, match="no map was written"):
        sink.commit()
    assert names(tmp_path) == []


def test_nothing_goes_in_after_commit_or_abort(kind, tmp_path):
    maps = some_maps(2, kind.dtype)
    sink = kind.open(tmp_path)
    write_maps(sink, maps[:1])
    sink.commit()
    with pytest.raises(SinkError, match="was committed"):
        write_maps(sink, maps[1:], first=1)
    sink = kind.open(tmp_path, overwrite=True)
    sink.abort()
    with pytest.raises(SinkError, match="was aborted"):
        write_maps(sink, maps)
    with pytest.raises(SinkError, match="was aborted"):
        sink.commit()


def test_a_folder_that_cannot_be_made_is_one_clear_line(kind, tmp_path):
    (tmp_path / "new").write_text("a file")
    with pytest.raises(SinkError, match=r"^output '.*' cannot be written: Not a directory$"):
        kind.open(tmp_path)
    assert names(tmp_path) == ["new"]


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 5), (37, 51), (64, 2)])
def test_odd_sizes(kind, shape, tmp_path):
    maps = some_maps(2, kind.dtype, shape)
    with kind.open(tmp_path, shape) as sink:
        write_maps(sink, maps)
        path = sink.commit()
    got = read_back(kind, path, range(2), shape)
    assert got.shape == maps.shape
    if kind.exact:
        np.testing.assert_array_equal(got, maps)


def test_two_runs_give_the_same_bytes(kind, tmp_path):
    for run in ("one", "two"):
        with kind.open(tmp_path / run) as sink:
            write_maps(sink, some_maps(4, kind.dtype))
            sink.commit()
    first, second = ({name: (tmp_path / run / name) for name in names(tmp_path / run)} for run in ("one", "two"))
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].is_dir() or first[name].read_bytes() == second[name].read_bytes()


def test_abort_from_another_thread_during_writes_leaves_nothing(kind, tmp_path):
    sink = kind.open(tmp_path)
    maps = some_maps(4, kind.dtype)
    started = threading.Event()
    failures = []

    def write_for_ever():
        try:
            for first in range(0, 1_000_000, 4):
                write_maps(sink, maps, first=first)
                started.set()
        except SinkError as error:
            failures.append(error)

    writer = threading.Thread(target=write_for_ever)
    writer.start()
    assert started.wait(20)
    sink.abort()
    writer.join(20)
    assert not writer.is_alive()
    assert len(failures) == 1
    assert names(tmp_path) == []


def make_old(kind, folder):
    old = some_maps(4, kind.dtype)
    with kind.open(folder) as sink:
        write_maps(sink, old)
        sink.commit()
    return old
