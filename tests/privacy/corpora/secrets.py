"""Secrets as they stand in running applications: by kind, each with the place it is planted in.

See :mod:`tests.privacy.corpora` for who wrote this from what. Marks such as ``«word»`` are made-up secrets
(:mod:`tests.privacy.corpora.planting`). Card numbers are the test numbers that payment providers publish
(docs.stripe.com/testing), IBANs the examples of the registry that SWIFT publishes (ISO 13616).

Where what to expect is a judgment rather than a fact, for whoever has to decide: words of other languages
("Passwort"), sentences ("the password was ..."), passwords in forms without any name (``app/word@host``, ``.pgpass``,
a row of CSV, a line of ``shadow``), literals in lines of source code, a web token encoded once more, ``state`` of
OAuth, an answer of a captcha, SMTP's ``AUTH PLAIN``, a private JSON web key by its member ``d``, and values that look
like keys only by 24 to 43 random characters in a path.
"""

import base64
import json
from typing import Any

from tests.privacy.corpora import Secret
from tests.privacy.corpora.api_keys import API_KEYS
from tests.privacy.corpora.objects import OBJECTS
from tests.privacy.corpora.planting import pem_lines, planted, web_token

Cases = tuple[tuple[str, Any], ...]

SQL: Cases = (
    ("sql statement", "SELECT id FROM people WHERE nickname LIKE'«word»%'"),
    ("sql statement", "SELECT'«word»'"),
    ("span name", "select'«word»'"),
    ("span attribute", {"db.query.text": "SELECT * FROM notes WHERE body=_utf8mb4'«word»'COLLATE utf8mb4_bin"}),
    ("span attribute", {"db.statement": "INSERT INTO notes (body) VALUES (N'«word»')"}),
    ("sql statement", "UPDATE notes SET body = E'it\\'s «word»' WHERE id = 4"),
    ("sql statement", "UPDATE notes SET body = $body$it's «word»$body$ WHERE id = 4"),
    ("sql statement", "SELECT $$«word»$$, $1"),
    ("sql statement", "UPDATE people SET name = U&'\\0441«word»' WHERE id = 4"),
    ("sql statement", "SELECT * FROM files WHERE body = X'«hex 32»'"),
    ("sql statement", "SELECT * FROM files WHERE body = 0x«hex 32»"),
    ("sql statement", "SELECT 'first'\n  '«word»'"),
    ("sql statement", 'SELECT * FROM `people` WHERE `login` = "«word»"'),
    ("sql statement", "SELECT * FROM people WHERE name = 'it''s «word»'"),
    ("sql statement", "SELECT * FROM people WHERE name = 'it\\'s «word»' AND town = 'x'"),
    ("sql statement", "SELECT * FROM files WHERE folder = 'C:\\' AND note = '«word»'"),
    ("sql statement", "SELECT 1 -- don't\n, '«word»'"),
    ("sql statement", "SELECT /* it's */ '«word»' /* all */"),
    ("sql statement", "SELECT \"user's id\" FROM people WHERE name = '«word»'"),
    ("sql statement", "SELECT '-- «word»' FROM people"),
    ("sql statement", "SELECT * FROM people WHERE name = '«word» and no end"),
    ("sql statement", 'UPDATE people SET data = \'{"note": "«word»"}\'::jsonb'),
    ("sql statement", "ALTER USER shop WITH ENCRYPTED PASSWORD '«pass»'"),
    ("sql statement", "CREATE USER 'shop'@'%' IDENTIFIED BY '«pass»'"),
    ("sql statement", "ATTACH DATABASE 'safe.db' AS safe KEY '«pass»'"),
    ("sql statement", "PRAGMA key = '«pass»'"),
    ("sql statement", "INSERT INTO payments (card_number) VALUES («=4242424242424242»)"),
    ("log message", "slow query (312 ms): SELECT * FROM people WHERE phone IN ('«word»','«word»')"),
    ("exception message", "query failed: INSERT INTO people VALUES(7,'«word»','«word»')"),
    ("sql comment", "/* password: «pass» */ SELECT 1"),
    ("sql comment", "SELECT 1 -- token=«alnum 24»"),
    ("sql comment", "SELECT 1 # api_key=«alnum 24»"),
    ("span attribute", {"db.query.parameter.password": "«pass»"}),
    ("sql parameters", {"name": "anna", "password_hash": "«b64 44»"}),
)

