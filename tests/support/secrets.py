"""Invented secrets of many kinds, and texts that only look like secrets."""

import base64
import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Planted:
    """A text with a secret in it, and the parts of it that must not appear anywhere."""

    kind: str
    text: str
    secret: str

    def encodings(self) -> Iterator[str]:
        """Return the secret in every encoding in which it could appear."""
        yield self.secret
        yield quote(self.secret, safe="")
        yield json.dumps(self.secret)[1:-1]
        yield base64.b64encode(self.secret.encode()).decode().rstrip("=")[:-1]
        yield self.secret.encode().hex()


def _luhn(digits: str) -> str:
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def planted(each: int = 8, seed: int | None = None) -> list[Planted]:
    """Return ``each`` secrets of each kind."""
    dice = random.Random(seed)

    def word(length: int = 24, letters: str = _LETTERS) -> str:
        return "".join(dice.choice(letters) for _ in range(length - 2)) + dice.choice(string.digits) + "q"

    found = []
    for _ in range(each):
        secret, other = word(), word(8)
        upper, lower = string.ascii_uppercase + string.digits, string.hexdigits[:16]
        jwt = f"eyJ{word(20)}.eyJ{word(30)}.{word(40)}"
        basic = base64.b64encode(f"joe:{secret}".encode()).decode()
        card = _luhn(dice.choice(["4", "51", "2221", "6011"]).ljust(15, "x").replace("x", "7"))[:16]
        pem = f"-----BEGIN RSA PRIVATE KEY-----\n{secret}\n{word(60)}\n-----END RSA PRIVATE KEY-----"
        kinds = {
            "bearer": (f"sent Authorization Bearer {secret} to it", secret),
            "basic": (f"sent Basic {basic} to it", basic),
            "header": (f"Authorization: Digest username=joe, response={secret}", secret),
            "jwt": (f"the token {jwt} was refused", jwt),
            "pem": (f"could not parse {pem}", secret),
            "cut pem": (f"could not parse {pem[:60]}", secret[:20]),
            "card": (
                f"charged {card[:4]} {card[4:8]} {card[8:12]} {card[12:]}",
                f"{card[:4]} {card[4:8]} {card[8:12]}",
            ),
            "card in digits": (f"charged {card} twice", card),
            "database": (f"cannot connect to postgresql://joe:{secret}@db:5432/shop", secret),
            "dsn": (f"bad DSN https://{word(32, lower)[:-1]}7@o1.ingest.test/42", ""),
            "redis": (f"redis://:{secret}@cache/0 is down", secret),
            "github": (f"cloned with ghp_{secret}{other}", secret),
            "amazon": (f"key AKIA{word(16, upper).upper()} is unknown", ""),
            "slack": (f"posted with xoxb-{secret}", secret),
            "stripe": (f"sk_live_{secret} was revoked", secret),
            "openai": (f"Incorrect API key provided: sk-proj-{secret}{other}", secret),
            "google": (f"AIza{secret}{other}{other} has no access", secret),
            "assignment": (f"login failed with password={secret}", secret),
            "json": (json.dumps({"user": "joe", "api_key": secret}), secret),
            "repr": (f"Login(username='joe', password='{secret}')", secret),
            "sql": (f"INSERT 'Login(password=''{secret}'')'", secret),
            "nested json": (json.dumps({"body": json.dumps({"client_secret": secret})}), secret),
            "cookie": (f"Cookie: theme=dark; sid={secret}", secret),
            "query": (f"GET https://shop.test/reset?token={secret}&page=2", secret),
            "flag": (f"ran tool --api-key {secret} --fast", secret),
        }
        for kind, (text, known) in kinds.items():
            hidden = known or text.partition("https://")[2].partition("@")[0] or text.split()[1]
            found.append(Planted(kind, text, hidden))
    return found


