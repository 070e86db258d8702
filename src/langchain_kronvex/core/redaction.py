"""`redact_secrets`: replaces keys, tokens, passwords and numbers of cards and accounts. Pure.

The time grows with the length of a text, whatever it holds: a pattern starts with something fixed,
and what follows it either has a bound or cannot fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

_MAX_KEY_BLOCK_CHARS = 16_384  # the PEM block of an RSA key of 16,384 bits has 13,000


class _Secret(NamedTuple):
    start: int
    end: int
    kind: str


def redact_secrets(text: str) -> str:
    """Replace what looks like a secret by a mark such as `[redacted password]`.

    It is made for `KronvexMemory(before_save=redact_secrets)`, and replaces:

    - API keys and access tokens of the usual providers, JSON Web Tokens, bearer tokens,
      `Authorization` headers, and private keys in PEM form;
    - passwords in URLs, and what is assigned to a name such as `password`, `api_key` or `token`;
    - card numbers and IBANs whose check digits are right.

    A secret without any such sign, for example a password in the middle of a sentence, stays. So do
    names, addresses and phone numbers. Redacting a text again changes nothing.

    Examples:
        >>> redact_secrets("My card is 4111 1111 1111 1111, password: hunter2")
        'My card is [redacted card number], password: [redacted password]'

    Args:
        text: Any text. One of 1,000,000 characters takes less than a second.

    Returns:
        The text with the marks.
    """
    parts: list[str] = []
    done = 0
    for start, end, kind in _merged(text):
        parts += [text[done:start], f"[redacted {kind}]"]
        done = end
    return "".join([*parts, text[done:]])


def _merged(text: str) -> Iterator[_Secret]:
    """Yield what was found in order, with overlapping findings as one."""
    finders = (_key_blocks, _keys, _url_passwords, _assignments, _cards, _ibans)
    found = sorted(
        (secret for find in finders for secret in find(text)),
        key=lambda secret: secret.start,  # of several at one place, the first finder names it
    )
    last: _Secret | None = None
    for secret in found:
        if last and secret.start < last.end:
            last = last._replace(end=max(last.end, secret.end))
        else:
            if last:
                yield last
            last = secret
    if last:
        yield last


# -- keys and tokens ---------------------------------------------------------------------------

_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BLOCK_END = re.compile(r"-----END [A-Z0-9 ]{0,60}(?:-----)?")
_KEY_LINES = re.compile(r"(?:[\s\\]|[A-Za-z0-9+/=]{16,})*")  # of a block that was cut off

_CERTAIN_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS
    r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"  # Telegram
    r"|eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4})"  # JSON Web Token
)
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-|[sr]k_(?:live|test)_|whsec_|gh[opsru]_|github_pat_|gl[a-z]{2,4}-"
    r"|xox[a-z]-|xapp-|AIza|GOCSPX-|ya29\.|hf_|gsk_|xai-|pplx-|r8_|tvly-|lsv2_[a-z]{2}_|kv-|npm_"
    r"|pypi-|SG\.|do[opr]_v1_|shp[a-z]{2}_|lin_api_|ntn_|dapi|sbp_|nvapi-|glsa_|hvs\.)"
    r"(?P<secret>[A-Za-z0-9_.+/=-]{16,})"
)
_BEARER = re.compile(r"(?i)(?<![a-z])bearer\s{1,3}(?P<secret>[a-z0-9._~+/=-]{12,})")
_AUTHORIZATION = re.compile(
    r"""(?i)authorization\\{0,2}["']?\s{0,3}[:=]\s{0,3}\\{0,2}["']?(?:[a-z]{1,20}\s{1,3})?"""
    r"""(?P<secret>[^\s"',;\\]{8,})"""
)
_WORD_IN_KEY = re.compile(r"[A-Za-z0-9]+")
_LEAST_MIXED_CHARS, _LONG_WORD_CHARS = 8, 24


