import io
import struct
import zlib

import keras
import numpy as np
import pytest

import keras_tricks as kt

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(size=(40, 12, 12, 1)).astype("float32")
Y = np.arange(40) % 3


def model_of_any_size(loss="sparse_categorical_crossentropy", rate=0.01):
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


def epochs_of(data, epochs):
    """The side of each batch, epoch by epoch, in a loop of one's own."""
    found = []
    for _ in range(epochs):
        found.append([batch[0].shape[1] for batch in data])
        data.on_epoch_end()
    return found


class Shapes(keras.layers.Layer):
    """Notes the shapes that its program is traced, or run, with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x):
        self.seen.append(tuple(x.shape))
        return x


def test_random_sizes_are_equally_frequent_in_every_epoch():
    data = kt.data.MultiScale(X, Y, sizes=(8, 10, 12, 14), batch_size=5, seed=1)
    for sides in epochs_of(data, 3):
        assert sorted(sides) == [8, 8, 10, 10, 12, 12, 14, 14]


def test_small_to_large_has_one_size_per_stage_and_keeps_the_last():
    data = kt.data.MultiScale(
        X, Y, sizes=(12, 8, 10), mode="small_to_large", epochs=6, batch_size=20
    )
    assert epochs_of(data, 8) == [[s] * 2 for s in (8, 8, 10, 10, 12, 12, 12, 12)]


def test_progressive_adds_a_size_per_stage():
    data = kt.data.MultiScale(
        X, Y, sizes=(8, 10, 12), mode="progressive", epochs=3, batch_size=4
    )
    assert [set(sides) for sides in epochs_of(data, 4)] == [
        {8},
        {8, 10},
        {8, 10, 12},
        {8, 10, 12},
    ]


def test_an_epoch_sees_every_image_and_all_batches_are_full():
    data = kt.data.MultiScale(np.arange(7.0).reshape(7, 1, 1), sizes=(1,), batch_size=3)
    batches = [batch[0].ravel() for batch in data]
    assert [len(batch) for batch in batches] == [3, 3, 3]
    first = np.concatenate(batches)[:7]
    assert sorted(first) == list(range(7))


def test_keep_pixels_makes_batches_of_equal_cost():
    # 16 * 144 / 64 = 36, 16 * 144 / 36 = 64; 400 * 3 / (16 + 36 + 64) = 10.3
    x = np.zeros((400, 12, 12))
    data = kt.data.MultiScale(x, sizes=(6, 8, 12), batch_size=16, keep="pixels")
    assert {b[0].shape[:2] for b in data} == {(64, 6), (36, 8), (16, 12)}
    assert len(data) == 11


def test_a_seed_gives_the_same_batches_and_the_epoch_can_be_set():
    def sides_and_labels(data):
        return [(batch[0].shape, list(batch[1])) for batch in data]

    one = kt.data.MultiScale(X, Y, sizes=(8, 12), batch_size=8, seed=3)
    other = kt.data.MultiScale(X, Y, sizes=(8, 12), batch_size=8, seed=3)
    first = sides_and_labels(one)
    assert first == sides_and_labels(other)
    one.on_epoch_end()
    assert sides_and_labels(one) != first
    other.epoch = 1
    assert sides_and_labels(one) == sides_and_labels(other)


def test_without_a_seed_the_order_comes_from_the_global_one():
    np.random.seed(5)
    first = kt.data.MultiScale(X, Y, sizes=(8, 12), batch_size=8)
    np.random.seed(5)
    second = kt.data.MultiScale(X, Y, sizes=(8, 12), batch_size=8)
    assert np.array_equal(first[0][1], second[0][1])


@pytest.mark.parametrize("keep", ["batch", "pixels"])
@pytest.mark.parametrize("mode", ["random", "small_to_large"])
def test_the_step_is_compiled_for_no_more_shapes_than_sizes(mode, keep):
    shapes = Shapes()
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            shapes,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    epochs = None if mode == "random" else 3
    data = kt.data.MultiScale(
        X, Y, sizes=(6, 8, 12), mode=mode, keep=keep, epochs=epochs, batch_size=6
    )
    shapes.seen.clear()
    model.fit(data, epochs=3, verbose=0)
    concrete = {s for s in shapes.seen if None not in s}
    assert len(concrete) <= 3
    compiled = keras.backend.backend() != "torch"
    if compiled:
        # Traced symbolically once more to build the loss.
        assert len(shapes.seen) <= 3 + 1
        before = len(shapes.seen)
        model.fit(data, epochs=3, verbose=0)
        assert len(shapes.seen) == before


@pytest.mark.parametrize("workers", [1, 3])
def test_fit_goes_through_the_stages_epoch_by_epoch(workers):
    class Sides(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            stages.append(data.epoch)

    stages = []
    data = kt.data.MultiScale(
        X,
        Y,
        sizes=(8, 12),
        mode="small_to_large",
        epochs=4,
        batch_size=10,
        workers=workers,
    )
    model = model_of_any_size()
    model.fit(data, epochs=3, verbose=0, callbacks=[Sides()])
    # A second `fit`, of a model that is built now, goes on where the first ended.
    model.fit(data, epochs=4, initial_epoch=3, verbose=0, callbacks=[Sides()])
    assert stages == [0, 1, 2, 3]
    assert data.epoch == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_fit_trains_at_the_size_of_the_stage(workers):
    seen = []

    class Watching(kt.data.MultiScale):
        def __getitem__(self, index):
            batch = super().__getitem__(index)
            if not self._starting:
                seen.append((self.epoch, batch[0].shape[1]))
            return batch

    data = Watching(
        X, Y, sizes=(8, 12), mode="small_to_large", epochs=2, workers=workers
    )
    model_of_any_size().fit(data, epochs=2, verbose=0)
    assert {pair for pair in seen if pair[0] < 2} == {(0, 8), (1, 12)}


def test_images_of_many_sizes_and_types_come_out_alike():
    x = [
        np.zeros((20, 30, 3), "uint8"),
        np.full((11, 9, 3), 200, "uint8"),
        np.full((5, 5, 3), 0.5),
    ] * 2
    data = kt.data.MultiScale(
        x, sizes=((4, 6), (8, 12)), batch_size=3, shuffle=False, seed=0
    )
    (images,) = data[0]
    assert images.dtype == "float32"
    assert images.shape in {(3, 4, 6, 3), (3, 8, 12, 3)}
    np.testing.assert_allclose(images[1], 200.0, rtol=1e-5)
    np.testing.assert_allclose(images[2], 0.5, rtol=1e-5)


def test_masks_and_boxes_are_scaled_with_their_images():
    # A bright rectangle, rows 2 to 8 and columns 4 to 10 of 12 x 16, as all three.
    image = np.zeros((12, 16))
    image[2:8, 4:10] = 1.0
    data = kt.data.MultiScale(
        image[None].repeat(4, 0),
        np.arange(4),
        sizes=((24, 32), (6, 8)),
        batch_size=2,
        masks=(image * 7).astype("int32")[None].repeat(4, 0),
        boxes=[np.array([[4.0, 2.0, 10.0, 8.0]])] * 3 + [np.zeros((0, 4))],
        shuffle=False,
        seed=0,
    )
    for images, targets in data:
        scale = images.shape[1] / 12
        expected = np.array([4.0, 2.0, 10.0, 8.0]) * scale
        for row, label in enumerate(targets["labels"]):
            found = targets["boxes"][row, 0]
            assert list(found) == ([-1.0] * 4 if label == 3 else list(expected))
        left, top, right, bottom = expected.astype(int)
        inside = targets["masks"][:, top:bottom, left:right]
        assert targets["masks"].dtype == "int32"
        assert np.all(inside == 7)
        assert targets["masks"].sum() == inside.sum()
        # The blurred edge of the image is where the mask's edge is.
        assert images[0, (top + bottom) // 2, (left + right) // 2, 0] > 0.9


def test_targets_keep_their_structure_and_weights_go_along():
    y = {"a": np.arange(40), "b": np.arange(80).reshape(40, 2)}
    data = kt.data.MultiScale(
        X, y, sizes=(8,), sample_weight=np.arange(40) / 40, batch_size=8
    )
    _, targets, weight = data[0]
    assert np.array_equal(targets["b"][:, 0], 2 * targets["a"])
    np.testing.assert_allclose(weight, targets["a"] / 40)
    only_weight = kt.data.MultiScale(X, sizes=(8,), sample_weight=np.ones(40))[0]
    assert only_weight[1] is None


def test_targets_of_several_outputs_may_be_a_list_of_arrays():
    several = [np.arange(40), np.arange(80).reshape(40, 2)]
    _, (first, second) = kt.data.MultiScale(X, several, sizes=(8,))[0]
    assert np.array_equal(second[:, 0], 2 * first)


def png(path, width, height, data=b""):
    """A PNG file that says that it has a size."""

    def chunk(kind, body):
        both = kind + body
        return struct.pack(">I", len(body)) + both + struct.pack(">I", zlib.crc32(both))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


@pytest.mark.needs("PIL")
def test_files_are_read_when_wanted(tmp_path):
    from PIL import Image

    grey = RANDOM.integers(0, 256, (10, 14), dtype="uint8")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.save(tmp_path / "colour.npy", np.full((6, 6, 3), 9, "uint8"))
    paths = [tmp_path / "grey.png", str(tmp_path / "colour.npy")] * 2
    data = kt.data.MultiScale(
        paths, np.arange(4), sizes=((10, 14), (5, 7)), batch_size=2, seed=0
    )
    for images, labels in data:
        for image, label in zip(images, labels, strict=True):
            assert image.shape[-1] == 3
            if label % 2:
                np.testing.assert_allclose(image, 9.0, rtol=1e-5)
            elif image.shape[0] == 10:
                assert np.array_equal(image[..., 0], grey)


@pytest.mark.needs("PIL")
def test_a_large_jpeg_is_about_the_same_whether_decoded_small_or_not(tmp_path):
    from PIL import Image

    yy, xx = np.mgrid[:256, :320]
    picture = (127 + 100 * np.sin(xx / 30) * np.cos(yy / 40)).astype("uint8")
    Image.fromarray(picture).save(tmp_path / "big.jpg", quality=95)
    data = kt.data.MultiScale(
        [tmp_path / "big.jpg"] * 2, sizes=(32,), batch_size=2, channels=1
    )
    whole = kt.data.MultiScale(picture[None].repeat(2, 0), sizes=(32,), batch_size=2)
    assert np.abs(data[0][0] - whole[0][0]).max() < 4.0


@pytest.mark.needs("PIL")
def test_hostile_files_end_in_an_error_that_names_them(tmp_path):
    png(tmp_path / "bomb.png", 60_000, 60_000)
    png(tmp_path / "short.png", 50, 50, b"abc")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "script.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0"
    )
    np.save(tmp_path / "objects.npy", np.array([{1: 2}], dtype=object))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6, 3)}
    )
    (tmp_path / "huge.npy").write_bytes(header.getvalue())
    np.save(tmp_path / "wide.npy", np.zeros((1, 9000), "uint8"))
    reasons = {
        "bomb.png": "pixels",
        "short.png": "",
        "text.jpg": "cannot identify",
        "script.png": "cannot identify",
        "objects.npy": "",
        "huge.npy": "",
        "wide.npy": "`max_pixels` is 4096",
        "missing.png": "No such file",
    }
    for name, reason in reasons.items():
        data = kt.data.MultiScale(
            [tmp_path / name] * 4, sizes=(8,), batch_size=2, max_pixels=4096
        )
        with pytest.raises(ValueError, match=f"that can be read.*{name}.*{reason}"):
            data[0]


def test_detail_is_lost_where_it_is_finer_than_the_size():
    smooth = np.broadcast_to(np.linspace(0, 1, 32)[:, None], (32, 32))
    board = np.indices((32, 32)).sum(axis=0) % 2
    table = kt.data.MultiScale(smooth[None], sizes=(32,), batch_size=1).detail()
    assert table.rows[0].detail_lost < 1e-9
    sizes = (16, 32)
    lost = {}
    for name, image in (("smooth", smooth), ("board", board)):
        data = kt.data.MultiScale(image[None].repeat(8, 0), sizes=sizes, batch_size=4)
        lost[name] = [row.detail_lost for row in data.detail(2)]
        assert str(data.detail(2)).startswith("16 x 16 loses")
    assert lost["smooth"][0] < 0.01
    # A pattern of single pixels is grey at half the size: all of it is gone.
    assert lost["board"][0] > 0.99
    assert lost["board"][1] < 1e-9


@pytest.mark.needs("matplotlib")
def test_preview_draws_the_same_images_at_every_size():
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    data = kt.data.MultiScale(X, Y, sizes=(4, 8, 12), batch_size=4)
    axes = data.preview(images=5)
    assert len(axes.images) == 15
    assert {image.get_array().shape for image in axes.images} == {
        (4, 4),
        (8, 8),
        (12, 12),
    }
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[2] == "12 x 12\n0.0% lost"
    assert labels[0].startswith("4 x 4\n")
    assert data.preview(1, axes) is axes
    pyplot.close("all")


WRONG = [
    ({"sizes": 8}, TypeError, "`sizes` must be a list of integers or pairs"),
    ({"sizes": ()}, ValueError, "each once, and at least one"),
    ({"sizes": (8, 8)}, ValueError, "each once, and at least one"),
    ({"sizes": ((8, 8, 3),)}, ValueError, r"Received: \(8, 8, 3\)"),
    ({"sizes": (0,)}, ValueError, "`sizes` must be a positive integer"),
    ({"mode": "radom"}, ValueError, "Did you mean 'random'"),
    ({"keep": "pixel"}, ValueError, "Did you mean 'pixels'"),
    ({"mode": "progressive"}, ValueError, "`epochs` must be given for a mode with"),
    ({"epochs": 3}, ValueError, "and only for one. Received: epochs=3"),
    (
        {"mode": "progressive", "epochs": 1},
        ValueError,
        "at least the number of sizes.*epochs=1, 2 sizes",
    ),
    ({"batch_size": 40}, ValueError, "must leave two batches or more"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
    ({"y": np.zeros(3)}, ValueError, "`y` must have one entry per image, 40.*: 3"),
    ({"masks": np.zeros((3, 12, 12))}, ValueError, "`masks` must have one entry"),
    ({"boxes": [[0, 0, 1, 1]]}, ValueError, "`boxes` must have one entry"),
    ({"boxes": [np.zeros((2, 3))] * 40}, ValueError, r"shape \(k, 4\).*boxes\[0\]"),
    ({"box_format": "xyxyz"}, ValueError, "Did you mean 'xyxy'"),
    ({"aspect": "croped"}, ValueError, "Did you mean 'crop'"),
    ({"channels": 2}, ValueError, "`channels` must be one of 1, 3, 4"),
    ({"max_pixels": 0}, ValueError, "`max_pixels` must be a positive integer"),
    ({"seed": -1}, ValueError, "`seed` must be an integer from 0"),
    ({"x": "a.png"}, TypeError, "one path; put it into a list"),
    ({"x": 3}, TypeError, "`x` must be an array or a list of arrays or paths"),
    ({"x": []}, ValueError, "at least one image"),
    ({"x": np.zeros((4, 4))}, ValueError, r"Received: shape \(4, 4\)"),
    ({"x": np.array([["a"]])}, TypeError, "`x` must hold numbers"),
]


@pytest.mark.parametrize(("wrong", "error", "text"), WRONG)
def test_wrong_arguments_are_refused(wrong, error, text):
    given = {"x": X, "sizes": (8, 12), "batch_size": 4, **wrong}
    with pytest.raises(error, match=text):
        kt.data.MultiScale(**given)


def test_what_is_found_wrong_only_in_a_batch_is_named_too():
    x = [np.zeros((4, 4, 3)), np.zeros((4, 4, 1))]
    data = kt.data.MultiScale(x, sizes=(4,), batch_size=2, shuffle=False)
    with pytest.raises(ValueError, match=r"x\[1\] with 1, x\[0\] with 3"):
        data[0]
    data = kt.data.MultiScale([np.zeros((2, 2, 2, 2))], sizes=(4,), batch_size=1)
    with pytest.raises(ValueError, match=r"x\[0\]` must be of shape"):
        data[0]
    data = kt.data.MultiScale(
        X, sizes=(8,), masks=np.zeros((40, 12, 13)), batch_size=2, shuffle=False
    )
    with pytest.raises(ValueError, match=r"`masks\[0\]` must have the height"):
        data[0]
    with pytest.raises(IndexError, match="batch 20 of 20"):
        data[20]


def test_a_model_learns_from_it():
    # Bright images are of class 1.
    y = np.arange(60) % 2
    x = np.zeros((60, 9, 9, 1), "float32") + y[:, None, None, None]
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(1.0), "binary_crossentropy", metrics=["accuracy"]
    )
    data = kt.data.MultiScale(x, y, sizes=(5, 9), batch_size=6, keep="pixels")
    history = model.fit(data, epochs=10, verbose=0)
    assert history.history["accuracy"][-1] == 1.0
