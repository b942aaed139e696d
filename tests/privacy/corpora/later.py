"""Cases of a second round, from what the first one left: what services log, with values that try to end too early.

The author of the rules has written them, unlike the first ones: they say what the rules promise, and the first ones
whether a stranger is content. :mod:`tests.privacy.corpora` explains how to read a case.
"""

from typing import Any

from tests.privacy.corpora import LookAlike, Secret
from tests.privacy.corpora.planting import planted

Cases = tuple[tuple[str, Any], ...]

_VALUES: Cases = (
    ("log message", "Config(db={'password': 'a}«word»', 'host': 'db'}, debug=False)"),
    ("log message", "kwargs={'auth': ('anna', 'p)«word»', {'x': ']'}), 'timeout': 3}"),
    ("log message", '{"credentials": ["a]«word»", {"b": "}«word»"}], "ok": true}'),
    ("log message", "SMTP_PASSWORD=ab,«word»)x next"),
    ("log message", "export DB_PASSWORD=a;b«pass»&c"),
    ("environment dump", "TZ=UTC\nADMIN_PASSWORD=a<«pass»>'x\nLANG=C\n"),
    ("environment dump", "REDIS_PASSWORD=p\\«pass»\nLANG=C\n"),
    ("log message", "UPDATE failed for password='it''s «word»', user='anna'"),
    ("log message", 'body={"token": "a\\"«word»\\\\", "page": 2}'),
    ("log message", 'event {"detail": "{\\"secret\\": \\"x\\\\\\"«word»\\"}"}'),
    ("log message", "Settings(secret_key=SecretStr('«word»'), dsn=PostgresDsn('postgresql://app:«word»@db/shop'))"),
    ("log message", "User(id=3, password=Hash(value='«word»', salt='a)b'), town='Bern')"),
    ("exception message", "stripe: Invalid API Key provided: «alnum 20», see docs"),
    ("log message", "Access token: «alnum 20»"),
    ("log message", "Your verification code is: «digits 6»"),
    ("log message", "rotated; api key changed to «alnum 20»"),
    ("captured message", 'cannot log in with password "«word» «word»"'),
)

_LINES: Cases = (
    ("log message", "Password:\n«pass»"),
    ("log message", "Client secret is: «alnum 20»"),
    ("log message", "Enter passphrase: \r\n«pass»\r\n"),
    ("yaml block", "auth:\n  token:\n    «alnum 20»\n  host: db\n"),
    ("yaml block", "api_keys:\n  - «alnum 20»\n  - «alnum 20»\nregion: eu\n"),
    ("ini file", "[client]\npassword =\n    «pass»\n"),
    ("command line", "tool \\\n  --password \\\n  x «~digits 3»\n--api-key\n«alnum 20»"),
    ("log message", '"client_secret":\n    "«word»"'),
    ("ini file", "requirepass «pass»\nmaxmemory 100mb\n"),
    ("log message", "FROM python\nENV API_TOKEN «alnum 20»\nRUN pip install a\n"),
)

_SQL: Cases = (
    ("log message", "ALTER ROLE shop WITH PASSWORD '«pass»' failed"),
    ("log message", "CREATE USER 'shop'@'%' IDENTIFIED BY '«pass»'"),
    ("log message", "executing REPLACE INTO notes VALUES (1, '«word»')"),
    ("log message", "INSERT IGNORE INTO notes (a) VALUES ('«word»'), ('«word»')"),
    ("log message", 'slow: UPDATE people AS p SET p.name = "«word»" WHERE p.id = 3'),
    ("exception message", 'Select name From people Where town = "«word»"'),
    ("log message", "SET PASSWORD FOR 'shop'@'%' = '«pass»'"),
    ("log message", "CREATE SUBSCRIPTION s CONNECTION 'host=a password=«pass»' PUBLICATION p"),
    ("span attribute", {"db.system.name": "mongodb", "db.query.text": '{"find": "a", "filter": {"b": "«word»"}}'}),
    ("span attribute", {"db.system": "elasticsearch", "db.statement": '{"query": {"match": {"a": "«word»"}}}'}),
    ("span attribute", {"db.system": "dynamodb", "db.statement": '{"Key": {"id": {"S": "«word»"}}}'}),
    ("span attribute", {"db.system": "redis", "db.statement": "SET note line\n«word» «word» «word»"}),
    ("exception message", "Command # 2 (HSET user:1 name «word») «word») of pipeline caused error: OOM"),
    ("exception message", "unknown command 'SETT', with args beginning with: 'a' '«word»' "),
)

