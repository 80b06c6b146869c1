"""An ensemble with members from scikit-learn goes through one archive, and back."""

import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from keras_tricks.ensembles import Ensemble, _archive_zip
from keras_tricks.ensembles.load import load

COUNT = 32  # one batch
X = np.random.default_rng(0).normal(size=(COUNT, 4)).astype("float32")
THREE = X[:, :3].argmax(axis=1)
TWO = (X[:, 0] > 0).astype(int)
NAMES = np.array(["a", "b", "c"])
TREE = "sklearn.tree._tree.Tree"

needs_skops = pytest.mark.needs("skops")


@pytest.fixture(autouse=True)
def _eagerly(monkeypatch):
    monkeypatch.setattr(keras.Model, "run_eagerly", True)


def network(outputs=3, activation="softmax", name=None):
    layer = keras.layers.Dense(outputs, activation)
    return keras.Sequential([keras.Input((4,)), layer], name=name)


def logistic(y=THREE):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)


@keras.saving.register_keras_serializable("tests_archive")
def greatest(predictions, weights=None):
    return np.max(np.stack(list(predictions)), axis=0)


def mixed():
    """Everything that a file must keep: nesting, twins, weights, what was fitted."""
    shared, classical = network(name="same"), logistic()
    inner = Ensemble([shared, classical, network(name="same")], weights=[1, 2, 3])
    ensemble = Ensemble([inner, shared, classical, inner], name="outer")
    ensemble.fit_weights(X, THREE)
    ensemble.calibrate(X, THREE)
    return ensemble


def with_threshold():
    ensemble = Ensemble(
        [network(1, "sigmoid"), logistic(TWO)], classes=np.array(["no", "yes"])
    )
    ensemble.fit_threshold(X, np.array(["no", "yes"])[TWO], "f1")
    return ensemble


def logits():
    model = network(3, None)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return Ensemble([model, logistic()], outputs=["auto", "probabilities"])


CASES = {
    "mixed": mixed,
    "with_threshold": with_threshold,
    "logits": logits,
    "names": lambda: Ensemble([logistic(NAMES[THREE]), logistic(NAMES[TWO])], "vote"),
    "orders": lambda: Ensemble(
        [network(), logistic(NAMES[THREE])], classes=[["c", "a", "b"], ["a", "b", "c"]]
    ),
    "code": lambda: Ensemble([logistic(TWO), network()], [[0, 0], [1, 1], [1, 2]]),
    "own_fusion": lambda: Ensemble([network(), logistic()], greatest),
    "values": lambda: Ensemble([LinearRegression().fit(X, TWO)], "mean"),
    "frozen_name": lambda: Ensemble([network(), logistic()], name="mine"),
}


def answers(ensemble):
    found = {"answer": ensemble.predict(X), "weights": ensemble.member_weights}
    found["temperature"] = ensemble.temperature
    if ensemble.threshold is not None:
        found["threshold"] = ensemble.threshold
    if ensemble._answer_kind != "values":
        found["labels"] = ensemble.decide(X)
    return found


def load_all(folder):
    """Runs in a fresh process."""
    keras.Model.run_eagerly = True
    for name in CASES:
        np.savez(f"{folder}/{name}.npz", **answers(load(f"{folder}/{name}.zip")))


