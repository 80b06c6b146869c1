"""Gradual unfreezing: the head trains first, then ever more layers below it."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from keras_tricks import _arguments, _backend, _patterns
from keras_tricks.callbacks import _averages, _freezing, _one_call, _unfreezing_plan


class GradualUnfreezing(keras.callbacks.Callback):
    """Trains the last group of layers first, and one group more every few epochs.

    When: fine-tuning on little data, where a new head's first gradients would destroy
        what the layers below have learned.
    Typical: one epoch per group (ULMFiT); the head, then the blocks from the top down.
    Costs: less than a plain training: the gradients of frozen layers are not computed
        (head-only steps of 12 dense layers took 0.15 to 0.25 of full ones), but with
        `run_eagerly=True` on TensorFlow and JAX only their updates are saved. The
        training step is traced anew at each stage; once all groups train, it is the
        model's own.
    Beware: it goes by the epoch number of `fit`: a second `fit` starts again with the
        last group, unless `initial_epoch` is given. All groups train after
        `every * (len(groups) - 1)` epochs. Adam takes steps of up to 6.6 times the
        rate in the first hundred steps of a group that joins late, because Keras
        corrects its moments by the age of the optimizer: lower rates for lower layers
        (`kt.optimizers.discriminative`) make up for that.

    While a group is frozen, its weights and their optimizer slots do not move at all,
    by weight decay neither; its `BatchNormalization` (and `SpectralNormalization`)
    runs in inference mode, and so do layers of your own that hold statistics, if their
    `call` takes `training`; its dropout stays active. Clipping by global norm counts
    the unfrozen layers only. In a `MultiOptimizer` the clock of an optimizer whose
    layers are all frozen stands still. Neither the model nor the optimizer is
    changed: `trainable` stays True, and a model saved in the middle knows nothing of
    it. A resumed `fit` (`BackupAndRestore`, `initial_epoch`) goes on with the right
    groups. Layers with `trainable = False` before `compile` stay as they are.

    Args:
        groups: List of patterns, or of lists of patterns, from the lowest layers to
            the head. A pattern is a regular expression for the whole path of a layer
            (`backbone/block1_conv`) and covers all layers below it; the path of
            weights that the model holds itself is empty. Every layer that can be
            trained must be in exactly one group.
        every: Positive integer, epochs until the next group joins. Defaults to 1.
        verbose: 0 or 1; 1 prints what trains at each stage.

    Raises:
        TypeError: If `groups` is not a list of patterns, or `every` not an integer.
        ValueError: If an argument is out of its range; at the start of `fit`, before
            anything is changed, if a pattern names no layer, a layer that can be
            trained is in no group or in two, the last group has nothing to train,
            the model is not built (`fit` builds it before only on JAX and PyTorch), or
            a `tf.distribute` strategy has several replicas.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> body = keras.layers.Dense(2, name="body")
    >>> head = keras.layers.Dense(1, name="head")
    >>> model = keras.Sequential([keras.Input((3,)), body, head])
    >>> model.compile(keras.optimizers.AdamW(0.01), "mse")
    >>> unfreeze = kt.callbacks.GradualUnfreezing(["body", "head"], verbose=1)
    >>> x = np.zeros((4, 3))
    >>> history = model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[unfreeze])
    Epoch 1: training 1 of 2 groups, 3 of 11 weights.
    Epoch 2: training 2 of 2 groups, 11 of 11 weights.

    Reference: Howard and Ruder 2018, section 3.3, arXiv 1801.06146.
    """

    lint_traits: ClassVar[dict[str, Any]] = {"patterns": "groups"}

    def __init__(
        self,
        groups: Sequence[str | Sequence[str]],
        every: int = 1,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        _patterns.check_groups("groups", groups)
        self.groups = groups
        self.every = _arguments.positive_integer("every", every)
        self.verbose = _arguments.one_of("verbose", verbose, (0, 1))
        self._trained: Any = None
        self._freeze([], [])

    def on_train_begin(self, logs: Any = None) -> None:
        if (count := _backend.replicas(self.model)) > 1:
            raise ValueError(
                "GradualUnfreezing works on one replica only. Received: a model in a "
                f"strategy with {count} replicas; train without the strategy"
            )
        # On JAX, `self.model` writes the state of a running epoch back.
        self._trained = self.model
        self._plan = _unfreezing_plan.read(self.groups, self.model)
        optimizer = self.model.optimizer
        if not optimizer.built:
            # TensorFlow would build it on the variables of the first update.
            optimizer.build(self.model.trainable_variables)
        self._stage = -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        stage = min(epoch // self.every, len(self.groups) - 1)
        if stage != self._stage:
            self._stage = stage
            self._begin_stage(epoch)

    def _begin_stage(self, epoch: int) -> None:
        lowest = len(self.groups) - 1 - self._stage
        self._freeze(*self._plan.frozen(lowest))
        _averages.settle(self.model.optimizer, self._variables)
        if self.verbose:
            variables = self.model.trainable_variables
            total, frozen = _count(variables), _count(self._variables)
            print(
                f"Epoch {epoch + 1}: training {self._stage + 1} of {len(self.groups)} "
                f"groups, {total - frozen:,} of {total:,} weights."
            )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._variables or self._layers:
            _one_call.for_one_call(self._trained, self._change)

    def on_train_end(self, logs: Any = None) -> None:
        # Nor are a model and its compiled steps kept alive.
        del self._plan
        self._trained = None
        self._freeze([], [])

    def _freeze(self, layers: list[Any], variables: list[Any]) -> None:
        self._layers, self._variables = layers, variables
        model = self._trained
        self._change = _one_call.StepChange(
            lambda inner: _freezing.frozen_step(model, inner, layers, variables)
        )


def _count(variables: Any) -> int:
    return sum(keras.ops.size(variable) for variable in variables)
