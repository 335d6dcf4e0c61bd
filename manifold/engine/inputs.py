"""What may come in (arrays and tensors of features) and in which form results go out."""

from __future__ import annotations

import sys
from numbers import Integral
from typing import Any

import numpy as np

# Squares of larger features would overflow float64.
LARGEST = 1e150
# The screen's float32 error bound needs (columns + 6) * 2**-24 well below 1 (see numpy_screen.py).
MOST_COLUMNS = 1 << 21


def is_tensor(array: Any) -> bool:
    """Whether `array` is a torch tensor; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def to_array(array: Any, name: str) -> np.ndarray:
    """A numpy view of an array-like or tensor (a copy only where it lies on another device or is bfloat16)."""
    if is_tensor(array):
        return tensor_values(array, name)
    if hasattr(array, "tocsr"):
        raise TypeError(f"{name} is a sparse matrix ({type(array).__name__}); dense features are accepted; "
                        f"call .toarray() first")  # fmt: skip
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise TypeError(f"{name} is a masked array with masked values; features without gaps are accepted; "
                        f"drop these rows, or fill them")  # fmt: skip
    try:
        return np.asarray(array)
    except ValueError as error:
        raise TypeError(f"{name} cannot be read as a 2-D array of numbers ({error}); give a numpy array or a "
                        f"torch tensor of shape (samples, features)") from error  # fmt: skip


def tensor_values(tensor: Any, name: str) -> np.ndarray:
    """A dense torch tensor as numpy, without a copy where numpy has its type; bfloat16 as float32.

    Raises
    ------
    TypeError
        For a sparse, quantised or float8 tensor, or one without values (on the device "meta").
    """
    torch = sys.modules["torch"]
    try:
        values = tensor.detach().cpu()
        if values.layout is torch.strided and not values.is_quantized:
            return (values.float() if values.dtype is torch.bfloat16 else values).numpy()
    except (TypeError, RuntimeError, NotImplementedError):
        pass
    what = f"{tensor.layout} tensor" if tensor.layout is not torch.strided else f"tensor of {tensor.dtype}"
    raise TypeError(f"{name} is a {what} on {tensor.device}; dense tensors of float32, float64, float16, bfloat16 or "
                    f"integers are accepted; convert it first, e.g. .to_dense() or .float()")  # fmt: skip


def as_features(array: Any, name: str, columns: int | None = None) -> np.ndarray:
    """Check features and return them as a float32 or float64 array, without a copy where they already are one.

    Parameters
    ----------
    array
        (n, d) numpy array, torch tensor or nested sequence of floats or integers. Half precision and 8- and 16-bit
        integers become float32, other integers float64: all exactly, up to 2**53.
    name
        What to call it in a message.
    columns
        The width it must have, if it has to match another set.

    Raises
    ------
    TypeError
        For anything that is not an array of real numbers.
    ValueError
        For another number of dimensions, no rows or columns, another width, or NaN, infinite or huge values.
    """
    features = to_array(array, name)
    if features.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {features.dtype}; give real features")
    if features.dtype.kind not in "fiu":
        raise TypeError(f"{name} is a {type(array).__name__} of dtype {features.dtype}; floats and integers are "
                        f"accepted; give a numpy array or a torch tensor of shape (samples, features)")  # fmt: skip
    if features.ndim != 2:
        raise ValueError(f"{name} has shape {features.shape}; a 2-D array (samples, features) is accepted. Reshape "
                         f"your data: .reshape(1, -1) if it is one sample, .reshape(-1, 1) if one feature")  # fmt: skip
    if features.shape[0] == 0:
        raise ValueError(f"{name} has 0 sample(s) (shape={features.shape}) while a minimum of 1 is required.")
    if not 1 <= features.shape[1] <= MOST_COLUMNS:
        raise ValueError(f"{name} has {features.shape[1]} feature(s) (shape={features.shape}) while a minimum of 1 is "
                         f"required and {MOST_COLUMNS} is the most.")  # fmt: skip
    if columns is not None and features.shape[1] != columns:
        raise ValueError(f"{name} has {features.shape[1]} features, but the reference has {columns}; "
                         f"give features of the same extractor")  # fmt: skip
    single = np.promote_types(features.dtype, np.float32) == np.float32
    features = features.astype(np.float32 if single else np.float64, copy=False)
    if not -LARGEST < float(features.min()) <= float(features.max()) < LARGEST:
        raise ValueError(_what_is_wrong(features, name))
    return features


def _what_is_wrong(features: np.ndarray, name: str) -> str:
    for index, row in enumerate(features):
        if np.isnan(row).any():
            return f"{name} contains NaN in row {index}; finite features are accepted; drop or mend the row"
        if np.isinf(row).any():
            return f"{name} contains inf in row {index}; finite features are accepted; drop or mend the row"
        if float(np.abs(row).max()) >= LARGEST:
            return f"{name} reaches {np.abs(row).max():.1e} in row {index}; below {LARGEST:.0e} is accepted; rescale"
    raise AssertionError("unreachable: a value out of range is in some row")


def as_count(value: Any, name: str) -> int:
    """`value` as an int if it is an integer of at least 1, else an error that names it."""
    if not isinstance(value, Integral) or isinstance(value, (bool, np.bool_)) or value < 1:
        raise ValueError(f"{name} is {value!r}; an integer of at least 1 is accepted")
    return int(value)


def as_closed(value: Any) -> bool:
    """`value` as a bool if it is one, else an error that says what it chooses between."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"closed is {value!r}; True (distance <= radius) or False (distance < radius) is accepted")
    return bool(value)


def need_samples(n: int, k: int, name: str) -> None:
    """Refuse a set too small to have a k-th neighbour (the point itself does not count)."""
    if n < k + 1:
        raise ValueError(f"{name}: need at least k+1 samples, got {n} sample{'s' * (n != 1)} for k = {k}; "
                         f"give more samples or a smaller k")  # fmt: skip


def device_of(given: Any) -> str:
    """The device that `given` lies on, as torch names it; "cpu" for everything but tensors."""
    return str(given.device) if is_tensor(given) else "cpu"


def like(result: np.ndarray, given: Any) -> Any:
    """`result` as `given` came in: a tensor on the same device for a tensor, else unchanged."""
    return sys.modules["torch"].from_numpy(result).to(given.device) if is_tensor(given) else result
