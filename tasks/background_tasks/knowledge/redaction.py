"""The one redactor: masks secrets before any prompt, embedding, log line, work file or event.

A secret is known by its form (a token's prefix, a private key's armour) or by its place (a URL's password, an
Authorization header, the value after a name such as `password=`). Not here: personal data, and secrets that look like
the words of a sentence: nothing can tell those from text.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable

MASK = "[redacted]"
RANDOM_LENGTH = 12
RANDOM_BITS = 3.0
"""Entropy per character from which a word looks drawn: 12 drawn letters and digits have 3.2 or more."""
RANDOM_CHANGES = 0.22
"""Changes between lower case, upper case and digits, per character: drawn hex has 0.45, `kg_decay_2024` 0.1."""
MAX_KEY_LINES = 400
"""A private key that comes line by line has at most so many: RSA of 16,384 bits has 200."""

_TOKENS: tuple[tuple[str, str], ...] = (  # what must be in the text for the pattern to be tried; the pattern
    *((prefix, prefix + r"[A-Z0-9]{16}") for prefix in ("AKIA", "ASIA", "ABIA", "ACCA", "AROA", "AIDA")),  # AWS
    *((f"gh{kind}_", rf"gh{kind}_[A-Za-z0-9]{{20,}}") for kind in "oprsu"),  # GitHub
    ("github_pat_", r"github_pat_\w{20,}"),
    *((f"gl{kind}-", rf"gl{kind}-[\w-]{{16,}}") for kind in ("pat", "dt", "rt", "cbt", "ptt", "ft", "soat")),  # GitLab
    ("xox", r"xox[abeoprs]-[\w-]{10,}"),  # Slack
    ("xapp-", r"xapp-[\w-]{10,}"),
    ("hooks.slack.com/", r"(?<=hooks\.slack\.com/)[\w/]{12,}"),
    (".", r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}"),  # Discord bots: MTIz….abc123.x…
    ("/api/webhooks/", r"(?<=/api/webhooks/)\d+/[\w-]{20,}"),
    (":AA", r"\d{8,10}:AA[\w-]{30,}"),  # Telegram bots
    ("sk-", r"sk-[\w-]{16,}"),  # OpenAI, OpenRouter, Anthropic and what follows their form
    *((f"{kind}_{mode}_", rf"{kind}_{mode}_\w{{16,}}") for kind in ("sk", "rk") for mode in ("live", "test")),  # Stripe
    ("whsec_", r"whsec_[A-Za-z0-9+/=]{16,}"),
    ("AIza", r"AIza[\w-]{30,}"),  # Google
    ("ya29.", r"ya29\.[\w-]{20,}"),
    ("GOCSPX-", r"GOCSPX-[\w-]{20,}"),
    ("hf_", r"hf_[A-Za-z0-9]{24,}"),  # Hugging Face
    ("npm_", r"npm_[A-Za-z0-9]{30,}"),
    ("pypi-", r"pypi-[\w-]{30,}"),
    ("dckr_pat_", r"dckr_pat_[\w-]{20,}"),
    ("_v1_", r"do[opr]_v1_[0-9a-f]{32,}"),  # DigitalOcean
    ("SG.", r"SG\.[\w-]{16,}\.[\w-]{16,}"),  # SendGrid
    ("SK", r"SK[0-9a-f]{32}"),  # Twilio
    ("shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),  # Shopify
    ("hvs.", r"hvs\.[\w-]{20,}"),  # Vault
    ("dapi", r"dapi[0-9a-f]{32}"),  # Databricks
    ("key-", r"key-[0-9a-f]{32}"),  # Mailgun
    ("lin_api_", r"lin_api_\w{30,}"),
    ("nvapi-", r"nvapi-[\w-]{30,}"),
    ("gsk_", r"gsk_\w{30,}"),
    ("syt_", r"syt_\w+_\w{10,}_\w+"),  # Matrix
    ("AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[A-Z0-9]{40,}"),
    ("eyJ", r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),  # JSON web tokens
)
_BY_FORM = tuple((hint, re.compile(r"(?<![A-Za-z0-9])" + pattern)) for hint, pattern in _TOKENS)

_KEY = r"[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_ARMOUR = "PRIVATE KEY"
_KEY_BLOCK = re.compile(rf"-----BEGIN {_KEY}.*?(?:-----END {_KEY}|\Z)", re.DOTALL)
_KEY_END = re.compile(rf"-----END {_KEY}")
_KEY_LINE = re.compile(r"\s*(?:[A-Za-z0-9+/=]{1,100}|[A-Za-z-]+: .{1,100})?\s*")  # base64, `Proc-Type: 4,…`, nothing

# postgres://app:s3cret@db/x -> s3cret; the user may be empty, as in Redis URLs
_URL = re.compile(r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@'\"]*:)(?P<secret>[^\s/'\"]+)(?=@)")
# Authorization: Bearer abc1 -> abc1; "basic authentication" is no secret
_HEADER = re.compile(
    r"(?P<before>(?i:\b(?:bearer|basic)\s+|authorization[\"']?\s*[:=]\s*[\"']?(?:token|digest|apikey)\s+))"
    r"(?P<secret>(?![a-z]+\b)[A-Za-z0-9+/=._~-]{8,})"
)
_STRONG = (
    r"passw(?:or)?d|passphrase|passcode|pwd|(?:client|app|consumer|webhook|signing|jwt|shared)?[_.-]?secret|credentials?"
    r"|(?:api|access|account|private|secret|shared|encryption|signing|master|service)[_.-]?key"
    r"|(?:access|refresh|auth|bearer|api|bot|session|csrf)[_.-]?token|session[_.-]?cookie"
)
_WEAK = r"(?<![a-z0-9])(?:key|token|pass|auth|sig(?:nature)?|salt|sas|session|cookie|nonce)"
# DB_PASSWORD='a b'; "apiKey": "abc"; --token abc; token is abc
_ASSIGNED = re.compile(
    rf"(?i)(?P<flag>(?<![^\s\"'])--[a-z-]{{0,30}}?)?(?P<name>(?P<strong>{_STRONG})|{_WEAK})"
    r"(?:[_.-]?(?:id|value|hash|key|b64|base64|old|new|\d{1,2}))?"
    r"(?P<sign>\\*[\"']?\s*(?:=>|:=|==?|:)\s*|\s+is\s+|\s+)"
    r"(?:(?P<quote>\\*[\"'`])(?P<quoted>[^\n]*?)(?P=quote)|(?P<bare>[^\s\"'`,;&<>]+))"
)
_NAMES = ("pass", "pwd", "secret", "credential", "key", "token", "auth", "sig", "salt", "sas", "session", "cookie",
          "nonce")  # fmt: skip
_PLACEHOLDER = re.compile(r"[\W_]*|[xX*.]+|\$\{.*|\$[A-Z_]+|%\(?\w*\)?[a-z]?|\{.*\}?|\[.*\]?|<.*>?|env:.*|vault:.*")
_PLAIN = frozenset({
    "none", "null", "nil", "true", "false", "yes", "no", "ok", "unset", "empty", "missing", "required", "optional",
    "invalid", "incorrect", "wrong", "expired", "changed", "rotated", "hidden", "masked", "redacted", "removed",
    "undefined", "unknown", "default", "rejected", "accepted", "failed",
})  # fmt: skip
"""Words that say something about a password and are none."""


def redact(text: str) -> str:
    """Return the text with each secret replaced by `[redacted]`; the same text where there is none."""
    if _ARMOUR in text:
        text = _KEY_BLOCK.sub(MASK, text)
    for hint, pattern in _BY_FORM:
        if hint in text:
            text = pattern.sub(MASK, text)
    if "://" in text:
        text = _URL.sub(_mask_secret, text)
    lower = text.lower()
    if "bearer" in lower or "basic" in lower or "authorization" in lower:
        text = _HEADER.sub(_mask_secret, text)
    if any(name in lower for name in _NAMES):
        text = _ASSIGNED.sub(_mask_assigned, text)
    return text


def line_redactor() -> Callable[[str], str]:
    """Return a `redact` for the lines of one stream, in order: it also masks a private key that spans lines."""
    left = 0

    def redact_line(line: str) -> str:
        nonlocal left
        if left and _KEY_END.search(line):
            left = 0
            return MASK
        if left and _KEY_LINE.fullmatch(line):
            left -= 1
            return MASK
        begins = _ARMOUR in line and "-----BEGIN" in line and not _KEY_END.search(line)
        left = MAX_KEY_LINES if begins else 0
        return redact(line)

    return redact_line


def looks_random(word: str) -> bool:
    """Say whether a word looks drawn rather than chosen: long, many different characters, letters and digits mixed."""
    core = re.sub(r"[-_.=+/]", "", word)
    if len(core) < RANDOM_LENGTH or not core.isalnum():
        return False
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in core]
    changes = sum(a != b for a, b in itertools.pairwise(kinds)) / len(core)
    counts = Counter(core).values()
    bits = -sum(n / len(core) * math.log2(n / len(core)) for n in counts)
    return bits >= RANDOM_BITS and changes >= RANDOM_CHANGES


def _mask_secret(found: re.Match[str]) -> str:
    return found["before"] + MASK


def _mask_assigned(found: re.Match[str]) -> str:
    group = "bare" if found["quoted"] is None else "quoted"
    value = found[group].rstrip(".)]}") if group == "bare" else found[group]
    if not value or MASK.startswith(value) or not (looks_random(value) or _is_secret(found, value)):
        return found[0]
    start = found.start(group) - found.start()
    return found[0][:start] + MASK + found[0][start + len(value) :]


def _is_secret(found: re.Match[str], value: str) -> bool:
    """Judge a value that does not look drawn: `password=hunter2` is one, "password reset" and "password: wrong" not."""
    if found["strong"] is None or _PLACEHOLDER.fullmatch(value) or value.lower() in _PLAIN:
        return False
    match found["sign"].strip().lower():
        case "":
            return found["flag"] is not None
        case "is":
            return not value.isalpha()
    is_prose = found["quoted"] is None and value.isalpha() and found["sign"][-1].isspace()
    return not (is_prose and found.string[found.end() :].strip())
