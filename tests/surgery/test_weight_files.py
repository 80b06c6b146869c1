"""Files that are damaged, cut or made to harm."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest
from absl import logging

from keras_tricks.surgery import _hdf5_texts, _keras_zip, _weight_files
from keras_tricks.surgery.transfer_weights import transfer_weights

MEMBER = "model.weights.h5"


def net():
    layer = keras.layers.Dense(4, name="dense")
    return keras.Sequential([keras.Input((3,)), layer])


def plain(file):
    """A file as Keras 3 writes it, but for the layer's values."""
    group = h5py.File(file, "w").create_group("layers/dense/vars")
    group.attrs["name"] = "dense"
    group["1"] = np.ones(4, "float32")
    return group


def huge_and_empty(group):
    group.create_dataset("0", (1 << 20, 1 << 20), "float32")


def huge_and_never_written(group):
    group.create_dataset("0", (1 << 20, 1 << 20), "float32", chunks=(64, 64))


def huge_and_packed(group):
    whole = group.create_dataset(
        "0", (1 << 14, 1 << 14), "float32", chunks=(1 << 14, 1 << 14), compression=9
    )
    whole.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 10)))


def chunk_bomb(group):
    bomb = zlib.compress(bytes(1 << 26), 9)
    kernel = group.create_dataset("0", (3, 4), "float32", chunks=(3, 4), compression=9)
    kernel.id.write_direct_chunk((0, 0), bomb)


def small_chunk_bomb(group):
    kernel = group.create_dataset("0", (3, 4), "float32", chunks=(3, 4), compression=9)
    kernel.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 18), 9))


def large_chunk(group):
    group.create_dataset(
        "0", (3, 4), "float32", maxshape=(None, 4), chunks=(1 << 20, 4)
    )[:] = 1


def other_packing(group):
    group.create_dataset("0", data=np.ones((3, 4), "float32"), compression="lzf")


def missing_chunk(group):
    kernel = group.create_dataset("0", (3, 4), "float32", chunks=(1, 4))
    kernel[:2] = 1


def external_link(group):
    group["0"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(group):
    group["0"] = h5py.SoftLink("/layers/dense/vars/1")


def linked_group(group):
    group.file["layers/more"] = h5py.ExternalLink("other.h5", "/")


def external_values(group):
    group.create_dataset("0", (3, 4), "uint8", external=[("/etc/passwd", 0, 12)])


def virtual_values(group):
    layout = h5py.VirtualLayout((3, 4), "float32")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (3, 4))
    group.create_virtual_dataset("0", layout)


def objects(group):
    group.create_dataset("0", (3, 4), h5py.string_dtype())


def references(group):
    group.create_dataset("0", (3, 4), h5py.ref_dtype)


def records(group):
    group.create_dataset("0", (3, 4), [("a", "float32"), ("b", "int8")])


def complex_numbers(group):
    group["0"] = np.ones((3, 4), "complex64")


def long_numbers(group):
    group["0"] = np.ones((3, 4), np.longdouble)


def no_shape(group):
    group["0"] = h5py.Empty("float32")


def loop(group):
    group.file["layers/dense/again"] = group.file["layers"]


def deep(group):
    below = group.parent
    for depth in range(80):
        below = below.create_group("layer")
        below.create_group("vars").attrs["name"] = f"l{depth}"


def group_for_a_value(group):
    group.create_group("0")


def value_for_a_group(group):
    group.file["layers/other"] = np.ones(3)


def named_type(group):
    group["0"] = np.dtype("float32")


def numbers_for_a_name(group):
    group.attrs["name"] = np.ones(3)


def value_for_vars(group):
    group.file["layers/other/vars"] = np.ones(3)


def no_weights(group):
    del group.file["layers"]


