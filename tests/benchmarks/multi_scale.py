"""Do several sizes win anything over a fixed one, at equal cost?

    KERAS_BACKEND=torch python tests/benchmarks/multi_scale.py --mnist PATH/mnist.npz
    KERAS_BACKEND=torch python tests/benchmarks/multi_scale.py --caltech FOLDER

Fixed size, random sizes and small to large see as many pixels in all. The table has the
accuracy at the full size and the mean over test sizes, differences from fixed paired by
seed with 95 % intervals. MNIST: the first 3,000 training and 2,000 test digits at 14 to
28. Caltech (20 classes, images of 302 sizes, read from the .zip): at 32 to 64.
"""

import argparse
import tempfile
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
from scipy import stats

import keras_tricks as kt

TASKS = {
    # sizes, test sizes, channels, classes
    "mnist": ((14, 20, 28), (14, 17, 20, 24, 28, 32), 1, 10),
    "caltech": ((32, 48, 64), (32, 40, 48, 56, 64, 80), 3, 20),
}


def mnist(path):
    with np.load(path, allow_pickle=False) as file:
        return [
            file[name][:count]
            for name, count in (
                ("x_train", 3000),
                ("y_train", 3000),
                ("x_test", 2000),
                ("y_test", 2000),
            )
        ]


def caltech(folder, unpacked):
    with zipfile.ZipFile(folder / "images.zip") as archive:
        archive.extractall(unpacked)
    names = [(folder / f"{part}.txt").read_text().split() for part in ("train", "test")]
    classes = sorted({name.split("/")[0] for name in names[0]})
    parts = []
    for each in names:
        parts.append([unpacked / name for name in each])
        parts.append(np.array([classes.index(name.split("/")[0]) for name in each]))
    return parts


def build(channels, classes, seed):
    keras.utils.set_random_seed(seed)
    stack = [keras.Input((None, None, channels)), keras.layers.Rescaling(1 / 255)]
    for filters in (16, 32, 64):
        stack += [
            keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    stack += [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(classes, activation="softmax"),
    ]
    model = keras.Sequential(stack)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    return model


def ways(x, y, sizes, channels, epochs, seed):
    """Data and epochs, each as many pixels as `epochs` at the full size."""
    given = {"channels": channels, "seed": seed}
    areas = np.array([size**2 for size in sizes])
    longer = round(epochs * areas.max() / areas.mean())
    stages = {"mode": "small_to_large", "epochs": longer}
    return {
        "fixed": (kt.data.MultiScale(x, y, sizes=sizes[-1:], **given), epochs),
        "random": (kt.data.MultiScale(x, y, sizes=sizes, **given), longer),
        "small to large": (
            kt.data.MultiScale(x, y, sizes=sizes, **stages, **given),
            longer,
        ),
    }


def tested(model, x, y, sizes, channels):
    found = []
    for size in sizes:
        data = kt.data.MultiScale(
            x, y, sizes=(size,), batch_size=len(x), shuffle=False, channels=channels
        )
        images, labels = data[0]
        answers = model.predict(images, batch_size=256, verbose=0).argmax(axis=1)
        found.append(100 * np.mean(answers == labels))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", type=Path, help="path of mnist.npz")
    parser.add_argument("--caltech", type=Path, help="folder of caltech101_20")
    parser.add_argument("--epochs", type=int, default=6, help="those of the fixed size")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if (arguments.mnist is None) == (arguments.caltech is None):
        parser.error("give one of --mnist and --caltech")
    task = "mnist" if arguments.mnist else "caltech"
    sizes, test_sizes, channels, classes = TASKS[task]
    with tempfile.TemporaryDirectory() as folder:
        if task == "mnist":
            x, y, x_test, y_test = mnist(arguments.mnist)
        else:
            x, y, x_test, y_test = caltech(arguments.caltech, Path(folder))
        scores, seconds = {}, {}
        for seed in range(arguments.seeds):
            found = ways(x, y, sizes, channels, arguments.epochs, seed)
            for name, (data, epochs) in found.items():
                model = build(channels, classes, seed)
                start = time.perf_counter()
                model.fit(data, epochs=epochs, verbose=0)
                seconds.setdefault(name, []).append(time.perf_counter() - start)
                accuracy = tested(model, x_test, y_test, test_sizes, channels)
                scores.setdefault(name, []).append(accuracy)
    print(
        f"{task} on {keras.backend.backend()}, {arguments.seeds} seeds, test accuracy"
    )
    full = test_sizes.index(sizes[-1])
    for name, values in scores.items():
        both = []
        for pick in (lambda a: a[:, full], lambda a: a.mean(axis=1)):
            own, fixed = pick(np.array(values)), pick(np.array(scores["fixed"]))
            gain = own - fixed
            half = stats.t.ppf(0.975, len(gain) - 1) * stats.sem(gain)
            both.append(f"{own.mean():6.2f} % ({gain.mean():+.2f} +- {half:.2f})")
        print(
            f"  {name:16} full size {both[0]}   mean of sizes {both[1]}   "
            f"{np.median(seconds[name]):.1f} s"
        )
        each = "  ".join(f"{v:.1f}" for v in np.mean(values, axis=0))
        print(f"  {'':16} at {test_sizes}: {each}")


if __name__ == "__main__":
    main()
