"""Masks keys that vendors make recognizable, by a prefix or another fixed part, an alphabet and a length.

Prefixes, alphabets and lengths are facts from the vendors' documentation and from two maintained lists, which the
table names for each format: gitleaks (https://github.com/gitleaks/gitleaks, ``config/gitleaks.toml``, the id of the
rule) and trufflehog (https://github.com/trufflesecurity/trufflehog, ``pkg/detectors``). A shorter key than the
documented one is masked too, where nothing else looks like it: it may have been cut.
"""

import re
from collections.abc import Iterator
from functools import cache

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

_UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"

_BY_PREFIX = (
    # prefixes, what follows, source
    ("AKIA ASIA ABIA ACCA", r"[A-Z0-9]{16}\b", "gitleaks aws-access-token"),
    ("ABSK", r"[A-Za-z0-9+/]{60,}={0,2}", "gitleaks aws-amazon-bedrock-api-key-long-lived"),
    ("bedrock-api-key-", r"[A-Za-z0-9+/=]{20,}", "gitleaks aws-amazon-bedrock-api-key-short-lived"),
    ("AIza", r"[\w-]{30,}", "gitleaks gcp-api-key"),
    ("ya29.", r"[\w.-]{10,}", "trufflehog googleoauth2"),
    ("GOCSPX-", r"[\w-]{10,}", "openrouter.ai/docs secret-formats"),
    ("1//0", r"[\w-]{38,}", "trufflehog googleoauth2"),
    ("ghp_ gho_ ghu_ ghs_ ghr_", r"[A-Za-z0-9]{20,}", "gitleaks github-pat and its siblings"),
    ("github_pat_", r"\w{20,}", "gitleaks github-fine-grained-pat"),
    (
        "glpat- gldt- glrt- glptt- glcbt- glsoat- gloas- glagent- glft- glffct- glimt- GR1348941",
        r"[\w-]{16,}(?:\.\w{2,9}){0,2}",
        "gitleaks gitlab-*; docs.gitlab.com/security/tokens",
    ),
    ("xox", r"[a-z](?:\.xox[bp])?-[\w-]{8,}", "gitleaks slack-*"),
    ("xapp-", r"[\w-]{10,}", "gitleaks slack-app-token"),
    ("hooks.slack.com/", r"(?:services|workflows|triggers)/[A-Za-z0-9/]{20,}", "gitleaks slack-webhook-url"),
    ("T", r"[A-Z0-9]{8,10}/B[A-Z0-9]{8,10}/[A-Za-z0-9]{20,}", "gitleaks slack-webhook-url, without its host"),
    ("discord.com/api/webhooks/ discordapp.com/api/webhooks/", r"\d{10,20}/[\w-]{40,}", "trufflehog discordwebhook"),
    ("webhook.office.com/webhookb2/", r"[\w@/-]{40,}", "gitleaks microsoft-teams-webhook"),
    ("M N O", r"(?=[\w-]{0,25}\d)[\w-]{23,25}\.[\w-]{6}\.[\w-]{27,38}", "detect-secrets discord"),
    ("sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", r"\w{10,}", "gitleaks stripe-access-token"),
    ("whsec_", r"[\w+/=]{10,}", "docs.stripe.com/webhooks"),
    ("pi_ seti_", r"[A-Za-z0-9]{16,}_secret_[A-Za-z0-9]{16,}", "trufflehog stripepaymentintent"),
    ("sk-proj- sk-svcacct- sk-admin- sk-ant- sk-or-", r"[\w-]{20,}", "gitleaks openai-api-key, anthropic-api-key"),
    ("sk-", r"(?:[a-z0-9]{2,12}+-){0,3}+[A-Za-z0-9_]{16,}[\w-]*", "trufflehog openai, deepseek and their like"),
    ("SG.", r"[\w-]{16,}\.[\w-]{16,}", "gitleaks sendgrid-api-token"),
    ("SK", r"[0-9a-f]{32}\b", "gitleaks twilio-api-key"),
    ("npm_", r"[A-Za-z0-9]{30,}", "gitleaks npm-access-token"),
    ("pypi-", r"[\w-]{16,}", "gitleaks pypi-upload-token"),
    ("hf_", r"[A-Za-z0-9]{20,}", "gitleaks huggingface-access-token"),
    ("api_org_", r"[A-Za-z0-9]{30,}", "gitleaks huggingface-organization-api-token"),
    ("dop_v1_ doo_v1_ dor_v1_", r"[0-9a-f]{32,}", "gitleaks digitalocean-*"),
    ("dapi", r"[0-9a-f]{32}(?:-\d)?", "gitleaks databricks-api-token"),
    ("shpat_ shpca_ shppa_ shpss_", r"[0-9a-fA-F]{24,}", "gitleaks shopify-*"),
    ("sq0atp- sq0csp-", r"[\w-]{20,}", "gitleaks square-access-token"),
    ("EAAA", r"[\w-]{40,}", "gitleaks square-access-token"),
    ("EAAM EAAC EAAB EAAG", r"[A-Za-z0-9]{60,}", "gitleaks facebook-page-access-token"),
    ("key-", r"[0-9a-f]{32}\b", "trufflehog mailgun"),
    ("lin_api_", r"\w{20,}", "gitleaks linear-api-key"),
    ("PMAK-", r"[\w-]{20,}", "gitleaks postman-api-token"),
    ("NRAK-", r"[A-Z0-9]{20,}", "trufflehog newrelicpersonalapikey"),
    ("glsa_ glc_", r"[\w+/=-]{20,}", "gitleaks grafana-*"),
    ("sntryu_ sntrys_", r"[\w+/=-]{20,}", "gitleaks sentry-user-token, sentry-org-token"),
    ("hvs. hvb.", r"[\w-]{20,}", "gitleaks vault-service-token, vault-batch-token"),
    ("dp.", r"[a-z]{2,5}\.(?:[\w-]{2,35}\.)?[A-Za-z0-9]{20,}", "gitleaks doppler-api-token, trufflehog doppler"),
    ("gsk_", r"[A-Za-z0-9]{20,}", "trufflehog groq"),
    ("xai-", r"[A-Za-z0-9]{20,}", "trufflehog xai"),
    ("r8_", r"[A-Za-z0-9]{20,}", "trufflehog replicate"),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{20,}", "gitleaks age-secret-key"),
    (
        "A3-",
        r"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
        "gitleaks 1password-secret-key",
    ),
    ("ops_eyJ", r"[A-Za-z0-9+/]{60,}={0,3}", "gitleaks 1password-service-account-token"),
    ("pat", r"[A-Za-z0-9]{14}\.[0-9a-f]{40,}", "gitleaks airtable-personnal-access-token"),
    ("pat. sat.", r"[\w-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}", "gitleaks harness-api-key"),
    ("pat-na1- pat-na2- pat-eu1- pat-ap1-", _UUID, "trufflehog hubspotapikey"),
    ("p8e-", r"[a-zA-Z0-9]{32}\b", "gitleaks adobe-client-secret"),
    ("aio_", r"[A-Za-z0-9]{28}\b", "trufflehog adafruitio"),
    ("LTAI", r"[A-Za-z0-9]{16,20}\b", "gitleaks alibaba-access-key-id"),
    ("apify_api_", r"[A-Za-z0-9]{30,}", "trufflehog apify"),
    ("AKCp", r"[A-Za-z0-9]{60,}", "gitleaks artifactory-api-key"),
    ("cmVmd", r"[A-Za-z0-9]{59}\b", "gitleaks artifactory-reference-token"),
    ("ATATT3 ATCTT3 ATBB", r"[\w=-]{28,}", "trufflehog atlassian; gitleaks atlassian-api-token"),
    ("BBDC-", r"[\w+/-]{30,}", "trufflehog atlassian"),
    ("xkeysib- xsmtpsib-", r"[0-9a-f]{64}-[A-Za-z0-9]{16}", "gitleaks sendinblue-api-token"),
    ("bkua_", r"[0-9a-z]{30,}", "trufflehog buildkite"),
    ("CCIPAT_ CCIPRJ_", r"[A-Za-z0-9]{22}_[0-9a-f]{40}", "circleci.com/changelog/new-format-for-api-access-tokens"),
    ("4b1d", r"[A-Za-z0-9]{38}\b", "gitleaks clickhouse-cloud-api-secret-key"),
    ("CLOJARS_", r"[a-zA-Z0-9]{40,}", "gitleaks clojars-api-token"),
    ("cfut_ cfat_ cfk_", r"[A-Za-z0-9]{40,}", "developers.cloudflare.com/fundamentals/api/get-started/token-formats"),
    ("v1.0-", r"[0-9a-f]{24}-[0-9a-f]{100,}", "gitleaks cloudflare-origin-ca-key"),
    ("CFPAT-", r"[\w-]{40,}", "trufflehog contentful"),
    ("dckr_pat_ dckr_oat_", r"[\w-]{20,}", "trufflehog dockerhub"),
    ("sl.", r"(?:u\.)?[\w-]{100,}", "trufflehog dropbox"),
    ("duffel_live_ duffel_test_", r"[\w=-]{40,}", "gitleaks duffel-api-token"),
    ("dt0c01. dt0s01.", r"[A-Za-z0-9]{24}\.[A-Za-z0-9]{40,}", "gitleaks dynatrace-api-token"),
    ("EZAK EZTK", r"[A-Za-z0-9]{54}\b", "gitleaks easypost-api-token"),
    ("figd_", r"[\w-]{30,}", "trufflehog figma"),
    ("FLWSECK-", r"[0-9a-z]{32}-X", "trufflehog flutterwave"),
    ("FLWSECK_TEST-", r"[0-9a-zA-Z]{12,}(?:-X)?", "gitleaks flutterwave-secret-key"),
    ("fo1_", r"[\w-]{40,}", "gitleaks flyio-access-token"),
    ("fm1a_ fm1r_ fm2_", r"[A-Za-z0-9+/]{60,}={0,3}", "gitleaks flyio-access-token"),
    ("fio-u-", r"[\w=-]{50,}", "gitleaks frameio-api-token"),
    ("HRKU-AA", r"[\w-]{40,}", "gitleaks heroku-api-key-v2"),
    ("ico-", r"[A-Za-z0-9]{32}\b", "gitleaks infracost-api-token"),
    ("lsv2_pt_ lsv2_sk_", r"[0-9a-f]{32}_[0-9a-f]{10}", "trufflehog langsmith"),
    ("nfp_ nfc_ nfo_ nfu_", r"[A-Za-z0-9]{36}", "trufflehog netlify"),
    ("ntn_", r"[0-9]{11}[A-Za-z0-9]{20,}", "gitleaks notion-api-token"),
    ("secret_", r"[A-Za-z0-9]{43}\b", "trufflehog notion"),
    ("nvapi-", r"[\w-]{40,}", "trufflehog nvapi"),
    ("API-", r"[A-Z0-9]{26}\b", "gitleaks octopus-deploy-api-key"),
    ("sha256~", r"[\w-]{43}", "gitleaks openshift-user-token"),
    ("pplx-", r"[A-Za-z0-9]{40,}", "gitleaks perplexity-api-key"),
    ("pcsk_", r"[A-Za-z0-9]{5,6}_[A-Za-z0-9]{40,}", "trufflehog pinecone"),
    ("access-sandbox- access-development- access-production-", _UUID, "gitleaks plaid-api-token"),
    ("pscale_tkn_ pscale_oauth_ pscale_pw_", r"[\w=.-]{32,}", "gitleaks planetscale-*"),
    ("phx_ phs_", r"[A-Za-z0-9_-]{40,}", "trufflehog posthog"),
    ("pnu_ pnb_", r"[A-Za-z0-9]{36}", "gitleaks prefect-api-token"),
    ("pul-", r"[0-9a-f]{40}\b", "gitleaks pulumi-api-token"),
    ("rdme_", r"[0-9a-z]{60,}", "gitleaks readme-api-token"),
    ("rootly_", r"[0-9a-f]{64}", "trufflehog rootly"),
    ("rubygems_", r"[0-9a-f]{48}", "gitleaks rubygems-api-token"),
    ("tk-us-", r"[\w-]{48}", "gitleaks scalingo-api-token"),
    ("sm_aat_ sm_pat_ sm_sat_", r"[A-Za-z0-9]{16}\b", "gitleaks settlemint-*"),
    ("shippo_live_ shippo_test_", r"[0-9a-fA-F]{40}", "gitleaks shippo-api-token"),
    ("sgp_", r"(?:[0-9a-fA-F]{16}_|local_)?[0-9a-fA-F]{40}", "gitleaks sourcegraph-access-token"),
    ("squ_ sqp_ sqa_", r"[0-9a-f]{40}", "gitleaks sonar-api-token"),
    ("sb_secret_", r"[\w-]{22,}", "supabase.com/docs/guides/api/api-keys"),
    ("sbp_", r"(?:v0_)?[0-9a-f]{40}", "trufflehog supabasetoken"),
    ("tskey-", r"[a-z]{3,10}-[A-Za-z0-9]{6,}-[A-Za-z0-9]{16,}", "tailscale.com/docs/reference/key-prefixes"),
    ("tfp_", r"[A-Za-z0-9_-]{40,}", "trufflehog typeform"),
    ("vcp_ vci_ vca_ vcr_ vck_", r"[A-Za-z0-9]{24,}", "vercel.com/changelog/new-token-formats-and-secret-scanning"),
    ("t1.", r"[\w-]{20,}={0,2}\.[\w-]{80,}={0,2}", "gitleaks yandex-access-token"),
    ("s-s4t2", r"(?:ud|af)-[0-9a-fA-F]{64}", "gitleaks intra42-client-secret"),
)
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=\\x[0-9a-fA-F]{2})|(?<=\\u[0-9a-fA-F]{4}))"
"""Where a word begins, also behind an escape such as ``\\n``, as the ``repr`` of a text has them."""

