"""What a user asks of the style, as one value: for `fxsr run`, `fxsr tmap`, the server and the page alike."""

from __future__ import annotations

from dataclasses import dataclass

from fxsr.errors import UsageError
from fxsr.styles.maps import check_feather, check_t
from fxsr.styles.style_map import DEFAULT_T, StyleMap, StyleRows


@dataclass(frozen=True)
class StyleOptions:
    """How a number or a style map becomes the style of an image.

    Raises:
        StyleError: a value is outside its range.
    """

    t: float | None = None
    """In 0..1: the style of every pixel of images without a map, `DEFAULT_T` if None."""
    scale: float | None = None
    """In 0..1: a factor for the values of a map. None: `t`, or 1 if that is None as well."""
    range: tuple[float, float] = (0, 1)
    """The t that black and white of a map stand for, in 0..1 each; applied after the factor."""
    feather: float = 0
    """Pixels of the image by which hard borders in a map become slopes, to either side; 0 or more."""

    def __post_init__(self) -> None:
        for t in (*self.range, *(t for t in (self.t, self.scale) if t is not None)):
            check_t(t)
        check_feather(self.feather)

    @property
    def uniform(self) -> float:
        """The t of an image without a map."""
        return DEFAULT_T if self.t is None else self.t

    def over(self, t_map: StyleMap | None, height: int, width: int) -> StyleRows:
        """The style of an image of `height` x `width` pixels: `t_map` with all options applied, or `t` if it is None.

        A map of another size is resized to the image's.
        """
        if t_map is None:
            style = StyleMap.uniform(self.uniform)
        else:
            factor = self.t if self.scale is None else self.scale
            style = t_map.scaled(1 if factor is None else factor).ranged(*self.range)
        return style.over(height, width, self.feather)


def check_style_is_free(model: str, fixed_t: float | None, *choices: object) -> None:
    """Refuse a choice of style for a model that was exported with `--bake-t`.

    Args:
        model: what the message calls the model.
        fixed_t: the t that the model was exported with. None: it takes any, and nothing is refused.
        choices: what the user gave for the style: a t, a map, ... None or False where nothing was given.

    Raises:
        UsageError: the style is fixed, and something was given.
    """
    if fixed_t is not None and any(choice is not None and choice is not False for choice in choices):
        raise UsageError(
            f"{model} was exported with t fixed at {fixed_t:g}; leave out what chooses a style: t, style map, diversity"
        )
