"""`redact_secrets`: what it replaces, what it leaves, and that hostile texts take no longer."""

from __future__ import annotations

import time

import pytest

from langchain_kronvex import redact_secrets

# Put together here, so that scanners of this repository find no key in it.
RANDOM = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
LETTERS = "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"
BEGIN, END = "-----BEGIN RSA PRIVATE" + " KEY-----", "-----END RSA PRIVATE" + " KEY-----"

SECRETS = [
    ("sk-" + RANDOM, "key"),
    ("sk-proj-" + RANDOM + "_-" + RANDOM, "key"),
    ("sk-ant-api03-" + RANDOM, "key"),
    ("sk_" + "live_" + RANDOM, "key"),
    ("ghp_" + RANDOM, "key"),
    ("github_pat_" + RANDOM, "key"),
    ("AKIA" + "IOSFODNN7EXAMPLE", "key"),
    ("xoxb-" + "123456789012-123456789012-" + RANDOM[:24], "key"),
    ("hf_" + LETTERS, "key"),
    ("kv-" + RANDOM, "key"),
    ("eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w", "key"),
    (BEGIN + "\nMIIEpAIBAAKCAQEA\nabc=\n" + END, "private key"),
    ("4111 1111 1111 1111", "card number"),
    ("5555-5555-5555-4444", "card number"),
    ("4111111111111111", "card number"),
    ("3782 822463 10005", "card number"),
    ("6011111111111117", "card number"),
    ("DE89 3704 0044 0532 0130 00", "IBAN"),
    ("GB82WEST12345698765432", "IBAN"),
    ("fr14 2004 1010 0505 0001 3m02 606", "IBAN"),
]
ASSIGNED = [
    ("password=", "swordfish", "", "password"),
    ("My password: ", "hunter2", "", "password"),
    ("DB_PASSWORD = '", "correct horse battery", "'", "password"),
    ('{"password": "', "swordfish", '"}', "password"),
    ('{\\"api_key\\": \\"', "abcdef123456", '\\"}', "key"),
    ("OPENAI_API_KEY=", "abcDEF123456", "", "key"),
    ("api_key: ", "9f8e7d6c5b4a", "", "key"),
    ("client_secret='", "zyxwvuts", "'", "key"),
    ("token=", "abc123def456", "", "token"),
    ("Authorization: Basic ", "dXNlcjpwYXNzd29yZA==", "", "token"),
    ("curl -H 'Authorization: Bearer ", RANDOM, "'", "token"),
    ("Bearer ", "123e4567e89b12d3", "", "token"),
    ("postgresql://ana:", "s3cr3t", "@db/prod", "password"),
    ("https://ana:", "p@ss:w", "@example.org/x", "password"),
]
ORDINARY = [
    "Call me at +49 170 1234567 or (415) 555-0134, extension 4111.",
    "My id is 123e4567-e89b-12d3-a456-426614174000.",
    "It broke in commit ad4f1ee0c0ffee1234567890abcdef1234567890.",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "2026-11-30T13:09:13.123456Z, or 1700000000000 ms, or 20261130130913",
    "The order is 1234 5678 9012 3456, and the other 4111 1111 1111 1112.",
    "ISBN 978-3-16-148410-0, EAN 4006381333931, pi is 3.141592653589793.",
    "DE89 3704 0044 0532 0130 01 has a wrong digit.",
    "RGB 255 255 255, 1600 1200 800 600 400, 4000 5000 6000",
    "The password: please choose a new one. What is my password?",
    "Password required: yes. The secret: practice. My access key: it opens the garage.",
    "token: the smallest unit of text; max_tokens=500000; secretary: Ana",
    "password: str = None, api_key=os.environ['KEY'], api_key=settings.api_key",
    "password=getpass.getpass(), token = next(tokens), secret_key=secret_key",
    "I read sk-learn-something-very-long-name-here and kv-cache-optimization-2024-paper.",
    "hf_hub_download_some_function, glass-bottomed boats-2024",
    "Bearer of good news, bearer shares",
    "https://example.org:8080/path@v2, ssh ana@example.org:/tmp/x",
]


@pytest.mark.parametrize(("secret", "kind"), SECRETS, ids=range(len(SECRETS)))
def test_a_secret_becomes_a_mark(secret: str, kind: str) -> None:
    assert redact_secrets(f"Say {secret}, please.") == f"Say [redacted {kind}], please."
    assert redact_secrets(secret) == f"[redacted {kind}]"


@pytest.mark.parametrize(("before", "secret", "after", "kind"), ASSIGNED, ids=range(len(ASSIGNED)))
def test_only_the_value_of_an_assignment_becomes_a_mark(
    before: str, secret: str, after: str, kind: str
) -> None:
    redacted = redact_secrets(f"{before}{secret}{after}\nMore.")

    assert redacted == f"{before}[redacted {kind}]{after}\nMore."
    assert redact_secrets(redacted) == redacted


@pytest.mark.parametrize("text", ORDINARY, ids=range(len(ORDINARY)))
def test_an_ordinary_text_stays(text: str) -> None:
    assert redact_secrets(text) == text


def test_several_secrets_are_told_apart() -> None:
    text = f"{SECRETS[0][0]} and 4111 1111 1111 1111; IBAN ES9121000418450200051332 THEN more"
    expected = "[redacted key] and [redacted card number]; IBAN [redacted IBAN] THEN more"
    assert redact_secrets(text) == expected


def test_a_private_key_that_was_cut_off_goes_up_to_where_it_ends() -> None:
    text = f"{BEGIN}\n{RANDOM}\n{RANDOM}\nand that was all of it"
    assert redact_secrets(text) == "[redacted private key]\nand that was all of it"


def test_a_long_password_goes_as_a_whole() -> None:
    assert redact_secrets("password=" + "x1" * 5000) == "password=[redacted password]"


HOSTILE = [
    "a", " ", "4", "4111 ", "4111-1111-1111-1111-", "1 ", "sk-", "eyJ", "eyJaaaaaaaa.", "-", ":",
    BEGIN, BEGIN + "\n", "-----BEGIN ", "-----END", "://a:", "://a:@", "password", "password=",
    'password="', "password=\"password='", "DE89 ", "DE89", "DE8937040044053201300 ", "bearer ",
    "authorization: ", "12345678:AA", "token=\\", "xoxa-1234 ", "hvs.",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("chars", [200_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_time_grows_with_the_length_of_the_text(part: str, chars: int) -> None:
    def seconds() -> float:
        text = part * (chars // len(part))
        began = time.process_time()
        redact_secrets(text)
        return time.process_time() - began

    # A million characters take 0.3 to 0.8 s on an idle machine; squared, they would take minutes.
    limit = chars / 1e6
    assert seconds() < limit or min(seconds() for _ in range(3)) < 1.5 * limit
