"""Adam as the authors' framework computes it."""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfganomaly")
class PaperAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba, 2015, algorithm 1), epsilon added to the bias-corrected root.

    Keras adds epsilon to the root before the correction (the form at the end of the article's section 2), which makes
    it 32 times as large at the first step with beta_2 = 0.999 and slows weights whose gradients are small. PyTorch, and
    so the authors' code, does it as the algorithm is printed; after some thousand steps both are the same.
    """

    def update_step(self, gradient: object, variable: keras.Variable, learning_rate: object) -> None:
        """One variable's step: w - lr * m_hat / (sqrt(v_hat) + epsilon)."""
        gradient = ops.cast(gradient, variable.dtype)
        learning_rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        first_correction = 1 - ops.power(ops.cast(self.beta_1, variable.dtype), step)
        second_correction = 1 - ops.power(ops.cast(self.beta_2, variable.dtype), step)
        index = self._get_variable_index(variable)
        first_moment, second_moment = self._momentums[index], self._velocities[index]
        self.assign_add(first_moment, (gradient - first_moment) * (1 - self.beta_1))
        self.assign_add(second_moment, (ops.square(gradient) - second_moment) * (1 - self.beta_2))
        root = ops.sqrt(second_moment / second_correction) + self.epsilon
        self.assign_sub(variable, learning_rate / first_correction * first_moment / root)