DATABASE_ERRORS: Cases = (
    (
        "database error",
        'duplicate key value violates unique constraint "people_email_key"\n'
        "DETAIL:  Key (email)=(«word»\n«word»@example.org) already exists.",
    ),
    (
        "database error",
        'duplicate key value violates unique constraint "people_lower_idx"\n'
        "DETAIL:  Key (lower(email::text), tenant)=(«word»@example.org, 4) already exists.",
    ),
    (
        "database error",
        'null value in column "town" of relation "people" violates not-null constraint\n'
        "DETAIL:  Failing row contains (7, «word»\n«word») or «word», null).",
    ),
    (
        "database error",
        'insert or update on table "orders" violates foreign key constraint "orders_buyer_fkey"\n'
        'DETAIL:  Key (buyer)=(«word») is not present in table "people".',
    ),
    (
        "database error",
        'conflicting key value violates exclusion constraint "visits_during_excl"\n'
        "DETAIL:  Key (person, during)=(«word», [3,5)) conflicts with existing key (person, during)=(«word», [4,6)).",
    ),
    (
        "exception message",
        'invalid input syntax for type integer: "«word»"\n'
        "LINE 1: SELECT * FROM people WHERE id = '«word»'\n                                        ^",
    ),
    ("exception message", "syntax error at or near \"«word»\"\nLINE 1: SELECT * FROM t WHERE a = 'it'«word»'"),
    ("exception message", 'invalid input value for enum colour: "«word»"'),
    ("exception message", 'date/time field value out of range: "«word»"\nHINT:  Perhaps another "datestyle".'),
    ("exception message", 'extra data after last expected column\nCONTEXT:  COPY t, line 3: "4\t«word»\t«word»"'),
    ("exception message", "invalid input for query argument $1: '«word»' (an integer is required (got type str))"),
    ("exception argument", (1062, "Duplicate entry '«word»' for key 'people.email'")),
    (
        "exception argument",
        (
            1064,
            "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version "
            "for the right syntax to use near '«word»'' at line 1",
        ),
    ),
    ("database error", "(1366, \"Incorrect integer value: '«word»' for column 'age' at row 1\")"),
    ("database error", "(1292, \"Truncated incorrect DOUBLE value: '«word»'\")"),
    ("exception message", 'near "«word»": syntax error'),
    ("exception message", 'unrecognized token: "\'«word»"'),
    ("database error", 'E11000 duplicate key error collection: shop.t index: email_1 dup key: { email: "«word»" }'),
    (
        "database error",
        "Violation of UNIQUE KEY constraint 'UQ_people'. Cannot insert duplicate key in object 'dbo.people'. "
        "The duplicate key value is («word»).",
    ),
    ("database error", "Conversion failed when converting the varchar value '«word»' to data type int."),
    ("database error", "Code: 6. DB::Exception: Cannot parse string '«word»' as UInt32: syntax error."),
    (
        "sqlalchemy error",
        "(psycopg.errors.UniqueViolation) duplicate key value\n[SQL: INSERT INTO people (name) VALUES (%(name)s)]\n"
        "[parameters: {'name': '«word»'}]\n(Background on this error at: https://sqlalche.me/e/20/gkpj)",
    ),
    (
        "sqlalchemy error",
        "(sqlite3.IntegrityError) UNIQUE constraint failed: people.email\n[SQL: INSERT INTO people VALUES (?, ?)]\n"
        "[parameters: ('first\\nline «word»', 4)]\n(Background on this error at: https://sqlalche.me/e/20/gkpj)",
    ),
    (
        "sqlalchemy error",
        "(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO people VALUES (?, ?)]\n"
        "[parameters: [('«word»', 1), ('«word»', 2)  ... displaying 10 of 200 total bound parameter sets ...  "
        "('«word»', 199), ('«word»', 200)]]\n(Background on this error at: https://sqlalche.me/e/20/e3q8)",
    ),
    (
        "sqlalchemy error",
        "(psycopg.errors.DataError) invalid input\n[SQL: SELECT * FROM notes WHERE body = %(body)s]\n[parameters: "
        "{'body': 'a]\n(Background on this «word»'}]\n(Background on this error at: https://sqlalche.me/e/20/9h9h)",
    ),
    (
        "sqlalchemy error",
        "(pymysql.err.ProgrammingError) (1146, \"Table 'shop.notes' doesn't exist\")\n"
        '[SQL: SELECT * FROM notes WHERE body = "«word»"]\n'
        "(Background on this error at: https://sqlalche.me/e/20/f405)",
    ),
    (
        "sqlalchemy error",
        "(psycopg.errors.UndefinedTable) relation does not exist\n[SQL: SELECT id\nFROM t\nWHERE body LIKE'«word»'\n"
        "ORDER BY id]\n(Background on this error at: https://sqlalche.me/e/20/f405)",
    ),
)

