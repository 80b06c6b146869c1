import numpy as np
import pytest

from keras_tricks.data import _resize

RANDOM = np.random.default_rng(0)


@pytest.mark.needs("PIL")
@pytest.mark.parametrize("new", [(7, 5), (20, 31), (13, 17), (1, 1)])
def test_images_are_resampled_as_pillow_does(new):
    from PIL import Image

    image = RANDOM.uniform(size=(13, 17)).astype("float32")
    expected = Image.fromarray(image).resize(new[::-1], Image.Resampling.BILINEAR)
    found = _resize.images(image[None, ..., None], new, "stretch")[0, ..., 0]
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-5)


def test_halving_weights_pixels_by_a_triangle():
    # Centre 1 between pixels 0 and 1; distances .5 .5 1.5 of a half-width of 2.
    found = _resize.weights(4, 0.0, 4.0, 2)
    np.testing.assert_allclose(found[0], np.array([0.75, 0.75, 0.25, 0]) / 1.75)


def test_crop_takes_the_middle_and_pad_keeps_all():
    image = np.zeros((1, 4, 8, 1))
    image[:, :, 2:6] = 1.0
    assert _resize.images(image, (2, 2), "crop").min() > 0.6
    padded = _resize.images(image, (8, 8), "pad")[0, ..., 0]
    assert np.all(padded[:2] == 0)
    assert np.all(padded[6:] == 0)
    assert padded[4, 4] == 1.0


@pytest.mark.parametrize("aspect", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("new", [(18, 18), (9, 30), (36, 24)])
def test_boxes_stay_around_what_they_were_around(aspect, new):
    mask = np.zeros((1, 36, 24), "int32")
    mask[0, 12:24, 6:18] = 5
    found = _resize.masks(mask, new, aspect)[0]
    rows, columns = np.nonzero(found)
    for kind, given in (
        ("xyxy", [6, 12, 18, 24]),
        ("xywh", [6, 12, 12, 12]),
        ("rel_xyxy", [6 / 24, 12 / 36, 18 / 24, 24 / 36]),
    ):
        box = _resize.boxes(np.array([given]), (36, 24), new, aspect, kind)[0]
        if kind == "xywh":
            box[2:] += box[:2]
        elif kind == "rel_xyxy":
            box *= [new[1], new[0], new[1], new[0]]
        around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, around, atol=0.51)


def test_a_box_that_is_cut_off_is_none():
    found = _resize.boxes(
        np.array([[0, 0, 2, 4], [3, 0, 5, 4], [-1, -1, -1, -1]]),
        (4, 8),
        (4, 4),
        "crop",
        "xyxy",
    )
    assert found.tolist() == [[-1.0] * 4, [1.0, 0.0, 3.0, 4.0], [-1.0] * 4]


def test_masks_hold_only_values_that_were_there():
    mask = RANDOM.choice([0, 3, 250], (2, 11, 7, 1))
    found = _resize.masks(mask, (23, 5), "stretch")
    assert found.shape == (2, 23, 5, 1)
    assert set(np.unique(found)) <= {0, 3, 250}