HOSTILE = {
    huge_and_empty: "needs 4398046511104 bytes and has 0",
    huge_and_never_written: "needs 4398046511104 bytes and has 0",
    huge_and_packed: "cannot have 1073741824 bytes in",
    chunk_bomb: "a chunk of .* is larger than its values",
    small_chunk_bomb: "does not unpack to its size",
    large_chunk: "has chunks of 16777216 bytes for 48",
    other_packing: "packed in a way .*; unpack the file with h5repack",
    missing_chunk: "needs 48 bytes and has 32",
    external_link: "'0' is a link",
    soft_link: "'0' is a link",
    linked_group: "'more' is a link",
    external_values: "lie in another file",
    virtual_values: "lie in another file",
    objects: "holds object, not numbers",
    references: "holds object, not numbers",
    records: "not numbers",
    complex_numbers: "holds complex64, not numbers",
    long_numbers: "which Keras does not know",
    no_shape: "has no shape",
    loop: "leads into a loop",
    deep: "leads into a loop",
    group_for_a_value: "is a group, not a value",
    value_for_a_group: "is a value, not a group",
    value_for_vars: "is a value, not a group",
    named_type: "is neither a group nor a dataset",
    numbers_for_a_name: "holds float64, not strings",
    no_weights: "it holds no weights",
}


@pytest.fixture(scope="module")
def model():
    return net()


def refused(model, file, told):
    """The file is refused with the documented error, and the model is as before."""
    before = model.get_weights()
    tracemalloc.start()
    with pytest.raises(ValueError, match=told) as caught:
        transfer_weights(model, file, "auto")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(caught.value).startswith("`source` must be a keras.Model, or the path")
    assert str(file) in str(caught.value)
    assert "The model is as it was" in str(caught.value)
    assert peak < 1 << 23
    for value, old in zip(model.get_weights(), before, strict=True):
        assert np.array_equal(value, old)


@pytest.mark.parametrize("harm", HOSTILE, ids=lambda harm: harm.__name__)
def test_a_file_made_to_harm_is_refused(model, tmp_path, harm):
    file = tmp_path / "a.weights.h5"
    group = plain(file)
    harm(group)
    group.file.close()
    refused(model, file, HOSTILE[harm])


@pytest.mark.parametrize("harm", HOSTILE, ids=lambda harm: harm.__name__)
def test_it_is_refused_inside_a_keras_file_too(model, tmp_path, harm):
    group = plain(tmp_path / "a.weights.h5")
    harm(group)
    group.file.close()
    content = (tmp_path / "a.weights.h5").read_bytes()
    file = zipped(tmp_path / "a.keras", {MEMBER: content})
    refused(model, file, HOSTILE[harm])


def legacy(file, layers=(b"dense",), names=(b"dense/kernel:0",)):
    whole = h5py.File(file, "w")
    whole.attrs["layer_names"] = np.array(layers)
    group = whole.create_group("dense")
    group.attrs["weight_names"] = np.array(names)
    return group


def legacy_link(group):
    group["dense/kernel:0"] = h5py.ExternalLink("other.h5", "/secret")


def legacy_object(group):
    group.create_dataset("dense/kernel:0", (3, 4), h5py.string_dtype())


def legacy_huge(group):
    group.create_dataset("dense/kernel:0", (1 << 20, 1 << 20), "float32")


def legacy_missing(group):
    pass


def legacy_names_as_numbers(group):
    group.attrs["weight_names"] = np.ones(3)


def legacy_upwards(group):
    group.attrs["weight_names"] = np.array([b"./.././dense"])


LEGACY = {
    legacy_link: "'kernel:0' is a link",
    legacy_object: "holds object, not numbers",
    legacy_huge: "needs 4398046511104 bytes and has 0",
    legacy_missing: "it has no 'dense/kernel:0'",
    legacy_names_as_numbers: "holds float64, not strings",
    legacy_upwards: "it has no",
}


@pytest.mark.parametrize("harm", LEGACY, ids=lambda harm: harm.__name__)
def test_a_legacy_file_made_to_harm_is_refused(model, tmp_path, harm):
    group = legacy(tmp_path / "a.h5")
    harm(group)
    group.file.close()
    refused(model, tmp_path / "a.h5", LEGACY[harm])