VALIDATION_ERRORS: Cases = (
    (
        "validation error",
        "1 validation error for Account\napi_key\n  Input should be a valid integer, unable to parse string as an "
        "integer [type=int_parsing, input_value='«word»', input_type=str]\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/int_parsing",
    ),
    (
        "validation error",
        "1 validation error for Order\nbuyer.password\n  String should have at least 12 characters "
        "[type=string_too_short, input_value='«word»', input_type=str]",
    ),
    (
        "exception message",
        "1 validation error:\n  {'type': 'int_parsing', 'loc': ('response', 'api_key'), "
        "'msg': 'Input should be a valid integer, unable to parse string as an integer', 'input': '«word»'}\n",
    ),
    ("validation errors", [{"type": "int_parsing", "loc": ("response", "api_key"), "input": "«word»"}]),
    ("validation errors", [{"input": "«word»", "type": "string_too_short", "loc": ["body", "user", "password"]}]),
    ("validation errors", [{"type": "missing", "loc": ("body", "name"), "input": {"password": "«pass»", "age": 3}}]),
    ("validation errors", [{"type": "extra_forbidden", "loc": ("body", 0, "client_secret"), "input": ["«word»"]}]),
    ("validation errors", [{"type": "value_error", "loc": ("header", "x-api-key"), "input": "«alnum 20»"}]),
    ("validation json", '[{"type":"int_parsing","loc":["body","api_key"],"msg":"not an integer","input":"«word»"}]'),
    ("validation json", '{"detail":[{"input":"«word»","loc":["body","password"],"type":"string_too_short"}]}'),
    ("log message", '422: {\\"detail\\":[{\\"loc\\":[\\"body\\",\\"access_token\\"],\\"input\\":\\"«word»\\"}]}'),
    ("log argument", ["rejected", [{"loc": ("cookie", "session_id"), "msg": "too short", "input": "«lower 20»"}]]),
    (
        "exception message",
        "'«word»' is not of type 'integer'\n\nFailed validating 'type' in schema['properties']['password']:\n"
        "    {'type': 'integer'}\n\nOn instance['password']:\n    '«word»'",
    ),
    ("log extra", {"errors": {"password": ["The value «word» is too common."]}}),
)

