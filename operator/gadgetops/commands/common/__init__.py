"""What all verbs share: options, messages, tables. It knows no verb."""