def _key_blocks(text: str) -> Iterator[_Secret]:
    done, end = 0, None
    for begun in _KEY_BLOCK.finditer(text):
        if begun.start() < done:
            continue
        if end is None or -1 < end < begun.end():  # no place is looked at twice
            end = text.find("-----END", begun.end())
        if begun.end() <= end <= begun.end() + _MAX_KEY_BLOCK_CHARS:
            closed = _KEY_BLOCK_END.match(text, end)
            done = closed.end() if closed else end
        else:
            lines = _KEY_LINES.match(text, begun.end())
            done = begun.end() + (len(lines[0].rstrip()) if lines else 0)
        yield _Secret(begun.start(), done, "private key")


def _keys(text: str) -> Iterator[_Secret]:
    for found in _CERTAIN_KEY.finditer(text):
        yield _Secret(found.start(), found.start() + len(found[0].rstrip(".")), "key")
    for found in _KEY.finditer(text):
        if _is_random(found["secret"]):
            yield _Secret(found.start(), found.start() + len(found[0].rstrip(".=")), "key")
    for pattern in (_BEARER, _AUTHORIZATION):
        for found in pattern.finditer(text):
            if any(c.isdigit() or c in "+/=" for c in found["secret"]):
                yield _Secret(*found.span("secret"), "token")


def _is_random(text: str) -> bool:
    """Return whether a text looks drawn by lot: words joined by hyphens do not."""
    words = _WORD_IN_KEY.findall(text)
    mixed = (w for w in words if not (w.isalpha() or w.isdigit()))
    return sum(map(len, mixed)) >= _LEAST_MIXED_CHARS or any(
        len(w) >= _LONG_WORD_CHARS and not (w.islower() or w.isupper()) for w in words
    )


# -- passwords ---------------------------------------------------------------------------------

_URL_PASSWORD = re.compile(r"://[^\s/:@]{0,128}:(?P<secret>[^\s/]{1,256})@")
_ASSIGNMENT = re.compile(
    r"(?i)(?=[aepst])(?P<name>pass(?:word|wd|phrase|code)|pwd|secret|token"
    r"|(?:access|account|api|auth|encryption|private|secret|shared|signing)[ _-]?key)"
    r"""\\{0,2}["'`]?[ \t]{0,3}(?P<sign>:=|=>|[:=])[ \t]{0,3}"""
    r"""(?:\\{0,2}(?:"(?P<double>[^"\n\\]+)\\{0,2}"|'(?P<single>[^'\n\\]+)\\{0,2}')"""
    r"""|(?P<plain>[^\s"'`,;&\\<>()\[\]{}|]+))"""
)
_NO_SECRETS = frozenset(
    """
    expired false forgotten hidden incorrect invalid missing none null optional pass passwd password
    pwd required secret str string text token true undefined unknown wrong
    """.split()
)
_NAME_IN_CODE = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)+|[a-z]+(?:_[a-z]+)+|[A-Z]+(?:_[A-Z]+)+")
_SIGN_IN_PASSWORD = re.compile(r"[0-9!#$%&*+=@^~]")
_LEAST_PASSWORD_CHARS = 4
_LEAST_CHARS = 6


def _url_passwords(text: str) -> Iterator[_Secret]:
    for found in _URL_PASSWORD.finditer(text):
        if _may_be_password(found["secret"]):
            yield _Secret(*found.span("secret"), "password")


def _assignments(text: str) -> Iterator[_Secret]:
    for found in _ASSIGNMENT.finditer(text):
        group = next(name for name in ("double", "single", "plain") if found[name] is not None)
        value = found[group] if group != "plain" else found[group].rstrip(".!?*")
        name = found["name"].lower()
        is_password = name.startswith("p") and "key" not in name
        is_assigned = group != "plain" or "=" in found["sign"]
        if _is_assigned_secret(value, is_password=is_password, is_assigned=is_assigned):
            start = found.start(group)
            kind = "password" if is_password else "token" if name == "token" else "key"
            yield _Secret(start, start + len(value), kind)