NAMES: Cases = (
    ("environment", {"PGPASSWORD": "«pass»"}),
    ("environment", {"SSHPASS": "«pass»"}),
    ("environment", {"RABBITMQ_DEFAULT_PASS": "«pass»"}),
    ("environment", {"SECRETKEY": "«alnum 30»"}),
    ("environment", {"MYSQL_PWD": "«pass»"}),
    ("environment", {"AWS_SECRET_ACCESS_KEY": "«b64 40»"}),
    ("environment", {"DD_API_KEY": "«hex 32»"}),
    ("environment", {"DJANGO_SECRET_KEY_FALLBACKS": "«alnum 30»,«alnum 30»"}),
    ("environment dump", "HOME=/root\nREDISCLI_AUTH=«pass»\nLANG=C.UTF-8\nPIP_INDEX_PASSWORD=«pass»\n"),
    ("environment dump", "environ({'HOME': '/root', 'SMTPPASS': '«pass»', 'TZ': 'UTC'})"),
    ("environment dump", 'declare -x DBPASSWORD="«pass»"\ndeclare -x LANG="C"'),
    ("log message", "login with authtoken=«alnum 20» failed"),
    ("log message", "accesstoken: «alnum 20»"),
    ("log message", "{'clientsecret': '«word»'}"),
    ("form field", {"csrfmiddlewaretoken": "«alnum 64»"}),
    ("form field", {"newPassword2": "«pass»"}),
    ("form field", {"password_confirmation": "«pass»"}),
    ("form field", {"g-recaptcha-response": "03A«url 80»"}),
    ("json body", {"tokens": ["«alnum 20»", "«alnum 20»"]}),
    ("json body", {"refreshToken": "«alnum 20»"}),
    ("json body", {"bindpw": "«word»"}),
    ("json body", {"passphrase": "«word» «word»"}),
    ("json body", {"user": {"credentials": {"login": "anna", "value": "«word»"}}}),
    ("log extra", {"dbpasswd": "«pass»"}),
    ("log extra", {"consumersecret": "«alnum 20»"}),
    ("log extra", {"x_hub_signature_secret": "«alnum 20»"}),
    ("span attribute", {"app.webhook_secret": "«alnum 20»"}),
    ("span attribute", {"app.user.private_key": "«b64 44»"}),
    ("event attribute", {"encryptionkey": "«b64 44»"}),
    ("event attribute", {"otp": "«digits 8»"}),
    ("link attribute", {"oauth.access_token": "«alnum 20»"}),
    ("tag", {"session_token": "«alnum 20»"}),
    ("context", {"payment": {"cvv": "«digits 6»", "cvc2": "«digits 6»"}}),
    ("context", {"auth": {"totp_seed": "«b32 32»", "recovery_codes": ["«lower 10»", "«lower 10»"]}}),
    ("context", {"wallet": {"mnemonic": "«word» «word» «word» «word»", "seed_phrase": "«word» «word»"}}),
    ("breadcrumb data", {"signingkey": "«b64 44»"}),
    ("breadcrumb data", {"security_answer": "«word»"}),
    ("user extra", {"id": 7, "password_hash": "$2b$12$«alnum 53»"}),
    ("user extra", {"id": 7, "api_token": "«alnum 20»"}),
    ("local variable", {"passwd": "«pass»"}),
    ("local variable", {"userPassword": "«pass»"}),
    ("local variable", {"pairs": [("user", "anna"), ("password", "«pass»")]}),
    ("local variable", {"kwargs": {"auth": ("anna", "«pass»")}}),
    ("local variable", {"line": "password = '«pass»'"}),
    ("metric attribute", {"api_key": "«alnum 20»"}),
    ("metric attribute", {"http.route": "/login", "user.token": "«alnum 20»"}),
    ("resource attribute", {"deployment.secret": "«alnum 20»"}),
    ("resource attribute", {"service.instance.note": "db password=«pass»"}),
    ("path parameter", {"reset_token": "«lower 20»"}),
    ("log message", "Settings(region='eu', api_key='«word»', debug=False)"),
    ("log message", "Namespace(user='anna', password='«word»')"),
    ("log message", "{b'password': b'«word»'}"),
    ("log message", 'received {"note": "{\\"password\\": \\"«word»\\"}"}'),
    ("log message", "&quot;password&quot;:&quot;«word»&quot;"),
    ("log message", "payload=%7B%22password%22%3A%22«word»%22%7D"),
    ("log message", "password was «pass», now rotated"),
    ("log message", "Passwort: «pass»"),
    ("log message", "contraseña=«pass»"),
    ("source line", '    client = Client(api_key="«alnum 24»")'),
    ("source line", "    os.environ['DB_PASSWORD'] = '«pass»'"),
    (
        "traceback text",
        'Traceback (most recent call last):\n  File "shop.py", line 3, in pay\n    login(password="«pass»")\n'
        "ValueError: refused token=«alnum 20»",
    ),
)

ADDRESSES: Cases = (
    ("url", "postgresql://app:«word»#«word»@db.internal/shop"),
    ("url", "postgresql://app:«word»?«word»@db.internal/shop"),
    ("url", "postgresql://app:«word»@«word»@db.internal/shop"),
    ("url", "postgresql://app:«word»/«word»@db.internal:5432/shop"),
    ("log message", "connecting to redis://:«word»#«word»@cache:6379/0 now"),
    ("log message", "dial app:«word»@tcp(db.internal:3306)/shop?parseTime=true"),
    ("url", "https://«alnum 20»@git.internal/shop.git"),
    ("span attribute", {"url.full": "https://anna:«word»@shop.example/items?page=2"}),
    ("span attribute", {"url.full": "https://shop.example/callback?code=«url 24»&state=«url 24»"}),
    ("span attribute", {"http.url": "https://shop.example/a?session%5Ftoken=«alnum 20»"}),
    ("span attribute", {"url.query": "page=2&access_token=«alnum 20»"}),
    ("span attribute", {"http.target": "/reset?key=«alnum 32»&email=a%40example.org"}),
    ("query string", "user=anna&pwd=«word»&remember=1"),
    ("query string", "a=1;password=«word»;b=2"),
    ("query string", "user[password]=«word»&user[name]=anna"),
    ("query string", "next=%2Flogin%3Ftoken%3D«alnum 20»%26page%3D2"),
    ("doubly encoded query string", "next=%252Flogin%253Ftoken%253D«alnum 20»%2526page%253D2"),
    ("doubly encoded query string", "redirect=https%253A%252F%252Fanna%253A«word»%2540shop.example%252F"),
    ("fragment", "https://shop.example/done#access_token=«alnum 20»&token_type=bearer&expires_in=3600"),
    ("fragment", "https://shop.example/#/reset/token/«alnum 32»"),
    ("websocket query", "wss://shop.example/live?room=4&jwt=«url 40»"),
    ("websocket query", "/live?token=«alnum 20»"),
    ("path segment", "/magic/«alnum 32»"),
    ("path segment", "https://shop.example/reset-password/«url 43»"),
    ("path segment", "/unsubscribe/«alnum 40»/confirm"),
    ("path segment", "/api/v1/token/«alnum 24»/refresh"),
    ("transaction name", "GET /magic/«alnum 32»"),
    ("span name", "GET https://shop.example/items?api_key=«alnum 20»"),
    ("url", "https://bucket.s3.amazonaws.com/a.pdf?X-Amz-Credential=AKIA«b32 16»%2F2026&X-Amz-Signature=«hex 64»"),
    ("url", "https://shop.blob.core.windows.net/a/b.png?sv=2024-11-04&se=2026-12-01&sr=b&sp=r&sig=«b64 43»%3D"),
    ("url", "https://storage.googleapis.com/shop/a.png?X-Goog-Expires=600&X-Goog-Signature=«hex 128»"),
    ("url", "https://cdn.example/a.mp4?Expires=1767225600&Signature=«url 80»&Key-Pair-Id=K2JCJMDEHXQW5F"),
    ("url", "otpauth://totp/Shop:anna?secret=«b32 32»&issuer=Shop"),
    ("url", "https://api.telegram.org/bot«~digits 10»:AA«url 33»/sendMessage"),
    ("location header", {"Location": "/welcome?token=«alnum 20»"}),
    ("location header", {"location": "https://shop.example/cb#id_token=«url 60»"}),
    ("request header", {"Referer": "https://shop.example/reset?token=«alnum 20»"}),
    ("breadcrumb data", {"url": "https://anna:«word»@shop.example/", "method": "GET"}),
)

