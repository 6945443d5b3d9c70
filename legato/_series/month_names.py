"""Names of months in several languages, in full and short, as dates are read and written."""

_NAMES = (  # of each language, in full and short
    "january february march april may june july august september october november december",
    "jan feb mar apr may jun jul aug sep oct nov dec",
    "jan feb mar apr may jun jul aug sept oct nov dec",
    "januar februar märz april mai juni juli august september oktober november dezember",
    "jan feb mär apr mai jun jul aug sep okt nov dez",
    "jan feb mrz apr mai jun jul aug sep okt nov dez",
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "janv févr mars avr mai juin juil août sept oct nov déc",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "ene feb mar abr may jun jul ago sep oct nov dic",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "gen feb mar apr mag giu lug ago set ott nov dic",
    "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "jan fev mar abr mai jun jul ago set out nov dez",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "jan feb mrt apr mei jun jul aug sep okt nov dec",
)
MONTH_NAMES = tuple(tuple(names.split()) for names in _NAMES)  # January first, in small letters
MONTH_NUMBERS = {name: at for names in MONTH_NAMES for at, name in enumerate(names, 1)}
ANY_MONTH = "|".join(sorted(MONTH_NUMBERS, key=len, reverse=True))


def find_month_names(found: list[str]) -> tuple[str, ...]:
    """The twelve names to write: of the first language that has all of some, else the first one."""
    return next(
        (names for names in MONTH_NAMES if {*found} <= {*names}),
        next(names for names in MONTH_NAMES if found[0] in names),
    )