LOAD = """
import sys
from ensembles import test_archive

test_archive.load_all(sys.argv[1])
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder, expected = tmp_path_factory.mktemp("saved"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "run_eagerly", True)
        for name, make in CASES.items():
            ensemble = make()
            ensemble.save(folder / f"{name}.zip")
            expected[name] = answers(ensemble)
    path = os.pathsep.join(filter(None, sys.path))
    finished = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", LOAD, folder],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert finished.returncode == 0, finished.stderr
    return folder, expected


@needs_skops
@pytest.mark.parametrize("name", CASES)
def test_a_fresh_process_gives_the_same_answers(saved, name):
    folder, expected = saved
    with np.load(folder / f"{name}.npz") as found:
        assert set(found.files) == set(expected[name])
        for key, value in expected[name].items():
            if found[key].dtype.kind == "U":
                assert found[key].tolist() == value.tolist()
            else:
                np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-7)


@needs_skops
def test_members_are_stored_once_and_none_is_pickled(saved):
    with zipfile.ZipFile(saved[0] / "mixed.zip") as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("manifest.json"))
    assert sorted(names) == [
        "manifest.json",
        "member-0.keras",
        "member-1.skops",
        "member-2.keras",
    ]
    assert [node["kind"] for node in manifest["nodes"]] == [
        "keras",
        "skops",
        "keras",
        "ensemble",
        "ensemble",
    ]


@needs_skops
def test_what_is_one_member_is_one_after_loading(saved):
    ensemble = load(saved[0] / "mixed.zip")
    inner, shared, classical, again = ensemble.models
    assert ensemble.name == "outer"
    assert inner is again
    assert inner.models[0] is shared
    assert inner.models[1] is classical
    assert inner.models[2] is not shared


@needs_skops
def test_a_loaded_member_is_not_compiled(saved):
    model, _ = load(saved[0] / "logits.zip").models
    assert not model.compiled


@needs_skops
def test_a_loaded_ensemble_can_be_saved_again(saved, tmp_path):
    ensemble = load(saved[0] / "mixed.zip")
    ensemble.save(str(tmp_path / "again.ZIP"))
    found = answers(load(str(tmp_path / "again.ZIP")))
    np.testing.assert_allclose(found["answer"], ensemble.predict(X), rtol=1e-6)
    assert found["temperature"] != 1.0


def test_keras_models_alone_need_no_skops(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    ensemble = Ensemble([Ensemble([network(), network()]), network()], "vote")
    ensemble.save(tmp_path / "a.zip")
    again = load(tmp_path / "a.zip")
    np.testing.assert_allclose(again.predict(X), ensemble.predict(X, verbose=0))
    again.compile("sgd", "mse")
    assert isinstance(again.models[0], Ensemble)


# Saving.


def test_without_skops_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ImportError, match=r'pip install "keras_tricks\[skops\]"'):
        Ensemble([logistic()]).save(tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())


@needs_skops
def test_loading_without_skops_names_the_extra(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ImportError, match=r'pip install "keras_tricks\[skops\]"'):
        load(saved[0] / "names.zip")


@needs_skops
def test_a_file_is_kept_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="`filepath` must be a new name where"):
        Ensemble([logistic()]).save(path, overwrite=False)
    model = network()
    monkeypatch.setattr(model, "save", lambda file: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Ensemble([model, logistic()]).save(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.zip", b"old")]
    Ensemble([logistic()]).save(path)
    assert load(path).predict(X).shape == (COUNT, 3)


@needs_skops
def test_what_cannot_be_written_is_named(tmp_path):
    tail = make_pipeline(FunctionTransformer(lambda x: x), LogisticRegression())
    with pytest.raises(
        ValueError, match="`models` must hold estimators that skops can"
    ):
        Ensemble([tail.fit(X, TWO)]).save(tmp_path / "a.zip")

    def least(predictions, weights=None):
        return np.min(np.stack(list(predictions)), axis=0)

    with pytest.raises(ValueError, match="`fusion` must be registered to be saved"):
        Ensemble([logistic()], least).save(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="`classes` must be strings or numbers to be"):
        Ensemble([network()], classes=[1j, "a", b"b"]).save(tmp_path / "a.zip")
    with pytest.raises(ValueError, match=r"`zipped_as` must be None in the `save`"):
        Ensemble([logistic()]).save(tmp_path / "a.zip", zipped_as=1)
    deep = Ensemble([network()])
    for _ in range(33):
        deep = Ensemble([deep])
    with pytest.raises(ValueError, match="`models` must be nested 32 levels deep at"):
        deep.save(tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())


class Own(Ensemble):
    """An ensemble of the user's class, which no archive can make again."""


@needs_skops
def test_an_ensemble_of_another_class_is_refused(tmp_path):
    for ensemble in (Own([logistic()]), Ensemble([Own([logistic()])])):
        with pytest.raises(ValueError, match=r"of the class Ensemble itself.*Own"):
            ensemble.save(tmp_path / "a.zip")


# Loading what nobody has to trust.


@needs_skops
def test_types_that_are_not_trusted_are_listed(tmp_path):
    forest = RandomForestClassifier(2, random_state=0).fit(X, THREE)
    tree = DecisionTreeClassifier(max_depth=1).fit(X, THREE)
    ensemble = Ensemble([forest, tree, network()])
    path = tmp_path / "a.zip"
    ensemble.save(path)
    with pytest.raises(
        ValueError, match=rf"a.zip' with \['{TREE}'\]; .*pass trusted=\["
    ):
        load(path)
    for trusted in ([TREE], (type(tree.tree_),)):
        found = load(path, trusted=trusted).predict(X)
        np.testing.assert_allclose(found, ensemble.predict(X), rtol=1e-6)


@pytest.mark.parametrize("trusted", [True, TREE, [3]])
def test_trusted_is_a_list_of_types(trusted, tmp_path):
    with pytest.raises(TypeError, match="`trusted` must be a list of types"):
        load(tmp_path / "a.zip", trusted=trusted)