CONNECTIONS: Cases = (
    ("connection string", "Driver={ODBC Driver 18 for SQL Server};Server=db;Uid=app;Pwd={«word»;«word»};Encrypt=yes"),
    ("connection string", "Server=db;Database=shop;User Id=app;Password=«word»;"),
    ("connection string", "jdbc:postgresql://db/shop?user=app&password=«word»"),
    ("connection string", "jdbc:sqlserver://db:1433;databaseName=shop;user=app;password={«word»}"),
    ("connection string", "jdbc:oracle:thin:app/«word»@db:1521:shop"),
    ("connection string", "host=db port=5432 user=app password='«word» it\\'s «word»' dbname=shop"),
    ("connection string", "host=db user=app password=«word» dbname=shop"),
    ("connection string", "amqps://app:«word»@queue.internal:5671/%2Fshop"),
    ("connection string", "mongodb+srv://app:«word»@a.mongo.internal,b.mongo.internal/shop?replicaSet=rs0"),
    ("connection string", "mysql+pymysql://app:«word»%40«word»@db/shop?charset=utf8mb4"),
    ("connection string", "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=«b64 86»==;A=b"),
    ("connection string", "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKey=«b64 43»="),
    ("connection string", "ldap://cn=admin,dc=example:«word»@ldap.internal"),
    ("connection string", "smtp://mailer:«word»@mail.internal:587"),
    ("connection string", "sftp://app:«word»@files.internal/in"),
    ("connection string", "snowflake://app:«word»@account/shop?warehouse=small"),
    ("connection string", 'kafka: sasl.jaas.config=PlainLoginModule required username="app" password="«word»";'),
    ("connection string", "app/«word»@//db.internal:1521/shop"),
    ("connection string", "db.internal:5432:shop:app:«word»"),
    ("connection string", "cloudinary://«~digits 15»:«url 27»@shop"),
    ("exception message", 'connection to server at "db" failed: postgresql://app:«word»@db/shop is not reachable'),
    ("exception message", "Could not parse SQLAlchemy URL from string 'postgresql:/app:«word»@db/shop'"),
    ("resource attribute", {"db.connection_string": "Server=db;User=app;Pwd=«word»"}),
    ("span attribute", {"server.dsn": "clickhouse://app:«word»@db:9000/shop"}),
)

