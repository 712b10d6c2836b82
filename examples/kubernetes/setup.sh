#!/bin/sh
# What the administrator runs once, with VAULT_ADDR and VAULT_TOKEN set; `bao` takes the same
# commands.
set -eu
cd "$(dirname "$0")"

vault policy write billing policy.hcl

# audience: a token for the Kubernetes API, which more can read, does not log in here.
vault write auth/kubernetes/role/billing \
    bound_service_account_names=billing \
    bound_service_account_namespaces=prod \
    audience=vault \
    token_policies=billing \
    token_ttl=1h