def test_the_path_must_be_one(tmp_path):
    with pytest.raises(
        TypeError, match=r"`filepath` must be a path. Received: filepath=3"
    ):
        load(3)
    for path in (tmp_path / "none.zip", tmp_path):
        with pytest.raises(
            FileNotFoundError, match="`filepath` must be a file that ex"
        ):
            load(path)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """A good archive of two Keras models, to be spoilt."""
    path = tmp_path_factory.mktemp("good") / "a.zip"
    Ensemble([network(), network()], classes=["a", "b", "c"]).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(contents, **settings):
    manifest = json.loads(contents["manifest.json"])
    manifest["nodes"][-1] |= settings
    return contents | {"manifest.json": json.dumps(manifest)}


def nodes(contents, change):
    manifest = json.loads(contents["manifest.json"])
    change(manifest)
    return contents | {"manifest.json": json.dumps(manifest)}


def refused(path, match):
    with pytest.raises(
        ValueError, match=f"`filepath` must be a whole archive that .*{match}"
    ):
        load(path)


def packed(path, contents, **kwargs):
    with zipfile.ZipFile(path, "w", **kwargs) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def deeper(manifest):
    root = manifest["nodes"].pop()
    for _ in range(40):
        manifest["nodes"].append({**root})
        root = {**root, "models": [len(manifest["nodes"]) - 1] * 2}
    manifest["nodes"].append(root)


HOSTILE = {
    "is no part of it": lambda c: c | {"member-9.keras": b""},
    "a name that leads out of it": lambda c: c | {"../evil": b""},
    "'/evil', a name that leads": lambda c: c | {"/evil": b""},
    "'C:evil', a name that leads": lambda c: c | {"C:evil": b""},
    "it has no 'manifest.json'": lambda c: {"member-0.keras": b""},
    "it has no 'member-1.keras', which": lambda c: {
        name: data for name, data in c.items() if name != "member-1.keras"
    },
    "cannot be read .*utf-8": lambda c: c | {"manifest.json": b'{"a": "\xff"}'},
    "cannot be read .*Expecting": lambda c: c | {"manifest.json": b"{"},
    "cannot be read .*NaN is no": lambda c: c | {"manifest.json": b'{"a": NaN}'},
    "cannot be read .*recursion": lambda c: c | {"manifest.json": b"[" * 100_000},
    "is not that of an Ensemble": lambda c: c | {"manifest.json": b"[]"},
    "is larger than any": lambda c: c | {"manifest.json": b" " * (17 << 20)},
    "of the version 2": lambda c: nodes(c, lambda m: m.update(version=2)),
    "of the version True": lambda c: nodes(c, lambda m: m.update(version=True)),
    "has no list of members$": lambda c: nodes(c, lambda m: m.update(nodes=3)),
    "node 0 is of no kind": lambda c: nodes(c, lambda m: m["nodes"].insert(0, [])),
    "node 0 is of no kind that it can be: 'pickle'": lambda c: nodes(
        c, lambda m: m["nodes"][0].update(kind="pickle")
    ),
    "its last node is no ensemble": lambda c: nodes(
        c, lambda m: m["nodes"].append({"kind": "keras"})
    ),
    "nested more than 32 deep": lambda c: nodes(c, deeper),
    "belong to no ensemble": lambda c: changed(c, models=[0, 0]),
    "no list of members before it": lambda c: changed(c, models=[0, 2]),
    "node 2 has no list of members before": lambda c: changed(c, models=[-1, 0]),
    "has no list of members before it$": lambda c: changed(c, models=[True, 0]),
    "no right 'name'": lambda c: changed(c, name=3),
    "no right 'trainable'": lambda c: changed(c, trainable=None),
    "no right 'fusion'": lambda c: changed(c, fusion={"class_name": "function"}),
    "`fusion` must be one of": lambda c: changed(c, fusion="best"),
    "a code table: integers": lambda c: changed(c, fusion=[["a"]]),
    "its fusion 'os>system' is no fu": lambda c: changed(
        c, fusion={"registered": "os>system"}
    ),
    "its fusion 'keras_tricks>Ensemble' is no": lambda c: changed(
        c, fusion={"registered": "keras_tricks>Ensemble"}
    ),
    "no right 'weights'": lambda c: changed(c, weights=[1, "2"]),
    "`weights` must be 2 numbers": lambda c: changed(c, weights=[1, -2]),
    "no right 'classes'": lambda c: changed(c, classes="abc"),
    "unhashable": lambda c: changed(c, classes=[{}, "b"]),
    "no right 'outputs'": lambda c: changed(c, outputs=None),
    "`outputs` must be one of": lambda c: changed(c, outputs=["logits", 3]),
    "no right 'kinds'": lambda c: changed(c, kinds=["values", []]),
    "no right 'threshold'": lambda c: changed(c, threshold={}),
    "2 has no right 'threshold'": lambda c: changed(c, threshold=["a"]),
    "no right 'member_weights'": lambda c: changed(c, member_weights=[0, 0]),
    "2 has no right 'member_weights'": lambda c: changed(c, member_weights=[1]),
    "no right 'temperature'": lambda c: changed(c, temperature=0),
    "2 has no right 'temperature'": lambda c: changed(c, temperature=10**400),
    "'member-0.keras' in it is damaged": lambda c: c | {"member-0.keras": b"PK"},
}