_BY_PART = (
    # a part of every key, the whole key, source
    (":AA", r"(?<!\d)\d{8,10}:AA[\w-]{32,}", "detect-secrets telegram_token"),
    ("-us", rf"{_START}[0-9a-f]{{32}}-us\d{{1,2}}\b", "detect-secrets mailchimp"),
    ("_mmk", rf"{_START}[A-Za-z0-9]{{6}}_[A-Za-z0-9]{{29}}_mmk\b", "gitleaks maxmind-license-key"),
    (".atlasv1.", rf"{_START}[A-Za-z0-9]{{14}}\.atlasv1\.[\w=-]{{40,}}", "gitleaks hashicorp-tf-api-token"),
    ("Q~", r"[\w~.]{3}\dQ~[\w~.-]{31,34}", "gitleaks azure-ad-client-secret"),
    ("NRAL", rf"{_START}(?:[a-z0-9]{{6}})?[0-9a-f]{{26,40}}(?:FFFF)?NRAL\b", "trufflehog newrelic license"),
    ("T3BlbkFJ", rf"{_START}[\w-]{{20,90}}T3BlbkFJ[\w-]{{20,}}", "gitleaks openai-api-key"),
)

_REST = {prefix: rest for prefixes, rest, _ in _BY_PREFIX for prefix in prefixes.split()}
_PREFIXES = {first: tuple(prefix for prefix in _REST if prefix[0] == first) for first in {each[0] for each in _REST}}
_PARTS = tuple((part, expression(pattern)) for part, pattern, _ in _BY_PART)
_SHORTEST_KEY = 13
_MAX_BEGINNINGS = 2_000
"""Beginnings in one text that are looked at; the rest of the text is masked."""