LOOK_ALIKES = [
    *(f"{name}: 5" for name in ("session_count", "tokens", "author_id", "monkey", "keyboard", "shipping", "page")),
    *(f"{name}=high" for name in ("design", "signal", "opinion", "pinned", "sidebar", "passenger", "tokenizer")),
    *(f"{name}=5" for name in ("max_tokens", "prompt_token_count", "token_usage", "session_timeout", "pin_length")),
    *(f"{name}=x1y2z3" for name in ("key", "name", "id", "code", "state", "nonce", "etag", "hash", "user", "path")),
    *(
        f"the {word} is missing"
        for word in ("token", "password", "api key", "secret", "cookie", "session", "signature")
    ),
    *(
        f"{word}: expired"
        for word in ("token", "session", "Cookie consent", "credentials", "Password", "auth", "JWT")
    ),
    *(f"invalid {word}" for word in ("token", "password", "api_key", "secret", "card number", "bearer token", "PIN")),
    *(f"{name}=None" for name in ("password", "token", "secret", "api_key", "session", "cookie", "auth")),
    *(f"{name}=%s" for name in ("password", "token", "secret", "api_key")),
    *(f"def check({name}: str) -> bool" for name in ("password", "token", "secret", "api_key", "session")),
    *(f"has_{name}=True" for name in ("password", "token", "secret", "session")),
    *(f"KeyError: '{name}'" for name in ("password", "token", "secret", "api_key", "session", "cookie")),
    *(f"Basic {word}" for word in ("understanding", "authentication failed", "usage", "auth", "plan", "tier 2")),
    *(f"Bearer {word}" for word in ("token missing", "authentication", "of news", "scheme", "tokens")),
    *(
        f"https://shop.test/{path}"
        for path in ("@joe", "a?page=2", "a?email=joe@b.test", "auth/login", "token", "a#top")
    ),
    *(f"http://localhost:{port}/a?b=c@d" for port in (80, 3000, 8080, 65535)),
    *(f"joe@{host}" for host in ("shop.test", "localhost", "b.example.com", "[::1]")),
    *(
        f"{number}"
        for number in (1234567890123456, 4111111111111112, 4000000000000, 20231124100000, 1700000000000000000)
    ),
    *("41111111-1111-1111-1111-111111111111", "4111111111111111abc", "0.4111111111111111", "+4915112345678"),
    *(
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "e3b0c44298fc1c14",
    ),
    *("sk-learn", "sk-image", "sk_test", "ghp_", "AKIA", "AIzaSy", "xoxb", "eyJ", "eyJhbGc", "SG.", "npm_install"),
    *("GET /users/{user_id}", "POST /sessions/{session_id}", "/tokens/{token}/usage", "SELECT token FROM t", "auth"),
    *(
        "2026-11-24 10:00:00",
        "12:30:45",
        "10.0.0.1:5432",
        "v1.2.3",
        "sha256:e3b0c44298fc1c149afbf4c8996fb924",
        "1e-9",
    ),
    *(
        "the author's note",
        "secretary of state",
        "a tokenized text",
        "cookies eaten: 5",
        "passport control",
        "Pineapple",
    ),
    *(
        "BEGIN PUBLIC KEY",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----",
    ),
    *(
        "mission m1 done",
        "agent ops: 5 steps",
        "took 12.5 ms",
        "100 % of 3",
        "a=b&c=d",
        "x := 5",
        "a == b",
        "a => b",
        "",
    ),
    *("Traceback (most recent call last):", "ValueError: no", "<object at 0x7f9c6b2a8750>", "[1, 2, 3]", "{'a': 1}"),
    *(
        "token_type=bearer",
        "grant_type=password",
        "auth_method=oidc",
        "cookie_consent=yes",
        "secret_name=db",
        "ssh-agent",
    ),
    *(
        "password_changed_at=2026-11-24",
        "session_duration=35",
        "signature_algorithm=RS256",
        "token_count=7",
        "n_tokens=3",
    ),
]
"""Texts without a secret, which must stay unchanged."""
