"""Sides about the model and its data: dropout, starts, Highway, images, losses."""

import keras
import numpy as np

import keras_tricks as kt

from .training import (
    BATCH,
    EPOCHS,
    answers,
    convolutional,
    dense,
    fit,
    one_hot,
    plain,
    sgd,
    side_length,
    stacked,
    train,
)

VECTORS = "word_vectors/jhlau_doc2vec/pretrained_word_embeddings.txt"


def dropped(task):
    return kt.surgery.insert_dropout(dense(task), 0.5)


adam_dropout = plain(lambda task: keras.optimizers.Adam(), dropped)
sgd_dropout = plain(lambda task: sgd(), dropped)


def deep(task):
    return dense(task, units=[32] * 12)


deep_default = plain(lambda task: sgd(0.01), deep)
deep_lsuv = plain(
    lambda task: sgd(0.01),
    lambda task: kt.surgery.lsuv(deep(task), task.x, seed=task.seed),
)


def plain_stack(task):
    def layers():
        return [
            keras.layers.Dense(45, "relu", kernel_initializer="he_normal")
            for _ in range(17)
        ]

    return stacked(task, layers)


def highway_stack(task):
    def layers():
        first = keras.layers.Dense(32, "relu", kernel_initializer="he_normal")
        initial = {"kernel_initializer": "he_normal"}
        return [first, *(kt.layers.Highway("relu", **initial) for _ in range(16))]

    return stacked(task, layers)


plain_deep = plain(lambda task: sgd(0.01), plain_stack)
highway_deep = plain(lambda task: sgd(0.01), highway_stack)

narrow = plain(lambda task: keras.optimizers.Adam(), lambda task: dense(task, (32, 32)))
wide = plain(lambda task: keras.optimizers.Adam(), lambda task: dense(task, (128, 128)))


def _sentences(initializer):
    def side(task):
        def layers():
            return [
                keras.layers.Embedding(
                    len(task.vocabulary),
                    300,
                    embeddings_initializer=initializer(task),
                    mask_zero=True,
                ),
                keras.layers.GlobalAveragePooling1D(),
            ]

        model = train(
            task, stacked(task, layers), keras.optimizers.Adam(3e-3), epochs=5
        )
        return answers(task, model)

    return side


words_drawn = _sentences(lambda task: "uniform")
words_known = _sentences(
    lambda task: kt.initializers.WordVectors(
        str(task.folder / VECTORS), task.vocabulary, missing="zeros", seed=task.seed
    )
)


def train_augmented(task, layer, parts=None):
    """All epochs one after the other, each drawn anew; `None` leaves the images.

    An epoch is changed batch by batch, or in so many `parts`. (Inside the model such
    layers take JAX half a minute to compile.)
    """
    model = convolutional(task)
    random = np.random.default_rng(task.seed)
    width = side_length(task)
    images = task.x.reshape(-1, width, width, 1)
    labels = one_hot(task)
    keras.utils.set_random_seed(task.seed)
    change = layer() if layer else None
    epochs = []
    for _ in range(EPOCHS):
        order = random.permutation(len(images))[: len(images) // BATCH * BATCH]
        x, y = images[order], labels[order]
        if change is not None:
            x, y = _changed(change, x, y, parts or len(x) // BATCH)
        epochs.append((x.reshape(len(x), -1), y))
    rows = tuple(np.concatenate(part) for part in zip(*epochs, strict=True))
    return train(
        task,
        model,
        keras.optimizers.Adam(),
        "categorical_crossentropy",
        rows=rows,
        epochs=1,
        shuffle=False,
    )


def _augmented(layer, parts=None):
    return lambda task: answers(task, train_augmented(task, layer, parts))


def _changed(change, x, y, count):
    """Each part is mixed within itself."""
    parts = [
        change({"images": images, "labels": labels}, training=True)
        for images, labels in zip(np.split(x, count), np.split(y, count), strict=True)
    ]
    return tuple(
        np.concatenate([keras.ops.convert_to_numpy(part[key]) for part in parts])
        for key in ("images", "labels")
    )


def _rand_augment():
    """In colours, as it asks; it draws its two operations once per call."""
    layer = keras.layers.RandAugment(value_range=(0, 1), num_ops=2, factor=0.3)

    def change(data, training):
        images = layer(np.repeat(data["images"], 3, axis=-1), training=training)
        images = keras.ops.mean(images, axis=-1, keepdims=True)
        return {"images": images, "labels": data["labels"]}

    return change


unchanged = _augmented(None)
mixed_up = _augmented(lambda: keras.layers.MixUp(alpha=0.2))
cut_and_mixed = _augmented(keras.layers.CutMix)
# A call costs about a second however small, so that there are two per epoch.
rand_augmented = _augmented(_rand_augment, parts=2)


def _second_loss(loss):
    """Cross-entropy until the model is good, then `loss` for a third of the epochs."""

    def side(task):
        model, rows = dense(task), (task.x, one_hot(task))
        losses = keras.losses.CategoricalCrossentropy(), loss()
        for epochs, current in zip((EPOCHS, EPOCHS // 2), losses, strict=True):
            model.compile(keras.optimizers.Adam(), current)
            fit(task, model, epochs, rows=rows)
        return answers(task, model)

    return side


cross_entropy = _second_loss(keras.losses.CategoricalCrossentropy)
smoothed = _second_loss(
    lambda: keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
)
focal = _second_loss(lambda: keras.losses.CategoricalFocalCrossentropy(gamma=2.0))