_LONG_WORD = expression(r"[^\s\"'<>,;()]{13,}+")
_BEGIN = expression(rf"{_START}[{re.escape(''.join(sorted(_PREFIXES)))}](?=[^\s\"'<>,;()]{{12}})")
"""The first character of what may be a key; few words of a text are that long."""


@cache
def _keys(first: str) -> re.Pattern[str]:
    """Matches a key that begins with the character ``first``; of an address, the group is the part that stays."""
    marked = (f"({re.escape(each)})" if each[-1] == "/" else re.escape(each) for each in _PREFIXES[first])
    return re.compile("|".join(prefix + _REST[each] for prefix, each in zip(marked, _PREFIXES[first], strict=True)))


def _beginnings(text: str) -> Iterator[re.Match[str]]:
    for word in _LONG_WORD.finditer(text):
        yield from _BEGIN.finditer(text, *word.span())


def mask_api_keys(text: str) -> str:
    """Mask the keys in ``text``; of an address that is a key, the host stays."""
    if max(map(len, text.split()), default=0) < _SHORTEST_KEY:
        return text
    parts: list[str] = []
    done = 0
    for count, begin in enumerate(_beginnings(text)):
        start, first = begin.start(), begin[0]
        if count == _MAX_BEGINNINGS:
            text = text[:start]
            parts += [text[done:], FILTERED]
            done = start
            break
        if start < done or not text.startswith(_PREFIXES[first], start):
            continue
        if (key := _keys(first).match(text, start)) is not None:
            parts += [text[done : key.end(key.lastindex) if key.lastindex else start], FILTERED]
            done = key.end()
    if parts:
        text = "".join([*parts, text[done:]])
    for part, pattern in _PARTS:
        if part in text:
            text = pattern.sub(FILTERED, text)
    return text
