"""What five cron fields may look like, as one pattern: what an API server can tell of a cron without reading it.

Not here: ranges that run backwards and dates that never come; the reader of crons finds those.
"""

_STEP = "(/0*[1-9][0-9]*)?"
_NAMED_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_NAMED_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _field(number: str, *others: str) -> str:
    """Write a list of `*`, numbers and ranges, each with a step, such as `0-9/3,30`; `others` are further items."""
    item = "|".join([rf"(\*|({number})(-({number}))?){_STEP}", *others])
    return f"({item})(,({item}))*"


_FIELDS = (
    _field("0*[0-5]?[0-9]"),
    _field("0*(1?[0-9]|2[0-3])"),
    _field("0*([1-9]|[12][0-9]|3[01])", f"LW?{_STEP}"),
    _field(f"0*([1-9]|1[0-2])|{_NAMED_MONTHS}"),
    _field(f"0*[0-7]|{_NAMED_DAYS}", f"(0*[0-7]|{_NAMED_DAYS})#0*[1-5]", "0*[0-7]L"),
)
FIVE_FIELDS = r"^\s*(\S+\s+){4}\S+\s*$"
"""As in `a b c d e`."""
CRON_SHAPE = r"(?i)^\s*" + r"\s+".join(_FIELDS) + r"\s*$"
"""As in `*/15 9-17 1,15 * MON-FRI`."""