_SOURCE: Cases = (
    ("source line", "    auth = HTTPBasicAuth('anna', '«word»')"),
    ("source line", "    if os.environ.get('TOKEN', '') == '«word»':"),
    ("source line", "    requests.get(url, auth=('anna', '«word»'), timeout=3)"),
    ("source line", "    token = '«word»' if debug else None"),
    ("source line", "    cursor.execute(\"ALTER USER a PASSWORD '«word»'\")"),
    ("source line", '    password = f"«word»{suffix}"'),
    ("source line", "    api_key: Final[str] = '''«word»'''"),
    ("source line", '    if request.headers["x-api-key"] != "«word»":'),
    ("source line", '    secret = os.environ.get("APP_SECRET", "«word»")'),
    ("source line", '    token = config("API_TOKEN", default="«word»", cast=str)'),
    ("source line", '    client = Client(api_key=SecretStr("«word»"), timeout=3)'),
    ("source line", '    dsn = "host=db user=app password=«word»"'),
    ("source line", "    user, password = 'anna', '«word»'"),
    (
        "traceback text",
        'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    assert token == "«word»"\nKeyError: 3',
    ),
)

_DOCUMENTS: Cases = (
    ("csv row", "key,value\nregion,eu\npassword,«pass»\n"),
    ("csv row", "+----------+------+\n| Variable | Value |\n+----------+------+\n| api_key | «alnum 20» |\n"),
    ("log message", "FormData([('user', 'anna'), ('password', '«pass»')])"),
    ("log message", "RequestsCookieJar([Cookie(version=0, name='sessionid', value='«word»', port=None)])"),
    ("log message", "{\\u0022password\\u0022:\\u0022«word»\\u0022}"),
    ("log message", "&lt;password&gt;«pass»&lt;/password&gt;"),
    ("json body", {"type": "password", "value": "«word»", "temporary": False}),
    ("log message", "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: «pass»\n      TZ: UTC\n"),
    ("exception message", "<Request('POST', URL('https://api.example/?apikey=«word»'))>"),
    ("log message", "docker build --build-arg NPM_TOKEN=«word» ."),
    ("csv row", 'imported 2 rows:\nname,password,town\n"Weber, Anna",«word»,Bern\n"a ""b""","«word»;,x",Basel\n'),
    ("csv row", "| user | api_key |\n|------|---------|\n| anna | «alnum 20» |\n"),
    ("csv row", "  user  |  password  \n--------+------------\n anna   | «word» \n(1 row)"),
    ("log message", "read b'id;token\\r\\n1;«alnum 20»\\r\\n'"),
    ("log message", "{'ParameterKey': 'DbPassword', 'ParameterValue': '«word»', 'UsePreviousValue': False}"),
    ("json body", {"Parameters": [{"Name": "/shop/db/password", "Type": "SecureString", "Value": "«word»"}]}),
    ("local variable", {"option": {"OptionName": "DBPassword", "Value": "«word»"}}),
    ("log message", '[{"value": "«word»", "name": "SECRET_KEY"}, {"name": "TZ", "value": "UTC"}]'),
    ("xml element", "<property><name>fs.s3a.secret.key</name><value>«word»</value></property>"),
    ("xml element", "<dict><key>APIToken</key><string>«word»</string></dict>"),
    ("yaml block", "env:\n  - value: «word»\n    name: DB_PASSWORD\n"),
    ("log message", 'variable "db_password" {\n  type    = string\n  default = "«word»"\n}'),
    ("log message", '{"kind": "Secret", "data": {"shop": "«b64 24»"}}'),
)

_ADDRESSES: Cases = (
    ("log message", '"GET /reset?token=«word» HTTP/1.1" 200'),
    ("log message", "redirect to /callback?code=«url 24»&state=«url 24»"),
    ("log message", "sent https://shop.example/verify-email?code=«digits 6»"),
    ("url", "/magic?t=«url 24»"),
    ("log message", "/login/finish?ticket=ST-«alnum 30»"),
    ("connection string", "postgresql://app:«alnum 400»@db/shop"),
    ("connection string", "redis://:«alnum 150»#«alnum 150»/«alnum 150»@cache/0"),
    ("url", "https://«alnum 300»@git.internal/shop.git"),
)

