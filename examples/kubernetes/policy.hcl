# BillingConfig::schema().policy() writes this for your own struct.

# api_key
path "secret/data/billing" {
  capabilities = ["read"]
}
