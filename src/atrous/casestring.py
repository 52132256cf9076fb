"""The case string: one line that names a problem in tests, benchmarks, logs and bug reports."""

from __future__ import annotations

import re
from typing import Any

from .arguments import ACTIVATIONS, DTYPES
from .errors import ProblemError, sentence, shown
from .geometry import PADDING_NAMES

_LONG = {short: name for name, short in DTYPES.items()}
_SIZES = re.compile(r"([a-z])(\d+)")
_REAL = r"\d+(?:\.\d*)?(?:e[+-]?\d+)?"
ELEMENTWISE_VERBS = ("tonhwc", "tonchw", "add")
_KINDS = ("max", "avg", "lp", "rms", "gaussian", "inverse", "binomial", "custom")


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _pair(word: str, values: tuple[int, int]) -> str:
    return f"{word}{values[0]}" if values[0] == values[1] else f"{word}{values[0]}x{values[1]}"


def _pads(pads: tuple[int, int, int, int]) -> list[str]:
    top, bottom, left, right = pads
    if not any(pads):
        return []
    if top == bottom and left == right:
        return [_pair("pad", (top, left))]
    return ["pad" + ":".join(map(str, pads))]


def format_case(problem: Any) -> str:
    """Return the case string of a problem; defaults are left out, the dtype never."""
    if hasattr(problem, "depthwise"):
        return f"{format_case(problem.depthwise)}+{'_'.join(_filter_parts(problem.pointwise, follows=True))}"
    if hasattr(problem, "pool"):
        return f"{format_case(problem.conv)}+{'_'.join(_window_parts(problem.pool))}"
    if hasattr(problem, "other"):
        return "_".join(_elementwise_parts(problem))
    return "_".join([_head(problem), *_filter_parts(problem)] if hasattr(problem, "groups") else _pool_parts(problem))


def _head(p: Any) -> str:
    return f"n{p.n}c{p.c}h{p.h}w{p.w}"


def _filter_parts(p: Any, follows: bool = False) -> list[str]:
    """Return the words of a convolution behind its x; of one that follows another, those that do not follow from that."""
    parts = [f"k{p.k}r{p.r}s{p.s}", *_pads(p.pads)]
    if p.stride != (1, 1):
        parts.append(_pair("stride", p.stride))
    if p.dilation != (1, 1):
        parts.append(_pair("dil", p.dilation))
    if p.groups != 1:
        parts.append(f"g{p.groups}")
    if p.padding_mode != "zeros":
        parts.append(p.padding_mode)
    parts += [] if follows else [DTYPES[p.dtype]]
    if p.out_dtype != (p.dtype if p.dtype.startswith(("float", "bfloat")) else "int32"):
        parts.append("out" + DTYPES[p.out_dtype])
    if p.layout != "NHWC" and not follows:
        parts.append(p.layout.lower())
    if p.weight_layout != {"NHWC": "KRSC", "NCHW": "KCRS"}[p.layout]:
        parts.append("w" + p.weight_layout.lower())
    for word in ("scale", "bias"):
        dtype = getattr(p, word)
        if dtype is not None:
            parts.append(word + ("" if dtype == p.dtype else DTYPES[dtype]))
    if p.residual:
        parts.append("residual")
    if p.activation != ("none",):
        parts.append(_activation_text(p.activation))
    if p.precision != "float32":
        parts.append(p.precision)
    parts += [f"zp{p.zero_point}"] if p.zero_point else []
    parts += [f"outzp{p.out_zero_point}"] if p.out_zero_point else []
    return parts


def _pool_parts(p: Any) -> list[str]:
    return [_head(p), *_window_parts(p), DTYPES[p.dtype], *([] if p.layout == "NHWC" else [p.layout.lower()])]


def _elementwise_parts(p: Any) -> list[str]:
    parts = [_head(p), p.verb]
    if p.activation != ("none",):
        parts.append(_activation_text(p.activation))
    parts += [DTYPES[p.dtype], *([] if p.out_dtype == p.dtype else [DTYPES[p.out_dtype]])]
    return [*parts, *(["nchw"] if p.other and p.layout == "NCHW" else [])]


def _activation_text(activation: tuple[Any, ...]) -> str:
    return str(activation[0]).replace("_", "-") + ":".join(_number(x) for x in activation[1:])


def _window_parts(p: Any) -> list[str]:
    """Return the words of a pooling that do not follow from its x."""
    kind = p.kind
    if kind == "lp":
        kind += _number(p.power)
    if kind == "weighted":
        kind = p.weighting + ("" if p.sigma is None else _number(p.sigma))
    parts = [kind, f"r{p.r}s{p.s}", *_pads(p.pads)]
    if p.stride != (p.r, p.s):
        parts.append(_pair("stride", p.stride))
    if p.dilation != (1, 1):
        parts.append(_pair("dil", p.dilation))
    if p.ceil_mode:
        parts.append("ceil")
    if p.nan != "propagate":
        parts.append("omit")
    if p.return_indices:
        parts.append("indices")
    if p.count_include_pad:
        parts.append("includepad")
    if p.divisor is not None:
        parts.append("div" + _number(p.divisor))
    if p.normalize != "valid":
        parts.append("normfull")
    return parts