_COMMANDS: Cases = (
    ("command line", "aws configure set aws_secret_access_key «b64 40» --profile shop"),
    ("command line", "htpasswd -nbB anna «pass»"),
    ("command line", "openssl enc -aes-256-cbc -salt -k «pass» -in a -out b"),
    ("command line", "docker exec db mysql -uroot -p«pass» shop"),
    ("command line", "aws ssm put-parameter --name /shop/db_password --value «pass» --type SecureString"),
    ("command line", "echo '«pass»' | sudo -S systemctl restart shop"),
    ("command line", "rabbitmqctl change_password app «pass»"),
    ("command line", "az login --service-principal -u app -p «pass»"),
    ("command line", "poetry config http-basic.shop anna «pass»"),
    (
        "exception message",
        "Command '['htpasswd', '-b', '/etc/a', 'anna', '«pass»']' returned non-zero exit status 1.",
    ),
    ("process.command_args", {"process.command_args": ["openssl", "enc", "-k", "«pass»"]}),
)

_NAMES: Cases = (
    ("log extra", {"creds": "«word»"}),
    ("log extra", {"authkey": "«word»"}),
    ("environment", {"FERNET_KEYS": "«b64 43»=,«b64 43»="}),
    ("environment", {"ANSIBLE_BECOME_PASS": "«pass»"}),
    ("request header", {"X-Functions-Key": "«url 40»"}),
    ("request header", {"X-Auth-Key": "«hex 32»"}),
    ("json body", {"code_verifier": "«url 43»"}),
    ("json body", {"client_assertion": "«url 43»"}),
    ("form field", {"one_time_code": "«digits 6»"}),
    ("log message", "hmac_key => '«word»', wpa_psk -> «pass»"),
)

_SECRETS = {
    "where a value ends": _VALUES,
    "value on the next line": _LINES,
    "statement in a text": _SQL,
    "source": _SOURCE,
    "table or labelled value": _DOCUMENTS,
    "address or code": _ADDRESSES,
    "command": _COMMANDS,
    "name": _NAMES,
}

LATER_SECRETS: tuple[Secret, ...] = tuple(
    planted(f"later: {kind}", where, text) for kind, cases in _SECRETS.items() for where, text in cases
)
"""The secrets of this round."""

