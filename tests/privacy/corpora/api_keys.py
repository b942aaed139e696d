"""Keys of vendors, recognizable by their form alone, each planted in a place that says nothing about it.

Every row gives the vendor, the form (marks as in :mod:`tests.privacy.corpora.planting`) and where prefix, alphabet
and length are documented. Three maintained lists stand behind most rows, read for facts in 2026:

- ``gitleaks``: github.com/gitleaks/gitleaks, config/gitleaks.toml
- ``trufflehog``: github.com/trufflesecurity/trufflehog, pkg/detectors/<vendor>
- ``detect-secrets``: github.com/Yelp/detect-secrets, detect_secrets/plugins/<vendor>.py

The prefix of a key is no secret: what must not leave is the random part, whole or in part as marked.
"""

from collections.abc import Callable
from typing import Any

from tests.privacy.corpora import Secret
from tests.privacy.corpora.planting import planted

FORMS: tuple[tuple[str, str, str], ...] = (
    ("1Password secret key", "A3-«upper 6»-«upper 11»-«upper 5»-«upper 5»-«upper 5»", "gitleaks"),
    ("1Password service account", "ops_eyJ«b64 260»", "gitleaks"),
    ("age", "AGE-SECRET-KEY-1«bech32 58»", "gitleaks; github.com/FiloSottile/age"),
    ("Airtable", "pat«alnum 14».«hex 64»", "gitleaks, trufflehog airtable"),
    ("Adafruit IO", "aio_«alnum 28»", "trufflehog adafruitio"),
    ("Alibaba Cloud key id", "LTAI«alnum 20»", "gitleaks"),
    ("Anthropic", "sk-ant-api03-«url 93»AA", "gitleaks, trufflehog anthropic"),
    ("Anthropic admin", "sk-ant-admin01-«url 93»AA", "gitleaks"),
    ("Apify", "apify_api_«alnum 36»", "trufflehog apify"),
    ("Artifactory", "AKCp«alnum 69»", "gitleaks"),
    ("Artifactory reference token", "cmVmd«alnum 59»", "gitleaks"),
    ("Atlassian API token", "ATATT3«url 186»", "gitleaks"),
    ("Atlassian organization", "ATCTT3xFfG«url 120»=«HEX 8»", "trufflehog atlassian v2"),
    ("AWS access key", "AKIA«b32 16»", "gitleaks; docs.aws.amazon.com IAM identifiers"),
    ("AWS temporary key", "ASIA«b32 16»", "gitleaks; docs.aws.amazon.com IAM identifiers"),
    ("AWS Bedrock", "ABSK«b64 128»=", "gitleaks"),
    ("Azure AD client secret", "«~url_ 3»8Q~«url 34»", "gitleaks"),
    ("Bitbucket data center", "BBDC-«alnum 44»", "trufflehog atlassian"),
    ("Brevo", "xkeysib-«hex 64»-«alnum 16»", "gitleaks"),
    ("Buildkite", "bkua_«lower 40»", "trufflehog buildkite v2"),
    ("CircleCI", "CCIPAT_«alnum 22»_«hex 40»", "circleci.com/changelog/new-format-for-api-access-tokens"),
    ("ClickHouse Cloud", "4b1d«alnum 38»", "gitleaks"),
    ("Clojars", "CLOJARS_«lower 60»", "gitleaks"),
    ("Cloudflare user token", "cfut_«alnum 40»«hex 8»", "developers.cloudflare.com token-formats; trufflehog"),
    ("Cloudflare origin CA", "v1.0-«hex 24»-«hex 146»", "gitleaks"),
    ("Contentful", "CFPAT-«url 43»", "trufflehog contentful"),
    ("Databricks", "dapi«hex 32»", "gitleaks"),
    ("DigitalOcean", "dop_v1_«hex 64»", "gitleaks"),
    ("DigitalOcean refresh", "dor_v1_«hex 64»", "gitleaks"),
    ("Discord bot", "M«url 25».«url 6».«url 27»", "detect-secrets discord"),
    ("Docker Hub", "dckr_pat_«url 27»", "trufflehog dockerhub v2"),
    ("Docker Hub organization", "dckr_oat_«url 32»", "trufflehog dockerhub v2"),
    ("Doppler", "dp.pt.«alnum 43»", "gitleaks"),
    ("Doppler service", "dp.st.prd.«alnum 43»", "trufflehog doppler"),
    ("Dropbox short-lived", "sl.«url 136»", "trufflehog dropbox"),
    ("Duffel", "duffel_live_«url 43»", "gitleaks"),
    ("Dynatrace", "dt0c01.«upper 24».«upper 64»", "gitleaks"),
    ("EasyPost", "EZAK«alnum 54»", "gitleaks"),
    ("Facebook page", "EAAC«alnum 160»", "gitleaks"),
    ("Figma", "figd_«url 40»", "trufflehog figma v2"),
    ("Flutterwave", "FLWSECK-«lower 32»-X", "trufflehog flutterwave"),
    ("Fly.io", "fo1_«url 43»", "gitleaks"),
    ("Frame.io", "fio-u-«url 64»", "gitleaks"),
    ("GitHub classic", "ghp_«alnum 36»", "gitleaks; docs.github.com about-authentication-to-github"),
    ("GitHub OAuth", "gho_«alnum 36»", "gitleaks"),
    ("GitHub server", "ghs_«alnum 36»", "gitleaks"),
    ("GitHub refresh", "ghr_«alnum 36»", "gitleaks"),
    ("GitHub fine-grained", "github_pat_«alnum 22»_«alnum 59»", "gitleaks"),
    ("GitLab", "glpat-«url 20»", "gitleaks; docs.gitlab.com token overview"),
    ("GitLab routable", "glpat-«url 27».01.«lower 9»", "gitleaks, trufflehog gitlab v3"),
    ("GitLab deploy", "gldt-«url 20»", "gitleaks"),
    ("GitLab runner", "glrt-«url 20»", "gitleaks"),
    ("GitLab runner registration", "GR1348941«url 20»", "gitleaks"),
    ("GitLab job", "glcbt-64_«url 20»", "gitleaks"),
    ("GitLab OAuth", "gloas-«hex 64»", "gitleaks, trufflehog gitlaboauth2"),
    ("GitLab agent", "glagent-«url 50»", "gitleaks"),
    ("Google API", "AIzaSy«url 33»", "gitleaks, trufflehog googleai"),
    ("Google OAuth client", "GOCSPX-«url 28»", "openrouter.ai/docs secret-formats"),
    ("Google access token", "ya29.a0«url 120»", "trufflehog googleoauth2"),
    ("Grafana service account", "glsa_«alnum 32»_«hex 8»", "gitleaks"),
    ("Grafana Cloud", "glc_eyJ«b64 120»", "gitleaks"),
    ("Groq", "gsk_«alnum 52»", "trufflehog groq"),
    ("Harness", "pat.«url 22».«hex 24».«alnum 20»", "gitleaks"),
    ("Heroku", "HRKU-AA«url 58»", "gitleaks"),
    ("HubSpot private app", "pat-na1-«uuid»", "trufflehog hubspotapikey v2"),
    ("HuggingFace", "hf_«alpha 34»", "gitleaks"),
    ("HuggingFace organization", "api_org_«alpha 34»", "gitleaks"),
    ("Infracost", "ico-«alnum 32»", "gitleaks"),
    ("LangSmith", "lsv2_pt_«hex 32»_«hex 10»", "trufflehog langsmith"),
    ("Linear", "lin_api_«alnum 40»", "gitleaks"),
    ("Mailchimp", "«hex 32»-us12", "detect-secrets mailchimp"),
    ("Mailgun", "key-«hex 32»", "gitleaks, trufflehog mailgun"),
    ("MaxMind", "«alnum 6»_«alnum 29»_mmk", "gitleaks"),
    ("Netlify", "nfp_«alnum 36»", "trufflehog netlify v2"),
    ("New Relic user", "NRAK-«upper 27»", "trufflehog newrelicpersonalapikey"),
    ("New Relic license", "eu01xx«hex 26»FFFFNRAL", "trufflehog newrelic license"),
    ("Notion", "ntn_«~digits 11»«alnum 35»", "gitleaks"),
    ("Notion, before 2024", "secret_«alnum 43»", "trufflehog notion"),
    ("npm", "npm_«alnum 36»", "gitleaks"),
    ("NVIDIA", "nvapi-«url 64»", "trufflehog nvapi"),
    ("Octopus Deploy", "API-«upper 26»", "gitleaks"),
    ("OpenAI project", "sk-proj-«url 74»T3BlbkFJ«url 74»", "gitleaks"),
    ("OpenAI legacy", "sk-«alnum 20»T3BlbkFJ«alnum 20»", "gitleaks"),
    ("OpenRouter", "sk-or-v1-«hex 64»", "trufflehog openrouter; openrouter.ai/docs secret-formats"),
    ("OpenShift", "sha256~«url 43»", "gitleaks"),
    ("Perplexity", "pplx-«alnum 48»", "gitleaks"),
    ("Pinecone", "pcsk_«alnum 6»_«alnum 63»", "trufflehog pinecone"),
    ("Plaid", "access-production-«uuid»", "gitleaks"),
    ("PlanetScale", "pscale_tkn_«url 43»", "gitleaks"),
    ("PlanetScale password", "pscale_pw_«url 43»", "gitleaks"),
    ("PostHog", "phx_«alnum 43»", "trufflehog posthog"),
    ("Postman", "PMAK-«hex 24»-«hex 34»", "gitleaks"),
    ("Prefect", "pnu_«alnum 36»", "gitleaks"),
    ("Pulumi", "pul-«hex 40»", "gitleaks"),
    ("PyPI", "pypi-AgEIcHlwaS5vcmcCJ«url 152»", "trufflehog pypi, detect-secrets pypi_token"),
    ("ReadMe", "rdme_«lower 70»", "gitleaks"),
    ("Replicate", "r8_«alnum 37»", "trufflehog replicate"),
    ("Rootly", "rootly_«hex 64»", "trufflehog rootly"),
    ("RubyGems", "rubygems_«hex 48»", "gitleaks"),
    ("SendGrid", "SG.«url 22».«url 43»", "detect-secrets sendgrid"),
    ("Sentry user", "sntryu_«hex 64»", "gitleaks"),
    ("Sentry organization", "sntrys_eyJpYXQiO«b64 80»LCJyZWdpb25fdXJs«b64 40»_«b64 43»", "gitleaks"),
    ("Shippo", "shippo_live_«hex 40»", "gitleaks"),
    ("Shopify", "shpat_«hex 32»", "gitleaks"),
    ("Shopify secret", "shpss_«hex 32»", "gitleaks"),
    ("Slack bot", "xoxb-«~digits 12»-«~digits 12»-«alnum 24»", "gitleaks"),
    ("Slack user", "xoxp-«~digits 12»-«~digits 12»-«~digits 12»-«hex 32»", "gitleaks"),
    ("Slack app", "xapp-1-A«~upper 10»-«~digits 13»-«hex 64»", "gitleaks"),
    ("Slack configuration", "xoxe.xoxp-1-«upper 166»", "gitleaks"),
    ("Sourcegraph", "sgp_«hex 16»_«hex 40»", "gitleaks"),
    ("SonarQube", "squ_«hex 40»", "gitleaks"),
    ("Square", "sq0csp-«url 43»", "gitleaks, detect-secrets square_oauth"),
    ("Square access", "EAAA«url 60»", "gitleaks"),
    ("Stripe secret", "sk_live_«alnum 24»", "detect-secrets stripe; docs.stripe.com/keys"),
    ("Stripe restricted", "rk_live_«alnum 99»", "gitleaks; docs.stripe.com/keys"),
    ("Stripe payment intent", "pi_«~alnum 24»_secret_«alnum 25»", "trufflehog stripepaymentintent"),
    ("Supabase secret key", "sb_secret_«url 22»_«alnum 8»", "supabase.com/docs/guides/api/api-keys; gitleaks 2225"),
    ("Supabase access token", "sbp_«hex 40»", "trufflehog supabasetoken; supabase CLI"),
    ("Tailscale auth", "tskey-auth-«~alnum 11»CNTRL-«alnum 32»", "tailscale.com/docs/reference/key-prefixes"),
    ("Tailscale API", "tskey-api-«~alnum 11»CNTRL-«alnum 32»", "tailscale.com/docs/reference/key-prefixes"),
    ("Telegram bot", "«~digits 10»:AA«url 33»", "detect-secrets telegram_token"),
    ("Terraform Cloud", "«alnum 14».atlasv1.«alnum 67»", "gitleaks, trufflehog terraformcloud"),
    ("Twilio API key", "SK«hex 32»", "gitleaks"),
    ("Typeform", "tfp_«alnum 44»_«alnum 14»", "trufflehog typeform v2"),
    ("Vault service", "hvs.«url 95»", "gitleaks; developer.hashicorp.com vault tokens"),
    ("Vault batch", "hvb.«url 150»", "gitleaks"),
    # Vercel documents the prefixes only (vercel.com/changelog/new-token-formats-and-secret-scanning).
    ("Vercel", "vcp_«alnum 56»", "vercel.com/changelog/new-token-formats-and-secret-scanning"),
    ("Vercel API key", "vck_«alnum 56»", "vercel.com/changelog/new-token-formats-and-secret-scanning"),
    ("xAI", "xai-«alnum 80»", "trufflehog xai"),
    ("Yandex Cloud", "t1.«url 60».«url 86»", "gitleaks"),
    # Addresses that are keys themselves.
    ("Slack webhook", "https://hooks.slack.com/services/T«~upper 8»/B«~upper 10»/«alnum 24»", "gitleaks"),
    ("Discord webhook", "https://discord.com/api/webhooks/«~digits 18»/«url 68»", "trufflehog discordwebhook"),
    (
        "Teams webhook",
        "https://shop.webhook.office.com/webhookb2/«~uuid»@«~uuid»/IncomingWebhook/«hex 32»/«~uuid»",
        "gitleaks",
    ),
)