COMMANDS: Cases = (
    ("command line", "curl -u anna:«word» https://shop.example/"),
    ("command line", "curl -sSuanna:«word» https://shop.example/"),
    ("command line", "curl --user 'anna:«word»' https://shop.example/"),
    ("command line", "curl -H 'X-Api-Key: «alnum 20»' https://shop.example/"),
    ("command line", 'curl --header="Authorization: Token «hex 40»" https://shop.example/'),
    ("command line", "curl -d 'user=anna&password=«word»' https://shop.example/login"),
    ("command line", "mysql -uapp -p«word» shop"),
    ("command line", "mysqldump --user=app --password=«word» shop"),
    ("command line", "redis-cli -a «word» ping"),
    ("command line", "sshpass -p «word» ssh app@host"),
    ("command line", "docker login -u app -p «word» registry.internal"),
    ("command line", "tool --token «alnum 20» --verbose"),
    ("command line", "tool --token=«alnum 20»"),
    ("command line", "PGPASSWORD=«word» psql -h db shop"),
    ("command line", "openssl enc -aes-256-cbc -pass pass:«word» -in a"),
    ("command line", "git clone https://app:«word»@git.internal/shop.git"),
    ("command line", "helm upgrade shop ./chart --set db.password=«word»,replicas=2"),
    ("command line", "wget --http-password «word» https://shop.example/"),
    ("command line", "keytool -storepass «word» -list"),
    ("command line", "kubectl create secret generic shop --from-literal=key=«word»"),
    ("process.command_args", {"process.command_args": ["celery", "--password", "«word»"]}),
    ("process.command_args", {"process.command_args": ("curl", "-u", "anna:«word»", "https://shop.example/")}),
    ("process.command_args", {"process.command_args": ["mysql", "-p«word»", "shop"]}),
    ("process.command_args", {"process.command_args": ["curl", "-H", "X-Api-Key: «alnum 20»"]}),
    ("resource attribute", {"process.command_line": "uvicorn shop:app --ssl-keyfile-password «word»"}),
    ("local variable", {"argv": ["deploy", "--api-key", "«alnum 20»", "--region", "eu"]}),
    ("exception message", "Command '['tool', '--password', '«word»']' returned non-zero exit status 1."),
    ("exception message", "Command 'mysql -p«word» shop' timed out after 3 seconds"),
    ("redis command", "AUTH «word»"),
    ("redis command", "AUTH app «word»"),
    ("redis command", "HELLO 3 AUTH app «word» SETNAME web"),
    ("redis command", "CONFIG SET requirepass «word»"),
    ("redis command", "ACL SETUSER app on >«word» ~* +@all"),
    ("redis command", "MIGRATE cache 6379 key 0 5000 AUTH «word»"),
    ("mongodb command", '{"createUser": "app", "pwd": "«word»", "roles": []}'),
    ("mongodb command", '{"saslStart": 1, "mechanism": "PLAIN", "payload": {"$binary": "«b64 32»"}}'),
)

HEADERS: Cases = (
    ("request header", {"Authorization": "Bearer «letters 24»"}),
    ("request header", {"authorization": "Basic «b64 24»"}),
    ("request header", {"Authorization": 'Digest username="anna", realm="a", nonce="b", response="«hex 32»"'}),
    ("request header", {"Authorization": "AWS4-HMAC-SHA256 Credential=x/2026/eu/s3, Signature=«hex 64»"}),
    ("request header", {"Proxy-Authorization": "Negotiate «b64 60»"}),
    ("request header", {"X-Vault-Token": "«alnum 26»"}),
    ("request header", {"PRIVATE-TOKEN": "«alnum 20»"}),
    ("request header", {"Ocp-Apim-Subscription-Key": "«hex 32»"}),
    ("request header", {"X-Amz-Security-Token": "«b64 120»"}),
    ("request header", {"X-CSRFToken": "«alnum 32»"}),
    ("request header", {"Sec-WebSocket-Protocol": "graphql-ws, bearer.«url 40»"}),
    ("request header", {"X-Forwarded-Authorization": "Bearer «letters 24»"}),
    ("span attribute", {"http.request.header.authorization": ["Bearer «letters 24»"]}),
    ("span attribute", {"http.request.header.x_api_key": ["«alnum 20»"]}),
    ("span attribute", {"rpc.grpc.request.metadata.authorization": "token «alnum 20»"}),
    ("log message", "sent Authorization: Bearer «letters 24»"),
    ("log message", "header authorization=bearer «letters 24» refused"),
    ("log message", "[('authorization', 'Bearer «letters 24»'), ('accept', '*/*')]"),
    ("http dump", "POST /login HTTP/1.1\r\nHost: shop\r\nX-Auth-Token: «alnum 20»\r\n\r\nuser=anna&password=«word»"),
    ("http dump", "AUTH PLAIN «b64 32»"),
    ("cookie header", {"Cookie": "theme=dark; sessionid=«lower 32»; lang=de"}),
    ("cookie header", {"cookie": "JSESSIONID=«HEX 32»"}),
    ("set-cookie header", {"Set-Cookie": "sessionid=«lower 32»; Path=/; HttpOnly; SameSite=Lax"}),
    ("set-cookie header", {"set-cookie": "remember_me=«url 43»; Max-Age=1209600"}),
    ("span attribute", {"http.response.header.set_cookie": ["connect.sid=s%3A«url 32».«url 43»; Path=/"]}),
    ("log message", "Cookie: PHPSESSID=«lower 26»; theme=dark"),
    ("log message", "<Cookie access=«url 32» for shop.example/> session=«url 32»"),
    ("response header", {"X-Subject-Token": "«alnum 32»"}),
    ("response header", {"Refresh": "0; url=https://shop.example/in?token=«alnum 20»"}),
    ("response header", {"WWW-Authenticate": 'Basic realm="shop", token="«alnum 20»"'}),
)