_HARMLESS: Cases = (
    ("log message", "JWT: HS256, signature: RS256"),
    ("log message", "permissions: ['tokens:read', 'secrets:write']"),
    ("log message", "dict_keys(['password', 'token', 'email'])"),
    ("log message", "['password', 'token', 'email'] and ('password', 'token')"),
    ("url", "/login?id=123456"),
    ("log message", "Failed password for invalid user admin from 10.0.0.1 port 22 ssh2"),
    ("log message", "usage: CompletionUsage(completion_tokens=44, prompt_tokens=12, total_tokens=56)"),
    ("log message", "response_type=token&scope=openid&grant_type=authorization_code"),
    ("log message", "CREATE TABLE tokens (id int, token text, secret bytea)"),
    ("log message", "<Token type=bearer>, Session(id=7, state='open')"),
    ("source line", "    raise ValueError(f'unknown token: {token!r}')"),
    ("source line", "    cache.set('token:count', 5)"),
    ("source line", "    parser.add_argument('--password', help='the password', default=None)"),
    ("source line", "    response.set_cookie('session', token, httponly=True)"),
    ("source line", "    if 'token' in data and data['kind'] == 'x':"),
    ("source line", "    security = HTTPBearer(scheme_name='JWT')"),
    ("source line", "    password: Mapped[str] = mapped_column(String(255))"),
    ("log message", "password: too_short"),
    ("log message", "token: invalid_grant"),
    ("log message", "session: not-found"),
    ("log message", "401: invalid_token, retry after: 3"),
    ("json body", {"secret_id": "shop-db"}),
    ("json body", {"SecretId": "prod/shop/db", "VersionStage": "AWSCURRENT"}),
    ("json body", {"access_key_id": "key-7", "key_id": "k1", "token_id": 5}),
    ("json body", {"token_issuer": "https://id.example", "jwt_issuer": "shop", "auth_server": "id.example"}),
    ("json body", {"secret_arn": "arn:aws:secretsmanager:eu-central-1:1:secret:a", "password_field": "pw"}),
    ("json body", {"signature_valid": True, "token_verified": "yes", "cookie_banner": "shown"}),
    ("json body", {"tokens_per_minute": 4000, "otp_sent": "sms", "pin_attempts": 2}),
    ("log message", "select one of ('red')"),
    ("log message", "please select one of ('red', 'blue') from the list"),
    ("log message", "update the status set to 'x'"),
    ("log message", "insert into the slot ('A')"),
    ("log message", "delete from the list ('x')"),
    ("log message", "replace the part 'a' with 'b'"),
    ("log message", "create user 'anna' first, then grant access to 'jan'"),
    ("log message", "where is 'x' and why"),
    ("log message", 'secret "shop-db" not found'),
    ("log message", "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON"),
    ("log message", "unknown session 'abc'"),
    ("log message", "password (required)"),
    ("log message", "Password:\nRequired"),
    ("log message", "tokens:\n  used: 5\n  left: 7\n"),
    ("yaml block", "password:\n  secretKeyRef:\n    name: shop-db\n    key: password\n"),
    ("yaml block", "token:\n  valueFrom: fieldRef\n"),
    ("yaml block", "- name: REGION\n  value: eu\n- name: TZ\n  value: UTC\n"),
    ("log message", "pass=3,fail=0,skip=1"),
    ("log message", "tokens: 512/4096"),
    ("log message", "password=[REDACTED], token=<redacted>, api_key=***"),
    ("log message", "usage: tool [--password PASSWORD] [--token TOKEN]"),
    ("command line", "tool --token-file /run/secrets/token --verbose"),
    ("log message", "session:42:cart expired"),
    ("log message", "auth:login:ok"),
    ("log message", "Cookie: none"),
    ("log message", "status code: 404, exit code: 137"),
    ("log message", "Primary key: id7"),
    ("log message", "zip code is 8001, country code: CH41"),
    ("log message", "password reset for user 'anna'"),
    ("source line", "    password: str = Field(alias='passWord', min_length=8)"),
    ("source line", "    exclude={'password', 'token'}"),
    ("source line", "    user.pop('password', None)"),
    ("source line", "    password = getpass.getpass('Password: ')"),
    ("source line", "    headers['Authorization'] = f'Bearer {token}'"),
    ("source line", "    session = Session('shop')"),
    ("source line", "    auth = OAuth2PasswordBearer(tokenUrl='token')"),
    ("source line", "    url = f'/reset?token={token}'"),
    ("source line", "    op.add_column('users', sa.Column('password', sa.String()))"),
    ("source line", "    logger.info('token %s', token)"),
    ("csv row", "id,name,tokens\n7,anna,512\n"),
    ("csv row", "| step | token_type |\n|------|---|\n| 1 | bearer |\n"),
    ("log message", "The user, the password, and town\nare a, b, and c"),
    ("log message", '{"Name": "Environment", "Value": "prod"}'),
    ("json body", {"name": "password", "in": "query", "required": True}),
    ("json body", {"field": "password", "message": "too short"}),
    ("xml element", "<Name>Region</Name><Value>eu</Value>"),
    ("log message", "GET /items?code=404 HTTP/1.1"),
    ("url", "/verify?page=2"),
    ("url", "/confirm?order=4711"),
    ("url", "/callback?error=access_denied&error_description=User+cancelled"),
    ("span attribute", {"db.system": "redis", "db.statement": "GET ?\nSET ? ?"}),
    ("span attribute", {"db.system": "elasticsearch", "db.statement": '{"query": {"match_all": {}}}'}),
    ("span attribute", {"db.system": "mongodb", "db.statement": '{"find": "users", "filter": {"email": "?"}}'}),
    ("command line", "aws configure set region eu-central-1"),
    ("command line", "openssl x509 -in a.pem -noout -text"),
    ("command line", "openssl enc -d -aes-256-cbc -pbkdf2 -in a -out b"),
    ("command line", "curl -b cookies.txt https://shop.example/"),
    ("command line", "docker ps -p x"),
    ("command line", "npm config set registry https://registry.internal"),
    ("command line", "useradd -m anna"),
    ("command line", "git commit -p -m 'token'"),
    ("log message", "routing_key=orders.created hash_key=user7 s3_key=a/b.png"),
    ("log message", "credence, incredible, accredited, keynote, compass, whiskey"),
)

LATER_LOOK_ALIKES: tuple[LookAlike, ...] = tuple(LookAlike("later", text, where) for where, text in _HARMLESS)
"""The look-alikes of this round."""