def _behind_plus(case: Any) -> re.Match[str] | None:
    """Return where a case string is of two parts. A plus sign before a digit belongs to a number: 1e+20."""
    return re.search(r"\+(?!\d|inf\b)", case) if isinstance(case, str) and len(case) <= 1000 else None


def _second_words(case: str, plus: re.Match[str]) -> list[str]:
    words = _words(case[plus.end() :])
    for word in words:
        if word in _LONG or word in ("nhwc", "nchw"):
            raise _refusal(case, word, "neither dtype nor layout behind '+' (they are those of the convolution's output)")
    return words


def split_separable(case: str) -> tuple[str, dict[str, int], dict[str, Any]] | None:
    """Return (the depthwise's case, K, R and S, options of the 1x1) of "DEPTHWISE+FILTER", whose second part begins with a k#r#s#, else None."""
    if (plus := _behind_plus(case)) is None or re.match(r"\s*k\d", case[plus.end() :]) is None:
        return None
    words = _second_words(case, plus)
    window = _sizes(case, words[0], "KRS", "k#r#s# behind '+', as in n1c32h9w9_k32r3s3_g32_f16+k64r1s1")
    options: dict[str, Any] = {}
    for word in words[1:]:
        _conv_word(case, word, options)
    return case[: plus.start()], window, options


def split_pair(case: str) -> tuple[str, Any, dict[str, Any]] | None:
    """Return (the convolution's case, window sizes or None for global, options of the pooling) of "CONVOLUTION+POOLING", else None."""
    if (plus := _behind_plus(case)) is None:
        return None
    words = _second_words(case, plus)
    if len(words) < 2:
        raise _refusal(case, case, "a kind of pooling and then its window behind '+', as in n1c3h9w9_k8r3s3_f16+max_r2s2")
    window, options = _split_pool(case, ["", *words])
    del options["dtype"]
    return case[: plus.start()], window, options


def split_case(case: str) -> tuple[bool, dict[str, int], Any, dict[str, Any]]:
    """Return (is convolution, input sizes, window sizes or None for global, options) of a case string."""
    if not isinstance(case, str):
        raise ProblemError(sentence("case", f"the case string is of type {type(case).__name__}", "a str", "pass for example 'n1c64h56w56_k64r3s3_pad1_f16'"))
    if len(case) > 1000:
        raise ProblemError(sentence("case", f"the case string has {len(case)} characters", "at most 1000", "correct the case string"))
    words = _words(case)
    shape = _sizes(case, words[0], "CHNW", "n#c#h#w# first, as in n1c64h56w56_k64r3s3_pad1_f16")
    if len(words) > 1 and words[1].startswith("k"):
        window = _sizes(case, words[1], "KRS", "k#r#s# second")
        options: dict[str, Any] = {"dtype": "float32"}
        for word in words[2:]:
            _conv_word(case, word, options)
        for operand in ("scale", "bias"):
            if options.get(operand) == "":
                options[operand] = options["dtype"]
        return True, shape, window, options
    return False, shape, *_split_pool(case, words)


def _words(case: str) -> list[str]:
    return case.strip().replace("same_lower", "samelower").replace("gelu_tanh", "gelu-tanh").replace("leaky_relu", "leaky-relu").split("_")


def split_elementwise(case: str) -> tuple[dict[str, int], dict[str, Any]] | None:
    """Return (sizes of x, options) of a case string whose second word is tonhwc, tonchw or add, else None."""
    if not isinstance(case, str) or len(case) > 1000 or len(words := _words(case)) < 2 or words[1] not in ELEMENTWISE_VERBS:
        return None
    options: dict[str, Any] = {"verb": words[1], "dtype": "float32"}
    dtypes = [_LONG[word] for word in words[2:] if word in _LONG]
    for word in words[2:]:
        if words[1] == "add" and word in ("nhwc", "nchw"):
            options["layout"] = word.upper()
        elif word not in _LONG and words[1] == "add":
            _activation_word(case, word, options)
        elif word not in _LONG:
            raise _refusal(case, word, "the dtype of x and that of y, such as f16_f32")
    if len(dtypes) > 2:
        raise _refusal(case, case, "two dtypes at most, that of x and that of y")
    options |= dict(zip(("dtype", "out_dtype"), dtypes))
    return _sizes(case, words[0], "CHNW", "n#c#h#w# first, as in n1c64h56w56_tonchw_f16"), options