def zipped(file, members, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.fixture(scope="module")
def files(tmp_path_factory, model):
    """The model in each format, as bytes."""
    folder = tmp_path_factory.mktemp("files")
    logging.set_verbosity("error")
    model.save_weights(folder / "a.weights.h5")
    model.save(folder / "a.keras")
    model.save(folder / "a.h5")
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    members = {MEMBER: found["a.weights.h5"]}
    packed = zipped(folder / "packed.keras", members, zipfile.ZIP_DEFLATED)
    group = plain(folder / "packed.h5")
    kernel = np.ones((3, 4), "float32")
    group.create_dataset(
        "0", data=kernel, chunks=(2, 2), compression=1, shuffle=True, fletcher32=True
    )
    group.file.close()
    found |= {f.name: f.read_bytes() for f in (packed, folder / "packed.h5")}
    return found


NAMES = ["a.weights.h5", "a.keras", "a.h5", "packed.keras", "packed.h5"]


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_whole_before_they_are_damaged(model, tmp_path, files, name):
    file = tmp_path / "any.name"
    file.write_bytes(files[name])
    new = transfer_weights(model, file, strict=True)
    if name != "packed.h5":
        assert np.array_equal(new.get_weights()[0], model.get_weights()[0])
    else:
        assert np.array_equal(new.get_weights()[0], np.ones((3, 4)))


@pytest.mark.parametrize("name", NAMES)
def test_random_damage_ends_in_the_documented_error_or_not_at_all(
    tmp_path, files, name
):
    random, file = np.random.default_rng(7), tmp_path / name
    ends = {"whole": 0, "refused": 0}
    for number in range(150):
        content = bytearray(files[name])
        if number % 3 == 0:
            content = content[: random.integers(len(content))]
        else:
            for place in random.integers(len(content), size=random.integers(1, 9)):
                content[place] = random.integers(256)
        file.write_bytes(content)
        try:
            with _weight_files.opened(file) as slots:
                for slot in slots:
                    slot.read()
            ends["whole"] += 1
        except ValueError as error:
            ends["refused"] += str(error).startswith("`source` must be")
    assert sum(ends.values()) == 150
    # Every file that was cut, at least; a changed number may stay unseen.
    assert ends["refused"] >= 50


@pytest.mark.parametrize("name", ["a.weights.h5", "a.keras", "a.h5"])
@pytest.mark.parametrize("kept", [0, 5, 100, -100, -1])
def test_a_cut_file_is_refused(model, tmp_path, files, name, kept):
    file = tmp_path / name
    file.write_bytes(files[name][:kept])
    refused(model, file, "which cannot be used")


def test_another_kind_of_file_is_refused(model, tmp_path):
    file = tmp_path / "a.h5"
    file.write_bytes(b"\x80\x04\x95 a pickle")
    refused(model, file, r"begins with b'.x80.x04.x95 a pi', as neither")
    refused(model, tmp_path, "cannot be used")


def test_a_damaged_value_in_a_keras_file_is_refused(model, tmp_path, files):
    content = bytearray(files["a.keras"])
    at = content.find(model.get_weights()[0].tobytes())
    content[at] ^= 1
    file = tmp_path / "a.keras"
    file.write_bytes(content)
    refused(model, file, "Bad CRC-32")


def test_the_length_of_a_name_is_not_believed(model, tmp_path, files):
    content = bytearray(files["a.weights.h5"])
    with h5py.File(io.BytesIO(content)) as whole:
        heap = content.find(b"GCOL")
        assert whole["layers/dense/vars"].attrs["name"] == "dense"
    # Where the file refers to the name: its length, and the place of the heap.
    at = content.find(struct.pack("<IQ", len("dense"), heap))
    content[at : at + 4] = struct.pack("<I", 0xAB000005)
    file = tmp_path / "a.h5"
    file.write_bytes(content)
    refused(model, file, "a text is not in its heap")
    content[at : at + 4] = struct.pack("<I", len("dense"))
    for place in (at + 4, heap + 8, heap + 24):
        damaged = bytearray(content)
        damaged[place : place + 8] = b"\xff" * 7 + b"\0"
        file.write_bytes(damaged)
        refused(model, file, "a text")


def test_a_file_of_another_making_is_refused(model, tmp_path):
    file = tmp_path / "a.h5"
    for name, told in (
        ("dense", "'name' is written in a way that is not known"),
        (np.zeros((300, 1), "S4000"), "'name' holds 300 strings"),
    ):
        with h5py.File(file, "w", libver="latest") as whole:
            group = whole.create_group("layers/dense/vars")
            group["0"] = np.ones((3, 4))
            group.attrs["name"] = name
        refused(model, file, told)


def test_a_cut_attribute_is_told():
    # An object header of version 1 with an attribute that has a name and no data.
    attribute = struct.pack("<BxHHH8s", 1, 5, 0, 0, b"name")
    message = struct.pack("<HHB3x", 0x0C, len(attribute), 0) + attribute
    header = struct.pack("<BxHIIxxxx", 1, 1, 1, len(message)) + message
    with pytest.raises(_hdf5_texts.TextError, match=r"attribute 'name' is cut"):
        _hdf5_texts.read(io.BytesIO(header), 0, "name", 1)


def test_the_configuration_is_not_looked_at(model, tmp_path, files):
    members = {
        "config.json": b'{"class_name": "Lambda", "module": "os", "config": "rm"}',
        "metadata.json": b"\xff",
        "../outside": b"",
        MEMBER: files["a.weights.h5"],
    }
    transfer_weights(model, zipped(tmp_path / "a.keras", members), strict=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.keras"]


def test_a_zip_file_without_weights_is_refused(model, tmp_path):
    file = zipped(tmp_path / "a.keras", {"model.weights.npz": b"PK"})
    refused(model, file, "it holds 0 files 'model.weights.h5'")


def test_a_zip_file_with_two_kinds_of_weights_is_refused(model, tmp_path, files):
    file = tmp_path / "a.keras"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MEMBER, files["a.weights.h5"])
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(MEMBER, b"")
    refused(model, file, "it holds 2 files")


def test_a_zip_file_with_other_content_is_refused(model, tmp_path):
    file = zipped(tmp_path / "a.keras", {MEMBER: b"\x80\x04 a pickle"})
    refused(model, file, "as neither HDF5")


def test_a_zip_file_packed_otherwise_is_refused(model, tmp_path, files):
    members = {MEMBER: files["a.weights.h5"]}
    file = zipped(tmp_path / "a.keras", members, zipfile.ZIP_BZIP2)
    refused(model, file, "packed in a way that Keras does not use")


def test_a_zip_bomb_is_refused(model, tmp_path, monkeypatch, files):
    monkeypatch.setattr(_keras_zip, "_SMALL", 1 << 20)
    members = {MEMBER: files["a.weights.h5"] + bytes(1 << 22)}
    file = zipped(tmp_path / "a.keras", members, zipfile.ZIP_DEFLATED)
    refused(model, file, r"would unpack \d+ bytes to \d+")


@pytest.mark.parametrize("size", [0, 17, 1 << 40])
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_that_lies_about_sizes_is_refused(
    model, tmp_path, files, size, packing
):
    file = zipped(tmp_path / "a.keras", {MEMBER: files["a.weights.h5"]}, packing)
    for field in (20, 24):
        content = bytearray(file.read_bytes())
        at = content.find(b"PK\x01\x02") + field
        content[at : at + 4] = struct.pack("<I", min(size, 0xFFFFFFF0))
        (tmp_path / "b.keras").write_bytes(content)
        refused(model, tmp_path / "b.keras", "which cannot be used")


def test_a_secret_zip_file_is_refused(model, tmp_path, files):
    file = zipped(tmp_path / "a.keras", {MEMBER: files["a.weights.h5"]})
    content = bytearray(file.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(header) + flags] |= 1
    file.write_bytes(content)
    refused(model, file, "encrypted")


def test_values_of_another_byte_order_are_read(model, tmp_path):
    group = plain(tmp_path / "a.h5")
    group["0"] = np.arange(12, dtype=">f8").reshape(3, 4)
    group.file.close()
    new = transfer_weights(model, tmp_path / "a.h5", strict=True)
    assert np.array_equal(new.get_weights()[0], np.arange(12).reshape(3, 4))


def test_a_file_that_does_not_tell_the_names_goes_by_its_groups(model, tmp_path):
    group = plain(tmp_path / "a.h5")
    del group.attrs["name"]
    group["0"] = np.ones((3, 4))
    group.file.close()
    new = transfer_weights(model, tmp_path / "a.h5", strict=True)
    assert np.array_equal(new.get_weights()[0], np.ones((3, 4)))


def test_an_error_in_reading_leaves_the_model_as_it_was(model, tmp_path, monkeypatch):
    group = plain(tmp_path / "a.h5")
    group["0"] = np.ones((3, 4))
    group.file.close()

    def fails(dataset):
        raise OSError("the disk is gone")

    monkeypatch.setattr(_weight_files._hdf5, "read", fails)
    refused(model, tmp_path / "a.h5", "the disk is gone")
