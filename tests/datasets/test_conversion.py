"""``python -m mimrl.datasets``: convert and inspect, from the shell to exit codes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from generated import make_corpus, same_split

from mimrl.datasets import hdf5
from mimrl.datasets.__main__ import main
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.conversion import convert
from mimrl.errors import DataError, DataWarning
from mimrl.settings import DataSettings

CONTENT = {
    split: {
        "raw_text": np.array(["good", "bad"], dtype=object),
        "audio": np.array([[[1.0, 2.0], [0, 0]], [[3.0, -np.inf], [4.0, 5.0]]], np.float32),
        "regression_labels": np.array([1.0, -1.0], np.float32),
        "id": [f"{split}v$_$0", f"{split}w$_$1"],
    }
    for split in ("train", "valid", "test")
}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.pkl"
    path.write_bytes(pickle.dumps(CONTENT))
    return path


def settings(path, **more):
    return DataSettings(path=str(path), **more)


def test_a_converted_file_opens_as_its_original(source, tmp_path):
    target = tmp_path / "out.h5"
    with pytest.warns(DataWarning, match=r"audio: -inf set to 0 \(3\)"):
        written = convert(settings(source), target)
    with pytest.warns(DataWarning, match=r"audio: -inf set to 0 \(3\)"):
        original = open_corpus(settings(source))
    assert all(same_split(s, written.splits[name]) for name, s in original.splits.items())
    back = hdf5.read(target, settings(target))
    assert all(same_split(s, back.splits[name]) for name, s in original.splits.items())
    assert back.repairs == original.repairs
    assert hdf5.origin(target) == hdf5.Origin("mmsa", "in.pkl")


@pytest.mark.parametrize("name", ["mosi/mosi_official_text_audio_mmsa.pkl", "mfn/pom"])
def test_real_files_are_the_same_after_conversion(data_root, tmp_path, name):
    original = convert(settings(data_root / name), tmp_path / "out.h5")
    back = open_corpus(settings(tmp_path / "out.h5"))
    assert list(back.splits) == list(original.splits)
    assert all(same_split(s, back.splits[n]) for n, s in original.splits.items())
    assert back.label_names == original.label_names


def test_a_converted_file_can_be_split_again_and_keeps_its_origin(tmp_path):
    first, second = tmp_path / "a.h5", tmp_path / "b.h5"
    hdf5.write(make_corpus({"train": 30}, groups=10), first)
    with pytest.warns(DataWarning, match="text: mended"):
        convert(settings(first, split_by_group=(0.6, 0.2, 0.2)), second)
    assert hdf5.origin(second) == hdf5.Origin("mmsa", "made.pkl")
    sizes = {n: len(s) for n, s in hdf5.read(second, settings(second)).splits.items()}
    assert sizes == {"train": 18, "valid": 6, "test": 6}


def test_the_command_converts_and_inspects(source, tmp_path, capsys):
    target = tmp_path / "out.h5"
    assert main(["convert", str(source), "--layout", "mmsa", str(target), "split_seed=3"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{target}: train 2, valid 2, test 2 samples, from mmsa")
    assert captured.err == f"warning: {source}: audio: -inf set to 0 (3)\n"  # no progress bar
    assert main(["inspect", str(target)]) == 0
    assert "origin  mmsa, in.pkl" in capsys.readouterr().out
    assert main(["inspect", "--json", str(source), "data.layout=mmsa"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["layout"] == "mmsa"
    assert report["splits"]["test"]["sequences"]["audio"]["non_finite"]["-inf"] == 1  # unrepaired


def test_bad_input_is_one_message_exit_code_2_and_an_untouched_output(source, tmp_path, capsys):
    good = tmp_path / "good.h5"
    hdf5.write(make_corpus({"train": 2}), good)
    before = good.read_bytes()
    broken = tmp_path / "broken.pkl"
    broken.write_bytes(source.read_bytes()[:-30])
    other = tmp_path / "other.pkl"
    other.write_bytes(pickle.dumps({"x": 1}))
    names = sorted(item.name for item in tmp_path.iterdir())
    for arguments, message in [
        (["convert", broken, good], "truncated"),
        (["convert", other, good], "expected one of the layouts"),
        (["convert", tmp_path / "none.pkl", good], "does not exist"),
        (["convert", source, good, "layuot=mmsa"], "unknown key"),
        (["convert", source, good, "--layout", "words"], "expected the layout 'words'"),
        (["convert", source, source], "exists and is not"),
        (["convert", source, tmp_path], "name of a file"),
        (["convert", source, tmp_path / "no" / "out.h5"], "folder that exists"),
        (["inspect", broken], "truncated"),
        (["inspect", tmp_path / "none.pkl"], "does not exist"),
    ]:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert message in captured.err
        assert "Traceback" not in captured.err
    assert good.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == names


def test_an_interrupted_conversion_leaves_nothing(source, tmp_path, monkeypatch, capsys):
    def interrupt(values):
        raise KeyboardInterrupt

    monkeypatch.setattr(hdf5, "row_blocks", interrupt)
    assert main(["convert", str(source), str(tmp_path / "out.h5")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["in.pkl"]


def test_wrong_arguments_and_help(capsys):
    for arguments, code in (([], 2), (["inspect"], 2), (["melt", "x"], 2), (["--help"], 0)):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == code
    assert "inspect" in capsys.readouterr().out


def test_the_target_is_checked_before_the_source_is_read(source, tmp_path, monkeypatch):
    from mimrl.datasets import conversion

    monkeypatch.setattr(conversion, "open_corpus", lambda *a, **k: pytest.fail("was read"))
    (tmp_path / "out.h5").write_text("notes")
    with pytest.raises(DataError, match="exists and is not"):
        convert(settings(source), tmp_path / "out.h5")


def test_as_a_module(source):
    command = [sys.executable, "-m", "mimrl.datasets", "inspect", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "layout  mmsa" in done.stdout
    assert done.stderr == ""