@pytest.mark.parametrize("match", HOSTILE)
def test_a_hostile_archive_is_refused_and_named(match, contents, tmp_path):
    path = packed(tmp_path / "bad.zip", HOSTILE[match](contents))
    refused(path, f"bad.zip': .*{match}")


def test_no_archive_is_named_too(tmp_path):
    path = tmp_path / "bad.zip"
    path.write_bytes(b"no archive at all")
    refused(path, "bad.zip': File is not a zip file")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_that_comes_twice_is_refused(contents, tmp_path):
    path = packed(tmp_path / "bad.zip", contents)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("member-0.keras", b"")
    refused(path, "it holds 2 files 'member-0.keras'")


def test_what_is_packed_is_refused(contents, tmp_path):
    path = packed(tmp_path / "bad.zip", contents, compression=zipfile.ZIP_DEFLATED)
    refused(path, "'manifest.json' in it is packed, which none of it is")


def patched(path, marker, offset, value):
    """Writes over a field of every record that begins with a marker."""
    data = bytearray(path.read_bytes())
    at = data.find(marker)
    while at >= 0:
        data[at + offset : at + offset + len(value)] = value
        at = data.find(marker, at + 4)
    path.write_bytes(bytes(data))
    return path


def test_sizes_beyond_the_file_are_refused(contents, tmp_path):
    small = {"manifest.json": contents["manifest.json"]}
    path = packed(tmp_path / "bad.zip", small)
    # Sizes, packed and not, in the central directory.
    patched(path, b"PK\x01\x02", 20, (1 << 30).to_bytes(4, "little") * 2)
    refused(path, "it says that it holds 1073741824 bytes, more than there are")


def test_what_is_encrypted_is_refused(contents, tmp_path):
    small = {"manifest.json": contents["manifest.json"]}
    path = packed(tmp_path / "bad.zip", small)
    refused(patched(path, b"PK\x01\x02", 8, b"\x01\x00"), "in it is encrypted")


def test_far_too_many_files_are_refused(contents, tmp_path, monkeypatch):
    monkeypatch.setattr(_archive_zip, "_MOST_FILES", 2)
    refused(packed(tmp_path / "bad.zip", contents), "it holds 3 files")


def test_a_flipped_bit_is_found(contents, tmp_path):
    path = packed(tmp_path / "bad.zip", contents)
    data = bytearray(path.read_bytes())
    at = data.find(contents["member-0.keras"]) + 200
    data[at] ^= 1
    path.write_bytes(bytes(data))
    refused(path, "Bad CRC-32 for file 'member-0.keras'")


@pytest.mark.parametrize("many", [False, True])
def test_a_member_that_would_unpack_to_far_more_is_refused(contents, many, tmp_path):
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for index in range(4 if many else 1):
            archive.writestr(f"config{index}", bytes((17 if many else 65) << 20))
    path = packed(
        tmp_path / "bad.zip", contents | {"member-0.keras": bomb.read_bytes()}
    )
    refused(path, "'member-0.keras' in it is damaged: it would unpack")


def test_a_member_with_code_is_refused(contents, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "lambda.keras")
    code = (tmp_path / "lambda.keras").read_bytes()
    path = packed(tmp_path / "bad.zip", contents | {"member-1.keras": code})
    refused(path, r"[\s\S]*[Ll]ambda")


@needs_skops
def test_an_object_that_is_no_estimator_is_refused(contents, tmp_path):
    import skops.io

    bad = nodes(contents, lambda m: m["nodes"][0].update(kind="skops"))
    bad["member-0.skops"] = skops.io.dumps({"a": 1})
    del bad["member-0.keras"]
    refused(packed(tmp_path / "bad.zip", bad), r"`models\[0\]` must be a built keras.M")
    bad["member-0.skops"] = skops.io.dumps(LogisticRegression())
    refused(packed(tmp_path / "bad.zip", bad), r"`models\[0\]` must be fitted")
    inner = tmp_path / "inner"
    packed(inner, {"schema.json": "[" * 100_000})
    bad["member-0.skops"] = inner.read_bytes()
    refused(packed(tmp_path / "bad.zip", bad), "bad.zip': ")
    packed(inner, {"schema.json": "{}", "../a.npy": b""})
    bad["member-0.skops"] = inner.read_bytes()
    refused(packed(tmp_path / "bad.zip", bad), "'../a.npy', a name that leads out")