_AROUND: tuple[tuple[str, Callable[[str], Any]], ...] = (
    ("log message", lambda key: f"upstream refused {key}, trying again"),
    ("span attribute", lambda key: {"upstream.note": f"sent {key}"}),
    ("exception message", lambda key: f"401 Client Error: {key} is not accepted"),
    ("breadcrumb message", lambda key: f"using ({key})"),
    ("local variable", lambda key: {"value": key}),
    ("query string", lambda key: f"page=2&q={key}&sort=asc"),
    ("tag", lambda key: {"upstream": key}),
    ("log argument", lambda key: ["connecting", {"with": [key]}]),
    ("json body", lambda key: {"text": f'{{"note":"{key}"}}'}),
    ("exception note", lambda key: f"seen while sending '{key}'"),
    ("context", lambda key: {"vendor": {"info": key}}),
    ("thread name", lambda key: f"worker-{key}"),
    ("captured message", lambda key: f"{key}"),
    ("span status", lambda key: f"error: got <{key}>"),
)


def _case(number: int, vendor: str, form: str) -> Secret:
    if form.startswith("https:"):
        return planted(f"api key: {vendor}", "url", form)
    where, around = _AROUND[number % len(_AROUND)]
    return planted(f"api key: {vendor}", where, around(form))


API_KEYS: tuple[Secret, ...] = tuple(_case(number, vendor, form) for number, (vendor, form, _) in enumerate(FORMS))
"""One case for each form, spread over places whose names say nothing."""