DOCUMENTS: Cases = (
    ("yaml block", "database:\n  password: |\n    «word»\n    «word»\n  host: db\n"),
    ("yaml block", "password: >-\n  «word»\n"),
    ("yaml block", "- name: DB_PASSWORD\n  value: «word»\n- name: LANG\n  value: C\n"),
    ("yaml block", "kind: Secret\ndata:\n  shop: «b64 24»\n"),
    ("yaml block", "environment:\n  - POSTGRES_PASSWORD=«word»\n"),
    ("xml element", "<login><user>anna</user><password>«word»</password></login>"),
    ("xml element", '<wsse:Password Type="a#PasswordText">«word»</wsse:Password>'),
    ("xml element", "<password><![CDATA[«word»]]></password>"),
    ("xml element", '<add key="ClearTextPassword" value="«word»" />'),
    ("xml element", '<bean id="db"><property name="password" value="«word»"/></bean>'),
    ("html", '<input type="hidden" name="csrf_token" value="«alnum 32»">'),
    ("html", '<input type="password" value="«word»">'),
    ("ini file", "[pypi]\nusername = app\npassword = «word»\n"),
    ("ini file", "//registry.npmjs.org/:_authToken=«uuid»\n"),
    ("ini file", "machine git.internal login app password «word»\n"),
    ("ini file", "[Interface]\nPrivateKey = «b64 43»=\nAddress = 10.0.0.2/32\n"),
    ("ini file", "app:$apr1$«alnum 8»$«alnum 22»\n"),
    ("ini file", "app:$6$«alnum 16»$«alnum 86»:19000:0:99999:7:::\n"),
    ("csv row", "user,password,town\nanna,«word»,Bern\n"),
    ("graphql document", 'mutation { login(name: "anna", password: "«word»") { id } }'),
    ("graphql document", '{"query": "mutation($p: String!)", "variables": {"password": "«word»"}}'),
    ("multipart file name", {"filename": "token=«alnum 24».txt"}),
    ("http dump", '--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n«word»\r\n--x--'),
    ("http dump", 'Content-Disposition: form-data; name="file"; filename="a-password=«word».csv"'),
    ("exception note", "the password was '«word»'"),
    ("exception note", "while calling https://anna:«word»@shop.example/"),
    ("thread name", "poll-https://anna:«word»@queue.internal/"),
    ("task name", "refresh(token='«alnum 20»')"),
    ("event name", "login password=«word»"),
    ("span status", "Unauthorized: api_key=«alnum 20»"),
    ("captured message", "please reset: user=anna password=«word»"),
    ("user", {"ip_address": "«=203.0.113.77»"}),
    ("json body", {"auths": {"registry.internal": {"auth": "«b64 32»"}}}),
    ("json body", {"kty": "EC", "crv": "P-256", "x": "a", "d": "«url 43»"}),
)

CARDS: Cases = (
    ("log message", "card «=4242.4242.4242.4242» declined"),
    ("log message", "paid with «=5555/5555/5555/4444» today"),
    ("log message", "card-«=4000056655665556» declined"),
    ("log message", "card_«=5105105105105100»_declined"),
    ("log message", "cardx«=4012888888881881»"),
    ("log message", "charge «=4242 4242 4242 4242» exp 12/30"),
    ("log message", "charge «=3782-822463-10005» failed"),
    ("form field", {"card_number": "«=371449635398431»"}),
    ("form field", {"number": "«=6011 1111 1111 1117»"}),
    ("json body", {"pan": "«=3566002020360505»"}),
    ("json body", {"payment": {"card": {"number": 4000056655665556, "as_text": "«=4000056655665556»"}}}),
    ("span attribute", {"payment.card": "«=36227206271667»"}),
    ("query string", "cc=«=6200000000000005»&amount=3"),
    ("local variable", {"credit_card": "«=2223003122003222»"}),
    ("log message", "PAN: «=6205500000000000004»"),
    ("log message", "IBAN «=DE89370400440532013000»"),
    ("log message", "pay to «=GB29 NWBK 6016 1331 9268 19» please"),
    ("json body", {"iban": "«=FR1420041010050500013M02606»"}),
    ("form field", {"account": "«=NL91ABNA0417164300»"}),
    ("span attribute", {"payout.to": "«=CH93 0076 2011 6238 5295 7»"}),
    ("exception message", "unknown bank of «=BE68539007547034»"),
)