def _sizes(case: str, word: str, letters: str, expected: str) -> dict[str, int]:
    """Return the sizes of a word such as "k64r3s3": each of `letters` once, in any order, and nothing else."""
    found = _SIZES.findall(word)
    if sorted(letter.upper() for letter, _ in found) != list(letters) or _SIZES.sub("", word):
        raise _refusal(case, word, expected)
    return {letter.upper(): int(size) for letter, size in found}


def _split_pool(case: str, words: list[str]) -> tuple[Any, dict[str, Any]]:
    if len(words) < 3:
        raise _refusal(case, case, "a kind of pooling second and its window third, as in n1c64h112w112_max_r3s3_f16")
    options: dict[str, Any] = {"dtype": "float32"}
    match = re.fullmatch(rf"([a-z]+?)({_REAL}|inf)?", words[1])
    kind, value = match.groups() if match else ("", None)
    if kind == "l" and value:
        kind = "lp"
    if kind not in _KINDS or (value and kind not in ("lp", "gaussian")):
        raise _refusal(case, words[1], f"one of {', '.join(_KINDS + (ELEMENTWISE_VERBS if words[0] else ()))}")
    if kind == "lp":
        options.update(kind="lp", power=float(value or 2.0))
    elif kind in ("max", "avg", "rms"):
        options["kind"] = kind
    else:
        options.update(kind="weighted", weighting=kind, sigma=float(value) if value else None)
    window: dict[str, int] | None = None
    if words[2] != "global":
        window = _sizes(case, words[2], "RS", "r#s# or global third")
    for word in words[3:]:
        _pool_word(case, word, options)
    return window, options


def _common_word(word: str, options: dict[str, Any]) -> bool:
    if word in ("nhwc", "nchw"):
        options["layout"] = word.upper()
    elif word in _LONG:
        options["dtype"] = _LONG[word]
    elif word in PADDING_NAMES or word == "samelower":
        options["padding"] = "same_lower" if word == "samelower" else word
    elif match := re.fullmatch(r"(stride|dil|pad)(-?\d+)(?:x(-?\d+))?", word):
        name = {"dil": "dilation", "pad": "padding"}.get(match[1], match[1])
        options[name] = (int(match[2]), int(match[3] or match[2]))
    elif match := re.fullmatch(r"pad(-?\d+):(-?\d+):(-?\d+):(-?\d+)", word):
        top, bottom, left, right = map(int, match.groups())
        options["padding"] = ((top, bottom), (left, right))
    else:
        return False
    return True


def _conv_word(case: str, word: str, options: dict[str, Any]) -> None:
    if _common_word(word, options):
        return
    if match := re.fullmatch(r"g(\d+)", word):
        options["groups"] = int(match[1])
    elif word in ("zeros", "reflect", "replicate", "circular"):
        options["padding_mode"] = word
    elif word in ("tf32", "strict"):
        options["precision"] = word
    elif word == "residual":
        options["residual"] = True
    elif match := re.fullmatch(r"w([krsc]{4})", word):
        options["weight_layout"] = match[1].upper()
    elif match := re.fullmatch(r"(out)?zp(-?\d+)", word):
        options["out_zero_point" if match[1] else "zero_point"] = int(match[2])
    elif (match := re.fullmatch(r"(out|scale|bias)([a-z]*\d*)", word)) and (match[2] in _LONG or match[2] == ""):
        options["out_dtype" if match[1] == "out" else match[1]] = _LONG.get(match[2], "")
    else:
        _activation_word(case, word, options)


def _activation_word(case: str, word: str, options: dict[str, Any]) -> None:
    for name in sorted(ACTIVATIONS, key=len, reverse=True):
        rest = word.removeprefix(name.replace("_", "-"))
        if rest != word:
            try:
                options["activation"] = (name, *(float(x) for x in rest.split(":") if x))
            except ValueError:
                break
            return
    raise _refusal(case, word, "a word of the case string, such as pad1, stride2, dil2, g64, f16, nchw, bias, relu")


def _pool_word(case: str, word: str, options: dict[str, Any]) -> None:
    if _common_word(word, options):
        return
    flags = {"ceil": ("ceil_mode", True), "omit": ("nan", "omit"), "indices": ("return_indices", True)}
    flags |= {"includepad": ("count_include_pad", True), "normfull": ("normalize", "full")}
    if word in flags:
        options[flags[word][0]] = flags[word][1]
    elif match := re.fullmatch(rf"div(-?{_REAL})", word):
        options["divisor"] = float(match[1])
    else:
        raise _refusal(case, word, "a word of the case string, such as pad1, stride2, ceil, indices, f16, nchw")


def _refusal(case: str, word: str, expected: str) -> ProblemError:
    return ProblemError(sentence("case", f"{shown(word)} in {shown(case)}", expected, "correct the case string"))
