"""Tables of messages: gettext, JSON and YAML."""