def _broken() -> tuple[Secret, ...]:
    """JSON web tokens and private keys, whole and broken over lines and items."""
    kind = "web token or private key, whole or broken"
    header, payload, signature = web_token("whole")
    token = f"{header}.{payload}.{signature}"
    halves = (payload[:30], payload[30:])
    lines = pem_lines("whole")
    openssh = pem_lines("openssh", "OPENSSH PRIVATE KEY")
    pgp = pem_lines("pgp", "PGP PRIVATE KEY BLOCK")
    encrypted = pem_lines("encrypted", "ENCRYPTED PRIVATE KEY")
    inner = (lines[1][8:], *lines[2:-1])
    nested = base64.b64encode(token.encode()).decode()

    def pem(texts: Any, where: str, body: list[str]) -> Secret:
        return Secret(kind, texts, body[2], where, (body[1][8:], *body[3:-1]))

    return (
        Secret(kind, f"got {token} from upstream", signature, "log message", (payload,)),
        Secret(kind, {"note": token}, signature, "span attribute", (payload,)),
        Secret(kind, f"got {header}.\n{payload}.\n{signature}", signature, "log message", (payload,)),
        Secret(kind, f"{header}.{halves[0]}\n    {halves[1]}.{signature}", signature, "exception message", halves),
        Secret(kind, {"parts": [header, payload, signature]}, signature, "local variable", (payload,)),
        Secret(kind, {"a": f"{header}.{halves[0]}=\r\n{halves[1]}.{signature}"}, signature, "json body", halves),
        Secret(kind, f"/confirm/{token}", signature, "path segment", (payload,)),
        Secret(kind, {"Cookie": f"a={header}.{payload}; b={signature}"}, signature, "cookie header", (payload,)),
        Secret(kind, f"unsigned {header}.{payload}.", payload, "log message"),
        Secret(kind, f"encoded once more {nested}", nested[40:], "log message"),
        Secret(kind, f"key={token.replace('.', '%2E')}", signature, "query string", (payload,)),
        pem("\n".join(lines), "log message", lines),
        pem("\\n".join(lines), "log message", lines),
        pem({"pem": lines}, "local variable", lines),
        pem({"text": "\n".join(openssh)}, "context", openssh),
        pem(["read", *[f"  {line}" for line in pgp]], "log argument", pgp),
        pem("\r\n".join(["Cert:", *encrypted]), "exception message", encrypted),
        pem("\n".join(lines[:-1]), "exception note", lines),
        pem(" ".join(lines), "environment dump", lines),
        pem("key: |\n" + "\n".join(f"  {line}" for line in lines), "yaml block", lines),
        pem(json.dumps({"type": "service_account", "data": "\n".join(lines)}), "http dump", lines),
        Secret(kind, {"rows": [{"line": line} for line in lines]}, inner[1], "breadcrumb data", inner[2:]),
        planted(kind, "log message", "PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 1\n«b64 64»\nPrivate-MAC: a"),
        planted(kind, "log extra", {"eth_private_key": "0x«hex 64»"}),
        planted(kind, "log message", "hmac_key=«hex 64», 256 bits"),
    )


_BY_KIND: dict[str, Cases] = {
    "sql literal": SQL,
    "database error": DATABASE_ERRORS,
    "validation error": VALIDATION_ERRORS,
    "name": NAMES,
    "address": ADDRESSES,
    "connection string": CONNECTIONS,
    "command": COMMANDS,
    "header or cookie": HEADERS,
    "document or odd place": DOCUMENTS,
    "card or bank account": CARDS,
}

SECRETS: tuple[Secret, ...] = (
    *(planted(kind, where, text) for kind, cases in _BY_KIND.items() for where, text in cases),
    *OBJECTS,
    *_broken(),
    *API_KEYS,
)
"""All secrets of the corpus."""

REMOVED: tuple[tuple[str, str], ...] = ()
"""Cases that were wrong: the text, and why it is no secret."""
