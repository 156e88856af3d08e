"""Operations without multiply-adds worth a count: left out on purpose, not for want of a form."""

from __future__ import annotations

_REDUCES = (
    "sum", "mean", "prod", "amax", "amin", "aminmax", "max", "min", "argmax", "argmin", "any", "all", "var",
    "std", "var_mean", "std_mean", "norm", "linalg_vector_norm", "frobenius_norm", "logsumexp", "cumsum",
    "cumprod", "cummax", "cummin", "logcumsumexp", "nansum", "nanmean", "median", "nanmedian", "mode",
    "kthvalue", "quantile", "count_nonzero", "softmax", "_softmax", "log_softmax", "_log_softmax", "softmin",
    "diff", "dist", "cosine_similarity", "pairwise_distance", "trace", "normalize", "_weight_norm",
    "_weight_norm_interface", "l1_loss", "mse_loss", "renorm", "bincount", "histc", "isclose", "equal",
    "allclose",
)  # fmt: skip
_POOLS = (
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool1d",
    "max_pool2d_with_indices", "max_pool1d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "fractional_max_pool2d", "lp_pool2d", "max_unpool2d", "upsample_nearest1d",
)  # fmt: skip
_MOVES = (
    "cat", "stack", "hstack", "vstack", "dstack", "concat", "concatenate", "column_stack", "gather", "index",
    "index_put", "index_select", "index_add", "index_copy", "index_fill", "take", "take_along_dim",
    "masked_fill", "masked_select", "masked_scatter", "scatter", "scatter_add", "scatter_reduce",
    "select_scatter", "slice_scatter", "diagonal_scatter", "as_strided_scatter", "embedding", "embedding_bag",
    "_embedding_bag", "one_hot", "roll", "flip", "fliplr", "flipud", "rot90", "repeat", "repeat_interleave",
    "tile", "pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "_pad_enum", "_pad_circular",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "unfold", "im2col", "fold",
    "col2im", "contiguous", "clone", "copy", "reshape", "flatten", "unflatten", "ravel", "to", "type_as",
    "_to_copy", "float", "double", "half", "cpu", "sort", "argsort", "topk", "msort", "tril", "triu",
    "tril_indices", "triu_indices", "diag", "diag_embed", "block_diag", "meshgrid", "cartesian_prod",
    "combinations", "broadcast_tensors", "where", "bucketize", "searchsorted", "unique", "nonzero",
    "lift_fresh_copy", "lift_fresh", "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout",
    "native_dropout", "resolve_conj", "resolve_neg", "view_as_real", "view_as_complex", "complex", "polar",
    "real", "imag", "detach", "alias", "expand_as", "view_as", "reshape_as", "resize", "item",
    "_local_scalar_dense", "split", "chunk", "unbind", "tensor_split", "hsplit", "vsplit", "split_with_sizes",
    "narrow", "movedim", "moveaxis", "swapaxes", "swapdims", "adjoint", "atleast_1d", "atleast_2d",
    "atleast_3d", "squeeze", "unsqueeze", "permute", "transpose", "t", "select", "slice", "diagonal", "view",
    "expand", "glu", "split_copy", "unbind_copy", "fft_fftshift", "fft_ifftshift",
)  # fmt: skip
_MAKES = (
    "arange", "linspace", "logspace", "zero", "zeros", "ones", "full", "empty", "eye", "zeros_like", "ones_like",
    "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor", "tensor",
    "rand", "randn", "randint", "rand_like", "randn_like", "randperm", "bernoulli", "normal", "multinomial",
    "fill", "empty_strided", "fft_fftfreq", "fft_rfftfreq", "hann_window", "hamming_window",
    "new_empty_strided", "randint_like", "uniform", "sym_size", "sym_numel", "sym_stride", "is_same_size",
    "size", "numel", "_assert_tensor_metadata",
)  # fmt: skip
_EACH_ELEMENT = (
    "elu", "selu", "celu", "prelu", "_prelu_kernel", "rrelu", "hardswish", "hardsigmoid", "hardtanh",
    "leaky_relu", "relu", "relu6", "silu", "mish", "gelu", "softplus", "softsign", "tanhshrink", "hardshrink",
    "softshrink", "threshold", "log_sigmoid", "logsigmoid", "tanh", "sigmoid", "floor_divide", "remainder",
    "cross", "linalg_cross", "square", "true_divide", "divide", "multiply", "subtract", "__and__", "__or__",
    "__xor__", "bitwise_not", "isfinite", "isinf", "isnan", "nan_to_num", "clamp", "clip", "clamp_min",
    "clamp_max", "rsub", "pow", "float_power", "absolute", "angle", "positive", "negative", "lerp", "addcmul",
    "addcdiv", "maximum", "minimum", "logaddexp", "fake_quantize_per_tensor_affine",
    "fake_quantize_per_channel_affine", "log_sigmoid_forward", "special_expit", "conj", "conj_physical",
    "_conj",
)  # fmt: skip
UNCOUNTED = frozenset((*_REDUCES, *_POOLS, *_MOVES, *_MAKES, *_EACH_ELEMENT))
"""What reduces, moves, makes, or touches each element once; torch marks most of the last itself."""
