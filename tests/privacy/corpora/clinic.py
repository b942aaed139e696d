"""Secrets of a clinic's service, by somebody who had not looked at the rules: what its settings and clients log.

They were planted in that service, with a PostgreSQL, a Valkey and uvicorn, and then written down by their places;
:mod:`tests.privacy.corpora` explains how to read a case. Of 163 secrets, 34 left it at first.
"""

from typing import Any

from tests.privacy.corpora import Secret
from tests.privacy.corpora.planting import planted

Cases = tuple[tuple[str, Any], ...]

_SETTINGS: Cases = (
    (
        "log message",
        "settings: smtp_password='«=Quartz-Lemur-17»' fernet_key='«=gAAAbQ1kz7Xw3Lr9Vt2Mp5Ns8Hd4»'",
    ),
    ("local variable", {"config": {"smtp_password": "«=Velvet-Otter-22»", "stripe_key": "«=Amber.Falcon.93»"}}),
    ("local variable", {"lines": "A_TOKEN=x1\nLDAP_BIND_PW=«=Copper-Badger-41»\nDJANGO_SECRET_KEY=«=django-9x!k2b»"}),
    ("environment dump", "VAULT_TOKEN=«=amber.falcon.lantern.93»\nSECRET_KEY_BASE=«=Salty.Pretzel.88»\nPATH=/bin\n"),
    ("connection string", "postgresql://clinic:«=Tr0ub4dor-Sled-3»@db.clinic/clinic"),
    ("connection string", "host=127.0.0.1 port=9 user=clinic password=«=Conninfo.Stork.98» dbname=x"),
    ("connection string", "jdbc:postgresql://h/db?user=u&password=«=JdbcPassPlover-Mitten94»"),
    ("connection string", "Server=db;User Id=sa;Password=«=AdoPassQuokka-Jigsaw40»;Encrypt=no"),
    ("connection string", "amqp://guest:«=AmqpPassRobin-Kernel63»@mq/"),
    (
        "connection string",
        "AccountName=a;AccountKey=«=Lr9VtMp5Ns8Hd4Jf6YcUeKo1GiAz2Bw7Xk0Tm==»;EndpointSuffix=core",
    ),
    ("ini file", "[default]\naws_secret_access_key = «=wJalrXK7MDENGbPxRfiCYzQ3Lr9VtMp5Ns8Hd4Jf»\n"),
    ("ini file", "[Interface]\nPrivateKey = «=kOq3Lr9VtMp5Ns8Hd4Jf6YcUeKo1GiAz2Bw7Xk0TmU4=»\nAddress = 10.0.0.1\n"),
    ("ini file", "spring.datasource.password=«=SpringPassOcelot-Kayak70»"),
    ("ini file", 'db_password = "«=TfvarsMarmot-Goblet84»"'),
    ("ini file", "machine api.example login joe password «=NetrcHare-Spindle67»"),
    ("ini file", "//registry.npmjs.org/:_authToken=«=NpmAuthJackal-Parasol91»"),
    ("yaml block", "environment:\n  - POSTGRES_PASSWORD=«=ComposeNumbat-Feather13»\n"),
    ("yaml block", "users:\n- user:\n    client-key-data: «=LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlF»\n"),
    ("json body", {"auths": {"ghcr.io": {"auth": "«=Y2xpbmljOkRvY2tlci1LaXdpLTM3»"}}}),
)
_REQUESTS: Cases = (
    ("json body", {"username": "joe", "password": "«=Maple!Walrus29»", "otp": "«=604917»"}),
    ("form field", {"username": "joe", "password": "«=Maple-Walrus-30»"}),
    ("query string", "token=«=ScopeQryGopher-Lantern66»&X-Amz-Signature=«=5f3c9a1e7b2d8046af91ce37bd52e8640c1f7a93»"),
    ("query string", "sv=1&sig=«=Qx3Lr9VtMp5Ns8Hd4Jf6YcUeKo1GiAz2Bw7Xk0Tm3E»%3D"),
    ("path segment", "/magic/«=q7Zt3vKx9mPw2LsB8nRd5HyJ4cGf6TaE»"),
    ("websocket query", "wss://clinic.example/live?token=«=WsPenguin-Velcro-19»"),
    ("request header", {"Sec-WebSocket-Protocol": "bearer, «=WsProtoSardine-Attic58»"}),
    ("request header", {"X-Hub-Signature-256": "sha256=«=Hub0Sig9Nutmeg7Pickle»"}),
    ("request header", {"X-Forwarded-Access-Token": "«=FwdTokenTulip-Hammer27»"}),
    ("request header", {"Authorization": "ApiKey «=ScopeHdrFossa-Pebble37»"}),
    ("request header", {"Referer": "https://clinic.example/reset?token=«=RefTokenEgret-Blanket74»"}),
    ("request header", {"X-Forwarded-For": "«=203.0.113.78»"}),
    ("cookie header", {"Cookie": "remember_me=«=Remember.Cactus-73»"}),
    ("set-cookie header", {"Set-Cookie": "session_id=«=SidOyster-Gravel-62»; Path=/; HttpOnly"}),
    ("location header", {"Location": "/welcome?login_token=«=LocTeapot-Marble-31»"}),
    ("multipart file name", {"filename": "scan token=«=UploadGiraffe-Token44».pdf"}),
    ("log message", "headers={'accept': '*/*', 'x-forwarded-for': '«=203.0.113.79»'}"),
    ("log message", "form FormData([('username', 'joe'), ('password', '«=Maple!Walrus31»')])"),
    ("local variable", {"raw": [("accept", "*/*"), ("x-forwarded-for", "«=203.0.113.80»")]}),
    (
        "local variable",
        {"scope": {"type": "http", "path": "api/v1/token/«=l6p2h0EY2y2fHctwjSwAz4Jr»"}},
    ),
)
_CALLS: Cases = (
    ("exception message", "Server error '503' for url 'http://lab.example/results?api_key=«=LabKeyMango_Trumpet18»'"),
    ("url", "http://lab:«=Userinfo~Beaver52»@lab.example/results"),
    ("log message", 'token endpoint said 503: {"access_token":"«=RespbodyTenrec-Ladle21»","expires_in":3600}'),
    ("log message", "GET /query?code=«=OauthCodeFinch-Tunnel20»&x=1"),
    ("log message", 'Digest username="joe", realm="r", uri="/", response="«=6629fae49393a05397450978507c4ef1»"'),
    (
        "log message",
        'Authorization: OAuth realm="k", oauth_signature="«=tnnArxj06cWHq44gCs1OSKk7jLY%3D»"',
    ),
    ("log message", "Authorization: AWS4-HMAC-SHA256 Credential=a/us, Signature=«=9c1f7a93d5b86e204fa7c3d91b58e602»"),
    ("log message", "otpauth://totp/Clinic:joe?secret=«=JBSWY3DPEHPK3PXPQ2LR»&issuer=Clinic"),
    ("log message", "posting to https://hooks.slack.com/services/T0Q3LR9VT/B0MP5NS8HD/«=4Jf6YcUeKo1GiAz2Bw7Xk0Tm»"),
    ("log message", "POST https://api.telegram.org/bot«=482913375:AAQ3Lr9VtMp5Ns8Hd4Jf6YcUeKo1GiAz2Bw»/sendMessage"),
    ("xml element", '<wsse:Password Type="x#PasswordText">«=SoapPassBuffalo-Lantern43»</wsse:Password>'),
    (
        "graphql document",
        'mutation { login(email: "a@b", password: "«=GraphqlPassCaribou-Teapot72»") { id } }',
    ),
)
_DATABASES: Cases = (
    (
        "database error",
        "duplicate key\nDETAIL:  Key (insurance_token)=(«=InsTokenWalnut-Sled36») already exists.",
    ),
    ("database error", 'CONTEXT:  COPY patients, line 3, column portal_password: "«=CopyctxZebrafish-Plough18»"'),
    ("sql statement", "SELECT id FROM patients WHERE portal_password = '«=Portal''Cactus-12»' AND nope = 1"),
    ("sql statement", "SELECT pgp_sym_encrypt('data', '«=PgpSymGoblin-Tile41»')"),
    ("sql statement", "SELECT set_config('app.token', '«=SetConfigPanda-Rope15»', false)"),
    ("log message", "CREATE USER joe LOGIN ENCRYPTED PASSWORD '«=CreateUser-Yak-77»' NOPE"),
    ("redis command", "AUTH default «=RedisAuthWeasel-Jam64»"),
    ("redis command", "HSET user:1 auth_token «=RedisSess-Ferret-Ivory71»"),
)
_LOGS: Cases = (
    ("log message", "{'event': 'login failed', 'user': 'joe', 'password': '«=StructlogMoth.Kettle2»'}"),
    ("log message", "\x1b[36mpassword\x1b[0m=\x1b[35m«=AnsiPassUrial-Magnet58»\x1b[0m \x1b[36muser\x1b[0m=joe"),
    ("log message", 'level=error msg="login failed" password="«=LogfmtPass Vicuna Zinc»" user=joe'),
    ("log message", '{:user=>"joe", :password=>"«=RubyXenops-Lattice31»"}'),
    ("log message", 'body b\'{"password": "«=BytesRaccoon-Fork38»"}\''),
    (
        "log message",
        '{"event": "{\\"body\\": \\"{\\\\\\"client_secret\\\\\\": \\\\\\"«=NestedPuma92»\\\\\\"}\\"}"}',
    ),
    ("log message", "Passwort: «=PasswortPangolin-Dose49»"),
    ("log message", "user jon hash «=$argon2id$v=19$m=65536,t=3,p=4$THI5VnRNcDVOczhI$ZDRKZjZZY1VlS28xR2lBejJCdzdY»"),
    ("log message", "user jim hash «=pbkdf2_sha256$600000$Lr9VtMp5Ns8H$d4Jf6YcUeKo1GiAz2Bw7Xk0TmEo5Rf8HyQ3s»"),
    ("log message", "db.clinic:5432:clinic:joe:«=PgpassIguana-Thimble48»"),
    ("log extra", {"request_headers": {"X-Auth-Token": "«=ExtraHdrGecko-Vault83»"}}),
    ("log argument", {"event": "call", "client_secret": "«=CtxSecretQuail-Hinge36»"}),
    ("exception argument", {"token": "«=ExcDictLynx-Piano65»"}),
    ("exception note", "while using client_secret=«=NoteSecretBison-Ladle11»"),
    ("thread name", "sync token=«=ThreadTokenNewt-Pillow68»"),
    ("task name", "sync?token=«=TaskTokenOrca-Basket53»"),
    ("transaction name", "sync token=«=TxnameErmine-Walnut40»"),
    ("span status", "bad token=«=StatusTokenErmine-44»"),
    ("tag", {"api_key": "«=TagKeyParrot-Sponge42»"}),
    ("context", {"integration": {"client_secret": "«=CtxSecretQuail-Hinge35»"}}),
    ("breadcrumb data", {"x-token": "«=CrumbTokenSeal-Anchor28»"}),
    ("metric attribute", {"api_key": "«=MetricKeyUrchin-Lamp57»"}),
    ("event attribute", {"redis.password": "«=EvtAttrWasp-Ribbon16»"}),
    ("link attribute", {"auth_token": "«=LinkAttrYeti-Cushion45»"}),
    ("span attribute", {"token=«=KeyTokenYeti-Cushion46»": 1}),
    ("resource attribute", {"deploy.token": "«=ResTokenBaboon-Mirror59»"}),
    (
        "traceback text",
        'Traceback (most recent call last):\n  File "/builds/token=«=FileKestrel-26»/job.py", line 3',
    ),
)
_COMMANDS: Cases = tuple(
    ("exception message", f"Command '{command}' returned non-zero exit status 1.")
    for command in (
        ["sshpass", "-p", "«=SshpassSkunk-Hammock25»", "ssh", "h"],
        ["redis-cli", "-a", "«=RediscliTapir-Noodle78»", "ping"],
        ["docker", "login", "-u", "joe", "-p", "«=DockerloginUakari-Pestle51»"],
        ["ldapsearch", "-D", "cn=admin", "-w", "«=LdapsearchVole-Scarf90»"],
        ["zip", "-P", "«=ZipWombat-Trolley46»", "a.zip", "a"],
        ["ansible-playbook", "--extra-vars", "db_pass=«=ExtravarsXerus-Doorbell29»"],
        ["kubectl", "create", "secret", "generic", "x", "--from-literal=password=«=LiteralYak-Windmill86»"],
        ["gpg", "--batch", "--passphrase", "«=GpgAardvark-Kettle55»", "-c", "f"],
    )
)

CLINIC: tuple[Secret, ...] = tuple(
    planted("clinic", where, text)
    for cases in (_SETTINGS, _REQUESTS, _CALLS, _DATABASES, _LOGS, _COMMANDS)
    for where, text in cases
)
"""Its secrets."""