def _is_assigned_secret(value: str, *, is_password: bool, is_assigned: bool) -> bool:
    """Return whether a value is a secret, and not a word, a type or a name in a program."""
    if not _may_be_password(value):
        return False
    if is_assigned and is_password:
        return len(value) >= _LEAST_PASSWORD_CHARS
    if any(map(str.isspace, value)) or len(value) < _LEAST_CHARS:
        return False
    if is_assigned:
        return not (value.isdigit() or _NAME_IN_CODE.fullmatch(value))
    # In prose, a word may follow the colon.
    if is_password:
        return _SIGN_IN_PASSWORD.search(value) is not None
    return any(map(str.isdigit, value)) and not value.isdigit()


def _may_be_password(value: str) -> bool:
    is_path = "." in value and _NAME_IN_CODE.fullmatch(value)
    is_mark = value.startswith(("[redacted ", "$", "{", "<", "%")) or not value.strip("*.x•")
    return not (is_path or is_mark or value.lower() in _NO_SECRETS)


# -- cards and accounts ------------------------------------------------------------------------

_CARD = re.compile(
    r"(?<![\w-])(?<![0-9]\.)"
    "(?:[2-6][0-9]{13,18}"
    "|[2-6][0-9]{3}([ \u00a0\u202f-])[0-9]{4}\\1[0-9]{4}\\1[0-9]{2,7}"
    "|3[0-9]{3}([ \u00a0\u202f-])[0-9]{6}\\2[0-9]{4,5})"
    r"(?![\w-]|\.[0-9])"
)
# Visa, Mastercard, American Express, Diners Club, Discover, JCB, Maestro and UnionPay.
_CARD_OF_ISSUER = re.compile(
    r"4(?:\d{15}|\d{18})|(?:5[1-5]|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d\d)\d{12,14}"
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|(?:6011|64[4-9]\d|65\d\d|35\d\d)\d{12,15}"
    r"|(?:50|5[6-8]|6[0-9])\d{14,17}"
)
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ A-Za-z0-9-])")
# The lengths of IBANs by country, as the registry of ISO 13616 lists them.
_IBAN_CHARS = {
    entry[:2]: int(entry[2:])
    for entry in """
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18
    DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23
    IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31
    MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24
    SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20
    """.split()
}

_NUMBER_OF_LETTER = {letter: str(number) for number, letter in enumerate(range(65, 91), 10)}


def _cards(text: str) -> Iterator[_Secret]:
    for found in _CARD.finditer(text):
        digits = "".join(filter(str.isdigit, found[0]))
        if _CARD_OF_ISSUER.fullmatch(digits) and _passes_luhn(digits):
            yield _Secret(*found.span(), "card number")


def _passes_luhn(digits: str) -> bool:
    """Return whether the last digit checks the others: ISO/IEC 7812-1, annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _ibans(text: str) -> Iterator[_Secret]:
    done = 0
    for found in _IBAN_START.finditer(text):
        length = _IBAN_CHARS.get(found[0][:2].upper())
        if length is None or found.start() < done:
            continue
        whole = _iban_of(length).match(text, found.start())
        if whole and _passes_mod_97("".join(filter(str.isalnum, whole[0]))):
            done = whole.end()
            yield _Secret(*whole.span(), "IBAN")


@cache
def _iban_of(length: int) -> re.Pattern[str]:
    return re.compile(f"(?:[ \u00a0-]?[A-Za-z0-9]){{{length}}}(?![A-Za-z0-9])")


def _passes_mod_97(iban: str) -> bool:
    """Return whether the check digits of an IBAN are right: ISO 13616, by ISO/IEC 7064."""
    return int((iban[4:] + iban[:4]).upper().translate(_NUMBER_OF_LETTER)) % 97 == 1
