"""What the plugin says when it cannot do what was asked."""


class PluginError(Exception):
    """Ends the plugin with exit code 1; the message names what is wrong and what to do."""
